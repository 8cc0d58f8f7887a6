//! What a row says, without its id and running balance: the same contents, the same sort of row.

use chrono::NaiveDate;
use host::model::{Transaction, TransactionStatus};

/// All that may be told of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contents {
    /// Pending or booked.
    pub status: TransactionStatus,
    /// The booking date.
    pub day: Option<NaiveDate>,
    /// Positive when money arrives.
    pub minor: i64,
    /// The narration.
    pub text: String,
    rest: (&'static str, Option<NaiveDate>, Option<String>, String),
}

impl Contents {
    /// Of a row.
    pub fn of(row: &Transaction) -> Self {
        let currency = row.money.currency.code();
        Self {
            status: row.status,
            day: row.booked_on,
            minor: row.money.minor,
            text: row.text.clone(),
            rest: (currency, row.valued_on, row.counterparty.clone(), row.details.clone()),
        }
    }

    /// Money that has moved.
    pub fn is_booked(&self) -> bool {
        self.status == TransactionStatus::Booked
    }

    /// May a pending row of these contents have become a booked one of those, by date and direction?
    pub fn may_settle_as(&self, booked: &Self) -> bool {
        let days = self.day.zip(booked.day).map(|(pending, booked)| (booked - pending).num_days());
        !self.is_booked()
            && booked.is_booked()
            && self.minor.signum() == booked.minor.signum()
            && days.is_none_or(|days| (-1..=14).contains(&days))
    }

    /// Do the texts begin alike, whatever the case?
    pub fn reads_like(&self, other: &Self) -> bool {
        let (one, other) = (self.text.to_lowercase(), other.text.to_lowercase());
        !one.is_empty() && !other.is_empty() && (one.starts_with(&other) || other.starts_with(&one))
    }

    /// Is one text within the other, whatever the case?
    pub fn speaks_of(&self, other: &Self) -> bool {
        within(&self.text, &other.text)
    }

    /// May these be the same booked row, dated or described anew?
    pub fn may_be_told_as(&self, other: &Self) -> bool {
        let days = self.day.zip(other.day).map(|(one, other)| (one - other).num_days().abs());
        self != other
            && self.is_booked()
            && other.is_booked()
            && self.minor == other.minor
            && days.is_none_or(|days| days <= 7)
            && within(&self.text, &other.text)
    }

    /// May a row have been amended from these contents to those? One of amount and day still says so.
    pub fn may_be_amended_to(&self, other: &Self) -> bool {
        self != other && (self.minor == other.minor || self.day == other.day)
    }

    /// For people.
    pub fn words(&self) -> String {
        let day = self.day.map_or_else(String::new, |day| day.format("%m-%d").to_string());
        let status = if self.is_booked() { "B" } else { "p" };
        format!("{status} {day} {} {:?}", self.minor, self.text)
    }
}

/// Is one text within the other, whatever the case?
fn within(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_lowercase(), other.to_lowercase());
    one.contains(&other) || other.contains(&one)
}
