//! Wanting a sync, and the moment a run takes up what is wanted.
//!
//! `account_head.next_sync` is the sync that requests join; when the run is about to ask the bank
//! it becomes `current_sync`, and from then on requests make a new one: so the bank is always asked
//! after the request. A run that nobody waits for writes nothing of it.

use super::account::account_state;
use super::arg::args;
use super::codec::{json, parsed, word};
use super::connection::{Place, hold};
use super::db::{Tx, row};
use super::schedule::fence;
use super::waiting::take;
use super::{Requested, Result, Store, StoreError};
use crate::model::*;

row! {
    HeadRow {
        state: String, excluded: bool, connection_state: String, next_sync: Option<SyncId>,
        next_allowed_at: Option<Timestamp>, unattended_at: Option<Timestamp>, last_sync: Option<SyncId>, held_until: Option<Timestamp>,
    }
}

row! {
    AskingRow {
        next_sync: Option<SyncId>, current_sync: Option<SyncId>, present: Option<Vec<u8>>, unwanted: bool,
    }
}

const PRESENT: &str = "account_head.present";

/// Who waits for a sync of the account, and whether it is to be read at all; nothing if the lease is lost.
const ASKING: &str = "SELECT h.next_sync, h.current_sync, h.present, (c.state = 'paused' OR a.excluded) AS unwanted
    FROM schedule s JOIN account_head h ON h.connection = s.connection
    JOIN account a ON a.id = h.account JOIN connection c ON c.id = a.connection
    WHERE s.institution = $1 AND s.phase = $2 AND s.connection = $3 AND s.token = $4 AND s.claimed_at IS NOT NULL
      AND h.account = $5";

macro_rules! asking_args {
    ($lease:expr, $account:expr) => {
        args![&$lease.institution, $lease.phase, $lease.connection, $lease.token, $account]
    };
}

impl Store {
    /// Wants a sync of the account: joins the run that has not asked the bank yet, else asks for the next one
    /// (creating its id on the account's head), and makes the connection due now if it is idle.
    /// An institution that is left alone is too early, too; a closed account is stopped. Nothing is asked of a paused connection and
    /// of an account that is switched off.
    pub async fn request_sync(
        &self,
        account: &Account,
        present: Option<&CustomerPresent>,
        now: Timestamp,
    ) -> Result<Requested> {
        let present = match present {
            Some(present) => {
                let key = self.key_of_account(account.id).await?.ok_or(StoreError::Erased)?;
                let plain = json(present, PRESENT)?;
                Some(key.seal(PRESENT, account.id.as_bytes(), plain.as_bytes())?)
            }
            None => None,
        };
        let mut tx = self.db.begin().await?;
        let requested = request(&mut tx, account, present, now).await?;
        tx.commit().await?;
        Ok(requested)
    }

    /// The run is about to ask the bank about this account: takes the requested sync's id (else the one an
    /// interrupted run left, else a new one) and who is present. From now on requests go to the next run. That somebody
    /// wants it stays noted until it is answered: if this run dies, the next one answers at once.
    /// [`StoreError::Unwanted`] if the connection was paused or the account switched off meanwhile.
    pub async fn begin_asking(
        &self,
        lease: &Lease,
        account: AccountId,
    ) -> Result<(SyncId, Trigger, Option<CustomerPresent>)> {
        let key = self.lease_key(lease).await?;
        // Most runs are the schedule's, and nobody waits for one: then there is nothing to write.
        let asking: Option<AskingRow> = self.db.optional(ASKING, asking_args!(lease, account)).await?;
        let asking = asking.ok_or(StoreError::LeaseLost)?;
        if asking.unwanted {
            return Err(StoreError::Unwanted);
        }
        if asking.next_sync.is_none() && asking.current_sync.is_none() {
            return Ok((SyncId::new(), Trigger::Schedule, None));
        }
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let asking: Option<AskingRow> = tx.optional(ASKING, asking_args!(lease, account)).await?;
        let asking = asking.ok_or(StoreError::LeaseLost)?;
        if asking.unwanted {
            tx.rollback().await?;
            return Err(StoreError::Unwanted);
        }
        let (id, trigger) = take(&mut tx, account, asking.next_sync, asking.current_sync).await?;
        let sql = "UPDATE account_head SET current_sync = $2, next_sync = NULL, present = NULL
                   WHERE account = $1";
        tx.run(sql, args![account, id]).await?;
        tx.commit().await?;
        let present = key.open_text(PRESENT, account.as_bytes(), asking.present.as_deref())?;
        let present = present.map(|text| parsed(&text, PRESENT)).transpose()?;
        Ok((id, trigger, present))
    }
}

/// Decides and notes the request, holding the connection's schedule row.
async fn request(
    tx: &mut Tx,
    account: &Account,
    present: Option<Vec<u8>>,
    now: Timestamp,
) -> Result<Requested> {
    let Some(place) = hold(tx, account.connection).await? else {
        return Ok(Requested::Stopped(None));
    };
    let sql = "SELECT a.state, a.excluded, c.state AS connection_state, h.next_sync, h.next_allowed_at, h.unattended_at, h.last_sync,
                 (SELECT CASE WHEN COALESCE(paused_until, 0) > COALESCE(breaker_until, 0) THEN paused_until
                         ELSE breaker_until END FROM institution WHERE id = $2) AS held_until
               FROM account_head h JOIN account a ON a.id = h.account JOIN connection c ON c.id = a.connection
               WHERE h.account = $1";
    let head: HeadRow = tx.one(sql, args![account.id, &place.institution]).await?;
    // Its row may still be active, for a run that has begun.
    if head.connection_state == "paused" {
        return Ok(Requested::Paused);
    }
    let state = account_state(&head.state, head.excluded)?;
    // The schedule row may be active for the customer's way back only.
    if !place.active || head.connection_state != "active" || state == AccountState::Closed {
        return Ok(Requested::Stopped(last(tx, account.id, head.last_sync).await?));
    }
    if state == AccountState::Excluded {
        return Ok(Requested::Excluded);
    }
    if let Some(joined) = head.next_sync {
        let sql = "UPDATE account_head SET present = COALESCE(present, $2) WHERE account = $1";
        if present.is_some() {
            tx.run(sql, args![account.id, present]).await?;
            // It may have waited for what the bank allows only with the customer.
            if head.next_allowed_at.max(head.held_until).is_none_or(|at| at <= now) {
                make_due(tx, &place, account.connection, now).await?;
            }
        }
        return Ok(Requested::Sync(joined));
    }
    let unattended = head.unattended_at.filter(|_| present.is_none());
    let allowed = head.next_allowed_at.max(head.held_until).max(unattended);
    if let Some(next_allowed_at) = allowed.filter(|at| *at > now) {
        let last = last(tx, account.id, head.last_sync).await?;
        return Ok(Requested::TooEarly { next_allowed_at, last });
    }
    let id = SyncId::new();
    let sql = "UPDATE account_head SET next_sync = $2, requested_at = $3, present = $4 WHERE account = $1";
    tx.run(sql, args![account.id, id, now, present]).await?;
    let sql = "INSERT INTO sync_request (id, account, requested_at) VALUES ($1, $2, $3)";
    tx.run(sql, args![id, account.id, now]).await?;
    make_due(tx, &place, account.connection, now).await?;
    Ok(Requested::Sync(id))
}

/// Somebody waits. A run that goes on finds it when it completes.
async fn make_due(tx: &mut Tx, place: &Place, connection: ConnectionId, now: Timestamp) -> Result<()> {
    let sql = "UPDATE schedule SET lane = $5, due_at = CASE WHEN due_at > $4 THEN $4 ELSE due_at END
               WHERE institution = $1 AND phase = $2 AND connection = $3 AND claimed_at IS NULL";
    let args = args![&place.institution, place.phase, connection, now, word(Lane::Wanted)];
    tx.run(sql, args).await.map(drop)
}

async fn last(tx: &mut Tx, account: AccountId, id: Option<SyncId>) -> Result<Option<Box<Sync>>> {
    match id {
        Some(id) => Ok(super::sync::finished(tx, account, id).await?.map(Box::new)),
        None => Ok(None),
    }
}
