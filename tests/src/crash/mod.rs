//! The crash matrix, `cargo crash`: real processes under traffic, of which something breaks in each round; afterwards
//! nothing may be lost, doubled, or told to the wrong.
//!
//! Read in this order: `scene` (who takes part), `service`, `database`, `disk`, `relay` (what can break), `fault` (how it
//! breaks, and when), `traffic` (what goes on meanwhile), `settle` (what is due gets done), `check`, `replica`, `evidence`, `secrets`
//! (what is looked at), `findings`, [`run`]. `docs/crash.md` says it in prose.

mod check;
mod database;
mod disk;
mod evidence;
mod fault;
mod findings;
pub mod relay;
mod replica;
pub mod run;
mod scene;
mod secrets;
mod service;
mod settle;
mod traffic;

use std::path::PathBuf;

/// The harness itself, which runs the relays.
fn program() -> anyhow::Result<PathBuf> {
    Ok(crate::world::built()?.join("crash"))
}
