//! The API through its own door: HTTP on port 0, a real SQLite file, and a stand-in for the worker
//! that does what a run leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod access;
mod connections;
mod consents;
mod export;
mod history;
mod idempotency;
mod link;
mod refusals;
mod sync;
mod webhooks;
mod world;
