//! Opening, renewing and closing: what a way in leads to, and when the consent is recorded or ended.

use crate::{bank, consent};
use tidegate_sdk::{Context, Flow, Goal, Reply, SessionInfo, Stop};

/// Opens, renews or closes the session.
pub fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> Result<SessionInfo, Stop> {
    let mut flow = Flow::new(memory, replies)?;
    if goal == Goal::Close {
        // Without its id there is no consent to speak of.
        if ask.credential("consent-id").is_some() {
            consent::end(ask, &mut flow)?;
        }
        return Ok(SessionInfo::until(None));
    }
    let entered = bank::client(ask)?.enter(&mut flow, goal, |flow| consent::ask_for(ask, flow))?;
    let consent = match entered.agreed {
        true => Some(consent::agreed(ask, &mut flow)?),
        false => None,
    };
    Ok(SessionInfo { consent, ..SessionInfo::until(entered.valid_until_ms) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::OpenBankingUk;
    use crate::fixtures::*;
    use tidegate_sdk::{
        Capture, Connector, ConsentGiven, Failure, Method, Place, Prompt, PromptKind, Request, Send,
        SessionStep,
    };

    fn step(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> SessionStep {
        OpenBankingUk::session(ask, goal, memory, replies)
    }
    fn sent(step: SessionStep) -> (Request, String) {
        let SessionStep::Send(Send { mut requests, memory }) = step else { panic!("{step:?}") };
        assert_eq!(requests.len(), 1);
        (requests.remove(0), memory)
    }
    fn ready(valid_until_ms: Option<u64>) -> SessionStep {
        SessionStep::Ready(SessionInfo { valid_until_ms, state: None, consent: None })
    }
    fn capture(name: &str, place: &str, required: bool) -> Capture {
        Capture { name: name.into(), place: Place::Json(place.into()), required }
    }

    #[test]
    fn a_renewal_trades_the_refresh_token_and_never_sees_it() {
        for ask in [context(), registered()] {
            let mut ask = ask;
            ask.credentials.push(credential("refresh-token", None));
            let (request, memory) = sent(step(&ask, Goal::Renew, "", &[]));
            assert_eq!(request.method, Method::Post);
            assert_eq!(request.url_text(), "https://auth.bank.example/token");
            let body = request.body_text();
            assert!(
                body.starts_with("grant_type=refresh_token&refresh_token={percent-refresh-token}"),
                "{body}"
            );
            assert_eq!(
                request.captures,
                [
                    capture("access-token", "access_token", true),
                    capture("refresh-token", "refresh_token", false)
                ]
            );
            let done = step(&ask, Goal::Renew, &memory, &[reply(200, TOKEN)]);
            assert_eq!(done, ready(Some(NOW + 300_000)));
        }
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
        // Nor can a customer be asked without a key to sign the request with.
        assert_eq!(step(&ask, Goal::Open, "", &[]), SessionStep::Fail(Failure::NotSupported));
    }

    #[test]
    fn a_customer_is_asked_at_the_bank_and_what_they_agreed_to_is_recorded() {
        let mut ask = registered();
        let (token, memory) = sent(step(&ask, Goal::Open, "", &[]));
        assert!(token.body_text().starts_with("grant_type=client_credentials&scope=accounts&"));
        assert_eq!(token.captures, [capture("client-token", "access_token", true)]);

        let (wanted, memory) = sent(step(&ask, Goal::Open, &memory, &[reply(200, TOKEN)]));
        assert_eq!((wanted.method, wanted.url_text()), (Method::Post, CONSENTS.to_owned()));
        assert_eq!(wanted.header_text("authorization").as_deref(), Some("Bearer {client-token}"));
        assert_eq!(wanted.header_text("content-type").as_deref(), Some("application/json"));
        assert_eq!(wanted.captures, [capture("consent-id", "Data.ConsentId", true)]);

        ask.credentials.extend([credential("client-token", None), credential("consent-id", None)]);
        let asked = step(&ask, Goal::Open, &memory, &[reply(201, b"{}")]);
        let SessionStep::AskCustomer(Prompt { ask: PromptKind::Redirect(redirect), memory, .. }) = asked
        else {
            panic!("{asked:?}")
        };
        assert!(filled(&redirect.url).starts_with("https://bank.example/login/authorize?"));

        // Minutes later, perhaps in another process.
        ask.now_ms += 600_000;
        ask.credentials.push(credential("authorisation-code", None));
        let (trade, memory) = sent(step(&ask, Goal::Open, &memory, &[]));
        let body = trade.body_text();
        assert!(
            body.starts_with(
                "grant_type=authorization_code&code={percent-authorisation-code}\
                 &redirect_uri={percent-redirect-uri}&code_verifier={percent-pkce-verifier}&"
            ),
            "{body}"
        );
        assert!(trade.derived.len() <= 16, "the contract's limit: {}", trade.derived.len());
        assert_eq!(trade.captures.len(), 2);

        ask.credentials.extend([credential("access-token", None), credential("refresh-token", None)]);
        let (_, memory) = sent(step(&ask, Goal::Open, &memory, &[reply(200, TOKEN)]));
        let (look, memory) = sent(step(&ask, Goal::Open, &memory, &[reply(200, TOKEN)]));
        assert_eq!(look.method, Method::Get);
        assert_eq!(look.url_text(), format!("{CONSENTS}/{{percent-consent-id}}"));
        ask.now_ms += 5_000;
        let SessionStep::Ready(info) = step(&ask, Goal::Open, &memory, &[reply(200, CONSENT)]) else {
            panic!()
        };
        assert_eq!(info.valid_until_ms, Some(NOW + 900_000), "counted from the token's own reply");
        let ConsentGiven { expires_at_ms, scopes, reference } = info.consent.unwrap();
        assert_eq!((scopes.len(), reference.as_deref()), (5, Some("urn-alphabank-intent-88379")));
        assert_eq!(expires_at_ms, Some(NOW + 90 * 86_400_000));
    }

    #[test]
    fn a_code_that_the_bank_refuses_ends_it() {
        let mut ask = registered();
        ask.credentials.push(credential("authorisation-code", None));
        let memory = r#"[["customer",false],null,null,null]"#;
        let (_, memory) = sent(step(&ask, Goal::Open, memory, &[]));
        let refused = step(&ask, Goal::Open, &memory, &[reply(400, TOKEN_INVALID_GRANT)]);
        assert_eq!(refused, SessionStep::Fail(Failure::ConsentExpired));
    }

    #[test]
    fn a_turn_that_was_cut_short_after_the_tokens_came_records_the_consent_all_the_same() {
        let mut ask = registered();
        for name in ["authorisation-code", "consent-id", "client-token", "access-token", "refresh-token"] {
            ask.credentials.push(credential(name, None));
        }
        let (renewal, memory) = sent(step(&ask, Goal::Open, "", &[]));
        assert!(renewal.body_text().starts_with("grant_type=refresh_token&"), "the code is used up");
        let (_, memory) = sent(step(&ask, Goal::Open, &memory, &[reply(200, TOKEN)]));
        let (_, memory) = sent(step(&ask, Goal::Open, &memory, &[reply(200, TOKEN)]));
        let SessionStep::Ready(info) = step(&ask, Goal::Open, &memory, &[reply(200, CONSENT)]) else {
            panic!()
        };
        assert!(info.consent.is_some());
    }

    #[test]
    fn a_bank_that_refuses_to_be_asked_for_consents_bothers_nobody() {
        let ask = registered();
        let (_, memory) = sent(step(&ask, Goal::Open, "", &[]));
        let (_, memory) = sent(step(&ask, Goal::Open, &memory, &[reply(200, TOKEN)]));
        let refused = |status| step(&ask, Goal::Open, &memory, &[reply(status, b"{}")]);
        for status in [401, 403, 503] {
            assert_eq!(refused(status), SessionStep::Fail(Failure::BankUnavailable(None)), "{status}");
        }
        let not_given = Failure::unreadable(None, "consents.status-400");
        assert_eq!(refused(400), SessionStep::Fail(not_given), "permissions that it does not have");
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
        assert_eq!(request.url_text(), format!("{CONSENTS}/{{percent-consent-id}}"));
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
