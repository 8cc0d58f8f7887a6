//! Authorisations: a customer on the way to letting us in, from the link to the session that is ready.

use super::{
    AuthorisationId, BusinessId, ConnectionId, CustomerPresent, NewCredential, Returned, Secret, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So many refused credentials in a row, and no more are sent: banks lock a login at the third.
pub const REJECTIONS_MAX: i64 = 2;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorisationState {
    /// The customer chooses the bank, on the hosted page.
    Choosing,
    /// Ours: the connector is being asked.
    Asking,
    /// The customer's: a prompt stands.
    Prompted,
    /// Over: the session is open.
    Ready,
    /// Over: it came to nothing; `reason` says why.
    Failed,
}

impl AuthorisationState {
    /// Nothing will change any more.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Ready | Self::Failed)
    }
}

/// What the business wishes of an authorisation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wishes {
    /// The business's own name for the customer.
    pub customer_ref: Option<String>,
    /// Where the customer's browser goes in the end.
    pub return_to: Option<String>,
    /// Numbers of the accounts that are wanted; none for all.
    pub accounts: Option<Vec<String>>,
    /// What the business needs the data for, in words for the customer.
    pub purpose: Option<String>,
    /// The hosted page leads the customer; otherwise the business's own pages do.
    #[serde(default)]
    pub hosted: bool,
    /// Where the customer sits, as the business passed it on or our page saw it: some banks want to be told.
    #[serde(default)]
    pub customer: Option<CustomerPresent>,
}

/// A customer's way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorisation {
    /// Ours.
    pub id: AuthorisationId,
    /// For which business.
    pub business: BusinessId,
    /// The connection, once the bank is chosen.
    pub connection: Option<ConnectionId>,
    /// The bank, once it is chosen.
    pub institution: Option<String>,
    /// Whose turn it is.
    pub state: AuthorisationState,
    /// Why it failed; while a prompt stands, why it is shown again.
    pub reason: Option<String>,
    /// What the business wishes.
    pub wishes: Wishes,
    /// The token in the URL of the customer's link.
    pub link: Secret,
    /// What the customer is asked now.
    pub prompt: Option<StandingPrompt>,
    /// When it has failed by itself.
    pub expires_at: Timestamp,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

/// What the customer is asked: a prompt of the connector, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingPrompt {
    /// In plain words.
    pub text: String,
    /// How.
    pub ask: StandingAsk,
}

/// How the customer is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandingAsk {
    /// For these values, by name.
    Form(Vec<String>),
    /// Elsewhere, in the browser.
    Redirect {
        /// The bank's page, with values filled in; no secret stands in it.
        url: String,
        /// Parameters that become values.
        returned: Vec<Returned>,
    },
    /// Elsewhere; nothing to do here.
    Wait,
}

/// How far the connector has come in an authorisation: sealed, and gone when it is over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Comes back to the connector.
    pub memory: String,
    /// What was captured, typed or returned, and the host's own values.
    pub values: BTreeMap<String, Secret>,
}

/// An authorisation whose turn is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAuthorisation {
    /// As listed.
    pub authorisation: Authorisation,
    /// How far it has come.
    pub progress: Progress,
    /// What the customer typed was sent to the bank already, by a run that did not come to its end.
    pub answering: bool,
}

/// What a step of an authorisation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorisationStep {
    /// The customer's turn.
    Prompted {
        /// What they are asked.
        prompt: StandingPrompt,
        /// What comes back to the connector.
        memory: String,
        /// SHA-256 of the state that the bank must send back, for a redirect.
        redirect_hash: Option<[u8; 32]>,
        /// Why it is asked again.
        reason: Option<String>,
        /// When it is too late.
        expires_at: Timestamp,
    },
    /// The connector is asked again then; the prompt is shown meanwhile.
    Waiting {
        /// What the customer is told.
        prompt: StandingPrompt,
        /// What comes back to the connector.
        memory: String,
        /// When.
        at: Timestamp,
    },
    /// It came to nothing.
    Failed {
        /// A code.
        reason: String,
    },
}

/// What an authorisation that is ready leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorised {
    /// Replaces all credentials of the connection.
    pub credentials: Vec<NewCredential>,
    /// When the session ends, if known.
    pub valid_until: Option<Timestamp>,
    /// What the connector's `session` keeps.
    pub session_state: Option<String>,
    /// What the customer agreed to.
    pub consent: super::NewConsent,
}
