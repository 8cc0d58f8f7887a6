//! What happens to every request, whatever it asks: an id, a line in the log, a limit of time, safe
//! headers, and no panic that leaves the process.

use super::problem::{Code, Problem};
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::any::Any;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// Names a request in logs; the caller's own is kept.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of a caller's own request id: two UUIDs and a separator.
const REQUEST_ID_CHARS_MAX: usize = 128;
/// The longest wait of a `/sync` call (60 s) and time to spare.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(75);

/// Gives the request an id, logs method, path, status and time (never the query: it may hold a
/// customer's reference), and sets the headers that every answer has.
pub async fn observe(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let (method, path) = (request.method().clone(), shown(request.uri().path()));
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let began = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, ms) = (response.status().as_u16(), began.elapsed().as_millis());
    span.in_scope(|| tracing::info!(%method, path, status, ms, "answered"));
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The path as it is logged: a link's token is a secret.
fn shown(path: &str) -> String {
    match path.strip_prefix("/link/").map(|rest| rest.split_once('/')) {
        Some(Some((_, rest))) => format!("/link/…/{rest}"),
        Some(None) => "/link/…".to_owned(),
        None => path.to_owned(),
    }
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let theirs = headers.get(REQUEST_ID).filter(|id| {
        (1..=REQUEST_ID_CHARS_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    let ours = || {
        HeaderValue::from_str(&uuid::Uuid::now_v7().to_string()).unwrap_or(HeaderValue::from_static("none"))
    };
    theirs.cloned().unwrap_or_else(ours)
}

/// Gives up on a request that takes too long on our side.
pub async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Problem::new(Code::TimedOut, "Look whether it was done before you try again.").into_response()
        }
    }
}

/// What a panic is answered with; its text goes to the log only.
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned());
    Problem::internal(&format_args!("panic: {text}")).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use std::future::IntoFuture;

    #[test]
    fn a_request_id_is_kept_if_it_is_safe_to_log_and_made_otherwise() {
        let with = |id: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
            request_id(&headers)
        };
        assert_eq!(with(b"abc-1"), "abc-1");
        assert_ne!(with(b"a b"), "a b");
        assert_eq!(with(&[b'a'; 129]).len(), 36);
        assert_eq!(request_id(&HeaderMap::new()).len(), 36);
    }

    #[test]
    fn the_token_of_a_link_is_not_logged() {
        assert_eq!(shown("/link/s3cr3t"), "/link/…");
        assert_eq!(shown("/link/s3cr3t/go"), "/link/…/go");
        assert_eq!(shown("/v1/accounts"), "/v1/accounts");
    }

    #[tokio::test]
    async fn a_panic_is_answered_with_a_problem_and_the_next_request_is_served() {
        use axum::routing::get;
        let broken = async || -> &'static str { panic!("hunter2") };
        let router = axum::Router::new()
            .route("/broken", get(broken))
            .route("/fine", get(async || "fine"))
            .layer(tower_http::catch_panic::CatchPanicLayer::custom(panicked))
            .layer(axum::middleware::from_fn(observe));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("{base}/broken")).send().await.unwrap();
        assert_eq!(answer.status(), 500);
        assert!(answer.headers().contains_key(REQUEST_ID));
        let text = answer.text().await.unwrap();
        assert!(text.contains("\"internal\"") && !text.contains("hunter2"), "{text}");
        assert_eq!(client.get(format!("{base}/fine")).send().await.unwrap().status(), 200);
    }
}
