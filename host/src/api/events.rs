//! What webhooks carry, as the OpenAPI document describes it: one type per event.
//!
//! Only descriptions: [`crate::webhook::payload`] makes the payloads.

use super::schema::{self, camel, reference};
use crate::model::EventType;
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

macro_rules! data {
    ($($(#[$says:meta])* $name:ident { $($(#[$field:meta])* $member:ident: $kind:ty,)* })*) => {$(
        $(#[$says])*
        #[derive(ToSchema)]
        #[allow(dead_code)] // only its schema is used
        struct $name { $($(#[$field])* $member: $kind,)* }
    )*};
}

data! {
    /// Read the account's changes up to `to_seq`.
    AccountUpdatedData {
        /// Which account.
        account_id: String,
        /// Of which connection.
        connection_id: String,
        /// Which sync saw it.
        sync_id: String,
        /// The `seq` of the account's last change.
        to_seq: i64,
        /// How many transactions were new.
        added: i32,
        /// How many changed.
        modified: i32,
        /// How many are gone.
        removed: i32,
        /// A balance is another one.
        balances_changed: bool,
        /// Did the bank's own balance agree?
        #[schema(value_type = schema::Proof)]
        proof: String,
    }
    /// Have the customer authorise again: `POST /v1/connections/{connection_id}/reauthorise`.
    ReauthorisationRequiredData {
        /// Which connection.
        connection_id: String,
        /// At which bank.
        institution_id: String,
        /// Why, as a code: `consent-expired`, `credentials-rejected` or `customer-needed`.
        reason: String,
    }
    /// Its accounts are read from now on.
    AuthorisedData {
        /// Which connection.
        connection_id: String,
        /// At which bank.
        institution_id: String,
        /// By which authorisation.
        authorisation_id: String,
    }
    /// What the connection held before, it holds still.
    AuthorisationFailedData {
        /// Which connection.
        connection_id: String,
        /// At which bank.
        institution_id: String,
        /// Which authorisation.
        authorisation_id: String,
        /// Why, as a code such as `expired`.
        reason: String,
    }
    /// It is synced from now on, unless it is `excluded`.
    AccountAddedData {
        /// Which account.
        account_id: String,
        /// Of which connection.
        connection_id: String,
        /// `excluded` where only some accounts are read.
        #[schema(value_type = schema::AccountState)]
        state: String,
    }
    /// It is not synced any more.
    AccountClosedData {
        /// Which account.
        account_id: String,
        /// Of which connection.
        connection_id: String,
    }
    /// What you read is older than was promised. It is tried again by itself.
    AccountStaleData {
        /// Which account.
        account_id: String,
        /// Of which connection.
        connection_id: String,
        /// At which bank.
        institution_id: String,
        /// When our copy was last known to be what the bank has.
        #[schema(format = DateTime)]
        fresh_at: String,
        /// Failed syncs in a row; 0: it was not its turn yet.
        failures: u32,
        /// Why the last one failed, such as `bank-unavailable`; null if it did not.
        #[schema(required)]
        reason: Option<String>,
    }
    /// Have the customer authorise again before it ends.
    ConsentExpiringData {
        /// Of which connection.
        connection_id: String,
        /// Which consent.
        consent_id: String,
        /// At which bank.
        institution_id: String,
        /// When it ends.
        #[schema(format = DateTime)]
        expires_at: String,
        /// Which notice this is: 14, 7 or 1.
        days_left: u32,
    }
    /// Nothing more is asked of the bank.
    PausedData {
        /// Which connection.
        connection_id: String,
        /// At which bank.
        institution_id: String,
    }
    /// Its accounts are due at once.
    ResumedData {
        /// Which connection.
        connection_id: String,
        /// At which bank.
        institution_id: String,
    }
    /// Delete your copy of its accounts.
    DeletedData {
        /// Which connection.
        connection_id: String,
        /// At which bank.
        institution_id: String,
        /// The bank was asked to end the consent, and said that it has. Null where there was no consent: the customer
        /// never let us in.
        #[schema(required)]
        consent_ended_at_bank: Option<bool>,
    }
    /// It is tried again by itself.
    SyncFailedData {
        /// Which account.
        account_id: String,
        /// Of which connection.
        connection_id: String,
        /// Which sync.
        sync_id: String,
        /// What it came to.
        #[schema(value_type = schema::SyncCode)]
        code: String,
        /// Finer than the code, such as `rate-limited`.
        reason: String,
        /// When it is tried again; null where nothing is planned.
        #[schema(required, format = DateTime)]
        next_at: Option<String>,
    }
}

/// What an event tells, in a sentence, and the schema of its data.
fn facts(kind: EventType) -> (&'static str, Value) {
    fn of<T: PartialSchema>() -> Value {
        serde_json::to_value(T::schema()).unwrap_or_default()
    }
    match kind {
        EventType::AccountUpdated => {
            ("An account's transactions or balances changed", of::<AccountUpdatedData>())
        }
        EventType::ReauthorisationRequired => (
            "The customer must act before the connection is synced again",
            of::<ReauthorisationRequiredData>(),
        ),
        EventType::ConnectionAuthorised => {
            ("The customer let us in, for the first time or again", of::<AuthorisedData>())
        }
        EventType::AuthorisationFailed => {
            ("A customer's way in came to nothing", of::<AuthorisationFailedData>())
        }
        EventType::AccountAdded => {
            ("The bank lists an account that it did not list before", of::<AccountAddedData>())
        }
        EventType::AccountClosed => {
            ("The bank no longer lists an account; its history stays", of::<AccountClosedData>())
        }
        EventType::AccountStale => (
            "An account was not read for too long after it should have been: told once, until it is",
            of::<AccountStaleData>(),
        ),
        EventType::ConsentExpiring => {
            ("A consent ends soon: told 14 days, 7 days and 1 day ahead", of::<ConsentExpiringData>())
        }
        EventType::ConnectionPaused => ("You paused a connection", of::<PausedData>()),
        EventType::ConnectionResumed => ("A paused connection is synced again", of::<ResumedData>()),
        EventType::ConnectionDeleted => ("A connection ended, and its data is erased", of::<DeletedData>()),
        EventType::SyncFailed => {
            ("An account's sync began to fail: told once, until one succeeds", of::<SyncFailedData>())
        }
    }
}

/// What is promised of every delivery.
const DELIVERY: &str = "Signed after Standard Webhooks 1.0.0, and sent again until it is answered. A hint: what you read \
    with it is the truth. It may come twice or late; `webhook-id` is the same for all attempts.";

/// The document's `webhooks`, and the schemas that they name.
pub fn described() -> (Value, Map<String, Value>) {
    let (mut webhooks, mut schemas) = (Map::new(), Map::new());
    let text = |description: &str| json!({ "type": "string", "description": description });
    for kind in EventType::ALL {
        let (name, (summary, data)) = (camel(kind.name()), facts(kind));
        let says = data.get("description").cloned().unwrap_or_default();
        let body = json!({
            "type": "object",
            "description": format!("{summary}."),
            "required": ["type", "timestamp", "data"],
            "properties": {
                "type": { "type": "string", "enum": [kind.name()] },
                "timestamp": { "type": "string", "format": "date-time", "description": "When it happened." },
                "data": reference(&format!("{name}Data")),
            },
        });
        let header = |name: &str, says: &str| json!({ "name": name, "in": "header", "required": true, "schema": text(says), "description": says });
        let operation = json!({
            "tags": ["webhooks"],
            "summary": summary,
            "description": format!("{} {DELIVERY}", says.as_str().unwrap_or_default()),
            "operationId": kind.name(),
            "security": [],
            "parameters": [
                header("webhook-id", "The event's id."),
                header("webhook-timestamp", "When the attempt was made, in Unix seconds."),
                header("webhook-signature", "`v1,` and base64 of the HMAC-SHA256 of id, timestamp and body, joined by points."),
            ],
            "requestBody": {
                "required": true,
                "content": { "application/json": { "schema": reference(&format!("{name}Event")) } },
            },
            "responses": {
                "2XX": { "description": "Taken; it is not sent again." },
                "410": { "description": "Stop: the endpoint is disabled." },
                "default": { "description": "It is sent again later." },
            },
        });
        webhooks.insert(kind.name().to_owned(), json!({ "post": operation }));
        schemas.insert(format!("{name}Event"), body);
        schemas.insert(format!("{name}Data"), data);
    }
    (Value::Object(webhooks), schemas)
}
