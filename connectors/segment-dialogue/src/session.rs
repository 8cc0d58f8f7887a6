//! Opening a dialogue: PIN, perhaps a one-time code, and the system id that saves the next one.

use crate::message::{answer, ask_for, escaped_name, message, profile};
use serde::{Deserialize, Serialize};
use tidegate_sdk::{
    Context, Failure, Flow, Goal, Part, Place, Reply, Request, SessionInfo, Stop, segments, status,
};

/// Wrong codes after which the bank ends the dialogue.
const CODES_MAX: u32 = 3;
/// What the customer is asked if the bank does not say it in its own words.
const ASK_CODE: &str = "Please enter the code that your bank has sent you.";

/// Opens a dialogue, whatever was before: one that is over cannot be renewed.
pub fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> Result<SessionInfo, Stop> {
    let mut flow = Flow::new(memory, replies)?;
    if goal == Goal::Close {
        if ask.credential("dialogue-id").is_some() {
            flow.ask(ask_for(ask, "/end", &["END"])?, |reply| match answer(ask, reply) {
                Err(Failure::SessionExpired) => Ok(()), // it was over already
                other => other.map(drop),
            })?;
        }
        return Ok(SessionInfo::until(None));
    }
    let known = flow.note(|| ["user", "pin"].iter().all(|name| ask.credential(name).is_some()))?;
    if !known {
        flow.ask_for(&["user", "pin"], "Log in with the PIN of your online banking.", None)?;
    }
    let settings = profile(ask)?.settings;
    if let Opened::Confirm(text) = flow.ask(open(ask)?, |reply| opened(ask, reply))? {
        let good_until = flow.note(|| ask.now_ms + u64::from(settings.code_minutes) * 60_000)?;
        let (mut text, mut tries) = (text, 0);
        loop {
            flow.ask_for(&["code"], &text, Some(good_until))?;
            tries += 1;
            match flow.ask(confirm(ask)?, |reply| confirmed(ask, reply))? {
                true => break,
                false if tries >= CODES_MAX => return Err(Failure::SessionExpired.into()),
                false => text = format!("That was not the code. {ASK_CODE}"),
            }
        }
    }
    let idle_ms = u64::from(settings.idle_minutes) * 60_000;
    Ok(SessionInfo::until(Some(ask.now_ms.saturating_add(idle_ms))))
}

/// The first message of a dialogue.
fn open(ask: &Context) -> Result<Request, Failure> {
    let value = |name: &str| Part::value(escaped_name(name));
    let mut segment = vec![Part::text("LOG+"), value("user"), Part::text("+"), value("pin"), Part::text("+")];
    // As the bank wrote it, so it is not escaped again.
    segment.push(match ask.credential("system-id") {
        Some(_) => Part::value("system-id"),
        None => Part::text("0"),
    });
    let between = |before: &str, after: &str| Place::Between((before.to_owned(), after.to_owned()));
    Ok(message(ask, "/open", Part::text("0"), segment, &["user", "pin"])?
        .capture("dialogue-id", between("'DLG+", "'"), false)
        .capture("challenge", between("'TAN+", "+"), false))
}

fn confirm(ask: &Context) -> Result<Request, Failure> {
    let code = Part::value(escaped_name("code"));
    let segment = vec![Part::text("OTP+"), Part::value("challenge"), Part::text("+"), code];
    let system = Place::Between(("'SYS+".to_owned(), "'".to_owned()));
    let request = message(ask, "/confirm", Part::value("dialogue-id"), segment, &["code"])?;
    Ok(request.capture("system-id", system, false))
}

/// The marks and texts of `connector.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Said {
    ok: bool,
    confirm: bool,
    pin_wrong: bool,
    locked: bool,
    code_wrong: bool,
    code_expired: bool,
    ended: bool,
    challenge: String,
}

/// What became of the PIN.
#[derive(Debug, Serialize, Deserialize)]
enum Opened {
    Ready,
    /// A code was sent; in the bank's words.
    Confirm(String),
}

fn opened(ask: &Context, reply: &Reply) -> Result<Opened, Failure> {
    status::check(reply, ask.now_ms)?;
    let said: Said = reply.json()?;
    match said {
        Said { pin_wrong: true, .. } | Said { locked: true, .. } => Err(Failure::CredentialsRejected),
        _ if !reply.captured.iter().any(|name| name == "dialogue-id") => {
            Err(Failure::unreadable(None, "DLG"))
        }
        Said { confirm: true, challenge, .. } => {
            let words = segments::unescape(&challenge);
            Ok(Opened::Confirm(if words.is_empty() { ASK_CODE.to_owned() } else { words }))
        }
        Said { ok: true, .. } => Ok(Opened::Ready),
        _ => Err(Failure::unreadable(None, "RET")),
    }
}

/// True if it was right, false if another may be tried.
fn confirmed(ask: &Context, reply: &Reply) -> Result<bool, Failure> {
    status::check(reply, ask.now_ms)?;
    let said: Said = reply.json()?;
    match said {
        Said { ok: true, .. } => Ok(true),
        Said { code_wrong: true, .. } => Ok(false),
        Said { code_expired: true, .. } | Said { ended: true, .. } => Err(Failure::SessionExpired),
        _ => Err(Failure::unreadable(None, "RET")),
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::SegmentDialogue;
    use crate::fixtures::{NOW, answered, context, known, login};
    use tidegate_sdk::{Connector, Operation, Prompt, PromptKind, Send, SessionStep};

    fn step(ask: &Context, memory: &str, replies: &[Reply]) -> SessionStep {
        SegmentDialogue::session(ask, Goal::Open, memory, replies)
    }
    fn sent(step: SessionStep) -> (Request, String) {
        let SessionStep::Send(Send { mut requests, memory }) = step else { panic!("{step:?}") };
        (requests.remove(0), memory)
    }
    fn asked(step: SessionStep) -> Prompt {
        let SessionStep::AskCustomer(prompt) = step else { panic!("{step:?}") };
        prompt
    }
    /// The message before base64.
    fn shown(request: &Request) -> String {
        let Some(Operation::Encode(whole)) = request.derived.last().map(|last| &last.how) else { panic!() };
        Request { url: whole.over.clone(), ..Request::get("") }.url_text()
    }
    const READY: u64 = NOW + 600_000;

    #[test]
    fn a_customer_is_asked_for_the_pin_and_in_the_middle_for_a_code() {
        let prompt = asked(step(&context(&[]), "", &[]));
        assert_eq!(prompt.ask, PromptKind::Form(vec!["user".into(), "pin".into()]));
        let ask = known(&[]);
        let (request, memory) = sent(step(&ask, &prompt.memory, &[]));
        assert_eq!(shown(&request), "HDR+{length}+0+{number}'LOG+{fints-user}+{fints-pin}+0'");
        let captured: Vec<_> = request.captures.iter().map(|capture| capture.name.as_str()).collect();
        assert_eq!(captured, ["dialogue-id", "challenge"]);

        let challenge = login(r#"{"confirm":true,"challenge":"Telephone ending in 42? right??"}"#, true);
        let prompt = asked(step(&ask, &memory, &[challenge]));
        assert_eq!(prompt.ask, PromptKind::Form(vec!["code".into()]));
        assert_eq!(prompt.text, "Telephone ending in 42 right?");
        assert_eq!(prompt.expires_at_ms, Some(NOW + 300_000));
        let (request, memory) = sent(step(&ask, &prompt.memory, &[]));
        assert_eq!(request.url_text(), "https://bank.example/dialogue/confirm");
        assert_eq!(shown(&request), "HDR+{length}+{dialogue-id}+{number}'OTP+{challenge}+{fints-code}'");

        let prompt = asked(step(&ask, &memory, &[login(r#"{"code-wrong":true}"#, false)]));
        assert!(prompt.text.starts_with("That was not the code."), "{}", prompt.text);
        let (_, memory) = sent(step(&ask, &prompt.memory, &[]));
        let ready = SessionStep::Ready(SessionInfo::until(Some(READY)));
        assert_eq!(step(&ask, &memory, &[login(r#"{"ok":true}"#, false)]), ready);
    }

    #[test]
    fn a_known_system_needs_no_code() {
        let ask = known(&["system-id"]);
        for goal in [Goal::Open, Goal::Renew] {
            let (request, memory) = sent(SegmentDialogue::session(&ask, goal, "", &[]));
            assert_eq!(shown(&request), "HDR+{length}+0+{number}'LOG+{fints-user}+{fints-pin}+{system-id}'");
            let ready = SessionStep::Ready(SessionInfo::until(Some(READY)));
            assert_eq!(
                SegmentDialogue::session(&ask, goal, &memory, &[login(r#"{"ok":true}"#, true)]),
                ready
            );
        }
    }

    #[test]
    fn what_the_bank_says_against_it_is_told() {
        let ask = known(&[]);
        let (_, memory) = sent(step(&ask, "", &[]));
        let check = |body: &str, has_dialogue: bool, expected: Failure| {
            let failed = step(&ask, &memory, &[login(body, has_dialogue)]);
            assert_eq!(failed, SessionStep::Fail(expected), "{body}");
        };
        check(r#"{"pin-wrong":true}"#, false, Failure::CredentialsRejected);
        check(r#"{"locked":true}"#, false, Failure::CredentialsRejected);
        check("{}", true, Failure::unreadable(None, "RET"));
        check(r#"{"ok":true}"#, false, Failure::unreadable(None, "DLG"));
        let (_, memory) = sent(step(&ask, "[true,{\"Confirm\":\"x\"},1,null]", &[]));
        for body in [r#"{"ended":true}"#, r#"{"code-expired":true}"#] {
            let failed = step(&ask, &memory, &[login(body, false)]);
            assert_eq!(failed, SessionStep::Fail(Failure::SessionExpired), "{body}");
        }
    }

    #[test]
    fn leaving_ends_the_dialogue_if_there_is_one() {
        let step = |ask: &Context, memory: &str, replies: &[Reply]| {
            SegmentDialogue::session(ask, Goal::Close, memory, replies)
        };
        let left = SessionStep::Ready(SessionInfo::until(None));
        assert_eq!(step(&known(&[]), "", &[]), left);
        let ask = known(&["dialogue-id"]);
        let (request, memory) = sent(step(&ask, "", &[]));
        assert_eq!(shown(&request), "HDR+{length}+{dialogue-id}+{number}'END'");
        for answer in ["RET+0010+ok'", "RET+9800+dialogue ended'"] {
            assert_eq!(step(&ask, &memory, &[answered(answer)]), left, "{answer}");
        }
    }
}
