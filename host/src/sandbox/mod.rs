//! Connectors: load, limit, step. The only module that knows wasmtime.
//!
//! Must not know: HTTP, the database, secrets, what a step is wanted for. Guest types stay inside;
//! what a guest says is checked and turned into domain types, or refused.

use crate::model::Manifest;

/// What is known of a component without running it, for `tidegate connector inspect`.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// SHA-256 of the component, hex.
    pub digest: String,
    /// What it exports.
    pub exports: Vec<String>,
    /// What it imports: must be empty.
    pub imports: Vec<String>,
    /// Its `connector.toml`, if there is one.
    pub manifest: Option<Manifest>,
    /// Name and value of each limit it would run under.
    pub limits: Vec<(&'static str, String)>,
    /// Why it would not load; none if it would.
    pub refusal: Option<String>,
}

/// Looks at a component and tries to load it.
pub fn inspect(_component: &[u8]) -> Inspection {
    todo!()
}

/// Compiles a component to native code: what the child process `tidegate connector compile` does.
pub fn compile(_component: &[u8]) -> Result<Vec<u8>, String> {
    todo!()
}
