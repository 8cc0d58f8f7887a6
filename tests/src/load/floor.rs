//! What a sync costs at least: the same two requests with the same client, the same parser as native code, and an insert
//! of what is new in groups of a hundred. A process of its own; what it computes is the measure for the service.
//!
//! Must not know: the service.

use super::bank::TOKEN;
use super::books::{Account, OVERLAP_DAYS, institution};
use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, Days, Utc};
use open_banking_uk::OpenBankingUk;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidegate_sdk::{Connector as _, Context, CredentialInfo, ReadStep, Reply, Transaction, Want, Window};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Accounts read at the same time.
const AT_ONCE: usize = 128;
/// Accounts whose new rows go into one transaction.
const GROUP: usize = 100;

/// What to do.
#[derive(Debug, Clone)]
pub struct Floor {
    /// The load bank.
    pub bank: String,
    /// An empty database.
    pub database: String,
    /// How many connections it has.
    pub connections: u32,
    /// For how long.
    pub lasts: Duration,
}

struct New {
    account: Account,
    rows: Vec<Transaction>,
}

/// Reads accounts until the time is over; how many were read.
pub async fn run(floor: Floor) -> anyhow::Result<u64> {
    let (to_store, stored) = mpsc::channel(GROUP * 4);
    let writing = tokio::spawn(write(floor.database.clone(), stored));
    let client = client()?;
    let (next, read, ends) =
        (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)), Instant::now() + floor.lasts);
    let mut hands = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, floor, next, read) = (client.clone(), floor.clone(), next.clone(), read.clone());
        let to_store = to_store.clone();
        hands.spawn(async move {
            while Instant::now() < ends {
                let connection = next.fetch_add(1, Ordering::Relaxed) % floor.connections;
                for nth in 0..super::books::accounts_of(connection) {
                    let account = Account { connection, nth };
                    let rows = account_of(&client, &floor.bank, account).await?;
                    read.fetch_add(1, Ordering::Relaxed);
                    let new: Vec<_> = rows.into_iter().filter(is_new).collect();
                    if !new.is_empty() && to_store.send(New { account, rows: new }).await.is_err() {
                        bail!("the writer ended");
                    }
                }
            }
            anyhow::Ok(())
        });
    }
    drop(to_store);
    while let Some(done) = hands.join_next().await {
        done??;
    }
    writing.await??;
    Ok(read.load(Ordering::Relaxed))
}

/// The client that the service has for a bank: only what costs something is said here.
fn client() -> anyhow::Result<reqwest::Client> {
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let builder = builder.retry(reqwest::retry::never()).gzip(true).tls_certs_only([]);
    Ok(builder.pool_max_idle_per_host(AT_ONCE).build()?)
}

/// Rows of today are those that came since.
fn is_new(row: &Transaction) -> bool {
    row.booked_on.as_deref() == Some(Utc::now().date_naive().to_string().as_str())
}

async fn account_of(
    client: &reqwest::Client,
    bank: &str,
    account: Account,
) -> anyhow::Result<Vec<Transaction>> {
    let now: DateTime<Utc> = Utc::now();
    let today = now.date_naive();
    let since = today.checked_sub_days(Days::new(u64::from(OVERLAP_DAYS))).context("a day")?;
    let id = account.bank_id();
    let base = format!("{bank}/{}/accounts/{id}", institution(account.connection));
    let ask = async |url: String| -> anyhow::Result<Reply> {
        let request = client.get(url).bearer_auth(format!("{TOKEN}{}", account.connection));
        let response = request.header("accept", "application/json").send().await?;
        let status = response.status().as_u16();
        ensure!(status == 200, "the bank answered {status}");
        Ok(Reply { status, headers: Vec::new(), body: response.bytes().await?.into(), captured: Vec::new() })
    };
    let window = Window { since: since.to_string(), until: today.to_string() };
    let want = Want { account: id, transactions: Some(window), balances: true, state: None };
    let context = context(now);
    let wants = [want];
    let transactions = ask(format!("{base}/transactions?fromBookingDateTime={since}T00%3A00%3A00Z")).await?;
    let ReadStep::Send(first) = OpenBankingUk::read(&context, &wants, "", &[]) else {
        bail!("a request first")
    };
    let ReadStep::Pages(mut page) = OpenBankingUk::read(&context, &wants, &first.memory, &[transactions])
    else {
        bail!("a page of transactions")
    };
    let next = page.next.context("then the balances")?;
    let balances = ask(format!("{base}/balances")).await?;
    let ReadStep::Pages(last) = OpenBankingUk::read(&context, &wants, &next.memory, &[balances]) else {
        bail!("balances")
    };
    ensure!(last.pages.iter().any(|page| page.balances.len() == 1), "one balance");
    Ok(page.pages.pop().context("one page")?.transactions)
}

fn context(now: DateTime<Utc>) -> Context {
    let credential = CredentialInfo { name: "access-token".into(), bytes: 8, expires_at_ms: None };
    Context {
        now_ms: u64::try_from(now.timestamp_millis()).unwrap_or(0),
        seed: vec![7; 32],
        profile: r#"{"origins":{"api":"https://api.example","auth":"https://auth.example","authorise":"https://auth.example"},"settings":{}}"#.into(),
        credentials: vec![credential],
        consent: None,
        customer_present: false,
        state: None,
    }
}

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS floor (account TEXT, id TEXT, booked_on TEXT, amount TEXT, body TEXT,
    PRIMARY KEY (account, id))";

/// Stores each account's new rows once, a hundred accounts at a time.
async fn write(url: String, mut arriving: mpsc::Receiver<New>) -> anyhow::Result<()> {
    let mut database = Database::open(&url).await?;
    let mut known: HashSet<Account> = HashSet::new();
    let mut group = Vec::new();
    while arriving.recv_many(&mut group, GROUP).await > 0 {
        while group.len() < GROUP {
            // Whoever waits for a group does not wait for ever.
            let more = tokio::time::timeout(Duration::from_millis(100), arriving.recv()).await;
            let Ok(Some(more)) = more else { break };
            group.push(more);
        }
        group.retain(|new| known.insert(new.account));
        let rows: Vec<_> = group
            .iter()
            .flat_map(|new| new.rows.iter().map(move |row| (new.account.bank_id(), row)))
            .map(|(account, row)| {
                let amount = format!("{} {}", row.amount, row.currency);
                serde_json::json!([
                    account,
                    row.id,
                    row.booked_on,
                    amount,
                    format!("{} {}", row.text, row.details)
                ])
            })
            .collect();
        database.insert(&serde_json::to_string(&rows)?).await?;
        group.clear();
    }
    Ok(())
}

enum Database {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Database {
    async fn open(url: &str) -> anyhow::Result<Self> {
        if url.starts_with("postgres") {
            let mut connection = PgConnection::connect(url).await?;
            sqlx::query(TABLE).execute(&mut connection).await?;
            return Ok(Self::Postgres(connection));
        }
        let options: sqlx::sqlite::SqliteConnectOptions = url.parse()?;
        let options = options
            .create_if_missing(true)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .synchronous(sqlx::sqlite::SqliteSynchronous::Normal);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::query(TABLE).execute(&mut connection).await?;
        Ok(Self::Sqlite(connection))
    }

    async fn insert(&mut self, rows: &str) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(connection) => {
                let sql =
                    "INSERT INTO floor SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
                           FROM json_each($1)";
                sqlx::query(sql).bind(rows.to_owned()).execute(connection).await?;
            }
            Self::Postgres(connection) => {
                let sql = "INSERT INTO floor SELECT v ->> 0, v ->> 1, v ->> 2, v ->> 3, v ->> 4
                           FROM jsonb_array_elements($1::jsonb) AS v";
                sqlx::query(sql).bind(rows.to_owned()).execute(connection).await?;
            }
        }
        Ok(())
    }
}
