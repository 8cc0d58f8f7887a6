//! Rows on their way out of a door: those of some days, a page of them, and what a fault does to the
//! first one.
//!
//! Must not know: how a door writes them.

use crate::bank::books::{Account, Entry};
use crate::bank::statement::RowStatus;
use crate::bank::transaction_rows::Tweak;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, NaiveDate, Utc};

/// Entries with a booking day in here, both inclusive, oldest first.
pub(super) fn of_days(account: &Account, from: NaiveDate, to: NaiveDate) -> &[Entry] {
    let entries = account.entries.as_slice();
    let first = entries.partition_point(|entry| entry.booked_at.date_naive() < from);
    let end = entries.partition_point(|entry| entry.booked_at.date_naive() <= to);
    entries.get(first..end.max(first)).unwrap_or_default()
}

pub(super) fn is_booked(entry: &Entry) -> bool {
    entry.status == RowStatus::Booked
}

/// Where a page ended, as an opaque text: rows that come or go meanwhile double or hide none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(DateTime<Utc>, u64);

impl Place {
    pub(super) fn text(self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}.{}", self.0.timestamp_nanos_opt().unwrap_or_default(), self.1))
    }
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (nanos, serial) = text.split_once('.')?;
        Some(Self(DateTime::from_timestamp_nanos(nanos.parse().ok()?), serial.parse().ok()?))
    }
    fn of(entry: &Entry) -> Self {
        let (at, serial) = entry.place();
        Self(at, serial)
    }
}

/// The rows after a place, at most so many, and the place of the last one if there are more.
pub(super) fn page<'a>(
    rows: impl IntoIterator<Item = &'a Entry>,
    after: Option<Place>,
    rows_max: usize,
) -> (Vec<&'a Entry>, Option<Place>) {
    let rest = rows.into_iter().filter(|entry| after.is_none_or(|after| Place::of(entry) > after));
    let mut rest: Vec<&Entry> = rest.collect();
    let more = rest.len() > rows_max.max(1);
    rest.truncate(rows_max.max(1));
    let end = rest.last().filter(|_| more).map(|entry| Place::of(entry));
    (rest, end)
}

/// A row as it is shown.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) entry: &'a Entry,
    pub(super) text: &'a str,
    /// What a fault writes where the amount stands.
    pub(super) amount: Option<&'a str>,
}

/// The rows of one answer, the first one changed as a fault wants it.
pub(super) fn shown<'a>(rows: &[&'a Entry], tweak: &'a Tweak) -> Vec<Shown<'a>> {
    let plain = |entry: &&'a Entry| Shown { entry, text: &entry.text, amount: None };
    let mut shown: Vec<Shown<'a>> = rows.iter().map(plain).collect();
    if let Some(first) = shown.first_mut() {
        first.amount = tweak.amount.as_deref();
        first.text = tweak.text.as_deref().unwrap_or(first.text);
        let first = *first;
        shown.splice(..1, std::iter::repeat_n(first, tweak.times.unwrap_or(1)));
    }
    shown
}
