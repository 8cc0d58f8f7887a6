//! Accounts.

use super::{AccountId, Balance, BusinessId, ConnectionId, Currency, SyncId, Timestamp};
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
    /// What is held reaches back to this day without a gap, as far as readings proved it.
    pub history_since: Option<NaiveDate>,
}
