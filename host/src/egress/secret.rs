//! The tripwire: looks for secrets, raw and encoded, in what a connector could read or hands out.
//! It is no wall (that is what captures and routes are for); it tells when a wall has a hole.

use super::encoding::{json, percent, xml};
use super::limits::SECRET_BYTES_MIN;
use crate::model::{Manifest, Secret, hex, own_value};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem::Finder;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Secrets to look for, with the name each is called by.
pub(super) struct Tripwire {
    /// Shorter ones are not looked for.
    least: usize,
    needles: Vec<(String, Zeroizing<Vec<u8>>)>,
}

impl Tripwire {
    /// Looks for all values that are not declared public.
    pub fn new(values: &BTreeMap<String, Secret>, manifest: &Manifest, least: usize) -> Self {
        let mut tripwire = Self { least, needles: Vec::new() };
        for (name, secret) in values {
            tripwire.add_declared(name, secret, manifest);
        }
        tripwire
    }

    /// Looks for this one too, unless it is declared public.
    pub fn add_declared(&mut self, name: &str, secret: &Secret, manifest: &Manifest) {
        let public = match own_value(name) {
            Some(public) => public,
            None => manifest.value(name).is_some_and(|declared| declared.public),
        };
        if !public {
            self.add(name, secret.reveal().as_bytes());
        }
    }

    /// Looks for these bytes too, in every alphabet.
    pub fn add(&mut self, name: &str, secret: &[u8]) {
        if secret.len() < self.least {
            return;
        }
        let mut add = |needle: Vec<u8>| {
            if !self.needles.iter().any(|(_, known)| **known == needle) {
                self.needles.push((name.to_owned(), Zeroizing::new(needle)));
            }
        };
        add(secret.to_vec());
        let lower = hex(secret);
        add(lower.to_ascii_uppercase().into_bytes());
        add(lower.into_bytes());
        for offset in 0..3 {
            add(within_base64(
                &STANDARD_NO_PAD.encode(shifted(secret, offset).as_slice()),
                offset,
                secret.len(),
            ));
            add(within_base64(
                &URL_SAFE_NO_PAD.encode(shifted(secret, offset).as_slice()),
                offset,
                secret.len(),
            ));
        }
        let escaped = percent(secret);
        add(lower_escapes(&escaped));
        add(escaped.into_bytes());
        if let Ok(text) = std::str::from_utf8(secret) {
            add(json(text).into_bytes());
            add(json(text).replace('/', "\\/").into_bytes());
            add(xml(text).into_bytes());
        }
    }

    /// The name of a secret that stands in the text.
    pub fn find(&self, text: &[u8]) -> Option<&str> {
        self.needles
            .iter()
            .find(|(_, needle)| {
                needle.len() <= text.len() && Finder::new(needle.as_slice()).find(text).is_some()
            })
            .map(|(name, _)| name.as_str())
    }
}

/// See [`super::Egress::find_secret`].
pub(super) fn find_secret(
    values: &BTreeMap<String, Secret>,
    manifest: &Manifest,
    text: &[u8],
) -> Option<String> {
    if text.len() < SECRET_BYTES_MIN {
        return None;
    }
    Tripwire::new(values, manifest, SECRET_BYTES_MIN).find(text).map(str::to_owned)
}

/// `secret` after so many other bytes: base64 of `user:secret` depends on what stands before.
fn shifted(secret: &[u8], offset: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; offset]);
    bytes.extend_from_slice(secret);
    bytes
}

/// The letters of unpadded base64 that depend on the secret alone, whatever stands around it.
fn within_base64(encoded: &str, offset: usize, length: usize) -> Vec<u8> {
    let first = (offset * 8).div_ceil(6);
    let last = (offset + length) * 8 / 6;
    encoded.bytes().take(last).skip(first).collect()
}

/// `%2F` as `%2f`: both are read alike.
fn lower_escapes(escaped: &str) -> Vec<u8> {
    let mut left = 0;
    escaped
        .bytes()
        .map(|byte| {
            if byte == b'%' {
                left = 2;
                byte
            } else if left > 0 {
                left -= 1;
                byte.to_ascii_lowercase()
            } else {
                byte
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    const SECRET: &str = "tök€n/+\"<&>123456?=~";

    fn manifest() -> Manifest {
        Manifest::parse(
            b"name = \"bank\"\nversion = \"1.0.0\"\ncontract = \"0.1.0\"\n\
              [[value]]\nname = \"token\"\nkind = \"credential\"\nuse = \"fill\"\nroutes = []\n\
              [[value]]\nname = \"client-id\"\nkind = \"registration\"\nuse = \"fill\"\nroutes = []\npublic = true\n",
        )
        .unwrap()
    }

    fn found(name: &str, secret: &str, text: &[u8]) -> Option<String> {
        find_secret(&BTreeMap::from([(name.to_owned(), Secret::new(secret))]), &manifest(), text)
    }

    #[test]
    fn a_secret_is_found_in_every_alphabet() {
        let bytes = SECRET.as_bytes();
        let forms = [
            SECRET.to_owned(),
            hex(bytes),
            hex(bytes).to_uppercase(),
            percent(bytes),
            percent(bytes)
                .replace("%C3%B6", "%c3%b6")
                .replace("%E2%82%AC", "%e2%82%ac")
                .replace("%2F", "%2f")
                .replace("%2B", "%2b")
                .replace("%3C", "%3c")
                .replace("%3E", "%3e")
                .replace("%3F", "%3f")
                .replace("%3D", "%3d"),
            json(SECRET),
            json(SECRET).replace('/', "\\/"),
            xml(SECRET),
            STANDARD.encode(bytes),
            URL_SAFE.encode(bytes),
            STANDARD.encode(format!("user:{SECRET}")),
            STANDARD.encode(format!("u:{SECRET}:x")),
            URL_SAFE.encode(format!("us:{SECRET}!!")),
        ];
        for form in forms {
            assert_eq!(
                found("token", SECRET, format!("before {form} after").as_bytes()).as_deref(),
                Some("token"),
                "{form}"
            );
        }
    }

    #[test]
    fn another_text_is_not_found() {
        assert_eq!(found("token", SECRET, "tök€n/+\"<&>123456?=".as_bytes()), None);
        assert_eq!(found("token", SECRET, STANDARD.encode("some other text, quite long").as_bytes()), None);
    }

    #[test]
    fn public_and_short_values_are_not_looked_for() {
        let sixteen = "0123456789abcdef";
        assert_eq!(found("token", sixteen, sixteen.as_bytes()).as_deref(), Some("token"));
        assert_eq!(found("undeclared", sixteen, sixteen.as_bytes()).as_deref(), Some("undeclared"));
        assert_eq!(found("client-id", sixteen, sixteen.as_bytes()), None);
        assert_eq!(found("token", "0123456789abcde", b"0123456789abcdef"), None);
    }
}
