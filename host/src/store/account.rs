//! Accounts and their heads.

use super::arg::args;
use super::codec::{NEW_STANDING, balances, currency, date, from_word, json, small, standing, standing_json};
use super::db::{Tx, row};
use super::schedule::fence;
use super::seal::OwnerKey;
use super::waiting::{NoSync, answer_waiting, heads};
use super::{PageOf, Result, Store, StoreError, endpoint, one_more};
use crate::model::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

row! {
    pub(super) AccountRow {
        id: AccountId, connection: ConnectionId, business: BusinessId, listed: Option<Vec<u8>>, currency: String,
        state: String, excluded: bool, created_at: Timestamp,
    }
}

row! {
    pub(super) HeadRow {
        account: AccountId, seq: i64, epoch: i64, balances: String, state: Option<Vec<u8>>, due_at: Timestamp,
        requested_at: Option<Timestamp>, next_allowed_at: Option<Timestamp>, failures: i64,
        last_sync: Option<SyncId>, fresh_at: Option<Timestamp>, standing: String, window_index: Option<Vec<u8>>,
        history_from: Option<String>, history_due_at: Option<Timestamp>, take_incomplete: bool,
        stale_at: Option<Timestamp>,
        reads: i64, reads_until: Option<Timestamp>, unattended_at: Option<Timestamp>, attended: bool,
        held_until: Option<Timestamp>, awaited: bool,
    }
}

row! {
    /// What a listed account is recognised by.
    KnownRow {
        id: AccountId, bank_id_index: Option<Vec<u8>>, number_index: Option<Vec<u8>>, state: String, excluded: bool,
    }
}

/// The sealed part of an account.
#[derive(Serialize, Deserialize)]
struct Listed {
    bank_id: String,
    name: String,
    number: Option<String>,
}

const LISTED: &str = "account.listed";
pub(super) const HEAD_STATE: &str = "account_head.state";
pub(super) const WINDOW_INDEX: &str = "account_head.window_index";

const ACCOUNTS: &str = "SELECT a.id, a.connection, a.business, a.listed, a.currency, a.state, a.excluded, a.created_at
    FROM account a JOIN connection c ON c.id = a.connection
    WHERE a.business = $1 AND c.state NOT IN ('closing', 'deleted') AND ($2 IS NULL OR a.connection = $2) AND ($3 IS NULL OR a.id > $3)
    ORDER BY a.id LIMIT $4";
const OF_CONNECTION: &str = "SELECT id, connection, business, listed, currency, state, excluded, created_at
    FROM account WHERE connection = $1 ORDER BY id";
pub(super) const OF_CONNECTIONS: &str =
    "SELECT id, connection, business, listed, currency, state, excluded, created_at
    FROM bulk JOIN account ON connection = of_connection ORDER BY id";

/// Heads as [`HeadRow`] has them; held_until: the institution is left alone until then, by its own word or its breaker's.
macro_rules! heads {
    ($which:literal) => {
        concat!(
            "SELECT account, seq, epoch, balances, state, due_at, requested_at, next_allowed_at, failures, last_sync,
               fresh_at, standing, window_index, history_from, history_due_at, take_incomplete, stale_at,
               reads, reads_until, unattended_at, (present IS NOT NULL) AS attended,
               (next_sync IS NOT NULL OR current_sync IS NOT NULL) AS awaited,
               (SELECT CASE WHEN COALESCE(i.paused_until, 0) > COALESCE(i.breaker_until, 0) THEN i.paused_until
                            ELSE i.breaker_until END
                FROM connection c JOIN institution i ON i.id = c.institution
                WHERE c.id = account_head.connection) AS held_until
             FROM account_head ",
            $which
        )
    };
}

const HEAD: &str = heads!("WHERE account = $1");
const HEADS_OF_CONNECTION: &str = heads!("WHERE connection = $1 ORDER BY account");
pub(super) const HEADS_OF_CONNECTIONS: &str = heads!("JOIN bulk ON connection = of_connection");

impl AccountRow {
    /// Which account, and whose.
    pub(super) fn ids(&self) -> (AccountId, ConnectionId) {
        (self.id, self.connection)
    }
    /// It is switched off.
    pub(super) fn is_excluded(&self) -> bool {
        self.excluded
    }
}

impl HeadRow {
    /// Of which account.
    pub(super) fn account(&self) -> AccountId {
        self.account
    }
}

impl Store {
    /// The bank's list of a connection's accounts: known ones (by bank id, else by number and currency; both
    /// through a keyed index) keep their id and get the new names; new ones are added, due now; vanished
    /// ones are closed, and open again when they come back. Where only some accounts are kept, new ones are
    /// excluded; `wanted` are the numbers of those to keep, if the business wished for some only. `event` makes what is told of an account that was added (also again) or closed, in the same
    /// transaction; the first accounts of a connection are told by `account.updated`. Marks the connection as
    /// listed. All accounts, also closed ones.
    pub async fn record_accounts(
        &self,
        lease: &Lease,
        listed: &[BankAccount],
        wanted: Option<&[String]>,
        event: &(dyn Fn(EventType, AccountId, AccountState) -> NewEvent + std::marker::Sync),
        now: Timestamp,
    ) -> Result<Vec<Account>> {
        let key = self.lease_key(lease).await?;
        let business = key.business.ok_or(StoreError::Corrupt("data key"))?;
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "SELECT id, bank_id_index, number_index, state, excluded FROM account
                   WHERE connection = $1 ORDER BY id";
        let known: Vec<KnownRow> = tx.all(sql, args![lease.connection]).await?;
        let sql = "SELECT all_accounts FROM connection WHERE id = $1";
        let (all,): (bool,) = tx.one(sql, args![lease.connection]).await?;
        let wanted = wanted.filter(|_| known.is_empty());
        let excludes = |bank: &BankAccount| match wanted {
            Some(numbers) => !numbers.iter().any(|number| is_number(bank, number)),
            None => !all,
        };
        let seen = recognise(&key, &known, listed);
        // A bank may give an id to another account than before.
        tx.run("UPDATE account SET bank_id_index = NULL WHERE connection = $1", args![lease.connection])
            .await?;
        for (bank, place) in listed.iter().zip(&seen) {
            let account = Listing { key: &key, lease, business, bank, now };
            let appeared = match place {
                Some(row) => account.update(&mut tx, row).await?.then_some((row.id, row.excluded)),
                None => Some((account.insert(&mut tx, excludes(bank)).await?, excludes(bank))),
            };
            if let Some((id, excluded)) = appeared.filter(|_| !known.is_empty()) {
                let state = account_state("active", excluded)?;
                endpoint::tell(&mut tx, &event(EventType::AccountAdded, id, state)).await?;
            }
        }
        let is_seen = |row: &KnownRow| seen.iter().flatten().any(|seen| seen.id == row.id);
        for gone in known.iter().filter(|row| !is_seen(row)) {
            keep_bank_id(&mut tx, gone, listed, &key).await?;
            if gone.state == "active" {
                tx.run("UPDATE account SET state = 'closed' WHERE id = $1", args![gone.id]).await?;
                let heads = heads(&mut tx, lease.connection).await?;
                let closed = heads.iter().filter(|head| head.account() == gone.id);
                answer_waiting(&mut tx, lease.connection, closed, false, &NoSync::closed(), now).await?;
                endpoint::tell(&mut tx, &event(EventType::AccountClosed, gone.id, AccountState::Closed))
                    .await?;
            }
        }
        let sql = "UPDATE connection SET accounts_listed = $2, all_accounts = $3 WHERE id = $1";
        tx.run(sql, args![lease.connection, true, all && wanted.is_none()]).await?;
        let rows: Vec<AccountRow> = tx.all(OF_CONNECTION, args![lease.connection]).await?;
        tx.commit().await?;
        rows.into_iter().map(|row| open(&key, row)).collect()
    }

    /// One of the business's accounts. Accounts of deleted connections are unknown.
    pub async fn account(&self, business: BusinessId, id: AccountId) -> Result<Option<Account>> {
        let sql =
            "SELECT a.id, a.connection, a.business, a.listed, a.currency, a.state, a.excluded, a.created_at
                   FROM account a JOIN connection c ON c.id = a.connection
                   WHERE a.id = $1 AND a.business = $2 AND c.state NOT IN ('closing', 'deleted')";
        let found: Option<AccountRow> = self.db.optional(sql, args![id, business]).await?;
        let Some(row) = found else { return Ok(None) };
        match self.keys.of(&self.db, row.connection.as_bytes()).await {
            Err(StoreError::Erased) => Ok(None), // deleted since the row was read
            key => Ok(Some(open(&key?, row)?)),
        }
    }

    /// A business's accounts, oldest first, `after` excluded.
    pub async fn accounts(
        &self,
        business: BusinessId,
        connection: Option<ConnectionId>,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<PageOf<Account>> {
        let rows: Vec<AccountRow> =
            self.db.all(ACCOUNTS, args![business, connection, after, one_more(limit)]).await?;
        let page = PageOf::cut(rows, limit);
        let mut items = Vec::new();
        for row in page.items {
            match self.keys.of(&self.db, row.connection.as_bytes()).await {
                Err(StoreError::Erased) => {}
                key => items.push(open(&key?, row)?),
            }
        }
        Ok(PageOf { items, has_more: page.has_more })
    }

    /// A connection's accounts with their heads, for a run.
    pub async fn accounts_with_heads(&self, connection: ConnectionId) -> Result<Vec<(Account, AccountHead)>> {
        let rows: Vec<AccountRow> = self.db.all(OF_CONNECTION, args![connection]).await?;
        let mut heads: Vec<HeadRow> = self.db.all(HEADS_OF_CONNECTION, args![connection]).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let key = self.keys.of(&self.db, connection.as_bytes()).await?;
        let mut both = Vec::new();
        for row in rows {
            // An account listed between the two reads has no head yet here, or the other way round.
            if let Some(place) = heads.iter().position(|head| head.account == row.id) {
                let head = heads.swap_remove(place);
                both.push((open(&key, row)?, open_head(&key, head)?));
            }
        }
        Ok(both)
    }

    /// Whether the account's next statement is taken as far as it goes if it shows too little.
    pub async fn take_incomplete(&self, account: AccountId, take: bool) -> Result<()> {
        let sql = "UPDATE account_head SET take_incomplete = $2 WHERE account = $1";
        self.db.run(sql, args![account, take]).await.map(drop)
    }

    /// Counts a reading without the customer before it leaves, so that no crash makes one more. `most` may be made on
    /// the bank's day, which ends at `ends_at`; after `budget` of them there is none until then. False, and nothing counted, if
    /// so many were made already.
    pub async fn take_read(
        &self,
        lease: &Lease,
        account: AccountId,
        (budget, most): (u32, u32),
        ends_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "UPDATE account_head SET
                     reads = CASE WHEN reads_until > $3 THEN reads + 1 ELSE 1 END,
                     reads_until = CASE WHEN reads_until > $3 THEN reads_until ELSE $4 END,
                     unattended_at = CASE WHEN CASE WHEN reads_until > $3 THEN reads + 1 ELSE 1 END >= $5
                                     THEN CASE WHEN reads_until > $3 THEN reads_until ELSE $4 END END
                   WHERE account = $1 AND connection = $2
                     AND (reads_until IS NULL OR reads_until <= $3 OR reads < $6)";
        let args = args![account, lease.connection, now, ends_at, budget, most.min(budget)];
        let taken = tx.run(sql, args).await? == 1;
        tx.commit().await?;
        Ok(taken)
    }

    /// When the next piece of older history is read, and what is remembered with that.
    pub async fn plan_history(
        &self,
        lease: &Lease,
        account: AccountId,
        at: Option<Timestamp>,
        remembered: &Standing,
    ) -> Result<()> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "UPDATE account_head SET history_due_at = $3, standing = $4 WHERE account = $1 AND connection = $2";
        tx.run(sql, args![account, lease.connection, at, standing_json(remembered)?]).await?;
        tx.commit().await
    }

    /// Where an account stands.
    pub async fn head(&self, account: AccountId) -> Result<Option<AccountHead>> {
        let found: Option<HeadRow> = self.db.optional(HEAD, args![account]).await?;
        match (found, self.key_of_account(account).await?) {
            (Some(row), Some(key)) => Ok(Some(open_head(&key, row)?)),
            _ => Ok(None),
        }
    }

    /// The data key of an account's connection; none if the account is unknown or its connection deleted.
    pub(super) async fn key_of_account(&self, account: AccountId) -> Result<Option<OwnerKey>> {
        let sql = "SELECT connection FROM account WHERE id = $1 AND listed IS NOT NULL";
        let found: Option<(ConnectionId,)> = self.db.optional(sql, args![account]).await?;
        let Some((connection,)) = found else {
            return Ok(None);
        };
        match self.keys.of(&self.db, connection.as_bytes()).await {
            Err(StoreError::Erased) => Ok(None),
            key => key.map(Some),
        }
    }
}

/// An account on the bank's list.
struct Listing<'a> {
    key: &'a OwnerKey,
    lease: &'a Lease,
    business: BusinessId,
    bank: &'a BankAccount,
    now: Timestamp,
}

impl Listing<'_> {
    fn sealed(&self, id: AccountId) -> Result<Vec<u8>> {
        let (bank_id, name, number) =
            (self.bank.bank_id.clone(), self.bank.name.clone(), self.bank.number.clone());
        self.key.seal(LISTED, id.as_bytes(), json(&Listed { bank_id, name, number }, LISTED)?.as_bytes())
    }

    async fn insert(&self, tx: &mut Tx, excluded: bool) -> Result<AccountId> {
        let id = AccountId::new();
        let (connection, business, now) = (self.lease.connection, self.business, self.now);
        let sql = "INSERT INTO account (id, connection, business, listed, currency, bank_id_index, number_index, state,
                     excluded, created_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, 'active', $8, $9)";
        let (by_id, by_number) = indexes(self.key, self.bank);
        let (sealed, currency) = (self.sealed(id)?, self.bank.currency.code());
        tx.run(sql, args![id, connection, business, sealed, currency, by_id, by_number, excluded, now])
            .await?;
        let sql = "INSERT INTO account_head (account, connection, seq, epoch, balances, due_at, failures, standing, take_incomplete,
                     stale_told)
                   VALUES ($1, $2, 0, 0, '[]', $3, 0, $4, $5, $6)";
        tx.run(sql, args![id, connection, now, NEW_STANDING, false, false]).await?;
        Ok(id)
    }

    /// Whether it was closed before.
    async fn update(&self, tx: &mut Tx, known: &KnownRow) -> Result<bool> {
        let (id, was_closed) = (known.id, known.state == "closed");
        let (by_id, by_number) = indexes(self.key, self.bank);
        let sql = "UPDATE account SET listed = $2, currency = $3, bank_id_index = $4, number_index = $5, state = 'active'
                   WHERE id = $1";
        tx.run(sql, args![id, self.sealed(id)?, self.bank.currency.code(), by_id, by_number]).await?;
        if was_closed {
            tx.run("UPDATE account_head SET due_at = $2 WHERE account = $1", args![id, self.now]).await?;
        }
        Ok(was_closed)
    }
}

/// Numbers are written with and without blanks.
fn is_number(bank: &BankAccount, wanted: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<String>().to_uppercase();
    bank.number.as_deref().is_some_and(|number| plain(number) == plain(wanted))
}

/// Which known account each listed one is, if any.
///
/// By bank id, which is stable for one consent only; where the number says clearly that the id has gone to
/// another account, the number counts. Else by number and currency, and only if a number names one account
/// on either side: what shares a number is never merged.
fn recognise<'a>(key: &OwnerKey, known: &'a [KnownRow], listed: &[BankAccount]) -> Vec<Option<&'a KnownRow>> {
    let indexes: Vec<_> = listed.iter().map(|bank| indexes(key, bank)).collect();
    let by_id = |id: &Vec<u8>| known.iter().find(|row| row.bank_id_index.as_ref() == Some(id));
    let by_number = |number: &Option<Vec<u8>>| {
        let number = number.as_ref()?;
        let listed_once = indexes.iter().filter(|(_, other)| other.as_ref() == Some(number)).count() == 1;
        let of_number = |active: bool| {
            let rows = known.iter().filter(move |row| row.number_index.as_ref() == Some(number));
            rows.filter(move |row| (row.state == "active") == active)
        };
        // One that is synced comes before those that were closed.
        let mut rows = of_number(true).collect::<Vec<_>>();
        if rows.is_empty() {
            rows = of_number(false).collect();
        }
        rows.first().copied().filter(|_| listed_once && rows.len() == 1)
    };
    // Its id was another account's.
    let moved = |id: &Vec<u8>, number: &Option<Vec<u8>>| {
        let before = by_id(id).filter(|row| row.number_index.is_some())?;
        by_number(number).filter(|row| row.id != before.id)
    };
    let mut taken = BTreeSet::new();
    let mut seen: Vec<Option<&KnownRow>> = vec![None; listed.len()];
    for pass in 0..3 {
        for (place, (id, number)) in seen.iter_mut().zip(&indexes).filter(|(place, _)| place.is_none()) {
            let row = match pass {
                0 => moved(id, number),
                1 => by_id(id),
                _ => by_number(number),
            };
            *place = row.filter(|row| taken.insert(row.id));
        }
    }
    seen
}

/// An account that is not listed keeps its bank id, unless the bank gave that to another one.
async fn keep_bank_id(tx: &mut Tx, gone: &KnownRow, listed: &[BankAccount], key: &OwnerKey) -> Result<()> {
    let given_away = listed.iter().any(|bank| Some(indexes(key, bank).0) == gone.bank_id_index);
    let kept = gone.bank_id_index.clone().filter(|_| !given_away);
    tx.run("UPDATE account SET bank_id_index = $2 WHERE id = $1", args![gone.id, kept]).await?;
    Ok(())
}

fn indexes(key: &OwnerKey, bank: &BankAccount) -> (Vec<u8>, Option<Vec<u8>>) {
    let number = bank.number.as_deref();
    (
        key.index(&["account.bank_id", &bank.bank_id]),
        number.map(|number| key.index(&["account.number", number, bank.currency.code()])),
    )
}

/// What is shown of an account: closed comes before switched off.
pub(super) fn account_state(stored: &str, excluded: bool) -> Result<AccountState> {
    match from_word(stored, "account state")? {
        AccountState::Active if excluded => Ok(AccountState::Excluded),
        state => Ok(state),
    }
}

pub(super) fn open(key: &OwnerKey, row: AccountRow) -> Result<Account> {
    let sealed = row.listed.ok_or(StoreError::Erased)?;
    let listed: Listed = key.open_json(LISTED, row.id.as_bytes(), &sealed)?;
    Ok(Account {
        id: row.id,
        connection: row.connection,
        business: row.business,
        bank: BankAccount {
            bank_id: listed.bank_id,
            name: listed.name,
            currency: currency(&row.currency)?,
            number: listed.number,
        },
        state: account_state(&row.state, row.excluded)?,
        created_at: row.created_at,
    })
}

pub(super) fn open_head(key: &OwnerKey, row: HeadRow) -> Result<AccountHead> {
    Ok(AccountHead {
        account: row.account,
        seq: row.seq,
        epoch: small(row.epoch, "epoch")?,
        balances: balances(&row.balances)?,
        state: key.open_text(HEAD_STATE, row.account.as_bytes(), row.state.as_deref())?,
        due_at: row.due_at,
        requested_at: row.requested_at,
        next_allowed_at: row.next_allowed_at,
        failures: small(row.failures, "failures")?,
        last_sync: row.last_sync,
        fresh_at: row.fresh_at,
        stale_at: row.stale_at,
        standing: standing(&row.standing)?,
        index: row
            .window_index
            .map(|sealed| key.open(WINDOW_INDEX, row.account.as_bytes(), &sealed))
            .transpose()?,
        history_from: date(row.history_from.as_deref())?,
        history_due_at: row.history_due_at,
        take_incomplete: row.take_incomplete,
        reads: small(row.reads, "reads")?,
        reads_until: row.reads_until,
        unattended_at: row.unattended_at,
        is_attended: row.attended,
        is_awaited: row.awaited,
        held_until: row.held_until,
    })
}
