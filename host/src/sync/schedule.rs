//! When is a connection due next? Pure arithmetic over the profile, a phase and the time.
//!
//! Must not know: the database, how a sync is done.

use super::budget;
use crate::model::{Institution, Timestamp};
use aws_lc_rs::digest;
use std::time::Duration;

/// A phase is a fraction of the interval, in 2⁻³² of it.
const PHASE_BITS: u32 = 32;
/// The first back-off of an account: a bank that stumbled is often up again within minutes.
const BACK_OFF_BASE: Duration = Duration::from_secs(60);
/// After so many doublings only the cap counts.
const BACK_OFF_DOUBLINGS_MAX: u32 = 12;
/// Jitter of a back-off, in percent of it.
const BACK_OFF_JITTER_PERCENT: u64 = 20;
/// Windows compared to find the shortest time between two: more than a week has, if there is one a day.
const WINDOWS_COMPARED: usize = 10;

/// The first slot after `now`. Missed slots are skipped: there is no catching up. A connection's own interval
/// counts where it is the longer one; at a bank with windows, the first window in each interval is used. Where the bank lets
/// us read less often than that without the customer, what it allows is spread over its day.
pub fn next_slot(institution: &Institution, own: Option<u32>, phase: i64, now: Timestamp) -> Timestamp {
    let Some(per_day) = institution.limits.unattended_reads_per_day else {
        return slot_of_profile(institution, own, phase, now);
    };
    let between = u64::from(budget::minutes_between(per_day));
    if minutes_of_profile(institution, now).max(own.map_or(0, u64::from)) >= between {
        return slot_of_profile(institution, own, phase, now);
    }
    let spread = budget::next_slot(institution, per_day, phase, now);
    match institution.schedule.cron {
        // The first window that opens then.
        Some(_) => slot_of_profile(institution, own, phase, Timestamp(spread.0 - 1)),
        None => spread,
    }
}

/// The same, however often the bank lets us read.
fn slot_of_profile(institution: &Institution, own: Option<u32>, phase: i64, now: Timestamp) -> Timestamp {
    let schedule = &institution.schedule;
    let window = |after| next_in_window(institution, schedule.cron.as_deref()?, phase, after);
    let Some(first_window) = window(now) else {
        let minutes = schedule.interval_minutes.max(own.unwrap_or(0));
        return next_on_grid(minutes, phase, now);
    };
    let Some(minutes) = own else { return first_window };
    let next = next_on_grid(minutes, phase, now);
    let begun = Timestamp(next.0 - micros(minutes));
    // The grid's point itself may be a slot.
    let of_interval = |begin: Timestamp| window(Timestamp(begin.0 - 1)).filter(|slot| *slot > now);
    of_interval(begun).or_else(|| of_interval(next)).unwrap_or(first_window)
}

/// The first moment after `now` that lies at this phase of the interval.
fn next_on_grid(minutes: u32, phase: i64, now: Timestamp) -> Timestamp {
    let interval = micros(minutes.max(1));
    let offset = part_of(interval, phase);
    let rounds = (now.0 - offset).div_euclid(interval) + 1;
    Timestamp(rounds * interval + offset)
}

fn micros(minutes: u32) -> i64 {
    i64::from(minutes) * 60_000_000
}

/// The shortest interval, in minutes, that a connection of this bank may have: the bank's own, or the shortest
/// time between two of its next windows.
pub fn interval_min(institution: &Institution, now: Timestamp) -> u32 {
    let schedule = &institution.schedule;
    let opened = schedule.cron.as_deref().and_then(|cron| cron.parse::<cron::Schedule>().ok());
    let Some((cron, zone)) = opened.zip(institution.time_zone.parse::<chrono_tz::Tz>().ok()) else {
        return schedule.interval_minutes;
    };
    let from = now.utc().with_timezone(&zone);
    let openings: Vec<i64> = cron.after(&from).take(WINDOWS_COMPARED).map(|at| at.timestamp()).collect();
    let gaps = openings.iter().zip(openings.iter().skip(1)).map(|(one, next)| (next - one) / 60);
    gaps.min().and_then(|minutes| u32::try_from(minutes).ok()).unwrap_or(schedule.window_minutes)
}

/// The first slot after `now` within the windows that a cron expression opens in the bank's time zone.
fn next_in_window(institution: &Institution, cron: &str, phase: i64, now: Timestamp) -> Option<Timestamp> {
    let cron: cron::Schedule = cron.parse().ok()?;
    let zone: chrono_tz::Tz = institution.time_zone.parse().ok()?;
    let offset = part_of(micros(institution.schedule.window_minutes), phase);
    // A window that opened before now may still hold our slot.
    let from = Timestamp(now.0 - offset).utc().with_timezone(&zone);
    let opened = cron.after(&from).next()?;
    Some(Timestamp(opened.timestamp_micros() + offset))
}

/// How many minutes lie between two syncs of a connection; for a cron expression, on average of a week.
pub fn minutes_between(institution: &Institution, now: Timestamp) -> u64 {
    let allowed = institution.limits.unattended_reads_per_day.map_or(0, budget::minutes_between);
    minutes_of_profile(institution, now).max(u64::from(allowed))
}

fn minutes_of_profile(institution: &Institution, now: Timestamp) -> u64 {
    const WEEK: u64 = 7 * 24 * 60;
    let schedule = &institution.schedule;
    let cron = schedule.cron.as_deref().and_then(|cron| cron.parse::<cron::Schedule>().ok());
    let (Some(cron), Ok(zone)) = (cron, institution.time_zone.parse::<chrono_tz::Tz>()) else {
        return u64::from(schedule.interval_minutes);
    };
    let from = now.utc().with_timezone(&zone);
    let end = now.plus(Duration::from_secs(WEEK * 60)).utc();
    // More often than every minute is every minute.
    let windows = cron.after(&from).take_while(|opened| *opened <= end).take(WEEK as usize).count();
    WEEK / u64::try_from(windows).unwrap_or(WEEK).max(1)
}

fn part_of(span: i64, phase: i64) -> i64 {
    ((i128::from(span) * i128::from(phase)) >> PHASE_BITS) as i64
}

/// How long to leave an account alone after so many failures in a row: doubling with jitter, never
/// longer than the interval. The jitter is a hash, so that runs can be repeated.
pub fn back_off(institution: &Institution, seed: &[u8], failures: i32) -> Duration {
    let cap = Duration::from_secs(u64::from(institution.schedule.interval_minutes) * 60);
    let doublings = u32::try_from(failures).unwrap_or(0).min(BACK_OFF_DOUBLINGS_MAX);
    let whole = BACK_OFF_BASE.saturating_mul(1 << doublings).min(cap);
    let range = whole * u32::try_from(BACK_OFF_JITTER_PERCENT).unwrap_or(0) / 100;
    let part = u128::from(hash(&[seed, &failures.to_be_bytes()]));
    let jitter = (range.as_micros() * part) >> PHASE_BITS;
    whole - Duration::from_micros(u64::try_from(jitter).unwrap_or(0))
}

fn hash(parts: &[&[u8]]) -> u32 {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let sum = context.finish();
    sum.as_ref().iter().take(4).fold(0, |bits, byte| (bits << 8) | u32::from(*byte))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::ConnectionId;

    const HOUR: i64 = 3_600_000_000;

    fn institution(extra: &str) -> Institution {
        let text = format!(
            "name = \"Bank\"\ncountry = \"GB\"\nconnector = \"c\"\ntime-zone = \"Europe/London\"\n[origins]\n[schedule]\n{extra}\n"
        );
        Institution::parse("bank", &text).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::from(text.parse::<chrono::DateTime<chrono::Utc>>().unwrap())
    }

    #[test]
    fn slots_keep_their_phase_and_missed_ones_are_skipped() {
        let hourly = institution("");
        for phase in [0, 1 << 30, (1 << 32) - 1] {
            let now = at("2026-03-01T10:17:00Z");
            let slot = next_slot(&hourly, None, phase, now);
            assert!(slot > now && slot.0 - now.0 <= HOUR);
            assert_eq!(slot.0.rem_euclid(HOUR), part_of(HOUR, phase));
            assert_eq!(next_slot(&hourly, None, phase, slot).0 - slot.0, HOUR);
            let after_a_week = Timestamp(slot.0 + 7 * 24 * HOUR + 5);
            assert!(next_slot(&hourly, None, phase, after_a_week).0 - after_a_week.0 <= HOUR);
        }
    }

    #[test]
    fn how_often_a_bank_is_asked_is_its_interval_or_how_often_its_window_opens() {
        let now = at("2026-03-01T10:17:00Z");
        for (schedule, minutes) in [
            ("", 60),
            ("interval-minutes = 90", 90),
            ("cron = \"0 30 1 * * *\"", 1_440),
            ("cron = \"0 0 6,18 * * *\"", 720),
            ("cron = \"0 0 6 * * Mon\"", 10_080),
            ("cron = \"* * * * * *\"", 1),
            ("cron = \"0 0 6 1 1 * 2030\"", 10_080),
        ] {
            assert_eq!(minutes_between(&institution(schedule), now), minutes, "{schedule}");
        }
    }

    #[test]
    fn an_institutions_syncs_are_spread_over_the_hour() {
        let hourly = institution("");
        let now = at("2026-03-01T10:00:00Z");
        let mut per_minute = [0_u32; 60];
        for _ in 0..6_000 {
            let slot = next_slot(&hourly, None, ConnectionId::new().phase(), now);
            let minute = usize::try_from((slot.0 - now.0 - 1) / 60_000_000).unwrap();
            *per_minute.get_mut(minute).unwrap() += 1;
        }
        // 100 a minute on average; six standard deviations either side.
        assert!(per_minute.iter().all(|count| (40..160).contains(count)), "{per_minute:?}");
    }

    #[test]
    fn a_cron_window_opens_in_the_banks_time_zone_and_is_spread() {
        let nightly = institution("cron = \"0 0 6 * * *\"\nwindow-minutes = 120");
        // Winter: London is UTC.
        let now = at("2026-01-10T12:00:00Z");
        assert_eq!(next_slot(&nightly, None, 0, now), at("2026-01-11T06:00:00Z"));
        assert_eq!(next_slot(&nightly, None, 1 << 31, now), at("2026-01-11T07:00:00Z"));
        // Summer: an hour earlier in UTC.
        assert_eq!(next_slot(&nightly, None, 0, at("2026-07-10T12:00:00Z")), at("2026-07-11T05:00:00Z"));
        // A window that is open still holds the slots that are to come, and only these.
        assert_eq!(
            next_slot(&nightly, None, 1 << 31, at("2026-01-11T06:30:00Z")),
            at("2026-01-11T07:00:00Z")
        );
        assert_eq!(
            next_slot(&nightly, None, 1 << 31, at("2026-01-11T07:00:00Z")),
            at("2026-01-12T07:00:00Z")
        );
    }

    #[test]
    fn a_connections_own_interval_keeps_its_phase_and_is_never_shorter_than_the_banks() {
        let hourly = institution("");
        let now = at("2026-03-01T10:17:00Z");
        for phase in [0, 1 << 30, (1 << 32) - 1] {
            let slot = next_slot(&hourly, Some(360), phase, now);
            assert!(slot > now && slot.0 - now.0 <= 6 * HOUR);
            assert_eq!(slot.0.rem_euclid(6 * HOUR), part_of(6 * HOUR, phase));
            assert_eq!(next_slot(&hourly, Some(360), phase, slot).0 - slot.0, 6 * HOUR);
            assert_eq!(next_slot(&hourly, Some(30), phase, now), next_slot(&hourly, None, phase, now));
        }
        assert_eq!(interval_min(&hourly, now), 60);
    }

    #[test]
    fn at_a_bank_with_windows_a_longer_interval_leaves_some_out_and_stays_within_them() {
        let nightly = institution("cron = \"0 0 6 * * *\"\nwindow-minutes = 120");
        let start = at("2026-01-10T12:00:00Z");
        assert_eq!(interval_min(&nightly, start), 24 * 60);
        assert_eq!(interval_min(&institution("cron = \"0 0 6,9 * * *\""), start), 3 * 60);
        for phase in [0, 1 << 30, 1 << 31, (1 << 32) - 1] {
            for days in [1, 2, 7] {
                let mut now = start;
                let mut slots = Vec::new();
                for _ in 0..6 {
                    now = next_slot(&nightly, Some(days * 24 * 60), phase, now);
                    slots.push(now);
                }
                let offset = part_of(2 * HOUR, phase);
                for (slot, next) in slots.iter().zip(slots.iter().skip(1)) {
                    assert_eq!(slot.0.rem_euclid(24 * HOUR), 6 * HOUR + offset, "winter: London is UTC");
                    assert_eq!(next.0 - slot.0, i64::from(days) * 24 * HOUR);
                }
                // From any moment in between it is the same next slot.
                let (Some(first), Some(second)) = (slots.first(), slots.get(1)) else { panic!() };
                let between = Timestamp(first.0 + (second.0 - first.0) / 3);
                assert_eq!(next_slot(&nightly, Some(days * 24 * 60), phase, between), *second);
            }
        }
    }

    #[test]
    fn back_off_doubles_with_jitter_up_to_the_interval() {
        let hourly = institution("");
        let mut last = Duration::ZERO;
        for failures in 0..40 {
            let span = back_off(&hourly, b"account", failures);
            assert!(
                span <= Duration::from_secs(3600) && span >= Duration::from_secs(48),
                "{failures}: {span:?}"
            );
            assert!(failures > 5 || span > last);
            last = span;
        }
        assert_ne!(back_off(&hourly, b"a", 3), back_off(&hourly, b"b", 3));
    }
}
