//! `tidegate institution`: what connectors may ask of banks. A profile grants nothing; the operator
//! approves the resolved routes here.

use super::{Answer, now, table};
use crate::app::{App, Bank};
use crate::clock::Clock;
use crate::config::Config;
use crate::model::{Method, Purpose, Role};
use anyhow::{Context, bail, ensure};
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
    let app = App::build(Config::load(config)?, Clock::system(), Role::ALL.into()).await?;
    match command {
        Command::List => {
            let rows = app.institutions.iter().map(|(id, bank)| {
                let state = bank.unavailable().unwrap_or_else(|| "approved".to_owned());
                vec![id.clone(), bank.institution.connector.clone(), bank.institution.name.clone(), state]
            });
            Answer::good(table(&["ID", "CONNECTOR", "NAME", "STATE"], &rows.collect::<Vec<_>>()))
        }
        Command::Approve { institution, yes } => {
            let bank = app.institutions.get(&institution).with_context(|| {
                format!("there is no profile {institution}.toml in {}", app.config.institutions_dir.display())
            })?;
            if let Some(why) = bank.broken() {
                bail!("nothing to approve: {why}");
            }
            let shown = describe(bank);
            if app.store.approvals().await?.get(&institution) == Some(&bank.fingerprint) {
                return Answer::good(format!("{shown}\nalready approved"));
            }
            if !yes && !confirmed(&shown)? {
                return Ok(Answer { text: "not approved".to_owned(), good: false });
            }
            app.store.approve_institution(&institution, &bank.fingerprint, now()).await?;
            let text = format!("approved {institution}");
            Answer::good(if yes { format!("{shown}\n{text}") } else { text })
        }
    }
}

fn describe(bank: &Bank) -> String {
    let id = &bank.institution.id;
    let label = bank.manifest().map_or_else(String::new, |one| format!("{} {}", one.name, one.version));
    let mut text = format!("{} ({id}), connector {label}, may be asked:\n", bank.institution.name);
    for route in &bank.routes {
        // A token that reads may also be able to pay, hence the emphasis.
        let writes = route.method != Method::Get && route.purpose != Purpose::Login;
        let mark = if writes { "  <- writes; allowed by `allow-post` in the profile" } else { "" };
        text.push_str(&format!("  {}{mark}\n", route.line()));
    }
    for line in bank.institution.egress.lines() {
        text.push_str(&format!("  {line}\n"));
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
