//! What a run learns about a connection's session and consent.

use super::arg::args;
use super::connection::SESSION_STATE;
use super::consent::end_at_bank;
use super::db::Tx;
use super::schedule::fence;
use super::{Rejection, Result, Store, endpoint};
use crate::model::*;
use std::time::Duration;

/// Refusals of one institution's connections count together for so long: a bank that refuses many
/// at once is itself at fault.
const RECENT_REJECTIONS: Duration = Duration::from_secs(10 * 60);

impl Store {
    /// The session is open until then; clears refusals.
    pub async fn save_session(
        &self,
        lease: &Lease,
        valid_until: Option<Timestamp>,
        state: Option<&str>,
    ) -> Result<()> {
        let key = self.lease_key(lease).await?;
        let state = key.seal_text(SESSION_STATE, lease.connection.as_bytes(), state)?;
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "UPDATE connection SET session_open = $2, session_valid_until = $3, session_state = $4,
                     first_rejected_at = NULL, last_rejected_at = NULL
                   WHERE id = $1";
        tx.run(sql, args![lease.connection, true, valid_until, state]).await?;
        clear_rejections(&mut tx, lease.connection).await?;
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

    /// Notes that the bank refused the credentials. Without a refusal before that counts, this one is
    /// the first.
    pub async fn note_rejection(&self, lease: &Lease, now: Timestamp) -> Result<Rejection> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "SELECT first_rejected_at FROM connection
                   WHERE id = $1 AND first_rejected_at IS NOT NULL AND NOT EXISTS (
                     SELECT 1 FROM institution i
                     WHERE i.id = connection.institution AND i.rejections_void_until >= first_rejected_at)";
        let first: Option<(Timestamp,)> = tx.optional(sql, args![lease.connection]).await?;
        let first_at = first.map(|(at,)| at);
        let sql = "UPDATE connection SET first_rejected_at = $2, last_rejected_at = $3, rejections = rejections + 1 WHERE id = $1";
        tx.run(sql, args![lease.connection, first_at.unwrap_or(now), now]).await?;
        let sql = "SELECT count(*) FROM connection WHERE institution = $1 AND last_rejected_at > $2";
        let (recent,): (i64,) = tx.one(sql, args![&lease.institution, now.minus(RECENT_REJECTIONS)]).await?;
        tx.commit().await?;
        Ok(Rejection { first_at, recent_at_institution: recent })
    }

    /// Notes that the bank refused what the customer typed: people mistype, so it says nothing about the bank and
    /// nothing about the credentials that the connection holds. How often in a row the customer was refused.
    pub async fn note_typed_rejection(&self, lease: &Lease) -> Result<i64> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "UPDATE connection SET rejections = rejections + 1 WHERE id = $1";
        tx.run(sql, args![lease.connection]).await?;
        let (count,): (i64,) = tx.one(REJECTIONS, args![lease.connection]).await?;
        tx.commit().await?;
        Ok(count)
    }

    /// How often in a row the bank refused the connection's customer, on any of their connections to it.
    pub async fn rejections_of(&self, connection: ConnectionId) -> Result<i64> {
        let (count,): (i64,) = self.db.one(REJECTIONS, args![connection]).await?;
        Ok(count)
    }

    /// The bank refused so many at once that it is itself at fault: what it refused until now counts
    /// against nobody. What customers typed wrong still counts.
    pub async fn void_rejections(&self, institution: &str, now: Timestamp) -> Result<()> {
        let sql = "UPDATE institution SET rejections_void_until = $2 WHERE id = $1";
        self.db.run(sql, args![institution, now]).await?;
        let sql = "UPDATE connection SET rejections = rejections - 1, first_rejected_at = NULL
                   WHERE institution = $1 AND last_rejected_at > $2 AND first_rejected_at IS NOT NULL AND rejections > 0";
        self.db.run(sql, args![institution, now.minus(RECENT_REJECTIONS)]).await?;
        Ok(())
    }
}

/// Refusals in a row of the connection's customer at its institution.
const REJECTIONS: &str =
    "SELECT CAST(COALESCE(sum(c.rejections), 0) AS BIGINT) FROM connection me JOIN connection c
    ON c.id = me.id OR (c.business = me.business AND c.customer_ref_index = me.customer_ref_index
                        AND c.institution = me.institution)
    WHERE me.id = $1";

/// The bank let the customer in, which sets its own counter back, whichever connection it was.
pub(super) async fn clear_rejections(tx: &mut Tx, connection: ConnectionId) -> Result<()> {
    let sql = "UPDATE connection SET rejections = 0
               WHERE rejections > 0 AND (id = $1 OR (business, customer_ref_index, institution) IN (
                 SELECT business, customer_ref_index, institution FROM connection
                 WHERE id = $1 AND customer_ref_index IS NOT NULL))";
    tx.run(sql, args![connection]).await.map(drop)
}
