//! A copy of the SQLite database, whole and of one moment, while others read and write it.
//!
//! The copy is made beside its name, checked, flushed and only then given it: whoever finds the file finds a
//! backup. Must not know: where backups go from there.

use super::schema::{APPLIED, AppliedRow, known};
use super::{Result, Store, StoreError};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Only the owner may read a backup: what is sealed in it is, but ids, amounts and times are not.
pub(super) const OWNER_ONLY: u32 = 0o600;

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its size.
    pub bytes: u64,
    /// The last migration of the schema in it.
    pub schema: String,
}

impl Store {
    /// Copies the SQLite database into a new file.
    pub async fn back_up(&self, to: &Path) -> Result<Backup> {
        let shown = to.display();
        if to.exists() {
            return refused(format!("{shown} is there already; choose another name, or move it away"));
        }
        let partial = beside(to, ".partial");
        new_file(&partial)?;
        let made = self.copy_checked(&partial).await;
        // Asked again: somebody else may have made it meanwhile, and a rename would replace it.
        let named = made.and_then(|backup| match to.exists() {
            true => refused(format!("{shown} was made by somebody else meanwhile; choose another name")),
            false => std::fs::rename(&partial, to).map_err(failed(to)).map(|()| backup),
        });
        if named.is_err() {
            let _ = std::fs::remove_file(&partial);
        }
        let backup = named?;
        flush_folder(to)?;
        Ok(backup)
    }

    async fn copy_checked(&self, file: &Path) -> Result<Backup> {
        self.db.vacuum_into(file).await?;
        let schema = check(file).await?;
        let written = File::open(file).and_then(|file| file.sync_all().and_then(|()| file.metadata()));
        Ok(Backup { bytes: written.map_err(failed(file))?.len(), schema })
    }
}

/// The last migration of a file that is whole and not newer than this version.
pub(super) async fn check(file: &Path) -> Result<String> {
    let shown = file.display();
    let examined = examine_file(file).await;
    let (wrong, migrations) = examined.map_err(|error| {
        StoreError::Backup(format!("{shown} is not a database of tidegate, or is damaged ({error})"))
    })?;
    if let Some(first) = wrong.first() {
        return refused(format!("{shown} is damaged ({first}); take another backup"));
    }
    match known(migrations)?.last() {
        Some(last) => Ok(last.clone()),
        None => refused(format!("{shown} was never migrated; it holds nothing")),
    }
}

/// What SQLite finds wrong with a file that nobody writes; nothing if it is whole. The names of its migrations.
async fn examine_file(file: &Path) -> Result<(Vec<String>, Vec<AppliedRow>)> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true).disable_statement_logging();
    let mut connection = options.connect().await?;
    let found: Vec<(String,)> = sqlx::query_as("PRAGMA integrity_check").fetch_all(&mut connection).await?;
    let migrations = sqlx::query_as(APPLIED).fetch_all(&mut connection).await?;
    connection.close().await?;
    let found = found.into_iter().map(|(text,)| text).filter(|text| text != "ok");
    Ok((found.collect(), migrations))
}

/// Creates an empty file that only its owner may read.
pub(super) fn new_file(path: &Path) -> Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path);
    file.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => StoreError::Backup(format!(
            "{} is there: the same is being done right now, or was interrupted; if nobody is at it, delete it",
            path.display()
        )),
        _ => failed(path)(error),
    })
}

/// The same path with something after its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Returns when a rename in the folder of this file survives a power cut.
pub(super) fn flush_folder(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

pub(super) fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    move |error| StoreError::Backup(format!("{}: {error}", path.display()))
}

pub(super) fn refused<T>(sentence: String) -> Result<T> {
    Err(StoreError::Backup(sentence))
}
