//! `/healthz` and `/readyz`: for whoever starts and watches the process.

use super::Api;
use super::problem::{Answer, Code, Problem};
use axum::Json;
use axum::extract::State;

/// The process and its state.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Health {
    /// Always `ok`: otherwise the answer is a problem.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Does the process answer?
#[utoipa::path(get, path = "/healthz", operation_id = "healthz", tag = "service",
    responses((status = 200, description = "It does.", body = Health)))]
pub async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Can it work: is the database reachable and migrated?
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "service",
    responses(
        (status = 200, description = "It can.", body = Health),
        (status = 503, description = "The database cannot be used: send no requests here.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json")))]
pub async fn readyz(State(api): State<Api>) -> Answer<Json<Health>> {
    api.app.store.ready().await.map_err(|error| {
        tracing::warn!(%error, "not ready");
        Problem::new(Code::NotReady, "The database cannot be used; the log has the reason.")
    })?;
    Ok(Json(Health { status: "ok" }))
}
