//! `/v1`: the path of a file is the path of its URL.

pub mod accounts;
pub mod authorisations;
pub mod connections;
pub mod consents;
pub mod institutions;
pub mod links;
pub mod syncs;
pub mod webhook_endpoints;

use crate::api::cursor::Cursor;
use crate::api::problem::Answer;
use serde::Deserialize;
use utoipa::IntoParams;

/// Rows of a page when the caller does not say.
const LIMIT_DEFAULT: u32 = 100;
/// Rows of a page at most: a page is read, sealed columns opened, and sent at once.
const LIMIT_MAX: u32 = 500;

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows of the page: 1 to 500, 100 by default.
    limit: Option<u32>,
}

impl Paging {
    /// Where the page begins, and how many rows it has.
    fn read<C: Cursor>(&self) -> Answer<(Option<C>, u32)> {
        Ok((self.cursor.as_deref().map(C::decode).transpose()?, limit(self.limit)))
    }
}

/// The caller's `limit`, within bounds.
fn limit(asked: Option<u32>) -> u32 {
    asked.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX)
}
