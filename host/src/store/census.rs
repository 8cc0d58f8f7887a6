//! Counting what is there, for operators: how old the data is, what waits. Reads only.
//!
//! Must not know: what is made of the numbers.

use super::arg::args;
use super::db::row;
use super::{Result, Store};
use crate::model::*;
use std::collections::BTreeMap;

/// Ages are counted in steps of so many microseconds: fine enough for an interval of minutes, and few rows come back
/// however many accounts there are.
const AGE_STEP: i64 = 10 * SECOND;
const SECOND: i64 = 1_000_000;

row! {
    /// Accounts of about one age.
    AgeRow {
        institution: String, steps: Option<i64>, accounts: i64, last_success_at: Option<Timestamp>, stale: i64,
    }
}

impl Store {
    /// How old the data of polled accounts is, and which of them fail, by institution. Looks at each account: not for
    /// every second.
    pub async fn freshness(&self, now: Timestamp) -> Result<Vec<Freshness>> {
        let sql = "SELECT c.institution, ($1 - h.fresh_at) / $2 AS steps, count(*) AS accounts,
                     max(h.fresh_at) AS last_success_at,
                     CAST(sum(CASE WHEN h.stale_at <= $1 THEN 1 ELSE 0 END) AS BIGINT) AS stale
                   FROM connection c JOIN account_head h ON h.connection = c.id JOIN account a ON a.id = h.account
                   WHERE c.state = 'active' AND a.state = 'active' AND NOT a.excluded
                   GROUP BY 1, 2 ORDER BY 1, 2";
        let rows: Vec<AgeRow> = self.db.all(sql, args![now, AGE_STEP]).await?;
        let mut failing = self.failing().await?;
        let mut all = Vec::new();
        for rows in rows.chunk_by(|one, next| one.institution == next.institution) {
            let Some(AgeRow { institution, .. }) = rows.first() else { continue };
            let age = |row: &AgeRow| Some((row.steps? * (AGE_STEP / SECOND), row.accounts));
            let ages: Vec<_> = rows.iter().filter_map(age).collect();
            let accounts = ages.iter().map(|(_, count)| count).sum();
            let all_of_it: i64 = rows.iter().map(|row| row.accounts).sum();
            all.push(Freshness {
                institution: institution.clone(),
                accounts,
                waiting: all_of_it - accounts,
                age: Age::of(&ages),
                stale: rows.iter().map(|row| row.stale).sum(),
                last_success_at: rows.iter().filter_map(|row| row.last_success_at).max(),
                failing: failing.remove(institution).unwrap_or_default(),
            });
        }
        Ok(all)
    }

    /// Polled accounts whose last sync failed, by institution.
    async fn failing(&self) -> Result<BTreeMap<String, Vec<Failing>>> {
        let sql = "SELECT c.institution, s.reason, count(*), min(h.fresh_at)
                   FROM account_head h JOIN connection c ON c.id = h.connection JOIN account a ON a.id = h.account
                     JOIN sync s ON s.account = h.account AND s.id = h.last_sync
                   WHERE h.failures > 0 AND c.state = 'active' AND a.state = 'active' AND NOT a.excluded
                   GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2";
        let rows: Vec<(String, Option<String>, i64, Option<Timestamp>)> = self.db.all(sql, args![]).await?;
        let mut all: BTreeMap<String, Vec<Failing>> = BTreeMap::new();
        for (institution, reason, accounts, since) in rows {
            let reason = reason.unwrap_or_default();
            all.entry(institution).or_default().push(Failing { reason, accounts, since });
        }
        Ok(all)
    }

    /// What is due and not being done.
    pub async fn queues(&self, now: Timestamp) -> Result<Queues> {
        // Each half through the index of its lanes.
        let sql = "SELECT institution, count(*), min(due_at)
                   FROM (SELECT s.institution, s.due_at FROM institution i JOIN schedule s ON s.institution = i.id
                         WHERE s.active AND s.lane = 'ordinary' AND s.due_at <= $1 AND s.claimed_at IS NULL
                         UNION ALL
                         SELECT s.institution, s.due_at FROM institution i JOIN schedule s ON s.institution = i.id
                         WHERE s.active AND s.lane <> 'ordinary' AND s.due_at <= $1 AND s.claimed_at IS NULL) AS due
                   GROUP BY institution ORDER BY institution";
        let rows: Vec<(String, i64, Option<Timestamp>)> = self.db.all(sql, args![now]).await?;
        let lag_s = |since: Option<Timestamp>| since.map_or(0, |since| (now.0 - since.0) / SECOND);
        let due = rows.into_iter().filter(|(_, connections, _)| *connections > 0);
        let due = due
            .map(|(institution, connections, since)| Due { institution, connections, lag_s: lag_s(since) })
            .collect();
        let sql = "SELECT CAST(COALESCE(sum(waiting), 0) AS BIGINT), min(since)
                   FROM (SELECT (SELECT count(*) FROM delivery d
                                 WHERE d.endpoint = e.id AND d.state = 'pending' AND d.due_at <= $1) AS waiting,
                           (SELECT min(d.due_at) FROM delivery d
                            WHERE d.endpoint = e.id AND d.state = 'pending' AND d.due_at <= $1) AS since
                         FROM endpoint e) AS queues";
        let (deliveries, since): (i64, Option<Timestamp>) = self.db.one(sql, args![now]).await?;
        Ok(Queues { due, deliveries, delivery_lag_s: lag_s(since) })
    }
}
