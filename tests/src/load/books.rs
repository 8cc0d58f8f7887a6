//! What the load bank has: computed from the number of an account, so that a hundred thousand accounts take no memory
//! and whoever knows the number knows the truth.
//!
//! Must not know: HTTP, JSON.

use chrono::{Days, NaiveDate};

/// Institutions of the load bank.
pub const INSTITUTIONS: u32 = 20;
/// Transactions of an account that are known before the measurement.
pub const KNOWN: u32 = 100;
/// What comes new to one account in [`FRESH_ONE_IN`].
pub const FRESH: u32 = 5;
/// One account in so many has something new.
pub const FRESH_ONE_IN: u32 = 5;
/// The days that are read again each time, as the profile says.
pub const OVERLAP_DAYS: u32 = 7;
/// The bank gives so many days; the rows lie within [`OLDEST_DAYS`].
pub const HISTORY_DAYS: u32 = 31;
/// The oldest row is so many days old.
const OLDEST_DAYS: u64 = 29;
/// Before all rows, in minor units: no account is ever overdrawn.
const OPENING: i64 = 5_000_000;

/// What is asked of all accounts.
#[derive(Debug, Clone, Copy)]
pub struct Books {
    /// The bank's day.
    pub today: NaiveDate,
    /// Rows of a reply: those of the overlap.
    pub reply_rows: u32,
    /// What is new has come.
    pub fresh: bool,
}

/// One booked row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Within the account, from 0.
    pub place: u32,
    /// The day it was booked on.
    pub day: NaiveDate,
    /// Minor units, negative for a debit.
    pub minor: i64,
    /// After this row.
    pub balance: i64,
}

/// An account: the connection's number, and which of its accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// From 0.
    pub connection: u32,
    /// 0 to 2.
    pub nth: u32,
}

/// How many accounts a connection has: two or three, by turns.
pub fn accounts_of(connection: u32) -> u32 {
    2 + connection % 2
}

/// How many accounts the first so many connections have.
pub fn accounts_in(connections: u32) -> u32 {
    connections * 2 + connections / 2
}

/// The id of an institution.
pub fn institution(number: u32) -> String {
    format!("bank-{:02}", number % INSTITUTIONS)
}

impl Account {
    /// Of all accounts of the bank, from 0.
    pub fn number(self) -> u32 {
        accounts_in(self.connection) + self.nth
    }

    /// What the bank calls it.
    pub fn bank_id(self) -> String {
        format!("{}-{}", self.connection, self.nth)
    }

    /// The account that the bank calls so.
    pub fn from_bank_id(text: &str) -> Option<Self> {
        let (connection, nth) = text.split_once('-')?;
        Some(Self { connection: connection.parse().ok()?, nth: nth.parse().ok()? })
    }

    /// Something new comes to it.
    pub fn is_fresh(self) -> bool {
        self.number().is_multiple_of(FRESH_ONE_IN)
    }
}

/// A number that looks random (the finaliser of SplitMix64, Steele, Lea and Flood 2014).
fn mixed(account: u32, place: u32) -> u64 {
    let mut z = (u64::from(account) << 32 | u64::from(place)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Books {
    /// All rows of an account, oldest first.
    pub fn rows(&self, account: Account) -> impl Iterator<Item = Row> {
        let (number, today, fresh) = (account.number(), self.today, account.is_fresh());
        // With what comes new, each reply has as many rows.
        let recent = if fresh { self.reply_rows.saturating_sub(FRESH) } else { self.reply_rows };
        let older = KNOWN.saturating_sub(recent);
        let all = KNOWN + if fresh && self.fresh { FRESH } else { 0 };
        let mut balance = OPENING;
        (0..all).map(move |place| {
            let ago = match place {
                place if place < older => {
                    let span = OLDEST_DAYS - u64::from(OVERLAP_DAYS) - 2;
                    OLDEST_DAYS - u64::from(place) * span / u64::from(older)
                }
                place if place < KNOWN => {
                    let span = u64::from(OVERLAP_DAYS) - 1;
                    span - u64::from(place - older) * span / u64::from(recent)
                }
                _ => 0,
            };
            let minor = i64::try_from(mixed(number, place) % 20_000).unwrap_or(0) - 12_000;
            let minor = if minor == 0 { -1 } else { minor };
            balance += minor;
            Row { place, day: today.checked_sub_days(Days::new(ago)).unwrap_or(today), minor, balance }
        })
    }

    /// The booked balance.
    pub fn balance(&self, account: Account) -> i64 {
        self.rows(account).last().map_or(OPENING, |row| row.balance)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_as_many_rows_as_it_should_and_one_account_in_five_has_five_new_ones() {
        for reply_rows in [25, 100] {
            let today: NaiveDate = "2026-11-27".parse().unwrap();
            let before = Books { today, reply_rows, fresh: false };
            let after = Books { fresh: true, ..before };
            let since = today - Days::new(u64::from(OVERLAP_DAYS));
            let mut numbers = 0;
            for connection in 0..40 {
                for nth in 0..accounts_of(connection) {
                    let account = Account { connection, nth };
                    assert_eq!(account.number(), numbers);
                    numbers += 1;
                    assert_eq!(Account::from_bank_id(&account.bank_id()), Some(account));
                    assert_eq!(before.rows(account).count(), 100);
                    let shown = after.rows(account).filter(|row| row.day > since).count();
                    assert_eq!(shown, usize::try_from(reply_rows).unwrap(), "{account:?}");
                    assert!(after.rows(account).all(|row| row.day != since), "nothing on the first day");
                    let added = after.rows(account).count() - 100;
                    assert_eq!(added, if account.is_fresh() { 5 } else { 0 });
                    assert!(after.rows(account).zip(before.rows(account)).all(|(now, then)| now == then));
                    assert!(after.rows(account).is_sorted_by_key(|row| row.day));
                }
            }
            assert_eq!(numbers, accounts_in(40));
        }
    }
}
