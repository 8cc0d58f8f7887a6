//! Pieces of the OpenAPI document that more than one route uses.

use super::events;
use super::problem::{Code, ProblemSchema};
use crate::model::{self, Scope};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::server::ServerBuilder;
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder};
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

/// Closed lists of words as types of the document.
macro_rules! words {
    ($($name:ident, $says:literal, $words:expr;)*) => {$(
        #[doc = $says]
        pub enum $name {}
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let mut words = $words;
                words.description = Some($says.to_owned());
                RefOr::T(Schema::Object(words))
            }
        }
        impl ToSchema for $name {}
    )*};
}

words! {
    ConnectionState, "Is a connection synced?", serialised(&[
        model::ConnectionState::Linking,
        model::ConnectionState::Active,
        model::ConnectionState::Paused,
        model::ConnectionState::ReauthorisationRequired,
        model::ConnectionState::Closing,
        model::ConnectionState::Deleted,
    ]);
    AuthorisationState, "Whose turn it is: `choosing` and `prompted` are the customer's, `asking` is ours; `ready` and `failed` are over.",
        serialised(&[
            model::AuthorisationState::Choosing,
            model::AuthorisationState::Asking,
            model::AuthorisationState::Prompted,
            model::AuthorisationState::Ready,
            model::AuthorisationState::Failed,
        ]);
    Input, "How a field is typed: shown, not shown, or digits that are used once.",
        serialised(&[model::Input::Text, model::Input::Password, model::Input::Code]);
    ConsentState, "May the bank be asked?", words(&["in_force", "ended"]);
    ConsentEnd, "Why a consent ended.", words(&["replaced", "expired", "ended_by_bank", "deleted"]);
    AccountState, "Is an account read?", words(&["active", "closed", "excluded"]);
    TransactionStatus, "Did the bank book it?", words(&["pending", "booked"]);
    IdStability, "What the bank promises about an id.", words(&["immutable", "provisional", "positional", "none"]);
    BalanceKind, "What a balance means.", words(&["booked", "available", "opening", "closing", "expected"]);
    ChangeKind, "What happened to a transaction.", words(&["added", "modified", "removed"]);
    ChangeReason, "Why a change was made.", serialised(&[
        model::ChangeReason::Listed,
        model::ChangeReason::Booked,
        model::ChangeReason::Amended,
        model::ChangeReason::RemovedByBank,
        model::ChangeReason::ProvedAbsent,
        model::ChangeReason::AbsentTwice,
        model::ChangeReason::NeverBooked,
        model::ChangeReason::Expired,
    ]);
    HealthStatus, "How does a bank fare?", serialised(&[
        model::HealthStatus::Healthy,
        model::HealthStatus::Degraded,
        model::HealthStatus::Down,
        model::HealthStatus::Unknown,
    ]);
    Fault, "Whose fault is it?", serialised(&[model::Fault::Bank, model::Fault::Operator]);
    SyncStatus, "Is a sync over?", words(&["running", "finished"]);
    SyncCode, "What a sync came to.", serialised(&[
        model::SyncCode::SyncSuccessful,
        model::SyncCode::ReauthorisationRequired,
        model::SyncCode::IncompleteStatementError,
        model::SyncCode::SyncError,
    ]);
    Proof, "Did the bank's own balance agree with the changes?", words(&["proved", "unproved", "contradicted"]);
    EventType, "What events tell: see Webhooks.", words(&model::EventType::ALL.map(model::EventType::name));
    EndpointState, "Is an endpoint told?", words(&["active", "disabled"]);
    DeliveryState, "Where a delivery stands.", words(&["pending", "delivered", "exhausted", "cancelled"]);
    ProblemCode, "What programs tell problems apart by.", words(&Code::ALL.map(Code::name));
}

/// Which accounts of a connection are read: `all`, or these ids.
pub enum AccountsKept {}

impl PartialSchema for AccountsKept {
    fn schema() -> RefOr<Schema> {
        let ids = ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String)).build();
        let says = "`all`, or the ids of those that are read.";
        let either = OneOfBuilder::new().description(Some(says)).item(words(&["all"])).item(ids).build();
        RefOr::T(Schema::OneOf(either))
    }
}
impl ToSchema for AccountsKept {}

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
    document.security = Some(vec![SecurityRequirement::new(SCHEME, Vec::<String>::new())]);
    for operation in operations(document) {
        operation.security.get_or_insert_default(); // open to everybody
        operation.responses.responses.insert("default".to_owned(), RefOr::T(problem("Any other problem.")));
    }
}

/// Says in the document which scope the routes of a group need, what the gate may answer, and where an
/// `Idempotency-Key` is taken.
pub fn guarded(document: &mut OpenApi, scope: Scope) {
    for operation in operations(document) {
        operation.security = Some(vec![SecurityRequirement::new(SCHEME, [scope.name()])]);
        for code in [Code::Unauthenticated, Code::MissingScope, Code::TooManyRequests] {
            may_answer(operation, code);
        }
    }
    for (path, item) in &mut document.paths.paths {
        if path.contains('{') {
            methods(item).for_each(|operation| may_answer(operation, Code::UnknownId));
        }
        if let (Scope::Connections | Scope::Webhooks, Some(post)) = (scope, &mut item.post) {
            let key = ParameterBuilder::new()
                .name("Idempotency-Key")
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255))))
                .description(Some(IDEMPOTENCY_KEY));
            post.parameters.get_or_insert_default().push(key.build().into());
        }
    }
}

/// What a caller does with the header.
const IDEMPOTENCY_KEY: &str = "Name the request, e.g. by a UUID, and send it again as it is when no answer came: for at \
    least 24 hours the same key with the same method, path and body does it once and gives the same answer, with \
    `Idempotent-Replayed: true`. Kept are answers that did something (2xx). While the first one is being answered: 409 \
    `request-in-flight`. With another request: 422 `idempotency-key-reused`.";

fn may_answer(operation: &mut Operation, code: Code) {
    let status = code.status().as_str().to_owned();
    operation.responses.responses.entry(status).or_insert_with(|| RefOr::T(problem(code.title())));
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
    document.paths.paths.values_mut().flat_map(methods)
}

fn methods(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

/// The document as it is given out: for this server, with the webhooks, and with a name for whatever has fields.
pub fn whole(mut document: OpenApi, server: &str) -> Value {
    document.servers =
        Some(vec![ServerBuilder::new().url(server).description(Some("This installation.")).build()]);
    let mut whole = members(serde_json::to_value(document).unwrap_or_default());
    let mut components = members(whole.remove("components").unwrap_or_default());
    let (webhooks, payloads) = events::described();
    let mut named = members(components.remove("schemas").unwrap_or_default());
    named.extend(payloads);
    let known = named.clone();
    for schema in named.values_mut() {
        children(schema).for_each(|child| refer(child, &known));
    }
    for name in known.keys() {
        let lifted = named.get_mut(name).map(|schema| lift(name, schema));
        named.extend(lifted.unwrap_or_default());
    }
    components.insert("schemas".to_owned(), named.into());
    whole.insert("components".to_owned(), components.into());
    whole.insert("webhooks".to_owned(), webhooks);
    whole.into()
}

fn members(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// What is written out although it has a name is referred to by it.
fn refer(schema: &mut Value, known: &Map<String, Value>) {
    let has_fields = schema.get("properties").is_some() || schema.get("allOf").is_some();
    match known.iter().find(|(_, named)| has_fields && *named == schema) {
        Some((name, _)) => *schema = reference(name),
        None => children(schema).for_each(|child| refer(child, known)),
    }
}

/// Of one of several kinds, each becomes a type of its own, told apart by `kind`.
fn lift(name: &str, schema: &mut Value) -> Map<String, Value> {
    let mut lifted = Map::new();
    let mut mapping = Map::new();
    let choices = schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten();
    for choice in choices {
        let Some(kind) = choice.pointer("/properties/kind/enum/0").and_then(Value::as_str) else { continue };
        let own = format!("{name}{}", camel(kind));
        mapping.insert(kind.to_owned(), place(&own).into());
        lifted.insert(own.clone(), std::mem::replace(choice, reference(&own)));
    }
    if let (false, Some(schema)) = (mapping.is_empty(), schema.as_object_mut()) {
        let told_apart = json!({ "propertyName": "kind", "mapping": mapping });
        schema.insert("discriminator".to_owned(), told_apart);
    }
    lifted
}

/// The schema of that name, from elsewhere in the document.
pub fn reference(name: &str) -> Value {
    json!({ "$ref": place(name) })
}

fn place(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

fn children(value: &mut Value) -> Box<dyn Iterator<Item = &mut Value> + '_> {
    match value {
        Value::Object(members) => Box::new(members.values_mut()),
        Value::Array(items) => Box::new(items.iter_mut()),
        _ => Box::new(std::iter::empty()),
    }
}

/// `snake_case` or `dotted.words` as a type is called.
pub fn camel(words: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    words.split(['_', '.']).map(capital).collect()
}
