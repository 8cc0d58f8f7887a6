//! Newline-delimited JSON: an object a line, written a piece at a time.

use crate::store::StoreError;
use axum::body::Bytes;
use serde::Serialize;

/// Its media type.
pub const NDJSON: &str = "application/x-ndjson";
/// Rows read and sent at once: some hundred kilobytes with long narrations.
pub const ROWS: u32 = 200;

/// The end of an export.
#[derive(Serialize, utoipa::ToSchema)]
pub struct End {
    /// How many lines came before.
    pub lines: u64,
}

/// Some lines as bytes.
pub fn piece<T: Serialize>(lines: &[T]) -> Result<Bytes, StoreError> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).map_err(|_| StoreError::Corrupt("export"))?;
        text.push(b'\n');
    }
    Ok(text.into())
}
