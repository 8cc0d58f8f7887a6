//! Events, endpoints, deliveries and attempts.

use super::{
    AccountId, AttemptId, BusinessId, ConnectionId, DeliveryId, EndpointId, EventId, Secret, Timestamp,
};
use serde::{Deserialize, Serialize};

/// What we tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventType {
    /// An account's transactions or balances changed.
    #[serde(rename = "account.updated")]
    AccountUpdated,
    /// The customer must act before the connection is synced again.
    #[serde(rename = "connection.reauthorisation_required")]
    ReauthorisationRequired,
    /// The customer let us in.
    #[serde(rename = "connection.authorised")]
    ConnectionAuthorised,
    /// The customer was on the way to letting us in, and it came to nothing.
    #[serde(rename = "connection.authorisation_failed")]
    AuthorisationFailed,
    /// The bank lists an account that it did not list before.
    #[serde(rename = "account.added")]
    AccountAdded,
    /// The bank no longer lists an account; its history stays.
    #[serde(rename = "account.closed")]
    AccountClosed,
    /// An account was not read for too long after it should have been (told once, until it is read).
    #[serde(rename = "account.stale")]
    AccountStale,
    /// A consent ends by itself soon (told 14 days, 7 days and 1 day ahead).
    #[serde(rename = "consent.expiring")]
    ConsentExpiring,
    /// The business stopped syncs of a connection.
    #[serde(rename = "connection.paused")]
    ConnectionPaused,
    /// A paused connection is synced again.
    #[serde(rename = "connection.resumed")]
    ConnectionResumed,
    /// The connection ended and its data is erased.
    #[serde(rename = "connection.deleted")]
    ConnectionDeleted,
    /// An account's sync began to fail (told once, until one succeeds).
    #[serde(rename = "sync.failed")]
    SyncFailed,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::AccountUpdated,
        Self::ReauthorisationRequired,
        Self::ConnectionAuthorised,
        Self::AuthorisationFailed,
        Self::AccountAdded,
        Self::AccountClosed,
        Self::AccountStale,
        Self::ConsentExpiring,
        Self::ConnectionPaused,
        Self::ConnectionResumed,
        Self::ConnectionDeleted,
        Self::SyncFailed,
    ];

    /// Its name in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccountUpdated => "account.updated",
            Self::ReauthorisationRequired => "connection.reauthorisation_required",
            Self::ConnectionAuthorised => "connection.authorised",
            Self::AuthorisationFailed => "connection.authorisation_failed",
            Self::AccountAdded => "account.added",
            Self::AccountClosed => "account.closed",
            Self::AccountStale => "account.stale",
            Self::ConsentExpiring => "consent.expiring",
            Self::ConnectionPaused => "connection.paused",
            Self::ConnectionResumed => "connection.resumed",
            Self::ConnectionDeleted => "connection.deleted",
            Self::SyncFailed => "sync.failed",
        }
    }
    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// An event to store, with the deliveries it needs, in the transaction of what it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Also the `webhook-id`.
    pub id: EventId,
    /// Whose endpoints hear it.
    pub business: BusinessId,
    /// What kind.
    pub kind: EventType,
    /// About which connection.
    pub connection: ConnectionId,
    /// About which account, if one.
    pub account: Option<AccountId>,
    /// The exact JSON that is signed and sent: `{"type", "timestamp", "data"}`. Holds ids, numbers
    /// and codes, never a customer's text.
    pub payload: String,
    /// When it happened.
    pub created_at: Timestamp,
}

/// Is an endpoint being told?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// Deliveries are sent.
    Active,
    /// Stopped: by its owner, by a 410, or after days of nothing but failures.
    Disabled,
}

/// Where we tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Ours.
    pub id: EndpointId,
    /// Whose.
    pub business: BusinessId,
    /// Where to POST.
    pub url: String,
    /// Which events; empty for all.
    pub event_types: Vec<EventType>,
    /// Told or not.
    pub state: EndpointState,
    /// Why it is disabled.
    pub disabled_reason: Option<String>,
    /// Since when nothing but failures; cleared by a success.
    pub failing_since: Option<Timestamp>,
    /// `whsec_…`, the newest first; older ones sign too until they run out.
    pub secrets: Vec<EndpointSecret>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A signing secret of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSecret {
    /// `whsec_` and base64 of 32 bytes.
    pub secret: Secret,
    /// When a rotated secret stops signing; none for the current one.
    pub expires_at: Option<Timestamp>,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waiting for its next attempt.
    Pending,
    /// Answered with 2xx.
    Delivered,
    /// Every attempt of the table failed.
    Exhausted,
    /// Its endpoint was disabled or deleted.
    Cancelled,
}

/// A delivery that this process may now attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// Which delivery.
    pub id: DeliveryId,
    /// Fences: recording with another token changes nothing.
    pub token: i64,
    /// How many attempts were recorded before this one.
    pub attempts: i32,
    /// The event's id.
    pub event: EventId,
    /// The exact body.
    pub payload: String,
    /// Where to.
    pub endpoint: Endpoint,
}

/// One try of a delivery, to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAttempt {
    /// Ours.
    pub id: AttemptId,
    /// When it left.
    pub at: Timestamp,
    /// How long until the answer was read or given up.
    pub duration_ms: i64,
    /// HTTP status, if there was an answer.
    pub status: Option<i16>,
    /// Why it failed, as a code: `timeout`, `connect`, `status`, `blocked-address`, …
    pub error: Option<String>,
}

/// What becomes of the delivery after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterAttempt {
    /// Done.
    Delivered,
    /// Try again then.
    Retry(Timestamp),
    /// That was the last of the table.
    Exhausted,
    /// The receiver said 410 or has failed for days: stop telling this endpoint, with the reason.
    DisableEndpoint(String),
}
