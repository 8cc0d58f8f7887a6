//! Who may see and do what.

use super::world::{Estate, World, send};
use host::api::routes;
use host::model::{
    AccountId, ApiKeyId, AuthorisationId, ConnectionId, ConsentId, DeliveryId, EndpointId, Scope, SyncId,
    TransactionId,
};
use serde_json::{Value, json};

/// A path with these ids filled in.
fn fill(path: &str, ids: &[(&str, String)]) -> String {
    ids.iter().fold(path.to_owned(), |path, (name, id)| path.replace(&format!("{{{name}}}"), id))
}

fn ids(estate: &Estate) -> Vec<(&'static str, String)> {
    vec![
        ("connection_id", estate.connection.to_string()),
        ("consent_id", estate.consent.to_string()),
        ("authorisation_id", estate.authorisation.to_string()),
        ("account_id", estate.account.id.to_string()),
        ("transaction_id", estate.transaction.to_string()),
        ("sync_id", estate.sync.to_string()),
        ("endpoint_id", estate.endpoint.clone()),
        ("delivery_id", estate.delivery.clone()),
    ]
}

fn unknown_ids() -> Vec<(&'static str, String)> {
    let account = AccountId::new();
    vec![
        ("connection_id", ConnectionId::new().to_string()),
        ("consent_id", ConsentId::new().to_string()),
        ("authorisation_id", AuthorisationId::new().to_string()),
        ("account_id", account.to_string()),
        ("transaction_id", TransactionId { account, number: 1 }.to_string()),
        ("sync_id", SyncId::new().to_string()),
        ("endpoint_id", EndpointId::new().to_string()),
        ("delivery_id", DeliveryId::new().to_string()),
    ]
}

/// A body that the route would take.
fn body(method: &str, path: &str) -> Option<Value> {
    match (method, path) {
        ("POST", "/v1/connections/{connection_id}/reauthorise") => {
            Some(json!({"credentials": {"token": "x"}}))
        }
        ("POST", path) if path.ends_with("/continue") => Some(json!({"values": {"pin": "1234"}})),
        ("POST", path) if path.ends_with("/sync") => Some(json!({})),
        ("POST", path) if path.ends_with("/rotate-secret") || path.ends_with("/replay") => None,
        ("PATCH", "/v1/connections/{connection_id}") => Some(json!({"interval_minutes": 120})),
        ("PATCH", _) => Some(json!({"state": "disabled"})),
        _ => None,
    }
}

/// The routes that name something of a business, deletions last.
fn private_routes() -> Vec<(String, String)> {
    let mut private: Vec<_> = routes()
        .into_iter()
        .filter(|(_, path)| {
            path.starts_with("/v1/") && path.contains('{') && !path.contains("institution_id")
        })
        .collect();
    private.sort_by_key(|(method, _)| method == "DELETE");
    private
}

#[tokio::test]
async fn another_business_s_ids_are_answered_like_unknown_ones_on_every_route() {
    let world = World::new().await;
    let (owner, other) = (world.tenant("Owner").await, world.tenant("Other").await);
    let estate = world.estate(&owner).await;
    let private = private_routes();
    assert!(private.len() >= 18, "{private:?}");
    for (method, path) in &private {
        let theirs = world.ask(&other, method, &fill(path, &ids(&estate)), body(method, path).as_ref()).await;
        let unknown =
            world.ask(&other, method, &fill(path, &unknown_ids()), body(method, path).as_ref()).await;
        assert_eq!(theirs.text, unknown.text, "{method} {path}");
        theirs.problem(404, "unknown-id");
        unknown.problem(404, "unknown-id");
    }
    // Nothing of it did anything, and the owner is refused nowhere.
    for (method, path) in private.iter().filter(|(method, _)| method == "GET" || method == "DELETE") {
        let reply = world.ask(&owner, method, &fill(path, &ids(&estate)), None).await;
        assert!(reply.status == 200 || reply.status == 204, "{method} {path} {reply:?}");
    }
}

#[tokio::test]
async fn one_owner_s_ids_do_not_mix_either() {
    let world = World::new().await;
    let owner = world.tenant("Owner").await;
    let (one, two) = (world.estate(&owner).await, world.estate(&owner).await);
    let other_account = format!("/v1/accounts/{}/transactions/{}", two.account.id, one.transaction);
    world.get(&owner, &other_account).await.problem(404, "unknown-id");
    let other_endpoint = format!("/v1/webhook-endpoints/{}/deliveries/{}", two.endpoint, one.delivery);
    world.get(&owner, &format!("{other_endpoint}/attempts")).await.problem(404, "unknown-id");
    world.ask(&owner, "POST", &format!("{other_endpoint}/replay"), None).await.problem(404, "unknown-id");
    world.get(&owner, &format!("/v1/accounts/{}", one.connection)).await.problem(404, "unknown-id");
}

#[tokio::test]
async fn lists_show_only_the_business_s_own() {
    let world = World::new().await;
    let (owner, other) = (world.tenant("Owner").await, world.tenant("Other").await);
    let estate = world.estate(&owner).await;
    for path in ["/v1/connections", "/v1/consents", "/v1/accounts", "/v1/webhook-endpoints"] {
        assert_eq!(world.get(&owner, path).await.is(200)["items"].as_array().unwrap().len(), 1, "{path}");
        assert_eq!(world.get(&other, path).await.is(200)["items"], json!([]), "{path}");
    }
    let filtered = format!("/v1/accounts?connection_id={}", estate.connection);
    assert_eq!(world.get(&owner, &filtered).await.is(200)["items"][0]["id"], estate.account.id.to_string());
    world.get(&other, &filtered).await.problem(404, "unknown-id");
}

#[tokio::test]
async fn every_route_of_v1_wants_a_key_that_works() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let (revoked, revoked_text) = world.key(tenant.business, &Scope::ALL).await;
    assert!(world.app.store.revoke_api_key(revoked, world.app.clock.now()).await.unwrap());
    let unknown = tenant.key.replace(
        tenant.key_id.to_string().trim_start_matches("key_"),
        ApiKeyId::new().to_string().trim_start_matches("key_"),
    );
    let mut wrong_secret = tenant.key.clone();
    let last = wrong_secret.pop().unwrap();
    wrong_secret.push(if last == 'A' { 'E' } else { 'A' });
    for (method, path) in routes().into_iter().filter(|(_, path)| path.starts_with("/v1/")) {
        let path = fill(&path, &unknown_ids());
        let none = send(world.request(&method, &path)).await;
        assert_eq!(none.header("www-authenticate").as_deref(), Some("Bearer"));
        let expected = none.problem(401, "unauthenticated");
        for key in [&revoked_text, &unknown, &wrong_secret, "nonsense"] {
            let refused = send(world.request(&method, &path).bearer_auth(key)).await;
            assert_eq!(refused.problem(401, "unauthenticated"), expected, "{method} {path}");
        }
        let basic = send(world.request(&method, &path).basic_auth(&tenant.key, None::<&str>)).await;
        basic.problem(401, "unauthenticated");
    }
    assert_eq!(send(world.request("GET", "/v1/accounts").bearer_auth(&tenant.key)).await.status, 200);
}

#[tokio::test]
async fn a_key_does_only_what_its_scopes_say() {
    let world = World::new().await;
    let mut tenant = world.tenant("Business").await;
    let estate = world.estate(&tenant).await;
    let mut refused = 0;
    for scope in Scope::ALL {
        let others: Vec<Scope> = Scope::ALL.into_iter().filter(|other| *other != scope).collect();
        tenant.key = world.key(tenant.business, &others).await.1;
        for (method, path) in routes().into_iter().filter(|(_, path)| path.starts_with("/v1/")) {
            let needs = match (method.as_str(), path.as_str()) {
                ("GET", _) => Scope::Read,
                (_, path) if path.ends_with("/sync") => Scope::Sync,
                (_, path) if path.starts_with("/v1/connections") || path == "/v1/links" => Scope::Connections,
                _ => Scope::Webhooks,
            };
            if needs == scope {
                let reply = world
                    .ask(&tenant, &method, &fill(&path, &ids(&estate)), body(&method, &path).as_ref())
                    .await;
                let detail = reply.problem(403, "missing-scope")["detail"].as_str().unwrap().to_owned();
                let command =
                    format!("tidegate api-key create {} --scopes {}", tenant.business, scope.name());
                assert!(detail.contains(&command), "{detail}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, routes().iter().filter(|(_, path)| path.starts_with("/v1/")).count());
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_back() {
    let world = World::with(|config| {
        config.api_rate_per_s = 1;
        config.api_burst = 3;
    })
    .await;
    let (busy, quiet) = (world.tenant("Busy").await, world.tenant("Quiet").await);
    let mut refused = None;
    for _ in 0..20 {
        let reply = world.get(&busy, "/v1/connections").await;
        if reply.status != 200 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("twenty requests in a row are more than three and one per second");
    assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
    refused.problem(429, "too-many-requests");
    world.get(&quiet, "/v1/connections").await.is(200);
}
