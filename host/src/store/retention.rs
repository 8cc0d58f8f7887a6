//! Sweeping rows that nothing needs any more, by age, a batch at a time.
//!
//! Found with a reader, so that no writer waits for the search; deleted by their keys, if they are
//! still not needed. Several processes may sweep at once. Must not know: when and how often.

use super::arg::args;
use super::codec::json;
use super::dialect::Kind::{Bytes, Text};
use super::{Result, Store};
use crate::model::*;
use serde_json::json as value;
use std::time::Duration;

/// Rows deleted at once: a write transaction of a few milliseconds.
const BATCH: i64 = 1_000;
/// Batches of one table in one call: other housekeeping has its turn, and every five seconds so much
/// is still more than two thousand syncs a second leave.
const BATCHES_MAX: usize = 20;

/// What one call of [`Store::sweep`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Tables with the number of rows that went; those without any are left out.
    pub rows: Vec<(&'static str, u64)>,
    /// There is more: call again soon.
    pub more: bool,
}

/// How old rows of one table are found and deleted. The two key columns are bytes.
pub(super) struct Sweep {
    pub(super) table: &'static str,
    kept: fn(&Retention) -> Duration,
    /// Keys of rows until `$1`, the oldest `$2` of them.
    pub(super) find: &'static str,
    /// Deletes the rows of the keys in `bulk(a, b)`, unless they are needed again.
    delete: &'static str,
}

pub(super) const SWEEPS: [Sweep; 7] = [
    Sweep {
        table: "sync",
        kept: |retention| retention.unchanged_syncs,
        find: "SELECT account, id FROM sync
               WHERE NOT has_new_data AND finished_at <= $1
                 AND NOT EXISTS (SELECT 1 FROM account_head h WHERE h.account = sync.account AND h.last_sync = sync.id)
               ORDER BY finished_at LIMIT $2",
        delete: ", free AS MATERIALIZED (
                   SELECT account, id FROM sync WHERE (account, id) IN (SELECT a, b FROM bulk) {skip_locked})
                 DELETE FROM sync WHERE (account, id) IN (SELECT account, id FROM free)",
    },
    Sweep {
        table: "sync_request",
        kept: |retention| retention.sync_requests,
        find: "SELECT account, id FROM sync_request
               WHERE answered_by IS NOT NULL AND requested_at <= $1 ORDER BY requested_at LIMIT $2",
        delete: ", free AS MATERIALIZED (
                   SELECT id FROM sync_request WHERE id IN (SELECT b FROM bulk) {skip_locked})
                 DELETE FROM sync_request WHERE id IN (SELECT id FROM free)",
    },
    Sweep {
        table: "attempt",
        kept: |retention| retention.attempts,
        find: "SELECT delivery, id FROM attempt WHERE at <= $1 ORDER BY at LIMIT $2",
        delete: ", free AS MATERIALIZED (
                   SELECT delivery, id FROM attempt WHERE (delivery, id) IN (SELECT a, b FROM bulk) {skip_locked})
                 DELETE FROM attempt WHERE (delivery, id) IN (SELECT delivery, id FROM free)",
    },
    Sweep {
        table: "delivery",
        kept: |retention| retention.deliveries,
        find: "SELECT endpoint, id FROM delivery
               WHERE state <> 'pending' AND due_at <= $1 ORDER BY due_at LIMIT $2",
        delete: ", free AS MATERIALIZED (
                   SELECT id FROM delivery WHERE id IN (SELECT b FROM bulk) AND state <> 'pending' {skip_locked})
                 DELETE FROM delivery WHERE id IN (SELECT id FROM free)",
    },
    Sweep {
        table: "event",
        kept: |retention| retention.events,
        find: "SELECT business, id FROM event
               WHERE created_at <= $1 AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.event = event.id)
               ORDER BY created_at LIMIT $2",
        delete: ", free AS MATERIALIZED (
                   SELECT id FROM event
                   WHERE id IN (SELECT b FROM bulk) AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.event = event.id)
                   {skip_locked})
                 DELETE FROM event WHERE id IN (SELECT id FROM free)",
    },
    Sweep {
        table: "authorisation",
        kept: |retention| retention.authorisations,
        find: "SELECT business, id FROM authorisation
               WHERE ended_at IS NOT NULL AND ended_at <= $1 ORDER BY ended_at LIMIT $2",
        delete: ", free AS MATERIALIZED (
                   SELECT id FROM authorisation WHERE id IN (SELECT b FROM bulk) {skip_locked})
                 DELETE FROM authorisation WHERE id IN (SELECT id FROM free)",
    },
    Sweep {
        table: "consent",
        kept: |retention| retention.ended_consents,
        find: "SELECT connection, id FROM consent
               WHERE ended_at IS NOT NULL AND ended_at <= $1
                 AND EXISTS (SELECT 1 FROM connection c WHERE c.id = consent.connection AND c.erased_at IS NOT NULL)
               ORDER BY ended_at LIMIT $2",
        delete: ", free AS MATERIALIZED (
                   SELECT connection, id FROM consent WHERE (connection, id) IN (SELECT a, b FROM bulk) {skip_locked})
                 DELETE FROM consent WHERE (connection, id) IN (SELECT connection, id FROM free)",
    },
];

const FIND_KEYS: &str =
    "SELECT business, key FROM idempotency WHERE created_at <= $1 ORDER BY created_at LIMIT $2";
const DELETE_KEYS: &str = ", free AS MATERIALIZED (
       SELECT business, key FROM idempotency
       WHERE (business, key) IN (SELECT a, b FROM bulk) AND created_at <= $2 {skip_locked})
     DELETE FROM idempotency WHERE (business, key) IN (SELECT business, key FROM free)";

/// How long refusals count that no login has followed. Banks count without end, so this is long; but who has not logged
/// in for a quarter of a year begins anew, since about a customer who has left no more than that may be kept.
const REJECTIONS_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
const FIND_REJECTIONS: &str =
    "SELECT business, institution, customer FROM rejection WHERE last_at <= $1 ORDER BY last_at LIMIT $2";
const DELETE_REJECTION: &str =
    "DELETE FROM rejection WHERE business = $1 AND institution = $2 AND customer = $3 AND last_at <= $4";

impl Store {
    /// Deletes rows that are older than they are kept and that nothing needs. Never a pending delivery, an
    /// event that has a delivery, the last sync of an account, or a consent of a customer who is still there.
    pub async fn sweep(&self, retention: &Retention, now: Timestamp) -> Result<Swept> {
        let mut swept = Swept::default();
        for sweep in &SWEEPS {
            let until = now.minus((sweep.kept)(retention));
            let mut rows = 0;
            let mut more = true;
            for _ in 0..BATCHES_MAX {
                let keys: Vec<(Vec<u8>, Vec<u8>)> = self.db.all(sweep.find, args![until, BATCH]).await?;
                more = keys.len() as i64 == BATCH;
                if !keys.is_empty() {
                    let keys: Vec<_> = keys.iter().map(|(a, b)| value!({"a": hex(a), "b": hex(b)})).collect();
                    let sql = self.db.dialect().bulk(&[("a", Bytes), ("b", Bytes)], sweep.delete);
                    rows += self.db.run(sql, args![json(&keys, "keys")?]).await?;
                }
                if !more {
                    break;
                }
            }
            swept.add(sweep.table, rows, more);
        }
        let (rows, more) = self.sweep_idempotency(now.minus(retention.idempotency_keys)).await?;
        swept.add("idempotency", rows, more);
        let (rows, more) = self.sweep_rejections(now.minus(REJECTIONS_KEPT)).await?;
        swept.add("rejection", rows, more);
        Ok(swept)
    }

    /// One by one: there are few.
    async fn sweep_rejections(&self, until: Timestamp) -> Result<(u64, bool)> {
        let old: Vec<(BusinessId, String, Vec<u8>)> =
            self.db.all(FIND_REJECTIONS, args![until, BATCH]).await?;
        let mut rows = 0;
        for (business, institution, customer) in &old {
            rows += self.db.run(DELETE_REJECTION, args![*business, institution, customer, until]).await?;
        }
        Ok((rows, old.len() as i64 == BATCH))
    }

    async fn sweep_idempotency(&self, until: Timestamp) -> Result<(u64, bool)> {
        let mut rows = 0;
        for _ in 0..BATCHES_MAX {
            let keys: Vec<(Vec<u8>, String)> = self.db.all(FIND_KEYS, args![until, BATCH]).await?;
            let more = keys.len() as i64 == BATCH;
            if !keys.is_empty() {
                let keys: Vec<_> = keys.iter().map(|(a, b)| value!({"a": hex(a), "b": b})).collect();
                let sql = self.db.dialect().bulk(&[("a", Bytes), ("b", Text)], DELETE_KEYS);
                rows += self.db.run(sql, args![json(&keys, "keys")?, until]).await?;
            }
            if !more {
                return Ok((rows, false));
            }
        }
        Ok((rows, true))
    }
}

impl Swept {
    fn add(&mut self, table: &'static str, rows: u64, more: bool) {
        if rows > 0 {
            self.rows.push((table, rows));
        }
        self.more |= more;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::arg::Arg;
    use crate::vault::Vault;
    use sqlx::AssertSqlSafe;
    use std::sync::Arc;

    async fn plan(store: &Store, sql: String, args: &[Arg<'_>]) -> Vec<String> {
        let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let plan: Vec<(i64, i64, i64, String)> = store.db.all(sql, args).await.unwrap();
        plan.into_iter().map(|(.., step)| step).collect()
    }

    #[tokio::test]
    async fn what_is_old_is_found_in_the_order_of_an_index_and_deleted_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::from_text("k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
        let url = format!("sqlite:{}", folder.path().join("db").display());
        let store = Store::open(&url, Arc::new(vault)).await.unwrap();
        store.migrate().await.unwrap();
        let sweeps = SWEEPS.iter().map(|sweep| (sweep.table, sweep.find, sweep.delete));
        let indexes = [
            "sync_unchanged",
            "sync_request_answered",
            "attempt_at",
            "delivery_ended",
            "event_created",
            "authorisation_ended",
            "consent_ended",
            "idempotency_created",
        ];
        let all = sweeps.chain([("idempotency", FIND_KEYS, DELETE_KEYS)]);
        for ((table, find, delete), index) in all.zip(indexes) {
            let found = plan(&store, find.to_owned(), args![Timestamp(0), BATCH]).await;
            let first = found.first().map(String::as_str).unwrap_or_default();
            assert!(first.starts_with(&format!("SEARCH {table} USING")), "{found:?}");
            assert!(first.contains(&format!("INDEX {index} (")), "{found:?}");
            assert!(found.iter().all(|step| !step.contains("TEMP B-TREE")), "{found:?}");

            let delete = store.db.dialect().bulk(&[("a", Bytes), ("b", Bytes)], delete);
            let deleted = plan(&store, delete.0, args!["[]", Timestamp(0)]).await;
            assert!(
                deleted.iter().any(|step| step.starts_with(&format!("SEARCH {table} USING"))),
                "{deleted:?}"
            );
            for plan in [found, deleted] {
                assert!(plan.iter().all(|step| !step.starts_with(&format!("SCAN {table}"))), "{plan:?}");
            }
        }
        let found = plan(&store, FIND_REJECTIONS.to_owned(), args![Timestamp(0), BATCH]).await;
        assert!(found.iter().all(|step| step.contains("INDEX rejection_last (")), "{found:?}");
        let one = args![BusinessId::new(), "bank", BusinessId::new(), Timestamp(0)];
        let deleted = plan(&store, DELETE_REJECTION.to_owned(), one).await;
        assert!(deleted.iter().all(|step| step.starts_with("SEARCH rejection USING")), "{deleted:?}");
    }
}
