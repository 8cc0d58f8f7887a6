//! Ending a connection and erasing its customer's data, so that a crash can't stop it half-way.
//!
//! First transaction: polling ends, the event is stored, the data key and every short sealed column
//! are gone; from then on nothing that is left can be read. Then the long tables, in batches.
//! PostgreSQL's vacuum reclaims the deleted key's bytes; SQLite overwrites them at once. What comes
//! before, while the bank is asked to end the consent, is in `closing`.

use super::arg::args;
use super::connection::hold_closing;
use super::consent::end_consent;
use super::db::Tx;
use super::rejection::forget_rejections;
use super::schedule::fence;
use super::{ClosingConnection, Result, Store, endpoint};
use crate::model::*;

/// Numbers of history per batch: a write transaction of a few milliseconds.
const ERASE_BATCH: i64 = 500;
/// Connections looked up at a time by [`Store::finish_erasures`].
const CONNECTIONS_BATCH: i64 = 100;

impl Store {
    /// Ends polling (the schedule row goes, so no lease holds), stores the event with its deliveries,
    /// ends the consent, deletes the data key, then erases: credentials, sealed columns, names, numbers,
    /// customer reference, balances, transactions and before/after, in batches. `seq`, kinds and times
    /// stay. Whoever may be asking the bank to end the consent is not waited for. False if unknown or
    /// already deleted.
    pub async fn delete_connection(
        &self,
        business: BusinessId,
        id: ConnectionId,
        event: &NewEvent,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        match hold_closing(&mut tx, id).await? {
            Some(place) if place.business == business => {
                self.end(tx, id, (&place.institution, place.phase), event, now).await?;
                Ok(true)
            }
            _ => {
                tx.rollback().await?;
                Ok(false)
            }
        }
    }

    /// The same of a connection that was created until `created` and never authorised. False if its customer is on the
    /// way in by now, or in.
    pub async fn delete_abandoned(
        &self,
        left: &ClosingConnection,
        created: Timestamp,
        event: &NewEvent,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        let place = hold_closing(&mut tx, left.id).await?;
        let sql = "SELECT id FROM connection
                   WHERE id = $1 AND state = 'linking' AND created_at <= $2
                     AND NOT EXISTS (SELECT 1 FROM authorisation a WHERE a.connection = $1 AND a.ended_at IS NULL)";
        let still: Option<(ConnectionId,)> = tx.optional(sql, args![left.id, created]).await?;
        let Some(place) = place.filter(|_| still.is_some()) else {
            tx.rollback().await?;
            return Ok(false);
        };
        self.end(tx, left.id, (&place.institution, place.phase), event, now).await?;
        Ok(true)
    }

    /// The same at the end of a run that asked the bank to end the consent, if its lease still holds.
    pub async fn delete_closed(&self, lease: &Lease, event: &NewEvent, now: Timestamp) -> Result<()> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        self.end(tx, lease.connection, (&lease.institution, lease.phase), event, now).await
    }

    /// With the schedule row held.
    async fn end(
        &self,
        mut tx: Tx,
        id: ConnectionId,
        (institution, phase): (&str, i64),
        event: &NewEvent,
        now: Timestamp,
    ) -> Result<()> {
        let sql = "DELETE FROM schedule WHERE institution = $1 AND phase = $2 AND connection = $3";
        tx.run(sql, args![institution, phase, id]).await?;
        endpoint::tell(&mut tx, event).await?;
        end_consent(&mut tx, id, "deleted", now).await?;
        self.keys.destroy(&mut tx, id.as_bytes()).await?;
        forget_short(&mut tx, id, now).await?;
        tx.commit().await?;
        self.keys.forget(id.as_bytes());
        self.erase(id).await
    }

    /// Nothing of the customer is left.
    pub async fn is_erased(&self, id: ConnectionId) -> Result<bool> {
        let sql = "SELECT erased_at FROM connection WHERE id = $1";
        let found: Option<(Option<Timestamp>,)> = self.db.optional(sql, args![id]).await?;
        Ok(found.is_some_and(|(erased_at,)| erased_at.is_some()))
    }

    /// The account is one of the business's, and its customer has left.
    pub async fn is_erased_account(&self, business: BusinessId, id: AccountId) -> Result<bool> {
        let sql = "SELECT a.id FROM account a JOIN connection c ON c.id = a.connection
                   WHERE a.id = $1 AND a.business = $2 AND c.state IN ('closing', 'deleted')";
        let found: Option<(AccountId,)> = self.db.optional(sql, args![id, business]).await?;
        Ok(found.is_some())
    }

    /// Finishes erasures, begun until `begun`, that a crash interrupted; how many connections were worked on.
    pub async fn finish_erasures(&self, begun: Timestamp) -> Result<u64> {
        let mut worked_on = 0;
        loop {
            let sql = "SELECT id FROM connection WHERE deleted_at IS NOT NULL AND erased_at IS NULL AND deleted_at <= $2
                       ORDER BY id LIMIT $1";
            let batch: Vec<(ConnectionId,)> = self.db.all(sql, args![CONNECTIONS_BATCH, begun]).await?;
            if batch.is_empty() {
                return Ok(worked_on);
            }
            for (id,) in batch {
                self.erase(id).await?;
                worked_on += 1;
            }
        }
    }

    /// The long tables of a deleted connection. A transaction's number is the `seq` of its first
    /// change, so one range of numbers serves all of them.
    async fn erase(&self, id: ConnectionId) -> Result<()> {
        let heads: Vec<(AccountId, i64)> =
            self.db.all("SELECT account, seq FROM account_head WHERE connection = $1", args![id]).await?;
        for (account, seq) in heads {
            let mut done = 0;
            while done < seq {
                let until = done + ERASE_BATCH;
                let mut tx = self.db.begin().await?;
                for sql in [
                    "DELETE FROM txn WHERE account = $1 AND number > $2 AND number <= $3",
                    "DELETE FROM txn_body WHERE account = $1 AND number > $2 AND number <= $3",
                    "UPDATE txn_change SET before_image = NULL, after_image = NULL
                     WHERE account = $1 AND seq > $2 AND seq <= $3",
                ] {
                    tx.run(sql, args![account, done, until]).await?;
                }
                tx.commit().await?;
                done = until;
            }
        }
        self.db.run("UPDATE connection SET erased_at = deleted_at WHERE id = $1", args![id]).await?;
        self.db.checkpoint().await
    }
}

/// Everything sealed that is not in the long tables.
async fn forget_short(tx: &mut Tx, id: ConnectionId, now: Timestamp) -> Result<()> {
    let sql = "UPDATE connection SET state = 'deleted', deleted_at = $2, customer_ref = NULL, customer_ref_index = NULL,
                 reason = NULL, session_open = $3, session_valid_until = NULL, session_state = NULL,
                 first_rejected_at = NULL, last_rejected_at = NULL, attempt = NULL, attempt_due_at = NULL
               WHERE id = $1";
    tx.run(sql, args![id, now, false]).await?;
    for sql in [
        "DELETE FROM credential WHERE connection = $1",
        "DELETE FROM authorisation WHERE connection = $1",
        "DELETE FROM customer_turn WHERE connection = $1",
        "UPDATE consent SET reference = NULL WHERE connection = $1",
        "UPDATE account SET listed = NULL, bank_id_index = NULL, number_index = NULL WHERE connection = $1",
        "UPDATE account_head SET balances = '[]', state = NULL, last_sync = NULL, standing = '{}', window_index = NULL
         WHERE connection = $1",
    ] {
        tx.run(sql, args![id]).await?;
    }
    forget_rejections(tx, id).await?;
    forget_answers(tx, id).await?;
    forget_wishes(tx, id).await
}

/// Answers that were kept for an `Idempotency-Key` and speak of the connection.
pub(super) async fn forget_answers(tx: &mut Tx, id: ConnectionId) -> Result<()> {
    tx.run("DELETE FROM idempotency WHERE connection = $1", args![id]).await.map(drop)
}

/// The syncs that somebody waits for: there will be none.
pub(super) async fn forget_wishes(tx: &mut Tx, id: ConnectionId) -> Result<()> {
    for sql in [
        "DELETE FROM sync_request WHERE account IN (SELECT id FROM account WHERE connection = $1)",
        "UPDATE account_head SET present = NULL, next_sync = NULL, current_sync = NULL, requested_at = NULL
         WHERE connection = $1",
    ] {
        tx.run(sql, args![id]).await?;
    }
    Ok(())
}
