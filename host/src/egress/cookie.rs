//! Cookies of one connection (RFC 6265, kept simple): each goes back only to exactly the host that
//! set it, whatever `Domain` it asked for. No connector ever sees one.

use crate::model::{Secret, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Cookies kept for one connection: bank sessions have a handful.
const COOKIES_MAX: usize = 64;
/// Bytes of one cookie, name and value: RFC 6265 section 6.1.
const COOKIE_BYTES_MAX: usize = 4096;

/// Cookies of one connection; serialised as JSON and kept sealed by the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CookieJar {
    cookies: Vec<Cookie>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Cookie {
    name: String,
    #[serde(serialize_with = "reveal", deserialize_with = "conceal")]
    value: Secret,
    host: String,
    path: String,
    secure: bool,
    /// None: until the session ends.
    expires_at: Option<Timestamp>,
}

fn reveal<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.reveal())
}

fn conceal<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

impl CookieJar {
    /// Nothing in it?
    pub fn is_empty(&self) -> bool {
        self.cookies.is_empty()
    }

    /// The `Cookie` header for a request, if any.
    pub(super) fn header(&self, url: &url::Url, now: Timestamp) -> Option<Secret> {
        let host = url.host_str()?;
        let mut fitting: Vec<&Cookie> = self
            .cookies
            .iter()
            .filter(|cookie| {
                cookie.host == host
                    && path_matches(&cookie.path, url.path())
                    && (!cookie.secure || url.scheme() == "https")
                    && cookie.expires_at.is_none_or(|end| end > now)
            })
            .collect();
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> =
            fitting.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value.reveal())).collect();
        (!pairs.is_empty()).then(|| Secret::new(pairs.join("; ")))
    }

    /// Takes in one `Set-Cookie` header. What breaks a rule is passed over.
    pub(super) fn take(&mut self, header: &str, url: &url::Url, now: Timestamp) {
        self.cookies.retain(|cookie| cookie.expires_at.is_none_or(|end| end > now));
        let (Some(host), Some(cookie)) = (url.host_str(), Cookie::parse(header, url, now)) else {
            return;
        };
        self.cookies.retain(|old| !(old.name == cookie.name && old.host == host && old.path == cookie.path));
        if cookie.expires_at.is_some_and(|end| end <= now) {
            return;
        }
        if self.cookies.len() >= COOKIES_MAX {
            self.cookies.remove(0);
        }
        self.cookies.push(cookie);
    }
}

/// Name and value of a `Set-Cookie` header.
pub(super) fn pair(header: &str) -> Option<(&str, &str)> {
    let (name, value) = header.split(';').next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    (!name.is_empty()).then_some((name, value))
}

impl Cookie {
    fn parse(header: &str, url: &url::Url, now: Timestamp) -> Option<Self> {
        let (name, value) = pair(header)?;
        if name.len() + value.len() > COOKIE_BYTES_MAX || header.bytes().any(|byte| byte.is_ascii_control()) {
            return None;
        }
        let host = url.host_str()?;
        let mut cookie = Self {
            name: name.to_owned(),
            value: Secret::new(value),
            host: host.to_owned(),
            path: default_path(url.path()),
            secure: false,
            expires_at: None,
        };
        let mut max_age = None;
        for attribute in header.split(';').skip(1) {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "path" if value.starts_with('/') => cookie.path = value.to_owned(),
                "secure" => cookie.secure = true,
                "domain" if !domain_matches(value, host) => return None,
                "max-age" => max_age = value.parse::<i64>().ok().or(max_age),
                "expires" => {
                    cookie.expires_at = httpdate::parse_http_date(value)
                        .ok()
                        .map(|end| Timestamp::from(chrono::DateTime::<chrono::Utc>::from(end)))
                        .or(cookie.expires_at);
                }
                _ => {}
            }
        }
        if let Some(seconds) = max_age {
            cookie.expires_at =
                Some(Timestamp(now.0.saturating_add(seconds.max(0).saturating_mul(1_000_000))));
        }
        if cookie.secure && url.scheme() != "https" {
            return None;
        }
        Some(cookie)
    }
}

/// May `host` set a cookie for `domain`?
fn domain_matches(domain: &str, host: &str) -> bool {
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
}

/// RFC 6265 section 5.1.4.
fn default_path(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((parent, _)) if !parent.is_empty() => parent.to_owned(),
        _ => "/".to_owned(),
    }
}

/// RFC 6265 section 5.1.4.
fn path_matches(cookie: &str, path: &str) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|rest| rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

    fn url(text: &str) -> url::Url {
        url::Url::parse(text).unwrap()
    }

    fn jar(headers: &[&str]) -> CookieJar {
        let mut jar = CookieJar::default();
        headers.iter().for_each(|header| jar.take(header, &url("https://bank.example/login/start"), NOW));
        jar
    }

    #[track_caller]
    fn check(headers: &[&str], to: &str, wanted: Option<&str>) {
        assert_eq!(
            jar(headers).header(&url(to), NOW).as_ref().map(Secret::reveal),
            wanted,
            "{headers:?} {to}"
        );
    }

    #[test]
    fn a_cookie_goes_back_to_its_own_host_and_path() {
        check(&["a=1"], "https://bank.example/login/next", Some("a=1"));
        check(&["a=1"], "https://bank.example/login", Some("a=1"));
        check(&["a=1"], "https://bank.example/loginx", None);
        check(&["a=1"], "https://bank.example/", None);
        check(&["a=1; Path=/"], "https://bank.example/x", Some("a=1"));
        check(&["a=1; Path=/; Domain=bank.example"], "https://www.bank.example/x", None);
        check(&["a=1; Path=/; Domain=example"], "https://bank.example/x", Some("a=1"));
        check(&["a=1; Path=/; Domain=evil.example"], "https://bank.example/x", None);
        check(&["a=1; Path=/; Domain=nk.example"], "https://bank.example/x", None);
        check(&["a=1; Path=/"], "https://other.example/x", None);
        check(&["a=1; Path=/", "b=2; Path=/x"], "https://bank.example/x", Some("b=2; a=1"));
    }

    #[test]
    fn a_secure_cookie_never_travels_in_the_clear() {
        check(&["a=1; Path=/; Secure"], "http://bank.example/", None);
        check(&["a=1; Path=/; Secure"], "https://bank.example/", Some("a=1"));
        check(&["a=1; Path=/"], "http://bank.example/", Some("a=1"));
    }

    #[test]
    fn a_later_cookie_replaces_and_an_ended_one_goes() {
        check(&["a=1; Path=/", "a=2; Path=/"], "https://bank.example/", Some("a=2"));
        check(&["a=1; Path=/", "a=; Path=/; Max-Age=0"], "https://bank.example/", None);
        check(
            &["a=1; Path=/", "a=x; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"],
            "https://bank.example/",
            None,
        );
        let jar = jar(&["a=1; Path=/; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]);
        let to = url("https://bank.example/");
        assert!(jar.header(&to, NOW.plus(std::time::Duration::from_secs(59))).is_some());
        assert!(jar.header(&to, NOW.plus(std::time::Duration::from_secs(60))).is_none());
    }

    #[test]
    fn the_jar_is_bounded() {
        let many: Vec<String> = (0..COOKIES_MAX + 5).map(|index| format!("c{index}=1; Path=/")).collect();
        let jar = jar(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(jar.cookies.len(), COOKIES_MAX);
        assert_eq!(jar.cookies[0].name, "c5");
        check(&[&format!("a={}", "x".repeat(COOKIE_BYTES_MAX))], "https://bank.example/login/x", None);
        check(&["no-pair", "=value", "a=b\rc"], "https://bank.example/login/x", None);
    }

    #[test]
    fn the_jar_survives_json_and_debug_shows_no_value() {
        let jar = jar(&["session=s3cr3t; Path=/; Max-Age=60"]);
        let text = serde_json::to_string(&jar).unwrap();
        assert_eq!(serde_json::from_str::<CookieJar>(&text).unwrap(), jar);
        assert!(text.contains("s3cr3t"));
        assert!(!format!("{jar:?}").contains("s3cr3t"));
    }
}
