//! Which days to read of an account, and how far back what we hold reaches.
//!
//! Many banks give old history only right after the customer agreed. So all of it is asked for at
//! first, and once more with each new consent as long as some of it is missing: the first reading
//! may have come too late, or a gap may lie where the connection waited for its customer. A bank that
//! refuses a window is asked for a shorter one (`read`); nothing is removed by that, since only days
//! that were read are compared. Pure: days come as arguments.

use crate::model::{Coverage, LimitsProfile, Window};
use chrono::{Days, NaiveDate};

/// What we hold of an account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// The day of the last good reading.
    pub(super) until: Option<NaiveDate>,
    /// It reaches back to here without a gap, as far as readings proved it.
    pub(super) since: Option<NaiveDate>,
}

/// The days to read: all the history that the bank gives at first, then what may have changed since,
/// and all of it again if the customer agreed `anew` and some of it is missing.
pub(super) fn to_read(limits: &LimitsProfile, today: NaiveDate, held: Held, anew: bool) -> Window {
    let back = |from: NaiveDate, days: u32| from.checked_sub_days(Days::new(u64::from(days))).unwrap_or(from);
    let history = back(today, limits.history_days);
    let missing = held.since.is_none_or(|since| since > history);
    let since = match held.until {
        Some(until) if !(anew && missing) => back(until, limits.overlap_days).max(history),
        _ => history,
    };
    Window { since, until: today }
}

/// How far back what we hold reaches after this reading; a reading that begins after the last one
/// ended leaves a gap.
pub(super) fn held_since(held: Held, coverage: Option<&Coverage>) -> Option<NaiveDate> {
    let Some(read) = coverage.filter(|coverage| coverage.complete && coverage.snapshot) else {
        return held.since;
    };
    let read = read.window.since;
    match (held.since, held.until) {
        (Some(since), Some(until)) if read <= until => Some(since.min(read)),
        _ => Some(read),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::TransactionStatus;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }
    fn held(until: &str, since: Option<&str>) -> Held {
        Held { until: Some(day(until)), since: since.map(day) }
    }
    fn read(since: &str) -> Coverage {
        let window = Window { since: day(since), until: day("2026-12-31") };
        Coverage { snapshot: true, complete: true, window, statuses: vec![TransactionStatus::Booked] }
    }

    #[test]
    fn all_history_is_read_at_first_then_the_overlap_and_all_again_only_if_some_is_missing() {
        let limits = LimitsProfile { history_days: 365, overlap_days: 14, ..LimitsProfile::default() };
        let check = |held, anew, expected: &str| {
            let window = to_read(&limits, day("2026-12-31"), held, anew);
            assert_eq!(window, Window { since: day(expected), until: day("2026-12-31") }, "{held:?}");
        };
        check(Held { until: None, since: None }, false, "2025-12-31");
        check(held("2026-12-30", Some("2025-12-30")), false, "2026-12-16");
        check(held("2026-12-30", Some("2025-12-30")), true, "2026-12-16");
        // The first reading came too late for the whole year.
        check(held("2026-12-30", Some("2026-09-30")), false, "2026-12-16");
        check(held("2026-12-30", Some("2026-09-30")), true, "2025-12-31");
        check(held("2026-12-30", None), true, "2025-12-31");
        // It waited for its customer for longer than the bank has history.
        check(held("2025-06-01", Some("2024-06-01")), false, "2025-12-31");
    }

    #[test]
    fn a_reading_that_begins_after_the_last_one_ended_leaves_a_gap() {
        let check = |held, read: Option<&Coverage>, expected: Option<&str>| {
            assert_eq!(held_since(held, read), expected.map(day), "{held:?} {read:?}");
        };
        let (year, overlap, late) = (read("2025-12-31"), read("2026-12-16"), read("2026-12-31"));
        check(Held { until: None, since: None }, Some(&year), Some("2025-12-31"));
        check(held("2026-12-30", Some("2025-12-30")), Some(&overlap), Some("2025-12-30"));
        check(held("2026-12-30", Some("2026-09-30")), Some(&year), Some("2025-12-31"));
        check(held("2026-12-30", Some("2025-12-30")), Some(&late), Some("2026-12-31"));
        // What was not read to its end proves nothing.
        let broken = Coverage { complete: false, ..read("2025-12-31") };
        check(held("2026-12-30", Some("2026-09-30")), Some(&broken), Some("2026-09-30"));
        check(held("2026-12-30", Some("2026-09-30")), None, Some("2026-09-30"));
    }
}
