//! UK Open Banking's door for real: a customer goes from the business to the bank's own page and back,
//! over mutual TLS and signed requests, and what they agreed to is read and recorded.

use crate::linked::{HOUR, Linked, TOKEN_LIFE, accounts_read, told, until};
use host::model::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use tests::PATIENCE;
use tests::bank::{
    BankConfig, ConsentStatus, Customer, Decision, FIRST_PASSCODE, Granted, NewCustomer, NewEntry, PathKind,
};
use tests::browser::Browser;
use tests::http::{Answer, expect, items, text};
use tests::sink::Received;
use tests::story::{connection_request, events};
use tests::world::{CLIENT, DEMO_BANK, World, WorldConfig};

const MINUTE: Duration = Duration::from_secs(60);
/// Where the business wants its customer back.
const BACK: &str = "https://shop.example/back?basket=7";

/// A bank with mutual TLS, and a business that may send its customers there.
pub fn setup() -> WorldConfig {
    let bank = BankConfig { mutual_tls: true, ..BankConfig::default() };
    WorldConfig { bank, registered: true, ..WorldConfig::default() }
}

/// A business, and a customer of the bank who is not linked yet.
pub struct Door {
    pub world: World,
    pub endpoint: String,
    pub customer: Customer,
}

/// A customer's way in, as the business was told of it.
pub struct Way {
    pub connection: String,
    pub authorisation: String,
    /// Where to send the customer's browser.
    pub hop: String,
}

impl Door {
    pub async fn open(setup: WorldConfig, history_days: u32) -> Self {
        let world = World::start(setup).await.unwrap();
        let endpoint = world.endpoint().await.unwrap();
        let new = NewCustomer::with_two_accounts("Ada Sample", history_days);
        let customer = world.bank.create_customer(&new).unwrap();
        Self { world, endpoint, customer }
    }

    /// The business links the customer without credentials.
    pub async fn begin(&self) -> Way {
        let request =
            json!({ "institution_id": DEMO_BANK, "customer_ref": "customer-42", "return_to": BACK });
        let answer = self.world.api.post("/v1/connections", &request).await.unwrap();
        expect(&answer, 201).unwrap();
        assert_eq!(answer.text("/state"), "linking");
        way(&answer)
    }

    /// The business asks the customer to authorise again.
    pub async fn again(&self, connection: &str) -> Way {
        let path = format!("/v1/connections/{connection}/reauthorise");
        let answer = self.world.api.post(&path, &json!({ "return_to": BACK })).await.unwrap();
        expect(&answer, 200).unwrap();
        way(&answer)
    }

    /// The customer follows the way to the bank and logs in there.
    pub async fn log_in(&self, browser: &mut Browser, way: &Way) {
        browser.visit(&way.hop).await.unwrap();
        assert!(
            browser.page.body.contains(&format!("{CLIENT} asks to see your accounts")),
            "{}",
            browser.page.body
        );
        browser.submit(&[("customer", &self.customer.id), ("passcode", FIRST_PASSCODE)]).await.unwrap();
        assert!(browser.page.body.contains("Share your accounts?"), "{}", browser.page.body);
    }

    /// The customer goes all the way, allows everything, and is back at the business.
    pub async fn agree(&self, way: &Way) {
        let mut browser = Browser::new().unwrap();
        self.log_in(&mut browser, way).await;
        self.decide(&mut browser, way, "allow", "ready").await;
    }

    /// The customer decides and comes back to the business, which learns how it ended.
    pub async fn decide(&self, browser: &mut Browser, way: &Way, decision: &str, state: &str) {
        browser.submit(&[("decision", decision)]).await.unwrap();
        assert!(
            browser.page.url.as_str().starts_with(&format!("{BACK}&")),
            "{} {}",
            browser.page.url,
            browser.page.body
        );
        assert_eq!(browser.page.parameter("connection_id"), way.connection);
        assert_eq!(browser.page.parameter("authorisation_id"), way.authorisation);
        assert_eq!(browser.page.parameter("state"), state);
    }

    /// Links the customer; both accounts are read.
    pub async fn linked(&self) -> Linked {
        let way = self.begin().await;
        self.agree(&way).await;
        self.known(&way.connection).await
    }

    /// The customer's connection, once both accounts are read.
    pub async fn known(&self, connection: &str) -> Linked {
        let shown = self.connection(connection).await;
        let consent = Granted {
            consent_id: text(&shown, "/consent/reference").to_owned(),
            refresh_token: String::new(),
            granted_at: self.world.bank.now(),
            expires_at: None,
            permissions: Vec::new(),
        };
        let accounts = accounts_read(&self.world.api, connection, 2).await;
        let (customer, api) = (self.customer.clone(), self.world.api.clone());
        Linked { customer, consent, connection: connection.to_owned(), api, accounts }
    }

    pub async fn connection(&self, id: &str) -> Value {
        let shown = self.world.api.get(&format!("/v1/connections/{id}")).await.unwrap();
        expect(&shown, 200).unwrap();
        shown.body
    }

    /// What was told about a way in.
    async fn event(&self, kind: &str, way: &Way) -> Value {
        let found = |received: &[Received]| {
            let told = events(received, kind, &way.connection).into_iter().map(|event| event.payload.clone());
            told.into_iter().find(|event| text(event, "/data/authorisation_id") == way.authorisation)
        };
        self.world.sink.wait_for(kind, PATIENCE, found).await.unwrap()
    }

    fn count(&self, kind: PathKind) -> usize {
        self.world.bank.request_count(kind)
    }
}

fn way(answer: &Answer) -> Way {
    let Answer { body, .. } = answer;
    assert_eq!(text(body, "/authorisation/state"), "prompted", "{body}");
    assert_eq!(text(body, "/authorisation/next/kind"), "redirect", "{body}");
    Way {
        connection: text(body, "/id").to_owned(),
        authorisation: text(body, "/authorisation/id").to_owned(),
        hop: text(body, "/authorisation/next/url").to_owned(),
    }
}

fn moment(value: &Value) -> Timestamp {
    serde_json::from_value(value.clone()).unwrap_or_else(|_| panic!("no moment: {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_lets_us_in_at_the_bank_and_is_read_from_then_on() {
    let door = Door::open(setup(), 30).await;
    let world = &door.world;
    let way = door.begin().await;
    assert!(way.hop.starts_with(&world.origin), "the hop is ours: {}", way.hop);
    assert_eq!(door.count(PathKind::Accounts), 0, "nothing is read before");
    door.agree(&way).await;

    let told_of = door.event("connection.authorised", &way).await;
    assert_eq!(told_of["data"]["institution_id"], DEMO_BANK);
    let linked = door.known(&way.connection).await;
    linked.assert_like_the_bank(&world.bank, linked.everyday()).await;
    linked.assert_like_the_bank(&world.bank, linked.savings()).await;

    let shown = door.connection(&way.connection).await;
    assert_eq!((&shown["state"], &shown["authorisation"]), (&json!("active"), &Value::Null), "{shown}");
    let consent = &shown["consent"];
    let scopes = [
        "ReadAccountsDetail",
        "ReadBalances",
        "ReadTransactionsCredits",
        "ReadTransactionsDebits",
        "ReadTransactionsDetail",
    ];
    assert_eq!((&consent["scopes"], &consent["how"]), (&json!(scopes), &json!("redirect")), "{consent}");
    let lasts = moment(&consent["expires_at"]).since(moment(&consent["granted_at"]));
    assert!((90 * 24 * HOUR - MINUTE..=90 * 24 * HOUR).contains(&lasts), "{lasts:?}");
    let id = text(consent, "/reference").to_owned();
    assert_eq!(world.bank.consent_status(&id).unwrap(), ConsentStatus::Authorised);

    // The session goes on by what the code gave.
    world.bank.book(linked.everyday(), NewEntry::transfer("5.00", "AFTER")).unwrap();
    world.advance(TOKEN_LIFE);
    let renewals = door.count(PathKind::Token);
    linked.good_sync(linked.everyday()).await;
    assert_eq!(door.count(PathKind::Token), renewals + 1);
    linked.assert_like_the_bank(&world.bank, linked.everyday()).await;

    // And the customer who leaves takes the consent back at the bank.
    expect(&world.api.delete(&format!("/v1/connections/{}", way.connection)).await.unwrap(), 204).unwrap();
    let ended = world.bank.requests().into_iter().find(|request| request.kind == PathKind::Consent).unwrap();
    assert!(ended.path.ends_with(&id) && ended.status == Some(204), "{ended:?}");
    assert!(world.sink.failures().is_empty(), "{:?}", world.sink.failures());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_refuses_is_not_read_and_may_think_again() {
    let door = Door::open(setup(), 0).await;
    let way = door.begin().await;
    let mut browser = Browser::new().unwrap();
    door.log_in(&mut browser, &way).await;
    door.decide(&mut browser, &way, "deny", "failed").await;
    let event = door.event("connection.authorisation_failed", &way).await;
    assert_eq!(event["data"]["reason"], "customer-refused");
    let shown = door.connection(&way.connection).await;
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("linking"), &json!("customer-refused")),
        "{shown}"
    );
    let failed = &shown["authorisation"];
    assert_eq!((&failed["state"], &failed["reason"]), (&json!("failed"), &json!("customer-refused")));
    assert_eq!((&failed["next"], &shown["consent"]), (&Value::Null, &Value::Null), "{shown}");
    assert_eq!(door.count(PathKind::Accounts), 0);

    let way = door.again(&way.connection).await;
    door.agree(&way).await;
    let linked = door.known(&way.connection).await;
    assert_eq!(linked.accounts.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_is_good_once_and_in_the_browser_that_went() {
    let door = Door::open(setup(), 0).await;
    let (world, bank) = (&door.world, &door.world.bank);
    let way = door.begin().await;
    let (mut customer, mut thief) = (Browser::new().unwrap(), Browser::new().unwrap());
    customer.visit(&way.hop).await.unwrap();
    let back = bank.decide(customer.page.url.as_str(), &Decision::allow(&door.customer.id)).unwrap();
    let asked = bank.requests().len();
    let state = url_parameter(&back, "state");
    for (path, status) in [
        ("/v1/callback?code=code_made-up&state=made-up".to_owned(), 400),
        ("/v1/callback?code=code_made-up".to_owned(), 400),
        (back.replace(&world.origin, ""), 403),
        (format!("/v1/callback?error=access_denied&state={state}"), 403),
        (way.hop.replace(&world.origin, ""), 403),
    ] {
        thief.visit(&format!("{}{path}", world.origin)).await.unwrap();
        assert_eq!(thief.page.status, status, "{path}: {}", thief.page.body);
    }
    let shown = door.connection(&way.connection).await;
    assert_eq!((&shown["state"], &shown["authorisation"]["state"]), (&json!("linking"), &json!("prompted")));
    assert_eq!(bank.requests().len(), asked, "the bank was asked nothing");

    customer.visit(&back).await.unwrap();
    assert_eq!(customer.page.parameter("state"), "ready");
    let linked = door.known(&way.connection).await;
    let tokens = door.count(PathKind::Token);
    for browser in [&mut customer, &mut thief] {
        browser.visit(&back).await.unwrap();
        assert_eq!(browser.page.status, 400, "used: {}", browser.page.body);
    }
    linked.good_sync(linked.everyday()).await;
    assert_eq!(door.count(PathKind::Token), tokens);
    assert_eq!(told(&world.api, &door.endpoint, "connection.authorised").await, 1);
    assert_eq!(told(&world.api, &door.endpoint, "connection.authorisation_failed").await, 0);
}

fn url_parameter(url: &str, name: &str) -> String {
    let mut pairs = url.split_once('?').unwrap().1.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|pair| pair.0 == name).unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_while_the_customer_is_at_the_bank_loses_nothing() {
    let mut door = Door::open(setup(), 3).await;
    let way = door.begin().await;
    let mut browser = Browser::new().unwrap();
    door.log_in(&mut browser, &way).await;
    door.world.restart().await.unwrap();
    door.decide(&mut browser, &way, "allow", "ready").await;
    let linked = door.known(&way.connection).await;
    linked.assert_like_the_bank(&door.world.bank, linked.everyday()).await;
    assert_eq!(door.count(PathKind::Consents), 1, "one consent, not one per start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_takes_too_long_begins_anew() {
    let door = Door::open(setup(), 0).await;
    let world = &door.world;
    let way = door.begin().await;
    let mut browser = Browser::new().unwrap();
    browser.visit(&way.hop).await.unwrap();
    let back = world.bank.decide(browser.page.url.as_str(), &Decision::allow(&door.customer.id)).unwrap();
    let tokens = door.count(PathKind::Token);
    world.advance(15 * MINUTE);
    browser.visit(&back).await.unwrap();
    assert!(matches!(browser.page.status, 400 | 409), "{} {}", browser.page.status, browser.page.body);
    let event = door.event("connection.authorisation_failed", &way).await;
    assert_eq!(event["data"]["reason"], "expired");
    let failed = door.connection(&way.connection).await["authorisation"].clone();
    assert_eq!((&failed["state"], &failed["next"]), (&json!("failed"), &Value::Null), "{failed}");
    assert_eq!(door.count(PathKind::Token), tokens, "the code is not used");

    let way = door.again(&way.connection).await;
    door.agree(&way).await;
    door.known(&way.connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_customer_is_on_the_way_again_the_old_credentials_go_on_and_history_stays() {
    let door = Door::open(setup(), 5).await;
    let world = &door.world;
    let linked = door.linked().await;
    let everyday = linked.everyday().to_owned();
    let old = text(&door.connection(&linked.connection).await, "/consent/reference").to_owned();
    let changes = format!("/v1/accounts/{}/changes", linked.ours(&everyday));
    let cursor =
        world.api.get(&format!("{changes}?limit=500")).await.unwrap().text("/next_cursor").to_owned();

    let way = door.again(&linked.connection).await;
    assert_eq!(door.connection(&linked.connection).await["state"], "active");
    world.bank.book(&everyday, NewEntry::transfer("1.00", "ON THE WAY")).unwrap();
    world.advance(TOKEN_LIFE);
    let sync = linked.good_sync(&everyday).await; // renewed by the old refresh token
    assert_eq!(sync["added"], 1, "{sync}");
    // Refused, and the old consent is in force all the same.
    let mut browser = Browser::new().unwrap();
    door.log_in(&mut browser, &way).await;
    door.decide(&mut browser, &way, "deny", "failed").await;
    linked.good_sync(&everyday).await;
    assert_eq!(door.connection(&linked.connection).await["consent"]["reference"], old);

    let way = door.again(&linked.connection).await;
    door.agree(&way).await;
    world.bank.book(&everyday, NewEntry::transfer("2.00", "WITH THE NEW ONE")).unwrap();
    let again = door.known(&linked.connection).await;
    assert_eq!(again.accounts, linked.accounts, "the same accounts");
    linked.good_sync(&everyday).await;
    linked.assert_like_the_bank(&world.bank, &everyday).await;
    let after = world.api.get(&format!("{changes}?cursor={cursor}")).await.unwrap();
    let texts: Vec<_> = items(&after).iter().map(|change| text(change, "/after/text")).collect();
    assert_eq!(texts, ["ON THE WAY", "WITH THE NEW ONE"], "the cursor goes on: {}", after.body);
    let shown = door.connection(&linked.connection).await;
    assert_ne!(text(&shown, "/consent/reference"), old, "{shown}");
    world.advance(TOKEN_LIFE);
    linked.good_sync(&everyday).await;
    assert_eq!(told(&world.api, &door.endpoint, "connection.reauthorisation_required").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_in_works_with_a_signing_key_and_a_certificate_too() {
    let door = Door::open(setup(), 2).await;
    let world = &door.world;
    let consent = world.bank.grant_to(CLIENT, &door.customer.id, Some(HOUR * 24)).unwrap();
    let created = world.api.post("/v1/connections", &connection_request(&consent)).await.unwrap();
    expect(&created, 201).unwrap();
    let linked = door.known(created.text("/id")).await;
    linked.assert_like_the_bank(&world.bank, linked.everyday()).await;
    world.advance(TOKEN_LIFE);
    linked.good_sync(linked.everyday()).await;
    assert_eq!(door.count(PathKind::Consents), 0, "nobody was asked");
    expect(&world.api.delete(&format!("/v1/connections/{}", linked.connection)).await.unwrap(), 204).unwrap();
    assert_eq!(door.count(PathKind::Consent), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_to_sign_with_customers_cannot_be_asked() {
    let door = Door::open(WorldConfig::default(), 0).await;
    let request = json!({ "institution_id": DEMO_BANK });
    let answer = door.world.api.post("/v1/connections", &request).await.unwrap();
    expect(&answer, 201).unwrap();
    let failed = &answer.body["authorisation"];
    assert_eq!(
        (&failed["state"], &failed["reason"]),
        (&json!("failed"), &json!("not-supported")),
        "{failed}"
    );
    assert_eq!(door.world.bank.requests().len(), 0);
    until("the event", async || {
        let count = told(&door.world.api, &door.endpoint, "connection.authorisation_failed").await;
        (count == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_never_valid_is_a_refused_credential_and_no_consent_that_ended() {
    let door = Door::open(WorldConfig::default(), 0).await;
    let world = &door.world;
    let consent = world.bank.grant(&door.customer.id, None).unwrap();
    let mut request = connection_request(&consent);
    request["credentials"]["refresh-token"] = json!("made-up");
    let created = world.api.post("/v1/connections", &request).await.unwrap();
    expect(&created, 201).unwrap();
    let id = created.text("/id").to_owned();
    let stopped = async |reason: &str| {
        let stopped = until("the stop", async || {
            Some(door.connection(&id).await).filter(|shown| shown["state"] == "reauthorisation_required")
        });
        assert_eq!(stopped.await["reason"], reason);
    };
    stopped("credentials-rejected").await;
    let kind = "connection.reauthorisation_required";
    let found = |received: &[Received]| {
        events(received, kind, &id).first().map(|event| text(&event.payload, "/data/reason").to_owned())
    };
    assert_eq!(world.sink.wait_for(kind, PATIENCE, found).await.unwrap(), "credentials-rejected");

    // It is no password: fresh ones are taken at once. What the bank took before ends as a consent.
    let mut request = connection_request(&consent);
    request.as_object_mut().unwrap().retain(|key, _| key == "credentials" || key == "consent");
    let path = format!("/v1/connections/{id}/reauthorise");
    expect(&world.api.post(&path, &request).await.unwrap(), 200).unwrap();
    let linked = door.known(&id).await;
    world.bank.revoke_consent(&consent.consent_id).unwrap();
    linked.sync(linked.everyday()).await;
    stopped("consent-expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_connection_that_was_never_linked_nothing_is_said_of_a_consent() {
    let door = Door::open(setup(), 0).await;
    let way = door.begin().await;
    expect(&door.world.api.delete(&format!("/v1/connections/{}", way.connection)).await.unwrap(), 204)
        .unwrap();
    let found = |received: &[Received]| {
        events(received, "connection.deleted", &way.connection).first().map(|event| event.payload.clone())
    };
    let event = door.world.sink.wait_for("connection.deleted", PATIENCE, found).await.unwrap();
    assert_eq!(event["data"].get("consent_ended_at_bank"), Some(&Value::Null), "{event}");
}
