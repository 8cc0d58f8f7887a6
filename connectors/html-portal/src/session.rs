//! Logging in by the portal's form, and out again.

use crate::page;
use serde::{Deserialize, Serialize};
use tidegate_sdk::request::Field;
use tidegate_sdk::{Context, Failure, Flow, Goal, Place, Reply, Request, SessionInfo, Stop, status};

/// What the customer is asked, once.
const ASK: &str = "Log in as you do on your bank's own site.";

/// Logs in, whatever was before: a session that is near its end is not renewed but opened anew.
pub fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> Result<SessionInfo, Stop> {
    let mut flow = Flow::new(memory, replies)?;
    if goal == Goal::Close {
        flow.ask(Request::post(page::url(ask, "/logout")?), |reply| left(ask, reply))?;
        return Ok(SessionInfo::until(None));
    }
    let known = flow.note(|| ["username", "password"].iter().all(|name| ask.credential(name).is_some()))?;
    if !known {
        flow.ask_for(&["username", "password"], ASK, None)?;
    }
    let address = page::url(ask, "/login")?;
    // The value stands before the name; the form has no other input with one.
    let place = Place::Between(("<input value=\"".to_owned(), "\"".to_owned()));
    let form = Request::get(address.as_str()).capture("csrf", place, false);
    flow.ask(form, |reply| served(ask, reply))?;
    let login = Request::post(address).form(&[
        ("username", Field::Value("username")),
        ("password", Field::Value("password")),
        ("csrf", Field::Value("csrf")),
    ]);
    flow.ask(login, |reply| let_in(ask, reply))?;
    let idle_ms = u64::from(page::profile(ask)?.settings.idle_minutes) * 60_000;
    Ok(SessionInfo::until(Some(ask.now_ms.saturating_add(idle_ms))))
}

/// The marks of `connector.toml`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Said {
    wrong: bool,
    locked: bool,
    stale: bool,
    maintenance: bool,
}

/// The form is there, and the host has its secret.
fn served(ask: &Context, reply: &Reply) -> Result<(), Failure> {
    let said: Said = reply.json().unwrap_or_default();
    if said.maintenance {
        return Err(Failure::BankUnavailable(None));
    }
    status::check(reply, ask.now_ms)?;
    match reply.captured.iter().any(|name| name == "csrf") {
        true => Ok(()),
        false => Err(Failure::unreadable(None, "csrf")),
    }
}

/// A redirect means that the customer is in; any page says why not.
///
/// Locked is for the customer to sort out with the bank, as a wrong password is. A form that is no
/// longer valid is nobody's fault: no password was looked at, so it is tried again later.
fn let_in(ask: &Context, reply: &Reply) -> Result<(), Failure> {
    let said: Said = reply.json().unwrap_or_default();
    match said {
        Said { maintenance: true, .. } | Said { stale: true, .. } => Err(Failure::BankUnavailable(None)),
        Said { wrong: true, .. } | Said { locked: true, .. } => Err(Failure::CredentialsRejected),
        _ if reply.status == 303 => Ok(()),
        _ => {
            status::check(reply, ask.now_ms)?;
            Err(Failure::unreadable(None, "login"))
        }
    }
}

/// Also a session that was over already is sent to the login.
fn left(ask: &Context, reply: &Reply) -> Result<(), Failure> {
    match reply.status {
        303 => Ok(()),
        _ => page::tokens(ask, reply).map(drop),
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::HtmlPortal;
    use crate::fixtures::{NOW, context, page};
    use tidegate_sdk::{Connector, CredentialInfo, PromptKind, Send, SessionStep};

    fn known() -> Context {
        let credential = |name: &str| CredentialInfo { name: name.into(), bytes: 9, expires_at_ms: None };
        Context { credentials: vec![credential("username"), credential("password")], ..context() }
    }
    fn sent(step: SessionStep) -> (Request, String) {
        let SessionStep::Send(Send { mut requests, memory }) = step else { panic!("{step:?}") };
        assert_eq!(requests.len(), 1);
        (requests.remove(0), memory)
    }
    fn form() -> Reply {
        Reply { captured: vec!["csrf".into()], ..page(200, b"{}", "") }
    }

    /// The answer to a login, as the host shows it.
    fn answered(status: u16, body: &str) -> SessionStep {
        let step =
            |memory: &str, replies: &[Reply]| HtmlPortal::session(&known(), Goal::Open, memory, replies);
        let (_, memory) = sent(step("", &[]));
        let (_, memory) = sent(step(&memory, &[form()]));
        step(&memory, &[page(status, body.as_bytes(), "")])
    }

    #[test]
    fn a_customer_is_asked_and_let_in_by_the_banks_form() {
        let SessionStep::AskCustomer(prompt) = HtmlPortal::session(&context(), Goal::Open, "", &[]) else {
            panic!()
        };
        assert_eq!(prompt.ask, PromptKind::Form(vec!["username".into(), "password".into()]));
        let step =
            |memory: &str, replies: &[Reply]| HtmlPortal::session(&known(), Goal::Open, memory, replies);
        let (request, memory) = sent(step(&prompt.memory, &[]));
        assert_eq!(request.url_text(), "https://bank.example/portal/login");
        assert_eq!(
            request.captures.iter().map(|capture| capture.name.as_str()).collect::<Vec<_>>(),
            ["csrf"]
        );
        let (request, memory) = sent(step(&memory, &[form()]));
        assert_eq!(request.url_text(), "https://bank.example/portal/login");
        assert_eq!(
            request.body_text(),
            "username={percent-username}&password={percent-password}&csrf={percent-csrf}"
        );
        let ready = SessionStep::Ready(SessionInfo::until(Some(NOW + 600_000)));
        assert_eq!(step(&memory, &[page(303, b"{}", "")]), ready);
    }

    #[test]
    fn whoever_is_known_is_not_asked() {
        for goal in [Goal::Open, Goal::Renew] {
            let (request, _) = sent(HtmlPortal::session(&known(), goal, "", &[]));
            assert_eq!(request.url_text(), "https://bank.example/portal/login");
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_bank_that_is_being_improved() {
        let check = |status, body: &str, expected: Failure| {
            assert_eq!(answered(status, body), SessionStep::Fail(expected), "{status} {body}");
        };
        check(200, r#"{"wrong":true}"#, Failure::CredentialsRejected);
        check(200, r#"{"locked":true}"#, Failure::CredentialsRejected);
        check(200, r#"{"maintenance":true}"#, Failure::BankUnavailable(None));
        check(403, r#"{"stale":true}"#, Failure::BankUnavailable(None));
        check(200, "{}", Failure::unreadable(None, "login"));
        check(503, "{}", Failure::BankUnavailable(None));
        let step =
            |memory: &str, replies: &[Reply]| HtmlPortal::session(&known(), Goal::Open, memory, replies);
        let (_, memory) = sent(step("", &[]));
        let closed = page(200, br#"{"maintenance":true}"#, "");
        assert_eq!(step(&memory, &[closed]), SessionStep::Fail(Failure::BankUnavailable(None)));
        let other = page(200, b"{}", "");
        assert_eq!(step(&memory, &[other]), SessionStep::Fail(Failure::unreadable(None, "csrf")));
    }

    #[test]
    fn leaving_logs_out_and_does_not_mind_if_that_was_so_already() {
        let step =
            |memory: &str, replies: &[Reply]| HtmlPortal::session(&known(), Goal::Close, memory, replies);
        let (request, memory) = sent(step("", &[]));
        assert_eq!(request.url_text(), "https://bank.example/portal/logout");
        let left = SessionStep::Ready(SessionInfo::until(None));
        assert_eq!(step(&memory, &[page(303, b"", "/portal/login")]), left);
        let closed = page(200, b"We are improving our service.", "");
        assert_eq!(step(&memory, &[closed]), SessionStep::Fail(Failure::BankUnavailable(None)));
    }
}
