//! `cargo load -- in-flight`: how much memory so many slow exchanges at the same time take.
//!
//! Every connection of the load bank is due at once, and the bank takes seconds to answer: all are in flight together,
//! each on a connection of its own.

use super::bank::Behaviour;
use super::bank_process::BankProcess;
use super::books::{self, INSTITUTIONS, institution};
use super::machine;
use super::service::{DatabaseKind, Service, Setup};
use anyhow::ensure;
use serde::Serialize;
use std::time::Duration;

/// What to do.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// How many exchanges at the same time.
    #[arg(long, default_value_t = 10_000)]
    pub n: u32,
    /// How long the bank takes to answer, in seconds.
    #[arg(long, value_parser = seconds, default_value = "5s")]
    pub bank_latency: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse();
    seconds.map(Duration::from_secs).map_err(|_| format!("\"{text}\" is no number of seconds, like 5s"))
}

/// What it came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Accounts that were read while the bank was slow.
    pub completed: u64,
    /// The most exchanges that were in flight together, as the bank counted.
    pub in_flight: u64,
    /// The most memory that the service ever had in use, in MiB.
    pub rss_mib: u64,
    /// The same before the bank became slow.
    pub rss_before_mib: u64,
    /// As many exchanges over TLS: how many were in flight together.
    pub tls_in_flight: u64,
    /// And how much memory the service had in use.
    pub tls_rss_mib: u64,
}

/// Runs it, over plain HTTP and then over TLS with a certificate of the client's.
pub async fn run(arguments: &Arguments, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let plain = read(arguments, BankProcess::start(25)?, say).await?;
    let tls = read(arguments, BankProcess::start_with_tls(25)?, say).await?;
    let Read { completed, in_flight, rss_mib, rss_before_mib } = plain;
    Ok(Report {
        completed,
        in_flight,
        rss_mib,
        rss_before_mib,
        tls_in_flight: tls.in_flight,
        tls_rss_mib: tls.rss_mib,
    })
}

struct Read {
    completed: u64,
    in_flight: u64,
    rss_mib: u64,
    rss_before_mib: u64,
}

async fn read(arguments: &Arguments, bank: BankProcess, say: &dyn Fn(&str)) -> anyhow::Result<Read> {
    let setup = Setup {
        concurrency: arguments.n * 2,
        per_institution: (arguments.n * 2 / INSTITUTIONS).min(10_000),
        interval_minutes: 60,
    };
    let mut service = Service::install(DatabaseKind::Sqlite, &bank.origin, &setup).await?;
    service.register(&bank)?;
    service.start().await?;
    service.link(0..arguments.n).await?;
    service.stop()?;
    say(&format!("{} connections are linked", arguments.n));
    let due_at = service.make_all_due().await?;
    for number in 0..INSTITUTIONS {
        let latency_ms = u64::try_from(arguments.bank_latency.as_millis())?;
        bank.behave(&institution(number), Behaviour { latency_ms, ..Behaviour::default() }).await?;
    }
    service.start().await?;
    let rss_before_mib = machine::peak_rss_mib(service.process()?)?;
    let all = i64::from(books::accounts_in(arguments.n));
    let read = async || Ok(service.read_since(due_at).await? >= all);
    service.wait_until("all accounts read by a slow bank", read).await?;
    let rss_mib = machine::peak_rss_mib(service.process()?)?;
    let in_flight = bank.most_at_once().await?;
    let failed = service.database.number("SELECT count(*) FROM sync WHERE code <> 'SYNC_SUCCESSFUL'").await?;
    ensure!(failed == 0, "{failed} syncs failed: {}", service.said());
    let completed = u64::try_from(service.read_since(due_at).await?)?;
    service.stop()?;
    Ok(Read { completed, in_flight, rss_mib, rss_before_mib })
}
