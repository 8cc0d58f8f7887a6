//! How the database would answer the statements that run all day: by an index, or by reading whole tables.
//!
//! SQLite decides by the statement, so that each index is known beforehand. PostgreSQL decides by what is stored, and reads
//! a small table whole rightly: there only large ones count. Must not know: what is said to the operator about it.

use super::arg::{Arg, args};
use super::delivery::DUE;
use super::dialect::{Dialect, Kind};
use super::history::{CHANGES, KNOWN};
use super::retention::SWEEPS;
use super::schedule::{CLAIM, DUE_AT, NEXT_DUE, SHARES};
use super::{Result, Store};
use crate::model::{AccountId, Timestamp};
use sqlx::AssertSqlSafe;

/// Rows from which on reading a whole table is a mistake of the planner's.
const LARGE_ROWS: i64 = 10_000;
/// As many as a statement is asked for; the plan does not depend on it.
const SOME: i64 = 100;

/// How a statement would be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it is for.
    pub statement: String,
    /// Indexes that it is meant to use and does not (SQLite).
    pub unused: Vec<String>,
    /// Large tables that are read whole (PostgreSQL).
    pub whole: Vec<String>,
}

/// A statement that runs all day, the indexes it lives by, and the tables in it that grow.
struct Hot {
    statement: String,
    sql: AssertSqlSafe<String>,
    args: Vec<Arg<'static>>,
    indexes: &'static [&'static str],
    tables: &'static [&'static str],
}

fn hot(dialect: Dialect) -> Vec<Hot> {
    let some = |statement: &str, sql, args: &[Arg<'static>], indexes, tables| Hot {
        statement: statement.to_owned(),
        sql,
        args: args.to_vec(),
        indexes,
        tables,
    };
    let (now, none) = (Timestamp(0), "[]");
    let schedule = (&["schedule_due", "schedule_queued"][..], &["schedule"][..]);
    let plain = |text| AssertSqlSafe(String::from(text));
    let institution = [("institution", Kind::Text)];
    let mut all = vec![
        some(
            "what is due",
            dialect.bulk(&institution, DUE_AT),
            args![none, now],
            &["schedule_due"],
            schedule.1,
        ),
        some(
            "claiming connections",
            dialect.bulk(&SHARES, CLAIM),
            args![none, now, now, SOME, SOME, SOME, SOME],
            schedule.0,
            schedule.1,
        ),
        some("when something is due next", plain(NEXT_DUE), args![now], schedule.0, schedule.1),
        some(
            "webhooks that are due",
            dialect.bulk(&[("id", Kind::Bytes)], DUE),
            args![none, now, SOME, SOME, SOME, false],
            &["delivery_due"],
            &["delivery"],
        ),
        some(
            "rows to compare a reading with",
            plain(KNOWN),
            args![AccountId::new(), "2026-01-01"],
            &["txn_known"],
            &["txn", "txn_body"],
        ),
        some("changes by cursor", plain(CHANGES), args![AccountId::new(), 0_i64, SOME], &[], &["txn_change"]),
    ];
    let swept: [(&[&str], &[&str]); SWEEPS.len()] = [
        (&["sync_unchanged"], &["sync"]),
        (&["sync_request_answered"], &["sync_request"]),
        (&["attempt_at"], &["attempt"]),
        (&["delivery_ended"], &["delivery"]),
        (&["event_created"], &["event"]),
        (&["authorisation_ended"], &["authorisation"]),
        (&["consent_ended"], &["consent"]),
    ];
    all.extend(SWEEPS.iter().zip(swept).map(|(sweep, (indexes, tables))| {
        some(&format!("old rows of {}", sweep.table), plain(sweep.find), args![now, SOME], indexes, tables)
    }));
    all
}

impl Store {
    /// How the statements that run all day would be answered. None of them is run.
    pub async fn plans(&self) -> Result<Vec<Plan>> {
        let dialect = self.db.dialect();
        let mut plans = Vec::new();
        for hot in hot(dialect) {
            let (unused, whole) = match dialect {
                Dialect::Sqlite => (self.unused_by_sqlite(&hot).await?, Vec::new()),
                Dialect::Postgres => (Vec::new(), self.whole_by_postgres(&hot).await?),
            };
            plans.push(Plan { statement: hot.statement, unused, whole });
        }
        Ok(plans)
    }

    async fn unused_by_sqlite(&self, hot: &Hot) -> Result<Vec<String>> {
        let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", hot.sql.0));
        let steps: Vec<(i64, i64, i64, String)> = self.db.all(sql, &hot.args).await?;
        let is_used = |index: &str| steps.iter().any(|(.., step)| step.contains(&format!("INDEX {index} (")));
        let unused = hot.indexes.iter().filter(|index| !is_used(index));
        Ok(unused.map(|index| (*index).to_owned()).collect())
    }

    async fn whole_by_postgres(&self, hot: &Hot) -> Result<Vec<String>> {
        let sql = AssertSqlSafe(format!("EXPLAIN {}", hot.sql.0));
        let steps: Vec<(String,)> = self.db.all(sql, &hot.args).await?;
        let mut whole = Vec::new();
        for table in hot.tables {
            let scan = format!("Seq Scan on {table} ");
            if steps.iter().any(|(step,)| step.contains(&scan)) {
                let rows = "SELECT CAST(reltuples AS BIGINT) FROM pg_class WHERE oid = to_regclass($1)";
                let rows: Option<(i64,)> = self.db.optional(rows, args![*table]).await?;
                whole.extend(rows.filter(|(rows,)| *rows >= LARGE_ROWS).map(|_| (*table).to_owned()));
            }
        }
        Ok(whole)
    }
}
