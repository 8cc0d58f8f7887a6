//! The schedule: one row per connection is the job. `due_at` is schedule, retry time and
//! visibility timeout; `token` fences; `claimed_at` is empty while nobody holds it.

use super::arg::args;
use super::breaker::{TRIAL_RUNS, begin_trial, postpone_trial};
use super::codec::{from_word, json, small, word};
use super::db::{Tx, row};
use super::dialect::Kind;
use super::group::Write;
use super::waiting::{NoSync, answer_waiting, first_due, heads_of, lane};
use super::{Result, Store, StoreError};
use crate::model::*;
use serde_json::json as value;
use std::collections::{BTreeMap, HashMap, HashSet};

row! {
    ClaimRow {
        institution: String, phase: i64, connection: ConnectionId, lane: String, token: i64, slot_at: Timestamp,
        failures: i64, interval_minutes: Option<i64>,
    }
}

row! { DueRow { institution: String, suspect: i64, trial: i64 } }

/// Stands for all institutions together in the permits of a claim; no profile has an empty name.
const ALL: &str = "";

/// Businesses with a queue in a lane of an institution, one after the other: each is found through the index, however
/// many rows it has.
macro_rules! queues {
    ($before:literal, $seed:literal, $rest:literal) => {
        concat!(
            $before,
            "queue (institution, lane, business) AS (
               SELECT k.institution, k.lane,
                 (SELECT s.business FROM schedule s
                  WHERE s.active AND s.lane <> 'ordinary' AND s.institution = k.institution AND s.lane = k.lane
                  ORDER BY s.business LIMIT 1)
               FROM (",
            $seed,
            ") AS k
               UNION ALL
               SELECT q.institution, q.lane,
                 (SELECT s.business FROM schedule s
                  WHERE s.active AND s.lane <> 'ordinary' AND s.institution = q.institution AND s.lane = q.lane
                    AND s.business > q.business
                  ORDER BY s.business LIMIT 1)
               FROM queue q WHERE q.business IS NOT NULL), ",
            $rest
        )
    };
}

/// What is due, found group by group; then each limit in turn takes from what the one before has left: the
/// business's, the lane's at its institution, the institution's, the lane's in all, and all permits. What a lane keeps is its
/// own; the rest goes to who has waited longest.
pub(super) const CLAIM: &str = queues!(
    ", ",
    "SELECT institution, lane FROM bulk WHERE lane <> 'ordinary' AND most > 0 AND institution <> ''",
    "in_hand AS (
       SELECT lane, business, count(*) AS runs FROM schedule
       WHERE claimed_at IS NOT NULL AND lane <> 'ordinary' AND due_at > $2 GROUP BY lane, business),
     due AS MATERIALIZED (
       SELECT s.institution, s.phase, s.connection, s.due_at, s.lane, s.business
       FROM bulk k {first_rows}
         WHERE d.active AND d.lane = 'ordinary' AND d.institution = k.institution AND d.due_at <= $2
         ORDER BY d.due_at LIMIT $4 {skip_locked} {end_rows}
       WHERE k.lane = 'ordinary' AND k.most > 0 AND k.institution <> ''
       UNION ALL
       SELECT s.institution, s.phase, s.connection, s.due_at, s.lane, s.business
       FROM queue q {first_rows}
         WHERE d.active AND d.lane <> 'ordinary' AND d.institution = q.institution AND d.lane = q.lane
           AND d.business = q.business AND d.due_at <= $2
         ORDER BY d.due_at LIMIT $4 {skip_locked} {end_rows}
       WHERE q.business IS NOT NULL),
     of_business AS (
       SELECT due.*, row_number() OVER (PARTITION BY lane, business ORDER BY due_at, connection) AS nth FROM due),
     of_lane AS (
       SELECT o.institution, o.phase, o.connection, o.due_at, o.lane,
         row_number() OVER (PARTITION BY o.institution, o.lane ORDER BY o.due_at, o.connection) AS nth
       FROM of_business o LEFT JOIN in_hand h ON h.lane = o.lane AND h.business = o.business
       WHERE o.lane = 'ordinary'
         OR o.nth + COALESCE(h.runs, 0) <= CASE o.lane WHEN 'wanted' THEN $5 WHEN 'first' THEN $6 ELSE $7 END),
     of_institution AS (
       SELECT o.*, o.nth <= k.own AS is_own, k.rest,
         row_number() OVER (PARTITION BY o.institution, o.nth <= k.own ORDER BY o.due_at, o.connection) AS place
       FROM of_lane o JOIN bulk k ON k.institution = o.institution AND k.lane = o.lane WHERE o.nth <= k.most),
     of_lane_in_all AS (
       SELECT institution, phase, connection, due_at, lane,
         row_number() OVER (PARTITION BY lane ORDER BY due_at, connection) AS nth
       FROM of_institution WHERE is_own OR place <= rest),
     taken AS (
       SELECT o.institution AS of_institution, o.phase AS of_phase, o.connection AS of_connection,
         o.nth <= k.own AS is_own, k.rest,
         row_number() OVER (PARTITION BY o.nth <= k.own ORDER BY o.due_at, o.connection) AS place
       FROM of_lane_in_all o JOIN bulk k ON k.institution = '' AND k.lane = o.lane WHERE o.nth <= k.most)
     UPDATE schedule SET due_at = $3, token = token + 1, claimed_at = $2
     FROM taken
     WHERE institution = of_institution AND phase = of_phase AND connection = of_connection
       AND (is_own OR place <= rest)
     RETURNING institution, phase, connection, lane, token, slot_at, failures, interval_minutes"
);

pub(super) const NEXT_DUE: &str = queues!(
    "WITH RECURSIVE ",
    "SELECT i.id AS institution, l.lane
     FROM institution i CROSS JOIN (SELECT 'wanted' AS lane UNION ALL SELECT 'first' UNION ALL SELECT 'history') AS l
     WHERE EXISTS (SELECT 1 FROM schedule s WHERE s.active AND s.lane <> 'ordinary' AND s.institution = i.id)",
    "next AS (
       SELECT i.id AS institution,
         (SELECT s.due_at FROM schedule s WHERE s.active AND s.lane = 'ordinary' AND s.institution = i.id
          ORDER BY s.due_at LIMIT 1) AS due_at
       FROM institution i
       UNION ALL
       SELECT q.institution,
         (SELECT s.due_at FROM schedule s
          WHERE s.active AND s.lane <> 'ordinary' AND s.institution = q.institution AND s.lane = q.lane
            AND s.business = q.business
          ORDER BY s.due_at LIMIT 1)
       FROM queue q WHERE q.business IS NOT NULL)
     SELECT min(CASE WHEN held_until > $1 AND held_until > next.due_at THEN held_until ELSE next.due_at END)
     FROM next JOIN (SELECT id, CASE WHEN COALESCE(paused_until, 0) > COALESCE(breaker_until, 0) THEN paused_until
                                     ELSE breaker_until END AS held_until
                     FROM institution) AS i ON i.id = next.institution
     WHERE next.due_at IS NOT NULL"
);

/// Institutions of the given ones at which something is due, and whether they have failed lately, or are to be tried.
pub(super) const DUE_AT: &str = "SELECT institution,
      (SELECT count(*) FROM institution i
       WHERE i.id = bulk.institution AND (i.breaker <> 'closed' OR i.breaker_faults > 0)) AS suspect,
      (SELECT count(*) FROM institution i WHERE i.id = bulk.institution AND i.breaker <> 'closed') AS trial
    FROM bulk
    WHERE (EXISTS (SELECT 1 FROM schedule s
                   WHERE s.active AND s.lane = 'ordinary' AND s.institution = bulk.institution AND s.due_at <= $2)
           OR EXISTS (SELECT 1 FROM schedule s
                      WHERE s.active AND s.lane <> 'ordinary' AND s.institution = bulk.institution
                        AND s.due_at <= $2))
      AND NOT EXISTS (SELECT 1 FROM institution i
                      WHERE i.id = bulk.institution AND (i.paused_until > $2 OR i.breaker_until > $2))";

pub(super) const SHARES: [(&str, Kind); 5] = [
    ("institution", Kind::Text),
    ("lane", Kind::Text),
    ("own", Kind::Int),
    ("most", Kind::Int),
    ("rest", Kind::Int),
];

impl Store {
    /// Claims connections that are due, no more than permitted, most overdue first; paused institutions and
    /// those that fail for many not at all. A few try a bank whose pause is over.
    pub async fn claim_due(&self, now: Timestamp, until: Timestamp, permits: &Permits) -> Result<Vec<Lease>> {
        // Most looks find nothing: ask first, without taking a lock.
        let free = permits.institutions.iter().filter(|(_, share)| share.free > 0);
        let names: Vec<_> = free.clone().map(|(name, _)| value!({"institution": name})).collect();
        if names.is_empty() || permits.all.free == 0 {
            return Ok(Vec::new());
        }
        let sql = self.db.dialect().bulk(&[("institution", Kind::Text)], DUE_AT);
        let due: Vec<DueRow> = self.db.all(sql, args![json(&names, "permits")?, now]).await?;
        let mut due: BTreeMap<String, DueRow> =
            due.into_iter().map(|row| (row.institution.clone(), row)).collect();
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.db.begin().await?;
        let on_trial: Vec<String> =
            due.values().filter(|row| row.trial > 0).map(|row| row.institution.clone()).collect();
        for institution in &on_trial {
            if !begin_trial(&mut tx, institution, now, until).await? {
                due.remove(institution);
            }
        }
        let most = free.clone().map(|(_, share)| share.free).max().unwrap_or(0).min(permits.all.free);
        let shares = free.filter_map(|(name, share)| {
            let is_on_trial = due.get(name)?.trial > 0;
            Some((name.as_str(), if is_on_trial { share.at_most(TRIAL_RUNS) } else { *share }))
        });
        let shares = std::iter::once((ALL, permits.all)).chain(shares).flat_map(|(name, share)| {
            Lane::ALL.map(|lane| {
                let (own, most, rest) = (share.own.get(lane), share.most.get(lane), share.rest());
                value!({"institution": name, "lane": word(lane), "own": own, "most": most, "rest": rest})
            })
        });
        let shares = json(&shares.collect::<Vec<_>>(), "permits")?;
        let cap = |lane| *permits.per_business.get(lane);
        let caps = (cap(Lane::Wanted), cap(Lane::First), cap(Lane::History));
        let sql = tx.dialect().bulk(&SHARES, CLAIM);
        let rows: Vec<ClaimRow> =
            tx.all(sql, args![&shares, now, until, most, caps.0, caps.1, caps.2]).await?;
        for institution in on_trial.iter().filter(|name| due.contains_key(*name)) {
            if rows.iter().all(|row| row.institution != *institution) {
                postpone_trial(&mut tx, institution, now).await?;
            }
        }
        tx.commit().await?;
        let lease = |row: ClaimRow| {
            Ok(Lease {
                is_suspect: due.get(&row.institution).is_some_and(|due| due.suspect > 0),
                connection: row.connection,
                lane: from_word(&row.lane, "lane")?,
                institution: row.institution,
                phase: row.phase,
                interval_minutes: interval(row.interval_minutes)?,
                token: row.token,
                slot_at: row.slot_at,
                claimed_at: now,
                until,
                failures: small(row.failures, "failures")?,
            })
        };
        rows.into_iter().map(lease).collect()
    }

    /// When the next connection of any institution is due; none if there is none. Connections of an
    /// institution that is left alone are due when that ends, at the earliest.
    pub async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let (next,): (Option<Timestamp>,) = self.db.one(NEXT_DUE, args![now]).await?;
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
        let completion = Completion {
            lease: lease.clone(),
            slot_at,
            due_at,
            failures,
            reason: reason.map(str::to_owned),
            now,
        };
        self.groups.join(Write::Complete(completion)).await.map(drop)
    }
}

/// A run that is over, as it will be written.
pub(super) struct Completion {
    pub(super) lease: Lease,
    slot_at: Timestamp,
    due_at: Timestamp,
    failures: i32,
    reason: Option<String>,
    now: Timestamp,
}

row! {
    PlaceRow {
        connection: ConnectionId, state: String, interval_minutes: Option<i64>, attempt_due_at: Option<Timestamp>,
    }
}

/// Writes that these runs are over, whose leases are held.
pub(super) async fn complete_all(tx: &mut Tx, completions: &[&Completion]) -> Result<()> {
    if completions.is_empty() {
        return Ok(());
    }
    // Statements of their own, so that they see all that came before the fence.
    let names: Vec<_> = completions.iter().map(|done| place(&done.lease)).collect();
    let sql = "SELECT s.connection, c.state, s.interval_minutes, c.attempt_due_at
               FROM bulk JOIN schedule s
                 ON s.institution = of_institution AND s.phase = of_phase AND s.connection = of_connection
               JOIN connection c ON c.id = s.connection";
    let places: Vec<PlaceRow> =
        tx.all(tx.dialect().bulk(&PLACE, sql), args![json(&names, "leases")?]).await?;
    let places: HashMap<ConnectionId, PlaceRow> =
        places.into_iter().map(|row| (row.connection, row)).collect();
    for done in completions {
        let planned = places.get(&done.lease.connection).map(|place| interval(place.interval_minutes));
        if planned.transpose()?.is_some_and(|minutes| minutes != done.lease.interval_minutes) {
            // This run planned by the interval of before: the accounts are read once more and planned anew.
            let sql =
                "UPDATE account_head SET due_at = $2 WHERE connection = $1 AND due_at > $2 AND failures = 0";
            tx.run(sql, args![done.lease.connection, done.now]).await?;
        }
    }
    let mut heads = heads_of(tx, completions.iter().map(|done| done.lease.connection)).await?;
    let mut lines = Vec::new();
    for done in completions {
        let (id, now) = (done.lease.connection, done.now);
        let place = places.get(&id).ok_or(StoreError::LeaseLost)?;
        let state: ConnectionState = from_word(&place.state, "connection state")?;
        let heads = heads.remove(&id).unwrap_or_default();
        match state {
            ConnectionState::Paused => {
                answer_waiting(tx, id, heads.iter(), false, &NoSync::paused(), now).await?;
            }
            _ => {
                let off = heads.iter().filter(|head| head.is_excluded());
                answer_waiting(tx, id, off, false, &NoSync::excluded(), now).await?;
            }
        }
        let attempt = place.attempt_due_at;
        let lane = lane(&heads, attempt.is_some(), now);
        let (due_at, failures) = first_due(&heads, now).unwrap_or((done.due_at, i64::from(done.failures)));
        // A connection that is not polled is due for its customer's way in only.
        let polled = state == ConnectionState::Active;
        let due_at = match attempt {
            Some(at) if polled => due_at.min(at.max(now)),
            Some(at) => at.max(now),
            None => due_at,
        };
        lines.push(value!({
            "of_institution": done.lease.institution,
            "of_phase": done.lease.phase,
            "of_connection": hex(id.as_bytes()),
            "new_due_at": due_at.0,
            "new_slot_at": done.slot_at.0,
            "new_failures": failures,
            "is_active": i64::from(polled || attempt.is_some()),
            "new_reason": done.reason,
            "new_lane": word(lane),
        }));
    }
    let columns = [
        ("of_institution", Kind::Text),
        ("of_phase", Kind::Int),
        ("of_connection", Kind::Bytes),
        ("new_due_at", Kind::Int),
        ("new_slot_at", Kind::Int),
        ("new_failures", Kind::Int),
        ("is_active", Kind::Int),
        ("new_reason", Kind::Text),
        ("new_lane", Kind::Text),
    ];
    let sql = "UPDATE schedule SET due_at = new_due_at, slot_at = new_slot_at, failures = new_failures, claimed_at = NULL,
                 active = (is_active <> 0), reason = new_reason, lane = new_lane
               FROM bulk
               WHERE institution = of_institution AND phase = of_phase AND connection = of_connection";
    tx.run(tx.dialect().bulk(&columns, sql), args![json(&lines, "schedule")?]).await?;
    Ok(())
}

fn interval(minutes: Option<i64>) -> Result<Option<u32>> {
    minutes.map(|minutes| small(minutes, "interval")).transpose()
}

/// Where a lease's row is.
pub(super) const PLACE: [(&str, Kind); 4] = [
    ("of_institution", Kind::Text),
    ("of_phase", Kind::Int),
    ("of_connection", Kind::Bytes),
    ("of_token", Kind::Int),
];

pub(super) fn place(lease: &Lease) -> serde_json::Value {
    value!({
        "of_institution": lease.institution,
        "of_phase": lease.phase,
        "of_connection": hex(lease.connection.as_bytes()),
        "of_token": lease.token,
    })
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

/// The same of many connections, in one order, so that two groups never wait for each other: those that are held.
pub(super) async fn fence_all(tx: &mut Tx, leases: &[&Lease]) -> Result<HashSet<(ConnectionId, i64)>> {
    let sql = "SELECT s.connection, s.token
               FROM bulk JOIN schedule s
                 ON s.institution = of_institution AND s.phase = of_phase AND s.connection = of_connection
               WHERE s.token = of_token AND s.claimed_at IS NOT NULL
               ORDER BY s.institution, s.phase, s.connection {for_update_of_s}";
    let names: BTreeMap<_, _> =
        leases.iter().map(|lease| ((lease.connection, lease.token), place(lease))).collect();
    let names: Vec<_> = names.into_values().collect();
    let held: Vec<(ConnectionId, i64)> =
        tx.all(tx.dialect().bulk(&PLACE, sql), args![json(&names, "leases")?]).await?;
    Ok(held.into_iter().collect())
}
