//! Asking for a sync: the worker is played by the test.

use super::world::{World, entry};
use host::model::{NewChange, SyncCode, Timestamp};
use host::nudge::Bell;
use host::webhook::payload;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_call_waits_for_its_sync_and_shows_what_it_came_to() {
    let world = Arc::new(World::new().await);
    let tenant = world.tenant("Business").await;
    let estate = world.estate(&tenant).await;
    let account = estate.account.id;
    let call = tokio::spawn({
        let (world, tenant) = (world.clone(), tenant.clone());
        let body = json!({"customer_present": {"ip": "203.0.113.7", "user_agent": "Browser/1.0"}});
        async move { world.post(&tenant, &format!("/v1/accounts/{account}/sync?wait=60"), &body).await }
    });
    world.app.nudge.heard(Bell::Schedule).await;
    let lease = world.lease(estate.connection).await;
    let run = world.run(&lease, account, vec![NewChange::added(entry(-320, "Coffee", 2))], |_| {}).await;
    let answer = call.await.unwrap().is(200);
    assert_eq!(answer["id"], run.id.to_string());
    assert!(run.customer_present);
    assert_eq!(answer["customer_present"], true);
    assert_eq!((&answer["status"], &answer["code"]), (&json!("finished"), &json!("SYNC_SUCCESSFUL")));
    assert_eq!((&answer["has_new_data"], &answer["added"]), (&json!(true), &json!(1)));
    assert!(
        answer["bank_asked_at"].is_string() && answer["next_at"].is_string() && answer["cursor"].is_string()
    );
    let listed = world.get(&tenant, &format!("/v1/accounts/{account}/syncs")).await.is(200);
    assert_eq!(listed["items"][0], answer);
    assert_eq!(listed["items"][1]["id"], estate.sync.to_string());
}

#[tokio::test]
async fn a_failed_sync_is_an_answer_too() {
    let world = Arc::new(World::new().await);
    let tenant = world.tenant("Business").await;
    let estate = world.estate(&tenant).await;
    let account = estate.account.id;
    let call = tokio::spawn({
        let (world, tenant) = (world.clone(), tenant.clone());
        async move { world.ask(&tenant, "POST", &format!("/v1/accounts/{account}/sync?wait=60"), None).await }
    });
    world.app.nudge.heard(Bell::Schedule).await;
    let lease = world.lease(estate.connection).await;
    let failed = |sync: &mut host::model::Sync| {
        sync.code = SyncCode::SyncError;
        sync.reason = Some("bank-unavailable".into());
        sync.message = Some("The bank did not answer; nothing was lost.".into());
    };
    world.run(&lease, account, vec![], failed).await;
    let answer = call.await.unwrap().is(200);
    assert_eq!((&answer["code"], &answer["reason"]), (&json!("SYNC_ERROR"), &json!("bank-unavailable")));
    assert_eq!(answer["has_new_data"], false);
}

#[tokio::test]
async fn a_call_that_does_not_wait_is_told_where_to_look_and_joins_the_one_before() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let estate = world.estate(&tenant).await;
    let path = format!("/v1/accounts/{}/sync?wait=0", estate.account.id);
    let first = world.ask(&tenant, "POST", &path, None).await;
    let location = first.header("location").unwrap();
    let first = first.is(202);
    assert_eq!((&first["status"], &first["code"]), (&json!("running"), &Value::Null));
    assert_eq!(location, format!("/v1/syncs/{}", first["id"].as_str().unwrap()));
    assert_eq!(world.ask(&tenant, "POST", &path, None).await.is(202)["id"], first["id"]);
    assert_eq!(world.get(&tenant, &location).await.is(200), first);

    let lease = world.lease(estate.connection).await;
    world.run(&lease, estate.account.id, vec![], |_| {}).await;
    let done = world.get(&tenant, &location).await.is(200);
    assert_eq!((&done["status"], &done["id"]), (&json!("finished"), &first["id"]));
}

#[tokio::test]
async fn a_call_that_comes_too_early_gets_the_last_sync_and_the_time_to_wait() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let estate = world.estate(&tenant).await;
    let path = format!("/v1/accounts/{}/sync?wait=0", estate.account.id);
    world.ask(&tenant, "POST", &path, None).await.is(202);
    let lease = world.lease(estate.connection).await;
    let limited = |sync: &mut host::model::Sync| {
        sync.next_allowed_at = Some(Timestamp(sync.finished_at.0 + 89_500_000));
    };
    let last = world.run(&lease, estate.account.id, vec![], limited).await;
    let early = world.ask(&tenant, "POST", &path, None).await;
    assert_eq!(early.header("retry-after").as_deref(), Some("90"));
    let early = early.problem(429, "too-early");
    assert_eq!(early["last_sync"]["id"], last.id.to_string());
    assert_eq!(early["next_allowed_at"], early["last_sync"]["next_allowed_at"]);
    world.app.clock.advance(Duration::from_secs(90));
    world.ask(&tenant, "POST", &path, None).await.is(202);
}

#[tokio::test]
async fn a_stopped_connection_is_not_asked_and_says_how_to_go_on() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let estate = world.estate(&tenant).await;
    let path = format!("/v1/accounts/{}/sync", estate.account.id);
    world.app.clock.advance(Duration::from_secs(3_600));
    let lease = world.lease(estate.connection).await;
    let now = world.app.clock.now();
    let event = payload::reauthorisation_required(
        tenant.business,
        estate.connection,
        "example-bank",
        "consent-expired",
        now,
    );
    assert!(world.app.store.require_reauthorisation(&lease, "consent-expired", &event, now).await.unwrap());
    // The account's own last sync went well: nothing that could be shown explains the stop.
    let stopped = world.ask(&tenant, "POST", &path, None).await.problem(409, "reauthorisation-required");
    let command = format!("/v1/connections/{}/reauthorise", estate.connection);
    assert!(stopped["detail"].as_str().unwrap().contains(&command), "{stopped}");
    assert_eq!(stopped["last_sync"]["id"], estate.sync.to_string());
    let shown = world.get(&tenant, &format!("/v1/connections/{}", estate.connection)).await.is(200);
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("reauthorisation_required"), &json!("consent-expired"))
    );
    assert!(shown["next_step"].as_str().unwrap().contains("reauthorise"));
    assert!(shown["consent"]["ended_at"].is_string());
}

#[tokio::test]
async fn a_customer_s_browser_is_checked() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let estate = world.estate(&tenant).await;
    let path = format!("/v1/accounts/{}/sync?wait=0", estate.account.id);
    let with = |present: Value| json!({"customer_present": present});
    world.post(&tenant, &path, &with(json!({"ip": "nowhere"}))).await.problem(400, "invalid-body");
    let broken = with(json!({"ip": "203.0.113.7", "user_agent": "a\r\nX-Evil: 1"}));
    world.post(&tenant, &path, &broken).await.problem(422, "invalid-value");
    world.post(&tenant, &path, &with(json!({"ip": "2001:db8::1"}))).await.is(202);
}
