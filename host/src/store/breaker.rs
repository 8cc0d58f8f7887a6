//! How a bank does, in its row: shared by all processes, and still there after a restart.
//!
//! Must not know: when a breaker opens, and for how long.

use super::arg::args;
use super::codec::{from_word, small, word};
use super::db::{Tx, row};
use super::{Result, Store};
use crate::model::*;

/// So many runs try a bank whose pause is over: one may meet a fault of its own, and more would only fail again.
pub(super) const TRIAL_RUNS: u32 = 3;

row! {
    BreakerRow {
        breaker: String, breaker_since: Option<Timestamp>, breaker_held_since: Option<Timestamp>,
        breaker_until: Option<Timestamp>, breaker_faults: i64, breaker_opened: i64, breaker_last: Option<ConnectionId>,
    }
}

row! {
    HeldRow {
        id: String, breaker: String, breaker_held_since: Option<Timestamp>, breaker_until: Option<Timestamp>,
        breaker_faults: i64, paused_until: Option<Timestamp>, pause_reason: Option<String>,
    }
}

impl Store {
    /// Notes what a run found out about its bank; the breaker before and after it. `after` says what becomes of it.
    pub async fn note_of_bank(
        &self,
        institution: &str,
        after: &(dyn Fn(&Breaker) -> Breaker + std::marker::Sync),
    ) -> Result<(Breaker, Breaker)> {
        let mut tx = self.db.begin().await?;
        let sql = "SELECT breaker, breaker_since, breaker_held_since, breaker_until, breaker_faults, breaker_opened,
                     breaker_last
                   FROM institution WHERE id = $1 {for_update}";
        let found: Option<BreakerRow> = tx.optional(tx.dialect().sql(sql), args![institution]).await?;
        let before = found.map(BreakerRow::breaker).transpose()?.unwrap_or_default();
        let next = after(&before);
        if next == before {
            tx.rollback().await?;
            return Ok((before, next));
        }
        let sql = "UPDATE institution SET breaker = $2, breaker_since = $3, breaker_held_since = $4, breaker_until = $5,
                     breaker_faults = $6, breaker_opened = $7, breaker_last = $8
                   WHERE id = $1";
        let args = args![
            institution,
            word(next.state),
            next.since,
            next.held_since,
            next.until,
            next.faults,
            next.opened,
            next.last_fault
        ];
        tx.run(sql, args).await?;
        tx.commit().await?;
        Ok((before, next))
    }

    /// Institutions that are not asked now, or on trial, and since when.
    pub async fn held_institutions(&self, now: Timestamp) -> Result<Vec<HeldInstitution>> {
        let sql =
            "SELECT id, breaker, breaker_held_since, breaker_until, breaker_faults, paused_until, pause_reason
                   FROM institution WHERE breaker <> 'closed' OR paused_until > $1 ORDER BY id";
        let rows: Vec<HeldRow> = self.db.all(sql, args![now]).await?;
        rows.into_iter().map(|row| row.held(now)).collect()
    }
}

impl BreakerRow {
    fn breaker(self) -> Result<Breaker> {
        Ok(Breaker {
            state: from_word(&self.breaker, "breaker")?,
            since: self.breaker_since,
            held_since: self.breaker_held_since,
            until: self.breaker_until,
            faults: small(self.breaker_faults, "faults")?,
            opened: small(self.breaker_opened, "opened")?,
            last_fault: self.breaker_last,
        })
    }
}

impl HeldRow {
    fn held(self, now: Timestamp) -> Result<HeldInstitution> {
        let paused = self.paused_until.filter(|until| *until > now);
        let fails = self.breaker_until.filter(|until| paused.is_none_or(|paused| *until >= paused));
        Ok(HeldInstitution {
            institution: self.id,
            reason: match fails {
                Some(_) => "failing".to_owned(),
                None => self.pause_reason.unwrap_or_default(),
            },
            state: from_word(&self.breaker, "breaker")?,
            since: self.breaker_held_since,
            until: fails.or(paused).unwrap_or(now),
            faults: small(self.breaker_faults, "faults")?,
        })
    }
}

/// A pause is over: from now on this process tries the bank, until then at most. False if another one does.
pub(super) async fn begin_trial(
    tx: &mut Tx,
    institution: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE institution SET breaker = 'half_open', breaker_since = $2, breaker_until = $3
               WHERE id = $1 AND breaker <> 'closed' AND breaker_until <= $2";
    Ok(tx.run(sql, args![institution, now, until]).await? == 1)
}

/// Nothing could be claimed for the trial: it begins with the next look.
pub(super) async fn postpone_trial(tx: &mut Tx, institution: &str, now: Timestamp) -> Result<()> {
    let sql = "UPDATE institution SET breaker_until = $2 WHERE id = $1 AND breaker = 'half_open'";
    tx.run(sql, args![institution, now]).await.map(drop)
}
