//! Pieces of the OpenAPI document that more than one route uses.

use super::problem::{Code, ProblemSchema};
use crate::model::{ChangeReason, ConnectionState, EventType, Scope, SyncCode};
use serde::Serialize;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

/// Name of the security scheme.
const SCHEME: &str = "api_key";

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// There are more.
    pub has_more: bool,
    /// Pass it as `cursor` to go on; null at the end of the list.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page whose cursor is made of its last row.
    pub fn of<R>(
        page: crate::store::PageOf<R>,
        cursor: impl Fn(&R) -> String,
        item: impl Fn(R) -> T,
    ) -> Self {
        let next_cursor = page.items.last().filter(|_| page.has_more).map(cursor);
        Self { has_more: page.has_more, next_cursor, items: page.items.into_iter().map(item).collect() }
    }
}

/// All of a short list.
#[derive(Debug, Serialize, ToSchema)]
pub struct All<T> {
    /// In the list's order.
    pub items: Vec<T>,
}

fn words(names: &[&str]) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names.iter().copied())).build()
}

fn serialised<T: Serialize>(values: &[T]) -> Object {
    let values = values.iter().filter_map(|value| serde_json::to_value(value).ok());
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values)).build()
}

/// Schema of a connection's state.
pub fn connection_state() -> Object {
    serialised(&[
        ConnectionState::Linking,
        ConnectionState::Active,
        ConnectionState::Paused,
        ConnectionState::ReauthorisationRequired,
        ConnectionState::Closing,
        ConnectionState::Deleted,
    ])
}
/// Schema of a consent's state.
pub fn consent_state() -> Object {
    words(&["in_force", "ended"])
}
/// Schema of which accounts of a connection are read.
pub fn accounts_kept() -> Schema {
    let ids = ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String)).build();
    Schema::OneOf(OneOfBuilder::new().item(words(&["all"])).item(ids).build())
}
/// Schema of an account's state.
pub fn account_state() -> Object {
    words(&["active", "closed", "excluded"])
}
/// Schema of a transaction's status.
pub fn transaction_status() -> Object {
    words(&["pending", "booked"])
}
/// Schema of what the bank promises about an id.
pub fn id_stability() -> Object {
    words(&["immutable", "provisional", "positional", "none"])
}
/// Schema of the kind of a balance.
pub fn balance_kind() -> Object {
    words(&["booked", "available", "opening", "closing", "expected"])
}
/// Schema of the kind of a change.
pub fn change_kind() -> Object {
    words(&["added", "modified", "removed"])
}
/// Schema of why a change was made.
pub fn change_reason() -> Object {
    serialised(&[
        ChangeReason::Listed,
        ChangeReason::Booked,
        ChangeReason::Amended,
        ChangeReason::RemovedByBank,
        ChangeReason::ProvedAbsent,
        ChangeReason::AbsentTwice,
        ChangeReason::NeverBooked,
        ChangeReason::Expired,
    ])
}
/// Schema of a sync's status.
pub fn sync_status() -> Object {
    words(&["running", "finished"])
}
/// Schema of a sync's code.
pub fn sync_code() -> Object {
    serialised(&[
        SyncCode::SyncSuccessful,
        SyncCode::ReauthorisationRequired,
        SyncCode::IncompleteStatementError,
        SyncCode::SyncError,
    ])
}
/// Schema of a balance proof.
pub fn proof() -> Object {
    words(&["proved", "unproved", "contradicted"])
}
/// Schema of an event type.
pub fn event_type() -> Object {
    words(&EventType::ALL.map(EventType::name))
}
/// Schema of a list of event types.
pub fn event_types() -> Array {
    ArrayBuilder::new().items(event_type()).build()
}
/// Schema of an endpoint's state.
pub fn endpoint_state() -> Object {
    words(&["active", "disabled"])
}
/// Schema of a delivery's state.
pub fn delivery_state() -> Object {
    words(&["pending", "delivered", "exhausted", "cancelled"])
}

/// Says in the document what holds for every route: how to authenticate, and what an error looks like.
pub fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        SCHEME,
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("tg_<id>_<secret>")
                .description(Some("An API key of the business, made by `tidegate api-key create`."))
                .build(),
        ),
    );
    components.schemas.insert("Problem".to_owned(), ProblemSchema::schema());
    for operation in operations(document) {
        operation.responses.responses.insert("default".to_owned(), RefOr::T(problem("Any other problem.")));
    }
}

/// Says in the document which scope the routes of a group need, and what the gate may answer.
pub fn guarded(document: &mut OpenApi, scope: Scope) {
    for operation in operations(document) {
        operation.security = Some(vec![SecurityRequirement::new(SCHEME, [scope.name()])]);
        for code in [Code::Unauthenticated, Code::MissingScope, Code::TooManyRequests] {
            let status = code.status().as_str().to_owned();
            operation.responses.responses.entry(status).or_insert_with(|| RefOr::T(problem(code.title())));
        }
    }
}

fn problem(description: &str) -> Response {
    ResponseBuilder::new()
        .description(description)
        .content(
            "application/problem+json",
            ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build(),
        )
        .build()
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(|item| {
        [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete]
            .into_iter()
            .flatten()
    })
}
