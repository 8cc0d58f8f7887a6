//! A reply that is a list of rows at some path, with links and the like beside it.

use super::{Object, Text, parse, text_of};
use crate::Failure;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// What such a reply says; a row is an [`super::Object`] or a structure of your own.
///
/// ```
/// # use tidegate_sdk::{Failure, json::{Listed, Object, each}};
/// let body = br#"{"Data":{"Rows":[{"Id":"1"},{"Id":7}]},"Links":{"Next":"?page=2"}}"#;
/// let listed: Listed<Object> = Listed::read(body, "Data.Rows").unwrap();
/// assert_eq!(listed.said("Links", "Next"), Ok(Some("?page=2".into())));
/// let ids = each(&listed.rows.unwrap_or_default(), |row| Ok(Some(row.text("Id")?.into_owned())));
/// assert_eq!(ids, Err(Failure::unreadable(Some(1), "Id")));
/// ```
#[derive(Debug, Clone)]
pub struct Listed<'a, R> {
    /// The rows; none if the list is absent, which some banks mean by an empty one.
    pub rows: Option<Vec<R>>,
    /// The fields beside the outermost object of the path.
    pub beside: Object<'a>,
}

impl<'a, R: Deserialize<'a>> Listed<'a, R> {
    /// Reads a reply whose rows are at `path`, such as `Data.Transaction`. Only the list itself may be
    /// absent, not what it stands in.
    ///
    /// Fails as `unreadable`, naming row and field, as [`super::rows`] does.
    #[inline]
    pub fn read(body: &'a [u8], path: &str) -> Result<Self, Failure> {
        parse(text_of(body)?, path, At { path, row: PhantomData })
    }

    /// A text in an object beside the rows, such as a link; none if one of the two is absent.
    pub fn said(&self, object: &str, name: &str) -> Result<Option<String>, Failure> {
        match self.beside.object_if(object)? {
            Some(object) => Ok(object.text_if(name)?.map(String::from)),
            None => Ok(None),
        }
    }
}

/// Reads an object on the path.
struct At<'p, R> {
    /// From here on.
    path: &'p str,
    row: PhantomData<R>,
}

impl<R> Clone for At<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for At<'_, R> {}

impl<'de, R: Deserialize<'de>> DeserializeSeed<'de> for At<'_, R> {
    type Value = Listed<'de, R>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, R: Deserialize<'de>> Visitor<'de> for At<'_, R> {
    type Value = Listed<'de, R>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (wanted, rest) = match self.path.split_once('.') {
            Some((outer, rest)) => (outer, Some(rest)),
            None => (self.path, None),
        };
        let (mut inner, mut rows, mut beside) = (None, None, Object::default());
        while let Some(Text(name)) = map.next_key()? {
            match rest {
                _ if name != wanted => beside.push(name, map.next_value()?),
                Some(path) => inner = Some(map.next_value_seed(At { path, row: self.row })?),
                None => rows = Some(map.next_value()?),
            }
        }
        match (rest, inner) {
            (None, _) => {}
            (Some(_), Some(inner)) => rows = inner.rows,
            // In the words of serde, which `culprit` knows.
            (Some(_), None) => return Err(A::Error::custom(format_args!("missing field `{wanted}`"))),
        }
        Ok(Listed { rows, beside })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::json::each;

    fn listed<'a>(body: &'a str, path: &str) -> Result<Listed<'a, Object<'a>>, Failure> {
        Listed::read(body.as_bytes(), path)
    }
    fn check(body: &str, row: Option<usize>, field: &str) {
        assert_eq!(listed(body, "Data.Rows").err(), Some(Failure::unreadable(row, field)), "{body}");
    }

    #[test]
    fn rows_are_found_at_their_path_and_the_rest_beside_it() {
        let body = r#"{"Meta":{"Pages":"3","More":4},"Data":{"Else":1,"Rows":[{"Id":"1"}]},"Links":null}"#;
        let found = listed(body, "Data.Rows").unwrap();
        assert_eq!(found.said("Meta", "Pages"), Ok(Some("3".to_owned())));
        assert_eq!(found.said("Meta", "More"), Err(Failure::unreadable(None, "Meta.More")));
        assert_eq!(found.said("Links", "Next"), Ok(None));
        let ids = each(&found.rows.unwrap(), |row| Ok(Some(row.text("Id")?.into_owned())));
        assert_eq!(ids.unwrap(), ["1"]);
        assert_eq!(listed(r#"{"rows":[{},{}]}"#, "rows").unwrap().rows.map(|rows| rows.len()), Some(2));
    }

    #[test]
    fn a_list_may_be_absent_but_not_what_it_stands_in() {
        assert!(listed(r#"{"Data":{}}"#, "Data.Rows").unwrap().rows.is_none());
        assert!(listed("{}", "Rows").unwrap().rows.is_none());
        check("{}", None, "Data");
        check(r#"{"Data":null}"#, None, "Data");
        check(r#"{"Data":{"Rows":null}}"#, None, "Data.Rows");
    }

    #[test]
    fn a_fault_is_named_by_row_or_path() {
        check(r#"{"Data":{"Rows":[{},{},7]}}"#, Some(2), "");
        check(r#"{"Data":{"Rows":[{},{"Id":"1","Amount":{"val"#, Some(1), "Amount");
        check(r#"{"Data":{"Rows":[]}} x"#, None, "end");
        check("<html>", None, "");
        check("", None, "");
    }
}
