//! A throw-away PostgreSQL: made by `initdb` in a temporary directory, one per test process, with a
//! fresh database for every test that asks. It listens on a Unix socket only.
//!
//! It ends with the process, however that ends: a shell keeps it, and stops it and deletes its
//! files when the pipe to this process closes.

use crate::bank::tls::Authority;
use rcgen::ExtendedKeyUsagePurpose;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Set to `1`, a missing PostgreSQL is a failure instead of a skip.
pub const REQUIRE_VARIABLE: &str = "TIDEGATE_TESTS_REQUIRE_POSTGRES";
/// Tests run side by side, each with a pool.
const CONNECTIONS_MAX: u32 = 400;
/// PostgreSQL refuses to run as root; Debian's packages bring this user.
const USER_IF_ROOT: &str = "postgres";

/// Why there is no PostgreSQL.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PostgresError {
    /// Not on this machine, and required.
    #[error(
        "initdb and pg_ctl are not on PATH: install PostgreSQL (Debian: `apt install postgresql`), or unset {REQUIRE_VARIABLE}"
    )]
    Missing,
    /// It is there, but does not start.
    #[error("PostgreSQL did not start: {0}")]
    Start(String),
    /// It runs, but a database could not be made.
    #[error("PostgreSQL: {0}")]
    Database(String),
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    directory: PathBuf,
    databases: AtomicU32,
    keeper: Child,
    /// Closing it stops the server.
    leash: Option<ChildStdin>,
}

/// A server that speaks TLS.
#[derive(Debug)]
pub struct TlsPostgres {
    server: Postgres,
    port: u16,
}

impl TlsPostgres {
    /// The URL of its first database, at this host and with these parameters.
    pub fn url(&self, host: &str, parameters: &str) -> String {
        format!("postgres://postgres@{host}:{}/postgres?{parameters}", self.port)
    }

    /// PEM of the authority that signed its certificate.
    pub fn roots(&self) -> PathBuf {
        self.server.directory.join("roots.pem")
    }

    /// PEM of another authority.
    pub fn other_roots(&self) -> PathBuf {
        self.server.directory.join("other-roots.pem")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.leash.take());
        let _ = self.keeper.wait();
    }
}

/// What is forgotten with the process need not survive a power cut.
const THROW_AWAY: &str = "-c fsync=off";
/// Every commit is flushed, and there is room for the tables that are read again and again.
const DURABLE: &str = "-c fsync=on -c shared_buffers=1GB -c max_wal_size=8GB";

/// Stands between this process and the server. `$1` is the directory, `$2` how many may connect, `$3` more settings.
/// Over TCP, where that is on, nobody comes in without TLS. Interrupting the tests from a
/// terminal interrupts it too; it goes on to clean up.
const KEEPER: &str = r#"
trap : INT TERM HUP
cd "$1" || exit 1
initdb -D data -U postgres --auth=trust --no-sync -E UTF8 --locale=C >log 2>&1 &&
sed -i 's/^host /hostssl /' data/pg_hba.conf &&
pg_ctl -D data -w -t 120 -l log -o "-c listen_addresses= -k $1 -c synchronous_commit=on -c max_connections=$2 $3" start >>log 2>&1 &&
echo ready || { tail -n 20 log; rm -rf "$1"/*; exit 1; }
read -r _
pg_ctl -D data -m immediate -w stop >>log 2>&1
rm -rf "$1"
"#;

impl Postgres {
    /// Are the programs there?
    pub fn available() -> bool {
        search_path().is_some()
    }

    /// The server of this process, started by the first who asks. None, said loudly, if the
    /// machine has no PostgreSQL and [`REQUIRE_VARIABLE`] is not `1`.
    pub fn shared() -> Result<Option<&'static Self>, PostgresError> {
        static SHARED: OnceLock<Result<Postgres, PostgresError>> = OnceLock::new();
        if !Self::available() {
            let required = std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| value == "1");
            eprintln!("SKIPPED: this test needs PostgreSQL, and initdb and pg_ctl are not on PATH");
            return if required { Err(PostgresError::Missing) } else { Ok(None) };
        }
        SHARED.get_or_init(Self::start).as_ref().map(Some).map_err(Clone::clone)
    }

    /// A server of its own.
    pub fn start() -> Result<Self, PostgresError> {
        Self::start_with(THROW_AWAY)
    }

    /// A server of its own, set up as for a business: what was committed survives a power cut.
    pub fn start_durable() -> Result<Self, PostgresError> {
        Self::start_with(DURABLE)
    }

    /// A server of its own that also listens on `127.0.0.1`, for TLS with a certificate for `localhost` only.
    pub fn start_with_tls() -> Result<TlsPostgres, PostgresError> {
        let failed = |error: String| PostgresError::Start(error);
        let made = || -> Result<_, rcgen::Error> {
            let [ours, other] = ["Database authority", "Somebody else"].map(Authority::new);
            let (ours, other) = (ours?, other?);
            let server = ours.issue("Database", &["localhost"], ExtendedKeyUsagePurpose::ServerAuth)?;
            Ok((ours.pem, other.pem, server))
        };
        let (roots, other_roots, server) = made().map_err(|error| failed(error.to_string()))?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|door| door.local_addr());
        let port = port.map_err(|error| failed(error.to_string()))?.port();
        let files = [
            ("server.pem", &server.chain),
            ("server.key", &server.key),
            ("roots.pem", &roots),
            ("other-roots.pem", &other_roots),
        ];
        let settings = format!(
            "{THROW_AWAY} -c listen_addresses=127.0.0.1 -c port={port} -c ssl=on \
             -c ssl_cert_file=../server.pem -c ssl_key_file=../server.key"
        );
        Ok(TlsPostgres { server: Self::start_from(&settings, &files)?, port })
    }

    /// The process that all others of the server are children of.
    pub fn process(&self) -> Result<u32, PostgresError> {
        let failed = |why: String| PostgresError::Start(format!("its process is not known: {why}"));
        let file = std::fs::read_to_string(self.directory.join("data/postmaster.pid"));
        let file = file.map_err(|error| failed(error.to_string()))?;
        file.lines().next().and_then(|line| line.parse().ok()).ok_or_else(|| failed(file.clone()))
    }

    fn start_with(settings: &str) -> Result<Self, PostgresError> {
        Self::start_from(settings, &[])
    }

    /// The same, with files beside the server's folder that only it reads.
    fn start_from(settings: &str, files: &[(&str, &String)]) -> Result<Self, PostgresError> {
        let failed = |error: std::io::Error| PostgresError::Start(error.to_string());
        let mut command = program("sh").ok_or(PostgresError::Missing)?;
        // The keeper deletes the directory, also if this process is killed.
        let directory = tempfile::Builder::new().prefix("tidegate-pg-").tempdir().map_err(failed)?.keep();
        for (name, text) in files {
            let mut file = std::fs::OpenOptions::new();
            let file = file.create_new(true).write(true).mode(0o600).open(directory.join(name));
            file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
        }
        give_to_its_user(&directory).map_err(failed)?;
        command.args(["-c", KEEPER, "keeper"]).arg(&directory).arg(CONNECTIONS_MAX.to_string()).arg(settings);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().map_err(failed)?;
        let leash = keeper.stdin.take();
        let mut said = Vec::new();
        for line in keeper.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
            let line = line.map_err(failed)?;
            if line == "ready" {
                return Ok(Self { directory, databases: AtomicU32::new(0), keeper, leash });
            }
            said.push(line);
        }
        Err(PostgresError::Start(said.join("\n")))
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.directory.display())
    }

    /// A fresh, empty database; its URL.
    pub async fn database(&self) -> Result<String, PostgresError> {
        let failed = |error: sqlx::Error| PostgresError::Database(error.to_string());
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::SeqCst));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.map_err(failed)?;
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        connection.execute(create).await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        Ok(self.url(&name))
    }
}

/// A program of PostgreSQL, as a user that it accepts; none if it is not on this machine.
pub(crate) fn program(name: &str) -> Option<Command> {
    let path = search_path()?;
    let mut command = match is_root() {
        true => {
            let mut command = Command::new("runuser");
            command.args(["-u", USER_IF_ROOT, "--", name]);
            command
        }
        false => Command::new(name),
    };
    command.env("PATH", path);
    Some(command)
}

/// Gives a folder to the user whom PostgreSQL runs as.
pub(crate) fn give_to_its_user(folder: &Path) -> std::io::Result<()> {
    if is_root() && !Command::new("chown").args(["-R", USER_IF_ROOT]).arg(folder).status()?.success() {
        return Err(std::io::Error::other(format!("there is no user {USER_IF_ROOT} to run it as")));
    }
    Ok(())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The `PATH` with which the programs are found: ours, or with the place where Debian puts them.
fn search_path() -> Option<std::ffi::OsString> {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let has = |directory: &Path| ["initdb", "pg_ctl"].iter().all(|program| directory.join(program).is_file());
    if std::env::split_paths(&own).any(|directory| has(&directory)) {
        return Some(own);
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let debian = versions.map(|version| version.path().join("bin")).filter(|bin| has(bin)).max()?;
    std::env::join_paths(std::iter::once(debian).chain(std::env::split_paths(&own))).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sqlx::Row;

    #[tokio::test]
    async fn each_test_gets_a_database_of_its_own_on_a_server_that_commits_synchronously() {
        let Some(postgres) = Postgres::shared().unwrap() else {
            return;
        };
        for _ in 0..2 {
            let mut connection = PgConnection::connect(&postgres.database().await.unwrap()).await.unwrap();
            connection.execute("CREATE TABLE only_here (id BIGINT)").await.unwrap();
            let row = connection.fetch_one("SHOW synchronous_commit").await.unwrap();
            assert_eq!(row.get::<String, _>(0), "on");
        }
    }

    #[test]
    fn a_server_that_is_dropped_is_stopped_and_leaves_nothing_behind() {
        if Postgres::shared().unwrap().is_none() {
            return;
        }
        let postgres = Postgres::start().unwrap();
        let directory = postgres.directory.clone();
        let process = Path::new("/proc").join(postgres.process().unwrap().to_string());
        assert!(process.exists());
        drop(postgres);
        assert!(!directory.exists());
        // Where process 1 doesn't collect orphans, a dead one stays listed, without a command line.
        assert_eq!(std::fs::read_to_string(process.join("cmdline")).unwrap_or_default(), "");
    }
}
