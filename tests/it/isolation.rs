//! The route table, walked with another business's ids, without a key, and with keys of too little scope.

use crate::linked::{Linked, until};
use host::model::*;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tests::bank::NewEntry;
use tests::http::{Answer, Api, expect, items, text};
use tests::story::connection_request;
use tests::world::{World, WorldConfig};

/// Path parameter to id.
type Ids = BTreeMap<&'static str, String>;

async fn world() -> World {
    // The walk asks more often than a key may.
    let adjust: fn(&mut host::config::Config) =
        |config| (config.api_rate_per_s, config.api_burst) = (10_000, 10_000);
    World::start(WorldConfig { adjust: Some(adjust), ..WorldConfig::default() }).await.unwrap()
}

/// Every guarded route.
fn routes() -> Vec<(Method, String)> {
    let guarded = host::api::routes().into_iter().filter(|(_, path)| path.starts_with("/v1/"));
    let routes: Vec<_> = guarded.map(|(method, path)| (method.parse().unwrap(), path)).collect();
    assert!(routes.len() >= 20, "{routes:?}");
    routes
}

/// The path with ids for its parameters.
fn filled(path: &str, ids: &Ids) -> String {
    let mut filled = path.to_owned();
    for (name, id) in ids {
        filled = filled.replace(&format!("{{{name}}}"), id);
    }
    assert!(!filled.contains('{'), "a parameter that this test does not know: {filled}");
    filled
}

/// A body that the route would take.
fn body(method: &Method, path: &str, reauthorisation: &Value) -> Option<Value> {
    match (method.as_str(), path) {
        ("POST", path) if path.ends_with("/reauthorise") => Some(reauthorisation.clone()),
        ("POST", _) => Some(json!({})),
        ("PATCH", path) if path.starts_with("/v1/connections") => Some(json!({ "interval_minutes": 120 })),
        ("PATCH", _) => Some(json!({ "state": "disabled" })),
        _ => None,
    }
}

fn unknown() -> Ids {
    Ids::from([
        ("connection_id", ConnectionId::new().to_string()),
        ("authorisation_id", AuthorisationId::new().to_string()),
        ("consent_id", ConsentId::new().to_string()),
        ("account_id", AccountId::new().to_string()),
        ("transaction_id", TransactionId { account: AccountId::new(), number: 1 }.to_string()),
        ("sync_id", SyncId::new().to_string()),
        ("endpoint_id", EndpointId::new().to_string()),
        ("delivery_id", DeliveryId::new().to_string()),
        ("institution_id", "no-such-bank".to_owned()),
    ])
}

/// A real id of every kind.
async fn real(api: &Api, linked: &Linked, endpoint: &str) -> Ids {
    let account = linked.ours(linked.everyday());
    let first = async |path: String| {
        let listed = until(&path, async || {
            let listed = api.get(&path).await.unwrap();
            (!items(&listed).is_empty()).then_some(listed)
        });
        text(&items(&listed.await)[0], "/id").to_owned()
    };
    // Nobody has to come for it to exist.
    let path = format!("/v1/connections/{}/reauthorise", linked.connection);
    let begun = api.post(&path, &json!({})).await.unwrap();
    expect(&begun, 200).unwrap();
    Ids::from([
        ("connection_id", linked.connection.clone()),
        ("authorisation_id", begun.text("/authorisation/id").to_owned()),
        ("consent_id", first(format!("/v1/consents?connection_id={}", linked.connection)).await),
        ("account_id", account.to_owned()),
        ("transaction_id", first(format!("/v1/accounts/{account}/transactions")).await),
        ("sync_id", first(format!("/v1/accounts/{account}/syncs")).await),
        ("endpoint_id", endpoint.to_owned()),
        ("delivery_id", first(format!("/v1/webhook-endpoints/{endpoint}/deliveries")).await),
        ("institution_id", "no-such-bank".to_owned()),
    ])
}

async fn ask(api: &Api, method: &Method, path: &str, body: &Option<Value>) -> Answer {
    api.send(method.clone(), path, &[], body.as_ref()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_businesss_ids_are_as_unknown_as_ids_that_were_never_given_out() {
    let world = world().await;
    let theirs = world.endpoint().await.unwrap();
    let linked = Linked::new(&world, &world.api, "Ada Sample", 0).await;
    world.bank.book(linked.everyday(), NewEntry::transfer("1.00", "A ROW")).unwrap();
    linked.good_sync(linked.everyday()).await;
    let theirs = real(&world.api, &linked, &theirs).await;

    // The other business has one of everything too, so that a mix of ids is tried as well.
    let other = world.another_business().unwrap();
    let created = other.post("/v1/webhook-endpoints", &json!({ "url": world.sink.url() })).await.unwrap();
    let own = Linked::new(&world, &other, "Ben Example", 0).await;
    world.bank.book(own.everyday(), NewEntry::transfer("1.00", "A ROW")).unwrap();
    own.good_sync(own.everyday()).await;
    let own = real(&other, &own, created.text("/id")).await;

    let mut reauthorisation = connection_request(&linked.consent);
    reauthorisation.as_object_mut().unwrap().retain(|key, _| key == "credentials" || key == "consent");
    world.begin_an_hour(&world.api, &linked.connection).await.unwrap();
    let theirs_asked = || {
        let requests = world.bank.requests().into_iter().filter_map(|request| request.account);
        requests.filter(|account| linked.customer.accounts.contains(account)).count()
    };
    let before = (linked.ledger(linked.everyday()).await, theirs_asked());
    let (unknown, mut walked) = (unknown(), 0);
    for (method, path) in routes().into_iter().filter(|(_, path)| path.contains('{')) {
        let body = body(&method, &path, &reauthorisation);
        let expected = ask(&other, &method, &filled(&path, &unknown), &body).await;
        assert_eq!(expected.status, 404, "{method} {path}: {}", expected.body);
        let names: Vec<_> = theirs.keys().filter(|name| path.contains(&format!("{{{name}}}"))).collect();
        // All theirs; and each alone theirs, with the rest our own.
        let mut mixes = vec![theirs.clone()];
        mixes.extend(names.iter().map(|name| {
            let mut mix = own.clone();
            mix.insert(name, theirs[*name].clone());
            mix
        }));
        for mix in mixes {
            let path = filled(&path, &mix);
            let got = ask(&other, &method, &path, &body).await;
            assert_eq!(got.status, 404, "{method} {path}: {}", got.body);
            // The last parameter that is theirs decides what is unknown; a single one leaves no choice.
            if names.len() == 1 {
                assert_eq!(got.body, expected.body, "{method} {path}");
            }
            assert!(!got.body.to_string().contains(theirs["account_id"].as_str()), "{}", got.body);
            walked += 1;
        }
    }
    assert!(walked >= 30, "{walked}");

    assert_eq!((linked.ledger(linked.everyday()).await, theirs_asked()), before);
    let connection = world.api.get(&format!("/v1/connections/{}", linked.connection)).await.unwrap();
    assert_eq!((connection.text("/state"), &connection.body["interval_minutes"]), ("active", &Value::Null));
    let endpoint = world.api.get(&format!("/v1/webhook-endpoints/{}", theirs["endpoint_id"])).await.unwrap();
    assert_eq!(endpoint.text("/state"), "active");
    for (list, id) in [
        ("connections", "connection_id"),
        ("consents", "consent_id"),
        ("consents", "connection_id"),
        ("accounts", "account_id"),
        ("webhook-endpoints", "endpoint_id"),
    ] {
        let listed = other.get(&format!("/v1/{list}")).await.unwrap();
        expect(&listed, 200).unwrap();
        assert!(!listed.body.to_string().contains(theirs[id].as_str()), "{list}");
    }
    // Nor by a filter: their connection is as unknown as any.
    let filter = |ids: &Ids| format!("/v1/consents?connection_id={}", ids["connection_id"]);
    let got = other.get(&filter(&theirs)).await.unwrap();
    let expected = other.get(&filter(&unknown)).await.unwrap();
    assert_eq!((got.status, &got.body), (404, &expected.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_key_every_route_answers_401_and_says_nothing_else() {
    let world = world().await;
    let good = world.api.key().unwrap().to_owned();
    let last = if good.ends_with('0') { '1' } else { '0' };
    let almost = format!("{}{last}", &good[..good.len() - 1]);
    let revoked: Value =
        serde_json::from_str(&world.tidegate(&["api-key", "create", &world.business, "--json"]).unwrap())
            .unwrap();
    world.tidegate(&["api-key", "revoke", text(&revoked, "/id")]).unwrap();
    for key in [None, Some("nonsense"), Some(almost.as_str()), Some(text(&revoked, "/key"))] {
        let api = world.api.with_key(key);
        let mut bodies = std::collections::BTreeSet::new();
        for (method, path) in routes() {
            let got = ask(&api, &method, &filled(&path, &unknown()), &body(&method, &path, &json!({}))).await;
            assert_eq!(
                (got.status, got.text("/code")),
                (401, "unauthenticated"),
                "{method} {path}: {}",
                got.body
            );
            assert!(!got.header("www-authenticate").is_empty(), "{method} {path}");
            bodies.insert(got.body.to_string());
        }
        assert_eq!(bodies.len(), 1, "{bodies:?}");
    }
    expect(&world.api.get("/v1/accounts").await.unwrap(), 200).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_needs_exactly_one_scope_and_403_names_it() {
    let world = world().await;
    let scopes = ["read", "sync", "connections", "webhooks"];
    let mut keys = Vec::new();
    for scope in scopes {
        let made =
            world.tidegate(&["api-key", "create", &world.business, "--scopes", scope, "--json"]).unwrap();
        let made: Value = serde_json::from_str(&made).unwrap();
        keys.push((scope, world.api.with_key(Some(text(&made, "/key")))));
    }
    for (method, path) in routes() {
        let mut enough = Vec::new();
        for (scope, api) in &keys {
            let got = ask(api, &method, &filled(&path, &unknown()), &body(&method, &path, &json!({}))).await;
            assert_ne!(got.status, 401, "{method} {path}");
            if got.status == 403 {
                assert_eq!(got.text("/code"), "missing-scope", "{method} {path}");
                assert!(scopes.iter().any(|scope| got.text("/detail").contains(scope)), "{}", got.body);
            } else {
                enough.push(*scope);
            }
        }
        let expected = match (method.as_str(), path.as_str()) {
            ("GET", _) => "read",
            (_, path) if path.ends_with("/sync") => "sync",
            (_, path) if path.starts_with("/v1/connections") || path == "/v1/links" => "connections",
            _ => "webhooks",
        };
        assert_eq!(enough, [expected], "{method} {path}");
    }
}
