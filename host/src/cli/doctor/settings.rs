//! What was configured, as far as the configuration alone tells.

use super::Check;
use crate::config::Config;
use crate::vault::Vault;
use std::net::IpAddr;

pub(super) fn examine(config: &Config) -> Vec<Check> {
    let mut checks = vec![Check::ok("configuration", "every key is known and in its range")];
    if config.public_url.starts_with("http://") && !is_local(&config.public_url) {
        checks.push(Check::warning(
            "configuration",
            format!("customers' browsers reach this service over plain HTTP ({})", config.public_url),
            "put a proxy that speaks TLS before it, and its https address into server.public-url",
        ));
    }
    for (key, address) in [("listen", Some(config.listen)), ("metrics-listen", config.metrics_listen)] {
        if let Some(address) = address.filter(|address| is_everybodys(address.ip())) {
            checks.push(Check::warning(
                "configuration",
                format!("server.{key} = {address} is open to every network of this machine, in plain HTTP"),
                "let it listen on a private address, or keep others out by a firewall",
            ));
        }
    }
    if let Some(check) = database_tls(&config.database_url) {
        checks.push(check);
    }
    checks.push(match Vault::from_text(config.master_key.reveal()) {
        Ok(_) => Check::ok("master key", "it can be read"),
        Err(error) => Check::problem(
            "master key",
            error.to_string(),
            "put the line from your copy of the key file back",
        ),
    });
    checks
}

/// Does the way to PostgreSQL prove whom it leads to?
fn database_tls(url: &str) -> Option<Check> {
    let url = url.strip_prefix("postgres").and_then(|_| url::Url::parse(url).ok())?;
    let says = |wanted: &str| url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let is_socket = says("host").is_some_and(|host| host.starts_with('/'));
    let mode = says("sslmode").unwrap_or_else(|| "prefer".into());
    if is_socket || is_local(url.as_str()) || mode == "verify-full" {
        return Some(Check::ok(
            "database TLS",
            "the way to the database is local, or the server proves its name",
        ));
    }
    Some(Check::warning(
        "database TLS",
        format!("PostgreSQL is on another machine, and sslmode={mode} does not prove which"),
        "write sslmode=verify-full&sslrootcert=FILE into database.url",
    ))
}

/// Does the URL lead to this machine?
fn is_local(url: &str) -> bool {
    match url::Url::parse(url).ok().as_ref().and_then(url::Url::host) {
        // Of a scheme that it does not know, the parser takes an address for a name.
        Some(url::Host::Domain(name)) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => true,
    }
}

fn is_everybodys(ip: IpAddr) -> bool {
    ip.is_unspecified()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_database_elsewhere_must_prove_its_name() {
        for (url, expected) in [
            ("sqlite:x", None),
            ("postgres://u@localhost/n", Some(State::Ok)),
            ("postgres://u@127.0.0.1/n", Some(State::Ok)),
            ("postgres://u@x/n?host=/run/postgresql", Some(State::Ok)),
            ("postgres://u@db.internal/n?sslmode=verify-full", Some(State::Ok)),
            ("postgres://u:hunter2@db.internal/n", Some(State::Warning)),
            ("postgresql://u:hunter2@db.internal/n?sslmode=require", Some(State::Warning)),
        ] {
            let check = database_tls(url);
            assert_eq!(check.as_ref().map(|check| check.state), expected, "{url}");
            assert!(!format!("{check:?}").contains("hunter2"));
        }
    }
}
