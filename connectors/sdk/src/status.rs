//! From an HTTP status to a failure, as most banks mean it. Look at what your bank means otherwise
//! before you call [`check`].

use crate::{Failure, RateLimited, Reply, Scope, date};

impl Reply {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.name == name).map(|header| header.value.as_str())
    }
}

/// Passes a 2xx reply on, and turns any other into the failure most banks mean by it:
///
/// | Status | Failure |
/// |---|---|
/// | 401 | `session-expired` |
/// | 403 | `consent-expired` |
/// | 404, 405, 501 | `not-supported` |
/// | 429 | `rate-limited` of the connection, with `Retry-After` |
/// | 5xx | `bank-unavailable`, with `Retry-After` |
/// | any other | `unreadable`, field `status-NNN` |
pub fn check(reply: &Reply, now_ms: u64) -> Result<&Reply, Failure> {
    let retry_after_s = || retry_after_s(reply, now_ms);
    match reply.status {
        200..=299 => Ok(reply),
        401 => Err(Failure::SessionExpired),
        403 => Err(Failure::ConsentExpired),
        404 | 405 | 501 => Err(Failure::NotSupported),
        429 => Err(Failure::RateLimited(RateLimited {
            retry_after_s: retry_after_s(),
            scope: Scope::Connection,
        })),
        500..=599 => Err(Failure::BankUnavailable(retry_after_s())),
        other => Err(Failure::unreadable(None, &format!("status-{other}"))),
    }
}

/// `Retry-After` in seconds from now; the bank may say seconds or an HTTP date (RFC 9110, 10.2.3).
/// A date that is over is 0.
pub fn retry_after_s(reply: &Reply, now_ms: u64) -> Option<u32> {
    let text = reply.header("retry-after")?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(u32::try_from(seconds).unwrap_or(u32::MAX));
    }
    let until = date::from_http_date(text)?;
    let seconds = until.saturating_sub(now_ms).div_ceil(1_000);
    Some(u32::try_from(seconds).unwrap_or(u32::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ReplyHeader;

    /// 2017-04-05T10:43:07Z
    const NOW: u64 = 1_491_388_987_000;

    fn reply(status: u16, retry_after: Option<&str>) -> Reply {
        let headers = retry_after
            .map(|value| ReplyHeader { name: "retry-after".into(), value: value.into() })
            .into_iter()
            .collect();
        Reply { status, headers, body: vec![], captured: vec![] }
    }

    #[test]
    fn each_status_has_one_meaning() {
        for status in [200, 204, 299] {
            assert!(check(&reply(status, None), NOW).is_ok());
        }
        for (status, expected) in [
            (302, Failure::unreadable(None, "status-302")),
            (400, Failure::unreadable(None, "status-400")),
            (401, Failure::SessionExpired),
            (403, Failure::ConsentExpired),
            (404, Failure::NotSupported),
            (429, Failure::RateLimited(RateLimited { retry_after_s: None, scope: Scope::Connection })),
            (501, Failure::NotSupported),
            (503, Failure::BankUnavailable(None)),
        ] {
            assert_eq!(check(&reply(status, None), NOW), Err(expected), "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999", Some(u32::MAX)),
            ("Wed, 05 Apr 2017 10:45:07 GMT", Some(120)),
            ("Wed, 05 Apr 2017 10:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
        ] {
            assert_eq!(retry_after_s(&reply(429, Some(text)), NOW), expected, "{text}");
        }
        assert_eq!(check(&reply(503, Some("7")), NOW), Err(Failure::BankUnavailable(Some(7))));
    }
}
