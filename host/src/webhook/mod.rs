//! Webhooks after Standard Webhooks 1.0.0: sign, send, retry.
//!
//! A delivery is a row that was written in the transaction of what it tells; [`run`] finds those
//! that are due, sends them through `egress` and records what happened. At least once: a receiver
//! recognises a repetition by its `webhook-id`. Must not know: banks, connectors, how a sync works.

mod deliver;
pub mod payload;
mod permits;
pub mod schedule;
pub mod sign;
mod worker;

pub use worker::run;
