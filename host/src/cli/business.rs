//! `tidegate business`: the tenants.

use super::{Answer, now, open, table};
use clap::Subcommand;
use serde_json::json;
use std::path::Path;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a business
    Create {
        /// What you call it
        name: String,
        /// Print `{"id", "name"}` for a script
        #[arg(long)]
        json: bool,
    },
    /// List all businesses, oldest first
    List,
}

pub(super) async fn run(config: Option<&Path>, command: Command) -> anyhow::Result<Answer> {
    let (_, store) = open(config).await?;
    match command {
        Command::Create { name, json } => {
            anyhow::ensure!(!name.trim().is_empty(), "a business needs a name");
            let business = store.create_business(name.trim(), now()).await?;
            Answer::good(if json {
                json!({"id": business.id, "name": business.name}).to_string()
            } else {
                format!("created business {} ({})", business.id, business.name)
            })
        }
        Command::List => {
            let businesses = store.businesses().await?;
            let rows = businesses
                .into_iter()
                .map(|one| vec![one.id.to_string(), one.created_at.to_string(), one.name]);
            Answer::good(table(&["ID", "CREATED", "NAME"], &rows.collect::<Vec<_>>()))
        }
    }
}
