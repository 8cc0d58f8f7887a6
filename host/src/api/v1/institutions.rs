//! `/v1/institutions`: which banks can be linked.

use crate::api::Api;
use crate::api::problem::{Answer, Problem};
use crate::api::schema::{self, All};
use crate::api::v1::authorisations::FormField;
use crate::app::Bank;
use crate::model::{
    self, Age, CUSTOMER_IP, Fault, HealthStatus, Manifest, Timestamp, ValueDeclaration, ValueKind,
};
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use std::sync::Arc;
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
    /// What can be handed in as `credentials`. Those that are not optional suffice, unless the bank wants the customer
    /// at each login (`customer-needed`).
    credentials: Vec<CredentialNeeded>,
    /// What customers who are asked may have to type, as a form's fields: on your pages, or on ours.
    asked_for: Vec<FormField>,
    /// Which kinds of `next` they may meet: `redirect`, `form`. A `wait` may come at any bank.
    next_kinds: Vec<NextKind>,
    /// Does the bank want to be told of `customer_present`?
    customer_present: Presence,
}

/// A credential that a connection is given.
#[derive(Debug, Serialize, ToSchema)]
pub struct CredentialNeeded {
    /// Key of `credentials`.
    name: String,
    /// A connection can be made without it.
    optional: bool,
}

/// What a customer meets that the connector's manifest tells of.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NextKind {
    /// The bank's own page.
    Redirect,
    /// Fields to fill in.
    Form,
}

/// Is a bank told where its customer sits?
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It insists.
    Required,
    /// If it is known.
    Optional,
    /// Never.
    Unused,
}

impl Institution {
    fn of(bank: &Bank) -> Self {
        Self::said(&bank.institution, bank.manifest(), bank.unavailable())
    }

    fn said(profile: &model::Institution, manifest: Option<&Manifest>, reason: Option<String>) -> Self {
        let values = manifest.into_iter().flat_map(|manifest| &manifest.values);
        let asked_for: Vec<_> =
            manifest.into_iter().flat_map(Manifest::asked_for).map(FormField::of).collect();
        let redirect = manifest.is_some_and(Manifest::redirects).then_some(NextKind::Redirect);
        let form = (!asked_for.is_empty()).then_some(NextKind::Form);
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
            asked_for,
            next_kinds: redirect.into_iter().chain(form).collect(),
            customer_present: presence(manifest),
        }
    }
}

fn presence(manifest: Option<&Manifest>) -> Presence {
    let address = manifest.and_then(|manifest| manifest.value(CUSTOMER_IP));
    match address.filter(|value| value.kind == ValueKind::Customer) {
        Some(ValueDeclaration { optional: false, .. }) => Presence::Required,
        Some(_) => Presence::Optional,
        None => Presence::Unused,
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
    Ok(Json(Institution::of(&*find(&api, &id)?)))
}

/// How a bank fares, as its syncs show it. Counted at most every half minute.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstitutionHealth {
    /// Which bank.
    institution_id: String,
    /// `healthy`, `degraded` (some accounts are not read), `down` (none is), `unknown` (none is polled).
    #[schema(value_type = schema::HealthStatus)]
    status: HealthStatus,
    /// Whose fault that is: the `bank`'s, or the `operator`'s, who must act; null if nothing is wrong.
    #[schema(value_type = Option<schema::Fault>)]
    fault: Option<Fault>,
    /// What goes wrong most often, as syncs say it, such as `bank-unavailable`; `late`: syncs succeed, and too late.
    reason: Option<String>,
    /// Since when: when the first failing account was last read well, or, if none is read any more, the last one; since
    /// when it is left alone, if it is.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// It is left alone until then, since it failed for many or asked for that; in the past, if it is tried as soon as
    /// something is due; null otherwise.
    #[schema(value_type = Option<String>, format = DateTime)]
    held_until: Option<Timestamp>,
    /// When an account was last read well; null before the first.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_success_at: Option<Timestamp>,
    /// Accounts that are polled.
    accounts: i64,
    /// Those that fail, apart from those whose customer must act.
    failing_accounts: i64,
    /// Those whose data is stale.
    stale_accounts: i64,
    /// How old the data is; null before the first sync.
    age: Option<AgeOfData>,
}

/// So many hundredths of the accounts are not older, in seconds.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgeOfData {
    /// Half of them.
    p50_s: i64,
    /// All but one in twenty.
    p95_s: i64,
    /// All but one in a hundred.
    p99_s: i64,
}

/// Show how a bank fares
///
/// Computed from the syncs of all accounts of this installation: is it worth asking a customer to try again, and who
/// must act?
#[utoipa::path(get, path = "/v1/institutions/{institution_id}/health", operation_id = "show_institution_health", tag = "institutions",
    params(("institution_id" = String, Path, description = "The bank's id.")),
    responses((status = 200, description = "How it fares.", body = InstitutionHealth)))]
pub async fn health(State(api): State<Api>, Path(id): Path<String>) -> Answer<Json<InstitutionHealth>> {
    let bank = find(&api, &id)?;
    let all = api.app.freshness().await?;
    let counted = all.iter().find(|one| one.institution == id);
    let held = api.app.store.held_institutions(api.app.clock.now()).await?;
    let held = held.iter().find(|held| held.institution == id);
    let model::InstitutionHealth { status, fault, reason, since, held_until, failing } =
        model::InstitutionHealth::of(counted, bank.unavailable().is_some(), held);
    let age = |age: Age| AgeOfData { p50_s: age.p50_s, p95_s: age.p95_s, p99_s: age.p99_s };
    Ok(Json(InstitutionHealth {
        institution_id: id,
        status,
        fault,
        reason,
        since,
        held_until,
        last_success_at: counted.and_then(|counted| counted.last_success_at),
        accounts: counted.map_or(0, |counted| counted.accounts + counted.waiting),
        failing_accounts: failing,
        stale_accounts: counted.map_or(0, |counted| counted.stale),
        age: counted.and_then(|counted| counted.age).map(age),
    }))
}

fn find(api: &Api, id: &str) -> Answer<Arc<Bank>> {
    let bank = api.app.institutions.get(id).cloned();
    bank.ok_or_else(|| Problem::unknown("institution", "GET /v1/institutions"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// What is said of a bank on this connector.
    fn check(toml: &[u8], suffices: &[&str], asked_for: &[&str], next_kinds: Value, customer_present: &str) {
        let manifest = Manifest::parse(toml).unwrap();
        let profile = "name = \"Bank\"\ncountry = \"GB\"\nconnector = \"c\"\n[origins]\n";
        let profile = model::Institution::parse("bank", profile).unwrap();
        let said = Institution::said(&profile, Some(&manifest), None);
        let needed = said.credentials.iter().filter(|one| !one.optional).map(|one| one.name.as_str());
        assert_eq!(needed.collect::<Vec<_>>(), suffices, "{}", manifest.name);
        let asked: Vec<_> = said.asked_for.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(asked, asked_for, "{}", manifest.name);
        let said = serde_json::to_value(&said).unwrap();
        let expected = (Some(&next_kinds), Some(&json!(customer_present)));
        assert_eq!((said.get("next_kinds"), said.get("customer_present")), expected, "{}", manifest.name);
    }

    #[test]
    fn a_bank_says_what_its_connector_declares() {
        let (redirect, form) = (json!(["redirect"]), json!(["form"]));
        let toml = include_bytes!("../../../../connectors/open-banking-uk/connector.toml");
        check(toml, &["refresh-token"], &[], redirect.clone(), "optional");
        let toml = include_bytes!("../../../../connectors/signed-psd2/connector.toml");
        check(toml, &["consent-id"], &[], redirect, "required");
        let toml = include_bytes!("../../../../connectors/html-portal/connector.toml");
        check(toml, &["username", "password"], &["username", "password"], form.clone(), "unused");
        let toml = include_bytes!("../../../../connectors/segment-dialogue/connector.toml");
        check(toml, &["user", "pin"], &["user", "pin", "code"], form.clone(), "unused");
        let toml = include_bytes!("../../../../connectors/camt053/connector.toml");
        check(toml, &["username", "password"], &["username", "password"], form, "unused");
        let toml = include_bytes!("../../../../tests/guests/asking/connector.toml");
        let all = ["username", "password", "code"];
        check(toml, &["username", "password"], &all, json!(["redirect", "form"]), "unused");
    }
}
