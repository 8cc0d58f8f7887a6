//! Claims of a JWT, written one after another; the host signs them (see `tidegate_sdk::jwt`).

use serde_json::Value;
use tidegate_sdk::Part;
use tidegate_sdk::jwt::json_name;

/// A JSON object in parts.
#[derive(Debug, Default)]
pub struct Claims(Vec<Part>);

impl Claims {
    /// A claim that we know.
    pub fn json(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.name(name);
        self.push(&value.into().to_string());
        self
    }

    /// A declared value, or one of the host's: derived with `json_value` before.
    pub fn value(self, name: &str, value: &str) -> Self {
        self.plain(name, &json_name(value))
    }

    /// A derived value that needs no escaping.
    pub fn plain(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        self.push("\"");
        self.0.push(Part::value(value));
        self.push("\"");
        self
    }

    /// A claim that lies within others: the names from the outside in, and what stands beside it.
    pub fn within(mut self, names: &[&str], value: &str, beside: &str) -> Self {
        for name in names {
            self.name(name);
            self.push("{");
        }
        self.push("\"value\":\"");
        self.0.push(Part::value(json_name(value)));
        self.push(&format!("\",{beside}"));
        self.push(&"}".repeat(names.len()));
        self
    }

    /// The object.
    pub fn parts(mut self) -> Vec<Part> {
        self.push(if self.0.is_empty() { "{}" } else { "}" });
        self.0
    }

    fn name(&mut self, name: &str) {
        let joint = match self.0.last() {
            None => "{",
            Some(Part::Text(text)) if text.ends_with('{') => "",
            Some(_) => ",",
        };
        self.push(&format!("{joint}{}:", Value::from(name)));
    }

    fn push(&mut self, more: &str) {
        match self.0.last_mut() {
            Some(Part::Text(text)) => text.push_str(more),
            _ => self.0.push(Part::text(more)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fixtures::filled;

    #[test]
    fn claims_are_a_json_object_once_their_values_are_filled_in() {
        let claims = Claims::default()
            .value("iss", "client-id")
            .json("aud", "https://b.example/\"")
            .json("exp", 7)
            .plain("jti", "jti")
            .within(&["claims", "id_token", "intent"], "consent-id", "\"essential\":true");
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
