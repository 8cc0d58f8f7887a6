//! `cargo load -- on-demand`: how much time the service adds to a "refresh now", while the schedule's own work goes on.
//!
//! The time of a `/sync` call, less the time that the bank had the two requests in hand by its own log.

use super::bank::{Behaviour, Show};
use super::bank_process::BankProcess;
use super::books::{INSTITUTIONS, institution};
use super::machine::percentile;
use super::service::{DatabaseKind, Service, Setup};
use crate::http::{expect, text};
use anyhow::{Context, ensure};
use chrono::Utc;
use serde::Serialize;
use serde_json::json;
use std::io::Write;
use std::time::{Duration, Instant};

/// Connections that nobody syncs but who asks.
const ASKED_FOR: u32 = 100;
/// What the bank takes for each answer: a quick one.
const BANK_LATENCY_MS: u64 = 20;
/// Between two calls.
const EVERY: Duration = Duration::from_millis(50);
/// How often the disk is asked to flush four kilobytes.
const FLUSHES: usize = 101;

/// What to do.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Which database.
    #[arg(long, value_enum)]
    pub database: DatabaseKind,
    /// Accounts that the schedule syncs a second meanwhile.
    #[arg(long, default_value_t = 300)]
    pub scheduled_per_s: u32,
    /// How many calls.
    #[arg(long, default_value_t = 400)]
    pub calls: u32,
}

/// What it came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Milliseconds that the service adds, half of the time at most.
    pub p50_ms: f64,
    /// The same, in 99 of 100 calls at most.
    pub p99_ms: f64,
    /// Milliseconds that this disk takes to flush four kilobytes, half of the time at most.
    pub fsync_p50_ms: f64,
    /// What the schedule synced a second meanwhile.
    pub scheduled_per_s: f64,
    /// How many calls.
    pub calls: usize,
}

/// Runs it.
pub async fn run(arguments: &Arguments, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let bank = BankProcess::start(25)?;
    let setup = Setup::default();
    let mut service = Service::install(arguments.database, &bank.origin, &setup).await?;
    service.start().await?;
    let seconds = (EVERY * arguments.calls).as_secs() + 5;
    let busy = (u64::from(arguments.scheduled_per_s) * seconds * 2).div_ceil(5);
    let busy = u32::try_from(busy)?;
    let accounts = service.link(0..busy + ASKED_FOR).await?;
    say(&format!("{} accounts are linked", accounts.len()));
    service.stop()?;
    service.settle().await?;
    // The schedule's come one after the other; those that are asked for are not due for an hour.
    let now = Utc::now().timestamp_micros();
    let (hour, span) = (now + 3_600_000_000, seconds * 1_000_000);
    let asked: Vec<_> = accounts.iter().filter(|(account, _)| account.connection >= busy).collect();
    service
        .database
        .run(&format!(
            "UPDATE account_head SET due_at = {now};
             UPDATE schedule SET due_at = {now} + phase * {span} / 4294967296;
             UPDATE schedule SET due_at = {hour} WHERE connection IN (SELECT id FROM connection ORDER BY id DESC LIMIT {ASKED_FOR});
             UPDATE account_head SET due_at = {hour}
               WHERE connection IN (SELECT id FROM connection ORDER BY id DESC LIMIT {ASKED_FOR})"
        ))
        .await?;
    for number in 0..INSTITUTIONS {
        let slow = Behaviour { latency_ms: BANK_LATENCY_MS, ..Behaviour::default() };
        bank.behave(&institution(number), slow).await?;
    }
    bank.show(Show { fresh: true, log: true, today: None }).await?;
    service.start().await?;
    service.wait_until("the schedule at work", async || Ok(service.synced().await? > 0.0)).await?;

    let (before, began) = (service.synced().await?, Instant::now());
    let mut calls = Vec::new();
    let mut again = tokio::time::interval(EVERY);
    for nth in 0..usize::try_from(arguments.calls)? {
        again.tick().await;
        let (account, id) = asked.get(nth % asked.len()).context("an account")?;
        let called = Instant::now();
        let answer = service.api.post(&format!("/v1/accounts/{id}/sync"), &json!({})).await?;
        let took = called.elapsed();
        expect(&answer, 200)?;
        ensure!(text(&answer.body, "/code") == "SYNC_SUCCESSFUL", "{}", answer.body);
        calls.push((account.bank_id(), took));
    }
    let lasted = began.elapsed().as_secs_f64();
    let scheduled_per_s = (service.synced().await? - before - calls.len() as f64) / lasted;
    service.stop()?;

    // The bank's own log of each account, in the order of the calls.
    let mut log = bank.log().await?;
    let mut added = Vec::new();
    for (account, took) in calls {
        let asked = log.get_mut(&account).context("the bank was not asked")?;
        ensure!(asked.len() >= 2, "{account} was asked for in one request");
        let bank: i64 = asked.drain(..2).map(|asked| asked.until - asked.from).sum();
        added.push(took.as_secs_f64() * 1e3 - bank as f64 / 1e3);
    }
    added.sort_by(f64::total_cmp);
    Ok(Report {
        p50_ms: percentile(&added, 50),
        p99_ms: percentile(&added, 99),
        fsync_p50_ms: fsync_p50_ms()?,
        scheduled_per_s,
        calls: added.len(),
    })
}

/// How long the disk takes, where the databases lie.
fn fsync_p50_ms() -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile()?;
    let mut took = Vec::new();
    for _ in 0..FLUSHES {
        let began = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    Ok(percentile(&took, 50))
}
