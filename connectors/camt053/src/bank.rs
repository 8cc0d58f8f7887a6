//! Asking for files, with user name and password each time: there is no session but the password.

use serde::Deserialize;
use tidegate_sdk::{Context, Failure, Flow, Goal, Profile, Reply, Request, SessionInfo, Stop, status};

/// Shorter passwords may go to login routes only, and this bank has none; the contract's limit.
const PASSWORD_BYTES_MIN: u32 = 16;

/// What the profile may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Path segment of the statements below the origin `bank`, with a query if it needs one.
    pub statements: String,
    /// Path segment of the list of accounts. Without it the bank keeps its statements: accounts are those
    /// that it states, and nothing is acknowledged.
    pub accounts: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { statements: "statements".to_owned(), accounts: None }
    }
}

/// The profile.
pub fn profile(ask: &Context) -> Result<Profile<Settings>, Failure> {
    ask.profile()
}

/// A file, by its path below the origin.
pub fn file(ask: &Context, path: &str) -> Result<Request, Failure> {
    let url = format!("{}/{path}", profile(ask)?.origin("bank")?);
    Ok(Request::get(url).header("accept", "application/xml").basic_plain("username", "password"))
}

/// Lets the bank forget a statement.
pub fn acknowledge(ask: &Context, statement: &str) -> Result<Request, Failure> {
    let profile = profile(ask)?;
    let path = profile.settings.statements.split('?').next().unwrap_or_default();
    let url = format!("{}/{path}", profile.origin("bank")?);
    let request = Request::post(url).segment(statement).segment("acknowledge");
    Ok(request.basic_plain("username", "password"))
}

/// The text of a file; none if there is nothing to give.
///
/// A refused password is the customer's to mend at once: a second request with it would count as a second
/// try at the bank, so it is not called a session that expired.
pub fn text<'r>(ask: &Context, reply: &'r Reply) -> Result<Option<&'r str>, Failure> {
    if let 401 | 403 = reply.status {
        return Err(Failure::CredentialsRejected);
    }
    status::check(reply, ask.now_ms)?;
    let text = std::str::from_utf8(&reply.body).map_err(|_| Failure::unreadable(None, "utf-8"))?;
    Ok(Some(text).filter(|text| reply.status != 204 && !text.trim().is_empty()))
}

/// Asks the customer if need be, and the bank whether it knows the password. There is nothing to end.
pub fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> Result<SessionInfo, Stop> {
    if goal == Goal::Close {
        return Ok(SessionInfo::until(None));
    }
    let mut flow = Flow::new(memory, replies)?;
    let known = flow.note(|| ["username", "password"].iter().all(|name| ask.credential(name).is_some()))?;
    if !known {
        flow.ask_for(&["username", "password"], "Log in as you do for your bank's statements.", None)?;
    }
    if ask.credential("password").is_some_and(|password| password.bytes < PASSWORD_BYTES_MIN) {
        return Err(Failure::NotSupported.into());
    }
    let settings = profile(ask)?.settings;
    let path = settings.accounts.unwrap_or(settings.statements);
    flow.ask(file(ask, &path)?, |reply| text(ask, reply).map(drop))?;
    Ok(SessionInfo::until(None))
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::Camt053;
    use crate::fixtures::{context, known, reply};
    use tidegate_sdk::{Connector, PromptKind, SessionStep};

    fn step(ask: &Context, memory: &str, replies: &[Reply]) -> SessionStep {
        Camt053::session(ask, Goal::Open, memory, replies)
    }
    fn sent(step: SessionStep) -> (Request, String) {
        let SessionStep::Send(mut send) = step else { panic!("{step:?}") };
        (send.requests.remove(0), send.memory)
    }

    #[test]
    fn a_customer_is_asked_and_the_bank_is_asked_whether_it_knows_them() {
        let SessionStep::AskCustomer(prompt) = step(&context(&[]), "", &[]) else { panic!() };
        assert_eq!(prompt.ask, PromptKind::Form(vec!["username".into(), "password".into()]));
        let (request, memory) = sent(step(&known(), &prompt.memory, &[]));
        assert_eq!(request.url_text(), "https://bank.example/camt/accounts");
        assert_eq!(request.header_text("authorization").as_deref(), Some("Basic {basic}"));
        let ready = SessionStep::Ready(SessionInfo::until(None));
        assert_eq!(step(&known(), &memory, &[reply(200, b"<Accounts/>", "")]), ready);
        for status in [401, 403] {
            let refused = step(&known(), &memory, &[reply(status, b"", "")]);
            assert_eq!(refused, SessionStep::Fail(Failure::CredentialsRejected));
        }
        let down = step(&known(), &memory, &[reply(503, b"", "")]);
        assert_eq!(down, SessionStep::Fail(Failure::BankUnavailable(None)));
    }

    #[test]
    fn a_password_that_may_not_go_to_every_route_is_refused_before_it_is_sent() {
        let ask = context(&[("username", 4), ("password", 15)]);
        assert_eq!(step(&ask, "", &[]), SessionStep::Fail(Failure::NotSupported));
    }

    #[test]
    fn leaving_has_nothing_to_end() {
        let left = Camt053::session(&known(), Goal::Close, "", &[]);
        assert_eq!(left, SessionStep::Ready(SessionInfo::until(None)));
    }

    #[test]
    fn a_statement_is_acknowledged_by_its_name() {
        let request = acknowledge(&known(), "st/1");
        let shown = request.map(|request| (request.url_text(), request.header_text("authorization")));
        let url = "https://bank.example/camt/statements/st%2F1/acknowledge".to_owned();
        assert_eq!(shown, Ok((url, Some("Basic {basic}".to_owned()))));
    }
}
