//! Secrets at rest: one data key per owner (connection, registration, endpoint), wrapped by a
//! master key that lives in a file or the environment, never in the database.
//!
//! AES-256-GCM-SIV (RFC 8452) with random nonces: even a repeated nonce tells no more than that two
//! texts are equal. Sealed bytes are `version 1 | nonce 12 | ciphertext | tag 16`.
//!
//! Must not know: SQL, HTTP, connectors. It seals and opens bytes.

use crate::model::Secret;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// First byte of everything sealed; another format gets another number.
const FORMAT: u8 = 1;
/// Bytes of a nonce (RFC 8452).
const NONCE_BYTES: usize = 12;
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// What the master key wraps with; apart from what [`Vault::derive`] gives out.
const USE_WRAP: &str = "tidegate wrap";
/// What a data key seals with.
const USE_SEAL: &str = "tidegate seal";
/// What a data key makes indexes with.
const USE_INDEX: &str = "tidegate index";

/// Raw key bytes, wiped when dropped.
type Raw = Zeroizing<[u8; KEY_BYTES]>;

/// The master keys a process holds: the first wraps, all unwrap.
pub struct Vault {
    current: MasterKey,
    older: Vec<MasterKey>,
}

struct MasterKey {
    id: String,
    raw: Raw,
    wrap: RandomizedNonceKey,
}

/// Why something could not be sealed or opened. Says what to do; never holds key material.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The master key text could not be read.
    #[error("{0}")]
    BadMasterKey(String),
    /// The wrapped key names a master key that this process doesn't have.
    #[error(
        "the data key is wrapped by master key \"{0}\", which is not in the master key file; add it back, then run `tidegate vault rotate`"
    )]
    UnknownMasterKey(String),
    /// The bytes were changed, or belong to another owner, name or version.
    #[error("sealed data does not belong here or was changed; restore it from a backup")]
    Tampered,
    /// The machine's random numbers or the cipher failed.
    #[error("the system's random number generator or cipher failed; restart the process")]
    System,
}

/// A data key as stored: opaque bytes, and which master key wraps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Id of the master key.
    pub master_key: String,
    /// Nonce and ciphertext.
    pub bytes: Vec<u8>,
}

/// An opened data key. Wiped when dropped (AWS-LC wipes what it frees; raw copies are `Zeroizing`).
pub struct DataKey {
    seal: RandomizedNonceKey,
    index: hmac::Key,
}

impl Vault {
    /// From the master key text: one key a line, `id:base64 of 32 bytes`, the current one first;
    /// empty lines and lines starting with `#` are passed over.
    pub fn from_text(text: &str) -> Result<Self, VaultError> {
        let mut keys: Vec<MasterKey> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = MasterKey::from_line(line).map_err(|what| {
                VaultError::BadMasterKey(format!(
                    "master key, line {}: {what}; `tidegate vault new-key` prints a good line",
                    index + 1
                ))
            })?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(VaultError::BadMasterKey(format!(
                    "master key, line {}: the id \"{}\" stands there twice; give each key an id of its own",
                    index + 1,
                    key.id
                )));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let current = keys.next().ok_or_else(|| {
            VaultError::BadMasterKey(
                "there is no master key; make one with `tidegate vault new-key`, keep it in a file that only Tidegate can \
                 read, and keep a copy elsewhere: without it nothing that was stored can be read"
                    .to_owned(),
            )
        })?;
        Ok(Self { current, older: keys.collect() })
    }

    /// A new line for the master key file.
    pub fn new_master_key_line() -> Result<String, VaultError> {
        let mut id = [0u8; 4];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| VaultError::System)?;
        let raw = random_key()?;
        Ok(format!("key-{:08x}:{}", u32::from_be_bytes(id), BASE64.encode(raw.as_slice())))
    }

    /// Id of the key that wraps now.
    pub fn current_master_key(&self) -> &str {
        &self.current.id
    }

    /// A new random data key for `owner`, opened and wrapped.
    pub fn new_data_key(&self, owner: &[u8]) -> Result<(DataKey, WrappedKey), VaultError> {
        let raw = random_key()?;
        let wrapped = self.current.wrap(owner, &raw)?;
        Ok((DataKey::from_raw(&raw)?, wrapped))
    }

    /// Opens a wrapped key; only for the owner it was made for.
    pub fn unwrap_key(&self, owner: &[u8], wrapped: &WrappedKey) -> Result<DataKey, VaultError> {
        DataKey::from_raw(&self.unwrap_raw(owner, wrapped)?)
    }

    /// Wraps it again under the current master key; none if it already is.
    pub fn rewrap(&self, owner: &[u8], wrapped: &WrappedKey) -> Result<Option<WrappedKey>, VaultError> {
        if wrapped.master_key == self.current.id {
            return Ok(None);
        }
        let raw = self.unwrap_raw(owner, wrapped)?;
        self.current.wrap(owner, &raw).map(Some)
    }

    /// Derives a 32-byte key from the current master key for another use, e.g. authenticating
    /// compiled connectors (HKDF-SHA256, `purpose` in the info).
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        hkdf_sha256(self.current.raw.as_slice(), format!("tidegate derive {purpose}").as_bytes())
    }

    fn unwrap_raw(&self, owner: &[u8], wrapped: &WrappedKey) -> Result<Raw, VaultError> {
        let master = std::iter::once(&self.current)
            .chain(&self.older)
            .find(|key| key.id == wrapped.master_key)
            .ok_or_else(|| VaultError::UnknownMasterKey(wrapped.master_key.clone()))?;
        let plain = Zeroizing::new(open(&master.wrap, &[master.id.as_bytes(), owner], &wrapped.bytes)?);
        let raw: [u8; KEY_BYTES] = plain.as_slice().try_into().map_err(|_| VaultError::Tampered)?;
        Ok(Zeroizing::new(raw))
    }
}

impl MasterKey {
    fn from_line(line: &str) -> Result<Self, String> {
        let Some((id, encoded)) = line.split_once(':') else {
            return Err("not of the form `id:base64 of 32 bytes`".to_owned());
        };
        if !crate::model::is_name(id) {
            return Err(
                "the id before the colon must be lower-case letters, digits and \"-\", at most 64".to_owned()
            );
        }
        let bytes = BASE64
            .decode(encoded.trim())
            .map(Zeroizing::new)
            .map_err(|_| format!("what follows \"{id}:\" is not base64 with padding"))?;
        let raw: [u8; KEY_BYTES] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| format!("the key \"{id}\" has {} bytes, not {KEY_BYTES}", bytes.len()))?;
        let raw = Zeroizing::new(raw);
        let wrap = aead(&raw, USE_WRAP).map_err(|error| error.to_string())?;
        Ok(Self { id: id.to_owned(), raw, wrap })
    }

    fn wrap(&self, owner: &[u8], raw: &Raw) -> Result<WrappedKey, VaultError> {
        let bytes = seal(&self.wrap, &[self.id.as_bytes(), owner], raw.as_slice())?;
        Ok(WrappedKey { master_key: self.id.clone(), bytes })
    }
}

impl DataKey {
    fn from_raw(raw: &Raw) -> Result<Self, VaultError> {
        let index = Zeroizing::new(hkdf_sha256(raw.as_slice(), USE_INDEX.as_bytes()));
        Ok(Self { seal: aead(raw, USE_SEAL)?, index: hmac::Key::new(hmac::HMAC_SHA256, index.as_slice()) })
    }

    /// Seals bytes. `context` is bound: opening with another one fails. Parts are length-prefixed
    /// before they are joined, so no two lists of parts are alike.
    pub fn seal(&self, context: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        seal(&self.seal, context, plain)
    }

    /// Opens what [`DataKey::seal`] made.
    pub fn open(&self, context: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        open(&self.seal, context, sealed)
    }

    /// HMAC-SHA256 under a key derived from this one: an index over something sealed, e.g. account numbers.
    pub fn index(&self, context: &[&[u8]]) -> [u8; 32] {
        tag(&self.index, &[&joined(context)])
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, into: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let older: Vec<&str> = self.older.iter().map(|key| key.id.as_str()).collect();
        into.debug_struct("Vault")
            .field("current", &self.current.id)
            .field("older", &older)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, into: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        into.write_str("DataKey(…)")
    }
}

/// 32 random bytes as base64url text: a token, a state, a verifier.
pub fn random_token() -> Result<Secret, VaultError> {
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(random_key()?.as_slice())))
}

/// Could it be one of [`random_token`]'s? 43 letters of base64url.
pub fn is_token(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// What a token is stored and found by: SHA-256 is enough for 256 random bits.
pub fn hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    hash
}

/// Random bytes for a key or a secret: 256 bits, which nobody guesses.
pub fn random_key() -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
    let mut raw = Zeroizing::new([0u8; KEY_BYTES]);
    aws_lc_rs::rand::fill(raw.as_mut_slice()).map_err(|_| VaultError::System)?;
    Ok(raw)
}

fn aead(raw: &Raw, usage: &str) -> Result<RandomizedNonceKey, VaultError> {
    let key = Zeroizing::new(hkdf_sha256(raw.as_slice(), usage.as_bytes()));
    RandomizedNonceKey::new(&AES_256_GCM_SIV, key.as_slice()).map_err(|_| VaultError::System)
}

fn seal(key: &RandomizedNonceKey, context: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
    let (mut text, aad) = (plain.to_vec(), Aad::from(joined(context)));
    let nonce = key.seal_in_place_append_tag(aad, &mut text).map_err(|_| VaultError::System)?;
    let mut sealed = Vec::with_capacity(1 + NONCE_BYTES + text.len());
    sealed.push(FORMAT);
    sealed.extend_from_slice(nonce.as_ref());
    sealed.append(&mut text);
    Ok(sealed)
}

fn open(key: &RandomizedNonceKey, context: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
    let Some((&FORMAT, rest)) = sealed.split_first() else {
        return Err(VaultError::Tampered);
    };
    let (nonce, text) = rest.split_at_checked(NONCE_BYTES).ok_or(VaultError::Tampered)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Tampered)?;
    let mut text = text.to_vec();
    let plain =
        key.open_in_place(nonce, Aad::from(joined(context)), &mut text).map_err(|_| VaultError::Tampered)?;
    let length = plain.len();
    text.truncate(length);
    Ok(text)
}

/// Each part after its length, so that moving a boundary gives other bytes.
fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// RFC 5869 without salt; one block, since 32 bytes are wanted.
fn hkdf_sha256(secret: &[u8], info: &[u8]) -> [u8; 32] {
    let prk = Zeroizing::new(tag(&hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]), &[secret]));
    tag(&hmac::Key::new(hmac::HMAC_SHA256, prk.as_slice()), &[info, &[1]])
}

fn tag(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests;
