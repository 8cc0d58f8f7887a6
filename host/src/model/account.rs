//! Accounts.

use super::{AccountId, Balance, BusinessId, ConnectionId, Currency, Money, SyncId, Timestamp};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// An account as the bank lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BankAccount {
    /// The bank's id, stable for one consent, at most 256 bytes.
    pub bank_id: String,
    /// What the bank calls it.
    pub name: String,
    /// Its currency.
    pub currency: Currency,
    /// The number that people know.
    pub number: Option<String>,
}

/// Is an account being kept up to date?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// Synced with its connection.
    Active,
    /// The bank no longer lists it; history stays.
    Closed,
    /// Switched off by its business: not read until it is switched on again; history stays.
    Excluded,
}

/// An account that we hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Ours, stable across re-authorisation.
    pub id: AccountId,
    /// The link it came through.
    pub connection: ConnectionId,
    /// Who may see it.
    pub business: BusinessId,
    /// As the bank lists it.
    pub bank: BankAccount,
    /// Kept up to date or not.
    pub state: AccountState,
    /// When it was first listed.
    pub created_at: Timestamp,
}

/// Where an account stands: its history's end, balances and next reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountHead {
    /// Which account.
    pub account: AccountId,
    /// The `seq` of the last change; 0 before the first.
    pub seq: i64,
    /// Rises when cursors must start again.
    pub epoch: i32,
    /// As of the last successful sync.
    pub balances: Vec<Balance>,
    /// The connector's own state for this account.
    pub state: Option<String>,
    /// When the next reading is due, apart from requests.
    pub due_at: Timestamp,
    /// A `/sync` call wants a reading asked at or after this moment.
    pub requested_at: Option<Timestamp>,
    /// The bank (or its profile) allows no reading before.
    pub next_allowed_at: Option<Timestamp>,
    /// Failed syncs in a row.
    pub failures: i32,
    /// The last finished sync.
    pub last_sync: Option<SyncId>,
    /// When data was last known to be what the bank has.
    pub fresh_at: Option<Timestamp>,
    /// From then on the data is stale, unless it is read before; none if it was never read.
    pub stale_at: Option<Timestamp>,
    /// What is held reaches back to this day without a gap, as far as readings proved it.
    pub history_from: Option<NaiveDate>,
    /// When the next piece of older history is read; none when it reaches as far back as the bank gives.
    pub history_due_at: Option<Timestamp>,
    /// What the ledger remembers.
    pub standing: Standing,
    /// The business wants the next statement as far as it goes, if it shows too little.
    pub take_incomplete: bool,
    /// How often it was read without its customer, on the bank's day that ends at `reads_until`.
    pub reads: u32,
    /// See `reads`.
    pub reads_until: Option<Timestamp>,
    /// The bank has agreed to no reading without the customer before.
    pub unattended_at: Option<Timestamp>,
    /// The customer waits for the next reading.
    pub is_attended: bool,
    /// Somebody waits for a sync that no finished run has answered.
    pub is_awaited: bool,
    /// Its institution is left alone until then.
    pub held_until: Option<Timestamp>,
    /// What the last look showed, as the ledger wrote it; none if the next one must be compared row by row.
    pub index: Option<Vec<u8>>,
}

impl AccountHead {
    /// May it be read now, as far as limits go?
    pub fn is_allowed(&self, now: Timestamp) -> bool {
        let unattended = self.unattended_at.filter(|_| !self.is_attended);
        self.next_allowed_at.max(unattended).is_none_or(|allowed| allowed <= now)
    }
    /// When it may be read without the customer, whatever it is that keeps us waiting.
    pub fn allowed_at(&self) -> Option<Timestamp> {
        self.next_allowed_at.max(self.unattended_at).max(self.held_until)
    }
    /// How often it was read on the bank's day that `now` is in.
    pub fn reads_today(&self, now: Timestamp) -> u32 {
        if self.reads_until.is_some_and(|until| until > now) { self.reads } else { 0 }
    }
}

/// What is remembered of an account between two looks, apart from its rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The booked balance that our booked rows explain: anchored at the first one the bank gave, moved by every
    /// change since. Stays where it is while the bank's balance contradicts.
    pub expected: Option<Money>,
    /// So many rows were there when the first balance was given.
    pub first_rows: i64,
    /// The last balance contradicted, or it was the first one: until one agrees, it decides nothing between several
    /// explanations.
    pub in_doubt: bool,
    /// By how much the bank's balance differed when all its history had been read, in minor units.
    pub unexplained: Option<i64>,
    /// The bank's ids have contradicted themselves: they name nothing any more.
    pub ids_demoted: bool,
    /// The bank's day of the last look.
    pub looked_on: Option<NaiveDate>,
    /// The day of the oldest pending row that is held: until it is booked or gone, it is looked for.
    pub pending_since: Option<NaiveDate>,
    /// The bank's day of the last look at all its history.
    pub all_looked_on: Option<NaiveDate>,
    /// So many days of history the bank was found to give, where that is less than its profile says.
    pub reach_days: Option<u32>,
    /// How late bookings were shown.
    pub lateness: Lateness,
}

/// How many bookings were shown so many days late, counted from the last look before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lateness(pub [u32; Lateness::DAYS.len()]);

/// Bookings after which what was seen counts more than what the profile assumes.
const BOOKINGS_THAT_TELL: u32 = 100;
/// Of so many bookings one may come later than the window reaches; the daily look at everything finds it.
const ONE_LATE_IN: u32 = 1_000;
/// Added to what was seen: weekends and holidays.
const SLACK_DAYS: u32 = 3;

impl Lateness {
    /// Upper bounds of the buckets, in days.
    pub const DAYS: [u32; 10] = [0, 1, 2, 3, 5, 7, 14, 30, 90, u32::MAX];

    /// Counts a booking that was shown so many days late.
    pub fn count(&mut self, days: u32) {
        let bucket = Self::DAYS.iter().position(|bound| days <= *bound);
        if let Some(count) = bucket.and_then(|bucket| self.0.get_mut(bucket)) {
            *count = count.saturating_add(1);
        }
    }

    /// How many days back to look so that hardly anything is missed; none while too little was seen.
    pub fn overlap_days(&self) -> Option<u32> {
        let total = self.0.iter().fold(0_u32, |sum, count| sum.saturating_add(*count));
        if total < BOOKINGS_THAT_TELL {
            return None;
        }
        let mut later = total;
        for (bound, count) in Self::DAYS.iter().zip(&self.0) {
            later = later.saturating_sub(*count);
            if later <= total / ONE_LATE_IN {
                return Some(bound.saturating_add(SLACK_DAYS));
            }
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_overlap_is_what_was_seen_once_enough_was() {
        let mut seen = Lateness::default();
        (0..99).for_each(|_| seen.count(0));
        assert_eq!(seen.overlap_days(), None);
        seen.count(0);
        assert_eq!(seen.overlap_days(), Some(3));
        seen.count(4);
        assert_eq!(seen.overlap_days(), Some(8));
        (0..2_000).for_each(|_| seen.count(0));
        assert_eq!(seen.overlap_days(), Some(3), "one in a thousand is left to the daily look");
        (0..3).for_each(|_| seen.count(1_000));
        assert_eq!(seen.overlap_days(), Some(u32::MAX), "as far as the bank gives");
    }
}
