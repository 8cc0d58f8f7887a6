//! `cargo load -- schedule`: does taking up work cost more when there is more of it?
//!
//! Tables of so many accounts, one of a connection each, due in an order that has nothing to do with the order in which
//! they were stored; connections are claimed and completed as the service does, and the time of each is compared.

use super::books::{INSTITUTIONS, institution};
use super::service::{Database, DatabaseKind};
use crate::world::{made, tidegate};
use anyhow::{Context, ensure};
use chrono::Utc;
use host::model::{Lane, PerLane, Permits, Share, Timestamp};
use host::store::Store;
use host::vault::Vault;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections claimed at once: as many as end while the claim before is made.
const CLAIMED_AT_ONCE: u32 = 100;
/// Rounds that are not counted: caches fill.
const WARM_UP: u32 = 10;
/// Where the growth is counted from: below, several writers fight for few rows on PostgreSQL.
const POSTGRES_FROM: u64 = 100_000;

/// What to do.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// How many accounts, one table after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    pub accounts: Vec<u64>,
    /// Which database.
    #[arg(long, value_enum)]
    pub database: DatabaseKind,
    /// How many times a hundred connections are claimed and completed.
    #[arg(long, default_value_t = 200)]
    pub rounds: u32,
}

/// What it came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The last table's microseconds by the first's.
    pub growth: f64,
    /// Microseconds of one claim and its completion, by the number of accounts.
    pub us: BTreeMap<u64, f64>,
    /// Every plan reads the schedule through an index.
    pub uses_index: bool,
}

/// Runs it.
pub async fn run(arguments: &Arguments, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let (mut us, mut uses_index) = (BTreeMap::new(), true);
    for accounts in &arguments.accounts {
        let folder = tempfile::tempdir()?;
        let database = Database::make(arguments.database, folder.path(), "schedule").await?;
        let store = store(folder.path(), &database).await?;
        fill(&database, *accounts).await?;
        let took = measure(&store, arguments.rounds).await?;
        uses_index &= reads_through_index(&database).await?;
        say(&format!("{accounts} accounts: {took:.1} µs to claim and complete one"));
        us.insert(*accounts, took);
    }
    let from = match arguments.database {
        DatabaseKind::Sqlite => 0,
        DatabaseKind::Postgres => POSTGRES_FROM,
    };
    let counted: Vec<f64> = us.iter().filter(|(accounts, _)| **accounts >= from).map(|(_, us)| *us).collect();
    let growth = counted.last().zip(counted.first()).map_or(1.0, |(last, first)| last / first);
    ensure!(uses_index, "a plan reads all of the schedule");
    Ok(Report { growth, us, uses_index })
}

async fn store(folder: &Path, database: &Database) -> anyhow::Result<Store> {
    let (config, key) = (folder.join("tidegate.toml"), folder.join("tidegate.key"));
    let text = format!(
        "[database]\nurl = \"{}\"\n[vault]\nmaster-key-file = \"{}\"\n[connectors]\ndir = \"{at}\"\n[institutions]\ndir = \"{at}\"\n",
        database.url(),
        key.display(),
        at = folder.display()
    );
    std::fs::write(&config, text)?;
    tidegate(&config, &["vault", "new-key", "--file", &key.display().to_string()])?;
    tidegate(&config, &["migrate"])?;
    made(&config, &["business", "create", "Load Ltd", "--json"], "/id")?;
    let vault = Arc::new(Vault::from_text(&std::fs::read_to_string(&key)?)?);
    Ok(Store::open(&database.url(), vault).await?)
}

/// Connections with one account each, all due within the last hour; ids as if made at random.
async fn fill(database: &Database, accounts: u64) -> anyhow::Result<()> {
    let now = Utc::now().timestamp_micros();
    let (numbers, id, hashed) = match database {
        Database::Sqlite(_) => (
            format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {accounts})"),
            "unhex(printf('%016x%016x', (i * 7046029254386353131) & 9223372036854775807, i))",
            "((i * 2654435761) % 4294967296)",
        ),
        Database::Postgres(..) => (
            format!("WITH n (i) AS (SELECT generate_series(1::BIGINT, {accounts}))"),
            "decode(lpad(to_hex((i * 2654435761) % 4294967296), 16, '0') || lpad(to_hex(i), 16, '0'), 'hex')",
            "((i * 2654435761) % 4294967296)",
        ),
    };
    let (yes, no) = match database {
        Database::Sqlite(_) => ("1", "0"),
        Database::Postgres(..) => ("TRUE", "FALSE"),
    };
    let bank = format!("'bank-' || substr('0' || (i % {INSTITUTIONS}), -2)");
    let bank = match database {
        Database::Sqlite(_) => bank,
        Database::Postgres(..) => format!("'bank-' || lpad((i % {INSTITUTIONS})::text, 2, '0')"),
    };
    let business = "(SELECT id FROM business)";
    // In the order of connections, which is neither that of phases nor that of due times.
    let due = format!("{now} - (({hashed} * 40503) % 3600) * 1000000");
    for sql in [
        format!(
            "INSERT INTO institution (id) SELECT * FROM ({numbers} SELECT DISTINCT {bank} FROM n) AS names"
        ),
        format!(
            "INSERT INTO connection (id, business, institution, phase, state, session_open, accounts_listed, all_accounts, created_at)
             SELECT * FROM ({numbers} SELECT {id}, {business}, {bank}, {hashed}, 'active', {yes}, {yes}, {yes}, {now} FROM n) AS made"
        ),
        format!(
            "INSERT INTO schedule (institution, phase, connection, business, lane, due_at, token, slot_at, failures, active)
             SELECT * FROM ({numbers} SELECT {bank}, {hashed}, {id}, {business}, 'ordinary', {due}, 0, {now}, 0, {yes} FROM n) AS made"
        ),
        format!(
            "INSERT INTO account (id, connection, business, currency, state, excluded, created_at)
             SELECT * FROM ({numbers} SELECT {id}, {id}, {business}, 'GBP', 'active', {no}, {now} FROM n) AS made"
        ),
        format!(
            "INSERT INTO account_head (account, connection, seq, epoch, balances, due_at, failures, standing, take_incomplete,
               fresh_at, stale_told)
             SELECT * FROM ({numbers} SELECT {id}, {id}, 0, 1, '[]', {due}, 0, '{{}}', {no}, {now}, {no} FROM n) AS made"
        ),
    ] {
        database.run(&sql).await.with_context(|| sql.clone())?;
    }
    database
        .run(match database {
            Database::Sqlite(_) => "PRAGMA wal_checkpoint(TRUNCATE)",
            Database::Postgres(..) => "VACUUM ANALYZE",
        })
        .await
}

/// Microseconds of one claim and its completion.
async fn measure(store: &Store, rounds: u32) -> anyhow::Result<f64> {
    let share = |free: u32| Share { free, own: PerLane::of(|_| 0), most: PerLane::of(|_| free) };
    let permits = Permits {
        all: share(CLAIMED_AT_ONCE),
        institutions: (0..INSTITUTIONS).map(|number| (institution(number), share(CLAIMED_AT_ONCE))).collect(),
        per_business: PerLane::of(|_: Lane| u32::MAX),
    };
    let (mut began, mut done) = (Instant::now(), 0_u32);
    for round in 0..rounds + WARM_UP {
        if round == WARM_UP {
            (began, done) = (Instant::now(), 0);
        }
        let now = Timestamp(Utc::now().timestamp_micros());
        let leases = store.claim_due(now, now.plus(Duration::from_secs(300)), &permits).await?;
        ensure!(!leases.is_empty(), "nothing is due any more; fewer rounds, or more accounts");
        done += u32::try_from(leases.len())?;
        let next = now.plus(Duration::from_secs(3_600));
        let completing = leases.into_iter().map(|lease| {
            let store = store.clone();
            tokio::spawn(async move { store.complete(&lease, next, next, 0, now).await })
        });
        for completed in completing.collect::<Vec<_>>() {
            completed.await??;
        }
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(done))
}

/// The claim's way to what is due goes through an index.
async fn reads_through_index(database: &Database) -> anyhow::Result<bool> {
    let sql = "SELECT due_at FROM schedule WHERE active AND lane = 'ordinary' AND institution = 'bank-00' AND due_at <= 1
               ORDER BY due_at LIMIT 10";
    let plan = database.plan(sql).await?;
    Ok(plan.contains("schedule_due"))
}
