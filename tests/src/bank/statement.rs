//! The oracle: what the bank holds, in plain words, to compare with what somebody else thinks it
//! holds. Made from the books, never from anything that was sent.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

/// Is the money moved?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowStatus {
    /// Posted.
    Booked,
    /// Authorised only.
    Pending,
}

/// One listed entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Row {
    /// The bank's id, as in `TransactionId`.
    pub id: String,
    /// Booked or pending.
    pub status: RowStatus,
    /// The UTC day of `BookingDateTime`.
    pub booked_on: NaiveDate,
    /// The UTC day of `ValueDateTime`, if it is given.
    pub valued_on: Option<NaiveDate>,
    /// Signed decimal text with all decimals of the currency, positive when money arrives.
    pub amount: String,
    /// ISO 4217.
    pub currency: String,
    /// The narration.
    pub text: String,
    /// Who paid or was paid.
    pub merchant: Option<String>,
}

/// All that is listed of an account, in the order of the list, and its balances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Oldest first.
    pub rows: Vec<Row>,
    /// Signed decimal text: the sum of the booked rows.
    pub booked: String,
    /// Signed decimal text: booked, less what pending rows reserve.
    pub available: String,
}

/// What was done to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BankChangeKind {
    /// Booked or authorised.
    Added,
    /// Pending before, booked after, under another id.
    Settled,
    /// Corrected under the same id.
    Modified,
    /// Reversed or expired: no longer listed.
    Removed,
}

/// One thing that happened at the bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankChange {
    /// The bank's time.
    pub at: DateTime<Utc>,
    /// The bank's id of the account.
    pub account: String,
    /// What.
    pub kind: BankChangeKind,
    /// None if added.
    pub before: Option<Row>,
    /// None if removed.
    pub after: Option<Row>,
}
