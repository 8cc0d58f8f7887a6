//! What a PostgreSQL URL may say, TLS above all, and what went wrong in words for the operator.
//!
//! The driver passes over parameters that it does not know, and over a root certificate that it is not
//! told to look at; here both are errors, since a typing mistake must not turn TLS off. Must not know: SQL.

use super::{Result, StoreError};
use sqlx::postgres::PgConnectOptions;

/// The parameters that the driver understands and we stand for.
const PARAMETERS: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
/// From no TLS to all that TLS can prove; `allow` is not among them, since the driver takes it for `disable`.
const MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];
/// How a certificate in a file begins.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// The driver's options; an error that says what to change in the URL, without showing it.
pub(super) fn options(url: &str) -> Result<PgConnectOptions> {
    check(url).map_err(|problem| StoreError::Database(format!("database.url: {problem}")))?;
    Ok(url.parse()?)
}

fn check(text: &str) -> Result<(), String> {
    let url = url::Url::parse(text).map_err(|error| format!("it is not a URL: {error}"))?;
    let mut mode = "prefer".to_owned();
    let mut roots = None;
    for (name, value) in url.query_pairs() {
        match &*name {
            "sslmode" => mode = value.into_owned(),
            "sslrootcert" => roots = Some(value.into_owned()),
            name if PARAMETERS.contains(&name) => {}
            name => {
                return Err(format!("there is no parameter \"{name}\"; they are: {}", PARAMETERS.join(", ")));
            }
        }
    }
    if !MODES.contains(&mode.as_str()) {
        return Err(format!("sslmode must be one of {}, not \"{mode}\"", MODES.join(", ")));
    }
    let Some(roots) = roots else { return Ok(()) };
    if !mode.starts_with("verify-") {
        return Err(format!(
            "with sslmode={mode} nobody looks at sslrootcert; write sslmode=verify-full beside it"
        ));
    }
    match std::fs::read_to_string(&roots) {
        Ok(text) if text.contains(CERTIFICATE) => Ok(()),
        Ok(_) => Err(format!(
            "sslrootcert: {roots} holds no certificate; it must be PEM, with a line \"{CERTIFICATE}\""
        )),
        Err(error) => Err(format!("sslrootcert: {roots} could not be read: {error}")),
    }
}

/// Why there is no connection, and what to do where it was TLS that stood in the way.
pub(super) fn not_connected(url: &str, error: sqlx::Error) -> StoreError {
    let said = error.to_string();
    let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let host = host.unwrap_or_default();
    let sentence = if said.contains("server does not support TLS") {
        "the PostgreSQL server speaks no TLS, and sslmode in database.url asks for it; set `ssl = on` in its postgresql.conf"
            .to_owned()
    } else if said.contains("UnknownIssuer") {
        format!(
            "the certificate of the PostgreSQL server at {host} is not signed by an authority that is trusted; \
             name the authority's own certificate by sslrootcert=FILE in database.url"
        )
    } else if said.contains("NotValidForName") || said.contains("not valid for name") {
        format!(
            "the certificate of the PostgreSQL server is not for \"{host}\"; write a name that stands in it into \
             database.url, or accept any server of that authority with sslmode=verify-ca"
        )
    } else if let Some((_, why)) = said.split_once("invalid peer certificate: ") {
        format!("the certificate of the PostgreSQL server at {host} was refused ({why}); renew it there")
    } else {
        return error.into();
    };
    StoreError::Database(sentence)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_would_be_passed_over_is_an_error_that_names_the_right_ones() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (root, empty) = (file("root.pem", CERTIFICATE), file("empty.pem", "nothing"));
        check(&format!("postgres://u:p@h/n?sslmode=verify-full&sslrootcert={root}")).unwrap();
        check("postgres://u@localhost/n?host=/run/postgresql").unwrap();
        for (query, expected) in [
            ("sslmod=verify-full".to_owned(), "there is no parameter \"sslmod\"; they are: sslmode,"),
            ("sslmode=on".to_owned(), "sslmode must be one of disable, prefer,"),
            ("sslmode=allow".to_owned(), "sslmode must be one of disable, prefer,"),
            (format!("sslrootcert={root}"), "with sslmode=prefer nobody looks at sslrootcert"),
            (format!("sslmode=require&sslrootcert={root}"), "with sslmode=require nobody looks"),
            (format!("sslmode=verify-ca&sslrootcert={empty}"), "holds no certificate"),
            ("sslmode=verify-ca&sslrootcert=/nowhere/x.pem".to_owned(), "/nowhere/x.pem could not be read"),
        ] {
            let said = check(&format!("postgres://u:hunter2@h/n?{query}")).unwrap_err();
            assert!(said.contains(expected) && !said.contains("hunter2"), "{query}: {said}");
        }
    }
}
