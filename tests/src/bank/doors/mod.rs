//! More front doors of the bank, beside UK Open Banking: [`portal`] (HTML pages), [`dialogue`]
//! (numbered messages of escaped segments), [`statements`] (camt.053 files) and [`signed`] (JSON
//! behind an HTTP signature). All answer from the same books, customers and clock, under paths of
//! their own on the same listener, and meet the same faults, gates and log.
//!
//! The header of each of those four modules is the wire of that door, complete: what stands there
//! is promised, nothing else is. Texts are UTF-8, days and times are UTC.
//!
//! Common to all:
//! * A customer comes in with what [`Login`] holds; [`Bank::login`] tells it, and a test may set it.
//! * Wrong passwords are counted per customer, whichever door they come through; so are wrong PINs.
//!   The third in a row locks; [`Bank::unlock`] lets the customer in again. The right one before
//!   that sets the counter back. A user name that nobody has is wrong, and counts nowhere.
//! * An account's number is its IBAN: `GB`, two check digits, `DEMO`, the 14 digits of sort code and
//!   account number.
//! * The faults `BadAmount`, `HiddenRow`, `RepeatedRow` and `EchoSecret` change the first row of an
//!   answer here too; a secret that is echoed is the `Authorization` header, else the `Cookie`.
//! * All other faults work here as everywhere; the body of a refusal made by `Status` is the UK standard's
//!   JSON, so read nothing from it. `Maintenance` is an HTML page with status 200 at every door.
//!
//! Must not know: UK Open Banking, its tokens and consents.

mod camt;
mod control;
pub(super) mod dialogue;
#[cfg(test)]
mod dialogue_tests;
mod html;
mod iban;
mod login;
pub(super) mod portal;
mod portal_pages;
#[cfg(test)]
mod portal_tests;
mod rows;
mod segments;
mod signature;
pub(super) mod signed;
mod signed_consents;
mod signed_page;
mod signed_rows;
#[cfg(test)]
mod signed_tests;
pub(super) mod statements;
#[cfg(test)]
mod statements_tests;

pub use login::Login;

use super::fault::PathKind;
use super::service::exchange;
use super::spoil::Answer;
use super::transaction_rows::Tweak;
use super::{Bank, BankError, Shared};
use crate::wire::Cutter;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use std::sync::Arc;

pub(super) use control::routes as control_routes;
pub(super) use html::maintenance;

/// The largest body that a door reads: a form, a message of segments, a consent.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What the doors remember.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) logins: login::Logins,
    portal: portal::Portal,
    dialogues: dialogue::Dialogues,
    statements: statements::Statements,
    signed: signed::Signed,
}

impl Doors {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            logins: login::Logins::new(seed),
            portal: portal::Portal::new(seed),
            dialogues: dialogue::Dialogues::new(seed),
            statements: statements::Statements::default(),
            signed: signed::Signed::new(seed),
        }
    }
}

/// Every route of the doors.
pub(super) fn routes(shared: &Arc<Shared>) -> Router {
    let door = |kind: PathKind| {
        let shared = shared.clone();
        move |info: ConnectInfo<Cutter>, id: Option<Path<String>>, request: Request| {
            exchange(shared, info.0, kind, id.map(|path| path.0), request)
        }
    };
    Router::new()
        .route("/portal/login", get(door(PathKind::PortalForm)).post(door(PathKind::PortalLogin)))
        .route("/portal/accounts", get(door(PathKind::PortalAccounts)))
        .route("/portal/accounts/{id}", get(door(PathKind::PortalAccount)))
        .route("/portal/logout", post(door(PathKind::PortalLogout)))
        .route("/dialogue/open", post(door(PathKind::DialogueOpen)))
        .route("/dialogue/confirm", post(door(PathKind::DialogueConfirm)))
        .route("/dialogue/message", post(door(PathKind::DialogueMessage)))
        .route("/dialogue/end", post(door(PathKind::DialogueEnd)))
        .route("/camt/accounts", get(door(PathKind::CamtAccounts)))
        .route("/camt/statements", get(door(PathKind::CamtStatements)))
        .route("/camt/statements/{id}/acknowledge", post(door(PathKind::CamtAcknowledge)))
        .route("/signed/v1/consents", post(door(PathKind::SignedConsentRequest)))
        .route(
            "/signed/v1/consents/{id}",
            get(door(PathKind::SignedConsent)).delete(door(PathKind::SignedConsentEnd)),
        )
        .route("/signed/v1/consents/{id}/status", get(door(PathKind::SignedConsentStatus)))
        .route("/signed/sca/{id}", get(door(PathKind::SignedPage)).post(door(PathKind::SignedDecision)))
        .route("/signed/v1/accounts", get(door(PathKind::SignedAccounts)))
        .route("/signed/v1/accounts/{id}/balances", get(door(PathKind::SignedBalances)))
        .route("/signed/v1/accounts/{id}/transactions", get(door(PathKind::SignedTransactions)))
}

#[derive(Clone, Copy)]
enum Which {
    Portal,
    Dialogue,
    Statements,
    Signed,
}

fn which(kind: PathKind) -> Option<Which> {
    use PathKind::*;
    match kind {
        PortalForm | PortalLogin | PortalAccounts | PortalAccount | PortalLogout => Some(Which::Portal),
        DialogueOpen | DialogueConfirm | DialogueMessage | DialogueEnd => Some(Which::Dialogue),
        CamtAccounts | CamtStatements | CamtAcknowledge => Some(Which::Statements),
        SignedConsentRequest | SignedConsent | SignedConsentStatus | SignedConsentEnd => Some(Which::Signed),
        SignedPage | SignedDecision => Some(Which::Signed),
        SignedAccounts | SignedBalances | SignedTransactions => Some(Which::Signed),
        _ => None,
    }
}

/// Is the wild segment of this path the id of an account?
pub(super) fn names_account(kind: PathKind) -> bool {
    use PathKind::*;
    !matches!(
        kind,
        CamtAcknowledge
            | SignedConsent
            | SignedConsentStatus
            | SignedConsentEnd
            | SignedPage
            | SignedDecision
    )
}

/// Is this asked at one of these doors?
pub(super) fn has(kind: PathKind) -> bool {
    which(kind).is_some()
}

/// A request as a door sees it.
struct Visit<'a> {
    kind: PathKind,
    /// The wild segment of the path.
    id: Option<&'a str>,
    headers: &'a HeaderMap,
    query: &'a str,
    body: &'a [u8],
    now: DateTime<Utc>,
    tweak: Tweak,
}

impl Visit<'_> {
    /// A header as text; empty if it is absent or not text.
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// What the door of this path answers.
pub(super) async fn answer(
    shared: &Shared,
    kind: PathKind,
    id: Option<&str>,
    parts: &axum::http::request::Parts,
    body: Body,
    tweak: Tweak,
) -> Answer {
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "The request is too long.");
    };
    let (headers, query) = (&parts.headers, parts.uri.query().unwrap_or(""));
    let visit = Visit { kind, id, headers, query, body: &body, now: shared.clock.now(), tweak };
    match which(kind) {
        Some(Which::Portal) => portal::answer(shared, &visit),
        Some(Which::Dialogue) => dialogue::answer(shared, &visit),
        Some(Which::Statements) => statements::answer(shared, &visit),
        Some(Which::Signed) => signed::answer(shared, &visit),
        None => text(StatusCode::NOT_FOUND, "There is no such door."),
    }
}

fn text(status: StatusCode, body: &str) -> Answer {
    let mut answer = Answer::new(status, body.as_bytes().to_vec());
    answer.header(header::CONTENT_TYPE.as_str(), "text/plain; charset=utf-8");
    answer
}

// ---- what a test may do to the doors
impl Bank {
    /// What the customer types to come in.
    pub fn login(&self, customer: &str) -> Result<Login, BankError> {
        self.shared.state().doors.logins.of(customer)
    }
    /// The customer has another user name, password, PIN or telephone; counters stay.
    pub fn set_login(&self, customer: &str, login: Login) -> Result<(), BankError> {
        self.shared.state().doors.logins.set(customer, login)
    }
    /// Lets a customer in again who was locked after three wrong passwords or PINs.
    pub fn unlock(&self, customer: &str) -> Result<(), BankError> {
        self.shared.state().doors.logins.unlock(customer)
    }
    /// Is the password, or the PIN, locked?
    pub fn locked(&self, customer: &str) -> Result<bool, BankError> {
        self.shared.state().doors.logins.locked(customer)
    }
    /// While on, every page of the portal says that it is being improved, with status 200.
    pub fn maintenance(&self, on: bool) {
        self.shared.state().doors.portal.maintenance = on;
    }
    /// The code that was last sent to the customer's telephone.
    pub fn last_otp(&self, customer: &str) -> Option<String> {
        self.shared.state().doors.dialogues.last_otp(customer)
    }
    /// From now on, requests signed with this key are somebody's: RSA, 2048 to 8192 bits, the public part
    /// in PEM.
    pub fn register_signer(&self, key_id: &str, public_key_pem: &str) -> Result<(), BankError> {
        self.shared.state().doors.signed.signers.register(key_id, public_key_pem)
    }
    /// What the customer does on the page of a consent for signed requests; as if they had been there.
    pub fn decide_signed(&self, consent: &str, customer: &str, allow: bool) -> Result<(), BankError> {
        let (state, now) = (&mut *self.shared.state(), self.now());
        let accounts = state.access.customer(customer)?.accounts.clone();
        let waiting = state.doors.signed.consents.get_mut(consent);
        let decided = waiting.is_some_and(|waiting| waiting.decide(allow.then_some(accounts), now));
        if decided { Ok(()) } else { Err(BankError::Unknown("waiting consent", consent.to_owned())) }
    }
    /// The customer takes a consent for signed requests back.
    pub fn revoke_signed(&self, consent: &str) -> Result<(), BankError> {
        self.end_signed(consent, signed_consents::Status::Revoked)
    }
    /// The bank ends a consent for signed requests, as if its time were over.
    pub fn expire_signed(&self, consent: &str) -> Result<(), BankError> {
        self.end_signed(consent, signed_consents::Status::Expired)
    }
    fn end_signed(&self, consent: &str, how: signed_consents::Status) -> Result<(), BankError> {
        let (now, unknown) = (self.now(), || BankError::Unknown("consent", consent.to_owned()));
        let state = &mut *self.shared.state();
        state.doors.signed.consents.get_mut(consent).ok_or_else(unknown)?.end(how, now);
        Ok(())
    }
}
