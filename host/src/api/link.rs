//! `/link`: what a customer's browser sees of us, and `/v1/callback`, where banks send it back to.
//!
//! Pages are made here, whole, without scripts. An authorisation is bound to the first browser that does
//! something with its link: `browser` knows it again by a cookie, so that nobody can hand a customer's way
//! back to another person. A wrong token costs one look-up and is not counted: it has 256 random bits, so
//! there is nothing to guess and nobody to slow down. Must not know: connectors, SQL.

mod act;
mod again;
pub mod browser;
pub mod callback;
mod consent;
mod country;
mod customer;
mod form;
pub mod page;
mod pick;
mod show;
mod view;

use super::Api;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};

/// Everything a browser may ask for.
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/link/{token}", get(show::show))
        .route("/link/{token}/agree", post(act::agree))
        .route("/link/{token}/decline", post(act::decline))
        .route("/link/{token}/answer", post(act::answer))
        .route("/link/{token}/again", post(again::again))
        .route("/link/{token}/go", get(callback::go))
        .route("/v1/callback", get(callback::come_back))
        .layer(DefaultBodyLimit::max(form::FORM_BYTES_MAX))
        .route_layer(from_fn(secured))
}

/// What every answer to a browser carries; a page's own policy names its style.
async fn secured(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if !headers.contains_key(CONTENT_SECURITY_POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(view::POLICY));
    }
    response
}
