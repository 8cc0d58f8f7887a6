//! POSTs to webhook receivers: addresses that customers chose, so that nothing about them is
//! trusted. The answer's body is read only so that the connection can be used again.

use super::limits::{ANSWER_BYTES_MAX, URL_BYTES_MAX};
use super::{Egress, EgressError, PostAnswer, transport};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use std::time::Duration;

/// See [`Egress::check_webhook_url`].
pub(super) fn check(egress: &Egress, text: &str) -> Result<url::Url, EgressError> {
    let refused = |what: &str| Err(EgressError::Refused(format!("the webhook address {what}")));
    if text.len() > URL_BYTES_MAX {
        return refused(&format!("must be at most {URL_BYTES_MAX} bytes long"));
    }
    let Ok(url) = url::Url::parse(text) else {
        return refused("must be a URL such as https://example.com/hooks");
    };
    let (Some(host), Some(port), "http" | "https") =
        (url.host_str(), url.port_or_known_default(), url.scheme())
    else {
        return refused("must be an https URL with a host");
    };
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return refused("must hold no user, password or fragment");
    }
    let plain = url.scheme() == "http";
    egress.clients.guard(plain, port).check_literal(&url)?;
    let some_allowed = egress.clients.allow().iter().any(|address| address.port() == port);
    let local = host == "localhost" || host.ends_with(".localhost");
    if (plain || local) && matches!(url.host(), Some(url::Host::Domain(_))) && !some_allowed {
        return refused(
            "must start with https:// and name a host of the public internet, unless its IP:PORT stands in egress.allow",
        );
    }
    Ok(url)
}

/// See [`Egress::post`].
pub(super) async fn post(
    egress: &Egress,
    url: &str,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
) -> Result<PostAnswer, EgressError> {
    let url = check(egress, url)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(0);
    let client = egress
        .clients
        .webhook(url.scheme() == "http", port)
        .map_err(|code| EgressError::Unreachable { code, host: host.clone(), left: false })?;
    let mut message = reqwest::Request::new(reqwest::Method::POST, url);
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let bad = || {
            EgressError::Refused(format!(
                "the webhook header \"{name}\" is not a token, or holds a control character"
            ))
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        map.insert(name, HeaderValue::from_str(value).map_err(|_| bad())?);
    }
    *message.headers_mut() = map;
    *message.body_mut() = Some(body.into());

    let over = tokio::time::Instant::now() + egress.config.webhook_timeout;
    let mut response = tokio::time::timeout_at(over, client.execute(message))
        .await
        .map_err(|_| EgressError::Unreachable { code: "timeout", host: host.clone(), left: true })?
        .map_err(|error| transport::failed(&error, &host).error)?;
    let answer = PostAnswer {
        status: response.status().as_u16(),
        retry_after_s: retry_after(egress, response.headers()),
    };
    // The head decides: a receiver that said 200 has the event, however slowly it goes on talking.
    let _ = tokio::time::timeout_at(over.min(tokio::time::Instant::now() + DRAIN), async {
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read > ANSWER_BYTES_MAX {
                break;
            }
        }
    })
    .await;
    Ok(answer)
}

/// Time for the rest of an answer whose head is there: a connection used again is worth no more.
const DRAIN: Duration = Duration::from_secs(2);

/// `Retry-After` in seconds (RFC 9110 section 10.2.3).
fn retry_after(egress: &Egress, headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let date = chrono::DateTime::<chrono::Utc>::from(date).timestamp();
    Some(u64::try_from(date.saturating_sub(egress.clock.now().seconds())).unwrap_or(0))
}
