//! `tidegate connector`: for authors of connectors. Needs no configuration and no database.

pub mod build;
mod inspect;

use super::Answer;
use crate::sandbox;
use anyhow::{Context, anyhow};
use clap::Subcommand;
use std::io::{Read, Write};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what a component is, what it would be granted, and whether it would load
    Inspect {
        /// A connector (*.wasm)
        file: PathBuf,
    },
    /// Build a connector's crate into a component that carries its connector.toml
    Build {
        /// Folder of the connector's crate
        dir: PathBuf,
        /// Folder for the component
        #[arg(long, default_value = ".")]
        out: PathBuf,
    },
    /// Compile the component on standard input; native code on standard output
    #[command(hide = true)]
    Compile,
}

pub(super) fn run(command: Command) -> anyhow::Result<Answer> {
    match command {
        Command::Inspect { file } => {
            let component =
                std::fs::read(&file).with_context(|| format!("{} could not be read", file.display()))?;
            let inspection = sandbox::inspect(&component);
            Ok(Answer { text: inspect::describe(&inspection), good: inspection.refusal.is_none() })
        }
        Command::Build { dir, out } => {
            let file = build::build(&dir, &out)?;
            Answer::good(format!("{}\n", file.display()))
        }
        Command::Compile => {
            let mut component = Vec::new();
            std::io::stdin().lock().read_to_end(&mut component)?;
            let code = sandbox::compile(&component).map_err(|sentence| anyhow!(sentence))?;
            let mut out = std::io::stdout().lock();
            out.write_all(&code)?;
            out.flush()?;
            Answer::good("")
        }
    }
}
