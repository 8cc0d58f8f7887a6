//! Where a request goes: the URL taken apart, compared with the approved routes, and put together
//! again with values filled in.
//!
//! The URL is compared as text, before anything is normalised: whatever a URL parser would repair
//! or read differently matches no route.

use super::encoding::{percent, percent_decoded};
use super::limits::URL_BYTES_MAX;
use super::value::Values;
use super::{Call, EgressError};
use crate::model::{Method, Part, Purpose, Request, Route};
use std::fmt::Write as _;

/// Stands for a value in the text; no URL of a connector can hold it.
const HOLE: char = '\0';

/// A URL as the connector wrote it, apart.
struct Written<'a> {
    scheme: &'a str,
    host: &'a str,
    port: u16,
    /// With [`HOLE`]s, starting with `/`.
    path: &'a str,
    query: Option<&'a str>,
}

/// A request's way: the route it is on, and the URL that values will be filled into.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub route: &'a Route,
    path: String,
    query: Option<String>,
    /// The value of each [`HOLE`], in order.
    names: Vec<&'a str>,
}

fn refused<T>(text: String) -> Result<T, EgressError> {
    Err(EgressError::Refused(text))
}

/// Finds the approved route that a request is on.
pub(super) fn aim<'a>(call: &Call<'a>, request: &'a Request) -> Result<Target<'a>, EgressError> {
    let mut text = String::new();
    let mut names = Vec::new();
    for part in &request.url {
        match part {
            Part::Text(part) => text.push_str(part),
            Part::Bytes(part) => text.push_str(std::str::from_utf8(part).unwrap_or("\u{fffd}")),
            Part::Value(name) => {
                names.push(name.as_str());
                text.push(HOLE);
            }
        }
    }
    if text.len() > URL_BYTES_MAX {
        return refused(format!("a URL of more than {URL_BYTES_MAX} bytes"));
    }
    let written = take_apart(&text, &names)?;
    let on_it = |route: &&Route| {
        route.method == request.method
            && route.scheme == written.scheme
            && route.host == written.host
            && route.port == written.port
            && route.matches_path(written.path)
    };
    let Some(route) = call.routes.iter().filter(on_it).find(|route| call.purposes.contains(&route.purpose))
    else {
        return refused(match call.routes.iter().find(on_it) {
            Some(route) => format!(
                "route \"{}\" ({}) may not be asked now: `login` and `end` belong to `session` (`end` to the goal `close`), `read` to `accounts` and `read`, `acknowledge` to `after-commit`, `customer` to the `redirect` of `ask-customer`",
                route.name,
                route.line()
            ),
            None => undeclared(call, request.method, &written),
        });
    };
    check_path(route, written.path)?;
    Ok(Target { route, path: written.path.to_owned(), query: written.query.map(str::to_owned), names })
}

/// Takes a URL apart as text. Everything before the path must be literal.
fn take_apart<'a>(text: &'a str, names: &[&str]) -> Result<Written<'a>, EgressError> {
    // Only now, since a connector could have written the placeholder itself.
    if text.matches(HOLE).count() != names.len()
        || !text.chars().all(|letter| letter == HOLE || letter.is_ascii_graphic())
    {
        return refused("a URL must be written in visible ASCII; escape the rest with `percent`".to_owned());
    }
    if text.contains(['#', '\\']) {
        return refused("a URL must hold neither a fragment nor a backslash".to_owned());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return refused("a URL must start with https://".to_owned());
    };
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if scheme.contains(HOLE) || authority.contains(HOLE) {
        return refused("a URL's scheme, host and port must be text; only wild path segments and the query may hold values".to_owned());
    }
    if authority.contains(['@', '%']) {
        return refused("a URL must hold no user, password or escapes before its path".to_owned());
    }
    let (host, port) = match authority.rsplit_once(':') {
        // A colon inside brackets belongs to an IPv6 address.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match (port, scheme) {
        (Some(port), _) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok(),
        (None, "https") => Some(443),
        (None, "http") => Some(80),
        _ => None,
    };
    let Some(port) = port.filter(|port| *port != 0) else {
        return refused(
            "a URL must have the scheme https (or http) and, if any, a port of digits".to_owned(),
        );
    };
    let (path, query) = match tail.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (tail, None),
    };
    Ok(Written { scheme, host, port, path: if path.is_empty() { "/" } else { path }, query })
}

/// A path's segments must mean to every server what they mean to us: no way up, no hidden
/// separators, no escapes of escapes. Segments with a [`HOLE`] are checked once it is filled.
fn check_path(route: &Route, path: &str) -> Result<(), EgressError> {
    let fine = |segment: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte);
        let Some(decoded) = percent_decoded(segment) else {
            return false;
        };
        let hidden = |byte: &u8| matches!(*byte, b'/' | b'\\' | b'%' | b'?' | b'#' | 0x00..=0x1f | 0x7f);
        segment.bytes().all(allowed) && decoded != b"." && decoded != b".." && !decoded.iter().any(hidden)
    };
    let bad = |(wanted, given): (&str, &str)| wanted == "*" && !given.contains(HOLE) && !fine(given);
    if route.path.split('/').zip(path.split('/')).any(bad) {
        return refused(format!(
            "a wild segment of route \"{}\" was given \".\", \"..\", a separator, \"%\" or a control character",
            route.name
        ));
    }
    Ok(())
}

impl Target<'_> {
    /// The URL with values filled in: percent-encoded unless they were made by `encode` with
    /// `percent`. Checked again, since a value might have changed the path.
    pub fn url(&self, values: &Values<'_>) -> Result<url::Url, EgressError> {
        let mut names = self.names.iter();
        let mut fill = |text: &str| -> Result<String, EgressError> {
            let mut out = String::with_capacity(text.len());
            for letter in text.chars() {
                if letter != HOLE {
                    out.push(letter);
                } else if let Some(name) = names.next() {
                    let value = values.fill(name)?;
                    if value.secret && self.route.purpose == Purpose::Customer {
                        return refused(format!(
                            "the customer's browser would see the secret \"{name}\" on route \"{}\"; send a hash or a signature instead",
                            self.route.name
                        ));
                    }
                    match std::str::from_utf8(&value.bytes) {
                        Ok(text) if value.percent => out.push_str(text),
                        _ => out.push_str(&percent(&value.bytes)),
                    }
                }
            }
            Ok(out)
        };
        let route = self.route;
        let path = fill(&self.path)?;
        let query = self.query.as_deref().map(&mut fill).transpose()?;
        check_path(route, &path)?;
        let mut text = format!("{}://{}:{}{path}", route.scheme, route.host, route.port);
        if let Some(query) = &query {
            let _ = write!(text, "?{query}");
        }
        if text.len() > URL_BYTES_MAX {
            return refused(format!(
                "a URL of more than {URL_BYTES_MAX} bytes once its values are filled in"
            ));
        }
        let url = url::Url::parse(&text).ok().filter(|url| {
            url.scheme() == route.scheme
                && url.host_str() == Some(route.host.as_str())
                && url.port_or_known_default() == Some(route.port)
                && url.path() == path
                && url.query().is_some() == query.is_some()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
                && route.matches_path(url.path())
        });
        match url {
            Some(url) => Ok(url),
            None => refused(format!("with its values filled in, the URL leaves route \"{}\"", route.name)),
        }
    }
}

/// Which lines in `connector.toml` would declare it. Segments that may be a customer's (anything
/// but plain words and versions) are shown as `*`.
fn undeclared(call: &Call<'_>, method: Method, written: &Written<'_>) -> String {
    let Written { scheme, host, port, path, .. } = written;
    let word = |segment: &str| {
        let digits_are_fine = segment.starts_with('v') && segment.len() <= 5;
        segment.len() <= 40
            && segment.bytes().all(|byte| {
                byte.is_ascii_alphabetic()
                    || b"-_.".contains(&byte)
                    || (digits_are_fine && byte.is_ascii_digit())
            })
            && !matches!(segment, "." | "..")
    };
    let shown: Vec<&str> = path.split('/').map(|segment| if word(segment) { segment } else { "*" }).collect();
    let shown = shown.join("/");
    // The origin of a declared route to the same place, and that origin's own path.
    let origin = call.routes.iter().find_map(|route| {
        let same = route.scheme == *scheme && route.host == *host && route.port == *port;
        let declared = call.manifest.routes.iter().find(|declared| same && declared.name == route.name)?;
        let base = route.path.strip_suffix(&declared.path)?;
        Some((declared.origin.as_str(), shown.strip_prefix(base)?))
    });
    let (origin, path, more) = match origin {
        Some((origin, path)) => (origin, path, String::new()),
        None => (
            "NAME",
            shown.as_str(),
            format!(
                "\nand, in the institution's profile under [origins],\nNAME = \"{scheme}://{host}:{port}\""
            ),
        ),
    };
    let method = method.name();
    format!(
        "connector \"{}\" asked for {method} {scheme}://{host}:{port}{shown}, which is on no approved route; to declare it, write in connector.toml\n\
         [[route]]\nname = \"NAME\"\nmethod = \"{method}\"\norigin = \"{origin}\"\npath = \"{path}\"\npurpose = \"read\"{more}\nand let the operator approve it",
        call.manifest.name
    )
}

#[cfg(test)]
mod tests;
