//! What a sync promises, through the public door: who is asked when, what is stored, what is told.

use crate::linked::{HOUR, Linked, Scene, TOKEN_LIFE, event, seconds_between, told, until};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection;
use std::collections::BTreeSet;
use std::time::Duration;
use tests::bank::{
    BankConfig, Fault, Hold, NewAccount, NewCustomer, NewEntry, PathKind, RetryAfter, RowStatus, Target,
};
use tests::http::{expect, items, text};
use tests::sink::Misbehaviour;
use tests::story::connection_request;
use tests::world::{DEMO_BANK, World, WorldConfig};

fn small_pages(page_rows: usize) -> WorldConfig {
    WorldConfig { bank: BankConfig { page_rows, ..BankConfig::default() }, ..WorldConfig::default() }
}

/// Requests of the last sync of an account.
fn transactions_asked(world: &World, since: u64) -> Vec<tests::bank::LoggedRequest> {
    let mut requests = world.bank.requests_since(since);
    requests.retain(|request| request.kind == PathKind::Transactions);
    requests
}

fn requests_so_far(world: &World) -> u64 {
    world.bank.requests().last().map_or(0, |request| request.number + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_accounts_failure_never_blocks_its_sister() {
    let Scene { world, linked, endpoint } = Scene::new(WorldConfig::default(), 0).await;
    for (bad, good) in [(linked.everyday(), linked.savings()), (linked.savings(), linked.everyday())] {
        world.bank.book(good, NewEntry::transfer("5.00", "GOOD")).unwrap();
        let before = linked.account(bad).await;
        world.bank.fault(Target::of(PathKind::Transactions, bad), Fault::TruncatedJson, 1);
        let (skip, failures) =
            (world.sink.received().len(), told(&world.api, &endpoint, "sync.failed").await);
        world.advance(HOUR);
        event(&world, "account.updated", linked.ours(good), skip).await;
        event(&world, "sync.failed", linked.ours(bad), skip).await;
        assert_eq!(told(&world.api, &endpoint, "sync.failed").await, failures + 1);
        linked.assert_like_the_bank(&world.bank, good).await;
        let after = linked.account(bad).await;
        assert_eq!((&after["failures"], &after["seq"]), (&json!(1), &before["seq"]));
        // The one that failed comes back by itself, long before the next hour.
        world.advance(Duration::from_secs(61));
        until("its retry", async || (linked.account(bad).await["failures"] == 0).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_before_the_least_interval_is_over_gets_the_last_sync_and_when() {
    let setup = WorldConfig { demo_bank: "min-interval-s = 300\n".into(), ..WorldConfig::default() };
    let Scene { world, linked, .. } = Scene::new(setup, 0).await;
    world.advance(Duration::from_secs(301));
    let first = linked.good_sync(linked.everyday()).await;
    let asked = world.bank.requests().len();
    let early = linked.ask(linked.everyday(), 30, &json!({})).await;
    assert_eq!((early.status, early.text("/code")), (429, "too-early"), "{}", early.body);
    assert_eq!(early.body["last_sync"], first);
    let left = seconds_between(&json!(world.clock.now()), &early.body["next_allowed_at"]);
    let wait: f64 = early.header("retry-after").parse().unwrap();
    assert!((left..=300.0).contains(&wait), "{left}: {:?}", early.headers);
    let gap = seconds_between(&first["bank_asked_at"], &early.body["next_allowed_at"]);
    assert!((gap - 300.0).abs() < 0.001, "{gap}");
    assert_eq!(world.bank.requests().len(), asked, "the bank is left alone");
    linked.good_sync(linked.savings()).await; // each account has its own interval
    world.advance(Duration::from_secs(301));
    linked.good_sync(linked.everyday()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_requested_meanwhile_and_is_not_allowed_yet_waits_quietly() {
    let Scene { world, linked, .. } = Scene::new(WorldConfig::default(), 0).await;
    let everyday = linked.everyday();
    let target = || Target::of(PathKind::Transactions, everyday);
    world.bank.fault(target(), Fault::Status { status: 429, retry_after: Some(RetryAfter::Seconds(120)) }, 1);
    world.bank.hold(target(), Hold::Answer);
    let first = linked.ask(everyday, 0, &json!({})).await;
    world.bank.wait_held(1, tests::PATIENCE).await.unwrap();
    let second = linked.ask(everyday, 0, &json!({})).await;
    assert_ne!(first.text("/id"), second.text("/id"));
    world.bank.release();

    // The job's row rests until the bank allows the next reading; it is not claimed over and over.
    let file = format!("sqlite:{}", world.folder().join("tidegate.db").display());
    let mut database = sqlx::SqliteConnection::connect(&file).await.unwrap();
    let settled = until("a rest", async || {
        let sql = "SELECT s.due_at, h.next_allowed_at, s.token FROM schedule s JOIN account_head h
                     ON h.connection = s.connection AND h.next_sync IS NOT NULL
                   WHERE s.claimed_at IS NULL AND s.due_at >= h.next_allowed_at";
        sqlx::query_as::<_, (i64, i64, i64)>(sql).fetch_optional(&mut database).await.unwrap()
    })
    .await;
    assert_eq!(settled.0, settled.1);
    let shown = world.api.get(&format!("/v1/syncs/{}", second.text("/id"))).await.unwrap();
    assert_eq!(shown.text("/status"), "running");
    world.advance(Duration::from_secs(121));
    let done = until("the second", async || finished(&world, second.text("/id")).await).await;
    assert_eq!(done["code"], "SYNC_SUCCESSFUL", "{done}");
}

async fn finished(world: &World, sync: &str) -> Option<Value> {
    let shown = world.api.get(&format!("/v1/syncs/{sync}")).await.unwrap();
    expect(&shown, 200).unwrap();
    (shown.text("/status") == "finished").then_some(shown.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_customers_address_reaches_the_bank_only_while_the_customer_is_there() {
    let Scene { world, linked, .. } = Scene::new(WorldConfig::default(), 0).await;
    let everyday = linked.everyday();
    let since = requests_so_far(&world);
    let body = json!({ "customer_present": { "ip": "203.0.113.7", "user_agent": "Browser/1.0 (test)" } });
    let attended = linked.ask(everyday, 30, &body).await;
    expect(&attended, 200).unwrap();
    let asked = world.bank.requests_since(since);
    assert!(asked.len() >= 2, "{asked:?}");
    for request in asked {
        assert_eq!(request.fapi["x-fapi-customer-ip-address"], "203.0.113.7", "{request:?}");
        assert_eq!(request.fapi["x-customer-user-agent"], "Browser/1.0 (test)", "{request:?}");
    }
    assert_eq!(attended.body["customer_present"], true, "{}", attended.body);
    let listed = linked.api.get(&format!("/v1/accounts/{}/syncs", linked.ours(everyday))).await.unwrap();
    assert_eq!(items(&listed)[0], attended.body, "on record, for whoever asks later");

    let since = requests_so_far(&world);
    let alone = linked.good_sync(everyday).await;
    let skip = world.sink.received().len();
    world.bank.book(everyday, NewEntry::transfer("1.00", "LATER")).unwrap();
    world.advance(HOUR);
    let scheduled = event(&world, "account.updated", linked.ours(everyday), skip).await;
    for request in transactions_asked(&world, since) {
        assert!(!request.fapi.contains_key("x-fapi-customer-ip-address"), "{request:?}");
        assert!(!request.fapi.contains_key("x-customer-user-agent"), "{request:?}");
    }
    let scheduled = finished(&world, text(&scheduled, "/data/sync_id")).await.unwrap();
    for sync in [alone, scheduled] {
        assert_eq!(sync["customer_present"], false, "{sync}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_does_not_wait_is_told_where_to_look() {
    let Scene { world, linked, .. } = Scene::new(WorldConfig::default(), 0).await;
    world.bank.hold(PathKind::Transactions, Hold::Request);
    let started = linked.ask(linked.everyday(), 0, &json!({})).await;
    expect(&started, 202).unwrap();
    let id = started.text("/id");
    assert_eq!(started.header("location"), format!("/v1/syncs/{id}"));
    assert_eq!(started.text("/status"), "running");
    world.bank.wait_held(1, tests::PATIENCE).await.unwrap();
    let shown = world.api.get(started.header("location")).await.unwrap();
    expect(&shown, 200).unwrap();
    assert_eq!((shown.text("/status"), shown.text("/id")), ("running", id));
    for later in ["code", "has_new_data", "connector", "customer_present"] {
        assert!(shown.body[later].is_null(), "{later}: {}", shown.body);
    }
    world.bank.release();
    let done = until("its end", async || finished(&world, id).await).await;
    assert_eq!((text(&done, "/code"), text(&done, "/id")), ("SYNC_SUCCESSFUL", id));
    assert!(text(&done, "/connector").starts_with("open-banking-uk "), "the version is on record: {done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn identical_twins_on_two_pages_are_two_and_a_row_on_one_page_twice_is_one() {
    let Scene { world, linked, .. } = Scene::new(small_pages(2), 0).await;
    let everyday = linked.everyday();
    world.bank.book(everyday, NewEntry::transfer("100.00", "FIRST")).unwrap();
    // The twins are the second and third row: one at the end of a page, one at the beginning.
    world.bank.book_twins(everyday, &NewEntry::card("-3.20", "COFFEE", "Coffee")).unwrap();
    assert_eq!(linked.good_sync(everyday).await["added"], 3);
    linked.assert_like_the_bank(&world.bank, everyday).await;

    for _ in 0..2 {
        world.bank.fault(Target::of(PathKind::Transactions, everyday), Fault::RepeatedRow, 2);
        let sync = linked.good_sync(everyday).await;
        assert_eq!((&sync["has_new_data"], &sync["proof"]), (&json!(false), &json!("proved")), "{sync}");
        assert_eq!(world.bank.faults_left(), 0);
    }
    world.bank.book(everyday, NewEntry::transfer("7.00", "LAST")).unwrap();
    world.bank.fault(Target::of(PathKind::Transactions, everyday), Fault::RepeatedRow, 2);
    assert_eq!(linked.good_sync(everyday).await["added"], 1);
    linked.assert_like_the_bank(&world.bank, everyday).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ids_identical_twins_are_still_two() {
    let bank = BankConfig { row_ids: false, page_rows: 2, ..BankConfig::default() };
    let Scene { world, linked, .. } = Scene::new(WorldConfig { bank, ..WorldConfig::default() }, 0).await;
    let everyday = linked.everyday();
    world.bank.book(everyday, NewEntry::transfer("100.00", "FIRST")).unwrap();
    world.bank.book_twins(everyday, &NewEntry::card("-3.20", "COFFEE", "Coffee")).unwrap();
    let first = linked.good_sync(everyday).await;
    assert_eq!((&first["added"], &first["proof"]), (&json!(3), &json!("proved")), "{first}");
    let again = linked.good_sync(everyday).await;
    assert_eq!(again["has_new_data"], false, "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_reads_five_hundred_rows_over_twenty_pages() {
    // A week long nothing is planned: what is counted, no planned sync adds to.
    let demo_bank = "[schedule]\ninterval-minutes = 10080\n".into();
    let world = World::start(WorldConfig { demo_bank, ..WorldConfig::default() }).await.unwrap();
    let account =
        NewAccount { nickname: "Busy".into(), currency: "GBP".into(), savings: false, history_days: 0 };
    let new = NewCustomer { name: "Busy Body".into(), accounts: vec![account] };
    let customer = world.bank.create_customer(&new).unwrap();
    let start = world.bank.now() - chrono::Days::new(80);
    for row in 0..500 {
        let at = start + chrono::TimeDelta::minutes(row * 200);
        world
            .bank
            .book(&customer.accounts[0], NewEntry::transfer("-1.25", &format!("ROW {row}")).at(at))
            .unwrap();
    }
    let linked = Linked::existing(&world.bank, &world.api, customer).await;
    let requests = world.bank.request_count(PathKind::Transactions);
    assert!((20..=22).contains(&requests), "twenty pages in two pieces: {requests}");
    assert_eq!(linked.rows(linked.everyday()).await.len(), 500);
    linked.assert_like_the_bank(&world.bank, linked.everyday()).await;
    let again = linked.good_sync(linked.everyday()).await;
    assert_eq!((&again["has_new_data"], &again["proof"]), (&json!(false), &json!("proved")), "{again}");
    assert!(
        world.bank.request_count(PathKind::Transactions) < requests + 10,
        "only the overlap is read again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booked_row_goes_at_once_by_proof_and_a_pending_one_when_it_was_missing_twice() {
    let Scene { world, linked, .. } = Scene::new(WorldConfig::default(), 0).await;
    let everyday = linked.everyday();
    let booked = world.bank.book(everyday, NewEntry::transfer("20.00", "A MISTAKE")).unwrap();
    let pending = world.bank.authorise(everyday, NewEntry::card("-9.00", "HOTEL", "Hotel")).unwrap();
    assert_eq!(linked.good_sync(everyday).await["added"], 2);

    world.bank.remove(everyday, &booked.id).unwrap();
    let sync = linked.good_sync(everyday).await;
    assert_eq!((&sync["removed"], &sync["proof"]), (&json!(1), &json!("proved")), "{sync}");

    world.bank.expire(everyday, &pending.id).unwrap();
    let sync = linked.good_sync(everyday).await;
    assert_eq!(sync["removed"], 0, "missing once is no evidence: {sync}");
    assert_eq!(linked.rows(everyday).await.len(), 1);
    let sync = linked.good_sync(everyday).await;
    assert_eq!(sync["removed"], 1, "{sync}");
    assert_eq!(linked.rows(everyday).await.len(), 0);
    linked.assert_like_the_bank(&world.bank, everyday).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_hides_what_its_balance_counts_is_read_again_and_then_refused_whole() {
    let Scene { world, linked, endpoint } = Scene::new(WorldConfig::default(), 0).await;
    let everyday = linked.everyday();
    for row in ["ONE", "TWO", "THREE"] {
        world.bank.book(everyday, NewEntry::transfer("10.00", row)).unwrap();
    }
    linked.good_sync(everyday).await;
    let before = linked.ledger(everyday).await;

    world.bank.book(everyday, NewEntry::transfer("4.00", "FOUR")).unwrap();
    world.bank.fault(Target::of(PathKind::Transactions, everyday), Fault::HiddenRow, 2);
    let sync = linked.sync(everyday).await;
    assert_eq!(
        (text(&sync, "/code"), text(&sync, "/reason")),
        ("INCOMPLETE_STATEMENT_ERROR", "incomplete-statement"),
        "{sync}"
    );
    assert_eq!(world.bank.faults_left(), 0, "it was read twice");
    assert_eq!(linked.ledger(everyday).await, before, "nothing is stored, not even the new row");
    assert_eq!(told(&world.api, &endpoint, "sync.failed").await, 1);

    world.bank.fault(Target::of(PathKind::Transactions, everyday), Fault::HiddenRow, 1);
    let sync = linked.good_sync(everyday).await;
    assert_eq!(
        (&sync["added"], &sync["removed"]),
        (&json!(1), &json!(0)),
        "the second reading is whole: {sync}"
    );
    linked.assert_like_the_bank(&world.bank, everyday).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_expression_opens_a_window_in_the_banks_own_time() {
    let demo_bank = "[schedule]\ninterval-minutes = 60\ncron = \"0 0 6 * * *\"\nwindow-minutes = 30\n".into();
    let setup = WorldConfig { demo_bank, ..WorldConfig::default() };
    let Scene { world, linked, .. } = Scene::new(setup, 0).await;
    let inside = |account: &Value| {
        let at: host::model::Timestamp = serde_json::from_value(account["next_at"].clone()).unwrap();
        let london = at.utc().with_timezone(&chrono_tz::Europe::London);
        let minutes = chrono::Timelike::num_seconds_from_midnight(&london.time()) / 60 - 6 * 60;
        assert!(minutes < 30, "{london}");
        at
    };
    let first = inside(&linked.account(linked.everyday()).await);
    let skip = world.sink.received().len();
    world.bank.book(linked.everyday(), NewEntry::transfer("1.00", "OVERNIGHT")).unwrap();
    world.advance(first.since(world.clock.now()));
    event(&world, "account.updated", linked.ours(linked.everyday()), skip).await;
    let second = inside(&linked.account(linked.everyday()).await);
    assert!(second > first);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_made_at_one_moment_are_spread_over_the_hour() {
    let world = World::start(WorldConfig::default()).await.unwrap();
    // Its slot in the hour, in seconds; the hour itself passes in real time.
    let slot = |account: &Value| {
        let next: host::model::Timestamp = serde_json::from_value(account["next_at"].clone()).unwrap();
        assert!(next.since(world.clock.now()) <= HOUR, "{account}");
        next.seconds().rem_euclid(3_600)
    };
    let mut slots = Vec::new();
    for nth in 0..24 {
        let linked = Linked::new(&world, &world.api, &format!("Customer {nth}"), 0).await;
        let (one, other) = (linked.account(linked.everyday()).await, linked.account(linked.savings()).await);
        assert_eq!(slot(&one), slot(&other), "a connection has one slot");
        slots.push(slot(&one));
    }
    // Two of 24 often meet in one of 3,600 seconds; twelve do not.
    assert!(slots.iter().collect::<BTreeSet<_>>().len() > 12, "{slots:?}");
    // Chance puts all 24 into one half of the hour once in eight million runs.
    let early = slots.iter().filter(|slot| **slot < 1_800).count();
    assert!((1..24).contains(&early), "{slots:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_idempotency_key_makes_one_connection() {
    let world = World::start(WorldConfig::default()).await.unwrap();
    let customer = world.bank.create_customer(&NewCustomer::with_two_accounts("Ada Sample", 0)).unwrap();
    let consent = world.bank.grant(&customer.id, None).unwrap();
    let body = connection_request(&consent);
    let key = [("idempotency-key", "link-ada-1")];
    let first = world.api.send(Method::POST, "/v1/connections", &key, Some(&body)).await.unwrap();
    expect(&first, 201).unwrap();
    let again = world.api.send(Method::POST, "/v1/connections", &key, Some(&body)).await.unwrap();
    assert_eq!((again.status, &again.body), (201, &first.body));
    let listed = world.api.get("/v1/connections").await.unwrap();
    assert_eq!(items(&listed).len(), 1);
    let mut other = body.clone();
    other["customer_ref"] = json!("somebody else");
    let reused = world.api.send(Method::POST, "/v1/connections", &key, Some(&other)).await.unwrap();
    assert_eq!((reused.status, reused.text("/code")), (422, "idempotency-key-reused"), "{}", reused.body);
    assert_eq!(items(&world.api.get("/v1/connections").await.unwrap()).len(), 1);

    // The answer goes with the connection that it shows.
    let path = format!("/v1/connections/{}", first.text("/id"));
    expect(&world.api.delete(&path).await.unwrap(), 204).unwrap();
    let again = world.api.send(Method::POST, "/v1/connections", &key, Some(&body)).await.unwrap();
    assert_eq!(again.status, 201, "{}", again.body);
    assert_ne!(again.text("/id"), first.text("/id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_routes_need_a_new_approval_which_a_running_service_sees() {
    let Scene { mut world, mut linked, .. } = Scene::new(WorldConfig::default(), 0).await;
    let profile = world.folder().join(format!("institutions/{DEMO_BANK}.toml"));
    let old = std::fs::read_to_string(&profile).unwrap();
    std::fs::write(&profile, old.replace("/open-banking/v3.1/aisp\"", "/open-banking/v3.1\"")).unwrap();
    world.restart().await.unwrap();
    linked.api = world.api.clone();
    let command = format!("tidegate institution approve {DEMO_BANK}");

    let consent = world.bank.grant(&linked.customer.id, None).unwrap();
    let refused = world.api.post("/v1/connections", &connection_request(&consent)).await.unwrap();
    assert_eq!((refused.status, refused.text("/code")), (409, "institution-unavailable"));
    assert!(refused.text("/detail").contains(&command), "{}", refused.body);
    let asked = world.bank.requests().len();
    let sync = linked.sync(linked.everyday()).await;
    assert_eq!(sync["reason"], "not-configured", "{sync}");
    assert!(text(&sync, "/message").contains(&command) && sync["connector"].is_null(), "{sync}");
    assert_eq!(world.bank.requests().len(), asked, "nothing is asked of it");

    world.tidegate(&["institution", "approve", DEMO_BANK, "--yes"]).unwrap();
    let path = format!("/v1/institutions/{DEMO_BANK}");
    until("the approval", async || {
        (world.api.get(&path).await.unwrap().body["available"] == true).then_some(())
    })
    .await;
    let created = world.api.post("/v1/connections", &connection_request(&consent)).await.unwrap();
    expect(&created, 201).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_schedule_cursors_sessions_and_what_is_still_to_be_told() {
    let Scene { mut world, mut linked, .. } = Scene::new(WorldConfig::default(), 3).await;
    let everyday = linked.everyday().to_owned();
    let changes = format!("/v1/accounts/{}/changes", linked.ours(&everyday));
    let cursor = world.api.get(&changes).await.unwrap().text("/next_cursor").to_owned();
    let skip = world.sink.received().len();
    world.sink.misbehave(Misbehaviour::Status(500, None), 1);
    world.bank.book(&everyday, NewEntry::transfer("3.00", "BEFORE")).unwrap();
    linked.good_sync(&everyday).await;
    let refused =
        |all: &[tests::sink::Received]| all.iter().skip(skip).any(|one| !one.accepted).then_some(());
    world.sink.wait_for("a refused attempt", tests::PATIENCE, refused).await.unwrap();
    let stored = async |linked: &Linked| {
        let mut account = linked.account(&everyday).await;
        account.as_object_mut().unwrap().remove("age_s"); // grows by itself
        (account, linked.ledger(&everyday).await)
    };
    let before = stored(&linked).await;
    let renewals = world.bank.request_count(PathKind::Token);

    world.restart().await.unwrap();
    linked.api = world.api.clone();
    assert_eq!(stored(&linked).await, before);
    // The event of before the restart.
    world.advance(Duration::from_secs(10));
    event(&world, "account.updated", linked.ours(&everyday), skip).await;
    // The cursor of before the restart: one change.
    let after = world.api.get(&format!("{changes}?cursor={cursor}")).await.unwrap();
    expect(&after, 200).unwrap();
    assert_eq!(items(&after).len(), 1);
    // The access token and the schedule of before the restart.
    linked.good_sync(&everyday).await;
    assert_eq!(world.bank.request_count(PathKind::Token), renewals, "the session goes on");
    let skip = world.sink.received().len();
    world.bank.book(&everyday, NewEntry::transfer("4.00", "AFTER")).unwrap();
    world.advance(HOUR);
    event(&world, "account.updated", linked.ours(&everyday), skip).await;
    linked.assert_like_the_bank(&world.bank, &everyday).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_businesses_each_have_their_own_customers() {
    let world = World::start(WorldConfig::default()).await.unwrap();
    world.endpoint().await.unwrap();
    let other = world.another_business().unwrap();
    let ours = Linked::new(&world, &world.api, "Ada Sample", 2).await;
    let theirs = Linked::new(&world, &other, "Ben Example", 2).await;
    world.bank.book(ours.everyday(), NewEntry::transfer("1.00", "OURS")).unwrap();
    world.bank.book(theirs.everyday(), NewEntry::transfer("2.00", "THEIRS")).unwrap();
    for linked in [&ours, &theirs] {
        linked.good_sync(linked.everyday()).await;
        linked.assert_like_the_bank(&world.bank, linked.everyday()).await;
        let listed = linked.api.get("/v1/accounts").await.unwrap();
        let listed: BTreeSet<_> =
            items(&listed).iter().map(|account| text(account, "/id").to_owned()).collect();
        assert_eq!(listed, linked.accounts.values().cloned().collect());
        let listed = linked.api.get("/v1/connections?customer_ref=customer-42").await.unwrap();
        assert_eq!(items(&listed).len(), 1, "both call their customer by the same name");
    }
    let told = world.sink.received();
    assert!(told.iter().all(|event| text(&event.payload, "/data/connection_id") == ours.connection));
    let rows = world.bank.statement(theirs.everyday()).unwrap().rows;
    assert!(rows.iter().any(|row| row.status == RowStatus::Booked && row.text == "THEIRS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_renewed_once_for_both_accounts() {
    let Scene { world, linked, .. } = Scene::new(WorldConfig::default(), 0).await;
    world.advance(TOKEN_LIFE);
    let renewals = world.bank.request_count(PathKind::Token);
    let (one, other) = tokio::join!(linked.sync(linked.everyday()), linked.sync(linked.savings()));
    assert_eq!((&one["code"], &other["code"]), (&json!("SYNC_SUCCESSFUL"), &json!("SYNC_SUCCESSFUL")));
    assert_eq!(world.bank.request_count(PathKind::Token), renewals + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_run_was_lost_is_answered_by_the_next_claim_not_by_the_next_slot() {
    let scene = Scene::new(WorldConfig::default(), 0).await;
    let (world, linked) = (&scene.world, &scene.linked);
    let target = Target::of(PathKind::Transactions, linked.everyday());
    world.bank.hold(target, Hold::Answer);
    let asked = linked.ask(linked.everyday(), 0, &json!({})).await;
    expect(&asked, 202).unwrap();
    world.bank.wait_held(1, tests::PATIENCE).await.unwrap();
    // The lease runs out while the bank thinks: another claim takes over.
    world.advance(world.app.config.lease + Duration::from_secs(31));
    world.bank.wait_held(2, tests::PATIENCE).await.unwrap();
    world.bank.release();
    let done = until("the answer", async || {
        let shown = world.api.get(&format!("/v1/syncs/{}", asked.text("/id"))).await.unwrap();
        (shown.text("/status") == "finished").then_some(shown.body)
    })
    .await;
    assert_eq!(done["code"], "SYNC_SUCCESSFUL", "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_token_is_stored_before_the_next_request_leaves_and_stays_when_the_sync_fails() {
    let scene = Scene::new(WorldConfig::default(), 0).await;
    let (world, linked) = (&scene.world, &scene.linked);
    let connection: host::model::ConnectionId = linked.connection.parse().unwrap();
    let refresh_token = async || {
        let stored = world.app.store.credentials(connection).await.unwrap();
        stored.into_iter().find(|one| one.name == "refresh-token").unwrap().value.reveal().to_owned()
    };
    let before = refresh_token().await;
    world.advance(TOKEN_LIFE);
    let target = Target::of(PathKind::Transactions, linked.everyday());
    world.bank.fault(target.clone(), Fault::TruncatedJson, 100);
    world.bank.hold(target, Hold::Request);
    let asked = linked.ask(linked.everyday(), 0, &json!({})).await;
    expect(&asked, 202).unwrap();
    world.bank.wait_held(1, tests::PATIENCE).await.unwrap();
    let renewed = refresh_token().await;
    assert_ne!(renewed, before, "the first request after the renewal is at the bank");

    world.bank.release();
    let failed = until("the failure", async || {
        let shown = world.api.get(&format!("/v1/syncs/{}", asked.text("/id"))).await.unwrap();
        (shown.text("/status") == "finished").then_some(shown.body)
    })
    .await;
    assert_eq!(failed["reason"], "unreadable", "{failed}");
    assert_eq!(refresh_token().await, renewed, "no failure takes it back");
    world.bank.clear_faults();
    world.advance(TOKEN_LIFE);
    linked.good_sync(linked.everyday()).await; // a token that was spent already would have ended the consent
    assert_ne!(refresh_token().await, renewed);
}
