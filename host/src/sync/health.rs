//! How connectors do lately: a version that cannot read what many banks send is no longer run.

use crate::model::{ConnectionId, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What counts as lately.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// So many connections must be affected: fewer are those banks' own doing.
const CONNECTIONS_MIN: usize = 20;
/// And so many percent of those that were tried.
const PERCENT_MIN: usize = 20;

/// When a connection was tried last, and whether its replies could be read.
type Tried = HashMap<ConnectionId, (Timestamp, bool)>;

/// Outcomes of the last quarter of an hour by connector digest, in this process.
#[derive(Debug, Default)]
pub struct Health(Mutex<HashMap<String, Tried>>);

impl Health {
    /// A connection's replies were read.
    pub fn readable(&self, digest: &str, connection: ConnectionId, now: Timestamp) {
        self.note(digest, connection, now, true);
    }

    /// A connection's replies could not be read. True if the version should be quarantined.
    pub fn unreadable(&self, digest: &str, connection: ConnectionId, now: Timestamp) -> bool {
        self.note(digest, connection, now, false)
    }

    fn note(&self, digest: &str, connection: ConnectionId, now: Timestamp, readable: bool) -> bool {
        let mut connectors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !connectors.contains_key(digest) {
            connectors.insert(digest.to_owned(), Tried::new());
        }
        let Some(tried) = connectors.get_mut(digest) else { return false };
        tried.insert(connection, (now, readable));
        if readable {
            return false;
        }
        tried.retain(|_, (at, _)| now.since(*at) < WINDOW);
        let failed = tried.values().filter(|(_, readable)| !readable).count();
        failed >= CONNECTIONS_MIN && failed * 100 >= tried.len() * PERCENT_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn fail(health: &Health, count: usize, now: Timestamp) -> bool {
        (0..count).fold(false, |_, _| health.unreadable("d", ConnectionId::new(), now))
    }

    #[test]
    fn twenty_connections_that_cannot_be_read_quarantine_a_version() {
        let health = Health::default();
        assert!(!fail(&health, 19, NOW));
        assert!(fail(&health, 1, NOW));
    }

    #[test]
    fn one_connection_failing_again_and_again_does_not() {
        let (health, one) = (Health::default(), ConnectionId::new());
        assert!((0..100).all(|_| !health.unreadable("d", one, NOW)));
    }

    #[test]
    fn neither_do_a_few_among_many_nor_failures_long_ago() {
        let health = Health::default();
        for _ in 0..200 {
            health.readable("d", ConnectionId::new(), NOW);
        }
        assert!(!fail(&health, 30, NOW));
        let health = Health::default();
        fail(&health, 19, NOW);
        assert!(!fail(&health, 1, NOW.plus(WINDOW)));
    }
}
