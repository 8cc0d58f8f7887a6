//! Pausing a connection and resuming it.
//!
//! A run that has begun keeps its lease: it may be about to store a token that the bank gives only once.
//! It reads no further account (`begin_asking` refuses), and its `complete` lays the row to rest; if it
//! dies, the next claim does.

use super::arg::args;
use super::connection::hold;
use super::waiting::{NoSync, answer_waiting, heads};
use super::{Result, Store, endpoint};
use crate::model::*;

impl Store {
    /// An active connection is paused: nothing more is asked of the bank, and those who wait for a sync are
    /// answered; `event` is told. One that is not active stays as it is. As it is then; `None` if unknown, closing
    /// or deleted.
    pub async fn pause_connection(
        &self,
        business: BusinessId,
        id: ConnectionId,
        event: &NewEvent,
        now: Timestamp,
    ) -> Result<Option<Connection>> {
        let mut tx = self.db.begin().await?;
        let Some(place) = hold(&mut tx, id).await?.filter(|place| place.business == business) else {
            tx.rollback().await?;
            return Ok(None);
        };
        let sql = "UPDATE connection SET state = 'paused' WHERE id = $1 AND state = 'active'";
        if tx.run(sql, args![id]).await? == 1 {
            let run_goes_on = place.claimed_at.is_some();
            if !run_goes_on {
                let sql =
                    "UPDATE schedule SET active = (SELECT attempt IS NOT NULL FROM connection WHERE id = $3)
                           WHERE institution = $1 AND phase = $2 AND connection = $3";
                tx.run(sql, args![&place.institution, place.phase, id]).await?;
            }
            let heads = heads(&mut tx, id).await?;
            answer_waiting(&mut tx, id, heads.iter(), run_goes_on, &NoSync::paused(), now).await?;
            endpoint::tell(&mut tx, event).await?;
        }
        tx.commit().await?;
        Ok(Some(self.known_connection(id).await?))
    }

    /// A paused connection is active again, it and all its accounts due now (the bank's own limits stay);
    /// `event` is told. One that is not paused stays as it is. As it is then; `None` if unknown, closing or deleted.
    pub async fn resume_connection(
        &self,
        business: BusinessId,
        id: ConnectionId,
        event: &NewEvent,
        now: Timestamp,
    ) -> Result<Option<Connection>> {
        let mut tx = self.db.begin().await?;
        let Some(place) = hold(&mut tx, id).await?.filter(|place| place.business == business) else {
            tx.rollback().await?;
            return Ok(None);
        };
        let sql = "UPDATE connection SET state = 'active' WHERE id = $1 AND state = 'paused'";
        if tx.run(sql, args![id]).await? == 1 {
            // A run from before the pause goes on; when it completes, the accounts are found due.
            let sql = "UPDATE schedule SET active = $4, reason = NULL,
                         due_at = CASE WHEN claimed_at IS NULL THEN $5 ELSE due_at END
                       WHERE institution = $1 AND phase = $2 AND connection = $3";
            tx.run(sql, args![&place.institution, place.phase, id, true, now]).await?;
            tx.run("UPDATE account_head SET due_at = $2 WHERE connection = $1", args![id, now]).await?;
            endpoint::tell(&mut tx, event).await?;
        }
        tx.commit().await?;
        Ok(Some(self.known_connection(id).await?))
    }
}
