//! The load harness, `cargo load`: how much one machine does, at what cost, and whether it is fair.
//!
//! Read in this order: `books` (what the bank has), `bank` (how it answers), `machine` (processes and what they cost),
//! `service` (the service as a process of its own), `floor` (what a sync costs at least), then a module for each
//! measurement: [`sync`], [`in_flight`], [`schedule`], [`on_demand`], [`fairness`], [`day`]. Each gives a report whose keys are the JSON line's, and fails if
//! anything was not as it should be, however fast it was.

pub mod bank;
pub mod bank_process;
pub mod books;
pub mod day;
pub mod fairness;
pub mod floor;
pub mod in_flight;
pub mod machine;
pub mod on_demand;
pub mod scale;
pub mod schedule;
pub mod service;
pub mod sync;

use std::path::PathBuf;
use std::time::Duration;

/// How long any one fact may take to become true: a hundred thousand accounts are read the first time within it.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// The harness itself, which runs the load bank and the floor.
fn program() -> anyhow::Result<PathBuf> {
    Ok(crate::world::built()?.join("load"))
}
