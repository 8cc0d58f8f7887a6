//! `/v1/webhook-endpoints/{endpoint_id}/deliveries`: what was told, when, and how it went.

use super::find;
use crate::api::Api;
use crate::api::cursor::Cursor;
use crate::api::extract::{Ask, Id, PathId};
use crate::api::gate::Caller;
use crate::api::problem::Answer;
use crate::api::schema::{self, All, Page};
use crate::api::v1::Paging;
use crate::model::{AttemptId, DeliveryId, DeliveryState, EndpointId, EventId, EventType, Timestamp};
use crate::nudge::Bell;
use crate::store;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// An event on its way to an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct Delivery {
    /// Ours.
    #[schema(value_type = String, example = "dlv_06f5k8d9t3e4h7z2m1p0q8r6vw")]
    id: DeliveryId,
    /// The `webhook-id` of every attempt.
    #[schema(value_type = String)]
    event_id: EventId,
    /// Of which kind.
    #[serde(rename = "type")]
    #[schema(value_type = schema::EventType)]
    kind: EventType,
    /// Where it stands.
    #[schema(value_type = schema::DeliveryState)]
    state: DeliveryState,
    /// How many attempts were made.
    attempts: i32,
    /// When the next attempt is due, while pending.
    #[schema(value_type = Option<String>, format = DateTime)]
    due_at: Option<Timestamp>,
    /// When the event happened.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// One try.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attempt {
    /// Ours.
    #[schema(value_type = String)]
    id: AttemptId,
    /// When it left.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Milliseconds until the answer was read or given up.
    duration_ms: i64,
    /// HTTP status, if there was an answer.
    status: Option<i16>,
    /// Why it failed, as a code.
    #[schema(example = "timeout")]
    error: Option<String>,
}

/// List deliveries
///
/// Newest first.
#[utoipa::path(get, path = "/v1/webhook-endpoints/{endpoint_id}/deliveries", operation_id = "list_deliveries",
    tag = "webhooks",
    params(("endpoint_id" = String, Path, description = "The endpoint's id."), Paging),
    responses((status = 200, description = "A page.", body = Page<Delivery>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    Id(endpoint): Id<EndpointId>,
    Ask(ask): Ask<Paging>,
) -> Answer<Json<Page<Delivery>>> {
    find(&api, caller, endpoint).await?;
    let (before, limit) = ask.read()?;
    let page = api.app.store.deliveries(endpoint, before, limit).await?;
    Ok(Json(Page::of(page, |last| last.id.encode(), Delivery::of)))
}

/// List a delivery's attempts
///
/// Oldest first.
#[utoipa::path(get, path = "/v1/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}/attempts",
    operation_id = "list_attempts", tag = "webhooks",
    params(
        ("endpoint_id" = String, Path, description = "The endpoint's id."),
        ("delivery_id" = String, Path, description = "The delivery's id.")),
    responses((status = 200, description = "All of them.", body = All<Attempt>)))]
pub async fn attempts(
    State(api): State<Api>,
    caller: Caller,
    Id(endpoint): Id<EndpointId>,
    Id(delivery): Id<DeliveryId>,
) -> Answer<Json<All<Attempt>>> {
    find(&api, caller, endpoint).await?;
    let attempts = api.app.store.attempts(endpoint, delivery).await?;
    if attempts.is_empty() && !exists(&api, endpoint, delivery).await? {
        return Err(DeliveryId::unknown());
    }
    Ok(Json(All { items: attempts.into_iter().map(Attempt::of).collect() }))
}

/// Deliver again
///
/// Whatever became of it: the next attempt is due now, with the same `webhook-id`.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}/replay",
    operation_id = "replay_delivery", tag = "webhooks",
    params(
        ("endpoint_id" = String, Path, description = "The endpoint's id."),
        ("delivery_id" = String, Path, description = "The delivery's id.")),
    responses((status = 204, description = "It is due now.")))]
pub async fn replay(
    State(api): State<Api>,
    caller: Caller,
    Id(endpoint): Id<EndpointId>,
    Id(delivery): Id<DeliveryId>,
) -> Answer<StatusCode> {
    find(&api, caller, endpoint).await?;
    if !api.app.store.replay_delivery(endpoint, delivery, api.app.clock.now()).await? {
        return Err(DeliveryId::unknown());
    }
    api.app.nudge.ring(Bell::Webhooks);
    Ok(StatusCode::NO_CONTENT)
}

/// Is there such a delivery, although it was not tried yet? It would be the first before its successor.
async fn exists(api: &Api, endpoint: EndpointId, delivery: DeliveryId) -> Answer<bool> {
    let number = delivery.as_bytes().try_into().map_or(0, u128::from_be_bytes);
    let successor = DeliveryId::from_bytes(&number.saturating_add(1).to_be_bytes());
    let page = api.app.store.deliveries(endpoint, successor, 1).await?;
    Ok(page.items.first().is_some_and(|found| found.id == delivery))
}

impl Delivery {
    fn of(stored: store::Delivery) -> Self {
        Self {
            id: stored.id,
            event_id: stored.event,
            kind: stored.kind,
            state: stored.state,
            attempts: stored.attempts,
            due_at: stored.due_at,
            created_at: stored.created_at,
        }
    }
}

impl Attempt {
    fn of(stored: store::Attempt) -> Self {
        let outcome = stored.outcome;
        Self {
            id: stored.id,
            at: outcome.at,
            duration_ms: outcome.duration_ms,
            status: outcome.status,
            error: outcome.error,
        }
    }
}
