//! Subcommands of `tidegate`, one room each.
//!
//! Answers go to standard output, questions, errors and logs to standard error. Must not know: SQL,
//! HTTP, wasmtime. Secrets are read from files or standard input, never from arguments, which other
//! users of the machine can see.

mod api_key;
mod backup;
mod business;
pub mod connector;
mod cores;
mod descriptors;
mod doctor;
mod institution;
mod migrate;
mod registration;
mod restore;
mod serve;
mod vault;

use crate::clock::Clock;
use crate::config::Config;
use crate::store::Store;
use crate::vault::Vault;
use anyhow::Context;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Keeps an up-to-date copy of the bank accounts that a business's customers have linked.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, arg_required_else_help = true)]
struct Cli {
    /// The configuration file [default: TIDEGATE_CONFIG, else ./tidegate.toml if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::Serve),
    /// Bring the database up to this version
    Migrate,
    /// Copy the SQLite database into a file, while the service runs
    Backup(backup::Command),
    /// Put a backup in the place of the database, and end what must not go on from before
    Restore(restore::Command),
    /// Look whether everything is as it must be, and say what to do where it is not
    Doctor(doctor::Command),
    /// Businesses: the tenants of this service
    #[command(subcommand)]
    Business(business::Command),
    /// API keys of businesses
    #[command(subcommand)]
    ApiKey(api_key::Command),
    /// Standings at institutions: client ids, keys, certificates
    #[command(subcommand)]
    Registration(registration::Command),
    /// Institutions, and what their connectors may ask for
    #[command(subcommand)]
    Institution(institution::Command),
    /// Master keys
    #[command(subcommand)]
    Vault(vault::Command),
    /// Connectors: look into one, build one
    #[command(subcommand)]
    Connector(connector::Command),
}

/// What a subcommand has to say, and whether that is good news.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    text: String,
    good: bool,
}

impl Answer {
    fn good(text: impl Into<String>) -> anyhow::Result<Self> {
        Ok(Self { text: text.into(), good: true })
    }
}

/// Runs the program with these arguments, the first being its name.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match obey(cli).await.and_then(|answer| say(&answer.text).map(|()| answer.good)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tidegate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn obey(cli: Cli) -> anyhow::Result<Answer> {
    cores::forbid()?;
    let config = cli.config.as_deref();
    match cli.command {
        Command::Serve(serve) => serve::run(config, serve).await,
        Command::Migrate => migrate::run(config).await,
        Command::Backup(command) => backup::run(config, command).await,
        Command::Restore(command) => restore::run(config, command).await,
        Command::Doctor(command) => doctor::run(config, command).await,
        Command::Business(command) => business::run(config, command).await,
        Command::ApiKey(command) => api_key::run(config, command).await,
        Command::Registration(command) => registration::run(config, command).await,
        Command::Institution(command) => institution::run(config, command).await,
        Command::Vault(command) => vault::run(config, command).await,
        Command::Connector(command) => connector::run(command),
    }
}

/// Prints lines on standard output.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if !text.is_empty() {
        writeln!(out, "{}", text.trim_end_matches('\n'))?;
    }
    Ok(out.flush()?)
}

/// The configuration and the database, migrated.
async fn open(config: Option<&Path>) -> anyhow::Result<(Config, Store)> {
    let config = Config::load(config)?;
    let store = open_unmigrated(&config).await?;
    store.ready().await.context("the database is not ready; run `tidegate migrate`")?;
    Ok((config, store))
}

/// The database as it is.
async fn open_unmigrated(config: &Config) -> anyhow::Result<Store> {
    let vault = Vault::from_text(config.master_key.reveal())?;
    Store::open(&config.database_url, Arc::new(vault)).await.context("the database could not be opened")
}

/// The time, for rows a subcommand writes.
fn now() -> crate::model::Timestamp {
    Clock::system().now()
}

/// Rows under their headings, in columns.
fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::as_str);
        cells.chain(headings.get(column).copied()).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(headings.to_vec())).chain(rows).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_declared_without_contradiction() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_configuration_may_be_named_after_the_subcommand() {
        let cli = Cli::try_parse_from(["tidegate", "business", "list", "--config", "x.toml"]).unwrap();
        assert_eq!(cli.config, Some(PathBuf::from("x.toml")));
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "long".to_owned()], vec!["bcd".to_owned(), "é".to_owned()]];
        assert_eq!(table(&["ID", "NAME"], &rows), "ID   NAME\na    long\nbcd  é");
    }
}
