//! `/v1/accounts/{account_id}/sync`: ask for a reading and wait for it. The API never runs one itself.

use super::find;
use crate::api::Api;
use crate::api::cursor::Cursor;
use crate::api::extract::{Ask, Id, MaybeBody, PathId};
use crate::api::gate::Caller;
use crate::api::problem::{Answer, Code, Problem};
use crate::api::schema::Page;
use crate::api::v1::Paging;
use crate::api::v1::syncs::Sync;
use crate::model::{self, AccountId, AccountState, CustomerPresent, SyncCode, SyncId};
use crate::nudge::Bell;
use crate::store::{FoundSync, Requested};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

/// Seconds a call waits when it does not say: most banks answer within ten.
const WAIT_DEFAULT_S: u32 = 30;
/// Seconds a call waits at most: proxies close idle connections after about that.
const WAIT_MAX_S: u32 = 60;
/// How often a waiting call looks into the database: another process may do the reading.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Bytes of a user agent: the longest real ones have about 300.
const USER_AGENT_BYTES_MAX: usize = 512;

/// How long to wait.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Waiting {
    /// Seconds to wait for the answer: 0 to 60, 30 by default.
    #[param(minimum = 0, maximum = 60, default = 30)]
    wait: Option<u32>,
}

/// Who asks.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// Only if the customer is waiting at a screen: banks limit readings without them.
    #[serde(default)]
    customer_present: Option<CustomerAtScreen>,
    /// After `INCOMPLETE_STATEMENT_ERROR`: take what the bank shows although it is less than it should be. What its
    /// balance still counts stays.
    #[serde(default)]
    allow_incomplete_statement: bool,
}

/// The customer's browser or app.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerAtScreen {
    /// The customer's address.
    #[schema(value_type = String, example = "203.0.113.7")]
    ip: std::net::IpAddr,
    /// What the browser or app calls itself.
    #[serde(default)]
    #[schema(max_length = 512)]
    user_agent: Option<String>,
}

/// Sync an account now
///
/// Joins a reading that has not yet asked the bank, else asks for the next one, and waits for it. Finished is 200,
/// whatever the `code`.
#[utoipa::path(post, path = "/v1/accounts/{account_id}/sync", operation_id = "sync_account", tag = "syncs",
    params(("account_id" = String, Path, description = "The account's id."), Waiting),
    request_body(content = Option<SyncRequest>, description = "May be left out."),
    responses(
        (status = 200, description = "Finished, well or not: see `code`.", body = Sync),
        (status = 202, description = "Still running when `wait` ran out.", body = Sync,
            headers(("Location" = String, description = "Where to look for the answer."))),
        (status = 409, description = "The customer must authorise again first, the connection is paused, or the account \
            is closed or switched off.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json"),
        (status = 429, description = "The bank allows no reading yet; `last_sync` is the last one.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "Seconds.")))))]
pub async fn request(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<AccountId>,
    Ask(ask): Ask<Waiting>,
    MaybeBody(asked): MaybeBody<SyncRequest>,
) -> Answer<Response> {
    let account = find(&api, caller, id).await?;
    let wait = ask.wait.unwrap_or(WAIT_DEFAULT_S);
    if wait > WAIT_MAX_S {
        return Err(Problem::new(Code::InvalidQuery, format!("wait: 0 to {WAIT_MAX_S} seconds.")));
    }
    let present = asked.customer_present.map(at_screen).transpose()?;
    match account.state {
        AccountState::Active => {}
        AccountState::Closed => {
            return Err(Problem::new(
                Code::AccountClosed,
                "The bank no longer lists this account, so it cannot be read. Its history stays.",
            ));
        }
        AccountState::Excluded => return Err(excluded(&account)),
    }

    let finished = api.app.nudge.finished();
    let now = api.app.clock.now();
    if asked.allow_incomplete_statement {
        api.app.store.take_incomplete(id, true).await?;
    }
    let requested = api.app.store.request_sync(&account, present.as_ref(), now).await?;
    if asked.allow_incomplete_statement && !matches!(requested, Requested::Sync(_)) {
        api.app.store.take_incomplete(id, false).await?;
    }
    let sync = match requested {
        Requested::Sync(sync) => sync,
        Requested::TooEarly { next_allowed_at, last } => {
            return Err(Problem::new(
                Code::TooEarly,
                "Wait for the seconds in Retry-After; until then `last_sync` stands.",
            )
            .retry_after(next_allowed_at.since(now))
            .with("next_allowed_at", next_allowed_at)
            .with("last_sync", last.map(|last| Sync::finished(*last))));
        }
        Requested::Paused => {
            return Err(Problem::new(
                Code::ConnectionPaused,
                format!("Resume the connection first: POST /v1/connections/{}/resume.", account.connection),
            ));
        }
        Requested::Excluded => return Err(excluded(&account)),
        Requested::Stopped(last) => return stopped(&account, last.map(|last| *last)),
    };
    api.app.nudge.ring(Bell::Schedule);
    match wait_for(&api, caller, sync, finished, Duration::from_secs(u64::from(wait))).await? {
        Some(done) => Ok(Json(Sync::finished(done)).into_response()),
        None => {
            let location = format!("/v1/syncs/{sync}");
            Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(Sync::running(sync, id))).into_response())
        }
    }
}

/// List an account's syncs
///
/// Finished ones, newest first.
#[utoipa::path(get, path = "/v1/accounts/{account_id}/syncs", operation_id = "list_syncs", tag = "syncs",
    params(("account_id" = String, Path, description = "The account's id."), Paging),
    responses((status = 200, description = "A page.", body = Page<Sync>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<AccountId>,
    Ask(ask): Ask<Paging>,
) -> Answer<Json<Page<Sync>>> {
    find(&api, caller, id).await?;
    let (before, limit) = ask.read()?;
    let page = api.app.store.syncs(id, before, limit).await?;
    Ok(Json(Page::of(page, |last| last.id.encode(), Sync::finished)))
}

/// The customer's address and browser, checked.
pub fn at_screen(given: CustomerAtScreen) -> Answer<CustomerPresent> {
    let fits = |text: &String| text.len() <= USER_AGENT_BYTES_MAX && !text.chars().any(char::is_control);
    if given.user_agent.as_ref().is_some_and(|text| !fits(text)) {
        return Err(Problem::invalid(format!(
            "customer_present.user_agent: at most {USER_AGENT_BYTES_MAX} bytes and no control characters."
        )));
    }
    Ok(CustomerPresent { ip: given.ip, user_agent: given.user_agent })
}

fn excluded(account: &model::Account) -> Problem {
    let connection = account.connection;
    Problem::new(
        Code::AccountExcluded,
        format!(
            "Switch the account on first: PATCH /v1/connections/{connection} with this account's id in `accounts`, \
             or \"all\". Its history stays."
        ),
    )
}

/// Nothing will be asked of the bank: the last sync says why, else a problem does.
fn stopped(account: &model::Account, last: Option<model::Sync>) -> Answer<Response> {
    match last {
        Some(last) if last.code == SyncCode::ReauthorisationRequired => {
            Ok(Json(Sync::finished(last)).into_response())
        }
        last => Err(Problem::new(
            Code::ReauthorisationRequired,
            format!(
                "Have the customer give consent again, then send the fresh credentials to \
                 POST /v1/connections/{}/reauthorise.",
                account.connection
            ),
        )
        .with("last_sync", last.map(Sync::finished))),
    }
}

/// Waits until the sync is stored; none if it is not within `wait`.
async fn wait_for(
    api: &Api,
    caller: Caller,
    sync: SyncId,
    mut finished: broadcast::Receiver<SyncId>,
    wait: Duration,
) -> Answer<Option<model::Sync>> {
    let deadline = Instant::now() + wait;
    loop {
        match api.app.store.sync(caller.business, sync).await? {
            Some(FoundSync::Finished(done)) => return Ok(Some(*done)),
            Some(FoundSync::Running { .. }) => {}
            None => return Err(SyncId::unknown()),
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        let look = deadline.min(Instant::now() + LOOK_EVERY);
        // Passing time, or having missed some news, is a reason to look as well.
        let _ = tokio::time::timeout_at(look, heard(sync, &mut finished)).await;
    }
}

/// Returns when this sync is over, or news were missed.
async fn heard(sync: SyncId, finished: &mut broadcast::Receiver<SyncId>) {
    loop {
        match finished.recv().await {
            Ok(other) if other != sync => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
