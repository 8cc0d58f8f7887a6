//! The audit trail of consents, and what a business does with a connection.

use super::world::{INSTITUTION, START, World};
use host::model::{ConsentId, NewConsent};
use serde_json::{Value, json};
use std::time::Duration;

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_trail_is_paged_filtered_shown_and_exported() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant("Business").await, world.tenant("Other").await);
    let mut made = Vec::new();
    for customer in ["one", "two", "two"] {
        let connection = world.connection(&tenant, customer).await;
        made.push((connection, world.app.store.consent(connection).await.unwrap().unwrap().id.to_string()));
    }
    world.connection(&other, "one").await;
    let all: Vec<_> = made.iter().map(|(_, consent)| consent.clone()).collect();
    let get = async |query: &str| world.get(&tenant, &format!("/v1/consents{query}")).await.is(200);
    let (mut seen, mut query) = (Vec::new(), "?limit=1".to_owned());
    loop {
        let page = get(&query).await;
        seen.extend(ids(&page));
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("?limit=1&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, all);
    assert_eq!(ids(&get("?customer_ref=two").await), all[1..]);
    assert_eq!(ids(&get(&format!("?connection_id={}", made[1].0)).await), all[1..2]);
    assert_eq!(ids(&get(&format!("?institution_id={INSTITUTION}&state=in_force")).await), all);
    assert_eq!(get("?institution_id=nowhere").await["items"], json!([]));
    assert_eq!(get("?state=ended").await["items"], json!([]));
    world.get(&tenant, "/v1/consents?state=over").await.problem(400, "invalid-query");
    world.get(&other, &format!("/v1/consents?connection_id={}", made[1].0)).await.problem(404, "unknown-id");
    let wrong = world.get(&tenant, "/v1/connections?limit=1").await.is(200);
    let wrong = format!("/v1/consents?cursor={}", wrong["next_cursor"].as_str().unwrap());
    world.get(&tenant, &wrong).await.problem(400, "bad-cursor");

    let shown = world.get(&tenant, &format!("/v1/consents/{}", all[0])).await.is(200);
    let expected = json!({
        "id": all[0], "connection_id": made[0].0, "institution_id": INSTITUTION, "customer_ref": "one",
        "granted_at": START, "expires_at": null, "scopes": ["ReadBalances"], "how": "redirect", "reference": null,
        "ended_at": null, "end_reason": null,
    });
    assert_eq!(shown, expected);
    world.get(&other, &format!("/v1/consents/{}", all[0])).await.problem(404, "unknown-id");
    world.get(&tenant, &format!("/v1/consents/{}", ConsentId::new())).await.problem(404, "unknown-id");
    let of_connection = world.get(&tenant, &format!("/v1/connections/{}", made[0].0)).await.is(200);
    assert_eq!(of_connection["consent"]["id"], shown["id"]);

    // Erased, it stays in the trail without the customer's texts.
    world.ask(&tenant, "DELETE", &format!("/v1/connections/{}", made[0].0), None).await.is(204);
    let erased = get("?state=ended").await;
    assert_eq!(ids(&erased), all[..1]);
    let erased = &erased["items"][0];
    assert_eq!((&erased["end_reason"], &erased["customer_ref"]), (&json!("deleted"), &Value::Null));
    assert_eq!(erased["scopes"], json!(["ReadBalances"]));
    assert_eq!(ids(&get(&format!("?connection_id={}", made[0].0)).await), all[..1]);

    let export = world.get(&tenant, "/v1/consents/export").await;
    assert_eq!(export.header("content-type").as_deref(), Some("application/x-ndjson"));
    let lines: Vec<Value> = export.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let listed = get("").await;
    let expected = listed["items"].as_array().unwrap().iter();
    let expected: Vec<_> = expected.map(|consent| json!({"kind": "consent", "data": consent})).collect();
    assert_eq!(lines[..3], expected);
    assert_eq!(lines[3..], [json!({"kind": "end", "data": {"lines": 3}})]);
}

#[tokio::test]
async fn an_export_is_whole_whatever_its_length() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let export = async || {
        let text = world.get(&tenant, "/v1/consents/export").await.text;
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(*lines.last().unwrap(), json!({"kind": "end", "data": {"lines": lines.len() - 1}}));
        lines.len() - 1
    };
    assert_eq!(export().await, 0);
    let connection = world.connection(&tenant, "one").await;
    let resumed = host::webhook::payload::connection_resumed(tenant.business, connection, INSTITUTION, START);
    let consent = NewConsent {
        granted_at: START,
        expires_at: Some(START.plus(Duration::from_secs(86_400))),
        scopes: vec![],
        how: "redirect".into(),
        reference: Some("a reference".into()),
    };
    // As many as two pieces, to the line, and one more.
    for count in [400, 401] {
        while world.app.store.consents(connection).await.unwrap().len() < count {
            let store = &world.app.store;
            store
                .reauthorise(tenant.business, connection, &[], Some(&consent), &resumed, START)
                .await
                .unwrap();
        }
        assert_eq!(export().await, count);
    }
}

#[tokio::test]
async fn a_paused_connection_says_what_to_do_and_settings_are_shown() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let estate = world.estate(&tenant).await;
    let path = format!("/v1/connections/{}", estate.connection);
    let paused = world.ask(&tenant, "POST", &format!("{path}/pause"), None).await.is(200);
    assert_eq!(paused["state"], "paused");
    assert!(paused["next_step"].as_str().unwrap().contains("/resume"), "{paused}");
    let sync = format!("/v1/accounts/{}/sync?wait=0", estate.account.id);
    let refused = world.ask(&tenant, "POST", &sync, None).await.problem(409, "connection-paused");
    assert!(refused["detail"].as_str().unwrap().contains(&format!("{path}/resume")), "{refused}");
    world.ask(&tenant, "POST", &format!("{path}/resume"), None).await.is(200);
    world.ask(&tenant, "POST", &sync, None).await.is(202);

    let patch = async |body: Value| world.ask(&tenant, "PATCH", &path, Some(&body)).await;
    let set = patch(json!({"interval_minutes": 120, "accounts": [estate.account.id]})).await.is(200);
    assert_eq!((&set["interval_minutes"], &set["accounts"]), (&json!(120), &json!([estate.account.id])));
    let shown = world.get(&tenant, &path).await.is(200);
    assert_eq!(shown, set);
    assert_eq!(world.get(&tenant, "/v1/connections").await.is(200)["items"][0]["accounts"], set["accounts"]);
    assert_eq!(patch(json!({})).await.is(200), set, "what is left out stays");
    let back = patch(json!({"interval_minutes": null, "accounts": "all"})).await.is(200);
    assert_eq!((&back["interval_minutes"], &back["accounts"]), (&Value::Null, &json!("all")));
    for wrong in
        [json!({"interval_minutes": 59}), json!({"interval_minutes": 10_081}), json!({"accounts": []})]
    {
        patch(wrong).await.problem(422, "invalid-value");
    }
    for wrong in [json!({"accounts": "some"}), json!({"interval_minutes": "1h"}), json!({"state": "paused"})]
    {
        patch(wrong).await.problem(400, "invalid-body");
    }
}
