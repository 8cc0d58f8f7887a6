//! Accounts that were not read for too long after they should have been: found, and told once.
//!
//! Must not know: when an account is stale (its commit said so), what the business is told.

use super::arg::args;
use super::connection::hold;
use super::db::row;
use super::{Result, Store, endpoint};
use crate::model::*;

row! {
    StaleRow {
        account: AccountId, connection: ConnectionId, business: BusinessId, institution: String,
        fresh_at: Option<Timestamp>, stale_at: Timestamp, failures: i64, reason: Option<String>, polled: bool,
    }
}

impl Store {
    /// Accounts that are stale and not told of, the longest first. One that is not polled is among them until
    /// [`Store::stale_told`] without an event.
    pub async fn stale_accounts(&self, now: Timestamp, limit: u32) -> Result<Vec<StaleAccount>> {
        let sql = "SELECT h.account, h.connection, c.business, c.institution, h.fresh_at, h.stale_at, h.failures,
                     CASE WHEN h.failures > 0 THEN (SELECT s.reason FROM sync s
                                                    WHERE s.account = h.account AND s.id = h.last_sync) END AS reason,
                     (c.state = 'active' AND a.state = 'active' AND NOT a.excluded) AS polled
                   FROM account_head h JOIN connection c ON c.id = h.connection JOIN account a ON a.id = h.account
                   WHERE h.stale_at <= $1 AND NOT h.stale_told ORDER BY h.stale_at LIMIT $2";
        let rows: Vec<StaleRow> = self.db.all(sql, args![now, limit]).await?;
        let stale = |row: StaleRow| StaleAccount {
            account: row.account,
            connection: row.connection,
            business: row.business,
            institution: row.institution,
            fresh_at: row.fresh_at,
            stale_at: row.stale_at,
            failures: row.failures,
            reason: row.reason,
            polled: row.polled,
        };
        Ok(rows.into_iter().map(stale).collect())
    }

    /// The account is told of, by `event` if there is one. False if it was read meanwhile, or somebody else told.
    pub async fn stale_told(&self, stale: &StaleAccount, event: Option<&NewEvent>) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        if hold(&mut tx, stale.connection).await?.is_none() {
            tx.rollback().await?;
            return Ok(false);
        }
        let sql =
            "UPDATE account_head SET stale_told = $3 WHERE account = $1 AND stale_at = $2 AND NOT stale_told";
        let told = tx.run(sql, args![stale.account, stale.stale_at, true]).await? == 1;
        if let Some(event) = event.filter(|_| told) {
            endpoint::tell(&mut tx, event).await?;
        }
        tx.commit().await?;
        Ok(told)
    }
}
