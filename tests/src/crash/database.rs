//! The database of a run: an SQLite file, or a PostgreSQL of its own that is stopped and started.
//!
//! Must not know: what is in it.

use super::disk::Disk;
use crate::load::service::DatabaseKind;
use crate::postgres::{PostgresError, give_to_its_user, program};
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// As for a business: what was committed survives a power cut. A crash is over quickly, since little is to be done again.
const SETTINGS: &str = "-c listen_addresses= -c fsync=on -c synchronous_commit=on -c max_connections=100 \
                        -c max_wal_size=64MB -c min_wal_size=32MB -c checkpoint_timeout=60s";
/// How long PostgreSQL may take to start or stop, in seconds, as `pg_ctl` wants it.
const PATIENCE_S: &str = "60";

/// How PostgreSQL is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Transactions are rolled back, and all is written.
    Fast,
    /// As if it had crashed: it recovers when it starts.
    Immediate,
}

/// The database.
pub enum Database {
    /// The file.
    Sqlite(PathBuf),
    /// The folder with its data and its socket, and the file that it logs to, on another disk.
    Postgres(PathBuf, PathBuf),
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.control(&["-m", "immediate", "stop"]);
    }
}

impl Database {
    /// Makes one on this disk, which logs into that folder, and starts it.
    pub fn make(kind: DatabaseKind, disk: &Disk, logs: &Path) -> anyhow::Result<Self> {
        if kind == DatabaseKind::Sqlite {
            return Ok(Self::Sqlite(disk.folder().join("tidegate.db")));
        }
        let folder = disk.folder().join("postgres");
        std::fs::create_dir(&folder)?;
        give_to_its_user(&folder)?;
        let mut initdb = program("initdb").ok_or(PostgresError::Missing)?;
        initdb
            .args(["-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "-D"])
            .arg(folder.join("data"));
        finish(initdb).context("initdb")?;
        let logs = logs.join("postgres");
        std::fs::create_dir(&logs)?;
        give_to_its_user(&logs)?;
        let database = Self::Postgres(folder, logs.join("log"));
        database.start()?;
        Ok(database)
    }

    /// As the configuration has it.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Postgres(folder, _) => {
                format!("postgres://postgres@localhost/postgres?host={}", folder.display())
            }
        }
    }

    /// Starts it, if it does not run.
    pub fn start(&self) -> anyhow::Result<()> {
        let Self::Postgres(folder, _) = self else { return Ok(()) };
        if self.control(&["status"]).is_ok() {
            return Ok(());
        }
        let options = format!("-k {} {SETTINGS}", folder.display());
        self.control(&["-w", "-t", PATIENCE_S, "-o", &options, "start"])
    }

    /// Stops it.
    pub fn stop(&self, how: Stop) -> anyhow::Result<()> {
        let how = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        self.control(&["-w", "-t", PATIENCE_S, "-m", how, "stop"])
    }

    /// Asks `pg_ctl`; nothing of an SQLite file.
    fn control(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let Self::Postgres(folder, log) = self else { return Ok(()) };
        let mut control = program("pg_ctl").ok_or(PostgresError::Missing)?;
        control.arg("-D").arg(folder.join("data")).arg("-l").arg(log).args(arguments);
        finish(control).with_context(|| format!("pg_ctl {}: see {}", arguments.join(" "), log.display()))
    }
}

/// Runs it to its end. The server that it leaves behind must hold no pipe of ours.
fn finish(mut command: Command) -> anyhow::Result<()> {
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(ended.success(), "ended with {ended}");
    Ok(())
}
