//! Reading transactions and their history.

use super::arg::args;
use super::codec::{Body, Clear, Image, from_word, small};
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
        observed_at: Timestamp, sync: SyncId,
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
const KNOWN: &str = "SELECT t.account, t.number, status, stability, booked_on, valued_on, amount_minor, currency, first_seen_at,
        changed_at, last_seq, missed, sealed
    FROM txn t JOIN txn_body b ON b.account = t.account AND b.number = t.number
    WHERE t.account = $1 AND known_until >= $2";

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
        let sql = "SELECT seq, number, kind, before_image, after_image, observed_at, sync FROM txn_change
                   WHERE account = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        let rows: Vec<ChangeRow> = self.db.all(sql, args![account, after_seq, one_more(limit)]).await?;
        let page = PageOf::cut(rows, limit);
        let key = self.key_of_account(account).await?;
        let items = page
            .items
            .into_iter()
            .map(|row| open_change(key.as_ref(), account, row))
            .collect::<Result<_>>()?;
        Ok(PageOf { items, has_more: page.has_more })
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
        observed_at: row.observed_at,
        sync: row.sync,
    })
}
