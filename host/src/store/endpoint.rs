//! Webhook endpoints, and the rows an event leaves for them.

use super::arg::args;
use super::codec::{from_word, json, parsed, word};
use super::db::{Tx, row};
use super::dialect::Kind;
use super::seal::OwnerKey;
use super::{Result, Store, StoreError};
use crate::model::*;
use serde::{Deserialize, Serialize};
use serde_json::json as value;
use std::collections::BTreeSet;

row! {
    EndpointRow {
        id: EndpointId, business: BusinessId, url: String, event_types: String, state: String,
        disabled_reason: Option<String>, failing_since: Option<Timestamp>, secrets: Vec<u8>, created_at: Timestamp,
    }
}

/// A signing secret inside the sealed column.
#[derive(Serialize, Deserialize)]
struct Inside {
    secret: String,
    expires_at: Option<i64>,
}

const SECRETS: &str = "endpoint.secrets";

impl Store {
    /// A new endpoint; its secrets are sealed under a data key of its own.
    /// Constraint `endpoint_business` if the business is unknown.
    pub async fn create_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        let mut tx = self.db.begin().await?;
        let key = self.keys.create(&mut tx, endpoint.id.as_bytes(), Some(endpoint.business)).await?;
        let sql = "INSERT INTO endpoint (id, business, url, event_types, state, disabled_reason, failing_since, secrets,
                     created_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let args = args![
            endpoint.id,
            endpoint.business,
            &endpoint.url,
            json(&endpoint.event_types, "event types")?,
            word(endpoint.state),
            endpoint.disabled_reason.as_deref(),
            endpoint.failing_since,
            seal(&key, endpoint)?,
            endpoint.created_at,
        ];
        tx.run(sql, args).await.map_err(|error| error.on_foreign_key("endpoint_business"))?;
        tx.commit().await
    }

    /// One of the business's endpoints.
    pub async fn endpoint(&self, business: BusinessId, id: EndpointId) -> Result<Option<Endpoint>> {
        let sql = "SELECT id, business, url, event_types, state, disabled_reason, failing_since, secrets, created_at
                   FROM endpoint WHERE id = $1 AND business = $2";
        let rows = self.db.all(sql, args![id, business]).await?;
        Ok(self.open_endpoints(rows).await?.pop())
    }

    /// A business's endpoints, oldest first.
    pub async fn endpoints(&self, business: BusinessId) -> Result<Vec<Endpoint>> {
        let sql = "SELECT id, business, url, event_types, state, disabled_reason, failing_since, secrets, created_at
                   FROM endpoint WHERE business = $1 ORDER BY id";
        let rows = self.db.all(sql, args![business]).await?;
        self.open_endpoints(rows).await
    }

    /// Endpoints by their ids, given as a bulk parameter; those deleted meanwhile are left out.
    pub(super) async fn endpoints_of(&self, ids: &str) -> Result<Vec<Endpoint>> {
        let sql = "SELECT e.id, business, url, event_types, state, disabled_reason, failing_since, secrets, created_at
                   FROM endpoint e WHERE e.id IN (SELECT id FROM bulk)";
        let rows = self.db.all(self.db.dialect().bulk(&[("id", Kind::Bytes)], sql), args![ids]).await?;
        self.open_endpoints(rows).await
    }

    async fn open_endpoints(&self, rows: Vec<EndpointRow>) -> Result<Vec<Endpoint>> {
        let mut all = Vec::new();
        for row in rows {
            match self.keys.of(&self.db, row.id.as_bytes()).await {
                Err(StoreError::Erased) => {} // deleted since the row was read
                key => all.push(open(&key?, row)?),
            }
        }
        Ok(all)
    }

    /// Replaces URL, event types, state, secrets; `failing_since` is cleared when it becomes active, pending
    /// deliveries are cancelled when it becomes disabled. False if unknown.
    pub async fn update_endpoint(&self, endpoint: &Endpoint) -> Result<bool> {
        let key = match self.keys.of(&self.db, endpoint.id.as_bytes()).await {
            Err(StoreError::Erased) => return Ok(false),
            other => other?,
        };
        let mut tx = self.db.begin().await?;
        let sql = "SELECT state FROM endpoint WHERE id = $1 AND business = $2 {for_update}";
        let sql = tx.dialect().sql(sql);
        let old: Option<(String,)> = tx.optional(sql, args![endpoint.id, endpoint.business]).await?;
        let Some((old,)) = old else {
            tx.rollback().await?;
            return Ok(false);
        };
        let state = word(endpoint.state);
        let becomes_active = endpoint.state == EndpointState::Active && old != state;
        let failing_since = if becomes_active { None } else { endpoint.failing_since };
        let sql = "UPDATE endpoint SET url = $2, event_types = $3, state = $4, disabled_reason = $5, failing_since = $6,
                     secrets = $7
                   WHERE id = $1";
        let args = args![
            endpoint.id,
            &endpoint.url,
            json(&endpoint.event_types, "event types")?,
            &state,
            endpoint.disabled_reason.as_deref(),
            failing_since,
            seal(&key, endpoint)?,
        ];
        tx.run(sql, args).await?;
        tx.commit().await?;
        if endpoint.state == EndpointState::Disabled {
            self.cancel_pending(endpoint.id).await?;
        }
        Ok(true)
    }

    /// Removes it; its pending deliveries are cancelled. False if unknown.
    pub async fn delete_endpoint(&self, business: BusinessId, id: EndpointId) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        if tx.run("DELETE FROM endpoint WHERE id = $1 AND business = $2", args![id, business]).await? == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        self.keys.destroy(&mut tx, id.as_bytes()).await?;
        tx.commit().await?;
        self.keys.forget(id.as_bytes());
        self.cancel_pending(id).await?;
        Ok(true)
    }

    /// Nothing that waits for this endpoint is sent any more. A transaction of its own, after the one that
    /// stopped the endpoint: whoever records an attempt holds its delivery and then wants the endpoint, so
    /// holding the endpoint and wanting deliveries would be a deadlock. What a crash in between leaves
    /// pending is not claimed either, since the endpoint is not active.
    pub(super) async fn cancel_pending(&self, id: EndpointId) -> Result<()> {
        // Locked in the order of ids, so that two of these at once don't wait for each other.
        let sql = "WITH waiting AS MATERIALIZED (
                     SELECT id AS waiting_id FROM delivery WHERE endpoint = $1 AND state = 'pending' ORDER BY id {for_update})
                   UPDATE delivery SET state = 'cancelled', token = token + 1 FROM waiting WHERE id = waiting_id";
        self.db.run(self.db.dialect().sql(sql), args![id]).await?;
        Ok(())
    }
}

/// Stores an event with one delivery, due at once, for each active endpoint of its business that
/// wants its kind.
pub(super) async fn tell(tx: &mut Tx, event: &NewEvent) -> Result<()> {
    tell_all(tx, &[event]).await
}

/// The same of many events.
pub(super) async fn tell_all(tx: &mut Tx, events: &[&NewEvent]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let rows = events.iter().map(|event| {
        value!({
            "id": hex(event.id.as_bytes()),
            "business": hex(event.business.as_bytes()),
            "kind": event.kind.name(),
            "connection": hex(event.connection.as_bytes()),
            "account": event.account.map(|id| hex(id.as_bytes())),
            "payload": &event.payload,
            "created_at": event.created_at.0,
        })
    });
    let columns = [
        ("id", Kind::Bytes),
        ("business", Kind::Bytes),
        ("kind", Kind::Text),
        ("connection", Kind::Bytes),
        ("account", Kind::Bytes),
        ("payload", Kind::Text),
        ("created_at", Kind::Int),
    ];
    let sql = "INSERT INTO event (id, business, kind, connection, account, payload, created_at)
               SELECT id, business, kind, connection, account, payload, created_at FROM bulk";
    let sql = tx.dialect().bulk(&columns, sql);
    tx.run(sql, args![json(&rows.collect::<Vec<_>>(), "events")?]).await?;
    let businesses: BTreeSet<&[u8]> = events.iter().map(|event| event.business.as_bytes()).collect();
    let businesses: Vec<_> = businesses.into_iter().map(|id| value!({ "of_business": hex(id) })).collect();
    let sql = "SELECT id, business, event_types FROM endpoint
               WHERE business IN (SELECT of_business FROM bulk) AND state = 'active' ORDER BY id";
    let sql = tx.dialect().bulk(&[("of_business", Kind::Bytes)], sql);
    let endpoints: Vec<(EndpointId, BusinessId, String)> =
        tx.all(sql, args![json(&businesses, "businesses")?]).await?;
    let mut deliveries = Vec::new();
    for (endpoint, business, wanted) in endpoints {
        let wanted: Vec<EventType> = parsed(&wanted, "event types")?;
        let of_business = events.iter().filter(|event| event.business == business);
        for event in of_business.filter(|event| wanted.is_empty() || wanted.contains(&event.kind)) {
            let ids =
                [DeliveryId::new().as_bytes().to_vec(), event.id.as_bytes().to_vec()].map(|id| hex(&id));
            let [id, of_event] = ids;
            let (endpoint, due_at) = (hex(endpoint.as_bytes()), event.created_at.0);
            deliveries.push(value!({"id": id, "event": of_event, "endpoint": endpoint, "due_at": due_at}));
        }
    }
    if deliveries.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO delivery (id, event, endpoint, state, due_at, token, attempts)
               SELECT id, event, endpoint, 'pending', due_at, 0, 0 FROM bulk";
    let columns =
        [("id", Kind::Bytes), ("event", Kind::Bytes), ("endpoint", Kind::Bytes), ("due_at", Kind::Int)];
    let sql = tx.dialect().bulk(&columns, sql);
    tx.run(sql, args![json(&deliveries, "deliveries")?]).await?;
    Ok(())
}

fn seal(key: &OwnerKey, endpoint: &Endpoint) -> Result<Vec<u8>> {
    let inside = |secret: &EndpointSecret| Inside {
        secret: secret.secret.reveal().to_owned(),
        expires_at: secret.expires_at.map(|at| at.0),
    };
    let inside: Vec<Inside> = endpoint.secrets.iter().map(inside).collect();
    let plain = zeroize::Zeroizing::new(json(&inside, SECRETS)?);
    key.seal(SECRETS, endpoint.id.as_bytes(), plain.as_bytes())
}

fn open(key: &OwnerKey, row: EndpointRow) -> Result<Endpoint> {
    let inside: Vec<Inside> = key.open_json(SECRETS, row.id.as_bytes(), &row.secrets)?;
    let secret = |inside: Inside| EndpointSecret {
        secret: Secret::new(inside.secret),
        expires_at: inside.expires_at.map(Timestamp),
    };
    Ok(Endpoint {
        id: row.id,
        business: row.business,
        url: row.url,
        event_types: parsed(&row.event_types, "event types")?,
        state: from_word(&row.state, "endpoint state")?,
        disabled_reason: row.disabled_reason,
        failing_since: row.failing_since,
        secrets: inside.into_iter().map(secret).collect(),
        created_at: row.created_at,
    })
}
