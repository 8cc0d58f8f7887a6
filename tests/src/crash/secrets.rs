//! Looks for secrets where none may be: in what processes logged, in cores, and in the database's own files.
//!
//! `grep` does it: it is quick on whatever bytes there are.

use super::scene::NARRATION;
use anyhow::ensure;
use std::path::Path;
use std::process::{Command, Stdio};

/// Tokens of the bank: what begins so and goes on for 43 letters is one.
const TOKENS: &str = "(rt|at|ct)_[A-Za-z0-9_-]{43}";
/// Webhook secrets.
const SIGNING: &str = "whsec_[A-Za-z0-9+/]{32}";

/// Files below these folders that hold a secret.
pub fn found(folders: &[&Path], secrets: &[String]) -> anyhow::Result<Vec<String>> {
    let mut grep = Command::new("grep");
    grep.args(["-r", "-a", "-l", "-s", "-E", "-e", TOKENS, "-e", SIGNING, "-e", NARRATION]);
    for secret in secrets {
        // Letters of base64 and of our keys: only these three mean something in an expression.
        grep.arg("-e").arg(secret.replace('+', "[+]").replace('.', "[.]").replace('$', "[$]"));
    }
    let said = grep.args(folders).env("LC_ALL", "C").stdin(Stdio::null()).output()?;
    // 2: a file went away meanwhile.
    ensure!(said.status.code().is_some(), "grep was killed");
    Ok(String::from_utf8_lossy(&said.stdout).lines().map(str::to_owned).collect())
}

/// Cores that were written.
pub fn cores(folder: &Path) -> anyhow::Result<Vec<String>> {
    let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path().display().to_string()));
    names.collect()
}
