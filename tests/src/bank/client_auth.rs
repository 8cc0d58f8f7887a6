//! Who asks at the token endpoint: a client proves it by HTTP Basic (RFC 6749, 2.3.1) or by a signed
//! assertion (`private_key_jwt`, RFC 7523), whichever it is registered with, and over mutual TLS also
//! by its certificate. A client with a certificate must always show it.
//!
//! # The assertion
//! Form fields `client_assertion_type` =
//! `urn:ietf:params:oauth:client-assertion-type:jwt-bearer` and `client_assertion`; `client_id` may be
//! left out. A JWT, PS256; header `alg`, optionally `typ` and `kid` (`signing_key_id` of the
//! registration). Claims: `iss` and `sub` are the client id; `aud` is the URL of the token endpoint;
//! `exp` lies at most five minutes ahead, by the bank's clock; `jti` was never used before; `iat` and
//! `nbf` are optional. Whatever is wrong: 401 `{"error": "invalid_client"}`.

use super::Shared;
use super::jws::Claims;
use super::service::Asked;
use axum::http::header;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;

/// What `client_assertion_type` says.
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Long enough for a slow connection, short enough that a stolen one is worth little.
const ASSERTION_LIVES_MAX: TimeDelta = TimeDelta::minutes(5);

/// How the client presents itself in the form.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Presented<'a> {
    pub(super) client_id: Option<&'a str>,
    pub(super) assertion_type: Option<&'a str>,
    pub(super) assertion: Option<&'a str>,
}

/// The id of the client that proved who it is; else a sentence with the reason.
pub(super) fn authenticate(
    shared: &Shared,
    asked: &Asked<'_>,
    presented: Presented<'_>,
) -> Result<String, &'static str> {
    let basic = asked.header(&header::AUTHORIZATION).and_then(|value| value.strip_prefix("Basic "));
    let client = match (basic, presented.assertion) {
        (Some(basic), None) => by_secret(shared, basic)?,
        (None, Some(assertion)) if presented.assertion_type == Some(JWT_BEARER) => {
            by_assertion(shared, assertion)?
        }
        _ => return Err("Send HTTP Basic or a client_assertion, as the client is registered"),
    };
    if presented.client_id.is_some_and(|id| id != client) {
        return Err("client_id is not the client that proved who it is");
    }
    let state = shared.state();
    let registered = state.clients.get(&client).ok_or("The bank does not know this client")?;
    match registered.certificate == asked.caller.certificate {
        true => Ok(client),
        false => Err("The certificate is not the one that the client is registered with"),
    }
}

fn by_secret(shared: &Shared, basic: &str) -> Result<String, &'static str> {
    let wrong = "Client id or secret are wrong";
    let given = STANDARD.decode(basic).ok().and_then(|text| String::from_utf8(text).ok()).ok_or(wrong)?;
    let (id, secret) = given.split_once(':').ok_or(wrong)?;
    let (id, secret) = (form_text(id).ok_or(wrong)?, form_text(secret).ok_or(wrong)?);
    let state = shared.state();
    let right = state.clients.get(&id).and_then(|client| client.secret.as_deref());
    (right == Some(secret.as_str())).then_some(id).ok_or(wrong)
}

/// Both halves of Basic are written as in a form.
fn form_text(text: &str) -> Option<String> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&format!("text={text}")).ok()?;
    pairs.into_iter().next().map(|(_, value)| value)
}

fn by_assertion(shared: &Shared, assertion: &str) -> Result<String, &'static str> {
    let said = Claims::unverified(assertion).ok_or("The assertion cannot be read")?;
    let id = said.text("iss").ok_or("The assertion does not say who it is from (iss)")?;
    let now = shared.clock.now();
    let clients = &mut shared.state().clients;
    let client = clients.get(id).ok_or("The bank does not know this client")?;
    let key = client.key.as_ref().filter(|_| client.secret.is_none());
    let key = key.ok_or("The client is registered with HTTP Basic")?;
    let claims = Claims::verified(assertion, key)?;
    if claims.text("sub") != Some(id) {
        return Err("The assertion is about somebody else (sub)");
    }
    let token = |origin: &String| format!("{origin}/token");
    if !claims.is_for(&shared.origins().map(token).collect::<Vec<_>>()) {
        return Err("The assertion is not for this token endpoint (aud)");
    }
    let end = claims.in_time(now, ASSERTION_LIVES_MAX)?;
    let jti = claims.text("jti").ok_or("The assertion has no jti")?;
    clients.use_up(id, jti, end, now).then_some(id.to_owned()).ok_or("The assertion was used before (jti)")
}
