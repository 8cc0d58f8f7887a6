//! What an operator sees: logs, on standard error, readable or JSON; and metrics.
//!
//! What is never logged, at any level, by any module: credentials, keys, tokens, secrets and what was
//! derived from them; bodies of requests and replies; URLs of webhooks and queries of URLs; names,
//! numbers, narrations and references of customers; the text of guests; SQL values. What is logged
//! instead: our ids, names of institutions, connectors, routes and values, codes, counts, times.

mod metrics;

pub use metrics::Metrics;

use crate::config::Config;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

/// `log.filter` can't be used.
#[derive(Debug, thiserror::Error)]
#[error("log.filter \"{filter}\": {problem}; write for example \"info\" or \"info,host=debug\"")]
pub struct BadFilter {
    filter: String,
    problem: String,
}

/// Starts logging. Where a process already logs (tests), that stays as it is.
pub fn init(config: &Config) -> Result<(), BadFilter> {
    let filter = EnvFilter::builder()
        .parse(&config.log_filter)
        .map_err(|error| BadFilter { filter: config.log_filter.clone(), problem: error.to_string() })?;
    let logs = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.log_format.as_str() {
        "json" => logs.json().flatten_event(true).finish().try_init(),
        _ => logs.finish().try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(())
}
