//! When are two rows the same row, the same contents, or merely alike?

use crate::model::{IdStability, Transaction, TransactionStatus};
use chrono::NaiveDate;

/// Does the bank's id name a row? A claim, believed until the bank contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// Where the connector says that it is immutable or provisional.
    Believed,
    /// No id does.
    Demoted,
}

impl Ids {
    /// The id, if it is meant to name the row rather than its place.
    pub(super) fn of(self, row: &Transaction) -> Option<&str> {
        match row.stability {
            IdStability::Immutable | IdStability::Provisional if self == Self::Believed => {
                row.bank_id.as_deref().filter(|id| !id.is_empty())
            }
            _ => None,
        }
    }

    /// The id, if the bank promises that the row keeps it for ever.
    pub(super) fn immutable(self, row: &Transaction) -> Option<&str> {
        self.of(row).filter(|_| row.stability == IdStability::Immutable)
    }

    /// By the bank's promise these are two rows.
    pub(super) fn part(self, old: &Transaction, new: &Transaction) -> bool {
        match (self.immutable(old), self.immutable(new)) {
            (Some(old), Some(new)) => old != new,
            _ => false,
        }
    }
}

/// A row with its text made comparable once.
pub(super) struct Row<'a> {
    pub(super) of: &'a Transaction,
    pub(super) text: String,
    party: Option<String>,
}

impl<'a> Row<'a> {
    pub(super) fn new(of: &'a Transaction) -> Self {
        Self { of, text: normalised(&of.text), party: of.counterparty.as_deref().map(normalised) }
    }

    /// What makes two rows equal when ids don't decide; equal rows are twins and told apart by their number only.
    pub(super) fn content(&self) -> Content<'_> {
        (self.of.status, self.of.booked_on, self.of.money.minor, self.of.money.currency.code(), &self.text)
    }

    /// The same to the letter, with all that is told of a row.
    pub(super) fn exact(&self) -> Exact<'_> {
        (&self.of.text, self.of.valued_on, self.of.counterparty.as_deref(), &self.of.details)
    }

    /// The day it belongs to.
    pub(super) fn day(&self) -> Option<NaiveDate> {
        self.of.booked_on.or(self.of.valued_on)
    }
}

/// See [`Row::content`].
pub(super) type Content<'a> = (TransactionStatus, Option<NaiveDate>, i64, &'static str, &'a str);

/// See [`Row::exact`].
pub(super) type Exact<'a> = (&'a str, Option<NaiveDate>, Option<&'a str>, &'a str);

/// Is there anything to tell? A new id alone is not: ids are claims. Nor is a new running balance,
/// which moves whenever an earlier row is inserted.
pub(super) fn differs(old: &Transaction, new: &Transaction) -> bool {
    old.status != new.status
        || old.booked_on != new.booked_on
        || old.valued_on != new.valued_on
        || old.money != new.money
        || old.text != new.text
        || old.counterparty != new.counterparty
        || old.details != new.details
}

/// Is what we hold still how the bank would be compared with? An id that names nothing is not compared.
pub(super) fn is_stale(ids: Ids, old: &Transaction, new: &Transaction) -> bool {
    ids.of(old) != ids.of(new)
        || old.stability != new.stability
        || old.supersedes != new.supersedes
        || old.balance_after != new.balance_after
}

/// Letters and digits in lower case, words separated by one space.
pub(super) fn normalised(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        match word.is_ascii() {
            true => words.extend(word.chars().map(|letter| letter.to_ascii_lowercase())),
            false => words.extend(word.chars().flat_map(char::to_lowercase)),
        }
    }
    words
}

/// Do they speak of the same business? The same party, or one text within the other, at its beginning or its
/// end: banks add a place behind it, or a date before.
pub(super) fn alike(old: &Row<'_>, new: &Row<'_>) -> bool {
    let same_party = matches!((&old.party, &new.party), (Some(old), Some(new)) if old == new);
    let within = |one: &str, other: &str| !one.is_empty() && (other.starts_with(one) || other.ends_with(one));
    same_party || within(&old.text, &new.text) || within(&new.text, &old.text)
}

/// An order of rows that does not depend on how the bank listed them.
pub(super) fn order(row: &Transaction) -> impl Ord + '_ {
    let rest = (row.valued_on, row.counterparty.as_deref(), row.supersedes.as_deref(), row.stability as u8);
    (
        row.booked_on.or(row.valued_on).unwrap_or(NaiveDate::MAX),
        row.status,
        row.balance_after,
        row.money.minor,
        row.text.as_str(),
        row.bank_id.as_deref(),
        row.details.as_str(),
        rest,
    )
}
