//! The database: every statement of the service, on SQLite and PostgreSQL, one body per query.
//!
//! The only module that knows sqlx. Public functions are acts of the business with domain types;
//! row types stay inside. Customer text is sealed and opened here, with the vault. Must not know:
//! HTTP, connectors, what a change means. No transaction is open while anything but SQL is awaited.
//!
//! Rooms: `schema` (open, migrate), `db` (drivers), `postgres` (its URL and TLS), `arg` (parameters), `dialect` (what differs), `seal` (data keys),
//! `codec` (stored words); then one per subject: `business`, `institution`, `breaker`, `connection`, `consent`,
//! `authorisation`, `credential`, `session`, `rejection`, `pause`, `settings`, `closing`, `erase`, `account`, `history`,
//! `schedule`, `opened`, `request`, `waiting`, `commit`, `group`, `backup`, `restore`, `examine`, `plans`, `stale`, `sync`, `endpoint`,
//! `delivery`, `idempotency`, `retention`, `census`, `process`, `news`.
//!
//! Whoever writes anything of a connection holds its `schedule` row in the same transaction, and
//! takes it first: that orders writers on both databases, and the row's token fences.

mod account;
mod arg;
mod authorisation;
mod backup;
mod breaker;
mod business;
mod census;
mod closing;
mod codec;
mod commit;
mod connection;
mod consent;
mod credential;
mod db;
mod delivery;
mod dialect;
mod endpoint;
mod erase;
mod examine;
mod group;
mod history;
mod idempotency;
mod institution;
mod news;
mod opened;
mod pause;
mod plans;
mod postgres;
mod process;
mod rejection;
mod request;
mod restore;
mod retention;
mod schedule;
mod schema;
mod seal;
mod session;
mod settings;
mod stale;
mod sync;
mod turn;
mod waiting;

use crate::model::*;
use crate::vault::VaultError;

pub use authorisation::{NewAuthorisation, OfConnection};
pub use backup::Backup;
pub use closing::{ClosingConnection, ClosingTry};
pub use news::Listener;
pub use opened::Opened;
pub use plans::Plan;
pub use restore::{Restored, Settled};
pub use retention::Swept;
pub use settings::{Changed, Settings};

/// The database.
#[derive(Clone)]
pub struct Store {
    db: db::Db,
    keys: seal::Keys,
    groups: group::Groups,
}

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the connection now, or it was stopped or deleted: drop the run's result.
    #[error("the lease on the connection was lost")]
    LeaseLost,
    /// The connection was paused, or the account switched off, since the run began: ask nothing more about it.
    #[error("nobody wants a sync of this account any more")]
    Unwanted,
    /// A credential was replaced meanwhile: drop the capture.
    #[error("credential \"{0}\" was replaced meanwhile")]
    CredentialReplaced(String),
    /// A rule of the database was broken; the name of the constraint.
    #[error("constraint {0}")]
    Constraint(String),
    /// The data key of a connection is erased.
    #[error("the customer's data was erased")]
    Erased,
    /// Sealing or opening failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A stored value is not what this version writes.
    #[error("stored {0} could not be read; run `tidegate migrate`, or restore from a backup")]
    Corrupt(&'static str),
    /// The database is of a newer version, or was never migrated.
    #[error("{0}")]
    Migration(String),
    /// A backup that cannot be made, or used; the sentence says what to do.
    #[error("{0}")]
    Backup(String),
    /// Busy, gone, full: the driver's words.
    #[error("database: {0}")]
    Database(String),
}

/// Shorthand.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A connection to create.
#[derive(Debug, Clone)]
pub struct NewConnection {
    /// Its id.
    pub id: ConnectionId,
    /// Whose customer.
    pub business: BusinessId,
    /// Which bank.
    pub institution: String,
    /// The business's name for the customer.
    pub customer_ref: Option<String>,
    /// What was handed in.
    pub credentials: Vec<NewCredential>,
    /// What the customer agreed to.
    pub consent: Option<NewConsent>,
    /// Where its slot lies in the interval (0 to 2³²).
    pub phase: i64,
    /// The slot its schedule is counted from.
    pub slot_at: Timestamp,
    /// When it is due first.
    pub due_at: Timestamp,
    /// Its customer has still to let us in.
    pub linking: bool,
}

/// A page of something, oldest (or smallest id) first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOf<T> {
    /// The rows.
    pub items: Vec<T>,
    /// There are more after the last.
    pub has_more: bool,
}

/// Which transactions to list.
#[derive(Debug, Clone, Default)]
pub struct TransactionFilter {
    /// Booked (or, without booking date, first seen) on or after this day.
    pub from: Option<chrono::NaiveDate>,
    /// On or before this day.
    pub to: Option<chrono::NaiveDate>,
    /// Only these.
    pub status: Option<TransactionStatus>,
    /// Only amounts of at least so many minor units.
    pub min_amount_minor: Option<i64>,
    /// Only amounts of at most so many minor units.
    pub max_amount_minor: Option<i64>,
    /// Continue after this transaction number.
    pub after: Option<i64>,
}

/// Which consents to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConsentFilter<'a> {
    /// Only those of this connection.
    pub connection: Option<ConnectionId>,
    /// Only those of this customer.
    pub customer_ref: Option<&'a str>,
    /// Only those at this bank.
    pub institution: Option<&'a str>,
    /// Only those in force, or only those that ended.
    pub in_force: Option<bool>,
}

/// What became of asking for a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// This sync will answer: its run has not asked the bank yet.
    Sync(SyncId),
    /// The bank allows no reading before; with the last finished sync.
    TooEarly {
        /// When it is allowed.
        next_allowed_at: Timestamp,
        /// The last one.
        last: Option<Box<Sync>>,
    },
    /// The connection is paused: nothing will be asked until it is resumed.
    Paused,
    /// The account is switched off: nothing will be asked until it is switched on.
    Excluded,
    /// The connection is not active: nothing will be asked; with the last finished sync.
    Stopped(Option<Box<Sync>>),
}

/// A sync by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundSync {
    /// Over.
    Finished(Box<Sync>),
    /// Wanted or running.
    Running {
        /// Over which account.
        account: AccountId,
    },
}

/// A stored answer to a request with an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idempotent {
    /// The key is new and now held by this request: answer, then call [`Store::idempotency_finish`].
    New,
    /// The same request was answered so.
    Answered {
        /// HTTP status.
        status: u16,
        /// The exact body.
        body: String,
    },
    /// The same request has made this connection, and its answer was not kept: its process died.
    Made(ConnectionId),
    /// The same request is being answered now.
    InFlight,
    /// The key was used for another request.
    OtherRequest,
}

/// An attempt as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Ours.
    pub id: AttemptId,
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// Of which event.
    pub event: EventId,
    /// What happened.
    pub outcome: NewAttempt,
}

/// A delivery as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Ours.
    pub id: DeliveryId,
    /// Of which event.
    pub event: EventId,
    /// Of which kind.
    pub kind: EventType,
    /// Where it stands.
    pub state: DeliveryState,
    /// How many attempts were made.
    pub attempts: i32,
    /// When the next attempt is due, while pending.
    pub due_at: Option<Timestamp>,
    /// When the event happened.
    pub created_at: Timestamp,
}

/// What is known of a connection whose bank refused its credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection {
    /// When the bank refused first, this time excluded; none if this is the first refusal since
    /// credentials were handed in, a session was opened, or refusals were the bank's own fault.
    pub first_at: Option<Timestamp>,
    /// How many connections of this institution were refused in the last ten minutes, this one included.
    pub recent_at_institution: i64,
}

impl StoreError {
    /// Names a broken foreign key, which SQLite leaves without a name.
    fn on_foreign_key(self, name: &'static str) -> Self {
        match self {
            Self::Constraint(broken) if broken == dialect::FOREIGN_KEY => Self::Constraint(name.to_owned()),
            other => other,
        }
    }
}

impl<T> PageOf<T> {
    /// Of rows that were read with one more than `limit`.
    fn cut(mut items: Vec<T>, limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = items.len() > limit;
        items.truncate(limit);
        Self { items, has_more }
    }
}

/// One more than asked for, to see whether there are more.
fn one_more(limit: u32) -> i64 {
    i64::from(limit) + 1
}
