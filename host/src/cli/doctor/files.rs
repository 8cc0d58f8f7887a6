//! Folders, files and their file systems.

use super::Check;
use crate::config::Config;
use rustix::fs::{StatVfs, statfs, statvfs};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Less room than this and a day's growth may fill the disk.
const FREE_WANTED_BYTES: u64 = 1 << 30;
/// Less than this and SQLite's log alone may not fit.
const FREE_NEEDED_BYTES: u64 = 128 << 20;
/// File systems whose locks SQLite cannot trust, by the number that the kernel gives them (`statfs(2)`).
const NETWORK: [(u32, &str); 5] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9P"),
    (0x7375_7245, "Coda"),
];

pub(super) fn examine(config: &Config) -> Vec<Check> {
    let mut checks = vec![
        readable("institutions", &config.institutions_dir, "toml"),
        readable("connectors", &config.connectors_dir, "wasm"),
        writable("cache", &config.cache_dir),
    ];
    if let Some(file) = &config.master_key_file {
        checks.push(private("key file", file));
    }
    let path = config.database_url.strip_prefix("sqlite:");
    if let Some(path) = path.map(|path| Path::new(path.strip_prefix("//").unwrap_or(path))) {
        checks.extend(database_file(path));
    }
    checks
}

fn readable(name: &'static str, folder: &Path, ending: &str) -> Check {
    let shown = folder.display();
    match std::fs::read_dir(folder) {
        Ok(files) => {
            let wanted = |path: &Path| path.extension().is_some_and(|found| found == ending);
            let number = files.flatten().filter(|file| wanted(&file.path())).count();
            match number {
                0 => Check::warning(name, format!("{shown} holds no *.{ending}"), "put one there"),
                _ => Check::ok(name, format!("{shown} holds {number} *.{ending}")),
            }
        }
        Err(error) => Check::problem(
            name,
            format!("{shown} cannot be read: {error}"),
            format!("create it, or let this user read it, or set {name}.dir"),
        ),
    }
}

fn writable(name: &'static str, folder: &Path) -> Check {
    let shown = folder.display();
    let file = folder.join(format!(".doctor-{}", std::process::id()));
    let tried = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, b""))
        .and_then(|()| std::fs::remove_file(&file));
    match tried {
        Ok(()) => Check::ok(name, format!("{shown} can be written")),
        Err(error) => Check::problem(
            name,
            format!("{shown} cannot be written: {error}"),
            "let this user write there, or set connectors.cache-dir",
        ),
    }
}

/// A file that nobody else may read.
fn private(name: &'static str, file: &Path) -> Check {
    let shown = file.display();
    match std::fs::metadata(file) {
        Ok(found) if found.permissions().mode() & 0o077 == 0 => {
            Check::ok(name, format!("{shown} is its owner's alone"))
        }
        Ok(found) => Check::problem(
            name,
            format!("others may read or write {shown} (mode {:o})", found.permissions().mode() & 0o777),
            format!("chmod 600 {shown}"),
        ),
        Err(error) => Check::problem(name, format!("{shown}: {error}"), "let this user read it"),
    }
}

fn database_file(file: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    if file.exists() {
        let check = private("database file", file);
        // What is secret in it is sealed, so others who read it are less than a problem.
        checks.push(match check.state {
            super::State::Problem => Check::warning(check.name, check.sentence, check.advice),
            _ => check,
        });
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let kind = statfs(folder).map(|found| u32::try_from(found.f_type & 0xffff_ffff).unwrap_or_default());
    let network = NETWORK.iter().find(|(number, _)| kind == Ok(*number));
    checks.push(match network {
        Some((_, network)) => Check::problem(
            "file system",
            format!("the SQLite database is on {network}, whose locks it cannot trust"),
            "move it to a disk of this machine, or use PostgreSQL",
        ),
        None => Check::ok("file system", "the SQLite database is on a file system of this machine"),
    });
    checks.push(match statvfs(folder) {
        Ok(found) => room(free(&found)),
        Err(error) => Check::problem(
            "free space",
            format!("{} cannot be looked at: {error}", folder.display()),
            "create it, or let this user read it",
        ),
    });
    checks
}

fn free(found: &StatVfs) -> u64 {
    found.f_bavail.saturating_mul(found.f_frsize)
}

fn room(bytes: u64) -> Check {
    let sentence = format!("{} MiB are free where the SQLite database is", bytes >> 20);
    let advice = "make room: shorten [retention], move old backups away, or take a larger disk";
    match bytes {
        0..FREE_NEEDED_BYTES => Check::problem("free space", sentence, advice),
        FREE_NEEDED_BYTES..FREE_WANTED_BYTES => Check::warning("free space", sentence, advice),
        _ => Check::ok("free space", sentence),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn room_is_warned_of_before_it_is_gone() {
        for (bytes, expected) in [(0, State::Problem), (512 << 20, State::Warning), (2 << 30, State::Ok)] {
            assert_eq!(room(bytes).state, expected, "{bytes}");
        }
    }

    #[test]
    fn what_others_may_read_is_a_problem_that_says_how_to_end_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tidegate.key");
        std::fs::write(&file, "k").unwrap();
        for (mode, expected) in [(0o600, State::Ok), (0o400, State::Ok), (0o640, State::Problem)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let check = private("key file", &file);
            assert_eq!(check.state, expected, "{check:?}");
        }
        assert!(private("key file", &file).advice.starts_with("chmod 600 "));
        assert_eq!(private("key file", Path::new("/nowhere/k")).state, State::Problem);
    }

    #[test]
    fn a_folder_that_is_missing_or_empty_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(readable("connectors", folder.path(), "wasm").state, State::Warning);
        std::fs::write(folder.path().join("x.wasm"), "").unwrap();
        assert_eq!(readable("connectors", folder.path(), "wasm").state, State::Ok);
        assert_eq!(readable("connectors", &folder.path().join("no"), "wasm").state, State::Problem);
        assert_eq!(writable("cache", folder.path()).state, State::Ok);
        assert_eq!(writable("cache", &folder.path().join("x.wasm")).state, State::Problem);
    }
}
