//! The token endpoint (RFC 6749): who we are, what we trade in, and what its answer means.

use crate::bank::Settings;
use crate::claims::Claims;
use serde::{Deserialize, Deserializer};
use tidegate_sdk::jwt::{Jwt, json_value};
use tidegate_sdk::request::Field;
use tidegate_sdk::{
    Context, Derived, Encoded, Encoding, Failure, Flow, Operation, Part, Profile, RateLimited, Reply,
    Request, Scope, Stop, status,
};

/// The key that signs for us, if our registration has one.
pub const SIGNING_KEY: &str = "signing-key";
/// What `client_assertion_type` says (RFC 7523, 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Seconds that an assertion is good: many banks take none that lasts five minutes.
const ASSERTION_LIVES_S: u64 = 240;
/// Random bytes of an assertion's `jti`, which no other may have.
const JTI_BYTES: u8 = 16;

/// A token to be signed with our key, by PS256 as FAPI wants it.
pub fn jwt<'a>(ask: &Context, name: &'a str) -> Jwt<'a> {
    let key_id = ask.credential("signing-key-id").map(|_| "signing-key-id");
    Jwt { name, algorithm: "PS256", key: SIGNING_KEY, key_id }
}

/// So many random bytes, as `name`; their letters need no escaping anywhere.
pub fn random(name: &str, bytes: u8) -> [Derived; 2] {
    let raw = format!("{name}-bytes");
    let over = vec![Part::value(&raw)];
    let hex = Operation::Encode(Encoded { alphabet: Encoding::Hex, over });
    [Derived { name: raw, how: Operation::Random(bytes) }, Derived { name: name.to_owned(), how: hex }]
}

/// The tokens of the customer for what we hold: captured, and how long they are good.
pub fn trade(ask: &Context, flow: &mut Flow<'_>, fields: &[(&str, Field<'_>)]) -> Result<Option<u64>, Stop> {
    let request = request(ask, fields)?.capture_json("access-token", "access_token", true).capture_json(
        "refresh-token",
        "refresh_token",
        false,
    );
    flow.ask(request, |reply| valid_until(ask, reply))
}

/// A token of our own, for consents: captured as `client-token`.
pub fn of_client(ask: &Context, flow: &mut Flow<'_>) -> Result<(), Stop> {
    let fields = [("grant_type", Field::Text("client_credentials")), ("scope", Field::Text("accounts"))];
    let request = request(ask, &fields)?.capture_json("client-token", "access_token", true);
    flow.ask(request, |reply| valid_until(ask, reply).map(drop))
}

/// We prove who we are as we are registered: by a signed assertion (RFC 7523) if the registration has
/// a signing key, else by HTTP Basic.
fn request(ask: &Context, fields: &[(&str, Field<'_>)]) -> Result<Request, Failure> {
    let profile: Profile<Settings> = ask.profile()?;
    let endpoint = format!("{}/token", profile.origin("auth")?);
    let request = Request::post(&endpoint).header("accept", "application/json");
    if ask.credential(SIGNING_KEY).is_none() {
        return Ok(request.basic("client-id", "client-secret").form(fields));
    }
    let now_s = ask.now_ms / 1_000;
    let claims = Claims::default()
        .value("iss", "client-id")
        .value("sub", "client-id")
        .json("aud", endpoint)
        .json("iat", now_s)
        .json("exp", now_s + ASSERTION_LIVES_S)
        .plain("jti", "jti");
    let proof =
        [("client_assertion_type", Field::Text(JWT_BEARER)), ("client_assertion", Field::Value("assertion"))];
    let all: Vec<_> = fields.iter().copied().chain(proof).collect();
    Ok(request
        .derive_all(vec![json_value("client-id")])
        .derive_all(random("jti", JTI_BYTES).into())
        .derive_all(jwt(ask, "assertion").derive(claims.parts()))
        .form(&all))
}

/// What the route lets us see of the token reply.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TokenReply {
    #[serde(deserialize_with = "seconds")]
    expires_in: Option<u64>,
    error: String,
}

/// A number, or, as some banks write it, a number in quotes.
fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    match Option::<Written>::deserialize(from)? {
        None => Ok(None),
        Some(Written::Number(number)) => Ok(Some(number)),
        Some(Written::Text(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

/// When the token ends, if the bank says it.
///
/// `invalid_grant` means that the refresh token or code is used up, revoked or out of date: the
/// customer must consent anew. Every other refusal is about us (see [`ours`]).
fn valid_until(ask: &Context, reply: &Reply) -> Result<Option<u64>, Failure> {
    if let 400..=499 = reply.status {
        let refusal: TokenReply = reply.json().unwrap_or_default();
        if refusal.error == "invalid_grant" {
            return Err(Failure::ConsentExpired);
        }
    }
    ours(ask, reply)?;
    let token: TokenReply = reply.json()?;
    Ok(token.expires_in.map(|seconds| ask.now_ms.saturating_add(seconds.saturating_mul(1_000))))
}

/// Passes a 2xx reply on. A refusal of what we ask for ourselves is about our client id, our key, our
/// request, and never the customer's fault, so nobody is bothered: it is `bank-unavailable`, which
/// backs off until the operator has put the registration right.
pub fn ours(ask: &Context, reply: &Reply) -> Result<(), Failure> {
    let retry_after_s = status::retry_after_s(reply, ask.now_ms);
    match reply.status {
        429 => Err(Failure::RateLimited(RateLimited { retry_after_s, scope: Scope::Institution })),
        400..=499 => Err(Failure::BankUnavailable(retry_after_s)),
        _ => status::check(reply, ask.now_ms).map(drop),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::fixtures::*;
    use tidegate_sdk::Signature;

    const REFRESH: [(&str, Field<'_>); 2] =
        [("grant_type", Field::Text("refresh_token")), ("refresh_token", Field::Value("refresh-token"))];

    fn answered(body: &[u8], status: u16) -> Result<Option<u64>, Failure> {
        valid_until(&context(), &reply(status, body))
    }

    #[test]
    fn without_a_signing_key_we_come_with_http_basic() {
        let request = request(&context(), &REFRESH).unwrap();
        assert_eq!(request.url_text(), "https://auth.bank.example/token");
        assert_eq!(request.header_text("authorization").as_deref(), Some("Basic {basic}"));
        assert_eq!(request.body_text(), "grant_type=refresh_token&refresh_token={percent-refresh-token}");
        let basic = request.derived.iter().find(|derived| derived.name == "basic").unwrap();
        assert_eq!(
            basic.how,
            Operation::Encode(Encoded {
                alphabet: Encoding::Base64,
                over: vec![
                    Part::value("percent-client-id"),
                    Part::text(":"),
                    Part::value("percent-client-secret")
                ],
            })
        );
    }

    #[test]
    fn with_a_signing_key_we_come_with_an_assertion_and_no_secret() {
        let request = request(&registered(), &REFRESH).unwrap();
        assert_eq!(request.header_text("authorization"), None);
        assert_eq!(
            request.body_text(),
            "grant_type=refresh_token&refresh_token={percent-refresh-token}\
             &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
             &client_assertion={percent-assertion}"
        );
        let claims = derived(&request.derived, "assertion-claims");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&claims).unwrap(),
            serde_json::json!({
                "iss": "<json-client-id>", "sub": "<json-client-id>", "aud": "https://auth.bank.example/token",
                "iat": NOW / 1_000, "exp": NOW / 1_000 + 240, "jti": "<jti>",
            })
        );
        let header = derived(&request.derived, "assertion-header");
        assert_eq!(header, r#"{"typ":"JWT","alg":"PS256","kid":"<json-signing-key-id>"}"#);
        let signed = request.derived.iter().find(|derived| derived.name == "assertion-bytes").unwrap();
        let Operation::Sign(Signature { algorithm, key, .. }) = &signed.how else { panic!() };
        assert_eq!((algorithm.as_str(), key.as_str()), ("PS256", "signing-key"));
        let jti = request.derived.iter().find(|derived| derived.name == "jti-bytes").unwrap();
        assert_eq!(jti.how, Operation::Random(16), "a new one in every request");
        assert!(request.derived.len() <= 16, "the contract's limit: {}", request.derived.len());

        let mut ask = registered();
        ask.credentials.retain(|known| known.name != "signing-key-id");
        let request = super::request(&ask, &REFRESH).unwrap();
        assert_eq!(derived(&request.derived, "assertion-header"), r#"{"typ":"JWT","alg":"PS256"}"#);
    }

    #[test]
    fn a_refusal_is_the_customers_only_when_the_grant_is_over() {
        assert_eq!(answered(TOKEN_INVALID_GRANT, 400), Err(Failure::ConsentExpired));
        let unavailable = || Err(Failure::BankUnavailable(None));
        assert_eq!(answered(br#"{"error":"invalid_client"}"#, 401), unavailable());
        assert_eq!(answered(b"{}", 403), unavailable());
        assert_eq!(answered(b"<html>", 400), unavailable());
        assert_eq!(answered(b"", 503), unavailable());
        assert_eq!(answered(b"", 302), Err(Failure::unreadable(None, "status-302")));
        let limited = RateLimited { retry_after_s: None, scope: Scope::Institution };
        assert_eq!(answered(b"{}", 429), Err(Failure::RateLimited(limited)));
    }

    #[test]
    fn the_life_of_a_token_may_be_a_number_a_text_or_unsaid() {
        assert_eq!(answered(TOKEN, 200), Ok(Some(NOW + 300_000)));
        assert_eq!(answered(br#"{"expires_in":"60"}"#, 200), Ok(Some(NOW + 60_000)));
        assert_eq!(answered(br#"{"expires_in":null}"#, 200), Ok(None));
        assert_eq!(answered(b"{}", 200), Ok(None));
        let soon = answered(br#"{"expires_in":"soon"}"#, 200);
        assert_eq!(soon, Err(Failure::unreadable(None, "expires_in")));
    }
}
