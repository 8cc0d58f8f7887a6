//! Reading transactions and their history.

use super::arg::args;
use super::codec::{Body, Clear, Image, from_word, parsed, small};
use super::db::row;
use super::seal::{OwnerKey, numbered};
use super::{PageOf, Result, Store, StoreError, TransactionFilter, one_more};
use crate::model::*;

row! {
    TxnRow {
        account: AccountId, number: i64, status: String, stability: String, booked_on: Option<String>,
        valued_on: Option<String>, amount_minor: i64, currency: String, first_seen_at: Timestamp,
        changed_at: Timestamp, last_seq: i64, missed: i64, sealed: Vec<u8>,
    }
}

row! {
    ChangeRow {
        seq: i64, number: i64, kind: String, before_image: Option<Vec<u8>>, after_image: Option<Vec<u8>>,
        reason: String, ambiguous: bool, links: Option<String>, observed_at: Timestamp, sync: SyncId,
    }
}

row! {
    CompactRow {
        seq: i64, number: i64, kind: String, first_seq: Option<i64>, before_image: Option<Vec<u8>>,
        after_image: Option<Vec<u8>>, reason: String, ambiguous: bool, links: Option<String>, observed_at: Timestamp,
        sync: SyncId,
    }
}

row! {
    HeldRow {
        seq: i64, number: i64, after_image: Option<Vec<u8>>, observed_at: Timestamp, first_seen_at: Timestamp,
    }
}

pub(super) const BODY: &str = "txn_body";
pub(super) const BEFORE: &str = "txn_change.before";
pub(super) const AFTER: &str = "txn_change.after";

const LISTED: &str = "SELECT t.account, t.number, status, stability, booked_on, valued_on, amount_minor, currency, first_seen_at,
        changed_at, last_seq, missed, sealed
    FROM txn t JOIN txn_body b ON b.account = t.account AND b.number = t.number
    WHERE t.account = $1 AND t.number > $2
      AND ($3 IS NULL OR COALESCE(booked_on, first_seen_on) >= $3)
      AND ($4 IS NULL OR COALESCE(booked_on, first_seen_on) <= $4)
      AND ($5 IS NULL OR status = $5)
      AND ($6 IS NULL OR amount_minor >= $6)
      AND ($7 IS NULL OR amount_minor <= $7)
    ORDER BY t.number LIMIT $8";
const ONE: &str = "SELECT t.account, t.number, status, stability, booked_on, valued_on, amount_minor, currency, first_seen_at,
        changed_at, last_seq, missed, sealed
    FROM txn t JOIN txn_body b ON b.account = t.account AND b.number = t.number
    WHERE t.account = $1 AND t.number = $2";
// Not sorted here: SQLite would then walk the whole account in key order instead of `txn_known`.
pub(super) const KNOWN: &str = "SELECT t.account, t.number, status, stability, booked_on, valued_on, amount_minor, currency, first_seen_at,
        changed_at, last_seq, missed, sealed
    FROM txn t JOIN txn_body b ON b.account = t.account AND b.number = t.number
    WHERE t.account = $1 AND known_until >= $2";

pub(super) const CHANGES: &str =
    "SELECT seq, number, kind, before_image, after_image, reason, ambiguous, links, observed_at, sync
    FROM txn_change WHERE account = $1 AND seq > $2 ORDER BY seq LIMIT $3";
const OF_TRANSACTION: &str =
    "SELECT seq, number, kind, before_image, after_image, reason, ambiguous, links, observed_at, sync
    FROM txn_change WHERE account = $1 AND number = $2 AND seq > $3 ORDER BY seq LIMIT $4";
// Of each transaction that changed after $2 the last change until $3, as it looks to somebody who knew it as it was
// at $2: what came since is added, what came and went is nothing, and before is what the first change found.
const COMPACT: &str = "SELECT c.seq, c.number, CASE WHEN c.number > $2 THEN 'added' ELSE c.kind END AS kind,
        c.after_image, c.reason, c.ambiguous, c.links, c.observed_at, c.sync,
        CASE WHEN c.number > $2 THEN NULL ELSE first.seq END AS first_seq,
        CASE WHEN c.number > $2 THEN NULL ELSE first.before_image END AS before_image
    FROM txn_change c JOIN txn_change first ON first.account = $1 AND first.seq = (
      SELECT min(earlier.seq) FROM txn_change earlier
      WHERE earlier.account = $1 AND earlier.number = c.number AND earlier.seq > $2)
    WHERE c.account = $1 AND c.seq > $4 AND c.seq <= $3 AND NOT (c.kind = 'removed' AND c.number > $2)
      AND NOT EXISTS (SELECT 1 FROM txn_change later
                      WHERE later.account = $1 AND later.number = c.number AND later.seq > c.seq AND later.seq <= $3)
    ORDER BY c.seq LIMIT $5";
// What was held after the change $3: of each transaction the last change until then, unless it was removed. Its
// first change is the one that has its number.
const HELD_AT: &str = "SELECT c.seq, c.number, c.after_image, c.observed_at,
        (SELECT first.observed_at FROM txn_change first WHERE first.account = $1 AND first.seq = c.number) AS first_seen_at
    FROM txn_change c
    WHERE c.account = $1 AND c.number > $2 AND c.seq <= $3 AND c.kind <> 'removed'
      AND NOT EXISTS (SELECT 1 FROM txn_change later
                      WHERE later.account = $1 AND later.number = c.number AND later.seq > c.seq AND later.seq <= $3)
    ORDER BY c.number LIMIT $4";

impl Store {
    /// Transactions in order of their number.
    pub async fn transactions(
        &self,
        account: AccountId,
        filter: &TransactionFilter,
        limit: u32,
    ) -> Result<PageOf<StoredTransaction>> {
        let args = args![
            account,
            filter.after.unwrap_or(0),
            filter.from.map(|day| day.to_string()),
            filter.to.map(|day| day.to_string()),
            filter.status.map(super::codec::word),
            filter.min_amount_minor,
            filter.max_amount_minor,
            one_more(limit),
        ];
        let page = PageOf::cut(self.db.all(LISTED, args).await?, limit);
        Ok(PageOf { items: self.open_transactions(account, page.items).await?, has_more: page.has_more })
    }

    /// One transaction.
    pub async fn transaction(&self, id: TransactionId) -> Result<Option<StoredTransaction>> {
        let rows = self.db.all(ONE, args![id.account, id.number]).await?;
        Ok(self.open_transactions(id.account, rows).await?.pop())
    }

    /// The history after `seq`, in order. Before and after are missing once the customer's data is erased.
    pub async fn changes(&self, account: AccountId, after_seq: i64, limit: u32) -> Result<PageOf<Change>> {
        let rows: Vec<ChangeRow> = self.db.all(CHANGES, args![account, after_seq, one_more(limit)]).await?;
        self.open_changes(account, PageOf::cut(rows, limit)).await
    }

    async fn open_changes(&self, account: AccountId, page: PageOf<ChangeRow>) -> Result<PageOf<Change>> {
        let key = self.key_of_account(account).await?;
        let items = page
            .items
            .into_iter()
            .map(|row| open_change(key.as_ref(), account, row))
            .collect::<Result<_>>()?;
        Ok(PageOf { items, has_more: page.has_more })
    }

    /// What became of each transaction that changed within a span (after the first change, until the second): in
    /// the order of their last changes, those after `after_seq`.
    pub async fn compact_changes(
        &self,
        account: AccountId,
        (after, until): (i64, i64),
        after_seq: i64,
        limit: u32,
    ) -> Result<PageOf<Change>> {
        let args = args![account, after, until, after_seq, one_more(limit)];
        let rows: Vec<CompactRow> = self.db.all(COMPACT, args).await?;
        let page = PageOf::cut(rows, limit);
        let key = self.key_of_account(account).await?;
        let open = |row: CompactRow| {
            let before = match (&key, row.before_image, row.first_seq) {
                (Some(key), Some(sealed), Some(seq)) => {
                    let place = numbered(account.as_bytes(), seq);
                    Some(key.open_json::<Image>(BEFORE, &place, &sealed)?.transaction()?)
                }
                _ => None,
            };
            let change = ChangeRow {
                seq: row.seq,
                number: row.number,
                kind: row.kind,
                before_image: None,
                after_image: row.after_image,
                reason: row.reason,
                ambiguous: row.ambiguous,
                links: row.links,
                observed_at: row.observed_at,
                sync: row.sync,
            };
            let change = open_change(key.as_ref(), account, change)?;
            Ok(Change { before, ..change })
        };
        Ok(PageOf {
            items: page.items.into_iter().map(open).collect::<Result<_>>()?,
            has_more: page.has_more,
        })
    }

    /// The history of one transaction after `after_seq`, in order.
    pub async fn changes_of(&self, id: TransactionId, after_seq: i64, limit: u32) -> Result<PageOf<Change>> {
        let args = args![id.account, id.number, after_seq, one_more(limit)];
        let rows: Vec<ChangeRow> = self.db.all(OF_TRANSACTION, args).await?;
        self.open_changes(id.account, PageOf::cut(rows, limit)).await
    }

    /// The last change that was known at that moment; 0 if none was.
    pub async fn seq_at(&self, account: AccountId, at: Timestamp) -> Result<i64> {
        let sql = "SELECT COALESCE(max(seq), 0) FROM txn_change WHERE account = $1 AND observed_at <= $2";
        let (seq,): (i64,) = self.db.one(sql, args![account, at]).await?;
        Ok(seq)
    }

    /// What was held right after the change `seq`, in order of number.
    pub async fn held_at(
        &self,
        account: AccountId,
        seq: i64,
        after_number: i64,
        limit: u32,
    ) -> Result<PageOf<StoredTransaction>> {
        let args = args![account, after_number, seq, one_more(limit)];
        let rows: Vec<HeldRow> = self.db.all(HELD_AT, args).await?;
        let page = PageOf::cut(rows, limit);
        let key = self.key_of_account(account).await?.ok_or(StoreError::Erased)?;
        let open = |row: HeldRow| {
            let sealed = row.after_image.ok_or(StoreError::Erased)?;
            let image: Image = key.open_json(AFTER, &numbered(account.as_bytes(), row.seq), &sealed)?;
            Ok(StoredTransaction {
                id: TransactionId { account, number: row.number },
                transaction: image.transaction()?,
                first_seen_at: row.first_seen_at,
                changed_at: row.observed_at,
                last_seq: row.seq,
                missed: 0,
            })
        };
        Ok(PageOf {
            items: page.items.into_iter().map(open).collect::<Result<_>>()?,
            has_more: page.has_more,
        })
    }

    /// What the ledger compares with: all pending rows, and booked rows whose booking date is on or after `since`
    /// (rows without a booking date always).
    pub async fn known(
        &self,
        account: AccountId,
        since: chrono::NaiveDate,
    ) -> Result<Vec<StoredTransaction>> {
        let mut rows: Vec<TxnRow> = self.db.all(KNOWN, args![account, since.to_string()]).await?;
        rows.sort_unstable_by_key(|row| row.number);
        self.open_transactions(account, rows).await
    }

    async fn open_transactions(
        &self,
        account: AccountId,
        rows: Vec<TxnRow>,
    ) -> Result<Vec<StoredTransaction>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let key = self.key_of_account(account).await?.ok_or(StoreError::Erased)?;
        rows.into_iter().map(|row| open_transaction(&key, &row)).collect()
    }
}

fn open_transaction(key: &OwnerKey, row: &TxnRow) -> Result<StoredTransaction> {
    let body: Body = key.open_json(BODY, &numbered(row.account.as_bytes(), row.number), &row.sealed)?;
    Ok(StoredTransaction {
        id: TransactionId { account: row.account, number: row.number },
        transaction: body.transaction(&Clear {
            status: &row.status,
            stability: &row.stability,
            booked_on: row.booked_on.as_deref(),
            valued_on: row.valued_on.as_deref(),
            amount_minor: row.amount_minor,
            currency: &row.currency,
        })?,
        first_seen_at: row.first_seen_at,
        changed_at: row.changed_at,
        last_seq: row.last_seq,
        missed: small(row.missed, "missed")?,
    })
}

fn open_change(key: Option<&OwnerKey>, account: AccountId, row: ChangeRow) -> Result<Change> {
    let place = numbered(account.as_bytes(), row.seq);
    let open = |column, sealed: Option<Vec<u8>>| match (key, sealed) {
        (Some(key), Some(sealed)) => key.open_json::<Image>(column, &place, &sealed)?.transaction().map(Some),
        _ => Ok(None),
    };
    Ok(Change {
        seq: row.seq,
        transaction: TransactionId { account, number: row.number },
        kind: from_word(&row.kind, "kind of change")?,
        before: open(BEFORE, row.before_image)?,
        after: open(AFTER, row.after_image)?,
        reason: from_word(&row.reason, "reason of change")?,
        ambiguous: row.ambiguous,
        links: row.links.map_or_else(|| Ok(Vec::new()), |links| parsed(&links, "links"))?,
        observed_at: row.observed_at,
        sync: row.sync,
    })
}
