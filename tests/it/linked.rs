//! A business with a webhook endpoint and a customer whose bank is linked: what most tests begin with.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tests::bank::{Bank, Customer, Granted, NewCustomer};
use tests::compare::{compare, rows};
use tests::http::{Answer, Api, expect, items, text};
use tests::linking::is_read;
use tests::sink::Received;
use tests::story::connection_request;
use tests::world::{World, WorldConfig};

pub const HOUR: Duration = Duration::from_secs(3600);
/// Longer than an access token of the bank lives.
pub const TOKEN_LIFE: Duration = Duration::from_secs(601);

/// A linked customer with a current and a savings account.
pub struct Linked {
    pub customer: Customer,
    pub consent: Granted,
    pub connection: String,
    pub api: Api,
    /// Our account id by the bank's.
    pub accounts: BTreeMap<String, String>,
}

/// A world with an endpoint and a linked customer, at the beginning of an hour.
pub struct Scene {
    pub world: World,
    pub linked: Linked,
    pub endpoint: String,
}

impl Scene {
    pub async fn new(setup: WorldConfig, history_days: u32) -> Self {
        let world = World::start(setup).await.unwrap();
        let endpoint = world.endpoint().await.unwrap();
        let linked = Linked::new(&world, &world.api, "Ada Sample", history_days).await;
        world.begin_an_hour(&world.api, &linked.connection).await.unwrap();
        Self { world, linked, endpoint }
    }
}

impl Linked {
    /// Links a new customer through the business's key, and waits until both accounts were read.
    pub async fn new(world: &World, api: &Api, name: &str, history_days: u32) -> Self {
        let customer =
            world.bank.create_customer(&NewCustomer::with_two_accounts(name, history_days)).unwrap();
        Self::existing(&world.bank, api, customer).await
    }

    /// Links a customer that the bank has.
    pub async fn existing(bank: &Bank, api: &Api, customer: Customer) -> Self {
        let consent = bank.grant(&customer.id, Some(HOUR * 24 * 90)).unwrap();
        let created = api.post("/v1/connections", &connection_request(&consent)).await.unwrap();
        expect(&created, 201).unwrap();
        let connection = created.text("/id").to_owned();
        let accounts = accounts_read(api, &connection, customer.accounts.len()).await;
        Self { customer, consent, connection, api: api.clone(), accounts }
    }

    /// The bank's id of the current account.
    pub fn everyday(&self) -> &str {
        &self.customer.accounts[0]
    }
    /// The bank's id of the savings account.
    pub fn savings(&self) -> &str {
        &self.customer.accounts[1]
    }
    /// Ours, for one of the bank's.
    pub fn ours(&self, bank_id: &str) -> &str {
        &self.accounts[bank_id]
    }

    /// `POST …/sync`, whatever it answers.
    pub async fn ask(&self, bank_id: &str, wait: u32, body: &Value) -> Answer {
        let path = format!("/v1/accounts/{}/sync?wait={wait}", self.ours(bank_id));
        self.api.post(&path, body).await.unwrap()
    }
    /// A sync that finishes while the call waits.
    pub async fn sync(&self, bank_id: &str) -> Value {
        let answer = self.ask(bank_id, 60, &json!({})).await;
        expect(&answer, 200).unwrap();
        answer.body
    }
    /// A sync that must succeed.
    pub async fn good_sync(&self, bank_id: &str) -> Value {
        let sync = self.sync(bank_id).await;
        assert_eq!(sync["code"], "SYNC_SUCCESSFUL", "{sync}");
        sync
    }
    /// `GET /v1/accounts/{id}`.
    pub async fn account(&self, bank_id: &str) -> Value {
        let answer = self.api.get(&format!("/v1/accounts/{}", self.ours(bank_id))).await.unwrap();
        expect(&answer, 200).unwrap();
        answer.body
    }

    /// All that is stored of an account: rows and balances.
    pub async fn ledger(&self, bank_id: &str) -> (Vec<Value>, Value) {
        let account = self.ours(bank_id);
        let balances = self.api.get(&format!("/v1/accounts/{account}/balances")).await.unwrap();
        (self.rows(bank_id).await, balances.body["items"].clone())
    }

    /// The stored rows.
    pub async fn rows(&self, bank_id: &str) -> Vec<Value> {
        rows(&self.api, self.ours(bank_id)).await.unwrap()
    }

    /// The stored ledger is the bank's, row by row, and so is the booked balance.
    pub async fn assert_like_the_bank(&self, bank: &Bank, bank_id: &str) {
        compare(&self.api, self.ours(bank_id), bank, bank_id).await.unwrap();
    }
}

/// Our account ids by the bank's, once there are so many and the first sync of each is over.
pub async fn accounts_read(api: &Api, connection: &str, count: usize) -> BTreeMap<String, String> {
    let path = format!("/v1/accounts?connection_id={connection}");
    let listed = until("the list of accounts", async || {
        let listed = api.get(&path).await.unwrap();
        expect(&listed, 200).unwrap();
        (items(&listed).len() == count).then_some(listed)
    })
    .await;
    for account in items(&listed) {
        let path = format!("/v1/accounts/{}", text(account, "/id"));
        until("the first sync", async || is_read(&api.get(&path).await.unwrap().body).then_some(())).await;
    }
    let ids = |account: &Value| (text(account, "/bank_id").to_owned(), text(account, "/id").to_owned());
    items(&listed).iter().map(ids).collect()
}

/// How many events of a kind the business was or will be told, from the list of deliveries.
pub async fn told(api: &Api, endpoint: &str, kind: &str) -> usize {
    let path = format!("/v1/webhook-endpoints/{endpoint}/deliveries?limit=500");
    let listed = api.get(&path).await.unwrap();
    expect(&listed, 200).unwrap();
    assert_eq!(listed.body["has_more"], false, "more than a page of deliveries");
    items(&listed).iter().filter(|delivery| delivery["type"] == kind).count()
}

/// Waits for an accepted event of this kind about this account, after the first `skip` attempts.
pub async fn event(world: &World, kind: &str, account: &str, skip: usize) -> Value {
    let found = |received: &[Received]| {
        let mut new = received.iter().skip(skip).filter(|event| event.accepted && event.kind == kind);
        new.find(|event| text(&event.payload, "/data/account_id") == account)
            .map(|event| event.payload.clone())
    };
    world.sink.wait_for(&format!("{kind} of {account}"), tests::PATIENCE, found).await.unwrap()
}

/// Looks until there is something to see.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    tests::until(what, async || Ok(look().await)).await.unwrap()
}

/// Seconds between two moments of an answer.
pub fn seconds_between(earlier: &Value, later: &Value) -> f64 {
    let moment = |value: &Value| -> host::model::Timestamp {
        serde_json::from_value(value.clone()).unwrap_or_else(|_| panic!("no moment: {value}"))
    };
    (moment(later).0 - moment(earlier).0) as f64 / 1e6
}
