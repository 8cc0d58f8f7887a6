//! `cargo load -- scale`: what more processes on one PostgreSQL do, and what that costs the database.
//!
//! The same accounts are all due at once, for one process, then for two, and so on, and each time all of them are read.
//! On one machine all processes share its processors with the database and the bank; so what a process adds is what is left,
//! and the figure that carries over to other machines is what a sync costs whom.

use super::bank::Show;
use super::bank_process::BankProcess;
use super::books::accounts_in;
use super::service::{DatabaseKind, Service, Setup};
use anyhow::ensure;
use serde::Serialize;
use std::time::{Duration, Instant};

/// What to do.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// How many processes, one measurement each.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    pub processes: Vec<u32>,
    /// How many connections; each has two or three accounts.
    #[arg(long, default_value_t = 4_000)]
    pub connections: u32,
}

/// What it came to, one figure for each number of processes.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many processes.
    pub processes: Vec<u32>,
    /// Accounts synced each second, all together.
    pub syncs_per_s: Vec<f64>,
    /// The same for each process.
    pub per_process: Vec<f64>,
    /// What a sync costs the database, in microseconds of computing time.
    pub database_cpu_us: Vec<f64>,
    /// What a sync costs the processes.
    pub process_cpu_us: Vec<f64>,
    /// The fewest syncs of one process against the most, in percent.
    pub evenness: Vec<f64>,
}

/// Runs it.
pub async fn run(arguments: &Arguments, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let bank = BankProcess::start(25)?;
    let mut service = Service::install(DatabaseKind::Postgres, &bank.origin, &Setup::default()).await?;
    service.start().await?;
    service.link(0..arguments.connections).await?;
    service.stop()?;
    let all = i64::from(accounts_in(arguments.connections));
    say(&format!("{all} accounts are linked"));
    bank.show(Show { fresh: true, log: false, today: None }).await?;
    let mut report = Report {
        processes: arguments.processes.clone(),
        syncs_per_s: Vec::new(),
        per_process: Vec::new(),
        database_cpu_us: Vec::new(),
        process_cpu_us: Vec::new(),
        evenness: Vec::new(),
    };
    for &processes in &arguments.processes {
        ensure!(processes > 0, "one process at least");
        service.settle().await?;
        service.start().await?;
        for _ in 1..processes {
            service.start_worker()?;
        }
        let is_shared = async || Ok(service.workers().await? == i64::from(processes));
        service.wait_until("each process to have its part", is_shared).await?;
        let (before, began) = (Cpu::now(&service)?, Instant::now());
        let due_at = service.make_all_due().await?;
        let all_read = async || Ok(service.read_since(due_at).await? >= all);
        service.wait_until("all accounts read again", all_read).await?;
        let (took, after) = (began.elapsed(), Cpu::now(&service)?);
        let each = service.synced_by_each().await?;
        let (fewest, most) = each
            .iter()
            .fold((f64::MAX, 0.0_f64), |(fewest, most), syncs| (fewest.min(*syncs), most.max(*syncs)));
        service.stop()?;
        let each_us = |before: Duration, after: Duration| (after - before).as_secs_f64() * 1e6 / all as f64;
        let rate = all as f64 / took.as_secs_f64();
        say(&format!("{processes} processes: {rate:.0} syncs/s"));
        report.syncs_per_s.push(rate);
        report.per_process.push(rate / f64::from(processes));
        report.database_cpu_us.push(each_us(before.database, after.database));
        report.process_cpu_us.push(each_us(before.processes, after.processes));
        report.evenness.push(100.0 * fewest / most.max(1.0));
    }
    Ok(report)
}

struct Cpu {
    processes: Duration,
    database: Duration,
}

impl Cpu {
    fn now(service: &Service) -> anyhow::Result<Self> {
        let database = service.database.cpu()?;
        Ok(Self { processes: service.cpu()?.saturating_sub(database), database })
    }
}
