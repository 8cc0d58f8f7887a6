//! Reading syncs.

use super::arg::args;
use super::codec::{from_word, small};
use super::db::{Tx, row};
use super::{FoundSync, PageOf, Result, Store, one_more};
use crate::model::*;

row! {
    SyncRow {
        id: SyncId, connection: ConnectionId, account: AccountId, wanted_by: String, customer_present: bool,
        started_at: Timestamp, finished_at: Timestamp, bank_asked_at: Option<Timestamp>,
        bank_answered_at: Option<Timestamp>, code: String, reason: Option<String>, message: Option<String>,
        has_new_data: bool, added: i64, modified: i64, removed: i64, proof: String, seq: i64, epoch: i64,
        next_allowed_at: Option<Timestamp>, next_at: Option<Timestamp>, connector: String, runs: i64,
    }
}

impl Store {
    /// A sync of one of the business's accounts. One that an interrupted run left is answered by the
    /// run that took over.
    pub async fn sync(&self, business: BusinessId, id: SyncId) -> Result<Option<FoundSync>> {
        // Requests first: whoever finds none there finds the finished sync, if there ever was one.
        let sql = "SELECT r.account, r.answered_by FROM sync_request r JOIN account a ON a.id = r.account
                   WHERE r.id = $1 AND a.business = $2";
        let wanted: Option<(AccountId, Option<SyncId>)> = self.db.optional(sql, args![id, business]).await?;
        let answer = match wanted {
            Some((account, None)) => return Ok(Some(FoundSync::Running { account })),
            Some((_, Some(answered_by))) => answered_by,
            None => id,
        };
        let sql = "SELECT s.id, s.connection, s.account, s.wanted_by, s.customer_present, s.started_at, s.finished_at,
                     s.bank_asked_at, s.bank_answered_at, s.code, s.reason, s.message, s.has_new_data, s.added, s.modified,
                     s.removed, s.proof, s.seq, s.epoch, s.next_allowed_at, s.next_at, s.connector, s.runs
                   FROM sync s JOIN connection c ON c.id = s.connection
                   WHERE s.id = $1 AND c.business = $2 AND c.state NOT IN ('closing', 'deleted')";
        let found: Option<SyncRow> = self.db.optional(sql, args![answer, business]).await?;
        match (found, wanted) {
            (Some(row), _) => Ok(Some(FoundSync::Finished(Box::new(row.sync()?)))),
            (None, Some((account, _))) => Ok(Some(FoundSync::Running { account })),
            (None, None) => Ok(None),
        }
    }

    /// An account's finished syncs, newest first, `before` excluded.
    pub async fn syncs(
        &self,
        account: AccountId,
        before: Option<SyncId>,
        limit: u32,
    ) -> Result<PageOf<Sync>> {
        let sql = "SELECT id, connection, account, wanted_by, customer_present, started_at, finished_at, bank_asked_at,
                     bank_answered_at, code, reason, message, has_new_data, added, modified, removed, proof, seq, epoch,
                     next_allowed_at, next_at, connector, runs
                   FROM sync WHERE account = $1 AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3";
        let rows: Vec<SyncRow> = self.db.all(sql, args![account, before, one_more(limit)]).await?;
        let page = PageOf::cut(rows, limit);
        let items = page.items.into_iter().map(SyncRow::sync).collect::<Result<_>>()?;
        Ok(PageOf { items, has_more: page.has_more })
    }
}

/// A finished sync, within a transaction.
pub(super) async fn finished(tx: &mut Tx, account: AccountId, id: SyncId) -> Result<Option<Sync>> {
    let sql = "SELECT id, connection, account, wanted_by, customer_present, started_at, finished_at, bank_asked_at,
                 bank_answered_at, code, reason, message, has_new_data, added, modified, removed, proof, seq, epoch,
                 next_allowed_at, next_at, connector, runs
               FROM sync WHERE account = $1 AND id = $2";
    let found: Option<SyncRow> = tx.optional(sql, args![account, id]).await?;
    found.map(SyncRow::sync).transpose()
}

impl SyncRow {
    fn sync(self) -> Result<Sync> {
        Ok(Sync {
            id: self.id,
            connection: self.connection,
            account: self.account,
            trigger: from_word(&self.wanted_by, "trigger")?,
            customer_present: self.customer_present,
            started_at: self.started_at,
            finished_at: self.finished_at,
            bank_asked_at: self.bank_asked_at,
            bank_answered_at: self.bank_answered_at,
            code: from_word(&self.code, "sync code")?,
            reason: self.reason,
            message: self.message,
            has_new_data: self.has_new_data,
            added: small(self.added, "count")?,
            modified: small(self.modified, "count")?,
            removed: small(self.removed, "count")?,
            proof: from_word(&self.proof, "proof")?,
            seq: self.seq,
            epoch: small(self.epoch, "epoch")?,
            next_allowed_at: self.next_allowed_at,
            next_at: self.next_at,
            connector: self.connector,
            runs: small(self.runs, "runs")?,
        })
    }
}
