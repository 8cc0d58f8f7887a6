//! `Idempotency-Key`: the same request sent twice is done once, and answered twice alike.
//!
//! A key belongs to a business and to one request (method, path, body) for at least 24 hours
//! (`retention.idempotency-keys-days`). Only answers that
//! did something (2xx) are kept: whatever failed may be tried again under the same key. The work goes
//! on when the caller hangs up, so that a lost answer is still kept. An answer that speaks of a connection
//! is forgotten with it. A connection with credentials is bound to the key in the transaction that makes it: a process
//! that dies before it has answered leaves one behind, and whoever asks again is told of it.

use super::gate::Caller;
use super::problem::{Answer, Code, Problem};
use super::v1::connections;
use super::{Api, extract};
use crate::model::ConnectionId;
use crate::store::Idempotent;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

/// The request header.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The key of the request that is being answered: what it makes is bound to it.
#[derive(Clone)]
pub struct Once(pub String);

/// Marks an answer that was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Characters of a key: a UUID has 36.
const KEY_CHARS_MAX: usize = 255;
/// Bytes of an answer that is kept: a connection or endpoint has a few kilobytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Answers a POST with an `Idempotency-Key` once. Stands behind the gate.
pub async fn once(State(api): State<Api>, caller: Caller, request: Request, next: Next) -> Answer<Response> {
    if request.method() != Method::POST {
        return Ok(next.run(request).await);
    }
    let Some(name) = request.headers().get(KEY) else {
        return Ok(next.run(request).await);
    };
    let name = name
        .to_str()
        .ok()
        .filter(|name| (1..=KEY_CHARS_MAX).contains(&name.len()))
        .ok_or_else(|| {
            Problem::invalid(format!(
                "Idempotency-Key must be 1 to {KEY_CHARS_MAX} visible ASCII characters, e.g. a UUID."
            ))
        })?
        .to_owned();

    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let bytes = extract::read(Request::from_parts(parts.clone(), body), &api).await?;
    let asked = [parts.method.as_str().as_bytes(), b"\n", path.as_bytes(), b"\n", &bytes].concat();
    let (kept, now) = (api.app.config.retention.idempotency_keys, api.app.clock.now());
    match api.app.store.idempotency_begin(caller.business, &name, &asked, kept, now).await? {
        Idempotent::New => {}
        Idempotent::Answered { status, body } => return Ok(replay(parts.uri.path(), status, body)),
        Idempotent::Made(connection) => {
            let answer = connections::made(&api, caller, connection).await;
            return keep(&api, caller, &name, Ok(answer.into_response())).await;
        }
        Idempotent::InFlight => {
            return Err(Problem::new(
                Code::RequestInFlight,
                "The first request with this Idempotency-Key is still being answered. Try again in a moment.",
            )
            .retry_after(std::time::Duration::from_secs(1)));
        }
        Idempotent::OtherRequest => {
            return Err(Problem::new(
                Code::IdempotencyKeyReused,
                "This Idempotency-Key came with another method, path or body in the last 24 hours. Use a new key.",
            ));
        }
    }

    let mut request = Request::from_parts(parts, Body::from(bytes));
    request.extensions_mut().insert(Once(name.clone()));
    let work = tokio::spawn(
        async move {
            let answer = tokio::spawn(next.run(request).in_current_span()).await;
            keep(&api, caller, &name, answer).await
        }
        .in_current_span(),
    );
    work.await.unwrap_or_else(|error| Err(Problem::internal(&error)))
}

/// Keeps a good answer; frees the key otherwise, also after a panic.
async fn keep(
    api: &Api,
    caller: Caller,
    name: &str,
    answer: Result<Response, tokio::task::JoinError>,
) -> Answer<Response> {
    let store = &api.app.store;
    let answer = match answer {
        Ok(answer) if answer.status().is_success() => answer,
        Ok(failed) => {
            store.idempotency_abandon(caller.business, name).await?;
            return Ok(failed);
        }
        Err(panicked) => {
            store.idempotency_abandon(caller.business, name).await?;
            return Err(Problem::internal(&panicked));
        }
    };
    let (parts, body) = answer.into_parts();
    let bytes = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|error| Problem::internal(&error))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| Problem::internal(&error))?;
    // The work is done: an answer that could not be kept is still an answer.
    let (status, of) = (parts.status.as_u16(), speaks_of(text));
    if let Err(error) = store.idempotency_finish(caller.business, name, status, text, of).await {
        tracing::error!(%error, "an answer could not be kept for its Idempotency-Key");
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

/// The connection that an answer is, or names.
fn speaks_of(body: &str) -> Option<ConnectionId> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    ["connection_id", "id"].iter().find_map(|name| body.get(name)?.as_str()?.parse().ok())
}

fn replay(path: &str, status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let created = (status == StatusCode::CREATED)
        .then(|| serde_json::from_str::<serde_json::Value>(&body).ok())
        .flatten()
        .and_then(|body| HeaderValue::from_str(&format!("{path}/{}", body.get("id")?.as_str()?)).ok());
    let is_json = !body.is_empty();
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    if is_json {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(created) = created {
        headers.insert(LOCATION, created);
    }
    response
}
