//! Who may be sent to now: bounds deliveries in flight in all, per endpoint, and to endpoints that
//! fail, so that dead receivers never delay healthy ones.
//!
//! Must not know: the database, HTTP, the time.

use crate::model::EndpointId;
use std::collections::HashMap;

/// Deliveries in flight in this process.
#[derive(Debug)]
pub(super) struct Permits {
    total: u32,
    per_endpoint: u32,
    /// Endpoints with something in flight.
    busy: HashMap<EndpointId, InFlight>,
}

#[derive(Debug, Default)]
struct InFlight {
    healthy: u32,
    failing: u32,
}

/// What one claim may bring.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Of endpoints that fail, or of the others.
    pub failing: bool,
    /// Deliveries in all.
    pub limit: u32,
    /// Deliveries of one endpoint: half of its permits, so that claims never overshoot them.
    pub per_endpoint: u32,
    /// Not of these endpoints.
    pub busy: Vec<EndpointId>,
}

impl Permits {
    pub(super) fn new(total: usize, per_endpoint: u32) -> Self {
        let total = u32::try_from(total).unwrap_or(u32::MAX).max(1);
        Self { total, per_endpoint: per_endpoint.max(1), busy: HashMap::new() }
    }

    /// What to claim for endpoints that work: they are served first.
    pub(super) fn healthy(&self) -> Wish {
        let per_endpoint = self.per_endpoint.div_ceil(2);
        let full =
            |in_flight: &InFlight| in_flight.healthy + in_flight.failing + per_endpoint > self.per_endpoint;
        Wish { failing: false, limit: self.free(), per_endpoint, busy: self.busy_where(full) }
    }

    /// What to claim for endpoints that fail: at most half of all permits together, and one round
    /// at a time each.
    pub(super) fn failing(&self) -> Wish {
        let failing: u32 = self.busy.values().map(|in_flight| in_flight.failing).sum();
        Wish {
            failing: true,
            limit: (self.total / 2).max(1).saturating_sub(failing).min(self.free()),
            per_endpoint: self.per_endpoint.div_ceil(2),
            busy: self.busy_where(|_| true),
        }
    }

    /// A delivery to this endpoint starts.
    pub(super) fn begin(&mut self, endpoint: EndpointId, failing: bool) {
        let in_flight = self.busy.entry(endpoint).or_default();
        *(if failing { &mut in_flight.failing } else { &mut in_flight.healthy }) += 1;
    }

    /// A delivery to this endpoint ended; `failing` as when it began.
    pub(super) fn end(&mut self, endpoint: EndpointId, failing: bool) {
        if let Some(in_flight) = self.busy.get_mut(&endpoint) {
            let count = if failing { &mut in_flight.failing } else { &mut in_flight.healthy };
            *count = count.saturating_sub(1);
            if in_flight.healthy + in_flight.failing == 0 {
                self.busy.remove(&endpoint);
            }
        }
    }

    fn free(&self) -> u32 {
        let in_flight: u32 = self.busy.values().map(|in_flight| in_flight.healthy + in_flight.failing).sum();
        self.total.saturating_sub(in_flight)
    }

    fn busy_where(&self, which: impl Fn(&InFlight) -> bool) -> Vec<EndpointId> {
        self.busy.iter().filter(|(_, in_flight)| which(in_flight)).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_never_has_more_in_flight_than_its_permits() {
        for per_endpoint in 1..=9 {
            let mut permits = Permits::new(1_000, per_endpoint);
            let endpoint = EndpointId::new();
            let mut in_flight = 0;
            // A receiver that never answers and has more waiting than any claim can bring.
            while !permits.healthy().busy.contains(&endpoint) {
                for _ in 0..permits.healthy().per_endpoint {
                    permits.begin(endpoint, false);
                    in_flight += 1;
                }
                assert!(in_flight <= per_endpoint, "{in_flight} of {per_endpoint}");
            }
            assert!(in_flight * 2 >= per_endpoint, "{in_flight} of {per_endpoint}");
        }
    }

    #[test]
    fn failing_endpoints_get_at_most_half_of_all_permits_and_one_round_each() {
        let mut permits = Permits::new(10, 2);
        let dead: Vec<_> = (0..5).map(|_| EndpointId::new()).collect();
        assert_eq!(permits.failing().limit, 5);
        for endpoint in &dead {
            permits.begin(*endpoint, true);
        }
        assert_eq!(permits.failing().limit, 0);
        assert_eq!(permits.failing().busy.len(), 5);
        assert_eq!(permits.healthy().limit, 5);
        for endpoint in &dead {
            permits.end(*endpoint, true);
        }
        assert_eq!(permits.failing(), Wish { failing: true, limit: 5, per_endpoint: 1, busy: vec![] });
        assert_eq!(permits.healthy(), Wish { failing: false, limit: 10, per_endpoint: 1, busy: vec![] });
    }

    #[test]
    fn healthy_deliveries_leave_nothing_to_the_failing_when_all_permits_are_taken() {
        let mut permits = Permits::new(2, 8);
        permits.begin(EndpointId::new(), false);
        permits.begin(EndpointId::new(), false);
        assert_eq!((permits.healthy().limit, permits.failing().limit), (0, 0));
    }
}
