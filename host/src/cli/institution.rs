//! `tidegate institution`: what connectors may ask of banks. A profile grants nothing; the operator
//! approves the resolved routes here.

use super::{Answer, now, table};
use crate::app::{App, Bank};
use crate::clock::Clock;
use crate::config::Config;
use crate::model::{Method, Purpose, Route};
use anyhow::{Context, ensure};
use clap::Subcommand;
use std::io::{IsTerminal, Write};
use std::path::Path;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the institutions that have a profile
    List,
    /// Show what the connector may ask of an institution, and allow it
    Approve {
        /// Which: the name of its profile
        institution: String,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(config: Option<&Path>, command: Command) -> anyhow::Result<Answer> {
    let app = App::build(Config::load(config)?, Clock::system()).await?;
    let approvals = app.store.approvals().await?;
    match command {
        Command::List => {
            let rows = app.institutions.iter().map(|(id, bank)| {
                let approved = approvals
                    .get(id)
                    .is_some_and(|fingerprint| *fingerprint == bank.fingerprint);
                let state = match (&bank.unavailable, approved) {
                    (Some(why), _) => why.clone(),
                    (None, true) => "approved".to_owned(),
                    (None, false) => format!("run `tidegate institution approve {id}`"),
                };
                vec![
                    id.clone(),
                    bank.institution.connector.clone(),
                    bank.institution.name.clone(),
                    state,
                ]
            });
            Answer::good(table(
                &["ID", "CONNECTOR", "NAME", "STATE"],
                &rows.collect::<Vec<_>>(),
            ))
        }
        Command::Approve { institution, yes } => {
            let bank = app.institutions.get(&institution).with_context(|| {
                format!(
                    "there is no profile {institution}.toml in {}",
                    app.config.institutions_dir.display()
                )
            })?;
            ensure!(
                bank.manifest.is_some(),
                "nothing to approve: {}",
                bank.unavailable
                    .as_deref()
                    .unwrap_or("its connector is not loaded")
            );
            let shown = describe(bank);
            if approvals.get(&institution) == Some(&bank.fingerprint) {
                return Answer::good(format!("{shown}\nalready approved"));
            }
            if !yes && !confirmed(&shown)? {
                return Ok(Answer {
                    text: "not approved".to_owned(),
                    good: false,
                });
            }
            app.store
                .approve_institution(&institution, &bank.fingerprint, now())
                .await?;
            let text = format!("approved {institution}");
            Answer::good(if yes {
                format!("{shown}\n{text}")
            } else {
                text
            })
        }
    }
}

/// POST routes that read need a word of their own: a token that reads can also register a webhook or pay.
fn needs_allow_post(route: &Route, bank: &Bank) -> bool {
    route.method == Method::Post
        && route.purpose != Purpose::Login
        && !bank.institution.allow_post.contains(&route.name)
}

fn describe(bank: &Bank) -> String {
    let id = &bank.institution.id;
    let label = bank
        .manifest
        .as_ref()
        .map_or_else(String::new, |one| format!("{} {}", one.name, one.version));
    let mut text = format!(
        "{} ({id}), connector {label}, may be asked:\n",
        bank.institution.name
    );
    for route in &bank.routes {
        text.push_str("  ");
        text.push_str(&route.line());
        if needs_allow_post(route, bank) {
            text.push_str(&format!(
                "\n    denied until institutions/{id}.toml says allow-post = [\"{}\"]",
                route.name
            ));
        }
        text.push('\n');
    }
    text.push_str(&format!("fingerprint {}", bank.fingerprint));
    text
}

fn confirmed(shown: &str) -> anyhow::Result<bool> {
    ensure!(
        std::io::stdin().is_terminal(),
        "nobody is there to be asked; read the routes and pass --yes:\n{shown}"
    );
    write!(std::io::stderr(), "{shown}\nAllow this? [y/N] ")?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
