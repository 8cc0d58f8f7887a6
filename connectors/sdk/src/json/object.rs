//! One JSON object of a reply, read field by field without a structure of its own: for rows of many
//! fields of which a few are computed with, and the rest is at most handed on.
//!
//! Must not know: what any field means.

use super::{Text, keep, parse};
use crate::{Failure, date, decimal};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

/// The fields of a JSON object, borrowed from the reply; the value of each stays as it is written until
/// it is asked for.
///
/// Whatever cannot be read is `unreadable` with the path of the field from the row down, such as
/// `Amount.Currency`, and never with its value; [`super::each`] adds the number of the row. A field that
/// is `null` is as good as absent. Of a name that stands twice, one counts.
///
/// Asking in the order in which the bank writes is fastest: each search begins where the last one ended.
///
/// ```
/// # use tidegate_sdk::{Failure, Transaction, Status};
/// # use tidegate_sdk::json::{Listed, Object, each};
/// fn row(row: &Object<'_>) -> Result<Transaction, Failure> {
///     let booked_on = row.day("on")?;
///     let debit = row.choice("side", &[("C", false), ("D", true)])?;
///     let money = row.object("money")?;
///     let amount = money.unsigned("amount", debit)?;
///     let written = Transaction::new(Status::Booked, amount, &money.text("currency")?, "");
///     Ok(written.on(Some(booked_on), None).with_details(row.keep(["shop"])))
/// }
/// let body = br#"{"rows":[{"on":"2026-03-19T08:00:00Z","side":"D","shop":{"town":"Leeds"},
///     "money":{"amount":"3.20","currency":"GBP"}}]}"#;
/// let listed = Listed::read(body, "rows").unwrap();
/// let rows = each(&listed.rows.unwrap(), |one| row(one).map(Some)).unwrap();
/// assert_eq!((rows[0].amount.as_str(), rows[0].booked_on.as_deref()), ("-3.20", Some("2026-03-19")));
/// assert_eq!(rows[0].details, r#"{"shop":{"town":"Leeds"}}"#);
///
/// let spoilt = Listed::read(br#"{"rows":[{"money":{"amount":"3.20"}}]}"#, "rows").unwrap();
/// let read = each(&spoilt.rows.unwrap(), |one| row(one).map(Some));
/// assert_eq!(read, Err(Failure::unreadable(Some(0), "on")));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Object<'a> {
    /// What it stands in, and as what; none for a row.
    outer: Option<(&'a Object<'a>, Cow<'a, str>)>,
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// Where the next search begins.
    next: Cell<usize>,
}

impl<'a> Object<'a> {
    /// A text.
    pub fn text(&self, name: &str) -> Result<Cow<'a, str>, Failure> {
        self.text_if(name)?.ok_or_else(|| self.unreadable(name))
    }

    /// A text, if it is there.
    pub fn text_if(&self, name: &str) -> Result<Option<Cow<'a, str>>, Failure> {
        match self.find(name) {
            Some((_, raw)) => unquoted(raw.get()).map(Some).ok_or_else(|| self.unreadable(name)),
            None => Ok(None),
        }
    }

    /// What a text out of a list of words means; another one is unreadable.
    pub fn choice<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<T, Failure> {
        self.choice_if(name, words)?.ok_or_else(|| self.unreadable(name))
    }

    /// The same, if it is there.
    pub fn choice_if<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Failure> {
        let Some(text) = self.text_if(name)? else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, meaning)| Some(*meaning)).ok_or_else(|| self.unreadable(name))
    }

    /// The day that a date or date-time starts with, as [`date::civil`] reads it.
    pub fn day(&self, name: &str) -> Result<String, Failure> {
        self.day_if(name)?.ok_or_else(|| self.unreadable(name))
    }

    /// The same, if it is there.
    pub fn day_if(&self, name: &str) -> Result<Option<String>, Failure> {
        let Some(text) = self.text_if(name)? else { return Ok(None) };
        date::civil(&text).map(|day| Some(day.to_owned())).ok_or_else(|| self.unreadable(name))
    }

    /// Unix milliseconds of a date-time, as [`date::unix_ms`] reads it.
    pub fn instant(&self, name: &str) -> Result<u64, Failure> {
        self.instant_if(name)?.ok_or_else(|| self.unreadable(name))
    }

    /// The same, if it is there.
    pub fn instant_if(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.text_if(name)? else { return Ok(None) };
        date::unix_ms(&text).map(Some).ok_or_else(|| self.unreadable(name))
    }

    /// An amount without a sign, with the one that stands elsewhere: see [`decimal::with_sign`].
    pub fn unsigned(&self, name: &str, negative: bool) -> Result<String, Failure> {
        decimal::with_sign(&self.text(name)?, negative).ok_or_else(|| self.unreadable(name))
    }

    /// An amount with a sign of its own: see [`decimal::signed`].
    pub fn signed(&self, name: &str) -> Result<String, Failure> {
        decimal::signed(&self.text(name)?).ok_or_else(|| self.unreadable(name))
    }

    /// An object within this one.
    pub fn object(&self, name: &str) -> Result<Object<'_>, Failure> {
        self.object_if(name)?.ok_or_else(|| self.unreadable(name))
    }

    /// An object within this one, if it is there.
    pub fn object_if(&self, name: &str) -> Result<Option<Object<'_>>, Failure> {
        let Some((known, raw)) = self.find(name) else { return Ok(None) };
        let inner: Object<'_> = serde_json::from_str(raw.get()).map_err(|_| self.unreadable(name))?;
        Ok(Some(Object { outer: Some((self, Cow::Borrowed(known))), ..inner }))
    }

    /// The objects of a list; one that is absent is empty.
    pub fn list(&self, name: &str) -> Result<Vec<Object<'_>>, Failure> {
        let mut all: Vec<Object<'_>> = self.read_if(name)?.unwrap_or_default();
        for (number, object) in all.iter_mut().enumerate() {
            object.outer = Some((self, Cow::Owned(format!("{name}[{number}]"))));
        }
        Ok(all)
    }

    /// Anything else that serde reads.
    pub fn read<T: Deserialize<'a>>(&self, name: &str) -> Result<T, Failure> {
        self.read_if(name)?.ok_or_else(|| self.unreadable(name))
    }

    /// Anything else that serde reads, if it is there.
    pub fn read_if<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some((_, raw)) = self.find(name) else { return Ok(None) };
        parse(raw.get(), "", PhantomData).map(Some).map_err(|failure| failure.under(&self.path(name)))
    }

    /// The fields of these names as an object: see [`super::keep`].
    pub fn keep<const N: usize>(&self, names: [&str; N]) -> String {
        keep(names.map(|name| (name, self.find(name).map(|(_, raw)| *raw))))
    }

    /// This field is not what the bank's interface promises.
    #[cold]
    pub fn unreadable(&self, name: &str) -> Failure {
        Failure::unreadable(None, &self.path(name))
    }

    pub(super) fn push(&mut self, name: Cow<'a, str>, value: &'a RawValue) {
        self.fields.push((name, value));
    }

    fn path(&self, name: &str) -> String {
        match &self.outer {
            None => name.to_owned(),
            Some((outer, place)) => format!("{}.{name}", outer.path(place)),
        }
    }

    /// The field of that name, unless it is `null`.
    fn find(&self, name: &str) -> Option<&(Cow<'a, str>, &'a RawValue)> {
        let (before, after) = self.fields.split_at_checked(self.next.get())?;
        let found = match after.iter().position(|(known, _)| known == name) {
            Some(place) => before.len() + place,
            None => before.iter().position(|(known, _)| known == name)?,
        };
        self.next.set(found + 1);
        self.fields.get(found).filter(|(_, raw)| raw.get() != "null")
    }
}

/// The text of a JSON string: borrowed, unless something is escaped in it.
fn unquoted(raw: &str) -> Option<Cow<'_, str>> {
    let text = raw.strip_prefix('"')?.strip_suffix('"')?;
    if text.as_bytes().contains(&b'\\') {
        return serde_json::from_str(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(text))
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Collect)
    }
}

/// Collects the fields of an object.
struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Object<'de>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = Object::default();
        while let Some((Text(name), value)) = map.next_entry()? {
            object.push(name, value);
        }
        Ok(object)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"id":"a1","none":null,"note":"\u00e4\"b","on":"2026-03-19T08:14:02Z","gone":"2026-02-30",
        "money":{"amount":"3.20","deep":{"currency":"GBP","odd":7}},"lines":[{"in":true},{"in":"x"}],"more":[1, 2]}"#;

    fn row(text: &str) -> Object<'_> {
        serde_json::from_str(text).unwrap()
    }
    fn wrong<T>(field: &str) -> Result<T, Failure> {
        Err(Failure::unreadable(None, field))
    }

    #[test]
    fn texts_are_borrowed_unless_something_is_escaped_in_them() {
        let row = row(ROW);
        assert!(matches!(row.text("id").unwrap(), Cow::Borrowed("a1")));
        assert_eq!(row.text("note").unwrap(), "ä\"b");
        assert_eq!(row.text_if("none"), Ok(None));
        assert_eq!(row.text_if("nowhere"), Ok(None));
        assert_eq!(row.text("none"), wrong("none"));
        assert_eq!(row.text("nowhere"), wrong("nowhere"));
        assert_eq!(row.text_if("money"), wrong("money"));
        assert_eq!(super::tests::row(r#"{"\u0069d":"\ud800"}"#).text("id"), wrong("id"), "half a letter");
    }

    #[test]
    fn fields_are_found_in_any_order() {
        let row = row(r#"{"a":"1","b":"2","c":"3"}"#);
        for names in [["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"], ["c", "c", "a"]] {
            for name in names {
                let expected = char::from(name.as_bytes()[0] - b'a' + b'1').to_string();
                assert_eq!(row.text(name).unwrap(), expected, "{names:?}");
            }
        }
        assert_eq!(Object::default().text_if("a"), Ok(None));
    }

    #[test]
    fn days_instants_words_and_amounts_are_checked() {
        let row = row(ROW);
        assert_eq!(row.day("on").as_deref(), Ok("2026-03-19"));
        assert_eq!(row.day("gone"), wrong("gone"));
        assert_eq!(row.day_if("nowhere"), Ok(None));
        assert_eq!(row.instant("on"), Ok(1_773_908_042_000));
        assert_eq!(row.instant_if("id"), wrong("id"));
        assert_eq!(row.choice("id", &[("b", 1), ("a1", 2)]), Ok(2));
        assert_eq!(row.choice_if("id", &[("b", 1)]), wrong("id"));
        assert_eq!(row.choice_if("none", &[("b", 1)]), Ok(None));
        let money = row.object("money").unwrap();
        assert_eq!(money.unsigned("amount", true).as_deref(), Ok("-3.20"));
        assert_eq!(money.signed("amount").as_deref(), Ok("3.20"));
        assert_eq!(row.signed("id"), wrong("id"));
    }

    #[test]
    fn a_field_is_named_by_its_path_from_the_row_down() {
        let row = row(ROW);
        let money = row.object("money").unwrap();
        let deep = money.object("deep").unwrap();
        assert_eq!(deep.text("currency").unwrap(), "GBP");
        assert_eq!(deep.text("odd"), wrong("money.deep.odd"));
        assert_eq!(row.object("id").err(), wrong::<()>("id").err());
        assert_eq!(row.object_if("nowhere").map(|found| found.is_some()), Ok(false));
        let lines = row.list("lines").unwrap();
        assert_eq!(lines.first().unwrap().read::<bool>("in"), Ok(true));
        assert_eq!(lines.get(1).unwrap().read::<bool>("in"), wrong("lines[1].in"));
        assert_eq!(row.list("nowhere").unwrap().len(), 0);
        assert_eq!(row.list("more").err(), wrong::<()>("more[0]").err());
        assert_eq!(row.read::<Vec<u8>>("more"), Ok(vec![1, 2]));
        assert_eq!(row.read_if::<u8>("none"), Ok(None));
    }

    #[test]
    fn what_is_kept_is_as_the_bank_wrote_it_in_one_order_and_never_too_long() {
        assert_eq!(
            row(ROW).keep(["more", "nowhere", "none", "note"]),
            r#"{"more":[1, 2],"note":"\u00e4\"b"}"#
        );
        assert_eq!(row(ROW).keep([]), "{}");
        let huge = format!(r#"{{"a":"{}","b":"Leeds"}}"#, "x".repeat(20_000));
        assert_eq!(row(&huge).keep(["a", "b"]), r#"{"b":"Leeds"}"#);
        // `{"a":"` + `"}` are eight bytes, and a comma is counted for each field.
        let just = format!(r#"{{"a":"{}"}}"#, "x".repeat(16 * 1024 - 9));
        assert_eq!(row(&just).keep(["a"]), just);
    }
}
