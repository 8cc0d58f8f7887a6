//! `/v1/connections/{connection_id}/pause` and `/resume`: a rest that the business wants.

use super::{ConnectionWithConsent, find, whole};
use crate::api::Api;
use crate::api::extract::{Id, PathId};
use crate::api::gate::Caller;
use crate::api::problem::{Answer, Code, Problem};
use crate::model::{ConnectionId, ConnectionState};
use crate::nudge::Bell;
use crate::webhook::payload;
use axum::Json;
use axum::extract::State;

/// Pause a connection
///
/// Nothing more is asked of the bank until it is resumed; what is being read of an account at this moment is still
/// stored. Those who wait for a sync are answered. History stays readable, and the consent runs on. Paused already, it
/// stays so. `connection.paused` tells it.
#[utoipa::path(post, path = "/v1/connections/{connection_id}/pause", operation_id = "pause_connection", tag = "connections",
    params(
        ("connection_id" = String, Path, description = "The link's id.")),
    responses(
        (status = 200, description = "The link, paused.", body = ConnectionWithConsent),
        (status = 409, description = "The customer must authorise again; nothing is asked of the bank anyway.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json")))]
pub async fn pause(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
) -> Answer<Json<ConnectionWithConsent>> {
    let now = api.app.clock.now();
    let institution = find(&api, caller, id).await?.institution;
    let event = payload::connection_paused(caller.business, id, &institution, now);
    let paused = api.app.store.pause_connection(caller.business, id, &event, now).await?;
    let connection = paused.ok_or_else(ConnectionId::unknown)?;
    if connection.state == ConnectionState::ReauthorisationRequired {
        return Err(Problem::new(
            Code::ReauthorisationRequired,
            "Nothing is asked of the bank anyway until the customer has authorised again.",
        ));
    }
    api.app.nudge.ring(Bell::Webhooks);
    whole(&api, connection).await
}

/// Resume a paused connection
///
/// Its accounts are due at once. One that is not paused stays as it is. `connection.resumed` tells it.
#[utoipa::path(post, path = "/v1/connections/{connection_id}/resume", operation_id = "resume_connection", tag = "connections",
    params(
        ("connection_id" = String, Path, description = "The link's id.")),
    responses(
        (status = 200, description = "The link, active.", body = ConnectionWithConsent),
        (status = 409, description = "The customer must authorise again first.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json")))]
pub async fn resume(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
) -> Answer<Json<ConnectionWithConsent>> {
    let now = api.app.clock.now();
    let institution = find(&api, caller, id).await?.institution;
    let event = payload::connection_resumed(caller.business, id, &institution, now);
    let resumed = api.app.store.resume_connection(caller.business, id, &event, now).await?;
    let connection = resumed.ok_or_else(ConnectionId::unknown)?;
    if connection.state == ConnectionState::ReauthorisationRequired {
        return Err(Problem::new(
            Code::ReauthorisationRequired,
            format!(
                "Its consent has ended. Have the customer give consent again, then send the fresh credentials to \
                 POST /v1/connections/{id}/reauthorise."
            ),
        ));
    }
    api.app.nudge.ring(Bell::Schedule);
    api.app.nudge.ring(Bell::Webhooks);
    whole(&api, connection).await
}
