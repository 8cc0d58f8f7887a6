//! The specification judges the demo bank: every reply of its UK Open Banking door, and what it takes
//! for a consent, against the OpenAPI file of the standard.

use jsonschema::{Draft, Validator};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tests::bank::{Bank, BankConfig, Customer, NewAccount, NewCustomer, NewEntry, PERMISSIONS};
use tests::http::{Answer, Api};
use tests::world::root;

const CONSENTS: &str = "/account-access-consents";
const CONSENT: &str = "/account-access-consents/{ConsentId}";
const ACCOUNTS: &str = "/accounts";
const ACCOUNT: &str = "/accounts/{AccountId}";
const BALANCES: &str = "/accounts/{AccountId}/balances";
pub const TRANSACTIONS: &str = "/accounts/{AccountId}/transactions";

/// Where the OpenAPI file of the standard lies.
pub fn file() -> std::path::PathBuf {
    root().join("tests/specs/open-banking-uk/account-info-openapi-3.1.11.json")
}

/// The document, as a judge of requests and replies.
pub struct Specification(Value);

impl Specification {
    pub fn load() -> Self {
        Self(serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap())
    }

    /// A schema of the document, with the document around it, so that its references lead somewhere.
    /// OpenAPI 3.0's schemas are JSON Schema's draft 4 at heart.
    fn validator(&self, schema: &Value) -> Validator {
        let whole = json!({ "allOf": [schema], "components": self.0["components"] });
        jsonschema::options().with_draft(Draft::Draft4).should_validate_formats(true).build(&whole).unwrap()
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(to) => self.0.pointer(to.strip_prefix('#').unwrap()).unwrap(),
            None => value,
        }
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        let operation = &self.0["paths"][path][method];
        assert!(operation.is_object(), "{method} {path} is not in the specification");
        operation
    }

    /// What is wrong with a reply to this operation: its status, headers, content type or body.
    pub fn faults(&self, method: &str, path: &str, answer: &Answer) -> Vec<String> {
        let response = &self.operation(method, path)["responses"][answer.status.to_string()];
        if response.is_null() {
            return vec![format!("{method} {path} does not answer {}", answer.status)];
        }
        let response = self.resolved(response);
        let mut faults = Vec::new();
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            if header["required"] == true && answer.header(name).is_empty() {
                faults.push(format!("the header {name} is missing"));
            }
        }
        let Some(content) = response["content"].as_object() else {
            if !answer.body.is_null() {
                faults.push(format!("{} has no body", answer.status));
            }
            return faults;
        };
        match content.get(answer.header("content-type")) {
            None => faults.push(format!("the content type is \"{}\"", answer.header("content-type"))),
            Some(kind) => {
                let validator = self.validator(&kind["schema"]);
                let errors = validator.iter_errors(&answer.body);
                faults.extend(errors.map(|error| format!("{}: {error}", error.instance_path())));
            }
        }
        faults
    }

    fn takes_consent(&self, body: &Value) -> bool {
        let content = &self.operation("post", CONSENTS)["requestBody"]["content"]["application/json"];
        self.validator(&content["schema"]).is_valid(body)
    }
}

/// A bank, somebody who asks it, and the judge of what it says.
struct Court {
    specification: Specification,
    bank: Bank,
    customer: Customer,
    /// How often each operation answered with each status.
    seen: BTreeMap<String, usize>,
}

impl Court {
    async fn open(config: BankConfig) -> Self {
        let bank = Bank::start(config).await.unwrap();
        let account = |nickname: &str, currency: &str, savings, history_days| NewAccount {
            nickname: nickname.into(),
            currency: currency.into(),
            savings,
            history_days,
        };
        let accounts = vec![
            account("Everyday", "GBP", false, 60),
            account("Rainy days", "EUR", true, 60),
            account("Holidays", "JPY", false, 10),
            account("Dinars", "KWD", false, 10),
            account("Empty", "GBP", false, 0),
        ];
        let customer = bank.create_customer(&NewCustomer { name: "Ada Sample".into(), accounts }).unwrap();
        Self { specification: Specification::load(), bank, customer, seen: BTreeMap::new() }
    }

    /// A token from the token endpoint, with HTTP Basic.
    async fn token(&self, form: String) -> String {
        let config = self.bank.config();
        let basic = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = basic.post(format!("{}/token", self.bank.auth_origin())).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let reply = request.basic_auth(&config.client_id, Some(&config.client_secret)).send().await.unwrap();
        let body: Value = serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap();
        body["access_token"].as_str().unwrap().to_owned()
    }

    fn api(&self, token: &str) -> Api {
        Api::new(self.bank.api_origin(), Some(token)).unwrap()
    }

    async fn own_api(&self) -> Api {
        self.api(&self.token("grant_type=client_credentials&scope=accounts".into()).await)
    }

    async fn customers_api(&self) -> (Api, String) {
        let granted = self.bank.grant(&self.customer.id, Some(Duration::from_secs(3600))).unwrap();
        let form = format!("grant_type=refresh_token&refresh_token={}", granted.refresh_token);
        (self.api(&self.token(form).await), granted.consent_id)
    }

    /// Asks, and lets the judge look at the reply; the reply. `path` is the specification's, `at` is
    /// what stands for its parameter, and the query.
    async fn ask(&mut self, api: &Api, method: Method, path: &str, at: &str, body: Option<&Value>) -> Answer {
        let (id, query) =
            at.split_once('?').map_or((at, String::new()), |(id, query)| (id, format!("?{query}")));
        let real = path.replace("{AccountId}", id).replace("{ConsentId}", id) + &query;
        let answer = api.send(method.clone(), &real, &[], body).await.unwrap();
        self.judge(method, path, &answer);
        answer
    }

    fn judge(&mut self, method: Method, path: &str, answer: &Answer) {
        let name = method.as_str().to_lowercase();
        let faults = self.specification.faults(&name, path, answer);
        assert!(faults.is_empty(), "{method} {path} {}: {faults:#?}\n{:#}", answer.status, answer.body);
        *self.seen.entry(format!("{name} {path} {}", answer.status)).or_default() += 1;
    }

    async fn get(&mut self, api: &Api, path: &str, at: &str) -> Answer {
        self.ask(api, Method::GET, path, at, None).await
    }

    /// All pages of an account, from the first link on.
    async fn read(&mut self, api: &Api, account: &str) -> Vec<Value> {
        let mut answer = self.get(api, TRANSACTIONS, account).await;
        let mut rows = Vec::new();
        loop {
            rows.extend(answer.body["Data"]["Transaction"].as_array().unwrap().clone());
            let next = answer.text("/Links/Next").to_owned();
            if next.is_empty() {
                return rows;
            }
            let query = next.split_once('?').unwrap().1;
            answer = self.get(api, TRANSACTIONS, &format!("{account}?{query}")).await;
        }
    }

    /// All that can be read with a consent, and all refusals.
    async fn read_everything(&mut self) {
        let (api, consent) = self.customers_api().await;
        let accounts = self.customer.accounts.clone();
        self.bank.authorise(&accounts[0], NewEntry::card("-4.10", "LUNCH", "Pret")).unwrap();
        self.get(&api, ACCOUNTS, "").await;
        let mut rows = Vec::new();
        for account in &accounts {
            self.get(&api, ACCOUNT, account).await;
            self.get(&api, BALANCES, account).await;
            rows.extend(self.read(&api, account).await);
        }
        assert!(rows.len() > 100 && rows.iter().any(|row| row["Status"] == "Pending"));
        let window = format!("{}?fromBookingDateTime=2100-01-01T00:00:00Z", accounts[0]);
        self.get(&api, TRANSACTIONS, &window).await;

        for (path, at) in [
            (ACCOUNT, "none".to_owned()),
            (BALANCES, "none".to_owned()),
            (TRANSACTIONS, format!("{}?fromBookingDateTime=soon", accounts[0])),
            (TRANSACTIONS, format!("{}?page=none", accounts[0])),
        ] {
            assert_eq!(self.get(&api, path, &at).await.status, 400);
        }
        for path in [ACCOUNTS, ACCOUNT, BALANCES, TRANSACTIONS] {
            let nobody = api.with_key(None);
            assert_eq!(self.get(&nobody, path, &accounts[0]).await.status, 401);
        }
        self.bank.advance(self.bank.config().full_history_for + Duration::from_secs(1));
        let old = format!("{}?fromBookingDateTime=2000-01-01T00:00:00Z", accounts[0]);
        assert_eq!(self.get(&api, TRANSACTIONS, &old).await.status, 403);
        self.bank.revoke_consent(&consent).unwrap();
        for path in [ACCOUNTS, ACCOUNT, BALANCES, TRANSACTIONS] {
            assert_eq!(self.get(&api, path, &accounts[0]).await.status, 403);
        }
        let (api, consent) = self.customers_api().await;
        self.bank.expire_consent(&consent).unwrap();
        assert_eq!(self.get(&api, ACCOUNTS, "").await.status, 403);
    }

    /// A consent from its making to its end, and all refusals.
    async fn make_and_end_a_consent(&mut self) {
        let api = self.own_api().await;
        let end = self.bank.now() + chrono::Days::new(90);
        let data = json!({
            "Permissions": PERMISSIONS,
            "ExpirationDateTime": end,
            "TransactionFromDateTime": "2017-05-03T00:00:00+00:00",
            "TransactionToDateTime": "2117-12-03T00:00:00+00:00",
        });
        for data in [data, json!({ "Permissions": ["ReadAccountsBasic"] })] {
            let body = json!({ "Data": data, "Risk": {} });
            let made = self.ask(&api, Method::POST, CONSENTS, "", Some(&body)).await;
            assert_eq!(made.status, 201);
            let id = made.text("/Data/ConsentId").to_owned();
            assert_eq!(self.get(&api, CONSENT, &id).await.body, made.body);
            assert_eq!(self.ask(&api, Method::DELETE, CONSENT, &id, None).await.status, 204);
            assert_eq!(self.get(&api, CONSENT, &id).await.status, 400);
            assert_eq!(self.ask(&api, Method::DELETE, CONSENT, &id, None).await.status, 400);
        }
        let nobody = api.with_key(None);
        let body = json!({ "Data": { "Permissions": ["ReadAccountsBasic"] }, "Risk": {} });
        assert_eq!(self.ask(&nobody, Method::POST, CONSENTS, "", Some(&body)).await.status, 401);
        assert_eq!(self.get(&nobody, CONSENT, "x").await.status, 401);
        assert_eq!(self.ask(&nobody, Method::DELETE, CONSENT, "x", None).await.status, 401);
        let text = [("content-type", "text/plain")];
        let real = api.send_raw(Method::POST, CONSENTS, &text, body.to_string().into_bytes()).await.unwrap();
        assert_eq!(real.status, 415);
        self.judge(Method::POST, CONSENTS, &real);
    }
}

#[tokio::test]
async fn every_reply_of_the_uk_door_is_as_the_specification_promises() {
    let plain = BankConfig { page_rows: 20, ..BankConfig::default() };
    for config in [
        BankConfig { row_balances: true, ..plain.clone() },
        BankConfig { row_ids: false, page_rows: 1000, ..plain },
    ] {
        let mut court = Court::open(config).await;
        court.read_everything().await;
        court.make_and_end_a_consent().await;
        let seen = &court.seen;
        assert!(seen[&format!("get {TRANSACTIONS} 200")] > 5, "{seen:?}");
        assert_eq!(seen.len(), 24, "{seen:#?}");
    }
}

#[tokio::test]
async fn what_the_specification_takes_for_no_consent_the_bank_refuses() {
    let mut court = Court::open(BankConfig::default()).await;
    let api = court.own_api().await;
    let good = json!({ "Data": { "Permissions": ["ReadAccountsBasic"] }, "Risk": {} });
    let mut bodies = vec![good.clone(), json!([]), json!({}), json!({ "Data": good["Data"] })];
    for (pointer, value) in [
        ("/Data", json!("all")),
        ("/Risk", json!({ "More": 1 })),
        ("/More", json!(1)),
        ("/Data/Permissions", json!([])),
        ("/Data/Permissions", json!("ReadAccountsBasic")),
        ("/Data/Permissions", json!(["ReadEverything"])),
        ("/Data/Permissions", json!([1])),
        ("/Data/ExpirationDateTime", json!("soon")),
        ("/Data/TransactionFromDateTime", json!(7)),
        ("/Data/TransactionToDateTime", json!("2100-01-01T00:00:00Z")),
    ] {
        let mut body = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = value;
        bodies.push(body);
    }
    let mut refused = 0;
    for body in bodies {
        let takes = court.specification.takes_consent(&body);
        let answer = court.ask(&api, Method::POST, CONSENTS, "", Some(&body)).await;
        assert_eq!(answer.status, if takes { 201 } else { 400 }, "{body}");
        refused += usize::from(!takes);
    }
    assert_eq!(refused, 12);
}

#[tokio::test]
async fn the_judge_sees_what_is_wrong_with_a_reply() {
    let mut court = Court::open(BankConfig::default()).await;
    let (api, _) = court.customers_api().await;
    let account = court.customer.accounts[0].clone();
    let good = court.get(&api, TRANSACTIONS, &account).await;
    let faults = |change: &dyn Fn(&mut Answer)| {
        let mut broken = good.clone();
        change(&mut broken);
        court.specification.faults("get", TRANSACTIONS, &broken)
    };
    assert_eq!(faults(&|_| ()), Vec::<String>::new());
    let row = |pointer: &'static str, value: Value| {
        move |answer: &mut Answer| {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            answer.body.pointer_mut(&format!("/Data/Transaction/3{parent}")).unwrap()[name] = value.clone();
        }
    };
    for (pointer, value) in [
        ("/Amount/Amount", json!("1e3")),
        ("/Amount/Amount", json!(12.5)),
        ("/Amount/Currency", json!("pounds")),
        ("/BookingDateTime", json!("2026-01-05")),
        ("/BookingDateTime", json!("2026-02-30T00:00:00+00:00")),
        ("/Status", json!("Done")),
        ("/AccountId", json!("")),
        ("/TransactionInformation", json!("x".repeat(501))),
        ("/Surprise", json!(1)),
    ] {
        let found = faults(&row(pointer, value.clone()));
        assert!(
            found.iter().any(|fault| fault.contains("/Data/Transaction/3")),
            "{pointer} {value}: {found:?}"
        );
    }
    let missing: &dyn Fn(&mut Answer) = &|answer| {
        answer.body["Data"]["Transaction"][0].as_object_mut().unwrap().remove("AccountId");
    };
    let no_link: &dyn Fn(&mut Answer) = &|answer| answer.body["Links"]["Self"] = json!("no address");
    let no_id: &dyn Fn(&mut Answer) = &|answer| drop(answer.headers.remove("x-fapi-interaction-id"));
    let text: &dyn Fn(&mut Answer) =
        &|answer| drop(answer.headers.insert("content-type", "text/html".parse().unwrap()));
    let teapot: &dyn Fn(&mut Answer) = &|answer| answer.status = 418;
    let talkative: &dyn Fn(&mut Answer) = &|answer| answer.status = 401;
    for change in [missing, no_link, no_id, text, teapot, talkative] {
        assert_eq!(faults(change).len(), 1, "{:?}", faults(change));
    }
}
