//! What is done now and then: level-triggered, no input, idempotent. Approvals are looked up by every process, the rest is
//! for workers; of several, whoever comes first does it.

use super::App;
use crate::clock::Clock;
use crate::model::{Role, Timestamp};
use crate::sync;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often approvals and quarantines are looked up (another process, the CLI, may have changed them),
/// connections ended that should have ended by now, and consents looked at that are due.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// How often old rows are looked for when none were left: they are counted in days.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Until `stopping` turns true.
pub(super) async fn run(app: Arc<App>, mut stopping: watch::Receiver<bool>) {
    let mut sweep_at = Timestamp(0);
    while !*stopping.borrow() {
        if let Err(error) = app.look_up_approvals().await {
            tracing::warn!(%error, "approvals could not be looked up; the last ones stay in force");
        }
        if !app.crew.has(Role::Worker) {
            let _ = tokio::time::timeout(HOUSEKEEPING, stopping.changed()).await;
            continue;
        }
        if let Err(error) = sync::end_overdue(&app).await {
            tracing::error!(%error, "connections that should have ended could not be erased; trying again");
        }
        if let Err(error) = sync::end_overdue_authorisations(&app).await {
            tracing::error!(%error, "authorisations that nobody went on with could not be ended; trying again");
        }
        if let Err(error) = sync::tend_consents(&app).await {
            tracing::error!(%error, "consents that are due could not be looked at; trying again");
        }
        if let Err(error) = sync::tell_stale(&app).await {
            tracing::error!(%error, "stale accounts could not be told of; trying again");
        }
        let now = app.clock.now();
        if now >= sweep_at {
            match app.store.sweep(&app.config.retention, now).await {
                Ok(swept) => {
                    sweep_at = if swept.more { now } else { now.plus(SWEEP_EVERY) };
                    for (table, rows) in swept.rows {
                        tracing::info!(table, rows, "swept");
                    }
                }
                Err(error) => tracing::warn!(%error, "old rows could not be swept; trying again"),
            }
        }
        // A consent's end is not a matter of five seconds more or less.
        let next_consent = app.store.next_consent_due().await.ok().flatten();
        tokio::select! {
            _ = tokio::time::timeout(HOUSEKEEPING, stopping.changed()) => {}
            () = moment_to_come(&app.clock, next_consent) => {}
        }
    }
}

/// Returns at this moment; never, if it has passed already: what could not be done then is tried again
/// with everything else.
async fn moment_to_come(clock: &Clock, moment: Option<Timestamp>) {
    match moment.filter(|moment| *moment > clock.now()) {
        Some(moment) => clock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
