//! Captures: takes values out of a reply and leaves blanks, so that the connector never sees them.

use super::encoding::percent_decoded;
use super::limits::{CAPTURE_BYTES_MAX, CAPTURES_MAX};
use super::{Call, EgressError, cookie, json};
use crate::model::{Capture, Place, Secret, ValueKind, is_name};
use std::ops::Range;
use zeroize::Zeroizing;

/// A reply while captures are taken out of it.
pub(super) struct Open {
    /// Names in lower case, without `Set-Cookie`.
    pub headers: Vec<(String, String)>,
    /// The `Set-Cookie` headers.
    pub cookies: Vec<Zeroizing<String>>,
    pub body: Vec<u8>,
}

/// Checks what a request wants captured, before it leaves.
pub(super) fn check(call: &Call<'_>, captures: &[Capture]) -> Result<(), EgressError> {
    if captures.len() > CAPTURES_MAX {
        return Err(EgressError::Refused(format!("more than {CAPTURES_MAX} captures in one request")));
    }
    for (index, capture) in captures.iter().enumerate() {
        let name = if is_name(&capture.name) { capture.name.as_str() } else { "…" };
        if call
            .manifest
            .value(&capture.name)
            .is_none_or(|declared| !matches!(declared.kind, ValueKind::Credential | ValueKind::Prompt))
        {
            return Err(EgressError::Refused(format!(
                "the capture \"{name}\" must be declared in connector.toml as a [[value]] of kind \"credential\" (or \"prompt\", if it ends with the authorisation)"
            )));
        }
        if captures.iter().take(index).any(|other| other.name == capture.name) {
            return Err(EgressError::Refused(format!("\"{name}\" is captured twice in one request")));
        }
        let empty = match &capture.place {
            Place::Json(text) | Place::Header(text) | Place::Cookie(text) | Place::LocationQuery(text) => {
                text.is_empty()
            }
            Place::Between(before, after) => before.is_empty() || after.is_empty(),
        };
        if empty {
            return Err(EgressError::Refused(format!("the place of the capture \"{name}\" is empty")));
        }
    }
    Ok(())
}

/// Takes out all that is there, and blanks what is not public. All are looked for before the first is
/// blanked, so that their order says nothing.
pub(super) fn take(
    reply: &mut Open,
    captures: &[Capture],
    success: bool,
    public: &dyn Fn(&str) -> bool,
) -> Result<Vec<(String, Secret)>, EgressError> {
    let mut captured = Vec::new();
    let mut blanks = Vec::new();
    for capture in captures {
        let found = find(reply, &capture.place).filter(|(text, _)| !text.is_empty());
        match found {
            Some((text, _)) if text.len() > CAPTURE_BYTES_MAX => {
                return Err(EgressError::BadReply(format!(
                    "the capture \"{}\" is larger than {CAPTURE_BYTES_MAX} bytes",
                    capture.name
                )));
            }
            Some((text, blank)) => {
                captured.push((capture.name.clone(), Secret::new(text)));
                if !public(&capture.name) {
                    blanks.extend(blank);
                }
            }
            None if capture.required && success => {
                return Err(EgressError::BadReply(format!(
                    "the required capture \"{}\" is not in the reply",
                    capture.name
                )));
            }
            None => {}
        }
    }
    // From the end, so that ranges before it stay right.
    for blank in merged(blanks).into_iter().rev() {
        match blank.header {
            None => drop(reply.body.splice(blank.range, blank.with.bytes())),
            Some(index) => {
                if let Some((_, value)) = reply.headers.get_mut(index) {
                    value.replace_range(blank.range, blank.with);
                }
            }
        }
    }
    Ok(captured)
}

/// What to replace: in the body, or in the header of this index.
struct Blank {
    header: Option<usize>,
    range: Range<usize>,
    with: &'static str,
}

/// Sorted, and those that overlap made one: two captures may name the same place.
fn merged(mut blanks: Vec<Blank>) -> Vec<Blank> {
    blanks.sort_by_key(|blank| (blank.header, blank.range.start, std::cmp::Reverse(blank.range.end)));
    let mut merged: Vec<Blank> = Vec::with_capacity(blanks.len());
    for blank in blanks {
        match merged.last_mut() {
            Some(last) if last.header == blank.header && blank.range.start < last.range.end => {
                last.range.end = last.range.end.max(blank.range.end);
            }
            _ => merged.push(blank),
        }
    }
    merged
}

fn find(reply: &Open, place: &Place) -> Option<(String, Vec<Blank>)> {
    match place {
        Place::Json(path) => {
            let text = std::str::from_utf8(&reply.body).ok().filter(|text| json::is_json(text))?;
            let path: Vec<&str> = path.split('.').collect();
            let found = json::find(text, &path);
            let value = found.iter().rev().find_map(|range| json::scalar(text.get(range.clone())?))?;
            Some((
                value,
                found.into_iter().map(|range| Blank { header: None, range, with: "\"\"" }).collect(),
            ))
        }
        Place::Between(before, after) => {
            let text = std::str::from_utf8(&reply.body).ok()?;
            let begin = text.find(before.as_str())? + before.len();
            let end = begin + text.get(begin..)?.find(after.as_str())?;
            Some((
                text.get(begin..end)?.to_owned(),
                vec![Blank { header: None, range: begin..end, with: "" }],
            ))
        }
        Place::Header(name) => {
            let mut value = None;
            let mut blanks = Vec::new();
            for (index, (_, text)) in
                reply.headers.iter().enumerate().filter(|(_, (known, _))| known.eq_ignore_ascii_case(name))
            {
                value = value.or(Some(text.clone()));
                blanks.push(Blank { header: Some(index), range: 0..text.len(), with: "" });
            }
            Some((value?, blanks))
        }
        Place::Cookie(name) => {
            let pairs = reply.cookies.iter().rev().filter_map(|header| cookie::pair(header));
            pairs.filter(|(known, _)| known == name).map(|(_, value)| (value.to_owned(), Vec::new())).next()
        }
        Place::LocationQuery(name) => {
            let (index, (_, location)) =
                reply.headers.iter().enumerate().find(|(_, (known, _))| known == "location")?;
            let mut value = None;
            let mut blanks = Vec::new();
            for range in parameters(location) {
                let (key, text) = location.get(range.clone())?.split_once('=')?;
                if decoded(key).as_deref() == Some(name) {
                    value = value.or(decoded(text));
                    blanks.push(Blank {
                        header: Some(index),
                        range: range.start + key.len() + 1..range.end,
                        with: "",
                    });
                }
            }
            Some((value?, blanks))
        }
    }
}

/// Where the `name=value` pairs of a URL's query and fragment stand.
fn parameters(location: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut begin = location.find(['?', '#']).map_or(location.len(), |at| at + 1);
    while begin < location.len() {
        let rest = location.get(begin..).unwrap_or_default();
        let end = begin + rest.find(['&', '#', '?']).unwrap_or(rest.len());
        if location.get(begin..end).is_some_and(|pair| pair.contains('=')) {
            ranges.push(begin..end);
        }
        begin = end + 1;
    }
    ranges
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(percent_decoded(&text.replace('+', " "))?).ok()
}

#[cfg(test)]
mod tests;
