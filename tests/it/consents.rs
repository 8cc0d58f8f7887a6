//! What a customer agreed to, and what a business does with a connection: the end of a consent is told
//! ahead and stops polling at once; a connection is paused, resumed and set.

use crate::linked::{HOUR, Linked, Scene, TOKEN_LIFE, event, seconds_between, told, until};
use host::model::{ConnectionId, ConnectionState, SyncCode, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;
use tests::PATIENCE;
use tests::bank::{BankConfig, Granted, Hold, LoggedRequest, NewAccount, NewEntry, PathKind, Target};
use tests::http::{expect, items, text};
use tests::postgres::Postgres;
use tests::sink::Received;
use tests::story::{connection_request, events};
use tests::world::{World, WorldConfig};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const EXPIRING: &str = "consent.expiring";
const ASK: &str = "connection.reauthorisation_required";
const PAUSED: &str = "connection.paused";
const RESUMED: &str = "connection.resumed";

impl Linked {
    fn path(&self) -> String {
        format!("/v1/connections/{}", self.connection)
    }

    async fn shown(&self) -> Value {
        let shown = self.api.get(&self.path()).await.unwrap();
        expect(&shown, 200).unwrap();
        shown.body
    }

    async fn state(&self, state: &str) {
        until(state, async || (self.shown().await["state"] == state).then_some(())).await;
    }

    async fn act(&self, what: &str) -> Value {
        let done = self.api.post(&format!("{}/{what}", self.path()), &json!({})).await.unwrap();
        expect(&done, 200).unwrap();
        done.body
    }

    async fn set(&self, change: &Value) -> tests::http::Answer {
        self.api.send(reqwest::Method::PATCH, &self.path(), &[], Some(change)).await.unwrap()
    }

    /// Fresh credentials under a consent that lasts so long; waits until the accounts were read with them.
    async fn consents_anew(&mut self, world: &World, lasts: Duration) {
        self.consent = world.bank.grant(&self.customer.id, Some(lasts)).unwrap();
        let mut request = connection_request(&self.consent);
        request.as_object_mut().unwrap().retain(|key, _| key == "credentials" || key == "consent");
        let path = format!("{}/reauthorise", self.path());
        expect(&self.api.post(&path, &request).await.unwrap(), 200).unwrap();
        let granted = Timestamp::from(self.consent.granted_at);
        for bank_id in &self.customer.accounts {
            until("a reading under the new consent", async || {
                let fresh: Option<Timestamp> =
                    serde_json::from_value(self.account(bank_id).await["fresh_at"].clone()).unwrap();
                fresh.is_some_and(|fresh| fresh > granted).then_some(())
            })
            .await;
        }
    }

    /// What was asked about this customer's accounts, from this request on.
    fn asked(&self, world: &World, since: u64) -> Vec<LoggedRequest> {
        let mut requests = world.bank.requests_since(since);
        let theirs = |account: &String| self.customer.accounts.contains(account);
        requests.retain(|request| request.account.as_ref().is_some_and(theirs));
        requests
    }

    async fn finished(&self, sync: &str) -> Value {
        until("the sync's end", async || {
            let shown = self.api.get(&format!("/v1/syncs/{sync}")).await.unwrap();
            expect(&shown, 200).unwrap();
            (shown.text("/status") == "finished").then_some(shown.body)
        })
        .await
    }
}

fn requests_so_far(world: &World) -> u64 {
    world.bank.requests().last().map_or(0, |request| request.number + 1)
}

fn end(consent: &Granted) -> Timestamp {
    Timestamp::from(consent.expires_at.unwrap())
}

/// Time passes until so long before this moment.
fn advance_to(world: &World, before: Duration, moment: Timestamp) {
    world.advance(moment.minus(before).since(world.clock.now()));
}

/// The one accepted event of this kind about the connection that comes as number `place`, counted from 0.
async fn nth(world: &World, kind: &str, connection: &str, place: usize) -> Value {
    let found = |received: &[Received]| {
        events(received, kind, connection).get(place).map(|event| event.payload["data"].clone())
    };
    world.sink.wait_for(&format!("{kind} number {place}"), PATIENCE, found).await.unwrap()
}

/// Another customer is linked and synced: whatever was due before had its turn.
async fn somebody_else_is_synced(world: &World) {
    let other = Linked::new(world, &world.api, "Ben Example", 0).await;
    other.good_sync(other.everyday()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_consent_is_told_fourteen_seven_and_one_day_ahead_once_each() {
    let mut scene = Scene::new(WorldConfig::default(), 0).await;
    let (connection, ends) = (scene.linked.connection.clone(), end(&scene.linked.consent));
    let consent = scene.linked.shown().await["consent"]["id"].clone();
    advance_to(&scene.world, DAY * 14 + Duration::from_secs(60), ends);
    somebody_else_is_synced(&scene.world).await;
    assert_eq!(told(&scene.world.api, &scene.endpoint, EXPIRING).await, 0, "not a minute too early");
    for (place, days) in [14, 7, 1].into_iter().enumerate() {
        advance_to(&scene.world, DAY * days, ends);
        let said = nth(&scene.world, EXPIRING, &connection, place).await;
        let expected = json!({
            "connection_id": connection, "consent_id": consent, "institution_id": "demo-bank",
            "expires_at": ends, "days_left": days,
        });
        assert_eq!(said, expected);
        // A new process has nothing to tell again.
        scene.world.restart().await.unwrap();
        scene.linked.api = scene.world.api.clone();
        scene.world.advance(HOUR);
        scene.linked.good_sync(scene.linked.everyday()).await;
    }
    advance_to(&scene.world, Duration::ZERO, ends);
    nth(&scene.world, ASK, &connection, 0).await;
    // The other customer's, granted later, is still to come.
    let all = scene.world.sink.received();
    assert_eq!(events(&all, EXPIRING, &connection).len(), 3);
    assert_eq!(events(&all, ASK, &connection).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_downtime_only_the_nearest_notice_is_told_and_none_of_a_consent_that_was_replaced() {
    let mut scene = Scene::new(WorldConfig::default(), 0).await;
    let (connection, ends) = (scene.linked.connection.clone(), end(&scene.linked.consent));
    scene.world.stop().await.unwrap();
    advance_to(&scene.world, DAY * 3, ends);
    scene.world.restart().await.unwrap();
    scene.linked.api = scene.world.api.clone();
    assert_eq!(nth(&scene.world, EXPIRING, &connection, 0).await["days_left"], 7);
    scene.linked.good_sync(scene.linked.everyday()).await;

    // A new consent: the old one tells nothing more, neither its last day nor its end.
    scene.linked.consents_anew(&scene.world, DAY * 90).await;
    advance_to(&scene.world, Duration::ZERO, ends.plus(HOUR));
    scene.linked.good_sync(scene.linked.everyday()).await;
    assert_eq!(told(&scene.world.api, &scene.endpoint, EXPIRING).await, 1);
    assert_eq!(told(&scene.world.api, &scene.endpoint, ASK).await, 0);
    let trail = scene.world.api.get(&format!("/v1/consents?connection_id={connection}")).await.unwrap();
    let ended: Vec<_> = items(&trail).iter().map(|consent| consent["end_reason"].clone()).collect();
    assert_eq!(ended, [json!("replaced"), Value::Null], "{}", trail.body);
    // And the new one tells in its turn.
    advance_to(&scene.world, DAY * 14, end(&scene.linked.consent));
    let said = nth(&scene.world, EXPIRING, &connection, 1).await;
    assert_eq!((&said["days_left"], &said["consent_id"]), (&json!(14), &items(&trail)[1]["id"]));
}

async fn polling_stops_at_the_end(setup: WorldConfig) {
    let Scene { world, mut linked, endpoint } = Scene::new(setup, 0).await;
    linked.consents_anew(&world, HOUR / 2).await;
    let ends = end(&linked.consent);
    linked.good_sync(linked.savings()).await;
    let since = requests_so_far(&world);
    advance_to(&world, Duration::ZERO, ends);
    linked.state("reauthorisation_required").await;
    let said = nth(&world, ASK, &linked.connection, 0).await;
    assert_eq!((text(&said, "/reason"), text(&said, "/institution_id")), ("consent-expired", "demo-bank"));
    let shown = linked.shown().await;
    assert_eq!(shown["reason"], "consent-expired");
    assert_eq!(
        (&shown["consent"]["end_reason"], &shown["consent"]["ended_at"]),
        (&json!("expired"), &json!(ends))
    );

    // Each account's last sync says so, and so does every call.
    for bank_id in &linked.customer.accounts {
        let asked = linked.ask(bank_id, 0, &json!({})).await;
        expect(&asked, 200).unwrap();
        let (code, reason) = (asked.text("/code"), asked.text("/reason"));
        assert_eq!((code, reason), ("REAUTHORISATION_REQUIRED", "consent-expired"), "{}", asked.body);
        assert!(asked.body["bank_asked_at"].is_null() && asked.body["next_at"].is_null(), "{}", asked.body);
    }
    world.advance(HOUR * 3);
    somebody_else_is_synced(&world).await;
    assert_eq!(linked.asked(&world, since), [], "nothing is asked from that moment on");
    assert_eq!(told(&world.api, &endpoint, ASK).await, 1);
    assert_eq!(told(&world.api, &endpoint, "sync.failed").await, 0);

    // It comes back as ever.
    linked.consents_anew(&world, DAY * 90).await;
    linked.good_sync(linked.everyday()).await;
    assert_eq!(linked.shown().await["state"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_of_a_consent_polling_stops_at_once_on_sqlite() {
    polling_stops_at_the_end(WorldConfig::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_of_a_consent_polling_stops_at_once_on_postgresql() {
    let Some(postgres) = Postgres::shared().unwrap() else { return };
    let database = Some(postgres.database().await.unwrap());
    polling_stops_at_the_end(WorldConfig { database, ..WorldConfig::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_began_a_moment_before_the_end_asks_nothing_after_it() {
    let bank = BankConfig { page_rows: 2, ..BankConfig::default() };
    let Scene { world, mut linked, endpoint } =
        Scene::new(WorldConfig { bank, ..WorldConfig::default() }, 0).await;
    linked.consents_anew(&world, HOUR / 2).await;
    for row in 0..5 {
        world.bank.book(linked.everyday(), NewEntry::transfer("1.00", &format!("ROW {row}"))).unwrap();
    }
    advance_to(&world, Duration::from_secs(30), end(&linked.consent));
    let since = requests_so_far(&world);
    // Held at the first of three pages; the other account waits for the run after this one.
    world.bank.hold(Target::of(PathKind::Transactions, linked.everyday()), Hold::Answer);
    let reading = linked.ask(linked.everyday(), 0, &json!({})).await;
    world.bank.wait_held(1, PATIENCE).await.unwrap();
    let waiting = linked.ask(linked.savings(), 0, &json!({})).await;
    let before = linked.asked(&world, since);
    world.advance(Duration::from_secs(30));
    world.bank.release();
    for answer in [reading, waiting] {
        expect(&answer, 202).unwrap();
        assert_eq!(linked.finished(answer.text("/id")).await["code"], "REAUTHORISATION_REQUIRED");
    }
    somebody_else_is_synced(&world).await;
    let asked = linked.asked(&world, since);
    assert_eq!(asked.len(), before.len(), "{asked:?}");
    assert_eq!(told(&world.api, &endpoint, ASK).await, 1);
    assert_eq!(told(&world.api, &endpoint, "sync.failed").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_claimed_after_the_end_asks_nothing_and_stops_polling_itself() {
    let Scene { mut world, mut linked, endpoint } = Scene::new(WorldConfig::default(), 0).await;
    linked.consents_anew(&world, HOUR / 2).await;
    let since = requests_so_far(&world);
    world.stop().await.unwrap();
    // Only the worker goes on, so that nobody is quicker than the run: it is due, and the consent is over.
    world.advance(HOUR * 2);
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let worker = tokio::spawn(host::sync::work(world.app.clone(), stopping));
    let (store, business) = (&world.app.store, world.business.parse().unwrap());
    let connection = linked.connection.parse::<ConnectionId>().unwrap();
    until("the stop", async || {
        let state = store.connection(business, connection).await.unwrap().unwrap().state;
        (state == ConnectionState::ReauthorisationRequired).then_some(())
    })
    .await;
    stop.send_replace(true);
    worker.await.unwrap();
    assert_eq!(world.bank.requests_since(since), []);
    let consent = store.consent(connection).await.unwrap().unwrap();
    assert_eq!((consent.end_reason.as_deref(), consent.ended_at), (Some("expired"), consent.expires_at));
    for account in linked.accounts.values() {
        let last = store.syncs(account.parse().unwrap(), None, 1).await.unwrap().items.remove(0);
        assert_eq!((last.code, last.bank_asked_at), (SyncCode::ReauthorisationRequired, None));
    }
    // What the run did, housekeeping does not do again.
    world.restart().await.unwrap();
    nth(&world, ASK, &linked.connection, 0).await;
    linked.api = world.api.clone();
    somebody_else_is_synced(&world).await;
    assert_eq!(told(&world.api, &endpoint, ASK).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_connection_rests_until_it_is_resumed_and_both_are_told_once() {
    let Scene { mut world, mut linked, endpoint } = Scene::new(WorldConfig::default(), 0).await;
    let since = requests_so_far(&world);
    for _ in 0..2 {
        assert_eq!(linked.act("pause").await["state"], "paused");
    }
    assert_eq!(nth(&world, PAUSED, &linked.connection, 0).await["institution_id"], "demo-bank");
    let refused = linked.ask(linked.everyday(), 30, &json!({})).await;
    assert_eq!((refused.status, refused.text("/code")), (409, "connection-paused"), "{}", refused.body);
    assert!(refused.text("/detail").contains(&format!("{}/resume", linked.path())), "{}", refused.body);
    world.advance(HOUR * 3);
    world.restart().await.unwrap();
    linked.api = world.api.clone();
    world.advance(HOUR * 3);
    somebody_else_is_synced(&world).await;
    assert_eq!(linked.asked(&world, since), []);
    linked.rows(linked.everyday()).await; // history stays readable
    let shown = linked.shown().await;
    assert!(text(&shown, "/next_step").contains("/resume"), "{shown}");

    world.bank.book(linked.everyday(), NewEntry::transfer("5.00", "MEANWHILE")).unwrap();
    let skip = world.sink.received().len();
    for _ in 0..2 {
        assert_eq!(linked.act("resume").await["state"], "active");
    }
    event(&world, "account.updated", linked.ours(linked.everyday()), skip).await;
    until("both accounts", async || {
        let asked = linked.asked(&world, since);
        let read = |account: &str| asked.iter().any(|request| request.account.as_deref() == Some(account));
        (read(linked.everyday()) && read(linked.savings())).then_some(())
    })
    .await;
    nth(&world, RESUMED, &linked.connection, 0).await;
    linked.assert_like_the_bank(&world.bank, linked.everyday()).await;
    assert_eq!(told(&world.api, &endpoint, PAUSED).await, 1);
    assert_eq!(told(&world.api, &endpoint, RESUMED).await, 1);
    assert_eq!(told(&world.api, &endpoint, ASK).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pausing_answers_those_who_wait_and_lets_the_account_that_is_being_read_end() {
    let Scene { world, linked, .. } = Scene::new(WorldConfig::default(), 0).await;
    let (everyday, savings) = (linked.everyday(), linked.savings());
    world.bank.book(everyday, NewEntry::transfer("5.00", "BEING READ")).unwrap();
    let since = requests_so_far(&world);
    world.bank.hold(Target::of(PathKind::Transactions, everyday), Hold::Answer);
    let reading = linked.ask(everyday, 0, &json!({})).await;
    world.bank.wait_held(1, PATIENCE).await.unwrap();
    let waiting = linked.ask(savings, 0, &json!({})).await;
    linked.act("pause").await;
    let answer = linked.finished(waiting.text("/id")).await;
    assert_eq!((text(&answer, "/code"), text(&answer, "/reason")), ("SYNC_ERROR", "connection-paused"));
    assert!(text(&answer, "/message").contains("resume"), "{answer}");
    world.bank.release();
    assert_eq!(linked.finished(reading.text("/id")).await["added"], 1);
    world.advance(HOUR * 2);
    somebody_else_is_synced(&world).await;
    let mut asked = linked.asked(&world, since);
    asked.retain(|request| request.account.as_deref() == Some(savings));
    assert_eq!(asked, [], "the next account is not begun");

    // What was wanted is forgotten: it is asked for anew.
    linked.act("resume").await;
    let again = linked.good_sync(savings).await;
    assert_ne!(again["id"], answer["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pausing_and_resuming_in_the_middle_of_a_renewal_loses_no_token() {
    let Scene { world, linked, .. } = Scene::new(WorldConfig::default(), 0).await;
    world.advance(TOKEN_LIFE);
    world.bank.hold(PathKind::Token, Hold::Answer);
    let reading = linked.ask(linked.everyday(), 0, &json!({})).await;
    world.bank.wait_held(1, PATIENCE).await.unwrap();
    linked.act("pause").await;
    linked.act("resume").await;
    linked.act("pause").await;
    // The bank has taken the refresh token, and the answer with the new one is still to come.
    world.bank.release();
    let id = text(&reading.body, "/id");
    linked.finished(id).await;
    world.advance(TOKEN_LIFE);
    linked.act("resume").await;
    linked.good_sync(linked.everyday()).await;
    assert_eq!(linked.shown().await["state"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_connection_still_ends_with_its_consent_and_reauthorising_and_leaving_work() {
    let Scene { world, mut linked, endpoint } = Scene::new(WorldConfig::default(), 0).await;
    linked.consents_anew(&world, HOUR / 2).await;
    linked.act("pause").await;
    let since = requests_so_far(&world);
    advance_to(&world, Duration::ZERO, end(&linked.consent));
    linked.state("reauthorisation_required").await;
    for what in ["pause", "resume"] {
        let refused = linked.api.post(&format!("{}/{what}", linked.path()), &json!({})).await.unwrap();
        assert_eq!((refused.status, refused.text("/code")), (409, "reauthorisation-required"), "{what}");
    }
    assert_eq!(linked.asked(&world, since), []);
    assert_eq!(told(&world.api, &endpoint, ASK).await, 1);
    assert_eq!(told(&world.api, &endpoint, RESUMED).await, 0);
    linked.consents_anew(&world, DAY * 90).await;

    // Fresh credentials resume, and that is told.
    linked.act("pause").await;
    linked.consents_anew(&world, DAY * 90).await;
    assert_eq!(linked.shown().await["state"], "active");
    nth(&world, RESUMED, &linked.connection, 0).await;
    assert_eq!(told(&world.api, &endpoint, PAUSED).await, 2);

    // Paused or not, the bank is told that the customer leaves.
    linked.act("pause").await;
    expect(&world.api.delete(&linked.path()).await.unwrap(), 204).unwrap();
    assert_eq!(nth(&world, "connection.deleted", &linked.connection, 0).await["consent_ended_at_bank"], true);
    let trail = world.api.get("/v1/consents").await.unwrap();
    expect(&trail, 200).unwrap();
    let shown: Vec<_> = items(&trail).iter().map(|consent| text(consent, "/end_reason")).collect();
    assert_eq!(shown, ["replaced", "expired", "replaced", "deleted"], "{}", trail.body);
    for consent in items(&trail) {
        assert_eq!(text(consent, "/connection_id"), linked.connection);
        assert!(consent["customer_ref"].is_null() && consent["reference"].is_null(), "{consent}");
        assert!(
            !consent["scopes"].as_array().unwrap().is_empty() && consent["how"] == "redirect",
            "{consent}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connections_own_interval_keeps_its_phase_and_counts_from_now_on() {
    let Scene { world, linked, .. } = Scene::new(WorldConfig::default(), 0).await;
    let everyday = linked.everyday();
    let phase = linked.connection.parse::<ConnectionId>().unwrap().phase();
    // Where the slots of an interval lie, in microseconds since 1970.
    let offset = |hours: i64| {
        let interval = i128::from(hours * 3_600_000_000);
        i64::try_from((interval * i128::from(phase)) >> 32).unwrap()
    };
    let next = async || -> Timestamp {
        serde_json::from_value(linked.account(everyday).await["next_at"].clone()).unwrap()
    };
    assert_eq!(linked.shown().await["interval_minutes"], Value::Null);
    for wrong in [59, 10_081] {
        let refused = linked.set(&json!({ "interval_minutes": wrong })).await;
        assert_eq!((refused.status, refused.text("/code")), (422, "invalid-value"), "{}", refused.body);
        assert!(refused.text("/detail").starts_with("interval_minutes: at "), "{}", refused.body);
    }
    let set = linked.set(&json!({ "interval_minutes": 360 })).await;
    expect(&set, 200).unwrap();
    assert_eq!(set.body["interval_minutes"], 360);
    assert_eq!(linked.shown().await["interval_minutes"], 360);

    let slot = next().await;
    assert_eq!(slot.0.rem_euclid(6 * 3_600_000_000), offset(6));
    assert!(slot > world.clock.now() && slot <= world.clock.now().plus(HOUR * 6));
    let since = requests_so_far(&world);
    advance_to(&world, Duration::from_secs(60), slot);
    somebody_else_is_synced(&world).await;
    assert_eq!(linked.asked(&world, since), [], "not before its slot");
    advance_to(&world, Duration::ZERO, slot);
    until("the planned sync", async || (next().await > slot).then_some(())).await;
    assert_eq!(next().await, slot.plus(HOUR * 6));
    assert!(!linked.asked(&world, since).is_empty());

    // A request does not move the plan; null gives the bank's own interval back.
    world.advance(HOUR / 2);
    let asked = linked.good_sync(everyday).await;
    assert_eq!(asked["next_at"], json!(slot.plus(HOUR * 6)));
    expect(&linked.set(&json!({ "interval_minutes": null })).await, 200).unwrap();
    let hourly = next().await;
    assert_eq!(hourly.0.rem_euclid(3_600_000_000), offset(1));
    assert!(hourly > world.clock.now() && hourly <= world.clock.now().plus(HOUR));
    advance_to(&world, Duration::ZERO, hourly);
    until("the planned sync", async || (next().await > hourly).then_some(())).await;
    assert_eq!(next().await, hourly.plus(HOUR));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_that_changes_while_a_run_reads_is_not_forgotten() {
    let Scene { world, linked, .. } = Scene::new(WorldConfig::default(), 0).await;
    let everyday = linked.everyday();
    expect(&linked.set(&json!({ "interval_minutes": 10_080 })).await, 200).unwrap();
    world.bank.hold(Target::of(PathKind::Transactions, everyday), Hold::Answer);
    let reading = linked.ask(everyday, 0, &json!({})).await;
    world.bank.wait_held(1, PATIENCE).await.unwrap();
    expect(&linked.set(&json!({ "interval_minutes": null })).await, 200).unwrap();
    world.bank.release();
    linked.finished(reading.text("/id")).await;
    until("a plan by the hour", async || {
        let next = linked.account(everyday).await["next_at"].clone();
        let hours = seconds_between(&json!(world.clock.now()), &next) / 3_600.0;
        (0.0 < hours && hours <= 1.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_accounts_that_are_kept_are_read_and_new_ones_wait_to_be_switched_on() {
    let Scene { world, mut linked, endpoint: hook } = Scene::new(WorldConfig::default(), 3).await;
    let (everyday, savings) = (linked.everyday().to_owned(), linked.savings().to_owned());
    let ours = linked.ours(&everyday).to_owned();
    let before = linked.rows(&savings).await;
    let other = Linked::new(&world, &world.api, "Ben Example", 0).await;
    for wrong in [json!([]), json!([other.ours(other.everyday())]), json!(["nonsense"])] {
        let refused = linked.set(&json!({ "accounts": wrong })).await;
        assert_eq!((refused.status, refused.text("/code")), (422, "invalid-value"), "{}", refused.body);
        assert!(refused.text("/detail").starts_with("accounts: "), "{}", refused.body);
    }
    assert_eq!(linked.shown().await["accounts"], "all");

    // Whoever waits for the account that is switched off is answered.
    world.bank.hold(Target::of(PathKind::Transactions, &everyday), Hold::Answer);
    let reading = linked.ask(&everyday, 0, &json!({})).await;
    world.bank.wait_held(1, PATIENCE).await.unwrap();
    let waiting = linked.ask(&savings, 0, &json!({})).await;
    let set = linked.set(&json!({ "accounts": [ours] })).await;
    expect(&set, 200).unwrap();
    assert_eq!(set.body["accounts"], json!([ours]));
    assert_eq!(linked.finished(waiting.text("/id")).await["reason"], "account-excluded");
    world.bank.release();
    assert_eq!(linked.finished(reading.text("/id")).await["code"], "SYNC_SUCCESSFUL");

    let since = requests_so_far(&world);
    let shown = linked.account(&savings).await;
    assert_eq!((text(&shown, "/state"), &shown["next_at"]), ("excluded", &Value::Null), "{shown}");
    assert_eq!(linked.rows(&savings).await, before, "history stays readable");
    let refused = linked.ask(&savings, 0, &json!({})).await;
    assert_eq!((refused.status, refused.text("/code")), (409, "account-excluded"), "{}", refused.body);
    world.advance(HOUR);
    until("the planned sync", async || {
        let asked = linked.asked(&world, since);
        asked.iter().any(|request| request.account.as_deref() == Some(everyday.as_str())).then_some(())
    })
    .await;
    somebody_else_is_synced(&world).await;
    let theirs = |request: &LoggedRequest| request.account.as_deref() == Some(savings.as_str());
    assert!(!linked.asked(&world, since).iter().any(theirs));

    // One that the bank lists later is shown, and not read.
    let new =
        NewAccount { nickname: "Holidays".into(), currency: "GBP".into(), savings: true, history_days: 2 };
    let new = world.bank.open_account(&linked.customer.id, &new).unwrap();
    linked.consents_anew_without_waiting(&world).await;
    let added = |received: &[Received]| {
        events(received, "account.added", &linked.connection)
            .first()
            .map(|event| event.payload["data"].clone())
    };
    let added = world.sink.wait_for("account.added", PATIENCE, added).await.unwrap();
    assert_eq!(added["state"], "excluded", "{added}");
    let id = text(&added, "/account_id").to_owned();
    linked.customer.accounts.push(new.clone());
    linked.accounts.insert(new.clone(), id.clone());
    linked.good_sync(&everyday).await;
    assert_eq!(linked.account(&new).await["last_sync_id"], Value::Null);

    // Switched on, they are read at once.
    let set = linked.set(&json!({ "accounts": "all" })).await;
    expect(&set, 200).unwrap();
    assert_eq!(set.body["accounts"], "all");
    event(&world, "account.updated", &id, 0).await;
    until("both", async || {
        let asked = linked.asked(&world, since);
        asked.iter().any(theirs).then_some(())
    })
    .await;
    linked.assert_like_the_bank(&world.bank, &new).await;
    assert_eq!(linked.account(&savings).await["state"], "active");
    assert_eq!(told(&world.api, &hook, "sync.failed").await, 0);
}

impl Linked {
    /// Fresh credentials; waits until the accounts were listed with them.
    async fn consents_anew_without_waiting(&mut self, world: &World) {
        self.consent = world.bank.grant(&self.customer.id, Some(DAY * 90)).unwrap();
        let mut request = connection_request(&self.consent);
        request.as_object_mut().unwrap().retain(|key, _| key == "credentials" || key == "consent");
        let path = format!("{}/reauthorise", self.path());
        expect(&self.api.post(&path, &request).await.unwrap(), 200).unwrap();
        until("the list", async || (self.shown().await["accounts_listed"] == true).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_trail_is_exported_line_by_line_and_only_the_businesss_own() {
    let world = World::start(WorldConfig::default()).await.unwrap();
    world.endpoint().await.unwrap();
    let mut linked = Linked::new(&world, &world.api, "Ada Sample", 0).await;
    linked.consents_anew(&world, DAY * 30).await;
    let other = world.another_business().unwrap();
    Linked::new(&world, &other, "Ben Example", 0).await;
    let url = format!("{}/v1/consents/export", world.origin);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(&url).bearer_auth(world.api.key().unwrap()).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let body = answer.text().await.unwrap();
    let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{body}");
    assert_eq!(lines[2], json!({ "kind": "end", "data": { "lines": 2 } }));
    let listed = world.api.get("/v1/consents").await.unwrap();
    for (line, consent) in lines.iter().zip(items(&listed)) {
        assert_eq!(*line, json!({ "kind": "consent", "data": consent }));
        let shown = world.api.get(&format!("/v1/consents/{}", text(consent, "/id"))).await.unwrap();
        assert_eq!(shown.body, *consent);
        assert_eq!(text(consent, "/customer_ref"), "customer-42");
    }
    assert_eq!(text(&lines[1], "/data/reference"), linked.consent.consent_id);
}
