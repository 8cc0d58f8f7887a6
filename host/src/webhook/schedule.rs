//! What becomes of a delivery after an attempt: the back-off table, `Retry-After`, giving up.
//!
//! Pure: time and chance come as arguments. Must not know: HTTP clients, the database.

use crate::model::{AfterAttempt, Timestamp};
use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// Seconds to wait before each attempt, the first included: the example of Standard Webhooks 1.0.0,
/// about 76 hours in all.
pub const DELAYS_S: [u64; 10] =
    [0, 5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
/// Waits are spread by so much to both sides, so that an outage does not end in a stampede.
const JITTER_PER_MILLE: u64 = 200;
/// A receiver that says it is overloaded gets at least this pause, whatever the table says.
const THROTTLED_S_MIN: u64 = 60;
/// A `Retry-After` beyond this is not believed: the longest wait of the table.
const RETRY_AFTER_S_MAX: u64 = 24 * HOUR;
/// An endpoint that did nothing but fail for so long is disabled; longer than one delivery's table,
/// so that no single lost event does it.
pub const FAILING_MAX: Duration = Duration::from_secs(5 * 24 * HOUR);

/// What came of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver answered.
    Answered {
        /// HTTP status. Only 2xx is success; redirects are not followed.
        status: u16,
        /// Seconds, if the answer had `Retry-After`.
        retry_after_s: Option<u64>,
    },
    /// There was no answer: not reached, timed out, address refused.
    Unanswered,
}

/// Decides what becomes of the delivery.
///
/// `attempts`: recorded before this one. `failing_since`: of the endpoint, before this attempt.
/// `jitter`: any number; the whole range of `u32` is spread over ±20 %.
pub fn after(
    attempts: u32,
    outcome: Outcome,
    failing_since: Option<Timestamp>,
    now: Timestamp,
    jitter: u32,
) -> AfterAttempt {
    let (status, retry_after_s) = match outcome {
        Outcome::Answered { status: 200..=299, .. } => return AfterAttempt::Delivered,
        Outcome::Answered { status: 410, .. } => {
            return AfterAttempt::DisableEndpoint("the receiver answered 410 Gone".to_owned());
        }
        Outcome::Answered { status, retry_after_s } => (Some(status), retry_after_s),
        Outcome::Unanswered => (None, None),
    };
    if let Some(since) = failing_since.filter(|since| now.since(*since) >= FAILING_MAX) {
        return AfterAttempt::DisableEndpoint(format!("every attempt failed since {since}"));
    }
    let next = usize::try_from(attempts).unwrap_or(usize::MAX).saturating_add(1);
    let Some(delay_s) = DELAYS_S.get(next).copied() else {
        return AfterAttempt::Exhausted;
    };
    let throttled = matches!(status, Some(429 | 502 | 504));
    let base_s = if throttled { delay_s.max(THROTTLED_S_MIN) } else { delay_s };
    let wished = Duration::from_secs(retry_after_s.unwrap_or(0).min(RETRY_AFTER_S_MAX));
    AfterAttempt::Retry(now.plus(spread(base_s, jitter).max(wished)))
}

/// `base_s` seconds, ±20 %.
fn spread(base_s: u64, jitter: u32) -> Duration {
    let width = 2 * JITTER_PER_MILLE * u64::from(jitter) / u64::from(u32::MAX);
    Duration::from_millis(base_s * (1_000 - JITTER_PER_MILLE + width))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
    /// In the middle of the range: no jitter, to within a millisecond per second.
    const EVEN: u32 = u32::MAX / 2 + 1;

    fn status(status: u16) -> Outcome {
        Outcome::Answered { status, retry_after_s: None }
    }

    fn asked_to_wait(status: u16, seconds: u64) -> Outcome {
        Outcome::Answered { status, retry_after_s: Some(seconds) }
    }

    fn retry(seconds: u64) -> AfterAttempt {
        AfterAttempt::Retry(NOW.plus(Duration::from_secs(seconds)))
    }

    #[test]
    fn the_table_is_walked_to_its_end_and_no_further() {
        let waits = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        for (attempts, seconds) in (0..).zip(waits) {
            assert_eq!(after(attempts, status(500), None, NOW, EVEN), retry(seconds), "after {attempts}");
            assert_eq!(after(attempts, Outcome::Unanswered, None, NOW, EVEN), retry(seconds));
        }
        assert_eq!(after(9, status(500), None, NOW, EVEN), AfterAttempt::Exhausted);
        assert_eq!(after(u32::MAX, status(500), None, NOW, EVEN), AfterAttempt::Exhausted);
    }

    #[test]
    fn each_answer_has_its_consequence() {
        let gone = AfterAttempt::DisableEndpoint("the receiver answered 410 Gone".to_owned());
        for (outcome, expected) in [
            (status(200), AfterAttempt::Delivered),
            (status(204), AfterAttempt::Delivered),
            (status(299), AfterAttempt::Delivered),
            (status(199), retry(5)),
            (status(301), retry(5)),
            (status(308), retry(5)),
            (status(400), retry(5)),
            (status(404), retry(5)),
            (status(410), gone),
            (status(429), retry(60)),
            (status(500), retry(5)),
            (status(502), retry(60)),
            (status(503), retry(5)),
            (status(504), retry(60)),
            (Outcome::Unanswered, retry(5)),
        ] {
            assert_eq!(after(0, outcome, None, NOW, EVEN), expected, "{outcome:?}");
        }
    }

    #[test]
    fn retry_after_is_honoured_between_the_table_and_a_day() {
        for (attempts, outcome, expected) in [
            (0, asked_to_wait(429, 90), retry(90)),
            (0, asked_to_wait(503, 90), retry(90)),
            (0, asked_to_wait(429, 1), retry(60)),
            (0, asked_to_wait(503, 0), retry(5)),
            (2, asked_to_wait(503, 90), retry(1_800)),
            (0, asked_to_wait(503, u64::MAX), retry(86_400)),
            (9, asked_to_wait(503, 90), AfterAttempt::Exhausted),
            (0, asked_to_wait(200, 90), AfterAttempt::Delivered),
        ] {
            assert_eq!(after(attempts, outcome, None, NOW, EVEN), expected, "{outcome:?}");
        }
        // Chance never makes it earlier than the receiver asked for.
        assert_eq!(after(0, asked_to_wait(429, 60), None, NOW, 0), retry(60));
    }

    #[test]
    fn chance_spreads_a_wait_by_a_fifth_to_both_sides() {
        assert_eq!(after(1, status(500), None, NOW, 0), retry(240));
        assert_eq!(after(1, status(500), None, NOW, u32::MAX), retry(360));
    }

    #[test]
    fn five_days_of_nothing_but_failures_disable_the_endpoint() {
        let since = NOW.minus(FAILING_MAX);
        let disabled = AfterAttempt::DisableEndpoint(format!("every attempt failed since {since}"));
        assert_eq!(after(3, status(500), Some(since), NOW, EVEN), disabled);
        assert_eq!(after(9, Outcome::Unanswered, Some(since), NOW, EVEN), disabled);
        assert_eq!(after(3, status(200), Some(since), NOW, EVEN), AfterAttempt::Delivered);
        let later = since.plus(Duration::from_secs(1));
        assert_eq!(after(3, status(500), Some(later), NOW, EVEN), retry(7_200));
    }
}
