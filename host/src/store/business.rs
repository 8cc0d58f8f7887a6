//! Businesses and their API keys.

use super::arg::args;
use super::codec::{json, parsed};
use super::db::row;
use super::{Result, Store, StoreError};
use crate::model::*;

row! {
    BusinessRow {
        id: BusinessId, name: String, display_name: Option<String>, colour: Option<String>,
        purpose: Option<String>, created_at: Timestamp,
    }
}

row! {
    KeyRow {
        id: ApiKeyId, business: BusinessId, name: String, scopes: String, secret_hash: Vec<u8>,
        created_at: Timestamp, revoked_at: Option<Timestamp>,
    }
}

const KEY: &str =
    "SELECT id, business, name, scopes, secret_hash, created_at, revoked_at FROM api_key WHERE id = $1";
const KEYS: &str = "SELECT id, business, name, scopes, secret_hash, created_at, revoked_at FROM api_key WHERE business = $1 ORDER BY id";

impl BusinessRow {
    fn business(self) -> Result<Business> {
        let colour = self.colour.map(|text| text.parse().map_err(|_| StoreError::Corrupt("colour")));
        Ok(Business {
            id: self.id,
            name: self.name,
            theme: Theme {
                display_name: self.display_name,
                colour: colour.transpose()?,
                purpose: self.purpose,
            },
            created_at: self.created_at,
        })
    }
}

impl KeyRow {
    fn key(self) -> Result<(ApiKey, Vec<u8>)> {
        let key = ApiKey {
            id: self.id,
            business: self.business,
            name: self.name,
            scopes: parsed(&self.scopes, "scopes")?,
            created_at: self.created_at,
            revoked_at: self.revoked_at,
        };
        Ok((key, self.secret_hash))
    }
}

impl Store {
    /// A new tenant.
    pub async fn create_business(&self, name: &str, now: Timestamp) -> Result<Business> {
        let id = BusinessId::new();
        let mut tx = self.db.begin().await?;
        let sql = "INSERT INTO business (id, name, created_at) VALUES ($1, $2, $3)";
        tx.run(sql, args![&id, name, now]).await?;
        self.keys.create(&mut tx, id.as_bytes(), Some(id)).await?;
        tx.commit().await?;
        Ok(Business { id, name: name.to_owned(), theme: Theme::default(), created_at: now })
    }

    /// All tenants, oldest first.
    pub async fn businesses(&self) -> Result<Vec<Business>> {
        let sql = "SELECT id, name, display_name, colour, purpose, created_at FROM business ORDER BY id";
        let rows: Vec<BusinessRow> = self.db.all(sql, args![]).await?;
        rows.into_iter().map(BusinessRow::business).collect()
    }

    /// One tenant.
    pub async fn business(&self, id: BusinessId) -> Result<Option<Business>> {
        let sql = "SELECT id, name, display_name, colour, purpose, created_at FROM business WHERE id = $1";
        let found: Option<BusinessRow> = self.db.optional(sql, args![id]).await?;
        found.map(BusinessRow::business).transpose()
    }

    /// What its customers are shown from now on; false if unknown.
    pub async fn set_theme(&self, id: BusinessId, theme: &Theme) -> Result<bool> {
        let sql = "UPDATE business SET display_name = $2, colour = $3, purpose = $4 WHERE id = $1";
        let colour = theme.colour.map(|colour| colour.to_string());
        let args = args![id, theme.display_name.as_deref(), colour, theme.purpose.as_deref()];
        Ok(self.db.run(sql, args).await? == 1)
    }

    /// A new key; only the SHA-256 of its secret is stored. Constraint `api_key_business` if the business is unknown.
    pub async fn create_api_key(&self, key: &ApiKey, secret_hash: &[u8; 32]) -> Result<()> {
        let sql = "INSERT INTO api_key (id, business, name, scopes, secret_hash, created_at, revoked_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let scopes = json(&key.scopes, "scopes")?;
        let args =
            args![&key.id, &key.business, &key.name, &scopes, secret_hash, key.created_at, key.revoked_at];
        self.db.run(sql, args).await.map_err(|error| error.on_foreign_key("api_key_business"))?;
        Ok(())
    }

    /// A key and the hash of its secret.
    pub async fn api_key(&self, id: ApiKeyId) -> Result<Option<(ApiKey, [u8; 32])>> {
        let found: Option<KeyRow> = self.db.optional(KEY, args![id]).await?;
        let Some(found) = found else { return Ok(None) };
        let (key, hash) = found.key()?;
        let hash = hash.try_into().map_err(|_| StoreError::Corrupt("API key hash"))?;
        Ok(Some((key, hash)))
    }

    /// A business's keys, oldest first.
    pub async fn api_keys(&self, business: BusinessId) -> Result<Vec<ApiKey>> {
        let rows: Vec<KeyRow> = self.db.all(KEYS, args![business]).await?;
        rows.into_iter().map(|row| Ok(row.key()?.0)).collect()
    }

    /// Ends a key; false if unknown or already ended.
    pub async fn revoke_api_key(&self, id: ApiKeyId, now: Timestamp) -> Result<bool> {
        let sql = "UPDATE api_key SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
        Ok(self.db.run(sql, args![id, now]).await? == 1)
    }
}
