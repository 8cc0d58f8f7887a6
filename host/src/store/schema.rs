//! Opening the database and bringing it to this version's shape.
//!
//! Migrations are one text for both databases; the dialect fills in types. A released one is frozen.

use super::arg::args;
use super::db::Db;
use super::group::Groups;
use super::seal::Keys;
use super::{Result, Store, StoreError};
use crate::vault::Vault;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Every migration, in the order they are applied.
pub(super) const MIGRATIONS: [(&str, &str); 1] = [("0001_initial", include_str!("0001_initial.sql"))];

impl Store {
    /// Opens `sqlite:PATH` or `postgres://…`. SQLite: takes a lock file so that two processes
    /// can't share it. Does not migrate.
    pub async fn open(url: &str, vault: Arc<Vault>) -> Result<Self> {
        let db = Db::open(url).await?;
        Ok(Self { groups: Groups::start(&db), db, keys: Keys::new(vault) })
    }

    /// Only one process may serve an SQLite file: its lock, to be held while serving. None on
    /// PostgreSQL, which many processes serve. Subcommands need no lock.
    pub fn sole_server(&self) -> Result<Option<std::fs::File>> {
        self.db.sole_server()
    }

    /// Applies what is missing; the names of what was applied.
    pub async fn migrate(&self) -> Result<Vec<String>> {
        let mut tx = self.db.begin().await?;
        let dialect = tx.dialect();
        if let Some(lock) = dialect.migration_lock() {
            tx.run(lock, args![]).await?;
        }
        tx.run("CREATE TABLE IF NOT EXISTS schema_migration (name TEXT NOT NULL PRIMARY KEY)", args![])
            .await?;
        let applied: Vec<(String,)> = tx.all("SELECT name FROM schema_migration", args![]).await?;
        let applied: BTreeSet<String> = applied.into_iter().map(|(name,)| name).collect();
        refuse_newer(&applied)?;
        let mut names = Vec::new();
        for (name, text) in MIGRATIONS {
            if !applied.contains(name) {
                tx.script(dialect.schema(text)).await?;
                tx.run("INSERT INTO schema_migration (name) VALUES ($1)", args![name]).await?;
                names.push(name.to_owned());
            }
        }
        tx.commit().await?;
        Ok(names)
    }

    /// Is the database reachable and migrated?
    pub async fn ready(&self) -> Result<()> {
        let _: (i64,) = self.db.one("SELECT CAST(1 AS BIGINT)", args![]).await?;
        let applied = self.db.all("SELECT name FROM schema_migration", args![]).await;
        let applied: Vec<(String,)> = match applied {
            Err(StoreError::Database(_)) => Vec::new(), // reachable, so the table is what's missing
            other => other?,
        };
        let applied: BTreeSet<String> = applied.into_iter().map(|(name,)| name).collect();
        refuse_newer(&applied)?;
        match MIGRATIONS.iter().find(|(name, _)| !applied.contains(*name)) {
            Some((name, _)) => Err(StoreError::Migration(format!(
                "the database lacks migration {name}; run `tidegate migrate`"
            ))),
            None => Ok(()),
        }
    }
}

pub(super) fn refuse_newer(applied: &BTreeSet<String>) -> Result<()> {
    match applied.iter().find(|name| MIGRATIONS.iter().all(|(known, _)| known != name)) {
        Some(name) => Err(StoreError::Migration(format!(
            "the database has migration {name}, which this version does not know; run the newer version of tidegate"
        ))),
        None => Ok(()),
    }
}
