//! Consents: what a customer agreed to, what became of it, and what is due about it.
//!
//! `due_at` says when somebody must look at a consent next, for a notice or for its end; an ended one
//! has none. Must not know: how long before the end a notice is given.

use super::arg::args;
use super::codec::{json, parsed};
use super::connection::{CUSTOMER_REF, hold};
use super::db::{Tx, row};
use super::seal::OwnerKey;
use super::waiting::{NoSync, answer_all};
use super::{ConsentFilter, PageOf, Result, Store, StoreError, endpoint, one_more};
use crate::model::*;

row! {
    pub(super) ConsentRow {
        id: ConsentId, connection: ConnectionId, granted_at: Timestamp, expires_at: Option<Timestamp>,
        scopes: String, how: String, reference: Option<Vec<u8>>, ended_at: Option<Timestamp>,
        end_reason: Option<String>, institution: String, state: String, customer_ref: Option<Vec<u8>>,
    }
}

row! {
    DueRow {
        id: ConsentId, connection: ConnectionId, business: BusinessId, institution: String, expires_at: Timestamp,
        due_at: Timestamp,
    }
}

/// Consents with the columns of their row.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT s.id, s.connection, s.granted_at, s.expires_at, s.scopes, s.how, s.reference, s.ended_at,
               s.end_reason, c.institution, c.state, c.customer_ref
             FROM consent s JOIN connection c ON c.id = s.connection ",
            $which
        )
    };
}

/// A page of a business's consents, looked up by what is narrowest. `c.business`, where that is not the
/// business, keeps SQLite from walking all of its consents.
macro_rules! trail {
    ($narrowest:literal) => {
        concat!(
            select!("WHERE "),
            $narrowest,
            " AND ($2 IS NULL OR s.connection = $2) AND ($3 IS NULL OR c.customer_ref_index = $3)
              AND ($4 IS NULL OR c.institution = $4)
              AND ($5 IS NULL
                   OR (s.ended_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > $6)) = ($5 = 'in_force'))
              AND ($7 IS NULL OR s.id > $7)
              ORDER BY s.id LIMIT $8"
        )
    };
}

const OF_CONNECTION: &str = select!("WHERE s.connection = $1 ORDER BY s.id");
pub(super) const OF_CONNECTIONS: &str = select!("JOIN bulk ON s.connection = of_connection ORDER BY s.id");
const ONE: &str = select!("WHERE s.business = $1 AND s.id = $2");
const TRAIL: &str = trail!("s.business = $1");
const TRAIL_OF_CONNECTION: &str = trail!("c.business = $1 AND s.connection = $2");
const TRAIL_OF_CUSTOMER: &str = trail!(
    "c.business = $1 AND s.connection IN (
       SELECT id FROM connection
       WHERE business = $1 AND customer_ref_index = $3 AND customer_ref_index IS NOT NULL)"
);
const DUE: &str = "SELECT s.id, s.connection, s.business, c.institution, s.expires_at, s.due_at
    FROM consent s JOIN connection c ON c.id = s.connection
    WHERE s.due_at IS NOT NULL AND s.due_at <= $1 AND s.expires_at IS NOT NULL
    ORDER BY s.due_at LIMIT $2";
const NEXT_DUE: &str = "SELECT min(due_at) FROM consent WHERE due_at IS NOT NULL";

const REFERENCE: &str = "consent.reference";

impl Store {
    /// The consent in force, or the last one.
    pub async fn consent(&self, connection: ConnectionId) -> Result<Option<Consent>> {
        Ok(in_force(self.consents(connection).await?))
    }

    /// All consents of a connection, oldest first.
    pub async fn consents(&self, connection: ConnectionId) -> Result<Vec<Consent>> {
        let rows: Vec<ConsentRow> = self.db.all(OF_CONNECTION, args![connection]).await?;
        let sealed = rows.iter().any(|row| row.reference.is_some());
        let key = if sealed { Some(self.keys.of(&self.db, connection.as_bytes()).await?) } else { None };
        rows.into_iter().map(|row| row.open(key.as_ref())).collect()
    }

    /// A business's consents, oldest first, `after` excluded, those of erased connections too. Of a customer
    /// who has left, name and reference are gone.
    pub async fn recorded_consents(
        &self,
        business: BusinessId,
        filter: &ConsentFilter<'_>,
        after: Option<ConsentId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<PageOf<RecordedConsent>> {
        let index = match filter.customer_ref {
            Some(name) => match self.keys.of(&self.db, business.as_bytes()).await {
                Err(StoreError::Erased) => return Ok(PageOf { items: Vec::new(), has_more: false }),
                key => Some(key?.index(&[CUSTOMER_REF, name])),
            },
            None => None,
        };
        let sql = match (filter.connection, &index) {
            (Some(_), _) => TRAIL_OF_CONNECTION,
            (None, Some(_)) => TRAIL_OF_CUSTOMER,
            (None, None) => TRAIL,
        };
        let state = filter.in_force.map(|in_force| if in_force { "in_force" } else { "ended" });
        let (connection, institution) = (filter.connection, filter.institution);
        let args = args![business, connection, index, institution, state, now, after, one_more(limit)];
        let page = PageOf::cut(self.db.all(sql, args).await?, limit);
        let mut items = Vec::new();
        for row in page.items {
            items.push(self.open_recorded(row).await?);
        }
        Ok(PageOf { items, has_more: page.has_more })
    }

    /// One of the business's consents.
    pub async fn recorded_consent(
        &self,
        business: BusinessId,
        id: ConsentId,
    ) -> Result<Option<RecordedConsent>> {
        match self.db.optional(ONE, args![business, id]).await? {
            Some(row) => Ok(Some(self.open_recorded(row).await?)),
            None => Ok(None),
        }
    }

    async fn open_recorded(&self, row: ConsentRow) -> Result<RecordedConsent> {
        let left = matches!(row.state.as_str(), "closing" | "deleted");
        let sealed = row.reference.is_some() || row.customer_ref.is_some();
        let key = match self.keys.of(&self.db, row.connection.as_bytes()).await {
            _ if left || !sealed => None,
            Err(StoreError::Erased) => None, // since the row was read
            key => Some(key?),
        };
        let (customer_ref, reference) = match key {
            Some(key) => (
                key.open_text(CUSTOMER_REF, row.connection.as_bytes(), row.customer_ref.as_deref())?,
                key.open_text(REFERENCE, row.id.as_bytes(), row.reference.as_deref())?,
            ),
            None => (None, None),
        };
        let institution = row.institution.clone();
        Ok(RecordedConsent { consent: row.consent(reference)?, institution, customer_ref })
    }

    /// Consents of which something is to be told or done by now, the most overdue first; at most so many.
    pub async fn due_consents(&self, now: Timestamp, limit: u32) -> Result<Vec<DueConsent>> {
        let rows: Vec<DueRow> = self.db.all(DUE, args![now, limit]).await?;
        let of = |row: DueRow| DueConsent {
            id: row.id,
            connection: row.connection,
            business: row.business,
            institution: row.institution,
            expires_at: row.expires_at,
            due_at: row.due_at,
        };
        Ok(rows.into_iter().map(of).collect())
    }

    /// When the next consent is due; none if none is.
    pub async fn next_consent_due(&self) -> Result<Option<Timestamp>> {
        let (next,): (Option<Timestamp>,) = self.db.one(NEXT_DUE, args![]).await?;
        Ok(next)
    }

    /// Notes that this was told, with what was, and when the consent is due next. False, and nothing told, if
    /// another process did so, or the consent ended.
    pub async fn consent_told(&self, due: &DueConsent, event: &NewEvent, next: Timestamp) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        let sql = "UPDATE consent SET due_at = $4 WHERE connection = $1 AND id = $2 AND due_at = $3";
        let held = hold(&mut tx, due.connection).await?.is_some();
        if !held || tx.run(sql, args![due.connection, due.id, due.due_at, next]).await? == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        endpoint::tell(&mut tx, event).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// A consent's time is over: it ends as `expired`, polling stops whatever the connection was doing
    /// (also if it was paused), whoever holds the lease loses it, but for a run that lets the customer in again: it may
    /// hold a code that the bank gives once. Every account that was read says so as its last
    /// sync, and `event` is told, in one transaction. False, and nothing told, if that was done already.
    pub async fn end_expired(&self, due: &DueConsent, event: &NewEvent, now: Timestamp) -> Result<bool> {
        let (id, why) = (due.connection, Failure::ConsentExpired);
        let mut tx = self.db.begin().await?;
        let place = hold(&mut tx, id).await?;
        let sql = "UPDATE consent SET ended_at = expires_at, end_reason = 'expired', due_at = NULL
                   WHERE connection = $1 AND id = $2 AND ended_at IS NULL AND expires_at <= $3";
        let place = match place {
            Some(place) if tx.run(sql, args![id, due.id, now]).await? == 1 => place,
            _ => {
                tx.rollback().await?;
                return Ok(false);
            }
        };
        let sql = "UPDATE connection SET state = 'reauthorisation_required', reason = $2, session_open = $3,
                     session_valid_until = NULL
                   WHERE id = $1 AND state IN ('active', 'paused')";
        let stopped = tx.run(sql, args![id, why.reason(), false]).await? == 1;
        if stopped {
            // The customer may be on the way back already.
            let sql = "UPDATE schedule SET token = token + 1, claimed_at = NULL,
                         due_at = COALESCE((SELECT attempt_due_at FROM connection WHERE id = $3), due_at),
                         active = (SELECT attempt IS NOT NULL FROM connection WHERE id = $3)
                       WHERE institution = $1 AND phase = $2 AND connection = $3
                         AND (claimed_at IS NULL OR (SELECT attempt IS NULL FROM connection WHERE id = $3))";
            tx.run(sql, args![&place.institution, place.phase, id]).await?;
            answer_all(&mut tx, id, &NoSync::failure(&why), now).await?;
            endpoint::tell(&mut tx, event).await?;
        }
        tx.commit().await?;
        Ok(stopped)
    }
}

/// The consent in force, or the last one.
pub(super) fn in_force(mut all: Vec<Consent>) -> Option<Consent> {
    match all.iter().position(|consent| consent.ended_at.is_none()) {
        Some(place) => Some(all.swap_remove(place)),
        None => all.pop(),
    }
}

impl ConsentRow {
    /// Whose it is.
    pub(super) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// The consent. Its connection's key opens what is sealed, if it is there.
    pub(super) fn open(self, key: Option<&OwnerKey>) -> Result<Consent> {
        let reference = match (key, self.reference.as_deref()) {
            (_, None) => None,
            (None, Some(_)) => return Err(StoreError::Erased),
            (Some(key), sealed) => key.open_text(REFERENCE, self.id.as_bytes(), sealed)?,
        };
        self.consent(reference)
    }

    fn consent(self, reference: Option<String>) -> Result<Consent> {
        Ok(Consent {
            id: self.id,
            connection: self.connection,
            granted_at: self.granted_at,
            expires_at: self.expires_at,
            scopes: parsed(&self.scopes, "consent scopes")?,
            how: self.how,
            reference,
            ended_at: self.ended_at,
            end_reason: self.end_reason,
        })
    }
}

/// Ends the consent in force, if there is one.
pub(super) async fn end_consent(tx: &mut Tx, id: ConnectionId, reason: &str, now: Timestamp) -> Result<()> {
    let sql = "UPDATE consent SET ended_at = $2, end_reason = $3, due_at = NULL
               WHERE connection = $1 AND ended_at IS NULL";
    tx.run(sql, args![id, now, reason]).await?;
    Ok(())
}

/// The bank gives nothing any more: the consent in force has run out, else the bank ended it.
pub(super) async fn end_at_bank(tx: &mut Tx, id: ConnectionId, now: Timestamp) -> Result<()> {
    let sql = "UPDATE consent SET ended_at = expires_at, end_reason = 'expired', due_at = NULL
               WHERE connection = $1 AND ended_at IS NULL AND expires_at <= $2";
    tx.run(sql, args![id, now]).await?;
    end_consent(tx, id, "ended_by_bank", now).await
}

/// The customer leaves: nothing is told of the consent any more, which the bank is yet to end.
pub(super) async fn tell_no_more(tx: &mut Tx, id: ConnectionId) -> Result<()> {
    let sql = "UPDATE consent SET due_at = NULL WHERE connection = $1 AND due_at IS NOT NULL";
    tx.run(sql, args![id]).await?;
    Ok(())
}

pub(super) async fn insert_consent(
    tx: &mut Tx,
    key: &OwnerKey,
    connection: ConnectionId,
    consent: &NewConsent,
    now: Timestamp,
) -> Result<()> {
    let id = ConsentId::new();
    let business = key.business.ok_or(StoreError::Corrupt("data key"))?;
    let reference = key.seal_text(REFERENCE, id.as_bytes(), consent.reference.as_deref())?;
    let scopes = json(&consent.scopes, "consent scopes")?;
    let due_at = consent.expires_at.map(|expires_at| consent_due_at(expires_at, now));
    let sql =
        "INSERT INTO consent (id, connection, business, granted_at, expires_at, scopes, how, reference, due_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let (granted_at, expires_at) = (consent.granted_at, consent.expires_at);
    let args =
        args![id, connection, business, granted_at, expires_at, &scopes, &consent.how, reference, due_at];
    tx.run(sql, args).await?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::arg::Arg;
    use crate::vault::Vault;
    use sqlx::AssertSqlSafe;
    use std::sync::Arc;

    #[tokio::test]
    async fn what_is_due_and_each_page_of_the_trail_is_found_through_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::from_text("k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
        let url = format!("sqlite:{}", folder.path().join("db").display());
        let store = Store::open(&url, Arc::new(vault)).await.unwrap();
        store.migrate().await.unwrap();
        let id = BusinessId::new();
        let page: &[Arg<'_>] =
            args![id, id, id, None::<&str>, None::<&str>, Timestamp(0), None::<ConsentId>, 9_i64];
        for (sql, args, index) in [
            (DUE, args![Timestamp(0), 9_i64] as &[Arg<'_>], "consent_due"),
            (NEXT_DUE, args![], "consent_due"),
            (TRAIL, page, "consent_of_business"),
            (TRAIL_OF_CONNECTION, page, "PRIMARY KEY"),
            (TRAIL_OF_CUSTOMER, page, "connection_of_customer"),
            (ONE, args![id, id], "consent_of_business"),
        ] {
            let explained = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let plan: Vec<(i64, i64, i64, String)> = store.db.all(explained, args).await.unwrap();
            let steps: Vec<_> = plan.into_iter().map(|(.., step)| step).collect();
            assert!(steps.iter().any(|step| step.contains(index)), "{index}: {steps:?}");
            assert!(
                steps.iter().all(|step| !step.starts_with("SCAN s") || step.contains(index)),
                "{steps:?}"
            );
        }
    }
}
