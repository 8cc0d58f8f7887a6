//! No third wrong password, whatever comes between: processes that die, answers that are lost, customers who leave and
//! come back, and a password that is still right.

use crate::doors::{Door, Link, fields};
use crate::linked::{HOUR, Scene, TOKEN_LIFE, until};
use host::model::{AccountsKept, Connection, ConnectionId, NewCredential, Permits, Secret};
use host::store::NewConnection;
use serde_json::{Value, json};
use std::time::Duration;
use tests::PATIENCE;
use tests::bank::{Fault, Hold, PathKind};
use tests::compare::Tells;
use tests::http::{expect, text};
use tests::linking;
use tests::world::{DEMO_BANK, World, WorldConfig};

/// Longer than a run may hold a connection.
const LEASE: Duration = Duration::from_secs(400);
/// Longer than a session at the portal lasts.
const SESSION: Duration = Duration::from_secs(11 * 60);
const CUSTOMER: &str = "customer-42";

async fn door() -> Door {
    Door::new("demo-portal", "", Tells::NoIds).await
}

fn right(door: &Door) -> Value {
    json!({ "username": door.login.user, "password": door.login.password })
}

fn wrong(door: &Door) -> Value {
    json!({ "username": door.login.user, "password": "not-the-password-at-all" })
}

async fn link(door: &Door) -> Link {
    let begun = door.begin().await;
    door.go_on(begun.text("/id"), right(door)).await;
    door.linked(begun.text("/id")).await
}

/// Asks the customer anew, who mistypes twice.
async fn mistype_twice(door: &Door, connection: &str) {
    let path = format!("/v1/connections/{connection}/reauthorise");
    expect(&door.world.api.post(&path, &json!({})).await.unwrap(), 200).unwrap();
    door.go_on(connection, wrong(door)).await;
    let over = door.go_on(connection, wrong(door)).await;
    assert_eq!(text(&over.body, "/authorisation/reason"), "credentials-rejected", "{}", over.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_whose_process_died_before_the_banks_answer_is_not_sent_again_and_counts() {
    let door = door().await;
    let bank = &door.world.bank;
    let begun = door.begin().await;
    let connection = begun.text("/id").to_owned();
    bank.hold(PathKind::PortalLogin, Hold::Answer);
    let (api, at, typed) = (door.world.api.clone(), connection.clone(), wrong(&door));
    let waits = tokio::spawn(async move { linking::go_on(&api, &at, &typed).await.unwrap() });
    bank.wait_held(1, PATIENCE).await.unwrap();
    door.world.advance(LEASE); // another run takes the connection over
    until("the end of the attempt", async || {
        (door.shown(&connection).await["authorisation"]["state"] == "failed").then_some(())
    })
    .await;
    bank.release();
    waits.await.unwrap();
    let shown = door.shown(&connection).await;
    assert_eq!(text(&shown, "/authorisation/reason"), "interrupted", "{shown}");
    assert_eq!(bank.request_count(PathKind::PortalLogin), 1, "not sent again");

    // It counts: of two more, the bank sees one.
    let path = format!("/v1/connections/{connection}/reauthorise");
    expect(&door.world.api.post(&path, &json!({})).await.unwrap(), 200).unwrap();
    let over = door.go_on(&connection, wrong(&door)).await;
    assert_eq!(text(&over.body, "/authorisation/state"), "failed", "{}", over.body);
    expect(&door.world.api.post(&path, &json!({})).await.unwrap(), 409).unwrap();
    assert_eq!(bank.request_count(PathKind::PortalLogin), 2);
    assert!(!bank.locked(&door.customer.id).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_whose_answer_was_lost_is_not_repeated_blindly() {
    let door = door().await;
    let bank = &door.world.bank;
    let link = link(&door).await;
    door.world.advance(SESSION);
    let logins = bank.request_count(PathKind::PortalLogin);
    bank.fault(PathKind::PortalLogin, Fault::LostAnswer, 9);
    let sync = door.sync(&link, door.everyday()).await;
    assert_eq!(text(&sync, "/reason"), "unreachable", "{sync}");
    assert_eq!(bank.request_count(PathKind::PortalLogin), logins + 1);
    bank.clear_faults();
    door.good_sync(&link, door.everyday()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_whose_answer_was_lost_counts_like_a_refused_one_until_the_bank_lets_in() {
    let door = door().await;
    let bank = &door.world.bank;
    // Typed, by a customer on the way in.
    let begun = door.begin().await;
    bank.fault(PathKind::PortalLogin, Fault::LostAnswer, 1);
    let over = door.go_on(begun.text("/id"), wrong(&door)).await;
    assert_eq!(text(&over.body, "/authorisation/reason"), "unreachable", "{}", over.body);
    let path = format!("/v1/connections/{}/reauthorise", begun.text("/id"));
    expect(&door.world.api.post(&path, &json!({})).await.unwrap(), 200).unwrap();
    let over = door.go_on(begun.text("/id"), wrong(&door)).await;
    assert_eq!(text(&over.body, "/authorisation/state"), "failed", "{}", over.body);
    expect(&door.world.api.post(&path, &json!({})).await.unwrap(), 409).unwrap();
    assert_eq!(bank.request_count(PathKind::PortalLogin), 2);
    assert!(!bank.locked(&door.customer.id).unwrap());
    let checked = json!({ "checked_at_bank": true });
    let begun = door.world.api.post(&path, &checked).await.unwrap();
    expect(&begun, 200).unwrap();
    door.go_on(begun.text("/id"), right(&door)).await;
    let link = door.linked(begun.text("/id")).await;

    // An answer that nobody could read says as little.
    expect(&door.world.api.post(&path, &json!({})).await.unwrap(), 200).unwrap();
    bank.fault(PathKind::PortalLogin, Fault::GzipBomb { bytes: 64 << 20 }, 1);
    let over = door.go_on(&link.connection, wrong(&door)).await;
    assert_eq!(text(&over.body, "/authorisation/reason"), "unreadable", "{}", over.body);
    expect(&door.world.api.post(&path, &json!({})).await.unwrap(), 200).unwrap();
    door.go_on(&link.connection, wrong(&door)).await;
    expect(&door.world.api.post(&path, &json!({})).await.unwrap(), 409).unwrap();
    let begun = door.world.api.post(&path, &checked).await.unwrap();
    door.go_on(begun.text("/id"), right(&door)).await;
    door.world.begin_an_hour(&door.world.api, &link.connection).await.unwrap();

    // Stored: not after the second.
    for round in 0..3 {
        door.world.advance(SESSION);
        bank.fault(PathKind::PortalLogin, Fault::LostAnswer, 1);
        let sync = door.sync(&link, door.everyday()).await;
        let said = if round < 2 { "unreachable" } else { "credentials-withheld" };
        assert_eq!(text(&sync, "/reason"), said, "{sync}");
        door.world.advance(HOUR);
    }
    bank.clear_faults();
    let logins = bank.request_count(PathKind::PortalLogin);
    assert_eq!(text(&door.sync(&link, door.everyday()).await, "/reason"), "credentials-withheld");
    assert_eq!(bank.request_count(PathKind::PortalLogin), logins);
    let path = format!("/v1/connections/{}/reauthorise", link.connection);
    expect(&door.world.api.post(&path, &json!({ "checked_at_bank": true })).await.unwrap(), 200).unwrap();
    door.good_sync(&link, door.everyday()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_says_neither_yes_nor_no_has_refused_nothing() {
    let door = door().await;
    let bank = &door.world.bank;
    let link = link(&door).await;
    for fault in [Fault::Status { status: 503, retry_after: None }, Fault::Maintenance] {
        for _ in 0..3 {
            door.world.advance(SESSION);
            bank.fault(PathKind::PortalLogin, fault.clone(), 1);
            let sync = door.sync(&link, door.everyday()).await;
            assert_eq!(text(&sync, "/reason"), "bank-unavailable", "{sync}");
            bank.clear_faults();
            door.world.advance(HOUR);
        }
    }
    door.good_sync(&link, door.everyday()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_died_while_the_bank_had_the_password_counts() {
    let door = door().await;
    let bank = &door.world.bank;
    let link = link(&door).await;
    let store = &door.world.app.store;
    let business = door.world.business.parse().unwrap();
    let rejections = async || store.rejections(business, CUSTOMER, door.institution).await.unwrap();
    door.world.advance(SESSION);
    bank.hold(PathKind::PortalLogin, Hold::Answer);
    let (api, path) =
        (door.world.api.clone(), format!("/v1/accounts/{}/sync", link.accounts[door.everyday()]));
    expect(&api.post(&path, &json!({})).await.unwrap(), 202).unwrap();
    bank.wait_held(1, PATIENCE).await.unwrap();
    assert_eq!(rejections().await, 1, "before anybody knows what the bank says");
    door.world.advance(LEASE); // another run takes the connection over
    bank.wait_held(2, PATIENCE).await.unwrap();
    assert_eq!(rejections().await, 2);
    door.world.advance(LEASE);
    until("a run that sends nothing", async || {
        let shown = door.shown(&link.connection).await;
        (shown["reason"] == "credentials-withheld").then_some(())
    })
    .await;
    bank.release();
    assert_eq!(bank.held(), 0);
}

/// At the dialogue, which has no turns, so that nothing but the count stands between them.
#[tokio::test(flavor = "multi_thread")]
async fn three_logins_of_a_customer_at_the_same_moment_are_two() {
    let door = Door::new("demo-dialogue", "", Tells::BookedWithoutIds).await;
    let bank = &door.world.bank;
    let wrong = json!({ "user": door.login.user, "pin": "000000" });
    bank.hold(PathKind::DialogueOpen, Hold::Answer);
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(door.begin().await.text("/id").to_owned());
    }
    let typed: Vec<_> = connections
        .iter()
        .map(|connection| {
            let (api, at, typed) = (door.world.api.clone(), connection.clone(), wrong.clone());
            tokio::spawn(async move { linking::go_on(&api, &at, &typed).await.unwrap() })
        })
        .collect();
    bank.wait_held(2, PATIENCE).await.unwrap();
    until("the one that is withheld", async || {
        for connection in &connections {
            let shown = door.shown(connection).await;
            if shown["authorisation"]["reason"] == "credentials-withheld" {
                return Some(());
            }
        }
        None
    })
    .await;
    bank.release();
    for typed in typed {
        assert_eq!(text(&typed.await.unwrap().body, "/authorisation/state"), "failed");
    }
    assert_eq!(bank.request_count(PathKind::DialogueOpen), 2);
    assert!(!bank.locked(&door.customer.id).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_and_links_anew_is_still_the_one_whom_the_bank_refused() {
    let door = door().await;
    let begun = door.begin().await;
    let connection = begun.text("/id");
    for _ in 0..2 {
        door.go_on(connection, wrong(&door)).await;
    }
    expect(&door.world.api.delete(&format!("/v1/connections/{connection}")).await.unwrap(), 204).unwrap();
    let anew = json!({ "institution_id": door.institution, "customer_ref": CUSTOMER });
    let refused = door.world.api.post("/v1/connections", &anew).await.unwrap();
    assert_eq!((refused.status, refused.text("/code")), (409, "credentials-refused"), "{}", refused.body);
    let other = json!({ "institution_id": door.institution, "customer_ref": "somebody else" });
    expect(&door.world.api.post("/v1/connections", &other).await.unwrap(), 201).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_connection_whose_customer_mistyped_twice_waits_and_its_consent_stays() {
    let door = door().await;
    let bank = &door.world.bank;
    let link = link(&door).await;
    mistype_twice(&door, &link.connection).await;
    // The session goes on; at its end a password would be sent.
    door.good_sync(&link, door.everyday()).await;
    door.world.advance(SESSION);
    let logins = bank.request_count(PathKind::PortalLogin);
    for _ in 0..3 {
        let sync = door.sync(&link, door.everyday()).await;
        let said = (text(&sync, "/code"), text(&sync, "/reason"));
        assert_eq!(said, ("SYNC_ERROR", "credentials-withheld"), "{sync}");
        let pause = crate::linked::seconds_between(&sync["finished_at"], &sync["next_at"]);
        assert!((3_599.0..=3_600.0).contains(&pause), "{pause}: {sync}");
        assert!(sync["next_allowed_at"].is_null(), "that is not the bank's word: {sync}");
        door.world.advance(2 * HOUR);
    }
    assert_eq!(bank.request_count(PathKind::PortalLogin), logins, "nothing is sent");
    let shown = door.shown(&link.connection).await;
    assert_eq!((&shown["state"], &shown["consent"]["ended_at"]), (&json!("active"), &Value::Null), "{shown}");

    // The customer was at the bank: what the connection holds is good at once, whether they go on here or not.
    let path = format!("/v1/connections/{}/reauthorise", link.connection);
    let begun = door.world.api.post(&path, &json!({ "checked_at_bank": true })).await.unwrap();
    assert_eq!(fields(&begun.body), ["username", "password"], "{}", begun.body);
    door.good_sync(&link, door.everyday()).await;
    assert_eq!(bank.request_count(PathKind::PortalLogin), logins + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_by_a_refresh_token_goes_on_and_proves_nothing_about_the_password() {
    let Scene { world, linked, .. } = Scene::new(WorldConfig::default(), 0).await;
    refused_twice(&world).await;
    world.advance(TOKEN_LIFE);
    let renewals = world.bank.request_count(PathKind::Token);
    linked.good_sync(linked.everyday()).await;
    assert_eq!(world.bank.request_count(PathKind::Token), renewals + 1);
    let anew = json!({ "institution_id": DEMO_BANK, "customer_ref": CUSTOMER });
    let refused = world.api.post("/v1/connections", &anew).await.unwrap();
    assert_eq!((refused.status, refused.text("/code")), (409, "credentials-refused"), "{}", refused.body);
}

/// On another connection of theirs the bank refused the customer twice: a bank with tokens, and with passwords too.
async fn refused_twice(world: &World) {
    let store = &world.app.store;
    loop {
        let made = rested(world, DEMO_BANK, &[]).await;
        let now = world.clock.now();
        let claimed = store
            .claim_due(now, now.plus(HOUR), &Permits::of_any([(DEMO_BANK.to_owned(), 16)]))
            .await
            .unwrap();
        // The service looks every second, and may have been faster: then it rests, and another one is made.
        let Some(lease) = claimed.into_iter().find(|lease| lease.connection == made) else { continue };
        for _ in 0..2 {
            store.note_typed_rejection(&lease, None, now).await.unwrap();
        }
        return store.complete(&lease, now.plus(HOUR), now.plus(HOUR), 0, now).await.unwrap();
    }
}

/// A connection of the customer that is due, though they have still to let us in and nobody asks them.
async fn rested(world: &World, institution: &str, credentials: &[(&str, &str)]) -> ConnectionId {
    let (id, now) = (ConnectionId::new(), world.clock.now());
    let credential = |(name, value): &(&str, &str)| NewCredential {
        name: (*name).to_owned(),
        value: Secret::new(*value),
        expires_at: None,
    };
    let new = NewConnection {
        id,
        business: world.business.parse().unwrap(),
        institution: institution.to_owned(),
        customer_ref: Some(CUSTOMER.to_owned()),
        credentials: credentials.iter().map(credential).collect(),
        consent: None,
        phase: id.phase(),
        slot_at: now,
        due_at: now,
        linking: true,
    };
    let Connection { id, accounts, .. } = world.app.store.create_connection(&new, now).await.unwrap();
    assert_eq!(accounts, AccountsKept::All);
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_customer_has_still_to_come_is_not_logged_in_to() {
    let door = door().await;
    let held = [("username", door.login.user.as_str()), ("password", door.login.password.as_str())];
    rested(&door.world, door.institution, &held).await;
    let store = &door.world.app.store;
    until("rest", async || store.next_due(door.world.clock.now()).await.unwrap().is_none().then_some(()))
        .await;
    assert_eq!(door.world.bank.request_count(PathKind::PortalForm), 0);
}
