//! Answers to requests with an `Idempotency-Key`.

use super::arg::args;
use super::connection::hold;
use super::db::{Tx, row};
use super::{Idempotent, Result, Store};
use crate::model::*;
use std::time::Duration;

/// A request that has not answered for so long has died with its process.
const HELD: Duration = Duration::from_secs(60);

row! {
    Held { request_hash: Vec<u8>, status: Option<i64>, sealed: Option<Vec<u8>>, connection: Option<ConnectionId> }
}

const BODY: &str = "idempotency";
const REQUEST: &[u8] = b"idempotency.request";

impl Store {
    /// Takes or looks up a key of this request; entries older than `kept` do not count. A key held for over a minute without an
    /// answer is free again, unless its request has made something by then.
    pub async fn idempotency_begin(
        &self,
        business: BusinessId,
        key: &str,
        request: &[u8],
        kept: Duration,
        now: Timestamp,
    ) -> Result<Idempotent> {
        // Under the business's key: a body may hold a PIN, and of a plain hash all PINs are tried in a second.
        let of_business = self.keys.of(&self.db, business.as_bytes()).await?;
        let request_hash = of_business.index_bytes(&[REQUEST, request]);
        let mut tx = self.db.begin().await?;
        let sql = "DELETE FROM idempotency WHERE business = $1 AND key = $2
                   AND (created_at <= $3 OR (status IS NULL AND connection IS NULL AND created_at < $4))";
        tx.run(sql, args![business, key, now.minus(kept), now.minus(HELD)]).await?;
        let sql = "INSERT INTO idempotency (business, key, request_hash, created_at) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (business, key) DO NOTHING";
        if tx.run(sql, args![business, key, &request_hash, now]).await? == 1 {
            tx.commit().await?;
            return Ok(Idempotent::New);
        }
        let sql = "SELECT request_hash, status, sealed, connection FROM idempotency WHERE business = $1 AND key = $2";
        let found: Option<Held> = tx.optional(sql, args![business, key]).await?;
        tx.rollback().await?;
        match found {
            Some(held) if held.request_hash != request_hash => Ok(Idempotent::OtherRequest),
            Some(Held { status: Some(status), sealed: Some(sealed), .. }) => {
                let body = of_business.open_text(BODY, key.as_bytes(), Some(&sealed))?;
                let status = super::codec::small(status, "status")?;
                Ok(Idempotent::Answered { status, body: body.unwrap_or_default() })
            }
            Some(Held { connection: Some(made), .. }) => Ok(Idempotent::Made(made)),
            // Held; or given up this very moment, which the next try will see.
            _ => Ok(Idempotent::InFlight),
        }
    }

    /// Stores the answer, unless the key was freed meanwhile and another request answered. Bodies may hold ids and
    /// one-time secrets, so they are sealed under the business's data key. What speaks of a `connection` goes with it,
    /// and is not kept if it has gone.
    pub async fn idempotency_finish(
        &self,
        business: BusinessId,
        key: &str,
        status: u16,
        body: &str,
        connection: Option<ConnectionId>,
    ) -> Result<()> {
        let sealed =
            self.keys.of(&self.db, business.as_bytes()).await?.seal(BODY, key.as_bytes(), body.as_bytes())?;
        let mut tx = self.db.begin().await?;
        if let Some(connection) = connection
            && hold(&mut tx, connection).await?.is_none()
        {
            tx.rollback().await?;
            return self.idempotency_abandon(business, key).await;
        }
        let sql = "UPDATE idempotency SET status = $3, sealed = $4, connection = $5
                   WHERE business = $1 AND key = $2 AND status IS NULL";
        tx.run(sql, args![business, key, i64::from(status), sealed, connection]).await?;
        tx.commit().await
    }

    /// Frees a key whose request failed on our side (5xx), so that it can be tried again; not if it has made something
    /// before it failed.
    pub async fn idempotency_abandon(&self, business: BusinessId, key: &str) -> Result<()> {
        let sql = "DELETE FROM idempotency
                   WHERE business = $1 AND key = $2 AND status IS NULL AND connection IS NULL";
        self.db.run(sql, args![business, key]).await?;
        Ok(())
    }
}

/// A request under this key makes this connection, in the same transaction: nobody makes another one for it, whatever
/// becomes of its answer.
pub(super) async fn made(
    tx: &mut Tx,
    business: BusinessId,
    key: &str,
    connection: ConnectionId,
) -> Result<()> {
    let sql = "UPDATE idempotency SET connection = $3 WHERE business = $1 AND key = $2 AND status IS NULL";
    tx.run(sql, args![business, key, connection]).await.map(drop)
}
