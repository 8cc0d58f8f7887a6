//! Defaults, file and environment, laid over each other: knows which keys there are and of which
//! type they are (those of `config.default.toml`), not what they mean.

use super::ConfigError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::{Table, Value};

const DEFAULTS: &str = include_str!("../../config.default.toml");
/// Variables that start so belong to tests, not to the service.
const FOR_TESTS: &str = "TIDEGATE_TESTS_";
/// So many letters may be wrong for a name to be suggested.
const TYPOS_MAX: usize = 2;

/// Each variable with the section and key it sets; those without one are read by `super`.
pub(super) const VARIABLES: [(&str, Option<(&str, &str)>); 14] = [
    ("TIDEGATE_CONFIG", None),
    ("TIDEGATE_LISTEN", Some(("server", "listen"))),
    ("TIDEGATE_METRICS_LISTEN", Some(("server", "metrics-listen"))),
    ("TIDEGATE_PUBLIC_URL", Some(("server", "public-url"))),
    ("TIDEGATE_DATABASE_URL", Some(("database", "url"))),
    ("TIDEGATE_MASTER_KEY", None),
    ("TIDEGATE_MASTER_KEY_FILE", Some(("vault", "master-key-file"))),
    ("TIDEGATE_CONNECTORS_DIR", Some(("connectors", "dir"))),
    ("TIDEGATE_CACHE_DIR", Some(("connectors", "cache-dir"))),
    ("TIDEGATE_INSTITUTIONS_DIR", Some(("institutions", "dir"))),
    ("TIDEGATE_EGRESS_ALLOW", Some(("egress", "allow"))),
    ("TIDEGATE_OTLP_ENDPOINT", Some(("telemetry", "otlp-endpoint"))),
    ("TIDEGATE_LOG_FORMAT", Some(("log", "format"))),
    ("TIDEGATE_LOG_FILTER", Some(("log", "filter"))),
];

macro_rules! sections {
    ($($section:ident $name:ident { $($key:ident: $of:ty),* $(,)? })*) => {
        /// What was typed, every key present.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct Typed { $(pub(super) $section: $name,)* }
        $(
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields, rename_all = "kebab-case")]
            pub(super) struct $name { $(pub(super) $key: $of,)* }
        )*
    };
}

sections! {
    server Server { listen: String, public_url: String, metrics_listen: String }
    database Database { url: String }
    vault Vault { master_key_file: PathBuf }
    connectors Connectors { dir: PathBuf, cache_dir: PathBuf, threads: i64 }
    institutions Institutions { dir: PathBuf }
    egress Egress { allow: Vec<String>, bank_timeout_s: i64, webhook_timeout_s: i64 }
    sync Sync { lease_s: i64, concurrency: i64, on_demand_per_business: i64, histories_per_business: i64 }
    webhook Webhook { concurrency: i64, per_endpoint: i64 }
    api Api { rate_per_s: i64, burst: i64, body_max_bytes: i64 }
    retention Retention {
        unchanged_syncs_days: i64, sync_requests_days: i64, events_days: i64, deliveries_days: i64,
        attempts_days: i64, idempotency_keys_days: i64, authorisations_days: i64,
        ended_consents_days: i64,
    }
    telemetry Telemetry { otlp_endpoint: String, sampled_percent: i64 }
    log Log { format: String, filter: String }
}

/// Lays the file over the defaults, and the variables over both.
pub(super) fn merge(
    file: Option<(String, String)>,
    variables: &BTreeMap<String, String>,
) -> Result<Typed, ConfigError> {
    let syntax = |source_name: String| {
        move |error: toml::de::Error| ConfigError::Syntax { source_name, problem: error.to_string() }
    };
    let mut merged: Table = DEFAULTS.parse().map_err(syntax("config.default.toml".to_owned()))?;
    if let Some((name, text)) = file {
        lay(&mut merged, text.parse().map_err(syntax(name.clone()))?, &name)?;
    }
    for (name, value) in variables.iter().filter(|(name, _)| !name.starts_with(FOR_TESTS)) {
        let Some((_, place)) = VARIABLES.iter().find(|(known, _)| known == name) else {
            return Err(ConfigError::UnknownKey {
                source_name: "the environment".to_owned(),
                key: format!("variable {name}"),
                hint: hint(name, &VARIABLES.map(|(known, _)| known.to_owned()), "", "the variables are"),
            });
        };
        let Some((section, key)) = place else {
            continue;
        };
        let known = merged.get_mut(*section).and_then(|section| section.get_mut(*key));
        match known {
            Some(Value::Array(list)) => {
                let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
                *list = parts.map(|part| Value::String(part.to_owned())).collect();
            }
            Some(text) => *text = Value::String(value.clone()),
            None => {}
        }
    }
    Value::Table(merged).try_into().map_err(syntax("config.default.toml".to_owned()))
}

fn lay(merged: &mut Table, file: Table, source_name: &str) -> Result<(), ConfigError> {
    let unknown = |key: String, hint: String| {
        Err(ConfigError::UnknownKey { source_name: source_name.to_owned(), key, hint })
    };
    let wrong_type = |key: String, expected: String| {
        Err(ConfigError::Type { source_name: source_name.to_owned(), key, expected })
    };
    for (section, typed) in file {
        let sections: Vec<_> = merged.keys().map(|name| format!("[{name}]")).collect();
        let known = merged.get_mut(&section).and_then(Value::as_table_mut);
        let (known, typed) = match (known, typed) {
            (Some(known), Value::Table(typed)) => (known, typed),
            (Some(_), _) => return wrong_type(section.clone(), format!("a section: [{section}]")),
            (None, Value::Table(_)) => {
                let key = format!("[{section}]");
                let hint = hint(&key, &sections, "", "the sections are");
                return unknown(format!("section {key}"), hint);
            }
            (None, _) => {
                let hint = hint("", &sections, "", "the sections are");
                return unknown(format!("key \"{section}\" outside a section"), hint);
            }
        };
        let keys: Vec<_> = known.keys().cloned().collect();
        for (key, value) in typed {
            let Some(default) = known.get_mut(&key) else {
                let hint = hint(&key, &keys, &format!("{section}."), "its keys are");
                return unknown(format!("key {section}.{key}"), hint);
            };
            if !same_type(default, &value) {
                return wrong_type(format!("{section}.{key}"), expected(default));
            }
            *default = value;
        }
    }
    Ok(())
}

fn same_type(default: &Value, value: &Value) -> bool {
    let texts = |value: &Value| value.as_array().is_none_or(|list| list.iter().all(Value::is_str));
    default.same_type(value) && texts(value)
}

fn expected(default: &Value) -> String {
    match default {
        Value::String(text) => format!("text, such as \"{text}\""),
        Value::Integer(number) => format!("a whole number, such as {number}"),
        Value::Array(_) => "a list of texts, such as [\"127.0.0.1:8080\"]".to_owned(),
        other => format!("of type {}", other.type_str()),
    }
}

/// The known name that was probably meant, or all of them.
fn hint(typed: &str, known: &[String], prefix: &str, list: &str) -> String {
    let nearest = known.iter().map(|name| (distance(typed, name), name)).min();
    match nearest.filter(|(typos, _)| *typos <= TYPOS_MAX) {
        Some((_, name)) => format!("did you mean {prefix}{name}?"),
        None => format!("{list}: {}", known.join(", ")),
    }
}

/// How many letters must be added, dropped or replaced (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (done, letter) in one.chars().enumerate() {
        let mut diagonal = done;
        let mut left = done + 1;
        for (cell, wanted) in row.iter_mut().skip(1).zip(other.chars()) {
            let replaced = diagonal + usize::from(letter != wanted);
            diagonal = *cell;
            *cell = replaced.min(left + 1).min(diagonal + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = done + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_distance_counts_letters_added_dropped_or_replaced() {
        for (one, other, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("lease", "leas", 1),
            ("kitten", "sitting", 3),
            ("sever", "server", 1),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
