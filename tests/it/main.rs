//! The integration tests: one binary, a room each.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

mod bank_misbehaves;
mod credentials;
mod hostile;
mod isolation;
mod leaving;
mod link_page;
mod linked;
mod operations;
mod relisted;
mod served;
mod story;
mod sync;
mod walls;
