//! Transactions and balances as we keep them: checked, in minor units.

use super::{AccountId, Money, SyncId, Timestamp, TransactionId};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// Is the money already moved?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionStatus {
    /// Announced; amount, date and id may still change, or it may vanish.
    Pending,
    /// In the books of the bank.
    Booked,
}

/// What the bank promises about an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdStability {
    /// Never changes and is never used again.
    Immutable,
    /// May change, typically until booked.
    Provisional,
    /// Made from a position in a list.
    Positional,
    /// There is none.
    None,
}

/// One row of a bank's statement, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The bank's id: a claim, at most 256 bytes.
    pub bank_id: Option<String>,
    /// What the bank promises about `bank_id`.
    pub stability: IdStability,
    /// The id of the pending row that this one replaces, if the bank says so.
    pub supersedes: Option<String>,
    /// Pending or booked.
    pub status: TransactionStatus,
    /// The bank's booking date.
    pub booked_on: Option<NaiveDate>,
    /// The bank's value date.
    pub valued_on: Option<NaiveDate>,
    /// Positive when money arrives.
    pub money: Money,
    /// The narration.
    pub text: String,
    /// Who paid or was paid.
    pub counterparty: Option<String>,
    /// Minor units of the account after this row, if the bank gives it.
    pub balance_after: Option<i64>,
    /// A JSON object with whatever else the bank said.
    pub details: String,
}

/// What a balance means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BalanceKind {
    /// The sum of booked rows: the only kind that proves a statement.
    Booked,
    /// What the customer can spend.
    Available,
    /// At the start of a statement.
    Opening,
    /// At the end of a statement.
    Closing,
    /// Booked and pending.
    Expected,
}

/// Credit that a bank counts in a balance: an agreed overdraft, a card's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credit {
    /// None.
    None,
    /// So many minor units of the balance's currency.
    Included(i64),
    /// Some, or perhaps some, and the bank does not say how much.
    Unknown,
}

/// A balance as the bank gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// What it means.
    pub kind: BalanceKind,
    /// How much.
    pub money: Money,
    /// When, as the bank said.
    pub as_of: Option<Timestamp>,
    /// Pending rows are in the amount.
    pub includes_pending: bool,
    /// Credit is in the amount.
    pub credit_included: Credit,
}

impl Balance {
    /// The customer's own: the amount without the credit in it. None if nobody knows how much that is.
    pub fn own_money(&self) -> Option<Money> {
        let credit = match self.credit_included {
            Credit::None => 0,
            Credit::Included(minor) => minor,
            Credit::Unknown => return None,
        };
        Some(Money { minor: self.money.minor.checked_sub(credit)?, ..self.money })
    }
}

/// Days from `since` to `until`, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First day.
    pub since: NaiveDate,
    /// Last day.
    pub until: NaiveDate,
}

impl Window {
    /// Is the day inside?
    pub fn contains(&self, day: NaiveDate) -> bool {
        self.since <= day && day <= self.until
    }
}

/// What a reading proved it has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// All rows of the window, as opposed to only what changed.
    pub snapshot: bool,
    /// Which days.
    pub window: Window,
    /// Which rows.
    pub statuses: Vec<TransactionStatus>,
    /// Read to its end.
    pub complete: bool,
}

/// What happened to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// New to us.
    Added,
    /// Known, and now different.
    Modified,
    /// The bank no longer has it.
    Removed,
}

/// Why a change was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeReason {
    /// Added: the bank lists it.
    Listed,
    /// Modified: the pending entry was booked.
    Booked,
    /// Modified: the bank changed an entry.
    Amended,
    /// Removed: the bank said so.
    RemovedByBank,
    /// Removed: the bank no longer lists it, and its balance no longer counts it.
    ProvedAbsent,
    /// Removed: it was missing twice from a list that was read to its end.
    AbsentTwice,
    /// Removed: a pending entry that the bank no longer lists, and that was not booked.
    NeverBooked,
    /// Removed: a pending entry that a bank which lists no pending entries to the end has not booked for too long.
    Expired,
}

/// A pending entry that a booking beside it may be the booking of: nothing decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The pending entry's number within the account.
    pub number: i64,
    /// In percent: 1 to 99.
    pub confidence: u8,
}

/// One entry of an account's history: `seq` is gap-free, starting at 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its place in the account's history.
    pub seq: i64,
    /// Which transaction.
    pub transaction: TransactionId,
    /// What happened.
    pub kind: ChangeKind,
    /// As we had it; none for `added`.
    pub before: Option<Transaction>,
    /// As it is now; none for `removed`.
    pub after: Option<Transaction>,
    /// Why.
    pub reason: ChangeReason,
    /// Another entry could have become this one as well.
    pub ambiguous: bool,
    /// Pending entries that an added one may be the booking of.
    pub links: Vec<Link>,
    /// When we committed to it.
    pub observed_at: Timestamp,
    /// Which sync saw it.
    pub sync: SyncId,
}

impl Change {
    /// The customer has left: only `seq`, kind and times are known.
    pub fn is_erased(&self) -> bool {
        self.before.is_none() && self.after.is_none()
    }
}

/// A transaction that we hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTransaction {
    /// Ours, stable for ever.
    pub id: TransactionId,
    /// What the bank said last.
    pub transaction: Transaction,
    /// When it was first seen.
    pub first_seen_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// The `seq` of its last change.
    pub last_seq: i64,
    /// In how many complete readings in a row it was missing.
    pub missed: i16,
}

/// The account a transaction belongs to, for those who hold only the id.
impl StoredTransaction {
    /// Shorthand for `id.account`.
    pub fn account(&self) -> AccountId {
        self.id.account
    }
}

/// Did the bank's own balance agree with the changes?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Old booked balance plus changes of booked rows equals the new booked balance.
    Proved,
    /// There was nothing to compare with (a first sync, or no booked balance).
    Unproved,
    /// They differ, also after the balance was read again.
    Contradicted,
}
