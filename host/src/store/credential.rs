//! Credentials, sealed: what was handed in and what replies gave.

use super::arg::args;
use super::db::{Tx, row};
use super::schedule::fence;
use super::seal::{OwnerKey, numbered};
use super::{Result, Store, StoreError};
use crate::model::*;

row! {
    pub(super) CredentialRow {
        connection: ConnectionId, name: String, version: i64, sealed: Vec<u8>, expires_at: Option<Timestamp>,
    }
}

const SEALED: &str = "credential";

pub(super) const OF_CONNECTIONS: &str = "SELECT c.connection, c.name, c.version, c.sealed, c.expires_at
    FROM bulk JOIN credential c ON c.connection = of_connection ORDER BY c.connection, c.name";

impl CredentialRow {
    /// Whose it is.
    pub(super) fn connection(&self) -> ConnectionId {
        self.connection
    }

    pub(super) fn open(self, key: &OwnerKey) -> Result<Credential> {
        Ok(Credential {
            value: key.open_secret(SEALED, &numbered(self.name.as_bytes(), self.version), &self.sealed)?,
            name: self.name,
            version: self.version,
            expires_at: self.expires_at,
        })
    }
}

impl Store {
    /// The credentials, opened.
    pub async fn credentials(&self, connection: ConnectionId) -> Result<Vec<Credential>> {
        let sql = "SELECT connection, name, version, sealed, expires_at FROM credential
                   WHERE connection = $1 ORDER BY name";
        let rows: Vec<CredentialRow> = self.db.all(sql, args![connection]).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let key = self.keys.of(&self.db, connection.as_bytes()).await?;
        rows.into_iter().map(|row| row.open(&key)).collect()
    }

    /// Stores what a reply gave: each value replaces the one of the given version (0: there was none),
    /// in a transaction of its own; the new versions. `LeaseLost` or `CredentialReplaced` and nothing
    /// is stored otherwise.
    pub async fn save_captures(
        &self,
        lease: &Lease,
        captures: &[(NewCredential, i64)],
        _now: Timestamp,
    ) -> Result<Vec<i64>> {
        let key = self.lease_key(lease).await?;
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let mut versions = Vec::new();
        for (new, expected) in captures {
            let version = expected + 1;
            let sealed = seal(&key, new, version)?;
            let sql = if *expected == 0 {
                "INSERT INTO credential (connection, name, version, sealed, expires_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (connection, name) DO NOTHING"
            } else {
                "UPDATE credential SET version = $3, sealed = $4, expires_at = $5
                 WHERE connection = $1 AND name = $2 AND version = $3 - 1"
            };
            let stored =
                tx.run(sql, args![lease.connection, &new.name, version, sealed, new.expires_at]).await?;
            if stored == 0 {
                return Err(StoreError::CredentialReplaced(new.name.clone()));
            }
            versions.push(version);
        }
        tx.commit().await?;
        // A single-use token that a power cut takes back would end the consent.
        self.db.flush().await?;
        Ok(versions)
    }

    /// The data key of a leased connection; a connection without one was deleted meanwhile.
    pub(super) async fn lease_key(&self, lease: &Lease) -> Result<OwnerKey> {
        match self.keys.of(&self.db, lease.connection.as_bytes()).await {
            Err(StoreError::Erased) => Err(StoreError::LeaseLost),
            other => other,
        }
    }
}

/// Stores credentials that were handed in.
pub(super) async fn insert(
    tx: &mut Tx,
    key: &OwnerKey,
    connection: ConnectionId,
    version: i64,
    credentials: &[NewCredential],
) -> Result<()> {
    for new in credentials {
        let sealed = seal(key, new, version)?;
        let sql = "INSERT INTO credential (connection, name, version, sealed, expires_at) VALUES ($1, $2, $3, $4, $5)";
        tx.run(sql, args![connection, &new.name, version, sealed, new.expires_at]).await?;
    }
    Ok(())
}

/// Drops all credentials and stores these instead, under a version that none had.
pub(super) async fn replace(
    tx: &mut Tx,
    key: &OwnerKey,
    connection: ConnectionId,
    credentials: &[NewCredential],
) -> Result<()> {
    let sql = "SELECT COALESCE(max(version), 0) FROM credential WHERE connection = $1";
    let (version,): (i64,) = tx.one(sql, args![connection]).await?;
    tx.run("DELETE FROM credential WHERE connection = $1", args![connection]).await?;
    insert(tx, key, connection, version + 1, credentials).await
}

fn seal(key: &OwnerKey, new: &NewCredential, version: i64) -> Result<Vec<u8>> {
    key.seal(SEALED, &numbered(new.name.as_bytes(), version), new.value.reveal().as_bytes())
}
