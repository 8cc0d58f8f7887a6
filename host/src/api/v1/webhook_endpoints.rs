//! `/v1/webhook-endpoints`: where the business is told.

pub mod deliveries;

use crate::api::Api;
use crate::api::extract::{Body, Id, PathId};
use crate::api::gate::Caller;
use crate::api::problem::{Answer, Code, Problem};
use crate::api::schema::{self, All};
use crate::model::{self, EndpointId, EndpointSecret, EndpointState, EventType, Timestamp};
use crate::webhook::sign;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// Endpoints of one business: every event is sent to each.
const ENDPOINTS_MAX: usize = 50;
/// Bytes of a URL: what servers and proxies commonly take.
const URL_BYTES_MAX: usize = 2_048;
/// How long a rotated secret goes on signing: a day to deploy the new one.
const SECRET_GRACE: Duration = Duration::from_secs(24 * 3_600);
/// Secrets that sign at once: the header grows by each.
const SECRETS_MAX: usize = 5;

/// Where events are sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Endpoint {
    /// Ours.
    #[schema(value_type = String, example = "end_06f5k8d9t3e4h7z2m1p0q8r6vw")]
    id: EndpointId,
    /// Where events are POSTed.
    url: String,
    /// Which events; empty for all.
    #[schema(value_type = Vec<schema::EventType>)]
    event_types: Vec<EventType>,
    /// Told or not.
    #[schema(value_type = schema::EndpointState)]
    state: EndpointState,
    /// Why it is disabled.
    disabled_reason: Option<String>,
    /// Since when every attempt failed; null while it works.
    #[schema(value_type = Option<String>, format = DateTime)]
    failing_since: Option<Timestamp>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// An endpoint with its signing secret, which is shown this once.
#[derive(Serialize, ToSchema)]
pub struct EndpointWithSecret {
    /// The endpoint.
    #[serde(flatten)]
    endpoint: Endpoint,
    /// Verifies signatures (Standard Webhooks 1.0.0). Keep it; it is not shown again.
    #[schema(example = "whsec_…")]
    secret: String,
}

/// An endpoint to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointRequest {
    /// Where events are POSTed.
    #[schema(example = "https://example.com/hooks/tidegate", max_length = 2048)]
    url: String,
    /// Which events; left out or empty for all.
    #[serde(default)]
    #[schema(value_type = Vec<schema::EventType>)]
    event_types: Vec<EventType>,
}

/// What to change of an endpoint; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointChange {
    /// Where events are POSTed.
    #[serde(default)]
    #[schema(max_length = 2048)]
    url: Option<String>,
    /// Which events; empty for all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<schema::EventType>>)]
    event_types: Option<Vec<EventType>>,
    /// `active` after repairs, `disabled` to be told nothing.
    #[serde(default)]
    #[schema(value_type = Option<schema::EndpointState>)]
    state: Option<EndpointState>,
}

/// Be told of events
///
/// The answer holds the signing secret, once.
#[utoipa::path(post, path = "/v1/webhook-endpoints", operation_id = "create_webhook_endpoint", tag = "webhooks",
    request_body = EndpointRequest,
    responses(
        (status = 201, description = "The endpoint and its secret.", body = EndpointWithSecret,
            headers(("Location" = String, description = "Its address."))),
        (status = 422, description = "The URL cannot be used; the detail says why.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json")))]
pub async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(asked): Body<EndpointRequest>,
) -> Answer<Response> {
    check_url(&api, &asked.url)?;
    if api.app.store.endpoints(caller.business).await?.len() >= ENDPOINTS_MAX {
        return Err(Problem::new(
            Code::TooManyEndpoints,
            format!("Delete one first: a business has at most {ENDPOINTS_MAX}."),
        ));
    }
    let secret = sign::new_secret().map_err(|error| Problem::internal(&error))?;
    let endpoint = model::Endpoint {
        id: EndpointId::new(),
        business: caller.business,
        url: asked.url,
        event_types: each_once(asked.event_types),
        state: EndpointState::Active,
        disabled_reason: None,
        failing_since: None,
        secrets: vec![EndpointSecret { secret: secret.clone(), expires_at: None }],
        created_at: api.app.clock.now(),
    };
    api.app.store.create_endpoint(&endpoint).await?;
    let location = format!("/v1/webhook-endpoints/{}", endpoint.id);
    let shown = EndpointWithSecret { endpoint: Endpoint::of(endpoint), secret: secret.reveal().to_owned() };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(shown)).into_response())
}

/// List webhook endpoints
///
/// Oldest first.
#[utoipa::path(get, path = "/v1/webhook-endpoints", operation_id = "list_webhook_endpoints", tag = "webhooks",
    responses((status = 200, description = "All of them.", body = All<Endpoint>)))]
pub async fn list(State(api): State<Api>, caller: Caller) -> Answer<Json<All<Endpoint>>> {
    let endpoints = api.app.store.endpoints(caller.business).await?;
    Ok(Json(All { items: endpoints.into_iter().map(Endpoint::of).collect() }))
}

/// Show a webhook endpoint
#[utoipa::path(get, path = "/v1/webhook-endpoints/{endpoint_id}", operation_id = "show_webhook_endpoint", tag = "webhooks",
    params(("endpoint_id" = String, Path, description = "The endpoint's id.")),
    responses((status = 200, description = "The endpoint.", body = Endpoint)))]
pub async fn show(State(api): State<Api>, caller: Caller, Id(id): Id<EndpointId>) -> Answer<Json<Endpoint>> {
    Ok(Json(Endpoint::of(find(&api, caller, id).await?)))
}

/// Change a webhook endpoint
#[utoipa::path(patch, path = "/v1/webhook-endpoints/{endpoint_id}", operation_id = "change_webhook_endpoint",
    tag = "webhooks",
    params(("endpoint_id" = String, Path, description = "The endpoint's id.")),
    request_body = EndpointChange,
    responses((status = 200, description = "The endpoint as it is now.", body = Endpoint)))]
pub async fn change(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<EndpointId>,
    Body(asked): Body<EndpointChange>,
) -> Answer<Json<Endpoint>> {
    let mut endpoint = find(&api, caller, id).await?;
    if let Some(url) = asked.url {
        check_url(&api, &url)?;
        endpoint.url = url;
    }
    if let Some(event_types) = asked.event_types {
        endpoint.event_types = each_once(event_types);
    }
    match asked.state {
        Some(EndpointState::Active) => {
            endpoint.state = EndpointState::Active;
            endpoint.disabled_reason = None;
            endpoint.failing_since = None;
        }
        Some(EndpointState::Disabled) => {
            endpoint.state = EndpointState::Disabled;
            endpoint.disabled_reason = Some("disabled by its owner".to_owned());
        }
        None => {}
    }
    save(&api, &endpoint).await?;
    Ok(Json(Endpoint::of(endpoint)))
}

/// Delete a webhook endpoint
///
/// What was not yet delivered is not sent any more.
#[utoipa::path(delete, path = "/v1/webhook-endpoints/{endpoint_id}", operation_id = "delete_webhook_endpoint",
    tag = "webhooks",
    params(("endpoint_id" = String, Path, description = "The endpoint's id.")),
    responses((status = 204, description = "It is gone.")))]
pub async fn delete(State(api): State<Api>, caller: Caller, Id(id): Id<EndpointId>) -> Answer<StatusCode> {
    if !api.app.store.delete_endpoint(caller.business, id).await? {
        return Err(EndpointId::unknown());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Get a new signing secret
///
/// The old one signs too for 24 hours more. The answer holds the new secret, once.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{endpoint_id}/rotate-secret", operation_id = "rotate_webhook_secret",
    tag = "webhooks",
    params(
        ("endpoint_id" = String, Path, description = "The endpoint's id.")),
    responses((status = 200, description = "The endpoint and its new secret.", body = EndpointWithSecret)))]
pub async fn rotate_secret(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<EndpointId>,
) -> Answer<Json<EndpointWithSecret>> {
    let now = api.app.clock.now();
    let mut endpoint = find(&api, caller, id).await?;
    let secret = sign::new_secret().map_err(|error| Problem::internal(&error))?;
    endpoint.secrets =
        rotated(endpoint.secrets, EndpointSecret { secret: secret.clone(), expires_at: None }, now);
    save(&api, &endpoint).await?;
    Ok(Json(EndpointWithSecret { endpoint: Endpoint::of(endpoint), secret: secret.reveal().to_owned() }))
}

/// The new secret first; the current one for a day more; older ones until they run out.
fn rotated(old: Vec<EndpointSecret>, new: EndpointSecret, now: Timestamp) -> Vec<EndpointSecret> {
    let until = now.plus(SECRET_GRACE);
    let old = old
        .into_iter()
        .map(|old| EndpointSecret { expires_at: Some(old.expires_at.unwrap_or(until)), ..old })
        .filter(|old| old.expires_at > Some(now));
    std::iter::once(new).chain(old).take(SECRETS_MAX).collect()
}

/// One of the caller's endpoints.
async fn find(api: &Api, caller: Caller, id: EndpointId) -> Answer<model::Endpoint> {
    api.app.store.endpoint(caller.business, id).await?.ok_or_else(EndpointId::unknown)
}

async fn save(api: &Api, endpoint: &model::Endpoint) -> Answer<()> {
    if !api.app.store.update_endpoint(endpoint).await? {
        return Err(EndpointId::unknown());
    }
    Ok(())
}

fn check_url(api: &Api, url: &str) -> Answer<()> {
    if url.len() > URL_BYTES_MAX {
        return Err(Problem::invalid(format!("url: at most {URL_BYTES_MAX} bytes.")));
    }
    Ok(api.app.egress.check_webhook_url(url)?)
}

fn each_once(mut event_types: Vec<EventType>) -> Vec<EventType> {
    event_types.sort();
    event_types.dedup();
    event_types
}

impl Endpoint {
    fn of(stored: model::Endpoint) -> Self {
        Self {
            id: stored.id,
            url: stored.url,
            event_types: stored.event_types,
            state: stored.state,
            disabled_reason: stored.disabled_reason,
            failing_since: stored.failing_since,
            created_at: stored.created_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    #[test]
    fn a_rotated_secret_signs_a_day_longer_and_expired_ones_are_dropped() {
        let now = Timestamp(1_000_000);
        let secret = |text: &str, expires_at| EndpointSecret { secret: Secret::new(text), expires_at };
        let old = vec![
            secret("current", None),
            secret("older", Some(Timestamp(now.0 + 5))),
            secret("expired", Some(now)),
        ];
        let expected = [
            secret("new", None),
            secret("current", Some(now.plus(Duration::from_secs(86_400)))),
            secret("older", Some(Timestamp(now.0 + 5))),
        ];
        assert_eq!(rotated(old, secret("new", None), now), expected);
        let many = (0..9).map(|at| secret("old", Some(Timestamp(now.0 + 1 + at)))).collect();
        assert_eq!(rotated(many, secret("new", None), now).len(), SECRETS_MAX);
    }
}
