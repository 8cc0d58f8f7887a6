//! Between the wish to end a connection and its erasure: the bank is asked to end the consent.
//!
//! The schedule row stays the job. `closing_at` says since when, `failures` counts the tries, and
//! `token` fences off every run from before. To everybody but the run that asks the bank the
//! connection is gone already. Must not know: how a bank is asked, and for how long.

use super::arg::args;
use super::authorisation::supersede;
use super::codec::word;
use super::connection::hold;
use super::consent::tell_no_more;
use super::db::row;
use super::erase::{forget_answers, forget_wishes};
use super::schedule::fence;
use super::{Result, Store, StoreError};
use crate::model::*;

/// Connections given out at a time by [`Store::overdue_closings`]: each takes some milliseconds.
const OVERDUE_BATCH: i64 = 100;

row! { TryRow { closing_at: Option<Timestamp>, failures: i64 } }

/// A try to end a consent at the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosingTry {
    /// When the connection was to be ended.
    pub since: Timestamp,
    /// Counts from 1.
    pub number: i32,
}

/// A connection that is closing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosingConnection {
    /// Which.
    pub id: ConnectionId,
    /// Whose.
    pub business: BusinessId,
    /// At which institution.
    pub institution: String,
}

impl Store {
    /// Ends polling for good: whoever holds the lease loses it, those who wait for a sync are
    /// answered that there is none, and the connection is due now to be closed at the bank. The customer's
    /// name goes at once. False if unknown, closing or deleted.
    pub async fn begin_closing(
        &self,
        business: BusinessId,
        id: ConnectionId,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        let place = match hold(&mut tx, id).await? {
            Some(place) if place.business == business => place,
            _ => {
                tx.rollback().await?;
                return Ok(false);
            }
        };
        let sql = "UPDATE schedule SET token = token + 1, due_at = $4, claimed_at = NULL, failures = 0, active = $5,
                     closing_at = $4, lane = $6
                   WHERE institution = $1 AND phase = $2 AND connection = $3";
        tx.run(sql, args![&place.institution, place.phase, id, now, true, word(Lane::Wanted)]).await?;
        supersede(&mut tx, id, now).await?;
        let sql = "UPDATE connection SET state = 'closing', customer_ref = NULL, customer_ref_index = NULL,
                     attempt = NULL, attempt_due_at = NULL
                   WHERE id = $1";
        tx.run(sql, args![id]).await?;
        tell_no_more(&mut tx, id).await?;
        forget_wishes(&mut tx, id).await?;
        forget_answers(&mut tx, id).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Counts a try before the bank is asked, so that crashes can't make more of them.
    pub async fn begin_closing_try(&self, lease: &Lease) -> Result<ClosingTry> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "UPDATE schedule SET failures = failures + 1
                   WHERE institution = $1 AND phase = $2 AND connection = $3
                   RETURNING closing_at, failures";
        let row: TryRow = tx.one(sql, args![&lease.institution, lease.phase, lease.connection]).await?;
        let since = row.closing_at.ok_or(StoreError::LeaseLost)?;
        tx.commit().await?;
        Ok(ClosingTry { since, number: super::codec::small(row.failures, "failures")? })
    }

    /// The try came to nothing: the next one is due then.
    pub async fn retry_closing(&self, lease: &Lease, due_at: Timestamp) -> Result<()> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "UPDATE schedule SET due_at = $4, claimed_at = NULL
                   WHERE institution = $1 AND phase = $2 AND connection = $3";
        tx.run(sql, args![&lease.institution, lease.phase, lease.connection, due_at]).await?;
        tx.commit().await
    }

    /// Connections that were to be ended until `since` and still are not, the oldest first: whatever keeps
    /// them, they are erased now. A hundred at most; the rest next time.
    pub async fn overdue_closings(&self, since: Timestamp) -> Result<Vec<ClosingConnection>> {
        let sql =
            "SELECT c.id, c.business, c.institution FROM schedule s JOIN connection c ON c.id = s.connection
                   WHERE s.closing_at IS NOT NULL AND s.closing_at <= $1 ORDER BY s.closing_at LIMIT $2";
        let rows: Vec<(ConnectionId, BusinessId, String)> =
            self.db.all(sql, args![since, OVERDUE_BATCH]).await?;
        let of = |(id, business, institution)| ClosingConnection { id, business, institution };
        Ok(rows.into_iter().map(of).collect())
    }
}
