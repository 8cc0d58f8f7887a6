//! Finds values in JSON text without rewriting the rest: numbers keep their digits, and a member
//! that stands there twice is found twice. Pure.

use std::ops::Range;

/// Is it JSON (RFC 8259)? The finders below expect text that is.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Where the values at a path of member names stand.
pub(super) fn find(text: &str, path: &[&str]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut scanner = Scanner { text, at: 0 };
    scanner.value(Some(path), &mut found);
    found
}

/// The text of a string, number or boolean; none for the rest.
pub(super) fn scalar(token: &str) -> Option<String> {
    match token.bytes().next()? {
        b'"' => serde_json::from_str(token).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(token.to_owned()),
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Passes one value. `path`: what is looked for from here; none off the way. `is_json` has
    /// seen the text, so that depth is bounded (128) and every token ends.
    fn value(&mut self, path: Option<&[&str]>, found: &mut Vec<Range<usize>>) {
        self.space();
        let begin = self.at;
        match self.peek() {
            Some(b'{') => self.members(b'}', path, found),
            Some(b'[') => self.members(b']', None, found),
            Some(b'"') => self.string(),
            _ => {
                while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
                    self.at += 1;
                }
            }
        }
        if path.is_some_and(<[&str]>::is_empty) {
            found.push(begin..self.at);
        }
    }

    /// Passes an object or array up to and with its `close`.
    fn members(&mut self, close: u8, path: Option<&[&str]>, found: &mut Vec<Range<usize>>) {
        self.at += 1;
        loop {
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {
                    self.at += 1;
                    return;
                }
                None => return,
                _ => {
                    let deeper = if close == b'}' { self.name(path) } else { None };
                    let before = self.at;
                    self.value(deeper, found);
                    if self.at == before {
                        return; // not JSON after all: never turn in place
                    }
                }
            }
        }
    }

    /// Passes a member's name and colon; the rest of the path if the name is its first.
    fn name<'p>(&mut self, path: Option<&'p [&'p str]>) -> Option<&'p [&'p str]> {
        let begin = self.at;
        self.string();
        let name: Option<String> =
            self.text.get(begin..self.at).and_then(|token| serde_json::from_str(token).ok());
        self.space();
        if self.peek() == Some(b':') {
            self.at += 1;
        }
        let (first, rest) = path?.split_first()?;
        (name.as_deref() == Some(*first)).then_some(rest)
    }

    fn string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[track_caller]
    fn check(text: &str, path: &[&str], wanted: &[&str]) {
        assert!(is_json(text), "{text}");
        let found: Vec<&str> = find(text, path).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, wanted, "{text} {path:?}");
    }

    #[test]
    fn values_are_found_by_their_path_only() {
        let text = r#" { "a" : {"token": "x\"y", "b": 1.50}, "token":"top", "list": [{"token": "no"}], "n": null } "#;
        check(text, &["token"], &["\"top\""]);
        check(text, &["a", "token"], &[r#""x\"y""#]);
        check(text, &["a", "b"], &["1.50"]);
        check(text, &["a"], &[r#"{"token": "x\"y", "b": 1.50}"#]);
        check(text, &["list", "token"], &[]);
        check(text, &["n"], &["null"]);
        check(text, &["absent"], &[]);
        check("[1,2]", &["a"], &[]);
        check("\"text\"", &["a"], &[]);
    }

    #[test]
    fn a_member_that_stands_twice_or_is_spelt_with_escapes_is_found() {
        check(r#"{"a":1,"a":"two","\u0061":3}"#, &["a"], &["1", "\"two\"", "3"]);
        check(r#"{"é{\"":"v}","x":"\\"}"#, &["é{\""], &["\"v}\""]);
    }

    #[test]
    fn only_strings_numbers_and_booleans_have_a_text() {
        assert_eq!(scalar(r#""a\nb""#).unwrap(), "a\nb");
        assert_eq!(scalar("12.340").unwrap(), "12.340");
        assert_eq!(scalar("true").unwrap(), "true");
        for none in ["null", "{}", "[1]", ""] {
            assert_eq!(scalar(none), None, "{none}");
        }
    }

    #[test]
    fn broken_text_ends_the_scan() {
        for text in ["{", "[", "{\"a", "{\"a\":", "{\"a\":}", "[,", "{?", "\"\\"] {
            assert!(!is_json(text), "{text}");
            find(text, &["a"]);
        }
    }
}
