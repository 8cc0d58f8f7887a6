//! Storing what a run over one account came to, in one transaction.

use super::account::WINDOW_INDEX;
use super::arg::args;
use super::codec::{Body, Image, balances, balances_json, json, same_money, small, standing_json, word};
use super::db::Tx;
use super::dialect::Kind::{Bytes, Int, Text};
use super::history::{AFTER, BEFORE, BODY};
use super::schedule::fence;
use super::seal::{OwnerKey, numbered};
use super::{Result, Store, StoreError, endpoint};
use crate::model::*;
use serde_json::{Value, json as value};

/// Later than any booking date, as text: rows that every reading is compared with.
const ALWAYS_KNOWN: &str = "9999-12-31";

impl Store {
    /// Stores a successful run in one transaction, if the lease still holds. `event` is built from the finished
    /// sync (final `seq`, counts) and stored with its deliveries when there is something to tell. Returns the sync as
    /// stored: `has_new_data` if there are changes, or the balances say other money than before.
    pub async fn commit_sync(
        &self,
        lease: &Lease,
        commit: &SyncCommit,
        event: &(dyn Fn(&Sync) -> Option<NewEvent> + std::marker::Sync),
    ) -> Result<Sync> {
        let account = commit.sync.account;
        let key = self.lease_key(lease).await?;
        let state = key.seal_text(super::account::HEAD_STATE, account.as_bytes(), commit.state.as_deref())?;
        let new_balances = balances_json(&commit.balances)?;
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql =
            "SELECT seq, epoch, balances, last_sync FROM account_head WHERE account = $1 AND connection = $2";
        let head: Option<(i64, i64, String, Option<SyncId>)> =
            tx.optional(sql, args![account, lease.connection]).await?;
        let (seq, epoch, old_balances, last_sync) = head.ok_or(StoreError::LeaseLost)?;

        let mut sync = commit.sync.clone();
        let written = Written::of(&key, account, seq, &commit.changes)?;
        written.store(&mut tx, account, &sync).await?;
        store_rekeyed(&mut tx, &key, account, &commit.rekeyed).await?;
        store_missed(&mut tx, account, &commit.missed).await?;
        (sync.added, sync.modified, sync.removed) = written.counts()?;
        sync.seq = written.seq;
        sync.epoch = small(epoch, "epoch")?;
        sync.has_new_data =
            !commit.changes.is_empty() || !same_money(&balances(&old_balances)?, &commit.balances);

        let event = event(&sync);
        let is_folded = match last_sync {
            Some(last) if !sync.has_new_data && event.is_none() => fold(&mut tx, &mut sync, last).await?,
            _ => false,
        };
        let sql =
            "UPDATE account_head SET seq = $2, balances = $3, state = $4, due_at = $5, current_sync = NULL,
                     requested_at = CASE WHEN next_sync IS NULL THEN NULL ELSE requested_at END,
                     next_allowed_at = $6, failures = 0, last_sync = $7, history_from = $9,
                     fresh_at = CASE WHEN $13 THEN fresh_at ELSE $8 END, history_due_at = $10, standing = $11,
                     window_index = $12, take_incomplete = (take_incomplete AND $13),
                     stale_at = CASE WHEN $13 THEN stale_at ELSE $14 END, stale_told = (stale_told AND $13)
                   WHERE account = $1";
        let fresh_at = sync.bank_answered_at.unwrap_or(sync.finished_at);
        let (due_at, next_allowed_at) = (commit.due_at, sync.next_allowed_at);
        let from = commit.history_from.map(|day| day.to_string());
        let index = commit
            .index
            .as_ref()
            .map(|index| key.seal(WINDOW_INDEX, account.as_bytes(), index))
            .transpose()?;
        let args = args![
            account,
            sync.seq,
            &new_balances,
            state,
            due_at,
            next_allowed_at,
            sync.id,
            fresh_at,
            from,
            commit.history_due_at,
            standing_json(&commit.standing)?,
            index,
            sync.trigger == Trigger::History,
            commit.stale_at
        ];
        tx.run(sql, args).await?;
        if !is_folded {
            finish(&mut tx, &sync, event.as_ref()).await?;
        }
        tx.commit().await?;
        Ok(sync)
    }

    /// Stores a failed run: sync row, failures + 1, next due, and the event when this is the first failure in a row.
    pub async fn fail_sync(
        &self,
        lease: &Lease,
        failure: &SyncFailure,
        event: &(dyn Fn(&Sync) -> Option<NewEvent> + std::marker::Sync),
    ) -> Result<Sync> {
        let mut sync = failure.sync.clone();
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "SELECT seq, epoch, failures FROM account_head WHERE account = $1 AND connection = $2";
        let head: Option<(i64, i64, i64)> = tx.optional(sql, args![sync.account, lease.connection]).await?;
        let (seq, epoch, failures) = head.ok_or(StoreError::LeaseLost)?;
        sync.seq = seq;
        sync.epoch = small(epoch, "epoch")?;
        sync.has_new_data = false;
        (sync.added, sync.modified, sync.removed) = (0, 0, 0);
        let sql = "UPDATE account_head SET due_at = $2, current_sync = NULL, failures = failures + 1, last_sync = $3,
                     requested_at = CASE WHEN next_sync IS NULL THEN NULL ELSE requested_at END,
                     next_allowed_at = COALESCE($4, next_allowed_at)
                   WHERE account = $1";
        tx.run(sql, args![sync.account, failure.due_at, sync.id, sync.next_allowed_at]).await?;
        let event = if failures == 0 { event(&sync) } else { None };
        finish(&mut tx, &sync, event.as_ref()).await?;
        tx.commit().await?;
        Ok(sync)
    }
}

/// A scheduled run that changed nothing joins the row of the one before, if that was such a run of the same day
/// that came to the same; then the sync is that one.
async fn fold(tx: &mut Tx, sync: &mut Sync, last: SyncId) -> Result<bool> {
    const DAY: i64 = 24 * 3600 * 1_000_000;
    if sync.trigger != Trigger::Schedule || sync.code != SyncCode::SyncSuccessful {
        return Ok(false);
    }
    let sql = "UPDATE sync SET runs = runs + 1, finished_at = $3, bank_asked_at = $4, bank_answered_at = $5,
                 next_allowed_at = $6, next_at = $7
               WHERE account = $1 AND id = $2 AND wanted_by = 'schedule' AND code = 'SYNC_SUCCESSFUL' AND NOT has_new_data
                 AND finished_at / $8 = $3 / $8 AND proof = $9 AND connector = $10
               RETURNING runs, started_at";
    let args = args![
        sync.account,
        last,
        sync.finished_at,
        sync.bank_asked_at,
        sync.bank_answered_at,
        sync.next_allowed_at,
        sync.next_at,
        DAY,
        word(sync.proof),
        &sync.connector
    ];
    let folded: Option<(i64, Timestamp)> = tx.optional(sql, args).await?;
    let Some((runs, started_at)) = folded else { return Ok(false) };
    (sync.id, sync.runs, sync.started_at) = (last, small(runs, "runs")?, started_at);
    Ok(true)
}

/// The sync's row, the end of its request, and the event.
pub(super) async fn finish(tx: &mut Tx, sync: &Sync, event: Option<&NewEvent>) -> Result<()> {
    let sql = "INSERT INTO sync (id, connection, account, wanted_by, customer_present, started_at, finished_at,
                 bank_asked_at, bank_answered_at, code, reason, message, has_new_data, added, modified, removed, proof,
                 seq, epoch, next_allowed_at, next_at, connector, runs)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)";
    let args = args![
        sync.id,
        sync.connection,
        sync.account,
        word(sync.trigger),
        sync.customer_present,
        sync.started_at,
        sync.finished_at,
        sync.bank_asked_at,
        sync.bank_answered_at,
        sync.code.name(),
        sync.reason.as_deref(),
        sync.message.as_deref(),
        sync.has_new_data,
        sync.added,
        sync.modified,
        sync.removed,
        word(sync.proof),
        sync.seq,
        sync.epoch,
        sync.next_allowed_at,
        sync.next_at,
        &sync.connector,
        sync.runs,
    ];
    tx.run(sql, args).await?;
    if sync.trigger == Trigger::Request {
        tx.run("DELETE FROM sync_request WHERE id = $1", args![sync.id]).await?;
    }
    match event {
        Some(event) => endpoint::tell(tx, event).await,
        None => Ok(()),
    }
}

/// Changes with their `seq`, sealed, as bulk parameters.
struct Written {
    seq: i64,
    current: Vec<Value>,
    gone: Vec<Value>,
    history: Vec<Value>,
    added: usize,
}

impl Written {
    fn of(key: &OwnerKey, account: AccountId, mut seq: i64, changes: &[NewChange]) -> Result<Self> {
        let (mut current, mut gone, mut history, mut added) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for change in changes {
            seq += 1;
            let (number, kind, before, after) = match change {
                NewChange::Added { after, .. } => {
                    added += 1;
                    (seq, ChangeKind::Added, None, Some(after))
                }
                NewChange::Modified { number, before, after, .. } => {
                    (*number, ChangeKind::Modified, Some(before), Some(after))
                }
                NewChange::Removed { number, before, .. } => {
                    (*number, ChangeKind::Removed, Some(before), None)
                }
            };
            let (ambiguous, links) = match change {
                NewChange::Modified { ambiguous, .. } => (*ambiguous, None),
                NewChange::Added { links, .. } if !links.is_empty() => (false, Some(json(links, "links")?)),
                _ => (false, None),
            };
            match after {
                Some(after) => current.push(current_row(key, account, number, seq, after)?),
                None => gone.push(value!({ "number": number })),
            }
            let place = numbered(account.as_bytes(), seq);
            let image = |column, transaction: Option<&Transaction>| {
                let sealed =
                    |transaction| key.seal(column, &place, json(&Image::of(transaction), column)?.as_bytes());
                transaction.map(|transaction| Ok(hex(&sealed(transaction)?))).transpose()
            };
            let (before, after): (Result<_>, Result<_>) = (image(BEFORE, before), image(AFTER, after));
            history.push(value!({
                "seq": seq, "number": number, "kind": word(kind), "before_image": before?, "after_image": after?,
                "reason": word(change.reason()), "ambiguous": i64::from(ambiguous), "links": links,
            }));
        }
        Ok(Self { seq, current, gone, history, added })
    }

    /// Added, modified, removed.
    fn counts(&self) -> Result<(i32, i32, i32)> {
        let count = |count: usize| i32::try_from(count).map_err(|_| StoreError::Corrupt("count"));
        Ok((count(self.added)?, count(self.current.len() - self.added)?, count(self.gone.len())?))
    }

    async fn store(&self, tx: &mut Tx, account: AccountId, sync: &Sync) -> Result<()> {
        let dialect = tx.dialect();
        let (at, day) = (sync.finished_at, sync.finished_at.utc().date_naive().to_string());
        if !self.current.is_empty() {
            let rows = json(&self.current, "rows")?;
            let columns = [
                ("number", Int),
                ("status", Text),
                ("stability", Text),
                ("booked_on", Text),
                ("valued_on", Text),
                ("amount_minor", Int),
                ("currency", Text),
                ("known_until", Text),
                ("last_seq", Int),
            ];
            let sql = "INSERT INTO txn (account, number, status, stability, booked_on, valued_on, amount_minor, currency,
                         known_until, first_seen_at, first_seen_on, changed_at, last_seq, missed)
                       SELECT $2, number, status, stability, booked_on, valued_on, amount_minor, currency,
                         known_until, $3, $4, $3, last_seq, 0
                       FROM bulk WHERE TRUE
                       ON CONFLICT (account, number) DO UPDATE SET status = excluded.status, stability = excluded.stability,
                         booked_on = excluded.booked_on, valued_on = excluded.valued_on,
                         amount_minor = excluded.amount_minor, currency = excluded.currency,
                         known_until = excluded.known_until, changed_at = excluded.changed_at,
                         last_seq = excluded.last_seq, missed = 0";
            tx.run(dialect.bulk(&columns, sql), args![&rows, account, at, &day]).await?;
            let sql = "INSERT INTO txn_body (account, number, sealed) SELECT $2, number, sealed FROM bulk WHERE TRUE
                       ON CONFLICT (account, number) DO UPDATE SET sealed = excluded.sealed";
            tx.run(dialect.bulk(&[("number", Int), ("sealed", Bytes)], sql), args![&rows, account]).await?;
        }
        if !self.gone.is_empty() {
            let rows = json(&self.gone, "rows")?;
            for sql in [
                "DELETE FROM txn WHERE account = $2 AND number IN (SELECT number FROM bulk)",
                "DELETE FROM txn_body WHERE account = $2 AND number IN (SELECT number FROM bulk)",
            ] {
                tx.run(dialect.bulk(&[("number", Int)], sql), args![&rows, account]).await?;
            }
        }
        if !self.history.is_empty() {
            let rows = json(&self.history, "rows")?;
            let columns = [
                ("seq", Int),
                ("number", Int),
                ("kind", Text),
                ("before_image", Bytes),
                ("after_image", Bytes),
                ("reason", Text),
                ("ambiguous", Int),
                ("links", Text),
            ];
            let sql = "INSERT INTO txn_change (account, seq, number, kind, before_image, after_image, reason, ambiguous, links,
                         observed_at, sync)
                       SELECT $2, seq, number, kind, before_image, after_image, reason, ambiguous <> 0, links, $3, $4 FROM bulk";
            tx.run(dialect.bulk(&columns, sql), args![&rows, account, at, sync.id]).await?;
        }
        Ok(())
    }
}

fn current_row(
    key: &OwnerKey,
    account: AccountId,
    number: i64,
    seq: i64,
    now: &Transaction,
) -> Result<Value> {
    let body = json(&Body::of(now), BODY)?;
    let booked_on = now.booked_on.map(|day| day.to_string());
    let known_until = match (now.status, &booked_on) {
        (TransactionStatus::Booked, Some(day)) => day.as_str(),
        _ => ALWAYS_KNOWN,
    };
    Ok(value!({
        "number": number,
        "status": word(now.status),
        "stability": word(now.stability),
        "known_until": known_until,
        "booked_on": booked_on,
        "valued_on": now.valued_on.map(|day| day.to_string()),
        "amount_minor": now.money.minor,
        "currency": now.money.currency.code(),
        "last_seq": seq,
        "sealed": hex(&key.seal(BODY, &numbered(account.as_bytes(), number), body.as_bytes())?),
    }))
}

/// Rows that are the same to everybody but the bank: neither `last_seq` nor `changed_at` moves.
async fn store_rekeyed(
    tx: &mut Tx,
    key: &OwnerKey,
    account: AccountId,
    rekeyed: &[(i64, Transaction)],
) -> Result<()> {
    if rekeyed.is_empty() {
        return Ok(());
    }
    let row = |(number, now): &(i64, Transaction)| current_row(key, account, *number, 0, now);
    let rows: Vec<Value> = rekeyed.iter().map(row).collect::<Result<_>>()?;
    let rows = json(&rows, "rows")?;
    for (columns, sql) in [
        (
            [("number", Int), ("stability", Text)],
            "UPDATE txn SET stability = bulk.stability FROM bulk WHERE account = $2 AND txn.number = bulk.number",
        ),
        (
            [("number", Int), ("sealed", Bytes)],
            "UPDATE txn_body SET sealed = bulk.sealed FROM bulk WHERE account = $2 AND txn_body.number = bulk.number",
        ),
    ] {
        tx.run(tx.dialect().bulk(&columns, sql), args![&rows, account]).await?;
    }
    Ok(())
}

async fn store_missed(tx: &mut Tx, account: AccountId, missed: &[(i64, i16)]) -> Result<()> {
    if missed.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> =
        missed.iter().map(|(number, times)| value!({"number": number, "times": times})).collect();
    let sql = "UPDATE txn SET missed = bulk.times FROM bulk WHERE account = $2 AND txn.number = bulk.number";
    let sql = tx.dialect().bulk(&[("number", Int), ("times", Int)], sql);
    tx.run(sql, args![json(&rows, "rows")?, account]).await?;
    Ok(())
}
