//! What came back, made fit for a connector: decoded to UTF-8, captures taken out, login replies
//! reduced to the listed fields, and searched for secrets.

use super::capture::{self, Open};
use super::json;
use super::secret::Tripwire;
use super::value::Values;
use super::{Call, EgressError, Exchange};
use crate::model::{Purpose, Reply, ReplyEncoding, Request, Route, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem::Finder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, SET_COOKIE};
use zeroize::Zeroizing;

/// A reply as it arrived, decompressed and within its limits.
pub(super) struct Raw {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Headers that describe the message on the wire, which is not the message handed on.
const WIRE_HEADERS: [&str; 7] = [
    "connection",
    "content-encoding",
    "content-length",
    "keep-alive",
    "set-cookie",
    "set-cookie2",
    "transfer-encoding",
];
/// Bytes of what is shown of a login reply by the texts around it: a sentence for a customer.
const TEXT_BYTES_MAX: usize = 1_024;
/// Headers of a login reply that a connector may see.
const LOGIN_HEADERS: [&str; 3] = ["content-type", "date", "retry-after"];

impl Raw {
    /// The `Set-Cookie` headers that are text.
    pub fn cookies(&self) -> impl Iterator<Item = &str> {
        self.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok())
    }
}

/// Makes a reply fit for the connector.
pub(super) fn finish(
    call: &Call<'_>,
    route: &Route,
    request: &Request,
    values: &Values<'_>,
    raw: Raw,
    secret_bytes: usize,
) -> Result<Exchange, EgressError> {
    if raw.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding.as_bytes() != b"identity") {
        return Err(EgressError::BadReply(format!(
            "the reply on route \"{}\" is compressed in a way that was not asked for; the bank must send gzip or nothing",
            route.name
        )));
    }
    let status = raw.status;
    let mut open = opened(raw);
    decode(&mut open, &route.name)?;
    unwrap(&mut open, route)?;
    let public = |name: &str| call.manifest.value(name).is_some_and(|declared| declared.public);
    let captured = capture::take(&mut open, &request.captures, (200..300).contains(&status), &public)?;
    if route.purpose == Purpose::Login {
        reduce(&mut open, route);
    }
    tripwire(call, route, values, &captured, &open, secret_bytes)?;
    let names = captured.iter().map(|(name, _)| name.clone()).collect();
    Ok(Exchange {
        reply: Reply { status, headers: open.headers, body: open.body, captured: names },
        captured,
    })
}

/// Headers that are no text are dropped, as are those of the wire.
fn opened(raw: Raw) -> Open {
    let cookies = raw.cookies().map(|cookie| Zeroizing::new(cookie.to_owned())).collect();
    let headers = raw
        .headers
        .iter()
        .filter(|(name, _)| !WIRE_HEADERS.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    Open { headers, cookies, body: raw.body }
}

/// Text is handed on as UTF-8. A body in another charset is translated; one that is not in the
/// charset it claims is refused, since guessing would corrupt names.
fn decode(open: &mut Open, route: &str) -> Result<(), EgressError> {
    let Some((_, content_type)) = open.headers.iter_mut().find(|(name, _)| name == CONTENT_TYPE.as_str())
    else {
        return Ok(());
    };
    let mut parameters = content_type.split(';');
    let kind = parameters.next().unwrap_or_default().trim().to_ascii_lowercase();
    let charset = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
    });
    let is_json = kind == "application/json" || kind.ends_with("+json");
    let label = match charset {
        Some(charset) => charset,
        None if is_json => "utf-8".to_owned(),
        None => return Ok(()),
    };
    let bad = |what: &str| Err(EgressError::BadReply(format!("the reply on route \"{route}\" {what}")));
    let Some(encoding) = encoding_rs::Encoding::for_label(label.as_bytes()) else {
        return bad("has a charset that is not known");
    };
    let (text, used, broken) = encoding.decode(&open.body);
    if broken {
        return bad(&format!("is not {}, which it claims to be", used.name()));
    }
    if text.as_bytes() != open.body.as_slice() {
        open.body = text.into_owned().into_bytes();
        *content_type = format!("{kind}; charset=utf-8");
    }
    Ok(())
}

/// Takes off the encoding that the route declares.
fn unwrap(open: &mut Open, route: &Route) -> Result<(), EgressError> {
    if route.reply_encoding == ReplyEncoding::Base64 {
        open.body.retain(|byte| !byte.is_ascii_whitespace());
        let decoded = Zeroizing::new(std::mem::take(&mut open.body));
        open.body = STANDARD.decode(decoded.as_slice()).map_err(|_| {
            EgressError::BadReply(format!("the reply on route \"{}\" is not base64", route.name))
        })?;
    }
    Ok(())
}

/// Leaves of a login reply only what the route lists: fields that are strings, numbers or booleans, digit
/// by digit as the bank wrote them, which of the marks stand there, and what stands between texts.
fn reduce(open: &mut Open, route: &Route) {
    open.headers.retain(|(name, _)| LOGIN_HEADERS.contains(&name.as_str()));
    let body = Zeroizing::new(std::mem::take(&mut open.body));
    let text = std::str::from_utf8(&body).ok().filter(|text| json::is_json(text)).unwrap_or_default();
    let fields = route.reply.iter().filter_map(|field| {
        let path: Vec<&str> = field.split('.').collect();
        let token = json::find(text, &path).pop().and_then(|range| text.get(range))?;
        json::scalar(token)?;
        Some(format!("{}:{token}", serde_json::Value::from(field.as_str())))
    });
    let stands = |text: &&String| Finder::new(text.as_bytes()).find(&body).is_some();
    let marks = route.marks.iter().filter(|(_, text)| stands(text));
    let marks = marks.map(|(name, _)| format!("{}:true", serde_json::Value::from(name.as_str())));
    let plain = std::str::from_utf8(&body).unwrap_or_default();
    let texts = route.texts.iter().filter_map(|(name, ends)| {
        let found = between(plain, ends)?;
        Some(format!("{}:{}", serde_json::Value::from(name.as_str()), serde_json::Value::from(found)))
    });
    open.body =
        format!("{{{}}}", fields.chain(marks).chain(texts).collect::<Vec<_>>().join(",")).into_bytes();
}

/// What stands between two texts; nothing if it is longer than a sentence.
fn between<'t>(text: &'t str, (before, after): &(String, String)) -> Option<&'t str> {
    let (_, rest) = text.split_once(before.as_str())?;
    let (found, _) = rest.split_once(after.as_str())?;
    (found.len() <= TEXT_BYTES_MAX).then_some(found)
}

/// Withholds a reply in which a secret can be read.
fn tripwire(
    call: &Call<'_>,
    route: &Route,
    values: &Values<'_>,
    captured: &[(String, Secret)],
    open: &Open,
    secret_bytes: usize,
) -> Result<(), EgressError> {
    let mut tripwire = Tripwire::new(call.values, call.manifest, secret_bytes);
    captured.iter().for_each(|(name, secret)| tripwire.add_declared(name, secret, call.manifest));
    values.readable().for_each(|(name, bytes)| tripwire.add(name, bytes));
    let texts = open.headers.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    match std::iter::once(open.body.as_slice()).chain(texts).find_map(|text| tripwire.find(text)) {
        Some(name) => Err(EgressError::SecretEchoed(format!("route \"{}\" (value \"{name}\")", route.name))),
        None => Ok(()),
    }
}
