//! Banks that let a customer have one session at a time: the customer's connections to such a bank take turns,
//! across all processes. Must not know: which banks those are.

use super::arg::args;
use super::schedule::fence;
use super::{Result, Store};
use crate::model::*;

impl Store {
    /// Is it the connection's turn? If so, it is until the lease ends at most. If not, it is another connection's of
    /// the same customer. A customer who is asked for something there, and comes in here, is here. A connection without a customer reference has nobody to take turns with.
    pub async fn take_turn_of_customer(&self, lease: &Lease, now: Timestamp) -> Result<bool> {
        let (mut tx, id) = (self.db.begin().await?, lease.connection);
        fence(&mut tx, lease).await?;
        let sql =
            "INSERT INTO customer_turn (business, institution, customer_ref_index, connection, until_at, prompted)
                   SELECT business, institution, customer_ref_index, id, $2, $4 FROM connection
                   WHERE id = $1 AND customer_ref_index IS NOT NULL
                   ON CONFLICT (business, institution, customer_ref_index)
                     DO UPDATE SET connection = excluded.connection, until_at = excluded.until_at, prompted = excluded.prompted
                     WHERE customer_turn.connection = excluded.connection OR customer_turn.until_at <= $3
                       OR (customer_turn.prompted AND (SELECT attempt FROM connection WHERE id = $1) IS NOT NULL)";
        let taken = tx.run(sql, args![id, lease.until, now, false]).await? == 1;
        let sql = "SELECT count(*) FROM connection WHERE id = $1 AND customer_ref_index IS NULL";
        let (nobody,): (i64,) = tx.one(sql, args![id]).await?;
        tx.commit().await?;
        Ok(taken || nobody > 0)
    }

    /// The run is over, and with it the turn. While the customer is asked for something the session at the bank is
    /// half open: then the turn lasts until they can answer no more.
    pub async fn end_turn_of_customer(&self, lease: &Lease) -> Result<()> {
        let sql = "UPDATE customer_turn
                   SET prompted = $3, until_at = COALESCE((SELECT max(expires_at) FROM authorisation
                                            WHERE connection = $1 AND ended_at IS NULL), 0)
                   WHERE connection = $1 AND until_at = $2";
        self.db.run(sql, args![lease.connection, lease.until, true]).await?;
        let sql = "DELETE FROM customer_turn WHERE connection = $1 AND until_at = 0";
        self.db.run(sql, args![lease.connection]).await.map(drop)
    }
}
