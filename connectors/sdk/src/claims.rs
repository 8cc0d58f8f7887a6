//! Claims of a JWT, written one after another; [`crate::jwt`] says how they are signed.
//!
//! Must not know: what any claim is good for, nor any value but by its name.

use crate::jwt::{json_name, json_value};
use crate::{Derived, Part};
use serde_json::Value;

/// A JSON object in parts, with the values that must be derived for it.
///
/// ```
/// # use tidegate_sdk::{Request, claims::Claims, jwt::Jwt};
/// let claims = Claims::default().value("iss", "client-id").json("exp", 1_795_176_240_u64);
/// let jwt = Jwt { name: "assertion", algorithm: "PS256", key: "signing-key", key_id: None };
/// let request = Request::post("https://bank.example/token")
///     .derive_all(claims.values())
///     .derive_all(jwt.derive(claims.parts()));
/// assert_eq!(request.derived.first().map(|first| first.name.as_str()), Some("json-client-id"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Claims {
    parts: Vec<Part>,
    /// Values that stand in it escaped.
    escaped: Vec<String>,
}

impl Claims {
    /// A claim that we know.
    #[must_use]
    pub fn json(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.name(name);
        self.push(&value.into().to_string());
        self
    }

    /// A declared value, or one of the host's, escaped: see [`Claims::values`].
    #[must_use]
    pub fn value(mut self, name: &str, value: &str) -> Self {
        self.escape(value);
        self.plain(name, &json_name(value))
    }

    /// A derived value that needs no escaping.
    #[must_use]
    pub fn plain(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        self.push("\"");
        self.parts.push(Part::value(value));
        self.push("\"");
        self
    }

    /// A value, escaped, as the member `value` of a claim within others: the names from the outside in, and what
    /// JSON stands beside it (OpenID Connect Core, 5.5).
    #[must_use]
    pub fn within(mut self, names: &[&str], value: &str, beside: &str) -> Self {
        for name in names {
            self.name(name);
            self.push("{");
        }
        self.escape(value);
        self.push("\"value\":\"");
        self.parts.push(Part::value(json_name(value)));
        self.push(&format!("\",{beside}"));
        self.push(&"}".repeat(names.len()));
        self
    }

    /// The values to derive before the token of these claims, each once.
    pub fn values(&self) -> Vec<Derived> {
        self.escaped.iter().map(|value| json_value(value)).collect()
    }

    /// The object.
    pub fn parts(mut self) -> Vec<Part> {
        self.push(if self.parts.is_empty() { "{}" } else { "}" });
        self.parts
    }

    fn escape(&mut self, value: &str) {
        if self.escaped.iter().all(|known| known != value) {
            self.escaped.push(value.to_owned());
        }
    }

    fn name(&mut self, name: &str) {
        let joint = match self.parts.last() {
            None => "{",
            Some(Part::Text(text)) if text.ends_with('{') => "",
            Some(_) => ",",
        };
        self.push(&format!("{joint}{}:", Value::from(name)));
    }

    fn push(&mut self, more: &str) {
        match self.parts.last_mut() {
            Some(Part::Text(text)) => text.push_str(more),
            _ => self.parts.push(Part::text(more)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn filled(parts: &[Part]) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Part::Value(name) => format!("<{name}>"),
        };
        parts.iter().map(part).collect()
    }

    #[test]
    fn claims_are_a_json_object_once_their_values_are_filled_in() {
        let claims = Claims::default()
            .value("iss", "client-id")
            .json("aud", "https://b.example/\"")
            .json("exp", 7)
            .plain("jti", "jti")
            .within(&["claims", "id_token", "intent"], "consent-id", "\"essential\":true");
        let names: Vec<_> = claims.values().into_iter().map(|derived| derived.name).collect();
        assert_eq!(names, ["json-client-id", "json-consent-id"]);
        let object: Value = serde_json::from_str(&filled(&claims.parts())).unwrap();
        assert_eq!(
            object,
            serde_json::json!({
                "iss": "<json-client-id>", "aud": "https://b.example/\"", "exp": 7, "jti": "<jti>",
                "claims": { "id_token": { "intent": { "value": "<json-consent-id>", "essential": true } } },
            })
        );
        assert_eq!(filled(&Claims::default().parts()), "{}");
    }
}
