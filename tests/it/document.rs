//! The OpenAPI document judges the service: real answers, lines of exports, problems and webhooks against what
//! `/openapi.json` promises. Nothing undocumented is let through: every object is closed.

use crate::linked::{Linked, accounts_read};
use host::model::{
    AccountId, AccountState, AuthorisationId, BusinessId, ConnectionId, ConsentId, DueConsent, EventType,
    NewEvent, Proof, StaleAccount, SyncCode, SyncId, Timestamp, Trigger,
};
use host::webhook::payload;
use jsonschema::{Draft, Validator};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::PATIENCE;
use tests::bank::{Decision, Fault, Granted, Hold, NewCustomer, PathKind};
use tests::browser::Browser;
use tests::http::{Answer, Api, expect, items, text};
use tests::story::events;
use tests::world::{DEMO_BANK, Signer, World, WorldConfig};

const SIGNED: &str = "demo-signed";

/// The document, as a judge.
struct Judge {
    document: Value,
    components: Value,
    /// What was judged: method, path and status.
    seen: BTreeSet<String>,
}

impl Judge {
    async fn of(api: &Api) -> Self {
        let document = api.get("/openapi.json").await.unwrap();
        expect(&document, 200).unwrap();
        let document = document.body;
        let components = closed(&document["components"], false);
        Self { document, components, seen: BTreeSet::new() }
    }

    fn validator(&self, schema: &Value) -> Validator {
        let whole =
            json!({ "allOf": [schema], "components": self.components, "unevaluatedProperties": false });
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .build(&whole)
            .unwrap()
    }

    /// What is wrong with a value.
    fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let validator = self.validator(&closed(schema, true));
        validator.iter_errors(value).map(|fault| format!("{}: {fault}", fault.instance_path())).collect()
    }

    fn judge(&self, what: &str, schema: &Value, value: &Value) {
        assert!(schema.is_object(), "{what} is not in the document");
        let faults = self.faults(schema, value);
        assert!(faults.is_empty(), "{what}: {faults:#?}\n{value:#}");
    }

    /// An answer to this operation; `path` is the document's.
    fn answer(&mut self, method: &Method, path: &str, answer: &Answer) {
        let what = format!("{method} {path} {}", answer.status);
        let operation = &self.document["paths"][path][method.as_str().to_lowercase()];
        assert!(operation.is_object(), "{what} is not in the document");
        let responses = &operation["responses"];
        let status = answer.status.to_string();
        let response =
            if responses[&status].is_object() { &responses[&status] } else { &responses["default"] };
        let kind = answer.header("content-type").to_owned();
        match response["content"].as_object() {
            None => assert!(answer.body.is_null(), "{what} has a body: {}", answer.body),
            Some(content) => {
                let content = content.get(&kind).unwrap_or_else(|| panic!("{what} is {kind}"));
                let lines: Vec<Value> = match answer.body.as_str() {
                    Some(lines) => lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
                    None => vec![answer.body.clone()],
                };
                lines.iter().for_each(|line| self.judge(&what, &content["schema"], line));
            }
        }
        self.seen.insert(what);
    }

    /// A body that was sent to a webhook.
    fn event(&self, body: &Value) {
        let kind = text(body, "/type");
        let operation = &self.document["webhooks"][kind]["post"];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        self.judge(kind, schema, body);
    }
}

/// The schema, with every reference that stands alone closed to what is not in the document.
fn closed(schema: &Value, part: bool) -> Value {
    match schema {
        Value::Object(members) => {
            let close = |(name, member): (&String, &Value)| (name.clone(), closed(member, name == "allOf"));
            let mut members: serde_json::Map<_, _> = members.iter().map(close).collect();
            if members.contains_key("$ref") && !part {
                members.insert("unevaluatedProperties".into(), json!(false));
            }
            Value::Object(members)
        }
        Value::Array(items) => items.iter().map(|item| closed(item, part)).collect(),
        other => other.clone(),
    }
}

/// A world, and somebody who asks it and has every answer judged.
struct Court {
    world: World,
    judge: Judge,
}

impl Court {
    async fn open() -> Self {
        let signer = Signer::new().unwrap();
        let others = ["demo-portal", "demo-dialogue", "demo-statements", SIGNED];
        let setup = WorldConfig {
            shipped: others.map(|institution| (institution, "")).into(),
            registered: true,
            registrations: vec![(SIGNED.to_owned(), signer.registration())],
            ..WorldConfig::default()
        };
        let world = World::start(setup).await.unwrap();
        signer.tell(&world.bank).unwrap();
        let judge = Judge::of(&world.api).await;
        Self { world, judge }
    }

    /// Asks, and has the answer judged. `ids` stand for the parameters of the path, in order; `query` follows.
    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        ids: &[&str],
        query: &str,
        body: Option<Value>,
    ) -> Answer {
        let mut real = path.to_owned();
        for id in ids {
            let (before, rest) = real.split_once('{').unwrap();
            real = format!("{before}{id}{}", rest.split_once('}').unwrap().1);
        }
        real += query;
        let answer = self.world.api.send(method.clone(), &real, &[], body.as_ref()).await.unwrap();
        self.judge.answer(&method, path, &answer);
        answer
    }

    async fn get(&mut self, path: &str, ids: &[&str]) -> Answer {
        self.ask(Method::GET, path, ids, "", None).await
    }

    async fn post(&mut self, path: &str, ids: &[&str], body: Value) -> Answer {
        self.ask(Method::POST, path, ids, "", Some(body)).await
    }

    /// A customer of the demo bank: all that is shown of them.
    async fn read_everything(&mut self) -> Linked {
        let ada = self.world.bank.create_customer(&NewCustomer::with_two_accounts("Ada Sample", 30)).unwrap();
        let begun = self.post("/v1/connections", &[], json!({ "institution_id": DEMO_BANK })).await;
        let id = begun.text("/id").to_owned();
        let mut browser = Browser::new().unwrap();
        browser.visit(begun.text("/authorisation/next/url")).await.unwrap();
        let back = self.world.bank.decide(browser.page.url.as_str(), &Decision::allow(&ada.id)).unwrap();
        browser.visit(&back).await.unwrap();
        let shown = self.get("/v1/connections/{connection_id}", &[&id]).await;
        let consent = Granted {
            consent_id: shown.text("/consent/reference").to_owned(),
            refresh_token: String::new(),
            granted_at: self.world.bank.now(),
            expires_at: None,
            permissions: Vec::new(),
        };
        let accounts = accounts_read(&self.world.api, &id, 2).await;
        let api = self.world.api.clone();
        let linked = Linked { customer: ada, consent, connection: id.clone(), api, accounts };
        self.world.begin_an_hour(&self.world.api, &id).await.unwrap();
        let account = linked.ours(linked.everyday()).to_owned();
        let sync = self.post("/v1/accounts/{account_id}/sync", &[&account], json!({})).await;
        expect(&sync, 200).unwrap();
        self.world.bank.hold(PathKind::Transactions, Hold::Answer);
        let path = "/v1/accounts/{account_id}/sync";
        let running = self.ask(Method::POST, path, &[&account], "?wait=0", None).await;
        expect(&running, 202).unwrap();
        self.get("/v1/syncs/{sync_id}", &[running.text("/id")]).await;
        self.world.bank.wait_held(1, PATIENCE).await.unwrap();
        self.world.bank.release();
        for path in
            ["/healthz", "/readyz", "/v1/institutions", "/v1/connections", "/v1/accounts", "/v1/consents"]
        {
            expect(&self.get(path, &[]).await, 200).unwrap();
        }
        self.get("/v1/institutions/{institution_id}", &[DEMO_BANK]).await;
        self.get("/v1/institutions/{institution_id}/health", &[DEMO_BANK]).await;
        self.get("/v1/connections/{connection_id}", &[&id]).await;
        for path in [
            "/v1/accounts/{account_id}",
            "/v1/accounts/{account_id}/balances",
            "/v1/accounts/{account_id}/changes",
            "/v1/accounts/{account_id}/syncs",
            "/v1/accounts/{account_id}/transactions",
        ] {
            expect(&self.get(path, &[&account]).await, 200).unwrap();
        }
        let listed = self.get("/v1/accounts/{account_id}/transactions", &[&account]).await;
        let path = "/v1/accounts/{account_id}/transactions/{transaction_id}";
        let ids = [account.as_str(), text(&items(&listed)[0], "/id")];
        self.get(path, &ids).await;
        self.get(&format!("{path}/changes"), &ids).await;
        self.get("/v1/syncs/{sync_id}", &[sync.text("/id")]).await;
        let consents = self.get("/v1/consents", &[]).await;
        self.get("/v1/consents/{consent_id}", &[text(&items(&consents)[0], "/id")]).await;
        let lines = self.get("/v1/consents/export", &[]).await;
        assert!(lines.body.is_string(), "lines: {}", lines.body);
        let lines = self.get("/v1/connections/{connection_id}/export", &[&id]).await;
        assert!(lines.body.as_str().unwrap().lines().count() > 10);
        linked
    }

    /// Every way in, a refusal among them.
    async fn let_in(&mut self) {
        let link = self.post("/v1/links", &[], json!({})).await;
        self.get("/v1/authorisations/{authorisation_id}", &[link.text("/id")]).await;
        let present = json!({ "ip": "203.0.113.7" });
        let mut kinds = BTreeSet::from([link.text("/next/kind").to_owned()]);
        let listed = self.get("/v1/institutions", &[]).await;
        for bank in items(&listed) {
            let asked = json!({ "institution_id": bank["id"], "customer_present": present });
            let begun = self.post("/v1/connections", &[], asked).await;
            expect(&begun, 201).unwrap();
            let kind = begun.text("/authorisation/next/kind").to_owned();
            let may = bank["next_kinds"].as_array().unwrap();
            assert!(kind == "wait" || may.contains(&json!(kind)), "{kind}: {bank}");
            kinds.insert(kind);
        }
        assert!(kinds.is_superset(&["link", "redirect", "form"].map(String::from).into()), "{kinds:?}");

        let ben = self.world.bank.create_customer(&NewCustomer::with_two_accounts("Ben Example", 0)).unwrap();
        let login = self.world.bank.login(&ben.id).unwrap();
        let begun = self.post("/v1/connections", &[], json!({ "institution_id": "demo-portal" })).await;
        let id = begun.text("/id").to_owned();
        let path = "/v1/connections/{connection_id}/continue";
        let typed = |password: &str| json!({ "values": { "username": login.user, "password": password } });
        let again = self.post(path, &[&id], typed("wrong")).await;
        assert_eq!(again.text("/authorisation/reason"), "credentials-rejected");
        expect(&self.post(path, &[&id], json!({ "values": {} })).await, 422).unwrap();
        expect(&self.post(path, &[&id], typed(&login.password)).await, 200).unwrap();
        expect(&self.post(path, &[&id], json!({ "values": {} })).await, 409).unwrap();
    }

    /// What is changed, rests, fails, and goes.
    async fn change_and_leave(&mut self, linked: &Linked) {
        let id = linked.connection.as_str();
        let asked = json!({ "interval_minutes": 120, "accounts": [linked.ours(linked.everyday())] });
        self.ask(Method::PATCH, "/v1/connections/{connection_id}", &[id], "", Some(asked)).await;
        for act in ["pause", "resume"] {
            let path = format!("/v1/connections/{{connection_id}}/{act}");
            expect(&self.post(&path, &[id], json!({})).await, 200).unwrap();
        }
        self.world.bank.fault(PathKind::Transactions, Fault::TruncatedJson, 100);
        let account = linked.ours(linked.everyday());
        let failed = self.post("/v1/accounts/{account_id}/sync", &[account], json!({})).await;
        assert_eq!(failed.text("/reason"), "unreadable");
        self.world.bank.clear_faults();
        self.world.bank.revoke_consent(&linked.consent.consent_id).unwrap();
        self.post("/v1/accounts/{account_id}/sync", &[account], json!({})).await;
        let path = "/v1/connections/{connection_id}/reauthorise";
        let asked = self.post(path, &[id], json!({})).await;
        assert_eq!(asked.text("/authorisation/next/kind"), "redirect");
        expect(&self.ask(Method::DELETE, "/v1/connections/{connection_id}", &[id], "", None).await, 204)
            .unwrap();
    }

    async fn endpoints(&mut self) {
        let asked = json!({ "url": self.world.sink.url(), "event_types": ["account.updated"] });
        let made = self.post("/v1/webhook-endpoints", &[], asked).await;
        let id = made.text("/id").to_owned();
        self.get("/v1/webhook-endpoints", &[]).await;
        let (one, path) = (id.as_str(), "/v1/webhook-endpoints/{endpoint_id}");
        self.get(path, &[one]).await;
        self.ask(Method::PATCH, path, &[one], "", Some(json!({ "state": "disabled" }))).await;
        self.post("/v1/webhook-endpoints/{endpoint_id}/rotate-secret", &[one], json!({})).await;
        expect(&self.ask(Method::DELETE, path, &[one], "", None).await, 204).unwrap();
    }

    async fn deliveries(&mut self, endpoint: &str) {
        let path = "/v1/webhook-endpoints/{endpoint_id}/deliveries";
        let listed = self.get(path, &[endpoint]).await;
        let ids = [endpoint, text(&items(&listed)[0], "/id")];
        self.get(&format!("{path}/{{delivery_id}}/attempts"), &ids).await;
        expect(&self.post(&format!("{path}/{{delivery_id}}/replay"), &ids, json!({})).await, 204).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_and_every_webhook_is_as_the_document_promises() {
    let mut court = Court::open().await;
    court.endpoints().await;
    let endpoint = court.world.endpoint().await.unwrap();
    let linked = court.read_everything().await;
    court.let_in().await;
    court.change_and_leave(&linked).await;
    court.deliveries(&endpoint).await;

    // Each good answer of each route was among them; a bank that takes its time to end a consent was not.
    let mut promised = BTreeSet::new();
    for (method, path) in host::api::routes() {
        let operation = &court.judge.document["paths"][&path][method.to_lowercase()];
        let statuses = operation["responses"].as_object().unwrap().keys();
        promised.extend(
            statuses
                .filter(|status| status.starts_with('2'))
                .map(|status| format!("{method} {path} {status}")),
        );
    }
    promised.remove("DELETE /v1/connections/{connection_id} 202");
    let missing: Vec<_> = promised.difference(&court.judge.seen).collect();
    assert!(missing.is_empty(), "{missing:#?}");

    let gone =
        |received: &[_]| events(received, "connection.deleted", &linked.connection).first().map(|_| ());
    court.world.sink.wait_for("the last event", PATIENCE, gone).await.unwrap();
    let received = court.world.sink.received();
    let told: BTreeSet<_> = received.iter().map(|event| event.kind.as_str()).collect();
    assert!(told.len() >= 6, "{told:?}");
    received.iter().for_each(|event| court.judge.event(&event.payload));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_is_as_the_document_promises_and_unknown_ids_are_promised() {
    let mut court = Court::open().await;
    let nobody = court.world.api.with_key(None);
    for (method, path) in host::api::routes().into_iter().filter(|(_, path)| path.starts_with("/v1/")) {
        let method: Method = method.parse().unwrap();
        let real = path.replace(['{', '}'], "");
        court.judge.answer(&method, &path, &nobody.send(method.clone(), &real, &[], None).await.unwrap());
        let ids = vec!["unknown"; path.matches('{').count()];
        if ids.is_empty() {
            continue;
        }
        let body = (method != Method::GET && method != Method::DELETE).then(|| json!({}));
        let answer = court.ask(method.clone(), &path, &ids, "", body).await;
        expect(&answer, 404).unwrap();
        let operation = &court.judge.document["paths"][&path][method.as_str().to_lowercase()];
        assert!(operation["responses"]["404"].is_object(), "{method} {path} may answer 404");
    }
    for list in ["/v1/accounts", "/v1/consents"] {
        let unknown = format!("?connection_id={}", ConnectionId::new());
        expect(&court.ask(Method::GET, list, &[], &unknown, None).await, 404).unwrap();
        assert!(court.judge.document["paths"][list]["get"]["responses"]["404"].is_object(), "{list}");
    }
    let document = &court.judge.document;
    assert_eq!(document["servers"][0]["url"], court.world.origin);
    assert_eq!(document["security"], json!([{ "api_key": [] }]));
    assert_eq!(document["paths"]["/healthz"]["get"]["security"], json!([]));
    for (method, path) in host::api::routes() {
        let operation = &document["paths"][&path][method.to_lowercase()];
        let keyed = method == "POST" && !path.ends_with("/sync");
        let named = operation["parameters"].as_array().into_iter().flatten();
        let key = named.into_iter().find(|one| one["name"] == "Idempotency-Key");
        assert_eq!(key.is_some(), keyed, "{method} {path}");
        assert!(key.is_none_or(|key| text(key, "/description").contains("24 hours")), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_judge_sees_what_is_wrong_with_an_answer() {
    let court = Court::open().await;
    let asked = json!({ "institution_id": "demo-portal" });
    let good = court.world.api.post("/v1/connections", &asked).await.unwrap().body;
    let schema = json!({ "$ref": "#/components/schemas/ConnectionWithConsent" });
    assert_eq!(court.judge.faults(&schema, &good), Vec::<String>::new());
    for (pointer, value) in [
        ("/surprise", json!(1)),
        ("/state", json!("odd")),
        ("/next_at", json!("soon")),
        ("/authorisation/surprise", json!(1)),
        ("/authorisation/state", json!("odd")),
        ("/authorisation/next/kind", json!("redirect")),
        ("/authorisation/next/surprise", json!(1)),
        ("/authorisation/next/fields/0/input", json!("odd")),
    ] {
        let mut broken = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        broken.pointer_mut(parent).unwrap()[name] = value;
        assert!(!court.judge.faults(&schema, &broken).is_empty(), "{pointer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_has_its_webhook_in_the_document() {
    let world = World::start(WorldConfig::default()).await.unwrap();
    let judge = Judge::of(&world.api).await;
    for event in every_event() {
        judge.event(&serde_json::from_str(&event.payload).unwrap());
    }
    let described: Vec<_> = judge.document["webhooks"].as_object().unwrap().keys().cloned().collect();
    let told: BTreeSet<_> = every_event().iter().map(|event| event.kind.name().to_owned()).collect();
    assert_eq!(described, told.into_iter().collect::<Vec<_>>());
    assert_eq!(described.len(), EventType::ALL.len());
    let page = world.api.get("/docs").await.unwrap();
    let page = page.body.as_str().unwrap().to_owned();
    for kind in EventType::ALL {
        assert!(page.contains(&format!("<h3 id={0}><code>{0}</code></h3>", kind.name())), "{}", kind.name());
    }
    // What stands in lines, prompts and pages is shown, field by field.
    for shown in ["ExportLineTransaction", "ConsentLineEnd", "NextForm", "look_again_s", "superseded_by"] {
        assert!(page.contains(shown), "{shown}");
    }
    for list in ["Page_Connection", "Page_Transaction", "All_Institution"] {
        let of = list.split_once('_').unwrap().1;
        let items = &judge.document["components"]["schemas"][list]["properties"]["items"]["items"];
        assert_eq!(items["$ref"], format!("#/components/schemas/{of}"), "{list}");
    }
    let next = &judge.document["components"]["schemas"]["Next"];
    assert_eq!(next["discriminator"]["propertyName"], "kind");
    assert_eq!(next["discriminator"]["mapping"]["form"], "#/components/schemas/NextForm");
}

/// One of every kind, as it is made.
fn every_event() -> Vec<NewEvent> {
    let (business, connection, account, at) =
        (BusinessId::new(), ConnectionId::new(), AccountId::new(), Timestamp(1_800_000_000_000_000));
    let authorisation = AuthorisationId::new();
    let sync = host::model::Sync {
        id: SyncId::new(),
        connection,
        account,
        trigger: Trigger::Schedule,
        customer_present: false,
        started_at: at,
        finished_at: at,
        bank_asked_at: None,
        bank_answered_at: None,
        code: SyncCode::SyncError,
        reason: Some("rate-limited".into()),
        message: None,
        has_new_data: true,
        added: 1,
        modified: 0,
        removed: 0,
        proof: Proof::Unproved,
        seq: 1,
        epoch: 0,
        next_allowed_at: None,
        next_at: None,
        connector: String::new(),
        runs: 1,
    };
    let due = DueConsent {
        id: ConsentId::new(),
        connection,
        business,
        institution: DEMO_BANK.into(),
        expires_at: at,
        due_at: at,
    };
    let stale = StaleAccount {
        account,
        connection,
        business,
        institution: DEMO_BANK.into(),
        fresh_at: Some(at),
        stale_at: at,
        failures: 0,
        reason: None,
        polled: true,
    };
    vec![
        payload::account_updated(business, &sync, true),
        payload::sync_failed(business, &sync),
        payload::account_stale(&stale, at),
        payload::reauthorisation_required(business, connection, DEMO_BANK, "consent-expired", at),
        payload::connection_authorised(business, connection, DEMO_BANK, authorisation, at),
        payload::authorisation_failed(business, connection, DEMO_BANK, authorisation, "expired", at),
        payload::consent_expiring(&due, 7, at),
        payload::connection_paused(business, connection, DEMO_BANK, at),
        payload::connection_resumed(business, connection, DEMO_BANK, at),
        payload::account_added(business, connection, account, AccountState::Excluded, at),
        payload::account_closed(business, connection, account, at),
        payload::connection_deleted(business, connection, DEMO_BANK, None, at),
    ]
}
