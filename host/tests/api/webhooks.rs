//! Endpoints and deliveries.

use super::world::{START, World};
use host::model::{AfterAttempt, AttemptId, EndpointState, NewAttempt};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn an_endpoint_is_made_changed_and_deleted_and_shows_its_secret_once() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let asked = json!({"url": "https://example.com/hook", "event_types": ["sync.failed", "account.updated", "sync.failed"]});
    let made = world.post(&tenant, "/v1/webhook-endpoints", &asked).await;
    let path = made.header("location").unwrap();
    let made = made.is(201);
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let shown = world.get(&tenant, &path).await.is(200);
    assert_eq!(shown["event_types"], json!(["account.updated", "sync.failed"]));
    assert_eq!(shown["secret"], json!(null));

    let change = async |body| world.ask(&tenant, "PATCH", &path, Some(&body)).await;
    let disabled = change(json!({"state": "disabled"})).await.is(200);
    assert_eq!((&disabled["state"], &disabled["url"]), (&json!("disabled"), &shown["url"]));
    assert_eq!(disabled["disabled_reason"], "disabled by its owner");
    let active = change(json!({"state": "active", "url": "https://example.com/other", "event_types": []}))
        .await
        .is(200);
    assert_eq!((&active["state"], &active["disabled_reason"]), (&json!("active"), &json!(null)));
    assert_eq!(world.get(&tenant, &path).await.is(200), active);
    change(json!({"url": "http://10.0.0.1/"})).await.problem(422, "invalid-value");
    change(json!({"state": "asleep"})).await.problem(400, "invalid-body");
    world.ask(&tenant, "DELETE", &path, None).await.is(204);
    world.get(&tenant, &path).await.problem(404, "unknown-id");
}

#[tokio::test]
async fn a_url_that_would_be_refused_later_is_refused_at_once() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    for url in
        ["http://127.0.0.1:9/", "https://10.1.2.3/", "ftp://example.com/", "nonsense", "https://[::1]/", ""]
    {
        let refused = world.post(&tenant, "/v1/webhook-endpoints", &json!({"url": url})).await;
        refused.problem(422, "invalid-value");
    }
    let unknown = json!({"url": "https://example.com/", "event_types": ["account.exploded"]});
    world.post(&tenant, "/v1/webhook-endpoints", &unknown).await.problem(400, "invalid-body");
    assert_eq!(world.get(&tenant, "/v1/webhook-endpoints").await.is(200)["items"], json!([]));
}

#[tokio::test]
async fn a_business_has_at_most_fifty_endpoints() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let asked = json!({"url": "https://example.com/hook"});
    for _ in 0..50 {
        world.post(&tenant, "/v1/webhook-endpoints", &asked).await.is(201);
    }
    world.post(&tenant, "/v1/webhook-endpoints", &asked).await.problem(409, "too-many-endpoints");
}

#[tokio::test]
async fn a_rotated_secret_signs_a_day_longer() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let estate = world.estate(&tenant).await;
    let path = format!("/v1/webhook-endpoints/{}/rotate-secret", estate.endpoint);
    let rotated = world.ask(&tenant, "POST", &path, None).await.is(200);
    let stored =
        world.app.store.endpoint(tenant.business, estate.endpoint.parse().unwrap()).await.unwrap().unwrap();
    let [new, old] = stored.secrets.as_slice() else { panic!("two secrets") };
    assert_eq!(new.secret.reveal(), rotated["secret"].as_str().unwrap());
    assert_eq!(new.expires_at, None);
    assert_ne!(new.secret, old.secret);
    assert_eq!(old.expires_at, Some(START.plus(Duration::from_secs(24 * 3_600))));
    assert_eq!(stored.state, EndpointState::Active);
}

#[tokio::test]
async fn a_delivery_shows_its_attempts_and_is_sent_again_on_request() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let estate = world.estate(&tenant).await;
    let list = format!("/v1/webhook-endpoints/{}/deliveries", estate.endpoint);
    let path = format!("{list}/{}", estate.delivery);
    assert_eq!(world.get(&tenant, &format!("{path}/attempts")).await.is(200)["items"], json!([]));

    let store = &world.app.store;
    let now = world.app.clock.now();
    let attempt =
        NewAttempt { id: AttemptId::new(), at: now, duration_ms: 12, status: Some(204), error: None };
    let claimed = claim(&world).await;
    assert!(store.record_attempt(&claimed, &attempt, &AfterAttempt::Delivered).await.unwrap());
    let shown = world.get(&tenant, &list).await.is(200);
    assert_eq!(
        (&shown["items"][0]["state"], &shown["items"][0]["attempts"]),
        (&json!("delivered"), &json!(1))
    );
    assert_eq!(shown["items"][0]["type"], "account.updated");
    let attempts = world.get(&tenant, &format!("{path}/attempts")).await.is(200);
    assert_eq!(
        (&attempts["items"][0]["status"], &attempts["items"][0]["duration_ms"]),
        (&json!(204), &json!(12))
    );

    world.ask(&tenant, "POST", &format!("{path}/replay"), None).await.is(204);
    let again = claim(&world).await;
    assert_eq!((again.id, again.event, &again.payload), (claimed.id, claimed.event, &claimed.payload));
    world
        .get(&tenant, &format!("{list}/{}/attempts", host::model::DeliveryId::new()))
        .await
        .problem(404, "unknown-id");
}

/// The one delivery that is due.
async fn claim(world: &World) -> host::model::ClaimedDelivery {
    let now = world.app.clock.now();
    let until = now.plus(Duration::from_secs(60));
    let mut claimed = world.app.store.claim_deliveries(now, until, 10, 10, false, &[]).await.unwrap();
    assert_eq!(claimed.len(), 1);
    claimed.remove(0)
}
