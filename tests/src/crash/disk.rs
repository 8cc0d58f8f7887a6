//! The disk that the database lies on: small, and full when it is told to be.
//!
//! It is a file system in memory, mounted where only the harness and its children see it (a mount namespace of their
//! own), so that it is gone with them, however they end. Where that is not allowed, the database lies in an ordinary folder,
//! and no disk is ever full.

use anyhow::ensure;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for a PostgreSQL with its log, or for an SQLite file with its own.
const DISK_MIB: u32 = 768;
/// Written at a time while it is filled up; then ever less, to the last byte.
const PIECE_BYTES: usize = 1024 * 1024;

/// The disk.
pub struct Disk {
    folder: PathBuf,
    is_small: bool,
}

impl Drop for Disk {
    /// Its folder can be removed; what lay on it is gone.
    fn drop(&mut self) {
        if self.is_small {
            // That somebody still looks into it does not keep it mounted.
            let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        }
    }
}

impl Disk {
    /// Makes it. `own_mounts`: this process may mount, and nobody else sees it.
    pub fn make(folder: PathBuf, own_mounts: bool) -> anyhow::Result<Self> {
        std::fs::create_dir(&folder)?;
        if own_mounts {
            let size = format!("size={DISK_MIB}m,mode=755");
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &size, "tidegate-crash"]).arg(&folder);
            ensure!(mount.status()?.success(), "no file system could be mounted at {}", folder.display());
        }
        Ok(Self { folder, is_small: own_mounts })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Can it be full?
    pub fn is_small(&self) -> bool {
        self.is_small
    }

    /// Takes all the room that is left.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut file = File::create(self.ballast())?;
        let piece = vec![0; PIECE_BYTES];
        let mut size = piece.len();
        while size > 0 {
            match file.write_all(piece.get(..size).unwrap_or_default()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => size /= 2,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives it back.
    pub fn free(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}
