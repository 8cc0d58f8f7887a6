//! What the operator typed, understood once: defaults, then the file, then the environment.
//!
//! The only module that reads the environment. Unknown keys are errors.

use crate::egress::EgressConfig;
use crate::model::Secret;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything the service is told. `config.default.toml` is the manual.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// `sqlite:PATH` or `postgres://…`.
    pub database_url: String,
    /// The master key text (see `vault`): from `TIDEGATE_MASTER_KEY` or the file named in the configuration. No key, no start.
    pub master_key: Secret,
    /// Folder of profiles (`*.toml`).
    pub institutions_dir: PathBuf,
    /// Folder of connector components (`*.wasm`).
    pub connectors_dir: PathBuf,
    /// Folder for compiled connectors.
    pub cache_dir: PathBuf,
    /// The way out.
    pub egress: EgressConfig,
    /// Sandbox threads.
    pub sandbox_threads: usize,
    /// How to start the process that compiles connectors: program and arguments; `tidegate connector compile` by default.
    pub compiler: Vec<String>,
    /// How long a run may hold a connection.
    pub lease: Duration,
    /// Runs at the same time, all institutions together.
    pub sync_concurrency: usize,
    /// Deliveries at the same time, and per endpoint.
    pub webhook_concurrency: usize,
    /// Deliveries at the same time to one endpoint.
    pub webhook_per_endpoint: u32,
    /// Requests per second of one API key, sustained.
    pub api_rate_per_s: u32,
    /// Requests of one API key at once.
    pub api_burst: u32,
    /// Bytes of one request body.
    pub api_body_max: usize,
    /// `text` or `json`.
    pub log_format: String,
    /// Filter directives, e.g. `info,host=debug`.
    pub log_filter: String,
}
