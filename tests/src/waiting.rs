//! Waiting for a fact with a deadline, woken whenever something changed. No polling.

use std::time::Duration;
use tokio::sync::watch;

/// The fact did not come true in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("waited {waited:?} for {what}, which did not happen")]
pub struct TimedOut {
    /// What was waited for, with what was seen instead.
    pub what: String,
    /// How long, in real time.
    pub waited: Duration,
}

/// Looks with `found` now and after every change, until it gives something or `timeout` is over;
/// then `what` says what was missing.
pub(crate) async fn wait<T>(
    changed: &watch::Sender<()>,
    timeout: Duration,
    found: impl Fn() -> Option<T>,
    what: impl FnOnce() -> String,
) -> Result<T, TimedOut> {
    let mut changes = changed.subscribe();
    let look = async {
        loop {
            changes.mark_unchanged();
            if let Some(fact) = found() {
                return Some(fact);
            }
            if changes.changed().await.is_err() {
                return None;
            }
        }
    };
    match tokio::time::timeout(timeout, look).await {
        Ok(Some(fact)) => Ok(fact),
        _ => Err(TimedOut { what: what(), waited: timeout }),
    }
}
