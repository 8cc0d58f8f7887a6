//! The words of the domain, as types: ids, money, time, accounts, transactions, syncs, events, and
//! the requests and replies a connector speaks in.
//!
//! Must not know: wasmtime, sqlx, axum, HTTP clients, the clock. No I/O; time comes as an argument.

mod account;
mod authorisation;
mod breaker;
mod connection;
mod consent;
mod event;
mod exchange;
mod freshness;
mod health;
mod hex;
mod id;
mod institution;
mod lane;
mod manifest;
mod money;
mod process;
mod retention;
mod sync;
mod theme;
mod time;
mod transaction;

pub use account::*;
pub use authorisation::*;
pub use breaker::*;
pub use connection::*;
pub use consent::*;
pub use event::*;
pub use exchange::*;
pub use freshness::*;
pub use health::*;
pub use hex::*;
pub use id::*;
pub use institution::*;
pub use lane::*;
pub use manifest::*;
pub use money::*;
pub use process::*;
pub use retention::*;
pub use sync::*;
pub use theme::*;
pub use time::*;
pub use transaction::*;
