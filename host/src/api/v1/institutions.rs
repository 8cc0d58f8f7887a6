//! `/v1/institutions`: which banks can be linked.

use crate::api::Api;
use crate::api::problem::{Answer, Problem};
use crate::api::schema::All;
use crate::app::Bank;
use crate::model::ValueKind;
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

/// A bank.
#[derive(Debug, Serialize, ToSchema)]
pub struct Institution {
    /// What a connection names it by.
    #[schema(example = "demo-bank")]
    id: String,
    /// What people call it.
    name: String,
    /// ISO 3166 letters.
    #[schema(example = "GB")]
    country: String,
    /// The connector that speaks to it.
    #[schema(example = "open-banking-uk")]
    connector: String,
    /// Connections can be made and synced.
    available: bool,
    /// Why not, and what the operator must do.
    reason: Option<String>,
    /// Minutes between two syncs of a connection; null where a cron expression says when.
    interval_minutes: Option<u32>,
    /// A cron expression (seconds first, in the bank's time zone) that opens a window of syncs.
    cron: Option<String>,
    /// Seconds between two readings of an account at least.
    min_interval_s: u32,
    /// What a connection must be given.
    credentials: Vec<CredentialNeeded>,
}

/// A credential that a connection is given.
#[derive(Debug, Serialize, ToSchema)]
pub struct CredentialNeeded {
    /// Key of `credentials`.
    name: String,
    /// A connection can be made without it.
    optional: bool,
}

impl Institution {
    fn of(bank: &Bank) -> Self {
        let profile = &bank.institution;
        let reason = bank.unavailable();
        let values = bank.manifest().into_iter().flat_map(|manifest| &manifest.values);
        Self {
            id: profile.id.clone(),
            name: profile.name.clone(),
            country: profile.country.clone(),
            connector: profile.connector.clone(),
            available: reason.is_none(),
            reason,
            interval_minutes: profile.schedule.cron.is_none().then_some(profile.schedule.interval_minutes),
            cron: profile.schedule.cron.clone(),
            min_interval_s: profile.limits.min_interval_s,
            credentials: values
                .filter(|value| value.kind == ValueKind::Credential)
                .map(|value| CredentialNeeded { name: value.name.clone(), optional: value.optional })
                .collect(),
        }
    }
}

/// List the banks
///
/// All banks of this installation, by id.
#[utoipa::path(get, path = "/v1/institutions", operation_id = "list_institutions", tag = "institutions",
    responses((status = 200, description = "The banks.", body = All<Institution>)))]
pub async fn list(State(api): State<Api>) -> Json<All<Institution>> {
    Json(All { items: api.app.institutions.values().map(|bank| Institution::of(bank)).collect() })
}

/// Show a bank
#[utoipa::path(get, path = "/v1/institutions/{institution_id}", operation_id = "show_institution", tag = "institutions",
    params(("institution_id" = String, Path, description = "The bank's id.")),
    responses((status = 200, description = "The bank.", body = Institution)))]
pub async fn show(State(api): State<Api>, Path(id): Path<String>) -> Answer<Json<Institution>> {
    let bank = api
        .app
        .institutions
        .get(&id)
        .ok_or_else(|| Problem::unknown("institution", "GET /v1/institutions"))?;
    Ok(Json(Institution::of(bank)))
}
