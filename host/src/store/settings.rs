//! What a business sets of a connection: how often it is synced, and which of its accounts.

use super::arg::args;
use super::codec::word;
use super::connection::{Place, hold};
use super::db::Tx;
use super::waiting::{NoSync, answer_waiting, first_due, heads, lane};
use super::{Result, Store};
use crate::model::*;
use std::collections::BTreeSet;

/// What to change; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Minutes between two syncs (none for the institution's), and the next slot under them.
    pub interval: Option<(Option<u32>, Timestamp)>,
    /// Which accounts are read.
    pub accounts: Option<AccountsKept>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// The connection as it is now.
    To(Box<Connection>),
    /// It has no such account: nothing was changed.
    NoSuchAccount,
    /// Unknown, closing or deleted.
    NoSuchConnection,
}

impl Store {
    /// Changes both at once. A new interval plans every account anew, but for those that are due or to be
    /// tried again sooner. An account that is switched off is not read any more, and whoever waits for it is
    /// answered; one that is switched on is due now.
    pub async fn change_settings(
        &self,
        business: BusinessId,
        id: ConnectionId,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<Changed> {
        let mut tx = self.db.begin().await?;
        let Some(place) = hold(&mut tx, id).await?.filter(|place| place.business == business) else {
            tx.rollback().await?;
            return Ok(Changed::NoSuchConnection);
        };
        if let Some(kept) = &settings.accounts
            && !choose(&mut tx, id, &place, kept, now).await?
        {
            tx.rollback().await?;
            return Ok(Changed::NoSuchAccount);
        }
        if let Some((minutes, slot)) = settings.interval {
            plan(&mut tx, id, &place, minutes, slot, now).await?;
        }
        // A run that goes on finds what is due when it completes.
        let heads = heads(&mut tx, id).await?;
        let (due, lane) = (first_due(&heads, now), word(lane(&heads, false, now)));
        if let (Some((due_at, _)), None) = (due, place.claimed_at) {
            let sql = "UPDATE schedule SET due_at = $4, lane = $5
                       WHERE institution = $1 AND phase = $2 AND connection = $3";
            tx.run(sql, args![&place.institution, place.phase, id, due_at, lane]).await?;
        }
        tx.commit().await?;
        Ok(Changed::To(Box::new(self.known_connection(id).await?)))
    }
}

/// False, and nothing is to be kept of it, if the connection has no such account.
async fn choose(
    tx: &mut Tx,
    id: ConnectionId,
    place: &Place,
    kept: &AccountsKept,
    now: Timestamp,
) -> Result<bool> {
    let heads = heads(tx, id).await?;
    let known: BTreeSet<AccountId> = heads.iter().map(|head| head.account()).collect();
    let (all, kept) = match kept {
        AccountsKept::All => (true, known.clone()),
        AccountsKept::Only(kept) => (false, kept.iter().copied().collect()),
    };
    if !kept.is_subset(&known) {
        return Ok(false);
    }
    tx.run("UPDATE connection SET all_accounts = $2 WHERE id = $1", args![id, all]).await?;
    for head in &heads {
        let account = head.account();
        match (head.is_excluded(), kept.contains(&account)) {
            (false, false) => {
                tx.run("UPDATE account SET excluded = $2 WHERE id = $1", args![account, true]).await?;
                let (run_goes_on, off) = (place.claimed_at.is_some(), std::iter::once(head));
                answer_waiting(tx, id, off, run_goes_on, &NoSync::excluded(), now).await?;
            }
            (true, true) => {
                tx.run("UPDATE account SET excluded = $2 WHERE id = $1", args![account, false]).await?;
                tx.run("UPDATE account_head SET due_at = $2 WHERE account = $1", args![account, now]).await?;
            }
            _ => {}
        }
    }
    Ok(true)
}

async fn plan(
    tx: &mut Tx,
    id: ConnectionId,
    place: &Place,
    minutes: Option<u32>,
    slot: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let minutes = minutes.map(i64::from);
    let sql = "UPDATE schedule SET interval_minutes = $4, slot_at = $5
               WHERE institution = $1 AND phase = $2 AND connection = $3";
    tx.run(sql, args![&place.institution, place.phase, id, minutes, slot]).await?;
    let sql = "UPDATE account_head SET due_at = $2
               WHERE connection = $1 AND due_at > $3 AND (failures = 0 OR due_at > $2)";
    tx.run(sql, args![id, slot, now]).await?;
    Ok(())
}
