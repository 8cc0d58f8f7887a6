//! The integration tests: one binary, a room each.
// Helpers fail as loudly as the tests that call them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod bank_misbehaves;
mod isolation;
mod linked;
mod operations;
mod story;
mod sync;
mod walls;
