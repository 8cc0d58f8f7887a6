//! `cargo load`: the load harness. Each measurement ends with one JSON object on the last line.

use anyhow::bail;
use clap::{Parser, Subcommand};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use tests::load::bank::LoadBank;
use tests::load::floor::Floor;
use tests::load::{bank_process, day, fairness, in_flight, on_demand, scale, schedule, sync};
use tokio::signal::unix::{SignalKind, signal};

/// Load on a service of its own, a bank of its own and a database of its own, all on this machine.
#[derive(Parser)]
#[command(name = "load")]
struct Options {
    #[command(subcommand)]
    what: What,
    /// The last line as one JSON object, rather than indented.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// How many accounts a second, and what one costs.
    Sync(sync::Arguments),
    /// How much memory so many slow exchanges at the same time take.
    InFlight(in_flight::Arguments),
    /// Does taking up work cost more when there is more of it?
    Schedule(schedule::Arguments),
    /// How much time the service adds to a "refresh now".
    OnDemand(on_demand::Arguments),
    /// Do banks that fail, and a business that asks for everything, make others wait?
    Fairness(fairness::Arguments),
    /// What more processes on one PostgreSQL do, and what that costs the database.
    Scale(scale::Arguments),
    /// A day of a moved clock: windows, budgets, an outage.
    Day(day::Arguments),
    /// The load bank, as a process of its own; prints where it is.
    #[command(hide = true)]
    Bank {
        #[arg(long)]
        rows: u32,
        /// Speaks TLS, too; what a client needs for that is written into this folder.
        #[arg(long)]
        tls: Option<PathBuf>,
    },
    /// What a sync costs at least; prints how many, and the microseconds it computed.
    #[command(hide = true)]
    Floor {
        #[arg(long)]
        bank: String,
        #[arg(long)]
        database: String,
        #[arg(long)]
        connections: u32,
        #[arg(long)]
        seconds: u64,
    },
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut runtime = match options.what {
        // One thread: what it costs is not spent on waking another.
        What::Bank { .. } => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        // Whatever ends it, its processes end with it.
        tokio::select! {
            done = run(options) => done,
            _ = terminate.recv() => bail!("terminated"),
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })
}

async fn run(options: Options) -> anyhow::Result<()> {
    let say = |line: &str| eprintln!("{line}");
    let json = options.json;
    match options.what {
        What::Sync(arguments) => print(json, &sync::run(&arguments, &say).await?),
        What::InFlight(arguments) => print(json, &in_flight::run(&arguments, &say).await?),
        What::Schedule(arguments) => print(json, &schedule::run(&arguments, &say).await?),
        What::OnDemand(arguments) => print(json, &on_demand::run(&arguments, &say).await?),
        What::Fairness(arguments) => print(json, &fairness::run(&arguments, &say).await?),
        What::Scale(arguments) => print(json, &scale::run(&arguments, &say).await?),
        What::Day(arguments) => print(json, &day::run(&arguments, &say).await?),
        What::Bank { rows, tls } => {
            bank_process::serve(LoadBank { reply_rows: rows, today: None }, tls.as_deref()).await
        }
        What::Floor { bank, database, connections, seconds } => {
            let lasts = Duration::from_secs(seconds);
            sync::print_floor(Floor { bank, database, connections, lasts }).await
        }
    }
}

fn print(json: bool, report: &impl Serialize) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string(report) } else { serde_json::to_string_pretty(report) };
    println!("{}", text?);
    Ok(())
}
