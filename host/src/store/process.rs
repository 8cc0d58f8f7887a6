//! Processes that share this database: each says that it is there, and learns who else is.

use super::arg::args;
use super::codec::{json, parsed};
use super::db::row;
use super::dialect::Dialect;
use super::{Result, Store};
use crate::clock::Clock;
use crate::model::*;

row! {
    ProcessRow {
        id: ProcessId, roles: String, version: String, started_at: Timestamp, works_from: Option<Timestamp>,
        seen_at: Timestamp,
    }
}

const ALL: &str = "SELECT id, roles, version, started_at, works_from, seen_at FROM process ORDER BY id";

impl Store {
    /// All processes that were heard of, the gone ones among them.
    pub async fn processes(&self) -> Result<Vec<Process>> {
        let rows: Vec<ProcessRow> = self.db.all(ALL, args![]).await?;
        rows.into_iter().map(ProcessRow::open).collect()
    }

    /// This process is there, as of its `seen_at`; all that were heard of. Those that were last heard of before `forget`
    /// are gone.
    pub async fn check_in(&self, me: &Process, forget: Timestamp) -> Result<Vec<Process>> {
        let sql = "INSERT INTO process (id, roles, version, started_at, works_from, seen_at) VALUES ($1, $2, $3, $4, $5, $6)
                   ON CONFLICT (id) DO UPDATE SET works_from = excluded.works_from, seen_at = excluded.seen_at";
        let roles = json(&me.roles, "roles")?;
        let args = args![me.id, roles, &me.version, me.started_at, me.works_from, me.seen_at];
        self.db.run(sql, args).await?;
        self.db.run("DELETE FROM process WHERE seen_at < $1", args![forget]).await?;
        self.processes().await
    }

    /// This process is going: the others take its part at once.
    pub async fn check_out(&self, me: ProcessId) -> Result<()> {
        self.db.run("DELETE FROM process WHERE id = $1", args![me]).await.map(drop)
    }

    /// How many microseconds the database's clock is ahead of this one, half of the way there and back taken off. None on
    /// SQLite, which has no clock of its own, and for a clock that stands still.
    pub async fn clock_off(&self, clock: &Clock) -> Result<Option<i64>> {
        if self.db.dialect() == Dialect::Sqlite {
            return Ok(None);
        }
        // The first question may have to connect, so that the second is the one that counts.
        let sql = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)";
        let _: (Timestamp,) = self.db.one(sql, args![]).await?;
        let asked = clock.now();
        let (theirs,): (Timestamp,) = self.db.one(sql, args![]).await?;
        // It was read half-way.
        Ok(clock.off(theirs.plus(clock.now().since(asked) / 2)))
    }
}

impl ProcessRow {
    fn open(self) -> Result<Process> {
        Ok(Process {
            id: self.id,
            roles: parsed(&self.roles, "roles")?,
            version: self.version,
            started_at: self.started_at,
            works_from: self.works_from,
            seen_at: self.seen_at,
        })
    }
}
