//! Secrets at rest: one data key per owner (connection, registration, endpoint), wrapped by a
//! master key that lives in a file or the environment, never in the database.
//!
//! Must not know: SQL, HTTP, connectors. It seals and opens bytes.

/// The master keys a process holds: the first wraps, all unwrap.
pub struct Vault {}

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
}

/// A data key as stored: opaque bytes, and which master key wraps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Id of the master key.
    pub master_key: String,
    /// Nonce and ciphertext.
    pub bytes: Vec<u8>,
}

/// An opened data key. Wiped when dropped.
pub struct DataKey {}

impl Vault {
    /// From the master key text: one key a line, `id:base64 of 32 bytes`, the current one first;
    /// empty lines and lines starting with `#` are passed over.
    pub fn from_text(_text: &str) -> Result<Self, VaultError> {
        todo!()
    }
    /// A new line for the master key file.
    pub fn new_master_key_line() -> Result<String, VaultError> {
        todo!()
    }
    /// Id of the key that wraps now.
    pub fn current_master_key(&self) -> &str {
        todo!()
    }
    /// A new random data key for `owner`, opened and wrapped.
    pub fn new_data_key(&self, _owner: &[u8]) -> Result<(DataKey, WrappedKey), VaultError> {
        todo!()
    }
    /// Opens a wrapped key; only for the owner it was made for.
    pub fn unwrap_key(&self, _owner: &[u8], _wrapped: &WrappedKey) -> Result<DataKey, VaultError> {
        todo!()
    }
    /// Wraps it again under the current master key; none if it already is.
    pub fn rewrap(&self, _owner: &[u8], _wrapped: &WrappedKey) -> Result<Option<WrappedKey>, VaultError> {
        todo!()
    }
    /// Derives a 32-byte key from the current master key for another use, e.g. authenticating
    /// compiled connectors (HKDF-SHA256, `purpose` as info).
    pub fn derive(&self, _purpose: &str) -> [u8; 32] {
        todo!()
    }
}

impl DataKey {
    /// Seals bytes. `context` is bound: opening with another one fails. Parts are length-prefixed
    /// before they are joined, so no two lists of parts are alike.
    pub fn seal(&self, _context: &[&[u8]], _plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        todo!()
    }
    /// Opens what [`DataKey::seal`] made.
    pub fn open(&self, _context: &[&[u8]], _sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        todo!()
    }
    /// HMAC-SHA256 under a key derived from this one: an index over something sealed, e.g. account numbers.
    pub fn index(&self, _context: &[&[u8]]) -> [u8; 32] {
        todo!()
    }
}
