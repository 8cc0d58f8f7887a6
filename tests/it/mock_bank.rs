//! A bank that nobody here wrote: Python's `mock-bank`, whose camt.053 statements the camt connector reads, through
//! the whole service.

use crate::linked::accounts_read;
use serde_json::{Value, json};
use std::time::Duration;
use tests::compare::rows;
use tests::http::{Api, expect, items, text};
use tests::mock_bank::MockBank;
use tests::world::{World, WorldConfig, built};

const DAY: Duration = Duration::from_secs(24 * 3600);
const USER: &str = "book-keeper";
/// It goes to every route, so it must be long.
const PASSWORD: &str = "a-password-of-many-letters";

struct Scene {
    world: World,
    /// The bank's own remote control.
    bank: Api,
    _process: MockBank,
}

impl Scene {
    /// None where there is no Python.
    async fn new() -> Option<Self> {
        let auth = format!("{USER}:{PASSWORD}");
        let started = tokio::task::spawn_blocking(move || MockBank::start(&built().unwrap(), &auth));
        let process = started.await.unwrap().unwrap()?;
        let profile = format!(
            "name = \"Mock Bank\"\ncountry = \"NL\"\nconnector = \"camt053\"\ntime-zone = \"UTC\"\n\
             allow-post = [\"acknowledge\"]\n[origins]\nbank = \"{}/_mock\"\n\
             [settings]\nstatements = \"mailbox?leave&raw&type=camt.053\"\n[schedule]\ninterval-minutes = 10080\n",
            process.origin
        );
        let setup = WorldConfig {
            profiles: vec![("mock-bank".to_owned(), profile)],
            allow: vec![process.origin.replace("http://", "")],
            ..WorldConfig::default()
        };
        let world = World::start(setup).await.unwrap();
        world.endpoint().await.unwrap();
        let bank = Api::new(process.origin.clone(), None).unwrap();
        Some(Self { world, bank, _process: process })
    }

    async fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        use base64::Engine as _;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let basic = format!("Basic {pair}");
        let method = method.parse().unwrap();
        let answer = self.bank.send(method, path, &[("authorization", &basic)], Some(body)).await.unwrap();
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.body);
        match answer.body {
            // A list: the client takes only objects for JSON whose type says more than `json`.
            Value::String(list) => serde_json::from_str(&list).unwrap(),
            other => other,
        }
    }

    /// Money arrives; it books on the bank's next business day.
    async fn credit(&self, account: &str, minor: u32, debtor: Option<&str>, note: &[&str]) {
        let debtor = debtor.map(|name| json!({ "name": name }));
        let mut credit = json!({ "account": account, "amount": minor, "note": note });
        if let Some(debtor) = debtor {
            credit["debtor"] = debtor;
        }
        self.control("POST", "/_mock/credits", &credit).await;
    }

    /// Time passes, at the bank and with us.
    async fn days_pass(&self, days: u32) {
        self.control("POST", &format!("/_mock/advance?days={days}"), &json!({})).await;
        self.world.advance(DAY * days);
    }

    /// The bank's balance of an account, in minor units.
    async fn balance(&self, account: &str) -> i64 {
        self.control("GET", &format!("/_mock/accounts/{account}"), &json!({})).await["balance"]
            .as_i64()
            .unwrap()
    }

    async fn sync(&self, account: &str) -> Value {
        let path = format!("/v1/accounts/{account}/sync?wait=60");
        let answer = self.world.api.post(&path, &json!({})).await.unwrap();
        expect(&answer, 200).unwrap();
        answer.body
    }

    /// Stored rows against the credits that the bank has booked on the account, and the balance against its own.
    async fn assert_like_the_bank(&self, account: &str, ours: &str) {
        let credits = self.control("GET", "/_mock/credits", &json!({})).await;
        let booked = credits
            .as_array()
            .unwrap()
            .iter()
            .filter(|credit| credit["account_id"] == account && credit["booked_at"].is_string());
        let mut theirs: Vec<[String; 5]> = booked
            .map(|credit| {
                let minor = credit["amount"].as_i64().unwrap();
                let note: Vec<&str> =
                    credit["note"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
                [
                    format!("MB-RCV-{}", credit["id"]),
                    text(credit, "/booking_date").to_owned(),
                    format!("{}.{:02}", minor / 100, minor % 100),
                    note.join(" "),
                    text(credit, "/debtor_name").to_owned(),
                ]
            })
            .collect();
        let stored = rows(&self.world.api, ours).await.unwrap();
        let fields = ["/bank_id", "/booked_on", "/amount", "/text", "/counterparty"];
        let mut found: Vec<[String; 5]> =
            stored.iter().map(|row| fields.map(|field| text(row, field).to_owned())).collect();
        theirs.sort();
        found.sort();
        assert_eq!(found, theirs, "{account}");
        let balances = self.world.api.get(&format!("/v1/accounts/{ours}/balances")).await.unwrap();
        let kind = items(&balances).iter().find(|balance| balance["kind"] == "booked").unwrap();
        let minor: i64 = text(kind, "/amount").replace('.', "").parse().unwrap();
        assert_eq!(minor, self.balance(account).await, "{account}: {kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_camt_connector_syncs_from_a_bank_that_nobody_here_wrote() {
    let Some(scene) = Scene::new().await else { return };
    let api = &scene.world.api;
    scene.credit("ACME", 1250, Some("Künde & Söhne"), &["Invoice 7 <late>", "and 8"]).await;
    scene.credit("ACME", 1250, None, &["INV-1001"]).await;
    scene.credit("GLOBEX", 100_000, Some("Globex Customer"), &["INV-1002"]).await;
    scene.days_pass(4).await; // over a weekend, if there is one

    let request = json!({ "institution_id": "mock-bank", "customer_ref": "customer-42" });
    let begun = api.post("/v1/connections", &request).await.unwrap();
    expect(&begun, 201).unwrap();
    let connection = begun.text("/id");
    let typed = json!({ "values": { "username": USER, "password": PASSWORD } });
    let linked = api.post(&format!("/v1/connections/{connection}/continue"), &typed).await.unwrap();
    assert_eq!(linked.body["state"], "active", "{}", linked.body);
    // The one that is closed gets no statements.
    let accounts = accounts_read(api, connection, 3).await;
    let (acme, globex) = (&accounts["NL41MOCK0000000001"], &accounts["NL14MOCK0000000002"]);
    scene.assert_like_the_bank("ACME", acme).await;
    scene.assert_like_the_bank("GLOBEX", globex).await;

    // New entries, twins among them.
    scene.credit("ACME", 320, Some("Corner Coffee"), &["SAME"]).await;
    scene.credit("ACME", 320, Some("Corner Coffee"), &["SAME"]).await;
    scene.days_pass(4).await;
    let sync = scene.sync(acme).await;
    let came =
        (text(&sync, "/code"), &sync["added"], &sync["modified"], &sync["removed"], text(&sync, "/proof"));
    assert_eq!(came, ("SYNC_SUCCESSFUL", &json!(2), &json!(0), &json!(0), "proved"), "{sync}");
    scene.assert_like_the_bank("ACME", acme).await;
    scene.assert_like_the_bank("GLOBEX", globex).await;

    // Its fault: a statement that leaves out an entry. Balances tell, nothing is stored, and a sister goes on.
    scene.control("PATCH", "/_mock/accounts/ACME", &json!({ "behaviour": "statement-gap" })).await;
    scene.credit("ACME", 999, None, &["LEFT OUT"]).await;
    scene.credit("GLOBEX", 111, None, &["NOT LEFT OUT"]).await;
    scene.days_pass(4).await;
    let before = rows(api, acme).await.unwrap();
    let sync = scene.sync(acme).await;
    assert_eq!(text(&sync, "/code"), "INCOMPLETE_STATEMENT_ERROR", "{sync}");
    assert_eq!(rows(api, acme).await.unwrap(), before);
    assert_eq!(text(&scene.sync(globex).await, "/code"), "SYNC_SUCCESSFUL");
    scene.assert_like_the_bank("GLOBEX", globex).await;
}
