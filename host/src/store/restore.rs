//! A backup takes the database's place, and what went on since it was made is laid to rest.
//!
//! What a backup does not know: changes that were read by cursor, runs and deliveries under way, tokens and
//! passwords that the bank saw, reads that it counted, customers who left. [`Store::settle_restored`] makes each of
//! them harmless, whichever way the database came back.

use super::arg::args;
use super::backup::{OWNER_ONLY, beside, check, failed, flush_folder, new_file, refused};
use super::db::{lock_file, sqlite_path};
use super::{Result, Store, StoreError};
use crate::model::*;
use crate::vault::Vault;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Epochs of restored histories count seconds from here (1 January 2026): no two restores give the same one, not even of
/// the same backup, and 31 bits last until 2094.
const EPOCHS_SINCE_S: i64 = 1_767_225_600;
/// Tokens rise by more than runs could have raised them since the backup, so that no lease of that time fits again.
const TOKENS_SKIPPED: i64 = 1 << 32;
/// A restored customer counts as refused so often: their password may leave once more, and a third refusal in a row
/// stays impossible if the bank refused it at most once since the backup.
const REFUSED: i64 = REJECTIONS_MAX - 1;
/// More reads than any profile allows a day: today's may all have been made since the backup.
const READS_USED_UP: i64 = 1_440;
const DAY: i64 = 24 * 3_600 * 1_000_000;

/// What was laid to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Accounts whose history has a new epoch.
    pub accounts: u64,
    /// Connections of which no lease from before fits any more.
    pub connections: u64,
}

/// A backup that is in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where the database that stood there is now.
    pub kept: Option<PathBuf>,
    /// What was laid to rest.
    pub settled: Settled,
    /// Connections that were ended since the backup and are ended again; none if the database that stood there could
    /// not be read.
    pub ended_again: Option<usize>,
    /// Migrations that the backup lacked.
    pub migrated: Vec<String>,
}

impl Store {
    /// Puts a backup in the place of the SQLite database at this URL, which nobody may serve meanwhile. Until the
    /// last step, one rename, the old database is untouched; it is kept under another name.
    pub async fn restore(url: &str, from: &Path, vault: Arc<Vault>, now: Timestamp) -> Result<Restored> {
        let Some(database) = sqlite_path(url) else {
            return refused(format!("{} is no backup of a PostgreSQL database", from.display()));
        };
        let _nobody_serves = lock_file(database)?;
        if beside(from, "-wal").metadata().is_ok_and(|log| log.len() > 0) {
            return refused(format!(
                "{0} is a database in use, not a backup: part of it is in {0}-wal; make a backup of it with `tidegate backup`",
                from.display()
            ));
        }
        let fresh = beside(database, ".restoring");
        let prepared = prepare(&fresh, from, database, vault, now).await;
        let placed = prepared.and_then(|(settled, ended_again, migrated)| {
            let kept = give_way(database, now)?;
            std::fs::rename(&fresh, database).map_err(failed(database))?;
            flush_folder(database)?;
            Ok(Restored { kept, settled, ended_again, migrated })
        });
        if placed.is_err() {
            for file in [fresh.clone(), beside(&fresh, "-wal"), beside(&fresh, "-shm")] {
                let _ = std::fs::remove_file(file);
            }
        }
        placed
    }

    /// Lays to rest what a restored database does not know of, in one transaction: every history gets a new epoch, so
    /// that cursors from after the backup are refused; no lease fits any more; each customer's stored password has one
    /// try; reads that a bank counts begin again with its next day. Nobody may work on the database meanwhile.
    pub async fn settle_restored(&self, now: Timestamp) -> Result<Settled> {
        let mut tx = self.db.begin().await?;
        let sql = "UPDATE account_head SET
                     epoch = CASE WHEN epoch < $1 THEN $1 ELSE epoch + 1 END,
                     reads = CASE WHEN reads_until IS NULL THEN reads ELSE $4 END,
                     unattended_at = CASE WHEN reads_until IS NULL THEN unattended_at
                                          WHEN reads_until > $2 THEN reads_until
                                          ELSE reads_until + (($2 - reads_until) / $3 + 1) * $3 END,
                     reads_until = CASE WHEN reads_until IS NULL OR reads_until > $2 THEN reads_until
                                        ELSE reads_until + (($2 - reads_until) / $3 + 1) * $3 END";
        let epoch = now.seconds() - EPOCHS_SINCE_S;
        let accounts = tx.run(sql, args![epoch, now, DAY, READS_USED_UP]).await?;
        let sql = "UPDATE schedule SET token = token + $1, claimed_at = NULL,
                     due_at = CASE WHEN claimed_at IS NULL THEN due_at ELSE $2 END";
        let connections = tx.run(sql, args![TOKENS_SKIPPED, now]).await?;
        tx.run("UPDATE delivery SET token = token + $1 WHERE state = 'pending'", args![TOKENS_SKIPPED])
            .await?;
        let sql = "INSERT INTO rejection (business, institution, customer, in_a_row, series, last_at)
                   SELECT DISTINCT business, institution, COALESCE(customer_ref_index, id), CAST($1 AS BIGINT),
                     $2, CAST($3 AS BIGINT)
                   FROM connection WHERE state <> 'deleted'
                   ON CONFLICT (business, institution, customer) DO UPDATE SET last_at = excluded.last_at,
                     in_a_row = CASE WHEN rejection.in_a_row < $1 THEN $1 ELSE rejection.in_a_row END";
        tx.run(sql, args![REFUSED, LoginSeries::new(), now]).await?;
        tx.commit().await?;
        Ok(Settled { accounts, connections })
    }

    /// Connections that are ended, or about to be.
    async fn ended(&self) -> Result<Vec<ConnectionId>> {
        let sql = "SELECT id FROM connection WHERE state IN ('closing', 'deleted')";
        let ended: Vec<(ConnectionId,)> = self.db.all(sql, args![]).await?;
        Ok(ended.into_iter().map(|(id,)| id).collect())
    }

    /// Ends connections that are not ended here; how many.
    async fn end_again(&self, ended: &[ConnectionId], now: Timestamp) -> Result<usize> {
        let mut count = 0;
        for id in ended {
            let sql = "SELECT business FROM connection WHERE id = $1";
            let found: Option<(BusinessId,)> = self.db.optional(sql, args![*id]).await?;
            if let Some((business,)) = found {
                count += usize::from(self.begin_closing(business, *id, now).await?);
            }
        }
        Ok(count)
    }
}

/// Copies the backup beside the database and makes it ready to take its place.
async fn prepare(
    fresh: &Path,
    from: &Path,
    database: &Path,
    vault: Arc<Vault>,
    now: Timestamp,
) -> Result<(Settled, Option<usize>, Vec<String>)> {
    let mut copy = new_file(fresh)?;
    let mut backup = File::open(from).map_err(failed(from))?;
    std::io::copy(&mut backup, &mut copy).map_err(failed(fresh))?;
    copy.sync_all().map_err(failed(fresh))?;
    check(fresh).await.map_err(|error| match error {
        StoreError::Backup(_) => StoreError::Backup(format!(
            "{} is no backup that can be used: damaged, or no database of tidegate; nothing was changed",
            from.display()
        )),
        other => other,
    })?;
    let ended = ended_since(database, vault.clone()).await;
    let store = Store::open(&format!("sqlite:{}", fresh.display()), vault).await?;
    let migrated = store.migrate().await?;
    store.open_one_of_each_key().await?;
    let ended_again = match &ended {
        Some(ended) => Some(store.end_again(ended, now).await?),
        None => None,
    };
    let settled = store.settle_restored(now).await?;
    let Store { db, .. } = store;
    db.close().await?;
    std::fs::set_permissions(fresh, Permissions::from_mode(OWNER_ONLY)).map_err(failed(fresh))?;
    File::open(fresh).and_then(|file| file.sync_all()).map_err(failed(fresh))?;
    Ok((settled, ended_again, migrated))
}

/// Who left, by the database that stands there now; none if that cannot be read. Its log is moved into it on the way.
async fn ended_since(database: &Path, vault: Arc<Vault>) -> Option<Vec<ConnectionId>> {
    if !database.exists() {
        return None;
    }
    let store = Store::open(&format!("sqlite:{}", database.display()), vault).await.ok()?;
    let ended = store.ended().await.ok();
    let Store { db, .. } = store;
    db.close().await.ok()?;
    ended
}

/// Keeps the old database under another name as well, and takes its log out of the way, which must never meet another
/// file.
fn give_way(database: &Path, now: Timestamp) -> Result<Option<PathBuf>> {
    if !database.exists() {
        return Ok(None);
    }
    let kept = beside(database, &format!(".before-{}", now.utc().format("%Y%m%dT%H%M%SZ")));
    std::fs::hard_link(database, &kept).map_err(failed(&kept))?;
    let log = beside(database, "-wal");
    if log.exists() {
        std::fs::rename(&log, beside(&kept, "-wal")).map_err(failed(&log))?;
    }
    let _ = std::fs::remove_file(beside(database, "-shm"));
    flush_folder(database)?;
    Ok(Some(kept))
}
