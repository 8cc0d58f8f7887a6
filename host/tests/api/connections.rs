//! Linking, listing and ending.

use super::world::{INSTITUTION, START, World};
use serde_json::{Value, json};

fn asked(institution: &str) -> Value {
    json!({
        "institution_id": institution,
        "credentials": {"token": "hunter2"},
        "consent": {"granted_at": START, "scopes": [], "how": "redirect"},
    })
}

#[tokio::test]
async fn a_bank_that_cannot_be_asked_gets_no_connections_and_says_why() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let refused = world.post(&tenant, "/v1/connections", &asked(INSTITUTION)).await;
    let refused = refused.problem(409, "institution-unavailable");
    assert_eq!(refused["detail"], "there is no connector \"example\"; build it");
    world.post(&tenant, "/v1/connections", &asked("nowhere")).await.problem(422, "invalid-value");
    assert_eq!(world.get(&tenant, "/v1/connections").await.is(200)["items"], json!([]));
    let shown = world.get(&tenant, &format!("/v1/institutions/{INSTITUTION}")).await.is(200);
    assert_eq!((&shown["available"], &shown["interval_minutes"]), (&json!(false), &json!(60)));
    assert_eq!(world.get(&tenant, "/v1/institutions").await.is(200)["items"], json!([shown]));
    world.get(&tenant, "/v1/institutions/nowhere").await.problem(404, "unknown-id");
}

#[tokio::test]
async fn connections_are_listed_page_by_page_and_by_customer() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let mut made = Vec::new();
    for customer in ["one", "two", "two"] {
        made.push(world.connection(&tenant, customer).await.to_string());
    }
    let (mut seen, mut query) = (Vec::new(), String::new());
    loop {
        let page = world.get(&tenant, &format!("/v1/connections?limit=1{query}")).await.is(200);
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("&cursor={cursor}"),
            None => break,
        }
    }
    made.sort();
    assert_eq!(seen, made);
    let two = world.get(&tenant, "/v1/connections?customer_ref=two").await.is(200);
    assert_eq!(two["items"].as_array().unwrap().len(), 2);
    let shown = world.get(&tenant, &format!("/v1/connections/{}", made[0])).await.is(200);
    assert_eq!(shown["state"], "active");
    assert_eq!(shown["consent"]["scopes"], json!(["ReadBalances"]));
    assert!(!shown.to_string().contains("s3cret"));
}

#[tokio::test]
async fn a_deleted_connection_is_gone_with_its_accounts_and_tells_so_once() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let estate = world.estate(&tenant).await;
    let path = format!("/v1/connections/{}", estate.connection);
    let account = format!("/v1/accounts/{}", estate.account.id);
    let changes = world.get(&tenant, &format!("{account}/changes")).await.is(200);
    world.ask(&tenant, "DELETE", &path, None).await.is(204);
    world.ask(&tenant, "DELETE", &path, None).await.problem(404, "unknown-id");
    for gone in [
        path.clone(),
        format!("{path}/export"),
        account.clone(),
        format!("{account}/balances"),
        format!("{account}/changes"),
        format!("{account}/changes?cursor=nonsense"),
        format!("{account}/syncs"),
        format!("{account}/transactions"),
        format!("{account}/transactions/{}", estate.transaction),
        format!("/v1/syncs/{}", estate.sync),
    ] {
        world.get(&tenant, &gone).await.problem(404, "unknown-id");
    }
    let sync = world.post(&tenant, &format!("{account}/sync"), &json!({})).await;
    sync.problem(404, "unknown-id");
    // Who follows the account by cursor is told that it is not lost but gone.
    let followed = format!("{account}/changes?cursor={}", changes["next_cursor"].as_str().unwrap());
    let gone = world.get(&tenant, &followed).await.problem(410, "account-erased");
    assert!(gone["detail"].as_str().unwrap().contains("Delete your copy"), "{gone}");
    let other = world.tenant("Other").await;
    world.get(&other, &followed).await.problem(404, "unknown-id");
    let theirs = world.estate(&tenant).await;
    let mixed = followed.replace(&estate.account.id.to_string(), &theirs.account.id.to_string());
    world.get(&tenant, &mixed).await.problem(400, "bad-cursor");
    let deliveries = format!("/v1/webhook-endpoints/{}/deliveries", estate.endpoint);
    let told = world.get(&tenant, &deliveries).await.is(200);
    let deleted =
        told["items"].as_array().unwrap().iter().filter(|item| item["type"] == "connection.deleted");
    assert_eq!(deleted.count(), 1, "{told}");
}
