//! The service under load: installed as an operator does, with the institutions of the load bank, and run as a process
//! of its own; and its database, into which the harness looks.
//!
//! Must not know: what is measured.

use super::bank::TOKEN;
use super::bank_process::BankProcess;
use super::books::{self, Account, INSTITUTIONS, institution};
use super::machine::{self, Process};
use crate::http::{Api, expect, text};
use crate::postgres::Postgres;
use crate::until;
use crate::world::{components, made, master_key, program, tidegate};
use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use clap::ValueEnum;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// Requests to the API at the same time while connections are made and read.
const HANDS: usize = 32;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseKind {
    /// A file.
    Sqlite,
    /// A server of its own, with every commit flushed to disk.
    Postgres,
}

/// A database of the run's own.
pub enum Database {
    /// The file.
    Sqlite(PathBuf),
    /// The server, and the URL of the database.
    Postgres(Postgres, String),
}

impl Database {
    /// Makes one.
    pub async fn make(kind: DatabaseKind, folder: &Path, name: &str) -> anyhow::Result<Self> {
        Ok(match kind {
            DatabaseKind::Sqlite => Self::Sqlite(folder.join(format!("{name}.db"))),
            DatabaseKind::Postgres => {
                let server = Postgres::start_durable()?;
                let url = server.database().await?;
                Self::Postgres(server, url)
            }
        })
    }

    /// As the configuration has it.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Postgres(_, url) => url.clone(),
        }
    }

    /// What it has computed so far, where it is a process of its own.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        match self {
            Self::Sqlite(_) => Ok(Duration::ZERO),
            Self::Postgres(server, _) => machine::cpu_of_family(server.process()?),
        }
    }

    /// Runs statements.
    pub async fn run(&self, sql: &str) -> anyhow::Result<()> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(_) => {
                sqlx::raw_sql(sql).execute(&mut self.sqlite().await?).await?;
            }
            Self::Postgres(_, url) => {
                sqlx::raw_sql(sql).execute(&mut PgConnection::connect(url).await?).await?;
            }
        }
        Ok(())
    }

    /// A number.
    pub async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        Ok(match self {
            Self::Sqlite(_) => sqlx::query_scalar(sql).fetch_one(&mut self.sqlite().await?).await?,
            Self::Postgres(_, url) => {
                sqlx::query_scalar(sql).fetch_one(&mut PgConnection::connect(url).await?).await?
            }
        })
    }

    /// Numbers.
    pub async fn numbers(&self, sql: &str) -> anyhow::Result<Vec<i64>> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        Ok(match self {
            Self::Sqlite(_) => sqlx::query_scalar(sql).fetch_all(&mut self.sqlite().await?).await?,
            Self::Postgres(_, url) => {
                sqlx::query_scalar(sql).fetch_all(&mut PgConnection::connect(url).await?).await?
            }
        })
    }

    /// How a statement would be run, in the database's own words.
    pub async fn plan(&self, sql: &str) -> anyhow::Result<String> {
        let lines: Vec<String> = match self {
            Self::Sqlite(_) => {
                let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
                let rows: Vec<(i64, i64, i64, String)> =
                    sqlx::query_as(sql).fetch_all(&mut self.sqlite().await?).await?;
                rows.into_iter().map(|row| row.3).collect()
            }
            Self::Postgres(_, url) => {
                let sql = sqlx::AssertSqlSafe(format!("EXPLAIN {sql}"));
                sqlx::query_scalar(sql).fetch_all(&mut PgConnection::connect(url).await?).await?
            }
        };
        Ok(lines.join("\n"))
    }

    async fn sqlite(&self) -> anyhow::Result<SqliteConnection> {
        let options: sqlx::sqlite::SqliteConnectOptions = self.url().parse()?;
        let options = options.busy_timeout(Duration::from_secs(60));
        Ok(SqliteConnection::connect_with(&options).await?)
    }
}

/// How the service is set up.
pub struct Setup {
    /// Runs at the same time.
    pub concurrency: u32,
    /// Of these, at one institution.
    pub per_institution: u32,
    /// How often an account is synced.
    pub interval_minutes: u32,
}

impl Default for Setup {
    /// Every hour, and more at the same time than two processors need.
    fn default() -> Self {
        Self { concurrency: 64 * INSTITUTIONS, per_institution: 64, interval_minutes: 60 }
    }
}

/// The installed service.
pub struct Service {
    config: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    /// More processes on the same database, which ask banks and send webhooks.
    workers: Vec<Process>,
    /// Where each that runs shows its metrics.
    metrics: Vec<String>,
    /// Its API, with the business's key.
    pub api: Api,
    origin: String,
    /// Its database.
    pub database: Database,
    _folder: tempfile::TempDir,
}

impl Service {
    /// Installs it; it does not run yet.
    pub async fn install(kind: DatabaseKind, bank: &str, setup: &Setup) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tidegate-load-").tempdir()?;
        let database = Database::make(kind, folder.path(), "tidegate").await?;
        let institutions = folder.path().join("institutions");
        std::fs::create_dir(&institutions)?;
        for number in 0..INSTITUTIONS {
            let id = institution(number);
            std::fs::write(institutions.join(format!("{id}.toml")), profile(&id, bank, setup))?;
        }
        let components = components().await?;
        let config = folder.path().join("tidegate.toml");
        let listen = free_port()?;
        let at = folder.path().display();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{listen}\"\n[database]\nurl = \"{}\"\n[vault]\nmaster-key-file = \"{at}/tidegate.key\"\n\
             [connectors]\ndir = \"{}\"\ncache-dir = \"{}\"\n[institutions]\ndir = \"{at}/institutions\"\n\
             [egress]\nallow = [\"{}\"]\n[sync]\nconcurrency = {}\nhistories-per-business = 1000\n[api]\nrate-per-s = 100000\nburst = 100000\n\
             [log]\nfilter = \"warn\"\n",
            database.url(),
            components.display(),
            components.join("compiled").display(),
            bank.split("://").nth(1).unwrap_or_default(),
            setup.concurrency,
        );
        std::fs::write(&config, text)?;
        std::fs::copy(master_key(&config, &components)?, folder.path().join("tidegate.key"))?;
        tidegate(&config, &["migrate"])?;
        for number in 0..INSTITUTIONS {
            let id = institution(number);
            tidegate(&config, &["institution", "approve", &id, "--yes"])?;
        }
        let origin = format!("http://127.0.0.1:{listen}");
        let mut service = Self {
            log: folder.path().join("tidegate.log"),
            process: None,
            workers: Vec::new(),
            metrics: Vec::new(),
            api: Api::new(origin.clone(), None)?,
            origin,
            config,
            database,
            _folder: folder,
        };
        service.api = service.business("Load Ltd")?;
        Ok(service)
    }

    /// The operator's standing at each institution is what a client of this bank needs for TLS.
    pub fn register(&self, bank: &BankProcess) -> anyhow::Result<()> {
        if let Some([one, two, three, four]) = &bank.registration() {
            for number in 0..INSTITUTIONS {
                let id = institution(number);
                tidegate(&self.config, &["registration", "set", &id, one, two, three, four])?;
            }
        }
        Ok(())
    }

    /// The API with the key of another business.
    pub fn business(&self, name: &str) -> anyhow::Result<Api> {
        let business = made(&self.config, &["business", "create", name, "--json"], "/id")?;
        let key = made(&self.config, &["api-key", "create", &business, "--json"], "/key")?;
        Ok(Api::new(self.origin.clone(), Some(&key))?)
    }

    /// Runs it, and returns when it answers.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.metrics.clear();
        self.process = Some(self.serve(&["serve"], &self.log.clone())?);
        until("the service answers", async || {
            let ended = self.process.as_mut().map(Process::has_ended).transpose()?.unwrap_or(true);
            ensure!(!ended, "the service ended: {}", self.said());
            Ok(self.api.get("/v1/institutions").await.is_ok_and(|answer| answer.status == 200).then_some(()))
        })
        .await
    }

    /// Runs one more process, without an API.
    pub fn start_worker(&mut self) -> anyhow::Result<()> {
        let log = self.log.with_file_name(format!("worker-{}.log", self.workers.len()));
        let worker = self.serve(&["serve", "--roles", "worker,sender"], &log)?;
        self.workers.push(worker);
        Ok(())
    }

    fn serve(&mut self, arguments: &[&str], log: &Path) -> anyhow::Result<Process> {
        let metrics = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(program()?);
        command.arg("--config").arg(&self.config).args(arguments).env("TIDEGATE_METRICS_LISTEN", &metrics);
        self.metrics.push(format!("http://{metrics}"));
        Process::start(command, log)
    }

    /// Stops it as a service manager does.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        for worker in self.workers.drain(..) {
            worker.stop()?;
        }
        match self.process.take() {
            Some(process) => process.stop().with_context(|| self.said()),
            None => Ok(()),
        }
    }

    /// The end of its log.
    pub fn said(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(20)).copied().collect::<Vec<_>>().join("\n")
    }

    /// Its process.
    pub fn process(&self) -> anyhow::Result<u32> {
        Ok(self.process.as_ref().context("the service does not run")?.id())
    }

    /// What it and its database have computed so far.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let workers = self.workers.iter().map(|worker| machine::cpu(worker.id()));
        let workers: Duration = workers.sum::<anyhow::Result<_>>()?;
        Ok(machine::cpu(self.process()?)? + workers + self.database.cpu()?)
    }

    /// What its metrics say: the sum of a metric over all processes, and all lines with this label.
    pub async fn metric(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for metrics in &self.metrics {
            sum += metric(metrics, name, label).await?;
        }
        Ok(sum)
    }

    /// Processes that have taken up their part of the work.
    pub async fn workers(&self) -> anyhow::Result<i64> {
        let now = Utc::now().timestamp_micros();
        self.database.number(&format!("SELECT count(*) FROM process WHERE works_from <= {now}")).await
    }

    /// Syncs that ended well, by the metrics of each process.
    pub async fn synced_by_each(&self) -> anyhow::Result<Vec<f64>> {
        let mut each = Vec::new();
        for metrics in &self.metrics {
            each.push(metric(metrics, "tidegate_syncs_total{", "code=\"SYNC_SUCCESSFUL\"").await?);
        }
        Ok(each)
    }

    /// Syncs that ended well, by its metrics.
    pub async fn synced(&self) -> anyhow::Result<f64> {
        self.metric("tidegate_syncs_total{", "code=\"SYNC_SUCCESSFUL\"").await
    }

    /// Links these connections of the load bank, and waits until all their accounts were read; the service's account ids.
    pub async fn link(&self, connections: std::ops::Range<u32>) -> anyhow::Result<BTreeMap<Account, String>> {
        self.link_those(connections, &self.api).await?;
        self.accounts().await
    }

    /// The same of any connections, for the business of this key; the service's account ids, in no order.
    pub async fn link_those(
        &self,
        connections: impl IntoIterator<Item = u32>,
        api: &Api,
    ) -> anyhow::Result<Vec<String>> {
        let connections: Vec<u32> = connections.into_iter().collect();
        let wanted: u32 = connections.iter().copied().map(books::accounts_of).sum();
        let read = "SELECT count(*) FROM account_head WHERE fresh_at IS NOT NULL AND history_due_at IS NULL";
        let before = self.database.number(read).await?;
        let asks = api.clone();
        let link = move |connection| {
            let api = asks.clone();
            async move { expect(&api.post("/v1/connections", &request(connection)).await?, 201) }
        };
        in_hands(connections, link).await?;
        self.wait_until(&format!("{wanted} more accounts read"), async || {
            Ok(self.database.number(read).await? >= before + i64::from(wanted))
        })
        .await?;
        Ok(accounts(api).await?.into_values().collect())
    }

    /// Waits, for minutes if need be, as long as the service runs.
    pub async fn wait_until(
        &self,
        what: &str,
        mut is_so: impl AsyncFnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut again = tokio::time::interval(Duration::from_millis(250));
        let looking = async {
            loop {
                again.tick().await;
                if is_so().await? {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(super::PATIENCE, looking)
            .await
            .unwrap_or_else(|_| anyhow::bail!("waited {:?} for {what}; {}", super::PATIENCE, self.said()))
    }

    /// All accounts that the business has.
    pub async fn accounts(&self) -> anyhow::Result<BTreeMap<Account, String>> {
        accounts(&self.api).await
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Where it listens, or will.
    pub fn listens(&self) -> &str {
        self.origin.strip_prefix("http://").unwrap_or_default()
    }

    /// Puts other lines in the place of one in an institution's profile.
    pub fn change_profile(&self, number: u32, line: &str, lines: &str) -> anyhow::Result<()> {
        let id = institution(number);
        let file = self.config.with_file_name("institutions").join(format!("{id}.toml"));
        let text = std::fs::read_to_string(&file)?;
        ensure!(text.contains(line), "{line} is not in the profile of {id}");
        std::fs::write(&file, text.replace(line, lines))?;
        tidegate(&self.config, &["institution", "approve", &id, "--yes"]).map(drop)
    }

    /// The database puts itself in order, as it would in the hours between.
    pub async fn settle(&self) -> anyhow::Result<()> {
        match self.database {
            Database::Sqlite(_) => self.database.run("PRAGMA wal_checkpoint(TRUNCATE)").await,
            Database::Postgres(..) => self.database.run("VACUUM ANALYZE").await,
        }
    }

    /// How many accounts were read since then.
    pub async fn read_since(&self, micros: i64) -> anyhow::Result<i64> {
        self.database.number(&format!("SELECT count(*) FROM account_head WHERE fresh_at >= {micros}")).await
    }

    /// Everything is due at this moment, in microseconds since 1970.
    pub async fn make_all_due(&self) -> anyhow::Result<i64> {
        let now = Utc::now().timestamp_micros();
        self.database
            .run(&format!(
                "UPDATE account_head SET due_at = {now}; UPDATE schedule SET due_at = {now}, claimed_at = NULL"
            ))
            .await?;
        Ok(now)
    }
}

async fn metric(metrics: &str, name: &str, label: &str) -> anyhow::Result<f64> {
    let page = Api::new(metrics.to_owned(), None)?.get("/metrics").await?;
    expect(&page, 200)?;
    let page = page.body.as_str().context("metrics are text")?.to_owned();
    let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(label));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// All accounts of a business.
async fn accounts(api: &Api) -> anyhow::Result<BTreeMap<Account, String>> {
    let (mut all, mut query) = (BTreeMap::new(), "?limit=1000".to_owned());
    loop {
        let answer = api.get(&format!("/v1/accounts{query}")).await?;
        expect(&answer, 200)?;
        for item in crate::http::items(&answer) {
            let account = Account::from_bank_id(text(item, "/bank_id")).context("an unknown account")?;
            all.insert(account, text(item, "/id").to_owned());
        }
        match answer.body["next_cursor"].as_str() {
            Some(next) => query = format!("?limit=1000&cursor={next}"),
            None => return Ok(all),
        }
    }
}

/// Does something for each, many at a time.
pub async fn in_hands<I, F>(
    items: impl IntoIterator<Item = I>,
    work: impl Fn(I) -> F + Clone + Send + 'static,
) -> anyhow::Result<()>
where
    I: Send + 'static,
    F: Future<Output = anyhow::Result<()>> + Send,
{
    let queue = Arc::new(Mutex::new(items.into_iter().collect::<Vec<_>>()));
    let mut hands = JoinSet::new();
    for _ in 0..HANDS {
        let (queue, work) = (queue.clone(), work.clone());
        hands.spawn(async move {
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            while let Some(item) = next() {
                work(item).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = hands.join_next().await {
        done??;
    }
    Ok(())
}

fn profile(id: &str, bank: &str, setup: &Setup) -> String {
    format!(
        "name = \"Load Bank {id}\"\ncountry = \"GB\"\nconnector = \"open-banking-uk\"\ntime-zone = \"UTC\"\n\
         [origins]\nauth = \"{bank}/{id}\"\nauthorise = \"{bank}/{id}\"\napi = \"{bank}/{id}\"\n\
         [schedule]\ninterval-minutes = {}\n[limits]\nhistory-days = {}\noverlap-days = {}\nmin-interval-s = 0\n\
         concurrency = {}\n",
        setup.interval_minutes,
        books::HISTORY_DAYS,
        books::OVERLAP_DAYS,
        setup.per_institution,
    )
}

/// What a business hands in for a customer of the load bank.
fn request(connection: u32) -> Value {
    let granted: DateTime<Utc> = Utc::now() - chrono::Duration::hours(1);
    json!({
        "institution_id": institution(connection),
        "customer_ref": format!("customer-{connection}"),
        "credentials": { "refresh-token": format!("load-bank-refresh-token-{connection}"), "access-token": format!("{TOKEN}{connection}") },
        "credential_expiry": { "access-token": Utc::now() + chrono::Duration::days(30) },
        "consent": { "granted_at": granted, "scopes": ["ReadTransactionsDetail", "ReadBalances"], "how": "redirect" },
    })
}

/// A port of this machine that nobody has at the moment.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
