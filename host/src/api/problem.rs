//! What goes wrong, as callers read it: RFC 9457 `application/problem+json`.
//!
//! Every error of the API leaves through [`Problem`]. Must not know: routes. Never holds a secret
//! or a customer's text.

use crate::egress::EgressError;
use crate::store::StoreError;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::time::Duration;

/// Where the problems are explained: `/docs` has one heading per code.
const TYPE_BASE: &str = "/docs#";
/// A busy or moving database is usually back by then.
const DATABASE_RETRY: Duration = Duration::from_secs(2);

/// What went wrong, as programs tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The body is not the JSON that this route takes.
    InvalidBody,
    /// The query is not what this route takes.
    InvalidQuery,
    /// The cursor was not made by this list.
    BadCursor,
    /// No key, or one that does not work.
    Unauthenticated,
    /// The key may not do this.
    MissingScope,
    /// The business has nothing with this id.
    UnknownId,
    /// There is no such route.
    UnknownPath,
    /// There is, but not with this method.
    MethodNotAllowed,
    /// The body took too long.
    SlowRequest,
    /// The bank cannot be asked at the moment.
    InstitutionUnavailable,
    /// The customer must act first.
    ReauthorisationRequired,
    /// The bank refused the customer's credentials as often as is safe.
    CredentialsRefused,
    /// Nothing is asked of the customer now.
    NotAsked,
    /// Its business stopped syncs of the connection.
    ConnectionPaused,
    /// The bank no longer lists the account.
    AccountClosed,
    /// Its business switched the account off.
    AccountExcluded,
    /// As many endpoints as a business may have.
    TooManyEndpoints,
    /// The same request is being answered.
    RequestInFlight,
    /// The history was rebuilt since.
    CursorExpired,
    /// The customer has left.
    AccountErased,
    /// The body is too large.
    BodyTooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// Readable, but against a rule.
    InvalidValue,
    /// The key belongs to another request.
    IdempotencyKeyReused,
    /// The bank allows no reading yet.
    TooEarly,
    /// The API key asks too often.
    TooManyRequests,
    /// Our fault.
    Internal,
    /// The database is not there.
    NotReady,
    /// We took too long.
    TimedOut,
}

impl Code {
    /// All of them, in the order of their status.
    pub const ALL: [Self; 29] = [
        Self::InvalidBody,
        Self::InvalidQuery,
        Self::BadCursor,
        Self::Unauthenticated,
        Self::MissingScope,
        Self::UnknownId,
        Self::UnknownPath,
        Self::MethodNotAllowed,
        Self::SlowRequest,
        Self::InstitutionUnavailable,
        Self::ReauthorisationRequired,
        Self::CredentialsRefused,
        Self::NotAsked,
        Self::ConnectionPaused,
        Self::AccountClosed,
        Self::AccountExcluded,
        Self::TooManyEndpoints,
        Self::RequestInFlight,
        Self::CursorExpired,
        Self::AccountErased,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidValue,
        Self::IdempotencyKeyReused,
        Self::TooEarly,
        Self::TooManyRequests,
        Self::Internal,
        Self::NotReady,
        Self::TimedOut,
    ];

    fn facts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidBody => (S::BAD_REQUEST, "invalid-body", "The body could not be read"),
            Self::InvalidQuery => (S::BAD_REQUEST, "invalid-query", "The query could not be read"),
            Self::BadCursor => (S::BAD_REQUEST, "bad-cursor", "The cursor was not made by this list"),
            Self::Unauthenticated => (S::UNAUTHORIZED, "unauthenticated", "An API key is needed"),
            Self::MissingScope => (S::FORBIDDEN, "missing-scope", "The API key may not do this"),
            Self::UnknownId => (S::NOT_FOUND, "unknown-id", "There is nothing with this id"),
            Self::UnknownPath => (S::NOT_FOUND, "unknown-path", "There is no such address"),
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method-not-allowed", "This address does not take this method")
            }
            Self::SlowRequest => (S::REQUEST_TIMEOUT, "slow-request", "The body took too long to arrive"),
            Self::InstitutionUnavailable => {
                (S::CONFLICT, "institution-unavailable", "The institution cannot be asked at the moment")
            }
            Self::ReauthorisationRequired => (
                S::CONFLICT,
                "reauthorisation-required",
                "The customer must act before anything is asked of the bank",
            ),
            Self::CredentialsRefused => (
                S::CONFLICT,
                "credentials-refused",
                "The bank refused the customer's credentials as often as is safe",
            ),
            Self::NotAsked => (S::CONFLICT, "not-asked", "Nothing is asked of the customer now"),
            Self::ConnectionPaused => (S::CONFLICT, "connection-paused", "The connection is paused"),
            Self::AccountClosed => (S::CONFLICT, "account-closed", "The bank no longer lists the account"),
            Self::AccountExcluded => (S::CONFLICT, "account-excluded", "The account is switched off"),
            Self::TooManyEndpoints => {
                (S::CONFLICT, "too-many-endpoints", "There are too many webhook endpoints")
            }
            Self::RequestInFlight => (S::CONFLICT, "request-in-flight", "The same request is being answered"),
            Self::CursorExpired => (S::GONE, "cursor-expired", "The account's history was rebuilt since"),
            Self::AccountErased => (S::GONE, "account-erased", "The customer has left"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is not declared as JSON")
            }
            Self::InvalidValue => (S::UNPROCESSABLE_ENTITY, "invalid-value", "A value is against a rule"),
            Self::IdempotencyKeyReused => (
                S::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The idempotency key belongs to another request",
            ),
            Self::TooEarly => (S::TOO_MANY_REQUESTS, "too-early", "The bank allows no reading yet"),
            Self::TooManyRequests => {
                (S::TOO_MANY_REQUESTS, "too-many-requests", "The API key asks too often")
            }
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side"),
            Self::NotReady => (S::SERVICE_UNAVAILABLE, "not-ready", "The service is not ready"),
            Self::TimedOut => (S::SERVICE_UNAVAILABLE, "timed-out", "The request took too long on our side"),
        }
    }
    /// HTTP status.
    pub fn status(self) -> StatusCode {
        self.facts().0
    }
    /// In JSON: kebab case.
    pub fn name(self) -> &'static str {
        self.facts().1
    }
    /// One line for people, the same every time.
    pub fn title(self) -> &'static str {
        self.facts().2
    }
}

/// An error answer.
#[derive(Debug)]
pub struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    more: Map<String, Value>,
}

/// Shorthand.
pub type Answer<T> = Result<T, Problem>;

/// An error answer (RFC 9457).
#[derive(utoipa::ToSchema)]
#[schema(as = Problem)]
#[allow(dead_code)] // only its schema is used
pub struct ProblemSchema {
    /// Where this code is explained, relative to this API.
    #[schema(rename = "type", example = "/docs#unknown-id")]
    kind: String,
    /// One line, the same for every problem of this code.
    #[schema(example = "There is nothing with this id")]
    title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What happened this time, and what to do.
    detail: String,
    /// What programs tell problems apart by.
    #[schema(value_type = super::schema::ProblemCode, example = "unknown-id")]
    code: String,
    /// With `too-early` only: when the bank allows the next reading.
    #[schema(format = DateTime)]
    next_allowed_at: Option<String>,
    /// With `too-early` and `reauthorisation-required` only: the account's last finished sync.
    last_sync: Option<super::v1::syncs::Sync>,
}

impl Problem {
    /// A problem; `detail` says what happened and what to do.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { code, detail: detail.into(), retry_after: None, more: Map::new() }))
    }
    /// The business has no such thing: one body for ids that are unknown, malformed, or another's.
    /// `what` is e.g. `account`, `list` the request that shows the valid ones.
    pub fn unknown(what: &'static str, list: &'static str) -> Self {
        Self::new(Code::UnknownId, format!("You have no {what} with this id. {list} shows yours."))
    }
    /// A value is against a rule.
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidValue, detail)
    }
    /// Our fault; the reason goes to the log, not to the caller.
    pub fn internal(reason: &dyn std::fmt::Display) -> Self {
        tracing::error!(%reason, "request failed");
        Self::new(
            Code::Internal,
            "Try again. If it stays, give the operator this answer's x-request-id: the log has the reason.",
        )
    }
    /// Not before then.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }
    /// An extension member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl serde::Serialize) -> Self {
        self.0.more.insert(name.to_owned(), serde_json::to_value(value).unwrap_or(Value::Null));
        self
    }
    /// What went wrong.
    pub fn code(&self) -> Code {
        self.0.code
    }
    /// The JSON.
    pub fn json(&self) -> Value {
        let code = self.0.code;
        let mut body = Map::new();
        body.insert("type".into(), format!("{TYPE_BASE}{}", code.name()).into());
        body.insert("title".into(), code.title().into());
        body.insert("status".into(), code.status().as_u16().into());
        body.insert("detail".into(), self.0.detail.as_ref().into());
        body.insert("code".into(), code.name().into());
        body.extend(self.0.more.clone());
        Value::Object(body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.0.code.status(), self.json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.0.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if self.0.code == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Rounded up, at least 1: a caller who waits so long is not early.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Erased => Self::unknown("connection", "GET /v1/connections"),
            StoreError::Database(_) | StoreError::Migration(_) => {
                tracing::error!(%error, "the database did not answer");
                Self::new(Code::NotReady, "The database did not answer. Try again in a moment.")
                    .retry_after(DATABASE_RETRY)
            }
            _ => Self::internal(&error),
        }
    }
}

/// A webhook address that would be refused when it is used.
impl From<EgressError> for Problem {
    fn from(error: EgressError) -> Self {
        Self::invalid(format!("url: {error}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_its_own_name_and_an_error_status() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| code.status().as_u16() >= 400));
        assert!(Code::ALL.is_sorted_by_key(|code| code.status().as_u16() / 100));
    }

    #[test]
    fn a_problem_carries_its_members_and_rounds_its_wait_up() {
        let problem = Problem::new(Code::TooEarly, "Wait.")
            .retry_after(Duration::from_millis(1_200))
            .with("next_allowed_at", "then");
        let json = problem.json();
        assert_eq!(json.get("type").unwrap(), "/docs#too-early");
        assert_eq!(json.get("status").unwrap(), 429);
        assert_eq!(json.get("next_allowed_at").unwrap(), "then");
        let response = problem.into_response();
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "2");
        assert_eq!(response.headers().get(CONTENT_TYPE).unwrap(), "application/problem+json");
    }

    #[test]
    fn a_fault_of_ours_tells_the_caller_nothing_of_its_reason() {
        let problem = Problem::from(StoreError::Database("password authentication failed".into()));
        assert!(!problem.json().to_string().contains("password"));
        assert_eq!(problem.code(), Code::NotReady);
    }
}
