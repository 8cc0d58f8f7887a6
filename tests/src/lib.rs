//! What the integration tests, the demo and the harnesses stand on. None of it is part of the
//! service, and none of it may call the service's own code: it is what the service is judged by.
//!
//! Read the modules in this order: [`bank`] (a bank with a real ledger, an HTTP interface and
//! faults on request), [`sink`] (a webhook receiver that verifies every signature with the
//! `standardwebhooks` crate), [`http`] (a client for the service's JSON API), [`postgres`] (a
//! throw-away PostgreSQL), [`wire`] (a listener whose connections can be cut, bodies that drip).

pub mod bank;
pub mod http;
pub mod postgres;
pub mod sink;
mod waiting;
pub mod wire;

pub use waiting::TimedOut;
