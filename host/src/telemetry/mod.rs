//! What an operator sees: logs, on standard error, readable or JSON; metrics; and traces, where a collector is named.
//!
//! What is never logged, at any level, by any module: credentials, keys, tokens, secrets and what was
//! derived from them; bodies of requests and replies; URLs of webhooks and queries of URLs; names,
//! numbers, narrations and references of customers; the text of guests; SQL values. What is logged
//! instead: our ids, names of institutions, connectors, routes and values, codes, counts, times.

mod metrics;
mod traces;

pub use metrics::Metrics;
pub use traces::Traces;

use crate::config::Config;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

/// Why nothing can be seen.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.filter` can't be used.
    #[error("log.filter \"{filter}\": {problem}; write for example \"info\" or \"info,host=debug\"")]
    BadFilter {
        /// What was typed.
        filter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Traces can't be sent.
    #[error("telemetry.otlp-endpoint: {0}")]
    NoTraces(String),
}

/// Starts logging, and tracing where a collector is named; what must be ended at the end. Where a process already logs
/// (tests), that stays as it is.
pub fn init(config: &Config) -> Result<Traces, TelemetryError> {
    let filter = EnvFilter::builder().parse(&config.log_filter).map_err(|error| {
        TelemetryError::BadFilter { filter: config.log_filter.clone(), problem: error.to_string() }
    })?;
    let logs = fmt::layer().with_writer(std::io::stderr);
    let logs = match config.log_format.as_str() {
        "json" => logs.json().flatten_event(true).boxed(),
        _ => logs.boxed(),
    };
    let (traces, spans) = traces::start(&config.telemetry).map_err(TelemetryError::NoTraces)?;
    if registry().with(spans).with(logs.with_filter(filter)).try_init().is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(traces)
}
