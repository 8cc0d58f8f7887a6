//! Messages of segments, as FinTS writes them: segments end with `'`, elements stand apart by `+`, and
//! `?` escapes `? + : ' @`. A message begins with `HDR` and its own length, and travels as base64.
//!
//! Must not know: what a message asks for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How many digits a message's length has.
const LENGTH_DIGITS: usize = 12;

/// The name of a segment and its elements, unescaped.
pub(super) type Segment = Vec<String>;

/// A message that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) dialogue: String,
    pub(super) number: u32,
    /// What stands after the header.
    pub(super) segments: Vec<Segment>,
}

/// Reads a message; none if anything about its form is wrong.
pub(super) fn read(body: &[u8]) -> Option<Message> {
    let bytes = STANDARD.decode(body.trim_ascii()).ok()?;
    let mut segments = split(std::str::from_utf8(&bytes).ok()?)?;
    if segments.is_empty() {
        return None;
    }
    let header = segments.remove(0);
    let [name, length, dialogue, number] = header.as_slice() else { return None };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let said = Some(length).filter(|length| length.len() == LENGTH_DIGITS && digits(length))?;
    let right = name == "HDR" && said.parse() == Ok(bytes.len()) && digits(number);
    let message = Message { dialogue: dialogue.clone(), number: number.parse().ok()?, segments };
    right.then_some(message)
}

fn split(text: &str) -> Option<Vec<Segment>> {
    let (mut segments, mut segment, mut element) = (Vec::new(), Segment::new(), String::new());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '?' => element.push(letters.next().filter(|next| "?+:'@".contains(*next))?),
            '+' => segment.push(std::mem::take(&mut element)),
            '\'' => {
                segment.push(std::mem::take(&mut element));
                segments.push(std::mem::take(&mut segment));
            }
            // Groups and binary data have no place in these messages.
            ':' | '@' => return None,
            plain => element.push(plain),
        }
    }
    (segment.is_empty() && element.is_empty()).then_some(segments)
}

/// Writes a message, its length included, as it travels.
pub(super) fn write(dialogue: &str, number: u32, segments: &[Segment]) -> Vec<u8> {
    let number = number.to_string();
    let tail = format!("+{}+{number}'", escape(dialogue));
    let rest: String = segments.iter().map(segment).collect();
    let length = "HDR+".len() + LENGTH_DIGITS + tail.len() + rest.len();
    STANDARD.encode(format!("HDR+{length:0LENGTH_DIGITS$}{tail}{rest}")).into_bytes()
}

fn segment(elements: &Segment) -> String {
    let elements: Vec<String> = elements.iter().map(|element| escape(element)).collect();
    format!("{}'", elements.join("+"))
}

fn escape(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for letter in text.chars() {
        if "?+:'@".contains(letter) {
            written.push('?');
        }
        written.push(letter);
    }
    written
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Option<Message> {
        read(STANDARD.encode(text).as_bytes())
    }

    #[test]
    fn a_message_survives_the_way_there_and_back_whatever_is_in_it() {
        let segments = vec![
            vec!["LOG".to_owned(), "a?d+a".to_owned(), "1:2'3@".to_owned(), String::new()],
            vec!["TEXT".to_owned(), "Čapek's café".to_owned()],
        ];
        let message = read(&write("d-1", 7, &segments)).unwrap();
        assert_eq!(message, Message { dialogue: "d-1".to_owned(), number: 7, segments });
        let text = STANDARD.decode(write("0", 1, &[vec!["ACC".to_owned()]])).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "HDR+000000000025+0+1'ACC'");
    }

    #[test]
    fn a_message_with_a_flaw_in_its_form_is_not_understood() {
        assert!(raw("HDR+000000000025+0+1'ACC'").is_some());
        for bad in [
            "HDR+000000000026+0+1'ACC'",
            "HDR+00000000025+0+1'ACC'",
            "HDR+000000000024+0+1'ACC",
            "HDR+000000000027+0+1'A?CC'",
            "HDR+000000000027+0+1'A:CC'",
            "HDR+000000000025+0+1'AC?'",
            "HDR+000000000025+0+x'ACC'",
            "HEAD+000000000026+0+1'ACC'",
            "HDR+000000000023+0'ACC'",
            "",
        ] {
            assert_eq!(raw(bad), None, "{bad}");
        }
        assert_eq!(read(b"no base64!"), None);
    }
}
