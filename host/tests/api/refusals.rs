//! Bad input: always a problem that says what to do, and nothing stored.

use super::world::{World, send};
use serde_json::json;

#[tokio::test]
async fn a_bad_body_is_refused_with_the_place_and_without_its_values() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let post = async |body: &str, kind: &str| {
        let request = world.request("POST", "/v1/connections").bearer_auth(&tenant.key);
        send(request.header("content-type", kind).body(body.to_owned())).await
    };
    let json_kind = "application/json";
    let broken = post("{\"institution_id\": \"a\",\n oops", json_kind).await.problem(400, "invalid-body");
    assert!(broken["detail"].as_str().unwrap().starts_with("Line 2, column 2"), "{broken}");
    let leak = post(r#"{"institution_id": "a", "credentials": "hunter2", "consent": {}}"#, json_kind).await;
    assert!(!leak.text.contains("hunter2"), "{leak:?}");
    leak.problem(400, "invalid-body");
    let unknown =
        post(r#"{"institution_id": "a", "institution": "a"}"#, json_kind).await.problem(400, "invalid-body");
    assert!(unknown["detail"].as_str().unwrap().contains("unknown field `institution`"), "{unknown}");
    let missing = post(r#"{"credentials": {}}"#, json_kind).await.problem(400, "invalid-body");
    assert!(missing["detail"].as_str().unwrap().contains("missing field `institution_id`"), "{missing}");
    post("", json_kind).await.problem(400, "invalid-body");
    post("{}", "text/plain").await.problem(415, "unsupported-media-type");
    post(&format!("\"{}\"", "x".repeat(64 * 1024)), json_kind).await.problem(413, "body-too-large");
    post(&"[".repeat(60_000), json_kind).await.problem(400, "invalid-body");
    assert_eq!(world.get(&tenant, "/v1/connections").await.is(200)["items"], json!([]));
}

#[tokio::test]
async fn a_bad_query_cursor_or_method_is_refused() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let estate = world.estate(&tenant).await;
    let account = format!("/v1/accounts/{}", estate.account.id);
    for path in [
        "/v1/connections?limit=many".to_owned(),
        "/v1/connections?colour=blue".to_owned(),
        format!("{account}/transactions?from=yesterday"),
        format!("{account}/transactions?from=2027-02-01&to=2027-01-01"),
        format!("{account}/transactions?status=maybe"),
        format!("{account}/transactions?min_amount=1e3"),
        format!("{account}/transactions?max_amount=12.345"),
    ] {
        world.get(&tenant, &path).await.problem(400, "invalid-query");
    }
    world.post(&tenant, &format!("{account}/sync?wait=61"), &json!({})).await.problem(400, "invalid-query");
    for list in ["/v1/connections", "/v1/accounts"] {
        for cursor in ["nonsense", "AQ", "%00", ""] {
            world.get(&tenant, &format!("{list}?cursor={cursor}")).await.problem(400, "bad-cursor");
        }
    }
    for list in ["transactions", "changes", "syncs"] {
        world.get(&tenant, &format!("{account}/{list}?cursor=nonsense")).await.problem(400, "bad-cursor");
    }
    let reply = world.ask(&tenant, "PUT", "/v1/connections", None).await;
    let allowed = reply.header("allow").unwrap();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    reply.problem(405, "method-not-allowed");
    world.get(&tenant, "/v2/connections").await.problem(404, "unknown-path");
    send(world.request("GET", "/nowhere")).await.problem(404, "unknown-path");
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_is_not_cached() {
    let world = World::new().await;
    for path in ["/healthz", "/nowhere", "/v1/connections", "/docs"] {
        let reply = send(world.request("GET", path).header("x-request-id", "mine-1")).await;
        assert_eq!(reply.header("x-request-id").as_deref(), Some("mine-1"), "{path}");
        assert_eq!(reply.header("cache-control").as_deref(), Some("no-store"), "{path}");
        assert_eq!(reply.header("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
    }
    assert_eq!(send(world.request("GET", "/healthz")).await.header("x-request-id").unwrap().len(), 36);
}

#[tokio::test]
async fn the_service_describes_itself_and_says_that_it_is_ready() {
    let world = World::new().await;
    assert_eq!(send(world.request("GET", "/healthz")).await.is(200)["status"], "ok");
    assert_eq!(send(world.request("GET", "/readyz")).await.is(200)["status"], "ok");
    let document = send(world.request("GET", "/openapi.json")).await.is(200);
    let sync = &document["paths"]["/v1/accounts/{account_id}/sync"]["post"];
    assert_eq!(sync["security"], json!([{"api_key": ["sync"]}]));
    for status in ["200", "202", "401", "403", "409", "429", "default"] {
        assert!(sync["responses"][status].is_object(), "{status}");
    }
    let page = send(world.request("GET", "/docs")).await;
    assert_eq!(page.header("content-type").as_deref(), Some("text/html; charset=utf-8"));
    assert!(page.text.contains("/v1/accounts/{account_id}/sync"));
}

#[tokio::test]
async fn who_knows_only_the_host_finds_the_documentation() {
    let world = World::new().await;
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    let client = client.unwrap();
    for path in ["/", "/docs/"] {
        let reply = send(client.get(format!("{}{path}", world.base))).await;
        let location = reply.header("location");
        assert_eq!((reply.status, location.as_deref()), (308, Some("/docs")), "{path}");
    }
}
