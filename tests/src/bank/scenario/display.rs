//! How the UK door shows an account with a play on it, where that differs from the books.
//!
//! Must not know: what is played, HTTP.

use super::super::books::Entry;
use super::super::entry::NewEntry;
use super::super::random::Random;
use super::super::statement::{Row, RowStatus};
use super::TrueRow;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// What ids are made of.
#[derive(Debug, Clone, Default)]
pub(super) enum Ids {
    /// The bank's own.
    #[default]
    Own,
    /// There are none.
    None,
    /// The bank's own, on booked rows only.
    BookedOnly,
    /// Others than the bank's own, by this number.
    Turned(u64),
    /// The day, and the place among the day's rows.
    DayPlaces,
    /// Others in each request, by this number.
    PerRequest(u64),
    /// One for all.
    Constant(&'static str),
    /// The bank's own, after this.
    Rule(&'static str),
}

/// Which sign amounts have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Signs {
    /// Their own.
    #[default]
    Own,
    /// Pending ones have none, and look like credits.
    NoneOnPending,
    /// The other one.
    TurnedRound,
}

/// What the booked balance counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Counted {
    /// Booked rows.
    #[default]
    Booked,
    /// Pending ones too.
    PendingToo,
    /// Booked rows up to then, as it says.
    Until(DateTime<Utc>),
}

/// The ways of the door. Entries are named by their origin.
#[derive(Debug, Clone, Default)]
pub(in crate::bank) struct Display {
    pub(super) ids: Ids,
    /// Ids that some entries have instead.
    pub(super) given: BTreeMap<u64, String>,
    /// It says that the rows of booked entries are immutable, ids and all.
    pub(in crate::bank) promises_ids: bool,
    /// Entries that are left out.
    pub(super) hidden: BTreeSet<u64>,
    /// Pending entries are left out.
    pub(super) without_pending: bool,
    /// Entries that the books have no more, listed as rejected.
    pub(super) declined: Vec<Entry>,
    /// Entries from before are left out.
    pub(super) begins: Option<DateTime<Utc>>,
    /// The first day that is asked for is left out.
    pub(super) after_first_day: bool,
    pub(super) signs: Signs,
    pub(super) counted: Counted,
    /// The newest first, and a page begins after so many rows, not after a certain one.
    pub(in crate::bank) by_count: bool,
    /// In how many readings from now on the last row moves to the front after the first page.
    pub(super) moves: u32,
    /// The serial of the row that did in this reading.
    pub(super) moved: Option<u64>,
    /// What is booked after the first page of the next reading.
    pub(super) comes: Option<NewEntry>,
    /// How many pages were asked for.
    pub(super) requests: u64,
}

impl Display {
    /// The list, for a client that asks for the days from then on; in the order of the books.
    pub(in crate::bank) fn list(&self, entries: &[Entry], from: Option<DateTime<Utc>>) -> Vec<Entry> {
        let first_day = from.filter(|_| self.after_first_day).map(|from| from.date_naive());
        let left_out = |entry: &Entry| {
            self.hidden.contains(&entry.origin)
                || (self.without_pending && entry.status == RowStatus::Pending)
                || self.begins.is_some_and(|begins| entry.booked_at < begins)
                || first_day == Some(entry.booked_at.date_naive())
        };
        let listed = |entry: &&Entry| !left_out(entry);
        let mut list: Vec<Entry> = entries.iter().chain(&self.declined).filter(listed).cloned().collect();
        list.sort_by_key(Entry::place);
        let (mut day, mut place) = (None, 0);
        for entry in &mut list {
            let today = Some(entry.booked_at.date_naive());
            place = if day == today { place + 1 } else { 1 };
            day = today;
            entry.id = self.id(entry, place);
            entry.minor = match (self.signs, entry.status) {
                (Signs::NoneOnPending, RowStatus::Pending) => entry.minor.abs(),
                (Signs::TurnedRound, _) => -entry.minor,
                _ => entry.minor,
            };
        }
        list
    }

    fn id(&self, entry: &Entry, place: usize) -> String {
        if let Some(given) = self.given.get(&entry.origin) {
            return given.clone();
        }
        match self.ids {
            Ids::Own => entry.id.clone(),
            Ids::BookedOnly if entry.status == RowStatus::Booked => entry.id.clone(),
            Ids::None | Ids::BookedOnly => String::new(),
            Ids::Turned(turn) => turned(turn, entry.serial),
            Ids::DayPlaces => format!("{}-{place:03}", entry.booked_at.format("%Y%m%d")),
            Ids::PerRequest(seed) => turned(seed.wrapping_add(self.requests), entry.serial),
            Ids::Constant(id) => id.to_owned(),
            Ids::Rule(rule) => format!("{rule}{}", entry.id),
        }
    }

    /// The newest first; within a reading, the row that moved before all others.
    pub(in crate::bank) fn newest_first(&self, listed: &[Entry], reading_begins: bool) -> Vec<Entry> {
        let mut list: Vec<Entry> = listed.iter().rev().cloned().collect();
        let moved = self.moved.filter(|_| !reading_begins);
        if let Some(place) = moved.and_then(|moved| list.iter().position(|entry| entry.serial == moved)) {
            list.get_mut(..=place).unwrap_or_default().rotate_right(1);
        }
        list
    }

    /// The booked balance, and of when it is.
    pub(in crate::bank) fn balance(
        &self,
        booked: i64,
        entries: &[Entry],
        now: DateTime<Utc>,
    ) -> (i64, DateTime<Utc>) {
        let sum = |wanted: &dyn Fn(&&Entry) -> bool| -> i64 {
            entries.iter().filter(wanted).map(|entry| entry.minor).sum()
        };
        match self.counted {
            Counted::Booked => (booked, now),
            Counted::PendingToo => (booked + sum(&|entry| entry.status == RowStatus::Pending), now),
            Counted::Until(at) => {
                let later = |entry: &&Entry| entry.status == RowStatus::Booked && entry.booked_at > at;
                (booked - sum(&later), at)
            }
        }
    }

    pub(in crate::bank) fn declines(&self, entry: &Entry) -> bool {
        self.declined.iter().any(|declined| declined.serial == entry.serial)
    }

    /// What a page shows, for the record.
    pub(in crate::bank) fn recorded<'a>(
        &self,
        shown: impl Iterator<Item = &'a Entry>,
        currency: &str,
    ) -> Vec<TrueRow> {
        let row = |entry: &Entry| Row { id: entry.id.clone(), ..entry.row(currency) };
        let shown = shown.filter(|entry| !self.declines(entry));
        shown.map(|entry| TrueRow { entry: entry.origin, row: row(entry) }).collect()
    }
}

/// An id like the bank's own, from which nobody can tell whose it is.
pub(super) fn turned(turn: u64, serial: u64) -> String {
    let mut random = Random::new(turn.rotate_left(32) ^ serial);
    format!("{:016x}{:08x}", random.next(), random.next() >> 32)
}
