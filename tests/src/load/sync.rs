//! `cargo load -- sync`: how many accounts a second, and what one costs.
//!
//! The service reads each account once, so that it knows a hundred transactions of each. Then five new ones come to one
//! account in five, all are due at once, and for some seconds it is watched. Afterwards what it stored is compared
//! with what the bank has.

use super::bank::Show;
use super::bank_process::BankProcess;
use super::books::{Account, Books, KNOWN};
use super::floor::{self, Floor};
use super::machine::{self, Process};
use super::service::{Database, DatabaseKind, Service, Setup, in_hands};
use crate::compare::{changes, rows};
use crate::http::{Api, text};
use anyhow::{Context, ensure};
use chrono::Utc;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Every so many accounts, all transactions are compared and not only what is new.
const WHOLE_ONE_IN: u32 = 100;

/// What to do.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Which database.
    #[arg(long, value_enum)]
    pub database: DatabaseKind,
    /// Rows of a reply.
    #[arg(long, default_value_t = 25)]
    pub rows: u32,
    /// How many connections; each has two or three accounts.
    #[arg(long, default_value_t = 40_000)]
    pub connections: u32,
    /// How long it is watched.
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
}

/// What it came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Accounts synced each second.
    pub syncs_per_s: f64,
    /// What one costs the service and its database, in microseconds of computing time.
    pub host_cpu_us: f64,
    /// Of these, the database's own processes.
    pub database_cpu_us: f64,
    /// What one costs at least; see `floor`.
    pub floor_cpu_us: f64,
    /// The one by the other.
    pub cpu_ratio: f64,
    /// What one costs the bank.
    pub bank_cpu_us: f64,
    /// Reading each account the first time, a hundred transactions each.
    pub first_syncs_per_s: f64,
    /// How many were synced while it was watched.
    pub synced: u64,
    /// Accounts whose changes were compared with the bank's; all were as they should be.
    pub compared: u32,
}

/// Runs it.
pub async fn run(arguments: &Arguments, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let bank = BankProcess::start(arguments.rows)?;
    let setup = Setup::default();
    let mut service = Service::install(arguments.database, &bank.origin, &setup).await?;
    service.start().await?;
    let began = Instant::now();
    let accounts = service.link(0..arguments.connections).await?;
    let first_syncs_per_s = accounts.len() as f64 / began.elapsed().as_secs_f64();
    say(&format!(
        "{} accounts of {} connections are linked, {first_syncs_per_s:.0}/s",
        accounts.len(),
        arguments.connections
    ));
    let cursors = cursors(&service.api, &accounts).await?;
    service.stop()?;

    bank.show(Show { fresh: true, log: false, today: None }).await?;
    service.settle().await?;
    let due_at = service.make_all_due().await?;
    let idle = Watched {
        synced: 0.0,
        host: service.database.cpu()?,
        database: service.database.cpu()?,
        bank: bank.cpu()?,
    };
    service.start().await?;
    let all = accounts.len() as f64;
    service.wait_until("the first sync", async || Ok(service.synced().await? > 0.0)).await?;
    let (mut before, began) = (Watched::now(&service, &bank).await?, Instant::now());
    let mut after = Watched::now(&service, &bank).await?;
    let mut took = began.elapsed();
    while took < Duration::from_secs(arguments.seconds) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = Watched::now(&service, &bank).await?;
        if now.synced >= all {
            break; // only what was watched in full counts
        }
        (after, took) = (now, began.elapsed());
    }
    if after.synced <= before.synced {
        // So few that all of it was over between two looks: then all of it counts, the start included.
        (before, after, took) = (idle, Watched::now(&service, &bank).await?, began.elapsed());
    }
    let synced = after.synced - before.synced;
    let each = |after: Duration, before: Duration| (after - before).as_secs_f64() * 1e6 / synced;
    let (host_cpu_us, bank_cpu_us) = (each(after.host, before.host), each(after.bank, before.bank));
    let database_cpu_us = each(after.database, before.database);
    say(&format!("{synced} syncs in {took:.1?}, {host_cpu_us:.0} µs each"));

    let count = i64::from(super::books::accounts_in(arguments.connections));
    let all_read = async || Ok(service.read_since(due_at).await? >= count);
    service.wait_until("all accounts read again", all_read).await?;
    let books = Books { today: Utc::now().date_naive(), reply_rows: arguments.rows, fresh: true };
    let compared = compare(&service.api, &accounts, &cursors, books).await?;
    service.stop()?;
    say(&format!("{compared} accounts compared"));

    let floor_cpu_us = floor(arguments, &bank).await?;
    Ok(Report {
        syncs_per_s: synced / took.as_secs_f64(),
        host_cpu_us,
        database_cpu_us,
        floor_cpu_us,
        cpu_ratio: host_cpu_us / floor_cpu_us,
        bank_cpu_us,
        first_syncs_per_s,
        synced: synced as u64,
        compared,
    })
}

struct Watched {
    synced: f64,
    host: Duration,
    database: Duration,
    bank: Duration,
}

impl Watched {
    async fn now(service: &Service, bank: &BankProcess) -> anyhow::Result<Self> {
        Ok(Self {
            synced: service.synced().await?,
            host: service.cpu()?,
            database: service.database.cpu()?,
            bank: bank.cpu()?,
        })
    }
}

/// Where each account's history of changes ends now.
async fn cursors(
    api: &Api,
    accounts: &BTreeMap<Account, String>,
) -> anyhow::Result<BTreeMap<Account, String>> {
    let found = Arc::new(Mutex::new(BTreeMap::new()));
    let (api, into) = (api.clone(), found.clone());
    let ask = move |(account, id): (Account, String)| {
        let (api, into) = (api.clone(), into.clone());
        async move {
            let (changes, cursor) = changes(&api, &id, None).await?;
            ensure!(u32::try_from(changes.len())? == KNOWN, "{id}: {} rows at first", changes.len());
            into.lock().unwrap_or_else(PoisonError::into_inner).insert(account, cursor);
            Ok(())
        }
    };
    in_hands(accounts.clone(), ask).await?;
    Ok(std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// What changed at each account since then against what the bank did; how many accounts.
async fn compare(
    api: &Api,
    accounts: &BTreeMap<Account, String>,
    cursors: &BTreeMap<Account, String>,
    books: Books,
) -> anyhow::Result<u32> {
    let (api, cursors) = (api.clone(), Arc::new(cursors.clone()));
    let ask = move |(account, id): (Account, String)| {
        let (api, cursors) = (api.clone(), cursors.clone());
        async move {
            let cursor = cursors.get(&account).context("a cursor")?;
            let (told, _) = changes(&api, &id, Some(cursor)).await?;
            ensure!(told.iter().all(|change| text(change, "/kind") == "added"), "{id}: {told:?}");
            let told: Vec<_> = told.iter().filter_map(|change| change.pointer("/after")).collect();
            let new = usize::try_from(KNOWN)?;
            is_so(&id, account, &told, books.rows(account).skip(new).collect())?;
            if account.number().is_multiple_of(WHOLE_ONE_IN) {
                let stored = rows(&api, &id).await?;
                is_so(&id, account, &stored.iter().collect::<Vec<_>>(), books.rows(account).collect())?;
            }
            Ok(())
        }
    };
    in_hands(accounts.clone(), ask).await?;
    Ok(u32::try_from(accounts.len())?)
}

fn is_so(id: &str, account: Account, told: &[&Value], theirs: Vec<super::books::Row>) -> anyhow::Result<()> {
    let number = account.number();
    let mut told: Vec<_> = told
        .iter()
        .map(|row| [text(row, "/bank_id"), text(row, "/booked_on"), text(row, "/amount")].map(str::to_owned))
        .collect();
    let mut theirs: Vec<_> = theirs
        .iter()
        .map(|row| {
            let sign = if row.minor < 0 { "-" } else { "" };
            let minor = row.minor.unsigned_abs();
            let amount = format!("{sign}{}.{:02}", minor / 100, minor % 100);
            [format!("T{number}-{}", row.place), row.day.to_string(), amount]
        })
        .collect();
    told.sort();
    theirs.sort();
    ensure!(told == theirs, "{id}: told {told:?}, the bank has {theirs:?}");
    Ok(())
}

/// The floor, against the same bank.
async fn floor(arguments: &Arguments, bank: &BankProcess) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let database = Database::make(arguments.database, folder.path(), "floor").await?;
    let mut command = Command::new(super::program()?);
    command.args(["floor", "--bank", &bank.origin, "--database", &database.url()]);
    command.args(["--connections", &arguments.connections.to_string()]);
    command.args(["--seconds", &arguments.seconds.min(20).to_string()]);
    let before = database.cpu()?;
    let (_process, line) = tokio::task::spawn_blocking(move || Process::start_and_hear(command)).await??;
    let of_database = database.cpu()? - before;
    let (read, own) = line.split_once(' ').with_context(|| format!("the floor said: {line}"))?;
    let own: f64 = own.parse()?;
    let read: f64 = read.parse()?;
    ensure!(read > 0.0, "nothing was read");
    Ok((own + of_database.as_micros() as f64) / read)
}

/// `load floor`: runs the floor and prints how many accounts it read, and the microseconds it computed.
pub async fn print_floor(floor: Floor) -> anyhow::Result<()> {
    let read = floor::run(floor).await?;
    println!("{read} {}", machine::cpu(std::process::id())?.as_micros());
    Ok(())
}
