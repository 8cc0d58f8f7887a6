//! Syncs: one run over one account, and what it came to.

use super::{
    AccountId, ChangeReason, ConnectionId, Lane, Link, Proof, Standing, SyncId, Timestamp, Transaction,
};
use serde::{Deserialize, Serialize};

/// Where a sync stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncStatus {
    /// Asked for, or being read.
    Running,
    /// Over, well or not.
    Finished,
}

/// What a finished sync came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SyncCode {
    /// What we hold is what the bank showed.
    SyncSuccessful,
    /// The customer must act.
    ReauthorisationRequired,
    /// The bank showed less than it should.
    IncompleteStatementError,
    /// It failed; the next attempt is scheduled.
    SyncError,
}

impl SyncCode {
    /// Its name in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::SyncSuccessful => "SYNC_SUCCESSFUL",
            Self::ReauthorisationRequired => "REAUTHORISATION_REQUIRED",
            Self::IncompleteStatementError => "INCOMPLETE_STATEMENT_ERROR",
            Self::SyncError => "SYNC_ERROR",
        }
    }
    /// The code of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::SyncSuccessful, Self::ReauthorisationRequired, Self::IncompleteStatementError, Self::SyncError]
            .into_iter()
            .find(|code| code.name() == name)
    }
}

/// Who wanted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The schedule.
    Schedule,
    /// A `/sync` call.
    Request,
    /// Older history of a new account, read in pieces.
    History,
}

/// One finished run over one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// Ours.
    pub id: SyncId,
    /// Of which connection.
    pub connection: ConnectionId,
    /// Over which account.
    pub account: AccountId,
    /// Who wanted it.
    pub trigger: Trigger,
    /// The customer was at a screen.
    pub customer_present: bool,
    /// When the run began.
    pub started_at: Timestamp,
    /// When it was over.
    pub finished_at: Timestamp,
    /// When the first request for this account left; none if none did.
    pub bank_asked_at: Option<Timestamp>,
    /// When the last answer for this account was read.
    pub bank_answered_at: Option<Timestamp>,
    /// What it came to.
    pub code: SyncCode,
    /// Finer than the code, in kebab case: `rate-limited`, `bank-unavailable`, `unreadable`, …
    pub reason: Option<String>,
    /// A sentence for people: what happened and what to do. No customer text.
    pub message: Option<String>,
    /// This run committed a change of transactions or balances.
    pub has_new_data: bool,
    /// How many were new.
    pub added: i32,
    /// How many changed.
    pub modified: i32,
    /// How many are gone.
    pub removed: i32,
    /// Did the balance agree?
    pub proof: Proof,
    /// The history's end after this run.
    pub seq: i64,
    /// The account's cursor generation.
    pub epoch: i32,
    /// The bank allows no reading before.
    pub next_allowed_at: Option<Timestamp>,
    /// When the account is due again; none while polling is stopped.
    pub next_at: Option<Timestamp>,
    /// `name version` of the connector.
    pub connector: String,
    /// How many runs this stands for: scheduled ones of one day that changed nothing are one.
    pub runs: i32,
}

/// What failed, as the host acts on it. The connector's failures and the host's own, one list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The bank refused the customer's credentials.
    #[error("the bank refused the customer's credentials")]
    CredentialsRejected,
    /// The bank refused this customer so often, or may have, that a password is not sent again, see
    /// [`REJECTIONS_MAX`](super::REJECTIONS_MAX).
    #[error(
        "the bank refused this customer's credentials twice in a row, or may have: nothing that it could refuse again is sent until the customer has logged in at the bank itself"
    )]
    CredentialsWithheld,
    /// The consent is over.
    #[error("the customer's consent at the bank has ended")]
    ConsentExpired,
    /// The session ended early.
    #[error("the bank ended the session early")]
    SessionExpired,
    /// The bank wants fewer requests.
    #[error("the bank asked for fewer requests")]
    RateLimited {
        /// Seconds, as the bank said.
        retry_after_s: Option<u32>,
        /// For what.
        scope: LimitScope,
    },
    /// The bank cannot answer now.
    #[error("the bank cannot answer now")]
    BankUnavailable {
        /// Seconds, as the bank said.
        retry_after_s: Option<u32>,
    },
    /// The bank does not give history that old.
    #[error("the bank does not give history that far back")]
    WindowNotAvailable {
        /// What it does give.
        earliest: Option<chrono::NaiveDate>,
    },
    /// The list kept changing while it was paged.
    #[error("the bank's list changed while it was read")]
    PagesChanged,
    /// A reply is not what the bank's interface promises.
    #[error("row {}: {field} could not be read", row.map_or_else(|| "?".to_owned(), |row| row.to_string()))]
    Unreadable {
        /// Counted from 0 within the reply.
        row: Option<u32>,
        /// A path of names, never a value.
        field: String,
    },
    /// The bank does not offer this.
    #[error("the bank does not offer this")]
    NotSupported,
    /// The bank showed less than it should.
    #[error("the bank showed less than it should: {0}")]
    IncompleteStatement(String),
    /// The customer is needed and nobody is there to ask.
    #[error("the bank wants the customer to act")]
    CustomerNeeded,
    /// The connector broke a rule of the contract; the sentence names the rule.
    #[error("the connector broke the contract: {0}")]
    ConnectorFault(String),
    /// A secret came back where a connector could have read it; the reply was withheld.
    #[error("the bank's reply contained a secret; it was withheld from the connector")]
    SecretEchoed,
    /// The bank could not be reached, after retries. A code: `connect`, `timeout`, `tls`, …
    #[error("the bank could not be reached ({0})")]
    Unreachable(String),
    /// The operator must act before this institution can be synced; the sentence says what to do.
    #[error("{0}")]
    NotConfigured(String),
}

/// What a bank's limit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// Only this account waits.
    Account,
    /// The connection waits.
    Connection,
    /// Everybody at this bank waits.
    Institution,
}

impl Failure {
    /// The reason in kebab case: table, JSON, log and metric use this word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::CredentialsRejected => "credentials-rejected",
            Self::CredentialsWithheld => "credentials-withheld",
            Self::ConsentExpired => "consent-expired",
            Self::SessionExpired => "session-expired",
            Self::RateLimited { .. } => "rate-limited",
            Self::BankUnavailable { .. } => "bank-unavailable",
            Self::WindowNotAvailable { .. } => "window-not-available",
            Self::PagesChanged => "pages-changed",
            Self::Unreadable { .. } => "unreadable",
            Self::NotSupported => "not-supported",
            Self::IncompleteStatement(_) => "incomplete-statement",
            Self::CustomerNeeded => "customer-needed",
            Self::ConnectorFault(_) => "connector-fault",
            Self::SecretEchoed => "secret-echoed",
            Self::Unreachable(_) => "unreachable",
            Self::NotConfigured(_) => "not-configured",
        }
    }

    /// The code a sync that ended so carries.
    pub fn code(&self) -> SyncCode {
        match self {
            Self::ConsentExpired | Self::CustomerNeeded => SyncCode::ReauthorisationRequired,
            Self::IncompleteStatement(_) => SyncCode::IncompleteStatementError,
            _ => SyncCode::SyncError,
        }
    }
}

/// A connection this process may sync until the lease runs out. `token` fences: every write of the
/// run checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which connection.
    pub connection: ConnectionId,
    /// At which institution.
    pub institution: String,
    /// What it is for.
    pub lane: Lane,
    /// Where the connection's slot lies in the interval: 0 is its start, 2³² its end.
    pub phase: i64,
    /// Minutes between its syncs, if not the institution's; what this run plans by.
    pub interval_minutes: Option<u32>,
    /// Rises with every claim.
    pub token: i64,
    /// The nominal slot being served; the next one is counted from it.
    pub slot_at: Timestamp,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// When others may claim it again.
    pub until: Timestamp,
    /// Failed runs in a row.
    pub failures: i32,
    /// Its institution has failed lately: how this run goes is noted.
    pub is_suspect: bool,
}

/// The customer is at a screen of the business, who passes these on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerPresent {
    /// The customer's address.
    pub ip: std::net::IpAddr,
    /// The customer's browser or app.
    #[serde(default)]
    pub user_agent: Option<String>,
}

/// A change to be stored; the store gives `seq` and, when added, the transaction's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewChange {
    /// New to us.
    Added {
        /// As it is.
        after: Transaction,
        /// Pending entries that it may be the booking of, and that stand beside it.
        links: Vec<Link>,
    },
    /// Known under this number, and now different.
    Modified {
        /// Its number within the account.
        number: i64,
        /// As we had it.
        before: Transaction,
        /// As it is.
        after: Transaction,
        /// What happened.
        reason: ChangeReason,
        /// Another entry could have become this one as well.
        ambiguous: bool,
    },
    /// Known under this number, and gone.
    Removed {
        /// Its number within the account.
        number: i64,
        /// As we had it.
        before: Transaction,
        /// How we know.
        reason: ChangeReason,
    },
}

impl NewChange {
    /// An entry that nothing links to another.
    pub fn added(after: Transaction) -> Self {
        Self::Added { after, links: Vec::new() }
    }

    /// The same entry with other contents, without doubt.
    pub fn amended(number: i64, before: Transaction, after: Transaction) -> Self {
        Self::Modified { number, before, after, reason: ChangeReason::Amended, ambiguous: false }
    }

    /// Why.
    pub fn reason(&self) -> ChangeReason {
        match self {
            Self::Added { .. } => ChangeReason::Listed,
            Self::Modified { reason, .. } | Self::Removed { reason, .. } => *reason,
        }
    }
}

/// All that one successful run over one account leaves behind, in one database transaction.
#[derive(Debug, Clone)]
pub struct SyncCommit {
    /// Finished, with `seq` as it was before the run; the store raises it and the counts stand.
    pub sync: Sync,
    /// In the order they get their `seq`.
    pub changes: Vec<NewChange>,
    /// Transactions (by number) whose stored copy becomes this one though nothing is told: a new bank id, a new
    /// running balance.
    pub rekeyed: Vec<(i64, Transaction)>,
    /// Transactions (by number) that were missing in this complete reading, and how often now;
    /// 0 clears.
    pub missed: Vec<(i64, i16)>,
    /// All balances of the account as of now.
    pub balances: Vec<super::Balance>,
    /// The connector's own state.
    pub state: Option<String>,
    /// What is remembered for the next look.
    pub standing: Standing,
    /// What is held reaches back to this day without a gap.
    pub history_from: Option<chrono::NaiveDate>,
    /// When the next piece of older history is due; none when there is none.
    pub history_due_at: Option<Timestamp>,
    /// What this look showed, as the ledger wrote it; none if the next one must be compared row by row.
    pub index: Option<Vec<u8>>,
    /// When the account is due again.
    pub due_at: Timestamp,
    /// From when on what was read is stale.
    pub stale_at: Timestamp,
}

/// All that one failed run over one account leaves behind.
#[derive(Debug, Clone)]
pub struct SyncFailure {
    /// Finished, with a code other than `SYNC_SUCCESSFUL`.
    pub sync: Sync,
    /// When the account is due again.
    pub due_at: Timestamp,
}
