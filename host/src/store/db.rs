//! Connections, transactions and rows: the same calls for SQLite and PostgreSQL.
//!
//! A query is written once and run through [`Db`] (one statement) or [`Tx`] (several); only the
//! small `match`es here know which driver answers. Must not know: tables.

use super::arg::Arg;
use super::{Result, StoreError, dialect::Dialect, postgres};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection as _, PgPool, Postgres, SqlSafeStr, Sqlite, SqlitePool,
};
use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Readers beside the one SQLite writer: more than cores only wait for the same disk.
const SQLITE_READERS_MAX: u32 = 8;
/// How long SQLite waits for a lock of another connection: checkpoints take far less.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of the writer, in KiB: the hot end of schedule, heads and transactions.
const SQLITE_WRITE_CACHE_KIB: u32 = 32 * 1024;
/// Page cache of each reader, in KiB: eight of them stay below the writer's.
const SQLITE_READ_CACHE_KIB: u32 = 4 * 1024;
/// The write-ahead log is cut back to this many bytes after a checkpoint.
const SQLITE_WAL_BYTES_MAX: u64 = 64 << 20;
/// Pages of the write-ahead log (of 4 KiB) after which whoever commits moves it into the file, so that it begins anew: 64 MB,
/// most of which [`Db::move_log`] has moved already.
const SQLITE_WAL_PAGES: u32 = 16_000;
/// How many rows one statement inserts: the most that fit, then the rest. The widest row has fourteen values, and SQLite
/// takes 32,766 of them.
const INSERT_ROWS: [usize; 4] = [64, 16, 4, 1];
/// Statements that each connection keeps prepared: about all that the service has.
const STATEMENTS_PREPARED: usize = 300;
/// Nobody else writes to the file from here on; a transaction that only later comes to write could find it changed.
const BEGIN_ON_FILE: &str = "BEGIN IMMEDIATE";
/// Connections of one process to PostgreSQL: five processes fit its default of 100.
const POSTGRES_CONNECTIONS_MAX: u32 = 16;

/// The database behind the store.
#[derive(Clone)]
pub(super) enum Db {
    /// One file, this process only.
    Sqlite { read: SqlitePool, write: SqlitePool, log: SqlitePool, path: PathBuf },
    /// A server that several processes share.
    Postgres(PgPool),
}

/// An open write transaction; dropped without [`Tx::commit`] it leaves nothing. PostgreSQL frees a
/// dropped one's locks only a moment later, so whatever returns well ends it first.
pub(super) enum Tx {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// A row that both drivers can read.
pub(super) trait Row:
    for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>
    + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>
    + Send
    + Unpin
{
}
impl<T> Row for T where
    T: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>
        + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>
        + Send
        + Unpin
{
}

/// A struct read from the columns of the same names.
macro_rules! row {
    ($(#[$doc:meta])* $seen:vis $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        $seen struct $name { $($field: $type),* }
        $crate::store::db::row!(@read $name, sqlx::sqlite::SqliteRow, $($field),*);
        $crate::store::db::row!(@read $name, sqlx::postgres::PgRow, $($field),*);
    };
    (@read $name:ident, $row:ty, $($field:ident),*) => {
        impl<'r> sqlx::FromRow<'r, $row> for $name {
            fn from_row(row: &'r $row) -> sqlx::Result<Self> {
                use sqlx::Row;
                Ok(Self { $($field: row.try_get(stringify!($field))?),* })
            }
        }
    };
}
pub(super) use row;

macro_rules! bound {
    ($query:expr, $args:expr) => {{
        let mut query = $query;
        for arg in $args {
            query = match arg {
                Arg::Int(value) => query.bind(*value),
                Arg::Bool(value) => query.bind(*value),
                Arg::Text(value) => query.bind(value.as_deref().map(str::to_owned)),
                Arg::Bytes(value) => query.bind(value.as_deref().map(<[u8]>::to_vec)),
            };
        }
        query
    }};
}

/// Runs one body for whichever driver is behind it.
macro_rules! on {
    ($self:expr, $side:ident, |$executor:ident| $body:expr) => {
        match $self {
            Self::Sqlite { $side: $executor, .. } => $body,
            Self::Postgres($executor) => $body,
        }
    };
    ($self:expr, |$executor:ident| $body:expr) => {
        match $self {
            Self::Sqlite(transaction) => {
                let $executor = &mut **transaction;
                $body
            }
            Self::Postgres(transaction) => {
                let $executor = &mut **transaction;
                $body
            }
        }
    };
}

impl Db {
    /// Opens by URL; see [`super::Store::open`].
    pub(super) async fn open(url: &str) -> Result<Self> {
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = postgres::options(url)?.statement_cache_capacity(STATEMENTS_PREPARED);
            let pool = PgPoolOptions::new()
                .max_connections(POSTGRES_CONNECTIONS_MAX)
                .connect_with(options.application_name("tidegate").disable_statement_logging());
            return Ok(Self::Postgres(pool.await.map_err(|error| postgres::not_connected(url, error))?));
        }
        match sqlite_path(url) {
            Some(path) => Self::open_file(path).await,
            None => Err(StoreError::Database(
                "the database URL must be `sqlite:PATH` or `postgres://user:password@host/name`".to_owned(),
            )),
        }
    }

    async fn open_file(path: &Path) -> Result<Self> {
        // NORMAL with a write-ahead log survives a crash of the process with every commit, and a
        // power cut without damage, though perhaps without the last commits; those are read from
        // the bank again. FULL costs an fsync per sync.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(SQLITE_BUSY_TIMEOUT)
            .foreign_keys(true)
            .statement_cache_capacity(STATEMENTS_PREPARED)
            .pragma("temp_store", "memory")
            .disable_statement_logging();
        let write = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let write = write.connect_with(
            options
                .clone()
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .pragma("cache_size", format!("-{SQLITE_WRITE_CACHE_KIB}"))
                .pragma("wal_autocheckpoint", SQLITE_WAL_PAGES.to_string())
                .pragma("journal_size_limit", SQLITE_WAL_BYTES_MAX.to_string())
                // What is deleted is overwritten: a wrapped data key must not linger in a free page.
                .pragma("secure_delete", "on"),
        );
        let write = write.await?;
        let log = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
        let read = SqlitePoolOptions::new().max_connections(SQLITE_READERS_MAX);
        let read = read
            .connect_with(options.read_only(true).pragma("cache_size", format!("-{SQLITE_READ_CACHE_KIB}")))
            .await?;
        Ok(Self::Sqlite { read, write, log, path: path.to_owned() })
    }

    /// Copies an SQLite database, as it is at this moment, into a file that is there and empty. The read transaction that this
    /// takes keeps no writer waiting.
    pub(super) async fn vacuum_into(&self, file: &Path) -> Result<()> {
        let Self::Sqlite { read, .. } = self else {
            return Err(StoreError::Backup("only an SQLite database is copied as a file".to_owned()));
        };
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        sqlx::query("VACUUM INTO $1").bind(file.display().to_string()).execute(read).await?;
        Ok(())
    }

    /// SQLite: closes the file, its log moved into it and gone, if nobody else has it open.
    pub(super) async fn close(self) -> Result<()> {
        if let Self::Sqlite { read, write, log, .. } = self {
            read.close().await;
            log.close().await;
            sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&write).await?;
            write.close().await;
        }
        Ok(())
    }

    /// The lock of the one process that serves an SQLite file; none on PostgreSQL, which many serve.
    pub(super) fn sole_server(&self) -> Result<Option<File>> {
        match self {
            Self::Sqlite { path, .. } => lock_file(path).map(Some),
            Self::Postgres(_) => Ok(None),
        }
    }

    /// Returns when what was committed survives a power cut. SQLite's log is written but not
    /// flushed by each commit; its locks lie on other files, so closing this handle frees none.
    pub(super) async fn flush(&self) -> Result<()> {
        let Self::Sqlite { path, .. } = self else { return Ok(()) };
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let flushed =
            tokio::task::spawn_blocking(move || File::open(log).and_then(|log| log.sync_data())).await;
        let flushed = flushed.map_err(|why| StoreError::Database(why.to_string()))?;
        flushed.map_err(|why| StoreError::Database(format!("the log could not be flushed: {why}")))
    }

    /// What differs in SQL.
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite { .. } => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Begins a write; on SQLite nobody else writes until it ends.
    pub(super) async fn begin(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { write, .. } => Tx::Sqlite(begin_on_file(write).await?),
            Self::Postgres(pool) => {
                // In a task of its own: dropped half-way, sqlx 0.9 would give the connection back to
                // the pool with the transaction open and unknown to it. A finished task's
                // transaction is rolled back when it is dropped unheard.
                let pool = pool.clone();
                let begun = tokio::spawn(async move { pool.begin().await }).await;
                Tx::Postgres(begun.map_err(|why| StoreError::Database(why.to_string()))??)
            }
        })
    }

    /// Reads all rows.
    pub(super) async fn all<T: Row>(&self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<Vec<T>> {
        on!(self, read, |pool| Ok(bound!(sqlx::query_as(sql), args).fetch_all(pool).await?))
    }

    /// Reads the row, if there is one.
    pub(super) async fn optional<T: Row>(&self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<Option<T>> {
        on!(self, read, |pool| Ok(bound!(sqlx::query_as(sql), args).fetch_optional(pool).await?))
    }

    /// Reads the row that there always is.
    pub(super) async fn one<T: Row>(&self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<T> {
        on!(self, read, |pool| Ok(bound!(sqlx::query_as(sql), args).fetch_one(pool).await?))
    }

    /// Writes with one statement, which is a transaction of its own; how many rows it touched.
    pub(super) async fn run(&self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<u64> {
        on!(self, write, |pool| Ok(bound!(sqlx::query(sql), args).execute(pool).await?.rows_affected()))
    }

    /// SQLite: moves what stands in the write-ahead log into the file, beside readers and the writer.
    pub(super) async fn move_log(&self) -> Result<()> {
        if let Self::Sqlite { log, .. } = self {
            sqlx::raw_sql("PRAGMA wal_checkpoint(PASSIVE)").execute(log).await?;
        }
        Ok(())
    }

    /// SQLite: moves the write-ahead log into the file and empties it, so that what was erased is
    /// in neither. A reader in the way only delays it until the next checkpoint.
    pub(super) async fn checkpoint(&self) -> Result<()> {
        if let Self::Sqlite { write, .. } = self {
            sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(write).await?;
        }
        Ok(())
    }
}

impl Tx {
    /// What differs in SQL.
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Reads all rows.
    pub(super) async fn all<T: Row>(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<Vec<T>> {
        on!(self, |connection| Ok(bound!(sqlx::query_as(sql), args).fetch_all(connection).await?))
    }

    /// Reads the row, if there is one.
    pub(super) async fn optional<T: Row>(
        &mut self,
        sql: impl SqlSafeStr,
        args: &[Arg<'_>],
    ) -> Result<Option<T>> {
        on!(self, |connection| Ok(bound!(sqlx::query_as(sql), args).fetch_optional(connection).await?))
    }

    /// Reads the row that there always is.
    pub(super) async fn one<T: Row>(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<T> {
        on!(self, |connection| Ok(bound!(sqlx::query_as(sql), args).fetch_one(connection).await?))
    }

    /// Writes; how many rows it touched.
    pub(super) async fn run(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<u64> {
        on!(self, |connection| Ok(bound!(sqlx::query(sql), args).execute(connection).await?.rows_affected()))
    }

    /// Inserts rows of `width` values each: `into` ends with `VALUES`, `rest` follows the rows. Statements have a few
    /// sizes, so that each stays prepared.
    pub(super) async fn insert(
        &mut self,
        into: &'static str,
        width: usize,
        rest: &'static str,
        values: &[Arg<'_>],
    ) -> Result<()> {
        let mut left = values;
        for size in INSERT_ROWS {
            while left.len() >= size * width {
                let (now, later) = left.split_at(size * width);
                left = later;
                let mut sql = String::with_capacity(into.len() + rest.len() + size * width * 6);
                sql.push_str(into);
                for row in 0..size {
                    sql.push_str(if row == 0 { " (" } else { "), (" });
                    for column in 1..=width {
                        let comma = if column == 1 { "" } else { ", " };
                        let _ = write!(sql, "{comma}${}", row * width + column);
                    }
                }
                sql.push_str(") ");
                sql.push_str(rest);
                self.run(AssertSqlSafe(sql), now).await?;
            }
        }
        Ok(())
    }

    /// Runs several statements without parameters, as a migration has.
    pub(super) async fn script(&mut self, sql: String) -> Result<()> {
        let sql = AssertSqlSafe(sql);
        on!(self, |connection| sqlx::raw_sql(sql).execute(connection).await.map(drop))?;
        Ok(())
    }

    /// Leaves nothing, and frees its locks before it returns.
    pub(super) async fn rollback(self) -> Result<()> {
        match self {
            Self::Sqlite(transaction) => transaction.rollback().await?,
            Self::Postgres(transaction) => transaction.rollback().await?,
        }
        Ok(())
    }

    /// Makes all of it last.
    pub(super) async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await?,
            Self::Postgres(transaction) => transaction.commit().await?,
        }
        Ok(())
    }
}

/// Begins on the one writer of a file. A full disk makes SQLite end a transaction by itself, and sqlx 0.9, which goes on
/// counting it as open, begins no other on that connection: then a fresh one takes its place.
async fn begin_on_file(write: &SqlitePool) -> Result<sqlx::Transaction<'static, Sqlite>> {
    match write.begin_with(BEGIN_ON_FILE).await {
        Err(sqlx::Error::InvalidSavePointStatement) => {}
        begun => return Ok(begun?),
    }
    let stuck = write.acquire().await?;
    if stuck.is_in_transaction() {
        tracing::warn!(
            "SQLite ended a transaction by itself, as when the disk is full; its connection is replaced"
        );
        stuck.close().await?;
    }
    Ok(write.begin_with(BEGIN_ON_FILE).await?)
}

/// The file of an SQLite URL; none of another one.
pub(super) fn sqlite_path(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    path.filter(|path| !path.is_empty()).map(Path::new)
}

/// Takes the lock file beside the database; the system frees it with the handle.
pub(super) fn lock_file(database: &Path) -> Result<File> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let shown = path.display();
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(|why| {
        StoreError::Database(format!(
            "{shown} could not be opened ({why}); create its folder, or let this user write there"
        ))
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Database(format!(
            "another `tidegate serve` works on this SQLite database (it holds {shown}); stop it first, or use PostgreSQL, which several can share"
        ))),
        Err(TryLockError::Error(why)) => Err(StoreError::Database(format!(
            "{shown} could not be locked ({why}); put the database on a local file system"
        ))),
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(inside) => match super::dialect::constraint(inside.as_ref()) {
                Some(name) => Self::Constraint(name),
                None => Self::Database(inside.message().to_owned()),
            },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Corrupt("row"),
            other => Self::Database(other.to_string()),
        }
    }
}
