//! `cargo crash`: the crash matrix. The last line of standard output is one JSON object; the exit code says whether all
//! is well.

use anyhow::bail;
use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use tests::crash::relay;
use tests::crash::run::{Arguments, run};
use tokio::signal::unix::{SignalKind, signal};

/// Breaks a running service in every way that is known, and looks whether anything is lost.
#[derive(Parser)]
#[command(name = "crash", args_conflicts_with_subcommands = true)]
struct Options {
    #[command(flatten)]
    arguments: Arguments,
    /// The last line as one JSON object, rather than indented.
    #[arg(long)]
    json: bool,
    /// Nobody else sees what this process mounts.
    #[arg(long, hide = true)]
    own_mounts: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// Carries bytes from one address to another.
    #[command(hide = true)]
    Relay {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        to: SocketAddr,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if options.part.is_none() && !options.own_mounts && may_mount() {
        let mut again = Command::new("unshare");
        again.args(["--mount", "--propagation", "private", "--"]).arg(std::env::current_exe()?);
        let error = again.args(std::env::args_os().skip(1)).arg("--own-mounts").exec();
        bail!("it could not be started anew: {error}");
    }
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        // Whatever ends it, its processes end with it.
        tokio::select! {
            done = obey(options) => done,
            _ = terminate.recv() => bail!("terminated"),
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })
}

/// May a process of this user have file systems of its own?
fn may_mount() -> bool {
    let mut tries = Command::new("unshare");
    tries.args([
        "--mount",
        "--propagation",
        "private",
        "--",
        "mount",
        "-t",
        "tmpfs",
        "tidegate-crash",
        "/mnt",
    ]);
    tries.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    tries.status().is_ok_and(|tried| tried.success())
}

async fn obey(options: Options) -> anyhow::Result<ExitCode> {
    if let Some(Part::Relay { listen, to }) = options.part {
        relay::serve(listen, to).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = run(&options.arguments, options.own_mounts, &|line: &str| eprintln!("{line}")).await?;
    let text =
        if options.json { serde_json::to_string(&report) } else { serde_json::to_string_pretty(&report) };
    println!("{}", text?);
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
