//! Storing what runs over accounts came to: of one account, or of many at once, the same statements.
//!
//! What takes computing (sealing, writing rows) is done before the transaction ([`Commit::of`]); inside it ([`store`])
//! each statement is about all accounts of the group, whatever their number.

use super::account::WINDOW_INDEX;
use super::arg::{Arg, args};
use super::codec::{Body, Image, balances, balances_json, json, same_money, small, standing_json, word};
use super::db::{Tx, row};
use super::dialect::Kind::{Bytes, Int, Text};
use super::group::Write;
use super::history::{AFTER, BEFORE, BODY};
use super::schedule::fence;
use super::seal::{OwnerKey, numbered};
use super::{Result, Store, StoreError, endpoint};
use crate::model::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Later than any booking date, as text: rows that every reading is compared with.
const ALWAYS_KNOWN: &str = "9999-12-31";

/// What to tell of a finished sync, once it has its `seq` and its counts.
pub(super) type Tell = Box<dyn Fn(&Sync) -> Option<NewEvent> + std::marker::Send + std::marker::Sync>;

impl Store {
    /// Stores a successful run, if the lease still holds: all of it or nothing. `event` is built from the finished
    /// sync (final `seq`, counts) and stored with its deliveries when there is something to tell. Returns the sync as
    /// stored: `has_new_data` if there are changes, or the balances say other money than before.
    ///
    /// Runs that end at the same moment share a database transaction, unless somebody waits for this one.
    pub async fn commit_sync(
        &self,
        lease: &Lease,
        commit: &SyncCommit,
        event: impl Fn(&Sync) -> Option<NewEvent> + std::marker::Send + std::marker::Sync + 'static,
    ) -> Result<Sync> {
        let key = self.lease_key(lease).await?;
        // A call may have joined a run of the schedule before it asked the bank.
        let is_awaited = lease.lane == Lane::Wanted || commit.sync.trigger == Trigger::Request;
        let commit = Write::Commit(Box::new(Commit::of(&key, lease, commit, Box::new(event))?));
        let stored = match is_awaited {
            true => self.groups.alone(&self.db, commit).await,
            false => self.groups.join(commit).await,
        };
        stored?.ok_or(StoreError::Corrupt("sync"))
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

/// A run over one account, as it will be written.
pub(super) struct Commit {
    pub(super) lease: Lease,
    sync: Sync,
    balances: Vec<Balance>,
    head: String,
    event: Tell,
    rows: Rows,
}

/// Rows of tables: the many as values one after the other, the few as a JSON object each.
#[derive(Default)]
struct Rows {
    current: Vec<Arg<'static>>,
    bodies: Vec<Arg<'static>>,
    history: Vec<Arg<'static>>,
    gone: Vec<String>,
    rekeyed: Vec<String>,
    missed: Vec<String>,
}

/// What a commit leaves on the account's head, but for what only the transaction knows.
#[derive(Serialize)]
struct HeadLine<'a> {
    of_account: String,
    new_seq: i64,
    new_balances: &'a str,
    new_state: Option<String>,
    new_due_at: i64,
    allowed_at: Option<i64>,
    from_day: Option<String>,
    read_at: i64,
    new_history_due_at: Option<i64>,
    new_standing: String,
    new_index: Option<String>,
    is_history: i64,
    new_stale_at: i64,
}

#[derive(Serialize)]
struct NumberLine<'a> {
    of_account: &'a str,
    number: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<i16>,
}

#[derive(Serialize)]
struct RekeyedLine<'a> {
    of_account: &'a str,
    number: i64,
    stability: String,
    sealed: String,
}

impl Commit {
    fn of(key: &OwnerKey, lease: &Lease, commit: &SyncCommit, event: Tell) -> Result<Self> {
        let mut sync = commit.sync.clone();
        let account = sync.account;
        let written = Written::of(key, &sync, &commit.changes)?;
        (sync.added, sync.modified, sync.removed) = written.counts()?;
        let mut rows = written.rows;
        let name = hex(account.as_bytes());
        for (number, now) in &commit.rekeyed {
            let sealed = hex(&sealed_body(key, account, *number, now)?);
            let stability = word(now.stability);
            let line = RekeyedLine { of_account: &name, number: *number, stability, sealed };
            rows.rekeyed.push(json(&line, "rows")?);
        }
        for (number, times) in &commit.missed {
            let line = NumberLine { of_account: &name, number: *number, times: Some(*times) };
            rows.missed.push(json(&line, "rows")?);
        }
        let seal =
            |column, plain: &[u8]| key.seal(column, account.as_bytes(), plain).map(|sealed| hex(&sealed));
        let state = commit.state.as_deref().map(|state| seal(super::account::HEAD_STATE, state.as_bytes()));
        let head = HeadLine {
            of_account: name,
            new_seq: written.seq,
            new_balances: &balances_json(&commit.balances)?,
            new_state: state.transpose()?,
            new_due_at: commit.due_at.0,
            allowed_at: sync.next_allowed_at.map(|at| at.0),
            from_day: commit.history_from.map(|day| day.to_string()),
            read_at: sync.bank_answered_at.unwrap_or(sync.finished_at).0,
            new_history_due_at: commit.history_due_at.map(|at| at.0),
            new_standing: standing_json(&commit.standing)?,
            new_index: commit.index.as_ref().map(|index| seal(WINDOW_INDEX, index)).transpose()?,
            is_history: i64::from(sync.trigger == Trigger::History),
            new_stale_at: commit.stale_at.0,
        };
        let head = json(&head, "head")?;
        sync.seq = written.seq;
        sync.has_new_data = !commit.changes.is_empty();
        Ok(Self { lease: lease.clone(), sync, balances: commit.balances.clone(), head, event, rows })
    }

    /// How many rows of transactions it writes.
    pub(super) fn weight(&self) -> usize {
        let Rows { gone, rekeyed, missed, .. } = &self.rows;
        self.rows.changes() + gone.len() + rekeyed.len() + missed.len()
    }
}

impl Rows {
    /// How many changes of the history.
    fn changes(&self) -> usize {
        self.history.len() / HISTORY_WIDTH
    }
}

row! {
    HeadRow {
        account: AccountId, connection: ConnectionId, seq: i64, epoch: i64, balances: String, last_sync: Option<SyncId>,
    }
}

/// Stores these runs, whose leases are held; what became of each, in their order. [`StoreError::LeaseLost`] if the
/// account is none of its connection's any more, or its history has gone on since the run looked.
pub(super) async fn store(tx: &mut Tx, commits: &[&Commit]) -> Result<Vec<Result<Sync>>> {
    if commits.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT h.account, h.connection, h.seq, h.epoch, h.balances, h.last_sync
               FROM bulk JOIN account_head h ON h.account = bulk.of_account";
    let names = array(
        commits
            .iter()
            .map(|commit| format!("{{\"of_account\":\"{}\"}}", hex(commit.sync.account.as_bytes()))),
    );
    let heads: Vec<HeadRow> = tx.all(tx.dialect().bulk(&[("of_account", Bytes)], sql), args![names]).await?;
    let heads: HashMap<AccountId, HeadRow> = heads.into_iter().map(|head| (head.account, head)).collect();

    // What each leaves, once we know what stood there.
    let mut stored: Vec<Result<(Sync, Option<NewEvent>)>> = Vec::new();
    let mut folding = Vec::new();
    for commit in commits {
        let head = heads.get(&commit.sync.account).filter(|head| head.connection == commit.lease.connection);
        let seq_before = commit.sync.seq - i64::try_from(commit.rows.changes()).unwrap_or(i64::MAX);
        let Some(head) = head.filter(|head| head.seq == seq_before) else {
            stored.push(Err(StoreError::LeaseLost));
            continue;
        };
        let mut sync = commit.sync.clone();
        sync.epoch = small(head.epoch, "epoch")?;
        sync.has_new_data |= !same_money(&balances(&head.balances)?, &commit.balances);
        let event = (commit.event)(&sync);
        if let Some(last) = head.last_sync.filter(|_| !sync.has_new_data && event.is_none()) {
            folding.extend(fold_line(&sync, last)?);
        }
        stored.push(Ok((sync, event)));
    }
    let folded = fold(tx, folding).await?;
    for (sync, _) in stored.iter_mut().flatten() {
        if let Some(into) = folded.get(&sync.account) {
            (sync.id, sync.runs, sync.started_at) = (into.id, small(into.runs, "runs")?, into.started_at);
        }
    }

    let kept =
        || commits.iter().zip(&stored).filter_map(|(commit, stored)| Some((*commit, stored.as_ref().ok()?)));
    let rows = || kept().map(|(commit, _)| &commit.rows);
    let heads = array(kept().map(|(commit, (sync, _))| {
        let head = commit.head.strip_suffix('}').unwrap_or_default();
        format!("{head},\"new_last_sync\":\"{}\"}}", hex(sync.id.as_bytes()))
    }));
    let all = |of: fn(&Rows) -> &Vec<Arg<'static>>| rows().flat_map(of).cloned().collect::<Vec<_>>();
    tx.insert(INTO_TXN, TXN_WIDTH, ON_KNOWN_TXN, &all(|rows| &rows.current)).await?;
    tx.insert(INTO_TXN_BODY, TXN_BODY_WIDTH, ON_KNOWN_TXN_BODY, &all(|rows| &rows.bodies)).await?;
    tx.insert(INTO_HISTORY, HISTORY_WIDTH, "", &all(|rows| &rows.history)).await?;
    write_gone(tx, array(rows().flat_map(|rows| &rows.gone))).await?;
    write_rekeyed(tx, array(rows().flat_map(|rows| &rows.rekeyed))).await?;
    write_missed(tx, array(rows().flat_map(|rows| &rows.missed))).await?;
    write_heads(tx, heads).await?;
    let new = stored.iter().flatten().filter(|(sync, _)| !folded.contains_key(&sync.account));
    let new: Vec<_> = new.map(|(sync, event)| (sync, event.as_ref())).collect();
    finish_all(tx, &new).await?;
    Ok(stored.into_iter().map(|stored| stored.map(|(sync, _)| sync)).collect())
}

/// Objects as one array.
fn array<T: AsRef<str>>(rows: impl Iterator<Item = T>) -> String {
    let mut text = String::from("[");
    for row in rows {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(row.as_ref());
    }
    text.push(']');
    text
}

/// There is nothing in it.
fn is_empty(array: &str) -> bool {
    array.len() == 2
}

/// A scheduled run that changed nothing, as a candidate to join the row of the one before.
fn fold_line(sync: &Sync, last: SyncId) -> Result<Option<String>> {
    #[derive(Serialize)]
    struct Line<'a> {
        of_account: String,
        last: String,
        ended: i64,
        asked: Option<i64>,
        answered: Option<i64>,
        allowed: Option<i64>,
        next: Option<i64>,
        of_proof: String,
        of_connector: &'a str,
    }
    if sync.trigger != Trigger::Schedule || sync.code != SyncCode::SyncSuccessful {
        return Ok(None);
    }
    let micros = |at: Option<Timestamp>| at.map(|at| at.0);
    let line = Line {
        of_account: hex(sync.account.as_bytes()),
        last: hex(last.as_bytes()),
        ended: sync.finished_at.0,
        asked: micros(sync.bank_asked_at),
        answered: micros(sync.bank_answered_at),
        allowed: micros(sync.next_allowed_at),
        next: micros(sync.next_at),
        of_proof: word(sync.proof),
        of_connector: &sync.connector,
    };
    json(&line, "rows").map(Some)
}

row! { FoldedRow { account: AccountId, id: SyncId, runs: i64, started_at: Timestamp } }

/// Scheduled runs that changed nothing join the row of the one before, if that was such a run of the same day
/// that came to the same; then the sync is that one. Which did.
async fn fold(tx: &mut Tx, lines: Vec<String>) -> Result<BTreeMap<AccountId, FoldedRow>> {
    const DAY: i64 = 24 * 3600 * 1_000_000;
    if lines.is_empty() {
        return Ok(BTreeMap::new());
    }
    let columns = [
        ("of_account", Bytes),
        ("last", Bytes),
        ("ended", Int),
        ("asked", Int),
        ("answered", Int),
        ("allowed", Int),
        ("next", Int),
        ("of_proof", Text),
        ("of_connector", Text),
    ];
    let sql = "UPDATE sync SET runs = runs + 1, finished_at = ended, bank_asked_at = asked, bank_answered_at = answered,
                 next_allowed_at = allowed, next_at = next
               FROM bulk
               WHERE account = of_account AND id = last AND wanted_by = 'schedule' AND code = 'SYNC_SUCCESSFUL'
                 AND NOT has_new_data AND finished_at / $2 = ended / $2 AND proof = of_proof AND connector = of_connector
               RETURNING account, id, runs, started_at";
    let folded: Vec<FoldedRow> =
        tx.all(tx.dialect().bulk(&columns, sql), args![array(lines.iter()), DAY]).await?;
    Ok(folded.into_iter().map(|row| (row.account, row)).collect())
}

/// The sync's row, the end of its request, and the event.
pub(super) async fn finish(tx: &mut Tx, sync: &Sync, event: Option<&NewEvent>) -> Result<()> {
    finish_all(tx, &[(sync, event)]).await
}

async fn finish_all(tx: &mut Tx, finished: &[(&Sync, Option<&NewEvent>)]) -> Result<()> {
    if finished.is_empty() {
        return Ok(());
    }
    let columns = [
        ("id", Bytes),
        ("connection", Bytes),
        ("account", Bytes),
        ("wanted_by", Text),
        ("customer_present", Int),
        ("started_at", Int),
        ("finished_at", Int),
        ("bank_asked_at", Int),
        ("bank_answered_at", Int),
        ("code", Text),
        ("reason", Text),
        ("message", Text),
        ("has_new_data", Int),
        ("added", Int),
        ("modified", Int),
        ("removed", Int),
        ("proof", Text),
        ("seq", Int),
        ("epoch", Int),
        ("next_allowed_at", Int),
        ("next_at", Int),
        ("connector", Text),
        ("runs", Int),
    ];
    let sql = "INSERT INTO sync (id, connection, account, wanted_by, customer_present, started_at, finished_at,
                 bank_asked_at, bank_answered_at, code, reason, message, has_new_data, added, modified, removed, proof,
                 seq, epoch, next_allowed_at, next_at, connector, runs)
               SELECT id, connection, account, wanted_by, customer_present <> 0, started_at, finished_at,
                 bank_asked_at, bank_answered_at, code, reason, message, has_new_data <> 0, added, modified, removed, proof,
                 seq, epoch, next_allowed_at, next_at, connector, runs FROM bulk";
    let lines: Vec<String> = finished.iter().map(|(sync, _)| sync_line(sync)).collect::<Result<_>>()?;
    tx.run(tx.dialect().bulk(&columns, sql), args![array(lines.iter())]).await?;
    for (sync, _) in finished.iter().filter(|(sync, _)| sync.trigger == Trigger::Request) {
        tx.run("DELETE FROM sync_request WHERE id = $1", args![sync.id]).await?;
    }
    let events: Vec<&NewEvent> = finished.iter().filter_map(|(_, event)| *event).collect();
    endpoint::tell_all(tx, &events).await
}

fn sync_line(sync: &Sync) -> Result<String> {
    #[derive(Serialize)]
    struct Line<'a> {
        id: String,
        connection: String,
        account: String,
        wanted_by: String,
        customer_present: i64,
        started_at: i64,
        finished_at: i64,
        bank_asked_at: Option<i64>,
        bank_answered_at: Option<i64>,
        code: &'a str,
        reason: Option<&'a str>,
        message: Option<&'a str>,
        has_new_data: i64,
        added: i32,
        modified: i32,
        removed: i32,
        proof: String,
        seq: i64,
        epoch: i32,
        next_allowed_at: Option<i64>,
        next_at: Option<i64>,
        connector: &'a str,
        runs: i32,
    }
    let micros = |at: Option<Timestamp>| at.map(|at| at.0);
    let line = Line {
        id: hex(sync.id.as_bytes()),
        connection: hex(sync.connection.as_bytes()),
        account: hex(sync.account.as_bytes()),
        wanted_by: word(sync.trigger),
        customer_present: i64::from(sync.customer_present),
        started_at: sync.started_at.0,
        finished_at: sync.finished_at.0,
        bank_asked_at: micros(sync.bank_asked_at),
        bank_answered_at: micros(sync.bank_answered_at),
        code: sync.code.name(),
        reason: sync.reason.as_deref(),
        message: sync.message.as_deref(),
        has_new_data: i64::from(sync.has_new_data),
        added: sync.added,
        modified: sync.modified,
        removed: sync.removed,
        proof: word(sync.proof),
        seq: sync.seq,
        epoch: sync.epoch,
        next_allowed_at: micros(sync.next_allowed_at),
        next_at: micros(sync.next_at),
        connector: &sync.connector,
        runs: sync.runs,
    };
    json(&line, "rows")
}

/// Changes with their `seq`, sealed.
struct Written {
    seq: i64,
    rows: Rows,
    added: usize,
}

impl Written {
    fn of(key: &OwnerKey, sync: &Sync, changes: &[NewChange]) -> Result<Self> {
        let (account, mut seq, seen_at) = (sync.account, sync.seq, sync.finished_at);
        let (mut rows, mut added) = (Rows::default(), 0);
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
                Some(after) => rows.stands(key, sync, number, seq, after)?,
                None => {
                    let gone = NumberLine { of_account: &hex(account.as_bytes()), number, times: None };
                    rows.gone.push(json(&gone, "rows")?);
                }
            }
            let place = numbered(account.as_bytes(), seq);
            let image = |column, transaction: Option<&Transaction>| {
                let sealed =
                    |transaction| key.seal(column, &place, json(&Image::of(transaction), column)?.as_bytes());
                transaction.map(sealed).transpose()
            };
            let (before, after): (Result<_>, Result<_>) = (image(BEFORE, before), image(AFTER, after));
            let kind = word(kind);
            let reason = word(change.reason());
            let line: &[Arg<'static>; HISTORY_WIDTH] = args![
                account, seq, number, kind, before?, after?, reason, ambiguous, links, seen_at, sync.id
            ];
            rows.history.extend_from_slice(line);
        }
        Ok(Self { seq, rows, added })
    }

    /// Added, modified, removed.
    fn counts(&self) -> Result<(i32, i32, i32)> {
        let count = |count: usize| i32::try_from(count).map_err(|_| StoreError::Corrupt("count"));
        let (all, removed) = (self.rows.changes(), self.rows.gone.len());
        Ok((count(self.added)?, count(all - self.added - removed)?, count(removed)?))
    }
}

const INTO_TXN: &str =
    "INSERT INTO txn (account, number, status, stability, booked_on, valued_on, amount_minor, currency,
      known_until, first_seen_at, first_seen_on, changed_at, last_seq, missed) VALUES";
const TXN_WIDTH: usize = 14;
const ON_KNOWN_TXN: &str =
    "ON CONFLICT (account, number) DO UPDATE SET status = excluded.status, stability = excluded.stability,
       booked_on = excluded.booked_on, valued_on = excluded.valued_on, amount_minor = excluded.amount_minor,
       currency = excluded.currency, known_until = excluded.known_until, changed_at = excluded.changed_at,
       last_seq = excluded.last_seq, missed = excluded.missed";
const INTO_TXN_BODY: &str = "INSERT INTO txn_body (account, number, sealed) VALUES";
const TXN_BODY_WIDTH: usize = 3;
const ON_KNOWN_TXN_BODY: &str = "ON CONFLICT (account, number) DO UPDATE SET sealed = excluded.sealed";
const INTO_HISTORY: &str =
    "INSERT INTO txn_change (account, seq, number, kind, before_image, after_image, reason,
      ambiguous, links, observed_at, sync) VALUES";
const HISTORY_WIDTH: usize = 11;

impl Rows {
    /// The transaction of this number is this one now, since this `seq`.
    fn stands(
        &mut self,
        key: &OwnerKey,
        sync: &Sync,
        number: i64,
        seq: i64,
        now: &Transaction,
    ) -> Result<()> {
        let (account, seen_at) = (sync.account, sync.finished_at);
        let booked_on = now.booked_on.map(|day| day.to_string());
        let known_until = match (now.status, &booked_on) {
            (TransactionStatus::Booked, Some(day)) => day.clone(),
            _ => ALWAYS_KNOWN.to_owned(),
        };
        let valued_on = now.valued_on.map(|day| day.to_string());
        let (status, stability) = (word(now.status), word(now.stability));
        let (minor, currency) = (now.money.minor, now.money.currency.code().to_owned());
        let seen_on = seen_at.utc().date_naive().to_string();
        let line: &[Arg<'static>; TXN_WIDTH] = args![
            account,
            number,
            status,
            stability,
            booked_on,
            valued_on,
            minor,
            currency,
            known_until,
            seen_at,
            seen_on,
            seen_at,
            seq,
            0_i64
        ];
        self.current.extend_from_slice(line);
        let body: &[Arg<'static>; TXN_BODY_WIDTH] =
            args![account, number, sealed_body(key, account, number, now)?];
        self.bodies.extend_from_slice(body);
        Ok(())
    }
}

fn sealed_body(key: &OwnerKey, account: AccountId, number: i64, now: &Transaction) -> Result<Vec<u8>> {
    let body = json(&Body::of(now), BODY)?;
    key.seal(BODY, &numbered(account.as_bytes(), number), body.as_bytes())
}

async fn write_gone(tx: &mut Tx, gone: String) -> Result<()> {
    if is_empty(&gone) {
        return Ok(());
    }
    for sql in [
        "DELETE FROM txn WHERE (account, number) IN (SELECT of_account, number FROM bulk)",
        "DELETE FROM txn_body WHERE (account, number) IN (SELECT of_account, number FROM bulk)",
    ] {
        tx.run(tx.dialect().bulk(&[("of_account", Bytes), ("number", Int)], sql), args![&gone]).await?;
    }
    Ok(())
}

/// Rows that are the same to everybody but the bank: neither `last_seq` nor `changed_at` moves.
async fn write_rekeyed(tx: &mut Tx, rekeyed: String) -> Result<()> {
    if is_empty(&rekeyed) {
        return Ok(());
    }
    let dialect = tx.dialect();
    for (columns, sql) in [
        (
            [("of_account", Bytes), ("number", Int), ("stability", Text)],
            "UPDATE txn SET stability = bulk.stability FROM bulk WHERE account = of_account AND txn.number = bulk.number",
        ),
        (
            [("of_account", Bytes), ("number", Int), ("sealed", Bytes)],
            "UPDATE txn_body SET sealed = bulk.sealed FROM bulk WHERE account = of_account AND txn_body.number = bulk.number",
        ),
    ] {
        tx.run(dialect.bulk(&columns, sql), args![&rekeyed]).await?;
    }
    Ok(())
}

async fn write_missed(tx: &mut Tx, missed: String) -> Result<()> {
    if is_empty(&missed) {
        return Ok(());
    }
    let sql = "UPDATE txn SET missed = bulk.times FROM bulk WHERE account = of_account AND txn.number = bulk.number";
    let columns = [("of_account", Bytes), ("number", Int), ("times", Int)];
    tx.run(tx.dialect().bulk(&columns, sql), args![&missed]).await?;
    Ok(())
}

async fn write_heads(tx: &mut Tx, heads: String) -> Result<()> {
    if is_empty(&heads) {
        return Ok(());
    }
    let columns = [
        ("of_account", Bytes),
        ("new_seq", Int),
        ("new_balances", Text),
        ("new_state", Bytes),
        ("new_due_at", Int),
        ("allowed_at", Int),
        ("from_day", Text),
        ("read_at", Int),
        ("new_history_due_at", Int),
        ("new_standing", Text),
        ("new_index", Bytes),
        ("is_history", Int),
        ("new_stale_at", Int),
        ("new_last_sync", Bytes),
    ];
    let sql = "UPDATE account_head SET seq = new_seq, balances = new_balances, state = new_state, due_at = new_due_at,
                 current_sync = NULL, requested_at = CASE WHEN next_sync IS NULL THEN NULL ELSE requested_at END,
                 next_allowed_at = allowed_at, failures = 0, last_sync = new_last_sync, history_from = from_day,
                 fresh_at = CASE WHEN is_history <> 0 THEN fresh_at ELSE read_at END,
                 history_due_at = new_history_due_at, standing = new_standing, window_index = new_index,
                 take_incomplete = (take_incomplete AND is_history <> 0),
                 stale_at = CASE WHEN is_history <> 0 THEN stale_at ELSE new_stale_at END,
                 stale_told = (stale_told AND is_history <> 0)
               FROM bulk WHERE account = of_account";
    tx.run(tx.dialect().bulk(&columns, sql), args![&heads]).await?;
    Ok(())
}
