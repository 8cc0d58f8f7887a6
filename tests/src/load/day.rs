//! `cargo load -- day`: a day of a moved clock, with banks that can be read in windows only, banks that allow four
//! readings, and one that is down for hours. No account may be staler than its profile allows, no budget exceeded.
//!
//! The service and the bank run in this process, since nobody else's clock can be moved. The bank's rows stay on the days
//! on which they were booked: a day or two later they are still within what is read.

use super::bank::{Bank, Behaviour, LoadBank, Show};
use super::books::{INSTITUTIONS, accounts_in, institution};
use super::service::{DatabaseKind, Service, Setup};
use crate::until;
use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use host::app::App;
use host::clock::Clock;
use host::config::Config;
use host::model::Role;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How far the clock moves at once.
const STEP: Duration = Duration::from_secs(5 * 60);
/// The bank that can be read in windows only.
const WINDOWED: u32 = 0;
/// The bank that allows four readings a day.
const BUDGETED: u32 = 1;
/// The bank that is down for hours.
const DOWN: u32 = 2;
/// Readings a day that [`BUDGETED`] allows.
const BUDGET: usize = 4;
/// When [`DOWN`] is, in steps from midnight: from 8 to 14 o'clock.
const OUTAGE: std::ops::Range<u32> = 8 * 12..14 * 12;
/// Steps after an outage in which everything is read again: what is stale by the profile, an hour.
const RECOVERY: u32 = 12;
/// Steps of a day.
const DAY: u32 = 24 * 12;

/// What to do.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Connections at each of the twenty banks.
    #[arg(long, default_value_t = 10)]
    pub connections_per_bank: u32,
    /// Which database.
    #[arg(long, value_enum, default_value = "sqlite")]
    pub database: DatabaseKind,
}

/// What it came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Nobody was staler than allowed, and no budget exceeded.
    pub ok: bool,
    /// Accounts.
    pub accounts: u32,
    /// Readings in all.
    pub readings: usize,
    /// The most readings of one account at the bank that allows four.
    pub most_of_budget: usize,
    /// Looks, of all accounts and steps, that found an account staler than allowed.
    pub stale: i64,
    /// The same at the bank that was down, while it was and an hour after.
    pub stale_in_outage: i64,
}

/// Runs it. Fails if it is not ok.
pub async fn run(arguments: &Arguments, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let bank = Bank::new(LoadBank { reply_rows: 25, today: None });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let serving = tokio::spawn(axum::serve(listener, bank.routes()).into_future());
    let setup = Setup { per_institution: 16, ..Setup::default() };
    let service = Service::install(arguments.database, &origin, &setup).await?;
    service.change_profile(
        WINDOWED,
        "interval-minutes = 60",
        "cron = \"0 0 6,12,18 * * *\"\nwindow-minutes = 60",
    )?;
    service.change_profile(
        BUDGETED,
        "min-interval-s = 0",
        &format!("min-interval-s = 0\nunattended-reads-per-day = {BUDGET}"),
    )?;
    let clock = Clock::system();
    let mut config = Config::load(Some(service.config()))?;
    config.compiler =
        vec![crate::world::program()?.display().to_string(), "connector".into(), "compile".into()];
    let app = App::build(config, clock.clone(), Role::ALL.into()).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let door = TcpListener::bind(service.listens()).await?;
    let running = tokio::spawn(app.clone().run(Some(door), async {
        let _ = stopped.await;
    }));
    let connections = arguments.connections_per_bank * INSTITUTIONS;
    service.link(0..connections).await?;
    say(&format!("{} accounts are linked", accounts_in(connections)));

    let day = Day { bank, clock, app, service };
    // To the next midnight but one: what the first readings took of a budget is over then.
    let now: DateTime<Utc> = Utc::now();
    let midnight =
        (now.date_naive() + chrono::Days::new(2)).and_hms_opt(0, 0, 0).context("midnight")?.and_utc();
    while day.clock.now().utc() < midnight {
        day.advance((midnight - day.clock.now().utc()).min(chrono::Duration::hours(1))).await?;
    }
    day.bank.show(Show { fresh: true, log: true, today: None });
    let (mut stale, mut stale_in_outage) = (0, 0);
    for step in 0..DAY {
        let is_down = OUTAGE.contains(&step);
        day.bank.behave(&institution(DOWN), Behaviour { down: is_down, ..Behaviour::default() });
        day.step().await?;
        let recovers = (OUTAGE.start..OUTAGE.end + RECOVERY).contains(&step);
        let (now, of_down) = (day.clock.now().0, institution(DOWN));
        let sql = |comparison: &str| {
            format!(
                "SELECT count(*) FROM account_head h JOIN connection c ON c.id = h.connection
                 WHERE h.stale_at < {now} AND c.institution {comparison} '{of_down}'"
            )
        };
        stale += day.service.database.number(&sql("<>")).await?;
        let down = day.service.database.number(&sql("=")).await?;
        if recovers {
            stale_in_outage += down
        } else {
            stale += down
        }
        if step % 24 == 23 {
            say(&format!("{:02}:00, {stale} stale", (step + 1) / 12));
        }
    }
    let log = day.bank.log();
    let readings = |bank_id: &str| {
        log.get(bank_id).map_or(0, |asked| asked.iter().filter(|asked| asked.transactions).count())
    };
    let all: usize = log.keys().map(|id| readings(id)).sum();
    let of_budget = (0..connections).filter(|connection| connection % INSTITUTIONS == BUDGETED);
    let most_of_budget = of_budget
        .flat_map(|connection| {
            (0..super::books::accounts_of(connection))
                .map(move |nth| super::books::Account { connection, nth })
        })
        .map(|account| readings(&account.bank_id()))
        .max()
        .unwrap_or(0);
    let _ = stop.send(());
    running.await??;
    serving.abort();
    let ok = stale == 0 && most_of_budget <= BUDGET && stale_in_outage > 0;
    let report = Report {
        ok,
        accounts: accounts_in(connections),
        readings: all,
        most_of_budget,
        stale,
        stale_in_outage,
    };
    ensure!(report.ok, "not as it should be: {report:?}");
    Ok(report)
}

struct Day {
    bank: Bank,
    clock: Clock,
    app: Arc<App>,
    service: Service,
}

impl Day {
    /// Some minutes pass, and everything that is due then is done.
    async fn step(&self) -> anyhow::Result<()> {
        self.advance(chrono::Duration::from_std(STEP)?).await
    }

    async fn advance(&self, span: chrono::Duration) -> anyhow::Result<()> {
        let Ok(span) = span.to_std() else { return Ok(()) };
        self.clock.advance(span);
        let mut looks_at_rest = 0; // two in a row: one may fall between a claim and its run
        until("nothing due and nothing running", async || {
            let due = self.app.store.queues(self.clock.now()).await?.due;
            let is_due = due.iter().any(|due| due.institution != institution(DOWN));
            let rests = !is_due && self.app.metrics.runs_in_flight() == 0;
            looks_at_rest = if rests { looks_at_rest + 1 } else { 0 };
            Ok((looks_at_rest == 2).then_some(()))
        })
        .await
    }
}
