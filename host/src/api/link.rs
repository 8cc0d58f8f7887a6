//! `/link`: what a customer's browser sees of us, and `/v1/callback`, where banks send it back to.
//!
//! An authorisation is bound to the first browser that opens its link: `browser` knows it again by a cookie,
//! so that nobody can hand a customer's way back to another person. Must not know: connectors, SQL.

pub mod browser;
pub mod callback;
pub mod page;

use super::Api;
use axum::Router;
use axum::routing::get;

/// Everything a browser may ask for.
pub fn routes() -> Router<Api> {
    Router::new().route("/link/{token}/go", get(callback::go)).route("/v1/callback", get(callback::come_back))
}
