//! Messages: `HDR+<length>+<dialogue>+<number>'` and segments, as base64.
//!
//! The length counts every byte, those of the PIN too, and the number counts the messages of the dialogue: the
//! host computes both when the message leaves. Read answers come whole; they are taken apart here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tidegate_sdk::{
    Context, Encoded, Encoding, Failure, Operation, PaddedLength, Part, Profile, Reply, Request, segments,
    status,
};

/// Where the length stands, while it is being computed: as many letters as it will have.
const LENGTH_PLACE: &str = "000000000000";
/// The name of the message's length, and of its number.
const LENGTH: &str = "length";
const NUMBER: &str = "number";

/// What the profile may set.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// A dialogue ends so many minutes after its last message.
    pub idle_minutes: u32,
    /// How many minutes a one-time code is good.
    pub code_minutes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { idle_minutes: 10, code_minutes: 5 }
    }
}

/// The profile; its origin `dialogue` is where `/open` and `/message` lie.
pub fn profile(ask: &Context) -> Result<Profile<Settings>, Failure> {
    ask.profile()
}

/// A message of one segment. `secrets` are declared values that stand in it as `fints-NAME`.
pub fn message(
    ask: &Context,
    path: &str,
    dialogue: Part,
    segment: Vec<Part>,
    secrets: &[&str],
) -> Result<Request, Failure> {
    let mut request = Request::post(format!("{}{path}", profile(ask)?.origin("dialogue")?));
    for name in secrets {
        let over = vec![Part::value(*name)];
        let escaped = Operation::Encode(Encoded { alphabet: Encoding::FintsText, over });
        request = request.derive(&escaped_name(name), escaped);
    }
    let whole = |length: Part| {
        let mut parts = vec![Part::text("HDR+"), length, Part::text("+"), dialogue.clone(), Part::text("+")];
        parts.extend([Part::value(NUMBER), Part::text("'")]);
        parts.extend(segment.iter().cloned());
        parts.push(Part::text("'"));
        parts
    };
    let length = PaddedLength { over: whole(Part::text(LENGTH_PLACE)), digits: 12 };
    let over = whole(Part::value(LENGTH));
    Ok(request
        .derive(NUMBER, Operation::Counter)
        .derive(LENGTH, Operation::Length(length))
        .derive("message", Operation::Encode(Encoded { alphabet: Encoding::Base64, over }))
        .body("text/plain", vec![Part::value("message")]))
}

/// What a value is called once it is escaped.
pub fn escaped_name(value: &str) -> String {
    format!("fints-{value}")
}

/// A message within the dialogue that is open; the elements are ours to escape.
pub fn ask_for(ask: &Context, path: &str, elements: &[&str]) -> Result<Request, Failure> {
    let segment = elements.iter().map(|element| segments::escape(element)).collect::<Vec<_>>().join("+");
    message(ask, path, Part::value("dialogue-id"), vec![Part::text(segment)], &[])
}

/// The segments of an answer within a dialogue, without `HDR` and `RET`, and where there is more.
pub struct Answer {
    /// Name and elements of each.
    pub segments: Vec<Vec<String>>,
    /// The touch-down, if the bank has more.
    pub more: Option<String>,
}

/// Reads an answer; what the bank's code means otherwise is a failure.
pub fn answer(ask: &Context, reply: &Reply) -> Result<Answer, Failure> {
    status::check(reply, ask.now_ms)?;
    let body = reply.body.trim_ascii();
    if body.starts_with(b"<") {
        return Err(Failure::BankUnavailable(None)); // a page for people: maintenance
    }
    let bad = |field: &str| Failure::unreadable(None, field);
    let bytes = STANDARD.decode(body).map_err(|_| bad("base64"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| bad("utf-8"))?;
    let mut segments = segments::split(text).ok_or_else(|| bad("segments"))?;
    let is_header = |segment: &Vec<String>| segment.first().is_some_and(|name| name == "HDR");
    if !segments.first().is_some_and(is_header) {
        return Err(bad("HDR"));
    }
    let at = segments.iter().position(|segment| segment.first().is_some_and(|name| name == "RET"));
    let said = segments.remove(at.ok_or_else(|| bad("RET"))?);
    segments.remove(0);
    let mut elements = said.into_iter().skip(1);
    let (code, word) = (elements.next().unwrap_or_default(), elements.next());
    match code.as_str() {
        "0010" => Ok(Answer { segments, more: None }),
        "3040" => Ok(Answer { segments, more: Some(word.ok_or_else(|| bad("RET.3040"))?) }),
        "9800" => Err(Failure::SessionExpired),
        "9210" => Err(Failure::NotSupported),
        code => Err(bad(&format!("RET.{code}"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::fixtures::{answered, known};

    #[test]
    fn a_length_counts_the_values_it_is_before() {
        let segment = vec![Part::text("LOG+"), Part::value("fints-pin")];
        let request = message(&known(&[]), "/open", Part::text("0"), segment, &["pin"]).unwrap();
        assert_eq!(request.url_text(), "https://bank.example/dialogue/open");
        assert_eq!(request.body_text(), "{message}");
        let names: Vec<_> = request.derived.iter().map(|derived| derived.name.as_str()).collect();
        assert_eq!(names, ["fints-pin", "number", "length", "message"]);
        let shown = |parts: &[Part]| Request { url: parts.to_vec(), ..Request::get("") }.url_text();
        let Operation::Length(length) = &request.derived[2].how else { panic!() };
        assert_eq!(shown(&length.over), "HDR+000000000000+0+{number}'LOG+{fints-pin}'");
        let Operation::Encode(whole) = &request.derived[3].how else { panic!() };
        assert_eq!(shown(&whole.over), "HDR+{length}+0+{number}'LOG+{fints-pin}'");
    }

    #[test]
    fn each_code_has_its_meaning() {
        let check = |body: &str, expected: Failure| {
            assert_eq!(answer(&known(&[]), &answered(body)).err(), Some(expected), "{body}");
        };
        check("RET+9800+dialogue ended'", Failure::SessionExpired);
        check("RET+9210+account unknown'", Failure::NotSupported);
        check("RET+9110+message not understood'", Failure::unreadable(None, "RET.9110"));
        check("RET+3040'", Failure::unreadable(None, "RET.3040"));
        check("ROW+1'", Failure::unreadable(None, "RET"));
        check("RET+0010+ok", Failure::unreadable(None, "segments"));
        let more = answer(&known(&[]), &answered("RET+3040+MTc3'")).unwrap().more;
        assert_eq!(more.as_deref(), Some("MTc3"));
    }

    #[test]
    fn what_is_no_message_says_what_it_is() {
        let check = |status: u16, body: &[u8], expected: Failure| {
            let reply = Reply { status, headers: vec![], body: body.to_vec(), captured: vec![] };
            assert_eq!(answer(&known(&[]), &reply).err(), Some(expected), "{status}");
        };
        check(200, b"<!DOCTYPE html><p>We are improving our service.", Failure::BankUnavailable(None));
        check(200, b"no base64!", Failure::unreadable(None, "base64"));
        check(200, b"UkVUKzAwMTArb2sn", Failure::unreadable(None, "HDR")); // RET+0010+ok'
        check(503, b"", Failure::BankUnavailable(None));
    }
}
