//! Opening the database and bringing it to this version's shape.
//!
//! Migrations are one text for both databases; the dialect fills in types. A released one is frozen.

use super::arg::args;
use super::db::{Db, row};
use super::group::Groups;
use super::seal::Keys;
use super::{Result, Store, StoreError};
use crate::vault::Vault;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a migration means for processes of the version before, which may still run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// They go on: nothing that they use is taken away.
    Expand,
    /// They can't go on: all must be of a version that knows it.
    Contract,
}

/// Every migration, in the order they are applied.
pub(super) const MIGRATIONS: [(&str, Step, &str); 2] = [
    ("0001_initial", Step::Contract, include_str!("0001_initial.sql")),
    ("0002_processes", Step::Expand, include_str!("0002_processes.sql")),
];

row! { pub(super) AppliedRow { name: String, step: String } }

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

    /// Several processes may work on this database: PostgreSQL.
    pub fn is_shared(&self) -> bool {
        matches!(self.db, Db::Postgres(_))
    }

    /// Applies what is missing; the names of what was applied.
    pub async fn migrate(&self) -> Result<Vec<String>> {
        let mut tx = self.db.begin().await?;
        let dialect = tx.dialect();
        if let Some(lock) = dialect.migration_lock() {
            tx.run(lock, args![]).await?;
        }
        let sql = "CREATE TABLE IF NOT EXISTS schema_migration (name TEXT NOT NULL PRIMARY KEY, step TEXT NOT NULL)";
        tx.run(sql, args![]).await?;
        let applied = known(tx.all(APPLIED, args![]).await?)?;
        let mut names = Vec::new();
        for (name, step, text) in MIGRATIONS {
            if !applied.contains(name) {
                tx.script(dialect.schema(text)).await?;
                let sql = "INSERT INTO schema_migration (name, step) VALUES ($1, $2)";
                tx.run(sql, args![name, step.word()]).await?;
                names.push(name.to_owned());
            }
        }
        tx.commit().await?;
        Ok(names)
    }

    /// Is the database reachable and migrated? It may be of a newer version that takes nothing away from this one.
    pub async fn ready(&self) -> Result<()> {
        let _: (i64,) = self.db.one("SELECT CAST(1 AS BIGINT)", args![]).await?;
        let applied = match self.db.all(APPLIED, args![]).await {
            Err(StoreError::Database(_)) => Vec::new(), // reachable, so the table is what's missing
            other => other?,
        };
        let applied = known(applied)?;
        match MIGRATIONS.iter().find(|(name, ..)| !applied.contains(*name)) {
            Some((name, ..)) => Err(StoreError::Migration(format!(
                "the database lacks migration {name}; run `tidegate migrate`"
            ))),
            None => Ok(()),
        }
    }
}

pub(super) const APPLIED: &str = "SELECT name, step FROM schema_migration ORDER BY name";

impl Step {
    fn word(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Contract => "contract",
        }
    }
}

/// The names of what was applied, if this version can work with all of it.
pub(super) fn known(applied: Vec<AppliedRow>) -> Result<BTreeSet<String>> {
    let is_known = |row: &AppliedRow| MIGRATIONS.iter().any(|(known, ..)| *known == row.name);
    match applied.iter().find(|row| !is_known(row) && row.step != Step::Expand.word()) {
        Some(AppliedRow { name, .. }) => Err(StoreError::Migration(format!(
            "the database has migration {name}, which this version does not know; run the newer version of tidegate"
        ))),
        None => Ok(applied.into_iter().map(|row| row.name).collect()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_a_newer_version_is_used_as_long_as_it_takes_nothing_away() {
        let applied = |newer: Step| {
            let ours = MIGRATIONS.iter().map(|(name, step, _)| (*name, *step));
            let rows = ours.chain([("9999_newer", newer)]);
            rows.map(|(name, step)| AppliedRow { name: name.to_owned(), step: step.word().to_owned() })
                .collect()
        };
        assert!(known(applied(Step::Expand)).unwrap().contains("9999_newer"));
        let refused = known(applied(Step::Contract)).unwrap_err().to_string();
        assert!(refused.contains("9999_newer") && refused.contains("run the newer version"), "{refused}");
    }
}
