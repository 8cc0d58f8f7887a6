//! `/v1/links`: a hosted page for a customer, for businesses without one of their own.

use super::authorisations::Authorisation;
use super::connections::handed_in::{Wished, check_wishes};
use crate::api::Api;
use crate::api::extract::Body;
use crate::api::gate::Caller;
use crate::api::linking::{self, LINK_LIVES, LINK_LIVES_MAX};
use crate::api::problem::{Answer, Problem};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::time::Duration;
use utoipa::ToSchema;

/// A link to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    /// The bank, if it is known; otherwise the customer chooses.
    #[serde(default)]
    institution_id: Option<String>,
    /// What you wish of it.
    #[serde(flatten)]
    wishes: Wished,
    /// Seconds until the link must have been opened and used: at most a week, a day by default.
    #[serde(default)]
    #[schema(minimum = 60, maximum = 604800, default = 86400)]
    expires_in_s: Option<u32>,
}

/// Make a link for a customer
///
/// Send the customer to `link_url`: there they choose their bank, read what they agree to, and let you in. The link is
/// bound to the browser in which they agree: opening it binds nobody yet, so it may be sent by e-mail. `connection.authorised` tells you of the new connection.
#[utoipa::path(post, path = "/v1/links", operation_id = "create_link", tag = "connections",
    request_body = LinkRequest,
    responses(
        (status = 201, description = "The link.", body = Authorisation,
            headers(("Location" = String, description = "Where to see how far the customer is."))),
        (status = 422, description = "A value is against a rule; the detail names it.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json")))]
pub async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(asked): Body<LinkRequest>,
) -> Answer<Response> {
    let now = api.app.clock.now();
    if let Some(institution) = &asked.institution_id {
        linking::available(&api.app, institution)?;
    }
    let lives = Duration::from_secs(asked.expires_in_s.map_or(LINK_LIVES.as_secs(), u64::from));
    if !(Duration::from_secs(60)..=LINK_LIVES_MAX).contains(&lives) {
        return Err(Problem::invalid(format!("expires_in_s: 60 to {}.", LINK_LIVES_MAX.as_secs())));
    }
    let wishes = check_wishes(asked.wishes, true)?;
    let new = linking::new_authorisation(caller.business, asked.institution_id, wishes, now.plus(lives))?;
    let made = api.app.store.create_link(&new, now).await?;
    let location = format!("/v1/authorisations/{}", made.id);
    let shown = Json(Authorisation::of(&api.app, made));
    Ok((StatusCode::CREATED, [(LOCATION, location)], shown).into_response())
}
