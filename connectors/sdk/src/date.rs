//! Civil dates of a bank, and moments in Unix milliseconds. Gregorian, without a zone table: a date
//! is taken as it is written.

use std::time::{Duration, SystemTime};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// The date that a date or date-time text starts with, as written (`YYYY-MM-DD`), whatever its
/// offset: the bank's day. None if that is not a day of the calendar.
#[inline]
pub fn civil(text: &str) -> Option<&str> {
    let date = text.get(..10)?;
    if !matches!(text.as_bytes().get(10), None | Some(b'T' | b't' | b' ' | b'Z' | b'+')) {
        return None;
    }
    parts(date).map(|_| date)
}

/// Year, month and day of `YYYY-MM-DD`.
fn parts(date: &str) -> Option<(i64, i64, i64)> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date.as_bytes() else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0_i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=length).contains(&day).then_some((year, month, day))
}

/// Days since 1970-01-01 of a date `YYYY-MM-DD`.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
pub fn days(date: &str) -> Option<i64> {
    let (year, month, day) = parts(date)?;
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// The date so many days after 1970-01-01; years 0 to 9999 have four digits.
///
/// Source: as [`days`], `civil_from_days`.
pub fn from_days(days: i64) -> String {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The date so many days later (or, negative, earlier).
pub fn plus_days(date: &str, more: i64) -> Option<String> {
    days(date)?.checked_add(more).map(from_days)
}

/// Unix milliseconds of an ISO 8601 date-time such as `2017-04-05T10:43:07.250+01:00`. A date alone
/// is its midnight; without an offset it is read as UTC. None before 1970 or if it is not one.
pub fn unix_ms(text: &str) -> Option<u64> {
    let date = civil(text)?;
    let midnight = days(date)?.checked_mul(DAY_MS)?;
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return u64::try_from(midnight).ok();
    }
    let clock = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, offset_ms) = offset(clock)?;
    let (hms, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let two = |text: &str| -> Option<i64> {
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let mut fields = hms.split(':');
    let (hours, minutes) = (two(fields.next()?)?, two(fields.next()?)?);
    let seconds = fields.next().map_or(Some(0), two)?;
    if fields.next().is_some() || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    let mut millis = 0;
    let mut weight = 100;
    for digit in fraction.bytes() {
        if !digit.is_ascii_digit() {
            return None;
        }
        millis += i64::from(digit - b'0') * weight;
        weight /= 10;
    }
    let of_day = ((hours * 60 + minutes) * 60 + seconds) * 1_000 + millis;
    u64::try_from(midnight + of_day - offset_ms).ok()
}

/// Splits `10:43:07+01:00` into the clock and its offset in milliseconds.
fn offset(clock: &str) -> Option<(&str, i64)> {
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = clock.rfind(['+', '-']) else {
        return Some((clock, 0));
    };
    let (clock, written) = clock.split_at(at);
    let (sign, digits) = written.split_at(1);
    let digits: String = digits.chars().filter(|letter| *letter != ':').collect();
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes: i64 =
        digits.get(2..).filter(|text| !text.is_empty()).map_or(Some(0), |text| text.parse().ok())?;
    let millis = (hours * 60 + minutes) * 60_000;
    Some((clock, if sign == "-" { -millis } else { millis }))
}

/// ISO 8601 in UTC, whole seconds: `2017-04-05T10:43:07Z`.
pub fn iso(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000;
    let of_day = seconds % 86_400;
    let date = from_days(i64::try_from(seconds / 86_400).unwrap_or(i64::MAX));
    format!("{date}T{:02}:{:02}:{:02}Z", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

/// RFC 9110 date, as HTTP headers have it: `Wed, 05 Apr 2017 10:43:07 GMT`. None after the year
/// 9999, which the format cannot say.
pub fn http_date(unix_ms: u64) -> Option<String> {
    // 9999-12-31T23:59:59Z
    const LAST_S: u64 = 253_402_300_799;
    let seconds = unix_ms / 1_000;
    (seconds <= LAST_S)
        .then(|| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
}

/// Unix milliseconds of an HTTP date, in any of the three forms of RFC 9110.
pub fn from_http_date(text: &str) -> Option<u64> {
    let moment = httpdate::parse_http_date(text.trim()).ok()?;
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_bank_day_is_taken_as_written() {
        for (text, expected) in [
            ("2017-04-05T10:43:07+00:00", Some("2017-04-05")),
            ("2017-04-05T23:59:59-11:00", Some("2017-04-05")),
            ("2017-04-05", Some("2017-04-05")),
            ("2024-02-29T00:00:00Z", Some("2024-02-29")),
            ("2023-02-29T00:00:00Z", None),
            ("2000-02-29", Some("2000-02-29")),
            ("1900-02-29", None),
            ("2017-13-05", None),
            ("2017-00-05", None),
            ("2017-04-31", None),
            ("2017-04-00", None),
            ("2017-4-5", None),
            ("2017-04-051", None),
            ("20170405T1043", None),
            ("٢٠١٧-٠٤", None),
            ("", None),
        ] {
            assert_eq!(civil(text), expected, "{text}");
        }
    }

    #[test]
    fn days_count_across_months_years_and_leap_days() {
        assert_eq!(days("1970-01-01"), Some(0));
        assert_eq!(days("2000-03-01"), Some(11_017));
        assert_eq!(plus_days("2024-02-28", 2).as_deref(), Some("2024-03-01"));
        assert_eq!(plus_days("2024-01-01", -1).as_deref(), Some("2023-12-31"));
        for day in (-200_000..200_000).step_by(97) {
            assert_eq!(days(&from_days(day)), Some(day));
        }
    }

    #[test]
    fn moments_are_read_with_their_offset() {
        let at = 1_491_388_987_000;
        for text in [
            "2017-04-05T10:43:07Z",
            "2017-04-05T10:43:07+00:00",
            "2017-04-05T11:43:07+01:00",
            "2017-04-05T05:13:07-0530",
            "2017-04-05T10:43:07",
        ] {
            assert_eq!(unix_ms(text), Some(at), "{text}");
        }
        assert_eq!(unix_ms("2017-04-05T10:43:07.2509Z"), Some(at + 250));
        assert_eq!(unix_ms("2017-04-05"), Some(1_491_350_400_000));
        for wrong in
            ["2017-04-05T25:00:00Z", "2017-04-05T10", "2017-04-05T10:43:07+1", "1969-12-31T00:00:00Z", "soon"]
        {
            assert_eq!(unix_ms(wrong), None, "{wrong}");
        }
        assert_eq!(iso(at), "2017-04-05T10:43:07Z");
    }

    #[test]
    fn http_dates_are_written_and_read() {
        let text = http_date(1_491_388_987_000).unwrap();
        assert_eq!(text, "Wed, 05 Apr 2017 10:43:07 GMT");
        assert_eq!(from_http_date(&text), Some(1_491_388_987_000));
        assert_eq!(from_http_date("120"), None);
        assert_eq!(http_date(u64::MAX), None);
    }
}
