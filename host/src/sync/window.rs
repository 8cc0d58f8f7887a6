//! Which days to read of an account, and how far back what we hold reaches.
//!
//! At first the newest days are read, so that the business sees something at once; older history follows in
//! pieces, newest first (`history`). From then on what may have changed is read again: as many days as bookings
//! were seen to be late, or as it takes to see whether a pending row still stands. Once a day, in the bank's quiet hour, all of its history is, which finds what came later
//! still. Many banks give old history only right after the customer agreed, so a new consent asks for it again.
//! A bank that refuses a window is asked for a shorter one (`read`); nothing is removed by that, since only days
//! that were read are compared. Pure: days come as arguments.

use crate::model::{Coverage, LimitsProfile, Standing, Window};
use chrono::{Days, NaiveDate};

/// Days of the first reading: what people look at first, and a page or two.
const FIRST_DAYS: u32 = 31;
/// Days of each further piece of history: a busy account has some hundred rows in them.
const PIECE_DAYS: u32 = 92;
/// From this hour on, by the bank's clock, the first reading of a day is of all history: banks do their own night's
/// work before, and their customers sleep.
const QUIET_HOUR: u32 = 3;

/// What we hold of an account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held<'a> {
    /// The day of the last good reading.
    pub(super) until: Option<NaiveDate>,
    /// It reaches back to here without a gap, as far as readings proved it.
    pub(super) since: Option<NaiveDate>,
    /// Older history is still being read.
    pub(super) is_growing: bool,
    /// What is remembered.
    pub(super) standing: &'a Standing,
}

/// The days to read, and whether they are all that the bank gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) window: Window,
    pub(super) is_all: bool,
}

fn back(from: NaiveDate, days: u32) -> NaiveDate {
    from.checked_sub_days(Days::new(u64::from(days))).unwrap_or(from)
}

/// The first day of all that the bank gives, as far as we know.
pub(super) fn first_day(limits: &LimitsProfile, today: NaiveDate, standing: &Standing) -> NaiveDate {
    back(today, standing.reach_days.unwrap_or(u32::MAX).min(limits.history_days))
}

/// All that the bank gives.
pub(super) fn all(limits: &LimitsProfile, today: NaiveDate, standing: &Standing) -> Plan {
    Plan { window: Window { since: first_day(limits, today, standing), until: today }, is_all: true }
}

/// The first day that is read again however little has changed.
pub(super) fn overlap_from(limits: &LimitsProfile, today: NaiveDate, held: Held<'_>) -> NaiveDate {
    let days = held.standing.lateness.overlap_days().unwrap_or(limits.overlap_days);
    let since = back(held.until.unwrap_or(today), days);
    // The first day is no evidence: one more shows whether an old pending row still stands.
    let since = held.standing.pending_since.map_or(since, |pending| since.min(back(pending, 1)));
    since.max(first_day(limits, today, held.standing))
}

/// The days to read now.
pub(super) fn to_read(limits: &LimitsProfile, (today, hour): (NaiveDate, u32), held: Held<'_>) -> Plan {
    let everything = all(limits, today, held.standing);
    let first = everything.window.since;
    let since = match held.until {
        None => back(today, FIRST_DAYS).max(first),
        Some(_)
            if held.standing.all_looked_on.is_some_and(|day| day < today)
                && hour >= QUIET_HOUR
                && !held.is_growing =>
        {
            first
        }
        Some(_) => overlap_from(limits, today, held),
    };
    Plan { window: Window { since, until: today }, is_all: since <= first }
}

/// The next piece of older history; none if there is none.
pub(super) fn older(limits: &LimitsProfile, today: NaiveDate, held: Held<'_>) -> Option<Plan> {
    let (first, until) = (first_day(limits, today, held.standing), held.since?);
    let since = back(until, PIECE_DAYS).max(first);
    (first < until).then_some(Plan { window: Window { since, until }, is_all: since <= first })
}

/// How far back what we hold reaches after this reading; a reading that begins after the last one
/// ended leaves a gap.
pub(super) fn held_since(held: Held<'_>, coverage: Option<&Coverage>) -> Option<NaiveDate> {
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
    fn read(since: &str) -> Coverage {
        let window = Window { since: day(since), until: day("2026-12-31") };
        Coverage { snapshot: true, complete: true, window, statuses: vec![TransactionStatus::Booked] }
    }

    #[test]
    fn the_newest_days_first_then_older_pieces_then_the_overlap_and_all_of_it_once_a_day() {
        let limits = LimitsProfile { history_days: 365, overlap_days: 14, ..LimitsProfile::default() };
        let today = day("2026-12-31");
        let mut standing = Standing::default();
        let window = |plan: Plan| (plan.window.since.to_string(), plan.is_all);
        let none = Held { until: None, since: None, is_growing: false, standing: &standing };
        assert_eq!(window(to_read(&limits, (today, 12), none)), ("2026-11-30".into(), false));
        assert_eq!(older(&limits, today, none), None);
        let mut since = day("2026-11-30");
        let mut pieces = Vec::new();
        while let Some(plan) = older(&limits, today, Held { since: Some(since), ..none }) {
            assert_eq!(plan.window.until, since);
            since = plan.window.since;
            pieces.push(window(plan));
        }
        let pieces: Vec<_> = pieces.iter().map(|(since, is_all)| (since.as_str(), *is_all)).collect();
        assert_eq!(
            pieces,
            [("2026-08-30", false), ("2026-05-30", false), ("2026-02-27", false), ("2025-12-31", true)]
        );

        standing.all_looked_on = Some(day("2026-12-30"));
        let held = Held {
            until: Some(day("2026-12-30")),
            since: Some(since),
            is_growing: false,
            standing: &standing,
        };
        assert_eq!(window(to_read(&limits, (today, 2), held)), ("2026-12-16".into(), false));
        assert_eq!(window(to_read(&limits, (today, 3), held)), ("2025-12-31".into(), true));
        assert_eq!(
            window(to_read(&limits, (today, 3), Held { is_growing: true, ..held })),
            ("2026-12-16".into(), false)
        );
        let mut seen = Standing { all_looked_on: Some(today), reach_days: Some(90), ..Standing::default() };
        let same_day = Held { until: Some(today), standing: &seen, ..held };
        assert_eq!(window(to_read(&limits, (today, 3), same_day)), ("2026-12-17".into(), false));
        assert_eq!(window(all(&limits, today, &seen)), ("2026-10-02".into(), true));
        (0..100).for_each(|_| seen.lateness.count(0));
        let measured = Held { until: Some(today), standing: &seen, ..held };
        assert_eq!(
            window(to_read(&limits, (today, 3), measured)),
            ("2026-12-28".into(), false),
            "nothing came late"
        );
    }

    #[test]
    fn a_reading_that_begins_after_the_last_one_ended_leaves_a_gap() {
        let standing = Standing::default();
        let held = |until: &str, since: Option<&str>| Held {
            until: Some(day(until)),
            since: since.map(day),
            is_growing: false,
            standing: &standing,
        };
        let check = |held, read: Option<&Coverage>, expected: Option<&str>| {
            assert_eq!(held_since(held, read), expected.map(day), "{held:?} {read:?}");
        };
        let (year, overlap, late) = (read("2025-12-31"), read("2026-12-16"), read("2026-12-31"));
        check(Held { until: None, ..held("2026-12-30", None) }, Some(&year), Some("2025-12-31"));
        check(held("2026-12-30", Some("2025-12-30")), Some(&overlap), Some("2025-12-30"));
        check(held("2026-12-30", Some("2026-09-30")), Some(&year), Some("2025-12-31"));
        check(held("2026-12-30", Some("2025-12-30")), Some(&late), Some("2026-12-31"));
        // What was not read to its end proves nothing.
        let broken = Coverage { complete: false, ..read("2025-12-31") };
        check(held("2026-12-30", Some("2026-09-30")), Some(&broken), Some("2026-09-30"));
        check(held("2026-12-30", Some("2026-09-30")), None, Some("2026-09-30"));
    }
}
