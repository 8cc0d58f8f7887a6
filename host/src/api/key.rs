//! API keys: `tg_<id>_<secret>`. The id is looked up, the secret is compared by its hash.
//!
//! The secret has 256 random bits, so one SHA-256 is enough: there is nothing to guess. Must not
//! know: HTTP, the database.

use crate::model::{ApiKeyId, Secret};
use crate::vault::{self, VaultError};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

/// What a key starts with, so that secret scanners find leaked ones.
const PREFIX: &str = "tg_";
/// Letters of a secret: base64url of 32 random bytes.
const SECRET_LETTERS: usize = 43;

/// A fresh key. The text is shown once; the hash is stored.
#[derive(Debug)]
pub struct Minted {
    /// Ours.
    pub id: ApiKeyId,
    /// The whole key, for its owner.
    pub text: Secret,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
}

/// Makes a key.
pub fn mint() -> Result<Minted, VaultError> {
    let secret = Secret::new(URL_SAFE_NO_PAD.encode(vault::random_key()?.as_slice()));
    let id = ApiKeyId::new();
    let letters = id.to_string();
    let letters = letters.strip_prefix("key_").unwrap_or(&letters);
    Ok(Minted {
        id,
        hash: hash(secret.reveal()),
        text: Secret::new(format!("{PREFIX}{letters}_{}", secret.reveal())),
    })
}

/// Reads a key: its id and the hash of its secret. None if it has not the form of a key.
pub fn parse(text: &str) -> Option<(ApiKeyId, [u8; 32])> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    if secret.len() != SECRET_LETTERS {
        return None;
    }
    let id = format!("{}_{id}", ApiKeyId::PREFIX).parse().ok()?;
    Some((id, hash(secret)))
}

/// Are they the same, in time that does not depend on where they differ?
pub fn matches(stored: &[u8; 32], given: &[u8; 32]) -> bool {
    stored.ct_eq(given).into()
}

/// SHA-256.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn hash(secret: &str) -> [u8; 32] {
    sha256(&[secret.as_bytes()])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_reads_back_as_its_id_and_hash() {
        for _ in 0..64 {
            let key = mint().unwrap();
            let (id, hash) = parse(key.text.reveal()).unwrap();
            assert_eq!(id, key.id);
            assert!(matches(&key.hash, &hash));
            assert_eq!(key.text.reveal().len(), 3 + 26 + 1 + 43);
        }
    }

    #[test]
    fn another_secret_does_not_match() {
        let (one, two) = (mint().unwrap(), mint().unwrap());
        assert!(!matches(&one.hash, &two.hash));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let key = mint().unwrap();
        let text = key.text.reveal();
        let longer = format!("{text}x");
        let id = key.id.to_string();
        for wrong in [
            "",
            "tg_",
            "tg__",
            "Bearer x",
            id.as_str(),
            &longer,
            text.get(1..).unwrap(),
            text.get(..70).unwrap(),
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_minted_key_does_not_show_itself_in_debug() {
        let key = mint().unwrap();
        assert!(!format!("{key:?}").contains(key.text.reveal()));
    }
}
