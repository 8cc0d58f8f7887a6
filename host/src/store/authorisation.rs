//! Authorisations: customers on their way to letting us in.
//!
//! Whose turn it is stands in the row. While it is ours, the connection's row names the authorisation
//! (`attempt`), and its schedule row is due for it: the schedule stays the one job list. What was
//! typed, captured and returned is sealed under the connection's key, apart from its credentials,
//! until the session is ready. Must not know: how a bank is asked, what a prompt looks like.

use super::arg::args;
use super::codec::{from_word, json, word};
use super::connection::hold;
use super::consent::{end_consent, insert_consent};
use super::db::{Tx, row};
use super::rejection::clear_rejections;
use super::schedule::fence;
use super::seal::OwnerKey;
use super::{ClosingConnection, NewConnection, Result, Store, StoreError, credential, endpoint};
use crate::model::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Authorisations looked up at a time by [`Store::expire_authorisations`].
const EXPIRE_BATCH: i64 = 100;

row! {
    AuthorisationRow {
        id: AuthorisationId, business: BusinessId, connection: Option<ConnectionId>, institution: Option<String>,
        state: String, reason: Option<String>, wishes: Vec<u8>, prompt: Option<Vec<u8>>, progress: Option<Vec<u8>>,
        answering: bool, expires_at: Timestamp, created_at: Timestamp, ended_at: Option<Timestamp>,
    }
}

const BY_ID: &str = "SELECT id, business, connection, institution, state, reason, wishes, prompt, progress,
                       answering, expires_at, created_at, ended_at
                     FROM authorisation WHERE id = $1";
const HELD: &str = "SELECT id, business, connection, institution, state, reason, wishes, prompt, progress,
                      answering, expires_at, created_at, ended_at
                    FROM authorisation WHERE id = $1 {for_update}";
const BY_LINK: &str = "SELECT id, business, connection, institution, state, reason, wishes, prompt, progress,
                         answering, expires_at, created_at, ended_at
                       FROM authorisation WHERE link_hash = $1";
const BY_REDIRECT: &str =
    "SELECT id, business, connection, institution, state, reason, wishes, prompt, progress,
                             answering, expires_at, created_at, ended_at
                           FROM authorisation WHERE redirect_hash = $1";
const LAST_OF: &str = "SELECT id, business, connection, institution, state, reason, wishes, prompt, progress,
                         answering, expires_at, created_at, ended_at
                       FROM authorisation WHERE connection = $1 ORDER BY id DESC LIMIT 1";

const WISHES: &str = "authorisation.wishes";
const PROMPT: &str = "authorisation.prompt";
const PROGRESS: &str = "authorisation.progress";

/// An authorisation to begin.
#[derive(Debug, Clone)]
pub struct NewAuthorisation {
    /// Its id.
    pub id: AuthorisationId,
    /// For whom.
    pub business: BusinessId,
    /// The bank, if it is chosen.
    pub institution: Option<String>,
    /// What the business wishes.
    pub wishes: Wishes,
    /// The token in the link's URL.
    pub link: Secret,
    /// Its SHA-256, by which it is found.
    pub link_hash: [u8; 32],
    /// When it has failed by itself.
    pub expires_at: Timestamp,
}

/// What of an authorisation is sealed from its beginning.
#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(flatten)]
    wishes: Wishes,
    link: String,
}

/// [`Progress`] as stored, before it is sealed.
#[derive(Serialize, Deserialize)]
struct StoredProgress {
    memory: String,
    values: BTreeMap<String, String>,
}

/// The event that tells of a connection at an institution.
pub type OfConnection<'a> = &'a (dyn Fn(ConnectionId, &str) -> NewEvent + std::marker::Sync);

/// How long the bank may be asked about an answer that came in time: as long as a prompt stands.
const ANSWER_LIVES: Duration = Duration::from_secs(15 * 60);

impl Store {
    /// A link for a customer who has still to choose the bank, or to agree.
    pub async fn create_link(&self, new: &NewAuthorisation, now: Timestamp) -> Result<Authorisation> {
        let mut tx = self.db.begin().await?;
        let key = match self.keys.of_in(&mut tx, new.business.as_bytes()).await {
            Err(StoreError::Erased) => {
                return Err(StoreError::Constraint("authorisation_business".to_owned()));
            }
            key => key?,
        };
        insert(&mut tx, &key, new, None, AuthorisationState::Choosing, now).await?;
        tx.commit().await?;
        self.known_authorisation(new.id).await
    }

    /// The customer of a link chose the bank and agreed: the connection is created, and the connector's turn
    /// begins. From here on there is time until `expires_at`, however late the link was used. `customer`: from
    /// where they did. None if somebody was faster, or the link is over.
    pub async fn choose(
        &self,
        id: AuthorisationId,
        new: &NewConnection,
        customer: Option<&CustomerPresent>,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Authorisation>> {
        let mut tx = self.db.begin().await?;
        let sql = "UPDATE authorisation SET state = 'asking', institution = $2, expires_at = $4
                   WHERE id = $1 AND state = 'choosing' AND expires_at > $3";
        if tx.run(sql, args![id, &new.institution, now, expires_at]).await? == 0 {
            tx.rollback().await?;
            return Ok(None);
        }
        let row: AuthorisationRow = tx.one(BY_ID, args![id]).await?;
        let of_business = self.keys.of_in(&mut tx, row.business.as_bytes()).await?;
        let mut sealed: Sealed = of_business.open_json(WISHES, id.as_bytes(), &row.wishes)?;
        sealed.wishes.customer = customer.cloned();
        let key = self.insert_connection(&mut tx, new, now).await?;
        let wishes = key.seal(WISHES, id.as_bytes(), json(&sealed, WISHES)?.as_bytes())?;
        let sql = "UPDATE authorisation SET connection = $2, wishes = $3 WHERE id = $1";
        tx.run(sql, args![id, new.id, wishes]).await?;
        take_turn(&mut tx, new.id, id, now).await?;
        tx.commit().await?;
        self.known_authorisation(id).await.map(Some)
    }

    /// A new connection whose customer has still to let us in.
    pub async fn create_authorising(
        &self,
        new: &NewConnection,
        authorisation: &NewAuthorisation,
        now: Timestamp,
    ) -> Result<Authorisation> {
        let mut tx = self.db.begin().await?;
        let key = self.insert_connection(&mut tx, new, now).await?;
        insert(&mut tx, &key, authorisation, Some(new.id), AuthorisationState::Asking, now).await?;
        take_turn(&mut tx, new.id, authorisation.id, now).await?;
        tx.commit().await?;
        self.known_authorisation(authorisation.id).await
    }

    /// The customer of a connection is to let us in anew; an authorisation under way is given up. What the
    /// connection holds stays in force until the new session is ready. None if unknown, closing or deleted.
    pub async fn authorise_again(
        &self,
        connection: ConnectionId,
        new: &NewAuthorisation,
        now: Timestamp,
    ) -> Result<Option<Authorisation>> {
        let mut tx = self.db.begin().await?;
        match hold(&mut tx, connection).await? {
            Some(place) if place.business == new.business => {}
            _ => {
                tx.rollback().await?;
                return Ok(None);
            }
        }
        supersede(&mut tx, connection, now).await?;
        let key = self.keys.of_in(&mut tx, connection.as_bytes()).await?;
        insert(&mut tx, &key, new, Some(connection), AuthorisationState::Asking, now).await?;
        take_turn(&mut tx, connection, new.id, now).await?;
        tx.commit().await?;
        self.known_authorisation(new.id).await.map(Some)
    }

    /// One of the business's authorisations.
    pub async fn authorisation(
        &self,
        business: BusinessId,
        id: AuthorisationId,
    ) -> Result<Option<Authorisation>> {
        let found: Option<AuthorisationRow> = self.db.optional(BY_ID, args![id]).await?;
        self.open_found(found.filter(|row| row.business == business)).await
    }

    /// The last authorisation of a connection.
    pub async fn authorisation_of(&self, connection: ConnectionId) -> Result<Option<Authorisation>> {
        self.open_found(self.db.optional(LAST_OF, args![connection]).await?).await
    }

    /// The authorisation behind a link.
    pub async fn authorisation_by_link(&self, link_hash: &[u8; 32]) -> Result<Option<Authorisation>> {
        self.open_found(self.db.optional(BY_LINK, args![link_hash]).await?).await
    }

    /// The authorisation whose customer comes back from the bank with this state.
    pub async fn authorisation_by_redirect(&self, redirect_hash: &[u8; 32]) -> Result<Option<Authorisation>> {
        self.open_found(self.db.optional(BY_REDIRECT, args![redirect_hash]).await?).await
    }

    /// Binds an authorisation to the browser that comes first; false for any other browser.
    pub async fn bind_browser(&self, id: AuthorisationId, browser_hash: &[u8; 32]) -> Result<bool> {
        let sql = "UPDATE authorisation SET browser_hash = $2 WHERE id = $1 AND (browser_hash IS NULL OR browser_hash = $2)";
        Ok(self.db.run(sql, args![id, browser_hash]).await? > 0)
    }

    /// May this browser see it? One that nobody acted on yet may be seen by any.
    pub async fn is_open_to(&self, id: AuthorisationId, browser_hash: &[u8; 32]) -> Result<bool> {
        let sql =
            "SELECT id FROM authorisation WHERE id = $1 AND (browser_hash IS NULL OR browser_hash = $2)";
        let found: Option<(AuthorisationId,)> = self.db.optional(sql, args![id, browser_hash]).await?;
        Ok(found.is_some())
    }

    /// Is it this browser's? One that was never opened in a browser is nobody's.
    pub async fn is_browser_of(&self, id: AuthorisationId, browser_hash: &[u8; 32]) -> Result<bool> {
        let sql = "SELECT id FROM authorisation WHERE id = $1 AND browser_hash = $2";
        let found: Option<(AuthorisationId,)> = self.db.optional(sql, args![id, browser_hash]).await?;
        Ok(found.is_some())
    }

    /// The customer answered: the connector's turn. A redirect comes back with the hash of its state, which
    /// is good for one use. False if no such prompt stands any more.
    pub async fn answer_prompt(
        &self,
        id: AuthorisationId,
        values: &BTreeMap<String, Secret>,
        redirect_hash: Option<&[u8; 32]>,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        let Some(row) = prompted(&mut tx, id, redirect_hash, now).await? else {
            tx.rollback().await?;
            return Ok(false);
        };
        let connection = row.connection.ok_or(StoreError::Corrupt("authorisation"))?;
        let key = self.keys.of_in(&mut tx, connection.as_bytes()).await?;
        let mut progress = open_progress(&key, &row)?;
        progress.values.extend(values.iter().map(|(name, value)| (name.clone(), value.clone())));
        if redirect_hash.is_some() {
            progress.values.remove(REDIRECT_STATE); // good for one use
        }
        // What came in time is not thrown away because the prompt's time ends while the bank is asked.
        let sql =
            "UPDATE authorisation SET state = 'asking', reason = NULL, progress = $2, redirect_hash = NULL,
                     expires_at = CASE WHEN expires_at < $3 THEN $3 ELSE expires_at END
                   WHERE id = $1";
        tx.run(sql, args![id, seal_progress(&key, id, &progress)?, now.plus(ANSWER_LIVES)]).await?;
        take_turn(&mut tx, connection, id, now).await?;
        tx.commit().await?;
        // A code from the bank is good for one use.
        self.db.flush().await?;
        Ok(true)
    }

    /// It came to nothing: the customer or the bank said no. `event`: what is told of its connection, if it has one.
    /// False if it was over already.
    pub async fn fail_authorisation(
        &self,
        id: AuthorisationId,
        reason: &str,
        event: OfConnection<'_>,
        now: Timestamp,
    ) -> Result<bool> {
        self.give_up(id, reason, None, event, now).await
    }

    /// Its time is over. False if it was over already, or the customer went on meanwhile.
    pub async fn expire_authorisation(
        &self,
        id: AuthorisationId,
        event: OfConnection<'_>,
        now: Timestamp,
    ) -> Result<bool> {
        self.give_up(id, "expired", Some(now), event, now).await
    }

    /// `overdue`: only if its time is over then. All is decided on the row as it is held: a customer may agree, or
    /// answer, at the same moment.
    async fn give_up(
        &self,
        id: AuthorisationId,
        reason: &str,
        overdue: Option<Timestamp>,
        event: OfConnection<'_>,
        now: Timestamp,
    ) -> Result<bool> {
        loop {
            let mut tx = self.db.begin().await?;
            let known: Option<AuthorisationRow> = tx.optional(BY_ID, args![id]).await?;
            let connection = known.and_then(|row| row.connection);
            let place = match connection {
                Some(connection) => hold(&mut tx, connection).await?,
                None => None,
            };
            let row: Option<AuthorisationRow> = tx.optional(tx.dialect().sql(HELD), args![id]).await?;
            let stands = |row: &AuthorisationRow| {
                row.ended_at.is_none() && overdue.is_none_or(|now| row.expires_at <= now)
            };
            let Some(row) = row.filter(stands) else {
                tx.rollback().await?;
                return Ok(false);
            };
            if row.connection != connection {
                tx.rollback().await?;
                continue; // the bank was chosen since it was looked up, which happens once
            }
            end(&mut tx, id, AuthorisationState::Failed, Some(reason), now).await?;
            // Of a connection whose customer leaves, nothing is told, and its row is about that.
            if let (Some(connection), Some(place)) = (connection, place) {
                give_turn_up(&mut tx, connection, id, Some(reason)).await?;
                if place.claimed_at.is_none() {
                    tx.run("DELETE FROM customer_turn WHERE connection = $1", args![connection]).await?;
                }
                endpoint::tell(&mut tx, &event(connection, &place.institution)).await?;
            }
            tx.commit().await?;
            return Ok(true);
        }
    }

    /// It is not the connector's turn in this authorisation after all: the connection is not due for it any more.
    pub async fn drop_attempt(&self, lease: &Lease, id: AuthorisationId) -> Result<()> {
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "UPDATE connection SET attempt = NULL, attempt_due_at = NULL
                   WHERE id = $1 AND attempt = $2
                     AND NOT EXISTS (SELECT 1 FROM authorisation WHERE id = $2 AND state = 'asking')";
        tx.run(sql, args![lease.connection, id]).await?;
        tx.commit().await
    }

    /// Connections that were created until `created` and never authorised, with nobody on the way.
    pub async fn abandoned(&self, created: Timestamp) -> Result<Vec<ClosingConnection>> {
        let sql = "SELECT id, business, institution FROM connection
                   WHERE state = 'linking' AND created_at <= $1
                     AND NOT EXISTS (SELECT 1 FROM authorisation a WHERE a.connection = connection.id AND a.ended_at IS NULL)
                   ORDER BY created_at LIMIT $2";
        let rows: Vec<(ConnectionId, BusinessId, String)> =
            self.db.all(sql, args![created, EXPIRE_BATCH]).await?;
        let abandoned = |(id, business, institution)| ClosingConnection { id, business, institution };
        Ok(rows.into_iter().map(abandoned).collect())
    }

    /// Authorisations whose time is over, to be failed.
    pub async fn overdue_authorisations(&self, now: Timestamp) -> Result<Vec<Authorisation>> {
        let sql = "SELECT id, business, connection, institution, state, reason, wishes, prompt, progress,
                     answering, expires_at, created_at, ended_at
                   FROM authorisation WHERE ended_at IS NULL AND expires_at <= $1 ORDER BY expires_at LIMIT $2";
        let rows: Vec<AuthorisationRow> = self.db.all(sql, args![now, EXPIRE_BATCH]).await?;
        let mut overdue = Vec::new();
        for row in rows {
            overdue.extend(self.open_found(Some(row)).await?);
        }
        Ok(overdue)
    }

    // ---- for the run that holds the connection's lease

    /// The authorisation whose turn is ours; none if it is over or was given up meanwhile.
    pub async fn open_authorisation(
        &self,
        lease: &Lease,
        id: AuthorisationId,
    ) -> Result<Option<OpenAuthorisation>> {
        let found: Option<AuthorisationRow> = self.db.optional(BY_ID, args![id]).await?;
        let Some(row) = found.filter(|row| row.state == "asking") else { return Ok(None) };
        let key = self.lease_key(lease).await?;
        let (progress, answering) = (open_progress(&key, &row)?, row.answering);
        Ok(Some(OpenAuthorisation { authorisation: open(&key, row)?, progress, answering }))
    }

    /// Commits what a reply gave, before anything else is asked; nothing if it was given up meanwhile.
    pub async fn save_progress(&self, lease: &Lease, id: AuthorisationId, progress: &Progress) -> Result<()> {
        let key = self.lease_key(lease).await?;
        let sealed = seal_progress(&key, id, progress)?;
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let sql = "UPDATE authorisation SET progress = $2 WHERE id = $1 AND state = 'asking'";
        if tx.run(sql, args![id, sealed]).await? == 0 {
            tx.rollback().await?;
            return Err(StoreError::LeaseLost);
        }
        tx.commit().await?;
        self.db.flush().await
    }

    /// What the connector's turn came to, with the values that go with it. The lease holds on.
    pub async fn settle_authorisation(
        &self,
        lease: &Lease,
        id: AuthorisationId,
        step: &AuthorisationStep,
        values: &BTreeMap<String, Secret>,
        event: Option<&NewEvent>,
        now: Timestamp,
    ) -> Result<()> {
        let key = self.lease_key(lease).await?;
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        let row: AuthorisationRow = tx.one(BY_ID, args![id]).await?;
        if row.state != "asking" {
            tx.rollback().await?;
            return Err(StoreError::LeaseLost);
        }
        let connection = lease.connection;
        let sealed = |memory: &String| {
            seal_progress(&key, id, &Progress { memory: memory.clone(), values: values.clone() })
        };
        let shown =
            |prompt: &StandingPrompt| key.seal(PROMPT, id.as_bytes(), json(prompt, PROMPT)?.as_bytes());
        match step {
            AuthorisationStep::Prompted { prompt, memory, redirect_hash, reason, expires_at } => {
                let sql = "UPDATE authorisation SET state = 'prompted', prompt = $2, progress = $3, redirect_hash = $4,
                             reason = $5, expires_at = $6, answering = $7
                           WHERE id = $1";
                let hash = redirect_hash.map(|hash| hash.to_vec());
                let reason = reason.as_deref();
                let args = args![id, shown(prompt)?, sealed(memory)?, hash, reason, *expires_at, false];
                tx.run(sql, args).await?;
                give_turn_up(&mut tx, connection, id, None).await?;
            }
            AuthorisationStep::Waiting { prompt, memory, at } => {
                let sql = "UPDATE authorisation SET prompt = $2, progress = $3, answering = $4 WHERE id = $1";
                tx.run(sql, args![id, shown(prompt)?, sealed(memory)?, false]).await?;
                let sql = "UPDATE connection SET attempt_due_at = $2 WHERE id = $1";
                tx.run(sql, args![connection, *at]).await?;
            }
            AuthorisationStep::Failed { reason } => {
                end(&mut tx, id, AuthorisationState::Failed, Some(reason), now).await?;
                give_turn_up(&mut tx, connection, id, Some(reason)).await?;
                if let Some(event) = event {
                    endpoint::tell(&mut tx, event).await?;
                }
            }
        }
        tx.commit().await
    }

    /// The session is ready: new credentials and consent in place of the old ones, the connection active and
    /// due now with all its accounts, in one transaction. The lease is given back with it.
    pub async fn authorised(
        &self,
        lease: &Lease,
        id: AuthorisationId,
        new: &Authorised,
        event: &NewEvent,
        now: Timestamp,
    ) -> Result<()> {
        let key = self.lease_key(lease).await?;
        let connection = lease.connection;
        let mut tx = self.db.begin().await?;
        fence(&mut tx, lease).await?;
        if !end(&mut tx, id, AuthorisationState::Ready, None, now).await? {
            tx.rollback().await?;
            return Err(StoreError::LeaseLost);
        }
        credential::replace(&mut tx, &key, connection, &new.credentials).await?;
        end_consent(&mut tx, connection, "replaced", now).await?;
        insert_consent(&mut tx, &key, connection, &new.consent, now).await?;
        let state = new.session_state.as_deref();
        let state = key.seal_text(super::connection::SESSION_STATE, connection.as_bytes(), state)?;
        // A pause after a refusal was for the old credentials; a limit of the bank's stays.
        let sql = "UPDATE account_head SET due_at = $2, failures = 0,
                     next_allowed_at = CASE WHEN EXISTS (
                         SELECT 1 FROM connection WHERE id = $1 AND first_rejected_at IS NOT NULL)
                       THEN NULL ELSE next_allowed_at END
                   WHERE connection = $1";
        tx.run(sql, args![connection, now]).await?;
        let sql = "UPDATE connection SET state = 'active', reason = NULL, session_open = $2, session_valid_until = $3,
                     session_state = $4, accounts_listed = $5, first_rejected_at = NULL, last_rejected_at = NULL,
                     attempt = NULL, attempt_due_at = NULL
                   WHERE id = $1";
        tx.run(sql, args![connection, true, new.valid_until, state, false]).await?;
        clear_rejections(&mut tx, connection).await?;
        let sql =
            "UPDATE schedule SET token = token + 1, due_at = $4, claimed_at = NULL, failures = 0, reason = NULL, active = $5,
                     lane = $6
                   WHERE institution = $1 AND phase = $2 AND connection = $3";
        tx.run(sql, args![&lease.institution, lease.phase, connection, now, true, word(Lane::First)]).await?;
        endpoint::tell(&mut tx, event).await?;
        tx.commit().await?;
        self.db.flush().await
    }

    async fn known_authorisation(&self, id: AuthorisationId) -> Result<Authorisation> {
        let row: AuthorisationRow = self.db.one(BY_ID, args![id]).await?;
        self.open_found(Some(row)).await?.ok_or(StoreError::Erased)
    }

    /// None if the customer has left meanwhile.
    async fn open_found(&self, found: Option<AuthorisationRow>) -> Result<Option<Authorisation>> {
        let Some(row) = found else { return Ok(None) };
        let owner = row.connection.as_ref().map_or(row.business.as_bytes(), ConnectionId::as_bytes).to_vec();
        match self.keys.of(&self.db, &owner).await {
            Err(StoreError::Erased) => Ok(None),
            key => Ok(Some(open(&key?, row)?)),
        }
    }
}

fn open(key: &OwnerKey, row: AuthorisationRow) -> Result<Authorisation> {
    let id = row.id.as_bytes();
    let prompt = row.prompt.as_deref().map(|sealed| key.open_json(PROMPT, id, sealed)).transpose()?;
    let Sealed { wishes, link } = key.open_json(WISHES, id, &row.wishes)?;
    Ok(Authorisation {
        wishes,
        link: Secret::new(link),
        prompt,
        id: row.id,
        business: row.business,
        connection: row.connection,
        institution: row.institution,
        state: from_word(&row.state, "authorisation state")?,
        reason: row.reason,
        expires_at: row.expires_at,
        created_at: row.created_at,
        ended_at: row.ended_at,
    })
}

fn open_progress(key: &OwnerKey, row: &AuthorisationRow) -> Result<Progress> {
    let Some(sealed) = row.progress.as_deref() else { return Ok(Progress::default()) };
    let stored: StoredProgress = key.open_json(PROGRESS, row.id.as_bytes(), sealed)?;
    let values = stored.values.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
    Ok(Progress { memory: stored.memory, values })
}

fn seal_progress(key: &OwnerKey, id: AuthorisationId, progress: &Progress) -> Result<Vec<u8>> {
    let values = progress.values.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned()));
    let stored = StoredProgress { memory: progress.memory.clone(), values: values.collect() };
    let text = zeroize::Zeroizing::new(json(&stored, PROGRESS)?);
    key.seal(PROGRESS, id.as_bytes(), text.as_bytes())
}

async fn insert(
    tx: &mut Tx,
    key: &OwnerKey,
    new: &NewAuthorisation,
    connection: Option<ConnectionId>,
    state: AuthorisationState,
    now: Timestamp,
) -> Result<()> {
    let sealed = Sealed { wishes: new.wishes.clone(), link: new.link.reveal().to_owned() };
    let wishes = key.seal(WISHES, new.id.as_bytes(), json(&sealed, WISHES)?.as_bytes())?;
    let sql = "INSERT INTO authorisation (id, business, connection, institution, state, wishes, answering, link_hash,
                 expires_at, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let institution = new.institution.as_deref();
    let args = args![
        new.id,
        new.business,
        connection,
        institution,
        word(state),
        wishes,
        false,
        &new.link_hash,
        new.expires_at,
        now
    ];
    tx.run(sql, args).await.map(drop)
}

/// The prompt that stands, held until the transaction ends, after its connection's schedule row.
async fn prompted(
    tx: &mut Tx,
    id: AuthorisationId,
    redirect_hash: Option<&[u8; 32]>,
    now: Timestamp,
) -> Result<Option<AuthorisationRow>> {
    let row: Option<AuthorisationRow> = tx.optional(BY_ID, args![id]).await?;
    let Some(connection) = row.and_then(|row| row.connection) else { return Ok(None) };
    if hold(tx, connection).await?.is_none() {
        return Ok(None);
    }
    let sql = "SELECT id FROM authorisation
               WHERE id = $1 AND state = 'prompted' AND expires_at > $2
                 AND (CASE WHEN $3 IS NULL THEN redirect_hash IS NULL ELSE redirect_hash = $3 END)";
    let hash = redirect_hash.map(|hash| hash.to_vec());
    let stands: Option<(AuthorisationId,)> = tx.optional(sql, args![id, now, hash]).await?;
    match stands {
        Some(_) => tx.one(BY_ID, args![id]).await.map(Some),
        None => Ok(None),
    }
}

/// The connector's turn: the connection is due for it, whether it is polled or not.
async fn take_turn(tx: &mut Tx, connection: ConnectionId, id: AuthorisationId, now: Timestamp) -> Result<()> {
    let sql = "UPDATE connection SET attempt = $2, attempt_due_at = $3 WHERE id = $1";
    tx.run(sql, args![connection, id, now]).await?;
    // A run that holds the connection sees it when it completes.
    let sql =
        "UPDATE schedule SET due_at = CASE WHEN claimed_at IS NULL THEN $2 ELSE due_at END, active = $3,
                 lane = CASE WHEN claimed_at IS NULL THEN $4 ELSE lane END
               WHERE connection = $1
                 AND institution = (SELECT institution FROM connection WHERE id = $1)
                 AND phase = (SELECT phase FROM connection WHERE id = $1)";
    tx.run(sql, args![connection, now, true, word(Lane::Wanted)]).await.map(drop)
}

/// Not the connector's turn any more. A connection that is not polled rests, unless a run holds it; then that
/// one's end does it.
async fn give_turn_up(
    tx: &mut Tx,
    connection: ConnectionId,
    id: AuthorisationId,
    reason: Option<&str>,
) -> Result<()> {
    let sql = "UPDATE connection SET attempt = NULL, attempt_due_at = NULL,
                 reason = CASE WHEN state = 'linking' AND $3 IS NOT NULL THEN $3 ELSE reason END
               WHERE id = $1 AND (attempt = $2 OR attempt IS NULL)";
    tx.run(sql, args![connection, id, reason]).await?;
    let sql = "UPDATE schedule SET active = (SELECT state = 'active' FROM connection WHERE id = $1)
               WHERE connection = $1 AND claimed_at IS NULL
                 AND institution = (SELECT institution FROM connection WHERE id = $1)
                 AND phase = (SELECT phase FROM connection WHERE id = $1)";
    tx.run(sql, args![connection]).await.map(drop)
}

/// Another way in was taken: the authorisation under way is given up.
pub(super) async fn supersede(tx: &mut Tx, connection: ConnectionId, now: Timestamp) -> Result<()> {
    let sql =
        "UPDATE authorisation SET state = 'failed', reason = 'superseded', ended_at = $2, prompt = NULL,
                 progress = NULL, redirect_hash = NULL
               WHERE connection = $1 AND ended_at IS NULL";
    tx.run(sql, args![connection, now]).await.map(drop)
}

/// Over; false if it was over already. What was typed and captured goes.
async fn end(
    tx: &mut Tx,
    id: AuthorisationId,
    state: AuthorisationState,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    let sql =
        "UPDATE authorisation SET state = $2, reason = $3, ended_at = $4, prompt = NULL, progress = NULL,
                 redirect_hash = NULL
               WHERE id = $1 AND ended_at IS NULL";
    Ok(tx.run(sql, args![id, word(state), reason, now]).await? > 0)
}
