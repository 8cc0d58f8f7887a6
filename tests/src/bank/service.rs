//! The bank's HTTP interface: UK Open Banking 3.1.11 account information, and token renewal
//! (RFC 6749, section 6).

use super::access::{Consent, Denied};
use super::books::{Account, Entry};
use super::fault::{Fault, Hold, PathKind};
use super::log::LoggedRequest;
use super::rows::{self, Envelope, ErrorLine, ErrorResponse, Links, Meta, RowStyle, Transactions, Tweak};
use super::spoil::{Answer, after, before};
use super::statement::RowStatus;
use super::{API_PATH, Shared, State};
use crate::wire::Cutter;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::SystemTime;

/// A renewal has three short fields.
const TOKEN_REQUEST_BYTES_MAX: usize = 16 * 1024;
const INTERACTION_ID: &str = "x-fapi-interaction-id";

/// Every route of the bank's own interface.
pub(super) fn routes(shared: &Arc<Shared>) -> Router {
    let bank = |kind: PathKind| {
        let shared = shared.clone();
        move |info: ConnectInfo<Cutter>, account: Option<Path<String>>, request: Request| {
            exchange(shared, info.0, kind, account.map(|path| path.0), request)
        }
    };
    Router::new()
        .route("/token", post(bank(PathKind::Token)))
        .route(&format!("{API_PATH}/accounts"), get(bank(PathKind::Accounts)))
        .route(&format!("{API_PATH}/accounts/{{id}}"), get(bank(PathKind::Account)))
        .route(&format!("{API_PATH}/accounts/{{id}}/balances"), get(bank(PathKind::Balances)))
        .route(&format!("{API_PATH}/accounts/{{id}}/transactions"), get(bank(PathKind::Transactions)))
}

/// One request, from arrival to answer, with whatever was asked to go wrong.
async fn exchange(
    shared: Arc<Shared>,
    cutter: Cutter,
    kind: PathKind,
    account: Option<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let account = account.as_deref();
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
        None if kind == PathKind::Token => token(&shared, &parts.headers, body).await,
        None => resource(&shared, &asked, &tweak(fault.as_ref(), &parts.headers)),
    };
    if let Some(Fault::Slow { millis }) = fault {
        tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
    }
    pass_gate(&shared, kind, account, Hold::Answer).await;

    let id = interaction_id(&shared, &parts.headers);
    answer.header(INTERACTION_ID, &id);
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
        let named = name.as_str().starts_with("x-fapi-") || name.as_str().starts_with("x-customer-");
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
            let secret = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
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
struct Refusal(StatusCode, &'static str, &'static str);

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

const NOT_FOUND: Refusal = Refusal(
    StatusCode::BAD_REQUEST,
    "UK.OBIE.Resource.NotFound",
    "The consent covers no account with this AccountId",
);

fn open<'a>(state: &'a State, headers: &HeaderMap, now: DateTime<Utc>) -> Result<&'a Consent, Refusal> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|value| value.strip_prefix("Bearer "));
    state.access.check(token, now).map_err(|denied| match denied {
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

fn json(status: StatusCode, body: &impl Serialize) -> Answer {
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

/// The place of the last row of the page before; how a page token looks inside.
struct After(DateTime<Utc>, u64);

impl After {
    fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}.{}", self.0.timestamp_nanos_opt().unwrap_or_default(), self.1))
    }
    fn read(token: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (nanos, serial) = text.split_once('.')?;
        Some(Self(DateTime::from_timestamp_nanos(nanos.parse().ok()?), serial.parse().ok()?))
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct TransactionsQuery {
    from_booking_date_time: Option<String>,
    to_booking_date_time: Option<String>,
    page: Option<String>,
}

/// The time is optional and a zone is ignored (specification, `fromBookingDateTime`).
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let date: NaiveDate = text.get(..10)?.parse().ok()?;
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return Some(date.and_hms_opt(0, 0, 0)?.and_utc());
    }
    let zone = rest.find(['Z', '+', '-', ' ']).unwrap_or(rest.len());
    let time = format!("{date}{}", rest.get(..zone)?);
    Some(NaiveDateTime::parse_from_str(&time, "%Y-%m-%dT%H:%M:%S%.f").ok()?.and_utc())
}

fn transactions(shared: &Shared, account: &Account, query: &str, tweak: &Tweak) -> Result<Answer, Refusal> {
    let bad = |what| Refusal(StatusCode::BAD_REQUEST, "UK.OBIE.Field.Invalid", what);
    let given: TransactionsQuery =
        serde_urlencoded::from_str(query).map_err(|_| bad("The query could not be read"))?;
    let limit =
        |text: &Option<String>, what| text.as_deref().map(|text| moment(text).ok_or(bad(what))).transpose();
    let from = limit(&given.from_booking_date_time, "fromBookingDateTime is not a date and time")?;
    let to = limit(&given.to_booking_date_time, "toBookingDateTime is not a date and time")?;
    let page =
        given.page.as_deref().map(|token| After::read(token).ok_or(bad("page is not a page of this list")));
    let page = page.transpose()?;

    let entries = account.entries.as_slice();
    let first = from.map_or(0, |from| entries.partition_point(|entry| entry.booked_at < from));
    let end =
        to.map_or(entries.len(), |to| entries.partition_point(|entry| entry.booked_at <= to)).max(first);
    let done = |After(at, serial): &After| entries.partition_point(|entry| entry.place() <= (*at, *serial));
    let start = page.as_ref().map_or(first, done).clamp(first, end);
    let stop = (start + shared.config.page_rows.max(1)).min(end);
    let shown = entries.get(start..stop).unwrap_or_default();

    let base = format!("{}{API_PATH}/accounts/{}/transactions", shared.origin, account.id);
    let link = |page: Option<String>| {
        let window = [
            ("fromBookingDateTime", &given.from_booking_date_time),
            ("toBookingDateTime", &given.to_booking_date_time),
        ];
        let mut pairs: Vec<(&str, &str)> =
            window.iter().filter_map(|(name, value)| value.as_deref().map(|value| (*name, value))).collect();
        pairs.extend(page.as_deref().map(|page| ("page", page)));
        match serde_urlencoded::to_string(pairs) {
            Ok(query) if !query.is_empty() => format!("{base}?{query}"),
            _ => base.clone(),
        }
    };
    let next = shown.last().filter(|_| stop < end).map(|last| After(last.booked_at, last.serial).token());
    let links = Links {
        this: link(given.page.clone()),
        first: Some(link(None)),
        next: next.map(|token| link(Some(token))),
    };
    let total_pages = (end - first).div_ceil(shared.config.page_rows.max(1)).max(1);
    let mut rows =
        if shared.config.row_balances { with_balances(entries, start, shown) } else { without(shown) };
    if let (Some(times), Some(first)) = (tweak.times, rows.first().copied()) {
        rows.splice(..1, std::iter::repeat_n(first, times));
    }
    let data = Transactions {
        account,
        rows,
        style: RowStyle { with_id: shared.config.row_ids },
        tweak: tweak.clone(),
    };
    Ok(json(StatusCode::OK, &Envelope { data, links, meta: Meta { total_pages } }))
}

fn without(shown: &[Entry]) -> Vec<(&Entry, Option<i64>)> {
    shown.iter().map(|entry| (entry, None)).collect()
}

/// With the booked balance after each booked row, in the order of the list.
fn with_balances<'a>(entries: &[Entry], start: usize, shown: &'a [Entry]) -> Vec<(&'a Entry, Option<i64>)> {
    let booked = |entry: &Entry| entry.status == RowStatus::Booked;
    let mut sum: i64 =
        entries.iter().take(start).filter(|entry| booked(entry)).map(|entry| entry.minor).sum();
    let mut after = |entry: &Entry| {
        booked(entry).then(|| {
            sum = sum.saturating_add(entry.minor);
            sum
        })
    };
    shown.iter().map(|entry| (entry, after(entry))).collect()
}

// ---------------------------------------------------------------- tokens

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: String,
    refresh_token: Option<String>,
}

#[derive(Serialize)]
struct TokenAnswer<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: &'a str,
    scope: &'static str,
}

#[derive(Serialize)]
struct TokenError {
    error: &'static str,
    error_description: &'static str,
}

fn refuse(status: StatusCode, error: &'static str, error_description: &'static str) -> Answer {
    json(status, &TokenError { error, error_description })
}

async fn token(shared: &Shared, headers: &HeaderMap, body: Body) -> Answer {
    let Ok(body) = axum::body::to_bytes(body, TOKEN_REQUEST_BYTES_MAX).await else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_request", "The body could not be read");
    };
    let config = &shared.config;
    let expected = STANDARD.encode(format!("{}:{}", config.client_id, config.client_secret));
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given.and_then(|value| value.strip_prefix("Basic ")) != Some(expected.as_str()) {
        let mut answer = refuse(StatusCode::UNAUTHORIZED, "invalid_client", "Client id or secret are wrong");
        answer.header(header::WWW_AUTHENTICATE.as_str(), "Basic realm=\"token\"");
        return answer;
    }
    let form = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = form.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let Some(request) = serde_urlencoded::from_bytes::<TokenRequest>(&body).ok().filter(|_| form) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "Send grant_type and refresh_token as a form",
        );
    };
    if request.grant_type != "refresh_token" {
        return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type", "Only refresh_token is supported");
    }
    let lives = TimeDelta::from_std(config.access_token_lives).unwrap_or(TimeDelta::MAX);
    let renewed = {
        let access = &mut shared.state().access;
        access.renew(&request.refresh_token.unwrap_or_default(), shared.clock.now(), lives)
    };
    let Some(tokens) = renewed else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "invalid_grant",
            "The refresh token or its consent has ended",
        );
    };
    let mut answer = json(
        StatusCode::OK,
        &TokenAnswer {
            access_token: &tokens.access_token,
            token_type: "Bearer",
            expires_in: config.access_token_lives.as_secs(),
            refresh_token: &tokens.refresh_token,
            scope: "accounts",
        },
    );
    answer.header(header::CACHE_CONTROL.as_str(), "no-store");
    answer
}
