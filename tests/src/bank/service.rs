//! The bank's HTTP interface: UK Open Banking 3.1.11 account information, the end of a consent, and
//! tokens (RFC 6749).

use super::access::{Consent, Denied};
use super::books::Account;
use super::doors;
use super::fault::{Fault, Hold, PathKind};
use super::log::LoggedRequest;
use super::pages::transactions;
use super::rows::{self, Envelope, ErrorLine, ErrorResponse, Links, Meta};
use super::spoil::{Answer, after, before};
use super::token;
use super::transaction_rows::Tweak;
use super::{API_PATH, Shared, State};
use crate::wire::Cutter;
use axum::Router;
use axum::extract::{ConnectInfo, Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::{delete, get, post};
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
        .route(&format!("{API_PATH}/account-access-consents/{{id}}"), delete(bank(PathKind::Consent)))
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
    let account = id.as_deref().filter(|_| kind != PathKind::Consent && doors::names_account(kind));
    let arrived = arrival(&shared, kind, account, &parts);
    let number = shared.state().log.arrived(arrived);
    shared.changed.send_replace(());
    pass_gate(&shared, kind, account, Hold::Request).await;

    let fault = shared.state().faults.take(kind, account);
    if fault == Some(Fault::ExpireAccessTokens) {
        shared.state().access.expire_access_tokens(shared.clock.now());
    }
    let asked = Asked { kind, account, headers: &parts.headers, query: parts.uri.query().unwrap_or("") };
    let mut answer = match fault.as_ref().and_then(|fault| before(fault, &shared, &cutter)) {
        Some(instead) => instead,
        None if kind == PathKind::Token => token::issue(&shared, &parts.headers, body).await,
        None if kind == PathKind::Consent => {
            end_consent(&shared, &parts.headers, id.as_deref().unwrap_or_default())
        }
        None if doors::has(kind) => {
            let tweak = tweak(fault.as_ref(), &parts.headers);
            doors::answer(&shared, kind, id.as_deref(), &parts, body, tweak).await
        }
        None => resource(&shared, &asked, &tweak(fault.as_ref(), &parts.headers)),
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

struct Asked<'a> {
    kind: PathKind,
    account: Option<&'a str>,
    headers: &'a HeaderMap,
    query: &'a str,
}

/// Why a request is not answered with 200: status, code and sentence of the error body.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) &'static str, pub(super) &'static str);

fn resource(shared: &Shared, asked: &Asked<'_>, tweak: &Tweak) -> Answer {
    let now = shared.clock.now();
    let state = shared.state();
    let answered = open(&state, asked.headers, now).and_then(|consent| match (asked.kind, asked.account) {
        (PathKind::Accounts, _) => Ok(accounts(shared, &state, &consent.accounts, "")),
        (_, Some(id)) if consent.accounts.iter().any(|known| known == id) => {
            let account = state.books.account(id).map_err(|_| NOT_FOUND)?;
            match asked.kind {
                PathKind::Balances => balances(shared, &state, account, now),
                PathKind::Transactions => transactions(shared, account, asked.query, tweak),
                _ => Ok(accounts(shared, &state, std::slice::from_ref(&account.id), id)),
            }
        }
        _ => Err(NOT_FOUND),
    });
    drop(state);
    match answered {
        Ok(answer) => answer,
        Err(Refusal(StatusCode::UNAUTHORIZED, _, _)) => Answer::new(StatusCode::UNAUTHORIZED, Vec::new()),
        Err(Refusal(status, code, message)) => error(shared, status, code, message),
    }
}

/// The business ends a consent; one that it does not have is refused with 400, as the standard says.
fn end_consent(shared: &Shared, headers: &HeaderMap, consent: &str) -> Answer {
    let ended = shared.state().access.end(consent, bearer(headers), shared.clock.now());
    match ended {
        Ok(true) => Answer::new(StatusCode::NO_CONTENT, Vec::new()),
        Ok(false) => {
            let message = "There is no such consent in force";
            error(shared, StatusCode::BAD_REQUEST, "UK.OBIE.Resource.NotFound", message)
        }
        Err(_) => Answer::new(StatusCode::UNAUTHORIZED, Vec::new()),
    }
}

const NOT_FOUND: Refusal = Refusal(
    StatusCode::BAD_REQUEST,
    "UK.OBIE.Resource.NotFound",
    "The consent covers no account with this AccountId",
);

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.and_then(|value| value.strip_prefix("Bearer "))
}

fn open<'a>(state: &'a State, headers: &HeaderMap, now: DateTime<Utc>) -> Result<&'a Consent, Refusal> {
    state.access.check(bearer(headers), now).map_err(|denied| match denied {
        Denied::Token => Refusal(StatusCode::UNAUTHORIZED, "", ""),
        Denied::ConsentRevoked => {
            Refusal(StatusCode::FORBIDDEN, "UK.OBIE.Resource.InvalidConsentStatus", "The consent was revoked")
        }
        Denied::ConsentExpired => Refusal(
            StatusCode::FORBIDDEN,
            "UK.OBIE.Reauthenticate",
            "The consent has expired; the customer must agree again",
        ),
    })
}

/// `OBErrorResponse1`.
pub(super) fn error(shared: &Shared, status: StatusCode, code: &str, message: &str) -> Answer {
    let id = format!("{:016x}", shared.state().random.next());
    let body = ErrorResponse {
        code: status.to_string().chars().take(40).collect(),
        id: &id,
        message,
        errors: [ErrorLine { error_code: code, message }],
    };
    json(status, &body)
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    // Writing to memory fails only for maps with odd keys; there are none.
    let mut answer = Answer::new(status, serde_json::to_vec(body).unwrap_or_default());
    answer.header(header::CONTENT_TYPE.as_str(), "application/json; charset=utf-8");
    answer
}

fn one_page(shared: &Shared, path: &str, data: impl Serialize) -> Answer {
    let links = Links { this: format!("{}{API_PATH}{path}", shared.origin), first: None, next: None };
    json(StatusCode::OK, &Envelope { data, links, meta: Meta { total_pages: 1 } })
}

/// The list, or the one account of that id.
fn accounts(shared: &Shared, state: &State, ids: &[String], of: &str) -> Answer {
    let known = ids.iter().filter_map(|id| state.books.account(id).ok());
    let path = if of.is_empty() { "/accounts".to_owned() } else { format!("/accounts/{of}") };
    one_page(shared, &path, rows::accounts(known))
}

fn balances(
    shared: &Shared,
    state: &State,
    account: &Account,
    now: DateTime<Utc>,
) -> Result<Answer, Refusal> {
    let failed =
        |_| Refusal(StatusCode::INTERNAL_SERVER_ERROR, "UK.OBIE.UnexpectedError", "The books are broken");
    let booked = state.books.booked(account).map_err(failed)?;
    let available = state.books.available(account).map_err(failed)?;
    let path = format!("/accounts/{}/balances", account.id);
    Ok(one_page(shared, &path, rows::balances(account, now, booked, available)))
}
