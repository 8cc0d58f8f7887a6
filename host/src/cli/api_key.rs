//! `tidegate api-key`: bearer keys of businesses. A key is shown once, when it is made.

use super::{Answer, now, open, table};
use crate::api::key;
use crate::model::{ApiKey, ApiKeyId, BusinessId, Scope};
use crate::store::StoreError;
use anyhow::Context;
use clap::Subcommand;
use serde_json::json;
use std::path::Path;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key and show it, once
    Create {
        /// Whose
        #[arg(value_name = "BUSINESS")]
        business: BusinessId,
        /// What its owner calls it
        #[arg(long, default_value = "default")]
        name: String,
        /// What it may do, separated by commas
        #[arg(long, value_delimiter = ',', default_value = "read,sync,connections,webhooks", value_parser = scope)]
        scopes: Vec<Scope>,
        /// Print `{"id", "key"}` for a script
        #[arg(long)]
        json: bool,
    },
    /// List a business's keys, oldest first
    List {
        /// Whose
        #[arg(value_name = "BUSINESS")]
        business: BusinessId,
    },
    /// End a key
    Revoke {
        /// Which
        #[arg(value_name = "KEY-ID")]
        id: ApiKeyId,
    },
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::from_name(text).ok_or_else(|| format!("the scopes are {}", Scope::ALL.map(Scope::name).join(", ")))
}

fn scopes(key: &ApiKey) -> String {
    key.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(",")
}

pub(super) async fn run(config: Option<&Path>, command: Command) -> anyhow::Result<Answer> {
    let (_, store) = open(config).await?;
    match command {
        Command::Create { business, name, scopes: wanted, json } => {
            let minted = key::mint()?;
            let id = minted.id;
            let key = ApiKey { id, business, name, scopes: wanted, created_at: now(), revoked_at: None };
            store.create_api_key(&key, &minted.hash).await.map_err(|error| match error {
                StoreError::Constraint(name) if name == "api_key_business" => {
                    anyhow::anyhow!("there is no business {business}; `tidegate business list` shows all")
                }
                other => other.into(),
            })?;
            Answer::good(if json {
                json!({"id": id, "key": minted.text.reveal()}).to_string()
            } else {
                let (scopes, text) = (scopes(&key), minted.text.reveal());
                format!("created key {id} for {business}, scopes {scopes}\nit is shown only now: {text}")
            })
        }
        Command::List { business } => {
            let keys = store.api_keys(business).await?;
            let rows = keys.into_iter().map(|key| {
                let revoked = key.revoked_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
                vec![key.id.to_string(), key.created_at.to_string(), revoked, scopes(&key), key.name]
            });
            Answer::good(table(&["ID", "CREATED", "REVOKED", "SCOPES", "NAME"], &rows.collect::<Vec<_>>()))
        }
        Command::Revoke { id } => {
            let ended = store.revoke_api_key(id, now()).await?;
            ended.then_some(()).with_context(|| format!("there is no key {id} in force"))?;
            Answer::good(format!("revoked {id}"))
        }
    }
}
