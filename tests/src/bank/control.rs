//! The bank's remote control: everything a test does through [`Bank`], as JSON over HTTP, for a
//! bank that runs as a process of its own. Answers 400 with `{"error": "…"}`. Scenarios are played under
//! `/control/accounts/{account}/play` (see `scenario/control.rs`).

use super::{
    Bank, BankChange, BankError, Correction, Customer, Fault, Granted, Hold, LoggedRequest, NewAccount,
    NewCustomer, NewEntry, Row, RowStatus, Statement, Target,
};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest time that a caller may wait for held requests.
const WAIT_SECONDS_MAX: u64 = 60;

/// Every route of the remote control.
pub(super) fn routes(bank: Bank) -> Router {
    Router::new()
        .route("/control/clock", get(clock))
        .route("/control/clock/advance", post(advance))
        .route("/control/customers", post(create_customer))
        .route("/control/customers/{customer}/accounts", post(open_account))
        .route("/control/customers/{customer}/accounts/rename", post(rename_accounts))
        .route("/control/customers/{customer}/accounts/{account}", delete(close_account))
        .route("/control/customers/{customer}/consents", post(grant))
        .route("/control/consents/{consent}/revoke", post(revoke))
        .route("/control/consents/{consent}/expire", post(expire_consent))
        .route("/control/access-tokens/expire", post(expire_access_tokens))
        .route("/control/accounts/{account}/entries", post(add_entry))
        .route("/control/accounts/{account}/entries/{entry}", delete(remove))
        .route("/control/accounts/{account}/entries/{entry}/settle", post(settle))
        .route("/control/accounts/{account}/entries/{entry}/correct", post(correct))
        .route("/control/accounts/{account}/entries/{entry}/expire", post(expire))
        .route("/control/accounts/{account}/credit", put(count_credit))
        .route("/control/accounts/{account}/statement", get(statement))
        .route("/control/changes", get(changes))
        .route("/control/faults", post(fault).delete(clear_faults))
        .route("/control/holds", post(hold).get(held).delete(release))
        .route("/control/requests", get(requests))
        .merge(super::uk::routes())
        .merge(super::scenario::control::routes())
        .with_state(bank)
}

pub(super) type Answer<T> = Result<Json<T>, Refused>;

/// Done, and nothing to say.
#[derive(Serialize)]
pub(super) struct Done {}

pub(super) struct Refused(pub(super) String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: String,
        }
        (StatusCode::BAD_REQUEST, Json(Body { error: self.0 })).into_response()
    }
}

impl From<BankError> for Refused {
    fn from(error: BankError) -> Self {
        Self(error.to_string())
    }
}

// ---- clock

#[derive(Serialize)]
struct Time {
    now: DateTime<Utc>,
}

async fn clock(State(bank): State<Bank>) -> Json<Time> {
    Json(Time { now: bank.now() })
}

#[derive(Deserialize)]
struct Advance {
    seconds: u64,
}

async fn advance(State(bank): State<Bank>, Json(by): Json<Advance>) -> Json<Time> {
    bank.advance(Duration::from_secs(by.seconds));
    clock(State(bank)).await
}

// ---- customers and consents

async fn create_customer(State(bank): State<Bank>, Json(new): Json<NewCustomer>) -> Answer<Customer> {
    Ok(Json(bank.create_customer(&new)?))
}

#[derive(Serialize)]
struct Opened {
    account_id: String,
}

async fn open_account(
    State(bank): State<Bank>,
    Path(customer): Path<String>,
    Json(new): Json<NewAccount>,
) -> Answer<Opened> {
    Ok(Json(Opened { account_id: bank.open_account(&customer, &new)? }))
}

async fn close_account(
    State(bank): State<Bank>,
    Path((customer, account)): Path<(String, String)>,
) -> Answer<Done> {
    bank.close_account(&customer, &account)?;
    Ok(Json(Done {}))
}

async fn rename_accounts(State(bank): State<Bank>, Path(customer): Path<String>) -> Answer<Customer> {
    Ok(Json(bank.rename_accounts(&customer)?))
}

#[derive(Deserialize)]
struct Grant {
    lasts_seconds: Option<u64>,
    /// None is the bank's first client.
    client_id: Option<String>,
}

async fn grant(
    State(bank): State<Bank>,
    Path(customer): Path<String>,
    Json(grant): Json<Grant>,
) -> Answer<Granted> {
    let lasts = grant.lasts_seconds.map(Duration::from_secs);
    let client = grant.client_id.as_ref().unwrap_or(&bank.config().client_id);
    Ok(Json(bank.grant_to(client, &customer, lasts)?))
}

async fn revoke(State(bank): State<Bank>, Path(consent): Path<String>) -> Answer<Done> {
    bank.revoke_consent(&consent)?;
    Ok(Json(Done {}))
}

async fn expire_consent(State(bank): State<Bank>, Path(consent): Path<String>) -> Answer<Done> {
    bank.expire_consent(&consent)?;
    Ok(Json(Done {}))
}

async fn expire_access_tokens(State(bank): State<Bank>) -> Answer<Done> {
    bank.expire_access_tokens();
    Ok(Json(Done {}))
}

// ---- entries

#[derive(Deserialize)]
struct AddEntry {
    #[serde(default)]
    status: Option<RowStatus>,
    #[serde(flatten)]
    entry: NewEntry,
}

async fn add_entry(
    State(bank): State<Bank>,
    Path(account): Path<String>,
    Json(new): Json<AddEntry>,
) -> Answer<Row> {
    Ok(Json(match new.status {
        Some(RowStatus::Pending) => bank.authorise(&account, new.entry)?,
        Some(RowStatus::Booked) | None => bank.book(&account, new.entry)?,
    }))
}

#[derive(Deserialize)]
struct Settle {
    amount: Option<String>,
}

async fn settle(
    State(bank): State<Bank>,
    Path((account, entry)): Path<(String, String)>,
    Json(settle): Json<Settle>,
) -> Answer<Row> {
    Ok(Json(bank.settle(&account, &entry, settle.amount.as_deref())?))
}

async fn correct(
    State(bank): State<Bank>,
    Path((account, entry)): Path<(String, String)>,
    Json(correction): Json<Correction>,
) -> Answer<Row> {
    Ok(Json(bank.correct(&account, &entry, correction)?))
}

async fn remove(State(bank): State<Bank>, Path((account, entry)): Path<(String, String)>) -> Answer<Row> {
    Ok(Json(bank.remove(&account, &entry)?))
}

async fn expire(State(bank): State<Bank>, Path((account, entry)): Path<(String, String)>) -> Answer<Row> {
    Ok(Json(bank.expire(&account, &entry)?))
}

#[derive(Deserialize)]
struct Credit {
    amount: Option<String>,
}

async fn count_credit(
    State(bank): State<Bank>,
    Path(account): Path<String>,
    Json(credit): Json<Credit>,
) -> Answer<Done> {
    bank.count_credit(&account, credit.amount.as_deref())?;
    Ok(Json(Done {}))
}

// ---- the oracle

async fn statement(State(bank): State<Bank>, Path(account): Path<String>) -> Answer<Statement> {
    Ok(Json(bank.statement(&account)?))
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

#[derive(Serialize)]
struct Changes {
    /// The `since` of the next question.
    mark: usize,
    changes: Vec<BankChange>,
}

async fn changes(State(bank): State<Bank>, Query(from): Query<Since>) -> Json<Changes> {
    let since = usize::try_from(from.since).unwrap_or(usize::MAX);
    let changes = bank.changes_since(since);
    Json(Changes { mark: since.saturating_add(changes.len()), changes })
}

// ---- faults and waiting

#[derive(Deserialize)]
struct NewFault {
    #[serde(flatten)]
    target: Target,
    fault: Fault,
    times: u32,
}

async fn fault(State(bank): State<Bank>, Json(new): Json<NewFault>) -> Answer<Done> {
    bank.fault(new.target, new.fault, new.times);
    Ok(Json(Done {}))
}

async fn clear_faults(State(bank): State<Bank>) -> Answer<Done> {
    bank.clear_faults();
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
struct NewHold {
    #[serde(flatten)]
    target: Target,
    hold: Hold,
}

async fn hold(State(bank): State<Bank>, Json(new): Json<NewHold>) -> Answer<Done> {
    bank.hold(new.target, new.hold);
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
struct WaitHeld {
    #[serde(default)]
    at_least: usize,
    #[serde(default)]
    wait_seconds: u64,
}

#[derive(Serialize)]
struct Held {
    held: usize,
}

async fn held(State(bank): State<Bank>, Query(wait): Query<WaitHeld>) -> Answer<Held> {
    let timeout = Duration::from_secs(wait.wait_seconds.min(WAIT_SECONDS_MAX));
    bank.wait_held(wait.at_least, timeout).await.map_err(|late| Refused(late.to_string()))?;
    Ok(Json(Held { held: bank.held() }))
}

async fn release(State(bank): State<Bank>) -> Json<Held> {
    Json(Held { held: bank.release() })
}

async fn requests(State(bank): State<Bank>, Query(from): Query<Since>) -> Json<Vec<LoggedRequest>> {
    Json(bank.requests_since(from.since))
}
