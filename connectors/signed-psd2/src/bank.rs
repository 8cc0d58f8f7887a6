//! What every request has in common, and what a refusal means. The key never comes here: digest and signature are
//! said, and the host computes them from the very body that leaves.

use serde::Deserialize;
use tidegate_sdk::json::{self, Object};
use tidegate_sdk::signature::HttpSignature;
use tidegate_sdk::{Context, Failure, Part, Profile, RateLimited, Reply, Request, Scope, status};

/// What the profile may set.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// Days that a consent is asked for.
    pub consent_days: u32,
    /// Readings of a day without the customer that a consent is asked for; PSD2 grants four.
    pub frequency_per_day: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { consent_days: 180, frequency_per_day: 4 }
    }
}

/// The profile; its origin `api` is where `/consents` and `/accounts` lie.
pub fn profile(ask: &Context) -> Result<Profile<Settings>, Failure> {
    ask.profile()
}

/// An address of the bank.
pub fn url(ask: &Context, path: &str) -> Result<String, Failure> {
    Ok(format!("{}{path}", profile(ask)?.origin("api")?))
}

/// Signed by the business; `body` is JSON text, or empty.
pub fn signed(ask: &Context, request: Request, body: &str) -> Request {
    let body = if body.is_empty() { vec![] } else { vec![Part::text(body)] };
    let request = match body.is_empty() {
        true => request.header("accept", "application/json"),
        false => request.header("accept", "application/json").header("content-type", "application/json"),
    };
    let business = HttpSignature { key_id: "key-id", key: "signing-key" };
    business.sign(request, &ask.uuid(0), ask.now_ms, body)
}

/// With the customer's address, if they are at a screen: then the reading is not counted.
pub fn with_customer(ask: &Context, request: Request) -> Request {
    request.header_of_customer("psu-ip-address", "customer-ip", ask).header_of_customer(
        "psu-user-agent",
        "customer-user-agent",
        ask,
    )
}

/// A signed GET under the consent.
pub fn get(ask: &Context, url: &str) -> Request {
    let request = Request::get(url).header_parts("consent-id", vec![Part::value("consent-id")]);
    signed(ask, with_customer(ask, request), "")
}

/// Passes a 2xx reply on, and turns a refusal into a failure: the code decides, the status where it has none.
///
/// Too many readings without the customer: only that account waits, and no time is named, so that a reading
/// with the customer at the screen, which the bank does not count, is not held up.
pub fn check(ask: &Context, reply: &Reply) -> Result<(), Failure> {
    if reply.status >= 400 {
        let refusal: Object = json::document(&reply.body).unwrap_or_default();
        for message in refusal.list("tppMessages").unwrap_or_default() {
            match message.text("code").unwrap_or_default().as_ref() {
                "CONSENT_EXPIRED" | "CONSENT_INVALID" | "CONSENT_UNKNOWN" => {
                    return Err(Failure::ConsentExpired);
                }
                "ACCESS_EXCEEDED" => {
                    let retry_after_s = status::retry_after_s(reply, ask.now_ms);
                    return Err(Failure::RateLimited(RateLimited { retry_after_s, scope: Scope::Account }));
                }
                "PERIOD_INVALID" => return Err(Failure::WindowNotAvailable(None)),
                "RESOURCE_UNKNOWN" => return Err(Failure::NotSupported),
                // Our key, our clock: nothing that the customer can mend.
                "SIGNATURE_INVALID" => return Err(Failure::BankUnavailable(None)),
                _ => {}
            }
        }
    }
    status::check(reply, ask.now_ms).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{context, reply, with_customer as at_screen};

    #[test]
    fn a_request_is_signed_with_its_body() {
        let request = signed(&context(), Request::post("https://bank.example/x"), "{\"a\":1}");
        let header = |name: &str| request.header_text(name);
        assert!(header("signature").is_some_and(|signature| signature.starts_with("keyId=\"{key-id}\"")));
        assert_eq!(header("x-request-id").as_deref(), Some("07070707-0707-4707-8707-070707070707"));
        assert_eq!(
            (request.body_text().as_str(), header("content-type").as_deref()),
            ("{\"a\":1}", Some("application/json"))
        );
        let request = get(&context(), "https://bank.example/x");
        assert_eq!(request.header_text("content-type"), None);
        assert_eq!(request.header_text("consent-id").as_deref(), Some("{consent-id}"));
    }

    #[test]
    fn the_customers_address_is_told_only_while_they_are_at_a_screen() {
        assert_eq!(get(&context(), "x").header_text("psu-ip-address"), None);
        let request = get(&at_screen(), "x");
        assert_eq!(request.header_text("psu-ip-address").as_deref(), Some("{customer-ip}"));
        assert_eq!(request.header_text("psu-user-agent"), None);
    }

    #[test]
    fn a_refusal_says_what_the_bank_means() {
        let exceeded = RateLimited { retry_after_s: None, scope: Scope::Account };
        let busy = RateLimited { retry_after_s: None, scope: Scope::Connection };
        for (status, code, expected) in [
            (401, "CONSENT_EXPIRED", Failure::ConsentExpired),
            (401, "CONSENT_INVALID", Failure::ConsentExpired),
            (403, "CONSENT_UNKNOWN", Failure::ConsentExpired),
            (401, "SIGNATURE_INVALID", Failure::BankUnavailable(None)),
            (400, "PERIOD_INVALID", Failure::WindowNotAvailable(None)),
            (400, "FORMAT_ERROR", Failure::unreadable(None, "status-400")),
            (404, "RESOURCE_UNKNOWN", Failure::NotSupported),
            (429, "ACCESS_EXCEEDED", Failure::RateLimited(exceeded)),
            (429, "", Failure::RateLimited(busy)),
            (503, "", Failure::BankUnavailable(None)),
        ] {
            let body = format!(r#"{{"tppMessages":[{{"category":"ERROR","code":"{code}","text":"no"}}]}}"#);
            assert_eq!(check(&context(), &reply(status, body.as_bytes())), Err(expected), "{status} {code}");
        }
        assert_eq!(check(&context(), &reply(503, b"<html>")), Err(Failure::BankUnavailable(None)));
        assert_eq!(check(&context(), &reply(200, b"<html>")), Ok(()));
    }
}
