//! Deliveries and attempts: claiming, recording, replaying.

use super::arg::args;
use super::codec::{from_word, json, small};
use super::db::row;
use super::dialect::Kind;
use super::{Attempt, Delivery, PageOf, Result, Store, StoreError, one_more};
use crate::model::*;
use serde_json::{Value, json as value};
use std::collections::{BTreeMap, BTreeSet};

row! { ClaimRow { id: DeliveryId, token: i64, attempts: i64, event: EventId, endpoint: EndpointId } }

row! {
    DeliveryRow {
        id: DeliveryId, event: EventId, kind: String, state: String, attempts: i64, due_at: Timestamp,
        created_at: Timestamp,
    }
}

row! {
    AttemptRow {
        id: AttemptId, delivery: DeliveryId, event: EventId, at: Timestamp, duration_ms: i64, status: Option<i64>,
        error: Option<String>,
    }
}

// For each endpoint the due time of its last permitted row, found by walking the index, so that a dead endpoint's backlog
// is never read through; then those rows. (CROSS JOIN makes SQLite keep that order.)
pub(super) const DUE: &str = ", share AS MATERIALIZED (
    SELECT e.id AS endpoint, COALESCE((
      SELECT x.due_at FROM delivery x
      WHERE x.endpoint = e.id AND x.state = 'pending' AND x.due_at <= $2
      ORDER BY x.due_at LIMIT 1 OFFSET $3), $2) AS due_until
    FROM endpoint e
    WHERE e.state = 'active' AND (e.failing_since IS NOT NULL) = $6
      AND e.id NOT IN (SELECT id FROM bulk)),
  ranked AS (
    SELECT d.id, d.due_at, row_number() OVER (PARTITION BY d.endpoint ORDER BY d.due_at, d.id) AS place
    FROM share CROSS JOIN delivery d
    WHERE d.endpoint = share.endpoint AND d.state = 'pending' AND d.due_at <= share.due_until)
  SELECT id FROM ranked WHERE place <= $4 ORDER BY due_at, id LIMIT $5";

impl Store {
    /// Claims deliveries that are due, at most `per_endpoint` of each endpoint and `limit` in all, oldest due first:
    /// of endpoints that fail (`failing_since` is set) or of the others, and never of those in `busy`. Those of
    /// disabled endpoints wait.
    pub async fn claim_deliveries(
        &self,
        now: Timestamp,
        until: Timestamp,
        per_endpoint: u32,
        limit: u32,
        failing: bool,
        busy: &[EndpointId],
    ) -> Result<Vec<ClaimedDelivery>> {
        if per_endpoint == 0 || limit == 0 {
            return Ok(Vec::new());
        }
        let busy = ids(busy.iter().map(EndpointId::as_bytes))?;
        let args = args![busy, now, i64::from(per_endpoint) - 1, per_endpoint, limit, failing];
        let sql = self.db.dialect().bulk(&[("id", Kind::Bytes)], DUE);
        let due: Vec<(DeliveryId,)> = self.db.all(sql, args).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let due = ids(due.iter().map(|(id,)| id.as_bytes()))?;
        let sql = ", mine AS MATERIALIZED (
                     SELECT id AS due_id FROM delivery
                     WHERE id IN (SELECT id FROM bulk) AND state = 'pending' AND due_at <= $2 {skip_locked})
                   UPDATE delivery SET token = token + 1, due_at = $3 FROM mine WHERE id = due_id
                   RETURNING id, token, attempts, event, endpoint";
        let mut tx = self.db.begin().await?;
        let sql = tx.dialect().bulk(&[("id", Kind::Bytes)], sql);
        let mut claimed: Vec<ClaimRow> = tx.all(sql, args![&due, now, until]).await?;
        tx.commit().await?;
        claimed.sort_by_key(|row| row.id);
        self.with_contents(claimed).await
    }

    async fn with_contents(&self, claimed: Vec<ClaimRow>) -> Result<Vec<ClaimedDelivery>> {
        let events: BTreeSet<EventId> = claimed.iter().map(|row| row.event).collect();
        let sql = "SELECT id, payload FROM event WHERE id IN (SELECT id FROM bulk)";
        let sql = self.db.dialect().bulk(&[("id", Kind::Bytes)], sql);
        let payloads: Vec<(EventId, String)> =
            self.db.all(sql, args![ids(events.iter().map(EventId::as_bytes))?]).await?;
        let payloads: BTreeMap<EventId, String> = payloads.into_iter().collect();
        let endpoints: BTreeSet<EndpointId> = claimed.iter().map(|row| row.endpoint).collect();
        let endpoints = self.endpoints_of(&ids(endpoints.iter().map(EndpointId::as_bytes))?).await?;
        let mut deliveries = Vec::new();
        for row in claimed {
            let payload = payloads.get(&row.event).ok_or(StoreError::Corrupt("event of a delivery"))?;
            // An endpoint that is gone by now needs no delivery.
            if let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.id == row.endpoint) {
                deliveries.push(ClaimedDelivery {
                    id: row.id,
                    token: row.token,
                    attempts: small(row.attempts, "attempts")?,
                    event: row.event,
                    payload: payload.clone(),
                    endpoint: endpoint.clone(),
                });
            }
        }
        Ok(deliveries)
    }

    /// When the next delivery is due.
    pub async fn next_delivery(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT min(due_at) FROM (
                     SELECT (SELECT min(d.due_at) FROM delivery d WHERE d.endpoint = e.id AND d.state = 'pending') AS due_at
                     FROM endpoint e WHERE e.state = 'active') AS next";
        let (next,): (Option<Timestamp>,) = self.db.one(sql, args![]).await?;
        Ok(next)
    }

    /// Records an attempt and what becomes of the delivery and endpoint (`failing_since`, disabling cancels its
    /// pending deliveries). False if the token is no longer ours (the attempt row is stored all the same).
    pub async fn record_attempt(
        &self,
        delivery: &ClaimedDelivery,
        attempt: &NewAttempt,
        after: &AfterAttempt,
    ) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        let sql = "INSERT INTO attempt (id, delivery, event, at, duration_ms, status, error)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let (status, error) = (attempt.status.map(i64::from), attempt.error.as_deref());
        let args =
            args![attempt.id, delivery.id, delivery.event, attempt.at, attempt.duration_ms, status, error];
        tx.run(sql, args).await?;
        let (state, due_at) = match after {
            AfterAttempt::Delivered => ("delivered", None),
            AfterAttempt::Retry(at) => ("pending", Some(*at)),
            AfterAttempt::Exhausted => ("exhausted", None),
            AfterAttempt::DisableEndpoint(_) => ("cancelled", None),
        };
        // The token rises, so that nobody records this attempt twice.
        let sql = "UPDATE delivery SET state = $3, due_at = COALESCE($4, due_at), token = token + 1, attempts = attempts + 1
                   WHERE id = $1 AND token = $2 AND state = 'pending'";
        let ours = tx.run(sql, args![delivery.id, delivery.token, state, due_at]).await? == 1;
        if ours {
            let endpoint = delivery.endpoint.id;
            match after {
                AfterAttempt::Delivered => {
                    let sql = "UPDATE endpoint SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL";
                    tx.run(sql, args![endpoint]).await?;
                }
                AfterAttempt::Retry(_) | AfterAttempt::Exhausted => {
                    let sql =
                        "UPDATE endpoint SET failing_since = $2 WHERE id = $1 AND failing_since IS NULL";
                    tx.run(sql, args![endpoint, attempt.at]).await?;
                }
                AfterAttempt::DisableEndpoint(reason) => {
                    let sql = "UPDATE endpoint SET state = 'disabled', disabled_reason = $2,
                                 failing_since = COALESCE(failing_since, $3)
                               WHERE id = $1";
                    tx.run(sql, args![endpoint, reason, attempt.at]).await?;
                }
            }
        }
        tx.commit().await?;
        if ours && matches!(after, AfterAttempt::DisableEndpoint(_)) {
            self.cancel_pending(delivery.endpoint.id).await?;
        }
        Ok(ours)
    }

    /// An endpoint's deliveries, newest first.
    pub async fn deliveries(
        &self,
        endpoint: EndpointId,
        before: Option<DeliveryId>,
        limit: u32,
    ) -> Result<PageOf<Delivery>> {
        let sql = "SELECT d.id, d.event, e.kind, d.state, d.attempts, d.due_at, e.created_at
                   FROM delivery d JOIN event e ON e.id = d.event
                   WHERE d.endpoint = $1 AND ($2 IS NULL OR d.id < $2) ORDER BY d.id DESC LIMIT $3";
        let rows: Vec<DeliveryRow> = self.db.all(sql, args![endpoint, before, one_more(limit)]).await?;
        let page = PageOf::cut(rows, limit);
        let items = page.items.into_iter().map(DeliveryRow::delivery).collect::<Result<_>>()?;
        Ok(PageOf { items, has_more: page.has_more })
    }

    /// A delivery's attempts, oldest first.
    pub async fn attempts(&self, endpoint: EndpointId, delivery: DeliveryId) -> Result<Vec<Attempt>> {
        let sql = "SELECT a.id, a.delivery, a.event, a.at, a.duration_ms, a.status, a.error
                   FROM attempt a JOIN delivery d ON d.id = a.delivery
                   WHERE a.delivery = $1 AND d.endpoint = $2 ORDER BY a.id";
        let rows: Vec<AttemptRow> = self.db.all(sql, args![delivery, endpoint]).await?;
        rows.into_iter().map(AttemptRow::attempt).collect()
    }

    /// Makes a delivery of the endpoint due now, whatever its state; false if unknown.
    pub async fn replay_delivery(
        &self,
        endpoint: EndpointId,
        delivery: DeliveryId,
        now: Timestamp,
    ) -> Result<bool> {
        let sql = "UPDATE delivery SET state = 'pending', due_at = $3, token = token + 1 WHERE id = $1 AND endpoint = $2";
        Ok(self.db.run(sql, args![delivery, endpoint, now]).await? == 1)
    }
}

impl DeliveryRow {
    fn delivery(self) -> Result<Delivery> {
        let state: DeliveryState = from_word(&self.state, "delivery state")?;
        Ok(Delivery {
            id: self.id,
            event: self.event,
            kind: from_word(&self.kind, "event type")?,
            state,
            attempts: small(self.attempts, "attempts")?,
            due_at: (state == DeliveryState::Pending).then_some(self.due_at),
            created_at: self.created_at,
        })
    }
}

impl AttemptRow {
    fn attempt(self) -> Result<Attempt> {
        Ok(Attempt {
            id: self.id,
            delivery: self.delivery,
            event: self.event,
            outcome: NewAttempt {
                id: self.id,
                at: self.at,
                duration_ms: self.duration_ms,
                status: self.status.map(|status| small(status, "status")).transpose()?,
                error: self.error,
            },
        })
    }
}

/// Ids as a bulk parameter.
fn ids<'a>(ids: impl Iterator<Item = &'a [u8]>) -> Result<String> {
    let rows: Vec<Value> = ids.map(|id| value!({ "id": hex(id) })).collect();
    json(&rows, "ids")
}
