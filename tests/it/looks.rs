//! How much a look reads: hardly anything where nothing changed, as many days as bookings come late, all history in
//! the quiet hour, and the history of a new account piece by piece.

use crate::linked::{Linked, Scene, told, until};
use chrono::{DateTime, Days, NaiveDate, Timelike, Utc};
use chrono_tz::Europe::London;
use host::model::BusinessId;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

use std::time::Duration;
use tests::PATIENCE;
use tests::bank::{
    BankConfig, Correction, Hold, LoggedRequest, NewAccount, NewCustomer, NewEntry, PathKind, Target,
};
use tests::http::{expect, items, text};
use tests::postgres::Postgres;
use tests::story::connection_request;
use tests::world::{World, WorldConfig};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Nothing is planned for a week: looks are counted.
const UNPLANNED: &str = "[schedule]\ninterval-minutes = 10080\n";

/// By the bank's clock.
fn today(world: &World) -> NaiveDate {
    world.clock.now().utc().with_timezone(&London).date_naive()
}

/// Time passes until it is this hour at the bank.
fn advance_to(world: &World, hour: u32) {
    let now = world.clock.now().utc().with_timezone(&London);
    let at = |day: NaiveDate| day.and_hms_opt(hour, 0, 0).unwrap().and_local_timezone(London).unwrap();
    let today = now.date_naive();
    let next = Some(at(today)).filter(|at| *at > now).unwrap_or_else(|| at(today + Days::new(1)));
    world.advance((next - now).to_std().unwrap());
}

/// A scene in the middle of the bank's day: the day's look at all history is over, and night is far.
async fn at_noon(setup: WorldConfig, history_days: u32) -> Scene {
    let scene = Scene::new(setup, history_days).await;
    advance_to(&scene.world, 11);
    scene.world.begin_an_hour(&scene.world.api, &scene.linked.connection).await.unwrap();
    scene
}

fn so_far(world: &World) -> u64 {
    world.bank.requests().last().map_or(0, |request| request.number + 1)
}

/// When each reading of an account since then began, and its first day.
fn readings(world: &World, account: &str, since: u64) -> Vec<(DateTime<Utc>, NaiveDate)> {
    let first_page = |request: &LoggedRequest| {
        let query = request.query.as_deref().unwrap_or("");
        let asked = request.kind == PathKind::Transactions && request.account.as_deref() == Some(account);
        let (_, from) = query.split_once("fromBookingDateTime=").filter(|_| asked)?;
        (!query.contains("page=")).then(|| (request.bank_time, from[..10].parse().unwrap()))
    };
    world.bank.requests_since(since).iter().filter_map(first_page).collect()
}

/// How many days back from today those readings began.
fn days_read(world: &World, account: &str, since: u64) -> Vec<i64> {
    let read = readings(world, account, since);
    read.iter().map(|(_, from)| (today(world) - *from).num_days()).collect()
}

/// Takes the tables with transactions away from the service, or gives them back. Whatever names one of them fails
/// meanwhile, in any statement on any connection.
async fn rename_tables(world: &World, from: &str, to: &str) {
    let url = world.app.config.database_url.as_str();
    let statements = ["txn", "txn_body", "txn_change"]
        .map(|table| format!("ALTER TABLE {table}{from} RENAME TO {table}{to}"))
        .join("; ");
    if url.starts_with("sqlite:") {
        let mut database = SqliteConnection::connect(url).await.unwrap();
        database.execute(sqlx::AssertSqlSafe(statements)).await.unwrap();
    } else {
        let mut database = PgConnection::connect(url).await.unwrap();
        database.execute(sqlx::AssertSqlSafe(statements)).await.unwrap();
    }
}

async fn an_unchanged_look_needs_no_transaction(setup: WorldConfig) {
    let Scene { world, linked, .. } = at_noon(setup, 20).await;
    let everyday = linked.everyday();
    world.bank.authorise(everyday, NewEntry::card("-12.00", "HOTEL", "Hotel")).unwrap();
    world.bank.book_twins(everyday, &NewEntry::card("-3.20", "COFFEE", "Coffee")).unwrap();
    assert_eq!(linked.good_sync(everyday).await["added"], 3);

    rename_tables(&world, "", "_away").await;
    let account = linked.ours(everyday).parse().unwrap();
    world.app.store.known(account, today(&world)).await.unwrap_err();
    world.app.store.changes(account, 0, 1).await.unwrap_err();
    let since = so_far(&world);
    for _ in 0..2 {
        let sync = linked.good_sync(everyday).await;
        assert_eq!((&sync["has_new_data"], &sync["proof"]), (&json!(false), &json!("proved")), "{sync}");
    }
    world.begin_an_hour(&world.api, &linked.connection).await.unwrap();
    assert_eq!(readings(&world, everyday, since).len(), 3, "the bank was asked, and by schedule too");
    assert_eq!(linked.account(everyday).await["failures"], 0);

    rename_tables(&world, "_away", "").await;
    world.bank.book(everyday, NewEntry::transfer("7.00", "NEWS")).unwrap();
    assert_eq!(linked.good_sync(everyday).await["added"], 1);
    linked.assert_like_the_bank(&world.bank, everyday).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_look_reads_and_writes_no_transaction_on_sqlite() {
    an_unchanged_look_needs_no_transaction(WorldConfig::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_look_reads_and_writes_no_transaction_on_postgresql() {
    let Some(postgres) = Postgres::shared().unwrap() else { return };
    let database = Some(postgres.database().await.unwrap());
    an_unchanged_look_needs_no_transaction(WorldConfig { database, ..WorldConfig::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn planned_looks_of_a_day_that_show_nothing_new_are_one_sync() {
    let Scene { world, linked, endpoint } = at_noon(WorldConfig::default(), 5).await;
    let everyday = linked.everyday();
    world.bank.book(everyday, NewEntry::transfer("7.00", "NEWS")).unwrap();
    let asked = linked.good_sync(everyday).await;
    let updates = told(&world.api, &endpoint, "account.updated").await;
    let since = so_far(&world);
    for _ in 0..4 {
        world.begin_an_hour(&world.api, &linked.connection).await.unwrap();
    }
    assert_eq!(readings(&world, everyday, since).len(), 4);
    let path = format!("/v1/accounts/{}/syncs", linked.ours(everyday));
    let listed = world.api.get(&path).await.unwrap();
    let [planned, before, ..] = items(&listed) else { panic!("{}", listed.body) };
    assert_eq!((&planned["has_new_data"], &planned["runs"]), (&json!(false), &json!(4)), "{planned}");
    assert_eq!(*before, asked, "who asked has a sync of their own");
    let fresh_at = linked.account(everyday).await["fresh_at"].clone();
    assert_eq!(planned["bank_answered_at"], fresh_at, "the last of the four");
    assert_eq!(told(&world.api, &endpoint, "account.updated").await, updates);

    // What is new has a sync of its own, and the next ones begin a new row.
    world.bank.book(everyday, NewEntry::transfer("8.00", "MORE")).unwrap();
    for _ in 0..3 {
        world.begin_an_hour(&world.api, &linked.connection).await.unwrap();
    }
    let listed = world.api.get(&path).await.unwrap();
    let runs: Vec<&Value> = items(&listed).iter().take(3).map(|sync| &sync["runs"]).collect();
    assert_eq!(runs, [&json!(2), &json!(1), &json!(4)], "{}", listed.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn once_a_day_in_the_banks_quiet_hour_all_history_is_read() {
    let Scene { world, linked, .. } = at_noon(WorldConfig::default(), 60).await;
    let everyday = linked.everyday();
    let statement = world.bank.statement(everyday).unwrap();
    let old = statement.rows.iter().find(|row| row.booked_on < today(&world) - Days::new(40)).unwrap();
    // Neither the overlap nor the balance shows it.
    let correction = Correction { text: Some("CORRECTED".into()), ..Correction::default() };
    world.bank.correct(everyday, &old.id, correction).unwrap();
    assert_eq!(linked.good_sync(everyday).await["has_new_data"], false);

    let since = so_far(&world);
    advance_to(&world, 1);
    let begins = world.clock.now().utc();
    while world.clock.now().utc() < begins + Duration::from_secs(5 * 3600) {
        world.begin_an_hour(&world.api, &linked.connection).await.unwrap();
    }
    let looks: Vec<(u32, i64)> = readings(&world, everyday, since)
        .iter()
        .map(|(at, from)| {
            let at = at.with_timezone(&London);
            (at.hour(), (at.date_naive() - *from).num_days())
        })
        .collect();
    let night = looks.iter().filter(|(hour, _)| *hour < 3).count();
    assert!(night > 0 && looks.len() > night + 1, "{looks:?}");
    for (place, (hour, days)) in looks.iter().enumerate() {
        let is_all = place == night;
        assert!(if is_all { *days == 90 } else { *days <= 15 }, "at {hour} o'clock: {looks:?}");
    }
    linked.assert_like_the_bank(&world.bank, everyday).await;
    let rows = linked.rows(everyday).await;
    assert_eq!(rows.iter().filter(|row| row["text"] == "CORRECTED").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_days_are_read_again_as_bookings_were_seen_to_be_late() {
    let setup = WorldConfig { demo_bank: UNPLANNED.into(), ..WorldConfig::default() };
    let Scene { world, linked, .. } = Scene::new(setup, 0).await;
    advance_to(&world, 11);
    let everyday = linked.everyday();
    linked.good_sync(everyday).await; // the day's look at all history, and the newest day
    let look = async || {
        let since = so_far(&world);
        let sync = linked.good_sync(everyday).await;
        (days_read(&world, everyday, since), sync["added"].as_u64().unwrap())
    };
    assert_eq!(look().await, (vec![14], 0), "as the profile says, until enough was seen");
    for row in 0..100 {
        world.bank.book(everyday, NewEntry::transfer("-1.00", &format!("ON TIME {row}"))).unwrap();
    }
    assert_eq!(look().await, (vec![14], 100));
    assert_eq!(look().await, (vec![3], 0), "nothing came late");

    // One that is six days late lies before what is read again: the balance tells, and all history is read.
    let booked_at = Some(world.bank.now() - Days::new(6));
    world.bank.book(everyday, NewEntry { booked_at, ..NewEntry::transfer("5.00", "LATE") }).unwrap();
    assert_eq!(look().await, (vec![3, 90], 1));
    assert_eq!(look().await, (vec![10], 0), "a week, and three days more");
    linked.assert_like_the_bank(&world.bank, everyday).await;
}

/// A customer with one account of 300 days, linked; ours, once it was read for the first time.
async fn with_a_long_history(world: &World) -> Linked {
    let account =
        NewAccount { nickname: "Old".into(), currency: "GBP".into(), savings: false, history_days: 300 };
    let new = NewCustomer { name: "Ada Sample".into(), accounts: vec![account] };
    let customer = world.bank.create_customer(&new).unwrap();
    let consent = world.bank.grant(&customer.id, Some(90 * DAY)).unwrap();
    let created = world.api.post("/v1/connections", &connection_request(&consent)).await.unwrap();
    expect(&created, 201).unwrap();
    let connection = created.text("/id").to_owned();
    let path = format!("/v1/accounts?connection_id={connection}");
    let ours = until("the first look", async || {
        let listed = world.api.get(&path).await.unwrap();
        let ours = text(items(&listed).first()?, "/id").to_owned();
        let shown = world.api.get(&format!("/v1/accounts/{ours}")).await.unwrap();
        shown.body["fresh_at"].is_string().then_some(ours)
    })
    .await;
    let accounts = [(customer.accounts[0].clone(), ours)].into();
    Linked { customer, consent, connection, api: world.api.clone(), accounts }
}

/// Places in the lane of older history, for the one business of a world: another process may have them.
struct HistoryLane {
    database: String,
    business: Vec<u8>,
}

impl HistoryLane {
    async fn of(world: &World) -> Self {
        let database = format!("sqlite:{}", world.folder().join("tidegate.db").display());
        let business: BusinessId = world.business.parse().unwrap();
        Self { database, business: business.as_bytes().to_vec() }
    }
    async fn run(&self, sql: &'static str) {
        let mut database = sqlx::SqliteConnection::connect(&self.database).await.unwrap();
        sqlx::query(sql).bind(self.business.clone()).execute(&mut database).await.unwrap();
    }
    /// As many runs as a business may have.
    async fn fill(&self) {
        self.run(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20)
             INSERT INTO schedule (institution, phase, connection, business, lane, due_at, token, slot_at, failures,
               claimed_at, active)
             SELECT 'elsewhere', n, $1, $1, 'history', 9000000000000000000, 1, 0, 0, 1, 1 FROM n",
        )
        .await;
    }
    async fn free(&self) {
        self.run("DELETE FROM schedule WHERE institution = 'elsewhere' AND business = $1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_history_is_read_newest_first_in_a_lane_of_its_own_and_who_asks_goes_first() {
    let world = World::start(WorldConfig {
        bank: BankConfig { full_history_for: DAY, ..BankConfig::default() },
        demo_bank: format!("history-days = 365\n{UNPLANNED}"),
        ..WorldConfig::default()
    })
    .await
    .unwrap();
    let lane = HistoryLane::of(&world).await;
    lane.fill().await;
    let linked = with_a_long_history(&world).await;
    let (everyday, start) = (linked.everyday(), today(&world));
    let reaches = async |days: u64, is_complete: bool| {
        let account = linked.account(everyday).await;
        let from = (start - Days::new(days)).to_string();
        assert_eq!(
            (text(&account, "/history_from"), &account["history_complete"]),
            (from.as_str(), &json!(is_complete)),
            "{account}"
        );
    };
    // The lane is full: the newest days are there, and that is all.
    reaches(31, false).await;
    let newest = linked.rows(everyday).await.len();
    assert_eq!(linked.good_sync(everyday).await["has_new_data"], false);

    // One place is free. Who asks while the first piece is at the bank goes before the second.
    let target = || Target::of(PathKind::Transactions, everyday);
    world.bank.hold(target(), Hold::Answer);
    lane.free().await;
    world.bank.wait_held(1, PATIENCE).await.unwrap();
    lane.fill().await;
    let asked = linked.ask(everyday, 0, &json!({})).await;
    expect(&asked, 202).unwrap();
    world.bank.release();
    let path = format!("/v1/syncs/{}", asked.text("/id"));
    let done = until("who asked", async || {
        let shown = world.api.get(&path).await.unwrap();
        (shown.text("/status") == "finished").then_some(shown.body)
    })
    .await;
    assert_eq!((&done["code"], &done["has_new_data"]), (&json!("SYNC_SUCCESSFUL"), &json!(false)), "{done}");
    reaches(31 + 92, false).await;
    assert!(linked.rows(everyday).await.len() > newest);
    assert_eq!(days_read(&world, everyday, 0), [31, 14, 31 + 92, 14]);

    lane.free().await;
    until("all history", async || (linked.account(everyday).await["history_complete"] == true).then_some(()))
        .await;
    reaches(365, true).await;
    assert_eq!(days_read(&world, everyday, 0)[4..], [31 + 2 * 92, 31 + 3 * 92, 365]);
    linked.assert_like_the_bank(&world.bank, everyday).await;
    assert_eq!(linked.good_sync(everyday).await["proof"], "proved");
}
