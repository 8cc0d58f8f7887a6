//! Tidegate keeps an up-to-date copy of the bank accounts that a business's customers have linked.
//!
//! Read the modules in this order: [`model`] (the words), [`ledger`] (what changed), [`sandbox`]
//! (connectors), [`egress`] (the one way out), [`vault`] (secrets), [`store`] (the database),
//! [`sync`] (the story of one sync), [`webhook`] (telling the business), [`api`] (the front door),
//! [`app`] (all of it, built and run), [`cli`].
//!
//! `main` → `cli` → `app` → {`api`, `sync`, `webhook`} → {`sandbox`, `store`} → {`vault`, `egress`,
//! `clock`, `telemetry`, `ledger`} → `model`. A test in `tests/it/walls.rs` holds these arrows.

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crew;
pub mod egress;
pub mod ledger;
pub mod model;
pub mod nudge;
pub mod sandbox;
pub mod store;
pub mod sync;
pub mod telemetry;
pub mod vault;
pub mod webhook;
