//! Data keys of owners (business, connection, registration, endpoint), and sealing with them.
//!
//! Everything sealed is bound to its business, owner, column and row, so that bytes moved to
//! another place do not open. Must not know: what the bytes mean.

use super::arg::args;
use super::codec::json;
use super::db::{Db, Tx, row};
use super::dialect::Kind;
use super::{Result, Store, StoreError};
use crate::model::{BusinessId, Secret, hex};
use crate::vault::{DataKey, Vault, WrappedKey};
use serde::de::DeserializeOwned;
use serde_json::json as value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Opened keys kept in memory, at roughly 300 bytes each; when full, all are forgotten at once.
const KEYS_OPEN_MAX: usize = 32_768;
/// Keys wrapped again per transaction while the service runs.
const ROTATE_BATCH: i64 = 200;

/// The vault and the keys it opened lately.
#[derive(Clone)]
pub(super) struct Keys {
    vault: Arc<Vault>,
    open: Arc<Mutex<HashMap<Vec<u8>, OwnerKey>>>,
}

/// The data key of one owner.
#[derive(Clone)]
pub(super) struct OwnerKey {
    /// Whose; none for the operator's.
    pub(super) business: Option<BusinessId>,
    owner: Arc<[u8]>,
    key: Arc<DataKey>,
}

row! {
    /// A data key as stored.
    KeyRow { owner: Vec<u8>, business: Option<BusinessId>, master_key: String, wrapped: Vec<u8> }
}

const KEY: &str = "SELECT owner, business, master_key, wrapped FROM data_key WHERE owner = $1";

const KEYS: &str = "SELECT owner, business, master_key, wrapped FROM bulk JOIN data_key ON owner = of_owner";

impl Keys {
    pub(super) fn new(vault: Arc<Vault>) -> Self {
        Self { vault, open: Arc::default() }
    }

    /// What wraps them.
    pub(super) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The key of an owner; [`StoreError::Erased`] when there is none (any more).
    pub(super) async fn of(&self, db: &Db, owner: &[u8]) -> Result<OwnerKey> {
        match self.opened(owner) {
            Some(known) => Ok(known),
            None => self.admit(db.optional(KEY, args![owner]).await?),
        }
    }

    /// The keys of these owners, as far as there are any: those that are not opened yet with one statement.
    pub(super) async fn of_all(
        &self,
        db: &Db,
        owners: impl Iterator<Item = &[u8]>,
    ) -> Result<HashMap<Vec<u8>, OwnerKey>> {
        let mut keys = HashMap::new();
        let mut missing = Vec::new();
        for owner in owners {
            match self.opened(owner) {
                Some(key) => drop(keys.insert(owner.to_vec(), key)),
                None => missing.push(value!({ "of_owner": hex(owner) })),
            }
        }
        if !missing.is_empty() {
            let sql = db.dialect().bulk(&[("of_owner", Kind::Bytes)], KEYS);
            for found in db.all::<KeyRow>(sql, args![json(&missing, "owners")?]).await? {
                keys.insert(found.owner.clone(), self.admit(Some(found))?);
            }
        }
        Ok(keys)
    }

    /// The same, within a transaction.
    pub(super) async fn of_in(&self, tx: &mut Tx, owner: &[u8]) -> Result<OwnerKey> {
        match self.opened(owner) {
            Some(known) => Ok(known),
            None => self.admit(tx.optional(KEY, args![owner]).await?),
        }
    }

    fn opened(&self, owner: &[u8]) -> Option<OwnerKey> {
        self.lock().get(owner).cloned()
    }

    fn admit(&self, found: Option<KeyRow>) -> Result<OwnerKey> {
        let found = found.ok_or(StoreError::Erased)?;
        let wrapped = WrappedKey { master_key: found.master_key, bytes: found.wrapped };
        let key = Arc::new(self.vault.unwrap_key(&found.owner, &wrapped)?);
        let opened = OwnerKey { business: found.business, owner: found.owner.as_slice().into(), key };
        let mut open = self.lock();
        if open.len() >= KEYS_OPEN_MAX {
            open.clear();
        }
        open.insert(found.owner, opened.clone());
        Ok(opened)
    }

    /// A new key for an owner, stored with the rest of the transaction.
    pub(super) async fn create(
        &self,
        tx: &mut Tx,
        owner: &[u8],
        business: Option<BusinessId>,
    ) -> Result<OwnerKey> {
        let (key, wrapped) = self.vault.new_data_key(owner)?;
        let sql = "INSERT INTO data_key (owner, business, master_key, wrapped) VALUES ($1, $2, $3, $4)";
        tx.run(sql, args![owner, business, &wrapped.master_key, &wrapped.bytes]).await?;
        Ok(OwnerKey { business, owner: owner.into(), key: Arc::new(key) })
    }

    /// Deletes an owner's key: what it sealed can't be opened by anybody any more.
    pub(super) async fn destroy(&self, tx: &mut Tx, owner: &[u8]) -> Result<()> {
        tx.run("DELETE FROM data_key WHERE owner = $1", args![owner]).await?;
        self.forget(owner);
        Ok(())
    }

    /// Wipes an opened key from memory.
    pub(super) fn forget(&self, owner: &[u8]) {
        self.lock().remove(owner);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, OwnerKey>> {
        // Whoever panicked while holding it left a whole map behind.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OwnerKey {
    fn context<'a>(&'a self, column: &'a str, row: &'a [u8]) -> [&'a [u8]; 4] {
        let business = self.business.as_ref().map_or(&[][..], BusinessId::as_bytes);
        [business, &self.owner, column.as_bytes(), row]
    }

    /// Seals for this column of this row.
    pub(super) fn seal(&self, column: &str, row: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        Ok(self.key.seal(&self.context(column, row), plain)?)
    }

    /// Opens what was sealed for this column of this row.
    pub(super) fn open(&self, column: &str, row: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        Ok(self.key.open(&self.context(column, row), sealed)?)
    }

    /// Seals a text that may be missing.
    pub(super) fn seal_text(&self, column: &str, row: &[u8], plain: Option<&str>) -> Result<Option<Vec<u8>>> {
        plain.map(|plain| self.seal(column, row, plain.as_bytes())).transpose()
    }

    /// Opens a text that may be missing.
    pub(super) fn open_text(
        &self,
        column: &'static str,
        row: &[u8],
        sealed: Option<&[u8]>,
    ) -> Result<Option<String>> {
        let open = |sealed| {
            String::from_utf8(self.open(column, row, sealed)?).map_err(|_| StoreError::Corrupt(column))
        };
        sealed.map(open).transpose()
    }

    /// Opens a secret.
    pub(super) fn open_secret(&self, column: &'static str, row: &[u8], sealed: &[u8]) -> Result<Secret> {
        let text = self.open_text(column, row, Some(sealed))?;
        Ok(Secret::new(text.unwrap_or_default()))
    }

    /// Opens JSON text.
    pub(super) fn open_json<T: DeserializeOwned>(
        &self,
        column: &'static str,
        row: &[u8],
        sealed: &[u8],
    ) -> Result<T> {
        let plain = self.open(column, row, sealed)?;
        serde_json::from_slice(&plain).map_err(|_| StoreError::Corrupt(column))
    }

    /// A keyed hash over something sealed, to find it by.
    pub(super) fn index(&self, parts: &[&str]) -> Vec<u8> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        self.index_bytes(&parts)
    }

    /// The same over bytes.
    pub(super) fn index_bytes(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.key.index(parts).to_vec()
    }
}

/// Row key of something numbered, or versioned, within an owner's row.
pub(super) fn numbered(row: &[u8], number: i64) -> Vec<u8> {
    [row, &number.to_be_bytes()].concat()
}

impl Store {
    /// Wraps every data key again under the current master key, in batches, while the service runs;
    /// how many were wrapped.
    pub async fn rotate_data_keys(&self) -> Result<u64> {
        let current = self.keys.vault.current_master_key();
        let mut wrapped_again = 0;
        let mut after = Vec::new();
        loop {
            let sql = "SELECT owner, business, master_key, wrapped FROM data_key
                       WHERE owner > $1 AND master_key <> $2 ORDER BY owner LIMIT $3";
            let batch: Vec<KeyRow> = self.db.all(sql, args![&after, current, ROTATE_BATCH]).await?;
            match batch.last() {
                Some(last) => after.clone_from(&last.owner),
                None => return Ok(wrapped_again),
            }
            let mut tx = self.db.begin().await?;
            for old in batch {
                let before = WrappedKey { master_key: old.master_key, bytes: old.wrapped };
                let Some(new) = self.keys.vault.rewrap(&old.owner, &before)? else {
                    continue;
                };
                // Only over what was read: a key erased meanwhile stays erased.
                let sql =
                    "UPDATE data_key SET master_key = $3, wrapped = $4 WHERE owner = $1 AND wrapped = $2";
                wrapped_again +=
                    tx.run(sql, args![&old.owner, &before.bytes, &new.master_key, &new.bytes]).await?;
            }
            tx.commit().await?;
        }
    }
}
