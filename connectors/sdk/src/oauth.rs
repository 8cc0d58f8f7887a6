//! The client side of OAuth 2.0 (RFC 6749) as open banking has it: who we are, what we trade in at the token
//! endpoint, what its answer means, and how a customer is sent to the bank's page.
//!
//! What `connector.toml` declares for it; what is not used may be left out:
//!
//! | Value | Kind | What it is |
//! |---|---|---|
//! | `client-id` | registration, public | our name at the bank |
//! | `signing-key` | registration, to sign | with it we prove ourselves by `private_key_jwt` (RFC 7523) and may send customers to the bank |
//! | `signing-key-id` | registration, public | its `kid` |
//! | `client-secret` | registration | without a signing key we prove ourselves by HTTP Basic |
//! | `access-token` | credential | captured, or handed in |
//! | `refresh-token` | credential | captured, or handed in |
//! | `authorisation-code` | prompt | comes back with the customer's browser |
//! | `client-token` | prompt | our own token, captured |
//!
//! The route of the token endpoint must show `expires_in` and `error`. Requests that leave have at most 14
//! derived values, two less than the contract allows.
//!
//! ```
//! # use tidegate_sdk::*;
//! # use tidegate_sdk::oauth::Client;
//! fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> Result<SessionInfo, Stop> {
//!     let mut flow = Flow::new(memory, replies)?;
//!     let client = Client::new(ask, "https://auth.bank.example/token");
//!     let page = "https://bank.example/authorize";
//!     let entered = client.enter(&mut flow, goal, |flow| {
//!         let redirect = client.redirect(page, "https://bank.example", "openid accounts", |claims| claims);
//!         flow.redirect(redirect, "Your bank asks you to log in on its own page.", None)
//!     })?;
//!     Ok(SessionInfo::until(entered.valid_until_ms))
//! }
//! ```
//!
//! Must not know: how a bank words a consent.

use crate::claims::Claims;
use crate::jwt::{Jwt, pkce_challenge, random};
use crate::request::Field;
use crate::{
    Context, Failure, Flow, Goal, Part, RateLimited, Redirect, Reply, Request, Returned, Scope, Stop, status,
};
use serde::{Deserialize, Deserializer, Serialize};

/// The key that signs for us, if our registration has one.
const SIGNING_KEY: &str = "signing-key";
/// What `client_assertion_type` says (RFC 7523, 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Seconds that an assertion is good: many banks take none that lasts five minutes.
const ASSERTION_LIVES_S: u64 = 240;
/// Random bytes of an assertion's `jti`, which no other may have.
const JTI_BYTES: u8 = 16;
/// Seconds that the signed request is good: longer than the 15 minutes that the host lets the prompt
/// stand, well within the hour that FAPI allows.
const REQUEST_LIVES_S: u64 = 20 * 60;
/// Random bytes of the `nonce`.
const NONCE_BYTES: u8 = 16;
/// An access token handed in with less than this left is renewed at once.
const LEFT_MIN_MS: u64 = 60_000;

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// What was handed in, as it is.
    AccessToken,
    /// It is renewed.
    RefreshToken,
    /// The customer is asked at the bank.
    Customer,
    /// There is none.
    Nothing,
}

impl Way {
    /// What is handed in counts first. With nothing to get in with, the customer is asked, by signed requests
    /// only.
    pub fn of(ask: &Context, goal: Goal) -> Self {
        let can_renew = ask.credential("refresh-token").is_some();
        if let (Goal::Open, Some(token)) = (goal, ask.credential("access-token")) {
            let lasts = token.expires_at_ms.is_some_and(|end| end > ask.now_ms + LEFT_MIN_MS);
            // One that does not say when it ends is used as long as it works, if it is all there is.
            if lasts || (token.expires_at_ms.is_none() && !can_renew) {
                return Self::AccessToken;
            }
        }
        match goal {
            _ if can_renew => Self::RefreshToken,
            Goal::Open if ask.credential(SIGNING_KEY).is_some() => Self::Customer,
            _ => Self::Nothing,
        }
    }
}

/// What a way in led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// When the access token ends, if the bank says it.
    pub valid_until_ms: Option<u64>,
    /// The customer has just agreed: what to is still to be recorded.
    pub agreed: bool,
}

/// We, at the token endpoint of a bank.
#[derive(Debug, Clone)]
pub struct Client<'a> {
    ask: &'a Context,
    endpoint: String,
}

impl<'a> Client<'a> {
    /// The address of the token endpoint is also who our assertions are for.
    pub fn new(ask: &'a Context, endpoint: impl Into<String>) -> Self {
        Self { ask, endpoint: endpoint.into() }
    }

    /// Opens or renews: by the [`Way`] there is. `ask_customer` sends the customer to the bank, from where
    /// they come back with a code.
    ///
    /// Fails as `consent-expired` where only a customer can help and none may be asked, as `not-supported`
    /// where none can be.
    pub fn enter(
        &self,
        flow: &mut Flow<'_>,
        goal: Goal,
        ask_customer: impl FnOnce(&mut Flow<'_>) -> Result<(), Stop>,
    ) -> Result<Entered, Stop> {
        // With a code and tokens, a turn was cut short after the customer agreed, and begins anew. Noted, since
        // what is captured on the way would look like another way.
        let has_code = || self.ask.credential("authorisation-code").is_some();
        let (way, agreed) = flow.note(|| (Way::of(self.ask, goal), has_code()))?;
        let valid_until_ms = match way {
            Way::AccessToken => self.ask.credential("access-token").and_then(|token| token.expires_at_ms),
            Way::RefreshToken => self.by_refresh_token(flow)?,
            Way::Customer => {
                ask_customer(flow)?;
                self.by_code(flow)?
            }
            // Only the customer can give a new consent.
            Way::Nothing if goal == Goal::Renew => return Err(Failure::ConsentExpired.into()),
            Way::Nothing => return Err(Failure::NotSupported.into()),
        };
        Ok(Entered { valid_until_ms, agreed: agreed || way == Way::Customer })
    }

    /// The customer's tokens for `refresh-token` (RFC 6749, section 6), and how long they are good.
    pub fn by_refresh_token(&self, flow: &mut Flow<'_>) -> Result<Option<u64>, Stop> {
        self.trade(
            flow,
            &[("grant_type", Field::Text("refresh_token")), ("refresh_token", Field::Value("refresh-token"))],
        )
    }

    /// The customer's tokens for `authorisation-code` (RFC 6749, 4.1.3; RFC 7636, 4.5), and how long they are
    /// good.
    pub fn by_code(&self, flow: &mut Flow<'_>) -> Result<Option<u64>, Stop> {
        let fields = [
            ("grant_type", Field::Text("authorization_code")),
            ("code", Field::Value("authorisation-code")),
            ("redirect_uri", Field::Value("redirect-uri")),
            ("code_verifier", Field::Value("pkce-verifier")),
        ];
        self.trade(flow, &fields)
    }

    fn trade(&self, flow: &mut Flow<'_>, fields: &[(&str, Field<'_>)]) -> Result<Option<u64>, Stop> {
        let request = self.request(fields).capture_json("access-token", "access_token", true).capture_json(
            "refresh-token",
            "refresh_token",
            false,
        );
        flow.ask(request, |reply| valid_until(self.ask, reply))
    }

    /// A token of our own (RFC 6749, 4.4), for consents and the like: captured as `client-token`.
    pub fn by_ourselves(&self, flow: &mut Flow<'_>, scope: &str) -> Result<(), Stop> {
        let fields = [("grant_type", Field::Text("client_credentials")), ("scope", Field::Text(scope))];
        let request = self.request(&fields).capture_json("client-token", "access_token", true);
        flow.ask(request, |reply| valid_until(self.ask, reply).map(drop))
    }

    /// We prove who we are as we are registered: by a signed assertion (RFC 7523) if the registration has
    /// a signing key, else by HTTP Basic.
    fn request(&self, fields: &[(&str, Field<'_>)]) -> Request {
        let request = Request::post(&self.endpoint).header("accept", "application/json");
        if self.ask.credential(SIGNING_KEY).is_none() {
            return request.basic("client-id", "client-secret").form(fields);
        }
        let now_s = self.ask.now_ms / 1_000;
        let claims = Claims::default()
            .value("iss", "client-id")
            .value("sub", "client-id")
            .json("aud", self.endpoint.as_str())
            .json("iat", now_s)
            .json("exp", now_s + ASSERTION_LIVES_S)
            .plain("jti", "jti");
        let proof = [
            ("client_assertion_type", Field::Text(JWT_BEARER)),
            ("client_assertion", Field::Value("assertion")),
        ];
        let all: Vec<_> = fields.iter().copied().chain(proof).collect();
        request
            .derive_all(claims.values())
            .derive_all(random("jti", JTI_BYTES))
            .derive_all(self.jwt("assertion").derive(claims.parts()))
            .form(&all)
    }

    /// The bank's page, with a request that we sign (RFC 9101), bound to this way back by PKCE (RFC 7636). The
    /// code comes back as `authorisation-code`.
    ///
    /// `issuer` is what the bank calls itself; `more` adds claims of the bank's own.
    pub fn redirect(
        &self,
        page: &str,
        issuer: &str,
        scope: &str,
        more: impl FnOnce(Claims) -> Claims,
    ) -> Redirect {
        let now_s = self.ask.now_ms / 1_000;
        let claims = Claims::default()
            .value("iss", "client-id")
            .json("aud", issuer)
            .json("iat", now_s)
            .json("nbf", now_s)
            .json("exp", now_s + REQUEST_LIVES_S)
            .value("client_id", "client-id")
            .json("response_type", "code")
            .json("scope", scope)
            .value("redirect_uri", "redirect-uri")
            .value("state", "redirect-state")
            .plain("nonce", "nonce")
            .plain("code_challenge", "pkce-challenge")
            .json("code_challenge_method", "S256");
        let claims = more(claims);
        let mut redirect = Request::get(page)
            .query("response_type", Field::Text("code"))
            .query("scope", Field::Text(scope))
            .derive_all(claims.values())
            .derive_all(random("nonce", NONCE_BYTES))
            .derive_all(pkce_challenge())
            .derive_all(self.jwt("request").derive(claims.parts()))
            .into_redirect();
        // In an address the host escapes values itself; a derived value more for each would be too many.
        for (parameter, value) in [
            ("client_id", "client-id"),
            ("redirect_uri", "redirect-uri"),
            ("state", "redirect-state"),
            ("request", "request"),
        ] {
            redirect.url.push(Part::text(format!("&{parameter}=")));
            redirect.url.push(Part::value(value));
        }
        let (parameter, name) = ("code".to_owned(), "authorisation-code".to_owned());
        redirect.returned = vec![Returned { parameter, name, required: true }];
        redirect
    }

    /// A token to be signed with our key, by PS256 as FAPI wants it.
    fn jwt<'n>(&self, name: &'n str) -> Jwt<'n> {
        let key_id = self.ask.credential("signing-key-id").map(|_| "signing-key-id");
        Jwt { name, algorithm: "PS256", key: SIGNING_KEY, key_id }
    }
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
    use crate::{CredentialInfo, Derived, Encoded, Encoding, Operation, Signature};

    /// 2026-11-20T12:00:00Z
    const NOW: u64 = 1_795_176_000_000;
    /// As the host shows it: only the fields that the route lists.
    const TOKEN: &[u8] = br#"{"expires_in": 300}"#;
    const TOKEN_INVALID_GRANT: &[u8] = br#"{"error": "invalid_grant"}"#;

    fn with(names: &[&str]) -> Context {
        let credential =
            |name: &&str| CredentialInfo { name: (*name).into(), bytes: 40, expires_at_ms: None };
        Context {
            now_ms: NOW,
            seed: vec![7; 32],
            profile: "{}".to_owned(),
            credentials: names.iter().map(credential).collect(),
            consent: None,
            customer_present: false,
            state: None,
        }
    }
    fn context() -> Context {
        with(&["refresh-token"])
    }
    fn registered() -> Context {
        with(&["client-id", "signing-key", "signing-key-id"])
    }
    fn request(ask: &Context, fields: &[(&str, Field<'_>)]) -> Request {
        Client::new(ask, "https://auth.bank.example/token").request(fields)
    }
    fn reply(status: u16, body: &[u8]) -> Reply {
        Reply { status, headers: vec![], body: body.to_vec(), captured: vec![] }
    }
    /// What a derived value encodes, with `<name>` where a value stands.
    fn derived(all: &[Derived], name: &str) -> String {
        let Some(Operation::Encode(encoded)) =
            all.iter().find(|derived| derived.name == name).map(|derived| &derived.how)
        else {
            return String::new();
        };
        let part = |part: &Part| match part {
            Part::Value(name) => format!("<{name}>"),
            text => Request { url: vec![text.clone()], ..Request::get("") }.url_text(),
        };
        encoded.over.iter().map(part).collect()
    }

    const REFRESH: [(&str, Field<'_>); 2] =
        [("grant_type", Field::Text("refresh_token")), ("refresh_token", Field::Value("refresh-token"))];

    fn answered(body: &[u8], status: u16) -> Result<Option<u64>, Failure> {
        valid_until(&context(), &reply(status, body))
    }

    #[test]
    fn without_a_signing_key_we_come_with_http_basic() {
        let request = request(&context(), &REFRESH);
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
        let request = request(&registered(), &REFRESH);
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
        let request = super::tests::request(&ask, &REFRESH);
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
