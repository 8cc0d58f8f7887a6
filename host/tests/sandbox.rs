//! The sandbox through its public door, with a guest that misbehaves on request. Each guard is also
//! shown to matter: with the single limit lifted, the same guest does the harm.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "sandbox/answers.rs"]
mod answers;
#[path = "sandbox/cache.rs"]
mod cache;
#[path = "sandbox/guards.rs"]
mod guards;
#[path = "sandbox/guest.rs"]
mod guest;
#[path = "sandbox/loading.rs"]
mod loading;
