//! Requests as values, built step by step.
//!
//! Text is percent-encoded where it stands in a path, a query or a form. A secret is only named:
//! the host encodes it (as a derived value `percent-NAME`) and fills it in when the request leaves.

use crate::{Capture, Derived, Encoded, Encoding, Header, Method, Operation, Part, Place, Request};
use std::borrow::Cow;

impl Part {
    /// Text as it stands.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
    /// A credential, registration value or derived value, by name.
    pub fn value(name: impl Into<String>) -> Self {
        Self::Value(name.into())
    }
}

/// What stands in a query parameter or a form field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// Text, percent-encoded here.
    Text(&'a str),
    /// A value by name, percent-encoded by the host.
    Value(&'a str),
}

impl Request {
    /// A request without headers, body, derived values and captures.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: vec![Part::Text(url.into())],
            headers: Vec::new(),
            body: Vec::new(),
            derived: Vec::new(),
            captures: Vec::new(),
            after_ms: 0,
        }
    }
    /// GET. `url` is taken as it stands.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url)
    }
    /// POST. `url` is taken as it stands.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new(Method::Post, url)
    }
    /// DELETE. `url` is taken as it stands.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new(Method::Delete, url)
    }

    /// One more path segment, percent-encoded. Before any query.
    #[must_use]
    pub fn segment(mut self, text: &str) -> Self {
        self.push_url("/");
        self.push_url(&percent(text));
        self
    }
    /// One more path segment that is a value; the host encodes it. Before any query.
    #[must_use]
    pub fn segment_value(mut self, name: &str) -> Self {
        self.push_url("/");
        let part = self.percent_of(name);
        self.url.push(part);
        self
    }
    /// One more query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, field: Field<'_>) -> Self {
        let has_query = self.url.iter().any(|part| matches!(part, Part::Text(text) if text.contains('?')));
        let mark = if has_query { '&' } else { '?' };
        self.push_url(&format!("{mark}{}=", percent(name)));
        match field {
            Field::Text(text) => self.push_url(&percent(text)),
            Field::Value(value) => {
                let part = self.percent_of(value);
                self.url.push(part);
            }
        }
        self
    }

    /// A header with text.
    #[must_use]
    pub fn header(self, name: &str, value: impl Into<String>) -> Self {
        self.header_parts(name, vec![Part::Text(value.into())])
    }
    /// A header made of parts.
    #[must_use]
    pub fn header_parts(mut self, name: &str, value: Vec<Part>) -> Self {
        self.headers.push(Header { name: name.to_owned(), value });
        self
    }
    /// `Authorization: Bearer …` with a value (RFC 6750).
    #[must_use]
    pub fn bearer(self, value: &str) -> Self {
        self.header_parts("authorization", vec![Part::text("Bearer "), Part::value(value)])
    }
    /// `Authorization: Basic …` of two values, each percent-encoded first, as OAuth wants it
    /// (RFC 6749, 2.3.1).
    #[must_use]
    pub fn basic(mut self, user: &str, password: &str) -> Self {
        let over = vec![self.percent_of(user), Part::text(":"), self.percent_of(password)];
        self.derive("basic", Operation::Encode(Encoded { alphabet: Encoding::Base64, over }))
            .header_parts("authorization", vec![Part::text("Basic "), Part::value("basic")])
    }

    /// `Authorization: Basic …` of two values as they stand (RFC 7617), as banks other than by OAuth want it.
    #[must_use]
    pub fn basic_plain(self, user: &str, password: &str) -> Self {
        let over = vec![Part::value(user), Part::text(":"), Part::value(password)];
        self.derive("basic", Operation::Encode(Encoded { alphabet: Encoding::Base64, over }))
            .header_parts("authorization", vec![Part::text("Basic "), Part::value("basic")])
    }

    /// A body made of parts, with its type.
    #[must_use]
    pub fn body(self, content_type: &str, parts: Vec<Part>) -> Self {
        let mut request = self.header("content-type", content_type);
        request.body = parts;
        request
    }
    /// A form, `application/x-www-form-urlencoded`.
    #[must_use]
    pub fn form(mut self, fields: &[(&str, Field<'_>)]) -> Self {
        let mut parts = Vec::new();
        let mut text = String::new();
        for (name, field) in fields {
            if !parts.is_empty() || !text.is_empty() {
                text.push('&');
            }
            text.push_str(&percent(name));
            text.push('=');
            match field {
                Field::Text(value) => text.push_str(&percent(value)),
                Field::Value(value) => {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(self.percent_of(value));
                }
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        self.body("application/x-www-form-urlencoded", parts)
    }

    /// A named value that the host computes. A name that is there already keeps its first meaning.
    #[must_use]
    pub fn derive(mut self, name: &str, how: Operation) -> Self {
        self.push_derived(name, how);
        self
    }
    /// Keep a field of the JSON reply, sealed, under a declared name.
    #[must_use]
    pub fn capture_json(self, name: &str, path: &str, required: bool) -> Self {
        self.capture(name, Place::Json(path.to_owned()), required)
    }
    /// Keep a part of the reply, sealed, under a declared name.
    #[must_use]
    pub fn capture(mut self, name: &str, place: Place, required: bool) -> Self {
        self.captures.push(Capture { name: name.to_owned(), place, required });
        self
    }
    /// Wait so many milliseconds before sending.
    #[must_use]
    pub fn after_ms(mut self, wait: u32) -> Self {
        self.after_ms = wait;
        self
    }

    /// The URL as far as it is text, with `{name}` where a value stands: for tests and for
    /// [`crate::paging`].
    pub fn url_text(&self) -> String {
        text_of(&self.url)
    }
    /// The header of that name, as [`Request::url_text`] shows parts.
    pub fn header_text(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|header| header.name == name).map(|header| text_of(&header.value))
    }
    /// The body, as [`Request::url_text`] shows parts.
    pub fn body_text(&self) -> String {
        text_of(&self.body)
    }

    fn push_url(&mut self, more: &str) {
        match self.url.last_mut() {
            Some(Part::Text(text)) => text.push_str(more),
            _ => self.url.push(Part::text(more)),
        }
    }
    fn push_derived(&mut self, name: &str, how: Operation) {
        if self.derived.iter().all(|derived| derived.name != name) {
            self.derived.push(Derived { name: name.to_owned(), how });
        }
    }
    fn percent_of(&mut self, value: &str) -> Part {
        let name = format!("percent-{value}");
        let over = vec![Part::value(value)];
        self.push_derived(&name, Operation::Encode(Encoded { alphabet: Encoding::Percent, over }));
        Part::Value(name)
    }
}

fn text_of(parts: &[Part]) -> String {
    let mut all = String::new();
    for part in parts {
        match part {
            Part::Text(text) => all.push_str(text),
            Part::Bytes(bytes) => all.push_str(&String::from_utf8_lossy(bytes)),
            Part::Value(name) => {
                all.push('{');
                all.push_str(name);
                all.push('}');
            }
        }
    }
    all
}

/// RFC 3986: everything but unreserved characters is escaped.
pub fn percent(text: &str) -> Cow<'_, str> {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if text.bytes().all(unreserved) {
        return Cow::Borrowed(text);
    }
    let digit = |half: u8| char::from(if half < 10 { b'0' + half } else { b'A' + half - 10 });
    let mut escaped = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if unreserved(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push(digit(byte >> 4));
            escaped.push(digit(byte & 15));
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_encoded() {
        let request = Request::get("https://b.example/accounts")
            .segment("a/b?c d")
            .segment("transactions")
            .query("from", Field::Text("2017-04-05T00:00:00"))
            .query("token", Field::Value("access-token"));
        assert_eq!(
            request.url_text(),
            "https://b.example/accounts/a%2Fb%3Fc%20d/transactions?from=2017-04-05T00%3A00%3A00&token={percent-access-token}"
        );
        assert_eq!(percent("ä~"), "%C3%A4~");
    }

    #[test]
    fn a_form_names_secrets_and_the_host_encodes_them() {
        let request = Request::post("https://b.example/token").basic("client-id", "client-secret").form(&[
            ("grant_type", Field::Text("refresh_token")),
            ("refresh_token", Field::Value("refresh-token")),
            ("scope", Field::Text("accounts offline")),
        ]);
        assert_eq!(
            request.body_text(),
            "grant_type=refresh_token&refresh_token={percent-refresh-token}&scope=accounts%20offline"
        );
        assert_eq!(request.header_text("authorization").as_deref(), Some("Basic {basic}"));
        assert_eq!(request.header_text("content-type").as_deref(), Some("application/x-www-form-urlencoded"));
        let names: Vec<_> = request.derived.iter().map(|derived| derived.name.as_str()).collect();
        assert_eq!(names, ["percent-client-id", "percent-client-secret", "basic", "percent-refresh-token"]);
    }

    #[test]
    fn a_value_is_derived_once_however_often_it_is_used() {
        let request = Request::get("https://b.example").segment_value("id").query("id", Field::Value("id"));
        assert_eq!(request.url_text(), "https://b.example/{percent-id}?id={percent-id}");
        assert_eq!(request.derived.len(), 1);
    }

    #[test]
    fn captures_and_waits_are_said() {
        let request = Request::post("x").capture_json("access-token", "access_token", true).after_ms(500);
        assert_eq!(
            request.captures,
            [Capture {
                name: "access-token".into(),
                place: Place::Json("access_token".into()),
                required: true
            }]
        );
        assert_eq!(request.after_ms, 500);
    }
}
