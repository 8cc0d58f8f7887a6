//! How long rows are kept that nothing needs any more.

use std::time::Duration;

/// For each table that is swept, how long its rows stay. What is still needed stays longer; the
/// history of changes is not here, since cursors read it for as long as the connection lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Syncs that found nothing new, well or not. The last one of an account stays.
    pub unchanged_syncs: Duration,
    /// Ids of `/sync` calls that another run answered.
    pub sync_requests: Duration,
    /// Events of which no delivery is left.
    pub events: Duration,
    /// Deliveries that are not pending.
    pub deliveries: Duration,
    /// Attempts of deliveries.
    pub attempts: Duration,
    /// Answers to requests with an `Idempotency-Key`.
    pub idempotency_keys: Duration,
    /// Authorisations that are over.
    pub authorisations: Duration,
    /// Consents of erased connections, counted from their end.
    pub ended_consents: Duration,
}

impl Retention {
    /// The same for all.
    pub fn of_all(span: Duration) -> Self {
        Self {
            unchanged_syncs: span,
            sync_requests: span,
            events: span,
            deliveries: span,
            attempts: span,
            idempotency_keys: span,
            authorisations: span,
            ended_consents: span,
        }
    }
}
