//! How fast a bank is asked: so many requests a minute, smoothly, whoever asks. Each request has a place in a line;
//! waiting counts against the run's deadline, so a place that would come too late is not taken.

use super::{Call, EgressError};
use crate::clock::Clock;
use crate::model::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// When the next request of each paced institution may leave, in this process.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<String, Timestamp>>);

impl Pace {
    /// Waits for a place, if the institution has a pace.
    pub async fn wait(&self, clock: &Clock, call: &Call<'_>) -> Result<(), EgressError> {
        let Some(per_minute) = call.requests_per_minute else { return Ok(()) };
        let place = self.place(call.institution, per_minute, clock.now(), call.deadline.left())?;
        clock.sleep_until(place).await;
        match call.deadline.passed() {
            true => Err(EgressError::DeadlinePassed),
            false => Ok(()),
        }
    }

    /// The next place in the line, taken; or how long the line is, if it is too long.
    fn place(
        &self,
        institution: &str,
        per_minute: u32,
        now: Timestamp,
        left: Duration,
    ) -> Result<Timestamp, EgressError> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = lines.get(institution).copied().unwrap_or(now).max(now);
        let wait = place.since(now);
        if wait >= left {
            return Err(EgressError::LineTooLong { wait });
        }
        lines.insert(institution.to_owned(), place.plus(MINUTE / per_minute.max(1)));
        Ok(place)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whenever requests come, no minute has more of them than the bank allows, and nobody waits without need.
        #[test]
        fn no_minute_has_more_requests_than_the_bank_allows(
            per_minute in 1_u32..300,
            gaps in prop::collection::vec(0_u64..5_000, 1..200),
        ) {
            let pace = Pace::default();
            let mut now = Timestamp(1_800_000_000_000_000);
            let mut sent = Vec::<Timestamp>::new();
            for gap in gaps {
                now = now.plus(Duration::from_millis(gap));
                let place = pace.place("bank", per_minute, now, Duration::from_secs(86_400)).unwrap();
                let needs = sent.last().map_or(now, |last| last.plus(MINUTE / per_minute));
                prop_assert_eq!(place, needs.max(now));
                sent.push(place);
            }
            for (first, from) in sent.iter().enumerate() {
                let minute = sent.iter().skip(first).take_while(|at| at.since(*from) < MINUTE - Duration::from_millis(1));
                prop_assert!(minute.count() <= per_minute as usize);
            }
            prop_assert_eq!(pace.place("other", per_minute, now, MINUTE).unwrap(), now, "each bank has a line of its own");
        }
    }

    #[test]
    fn a_place_that_comes_too_late_is_not_taken() {
        let (pace, now) = (Pace::default(), Timestamp(1_800_000_000_000_000));
        let second = Duration::from_secs(1);
        assert_eq!(pace.place("bank", 6, now, second), Ok(now));
        assert_eq!(pace.place("bank", 6, now, second), Err(EgressError::LineTooLong { wait: 10 * second }));
        assert_eq!(pace.place("bank", 6, now, MINUTE), Ok(now.plus(10 * second)));
    }
}
