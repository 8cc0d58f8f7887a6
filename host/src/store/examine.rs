//! Looking whether a database is fit for work, for `tidegate restore` and `tidegate doctor`. Reads only.
//!
//! Must not know: what is said to the operator about it.

use super::arg::args;
use super::dialect::Dialect;
use super::schema::MIGRATIONS;
use super::{Result, Store};
use crate::vault::WrappedKey;
use std::collections::BTreeSet;

/// Owners of data keys, and one key of each; then one key of each master key.
const KEYS: [(&str, &str); 5] = [
    (
        "business",
        "SELECT k.owner, k.master_key, k.wrapped FROM business o JOIN data_key k ON k.owner = o.id LIMIT 1",
    ),
    (
        "registration",
        "SELECT k.owner, k.master_key, k.wrapped FROM registration o JOIN data_key k ON k.owner = o.id LIMIT 1",
    ),
    (
        "connection",
        "SELECT k.owner, k.master_key, k.wrapped FROM connection o JOIN data_key k ON k.owner = o.id LIMIT 1",
    ),
    (
        "endpoint",
        "SELECT k.owner, k.master_key, k.wrapped FROM endpoint o JOIN data_key k ON k.owner = o.id LIMIT 1",
    ),
    (
        "master key",
        "SELECT owner, master_key, wrapped FROM
           (SELECT owner, master_key, wrapped, row_number() OVER (PARTITION BY master_key ORDER BY owner) AS nth
            FROM data_key) AS numbered
         WHERE nth = 1",
    ),
];

impl Store {
    /// Opens one data key of each kind of owner, and one under each master key; the kinds there are. The error says which
    /// master key is missing.
    pub async fn open_one_of_each_key(&self) -> Result<Vec<&'static str>> {
        let mut kinds = Vec::new();
        for (kind, sql) in KEYS {
            let found: Vec<(Vec<u8>, String, Vec<u8>)> = self.db.all(sql, args![]).await?;
            for (owner, master_key, bytes) in &found {
                let wrapped = WrappedKey { master_key: master_key.clone(), bytes: bytes.clone() };
                self.keys.vault().unwrap_key(owner, &wrapped)?;
            }
            if !found.is_empty() {
                kinds.push(kind);
            }
        }
        Ok(kinds)
    }

    /// Indexes that the migrations make and the database lacks, or has only half built.
    pub async fn missing_indexes(&self) -> Result<Vec<String>> {
        let sql = match self.db.dialect() {
            Dialect::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'index'",
            Dialect::Postgres => {
                "SELECT CAST(c.relname AS TEXT) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indisvalid"
            }
        };
        let there: Vec<(String,)> = self.db.all(sql, args![]).await?;
        let there: BTreeSet<String> = there.into_iter().map(|(name,)| name).collect();
        let mut missing = made_indexes(MIGRATIONS.iter().map(|(.., text)| *text));
        missing.retain(|name| !there.contains(name));
        Ok(missing.into_iter().collect())
    }
}

/// The names of the indexes that these texts leave behind.
fn made_indexes<'t>(texts: impl Iterator<Item = &'t str>) -> BTreeSet<String> {
    let mut made = BTreeSet::new();
    for line in texts.flat_map(str::lines) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["CREATE", "INDEX", name, ..] | ["CREATE", "UNIQUE", "INDEX", name, ..] => {
                made.insert((*name).to_owned());
            }
            ["DROP", "INDEX", name, ..] => {
                made.remove(name.trim_end_matches(';'));
            }
            _ => {}
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_a_later_migration_drops_is_not_missed() {
        let texts = ["CREATE INDEX one ON a (b);\nCREATE UNIQUE INDEX two ON a (c)", "DROP INDEX one;"];
        assert_eq!(made_indexes(texts.into_iter()), BTreeSet::from(["two".to_owned()]));
    }
}
