//! Linking by form and redirect, as a business does it: what the tests of the bank's other front doors share.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use tests::bank::{Customer, Login, NewCustomer};
use tests::compare::{Tells, compare_told};
use tests::http::{Answer, expect};
use tests::linking;
pub use tests::linking::fields;
use tests::world::{World, WorldConfig};

/// What a business says of the customer at its screen.
pub const AT_SCREEN: (&str, &str) = ("203.0.113.7", "Ada's own browser");

/// A world with one more institution, an endpoint, and a customer of the bank with two accounts.
pub struct Door {
    pub world: World,
    pub institution: &'static str,
    pub customer: Customer,
    pub login: Login,
    pub tells: Tells,
}

/// A customer's link, and what is known of it.
pub struct Link {
    pub connection: String,
    /// Ours, by the bank's.
    pub accounts: BTreeMap<String, String>,
}

impl Door {
    /// `more`: lines for the institution's profile.
    pub async fn new(institution: &'static str, more: &'static str, tells: Tells) -> Self {
        Self::with(
            institution,
            WorldConfig { shipped: vec![(institution, more)], ..WorldConfig::default() },
            tells,
        )
        .await
    }

    pub async fn with(institution: &'static str, mut setup: WorldConfig, tells: Tells) -> Self {
        // Tests look more often than a key may.
        setup.adjust.get_or_insert(|config| (config.api_rate_per_s, config.api_burst) = (10_000, 10_000));
        let world = World::start(setup).await.unwrap();
        world.endpoint().await.unwrap();
        let customer = world.bank.create_customer(&NewCustomer::with_two_accounts("Ada Sample", 30)).unwrap();
        let login = world.bank.login(&customer.id).unwrap();
        Self { world, institution, customer, login, tells }
    }

    /// The bank's id of the current account.
    pub fn everyday(&self) -> &str {
        &self.customer.accounts[0]
    }

    /// `POST /v1/connections` without credentials.
    pub async fn begin(&self) -> Answer {
        let request = json!({
            "institution_id": self.institution,
            "customer_ref": "customer-42",
            "customer_present": { "ip": AT_SCREEN.0, "user_agent": AT_SCREEN.1 },
        });
        let begun = self.world.api.post("/v1/connections", &request).await.unwrap();
        expect(&begun, 201).unwrap();
        begun
    }

    /// `POST …/continue` with what the customer typed.
    pub async fn go_on(&self, connection: &str, values: Value) -> Answer {
        linking::go_on(&self.world.api, connection, &values).await.unwrap()
    }

    pub async fn shown(&self, connection: &str) -> Value {
        linking::shown(&self.world.api, connection).await.unwrap()
    }

    /// Waits until the customer is in and both accounts were read once.
    pub async fn linked(&self, connection: &str) -> Link {
        let accounts = linking::accounts(&self.world.api, connection, &self.customer).await.unwrap();
        let link = Link { connection: connection.to_owned(), accounts };
        self.world.begin_an_hour(&self.world.api, connection).await.unwrap();
        link
    }

    /// `/sync` of the account, finished while it waits.
    pub async fn sync(&self, link: &Link, bank_id: &str) -> Value {
        self.sync_with(link, bank_id, &json!({})).await
    }

    pub async fn sync_with(&self, link: &Link, bank_id: &str, body: &Value) -> Value {
        let path = format!("/v1/accounts/{}/sync?wait=60", link.accounts[bank_id]);
        let answer = self.world.api.post(&path, body).await.unwrap();
        expect(&answer, 200).unwrap();
        answer.body
    }

    /// A sync that must succeed.
    pub async fn good_sync(&self, link: &Link, bank_id: &str) -> Value {
        let sync = self.sync(link, bank_id).await;
        assert_eq!(sync["code"], "SYNC_SUCCESSFUL", "{sync}");
        sync
    }

    /// All stored ledgers are the bank's, as far as this door tells of it.
    pub async fn assert_like_the_bank(&self, link: &Link) {
        for (bank_id, account) in &link.accounts {
            compare_told(&self.world.api, account, &self.world.bank, bank_id, self.tells).await.unwrap();
        }
    }

    /// `DELETE`, done at once; whether the bank ended it.
    pub async fn leave(&self, link: &Link) -> bool {
        linking::leave(&self.world, &link.connection).await.unwrap()
    }
}
