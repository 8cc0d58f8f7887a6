//! The same request twice.

use super::world::{Reply, Tenant, World, send};
use host::model::Scope;
use serde_json::{Value, json};
use std::time::Duration;

const ENDPOINTS: &str = "/v1/webhook-endpoints";

async fn create(world: &World, tenant: &Tenant, key: &str, url: &str) -> Reply {
    let request = world.request("POST", ENDPOINTS).bearer_auth(&tenant.key).header("idempotency-key", key);
    send(request.json(&json!({"url": url}))).await
}

async fn count(world: &World, tenant: &Tenant) -> usize {
    world.get(tenant, ENDPOINTS).await.is(200)["items"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn a_repeated_request_is_done_once_and_answered_alike() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let first = create(&world, &tenant, "k1", "https://example.com/a").await;
    let again = create(&world, &tenant, "k1", "https://example.com/a").await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.text, again.text);
    assert_eq!(first.header("location"), again.header("location"));
    assert_eq!(
        (first.header("idempotent-replayed"), again.header("idempotent-replayed")),
        (None, Some("true".into()))
    );
    assert_eq!(again.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(count(&world, &tenant).await, 1);

    // Another body is another request, another key or business too.
    create(&world, &tenant, "k1", "https://example.com/b").await.problem(422, "idempotency-key-reused");
    create(&world, &tenant, "k2", "https://example.com/a").await.is(201);
    let other = world.tenant("Other").await;
    create(&world, &other, "k1", "https://example.com/a").await.is(201);
    assert_eq!((count(&world, &tenant).await, count(&world, &other).await), (2, 1));

    // A day later the key is new again.
    world.app.clock.advance(Duration::from_secs(24 * 3_600 + 1));
    let late = create(&world, &tenant, "k1", "https://example.com/b").await;
    assert_eq!((late.status, late.header("idempotent-replayed")), (201, None));
}

#[tokio::test]
async fn what_failed_may_be_tried_again_under_the_same_key() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    create(&world, &tenant, "k1", "http://127.0.0.1/").await.problem(422, "invalid-value");
    create(&world, &tenant, "k1", "https://example.com/a").await.is(201);
    create(&world, &tenant, &"k".repeat(256), "https://example.com/a").await.problem(422, "invalid-value");
}

#[tokio::test]
async fn a_kept_answer_is_shown_only_to_keys_that_may_ask() {
    let world = World::new().await;
    let mut tenant = world.tenant("Business").await;
    create(&world, &tenant, "k1", "https://example.com/a").await.is(201);
    tenant.key = world.key(tenant.business, &[Scope::Read]).await.1;
    let refused = create(&world, &tenant, "k1", "https://example.com/a").await;
    assert!(!refused.text.contains("whsec_"));
    refused.problem(403, "missing-scope");
}

#[tokio::test]
async fn the_same_request_at_the_same_moment_is_done_once() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let all = (0..8).map(|_| create(&world, &tenant, "k1", "https://example.com/a"));
    let mut bodies: Vec<Value> = Vec::new();
    for reply in futures_join(all.collect()).await {
        match reply.status {
            201 => bodies.push(reply.json()),
            _ => drop(reply.problem(409, "request-in-flight")),
        }
    }
    assert!(!bodies.is_empty());
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(count(&world, &tenant).await, 1);
}

/// All of them at the same time, on this task.
async fn futures_join<F: Future>(all: Vec<F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (one, done) in all.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = one.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
