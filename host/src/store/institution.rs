//! What the operator and the banks say about institutions: registrations, approvals, pauses; and
//! quarantined connector versions.

use super::arg::args;
use super::codec::json;
use super::db::row;
use super::seal::numbered;
use super::{Result, Store};
use crate::model::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

row! {
    pub(super) RegistrationRow {
        id: RegistrationId, business: Option<BusinessId>, institution: String, version: i64, sealed: Vec<u8>,
        created_at: Timestamp,
    }
}

/// The sealed part of a registration.
#[derive(Serialize, Deserialize)]
struct Inside {
    values: BTreeMap<String, String>,
    client_identity: Option<String>,
    roots: Option<String>,
}

const SEALED: &str = "registration";

/// Of the institutions in `bulk`: what their businesses and the operator have there.
pub(super) const OF_PLACES: &str = "SELECT r.id, r.business, r.institution, r.version, r.sealed, r.created_at
    FROM registration r
    WHERE r.institution IN (SELECT of_institution FROM bulk)
      AND (r.business IS NULL OR r.business IN (
        SELECT s.business FROM bulk JOIN schedule s
          ON s.institution = of_institution AND s.phase = of_phase AND s.connection = of_connection))";

impl Store {
    /// Stores or replaces (by business and institution) a registration, sealed; its version rises.
    /// A replaced one keeps the id it had.
    pub async fn put_registration(&self, registration: &Registration) -> Result<()> {
        let mut tx = self.db.begin().await?;
        let sql = "SELECT id, version FROM registration
                   WHERE institution = $1 AND (business = $2 OR (business IS NULL AND $3)) {for_update}";
        let (institution, business) = (&registration.institution, registration.business);
        let sql = tx.dialect().sql(sql);
        let old: Option<(RegistrationId, i64)> =
            tx.optional(sql, args![institution, business, business.is_none()]).await?;
        let (id, version) = old.map_or((registration.id, 1), |(id, version)| (id, version + 1));
        let key = match old {
            Some(_) => self.keys.of_in(&mut tx, id.as_bytes()).await?,
            None => self.keys.create(&mut tx, id.as_bytes(), business).await?,
        };
        let reveal = |secret: &Secret| secret.reveal().to_owned();
        let inside = Inside {
            values: registration.values.iter().map(|(name, value)| (name.clone(), reveal(value))).collect(),
            client_identity: registration.client_identity.as_ref().map(reveal),
            roots: registration.roots.clone(),
        };
        let plain = zeroize::Zeroizing::new(json(&inside, SEALED)?);
        let sealed = key.seal(SEALED, &numbered(id.as_bytes(), version), plain.as_bytes())?;
        let sql = "INSERT INTO registration (id, business, institution, version, sealed, created_at)
                   VALUES ($1, $2, $3, $4, $5, $6)
                   ON CONFLICT (id) DO UPDATE SET
                     version = excluded.version, sealed = excluded.sealed, created_at = excluded.created_at";
        tx.run(sql, args![id, business, institution, version, sealed, registration.created_at])
            .await
            .map_err(|error| error.on_foreign_key("registration_business"))?;
        tx.commit().await
    }

    /// The business's registration at an institution, else the operator's.
    pub async fn registration(
        &self,
        business: BusinessId,
        institution: &str,
    ) -> Result<Option<Registration>> {
        let sql = "SELECT id, business, institution, version, sealed, created_at FROM registration
                   WHERE institution = $2 AND (business = $1 OR business IS NULL)
                   ORDER BY business IS NULL LIMIT 1";
        let found: Option<RegistrationRow> = self.db.optional(sql, args![business, institution]).await?;
        match found {
            Some(row) => Ok(Some(self.open_registration(row).await?)),
            None => Ok(None),
        }
    }

    /// All registrations, oldest first.
    pub async fn registrations(&self) -> Result<Vec<Registration>> {
        let sql =
            "SELECT id, business, institution, version, sealed, created_at FROM registration ORDER BY id";
        let rows: Vec<RegistrationRow> = self.db.all(sql, args![]).await?;
        let mut all = Vec::new();
        for row in rows {
            all.push(self.open_registration(row).await?);
        }
        Ok(all)
    }

    pub(super) async fn open_registration(&self, row: RegistrationRow) -> Result<Registration> {
        let key = self.keys.of(&self.db, row.id.as_bytes()).await?;
        let inside: Inside = key.open_json(SEALED, &numbered(row.id.as_bytes(), row.version), &row.sealed)?;
        Ok(Registration {
            id: row.id,
            business: row.business,
            institution: row.institution,
            values: inside.values.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
            client_identity: inside.client_identity.map(Secret::new),
            roots: inside.roots,
            version: row.version,
            created_at: row.created_at,
        })
    }

    /// Removes one; false if unknown.
    pub async fn delete_registration(&self, id: RegistrationId) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        let gone = tx.run("DELETE FROM registration WHERE id = $1", args![id]).await? == 1;
        if gone {
            self.keys.destroy(&mut tx, id.as_bytes()).await?;
        }
        tx.commit().await?;
        self.keys.forget(id.as_bytes());
        Ok(gone)
    }

    /// The operator approves the routes (their fingerprint) of an institution.
    pub async fn approve_institution(
        &self,
        institution: &str,
        fingerprint: &str,
        now: Timestamp,
    ) -> Result<()> {
        let sql = "INSERT INTO institution (id, fingerprint, approved_at) VALUES ($1, $2, $3)
                   ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, approved_at = excluded.approved_at";
        self.db.run(sql, args![institution, fingerprint, now]).await?;
        Ok(())
    }

    /// All approvals: institution to fingerprint.
    pub async fn approvals(&self) -> Result<BTreeMap<String, String>> {
        let sql = "SELECT id, fingerprint FROM institution WHERE fingerprint IS NOT NULL";
        let rows: Vec<(String, String)> = self.db.all(sql, args![]).await?;
        Ok(rows.into_iter().collect())
    }

    /// Nothing is asked of this institution before then (a bank's limit, an outage). A pause that
    /// lasts longer already stays.
    pub async fn pause_institution(&self, institution: &str, until: Timestamp, reason: &str) -> Result<()> {
        let sql = "INSERT INTO institution (id, paused_until, pause_reason) VALUES ($1, $2, $3)
                   ON CONFLICT (id) DO UPDATE SET paused_until = excluded.paused_until, pause_reason = excluded.pause_reason
                   WHERE institution.paused_until IS NULL OR institution.paused_until < excluded.paused_until";
        self.db.run(sql, args![institution, until, reason]).await?;
        Ok(())
    }

    /// This version of a connector is no longer run.
    pub async fn quarantine_connector(&self, digest: &str, reason: &str, now: Timestamp) -> Result<()> {
        let sql = "INSERT INTO connector_quarantine (digest, reason, quarantined_at) VALUES ($1, $2, $3)
                   ON CONFLICT (digest) DO NOTHING"; // the first reason is the one to look into
        self.db.run(sql, args![digest, reason, now]).await?;
        Ok(())
    }

    /// Quarantined digests with their reasons.
    pub async fn quarantined_connectors(&self) -> Result<BTreeMap<String, String>> {
        let rows: Vec<(String, String)> =
            self.db.all("SELECT digest, reason FROM connector_quarantine", args![]).await?;
        Ok(rows.into_iter().collect())
    }
}
