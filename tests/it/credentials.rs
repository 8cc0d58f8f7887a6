//! A bank that refuses a customer's PIN: it is tried once more an hour later, then the customer is asked,
//! once. Many who are refused at the same time are the bank's own fault, and nobody is asked.

use crate::hostile::{link, profile};
use crate::linked::{HOUR, accounts_read, seconds_between, told, until};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use host::config::Config;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests::http::{Answer, expect, text};
use tests::world::{World, WorldConfig};

const MINUTE: Duration = Duration::from_secs(60);
const ASK: &str = "connection.reauthorisation_required";
const INSTITUTION: &str = "pin-bank";
/// One connection at a time, the one that is due longest first: when a sync that was asked for is over,
/// so is whatever was due before it.
const SETTINGS: &str = "mode = \"login\"\naccounts = 2\n[limits]\nconcurrency = 1";

/// A bank that knows its customers by their PIN.
#[derive(Default)]
struct Desk {
    refused: Mutex<BTreeSet<String>>,
    logins: Mutex<Vec<String>>,
}

impl Desk {
    /// From now on this PIN is refused, and what was opened with it is closed.
    fn refuse(&self, pin: &str) {
        self.refused.lock().unwrap().insert(pin.to_owned());
    }
    fn accept_everybody(&self) {
        self.refused.lock().unwrap().clear();
    }
    fn refuses(&self, pin: &str) -> bool {
        self.refused.lock().unwrap().contains(pin)
    }
    /// How often somebody tried to get in with this PIN.
    fn logins(&self, pin: &str) -> usize {
        self.logins.lock().unwrap().iter().filter(|tried| *tried == pin).count()
    }
}

async fn login(State(desk): State<Arc<Desk>>, form: String) -> (StatusCode, Json<Value>) {
    let pin = form.strip_prefix("pin=").unwrap();
    desk.logins.lock().unwrap().push(pin.to_owned());
    match desk.refuses(pin) {
        true => (StatusCode::UNAUTHORIZED, Json(json!({}))),
        false => (StatusCode::OK, Json(json!({ "access_token": format!("the-token-of-{pin}") }))),
    }
}

async fn data(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    let token = headers["authorization"].to_str().unwrap();
    let balance = json!({ "kind": "booked", "amount": "99.00", "currency": "GBP" });
    match desk.refuses(token.strip_prefix("Bearer the-token-of-").unwrap()) {
        true => (StatusCode::UNAUTHORIZED, Json(json!({}))),
        false => (StatusCode::OK, Json(json!({ "balances": [balance] }))),
    }
}

struct Scene {
    world: World,
    desk: Arc<Desk>,
    endpoint: String,
}

/// A connection with two accounts.
struct Customer {
    pin: &'static str,
    connection: String,
    accounts: Vec<String>,
}

impl Scene {
    async fn new() -> Self {
        let desk = Arc::new(Desk::default());
        let routes = Router::new().route("/token", post(login)).route("/data", get(data));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let service = routes.with_state(desk.clone());
        tokio::spawn(async move { axum::serve(listener, service).await });
        let profiles = vec![(INSTITUTION.to_owned(), profile(&format!("http://{address}"), SETTINGS))];
        // A fact that nothing tells of is looked at more often than a key may.
        let adjust: fn(&mut Config) = |config| (config.api_rate_per_s, config.api_burst) = (10_000, 10_000);
        let allow = vec![address.to_string()];
        let setup = WorldConfig { profiles, allow, adjust: Some(adjust), ..WorldConfig::default() };
        let world = World::start(setup).await.unwrap();
        let endpoint = world.endpoint().await.unwrap();
        Self { world, desk, endpoint }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.world.api.get(path).await.unwrap();
        expect(&answer, 200).unwrap();
        answer.body
    }

    async fn customer(&self, pin: &'static str) -> Customer {
        let connection = link(&self.world, INSTITUTION, &json!({ "pin": pin })).await;
        self.read(pin, connection).await
    }

    /// The customer, once both accounts were read.
    async fn read(&self, pin: &'static str, connection: String) -> Customer {
        let accounts = accounts_read(&self.world.api, &connection, 2).await.into_values().collect();
        Customer { pin, connection, accounts }
    }

    async fn ask(&self, account: &str) -> Answer {
        self.world.api.post(&format!("/v1/accounts/{account}/sync?wait=60"), &json!({})).await.unwrap()
    }

    /// Somebody else is synced: what was due before is over now.
    async fn sync_of(&self, somebody: &Customer) {
        let sync = self.ask(&somebody.accounts[0]).await;
        expect(&sync, 200).unwrap();
        assert_eq!(sync.text("/code"), "SYNC_SUCCESSFUL", "{}", sync.body);
    }

    async fn state(&self, connection: &str) -> Value {
        self.get(&format!("/v1/connections/{connection}")).await["state"].clone()
    }

    /// Waits until the customer is asked; there is one event, whatever happens later.
    async fn asked(&self, connection: &str) {
        until("the stop", async || {
            (self.state(connection).await == "reauthorisation_required").then_some(())
        })
        .await;
        let shown = self.get(&format!("/v1/connections/{connection}")).await;
        assert_eq!(shown["reason"], "credentials-rejected", "{shown}");
        assert_eq!(self.told(ASK).await, 1);
    }

    async fn told(&self, kind: &str) -> usize {
        told(&self.world.api, &self.endpoint, kind).await
    }

    async fn hand_in(&self, connection: &str, pin: &str, checked_at_bank: bool) -> Answer {
        let consent = json!({ "granted_at": self.world.clock.now(), "scopes": [], "how": "test" });
        let request = json!({
            "credentials": { "pin": pin }, "consent": consent, "checked_at_bank": checked_at_bank,
        });
        self.world.api.post(&format!("/v1/connections/{connection}/reauthorise"), &request).await.unwrap()
    }

    /// After two refusals nothing is sent to the bank before the customer was at its own site.
    async fn reauthorise_after_two_refusals(&self, connection: &str, pin: &str) {
        let answer = self.hand_in(connection, pin, false).await;
        assert_eq!((answer.status, answer.text("/code")), (409, "credentials-refused"), "{}", answer.body);
        expect(&self.hand_in(connection, pin, true).await, 200).unwrap();
    }

    /// Waits until each account failed so often in a row.
    async fn failed(&self, customer: &Customer, times: usize) {
        for account in &customer.accounts {
            let path = format!("/v1/accounts/{account}");
            until(&format!("{times} failures"), async || {
                (self.get(&path).await["failures"] == times).then_some(())
            })
            .await;
        }
    }

    /// What the last sync of both accounts came to.
    async fn last_reason(&self, customer: &Customer) -> String {
        let mut reasons = BTreeSet::new();
        for account in &customer.accounts {
            let syncs = self.get(&format!("/v1/accounts/{account}/syncs?limit=1")).await;
            reasons.insert(text(&syncs, "/items/0/reason").to_owned());
        }
        assert_eq!(reasons.len(), 1, "the accounts of a connection share its fate: {reasons:?}");
        reasons.pop_first().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_tried_once_more_after_an_hour_and_then_the_customer_is_asked() {
    let scene = Scene::new().await;
    let Scene { world, desk, .. } = &scene;
    let (ada, ben) = (scene.customer("1111").await, scene.customer("2222").await);
    // The next planned sync lies half an hour after the refusal: even that one must not come.
    world.begin_an_hour(&world.api, &ada.connection).await.unwrap();
    world.advance(HOUR / 2);
    let tried = desk.logins(ada.pin);

    desk.refuse(ada.pin);
    let first = scene.ask(&ada.accounts[0]).await;
    expect(&first, 200).unwrap();
    let first = first.body;
    assert_eq!((text(&first, "/code"), text(&first, "/reason")), ("SYNC_ERROR", "credentials-rejected"));
    let pause = seconds_between(&first["finished_at"], &first["next_at"]);
    assert!((3_599.0..=3_600.0).contains(&pause), "{pause}: {first}");
    assert_eq!(first["next_allowed_at"], first["next_at"]);

    world.advance(59 * MINUTE);
    for account in &ada.accounts {
        let early = scene.ask(account).await;
        assert_eq!((early.status, early.text("/code")), (429, "too-early"), "{}", early.body);
    }
    scene.sync_of(&ben).await;
    assert_eq!(desk.logins(ada.pin), tried + 1, "nothing is asked before the hour is over");
    assert_eq!((scene.state(&ada.connection).await, scene.told(ASK).await), (json!("active"), 0));

    world.advance(MINUTE);
    scene.asked(&ada.connection).await;
    for _ in 0..3 {
        scene.sync_of(&ben).await;
        for account in &ada.accounts {
            let stopped = scene.ask(account).await;
            expect(&stopped, 200).unwrap();
            let said = (stopped.text("/code"), stopped.text("/reason"));
            assert_eq!(said, ("REAUTHORISATION_REQUIRED", "credentials-rejected"), "{}", stopped.body);
            assert!(stopped.body["next_at"].is_null(), "{}", stopped.body);
        }
        world.advance(HOUR);
    }
    scene.sync_of(&ben).await;
    assert_eq!(desk.logins(ada.pin), tried + 2, "never a third try");
    assert_eq!((scene.told(ASK).await, scene.told("sync.failed").await), (1, 1));

    // New credentials begin anew: they are tried at once, and have two tries of their own.
    scene.reauthorise_after_two_refusals(&ada.connection, "3333").await;
    for account in &ada.accounts {
        // Both, so that nothing of this connection is being read any more.
        assert_eq!(scene.ask(account).await.text("/code"), "SYNC_SUCCESSFUL");
    }
    scene.failed(&ada, 0).await;
    desk.refuse("3333");
    let again = scene.ask(&ada.accounts[0]).await;
    assert_eq!(again.text("/reason"), "credentials-rejected", "{}", again.body);
    expect(&scene.hand_in(&ada.connection, "4444", false).await, 200).unwrap();
    scene.sync_of(&ada).await;
    assert_eq!((scene.state(&ada.connection).await, scene.told(ASK).await), (json!("active"), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_with_wrong_credentials_waits_the_hour_too() {
    let scene = Scene::new().await;
    let Scene { world, desk, .. } = &scene;
    let ben = scene.customer("2222").await;
    desk.refuse("1111");
    let connection = link(world, INSTITUTION, &json!({ "pin": "1111" })).await;
    until("the first try", async || (desk.logins("1111") == 1).then_some(())).await;
    for minutes in [0, 2, 57] {
        world.advance(minutes * MINUTE);
        scene.sync_of(&ben).await;
        assert_eq!(desk.logins("1111"), 1, "after {minutes} minutes more");
        // Not stopped, and yet nobody need guess why nothing comes.
        let shown = scene.get(&format!("/v1/connections/{connection}")).await;
        assert_eq!((text(&shown, "/state"), text(&shown, "/reason")), ("active", "credentials-rejected"));
        let pause = seconds_between(&shown["created_at"], &shown["next_at"]);
        assert!((3_600.0..=3_610.0).contains(&pause), "{pause}: {shown}");
        assert!(text(&shown, "/next_step").contains("once more at next_at"), "{shown}");
    }
    world.advance(MINUTE);
    scene.asked(&connection).await;
    let shown = scene.get(&format!("/v1/connections/{connection}")).await;
    assert_eq!(shown["next_at"], Value::Null, "{shown}");
    world.advance(2 * HOUR);
    scene.sync_of(&ben).await;
    assert_eq!(desk.logins("1111"), 2, "never a third try");

    scene.reauthorise_after_two_refusals(&connection, "3333").await;
    let ada = scene.read("3333", connection).await;
    scene.sync_of(&ada).await;
    let shown = scene.get(&format!("/v1/connections/{}", ada.connection)).await;
    assert_eq!((text(&shown, "/state"), &shown["reason"]), ("active", &Value::Null), "{shown}");
    assert_eq!(scene.told(ASK).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_connections_refused_within_ten_minutes_are_the_banks_fault_and_nobody_is_asked() {
    let scene = Scene::new().await;
    let Scene { world, desk, .. } = &scene;
    let mut customers = Vec::new();
    for pin in ["1111", "2222", "3333"] {
        customers.push(scene.customer(pin).await);
    }
    let tried: Vec<_> = customers.iter().map(|customer| desk.logins(customer.pin)).collect();
    customers.iter().for_each(|customer| desk.refuse(customer.pin));
    // The planned syncs of all three, and then their confirming tries, for as long as it takes.
    for round in 1..=3 {
        world.advance(HOUR);
        let mut reasons = Vec::new();
        for customer in &customers {
            scene.failed(customer, round).await;
            reasons.push(scene.last_reason(customer).await);
            assert_eq!(scene.state(&customer.connection).await, "active");
        }
        reasons.sort();
        assert_eq!(reasons, ["bank-unavailable", "credentials-rejected", "credentials-rejected"]);
        assert_eq!(scene.told(ASK).await, 0, "nobody is asked");
        for (customer, tried) in customers.iter().zip(&tried) {
            assert_eq!(desk.logins(customer.pin), tried + round);
        }
    }
    desk.accept_everybody();
    world.advance(HOUR);
    for customer in &customers {
        scene.failed(customer, 0).await;
    }

    // Refused further apart, each is a customer's own.
    for customer in &customers {
        desk.refuse(customer.pin);
        let refused = scene.ask(&customer.accounts[0]).await;
        // The planned sync may have come first: then that was the refused one.
        let sync = if refused.status == 429 { &refused.body["last_sync"] } else { &refused.body };
        assert_eq!(sync["reason"], "credentials-rejected", "{sync}");
        world.advance(11 * MINUTE);
    }
}
