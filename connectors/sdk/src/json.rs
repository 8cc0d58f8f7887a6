//! JSON replies: parsed borrowed and fast; what cannot be read is named by row and field.
//!
//! The happy path is one pass of `serde_json`. Only when it fails is the text read again with the
//! path tracked, so naming the culprit costs nothing on good replies.
//!
//! A reply with rows is [`Listed`], or a structure of the connector's own down to its lists. A row is an
//! [`Object`], or, where there are many and every microsecond counts, a structure of the connector's own: that is
//! read about 1.7 times as fast. [`each`] goes over rows of either kind.

mod listed;
mod object;

pub use listed::Listed;
pub use object::Object;

use crate::answers::DETAILS_BYTES_MAX;
use crate::{Failure, Reply};
use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed};
/// A value as the bank wrote it.
pub use serde_json::value::RawValue;
use std::borrow::Cow;
use std::marker::PhantomData;

/// A text that borrows from the reply where it can (a plain `Option<Cow<str>>` never does).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Text<'_> {
    /// As it stands.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reply {
    /// The body as JSON. Fails as `unreadable`, naming the field.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        document(&self.body)
    }
}

/// Reads a JSON document.
///
/// Fails as `unreadable` without a row, with the path of the field that is missing or wrong.
pub fn document<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    rows(body, "")
}

/// Reads a JSON document that has rows under `list`, a path such as `Data.Transaction`.
///
/// Fails as `unreadable`: a fault inside a row is named by the row's number and the path within the
/// row, any other by its whole path. Values never stand in it.
#[inline]
pub fn rows<'a, T: Deserialize<'a>>(body: &'a [u8], list: &str) -> Result<T, Failure> {
    parse(text_of(body)?, list, PhantomData)
}

/// Goes over rows; `read` gives none for one that is to be passed over.
///
/// A failure of `read` gets the number of its row. See [`Object`].
pub fn each<'r, R, T>(
    rows: &'r [R],
    mut read: impl FnMut(&'r R) -> Result<Option<T>, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut all = Vec::with_capacity(rows.len());
    for (number, row) in rows.iter().enumerate() {
        if let Some(read) = read(row).map_err(|failure| failure.in_row(number))? {
            all.push(read);
        }
    }
    Ok(all)
}

/// Those of the fields that are there as an object, in this order, as the bank wrote them: for `details` of a
/// transaction. One with which it would be longer than the contract allows is left out.
pub fn keep<const N: usize>(fields: [(&str, Option<&RawValue>); N]) -> String {
    // `,"` + name + `":` + value; and the braces.
    let length = |name: &str, raw: &RawValue| name.len() + raw.get().len() + 4;
    let all: usize = fields.iter().filter_map(|(name, raw)| raw.map(|raw| length(name, raw))).sum();
    let mut kept = String::with_capacity((all + 2).min(DETAILS_BYTES_MAX));
    kept.push('{');
    for (name, raw) in fields {
        let Some(raw) = raw else { continue };
        if kept.len() + length(name, raw) + 1 > DETAILS_BYTES_MAX {
            continue;
        }
        kept.push_str(if kept.len() > 1 { ",\"" } else { "\"" });
        kept.push_str(name);
        kept.push_str("\":");
        kept.push_str(raw.get());
    }
    kept.push('}');
    kept
}

/// Checking UTF-8 once for the whole body is cheaper than once for each string.
#[inline]
fn text_of(body: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(body).map_err(|_| Failure::unreadable(None, "utf-8"))
}

#[inline]
fn parse<'a, S: DeserializeSeed<'a> + Copy>(text: &'a str, list: &str, seed: S) -> Result<S::Value, Failure> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = seed.deserialize(&mut json);
    read.and_then(|read| json.end().map(|()| read)).map_err(|_| culprit(text, list, seed))
}

/// Reads again, to say where it fails.
#[cold]
#[inline(never)]
fn culprit<'a, S: DeserializeSeed<'a>>(text: &'a str, list: &str, seed: S) -> Failure {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let error = match seed.deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track)) {
        // Only what follows the document is wrong.
        Ok(_) => return Failure::unreadable(None, "end"),
        Err(error) => error,
    };
    // A reply that breaks off inside a name has an unknown last segment; the document itself is ".".
    let shown = track.path().to_string();
    let mut path = shown.trim_end_matches('?').trim_end_matches('.').to_owned();
    // Serde names a missing field in its message only; the name is our own struct's.
    let message = error.to_string();
    if let Some((field, _)) = message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(field);
    }
    let (row, field) = split(&path, list);
    Failure::unreadable(row, field)
}

/// `Data.Transaction[3].Amount` below `Data.Transaction` is row 3, field `Amount`.
fn split<'p>(path: &'p str, list: &str) -> (Option<usize>, &'p str) {
    let in_row = || {
        let (row, field) =
            path.strip_prefix(list).filter(|_| !list.is_empty())?.strip_prefix('[')?.split_once(']')?;
        Some((Some(row.parse().ok()?), field.strip_prefix('.').unwrap_or(field)))
    };
    in_row().unwrap_or((None, path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Document<'a> {
        #[serde(borrow)]
        rows: Vec<Row<'a>>,
    }
    #[derive(Debug, Deserialize)]
    struct Row<'a> {
        #[serde(borrow)]
        name: Text<'a>,
        #[serde(borrow, default)]
        note: Option<Text<'a>>,
        amount: Amount,
    }
    #[derive(Debug, Deserialize)]
    struct Amount {
        value: u32,
    }

    fn check(body: &str, row: Option<usize>, field: &str) {
        let got = rows::<Document>(body.as_bytes(), "rows").unwrap_err();
        assert_eq!(got, Failure::unreadable(row, field), "{body}");
    }

    #[test]
    fn texts_borrow_from_the_reply() {
        let body = r#"{"rows":[{"name":"a","note":"b","amount":{"value":1}}]}"#;
        let document: Document = rows(body.as_bytes(), "rows").unwrap();
        let row = document.rows.first().unwrap();
        assert!(matches!(row.name.0, Cow::Borrowed("a")));
        assert!(matches!(row.note.as_ref().unwrap().0, Cow::Borrowed("b")));
        assert_eq!(row.amount.value, 1);
        let escaped = body.replace("\"a\"", r#""\u00e4""#);
        let document: Document = rows(escaped.as_bytes(), "rows").unwrap();
        assert_eq!(document.rows.first().unwrap().name.as_str(), "ä");
    }

    #[test]
    fn an_unreadable_row_is_named_by_row_and_field_and_never_by_value() {
        let good = r#"{"name":"a","amount":{"value":1}}"#;
        check(
            &format!(r#"{{"rows":[{good},{{"name":"a","amount":{{"value":"secret"}}}}]}}"#),
            Some(1),
            "amount.value",
        );
        check(
            &format!(r#"{{"rows":[{good},{good},{{"name":"a","amount":{{}}}}]}}"#),
            Some(2),
            "amount.value",
        );
        check(r#"{"rows":[{"amount":{"value":1}}]}"#, Some(0), "name");
        check(r#"{"rows":[7]}"#, Some(0), "");
    }

    #[test]
    fn what_is_wrong_outside_of_rows_is_named_by_its_path() {
        check("{}", None, "rows");
        check(r#"{"rows":7}"#, None, "rows");
        check("<html>", None, "");
        check("", None, "");
        check(r#"{"rows":[]} x"#, None, "end");
    }

    #[test]
    fn a_truncated_reply_names_where_it_broke_off() {
        check(r#"{"rows":[{"name":"a","amount":{"val"#, Some(0), "amount");
    }

    #[test]
    fn a_reply_in_another_charset_is_unreadable() {
        let latin1 = b"{\"rows\":[{\"name\":\"\xe4\",\"amount\":{\"value\":1}}]}";
        assert_eq!(rows::<Document>(latin1, "rows").unwrap_err(), Failure::unreadable(None, "utf-8"));
    }
}
