//! What a client signs: a JWS in compact form (RFC 7515) with PS256 and nothing else, and the claims
//! of the JWT in it (RFC 7519).
//!
//! Must not know: which message it is, and who may send it.

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A request object has a dozen short claims.
const JWT_BYTES_MAX: usize = 16 * 1024;
/// Two clocks never agree exactly (RFC 7519, 4.1.5 allows "some small leeway").
const LEEWAY: TimeDelta = TimeDelta::seconds(10);

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// The public half of a client's signing key.
#[derive(Debug, Clone)]
pub(super) struct VerifyingKey {
    /// The `kid` that a header may name; a header that names another is refused.
    pub(super) id: String,
    /// DER, `RSAPublicKey` of RFC 8017.
    pub(super) der: Vec<u8>,
}

/// What a JWT says.
#[derive(Debug)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// What it says, whoever says it: only to find out whose key to verify it with.
    pub(super) fn unverified(jwt: &str) -> Option<Self> {
        let payload = jwt.split('.').nth(1)?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok().map(Self)
    }

    /// What it says, if the key signed it; else a sentence with the reason.
    pub(super) fn verified(jwt: &str, key: &VerifyingKey) -> Result<Self, &'static str> {
        let mut parts = jwt.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("The JWT has not three parts");
        };
        if jwt.len() > JWT_BYTES_MAX {
            return Err("The JWT is too long");
        }
        let said: Option<Header> =
            URL_SAFE_NO_PAD.decode(header).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let said = said.ok_or("The header of the JWT cannot be read")?;
        if said.alg != "PS256" || said.crit.is_some() {
            return Err("The JWT must be signed with PS256");
        }
        if said.kid.is_some_and(|kid| kid != key.id) {
            return Err("The JWT names a key (kid) that the bank does not know");
        }
        let signed = jwt.get(..header.len() + 1 + payload.len()).unwrap_or_default();
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "The signature cannot be read")?;
        let verifier = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &key.der);
        verifier.verify(signed.as_bytes(), &signature).map_err(|_| "The signature is wrong")?;
        Self::unverified(jwt).ok_or("The claims of the JWT cannot be read")
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A claim inside others: the names from the outside in.
    pub(super) fn inside(&self, names: &[&str]) -> Option<&str> {
        let (first, rest) = names.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, name| value.get(name))?.as_str()
    }

    /// A `NumericDate`.
    fn moment(&self, name: &str) -> Option<DateTime<Utc>> {
        let value = self.0.get(name)?;
        match value.as_i64() {
            Some(seconds) => DateTime::from_timestamp(seconds, 0),
            // The cast saturates; what is out of range is no moment.
            None => {
                value.as_f64().and_then(|seconds| DateTime::from_timestamp_millis((seconds * 1e3) as i64))
            }
        }
    }

    /// `aud` is one of these, or a list that has one of them.
    pub(super) fn is_for(&self, audiences: &[String]) -> bool {
        let meant =
            |value: &Value| value.as_str().is_some_and(|text| audiences.iter().any(|one| one == text));
        match self.0.get("aud") {
            Some(Value::Array(several)) => several.iter().any(meant),
            Some(one) => meant(one),
            None => false,
        }
    }

    /// Its end (`exp`), if it is neither over nor too far away, and it has begun (`nbf`, `iat`).
    pub(super) fn in_time(
        &self,
        now: DateTime<Utc>,
        lives_max: TimeDelta,
    ) -> Result<DateTime<Utc>, &'static str> {
        let end = self.moment("exp").ok_or("The JWT does not say when it ends (exp)")?;
        let begun = |name| self.moment(name).is_none_or(|begin| begin <= now + LEEWAY);
        match () {
            () if end <= now => Err("The JWT has expired"),
            () if end > now + lives_max => Err("The JWT lives too long"),
            () if !begun("nbf") || !begun("iat") => Err("The JWT is not valid yet"),
            () => Ok(end),
        }
    }
}

/// Signs claims as a client does.
#[cfg(test)]
pub(super) fn signed(key_pem: &str, header: &Value, claims: &Value) -> String {
    use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaKeyPair};
    let body: String = key_pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap_or_default();
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let Ok(key) = RsaKeyPair::from_pkcs8(&der) else { return message };
    let mut signature = vec![0; key.public_modulus_len()];
    let random = aws_lc_rs::rand::SystemRandom::new();
    let done = key.sign(&RSA_PSS_SHA256, &random, message.as_bytes(), &mut signature);
    done.map_or_else(|_| message.clone(), |()| format!("{message}.{}", URL_SAFE_NO_PAD.encode(&signature)))
}
