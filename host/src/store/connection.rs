//! Connections: creating, listing, re-authorising.

use super::arg::args;
use super::codec::{from_word, small, word};
use super::consent::{end_consent, insert_consent};
use super::db::{Tx, row};
use super::seal::OwnerKey;
use super::{NewConnection, PageOf, Result, Store, StoreError, endpoint, one_more};
use crate::model::*;

row! {
    pub(super) ConnectionRow {
        id: ConnectionId, business: BusinessId, institution: String, customer_ref: Option<Vec<u8>>, state: String,
        reason: Option<String>, session_valid_until: Option<Timestamp>, session_open: bool,
        session_state: Option<Vec<u8>>, accounts_listed: bool, all_accounts: bool, interval_minutes: Option<i64>,
        rejections: i64, attempt: Option<AuthorisationId>, attempt_due_at: Option<Timestamp>, created_at: Timestamp,
        deleted_at: Option<Timestamp>, due_at: Option<Timestamp>, authorising: bool,
    }
}

/// Connections with the columns of their row.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT c.id, c.business, c.institution, c.customer_ref, c.state, c.session_valid_until, c.session_open,
               c.session_state, c.accounts_listed, c.all_accounts, c.attempt, c.attempt_due_at,
               c.created_at, c.deleted_at, s.interval_minutes,
               CASE WHEN c.state = 'active' THEN s.reason ELSE c.reason END AS reason,
               CASE WHEN c.state = 'active' AND s.claimed_at IS NULL THEN s.due_at END AS due_at,
               COALESCE((SELECT in_a_row FROM rejection r
                         WHERE r.business = c.business AND r.institution = c.institution
                           AND r.customer = COALESCE(c.customer_ref_index, c.id)), 0) AS rejections,
               EXISTS (SELECT 1 FROM authorisation a WHERE a.connection = c.id AND a.ended_at IS NULL) AS authorising
             FROM connection c LEFT JOIN schedule s
               ON s.institution = c.institution AND s.phase = c.phase AND s.connection = c.id ",
            $which
        )
    };
}

const CONNECTION: &str = select!("WHERE c.id = $1");
/// Those whose lease is held, of the places in `bulk`.
pub(super) const LEASED: &str = select!(
    "JOIN bulk ON s.institution = of_institution AND s.phase = of_phase AND s.connection = of_connection
     WHERE s.token = of_token AND s.claimed_at IS NOT NULL"
);
const CONNECTIONS: &str = select!(
    "WHERE c.business = $1 AND ($2 IS NULL OR c.customer_ref_index = $2) AND ($3 IS NULL OR c.institution = $3)
       AND ($4 IS NULL OR c.id > $4)
     ORDER BY c.id LIMIT $5"
);

pub(super) const CUSTOMER_REF: &str = "connection.customer_ref";
pub(super) const SESSION_STATE: &str = "connection.session_state";

impl ConnectionRow {
    /// Which connection.
    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }
    /// Whose.
    pub(super) fn business(&self) -> BusinessId {
        self.business
    }

    /// The connection; `kept` are the accounts that are not switched off. Its key opens what is sealed, if it is there.
    pub(super) fn open(
        self,
        key: Option<&OwnerKey>,
        kept: impl Iterator<Item = AccountId>,
    ) -> Result<Connection> {
        let id = self.id;
        let open = |column, sealed: Option<Vec<u8>>| match (key, sealed) {
            (_, None) => Ok(None),
            (None, Some(_)) => Err(StoreError::Erased),
            (Some(key), Some(sealed)) => key.open_text(column, id.as_bytes(), Some(&sealed)),
        };
        Ok(Connection {
            id,
            business: self.business,
            institution: self.institution,
            customer_ref: open(CUSTOMER_REF, self.customer_ref)?,
            state: from_word(&self.state, "connection state")?,
            reason: self.reason,
            due_at: self.due_at,
            authorising: self.authorising,
            session_valid_until: self.session_valid_until,
            session_open: self.session_open,
            session_state: open(SESSION_STATE, self.session_state)?,
            accounts_listed: self.accounts_listed,
            rejections: self.rejections,
            attempt: self.attempt.zip(self.attempt_due_at),
            interval_minutes: self.interval_minutes.map(|minutes| small(minutes, "interval")).transpose()?,
            accounts: if self.all_accounts { AccountsKept::All } else { AccountsKept::Only(kept.collect()) },
            created_at: self.created_at,
            deleted_at: self.deleted_at,
        })
    }
}

/// Where a connection's schedule row stands.
pub(super) struct Place {
    pub(super) business: BusinessId,
    pub(super) institution: String,
    pub(super) phase: i64,
    pub(super) active: bool,
    pub(super) claimed_at: Option<Timestamp>,
    pub(super) closing_at: Option<Timestamp>,
}

impl Store {
    /// A new connection with its credentials (sealed under a new data key), consent and schedule row.
    pub async fn create_connection(&self, new: &NewConnection, now: Timestamp) -> Result<Connection> {
        self.create_connection_once(new, None, now).await
    }

    /// The same for a request with an `Idempotency-Key`: the same request again is told of this connection
    /// ([`super::Idempotent::Made`]), also if this process dies before it has answered.
    pub async fn create_connection_once(
        &self,
        new: &NewConnection,
        key: Option<&str>,
        now: Timestamp,
    ) -> Result<Connection> {
        let mut tx = self.db.begin().await?;
        self.insert_connection(&mut tx, new, now).await?;
        if let Some(key) = key {
            super::idempotency::made(&mut tx, new.business, key, new.id).await?;
        }
        tx.commit().await?;
        self.known_connection(new.id).await
    }

    /// The same within a transaction; the connection's data key.
    pub(super) async fn insert_connection(
        &self,
        tx: &mut Tx,
        new: &NewConnection,
        now: Timestamp,
    ) -> Result<OwnerKey> {
        let (id, business) = (new.id, new.business);
        let key = self.keys.create(tx, id.as_bytes(), Some(business)).await?;
        let (customer_ref, index) = match new.customer_ref.as_deref() {
            Some(name) => {
                // An unknown business has no key; the foreign key below gives the better error.
                let of_business = match self.keys.of_in(tx, business.as_bytes()).await {
                    Err(StoreError::Erased) => {
                        return Err(StoreError::Constraint("connection_business".to_owned()));
                    }
                    other => other?,
                };
                let sealed = key.seal(CUSTOMER_REF, id.as_bytes(), name.as_bytes())?;
                (Some(sealed), Some(of_business.index(&[CUSTOMER_REF, name])))
            }
            None => (None, None),
        };
        let sql = "INSERT INTO connection (id, business, institution, phase, customer_ref, customer_ref_index, state,
                     session_open, accounts_listed, all_accounts, created_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $10, $7, $7, $8, $9)";
        let state = if new.linking { "linking" } else { "active" };
        let (id, no, yes) = (new.id, false, true);
        tx.run(
            sql,
            args![id, business, &new.institution, new.phase, customer_ref, index, no, yes, now, state],
        )
        .await
        .map_err(|error| error.on_foreign_key("connection_business"))?;
        tx.run(
            "INSERT INTO institution (id) VALUES ($1) ON CONFLICT (id) DO NOTHING",
            args![&new.institution],
        )
        .await?;
        let sql =
            "INSERT INTO schedule (institution, phase, connection, business, lane, due_at, token, slot_at, failures, active)
                   VALUES ($1, $2, $3, $7, $8, $4, 0, $5, 0, $6)";
        let args = args![
            &new.institution,
            new.phase,
            id,
            new.due_at,
            new.slot_at,
            true,
            business,
            word(Lane::First)
        ];
        tx.run(sql, args).await?;
        super::credential::insert(tx, &key, id, 1, &new.credentials).await?;
        if let Some(consent) = &new.consent {
            insert_consent(tx, &key, id, consent, now).await?;
        }
        Ok(key)
    }

    /// One of the business's connections.
    pub async fn connection(&self, business: BusinessId, id: ConnectionId) -> Result<Option<Connection>> {
        let found: Option<ConnectionRow> = self.db.optional(CONNECTION, args![id]).await?;
        match found {
            Some(row) if row.business == business => Ok(Some(self.open_connection(row).await?)),
            _ => Ok(None),
        }
    }

    /// A connection that there is.
    pub(super) async fn known_connection(&self, id: ConnectionId) -> Result<Connection> {
        let row: ConnectionRow = self.db.one(CONNECTION, args![id]).await?;
        self.open_connection(row).await
    }

    async fn open_connection(&self, row: ConnectionRow) -> Result<Connection> {
        let sealed = row.customer_ref.is_some() || row.session_state.is_some();
        let key = if sealed { Some(self.keys.of(&self.db, row.id.as_bytes()).await?) } else { None };
        let mut kept = Vec::new();
        if !row.all_accounts {
            let sql = "SELECT id FROM account WHERE connection = $1 AND NOT excluded ORDER BY id";
            kept = self.db.all::<(AccountId,)>(sql, args![row.id]).await?;
        }
        row.open(key.as_ref(), kept.into_iter().map(|(id,)| id))
    }

    /// What a business's customer is found by.
    pub(super) async fn customer_index(&self, business: BusinessId, name: &str) -> Result<Vec<u8>> {
        Ok(self.keys.of(&self.db, business.as_bytes()).await?.index(&[CUSTOMER_REF, name]))
    }

    /// A business's connections, oldest first, `after` excluded.
    pub async fn connections(
        &self,
        business: BusinessId,
        customer_ref: Option<&str>,
        institution: Option<&str>,
        after: Option<ConnectionId>,
        limit: u32,
    ) -> Result<PageOf<Connection>> {
        let index = match customer_ref {
            Some(name) => match self.customer_index(business, name).await {
                Err(StoreError::Erased) => {
                    return Ok(PageOf { items: Vec::new(), has_more: false });
                }
                index => Some(index?),
            },
            None => None,
        };
        let args = args![business, index, institution, after, one_more(limit)];
        let rows: Vec<ConnectionRow> = self.db.all(CONNECTIONS, args).await?;
        let page = PageOf::cut(rows, limit);
        let mut items = Vec::new();
        for row in page.items {
            match self.open_connection(row).await {
                Err(StoreError::Erased) => {} // erased since the rows were read
                other => items.push(other?),
            }
        }
        Ok(PageOf { items, has_more: page.has_more })
    }

    /// Fresh credentials (all old ones are dropped) and consent (the old one ends as `replaced`):
    /// state active, session closed, accounts to be listed again, due now, all accounts due now,
    /// back-off cleared. `resumed` is told if it was paused. `None` if unknown or deleted. The lease, if
    /// any, is fenced off (token + 1).
    pub async fn reauthorise(
        &self,
        business: BusinessId,
        id: ConnectionId,
        credentials: &[NewCredential],
        consent: Option<&NewConsent>,
        resumed: &NewEvent,
        now: Timestamp,
    ) -> Result<Option<Connection>> {
        let mut tx = self.db.begin().await?;
        let place = hold(&mut tx, id).await?;
        match place {
            Some(place) if place.business == business => {
                let sql =
                    "UPDATE schedule SET token = token + 1, due_at = $4, claimed_at = NULL, failures = 0,
                             reason = NULL, active = $5, lane = $6
                           WHERE institution = $1 AND phase = $2 AND connection = $3";
                let first = word(Lane::First);
                tx.run(sql, args![&place.institution, place.phase, id, now, true, first]).await?;
            }
            _ => {
                tx.rollback().await?;
                return Ok(None);
            }
        }
        let key = self.keys.of_in(&mut tx, id.as_bytes()).await?;
        // A pause after a refusal was for the old credentials; a limit of the bank's stays.
        let sql = "UPDATE account_head SET due_at = $2, failures = 0,
                     next_allowed_at = CASE WHEN EXISTS (
                         SELECT 1 FROM connection WHERE id = $1 AND first_rejected_at IS NOT NULL)
                       THEN NULL ELSE next_allowed_at END
                   WHERE connection = $1";
        tx.run(sql, args![id, now]).await?;
        let sql = "SELECT state FROM connection WHERE id = $1 AND state = 'paused'";
        let paused: Option<(String,)> = tx.optional(sql, args![id]).await?;
        if paused.is_some() {
            endpoint::tell(&mut tx, resumed).await?;
        }
        let sql = "UPDATE connection SET state = 'active', reason = NULL, session_open = $2, session_valid_until = NULL,
                     session_state = NULL, accounts_listed = $2, first_rejected_at = NULL, last_rejected_at = NULL,
                     attempt = NULL, attempt_due_at = NULL
                   WHERE id = $1";
        tx.run(sql, args![id, false]).await?;
        super::authorisation::supersede(&mut tx, id, now).await?;
        super::credential::replace(&mut tx, &key, id, credentials).await?;
        if let Some(consent) = consent {
            end_consent(&mut tx, id, "replaced", now).await?;
            insert_consent(&mut tx, &key, id, consent, now).await?;
        }
        tx.commit().await?;
        Ok(Some(self.known_connection(id).await?))
    }
}

/// Holds the connection's schedule row until the transaction ends; `None` if unknown, closing or deleted.
pub(super) async fn hold(tx: &mut Tx, id: ConnectionId) -> Result<Option<Place>> {
    Ok(hold_closing(tx, id).await?.filter(|place| place.closing_at.is_none()))
}

/// The same, also if the connection is closing.
pub(super) async fn hold_closing(tx: &mut Tx, id: ConnectionId) -> Result<Option<Place>> {
    let sql = "SELECT business, institution, phase FROM connection WHERE id = $1";
    let place: Option<(BusinessId, String, i64)> = tx.optional(sql, args![id]).await?;
    let Some((business, institution, phase)) = place else {
        return Ok(None);
    };
    let sql = "SELECT active, claimed_at, closing_at FROM schedule
               WHERE institution = $1 AND phase = $2 AND connection = $3 {for_update}";
    let held: Option<(bool, Option<Timestamp>, Option<Timestamp>)> =
        tx.optional(tx.dialect().sql(sql), args![&institution, phase, id]).await?;
    // A deleted connection has no schedule row.
    Ok(held.map(|(active, claimed_at, closing_at)| Place {
        business,
        institution,
        phase,
        active,
        claimed_at,
        closing_at,
    }))
}
