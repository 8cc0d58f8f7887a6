//! What is told to the books: an entry to come, a correction, and why it was refused.

use super::ledger::LedgerError;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Why the bank did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BankError {
    /// No such customer, account, consent or listed entry.
    #[error("the bank knows no {0} \"{1}\"")]
    Unknown(&'static str, String),
    /// Not decimal text of the account's currency.
    #[error(
        "\"{0}\" is not an amount in {1}: write an optional minus, digits, and at most the currency's decimals"
    )]
    BadAmount(String, String),
    /// Only pending entries settle and expire.
    #[error("entry \"{0}\" is not pending")]
    NotPending(String),
    /// User names are one customer's alone.
    #[error("the user name \"{0}\" is taken: choose another")]
    UserTaken(String),
    /// Not a key that signatures can be verified with.
    #[error("the key \"{0}\" is not an RSA public key of 2048 to 8192 bits in PEM")]
    BadKey(String),
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A client's id must be its own.
    #[error("a client \"{0}\" is registered already")]
    Registered(String),
    /// No keys, no client.
    #[error("the keys of a client could not be made: {0}")]
    Keys(String),
    /// The bank showed an error page instead of asking the customer.
    #[error("the authorisation cannot go on: {0}")]
    Authorisation(&'static str),
}

/// What sort of payment an entry is; decides its codes and the counter-account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Paid with the debit card.
    #[default]
    Card,
    /// Sent to, or received from, another account.
    Transfer,
    /// Collected by a company.
    DirectDebit,
    /// Wages.
    Salary,
    /// Paid by the bank.
    Interest,
}

/// An entry to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEntry {
    /// Signed decimal text, positive when money arrives: `-3.20`.
    pub amount: String,
    /// The narration, 1 to 500 characters.
    pub text: String,
    /// Name of the shop or counterparty.
    #[serde(default)]
    pub merchant: Option<String>,
    /// What sort of payment.
    #[serde(default)]
    pub kind: EntryKind,
    /// By the bank's clock; none is now.
    #[serde(default)]
    pub booked_at: Option<DateTime<Utc>>,
    /// None is the same as `booked_at` (pending entries then have none).
    #[serde(default)]
    pub valued_at: Option<DateTime<Utc>>,
}

impl NewEntry {
    /// Paid by card, now.
    pub fn card(amount: &str, text: &str, merchant: &str) -> Self {
        Self { merchant: Some(merchant.into()), kind: EntryKind::Card, ..Self::transfer(amount, text) }
    }
    /// Sent or received, now.
    pub fn transfer(amount: &str, text: &str) -> Self {
        let (amount, text, kind) = (amount.into(), text.into(), EntryKind::Transfer);
        Self { amount, text, merchant: None, kind, booked_at: None, valued_at: None }
    }
    /// At another moment of the bank's time.
    #[must_use]
    pub fn at(self, booked_at: DateTime<Utc>) -> Self {
        Self { booked_at: Some(booked_at), ..self }
    }
}

/// What a correction changes; the rest stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// Signed decimal text.
    #[serde(default)]
    pub amount: Option<String>,
    /// The narration.
    #[serde(default)]
    pub text: Option<String>,
}
