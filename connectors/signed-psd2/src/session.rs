//! From nothing to a consent, by the bank's own page; and its end. There is no session besides.

use crate::bank::{check, profile, signed, url, with_customer};
use tidegate_sdk::json::{self, Object};
use tidegate_sdk::{
    ConsentGiven, Context, Encoded, Encoding, Failure, Flow, Goal, Operation, Part, Reply, Request,
    SessionInfo, Stop, date,
};

/// What is asked for, in the bank's words.
const SCOPE: &str = "allPsd2";
/// Milliseconds between two looks at a consent that the customer has decided, but the bank has not noticed.
const LOOK_MS: u32 = 2_000;

/// Has the customer decide, if nobody has; a consent that is held is only looked at.
pub fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> Result<SessionInfo, Stop> {
    let mut flow = Flow::new(memory, replies)?;
    if goal == Goal::Close {
        return close(ask, &mut flow);
    }
    let mut reference = None;
    let held = flow.note(|| ask.credential("consent-id").is_some())?;
    if held {
        // Whoever refused or took it back must be asked again, and nobody may be there.
        if !flow.ask(status(ask)?, |reply| is_valid(ask, reply))?.unwrap_or(false) {
            return Err(Failure::ConsentExpired.into());
        }
    } else {
        let (id, link) = flow.ask(consent(ask)?, |reply| asked_for(ask, reply))?;
        reference = Some(id);
        let redirect = Request::get(link).into_redirect();
        flow.redirect(redirect, "Your bank asks you whether we may read your accounts.", None)?;
        let decided = |reply: &Reply| match is_valid(ask, reply)? {
            Some(false) => Err(Failure::ConsentExpired),
            valid => Ok(valid.map(drop)),
        };
        flow.wait_for(status(ask)?, LOOK_MS, "We are waiting for your bank to tell us.", decided)?;
    }
    let one = signed(ask, Request::get(url(ask, "/consents")?).segment_value("consent-id"), "");
    let ends_ms = flow.ask(one, |reply| ends_ms(ask, reply))?;
    let given = ConsentGiven { expires_at_ms: Some(ends_ms), scopes: vec![SCOPE.to_owned()], reference };
    Ok(SessionInfo { consent: Some(given), ..SessionInfo::until(None) })
}

/// `POST /consents`. The redirect address goes in a header, and comes back with `state` as it was given.
fn consent(ask: &Context) -> Result<Request, Failure> {
    if ask.credential("customer-ip").is_none() {
        // The bank wants it; whoever asks on behalf of a customer must pass it on.
        return Err(Failure::unreadable(None, "customer-ip"));
    }
    let settings = profile(ask)?.settings;
    let today = date::iso(ask.now_ms);
    let until = date::plus_days(today.get(..10).unwrap_or_default(), i64::from(settings.consent_days))
        .ok_or_else(|| Failure::unreadable(None, "profile.settings.consent-days"))?;
    let body = format!(
        r#"{{"access":{{"allPsd2":"allAccounts"}},"recurringIndicator":true,"validUntil":"{until}","frequencyPerDay":{},"combinedServiceIndicator":false}}"#,
        settings.frequency_per_day
    );
    let state =
        Operation::Encode(Encoded { alphabet: Encoding::Percent, over: vec![Part::value("redirect-state")] });
    let back = vec![Part::value("redirect-uri"), Part::text("?state="), Part::value("percent-state")];
    let request = Request::post(url(ask, "/consents")?)
        .derive("percent-state", state)
        .header_parts("tpp-redirect-uri", back)
        .capture_json("consent-id", "consentId", true);
    Ok(signed(ask, with_customer(ask, request), &body))
}

fn status(ask: &Context) -> Result<Request, Failure> {
    let request = Request::get(url(ask, "/consents")?).segment_value("consent-id").segment("status");
    Ok(signed(ask, request, ""))
}

/// The bank's name for the consent, and where the customer decides.
fn asked_for(ask: &Context, reply: &Reply) -> Result<(String, String), Failure> {
    check(ask, reply)?;
    let seen: Object = json::document(&reply.body)?;
    let link = seen.text("_links.scaRedirect.href")?;
    if link.is_empty() {
        return Err(seen.unreadable("_links.scaRedirect.href"));
    }
    Ok((seen.text_if("consentId")?.unwrap_or_default().into_owned(), link.into_owned()))
}

/// None while it is not decided.
fn is_valid(ask: &Context, reply: &Reply) -> Result<Option<bool>, Failure> {
    check(ask, reply)?;
    let seen: Object = json::document(&reply.body)?;
    match seen.text("consentStatus")?.as_ref() {
        "" => Err(seen.unreadable("consentStatus")),
        "valid" => Ok(Some(true)),
        "received" | "partiallyAuthorised" => Ok(None),
        _ => Ok(Some(false)),
    }
}

/// Its last day is one of it.
fn ends_ms(ask: &Context, reply: &Reply) -> Result<u64, Failure> {
    check(ask, reply)?;
    let seen: Object = json::document(&reply.body)?;
    let after = date::plus_days(&seen.text("validUntil")?, 1).and_then(|day| date::unix_ms(&day));
    after.ok_or_else(|| seen.unreadable("validUntil"))
}

/// Ends the consent; one that the bank does not know is as good as ended.
fn close(ask: &Context, flow: &mut Flow<'_>) -> Result<SessionInfo, Stop> {
    if ask.credential("consent-id").is_some() {
        let request = Request::delete(url(ask, "/consents")?).segment_value("consent-id");
        flow.ask(signed(ask, request, ""), |reply| match check(ask, reply) {
            Err(Failure::ConsentExpired) => Ok(()),
            other => other,
        })?;
    }
    Ok(SessionInfo::until(None))
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::SignedPsd2;
    use crate::fixtures::{CONSENT, context, held, reply, with_customer};
    use tidegate_sdk::{Connector, Method, PromptKind, Send, SessionStep};

    fn step(ask: &Context, memory: &str, replies: &[Reply]) -> SessionStep {
        SignedPsd2::session(ask, Goal::Open, memory, replies)
    }
    fn sent(step: SessionStep) -> (Request, String) {
        let SessionStep::Send(Send { mut requests, memory }) = step else { panic!("{step:?}") };
        (requests.remove(0), memory)
    }
    fn asked(step: SessionStep) -> (PromptKind, String) {
        let SessionStep::AskCustomer(prompt) = step else { panic!("{step:?}") };
        (prompt.ask, prompt.memory)
    }
    fn says(status: &str) -> Reply {
        reply(200, format!(r#"{{"consentStatus":"{status}"}}"#).as_bytes())
    }

    #[test]
    fn a_customer_is_sent_to_the_banks_own_link_and_the_bank_is_asked_what_they_said() {
        let ask = with_customer();
        let (request, memory) = sent(step(&ask, "", &[]));
        assert_eq!(request.url_text(), "https://bank.example/psd2/consents");
        assert_eq!(
            request.body_text(),
            r#"{"access":{"allPsd2":"allAccounts"},"recurringIndicator":true,"validUntil":"2026-09-16","frequencyPerDay":4,"combinedServiceIndicator":false}"#
        );
        let back = request.header_text("tpp-redirect-uri");
        assert_eq!(back.as_deref(), Some("{redirect-uri}?state={percent-state}"));
        assert_eq!(request.header_text("psu-ip-address").as_deref(), Some("{customer-ip}"));

        let (prompt, memory) = asked(step(&ask, &memory, &[reply(201, CONSENT)]));
        let PromptKind::Redirect(redirect) = prompt else { panic!() };
        assert_eq!(redirect.url, [Part::text("https://login.bank.example/sca/c-8mY")]);
        assert!(redirect.returned.is_empty());
        let (request, memory) = sent(step(&ask, &memory, &[]));
        assert_eq!(request.url_text(), "https://bank.example/psd2/consents/{percent-consent-id}/status");
        // The bank is slow to notice.
        let (prompt, waiting) = asked(step(&ask, &memory, &[says("received")]));
        assert_eq!(prompt, PromptKind::Wait(LOOK_MS));
        let (_, memory) = sent(step(&ask, &waiting, &[]));
        let (request, memory) = sent(step(&ask, &memory, &[says("valid")]));
        assert_eq!(request.url_text(), "https://bank.example/psd2/consents/{percent-consent-id}");
        let SessionStep::Ready(info) = step(&ask, &memory, &[reply(200, br#"{"validUntil":"2026-09-16"}"#)])
        else {
            panic!()
        };
        let expected = ConsentGiven {
            expires_at_ms: date::unix_ms("2026-09-17"),
            scopes: vec!["allPsd2".to_owned()],
            reference: Some("c-8mY".to_owned()),
        };
        assert_eq!(info.consent, Some(expected));
        assert_eq!(info.valid_until_ms, None);
    }

    #[test]
    fn a_refusal_ends_the_authorisation() {
        let ask = with_customer();
        let (_, memory) = sent(step(&ask, "", &[]));
        let (_, memory) = asked(step(&ask, &memory, &[reply(201, CONSENT)]));
        let (_, memory) = sent(step(&ask, &memory, &[]));
        let failed = step(&ask, &memory, &[says("rejected")]);
        assert_eq!(failed, SessionStep::Fail(Failure::ConsentExpired));
        let odd = step(&ask, &memory, &[reply(200, b"{}")]);
        assert_eq!(odd, SessionStep::Fail(Failure::unreadable(None, "consentStatus")));
    }

    #[test]
    fn a_consent_that_is_held_is_looked_at_and_never_asked_for_again() {
        let (request, memory) = sent(step(&held(), "", &[]));
        assert!(request.url_text().ends_with("/status"));
        let (request, _) = sent(step(&held(), &memory, &[says("valid")]));
        assert!(request.url_text().ends_with("{percent-consent-id}"));
        for over in ["expired", "revokedByPsu", "received"] {
            let failed = step(&held(), &memory, &[says(over)]);
            assert_eq!(failed, SessionStep::Fail(Failure::ConsentExpired), "{over}");
        }
    }

    #[test]
    fn without_the_customers_address_nothing_is_asked() {
        let failed = step(&context(), "", &[]);
        assert_eq!(failed, SessionStep::Fail(Failure::unreadable(None, "customer-ip")));
    }

    #[test]
    fn leaving_ends_the_consent_if_there_is_one() {
        let close = |ask: &Context, memory: &str, replies: &[Reply]| {
            SignedPsd2::session(ask, Goal::Close, memory, replies)
        };
        let left = SessionStep::Ready(SessionInfo::until(None));
        assert_eq!(close(&context(), "", &[]), left);
        let (request, memory) = sent(close(&held(), "", &[]));
        assert_eq!(request.method, Method::Delete);
        assert_eq!(request.url_text(), "https://bank.example/psd2/consents/{percent-consent-id}");
        let unknown = reply(403, br#"{"tppMessages":[{"code":"CONSENT_UNKNOWN"}]}"#);
        for answer in [reply(204, b""), unknown] {
            assert_eq!(close(&held(), &memory, &[answer]), left);
        }
        let down = close(&held(), &memory, &[reply(503, b"")]);
        assert_eq!(down, SessionStep::Fail(Failure::BankUnavailable(None)));
    }
}
