//! Headers of a request: which a connector may set, and what may stand in them.

use super::EgressError;
use super::limits::{REQUEST_HEADER_BYTES_MAX, REQUEST_HEADERS_MAX};
use super::value::Values;
use crate::model::Header;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// The host's own: they say where one message ends and the next begins, to whom it goes, or hold
/// the jar's cookies. `proxy-*` besides.
const HOSTS_OWN: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Checks the names, before anything is filled in.
pub(super) fn names(headers: &[Header]) -> Result<Vec<HeaderName>, EgressError> {
    if headers.len() > REQUEST_HEADERS_MAX {
        return Err(EgressError::Refused(format!("more than {REQUEST_HEADERS_MAX} headers in one request")));
    }
    headers
        .iter()
        .map(|header| {
            let name = HeaderName::from_bytes(header.name.as_bytes())
                .map_err(|_| EgressError::Refused("a header name must be a token of RFC 9110".to_owned()))?;
            if HOSTS_OWN.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
                return Err(EgressError::Refused(format!(
                    "the header \"{name}\" belongs to the host; leave it out"
                )));
            }
            Ok(name)
        })
        .collect()
}

/// Fills in the values. Line breaks and other control characters are refused.
pub(super) fn fill(
    names: Vec<HeaderName>,
    headers: &[Header],
    values: &Values<'_>,
) -> Result<HeaderMap, EgressError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    let mut total = 0;
    for (name, header) in names.into_iter().zip(headers) {
        let bytes = values.join(&header.value)?.bytes;
        total += bytes.len();
        if total > REQUEST_HEADER_BYTES_MAX {
            return Err(EgressError::Refused(format!(
                "headers of more than {REQUEST_HEADER_BYTES_MAX} bytes once their values are filled in"
            )));
        }
        let mut value = HeaderValue::from_bytes(&bytes).map_err(|_| {
            EgressError::Refused(format!(
                "the value of the header \"{name}\" holds a line break or another control character"
            ))
        })?;
        value.set_sensitive(true); // kept out of compression tables and Debug
        map.append(name, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn named(name: &str) -> Result<Vec<HeaderName>, EgressError> {
        names(&[Header { name: name.to_owned(), value: Vec::new() }])
    }

    #[test]
    fn the_hosts_own_headers_are_refused_however_they_are_written() {
        for name in [
            "Host",
            "content-length",
            "COOKIE",
            "Transfer-Encoding",
            "Accept-Encoding",
            "Connection",
            "TE",
            "Upgrade",
            "Proxy-Authorization",
            "proxy-connection",
            "Keep-Alive",
            "Trailer",
            "Expect",
        ] {
            assert!(
                matches!(named(name), Err(EgressError::Refused(said)) if said.contains("belongs to the host")),
                "{name}"
            );
        }
        for name in ["Authorization", "x-fapi-interaction-id", "Content-Type", "User-Agent", "Accept"] {
            assert!(named(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_no_token_is_refused() {
        for name in ["", "a b", "a:b", "a\r\nb", "é", "(a)"] {
            assert!(named(name).is_err(), "{name:?}");
        }
    }
}
