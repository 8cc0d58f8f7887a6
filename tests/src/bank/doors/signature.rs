//! Is a request signed by somebody we know? Digest (RFC 3230) and HTTP signature
//! (draft-cavage-http-signatures-12), RSA with SHA-256.
//!
//! Must not know: what the request asks for.

use super::Visit;
use crate::bank::entry::BankError;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{HashMap, HashSet};

/// How far the `Date` of a request may be off, either way.
const DATE_OFF_MAX: TimeDelta = TimeDelta::minutes(5);
/// What must be signed.
const SIGNED: [&str; 3] = ["digest", "x-request-id", "date"];

/// The keys that were registered, and the requests that must not come again.
#[derive(Debug, Default)]
pub(super) struct Signers {
    keys: HashMap<String, ParsedPublicKey>,
    used: HashSet<String>,
}

impl Signers {
    /// The key in PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`), 2048 to 8192 bits.
    pub(super) fn register(&mut self, key_id: &str, pem: &str) -> Result<(), BankError> {
        let bad = || BankError::BadKey(key_id.to_owned());
        let lines = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        let der = STANDARD.decode(lines.collect::<String>()).map_err(|_| bad())?;
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map_err(|_| bad())?;
        self.keys.insert(key_id.to_owned(), key);
        Ok(())
    }

    /// The id of the key that has signed the request, or what is wrong with the signature.
    pub(super) fn verify(&mut self, visit: &Visit<'_>, is_post: bool) -> Result<String, &'static str> {
        let id = Some(visit.header("x-request-id")).filter(|id| is_uuid(id));
        let id = id.ok_or("X-Request-ID must be a UUID.")?;
        let date = DateTime::parse_from_rfc2822(visit.header("date")).map_err(|_| "Date cannot be read.")?;
        if (date.with_timezone(&Utc) - visit.now).abs() > DATE_OFF_MAX {
            return Err("Date is more than 5 minutes off.");
        }
        let expected = format!("SHA-256={}", STANDARD.encode(digest(&SHA256, visit.body)));
        if visit.header("digest") != expected {
            return Err("Digest is not that of the body.");
        }
        let given = parameters(visit.header("signature")).ok_or("Signature is missing or cannot be read.")?;
        let said = |name: &str| given.get(name).copied().unwrap_or("");
        let key = self.keys.get(said("keyId")).ok_or("The key of the signature is not registered.")?;
        if said("algorithm") != "rsa-sha256" {
            return Err("The algorithm must be rsa-sha256.");
        }
        let names: Vec<&str> = said("headers").split(' ').collect();
        if !SIGNED.iter().all(|wanted| names.contains(wanted)) {
            return Err("The signature must cover digest, x-request-id and date.");
        }
        let lines: Vec<String> = names.iter().map(|name| format!("{name}: {}", visit.header(name))).collect();
        let signature = STANDARD.decode(said("signature")).unwrap_or_default();
        key.verify_sig(lines.join("\n").as_bytes(), &signature).map_err(|_| "The signature is wrong.")?;
        if is_post && !self.used.insert(id.to_owned()) {
            return Err("X-Request-ID was used before.");
        }
        Ok(said("keyId").to_owned())
    }
}

/// 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// `name="value"`, set apart by commas; a value holds no quote.
fn parameters(header: &str) -> Option<HashMap<&str, &str>> {
    let (mut found, mut rest) = (HashMap::new(), header.trim());
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        found.insert(name.trim(), value);
        rest = after.trim_start();
        rest = if rest.is_empty() { rest } else { rest.strip_prefix(',')?.trim_start() };
    }
    Some(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_a_signature_may_hold_commas_and_equals_signs() {
        let found = parameters("keyId=\"SN=1,CA=x\", algorithm=\"rsa-sha256\",signature=\"ab==\"").unwrap();
        assert_eq!(
            (found["keyId"], found["algorithm"], found["signature"]),
            ("SN=1,CA=x", "rsa-sha256", "ab==")
        );
        assert_eq!(parameters("keyId=\"a\" algorithm=\"b\""), None);
        assert_eq!(parameters("keyId=a"), None);
    }

    #[test]
    fn a_uuid_is_told_from_other_texts() {
        assert!(is_uuid("99391c7e-ad88-49ec-a2ad-99ddcb1f7721"));
        for bad in ["", "99391c7ead8849eca2ad99ddcb1f7721", "99391c7e-ad88-49ec-a2ad-99ddcb1f772g"] {
            assert!(!is_uuid(bad), "{bad}");
        }
    }
}
