//! The schedule: one row per connection is the job. `due_at` is schedule, retry time and
//! visibility timeout; `token` fences; `claimed_at` is empty while nobody holds it.

use super::arg::args;
use super::codec::{from_word, json, small};
use super::db::{Tx, row};
use super::dialect::Kind;
use super::waiting::{NoSync, answer_waiting, first_due, heads};
use super::{Result, Store, StoreError};
use crate::model::*;
use serde_json::json as value;

row! {
    ClaimRow {
        phase: i64, connection: ConnectionId, token: i64, slot_at: Timestamp, failures: i64,
        interval_minutes: Option<i64>,
    }
}

const PERMITS: [(&str, Kind); 2] = [("institution", Kind::Text), ("permits", Kind::Int)];

impl Store {
    /// Claims connections that are due, at most so many per institution, most overdue first; paused institutions not at all.
    pub async fn claim_due(
        &self,
        now: Timestamp,
        until: Timestamp,
        permits: &[(String, u32)],
    ) -> Result<Vec<Lease>> {
        // Most polls find nothing: ask first, without taking a lock.
        let sql = "SELECT institution, permits FROM bulk
                   WHERE EXISTS (SELECT 1 FROM schedule s
                                 WHERE s.institution = bulk.institution AND s.active AND s.due_at <= $2)
                     AND NOT EXISTS (SELECT 1 FROM institution i WHERE i.id = bulk.institution AND i.paused_until > $2)";
        let wanted = permits.iter().filter(|(_, permits)| *permits > 0);
        let wanted: Vec<_> =
            wanted.map(|(name, permits)| value!({"institution": name, "permits": permits})).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = json(&wanted, "permits")?;
        let sql = self.db.dialect().bulk(&PERMITS, sql);
        let due: Vec<(String, i64)> = self.db.all(sql, args![&wanted, now]).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut leases = Vec::new();
        let mut tx = self.db.begin().await?;
        for (institution, permits) in due {
            let sql = "WITH due AS MATERIALIZED (
                         SELECT phase AS due_phase, connection AS due_connection FROM schedule
                         WHERE institution = $1 AND active AND due_at <= $2
                         ORDER BY due_at LIMIT $3 {skip_locked})
                       UPDATE schedule SET due_at = $4, token = token + 1, claimed_at = $2
                       FROM due
                       WHERE institution = $1 AND phase = due_phase AND connection = due_connection
                       RETURNING phase, connection, token, slot_at, failures, interval_minutes";
            let sql = tx.dialect().sql(sql);
            let rows: Vec<ClaimRow> = tx.all(sql, args![&institution, now, permits, until]).await?;
            for row in rows {
                leases.push(Lease {
                    connection: row.connection,
                    institution: institution.clone(),
                    phase: row.phase,
                    interval_minutes: interval(row.interval_minutes)?,
                    token: row.token,
                    slot_at: row.slot_at,
                    claimed_at: now,
                    until,
                    failures: small(row.failures, "failures")?,
                });
            }
        }
        tx.commit().await?;
        Ok(leases)
    }

    /// When the next connection of any institution is due; none if there is none. Connections of a
    /// paused institution are due when the pause ends, at the earliest.
    pub async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let sql = "SELECT min(CASE WHEN paused_until > $1 AND paused_until > due_at THEN paused_until ELSE due_at END)
                   FROM (SELECT paused_until, (SELECT min(s.due_at) FROM schedule s
                                               WHERE s.institution = i.id AND s.active) AS due_at
                         FROM institution i) AS next
                   WHERE due_at IS NOT NULL";
        let (next,): (Option<Timestamp>,) = self.db.one(sql, args![now]).await?;
        Ok(next)
    }

    /// At the start of the only process on a SQLite file: what was claimed is due again.
    pub async fn release_all(&self, now: Timestamp) -> Result<u64> {
        let sql = "UPDATE schedule SET due_at = $1, claimed_at = NULL WHERE claimed_at IS NOT NULL";
        self.db.run(sql, args![now]).await
    }

    /// Gives a lease back unused; the connection is due again at that time.
    pub async fn release(&self, lease: &Lease, due_at: Timestamp) -> Result<()> {
        let sql = "UPDATE schedule SET due_at = $5, claimed_at = NULL
                   WHERE institution = $1 AND phase = $2 AND connection = $3 AND token = $4 AND claimed_at IS NOT NULL";
        let args = args![&lease.institution, lease.phase, lease.connection, lease.token, due_at];
        match self.db.run(sql, args).await? {
            0 => Err(StoreError::LeaseLost),
            _ => Ok(()),
        }
    }

    /// Nothing may be asked about any account of the connection before `until`.
    pub async fn defer_connection(&self, lease: &Lease, until: Timestamp) -> Result<()> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "UPDATE account_head SET next_allowed_at = $2
                   WHERE connection = $1 AND (next_allowed_at IS NULL OR next_allowed_at < $2)";
        tx.run(sql, args![lease.connection, until]).await?;
        tx.commit().await
    }

    /// The run is over: the connection is due when the first of its accounts is, one whose sync was requested
    /// as soon as the bank allows. `due_at` and `failures` count where there is no account to read.
    /// What was paused or switched off meanwhile rests from now on, and whoever still waits for it is answered.
    pub async fn complete(
        &self,
        lease: &Lease,
        slot_at: Timestamp,
        due_at: Timestamp,
        failures: i32,
        now: Timestamp,
    ) -> Result<()> {
        self.complete_for(lease, slot_at, due_at, failures, None, now).await
    }

    /// The same of a run that came to nothing for the whole connection, and why.
    pub async fn complete_for(
        &self,
        lease: &Lease,
        slot_at: Timestamp,
        due_at: Timestamp,
        failures: i32,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        // Statements of their own, so that they see all that came before the fence.
        let id = lease.connection;
        let sql =
            "SELECT c.state, s.interval_minutes, c.attempt_due_at FROM schedule s JOIN connection c ON c.id = s.connection
                   WHERE s.institution = $1 AND s.phase = $2 AND s.connection = $3";
        let (state, minutes, attempt): (String, Option<i64>, Option<Timestamp>) =
            tx.one(sql, args![&lease.institution, lease.phase, id]).await?;
        if interval(minutes)? != lease.interval_minutes {
            // This run planned by the interval of before: the accounts are read once more and planned anew.
            let sql =
                "UPDATE account_head SET due_at = $2 WHERE connection = $1 AND due_at > $2 AND failures = 0";
            tx.run(sql, args![id, now]).await?;
        }
        let state: ConnectionState = from_word(&state, "connection state")?;
        let heads = heads(&mut tx, id).await?;
        match state {
            ConnectionState::Paused => {
                answer_waiting(&mut tx, id, heads.iter(), false, &NoSync::paused(), now).await?;
            }
            _ => {
                let off = heads.iter().filter(|head| head.is_excluded());
                answer_waiting(&mut tx, id, off, false, &NoSync::excluded(), now).await?;
            }
        }
        let (due_at, failures) = first_due(&heads, now).unwrap_or((due_at, i64::from(failures)));
        // A connection that is not polled is due for its customer's way in only.
        let polled = state == ConnectionState::Active;
        let due_at = match attempt {
            Some(at) if polled => due_at.min(at.max(now)),
            Some(at) => at.max(now),
            None => due_at,
        };
        let sql =
            "UPDATE schedule SET due_at = $4, slot_at = $5, failures = $6, claimed_at = NULL, active = $7, reason = $8
                   WHERE institution = $1 AND phase = $2 AND connection = $3";
        let args = args![
            &lease.institution,
            lease.phase,
            id,
            due_at,
            slot_at,
            failures,
            polled || attempt.is_some(),
            reason
        ];
        tx.run(sql, args).await?;
        tx.commit().await
    }
}

fn interval(minutes: Option<i64>) -> Result<Option<u32>> {
    minutes.map(|minutes| small(minutes, "interval")).transpose()
}

/// Holds the connection's schedule row if the lease still does, until the transaction ends.
pub(super) async fn fence(tx: &mut Tx, lease: &Lease) -> Result<()> {
    let sql = "SELECT token FROM schedule
               WHERE institution = $1 AND phase = $2 AND connection = $3 AND token = $4 AND claimed_at IS NOT NULL
               {for_update}";
    let args = args![&lease.institution, lease.phase, lease.connection, lease.token];
    let held: Option<(i64,)> = tx.optional(tx.dialect().sql(sql), args).await?;
    held.map(|_| ()).ok_or(StoreError::LeaseLost)
}
