//! `tidegate restore`: a backup takes the database's place, or has taken it already.

use super::{Answer, now, open};
use crate::config::Config;
use crate::store::{Restored, Settled, Store};
use crate::vault::Vault;
use anyhow::bail;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Command {
    /// The backup, as `tidegate backup` made it
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The database was brought back by other tools, such as pg_restore: only end what must not go on
    #[arg(long)]
    already_restored: bool,
}

/// What is to be done about customers who left since the backup.
const WHO_LEFT: &str = "customers who left since the backup are back: send DELETE for each `connection.deleted` that was told since";

pub(super) async fn run(config: Option<&Path>, command: Command) -> anyhow::Result<Answer> {
    let Some(from) = command.from else {
        let (_, store) = open(config).await?;
        let _nobody_serves = store.sole_server()?;
        let settled = store.settle_restored(now()).await?;
        return Answer::good(format!("{}\n{WHO_LEFT}", laid_to_rest(settled)));
    };
    let config = Config::load(config)?;
    if config.database_url.starts_with("postgres") {
        bail!(
            "database.url is PostgreSQL: stop every process, bring the database back with pg_restore, then run \
             `tidegate restore --already-restored`"
        );
    }
    let vault = Arc::new(Vault::from_text(config.master_key.reveal())?);
    let Restored { kept, settled, ended_again, migrated } =
        Store::restore(&config.database_url, &from, vault, now()).await?;
    let mut lines = vec![format!("{} is the database now", from.display())];
    lines.extend(migrated.iter().map(|name| format!("applied {name}")));
    lines.extend(kept.map(|kept| format!("the database that stood there is kept as {}", kept.display())));
    lines.push(laid_to_rest(settled));
    lines.push(match ended_again {
        Some(number) => format!("connections that were ended since the backup and are ended again: {number}"),
        None => WHO_LEFT.to_owned(),
    });
    Answer::good(lines.join("\n"))
}

fn laid_to_rest(settled: Settled) -> String {
    format!(
        "cursors of {} accounts from before are refused from now on, and {} leases fit no more; now start `tidegate serve`",
        settled.accounts, settled.connections
    )
}
