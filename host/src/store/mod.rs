//! The database: every statement of the service, on SQLite and PostgreSQL, one body per query.
//!
//! The only module that knows sqlx. Public functions are acts of the business with domain types;
//! row types stay inside. Customer text is sealed and opened here, with the vault. Must not know:
//! HTTP, connectors, what a change means. No transaction is open while anything but SQL is awaited.

use crate::model::*;
use crate::vault::{Vault, VaultError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The database.
#[derive(Clone)]
pub struct Store {}

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the connection now, or it was stopped or deleted: drop the run's result.
    #[error("the lease on the connection was lost")]
    LeaseLost,
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
    /// credentials were handed in or a session was opened.
    pub first_at: Option<Timestamp>,
    /// How many connections of this institution were refused in the last ten minutes, this one included.
    pub recent_at_institution: i64,
}

// ---- opening
impl Store {
    /// Opens `sqlite:PATH` or `postgres://…`. SQLite: takes a lock file so that two processes
    /// can't share it. Does not migrate.
    pub async fn open(_url: &str, _vault: Arc<Vault>) -> Result<Self> {
        todo!()
    }
    /// Applies what is missing; the names of what was applied.
    pub async fn migrate(&self) -> Result<Vec<String>> {
        todo!()
    }
    /// Is the database reachable and migrated?
    pub async fn ready(&self) -> Result<()> {
        todo!()
    }
    /// Wraps every data key again under the current master key, in batches, while the service runs;
    /// how many were wrapped.
    pub async fn rotate_data_keys(&self) -> Result<u64> {
        todo!()
    }
}

// ---- businesses, keys, registrations, institutions, connectors
impl Store {
    /// A new tenant.
    pub async fn create_business(&self, _name: &str, _now: Timestamp) -> Result<Business> {
        todo!()
    }
    /// All tenants, oldest first.
    pub async fn businesses(&self) -> Result<Vec<Business>> {
        todo!()
    }
    /// A new key; only the SHA-256 of its secret is stored. Constraint `api_key_business` if the business is unknown.
    pub async fn create_api_key(&self, _key: &ApiKey, _secret_hash: &[u8; 32]) -> Result<()> {
        todo!()
    }
    /// A key and the hash of its secret.
    pub async fn api_key(&self, _id: ApiKeyId) -> Result<Option<(ApiKey, [u8; 32])>> {
        todo!()
    }
    /// A business's keys, oldest first.
    pub async fn api_keys(&self, _business: BusinessId) -> Result<Vec<ApiKey>> {
        todo!()
    }
    /// Ends a key; false if unknown or already ended.
    pub async fn revoke_api_key(&self, _id: ApiKeyId, _now: Timestamp) -> Result<bool> {
        todo!()
    }
    /// Stores or replaces (by business and institution) a registration, sealed; its version rises.
    pub async fn put_registration(&self, _registration: &Registration) -> Result<()> {
        todo!()
    }
    /// The business's registration at an institution, else the operator's.
    pub async fn registration(
        &self,
        _business: BusinessId,
        _institution: &str,
    ) -> Result<Option<Registration>> {
        todo!()
    }
    /// All registrations, oldest first.
    pub async fn registrations(&self) -> Result<Vec<Registration>> {
        todo!()
    }
    /// Removes one; false if unknown.
    pub async fn delete_registration(&self, _id: RegistrationId) -> Result<bool> {
        todo!()
    }
    /// The operator approves the routes (their fingerprint) of an institution.
    pub async fn approve_institution(
        &self,
        _institution: &str,
        _fingerprint: &str,
        _now: Timestamp,
    ) -> Result<()> {
        todo!()
    }
    /// All approvals: institution to fingerprint.
    pub async fn approvals(&self) -> Result<BTreeMap<String, String>> {
        todo!()
    }
    /// Nothing is asked of this institution before then (a bank's limit, an outage).
    pub async fn pause_institution(
        &self,
        _institution: &str,
        _until: Timestamp,
        _reason: &str,
    ) -> Result<()> {
        todo!()
    }
    /// This version of a connector is no longer run.
    pub async fn quarantine_connector(&self, _digest: &str, _reason: &str, _now: Timestamp) -> Result<()> {
        todo!()
    }
    /// Quarantined digests with their reasons.
    pub async fn quarantined_connectors(&self) -> Result<BTreeMap<String, String>> {
        todo!()
    }
}

// ---- connections
impl Store {
    /// A new connection with its credentials (sealed under a new data key), consent and schedule row.
    pub async fn create_connection(&self, _new: &NewConnection, _now: Timestamp) -> Result<Connection> {
        todo!()
    }
    /// One of the business's connections.
    pub async fn connection(&self, _business: BusinessId, _id: ConnectionId) -> Result<Option<Connection>> {
        todo!()
    }
    /// A connection, for a run that holds its lease.
    pub async fn leased_connection(&self, _lease: &Lease) -> Result<Connection> {
        todo!()
    }
    /// A business's connections, oldest first, `after` excluded.
    pub async fn connections(
        &self,
        _business: BusinessId,
        _customer_ref: Option<&str>,
        _institution: Option<&str>,
        _after: Option<ConnectionId>,
        _limit: u32,
    ) -> Result<PageOf<Connection>> {
        todo!()
    }
    /// Fresh credentials (all old ones are dropped) and consent (the old one ends as `replaced`):
    /// state active, session closed, accounts to be listed again, due now, all accounts due now,
    /// back-off and refusals cleared. `None` if unknown or deleted. The lease, if any, is fenced off (token + 1).
    pub async fn reauthorise(
        &self,
        _business: BusinessId,
        _id: ConnectionId,
        _credentials: &[NewCredential],
        _consent: Option<&NewConsent>,
        _now: Timestamp,
    ) -> Result<Option<Connection>> {
        todo!()
    }
    /// Ends polling (token + 1), stores the event with its deliveries, ends the consent, deletes the
    /// data key, then erases: credentials, sealed columns, names, numbers, customer reference, bodies and
    /// before/after, in batches. `seq`, kinds and times stay. False if unknown or already deleted.
    pub async fn delete_connection(
        &self,
        _business: BusinessId,
        _id: ConnectionId,
        _event: &NewEvent,
        _now: Timestamp,
    ) -> Result<bool> {
        todo!()
    }
    /// Finishes erasures that a crash interrupted; how many connections were worked on.
    pub async fn finish_erasures(&self) -> Result<u64> {
        todo!()
    }
    /// The consent in force, or the last one.
    pub async fn consent(&self, _connection: ConnectionId) -> Result<Option<Consent>> {
        todo!()
    }
    /// All consents of a connection, oldest first.
    pub async fn consents(&self, _connection: ConnectionId) -> Result<Vec<Consent>> {
        todo!()
    }
    /// The credentials, opened.
    pub async fn credentials(&self, _connection: ConnectionId) -> Result<Vec<Credential>> {
        todo!()
    }
    /// Stores what a reply gave: each value replaces the one of the given version (0: there was none),
    /// in a transaction of its own; the new versions. `LeaseLost` or `CredentialReplaced` and nothing
    /// is stored otherwise.
    pub async fn save_captures(
        &self,
        _lease: &Lease,
        _captures: &[(NewCredential, i64)],
        _now: Timestamp,
    ) -> Result<Vec<i64>> {
        todo!()
    }
    /// The session is open until then; clears refusals.
    pub async fn save_session(
        &self,
        _lease: &Lease,
        _valid_until: Option<Timestamp>,
        _state: Option<&str>,
    ) -> Result<()> {
        todo!()
    }
    /// The session is over (the bank said so).
    pub async fn close_session(&self, _lease: &Lease) -> Result<()> {
        todo!()
    }
    /// Stops polling until the customer acted: state, schedule, consent (`ended_by_bank` or `expired`) and
    /// the one event, in one transaction. False (and no event) if it was already stopped.
    pub async fn require_reauthorisation(
        &self,
        _lease: &Lease,
        _reason: &str,
        _event: &NewEvent,
        _now: Timestamp,
    ) -> Result<bool> {
        todo!()
    }
    /// Notes that the bank refused the credentials.
    pub async fn note_rejection(&self, _lease: &Lease, _now: Timestamp) -> Result<Rejection> {
        todo!()
    }
}

// ---- accounts
impl Store {
    /// The bank's list of a connection's accounts: known ones (by bank id, else by number; both through a
    /// keyed index) keep their id and get the new names; new ones are added, due now; vanished ones
    /// are closed. Marks the connection as listed. All accounts, also closed ones.
    pub async fn record_accounts(
        &self,
        _lease: &Lease,
        _listed: &[BankAccount],
        _now: Timestamp,
    ) -> Result<Vec<Account>> {
        todo!()
    }
    /// One of the business's accounts. Accounts of deleted connections are unknown.
    pub async fn account(&self, _business: BusinessId, _id: AccountId) -> Result<Option<Account>> {
        todo!()
    }
    /// A business's accounts, oldest first, `after` excluded.
    pub async fn accounts(
        &self,
        _business: BusinessId,
        _connection: Option<ConnectionId>,
        _after: Option<AccountId>,
        _limit: u32,
    ) -> Result<PageOf<Account>> {
        todo!()
    }
    /// A connection's accounts with their heads, for a run.
    pub async fn accounts_with_heads(
        &self,
        _connection: ConnectionId,
    ) -> Result<Vec<(Account, AccountHead)>> {
        todo!()
    }
    /// Where an account stands.
    pub async fn head(&self, _account: AccountId) -> Result<Option<AccountHead>> {
        todo!()
    }
    /// Transactions in order of their number.
    pub async fn transactions(
        &self,
        _account: AccountId,
        _filter: &TransactionFilter,
        _limit: u32,
    ) -> Result<PageOf<StoredTransaction>> {
        todo!()
    }
    /// One transaction.
    pub async fn transaction(&self, _id: TransactionId) -> Result<Option<StoredTransaction>> {
        todo!()
    }
    /// The history after `seq`, in order.
    pub async fn changes(&self, _account: AccountId, _after_seq: i64, _limit: u32) -> Result<PageOf<Change>> {
        todo!()
    }
    /// What the ledger compares with: all pending rows, and booked rows whose booking date is on or after `since`
    /// (rows without a booking date always).
    pub async fn known(
        &self,
        _account: AccountId,
        _since: chrono::NaiveDate,
    ) -> Result<Vec<StoredTransaction>> {
        todo!()
    }
}

// ---- schedule and syncs
impl Store {
    /// Claims connections that are due, at most so many per institution, most overdue first; paused institutions not at all.
    pub async fn claim_due(
        &self,
        _now: Timestamp,
        _until: Timestamp,
        _permits: &[(String, u32)],
    ) -> Result<Vec<Lease>> {
        todo!()
    }
    /// When the next connection of any institution is due; none if there is none.
    pub async fn next_due(&self, _now: Timestamp) -> Result<Option<Timestamp>> {
        todo!()
    }
    /// At the start of the only process on a SQLite file: what was claimed is due again.
    pub async fn release_all(&self, _now: Timestamp) -> Result<u64> {
        todo!()
    }
    /// Gives a lease back unused, due now (graceful stop).
    pub async fn release(&self, _lease: &Lease, _now: Timestamp) -> Result<()> {
        todo!()
    }
    /// Wants a sync of the account: joins the run that has not asked the bank yet, else asks for the next one
    /// (creating its id on the account's head), and makes the connection due now if it is idle.
    pub async fn request_sync(
        &self,
        _account: &Account,
        _present: Option<&CustomerPresent>,
        _now: Timestamp,
    ) -> Result<Requested> {
        todo!()
    }
    /// The run is about to ask the bank about this account: takes the requested sync's id (else the one an
    /// interrupted run left, else a new one) and who is present. From now on requests go to the next run.
    pub async fn begin_asking(
        &self,
        _lease: &Lease,
        _account: AccountId,
    ) -> Result<(SyncId, Trigger, Option<CustomerPresent>)> {
        todo!()
    }
    /// Stores a successful run in one transaction, if the lease still holds. `event` is built from the finished
    /// sync (final `seq`, counts) and stored with its deliveries when there is something to tell. Returns the sync as stored.
    pub async fn commit_sync(
        &self,
        _lease: &Lease,
        _commit: &SyncCommit,
        _event: &(dyn Fn(&Sync) -> Option<NewEvent> + std::marker::Sync),
    ) -> Result<Sync> {
        todo!()
    }
    /// Stores a failed run: sync row, failures + 1, next due, and the event when this is the first failure in a row.
    pub async fn fail_sync(
        &self,
        _lease: &Lease,
        _failure: &SyncFailure,
        _event: &(dyn Fn(&Sync) -> Option<NewEvent> + std::marker::Sync),
    ) -> Result<Sync> {
        todo!()
    }
    /// The run is over: the connection is due at `due_at`, or now if a sync was requested meanwhile.
    pub async fn complete(
        &self,
        _lease: &Lease,
        _slot_at: Timestamp,
        _due_at: Timestamp,
        _failures: i32,
        _now: Timestamp,
    ) -> Result<()> {
        todo!()
    }
    /// A sync of one of the business's accounts.
    pub async fn sync(&self, _business: BusinessId, _id: SyncId) -> Result<Option<FoundSync>> {
        todo!()
    }
    /// An account's finished syncs, newest first, `before` excluded.
    pub async fn syncs(
        &self,
        _account: AccountId,
        _before: Option<SyncId>,
        _limit: u32,
    ) -> Result<PageOf<Sync>> {
        todo!()
    }
}

// ---- webhooks
impl Store {
    /// A new endpoint; its secrets are sealed under a data key of its own.
    pub async fn create_endpoint(&self, _endpoint: &Endpoint) -> Result<()> {
        todo!()
    }
    /// One of the business's endpoints.
    pub async fn endpoint(&self, _business: BusinessId, _id: EndpointId) -> Result<Option<Endpoint>> {
        todo!()
    }
    /// A business's endpoints, oldest first.
    pub async fn endpoints(&self, _business: BusinessId) -> Result<Vec<Endpoint>> {
        todo!()
    }
    /// Replaces URL, event types, state, secrets; `failing_since` is cleared when it becomes active. False if unknown.
    pub async fn update_endpoint(&self, _endpoint: &Endpoint) -> Result<bool> {
        todo!()
    }
    /// Removes it; its pending deliveries are cancelled. False if unknown.
    pub async fn delete_endpoint(&self, _business: BusinessId, _id: EndpointId) -> Result<bool> {
        todo!()
    }
    /// Claims deliveries that are due, at most `per_endpoint` of each endpoint and `limit` in all, oldest due first.
    pub async fn claim_deliveries(
        &self,
        _now: Timestamp,
        _until: Timestamp,
        _per_endpoint: u32,
        _limit: u32,
    ) -> Result<Vec<ClaimedDelivery>> {
        todo!()
    }
    /// When the next delivery is due.
    pub async fn next_delivery(&self) -> Result<Option<Timestamp>> {
        todo!()
    }
    /// Records an attempt and what becomes of the delivery and endpoint (`failing_since`, disabling cancels its
    /// pending deliveries). False if the token is no longer ours (the attempt row is stored all the same).
    pub async fn record_attempt(
        &self,
        _delivery: &ClaimedDelivery,
        _attempt: &NewAttempt,
        _after: &AfterAttempt,
    ) -> Result<bool> {
        todo!()
    }
    /// An endpoint's deliveries, newest first.
    pub async fn deliveries(
        &self,
        _endpoint: EndpointId,
        _before: Option<DeliveryId>,
        _limit: u32,
    ) -> Result<PageOf<Delivery>> {
        todo!()
    }
    /// A delivery's attempts, oldest first.
    pub async fn attempts(&self, _endpoint: EndpointId, _delivery: DeliveryId) -> Result<Vec<Attempt>> {
        todo!()
    }
    /// Makes a delivery of the endpoint due now, whatever its state; false if unknown.
    pub async fn replay_delivery(
        &self,
        _endpoint: EndpointId,
        _delivery: DeliveryId,
        _now: Timestamp,
    ) -> Result<bool> {
        todo!()
    }
}

// ---- idempotency
impl Store {
    /// Takes or looks up a key; entries older than 24 h do not count. A key held for over a minute without an answer is free again.
    pub async fn idempotency_begin(
        &self,
        _business: BusinessId,
        _key: &str,
        _request_hash: &[u8; 32],
        _now: Timestamp,
    ) -> Result<Idempotent> {
        todo!()
    }
    /// Stores the answer (bodies may hold ids and one-time secrets, so they are sealed under a key derived from the master key).
    pub async fn idempotency_finish(
        &self,
        _business: BusinessId,
        _key: &str,
        _status: u16,
        _body: &str,
    ) -> Result<()> {
        todo!()
    }
    /// Frees a key whose request failed on our side (5xx), so that it can be tried again.
    pub async fn idempotency_abandon(&self, _business: BusinessId, _key: &str) -> Result<()> {
        todo!()
    }
    /// Deletes entries older than 24 h; how many.
    pub async fn idempotency_sweep(&self, _now: Timestamp) -> Result<u64> {
        todo!()
    }
}
