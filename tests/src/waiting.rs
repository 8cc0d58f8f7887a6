//! Waiting for a fact with a deadline: woken whenever something changed, or looking again where nothing tells.

use std::time::Duration;
use tokio::sync::watch;

/// How long any one fact may take to become true, in real time.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a fact is looked at that nothing tells of: well below the rate limit of a key.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

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

/// Looks again and again, at something that nothing tells of, until there is something to see.
pub async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let mut again = tokio::time::interval(LOOK_EVERY);
    let looking = async {
        loop {
            again.tick().await;
            if let Some(seen) = look().await? {
                return Ok(seen);
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, looking).await;
    waited.map_err(|_| TimedOut { what: what.to_owned(), waited: PATIENCE })?
}
