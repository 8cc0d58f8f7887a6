//! One try over the wire: sends, reads the reply within its limits, and says what went wrong in
//! the words of this module. Knows neither routes nor secrets.

use super::EgressError;
use super::address::{Blocked, NoSuchName};
use super::limits::Limits;
use super::reply::Raw;
use reqwest::{Client, Request, Response};
use std::error::Error;

/// A try that failed.
pub(super) struct Failed {
    pub error: EgressError,
    /// Another try may go better.
    pub transient: bool,
    /// The connection was never established.
    pub nothing_sent: bool,
}

/// Sends once and reads the whole reply.
pub(super) async fn exchange(client: &Client, request: Request, limits: &Limits) -> Result<Raw, Failed> {
    let host = request.url().host_str().unwrap_or_default().to_owned();
    let response = client.execute(request).await.map_err(|error| failed(&error, &host))?;
    read(response, limits, &host).await
}

async fn read(mut response: Response, limits: &Limits, host: &str) -> Result<Raw, Failed> {
    let too_large = |what: String| Failed {
        error: EgressError::ReplyTooLarge(what),
        transient: false,
        nothing_sent: false,
    };
    let headers = response.headers().clone();
    let header_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if header_bytes > limits.reply_header_bytes {
        return Err(too_large(format!(
            "the reply of {host} has more than {} bytes of headers",
            limits.reply_header_bytes
        )));
    }
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error, host))? {
        if body.len() + chunk.len() > limits.reply_bytes {
            return Err(too_large(format!(
                "the reply of {host} is larger than {} bytes",
                limits.reply_bytes
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Raw { status, headers, body })
}

/// Reads the cause out of the client's error.
pub(super) fn failed(error: &reqwest::Error, host: &str) -> Failed {
    let nothing_sent = error.is_connect();
    let unreachable = |code, transient| Failed {
        error: EgressError::Unreachable { code, host: host.to_owned(), left: !nothing_sent },
        transient,
        nothing_sent,
    };
    let bad = |what: &str| Failed {
        error: EgressError::BadReply(format!("the reply of {host} {what}")),
        transient: false,
        nothing_sent,
    };
    if let Some(blocked) = cause::<Blocked>(error) {
        return Failed {
            error: EgressError::BlockedAddress(blocked.0.clone()),
            transient: false,
            nothing_sent,
        };
    }
    // The client has a type for it, and keeps it to itself.
    if nothing_sent && causes(error).any(|cause| cause.to_string().starts_with("tunnel error")) {
        return unreachable("proxy", true);
    }
    if cause::<NoSuchName>(error).is_some() {
        return unreachable("dns", true);
    }
    if error.is_timeout() {
        return unreachable("timeout", nothing_sent);
    }
    let invalid = causes(error)
        .filter_map(<dyn Error>::downcast_ref::<std::io::Error>)
        .any(|error| error.kind() == std::io::ErrorKind::InvalidData);
    if nothing_sent {
        // rustls reports a certificate it does not trust, and all else it dislikes, as invalid data.
        return if invalid { unreachable("tls", false) } else { unreachable("connect", true) };
    }
    let protocol = cause::<hyper::Error>(error);
    if protocol.is_some_and(hyper::Error::is_parse_too_large) {
        let error =
            EgressError::ReplyTooLarge(format!("the reply of {host} has too many or too large headers"));
        return Failed { error, transient: false, nothing_sent };
    }
    if protocol.is_some_and(hyper::Error::is_parse) {
        return bad("is not HTTP");
    }
    match protocol {
        // With TLS 1.3 a bank refuses a client's certificate only after the handshake.
        Some(_) if invalid => unreachable("tls", false),
        None if error.is_decode() || invalid => bad("is not in the compression it claims to be"),
        _ => unreachable("reset", true),
    }
}

/// An error and its causes, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        // An io::Error's own source is its content's source: the content itself would be passed over.
        let content = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        content.map(|content| content as _).or_else(|| error.source())
    })
}

/// The first cause of this type.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(<dyn Error>::downcast_ref)
}
