//! `tidegate vault`: master keys. To rotate: `new-key --file`, restart every process, `rotate`, and
//! only then take the old line out of the file.

use super::{Answer, open};
use crate::vault::Vault;
use anyhow::Context;
use clap::Subcommand;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Only the owner may read a master key file.
const OWNER_ONLY: u32 = 0o600;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a master key
    NewKey {
        /// Put it first in this file, which is created if need be; else it is printed
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Wrap every data key again under the first master key; the service may run meanwhile
    Rotate,
}

pub(super) async fn run(config: Option<&Path>, command: Command) -> anyhow::Result<Answer> {
    match command {
        Command::NewKey { file: None } => Answer::good(Vault::new_master_key_line()?),
        Command::NewKey { file: Some(file) } => {
            let line = Vault::new_master_key_line()?;
            put_first(&file, &line).with_context(|| format!("{} could not be written", file.display()))?;
            let id = line.split(':').next().unwrap_or_default();
            Answer::good(format!(
                "master key {id} is now the first in {}; keep a copy of it elsewhere",
                file.display()
            ))
        }
        Command::Rotate => {
            let (_, store) = open(config).await?;
            let wrapped = store.rotate_data_keys().await?;
            Answer::good(format!("wrapped {wrapped} data keys again"))
        }
    }
}

/// Writes a new file beside the old one and renames it, so that no crash loses a key.
fn put_first(file: &Path, line: &str) -> std::io::Result<()> {
    let old = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&beside)?;
    write!(out, "{}\n{old}", line.trim_end())?;
    out.sync_all()?;
    std::fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_new_key_stands_before_the_old_ones_and_only_the_owner_reads_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tidegate.key");
        put_first(&file, "a:AAAA").unwrap();
        put_first(&file, "b:BBBB\n").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "b:BBBB\na:AAAA\n");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
    }
}
