//! Reading requests: bodies, queries and ids, with every refusal as a [`Problem`].
//!
//! Must not know: what the values mean. A refusal never repeats a value: bodies carry credentials.

use super::problem::{Answer, Code, Problem};
use crate::model::{
    AccountId, AuthorisationId, ConnectionId, ConsentId, DeliveryId, EndpointId, Secret, SyncId,
    TransactionId,
};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use std::str::FromStr;
use std::time::Duration;

/// How long a body may take to arrive: one megabyte over a slow line.
const BODY_TIME_MAX: Duration = Duration::from_secs(20);

/// A JSON body. Unknown fields are refused by the types themselves.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        let headers = request.headers().clone();
        let bytes = read(request, state).await?;
        parse(&headers, &bytes).map(Self)
    }
}

/// A JSON body that may be missing altogether.
pub struct MaybeBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeBody<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        let headers = request.headers().clone();
        let bytes = read(request, state).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parse(&headers, &bytes).map(Self) }
    }
}

/// The whole body, within the service's limits of size and time.
pub async fn read<S: Send + Sync>(request: Request, state: &S) -> Answer<Bytes> {
    match tokio::time::timeout(BODY_TIME_MAX, Bytes::from_request(request, state)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) => Err(unreadable(&rejection)),
        Err(_) => Err(Problem::new(
            Code::SlowRequest,
            format!("The body did not arrive within {} seconds. Send it again.", BODY_TIME_MAX.as_secs()),
        )),
    }
}

fn unreadable(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(Code::BodyTooLarge, "Send less: no request of this API needs so many bytes.");
    }
    Problem::new(Code::InvalidBody, "The body broke off. Send it again.")
}

fn parse<T: DeserializeOwned>(headers: &HeaderMap, bytes: &[u8]) -> Answer<T> {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "Send JSON with the header `Content-Type: application/json`.",
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| Problem::new(Code::InvalidBody, without_values(&error)))
}

/// serde repeats what it found ("invalid type: string \"hunter2\", expected …"): only what it
/// expected is passed on.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    let found = ["invalid type", "invalid value", "invalid length", "unknown variant"];
    let said = match text.rfind("expected ") {
        Some(at) if found.iter().any(|start| text.starts_with(start)) => {
            text.get(at..).unwrap_or("another value")
        }
        _ => text,
    };
    format!("Line {}, column {}: {said}. /docs shows the body of this request.", error.line(), error.column())
}

/// The query. Unknown fields are refused by the types themselves.
pub struct Ask<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Ask<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        Query::<T>::from_request_parts(parts, state).await.map(|Query(ask)| Self(ask)).map_err(|rejection| {
            let text = rejection.body_text();
            let said = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned();
            Problem::new(Code::InvalidQuery, format!("{said}. /docs shows what this request takes."))
        })
    }
}

/// An id that stands in a path.
pub trait PathId: FromStr {
    /// The path parameter's name.
    const PARAMETER: &'static str;
    /// What it names, for people.
    const WHAT: &'static str;
    /// The request that shows the valid ones.
    const LIST: &'static str;

    /// The business has none with this id.
    fn unknown() -> Problem {
        Problem::unknown(Self::WHAT, Self::LIST)
    }
}

macro_rules! path_ids {
    ($($id:ident = $parameter:literal, $what:literal, $list:literal;)*) => {$(
        impl PathId for $id {
            const PARAMETER: &'static str = $parameter;
            const WHAT: &'static str = $what;
            const LIST: &'static str = $list;
        }
    )*};
}

path_ids! {
    ConnectionId = "connection_id", "connection", "GET /v1/connections";
    AuthorisationId = "authorisation_id", "authorisation", "GET /v1/connections/{connection_id}";
    ConsentId = "consent_id", "consent", "GET /v1/consents";
    AccountId = "account_id", "account", "GET /v1/accounts";
    TransactionId = "transaction_id", "transaction", "GET /v1/accounts/{account_id}/transactions";
    SyncId = "sync_id", "sync", "GET /v1/accounts/{account_id}/syncs";
    EndpointId = "endpoint_id", "webhook endpoint", "GET /v1/webhook-endpoints";
    DeliveryId = "delivery_id", "delivery", "GET /v1/webhook-endpoints/{endpoint_id}/deliveries";
}

/// An id from the path. One of another kind, or no id at all, is as unknown as another business's.
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: PathId> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let parameters = RawPathParams::from_request_parts(parts, state).await.map_err(|_| T::unknown())?;
        parameters
            .iter()
            .find(|(name, _)| *name == T::PARAMETER)
            .and_then(|(_, text)| text.parse().ok())
            .map(Self)
            .ok_or_else(T::unknown)
    }
}

/// Text of a body that must not be shown again.
#[derive(Clone)]
pub struct SecretText(pub Secret);

impl<'de> serde::Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Secret::new(text)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Example {
        secret: String,
        #[serde(default)]
        number: u8,
        #[serde(default)]
        many: Vec<String>,
    }

    fn refused(body: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        parse::<Example>(&headers, body.as_bytes()).unwrap_err().json().to_string()
    }

    #[test]
    fn a_refused_body_names_line_and_column_and_never_a_value() {
        let said = refused("{\n  \"secret\": 1234567890123}");
        assert!(said.contains("Line 2, column") && said.contains("expected a string"), "{said}");
        assert!(!said.contains("1234567890123"), "{said}");
        assert!(!refused(r#"{"secret": "a", "number": "hunter2, expected b"}"#).contains("hunter2"));
        assert!(!refused(r#"{"secret": "a", "many": "hunter2"}"#).contains("hunter2"));
        assert!(refused(r#"{"secret": "a""#).contains("EOF"));
        assert!(refused(r#"{"secret": "a", "other": 1}"#).contains("unknown field `other`"));
        assert!(refused("{}").contains("missing field `secret`"));
    }

    #[test]
    fn a_body_that_is_not_declared_as_json_is_refused() {
        let refused = parse::<Example>(&HeaderMap::new(), b"{}").unwrap_err();
        assert_eq!(refused.code(), Code::UnsupportedMediaType);
    }
}
