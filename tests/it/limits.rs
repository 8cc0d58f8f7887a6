//! Who is asked when there is not enough for all: lanes, caps, what a bank allows, and banks that fail for many.

use crate::linked::{HOUR, Linked, seconds_between, until};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Europe::London;
use host::model::Queues;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tests::PATIENCE;
use tests::bank::{Fault, Hold, LoggedRequest, PathKind};
use tests::http::{Answer, expect};
use tests::world::{DEMO_BANK, World, WorldConfig};

const SECOND: Duration = Duration::from_secs(1);
/// Nothing is planned for a week: what a test counts, nothing else adds to.
const UNPLANNED: &str = "[schedule]\ninterval-minutes = 10080\n";

async fn world(demo_bank: &str) -> World {
    World::start(WorldConfig { demo_bank: demo_bank.into(), ..WorldConfig::default() }).await.unwrap()
}

async fn customers(world: &World, names: &[&str]) -> Vec<Linked> {
    let mut linked = Vec::new();
    for name in names {
        linked.push(Linked::new(world, &world.api, name, 0).await);
    }
    linked
}

fn readings(requests: Vec<LoggedRequest>) -> Vec<LoggedRequest> {
    requests.into_iter().filter(|request| request.kind == PathKind::Transactions).collect()
}

fn next_number(world: &World) -> u64 {
    world.bank.requests().last().map_or(0, |request| request.number + 1)
}

fn is_too_early(answer: &Answer) -> bool {
    answer.status == 429 && answer.text("/code") == "too-early"
}

async fn finished(linked: &Linked, sync: &str) -> Value {
    let path = format!("/v1/syncs/{sync}");
    until("the sync's end", async || {
        let shown = linked.api.get(&path).await.unwrap();
        (shown.text("/status") == "finished").then_some(shown.body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_is_served_while_the_schedule_has_all_it_may_have() {
    // Of four permits the schedule has one of its own and may have the one that nobody keeps.
    let world = world("concurrency = 4\n").await;
    let linked = customers(&world, &["Ada", "Ben", "Cid", "Dot", "Eve"]).await;
    world.advance_at_rest(SECOND).await.unwrap();
    world.bank.hold(PathKind::Transactions, Hold::Request);
    world.advance(HOUR);
    world.bank.wait_held(2, PATIENCE).await.unwrap();
    tokio::time::sleep(2 * SECOND).await; // longer than the service takes to look again
    assert_eq!(world.bank.held(), 2, "the others wait, though all are due");

    let mut syncs = Vec::new();
    for one in &linked {
        let asked = one.ask(one.everyday(), 0, &json!({})).await;
        expect(&asked, 202).unwrap();
        syncs.push(asked.text("/id").to_owned());
    }
    world.bank.wait_held(3, PATIENCE).await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(world.bank.held(), 3, "one permit is kept for customers who come in");
    // And so one who comes in now is not kept waiting either.
    let customer =
        world.bank.create_customer(&tests::bank::NewCustomer::with_two_accounts("Fay", 0)).unwrap();
    let consent = world.bank.grant(&customer.id, Some(HOUR * 24)).unwrap();
    let request = tests::story::connection_request(&consent);
    expect(&world.api.post("/v1/connections", &request).await.unwrap(), 201).unwrap();
    world.bank.wait_held(4, PATIENCE).await.unwrap();
    world.bank.release();
    for (one, sync) in linked.iter().zip(&syncs) {
        assert_eq!(finished(one, sync).await["code"], "SYNC_SUCCESSFUL");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_business_that_asks_for_many_waits_while_anothers_request_gets_through() {
    let setup = WorldConfig {
        demo_bank: UNPLANNED.into(),
        adjust: Some(|config| config.sync_on_demand_per_business = 2),
        ..WorldConfig::default()
    };
    let world = World::start(setup).await.unwrap();
    let ours = customers(&world, &["Ada", "Ben", "Cid", "Dot"]).await;
    let other = world.another_business().unwrap();
    let theirs = Linked::new(&world, &other, "Eve", 0).await;
    world.advance_at_rest(SECOND).await.unwrap();
    world.bank.hold(PathKind::Transactions, Hold::Request);
    let mut syncs = Vec::new();
    for one in &ours {
        let asked = one.ask(one.everyday(), 0, &json!({})).await;
        syncs.push((one, asked.text("/id").to_owned()));
    }
    world.bank.wait_held(2, PATIENCE).await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(world.bank.held(), 2, "two of them at a time");
    let asked = theirs.ask(theirs.everyday(), 0, &json!({})).await;
    world.bank.wait_held(3, PATIENCE).await.unwrap();
    syncs.push((&theirs, asked.text("/id").to_owned()));
    world.bank.release();
    for (one, sync) in syncs {
        assert_eq!(finished(one, &sync).await["code"], "SYNC_SUCCESSFUL");
    }
}

/// Both customers in turn, until the bank is left alone; how many syncs failed.
async fn fail_until_left_alone(linked: &[Linked]) -> (usize, Answer) {
    for failed in 0..40 {
        let one = &linked[failed % linked.len()];
        let answer = one.ask(one.everyday(), 30, &json!({})).await;
        if is_too_early(&answer) {
            return (failed, answer);
        }
        assert_eq!(answer.text("/reason"), "bank-unavailable", "{}", answer.body);
    }
    panic!("the bank is asked for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_fails_for_many_is_left_alone_and_then_asked_carefully() {
    let mut world = world(UNPLANNED).await;
    let mut linked = customers(&world, &["Ada", "Ben"]).await;
    world.advance_at_rest(SECOND).await.unwrap();
    let down = || Fault::Status { status: 503, retry_after: None };
    world.bank.fault(PathKind::Transactions, down(), 1_000);
    let (failed, early) = fail_until_left_alone(&linked).await;
    assert!((5..=11).contains(&failed), "after {failed} failures");
    let wait = |answer: &Answer| seconds_between(&json!(world.clock.now()), &answer.body["next_allowed_at"]);
    let pause = wait(&early);
    assert!((25.0..=30.0).contains(&pause), "{pause}");
    let asked = world.bank.requests().len();
    for one in &linked {
        assert!(is_too_early(&one.ask(one.savings(), 30, &json!({})).await), "all of its accounts wait");
        let shown = one.account(one.savings()).await;
        assert_eq!(shown["next_allowed_at"], early.body["next_allowed_at"], "{shown}");
    }
    let held = world.app.store.held_institutions(world.clock.now()).await.unwrap();
    assert_eq!((held.len(), held[0].reason.as_str(), held[0].faults), (1, "failing", 10), "{held:?}");
    let health = world.api.get(&format!("/v1/institutions/{DEMO_BANK}/health")).await.unwrap().body;
    assert_eq!(
        (&health["status"], &health["fault"], &health["reason"]),
        (&json!("down"), &json!("bank"), &json!("bank-unavailable"))
    );
    assert_eq!((&health["since"], &health["held_until"]), (&json!(held[0].since), &json!(held[0].until)));
    let metrics = world.app.metrics.text(&[], &Queues::default(), &held).unwrap();
    let series = format!("tidegate_institutions_held{{institution=\"{DEMO_BANK}\",reason=\"failing\"}} 1");
    assert!(metrics.contains(&series), "{metrics}");

    // It is in the row: a restart changes nothing.
    world.restart().await.unwrap();
    linked.iter_mut().for_each(|one| one.api = world.api.clone());
    assert!(is_too_early(&linked[0].ask(linked[0].everyday(), 30, &json!({})).await));
    assert_eq!(world.bank.requests().len(), asked, "the bank is left alone");

    // Still down: one try, and a longer pause.
    world.advance(31 * SECOND);
    let again = until("the next pause", async || {
        let answer = linked[0].ask(linked[0].everyday(), 30, &json!({})).await;
        if !is_too_early(&answer) {
            return None; // the try itself
        }
        let left = seconds_between(&json!(world.clock.now()), &answer.body["next_allowed_at"]);
        // While it is tried, the end of the trial is what is sure.
        (left <= 60.0).then_some(left)
    })
    .await;
    assert!(again > 50.0, "{again}");

    world.bank.clear_faults();
    world.advance(61 * SECOND);
    until("it works again", async || {
        let answer = linked[1].ask(linked[1].everyday(), 30, &json!({})).await;
        (answer.status == 200 && answer.text("/code") == "SYNC_SUCCESSFUL").then_some(())
    })
    .await;
    assert_eq!(world.app.store.held_institutions(world.clock.now()).await.unwrap(), []);
    for one in &linked {
        one.good_sync(one.savings()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_refusals_of_a_bank_never_make_it_one_that_fails() {
    let world = world(UNPLANNED).await;
    let linked = customers(&world, &["Ada", "Ben"]).await;
    let leaving: Vec<String> = (0..12).map(|number| format!("Customer {number}")).collect();
    let leaving = customers(&world, &leaving.iter().map(String::as_str).collect::<Vec<_>>()).await;
    world.advance_at_rest(SECOND).await.unwrap();
    let busy = || Fault::Status { status: 429, retry_after: None };
    world.bank.fault(PathKind::Transactions, busy(), 1_000);
    for place in 0..24 {
        let one = &linked[place % 2];
        assert_eq!(one.sync(one.everyday()).await["reason"], "rate-limited");
    }
    world.bank.clear_faults();
    // More customers take their consent back than failures would be needed.
    for one in &leaving {
        world.bank.revoke_consent(&one.consent.consent_id).unwrap();
        assert_eq!(one.sync(one.everyday()).await["code"], "REAUTHORISATION_REQUIRED");
    }
    assert_eq!(world.app.store.held_institutions(world.clock.now()).await.unwrap(), []);
    for one in &linked {
        one.good_sync(one.everyday()).await;
    }
}

/// The bank's day of a moment.
fn day(at: DateTime<Utc>) -> NaiveDate {
    at.with_timezone(&London).date_naive()
}

/// Until it is this hour at the bank.
fn advance_to_hour(world: &World, hour: u32) {
    let now = world.clock.now().utc().with_timezone(&London);
    let at = |day: NaiveDate| day.and_hms_opt(hour, 0, 0).unwrap().and_local_timezone(London).unwrap();
    let next =
        if at(now.date_naive()) > now { now.date_naive() } else { now.date_naive() + chrono::Days::new(1) };
    world.advance((at(next) - now).to_std().unwrap());
}

const FOUR_A_DAY: &str = "unattended-reads-per-day = 4\nhistory-days = 31\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_allows_four_readings_a_day_is_never_asked_for_a_fifth() {
    let mut world = world(FOUR_A_DAY).await;
    let mut linked = customers(&world, &["Ada"]).await.remove(0);
    world.advance_at_rest(SECOND).await.unwrap();
    advance_to_hour(&world, 0);
    let (since, first) = (next_number(&world), day(world.clock.now().utc()));
    // Until the second day is over: its last slot may be a moment before midnight.
    for half_hour in 0..97 {
        world.advance_at_rest(HOUR / 2).await.unwrap();
        if half_hour == 30 {
            world.restart().await.unwrap();
            linked.api = world.api.clone();
        }
        // On the second day one reading fails: the one in reserve makes it good.
        if half_hour == 60 {
            world.bank.fault(PathKind::Transactions, Fault::TruncatedJson, 1);
        }
    }
    let mut of_days = BTreeMap::<(String, NaiveDate), Vec<DateTime<Utc>>>::new();
    for request in readings(world.bank.requests_since(since)) {
        of_days
            .entry((request.account.unwrap(), day(request.bank_time)))
            .or_default()
            .push(request.bank_time);
    }
    assert!(of_days.values().all(|reads| reads.len() <= 4), "{of_days:?}");
    // What was overdue when the first day began was read then; the second one is as it should be.
    let second = first + chrono::Days::new(1);
    let of_second: Vec<_> =
        of_days.iter().filter(|((_, day), _)| *day == second).map(|(_, reads)| reads).collect();
    let mut counts: Vec<_> = of_second.iter().map(|reads| reads.len()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [3, 4], "one is left, and made good what failed: {of_days:?}");
    for reads in of_second.iter().filter(|reads| reads.len() == 3) {
        for (one, next) in reads.iter().zip(reads.iter().skip(1)) {
            let gap = *next - *one;
            assert!((TimeDelta::hours(7)..=TimeDelta::hours(9)).contains(&gap), "evenly: {reads:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_whose_answer_is_lost_is_not_sent_again_uncounted() {
    let world = world(FOUR_A_DAY).await;
    let linked = customers(&world, &["Ada"]).await.remove(0);
    world.advance_at_rest(SECOND).await.unwrap();
    advance_to_hour(&world, 12);
    world.advance_at_rest(SECOND).await.unwrap();
    let everyday = linked.everyday();
    world.bank.fault(PathKind::Transactions, Fault::LostAnswer, 100);
    for _ in 0..6 {
        let answer = linked.ask(everyday, 30, &json!({})).await;
        if is_too_early(&answer) {
            break;
        }
        assert_eq!(answer.text("/reason"), "unreachable", "{}", answer.body);
    }
    assert!(world.bank.faults_left() < 100);
    let mut of_days = BTreeMap::<NaiveDate, usize>::new();
    for request in readings(world.bank.requests()) {
        if request.account.as_deref() == Some(everyday) {
            *of_days.entry(day(request.bank_time)).or_default() += 1;
        }
    }
    assert!(of_days.values().all(|reads| *reads <= 4), "{of_days:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_customer_a_call_over_the_budget_is_told_when_and_with_the_customer_it_is_not_counted() {
    let world = world(FOUR_A_DAY).await;
    let linked = customers(&world, &["Ada"]).await.remove(0);
    world.advance_at_rest(SECOND).await.unwrap();
    advance_to_hour(&world, 12);
    world.advance_at_rest(SECOND).await.unwrap();
    let everyday = linked.everyday();
    let mut early = None;
    for _ in 0..6 {
        let answer = linked.ask(everyday, 30, &json!({})).await;
        if is_too_early(&answer) {
            early = Some(answer);
            break;
        }
        expect(&answer, 200).unwrap();
    }
    let early = early.expect("more than four readings");
    let at: DateTime<Utc> = serde_json::from_value(early.body["next_allowed_at"].clone()).unwrap();
    assert_eq!(day(at), day(world.clock.now().utc()) + chrono::Days::new(1));
    assert_eq!(
        day(at - TimeDelta::microseconds(1)),
        day(world.clock.now().utc()),
        "with the bank's next day"
    );
    let shown = linked.account(everyday).await;
    assert_eq!(shown["next_allowed_at"], early.body["next_allowed_at"]);
    let next_at: DateTime<Utc> = serde_json::from_value(shown["next_at"].clone()).unwrap();
    assert!(next_at >= at, "{shown}");

    let present = json!({ "customer_present": { "ip": "203.0.113.7" } });
    let since = next_number(&world);
    for _ in 0..3 {
        let answer = linked.ask(everyday, 30, &present).await;
        expect(&answer, 200).unwrap();
        assert_eq!(answer.text("/code"), "SYNC_SUCCESSFUL");
    }
    let asked = readings(world.bank.requests_since(since));
    assert_eq!(asked.len(), 3, "{asked:?}");
    for request in &asked {
        assert_eq!(request.fapi["x-fapi-customer-ip-address"], "203.0.113.7");
    }
    let still = linked.ask(everyday, 30, &json!({})).await;
    assert!(is_too_early(&still), "the customer has gone again: {}", still.body);

    world.advance((at - world.clock.now().utc()).to_std().unwrap() + SECOND);
    linked.good_sync(everyday).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_of_ours_each_connection_is_read_once_and_keeps_its_slot() {
    // Twenty a second at most.
    let mut world = world("concurrency = 4\nrequests-per-minute = 1200\nhistory-days = 31\n").await;
    let mut linked = customers(&world, &["Ada", "Ben", "Cid", "Dot", "Eve", "Fay"]).await;
    world.advance_at_rest(HOUR).await.unwrap();
    world.advance_at_rest(SECOND).await.unwrap();
    let slot = |shown: &Value| -> i64 {
        let at: DateTime<Utc> = serde_json::from_value(shown["next_at"].clone()).unwrap();
        at.timestamp_micros().rem_euclid(3_600_000_000)
    };
    let mut slots = Vec::new();
    for one in &linked {
        slots.push(slot(&one.account(one.everyday()).await));
    }
    world.stop().await.unwrap();
    let since = next_number(&world);
    world.advance(6 * HOUR);
    world.restart().await.unwrap();
    world.advance_at_rest(Duration::ZERO).await.unwrap();
    let asked = world.bank.requests_since(since);
    let read = readings(asked.clone());
    for (one, slot_before) in linked.iter_mut().zip(slots) {
        one.api = world.api.clone();
        for account in &one.customer.accounts {
            let times = read.iter().filter(|request| request.account.as_ref() == Some(account)).count();
            assert_eq!(times, 1, "no catching up");
        }
        assert_eq!(
            slot(&one.account(one.everyday()).await),
            slot_before,
            "the next one is where it always is"
        );
    }
    // In no second more than the pace, but for what a busy machine delays.
    for first in &asked {
        let second = |at: i64| (first.received_at_us..first.received_at_us + 1_000_000).contains(&at);
        let count = asked.iter().filter(|request| second(request.received_at_us)).count();
        assert!(count <= 25, "{count} in a second");
    }
}
