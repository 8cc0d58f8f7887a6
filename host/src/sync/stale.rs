//! Says that an account was not read for too long, whatever the reason: a bank that is down, a budget that is spent,
//! a service that was not running.
//!
//! Level-triggered: the row says when it is stale; whoever comes first tells it, once, until it is read. Must not
//! know: SQL.

use crate::app::App;
use crate::nudge::Bell;
use crate::store::StoreError;
use crate::webhook::payload;

/// Accounts told of at a time: each takes a write transaction of about a millisecond.
const BATCH: u32 = 100;
/// Batches of one round: a bank that is down makes many stale at once, and other work waits for the round's end.
const BATCHES_MAX: u32 = 10;

/// Tells of what is stale.
pub async fn tell_stale(app: &App) -> Result<(), StoreError> {
    for _ in 0..BATCHES_MAX {
        let now = app.clock.now();
        let stale = app.store.stale_accounts(now, BATCH).await?;
        if stale.is_empty() {
            break;
        }
        for account in &stale {
            // Who is not polled was told why.
            let event = account.polled.then(|| payload::account_stale(account, now));
            if app.store.stale_told(account, event.as_ref()).await? && event.is_some() {
                tracing::warn!(account = %account.account, institution = account.institution, reason = account.reason, "the data is stale");
            }
        }
        app.nudge.ring(Bell::Webhooks);
    }
    Ok(())
}
