//! Where a connection's accounts stand while its schedule row is held: which is due first, and who waits
//! for a sync of it. Whoever waits for one that will not come is answered here, without a run.

use super::Result;
use super::arg::args;
use super::codec::{json, small};
use super::commit::finish;
use super::db::{Tx, row};
use super::dialect::Kind;
use crate::model::*;
use serde_json::json as value;
use std::collections::HashMap;

row! {
    /// An account's head, as far as due times and answers need it.
    pub(super) Head {
        account: AccountId, connection: ConnectionId, state: String, excluded: bool, seq: i64, epoch: i64, due_at: Timestamp,
        next_allowed_at: Option<Timestamp>, failures: i64, next_sync: Option<SyncId>, current_sync: Option<SyncId>,
        attended: bool, history_due_at: Option<Timestamp>, fresh_at: Option<Timestamp>,
        unattended_at: Option<Timestamp>,
    }
}

/// Why a sync that somebody waits for does not come.
pub(super) struct NoSync {
    code: SyncCode,
    reason: &'static str,
    message: String,
}

impl NoSync {
    /// The bank lists the account no longer.
    pub(super) fn closed() -> Self {
        Self::because("account-closed", "the bank no longer lists this account; its history stays readable")
    }
    /// The connection rests.
    pub(super) fn paused() -> Self {
        Self::because("connection-paused", "the connection is paused; resume it to sync")
    }
    /// The account rests.
    pub(super) fn excluded() -> Self {
        let message = "the account is switched off; switch it on again to sync; its history stays readable";
        Self::because("account-excluded", message)
    }
    /// What a run would have said.
    pub(super) fn failure(failure: &Failure) -> Self {
        Self { code: failure.code(), reason: failure.reason(), message: failure.to_string() }
    }
    fn because(reason: &'static str, message: &str) -> Self {
        Self { code: SyncCode::SyncError, reason, message: message.to_owned() }
    }
}

impl Head {
    /// Which account.
    pub(super) fn account(&self) -> AccountId {
        self.account
    }
    /// It is switched off.
    pub(super) fn is_excluded(&self) -> bool {
        self.excluded
    }
    /// Runs read it.
    pub(super) fn is_read(&self) -> bool {
        self.state == "active" && !self.excluded
    }
    /// Somebody may wait for a sync of it. What a run is reading is its to answer, while it goes on.
    fn is_awaited(&self, run_goes_on: bool) -> bool {
        self.next_sync.is_some() || (self.current_sync.is_some() && !run_goes_on)
    }
    fn due_at(&self, now: Timestamp) -> Timestamp {
        let reading = self.reading_due_at(now);
        let history = self.history_due_at.map(|due| due.max(now).max(self.unattended_at.unwrap_or(due)));
        history.map_or(reading, |history| history.min(reading))
    }
    /// Apart from older history.
    fn reading_due_at(&self, now: Timestamp) -> Timestamp {
        let wanted = if self.next_sync.is_some() { now } else { self.due_at };
        let unattended = self.unattended_at.filter(|_| self.next_sync.is_none() || !self.attended);
        wanted.max(self.next_allowed_at.max(unattended).unwrap_or(wanted))
    }
}

/// The heads of a connection's accounts.
pub(super) async fn heads(tx: &mut Tx, connection: ConnectionId) -> Result<Vec<Head>> {
    Ok(heads_of(tx, [connection].into_iter()).await?.remove(&connection).unwrap_or_default())
}

/// The same of many connections.
pub(super) async fn heads_of(
    tx: &mut Tx,
    connections: impl Iterator<Item = ConnectionId>,
) -> Result<HashMap<ConnectionId, Vec<Head>>> {
    let names: Vec<_> = connections.map(|id| value!({ "of_connection": hex(id.as_bytes()) })).collect();
    let sql = "SELECT h.account, h.connection, a.state, a.excluded, h.seq, h.epoch, h.due_at, h.next_allowed_at, h.failures,
                 h.next_sync, h.current_sync, (h.present IS NOT NULL) AS attended, h.history_due_at,
                 h.fresh_at, h.unattended_at
               FROM bulk JOIN account_head h ON h.connection = of_connection JOIN account a ON a.id = h.account
               ORDER BY h.account";
    let sql = tx.dialect().bulk(&[("of_connection", Kind::Bytes)], sql);
    let mut heads: HashMap<ConnectionId, Vec<Head>> = HashMap::new();
    for head in tx.all::<Head>(sql, args![json(&names, "connections")?]).await? {
        heads.entry(head.connection).or_default().push(head);
    }
    Ok(heads)
}

/// When the first account that is read is due, and the most failures in a row; none if none is read.
pub(super) fn first_due(heads: &[Head], now: Timestamp) -> Option<(Timestamp, i64)> {
    let read = || heads.iter().filter(|head| head.is_read());
    let due_at = read().map(|head| head.due_at(now)).min();
    due_at.zip(read().map(|head| head.failures).max())
}

/// What the connection is due for next.
pub(super) fn lane(heads: &[Head], customer_comes: bool, now: Timestamp) -> Lane {
    let read = || heads.iter().filter(|head| head.is_read());
    let Some((due_at, _)) = first_due(heads, now) else {
        return if customer_comes { Lane::Wanted } else { Lane::First };
    };
    let due = || read().filter(|head| head.due_at(now) <= due_at.max(now));
    if customer_comes || due().any(|head| head.next_sync.is_some()) {
        Lane::Wanted
    } else if due().any(|head| head.fresh_at.is_none()) {
        Lane::First
    } else if due().all(|head| head.reading_due_at(now) > due_at.max(now)) {
        Lane::History
    } else {
        Lane::Ordinary
    }
}

/// Answers those who wait for a sync of these accounts. While a run goes on, what it is reading is left
/// to it.
pub(super) async fn answer_waiting(
    tx: &mut Tx,
    connection: ConnectionId,
    heads: impl Iterator<Item = &Head>,
    run_goes_on: bool,
    why: &NoSync,
    now: Timestamp,
) -> Result<()> {
    for head in heads.filter(|head| head.is_awaited(run_goes_on)) {
        let left = head.current_sync.filter(|_| !run_goes_on);
        answer(tx, connection, head, left, why, now).await?;
    }
    Ok(())
}

/// Nothing of the connection is read any more, and no run goes on: every account that was read says why,
/// and whoever waits is answered.
pub(super) async fn answer_all(
    tx: &mut Tx,
    connection: ConnectionId,
    why: &NoSync,
    now: Timestamp,
) -> Result<()> {
    let heads = heads(tx, connection).await?;
    for head in heads.iter().filter(|head| head.is_read() || head.is_awaited(false)) {
        answer(tx, connection, head, head.current_sync, why, now).await?;
    }
    Ok(())
}

/// Records a sync that asked nothing of the bank.
async fn answer(
    tx: &mut Tx,
    connection: ConnectionId,
    head: &Head,
    left: Option<SyncId>,
    why: &NoSync,
    now: Timestamp,
) -> Result<()> {
    let (id, trigger) = take(tx, head.account, head.next_sync, left).await?;
    let sync = Sync {
        id,
        connection,
        account: head.account,
        trigger,
        customer_present: head.attended,
        started_at: now,
        finished_at: now,
        bank_asked_at: None,
        bank_answered_at: None,
        code: why.code,
        reason: Some(why.reason.to_owned()),
        message: Some(why.message.clone()),
        has_new_data: false,
        added: 0,
        modified: 0,
        removed: 0,
        proof: Proof::Unproved,
        seq: head.seq,
        epoch: small(head.epoch, "epoch")?,
        next_allowed_at: None,
        next_at: None,
        connector: String::new(),
        runs: 1,
    };
    let reading = head.current_sync.filter(|_| left.is_none());
    let sql =
        "UPDATE account_head SET next_sync = NULL, current_sync = $3, requested_at = NULL, present = NULL,
                 last_sync = $2
               WHERE account = $1";
    tx.run(sql, args![head.account, id, reading]).await?;
    finish(tx, &sync, None).await
}

/// The sync to be answered now: the one that is wanted, which also answers the one that an interrupted run
/// left unanswered; else that one; else a new one.
pub(super) async fn take(
    tx: &mut Tx,
    account: AccountId,
    wanted: Option<SyncId>,
    left: Option<SyncId>,
) -> Result<(SyncId, Trigger)> {
    match (wanted, left) {
        (Some(wanted), left) => {
            let sql = "UPDATE sync_request SET answered_by = $1 WHERE id = $2 OR (account = $3 AND answered_by = $2)";
            if left.is_some() {
                tx.run(sql, args![wanted, left, account]).await?;
            }
            Ok((wanted, Trigger::Request))
        }
        (None, Some(left)) => {
            let sql = "SELECT count(*) FROM sync_request WHERE id = $1";
            let (requested,): (i64,) = tx.one(sql, args![left]).await?;
            Ok((left, if requested > 0 { Trigger::Request } else { Trigger::Schedule }))
        }
        (None, None) => Ok((SyncId::new(), Trigger::Schedule)),
    }
}
