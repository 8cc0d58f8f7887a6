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
mod door_uk;
mod door_uk_running;
mod hostile;
mod isolation;
mod leaving;
mod linked;
mod operations;
mod prism;
mod relisted;
mod served;
mod specification;
mod story;
mod sync;
mod walls;
