//! `cargo load -- fairness`: do banks that fail, and a business that asks for everything at once, make others wait?
//!
//! The same service twice for a while: all well, and then one bank down, one slow, one that takes requests and never
//! answers, and a business that asks for thousands of syncs. What is compared is how old the data of everybody else is.

use super::bank::Behaviour;
use super::bank_process::BankProcess;
use super::books::{INSTITUTIONS, accounts_in, institution};
use super::machine::percentile;
use super::service::{DatabaseKind, Service, Setup, in_hands};
use anyhow::ensure;
use chrono::Utc;
use serde::Serialize;
use serde_json::json;
use std::time::{Duration, Instant};

/// What a slow bank takes for each answer.
const SLOW_MS: u64 = 5_000;
/// How often ages are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What to do.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Connections at each of the twenty banks, synced every minute.
    #[arg(long, default_value_t = 100)]
    pub connections_per_bank: u32,
    /// Syncs that one business asks for.
    #[arg(long, default_value_t = 50_000)]
    pub requests: u32,
    /// How long each half is watched.
    #[arg(long, default_value_t = 90)]
    pub seconds: u64,
    /// How long it goes on before that: what happened earlier is forgotten after a round.
    #[arg(long, default_value_t = 60)]
    pub settle_seconds: u64,
}

/// What it came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The 99th percentile of ages in trouble by that without.
    pub ratio: f64,
    /// Seconds, without trouble.
    pub calm_p99_s: f64,
    /// Seconds, in trouble.
    pub troubled_p99_s: f64,
    /// Syncs that were asked for.
    pub requested: u32,
}

/// Runs it.
pub async fn run(arguments: &Arguments, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let bank = BankProcess::start(25)?;
    let setup = Setup { concurrency: 400, per_institution: 16, interval_minutes: 1 };
    let mut service = Service::install(DatabaseKind::Sqlite, &bank.origin, &setup).await?;
    service.start().await?;
    let connections = arguments.connections_per_bank * INSTITUTIONS;
    service.link(0..connections).await?;
    say(&format!("{} accounts are linked", accounts_in(connections)));
    // The greedy business's customers are at the last bank.
    let greedy = service.business("Greedy Ltd")?;
    let quiet = std::mem::replace(&mut service.api, greedy.clone());
    let theirs: Vec<u32> =
        (0..arguments.connections_per_bank).map(|nth| connections + nth * INSTITUTIONS - 1).collect();
    let theirs = service.link_those(theirs, &greedy).await?;
    service.api = quiet;

    let calm_p99_s = watch(&service, arguments).await?;
    say(&format!("all well: p99 {calm_p99_s:.1} s"));
    bank.behave(&institution(0), Behaviour { down: true, ..Behaviour::default() }).await?;
    bank.behave(&institution(1), Behaviour { latency_ms: SLOW_MS, ..Behaviour::default() }).await?;
    bank.behave(&institution(2), Behaviour { silent: true, ..Behaviour::default() }).await?;
    let each = arguments.requests.div_ceil(u32::try_from(theirs.len())?.max(1));
    let asked: Vec<String> = (0..each).flat_map(|_| theirs.clone()).collect();
    let asked: Vec<String> = asked.into_iter().take(usize::try_from(arguments.requests)?).collect();
    let requested = u32::try_from(asked.len())?;
    let asking = tokio::spawn(in_hands(asked, move |id| {
        let api = greedy.clone();
        async move {
            // A refusal is an answer, too; what counts is that it is asked for.
            api.post(&format!("/v1/accounts/{id}/sync?wait=0"), &json!({})).await?;
            Ok(())
        }
    }));
    let troubled_p99_s = watch(&service, arguments).await?;
    asking.await??;
    say(&format!("in trouble: p99 {troubled_p99_s:.1} s"));
    service.stop()?;
    Ok(Report { ratio: troubled_p99_s / calm_p99_s, calm_p99_s, troubled_p99_s, requested })
}

/// The 99th percentile of the ages, in seconds, of accounts at banks that do well, of the business that asks for nothing.
async fn watch(service: &Service, arguments: &Arguments) -> anyhow::Result<f64> {
    let (mut ages, mut again) = (Vec::new(), tokio::time::interval(LOOK_EVERY));
    let began = Instant::now();
    let settled = Duration::from_secs(arguments.settle_seconds);
    while began.elapsed() < settled + Duration::from_secs(arguments.seconds) {
        again.tick().await;
        if began.elapsed() < settled {
            continue;
        }
        let now = Utc::now().timestamp_micros();
        let sql = format!(
            "SELECT {now} - h.fresh_at FROM account_head h JOIN connection c ON c.id = h.connection
             WHERE c.institution NOT IN ('bank-00', 'bank-01', 'bank-02')
               AND c.business = (SELECT min(id) FROM business)"
        );
        ages.extend(service.database.numbers(&sql).await?.into_iter().map(|micros| micros as f64 / 1e6));
    }
    ensure!(!ages.is_empty(), "nobody was looked at");
    ages.sort_by(f64::total_cmp);
    Ok(percentile(&ages, 99))
}
