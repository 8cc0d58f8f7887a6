//! How often a bank lets us read an account without its customer, and when: so many times a day of the bank's, spread
//! evenly over it, with one in reserve. Pure arithmetic over the profile, a phase and the time.
//!
//! The count itself is kept by the store, which raises it before a read leaves. Must not know: the database, how a
//! reading is done.

use crate::model::{Institution, Timestamp};
use chrono::{Days, NaiveDate, NaiveTime, TimeZone};
use chrono_tz::Tz;

/// Reads that are not planned, if there are more than one: for what failed, or must be read again.
const RESERVE: u32 = 1;
/// Older history takes one in so many, at most: what is new goes first.
const HISTORY_ONE_IN: u32 = 2;
/// A phase is a fraction of a slot's time, in 2⁻³² of it.
const PHASE_BITS: u32 = 32;
const MINUTES_OF_DAY: u32 = 24 * 60;

/// How many reads of a day are planned.
pub(super) fn planned(per_day: u32) -> u32 {
    if per_day > RESERVE { per_day - RESERVE } else { per_day }
}

/// How many reads of a day may have been made when a piece of older history is read.
pub(super) fn for_history(per_day: u32) -> u32 {
    (per_day / HISTORY_ONE_IN).max(1)
}

/// Minutes between two planned reads.
pub(super) fn minutes_between(per_day: u32) -> u32 {
    MINUTES_OF_DAY.div_ceil(planned(per_day).max(1))
}

/// When the bank's day ends that `now` is in.
pub(super) fn day_end(institution: &Institution, now: Timestamp) -> Timestamp {
    let zone = zone(institution);
    let today = now.utc().with_timezone(&zone).date_naive();
    begin(zone, today + Days::new(1))
}

/// The first moment after `now` at which a read is planned: each part of the bank's day has one, at this phase of it.
pub(super) fn next_slot(institution: &Institution, per_day: u32, phase: i64, now: Timestamp) -> Timestamp {
    let zone = zone(institution);
    let mut day = now.utc().with_timezone(&zone).date_naive();
    loop {
        let (start, end) = (begin(zone, day), begin(zone, day + Days::new(1)));
        let part = (end.0 - start.0) / i64::from(planned(per_day).max(1));
        let offset = ((i128::from(part) * i128::from(phase)) >> PHASE_BITS) as i64;
        let mut slots =
            (0..i64::from(planned(per_day).max(1))).map(|slot| Timestamp(start.0 + slot * part + offset));
        if let Some(next) = slots.find(|slot| *slot > now) {
            return next;
        }
        day = day + Days::new(1);
    }
}

fn zone(institution: &Institution) -> Tz {
    institution.time_zone.parse().unwrap_or(Tz::UTC)
}

/// The first moment of a day; where clocks go forward at midnight, there is no midnight.
fn begin(zone: Tz, day: NaiveDate) -> Timestamp {
    let mut hours = (0..24).filter_map(|hour| NaiveTime::from_hms_opt(hour, 0, 0));
    match hours.find_map(|time| zone.from_local_datetime(&day.and_time(time)).earliest()) {
        Some(moment) => Timestamp::from(moment.to_utc()),
        None => Timestamp::from(day.and_time(NaiveTime::MIN).and_utc()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const DAY: i64 = 24 * 3_600_000_000;

    fn institution(zone: &str) -> Institution {
        let text = format!(
            "name = \"Bank\"\ncountry = \"GB\"\nconnector = \"c\"\ntime-zone = \"{zone}\"\n[origins]\n"
        );
        Institution::parse("bank", &text).unwrap()
    }

    proptest! {
        /// Also on the days when clocks change, and where they change at midnight.
        #[test]
        fn each_day_of_the_bank_has_its_planned_reads_evenly_and_one_is_left(
            per_day in 1_u32..50,
            phase in 0_i64..(1 << 32),
            start in 1_700_000_000_000_000_i64..1_900_000_000_000_000,
            zone in prop::sample::select(vec!["Europe/London", "UTC", "America/Havana", "Africa/Cairo", "Asia/Kathmandu"]),
        ) {
            let bank = institution(zone);
            let tz: Tz = zone.parse().unwrap();
            let mut now = Timestamp(start);
            let mut per_bank_day = BTreeMap::<NaiveDate, u32>::new();
            let mut slots = Vec::new();
            while now.0 < start + 4 * DAY {
                let next = next_slot(&bank, per_day, phase, now);
                prop_assert!(next > now);
                // From any moment in between it is the same one.
                prop_assert_eq!(next_slot(&bank, per_day, phase, Timestamp(now.0 + (next.0 - now.0) / 2)), next);
                *per_bank_day.entry(next.utc().with_timezone(&tz).date_naive()).or_default() += 1;
                slots.push(next);
                now = next;
            }
            let whole = per_bank_day.len() - 1;
            for (day, reads) in per_bank_day.iter().skip(1).take(whole.saturating_sub(1)) {
                prop_assert_eq!(*reads, planned(per_day), "{}", day);
            }
            prop_assert!(per_day == 1 || per_bank_day.values().all(|reads| *reads < per_day));
            let part = DAY / i64::from(planned(per_day));
            for (one, next) in slots.iter().zip(slots.iter().skip(1)) {
                // A day has 23 to 25 hours.
                let gap = next.0 - one.0;
                prop_assert!((part * 9 / 10..=part * 11 / 10 + 3_600_000_000).contains(&gap), "{} of {}", gap, part);
            }
        }

        #[test]
        fn a_day_ends_where_the_next_begins(
            start in 1_700_000_000_000_000_i64..1_900_000_000_000_000,
            zone in prop::sample::select(vec!["Europe/London", "UTC", "America/Havana", "Africa/Cairo"]),
        ) {
            let (bank, now) = (institution(zone), Timestamp(start));
            let end = day_end(&bank, now);
            prop_assert!(end > now && end.0 - now.0 <= 25 * DAY / 24);
            let tz: Tz = zone.parse().unwrap();
            let day = |at: Timestamp| at.utc().with_timezone(&tz).date_naive();
            prop_assert_eq!(day(Timestamp(end.0 - 1)), day(now));
            prop_assert_eq!(day(end), day(now) + Days::new(1));
        }
    }
}
