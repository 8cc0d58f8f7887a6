//! `/v1/connections`: customers' links to their banks.

pub mod export;
pub mod handed_in;
pub mod pause;
pub mod settings;

use super::accounts::sync::{CustomerAtScreen, at_screen};
use super::authorisations::Authorisation;
use crate::api::Api;
use crate::api::cursor::Cursor;
use crate::api::extract::{Ask, Body, Id, MaybeBody, PathId, SecretText};
use crate::api::gate::Caller;
use crate::api::idempotency::Once;
use crate::api::linking;
use crate::api::problem::{Answer, Problem};
use crate::api::schema::{self, Page};
use crate::api::v1::consents::ConsentShown;
use crate::app::App;
use crate::model::{self, AuthorisationState, ConnectionId, ConnectionState, Timestamp};
use crate::nudge::Bell;
use crate::store;
use crate::webhook::payload;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use handed_in::{ConsentGiven, Wished, check_consent, check_credentials, check_wishes};
use serde::{Deserialize, Serialize};
use settings::Kept;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

/// How long an ending waits for the bank before it answers 202: most banks need less, and people who
/// leave should not look at a spinner for longer.
const ENDING_WAIT: Duration = Duration::from_secs(5);
/// How often a waiting ending looks into the database: another process may do the work.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A customer's link to a bank.
#[derive(Debug, Serialize, ToSchema)]
pub struct Connection {
    /// Ours.
    #[schema(value_type = String, example = "con_06f5k8d9t3e4h7z2m1p0q8r6vw")]
    id: ConnectionId,
    /// Which bank.
    institution_id: String,
    /// Your own name for the customer.
    customer_ref: Option<String>,
    /// Kept up to date, paused by you, or waiting for the customer.
    #[schema(value_type = schema::ConnectionState)]
    state: ConnectionState,
    /// Why it is not active, as a code; of an active one, why the bank was asked in vain the last time. Null while it
    /// is being tried again: while an authorisation is open, that one speaks, and while the bank is being asked.
    reason: Option<String>,
    /// When the bank is asked next, apart from requests; null while it is being asked, and while nothing is to be asked.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Timestamp>,
    /// The bank's list of accounts was read since credentials were handed in.
    accounts_listed: bool,
    /// Minutes between two syncs; null for the institution's own.
    interval_minutes: Option<u32>,
    /// Which accounts are read: `all`, or these ids.
    #[schema(value_type = schema::AccountsKept)]
    accounts: Kept,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// What to do now, in a sentence.
    next_step: &'static str,
}

/// A customer's link to a bank, with what the customer agreed to.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionWithConsent {
    /// The link.
    #[serde(flatten)]
    connection: Connection,
    /// The consent in force, or the last one.
    consent: Option<ConsentShown>,
    /// The customer's way in, while they are on it.
    authorisation: Option<Authorisation>,
}

/// A link to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionRequest {
    /// Which bank: see `GET /v1/institutions`.
    #[schema(example = "demo-bank")]
    institution_id: String,
    /// What you wish of it.
    #[serde(flatten)]
    wishes: Wished,
    /// Name to value, as the institution lists them; at most 32 of 8 KiB each. Left out, the customer is asked:
    /// `authorisation.next` says what they must do.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"refresh-token": "…"}))]
    credentials: Option<BTreeMap<String, SecretText>>,
    /// When a credential stops working, where that is known.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    credential_expiry: BTreeMap<String, Timestamp>,
    /// What the customer agreed to; with `credentials` only.
    #[serde(default)]
    consent: Option<ConsentGiven>,
    /// The customer logged in at the bank's own site since it refused their credentials twice.
    #[serde(default)]
    checked_at_bank: bool,
    /// The customer's address and browser, without `credentials` only: some banks want to be told who is asking.
    #[serde(default)]
    customer_present: Option<CustomerAtScreen>,
}

/// Fresh credentials for a link.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reauthorisation {
    /// Name to value; all old ones are dropped. Left out, the customer is asked: `authorisation.next` says what
    /// they must do, and what the connection holds stays in force until they have.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"refresh-token": "…"}))]
    credentials: Option<BTreeMap<String, SecretText>>,
    /// When a credential stops working, where that is known.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    credential_expiry: BTreeMap<String, Timestamp>,
    /// The new consent; with `credentials` only. May be left out only while the old one is in force.
    #[serde(default)]
    consent: Option<ConsentGiven>,
    /// Where the customer's browser goes in the end; without `credentials` only.
    #[serde(default)]
    #[schema(max_length = 2048)]
    return_to: Option<String>,
    /// The customer logged in at the bank's own site since it refused their credentials twice.
    #[serde(default)]
    checked_at_bank: bool,
    /// The customer's address and browser, without `credentials` only: some banks want to be told who is asking.
    #[serde(default)]
    customer_present: Option<CustomerAtScreen>,
}

/// What the customer typed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Continuation {
    /// Name to value: exactly the fields that `next` asks for.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>, example = json!({"otp": "123456"}))]
    values: BTreeMap<String, SecretText>,
}

/// A link that is being ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ending {
    /// Which.
    #[schema(value_type = String)]
    id: ConnectionId,
    /// What happens now, in a sentence.
    message: &'static str,
}

/// Which connections to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only those of this customer.
    customer_ref: Option<String>,
    /// Only those at this bank.
    institution_id: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows of the page: 1 to 500, 100 by default.
    limit: Option<u32>,
}

/// Link a customer's bank
///
/// With `credentials`, the first sync starts at once: the accounts are listed by `GET /v1/accounts?connection_id=` when
/// it has read them, and `account.updated` tells of each. Without, the customer is asked first: `authorisation.next`
/// says what they must do (`redirect`, `form` or `wait`), and `connection.authorised` tells when they have.
#[utoipa::path(post, path = "/v1/connections", operation_id = "create_connection", tag = "connections",
    request_body = ConnectionRequest,
    responses(
        (status = 201, description = "The link.", body = ConnectionWithConsent,
            headers(("Location" = String, description = "Its address."))),
        (status = 409, description = "The bank cannot be asked at the moment, or refused this customer twice.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json"),
        (status = 422, description = "A value is against a rule; the detail names it.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json")))]
pub async fn create(
    State(api): State<Api>,
    caller: Caller,
    once: Option<Extension<Once>>,
    Body(asked): Body<ConnectionRequest>,
) -> Answer<Response> {
    let (app, now) = (&api.app, api.app.clock.now());
    let bank = linking::available(app, &asked.institution_id)?;
    let mut wishes = check_wishes(asked.wishes, false)?;
    let customer_ref = wishes.customer_ref.clone();
    let customer = (caller.business, customer_ref.as_deref(), asked.institution_id.as_str());
    let new = linking::new_connection(caller.business, &asked.institution_id, customer_ref.clone(), now);
    let id = new.id;
    match asked.credentials {
        Some(_) if wishes.accounts.is_some() => {
            return Err(Problem::invalid(
                "accounts: belongs to a customer who is asked; with credentials, choose by PATCH once they are listed.",
            ));
        }
        Some(credentials) => {
            let credentials = check_credentials(bank.manifest(), credentials, &asked.credential_expiry, now)?;
            let consent = asked.consent.ok_or_else(|| {
                Problem::invalid("consent: with credentials, say what the customer agreed to.")
            })?;
            let consent = Some(check_consent(consent, now)?);
            linking::check_rejections(app, None, customer, asked.checked_at_bank).await?;
            let new = store::NewConnection { credentials, consent, linking: false, ..new };
            let key = once.as_ref().map(|Extension(Once(key))| key.as_str());
            app.store.create_connection_once(&new, key, now).await?;
            app.nudge.ring(Bell::Schedule);
        }
        None if asked.consent.is_some() || !asked.credential_expiry.is_empty() => {
            return Err(Problem::invalid(
                "consent, credential_expiry: belong to credentials; without, the customer is asked and the consent recorded.",
            ));
        }
        None => {
            wishes.customer = asked.customer_present.map(at_screen).transpose()?;
            linking::check_customer(bank, &wishes)?;
            linking::check_rejections(app, None, customer, asked.checked_at_bank).await?;
            let institution = Some(asked.institution_id.clone());
            let expires_at = now.plus(linking::AUTHORISATION_LIVES);
            let authorisation = linking::new_authorisation(caller.business, institution, wishes, expires_at)?;
            let begun = app.store.create_authorising(&new, &authorisation, now).await?;
            app.nudge.ring(Bell::Schedule);
            linking::after_turn(app, begun, linking::TURN_WAIT).await?;
        }
    }
    made(&api, caller, id).await
}

/// The answer to whoever made a connection.
pub async fn made(api: &Api, caller: Caller, id: ConnectionId) -> Answer<Response> {
    let connection = find(api, caller, id).await?;
    let location = format!("/v1/connections/{id}");
    Ok((StatusCode::CREATED, [(LOCATION, location)], whole(api, connection).await?).into_response())
}

/// Hand in what the customer typed
///
/// When `authorisation.next` is a `form`. The answer says what is next.
#[utoipa::path(post, path = "/v1/connections/{connection_id}/continue", operation_id = "continue_connection",
    tag = "connections",
    params(("connection_id" = String, Path, description = "The link's id.")),
    request_body = Continuation,
    responses(
        (status = 200, description = "The link, and what is next.", body = ConnectionWithConsent),
        (status = 409, description = "Nothing is asked of the customer now.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json"),
        (status = 422, description = "A value is missing or against a rule; the detail names it.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json")))]
pub async fn go_on(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
    Body(given): Body<Continuation>,
) -> Answer<Json<ConnectionWithConsent>> {
    find(&api, caller, id).await?;
    let under_way = api.app.store.authorisation_of(id).await?.ok_or_else(linking::no_prompt)?;
    linking::answer(&api.app, under_way, given.values).await?;
    whole(&api, find(&api, caller, id).await?).await
}

/// List connections
///
/// Oldest first.
#[utoipa::path(get, path = "/v1/connections", operation_id = "list_connections", tag = "connections", params(Filter),
    responses((status = 200, description = "A page.", body = Page<Connection>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ask(ask): Ask<Filter>,
) -> Answer<Json<Page<Connection>>> {
    let after = ask.cursor.as_deref().map(ConnectionId::decode).transpose()?;
    let (customer, institution) = (ask.customer_ref.as_deref(), ask.institution_id.as_deref());
    let store = &api.app.store;
    let page =
        store.connections(caller.business, customer, institution, after, super::limit(ask.limit)).await?;
    Ok(Json(Page::of(page, |last| last.id.encode(), Connection::of)))
}

/// Show a connection
#[utoipa::path(get, path = "/v1/connections/{connection_id}", operation_id = "show_connection", tag = "connections",
    params(("connection_id" = String, Path, description = "The link's id.")),
    responses((status = 200, description = "The link.", body = ConnectionWithConsent)))]
pub async fn show(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
) -> Answer<Json<ConnectionWithConsent>> {
    let connection = find(&api, caller, id).await?;
    whole(&api, connection).await
}

/// End a connection
///
/// Nothing is read of the bank any more. The bank is asked to end the consent, for ten minutes at most; then the
/// customer's data is erased, and `connection.deleted` is sent, whose `consent_ended_at_bank` says whether the bank did
/// (null where the customer never let us in).
/// From the first moment on the connection and its accounts answer 404.
#[utoipa::path(delete, path = "/v1/connections/{connection_id}", operation_id = "delete_connection", tag = "connections",
    params(("connection_id" = String, Path, description = "The link's id.")),
    responses(
        (status = 202, description = "The bank has not answered yet; the rest happens by itself.", body = Ending),
        (status = 204, description = "It has ended, and everything is erased.")))]
pub async fn delete(State(api): State<Api>, caller: Caller, Id(id): Id<ConnectionId>) -> Answer<Response> {
    let (app, now) = (&api.app, api.app.clock.now());
    let connection = find(&api, caller, id).await?;
    if let Err(reason) = app.bank(&connection.institution) {
        let ended = app.store.consent(id).await?.map(|_| false);
        let event = payload::connection_deleted(caller.business, id, &connection.institution, ended, now);
        if !app.store.delete_connection(caller.business, id, &event, now).await? {
            return Err(ConnectionId::unknown());
        }
        tracing::info!(connection = %id, consent_ended_at_bank = false, reason, "erased");
        app.nudge.ring(Bell::Webhooks);
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if !app.store.begin_closing(caller.business, id, now).await? {
        return Err(ConnectionId::unknown());
    }
    app.nudge.ring(Bell::Schedule);
    if erased_within(app, id, ENDING_WAIT).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let message = "The bank has not yet answered that it ended the consent. It is asked for ten minutes at most, then \
                   everything is erased; connection.deleted tells when.";
    Ok((StatusCode::ACCEPTED, Json(Ending { id, message })).into_response())
}

/// Waits until nothing of the customer is left; false if that takes longer.
async fn erased_within(app: &App, id: ConnectionId, wait: Duration) -> Answer<bool> {
    let deadline = Instant::now() + wait;
    loop {
        let erased = app.nudge.heard(Bell::Erased);
        tokio::pin!(erased);
        erased.as_mut().enable(); // before looking, so that nothing is missed in between
        if app.store.is_erased(id).await? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        let _ = tokio::time::timeout_at(deadline.min(Instant::now() + LOOK_EVERY), erased).await;
    }
}

/// Hand in fresh credentials, or have the customer asked
///
/// After the customer gave a new consent, or when a credential was replaced. Without `credentials` the customer is asked
/// as when the link was made. Accounts, history and cursors stay. A paused link is resumed.
#[utoipa::path(post, path = "/v1/connections/{connection_id}/reauthorise", operation_id = "reauthorise_connection",
    tag = "connections",
    params(
        ("connection_id" = String, Path, description = "The link's id.")),
    request_body = Reauthorisation,
    responses(
        (status = 200, description = "The link: active again, or with what the customer must do.",
            body = ConnectionWithConsent),
        (status = 409, description = "The bank cannot be asked at the moment, or refused this customer twice.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json"),
        (status = 422, description = "A value is against a rule; the detail names it.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json")))]
pub async fn reauthorise(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
    MaybeBody(asked): MaybeBody<Reauthorisation>,
) -> Answer<Json<ConnectionWithConsent>> {
    let (app, now) = (&api.app, api.app.clock.now());
    let connection = find(&api, caller, id).await?;
    let bank = linking::available(app, &connection.institution)?;
    let customer = (caller.business, connection.customer_ref.as_deref(), connection.institution.as_str());
    match asked.credentials {
        Some(credentials) => {
            let credentials = check_credentials(bank.manifest(), credentials, &asked.credential_expiry, now)?;
            let consent = asked.consent.map(|given| check_consent(given, now)).transpose()?;
            if consent.is_none() && !consent_in_force(&api, id, now).await? {
                return Err(Problem::invalid(
                    "consent: the old one is not in force any more; say what the customer agreed to now.",
                ));
            }
            linking::check_rejections(app, Some(&connection), customer, asked.checked_at_bank).await?;
            let resumed = payload::connection_resumed(caller.business, id, &connection.institution, now);
            let consent = consent.as_ref();
            let renewed =
                app.store.reauthorise(caller.business, id, &credentials, consent, &resumed, now).await?;
            renewed.ok_or_else(ConnectionId::unknown)?;
            app.nudge.ring(Bell::Schedule);
            app.nudge.ring(Bell::Webhooks);
        }
        None if asked.consent.is_some() || !asked.credential_expiry.is_empty() => {
            return Err(Problem::invalid(
                "consent, credential_expiry: belong to credentials; without, the customer is asked and the consent recorded.",
            ));
        }
        None => {
            let wished = Wished { return_to: asked.return_to, ..Wished::default() };
            let mut wishes = check_wishes(wished, false)?;
            // What was wished for at first is still what the customer is asked for.
            if let Some(before) = app.store.authorisation_of(id).await? {
                (wishes.accounts, wishes.purpose) = (before.wishes.accounts, before.wishes.purpose);
            }
            wishes.customer = asked.customer_present.map(at_screen).transpose()?;
            linking::check_customer(bank, &wishes)?;
            linking::check_rejections(app, Some(&connection), customer, asked.checked_at_bank).await?;
            let expires_at = now.plus(linking::AUTHORISATION_LIVES);
            let institution = Some(connection.institution.clone());
            let new = linking::new_authorisation(caller.business, institution, wishes, expires_at)?;
            let begun = app.store.authorise_again(id, &new, now).await?.ok_or_else(ConnectionId::unknown)?;
            app.nudge.ring(Bell::Schedule);
            linking::after_turn(app, begun, linking::TURN_WAIT).await?;
        }
    }
    whole(&api, find(&api, caller, id).await?).await
}

/// One of the caller's connections that has not ended.
async fn find(api: &Api, caller: Caller, id: ConnectionId) -> Answer<model::Connection> {
    api.app
        .store
        .connection(caller.business, id)
        .await?
        .filter(|connection| !connection.state.is_over())
        .ok_or_else(ConnectionId::unknown)
}

async fn consent_in_force(api: &Api, id: ConnectionId, now: Timestamp) -> Answer<bool> {
    let consent = api.app.store.consent(id).await?;
    Ok(consent.is_some_and(|consent| !consent.is_over(now)))
}

/// With its consent and, while the customer is on the way in, how far they are.
async fn whole(api: &Api, connection: model::Connection) -> Answer<Json<ConnectionWithConsent>> {
    let consent = api.app.store.consent(connection.id).await?.map(ConsentShown::of);
    // Over and ready is no news: the connection says so itself.
    let on_the_way = |known: &model::Authorisation| known.state != AuthorisationState::Ready;
    let authorisation = api.app.store.authorisation_of(connection.id).await?.filter(on_the_way);
    let authorisation = authorisation.map(|known| Authorisation::of(&api.app, known));
    Ok(Json(ConnectionWithConsent { connection: Connection::of(connection), consent, authorisation }))
}

impl Connection {
    fn of(stored: model::Connection) -> Self {
        let being_asked = stored.state == ConnectionState::Active && stored.due_at.is_none();
        let reason = stored.reason.filter(|_| !stored.authorising && !being_asked);
        Self {
            next_step: next_step(stored.state, stored.authorising, reason.as_deref(), stored.accounts_listed),
            id: stored.id,
            institution_id: stored.institution,
            customer_ref: stored.customer_ref,
            state: stored.state,
            reason,
            next_at: stored.due_at,
            accounts_listed: stored.accounts_listed,
            interval_minutes: stored.interval_minutes,
            accounts: Kept(stored.accounts),
            created_at: stored.created_at,
        }
    }
}

/// What to do now, in a sentence. `authorising`: the customer is on the way in, and that comes first.
fn next_step(
    state: ConnectionState,
    authorising: bool,
    reason: Option<&str>,
    accounts_listed: bool,
) -> &'static str {
    match (state, reason) {
        (ConnectionState::Closing, _) => {
            "Nothing: the bank is asked to end the consent, then its data is erased."
        }
        (ConnectionState::Deleted, _) => "Nothing: it has ended and its data is erased.",
        _ if authorising => {
            "Have the customer do what authorisation.next of GET /v1/connections/{connection_id} says."
        }
        (ConnectionState::Linking, _) => {
            "Have the customer begin again: POST /v1/connections/{connection_id}/reauthorise says what they must do."
        }
        (ConnectionState::Active, Some("credentials-rejected")) => {
            "The bank refused the credentials. Banks do so by mistake, too, so it is asked once more at next_at; if they \
             were wrong, hand in others with POST /v1/connections/{connection_id}/reauthorise now."
        }
        (ConnectionState::Active, Some(_)) => "Nothing: the bank is asked again at next_at.",
        (ConnectionState::Active, None) if accounts_listed => "Nothing: its accounts are kept up to date.",
        (ConnectionState::Active, None) => {
            "Nothing: GET /v1/accounts?connection_id=… lists its accounts once the bank was asked."
        }
        (ConnectionState::Paused, _) => {
            "POST /v1/connections/{connection_id}/resume when its accounts are to be kept up to date again."
        }
        (ConnectionState::ReauthorisationRequired, _) => {
            "Have the customer authorise again: POST /v1/connections/{connection_id}/reauthorise, with fresh \
             credentials or without any, says what they must do."
        }
    }
}
