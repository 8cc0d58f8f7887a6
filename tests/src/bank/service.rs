//! The bank's HTTP interface: UK Open Banking 3.1.11 account information (here), consents
//! (`consents`), the customer's say (`authorise`), and tokens (`token`).
//!
//! # The wire
//! Below the origin and `/open-banking/v3.1/aisp`, with `Authorization: Bearer` and a token of the
//! customer's consent:
//!
//! | Request | Permission | 200 |
//! |---|---|---|
//! | `GET /accounts`, `GET /accounts/{AccountId}` | `ReadAccountsBasic` or `…Detail` (the number) | `OBReadAccount6` |
//! | `GET /accounts/{AccountId}/balances` | `ReadBalances` | `OBReadBalance1` |
//! | `GET /accounts/{AccountId}/transactions?fromBookingDateTime=&toBookingDateTime=` | `ReadTransactions…` | `OBReadTransaction6`, pages by `Links.Next` |
//!
//! Refusals: 401 without a body (token unknown, run out, or shown without the certificate it was
//! given to); 403 `UK.OBIE.Resource.InvalidConsentStatus` (consent taken back or deleted), 403
//! `UK.OBIE.Reauthenticate` (consent expired), 403 `UK.OBIE.Reauthenticate` with `Path`
//! `fromBookingDateTime` (see [`super::pages`]: a window that begins more than 90 days ago, later
//! than five minutes after the customer agreed), 403 `UK.DemoBank.NoPermission`, 400
//! `UK.OBIE.Resource.NotFound` (no such account in the consent), 400 `UK.OBIE.Field.Invalid`.

use super::access::{Access, Denied};
use super::books::{Account, Books};
use super::consent::Consent;
use super::doors;
use super::fault::{Fault, Hold, PathKind};
use super::log::LoggedRequest;
use super::pages::transactions;
use super::rows::{self, Envelope, ErrorLine, ErrorResponse, Links, Meta};
use super::spoil::{Answer, after, before};
use super::tls::{Caller, Shaken};
use super::transaction_rows::Tweak;
use super::{API_PATH, Shared, State};
use super::{authorise, consents, scenario, token};
use crate::wire::Cutter;
use axum::Router;
use axum::extract::{ConnectInfo, Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::sync::Arc;
use std::time::SystemTime;

const INTERACTION_ID: &str = "x-fapi-interaction-id";

/// Every route of the bank's own interface.
pub(super) fn routes(shared: &Arc<Shared>) -> Router {
    let bank = |kind: PathKind| {
        let shared = shared.clone();
        move |info: ConnectInfo<Cutter>, id: Option<Path<String>>, request: Request| {
            exchange(shared, info.0, kind, id.map(|path| path.0), request)
        }
    };
    Router::new()
        .route("/token", post(bank(PathKind::Token)))
        .route(&format!("{API_PATH}/accounts"), get(bank(PathKind::Accounts)))
        .route(&format!("{API_PATH}/accounts/{{id}}"), get(bank(PathKind::Account)))
        .route(&format!("{API_PATH}/accounts/{{id}}/balances"), get(bank(PathKind::Balances)))
        .route(&format!("{API_PATH}/accounts/{{id}}/transactions"), get(bank(PathKind::Transactions)))
        .merge(consent_routes(bank))
}

/// The same over TLS: the handlers find the connection where they know it, and who is on the other side.
pub(super) fn routes_over_tls(shared: &Arc<Shared>) -> Router {
    let introduce = |ConnectInfo(shaken): ConnectInfo<Shaken>, mut request: Request, next: Next| {
        request.extensions_mut().insert(ConnectInfo(shaken.cutter));
        request.extensions_mut().insert(shaken.caller);
        next.run(request)
    };
    routes(shared).layer(from_fn(introduce))
}

/// Consents, and the customer's say about them.
fn consent_routes<H, T>(bank: impl Fn(PathKind) -> H) -> Router
where
    H: axum::handler::Handler<T, ()>,
    T: 'static,
{
    let consent = get(bank(PathKind::ConsentStatus)).delete(bank(PathKind::Consent));
    Router::new()
        .route(&format!("{API_PATH}/account-access-consents"), post(bank(PathKind::Consents)))
        .route(&format!("{API_PATH}/account-access-consents/{{id}}"), consent)
        .route("/authorize", get(bank(PathKind::Authorise)))
        .route("/authorize/login", post(bank(PathKind::AuthoriseLogin)))
        .route("/authorize/decide", post(bank(PathKind::AuthoriseDecide)))
}

/// One request, from arrival to answer, with whatever was asked to go wrong.
pub(super) async fn exchange(
    shared: Arc<Shared>,
    cutter: Cutter,
    kind: PathKind,
    id: Option<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let account = id.as_deref().filter(|_| kind.is_about_an_account() || doors::names_account(kind));
    let arrived = arrival(&shared, kind, account, &parts);
    let number = shared.state().log.arrived(arrived);
    shared.changed.send_replace(());
    pass_gate(&shared, kind, account, Hold::Request).await;

    let fault = shared.state().faults.take(kind, account);
    if fault == Some(Fault::ExpireAccessTokens) {
        shared.state().access.expire_access_tokens(shared.clock.now());
    }
    let caller = parts.extensions.get::<Caller>().copied().unwrap_or_default();
    let query = parts.uri.query().unwrap_or("");
    let asked = Asked { kind, id: id.as_deref(), headers: &parts.headers, query, caller };
    let mut answer = match fault.as_ref().and_then(|fault| before(fault, &shared, &cutter)) {
        Some(instead) => instead,
        None if doors::has(kind) => {
            let tweak = tweak(fault.as_ref(), &parts.headers);
            doors::answer(&shared, kind, id.as_deref(), &parts, body, tweak).await
        }
        None => match kind {
            PathKind::Token => token::issue(&shared, &asked, body).await,
            PathKind::Consents | PathKind::ConsentStatus | PathKind::Consent => {
                consents::answer(&shared, &asked, body).await
            }
            PathKind::Authorise | PathKind::AuthoriseLogin | PathKind::AuthoriseDecide => {
                authorise::answer(&shared, &asked, body).await
            }
            _ => resource(&shared, &asked, &tweak(fault.as_ref(), &parts.headers)),
        },
    };
    if let Some(Fault::Slow { millis }) = fault {
        tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
    }
    pass_gate(&shared, kind, account, Hold::Answer).await;

    if !doors::has(kind) {
        let id = interaction_id(&shared, &parts.headers);
        answer.header(INTERACTION_ID, &id);
    }
    let response = after(fault.as_ref(), answer, &cutter);
    if !matches!(fault, Some(Fault::Reset | Fault::LostAnswer)) {
        shared.state().log.answered(number, response.status().as_u16());
        shared.changed.send_replace(());
    }
    response
}

async fn pass_gate(shared: &Shared, kind: PathKind, account: Option<&str>, when: Hold) {
    let gate = shared.state().faults.gate(kind, account, when);
    if let Some(mut gate) = gate {
        shared.changed.send_replace(());
        // An error means that the gate is gone, so there is nothing to wait for.
        let _ = gate.wait_for(|open| *open).await;
    }
}

fn arrival(
    shared: &Shared,
    kind: PathKind,
    account: Option<&str>,
    parts: &axum::http::request::Parts,
) -> LoggedRequest {
    let fapi = parts.headers.iter().filter_map(|(name, value)| {
        let named = ["x-fapi-", "x-customer-", "x-request-id", "psu-"];
        let named = named.iter().any(|start| name.as_str().starts_with(start));
        named.then(|| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
    });
    LoggedRequest {
        number: 0,
        kind,
        account: account.map(str::to_owned),
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        bank_time: shared.clock.now(),
        received_at_us: DateTime::<Utc>::from(SystemTime::now()).timestamp_micros(),
        fapi: fapi.collect(),
        status: None,
    }
}

/// The caller's, else one of the bank's own (version 4 form of RFC 9562).
fn interaction_id(shared: &Shared, headers: &HeaderMap) -> String {
    if let Some(id) = headers.get(INTERACTION_ID).and_then(|id| id.to_str().ok()) {
        return id.to_owned();
    }
    let random = &mut shared.state().random;
    let (high, low) = (random.next(), random.next());
    let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0xfff);
    format!("{a:08x}-{b:04x}-4{c:03x}-8{:03x}-{:012x}", (low >> 48) & 0xfff, low & 0xffff_ffff_ffff)
}

fn tweak(fault: Option<&Fault>, headers: &HeaderMap) -> Tweak {
    match fault {
        Some(Fault::BadAmount { amount }) => Tweak { amount: Some(amount.clone()), ..Tweak::default() },
        Some(Fault::EchoSecret) => {
            let secret = headers.get(header::AUTHORIZATION).or(headers.get(header::COOKIE));
            let secret = secret.and_then(|value| value.to_str().ok());
            Tweak { text: secret.map(str::to_owned), ..Tweak::default() }
        }
        Some(Fault::HiddenRow) => Tweak { times: Some(0), ..Tweak::default() },
        Some(Fault::RepeatedRow) => Tweak { times: Some(2), ..Tweak::default() },
        _ => Tweak::default(),
    }
}

// ---------------------------------------------------------------- account information

/// What a request asks for.
pub(super) struct Asked<'a> {
    pub(super) kind: PathKind,
    /// In the path: of an account or a consent.
    pub(super) id: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: &'a str,
    pub(super) caller: Caller,
}

impl Asked<'_> {
    /// The API's URL as this caller reaches it.
    pub(super) fn api(&self, shared: &Shared) -> String {
        let secure = shared.tls_origin.as_deref().filter(|_| self.caller.certificate.is_some());
        format!("{}{API_PATH}", secure.unwrap_or(&shared.origin))
    }

    pub(super) fn bearer(&self) -> Option<&str> {
        self.header(&header::AUTHORIZATION)?.strip_prefix("Bearer ")
    }

    pub(super) fn header(&self, name: &header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why a request is not answered with 2xx: status, code and sentence of the error body, and the field
/// that is to blame. 401 and 415 have no body.
pub(super) struct Refusal(
    pub(super) StatusCode,
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) Option<&'static str>,
);

impl Refusal {
    pub(super) fn at(self, path: &'static str) -> Self {
        Self(self.0, self.1, self.2, Some(path))
    }

    pub(super) fn answer(&self, shared: &Shared) -> Answer {
        match *self {
            Self(status @ (StatusCode::UNAUTHORIZED | StatusCode::UNSUPPORTED_MEDIA_TYPE), ..) => {
                Answer::new(status, Vec::new())
            }
            Self(status, code, message, path) => error_at(shared, status, code, message, path),
        }
    }
}

pub(super) const UNAUTHORISED: Refusal = Refusal(StatusCode::UNAUTHORIZED, "", "", None);
/// The standard has no code for it, and lets a bank make its own.
pub(super) const NO_PERMISSION: Refusal = Refusal(
    StatusCode::FORBIDDEN,
    "UK.DemoBank.NoPermission",
    "The customer did not agree to this being read",
    None,
);
const NOT_FOUND: Refusal = Refusal(
    StatusCode::BAD_REQUEST,
    "UK.OBIE.Resource.NotFound",
    "The consent covers no account with this AccountId",
    None,
);

fn resource(shared: &Shared, asked: &Asked<'_>, tweak: &Tweak) -> Answer {
    let now = shared.clock.now();
    let mut state = shared.state();
    let State { books, access, .. } = &mut *state;
    let answered = open(access, asked, now).and_then(|consent| match (asked.kind, asked.id) {
        (PathKind::Accounts, _) => Ok(accounts(shared, asked, books, consent, &consent.accounts, "")),
        (_, Some(id)) if consent.accounts.iter().any(|known| known == id) => {
            let account = books.account(id).map_err(|_| NOT_FOUND)?;
            match asked.kind {
                PathKind::Balances if !consent.terms.balances() => Err(NO_PERMISSION),
                PathKind::Balances => balances(shared, asked, books, account, now),
                PathKind::Transactions => {
                    let (answer, look) = transactions(shared, asked, account, consent, tweak)?;
                    if let Some(look) = look {
                        scenario::looked(books, id, now, look);
                    }
                    Ok(answer)
                }
                _ => {
                    let ids = std::slice::from_ref(&account.id);
                    Ok(accounts(shared, asked, books, consent, ids, id))
                }
            }
        }
        _ => Err(NOT_FOUND),
    });
    drop(state);
    answered.unwrap_or_else(|refusal| refusal.answer(shared))
}

fn open<'a>(access: &'a Access, asked: &Asked<'_>, now: DateTime<Utc>) -> Result<&'a Consent, Refusal> {
    access.check(asked.bearer(), asked.caller, now).map_err(|denied| match denied {
        Denied::Token => UNAUTHORISED,
        Denied::ConsentRevoked => Refusal(
            StatusCode::FORBIDDEN,
            "UK.OBIE.Resource.InvalidConsentStatus",
            "The consent was revoked",
            None,
        ),
        Denied::ConsentExpired => Refusal(
            StatusCode::FORBIDDEN,
            "UK.OBIE.Reauthenticate",
            "The consent has expired; the customer must agree again",
            None,
        ),
    })
}

/// `OBErrorResponse1`.
pub(super) fn error(shared: &Shared, status: StatusCode, code: &str, message: &str) -> Answer {
    error_at(shared, status, code, message, None)
}

fn error_at(shared: &Shared, status: StatusCode, code: &str, message: &str, path: Option<&str>) -> Answer {
    let id = format!("{:016x}", shared.state().random.next());
    let body = ErrorResponse {
        code: status.to_string().chars().take(40).collect(),
        id: &id,
        message,
        errors: [ErrorLine { error_code: code, message, path }],
    };
    json(status, &body)
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    // Writing to memory fails only for maps with odd keys; there are none.
    let mut answer = Answer::new(status, serde_json::to_vec(body).unwrap_or_default());
    answer.header(header::CONTENT_TYPE.as_str(), "application/json; charset=utf-8");
    answer
}

fn one_page(shared: &Shared, asked: &Asked<'_>, path: &str, data: impl Serialize) -> Answer {
    let links = Links { this: format!("{}{path}", asked.api(shared)), first: None, next: None };
    json(StatusCode::OK, &Envelope { data, links, meta: Meta::one_page() })
}

/// The list, or the one account of that id.
fn accounts(
    shared: &Shared,
    asked: &Asked<'_>,
    books: &Books,
    consent: &Consent,
    ids: &[String],
    of: &str,
) -> Answer {
    let known = ids.iter().filter_map(|id| books.account(id).ok());
    let path = if of.is_empty() { "/accounts".to_owned() } else { format!("/accounts/{of}") };
    one_page(shared, asked, &path, rows::accounts(known, consent.terms.account_details()))
}

fn balances(
    shared: &Shared,
    asked: &Asked<'_>,
    books: &Books,
    account: &Account,
    now: DateTime<Utc>,
) -> Result<Answer, Refusal> {
    let failed = |_| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Refusal(status, "UK.OBIE.UnexpectedError", "The books are broken", None)
    };
    let booked = books.booked(account).map_err(failed)?;
    let available = books.available(account).map_err(failed)?;
    let (booked, as_of) = match account.display() {
        Some(display) => display.balance(booked, &account.entries, now),
        None => (booked, now),
    };
    let path = format!("/accounts/{}/balances", account.id);
    Ok(one_page(shared, asked, &path, rows::balances(account, as_of, booked, available)))
}
