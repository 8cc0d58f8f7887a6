//! What a run learns about a connection's session and consent.

use super::arg::args;
use super::connection::SESSION_STATE;
use super::consent::end_at_bank;
use super::rejection::clear_rejections;
use super::schedule::fence;
use super::{Result, Store, endpoint};
use crate::model::*;

impl Store {
    /// The session is open until then; what the connection holds is not refused any more. `by_password`: the bank took
    /// the customer's password, which sets its own counter back; a token that it gave us earlier does not.
    pub async fn save_session(
        &self,
        lease: &Lease,
        valid_until: Option<Timestamp>,
        state: Option<&str>,
        by_password: bool,
    ) -> Result<()> {
        let key = self.lease_key(lease).await?;
        let state = key.seal_text(SESSION_STATE, lease.connection.as_bytes(), state)?;
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "UPDATE connection SET session_open = $2, session_valid_until = $3, session_state = $4,
                     first_rejected_at = NULL, last_rejected_at = NULL
                   WHERE id = $1";
        tx.run(sql, args![lease.connection, true, valid_until, state]).await?;
        if by_password {
            clear_rejections(&mut tx, lease.connection).await?;
        }
        tx.commit().await
    }

    /// The session is over (the bank said so).
    pub async fn close_session(&self, lease: &Lease) -> Result<()> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "UPDATE connection SET session_open = $2, session_valid_until = NULL WHERE id = $1";
        tx.run(sql, args![lease.connection, false]).await?;
        tx.commit().await
    }

    /// Stops polling until the customer acted: state, schedule, consent (`ended_by_bank` or `expired`) and
    /// the one event, in one transaction. False (and no event) if it was already stopped. The lease
    /// holds on, so that the run can end in order.
    pub async fn require_reauthorisation(
        &self,
        lease: &Lease,
        reason: &str,
        event: &NewEvent,
        now: Timestamp,
    ) -> Result<bool> {
        let id = lease.connection;
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "UPDATE connection SET state = 'reauthorisation_required', reason = $2, session_open = $3,
                     session_valid_until = NULL
                   WHERE id = $1 AND state IN ('active', 'paused')";
        if tx.run(sql, args![id, reason, false]).await? == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        // The customer may be on the way back already.
        let sql = "UPDATE schedule SET active = (SELECT attempt IS NOT NULL FROM connection WHERE id = $3)
                   WHERE institution = $1 AND phase = $2 AND connection = $3";
        tx.run(sql, args![&lease.institution, lease.phase, id]).await?;
        end_at_bank(&mut tx, id, now).await?;
        endpoint::tell(&mut tx, event).await?;
        tx.commit().await?;
        Ok(true)
    }
}
