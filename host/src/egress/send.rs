//! One request of a connector, from the first check to the reply it may see.

use super::cookie::CookieJar;
use super::limits::{AFTER_MS_MAX, RETRY_PAUSES};
use super::reply::{self, Raw};
use super::transport::{self, Failed};
use super::value::{self, Values};
use super::{Call, Egress, EgressError, Exchange, capture, header, route};
use crate::model::{Method, Purpose, Redirect, Request};
use reqwest::header::{COOKIE, HeaderValue};
use std::time::Duration;

/// Checks, waits, fills in, sends, and makes the reply fit for the connector.
pub(super) async fn send(
    egress: &Egress,
    call: &Call<'_>,
    request: &Request,
    jar: &mut CookieJar,
) -> Result<Exchange, EgressError> {
    let limits = &egress.limits;
    if value::request_bytes(request) > limits.request_bytes {
        return Err(EgressError::Refused(format!("a request of more than {} bytes", limits.request_bytes)));
    }
    let target = route::aim(call, request)?;
    let header_names = header::names(&request.headers)?;
    capture::check(call, &request.captures)?;
    wait(egress, call, request.after_ms).await?;

    let values = Values::derive(call, target.route, limits, request, egress.clock.now().seconds())?;
    let url = target.url(&values)?;
    let mut headers = header::fill(header_names, &request.headers, &values)?;
    let body = values.join(&request.body)?;
    if let Some(cookies) = jar.header(&url, egress.clock.now())
        && let Ok(mut cookies) = HeaderValue::from_str(cookies.reveal())
    {
        cookies.set_sensitive(true);
        headers.insert(COOKIE, cookies);
    }
    let mut message = reqwest::Request::new(method(request.method), url.clone());
    *message.headers_mut() = headers;
    if !request.body.is_empty() {
        *message.body_mut() = Some(body.bytes.to_vec().into());
    }

    let raw = transmit(egress, call, request.method, message).await?;
    raw.cookies().for_each(|cookie| jar.take(cookie, &url, egress.clock.now()));
    reply::finish(call, target.route, request, &values, raw, limits.secret_bytes)
}

/// See [`super::Egress::browser_url`].
pub(super) fn browser_url(
    egress: &Egress,
    call: &Call<'_>,
    redirect: &Redirect,
) -> Result<String, EgressError> {
    let request = Request {
        method: Method::Get,
        url: redirect.url.clone(),
        headers: Vec::new(),
        body: Vec::new(),
        derived: redirect.derived.clone(),
        captures: Vec::new(),
        after_ms: 0,
    };
    if value::request_bytes(&request) > egress.limits.request_bytes {
        return Err(EgressError::Refused(format!(
            "a redirect of more than {} bytes",
            egress.limits.request_bytes
        )));
    }
    let call = Call { purposes: &[Purpose::Customer], ..*call };
    let target = route::aim(&call, &request)?;
    let values = Values::derive(&call, target.route, &egress.limits, &request, egress.clock.now().seconds())?;
    Ok(target.url(&values)?.into())
}

/// Waits as long as the connector asked for, if the lease lasts that long.
async fn wait(egress: &Egress, call: &Call<'_>, after_ms: u32) -> Result<(), EgressError> {
    if after_ms > AFTER_MS_MAX {
        return Err(EgressError::Refused(format!("`after-ms` is more than {AFTER_MS_MAX}")));
    }
    let pause = Duration::from_millis(after_ms.into());
    if !pause.is_zero() && pause >= call.deadline.left() {
        return Err(EgressError::DeadlinePassed);
    }
    egress.clock.sleep(pause).await;
    Ok(())
}

/// Sends, and sends again what may be repeated: a GET, or anything of which nothing has left. The
/// time for all tries together is the time for one exchange.
async fn transmit(
    egress: &Egress,
    call: &Call<'_>,
    method: Method,
    message: reqwest::Request,
) -> Result<Raw, EgressError> {
    let url = message.url();
    let (plain, port) = (url.scheme() == "http", url.port_or_known_default().unwrap_or(0));
    let host = url.host_str().unwrap_or_default().to_owned();
    match &call.way.proxy {
        None => egress.clients.guard(plain, port).check_literal(url)?,
        Some(proxy) => check_proxied(egress, proxy, url, plain, port).await?,
    }
    let client = egress
        .clients
        .bank(call.institution, call.registration, call.way, plain, port)
        .map_err(|code| EgressError::Unreachable { code, host: host.clone(), left: false })?;
    let mut pauses = RETRY_PAUSES.iter();
    let mut left = egress.config.bank_timeout;
    loop {
        egress.pace.wait(&egress.clock, call).await?;
        let Some(message) = message.try_clone().filter(|_| !call.deadline.passed()) else {
            return Err(EgressError::DeadlinePassed);
        };
        let begun = tokio::time::Instant::now();
        let exchange = transport::exchange(&client, message, &egress.limits);
        let failed = match tokio::time::timeout(left.min(call.deadline.left()), exchange).await {
            Ok(Ok(raw)) => return Ok(raw),
            Ok(Err(failed)) => failed,
            Err(_) => {
                return Err(EgressError::Unreachable { code: "timeout", host, left: true });
            }
        };
        left = left.saturating_sub(begun.elapsed());
        match failed {
            Failed { transient: true, nothing_sent, .. }
                if nothing_sent || (call.repeats && method == Method::Get) =>
            {
                match pauses.next() {
                    Some(pause) if *pause < call.deadline.left() => egress.clock.sleep(*pause).await,
                    _ => return Err(failed.error),
                }
            }
            _ => return Err(failed.error),
        }
    }
}

/// A proxy's address is looked at like any other, and so is the bank's, although the proxy is the one to connect to it.
async fn check_proxied(
    egress: &Egress,
    proxy: &str,
    url: &url::Url,
    plain: bool,
    port: u16,
) -> Result<(), EgressError> {
    if plain {
        return Err(EgressError::Refused(
            "plain http does not go through a proxy, which would read it; use https, or take the proxy out of the profile"
                .to_owned(),
        ));
    }
    let proxy = url::Url::parse(proxy).map_err(|_| EgressError::Refused("the proxy is no URL".to_owned()))?;
    egress.clients.proxy_guard(&proxy).check_literal(&proxy)?;
    egress.clients.guard(plain, port).check_for_proxy(url).await
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Delete => reqwest::Method::DELETE,
    }
}
