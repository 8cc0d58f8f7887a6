//! Processes that share this database: each says that it is there, and learns who else is.

use super::arg::args;
use super::codec::{json, parsed};
use super::db::{Db, row};
use super::{Result, Store};
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

    /// What the database's clock says; none where the database has no other clock than ours.
    pub async fn database_time(&self) -> Result<Option<Timestamp>> {
        match &self.db {
            Db::Sqlite { .. } => Ok(None),
            Db::Postgres(_) => {
                let sql = "SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000000) AS BIGINT)";
                let (now,): (Timestamp,) = self.db.one(sql, args![]).await?;
                Ok(Some(now))
            }
        }
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
