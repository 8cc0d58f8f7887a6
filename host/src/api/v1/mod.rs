//! `/v1`: the path of a file is the path of its URL.

pub mod accounts;
pub mod connections;
pub mod institutions;
pub mod syncs;
pub mod webhook_endpoints;

/// Rows of a page when the caller does not say.
const LIMIT_DEFAULT: u32 = 100;
/// Rows of a page at most: a page is read, sealed columns opened, and sent at once.
const LIMIT_MAX: u32 = 500;

/// The caller's `limit`, within bounds.
fn limit(asked: Option<u32>) -> u32 {
    asked.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX)
}
