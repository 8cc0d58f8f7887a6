//! The customer's consent: asked for at the bank, agreed to on its page, recorded as the bank has it,
//! and ended.

use crate::bank;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_sdk::json::{self, Object};
use tidegate_sdk::oauth::ours;
use tidegate_sdk::{
    ConsentGiven, Context, Failure, Flow, Part, Redirect, Reply, Request, Stop, date, status,
};

/// Permissions that are asked for unless the profile says otherwise: all that this connector reads.
const PERMISSIONS: [&str; 5] = [
    "ReadAccountsDetail",
    "ReadBalances",
    "ReadTransactionsCredits",
    "ReadTransactionsDebits",
    "ReadTransactionsDetail",
];
/// Days that a consent lasts unless the profile says otherwise.
const CONSENT_DAYS: u64 = 90;
const DAY_MS: u64 = 86_400_000;
/// What the customer is asked to allow (OpenID Connect and the standard's own word).
const SCOPE: &str = "openid accounts";
/// What a token of our own is asked for.
const OUR_SCOPE: &str = "accounts";
/// What the customer is told before they go.
const TEXT: &str =
    "Your bank asks you to log in on its own page, and which of your accounts you want to share.";

/// Asks the bank for a consent and sends the customer to its page; goes on when they have agreed, with
/// a code in `authorisation-code`.
pub fn ask_for(ask: &Context, flow: &mut Flow<'_>) -> Result<(), Stop> {
    bank::client(ask)?.by_ourselves(flow, OUR_SCOPE)?;
    let request = Request::post(consents(ask)?)
        .header("accept", "application/json")
        .fapi(ask)
        .bearer("client-token")
        .body("application/json", vec![Part::text(wanted(ask)?)])
        .capture_json("consent-id", "Data.ConsentId", true);
    flow.ask(request, |reply| match reply.status {
        // The profile asks for a permission that this bank does not have.
        400 => Err(Failure::unreadable(None, "consents.status-400")),
        _ => ours(ask, reply),
    })?;
    flow.redirect(redirect(ask)?, TEXT, None)
}

/// Where consents lie.
fn consents(ask: &Context) -> Result<String, Failure> {
    Ok(format!("{}/account-access-consents", bank::api(ask)?))
}

/// OBReadConsent1.
fn wanted(ask: &Context) -> Result<String, Failure> {
    let settings = bank::profile(ask)?.settings;
    let permissions = settings.permissions.unwrap_or_else(|| PERMISSIONS.map(str::to_owned).into());
    let mut data = json!({ "Permissions": permissions });
    let lasts_ms = settings.consent_days.unwrap_or(CONSENT_DAYS).saturating_mul(DAY_MS);
    if let (Some(data), 1..) = (data.as_object_mut(), lasts_ms) {
        let end = date::iso(ask.now_ms.saturating_add(lasts_ms));
        data.insert("ExpirationDateTime".to_owned(), end.into());
    }
    Ok(json!({ "Data": data, "Risk": {} }).to_string())
}

/// The bank's page, about this consent.
fn redirect(ask: &Context) -> Result<Redirect, Failure> {
    let profile = bank::profile(ask)?;
    let page = profile.origin("authorise")?;
    let issuer = profile.settings.issuer.as_deref().unwrap_or(page);
    let intent = ["claims", "id_token", "openbanking_intent_id"];
    Ok(bank::client(ask)?.redirect(&format!("{page}/authorize"), issuer, SCOPE, |claims| {
        claims.within(&intent, "consent-id", "\"essential\":true")
    }))
}

/// What the customer agreed to, in the bank's words: from here on it counts, whatever was asked for.
pub fn agreed(ask: &Context, flow: &mut Flow<'_>) -> Result<ConsentGiven, Stop> {
    // The token from before may have ended while the customer was at the bank.
    bank::client(ask)?.by_ourselves(flow, OUR_SCOPE)?;
    let request = Request::get(consents(ask)?)
        .segment_value("consent-id")
        .header("accept", "application/json")
        .fapi(ask)
        .bearer("client-token");
    let Agreed { id, permissions, end_ms } = flow.ask(request, |reply| read(ask, reply))?;
    Ok(ConsentGiven { expires_at_ms: end_ms, scopes: permissions, reference: Some(id) })
}

/// [`ConsentGiven`], as the flow remembers it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Agreed {
    id: String,
    permissions: Vec<String>,
    end_ms: Option<u64>,
}

/// OBReadConsentResponse1, as far as it is recorded.
fn read(ask: &Context, reply: &Reply) -> Result<Agreed, Failure> {
    ours(ask, reply)?;
    let document: Object = json::document(&reply.body)?;
    let data = document.object("Data")?;
    Ok(Agreed {
        id: data.text("ConsentId")?.into_owned(),
        permissions: data.read("Permissions")?,
        end_ms: data.instant_if("ExpirationDateTime")?,
    })
}

/// Ends the consent at the bank: with a token of our own, since the customer's may be gone.
pub fn end(ask: &Context, flow: &mut Flow<'_>) -> Result<(), Stop> {
    bank::client(ask)?.by_ourselves(flow, OUR_SCOPE)?;
    let request =
        Request::delete(consents(ask)?).segment_value("consent-id").fapi(ask).bearer("client-token");
    flow.ask(request, |reply| match reply.status {
        // Gone already is as good; the standard answers 400 to an id it does not know.
        400 | 404 => Ok(()),
        _ => status::check(reply, ask.now_ms).map(drop),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::fixtures::*;
    use serde_json::Value;
    use tidegate_sdk::Returned;

    fn with_settings(settings: &str) -> Context {
        let mut ask = registered();
        ask.profile = ask.profile.replace(r#""settings":{}"#, &format!(r#""settings":{settings}"#));
        ask
    }
    fn wanted(ask: &Context) -> Value {
        serde_json::from_str(&super::wanted(ask).unwrap()).unwrap()
    }

    #[test]
    fn a_consent_is_asked_for_as_the_profile_says() {
        let usual = wanted(&registered());
        assert_eq!(usual["Risk"], json!({}));
        assert_eq!(usual["Data"]["Permissions"], json!(PERMISSIONS));
        assert_eq!(usual["Data"]["ExpirationDateTime"], "2027-02-18T12:00:00Z", "90 days");
        let own = wanted(&with_settings(r#"{"consent-days":1,"permissions":["ReadAccountsBasic"]}"#));
        assert_eq!(
            own["Data"],
            json!({ "Permissions": ["ReadAccountsBasic"], "ExpirationDateTime": "2026-11-21T12:00:00Z" })
        );
        let endless = wanted(&with_settings(r#"{"consent-days":0}"#));
        assert!(endless["Data"].get("ExpirationDateTime").is_none(), "until it is taken back: {endless}");
    }

    #[test]
    fn the_customer_is_sent_to_the_banks_page_with_a_signed_request() {
        let redirect = redirect(&registered()).unwrap();
        assert_eq!(
            filled(&redirect.url),
            "https://bank.example/login/authorize?response_type=code&scope=openid%20accounts\
             &client_id=<client-id>&redirect_uri=<redirect-uri>&state=<redirect-state>&request=<request>"
        );
        let claims: Value = serde_json::from_str(&derived(&redirect.derived, "request-claims")).unwrap();
        assert_eq!(
            claims,
            json!({
                "iss": "<json-client-id>", "client_id": "<json-client-id>", "aud": "https://bank.example/login",
                "iat": NOW / 1_000, "nbf": NOW / 1_000, "exp": NOW / 1_000 + 1_200,
                "response_type": "code", "scope": "openid accounts", "redirect_uri": "<json-redirect-uri>",
                "state": "<json-redirect-state>", "nonce": "<nonce>",
                "code_challenge": "<pkce-challenge>", "code_challenge_method": "S256",
                "claims": { "id_token": { "openbanking_intent_id": {
                    "value": "<json-consent-id>", "essential": true } } },
            })
        );
        assert!(redirect.derived.len() <= 16, "the contract's limit: {}", redirect.derived.len());
        let back = Returned { parameter: "code".into(), name: "authorisation-code".into(), required: true };
        assert_eq!(redirect.returned, [back]);

        let elsewhere = super::redirect(&with_settings(r#"{"issuer":"https://bank.example"}"#)).unwrap();
        let claims: Value = serde_json::from_str(&derived(&elsewhere.derived, "request-claims")).unwrap();
        assert_eq!(claims["aud"], "https://bank.example");
    }

    #[test]
    fn what_was_agreed_to_is_what_the_bank_says() {
        let read = |status, body: &[u8]| super::read(&registered(), &reply(status, body));
        let agreed = read(200, CONSENT).unwrap();
        assert_eq!((agreed.id.as_str(), agreed.permissions.len()), ("urn-alphabank-intent-88379", 5));
        assert_eq!(agreed.end_ms, date::unix_ms("2027-02-18T12:00:00Z"));
        let endless = br#"{"Data":{"ConsentId":"c","Permissions":[]},"Risk":{}}"#;
        assert_eq!(read(200, endless).unwrap().end_ms, None);
        let odd = br#"{"Data":{"ConsentId":"c","Permissions":[],"ExpirationDateTime":"soon"}}"#;
        assert_eq!(read(200, odd), Err(Failure::unreadable(None, "Data.ExpirationDateTime")));
        assert_eq!(read(200, b"{}"), Err(Failure::unreadable(None, "Data")));
        assert_eq!(read(401, b""), Err(Failure::BankUnavailable(None)), "our token, not the customer's");
        assert_eq!(read(503, b""), Err(Failure::BankUnavailable(None)));
    }
}
