//! What happens to a customer's connection after they let us in at the bank: old history, renewals whose
//! answer is lost, and several processes that must not renew at the same time.

use crate::door_uk::{Door, setup};
use crate::linked::{HOUR, Linked, TOKEN_LIFE, told, until};
use chrono::{DateTime, Days, NaiveDate, Utc};
use host::model::{Permits, Role, Timestamp};
use serde_json::json;
use std::time::Duration;
use tests::PATIENCE;
use tests::bank::{Fault, Hold, LoggedRequest, NewEntry, PathKind, Target};
use tests::http::{expect, items, text};
use tests::linking::is_read;
use tests::postgres::Postgres;
use tests::world::{DEMO_BANK, WorldConfig};

const DAY: Duration = Duration::from_secs(24 * 3600);
const UNAVAILABLE: Fault = Fault::Status { status: 503, retry_after: None };
/// Longer than the bank gives old history after the customer agreed.
const TOO_LATE: Duration = Duration::from_secs(301);

fn a_year() -> WorldConfig {
    WorldConfig { demo_bank: "history-days = 365\n".into(), ..setup() }
}

/// The first day of each reading of an account since then, and whether the bank gave it.
fn readings(door: &Door, account: &str, since: u64) -> Vec<(NaiveDate, bool)> {
    let first_page = |request: &LoggedRequest| {
        let query = request.query.as_deref().unwrap_or("");
        let asked = request.kind == PathKind::Transactions && request.account.as_deref() == Some(account);
        if !asked || query.contains("page=") {
            return None;
        }
        let (_, from) = query.split_once("fromBookingDateTime=")?;
        Some((from.get(..10)?.parse().unwrap(), request.status == Some(200)))
    };
    door.world.bank.requests_since(since).iter().filter_map(first_page).collect()
}

fn so_far(door: &Door) -> u64 {
    door.world.bank.requests().last().map_or(0, |request| request.number + 1)
}

/// Is it the day so many days before? Within a day, since midnight is elsewhere at another time.
fn is_before(day: NaiveDate, now: DateTime<Utc>, days: u64) -> bool {
    (now.date_naive() - day).num_days().unsigned_abs().abs_diff(days) <= 1
}

/// The oldest day that was asked for since then, once there is no older history to read, and whether the bank gave
/// all that it was asked for.
async fn oldest_reading(door: &Door, linked: &Linked, account: &str, since: u64) -> (NaiveDate, bool) {
    until("all history", async || is_read(&linked.account(account).await).then_some(())).await;
    let read = readings(door, account, since);
    (read.iter().map(|(day, _)| *day).min().unwrap(), read.iter().all(|(_, given)| *given))
}

/// An entry that was booked so many days ago.
fn booked(door: &Door, account: &str, days: u64, text: &str) {
    let booked_at = Some(door.world.bank.now() - Days::new(days));
    let entry = NewEntry { booked_at, ..NewEntry::transfer("1.00", text) };
    door.world.bank.book(account, entry).unwrap();
}

/// Waits until the consent's end has stopped the connection.
async fn stopped(door: &Door, linked: &Linked) {
    until("the end of the consent", async || {
        let shown = door.connection(&linked.connection).await;
        (shown["state"] == "reauthorisation_required").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_is_read_right_after_the_customer_agreed_and_nothing_is_lost_when_less_is_given_later() {
    let door = Door::open(a_year(), 360).await;
    let (world, bank) = (&door.world, &door.world.bank);
    let linked = door.linked().await;
    let everyday = linked.everyday().to_owned();
    let (day, given) = oldest_reading(&door, &linked, &everyday, 0).await;
    assert!(given && is_before(day, bank.now(), 365), "{day}");
    linked.assert_like_the_bank(bank, &everyday).await;
    linked.assert_like_the_bank(bank, linked.savings()).await;

    let since = so_far(&door);
    world.advance(TOO_LATE);
    linked.good_sync(&everyday).await;
    let read = readings(&door, &everyday, since);
    assert!(
        read.iter().all(|(day, given)| *given && is_before(*day, bank.now(), 14)),
        "the overlap: {read:?}"
    );

    // The consent ends, and the customer comes back after 100 days: what was missed is read.
    let read_on = bank.now();
    world.advance(100 * DAY);
    stopped(&door, &linked).await;
    booked(&door, &everyday, 95, "LONG AGO");
    let since = so_far(&door);
    let way = door.again(&linked.connection).await;
    door.agree(&way).await;
    linked.good_sync(&everyday).await;
    let (day, given) = oldest_reading(&door, &linked, &everyday, since).await;
    assert!(given && day <= (read_on - Days::new(14)).date_naive(), "{day}");
    linked.assert_like_the_bank(bank, &everyday).await;

    // Another 100 days, and this time the bank is down just after the customer agreed: less is given.
    world.advance(100 * DAY);
    stopped(&door, &linked).await;
    booked(&door, &everyday, 95, "IN THE GAP");
    booked(&door, &everyday, 2, "YESTERDAY OR SO");
    let before = linked.rows(&everyday).await;
    bank.fault(PathKind::Transactions, UNAVAILABLE, 1_000);
    let way = door.again(&linked.connection).await;
    door.agree(&way).await;
    until("the failure", async || (linked.account(&everyday).await["failures"] != 0).then_some(())).await;
    bank.clear_faults();
    let since = so_far(&door);
    world.advance(TOO_LATE);
    linked.good_sync(&everyday).await;
    let tried = readings(&door, &everyday, since);
    let (less, given) = tried[1];
    assert!(!tried[0].1 && given && is_before(less, bank.now(), 89), "asked for less: {tried:?}");
    let texts =
        |rows: &[serde_json::Value]| rows.iter().map(|row| text(row, "/text").to_owned()).collect::<Vec<_>>();
    let now = texts(&linked.rows(&everyday).await);
    assert!(texts(&before).iter().all(|row| now.contains(row)), "nothing is removed");
    assert!(now.contains(&"YESTERDAY OR SO".to_owned()) && !now.contains(&"IN THE GAP".to_owned()));

    // Because something is missing, the next time the customer agrees all history is read once more.
    let since = so_far(&door);
    let way = door.again(&linked.connection).await;
    door.agree(&way).await;
    linked.good_sync(&everyday).await;
    let (day, given) = oldest_reading(&door, &linked, &everyday, since).await;
    assert!(given && is_before(day, bank.now(), 365), "{day}");
    let stored = texts(&linked.rows(&everyday).await);
    assert!(stored.contains(&"IN THE GAP".to_owned()));
    assert!(now.iter().all(|row| stored.contains(row)), "nor is anything removed by that");
    let changes =
        world.api.get(&format!("/v1/accounts/{}/changes?limit=500", linked.ours(&everyday))).await.unwrap();
    assert!(items(&changes).iter().all(|change| change["kind"] != "removed"), "{}", changes.body);
    linked.assert_like_the_bank(bank, &everyday).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_renewal_is_tried_once_more_and_then_the_customer_is_asked_at_the_bank() {
    let door = Door::open(setup(), 1).await;
    let (world, bank) = (&door.world, &door.world.bank);
    let linked = door.linked().await;
    let everyday = linked.everyday().to_owned();
    let ask = "connection.reauthorisation_required";
    // The request was lost: the second try is the first that the bank sees, with an assertion of its own.
    for (fault, code) in [(Fault::Reset, "SYNC_SUCCESSFUL"), (Fault::LostAnswer, "REAUTHORISATION_REQUIRED")]
    {
        world.begin_an_hour(&world.api, &linked.connection).await.unwrap();
        world.advance(TOKEN_LIFE);
        let renewals = bank.request_count(PathKind::Token);
        bank.fault(PathKind::Token, fault, 1);
        let sync = linked.sync(&everyday).await;
        assert_eq!(sync["code"], code, "{sync}");
        assert_eq!(bank.request_count(PathKind::Token), renewals + 2);
    }
    let shown = door.connection(&linked.connection).await;
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("reauthorisation_required"), &json!("consent-expired"))
    );
    assert_eq!(told(&world.api, &door.endpoint, ask).await, 1);

    // The customer is asked at once: nobody waits until the lease of the run that stopped is over.
    bank.book(&everyday, NewEntry::transfer("3.00", "WHILE YOU WERE AWAY")).unwrap();
    let way = door.again(&linked.connection).await;
    door.agree(&way).await;
    assert_eq!(door.known(&linked.connection).await.accounts, linked.accounts);
    linked.good_sync(&everyday).await;
    linked.assert_like_the_bank(bank, &everyday).await;
    assert_eq!(told(&world.api, &door.endpoint, ask).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_one_renews() {
    let Some(postgres) = Postgres::shared().unwrap() else { return };
    let database = Some(postgres.database().await.unwrap());
    let door = Door::open(WorldConfig { database, ..setup() }, 1).await;
    let (world, bank) = (&door.world, &door.world.bank);
    let linked = door.linked().await;
    let other = world.another_process(&Role::ALL).await.unwrap();
    for _ in 0..3 {
        world.begin_an_hour(&world.api, &linked.connection).await.unwrap();
        world.advance(TOKEN_LIFE);
        let renewals = bank.request_count(PathKind::Token);
        bank.hold(PathKind::Token, Hold::Request);
        let mut syncs = Vec::new();
        for (api, account) in [(&world.api, linked.everyday()), (&other.api, linked.savings())] {
            let path = format!("/v1/accounts/{}/sync?wait=0", linked.ours(account));
            let asked = api.post(&path, &json!({})).await.unwrap();
            expect(&asked, 202).unwrap();
            syncs.push(asked.text("/id").to_owned());
        }
        bank.wait_held(1, PATIENCE).await.unwrap();
        // Whoever looks now, finds it held.
        for app in [&world.app, &other.app] {
            let (now, permits) = (world.clock.now(), Permits::of_any([(DEMO_BANK.to_owned(), 16)]));
            assert_eq!(app.store.claim_due(now, now.plus(HOUR), &permits).await.unwrap(), []);
        }
        bank.release();
        for sync in &syncs {
            until("both syncs", async || {
                let shown = world.api.get(&format!("/v1/syncs/{sync}")).await.unwrap();
                (shown.text("/status") == "finished")
                    .then(|| assert_eq!(shown.text("/code"), "SYNC_SUCCESSFUL"))
            })
            .await;
        }
        assert_eq!(bank.request_count(PathKind::Token), renewals + 1);
    }
    assert_eq!(told(&world.api, &door.endpoint, "connection.reauthorisation_required").await, 0);
    other.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_wakes_up_after_its_lease_sends_nothing_and_stores_nothing() {
    let Some(postgres) = Postgres::shared().unwrap() else { return };
    let database = Some(postgres.database().await.unwrap());
    // One run of the bank at a time in each process: the one that sleeps can't take its own connection over.
    let demo_bank = "concurrency = 2\n".to_owned();
    // A lease nearly as long as an access token is good.
    let adjust: Option<fn(&mut host::config::Config)> =
        Some(|config| config.lease = Duration::from_secs(490));
    let door = Door::open(WorldConfig { database, demo_bank, adjust, ..setup() }, 1).await;
    let (world, bank) = (&door.world, &door.world.bank);
    let linked = door.linked().await;
    let everyday = linked.everyday().to_owned();
    world.begin_an_hour(&world.api, &linked.connection).await.unwrap();
    let syncs = async || {
        let listed = world.api.get(&format!("/v1/accounts/{}/syncs", linked.ours(&everyday))).await.unwrap();
        items(&listed).len()
    };
    let (synced, since) = (syncs().await, so_far(&door));

    let balances_asked = || {
        let asked = bank.requests_since(since);
        asked.iter().filter(|request| request.kind == PathKind::Balances && request.status.is_some()).count()
    };

    // The planned sync begins, and its process falls asleep over the first answer.
    bank.hold(Target::of(PathKind::Transactions, &everyday), Hold::Answer);
    let next_at = linked.account(&everyday).await["next_at"].clone();
    let next_at: Timestamp = serde_json::from_value(next_at).unwrap();
    world.advance(next_at.since(world.clock.now()));
    bank.wait_held(1, PATIENCE).await.unwrap();
    let other = world.another_process(&Role::ALL).await.unwrap();
    until("the work to be shared", async || (world.app.crew.workers() == 2).then_some(())).await;
    bank.book(&everyday, NewEntry::transfer("4.00", "MEANWHILE")).unwrap();
    // Its lease is over, and so, nearly, is the access token: the other process renews it.
    world.advance_among(Duration::from_secs(550)).await.unwrap();
    bank.wait_held(2, PATIENCE).await.unwrap();
    bank.release();
    until("the other one's sync", async || (syncs().await > synced).then_some(())).await;
    until("its end", async || (balances_asked() == 2).then_some(())).await;
    other.stop().await.unwrap();
    linked.assert_like_the_bank(bank, &everyday).await;

    // The one that slept is awake: it goes on with what the other one stored.
    linked.good_sync(&everyday).await;
    assert_eq!(syncs().await, synced + 2, "one by each, and none by the one that was asleep");
    let kinds: Vec<_> = bank.requests_since(since).iter().map(|request| request.kind).collect();
    let (token, rows, balances) = (PathKind::Token, PathKind::Transactions, PathKind::Balances);
    let (asleep, taken_over) = ([token, rows], [token, rows, balances, rows, balances]);
    let awake = [rows, balances];
    assert_eq!(kinds, [&asleep[..], &taken_over, &awake].concat(), "the sleeper asked for nothing more");
}
