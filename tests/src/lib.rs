//! What the integration tests, the demo and the harnesses stand on. None of it is part of the
//! service. [`bank`], [`sink`] and [`http`] never call the service's own code: they are what it is
//! judged by.
//!
//! Read the modules in this order: [`bank`] (a bank with a real ledger, an HTTP interface and
//! faults on request), [`sink`] (a webhook receiver that verifies every signature with the
//! `standardwebhooks` crate), [`http`] (a client for the service's JSON API), [`browser`] (a customer's
//! browser), [`chromium`] (a real one), [`postgres`] (a throw-away PostgreSQL),
//! [`mock_bank`] (a bank that nobody here wrote), [`wire`] (a listener whose connections can be cut, bodies
//! that drip), [`world`] (all of it beside the service, as an operator runs it), [`compare`] (what is stored
//! against what the bank has), [`story`] (the main job, each step verified), [`linking`] (ways in and out),
//! [`doors`] (the same by every front door of the bank), [`trial`] (the ledger against random histories), [`fuzz`]
//! (the ledger and the cursors against a fuzzer's bytes), [`load`] (how much one machine does), [`crash`] (whether anything is lost when
//! processes, disks and clocks fail), on [`random`].

// Not the service: the bank and the sink have clocks of their own, and indexing JSON gives null.
#![allow(clippy::disallowed_methods, clippy::indexing_slicing)]

pub mod bank;
pub mod browser;
pub mod chromium;
pub mod compare;
pub mod crash;
pub mod database;
pub mod doors;
pub mod fuzz;
pub mod http;
pub mod linking;
pub mod load;
pub mod mock_bank;
pub mod postgres;
pub mod proxy;
pub mod random;
pub mod sink;
pub mod story;
pub mod trial;
mod waiting;
pub mod wire;
pub mod world;

pub use waiting::{LOOK_EVERY, PATIENCE, TimedOut, until};
