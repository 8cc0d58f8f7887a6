//! `tidegate backup`: a copy of the SQLite database while the service runs.

use super::{Answer, open};
use crate::config::Config;
use anyhow::bail;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The file to make; it must not be there
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

pub(super) async fn run(config: Option<&Path>, command: Command) -> anyhow::Result<Answer> {
    let to = command.to.display();
    if Config::load(config)?.database_url.starts_with("postgres") {
        bail!(
            "a PostgreSQL database is backed up by its own tools, such as `pg_dump --format=custom --file={to} …`; keep \
             the master key file, the institutions folder and the connectors apart from it. After pg_restore, and \
             before `tidegate serve`, run `tidegate restore --already-restored`"
        );
    }
    let (_, store) = open(config).await?;
    let backup = store.back_up(&command.to).await?;
    Answer::good(format!(
        "{to}: {} bytes, schema {}, whole; nobody can read it without the master key, which belongs elsewhere",
        backup.bytes, backup.schema
    ))
}
