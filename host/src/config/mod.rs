//! What the operator typed, understood once: defaults, then the file, then the environment.
//!
//! The only module that reads the environment. Unknown keys are errors.

mod layers;

use crate::egress::EgressConfig;
use crate::model::{Retention, Secret};
use layers::Typed;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file that is read when none is named, if it is there.
const FILE: &str = "tidegate.toml";
/// Seconds of one exchange: shorter fails on good days, longer holds leases for nothing.
const TIMEOUT_S: RangeInclusive<u64> = 1..=300;
/// Seconds of a lease: long enough for one slow page, short enough to recover from a crash.
const LEASE_S: RangeInclusive<u64> = 10..=3_600;
/// Things at the same time in one process: each holds a socket and some memory.
const CONCURRENCY: RangeInclusive<u64> = 1..=100_000;
/// Threads that run connectors: more than processors only wait for each other.
const THREADS: RangeInclusive<u64> = 0..=1_024;
/// Requests per second, or at once, of one API key.
const RATE: RangeInclusive<u64> = 1..=1_000_000;
/// Bytes of one request body: credentials with certificates need a few KiB.
const BODY_BYTES: RangeInclusive<u64> = 1_024..=16 * 1_024 * 1_024;

/// Days that rows are kept; a century is for ever.
const DAYS: RangeInclusive<u64> = 1..=36_500;
/// Days of attempts and deliveries: a delivery is tried for up to 76 hours, and somebody may look then.
const DELIVERY_DAYS: RangeInclusive<u64> = 7..=36_500;

/// Of a hundred syncs, so many are traced.
const PERCENT: RangeInclusive<u64> = 1..=100;

/// Traces; see `[telemetry]` in `config.default.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// `http://HOST:PORT` of a collector, without a slash at the end; none for no traces.
    pub otlp_endpoint: Option<String>,
    /// Of a hundred syncs, so many are traced.
    pub sampled_percent: u8,
}

/// Everything the service is told. `config.default.toml` is the manual.
#[derive(Clone)]
pub struct Config {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where customers' browsers reach it, without a slash at the end.
    pub public_url: String,
    /// Where monitoring reads `/metrics`, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// `sqlite:PATH` or `postgres://…`.
    pub database_url: String,
    /// The master key text (see `vault`): from `TIDEGATE_MASTER_KEY` or the file named in the configuration. No key, no start.
    pub master_key: Secret,
    /// The file that it came from; none for the environment.
    pub master_key_file: Option<PathBuf>,
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
    /// Of these, those of one business that somebody waits for, in all processes.
    pub sync_on_demand_per_business: u32,
    /// Of these, those of one business for customers who have just come in, and as many for their older history.
    pub sync_histories_per_business: u32,
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
    /// How long rows are kept that nothing needs any more.
    pub retention: Retention,
    /// Traces.
    pub telemetry: Telemetry,
    /// `text` or `json`.
    pub log_format: String,
    /// Filter directives, e.g. `info,host=debug`.
    pub log_filter: String,
}

/// Without the database's URL, which may hold a password.
impl std::fmt::Debug for Config {
    fn fmt(&self, into: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        into.debug_struct("Config")
            .field("listen", &self.listen)
            .field("institutions_dir", &self.institutions_dir)
            .field("connectors_dir", &self.connectors_dir)
            .field("egress", &self.egress)
            .finish_non_exhaustive()
    }
}

/// Why the configuration can't be used. Each sentence says what to change; none holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A named file could not be read.
    #[error("{} could not be read: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{source_name} is not TOML: {problem}")]
    Syntax {
        /// Which file.
        source_name: String,
        /// Where and what.
        problem: String,
    },
    /// No such section, key or variable.
    #[error("{source_name}: there is no {key}; {hint}")]
    UnknownKey {
        /// Which file, or the environment.
        source_name: String,
        /// What was typed.
        key: String,
        /// The nearest known one, or all that are known.
        hint: String,
    },
    /// The value of a key can't be used.
    #[error("{key}: {problem}")]
    Value {
        /// `section.key`.
        key: &'static str,
        /// What is expected.
        problem: String,
    },
    /// The value of a key has another type than its default.
    #[error("{source_name}: {key} must be {expected}")]
    Type {
        /// Which file.
        source_name: String,
        /// `section.key`.
        key: String,
        /// With an example.
        expected: String,
    },
    /// No master key, no start.
    #[error(
        "there is no master key: TIDEGATE_MASTER_KEY is not set and {} {problem}; \
         make one with `tidegate vault new-key --file {}` and keep a copy of it elsewhere",
        file.display(), file.display()
    )]
    NoMasterKey {
        /// Where it was looked for.
        file: PathBuf,
        /// `does not exist`, `is empty`, …
        problem: String,
    },
}

impl Config {
    /// Reads defaults, file and environment. `path`: the file given on the command line.
    #[allow(clippy::disallowed_methods)] // the one place that reads the environment
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            // A value that is not UTF-8 can't be one of ours.
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let variables: BTreeMap<_, _> = variables.filter(|(name, _)| name.starts_with("TIDEGATE_")).collect();
        let named = path.map(Path::to_owned).or_else(|| variables.get("TIDEGATE_CONFIG").map(PathBuf::from));
        let path = named.or_else(|| Some(PathBuf::from(FILE)).filter(|path| path.exists()));
        let file = path.map(|path| match std::fs::read_to_string(&path) {
            Ok(text) => Ok((path.display().to_string(), text)),
            Err(error) => Err(ConfigError::Unreadable { path, error }),
        });
        Self::from_sources(file.transpose()?, &variables)
    }

    /// From the name and text of a file, and the variables that start with `TIDEGATE_`.
    fn from_sources(
        file: Option<(String, String)>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let typed = layers::merge(file, variables)?;
        let key = variables.get("TIDEGATE_MASTER_KEY").filter(|text| !text.trim().is_empty());
        let (master_key, file) = match key {
            Some(text) => (Secret::new(text), None),
            None => {
                (read_master_key(&typed.vault.master_key_file)?, Some(typed.vault.master_key_file.clone()))
            }
        };
        typed.understand(master_key, file)
    }
}

fn read_master_key(file: &Path) -> Result<Secret, ConfigError> {
    let problem = match std::fs::read_to_string(file) {
        Ok(text) if text.trim().is_empty() => "is empty".to_owned(),
        Ok(text) => return Ok(Secret::new(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        Err(error) => {
            return Err(ConfigError::Unreadable { path: file.to_owned(), error });
        }
    };
    Err(ConfigError::NoMasterKey { file: file.to_owned(), problem })
}

impl Typed {
    /// What was typed → what it means.
    fn understand(self, master_key: Secret, master_key_file: Option<PathBuf>) -> Result<Config, ConfigError> {
        let url = self.database.url;
        if !["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            let problem = "must start with \"sqlite:\" or \"postgres://\"".to_owned();
            return Err(ConfigError::Value { key: "database.url", problem });
        }
        if !["text", "json"].contains(&self.log.format.as_str()) {
            let problem = format!("must be \"text\" or \"json\", not \"{}\"", self.log.format);
            return Err(ConfigError::Value { key: "log.format", problem });
        }
        let allow =
            self.egress.allow.iter().map(|text| address("egress.allow", text)).collect::<Result<_, _>>()?;
        let seconds = |key, range, value| within(key, range, value).map(Duration::from_secs);
        let threads: usize = within("connectors.threads", &THREADS, self.connectors.threads)?;
        let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let listen = address("server.listen", &self.server.listen)?;
        let metrics = Some(&self.server.metrics_listen).filter(|typed| !typed.is_empty());
        Ok(Config {
            listen,
            metrics_listen: metrics.map(|typed| address("server.metrics-listen", typed)).transpose()?,
            public_url: public_url(self.server.public_url, listen)?,
            database_url: url,
            master_key,
            master_key_file,
            institutions_dir: self.institutions.dir,
            connectors_dir: self.connectors.dir,
            cache_dir: self.connectors.cache_dir,
            egress: EgressConfig {
                allow,
                bank_timeout: seconds("egress.bank-timeout-s", &TIMEOUT_S, self.egress.bank_timeout_s)?,
                webhook_timeout: seconds(
                    "egress.webhook-timeout-s",
                    &TIMEOUT_S,
                    self.egress.webhook_timeout_s,
                )?,
            },
            sandbox_threads: if threads == 0 { processors() } else { threads },
            compiler: compiler(),
            lease: seconds("sync.lease-s", &LEASE_S, self.sync.lease_s)?,
            sync_concurrency: within("sync.concurrency", &CONCURRENCY, self.sync.concurrency)?,
            sync_on_demand_per_business: within(
                "sync.on-demand-per-business",
                &CONCURRENCY,
                self.sync.on_demand_per_business,
            )?,
            sync_histories_per_business: within(
                "sync.histories-per-business",
                &CONCURRENCY,
                self.sync.histories_per_business,
            )?,
            webhook_concurrency: within("webhook.concurrency", &CONCURRENCY, self.webhook.concurrency)?,
            webhook_per_endpoint: within("webhook.per-endpoint", &CONCURRENCY, self.webhook.per_endpoint)?,
            api_rate_per_s: within("api.rate-per-s", &RATE, self.api.rate_per_s)?,
            api_burst: within("api.burst", &RATE, self.api.burst)?,
            api_body_max: within("api.body-max-bytes", &BODY_BYTES, self.api.body_max_bytes)?,
            retention: self.retention.understand()?,
            telemetry: self.telemetry.understand()?,
            log_format: self.log.format,
            log_filter: self.log.filter,
        })
    }
}

impl layers::Telemetry {
    fn understand(self) -> Result<Telemetry, ConfigError> {
        let endpoint = Some(self.otlp_endpoint).filter(|typed| !typed.is_empty());
        if endpoint.as_ref().is_some_and(|typed| !is_base(typed)) {
            let problem = "must be an address without a slash at the end, such as \"http://127.0.0.1:4318\"";
            return Err(ConfigError::Value { key: "telemetry.otlp-endpoint", problem: problem.to_owned() });
        }
        let sampled_percent = within("telemetry.sampled-percent", &PERCENT, self.sampled_percent)?;
        Ok(Telemetry { otlp_endpoint: endpoint, sampled_percent })
    }
}

impl layers::Retention {
    fn understand(self) -> Result<Retention, ConfigError> {
        let days = |key, range, value| {
            within(key, range, value).map(|days: u64| Duration::from_secs(days * 24 * 3_600))
        };
        let kept = Retention {
            unchanged_syncs: days("retention.unchanged-syncs-days", &DAYS, self.unchanged_syncs_days)?,
            sync_requests: days("retention.sync-requests-days", &DAYS, self.sync_requests_days)?,
            events: days("retention.events-days", &DELIVERY_DAYS, self.events_days)?,
            deliveries: days("retention.deliveries-days", &DELIVERY_DAYS, self.deliveries_days)?,
            attempts: days("retention.attempts-days", &DELIVERY_DAYS, self.attempts_days)?,
            idempotency_keys: days("retention.idempotency-keys-days", &DAYS, self.idempotency_keys_days)?,
            authorisations: days("retention.authorisations-days", &DAYS, self.authorisations_days)?,
            ended_consents: days("retention.ended-consents-days", &DAYS, self.ended_consents_days)?,
        };
        // What points to a row goes before it does.
        for (key, kept, of, at_most) in [
            (
                "retention.sync-requests-days",
                kept.sync_requests,
                "unchanged-syncs-days",
                kept.unchanged_syncs,
            ),
            ("retention.deliveries-days", kept.deliveries, "events-days", kept.events),
            ("retention.attempts-days", kept.attempts, "deliveries-days", kept.deliveries),
        ] {
            if kept > at_most {
                return Err(ConfigError::Value {
                    key,
                    problem: format!("must not be more than retention.{of}"),
                });
            }
        }
        Ok(kept)
    }
}

/// This very program, as the child process that compiles connectors.
fn compiler() -> Vec<String> {
    let program =
        std::env::current_exe().map_or_else(|_| "tidegate".to_owned(), |path| path.display().to_string());
    vec![program, "connector".to_owned(), "compile".to_owned()]
}

fn public_url(typed: String, listen: SocketAddr) -> Result<String, ConfigError> {
    if typed.is_empty() {
        return Ok(format!("http://{listen}"));
    }
    if !is_base(&typed) {
        let problem = "must be an https (or http) address without a slash at the end, such as \"https://link.example.com\"";
        return Err(ConfigError::Value { key: "server.public-url", problem: problem.to_owned() });
    }
    Ok(typed)
}

/// Is it an address that paths can be put after?
fn is_base(typed: &str) -> bool {
    let fits = url::Url::parse(typed).is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.host_str().is_some()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
    });
    fits && !typed.ends_with('/')
}

fn address(key: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| {
        let problem =
            format!("\"{text}\" is not IP:PORT; write for example \"127.0.0.1:8080\" or \"[::1]:8080\"");
        ConfigError::Value { key, problem }
    })
}

fn within<N: TryFrom<u64>>(
    key: &'static str,
    range: &RangeInclusive<u64>,
    value: i64,
) -> Result<N, ConfigError> {
    let found = u64::try_from(value).ok().filter(|value| range.contains(value));
    found.and_then(|value| N::try_from(value).ok()).ok_or_else(|| {
        let problem = format!("must be {} to {}, not {value}", range.start(), range.end());
        ConfigError::Value { key, problem }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut variables: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        variables.entry("TIDEGATE_MASTER_KEY".to_owned()).or_insert_with(|| "k1:AAAA".to_owned());
        Config::from_sources(Some(("tidegate.toml".to_owned(), file.to_owned())), &variables)
    }

    #[test]
    fn the_defaults_are_the_manual() {
        let config = load("", &[]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(config.egress.webhook_timeout, Duration::from_secs(15));
        assert!(config.egress.allow.is_empty());
        assert!(config.sandbox_threads > 0);
        assert_eq!(config.compiler.get(1..).unwrap(), ["connector", "compile"]);
        let manual = include_str!("../../config.default.toml");
        for name in layers::VARIABLES.iter().map(|(name, ..)| *name) {
            assert!(manual.contains(&format!("#   {name} ")), "{name} is not in the manual");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let file = "[server]\nlisten = \"127.0.0.1:1\"\n[database]\nurl = \"sqlite:file\"";
        let config = load(file, &[("TIDEGATE_LISTEN", "[::1]:2"), ("TIDEGATE_TESTS_X", "ignored")]).unwrap();
        assert_eq!(config.listen, "[::1]:2".parse().unwrap());
        assert_eq!(config.database_url, "sqlite:file");
        assert_eq!(config.log_filter, "info");
    }

    #[test]
    fn a_list_in_the_environment_is_separated_by_commas() {
        let config = load("", &[("TIDEGATE_EGRESS_ALLOW", "127.0.0.1:1, [::1]:2")]).unwrap();
        assert_eq!(config.egress.allow, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
        assert!(load("", &[("TIDEGATE_EGRESS_ALLOW", "")]).unwrap().egress.allow.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_what_to_do() {
        for (file, variables, expected) in [
            (
                "[sever]\nlisten = 1",
                &[][..],
                "tidegate.toml: there is no section [sever]; did you mean [server]?",
            ),
            (
                "listen = 1",
                &[],
                "tidegate.toml: there is no key \"listen\" outside a section; the sections are",
            ),
            (
                "[server]\nlisten-on = \"a\"",
                &[],
                "tidegate.toml: there is no key server.listen-on; its keys are: listen, metrics-listen, public-url",
            ),
            (
                "[sync]\nconcurency = 3",
                &[],
                "tidegate.toml: there is no key sync.concurency; did you mean sync.concurrency?",
            ),
            (
                "[server]\nlisten = 8080",
                &[],
                "tidegate.toml: server.listen must be text, such as \"127.0.0.1:8080\"",
            ),
            (
                "[sync]\nlease-s = \"1\"",
                &[],
                "tidegate.toml: sync.lease-s must be a whole number, such as 300",
            ),
            ("[egress]\nallow = [1]", &[], "tidegate.toml: egress.allow must be a list of texts"),
            ("server = 1", &[], "tidegate.toml: server must be a section"),
            ("[server", &[], "tidegate.toml is not TOML: "),
            ("[server]\nlisten = \"localhost\"", &[], "server.listen: \"localhost\" is not IP:PORT"),
            (
                "[server]\npublic-url = \"https://link.example/\"",
                &[],
                "server.public-url: must be an https (or http) address without a slash at the end",
            ),
            ("[database]\nurl = \"mysql://u:hunter2@h\"", &[], "database.url: must start with \"sqlite:\""),
            ("[sync]\nlease-s = 1", &[], "sync.lease-s: must be 10 to 3600, not 1"),
            ("[webhook]\nper-endpoint = -1", &[], "webhook.per-endpoint: must be 1 to 100000, not -1"),
            (
                "[retention]\nidempotency-keys-days = 0",
                &[],
                "retention.idempotency-keys-days: must be 1 to 36500, not 0",
            ),
            ("[retention]\nattempts-days = 6", &[], "retention.attempts-days: must be 7 to 36500, not 6"),
            (
                "[retention]\nunchanged-syncs-days = 3",
                &[],
                "retention.sync-requests-days: must not be more than retention.unchanged-syncs-days",
            ),
            (
                "[retention]\ndeliveries-days = 400",
                &[],
                "retention.deliveries-days: must not be more than retention.events-days",
            ),
            ("[telemetry]\nsampled-percent = 0", &[], "telemetry.sampled-percent: must be 1 to 100, not 0"),
            (
                "[telemetry]\notlp-endpoint = \"127.0.0.1:4318\"",
                &[],
                "telemetry.otlp-endpoint: must be an address without a slash at the end",
            ),
            ("[log]\nformat = \"xml\"", &[], "log.format: must be \"text\" or \"json\""),
            ("[egress]\nallow = [\"127.0.0.1\"]", &[], "egress.allow: \"127.0.0.1\" is not IP:PORT"),
            (
                "",
                &[("TIDEGATE_DATABSE_URL", "x")],
                "the environment: there is no variable TIDEGATE_DATABSE_URL; did you mean TIDEGATE_DATABASE_URL?",
            ),
            (
                "",
                &[("TIDEGATE_MASTER_KEY", ""), ("TIDEGATE_MASTER_KEY_FILE", "/nowhere/k")],
                "there is no master key: TIDEGATE_MASTER_KEY is not set and /nowhere/k does not exist; \
                 make one with `tidegate vault new-key --file /nowhere/k`",
            ),
        ] {
            let error = load(file, variables).expect_err(expected).to_string();
            assert!(error.starts_with(expected), "{error}\n{expected}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_passwords_in_a_configuration_are_not_shown() {
        let config = load("", &[("TIDEGATE_DATABASE_URL", "postgres://u:hunter2@h/n")]).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("AAAA"), "{shown}");
    }
}
