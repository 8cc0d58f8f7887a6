//! From a refresh token to an access token (RFC 6749, section 6), and the end of a consent.

use crate::bank::{self, Settings};
use serde::{Deserialize, Deserializer};
use tidegate_sdk::request::Field;
use tidegate_sdk::{
    Context, Failure, Flow, Goal, Part, Profile, RateLimited, Reply, Request, Scope, SessionInfo, Stop,
    status,
};

/// An access token handed in with less than this left is renewed at once.
const LEFT_MIN_MS: u64 = 60_000;

/// Opens, renews or closes the session.
pub fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> Result<SessionInfo, Stop> {
    let mut flow = Flow::new(memory, replies)?;
    if goal == Goal::Close {
        return close(ask, &mut flow);
    }
    if goal == Goal::Open
        && flow.is_first_call()
        && let Some(token) = ask.credential("access-token")
    {
        let can_renew = ask.credential("refresh-token").is_some();
        let lasts = token.expires_at_ms.is_some_and(|end| end > ask.now_ms + LEFT_MIN_MS);
        // One that does not say when it ends is used as long as it works, if it is all there is.
        if lasts || (token.expires_at_ms.is_none() && !can_renew) {
            return Ok(SessionInfo { valid_until_ms: token.expires_at_ms, state: None, consent: None });
        }
    }
    if ask.credential("refresh-token").is_none() {
        // Nothing to get in with: only the customer can give a new consent.
        return Err(Failure::ConsentExpired.into());
    }
    let request = token_request(
        ask,
        &[("grant_type", Field::Text("refresh_token")), ("refresh_token", Field::Value("refresh-token"))],
    )?
    .capture_json("access-token", "access_token", true)
    .capture_json("refresh-token", "refresh_token", false);
    let lasts_s = flow.ask(request, |reply| token(ask, reply))?;
    let valid_until_ms = lasts_s.map(|seconds| ask.now_ms.saturating_add(seconds.saturating_mul(1_000)));
    Ok(SessionInfo { valid_until_ms, state: None, consent: None })
}

/// Ends the consent at the bank, if we know its id: with a token of our own, since the customer's
/// may be gone. Otherwise there is nothing to say to the bank.
fn close(ask: &Context, flow: &mut Flow<'_>) -> Result<SessionInfo, Stop> {
    let closed = SessionInfo { valid_until_ms: None, state: None, consent: None };
    if ask.credential("consent-id").is_none() {
        return Ok(closed);
    }
    let request = token_request(
        ask,
        &[("grant_type", Field::Text("client_credentials")), ("scope", Field::Text("accounts"))],
    )?
    .capture_json("client-token", "access_token", true);
    flow.ask(request, |reply| token(ask, reply))?;
    let request = Request::delete(format!("{}/account-access-consents", bank::api(ask)?))
        .segment_value("consent-id")
        .header("x-fapi-interaction-id", ask.uuid(0))
        .header_parts("authorization", vec![Part::text("Bearer "), Part::value("client-token")]);
    flow.ask(request, |reply| match reply.status {
        // Gone already is as good; the standard answers 400 to an id it does not know.
        400 | 404 => Ok(()),
        _ => status::check(reply, ask.now_ms).map(|_| ()),
    })?;
    Ok(closed)
}

fn token_request(ask: &Context, fields: &[(&str, Field<'_>)]) -> Result<Request, Failure> {
    let profile: Profile<Settings> = ask.profile()?;
    Ok(Request::post(format!("{}/token", profile.origin("auth")?))
        .header("accept", "application/json")
        .basic("client-id", "client-secret")
        .form(fields))
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

/// The token's seconds, if the bank says them.
///
/// `invalid_grant` means the refresh token is used up, revoked or out of date: the customer must
/// consent anew. Every other refusal is about us (our client id, our secret, our request) and never
/// the customer's fault, so nobody is bothered: it is `bank-unavailable`, which backs off until the
/// operator has put the registration right.
fn token(ask: &Context, reply: &Reply) -> Result<Option<u64>, Failure> {
    let limited = || {
        let retry_after_s = status::retry_after_s(reply, ask.now_ms);
        Failure::RateLimited(RateLimited { retry_after_s, scope: Scope::Institution })
    };
    match reply.status {
        200..=299 => {
            let token: TokenReply = reply.json()?;
            Ok(token.expires_in)
        }
        429 => Err(limited()),
        400..=499 => {
            let refusal: TokenReply = reply.json().unwrap_or_default();
            match refusal.error.as_str() {
                "invalid_grant" => Err(Failure::ConsentExpired),
                _ => Err(Failure::BankUnavailable(status::retry_after_s(reply, ask.now_ms))),
            }
        }
        _ => Err(status::check(reply, ask.now_ms).err().unwrap_or(Failure::BankUnavailable(None))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::OpenBankingUk;
    use crate::fixtures::*;
    use tidegate_sdk::{Capture, Connector, Encoded, Encoding, Method, Operation, Place, Send, SessionStep};

    fn step(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> SessionStep {
        OpenBankingUk::session(ask, goal, memory, replies)
    }
    fn sent(step: SessionStep) -> (Request, String) {
        let SessionStep::Send(Send { mut requests, memory }) = step else { panic!("{step:?}") };
        assert_eq!(requests.len(), 1);
        (requests.remove(0), memory)
    }
    fn answered(body: &[u8], status: u16) -> SessionStep {
        let (_, memory) = sent(step(&context(), Goal::Renew, "", &[]));
        step(&context(), Goal::Renew, &memory, &[reply(status, body)])
    }
    fn ready(valid_until_ms: Option<u64>) -> SessionStep {
        SessionStep::Ready(SessionInfo { valid_until_ms, state: None, consent: None })
    }

    #[test]
    fn a_renewal_trades_the_refresh_token_and_never_sees_it() {
        let (request, memory) = sent(step(&context(), Goal::Renew, "", &[]));
        assert_eq!(request.method, Method::Post);
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
        let capture = |name: &str, place: &str, required| Capture {
            name: name.into(),
            place: Place::Json(place.into()),
            required,
        };
        assert_eq!(
            request.captures,
            [capture("access-token", "access_token", true), capture("refresh-token", "refresh_token", false)]
        );
        let done = step(&context(), Goal::Renew, &memory, &[reply(200, TOKEN)]);
        assert_eq!(done, ready(Some(NOW + 300_000)));
    }

    #[test]
    fn a_token_that_still_lasts_is_used_without_asking() {
        let mut ask = context();
        ask.credentials.push(credential("access-token", Some(NOW + 120_000)));
        assert_eq!(step(&ask, Goal::Open, "", &[]), ready(Some(NOW + 120_000)));
        // But not when the bank said that it is over, or when it is about to end.
        sent(step(&ask, Goal::Renew, "", &[]));
        ask.credentials =
            vec![credential("refresh-token", None), credential("access-token", Some(NOW + 1_000))];
        sent(step(&ask, Goal::Open, "", &[]));
        ask.credentials = vec![credential("refresh-token", None), credential("access-token", None)];
        sent(step(&ask, Goal::Open, "", &[]));
    }

    #[test]
    fn a_token_captured_meanwhile_does_not_confuse_the_second_step() {
        let (_, memory) = sent(step(&context(), Goal::Open, "", &[]));
        let mut ask = context();
        ask.credentials.push(credential("access-token", Some(NOW + 10_000_000)));
        assert_eq!(step(&ask, Goal::Open, &memory, &[reply(200, TOKEN)]), ready(Some(NOW + 300_000)));
    }

    #[test]
    fn without_a_refresh_token_only_the_customer_can_help() {
        let mut ask = context();
        ask.credentials = vec![credential("access-token", None)];
        assert_eq!(step(&ask, Goal::Open, "", &[]), ready(None));
        assert_eq!(step(&ask, Goal::Renew, "", &[]), SessionStep::Fail(Failure::ConsentExpired));
        ask.credentials.clear();
        assert_eq!(step(&ask, Goal::Open, "", &[]), SessionStep::Fail(Failure::ConsentExpired));
    }

    #[test]
    fn a_refused_renewal_is_the_customers_only_when_the_grant_is_over() {
        assert_eq!(answered(TOKEN_INVALID_GRANT, 400), SessionStep::Fail(Failure::ConsentExpired));
        assert_eq!(
            answered(br#"{"error":"invalid_client"}"#, 401),
            SessionStep::Fail(Failure::BankUnavailable(None))
        );
        assert_eq!(answered(b"{}", 403), SessionStep::Fail(Failure::BankUnavailable(None)));
        assert_eq!(answered(b"<html>", 400), SessionStep::Fail(Failure::BankUnavailable(None)));
        assert_eq!(answered(b"", 503), SessionStep::Fail(Failure::BankUnavailable(None)));
        assert_eq!(answered(b"", 302), SessionStep::Fail(Failure::unreadable(None, "status-302")));
        let limited = RateLimited { retry_after_s: None, scope: Scope::Institution };
        assert_eq!(answered(b"{}", 429), SessionStep::Fail(Failure::RateLimited(limited)));
    }

    #[test]
    fn the_life_of_a_token_may_be_a_number_a_text_or_unsaid() {
        assert_eq!(answered(br#"{"expires_in":"60"}"#, 200), ready(Some(NOW + 60_000)));
        assert_eq!(answered(br#"{"expires_in":null}"#, 200), ready(None));
        assert_eq!(answered(b"{}", 200), ready(None));
        assert_eq!(
            answered(br#"{"expires_in":"soon"}"#, 200),
            SessionStep::Fail(Failure::unreadable(None, "expires_in"))
        );
    }

    #[test]
    fn closing_without_a_consent_id_asks_nothing() {
        assert_eq!(step(&context(), Goal::Close, "", &[]), ready(None));
    }

    #[test]
    fn closing_ends_the_consent_with_a_token_of_our_own() {
        let mut ask = context();
        ask.credentials.push(credential("consent-id", None));
        let (request, memory) = sent(step(&ask, Goal::Close, "", &[]));
        assert_eq!(request.body_text(), "grant_type=client_credentials&scope=accounts");
        let (request, memory) = sent(step(&ask, Goal::Close, &memory, &[reply(200, TOKEN)]));
        assert_eq!(request.method, Method::Delete);
        assert_eq!(
            request.url_text(),
            "https://api.bank.example/open-banking/v3.1/aisp/account-access-consents/{percent-consent-id}"
        );
        assert_eq!(request.header_text("authorization").as_deref(), Some("Bearer {client-token}"));
        for status in [204, 400, 404] {
            assert_eq!(step(&ask, Goal::Close, &memory, &[reply(status, b"")]), ready(None));
        }
        assert_eq!(
            step(&ask, Goal::Close, &memory, &[reply(503, b"")]),
            SessionStep::Fail(Failure::BankUnavailable(None))
        );
    }
}
