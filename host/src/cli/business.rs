//! `tidegate business`: the tenants, and what their customers are shown.

use super::{Answer, now, open, table};
use crate::model::{Business, BusinessId, Colour};
use anyhow::Context;
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
    /// Say how the hosted link page shows a business to its customers
    ///
    /// What is not said stays as it is; an empty text takes it back to the default.
    Theme {
        /// Whose
        #[arg(value_name = "BUSINESS")]
        business: BusinessId,
        /// What its customers know it by [default: its name]
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Colour of head and buttons, dark enough for white text [default: a dark blue]
        #[arg(long, value_name = "#RRGGBB")]
        colour: Option<String>,
        /// What it needs the data for, in words for its customers; a link may say it for itself
        #[arg(long, value_name = "TEXT")]
        purpose: Option<String>,
    },
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
            let rows = businesses.iter().map(|one| {
                let mut row = vec![one.id.to_string(), one.created_at.to_string(), one.name.clone()];
                row.extend(shown(one));
                row
            });
            let headings = ["ID", "CREATED", "NAME", "SHOWN AS", "COLOUR", "PURPOSE"];
            Answer::good(table(&headings, &rows.collect::<Vec<_>>()))
        }
        Command::Theme { business, display_name, colour, purpose } => {
            let unknown = || format!("there is no business {business}; `tidegate business list` shows all");
            let mut known = store.business(business).await?.with_context(unknown)?;
            let theme = &mut known.theme;
            change(&mut theme.display_name, display_name);
            change(&mut theme.purpose, purpose);
            match colour.as_deref() {
                None => {}
                Some("") => theme.colour = None,
                Some(text) => theme.colour = Some(text.parse::<Colour>().map_err(anyhow::Error::msg)?),
            }
            theme.check().map_err(anyhow::Error::msg)?;
            anyhow::ensure!(store.set_theme(business, theme).await?, unknown());
            let [name, colour, purpose] = shown(&known);
            Answer::good(format!("{business} is shown as {name} in {colour}; purpose: {purpose}"))
        }
    }
}

fn change(field: &mut Option<String>, said: Option<String>) {
    if let Some(text) = said {
        *field = Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    }
}

/// Name, colour and purpose as customers are shown them.
fn shown(business: &Business) -> [String; 3] {
    let purpose = business.theme.purpose.clone().unwrap_or_else(|| "-".to_owned());
    [business.display_name().to_owned(), business.colour().to_string(), purpose]
}
