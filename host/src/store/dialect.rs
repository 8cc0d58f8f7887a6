//! The few words that SQLite and PostgreSQL say differently.
//!
//! Must not know: what a query is for.

use sqlx::AssertSqlSafe;
use sqlx::error::{DatabaseError, ErrorKind};
use std::fmt::Write;

/// Which SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// What a column of a bulk parameter holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A JSON number.
    Int,
    /// A JSON string.
    Text,
    /// A JSON string of hex digits.
    Bytes,
}

/// The name that a broken foreign key has on SQLite, which doesn't say which one.
pub(super) const FOREIGN_KEY: &str = "foreign_key";

impl Dialect {
    /// Puts this dialect's words in place of `{for_update}`, `{for_update_of_s}` and `{skip_locked}`. A SQLite writer is
    /// alone, so they are empty there. Between `{first_rows}` and `{end_rows}` stands the rest of a query on
    /// `schedule` as `d` that speaks of the table before it: each row of that is joined to what it finds, as `s`.
    pub(super) fn sql(self, text: &'static str) -> AssertSqlSafe<String> {
        AssertSqlSafe(self.fill(text))
    }

    fn fill(self, text: &str) -> String {
        let words = match self {
            Self::Sqlite => [
                ("{for_update}", ""),
                ("{for_update_of_s}", ""),
                ("{skip_locked}", ""),
                (
                    "{first_rows}",
                    "JOIN schedule AS s ON (s.institution, s.phase, s.connection) IN (SELECT d.institution, d.phase, d.connection FROM schedule d",
                ),
                ("{end_rows}", ")"),
            ],
            Self::Postgres => [
                ("{for_update}", "FOR UPDATE"),
                ("{for_update_of_s}", "FOR UPDATE OF s"),
                ("{skip_locked}", "FOR UPDATE SKIP LOCKED"),
                ("{first_rows}", "CROSS JOIN LATERAL (SELECT d.* FROM schedule d"),
                ("{end_rows}", ") AS s"),
            ],
        };
        words.iter().fold(text.to_owned(), |text, (name, word)| text.replace(name, word))
    }

    /// `WITH RECURSIVE bulk AS MATERIALIZED (…)`, then `rest`: a JSON array of objects in `$1` as rows with these columns.
    /// One parameter and one text whatever the number of rows, so the statement stays prepared. Materialised: what is joined
    /// to it would else take the document apart again for each row.
    pub(super) fn bulk(self, columns: &[(&'static str, Kind)], rest: &'static str) -> AssertSqlSafe<String> {
        let mut picked = String::new();
        let mut typed = String::new();
        for (place, (name, kind)) in columns.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            let raw = match self {
                Self::Sqlite => format!("value ->> '{name}'"),
                Self::Postgres => (*name).to_owned(),
            };
            let (value, pg_type) = match (kind, self) {
                (Kind::Int, _) => (raw, "BIGINT"),
                (Kind::Text, _) => (raw, "TEXT"),
                (Kind::Bytes, Self::Sqlite) => (format!("unhex({raw})"), "TEXT"),
                (Kind::Bytes, Self::Postgres) => (format!("decode({raw}, 'hex')"), "TEXT"),
            };
            let _ = write!(picked, "{comma}{value} AS {name}");
            let _ = write!(typed, "{comma}{name} {pg_type}");
        }
        let rest = self.fill(rest);
        AssertSqlSafe(match self {
            Self::Sqlite => {
                format!("WITH RECURSIVE bulk AS MATERIALIZED (SELECT {picked} FROM jsonb_each($1)) {rest}")
            }
            Self::Postgres => {
                format!(
                    "WITH RECURSIVE bulk AS MATERIALIZED (SELECT {picked} FROM jsonb_to_recordset($1::jsonb) AS given({typed})) {rest}"
                )
            }
        })
    }

    /// Fills the types and table options of a migration.
    pub(super) fn schema(self, text: &str) -> String {
        let words: [(&str, &str); 5] = match self {
            Self::Sqlite => [
                ("{bytes}", "BLOB"),
                ("{int}", "INTEGER"),
                ("{bool}", "INTEGER"),
                ("{table}", "STRICT"),
                ("{in_key_order}", "STRICT, WITHOUT ROWID"),
            ],
            Self::Postgres => [
                ("{bytes}", "BYTEA"),
                ("{int}", "BIGINT"),
                ("{bool}", "BOOLEAN"),
                ("{table}", ""),
                ("{in_key_order}", ""),
            ],
        };
        words.iter().fold(text.to_owned(), |text, (name, word)| text.replace(name, word))
    }

    /// Taken at the start of a migration, so that two processes don't migrate at once.
    pub(super) fn migration_lock(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None, // BEGIN IMMEDIATE is that lock
            Self::Postgres => Some("SELECT pg_advisory_xact_lock(7161)"),
        }
    }
}

/// The name of the constraint that was broken, if one was.
pub(super) fn constraint(error: &dyn DatabaseError) -> Option<String> {
    if let Some(name) = error.constraint() {
        return Some(name.to_owned());
    }
    let after_colon = || error.message().rsplit(": ").next().unwrap_or_default().to_owned();
    match error.kind() {
        ErrorKind::ForeignKeyViolation => Some(FOREIGN_KEY.to_owned()),
        // SQLite names a check, but says `account.connection, account.bank_id_index` for a unique one.
        ErrorKind::CheckViolation => Some(after_colon()),
        ErrorKind::UniqueViolation => {
            let columns = after_colon();
            let known = UNIQUE.iter().find(|(broken, _)| *broken == columns);
            Some(known.map_or(columns, |(_, name)| (*name).to_owned()))
        }
        _ => None,
    }
}

/// What SQLite says, and the constraint's name in the schema.
const UNIQUE: [(&str, &str); 8] = [
    ("business.id", "business_key"),
    ("api_key.id", "api_key_key"),
    ("connection.id", "connection_key"),
    ("credential.connection, credential.name", "credential_key"),
    ("account.connection, account.bank_id_index", "account_bank_id"),
    ("sync.account, sync.id", "sync_key"),
    ("endpoint.id", "endpoint_key"),
    ("event.id", "event_key"),
];
