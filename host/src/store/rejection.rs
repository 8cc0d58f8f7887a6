//! Refused logins: how often in a row an institution refused a customer, whichever connection it was.
//!
//! One row per customer and institution, apart from the connections, so that ending a connection and linking anew does
//! not begin to count anew: the bank goes on counting, too. A connection without a customer reference has a row of its
//! own. Must not know: what follows from a count.

use super::arg::args;
use super::db::Tx;
use super::schedule::fence;
use super::{Rejection, Result, Store, StoreError};
use crate::model::*;
use std::time::Duration;

/// Refusals of one institution's connections count together for so long: a bank that refuses many
/// at once is itself at fault.
const RECENT_REJECTIONS: Duration = Duration::from_secs(10 * 60);

/// One more refusal of a connection's customer, unless it was counted when it left, in this series.
const COUNT_REFUSED: &str =
    "INSERT INTO rejection (business, institution, customer, in_a_row, series, last_at)
    SELECT business, institution, COALESCE(customer_ref_index, id), 1, $3, $2 FROM connection WHERE id = $1
    ON CONFLICT (business, institution, customer)
      DO UPDATE SET in_a_row = rejection.in_a_row + CASE WHEN rejection.series = $4 THEN 0 ELSE 1 END,
        last_at = excluded.last_at
    RETURNING in_a_row";

/// One that is about to leave, if it may.
const COUNT_LEAVING: &str = "INSERT INTO rejection (business, institution, customer, in_a_row, series, last_at)
    SELECT business, institution, COALESCE(customer_ref_index, id), 1, $3, $2 FROM connection WHERE id = $1
    ON CONFLICT (business, institution, customer)
      DO UPDATE SET in_a_row = rejection.in_a_row + 1, last_at = excluded.last_at WHERE rejection.in_a_row < $4
    RETURNING series";

impl Store {
    /// A login is about to leave that the bank may refuse: it counts as refused until something else is known. With
    /// what the customer typed, the authorisation is marked: whoever finds it so must not send it again. Nothing may
    /// leave if it was given up meanwhile ([`StoreError::LeaseLost`]), and nothing after too many refusals (none).
    pub async fn count_login(
        &self,
        lease: &Lease,
        answers: Option<AuthorisationId>,
        now: Timestamp,
    ) -> Result<Option<LoginSeries>> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        if let Some(id) = answers {
            let sql = "UPDATE authorisation SET answering = $2 WHERE id = $1 AND state = 'asking'";
            if tx.run(sql, args![id, true]).await? == 0 {
                tx.rollback().await?;
                return Err(StoreError::LeaseLost);
            }
        }
        let args = args![lease.connection, now, LoginSeries::new(), REJECTIONS_MAX];
        let Some((series,)) = tx.optional(COUNT_LEAVING, args).await? else {
            tx.rollback().await?;
            return Ok(None);
        };
        tx.commit().await?;
        self.db.flush().await?;
        Ok(Some(series))
    }

    /// The login did not leave, or the bank said something else than yes or no. Nothing if its count is over.
    pub async fn uncount_login(&self, lease: &Lease, series: LoginSeries) -> Result<()> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "UPDATE rejection SET in_a_row = in_a_row - 1
                   WHERE series = $2 AND in_a_row > 0 AND (business, institution, customer) IN (
                     SELECT business, institution, COALESCE(customer_ref_index, id) FROM connection WHERE id = $1)";
        tx.run(sql, args![lease.connection, series]).await?;
        tx.commit().await
    }

    /// The bank took the password: what it refused before counts no more.
    pub async fn clear_logins(&self, lease: &Lease) -> Result<()> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        clear_rejections(&mut tx, lease.connection).await?;
        tx.commit().await
    }

    /// Notes that the bank refused the credentials that the connection holds. Without a refusal before that matters,
    /// this one is the first. `counted`: where it was counted when it left.
    pub async fn note_rejection(
        &self,
        lease: &Lease,
        counted: Option<LoginSeries>,
        now: Timestamp,
    ) -> Result<Rejection> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "SELECT first_rejected_at FROM connection
                   WHERE id = $1 AND first_rejected_at IS NOT NULL AND NOT EXISTS (
                     SELECT 1 FROM institution i
                     WHERE i.id = connection.institution AND i.rejections_void_until >= first_rejected_at)";
        let first: Option<(Timestamp,)> = tx.optional(sql, args![lease.connection]).await?;
        let first_at = first.map(|(at,)| at);
        let sql = "UPDATE connection SET first_rejected_at = $2, last_rejected_at = $3 WHERE id = $1";
        tx.run(sql, args![lease.connection, first_at.unwrap_or(now), now]).await?;
        count_refused(&mut tx, lease, counted, now).await?;
        let sql = "SELECT count(*) FROM connection WHERE institution = $1 AND last_rejected_at > $2";
        let (recent,): (i64,) = tx.one(sql, args![&lease.institution, now.minus(RECENT_REJECTIONS)]).await?;
        tx.commit().await?;
        Ok(Rejection { first_at, recent_at_institution: recent })
    }

    /// Notes that the bank refused what the customer typed: people mistype, so it says nothing about the bank and
    /// nothing about the credentials that the connection holds. How often in a row the customer was refused.
    pub async fn note_typed_rejection(
        &self,
        lease: &Lease,
        counted: Option<LoginSeries>,
        now: Timestamp,
    ) -> Result<i64> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let count = count_refused(&mut tx, lease, counted, now).await?;
        tx.commit().await?;
        Ok(count)
    }

    /// How often in a row the bank refused this customer, on any connection to it, those that have ended included.
    pub async fn rejections(
        &self,
        business: BusinessId,
        customer_ref: &str,
        institution: &str,
    ) -> Result<i64> {
        let index = self.customer_index(business, customer_ref).await?;
        let sql = "SELECT in_a_row FROM rejection WHERE business = $1 AND institution = $2 AND customer = $3";
        let found: Option<(i64,)> = self.db.optional(sql, args![business, institution, index]).await?;
        Ok(found.map_or(0, |(count,)| count))
    }

    /// The customer logged in at the bank itself: what it refused before counts no more.
    pub async fn forgive_rejections(&self, connection: ConnectionId) -> Result<()> {
        let mut tx = self.db.begin().await?;
        let sql = "UPDATE connection SET first_rejected_at = NULL, last_rejected_at = NULL
                   WHERE id = $1 OR (customer_ref_index IS NOT NULL AND (business, customer_ref_index, institution) IN (
                     SELECT business, customer_ref_index, institution FROM connection WHERE id = $1))";
        tx.run(sql, args![connection]).await?;
        clear_rejections(&mut tx, connection).await?;
        tx.commit().await
    }

    /// The same of a customer without a connection in hand.
    pub async fn forgive_customer(
        &self,
        business: BusinessId,
        customer_ref: &str,
        institution: &str,
    ) -> Result<()> {
        let index = self.customer_index(business, customer_ref).await?;
        let mut tx = self.db.begin().await?;
        let sql = "UPDATE connection SET first_rejected_at = NULL, last_rejected_at = NULL
                   WHERE business = $1 AND customer_ref_index = $2 AND institution = $3";
        tx.run(sql, args![business, &index, institution]).await?;
        let sql = "DELETE FROM rejection WHERE business = $1 AND customer = $2 AND institution = $3";
        tx.run(sql, args![business, &index, institution]).await?;
        tx.commit().await
    }

    /// The bank refused so many at once that it is itself at fault: what it refused until now counts
    /// against nobody. What customers typed wrong still counts.
    pub async fn void_rejections(&self, institution: &str, now: Timestamp) -> Result<()> {
        let mut tx = self.db.begin().await?;
        // Held until the end, so that of several at once each refusal is taken back by one.
        let sql = "UPDATE institution SET rejections_void_until = $2 WHERE id = $1";
        tx.run(sql, args![institution, now]).await?;
        let sql = "UPDATE connection SET first_rejected_at = NULL
                   WHERE institution = $1 AND last_rejected_at > $2 AND first_rejected_at IS NOT NULL
                   RETURNING business, COALESCE(customer_ref_index, id)";
        let mut refused: Vec<(BusinessId, Vec<u8>)> =
            tx.all(sql, args![institution, now.minus(RECENT_REJECTIONS)]).await?;
        refused
            .sort_unstable_by(|one, other| (one.0.as_bytes(), &one.1).cmp(&(other.0.as_bytes(), &other.1)));
        for (business, customer) in refused {
            let sql = "UPDATE rejection SET in_a_row = in_a_row - 1
                       WHERE business = $1 AND institution = $2 AND customer = $3 AND in_a_row > 0";
            tx.run(sql, args![business, institution, customer]).await?;
        }
        tx.commit().await
    }
}

/// How often in a row the customer was refused, this time included.
async fn count_refused(
    tx: &mut Tx,
    lease: &Lease,
    counted: Option<LoginSeries>,
    now: Timestamp,
) -> Result<i64> {
    let args = args![lease.connection, now, LoginSeries::new(), counted];
    let (count,): (i64,) = tx.one(COUNT_REFUSED, args).await?;
    Ok(count)
}

/// The bank let the customer in, which sets its own counter back, whichever connection it was.
pub(super) async fn clear_rejections(tx: &mut Tx, connection: ConnectionId) -> Result<()> {
    let sql = "DELETE FROM rejection WHERE (business, institution, customer) IN (
                 SELECT business, institution, COALESCE(customer_ref_index, id) FROM connection WHERE id = $1)";
    tx.run(sql, args![connection]).await.map(drop)
}

/// The connection has ended. What is counted under the customer's reference stays, for when they come again.
pub(super) async fn forget_rejections(tx: &mut Tx, connection: ConnectionId) -> Result<()> {
    let sql = "DELETE FROM rejection WHERE (business, institution, customer) IN (
                 SELECT business, institution, id FROM connection WHERE id = $1)";
    tx.run(sql, args![connection]).await.map(drop)
}
