//! Banks that redirect, flood, break off, stall, lie and lose answers: each time a typed failure that
//! says what is next, nothing stored is harmed, the business is told once, and the next sync works.

use crate::linked::{Linked, Scene, TOKEN_LIFE, seconds_between, told, until};
use serde_json::json;
use std::time::Duration;
use tests::bank::{Fault, NewEntry, PathKind, RetryAfter, Target};
use tests::http::text;
use tests::world::{DEMO_BANK, World, WorldConfig};

const MIB: usize = 1024 * 1024;
/// Something to harm.
const HISTORY_DAYS: u32 = 20;
/// More than a GET is tried.
const EVERY_TRY: u32 = 10;
/// How often a GET is tried in all.
const TRIES: usize = 3;

/// What a sync that meets the fault must say.
struct Case {
    name: &'static str,
    fault: Fault,
    reason: &'static str,
    /// Stands in the message.
    says: &'static str,
    /// Requests for transactions that one sync makes.
    requests: usize,
}

fn case(name: &'static str, fault: Fault, reason: &'static str, says: &'static str) -> Case {
    Case { name, fault, reason, says, requests: 1 }
}

fn amount(amount: &str) -> Fault {
    Fault::BadAmount { amount: amount.into() }
}

impl Scene {
    /// Two failing syncs and a good one.
    async fn play(&self, case: &Case) {
        let Self { world, linked, endpoint } = self;
        let (bank, everyday, name) = (&world.bank, linked.everyday(), case.name);
        let before = linked.ledger(everyday).await;
        let failures_told = told(&world.api, endpoint, "sync.failed").await;
        for nth in 1..=2 {
            let asked = bank.request_count(PathKind::Transactions);
            bank.fault(Target::of(PathKind::Transactions, everyday), case.fault.clone(), EVERY_TRY);
            let sync = linked.sync(everyday).await;
            bank.clear_faults();
            assert_eq!(sync["code"], "SYNC_ERROR", "{name}: {sync}");
            assert_eq!(sync["reason"], case.reason, "{name}: {sync}");
            assert!(text(&sync, "/message").contains(case.says), "{name}: {sync}");
            assert_eq!(sync["has_new_data"], false, "{name}");
            // The first failure waits a minute, the second two, less up to a fifth.
            let pause = seconds_between(&sync["finished_at"], &sync["next_at"]);
            let whole = 60.0 * f64::from(nth);
            assert!((whole * 0.79..=whole + 0.1).contains(&pause), "{name}: next after {pause} s, {sync}");
            assert_eq!(bank.request_count(PathKind::Transactions) - asked, case.requests, "{name}");
            assert_eq!(linked.ledger(everyday).await, before, "{name}: nothing stored is harmed");
            assert_eq!(told(&world.api, endpoint, "sync.failed").await, failures_told + 1, "{name}: once");
        }
        self.recover(name).await;
    }

    /// The next entry arrives as ever.
    async fn recover(&self, name: &str) {
        let everyday = self.linked.everyday();
        self.world.bank.book(everyday, NewEntry::transfer("12.00", name)).unwrap();
        let sync = self.linked.good_sync(everyday).await;
        assert_eq!((&sync["added"], &sync["proof"]), (&json!(1), &json!("proved")), "{name}: {sync}");
        self.linked.assert_like_the_bank(&self.world.bank, everyday).await;
        assert_eq!(self.linked.account(everyday).await["failures"], 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_misbehaviour_is_named_told_once_and_harms_nothing() {
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let address = elsewhere.local_addr().unwrap();
    // Allowed, so that nothing but the rule "follow no redirect" keeps us away from it.
    let setup = WorldConfig { allow: vec![address.to_string()], ..WorldConfig::default() };
    let scene = Scene::new(setup, HISTORY_DAYS).await;
    let tried_again = |case: Case| Case { requests: TRIES, ..case };
    for case in [
        case("redirect", Fault::Redirect { to: format!("http://{address}/") }, "unreadable", "status-302"),
        case("flood", Fault::Oversized { bytes: 9 * MIB }, "unreadable", "reply-too-large"),
        case("gzip bomb", Fault::GzipBomb { bytes: 100 * MIB }, "unreadable", "reply-too-large"),
        case("wrong charset", Fault::InvalidUtf8, "unreadable", "row"),
        case("half the JSON", Fault::TruncatedJson, "unreadable", "row"),
        case("exponent", amount("1e3"), "unreadable", "row 0: Amount.Amount"),
        case("mills", amount("12.345"), "unreadable", "row 0: amount"),
        case("secret in a reply", Fault::EchoSecret, "secret-echoed", "secret"),
        tried_again(case("cut short", Fault::CutShort, "unreachable", "could not be reached")),
        tried_again(case("reset", Fault::Reset, "unreachable", "could not be reached")),
    ] {
        scene.play(&case).await;
    }
    assert!(elsewhere.accept().is_err(), "the redirect was followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_reset_is_sent_again_and_a_negative_zero_is_zero() {
    let scene = Scene::new(WorldConfig::default(), HISTORY_DAYS).await;
    let (bank, linked) = (&scene.world.bank, &scene.linked);
    let everyday = linked.everyday();
    let asked = || bank.request_count(Target::of(PathKind::Transactions, everyday));
    let at_first = asked();
    linked.good_sync(everyday).await;
    let pages = asked() - at_first;
    bank.fault(PathKind::Transactions, Fault::Reset, 2);
    linked.good_sync(everyday).await;
    assert_eq!(asked() - at_first, 2 * pages + 2, "both resets were made good");

    bank.book(everyday, NewEntry::transfer("0.00", "NOTHING AT ALL")).unwrap();
    let before = asked();
    linked.good_sync(everyday).await;
    let pages = asked() - before; // one more entry may be one more page
    // The first row of the page is the oldest one that is read. The balance contradicts, so all is read again.
    bank.fault(PathKind::Transactions, amount("-0.00"), 1);
    let sync = linked.good_sync(everyday).await;
    assert_eq!((&sync["modified"], &sync["proof"]), (&json!(0), &json!("proved")), "{sync}");
    bank.fault(PathKind::Transactions, amount("-0.00"), u32::try_from(pages).unwrap() + 1);
    let sync = linked.good_sync(everyday).await;
    assert_eq!(sync["modified"], 1, "{sync}");
    let zero = linked.rows(everyday).await.into_iter().filter(|row| row["amount"] == "0.00").count();
    assert_eq!(zero, 2, "the honest zero and the negative one");
    linked.good_sync(everyday).await;
    linked.assert_like_the_bank(bank, everyday).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_says_when_is_left_alone_until_then() {
    let scene = Scene::new(WorldConfig::default(), HISTORY_DAYS).await;
    let Scene { world, linked, endpoint } = &scene;
    let everyday = linked.everyday();
    for (name, status, retry_after, reason) in [
        ("busy, a date", 429, RetryAfter::DateIn(120), "rate-limited"),
        ("busy, seconds", 429, RetryAfter::Seconds(120), "rate-limited"),
        ("down, a date", 503, RetryAfter::DateIn(120), "bank-unavailable"),
        ("down, seconds", 503, RetryAfter::Seconds(120), "bank-unavailable"),
    ] {
        let before = linked.ledger(everyday).await;
        let failures_told = told(&world.api, endpoint, "sync.failed").await;
        let fault = Fault::Status { status, retry_after: Some(retry_after) };
        world.bank.fault(Target::of(PathKind::Transactions, everyday), fault, 1);
        let sync = linked.sync(everyday).await;
        assert_eq!((text(&sync, "/code"), text(&sync, "/reason")), ("SYNC_ERROR", reason), "{name}: {sync}");
        // The bank counts from its answer, which came after the first question and before the end; a date
        // has whole seconds.
        let after = |moment: &str| seconds_between(&sync[moment], &sync["next_allowed_at"]);
        assert!(after("bank_asked_at") >= 119.0 && after("finished_at") <= 121.0, "{name}: {sync}");
        assert_eq!(sync["next_at"], sync["next_allowed_at"], "{name}");
        assert_eq!(told(&world.api, endpoint, "sync.failed").await, failures_told + 1, "{name}");
        assert_eq!(linked.ledger(everyday).await, before, "{name}");

        let asked = world.bank.requests().len();
        let early = linked.ask(everyday, 30, &json!({})).await;
        assert_eq!(early.status, 429, "{name}: {}", early.body);
        let wait: u64 = early.header("retry-after").parse().unwrap();
        assert!((1..=121).contains(&wait), "{name}: {wait}");
        assert_eq!(early.body["last_sync"]["id"], sync["id"], "{name}");
        assert_eq!(world.bank.requests().len(), asked, "{name}: the bank is left alone");

        // It comes back by itself when the time is over.
        world.advance(Duration::from_secs(122));
        until(name, async || (linked.account(everyday).await["failures"] == 0).then_some(())).await;
        scene.recover(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_the_connection_spares_the_bank_requests_for_its_other_accounts_too() {
    let scene = Scene::new(WorldConfig::default(), HISTORY_DAYS).await;
    let (bank, linked) = (&scene.world.bank, &scene.linked);
    let fault = Fault::Status { status: 429, retry_after: Some(RetryAfter::Seconds(120)) };
    bank.fault(Target::of(PathKind::Transactions, linked.everyday()), fault, 1);
    linked.sync(linked.everyday()).await;
    let asked = bank.requests().len();
    let sister = linked.ask(linked.savings(), 30, &json!({})).await;
    assert_eq!(sister.status, 429, "{}", sister.body);
    assert_eq!(bank.requests().len(), asked);
    scene.world.advance(Duration::from_secs(121));
    linked.good_sync(linked.savings()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_does_not_answer_in_time_is_given_up() {
    let adjust: fn(&mut host::config::Config) = |config| config.egress.bank_timeout = Duration::from_secs(3);
    let setup = WorldConfig { adjust: Some(adjust), ..WorldConfig::default() };
    let scene = Scene::new(setup, HISTORY_DAYS).await;
    let minutes = Fault::Slow { millis: 600_000 };
    scene.play(&case("slow", minutes, "unreachable", "timeout")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_whose_answer_was_lost_is_tried_once_more_and_then_the_customer_is_asked() {
    let scene = Scene::new(WorldConfig::default(), HISTORY_DAYS).await;
    let Scene { world, linked, endpoint } = &scene;
    let everyday = linked.everyday();
    let before = linked.rows(everyday).await;

    // The request was lost: the second try is the first that the bank sees.
    world.advance(TOKEN_LIFE);
    let renewals = world.bank.request_count(PathKind::Token);
    world.bank.fault(PathKind::Token, Fault::Reset, 1);
    linked.good_sync(everyday).await;
    assert_eq!(world.bank.request_count(PathKind::Token) - renewals, 2);

    // The answer was lost: the second try uses a token that is used up, which ends the consent.
    world.advance(TOKEN_LIFE);
    let renewals = world.bank.request_count(PathKind::Token);
    world.bank.fault(PathKind::Token, Fault::LostAnswer, 1);
    let sync = linked.sync(everyday).await;
    assert_eq!(
        (text(&sync, "/code"), text(&sync, "/reason")),
        ("REAUTHORISATION_REQUIRED", "consent-expired"),
        "{sync}"
    );
    assert!(sync["next_at"].is_null(), "polling stops: {sync}");
    assert_eq!(world.bank.request_count(PathKind::Token) - renewals, 2);
    let asked = world.bank.requests().len();
    world.advance(crate::linked::HOUR);
    assert_eq!(linked.sync(everyday).await["code"], "REAUTHORISATION_REQUIRED");
    // The sister account was not due, and says the same.
    assert_eq!(linked.sync(linked.savings()).await["code"], "REAUTHORISATION_REQUIRED");
    assert_eq!(world.bank.requests().len(), asked, "polling stops");
    assert_eq!(told(&world.api, endpoint, "connection.reauthorisation_required").await, 1);
    assert_eq!(told(&world.api, endpoint, "sync.failed").await, 0);
    assert_eq!(linked.rows(everyday).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_unreadable_accounts_never_stop_the_connector() {
    let world = World::start(WorldConfig::default()).await.unwrap();
    world.endpoint().await.unwrap();
    let mut all = Vec::new();
    for name in ["Ada", "Ben", "Cleo"] {
        all.push(Linked::new(&world, &world.api, name, 0).await);
    }
    for _ in 0..3 {
        for linked in &all {
            world.bank.book(linked.everyday(), NewEntry::transfer("1.00", "ROW")).unwrap();
            let everyday = Target::of(PathKind::Transactions, linked.everyday());
            world.bank.fault(everyday, amount("1e3"), EVERY_TRY);
            let sync = linked.sync(linked.everyday()).await;
            world.bank.clear_faults();
            assert_eq!(sync["reason"], "unreadable", "{sync}");
        }
    }
    let bank = world.api.get(&format!("/v1/institutions/{DEMO_BANK}")).await.unwrap();
    assert_eq!(bank.body["available"], true, "{}", bank.body);
    let dora = Linked::new(&world, &world.api, "Dora", 0).await;
    dora.good_sync(dora.everyday()).await;
    for linked in &all {
        linked.good_sync(linked.everyday()).await;
        linked.good_sync(linked.savings()).await;
        linked.assert_like_the_bank(&world.bank, linked.everyday()).await;
    }
}
