//! Egress through its public door, against real servers on this machine. Each guard is also shown
//! to matter: with the limit lifted, the same exchange goes through.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "egress/bank.rs"]
mod bank;
#[path = "egress/replies.rs"]
mod replies;
#[path = "egress/requests.rs"]
mod requests;
#[path = "egress/tls.rs"]
mod tls;
#[path = "egress/ways.rs"]
mod ways;
#[path = "egress/webhooks.rs"]
mod webhooks;
