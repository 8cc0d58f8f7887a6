//! Connections, consents, businesses, keys and registrations.

use super::{
    AccountId, ApiKeyId, AuthorisationId, BusinessId, Colour, ConnectionId, ConsentId, RegistrationId, Theme,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Business {
    /// Ours.
    pub id: BusinessId,
    /// What the operator calls it.
    pub name: String,
    /// What its customers are shown.
    pub theme: Theme,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Business {
    /// What its customers know it by.
    pub fn display_name(&self) -> &str {
        self.theme.display_name.as_deref().unwrap_or(&self.name)
    }
    /// The colour of its pages.
    pub fn colour(&self) -> Colour {
        self.theme.colour.unwrap_or(Colour::DEFAULT)
    }
}

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Everything that only reads.
    Read,
    /// Ask for a sync.
    Sync,
    /// Create, re-authorise and delete connections.
    Connections,
    /// Manage webhook endpoints.
    Webhooks,
}

impl Scope {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 4] = [Self::Read, Self::Sync, Self::Connections, Self::Webhooks];

    /// Its name in configuration, JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Sync => "sync",
            Self::Connections => "connections",
            Self::Webhooks => "webhooks",
        }
    }
    /// The scope of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// A bearer key, without the secret (only its hash is stored).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Ours; also the readable part of the key.
    pub id: ApiKeyId,
    /// Whose.
    pub business: BusinessId,
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it stopped working.
    pub revoked_at: Option<Timestamp>,
}

/// Is a connection being synced?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// New: the customer has still to let us in.
    Linking,
    /// Synced on schedule and on request.
    Active,
    /// Stopped by its business: nothing is asked of the bank until it is resumed.
    Paused,
    /// The customer must act; nothing is asked of the bank until then.
    ReauthorisationRequired,
    /// To be erased as soon as the bank was asked to end the consent; unknown to everybody else.
    Closing,
    /// Ended; data erased.
    Deleted,
}

impl ConnectionState {
    /// The customer has left: nothing of the connection is shown any more.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Closing | Self::Deleted)
    }
}

impl ConnectionId {
    /// Where the connection's slot lies in its interval, in 2⁻³² of it: the random end of its id, so
    /// that an institution sees a flat line of syncs however connections were created.
    pub fn phase(&self) -> i64 {
        self.as_bytes().iter().rev().take(4).fold(0, |bits, byte| (bits << 8) | i64::from(*byte))
    }
}

/// A customer's link to an institution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Ours.
    pub id: ConnectionId,
    /// Whose customer.
    pub business: BusinessId,
    /// Which bank: the name of its profile.
    pub institution: String,
    /// The business's own name for the customer; erased with the connection.
    pub customer_ref: Option<String>,
    /// Synced or not.
    pub state: ConnectionState,
    /// Why it is not active, as an event would say it; of an active one, why its last run came to nothing.
    pub reason: Option<String>,
    /// When it is due next; none while a run has it, and while it is not synced.
    pub due_at: Option<Timestamp>,
    /// Its customer is on the way in: an authorisation is open.
    pub authorising: bool,
    /// When the bank's session ends, if known.
    pub session_valid_until: Option<Timestamp>,
    /// A session was opened since the last credential was handed in.
    pub session_open: bool,
    /// What the connector's `session` keeps.
    pub session_state: Option<String>,
    /// The accounts were listed since the last credential was handed in.
    pub accounts_listed: bool,
    /// How often in a row the bank refused the customer's credentials, whichever connection it was.
    pub rejections: i64,
    /// The authorisation that is the connector's turn now, and when.
    pub attempt: Option<(AuthorisationId, Timestamp)>,
    /// Minutes between two syncs, if not the institution's.
    pub interval_minutes: Option<u32>,
    /// Which of its accounts are read.
    pub accounts: AccountsKept,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

/// Which accounts of a connection are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountsKept {
    /// All that the bank lists, also those that appear later.
    All,
    /// These, and none that appears later.
    Only(Vec<AccountId>),
}

/// What a customer agreed to, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Ours.
    pub id: ConsentId,
    /// For which link.
    pub connection: ConnectionId,
    /// When it was given.
    pub granted_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// The permissions, in the bank's words.
    pub scopes: Vec<String>,
    /// How it was given, in the business's words, e.g. `redirect`.
    pub how: String,
    /// The business's or the bank's reference.
    pub reference: Option<String>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it ended: `replaced`, `expired`, `ended_by_bank`, `deleted`.
    pub end_reason: Option<String>,
}

/// What a consent is made of when a credential is handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConsent {
    /// When it was given.
    pub granted_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// The permissions, in the bank's words.
    pub scopes: Vec<String>,
    /// How it was given.
    pub how: String,
    /// The business's or the bank's reference.
    pub reference: Option<String>,
}

/// A secret text that `Debug` and logs never show, wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq, Default, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The text itself: only for filling in, signing and sealing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, into: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        into.write_str("Secret(…)")
    }
}

/// A credential of a connection, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// As declared by the connector.
    pub name: String,
    /// Rises with every replacement; what a capture is compared with.
    pub version: i64,
    /// The value.
    pub value: Secret,
    /// When it stops working, if known.
    pub expires_at: Option<Timestamp>,
}

/// A credential to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCredential {
    /// As declared by the connector.
    pub name: String,
    /// The value.
    pub value: Secret,
    /// When it stops working, if known.
    pub expires_at: Option<Timestamp>,
}

/// A business's or the operator's own standing at an institution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Ours.
    pub id: RegistrationId,
    /// Whose; none for the operator's, which all businesses use.
    pub business: Option<BusinessId>,
    /// At which institution.
    pub institution: String,
    /// Values by name: client id, signing keys (PKCS#8 PEM), redirect address, …
    pub values: BTreeMap<String, Secret>,
    /// Client certificate chain and key for mutual TLS (PEM, one after the other).
    pub client_identity: Option<Secret>,
    /// Extra roots to trust at this institution (PEM).
    pub roots: Option<String>,
    /// Rises with every replacement: one HTTP client per (institution, registration, version).
    pub version: i64,
    /// When it was stored.
    pub created_at: Timestamp,
}
