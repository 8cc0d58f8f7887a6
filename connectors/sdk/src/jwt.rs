//! Signed JSON Web Tokens (RFC 7515, RFC 7519), said and not computed: the connector writes header and
//! claims as parts, the host encodes and signs them when the request leaves.

use crate::{Derived, Encoded, Encoding, Operation, Part, Redirect, Request, Signature};

/// A token to be signed: `name` is what the finished token is called in the request.
#[derive(Debug, Clone, Copy)]
pub struct Jwt<'a> {
    /// What [`Part::value`] calls the token; its pieces are called `NAME-…`.
    pub name: &'a str,
    /// `PS256`, `RS256`, `ES256` or `EdDSA`.
    pub algorithm: &'a str,
    /// The declared private key.
    pub key: &'a str,
    /// The declared value with the key's id, if the bank wants `kid`.
    pub key_id: Option<&'a str>,
}

impl Jwt<'_> {
    /// The derived values that make the token of these claims: a JSON object in parts, where values
    /// are escaped by [`json_value`].
    pub fn derive(&self, claims: Vec<Part>) -> Vec<Derived> {
        let Self { name, algorithm, key, key_id } = *self;
        let mut all = Vec::new();
        let mut header = vec![Part::text(format!("{{\"typ\":\"JWT\",\"alg\":\"{algorithm}\""))];
        if let Some(key_id) = key_id {
            all.push(json_value(key_id));
            header.push(Part::text(",\"kid\":\""));
            header.push(Part::value(json_name(key_id)));
            header.push(Part::text("\""));
        }
        header.push(Part::text("}"));
        let piece = |what: &str| format!("{name}-{what}");
        all.push(base64url(&piece("header"), header));
        all.push(base64url(&piece("claims"), claims));
        let input = vec![Part::value(piece("header")), Part::text("."), Part::value(piece("claims"))];
        let sign = Signature { algorithm: algorithm.to_owned(), key: key.to_owned(), over: input.clone() };
        all.push(Derived { name: piece("bytes"), how: Operation::Sign(sign) });
        all.push(base64url(&piece("signature"), vec![Part::value(piece("bytes"))]));
        let mut whole = input;
        whole.extend([Part::text("."), Part::value(piece("signature"))]);
        all.push(Derived {
            name: name.to_owned(),
            how: Operation::Encode(Encoded { alphabet: Encoding::Raw, over: whole }),
        });
        all
    }
}

/// A declared value as it stands between the quotes of a JSON string; called [`json_name`].
pub fn json_value(value: &str) -> Derived {
    let over = vec![Part::value(value)];
    Derived { name: json_name(value), how: Operation::Encode(Encoded { alphabet: Encoding::JsonText, over }) }
}

/// What [`json_value`] is called.
pub fn json_name(value: &str) -> String {
    format!("json-{value}")
}

/// So many random bytes in hex, as `name`; their letters need no escaping anywhere.
pub fn random(name: &str, bytes: u8) -> Vec<Derived> {
    let raw = format!("{name}-bytes");
    let over = vec![Part::value(&raw)];
    let hex = Operation::Encode(Encoded { alphabet: Encoding::Hex, over });
    vec![Derived { name: raw, how: Operation::Random(bytes) }, Derived { name: name.to_owned(), how: hex }]
}

/// The S256 challenge of the host's `pkce-verifier` (RFC 7636), called `pkce-challenge`.
pub fn pkce_challenge() -> Vec<Derived> {
    let hash = Operation::Sha256(vec![Part::value("pkce-verifier")]);
    vec![
        Derived { name: "pkce-hash".to_owned(), how: hash },
        base64url("pkce-challenge", vec![Part::value("pkce-hash")]),
    ]
}

fn base64url(name: &str, over: Vec<Part>) -> Derived {
    Derived { name: name.to_owned(), how: Operation::Encode(Encoded { alphabet: Encoding::Base64url, over }) }
}

impl Request {
    /// More derived values; a name that is there already keeps its first meaning.
    #[must_use]
    pub fn derive_all(self, more: Vec<Derived>) -> Self {
        more.into_iter().fold(self, |request, derived| request.derive(&derived.name, derived.how))
    }

    /// The request's address as a place to send the customer's browser to: written like a GET.
    pub fn into_redirect(self) -> Redirect {
        Redirect { url: self.url, derived: self.derived, returned: Vec::new() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_header_claims_and_signature_joined_by_points() {
        let jwt = Jwt { name: "assertion", algorithm: "PS256", key: "signing-key", key_id: Some("key-id") };
        let derived = jwt.derive(vec![Part::text("{\"sub\":1}")]);
        let names: Vec<_> = derived.iter().map(|derived| derived.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "json-key-id",
                "assertion-header",
                "assertion-claims",
                "assertion-bytes",
                "assertion-signature",
                "assertion"
            ]
        );
        let Operation::Encode(last) = &derived.last().unwrap().how else { panic!() };
        assert_eq!(
            last.over,
            [
                Part::value("assertion-header"),
                Part::text("."),
                Part::value("assertion-claims"),
                Part::text("."),
                Part::value("assertion-signature"),
            ]
        );
        let Operation::Sign(signature) = &derived.get(3).unwrap().how else { panic!() };
        assert_eq!((signature.algorithm.as_str(), signature.key.as_str()), ("PS256", "signing-key"));
        assert_eq!(signature.over.len(), 3);
    }

    #[test]
    fn an_address_becomes_a_redirect_with_its_values() {
        let redirect = Request::get("https://b.example/authorize")
            .query("state", crate::request::Field::Value("redirect-state"))
            .derive_all(pkce_challenge())
            .into_redirect();
        assert_eq!(redirect.derived.len(), 3);
        assert_eq!(redirect.url.last(), Some(&Part::value("percent-redirect-state")));
    }
}
