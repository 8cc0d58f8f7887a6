//! What is due about consents without a run: their end is told ahead, and it ends polling at once,
//! whatever keeps the connection from being claimed (a pause, a bank without profile, a full house).
//!
//! Level-triggered: the row says when it is due; whoever comes first does it, once. Must not know: SQL.

use crate::app::App;
use crate::model::*;
use crate::nudge::Bell;
use crate::store::StoreError;
use crate::webhook::payload;

/// Consents looked up at a time: each takes a write transaction of about a millisecond.
const BATCH: u32 = 100;

/// Tells of the consents that end soon, and ends those whose time is over.
pub async fn tend_consents(app: &App) -> Result<(), StoreError> {
    loop {
        let due = app.store.due_consents(app.clock.now(), BATCH).await?;
        let mut done = 0;
        for consent in due {
            match tend(app, &consent).await {
                Ok(told) => done += u32::from(told),
                // It is looked at again next time; the others do not wait for it.
                Err(error) => {
                    tracing::error!(connection = %consent.connection, %error, "a consent that is due could not be looked at");
                }
            }
        }
        if done == 0 {
            return Ok(());
        }
        app.nudge.ring(Bell::Webhooks);
    }
}

/// Whether something was told.
async fn tend(app: &App, due: &DueConsent) -> Result<bool, StoreError> {
    let now = app.clock.now();
    if due.expires_at <= now {
        let (connection, reason) = (due.connection, Failure::ConsentExpired.reason());
        let event =
            payload::reauthorisation_required(due.business, connection, &due.institution, reason, now);
        let stopped = app.store.end_expired(due, &event, now).await?;
        if stopped {
            tracing::info!(%connection, reason, "polling stopped");
        }
        return Ok(stopped);
    }
    let Some(days_left) = due.notice(now) else { return Ok(false) };
    let event = payload::consent_expiring(due, days_left, now);
    app.store.consent_told(due, &event, consent_due_at(due.expires_at, now)).await
}
