//! The portal: a form, cookies, pages made for eyes; through the whole service.

use crate::doors::{Door, Link, fields};
use crate::linked::{HOUR, until};
use serde_json::json;
use std::time::Duration;
use tests::bank::{Fault, Hold, NewCustomer, NewEntry, PathKind, Target};
use tests::compare::Tells;
use tests::http::{expect, text};

async fn door() -> Door {
    Door::new("demo-portal", "", Tells::NoIds).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_logs_in_by_form_and_the_portals_pages_are_read() {
    let door = door().await;
    let bank = &door.world.bank;
    bank.authorise(door.everyday(), NewEntry::card("-40.00", "LUIGI'S <TRATTORIA> & BAR", "Luigi")).unwrap();
    let begun = door.begin().await;
    assert_eq!(begun.body["state"], "linking", "{}", begun.body);
    assert_eq!(fields(&begun.body), ["username", "password"]);
    let labels = &begun.body["authorisation"]["next"]["fields"];
    assert_eq!((text(labels, "/0/label"), text(labels, "/1/input")), ("User name", "password"));
    assert_eq!(
        bank.request_count(PathKind::PortalForm),
        0,
        "nothing is asked of the bank before the customer"
    );

    let connection = begun.text("/id");
    let typed = json!({ "username": door.login.user, "password": door.login.password });
    let linked = door.go_on(connection, typed).await;
    assert_eq!(linked.body["state"], "active", "{}", linked.body);
    assert_eq!(linked.body["consent"]["how"], "form", "{}", linked.body);
    let link = door.linked(connection).await;
    door.assert_like_the_bank(&link).await;

    // New rows, twins, a settled one, a removed one; the session is over by now, and opened anew.
    let mark = bank.request_count(PathKind::PortalLogin);
    let everyday = door.everyday();
    let pending = bank.authorise(everyday, NewEntry::card("-7.00", "TEA", "Blue Door")).unwrap();
    door.good_sync(&link, everyday).await;
    bank.book_twins(everyday, &NewEntry::card("-3.20", "CORNER COFFEE", "Corner Coffee")).unwrap();
    bank.settle(everyday, &pending.id, Some("-8.00")).unwrap();
    bank.book(everyday, NewEntry::transfer("1250.00", "INVOICE 2217 £5 – café")).unwrap();
    door.world.advance(Duration::from_secs(11 * 60));
    let sync = door.good_sync(&link, everyday).await;
    assert_eq!(
        (&sync["added"], &sync["modified"], &sync["proof"]),
        (&json!(3), &json!(1), &json!("proved")),
        "{sync}"
    );
    assert!(bank.request_count(PathKind::PortalLogin) > mark, "ten minutes without a page end a session");
    door.assert_like_the_bank(&link).await;

    assert!(door.leave(&link).await, "logged out");
    assert_eq!(bank.request_count(PathKind::PortalLogout), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_thrown_out_is_opened_again_and_maintenance_is_waited_for() {
    let door = door().await;
    let bank = &door.world.bank;
    let begun = door.begin().await;
    let connection = begun.text("/id");
    door.go_on(connection, json!({ "username": door.login.user, "password": door.login.password })).await;
    let link = door.linked(connection).await;
    door.good_sync(&link, door.everyday()).await;

    // The customer logs in on their own: the bank ends our session in favour of theirs.
    let mut browser = tests::browser::Browser::new().unwrap();
    browser.visit(&format!("{}/portal/login", bank.auth_origin())).await.unwrap();
    let typed = [("username", door.login.user.as_str()), ("password", door.login.password.as_str())];
    browser.submit(&typed).await.unwrap();
    let at = &browser.page.url;
    assert!(at.path().ends_with("/portal/accounts"), "{at}");
    bank.book(door.everyday(), NewEntry::card("-3.20", "CORNER COFFEE", "Corner Coffee")).unwrap();
    let sync = door.good_sync(&link, door.everyday()).await;
    assert_eq!(sync["added"], 1, "{sync}");

    bank.maintenance(true);
    let sync = door.sync(&link, door.everyday()).await;
    assert_eq!((text(&sync, "/code"), text(&sync, "/reason")), ("SYNC_ERROR", "bank-unavailable"), "{sync}");
    door.world.advance(HOUR / 2); // the session is over: the login says the same
    let sync = door.sync(&link, door.everyday()).await;
    assert_eq!(text(&sync, "/reason"), "bank-unavailable", "{sync}");
    bank.maintenance(false);
    door.good_sync(&link, door.everyday()).await;
    door.assert_like_the_bank(&link).await;

    // A row that cannot be read stores nothing, and says where it stands.
    let target = Target::of(PathKind::PortalAccount, door.everyday());
    bank.fault(target, Fault::BadAmount { amount: "1e3".into() }, 1);
    let sync = door.sync(&link, door.everyday()).await;
    assert_eq!(text(&sync, "/reason"), "unreadable", "{sync}");
    door.good_sync(&link, door.everyday()).await;
    door.assert_like_the_bank(&link).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_wrong_passwords_never_lead_to_a_third() {
    let door = door().await;
    let bank = &door.world.bank;
    let begun = door.begin().await;
    let connection = begun.text("/id");
    let wrong = json!({ "username": door.login.user, "password": "not-the-password-at-all" });
    let again = door.go_on(connection, wrong.clone()).await;
    assert_eq!(fields(&again.body), ["username", "password"], "asked once more");
    assert_eq!(text(&again.body, "/authorisation/reason"), "credentials-rejected");
    assert!(text(&again.body, "/authorisation/message").starts_with("The bank did not accept"));
    let over = door.go_on(connection, wrong.clone()).await;
    assert_eq!(text(&over.body, "/authorisation/state"), "failed", "{}", over.body);
    assert_eq!(bank.request_count(PathKind::PortalLogin), 2);
    assert!(!bank.locked(&door.customer.id).unwrap());

    // Neither a new attempt nor a new link goes on where the bank would lock.
    let begin = json!({ "institution_id": door.institution, "customer_ref": "customer-42" });
    let reauthorise = format!("/v1/connections/{connection}/reauthorise");
    for (path, body) in [("/v1/connections", &begin), (reauthorise.as_str(), &json!({}))] {
        let refused = door.world.api.post(path, body).await.unwrap();
        expect(&refused, 409).unwrap();
    }
    let path = format!("/v1/connections/{connection}/continue");
    expect(&door.world.api.post(&path, &json!({ "values": wrong })).await.unwrap(), 409).unwrap();
    door.world.advance(HOUR * 3);
    assert_eq!(bank.request_count(PathKind::PortalLogin), 2, "and nothing tries by itself");

    // The customer has logged in at the bank itself, which sets its counter back.
    let checked =
        json!({ "institution_id": door.institution, "customer_ref": "customer-42", "checked_at_bank": true });
    let begun = door.world.api.post("/v1/connections", &checked).await.unwrap();
    expect(&begun, 201).unwrap();
    let typed = json!({ "username": door.login.user, "password": door.login.password });
    let linked = door.go_on(begun.text("/id"), typed).await;
    assert_eq!(linked.body["state"], "active", "{}", linked.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changed_is_tried_twice_and_then_the_customer_is_asked() {
    let door = door().await;
    let bank = &door.world.bank;
    let begun = door.begin().await;
    let connection = begun.text("/id");
    door.go_on(connection, json!({ "username": door.login.user, "password": door.login.password })).await;
    let link = door.linked(connection).await;

    let changed = tests::bank::Login { password: "another-password-entirely".into(), ..door.login.clone() };
    bank.set_login(&door.customer.id, changed.clone()).unwrap();
    let before = bank.request_count(PathKind::PortalLogin);
    door.world.advance(HOUR); // planned syncs meet it, and once more after an hour
    until("the first refusal", async || (bank.request_count(PathKind::PortalLogin) > before).then_some(()))
        .await;
    door.world.advance(HOUR * 2);
    until("a stopped connection", async || {
        (door.shown(connection).await["state"] == "reauthorisation_required").then_some(())
    })
    .await;
    door.world.advance(HOUR * 5);
    assert_eq!(bank.request_count(PathKind::PortalLogin), before + 2);
    assert!(!bank.locked(&door.customer.id).unwrap());

    let path = format!("/v1/connections/{connection}/reauthorise");
    let begun = door.world.api.post(&path, &json!({ "checked_at_bank": true })).await.unwrap();
    expect(&begun, 200).unwrap();
    assert_eq!(fields(&begun.body), ["username", "password"], "the old ones are no way in");
    let typed = json!({ "username": changed.user, "password": changed.password });
    let back = door.go_on(connection, typed).await;
    assert_eq!(back.body["state"], "active", "{}", back.body);
    let back = door.linked(connection).await;
    assert_eq!(back.accounts, link.accounts, "accounts stay");
    door.assert_like_the_bank(&back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_customer_take_turns_where_the_bank_lets_them_have_one_session() {
    let door = door().await;
    let bank = &door.world.bank;
    let typed = json!({ "username": door.login.user, "password": door.login.password });
    let mut links = Vec::new();
    for _ in 0..2 {
        let begun = door.begin().await;
        door.go_on(begun.text("/id"), typed.clone()).await;
        links.push(door.linked(begun.text("/id")).await);
    }
    door.world.advance(Duration::from_secs(11 * 60)); // both sessions are over
    let target = Target::of(PathKind::PortalAccount, door.everyday());
    bank.hold(target, Hold::Answer);
    let ask = async |link: &Link| {
        let path = format!("/v1/accounts/{}/sync?wait=0", link.accounts[door.everyday()]);
        let asked = door.world.api.post(&path, &json!({})).await.unwrap();
        expect(&asked, 202).unwrap();
        asked.text("/id").to_owned()
    };
    let finished = async |sync: &str| {
        until("the sync's end", async || {
            let shown = door.world.api.get(&format!("/v1/syncs/{sync}")).await.unwrap();
            (shown.text("/status") == "finished").then_some(shown.text("/code").to_owned())
        })
        .await
    };
    let mut syncs = vec![ask(&links[0]).await];
    bank.wait_held(1, tests::PATIENCE).await.unwrap();
    let logins = bank.request_count(PathKind::PortalLogin);
    syncs.push(ask(&links[1]).await);
    // Somebody else is served meanwhile, who asked later.
    let other = bank.create_customer(&NewCustomer::with_two_accounts("Ben Example", 3)).unwrap();
    let login = bank.login(&other.id).unwrap();
    let begin = json!({ "institution_id": door.institution, "customer_ref": "customer-43" });
    let begun = door.world.api.post("/v1/connections", &begin).await.unwrap();
    let typed = json!({ "username": login.user, "password": login.password });
    door.go_on(begun.text("/id"), typed).await;
    tests::linking::accounts(&door.world.api, begun.text("/id"), &other).await.unwrap();
    assert_eq!(
        bank.request_count(PathKind::PortalLogin),
        logins + 1,
        "the other customer's login, and no other"
    );

    bank.release();
    door.world.advance(Duration::from_secs(2));
    for sync in &syncs {
        assert_eq!(finished(sync).await, "SYNC_SUCCESSFUL");
    }
    for link in &links {
        door.assert_like_the_bank(link).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_the_customers_whichever_connection_and_other_peoples_mistakes_forgive_none() {
    let door = door().await;
    let bank = &door.world.bank;
    let wrong = json!({ "username": door.login.user, "password": "not-the-password-at-all" });
    let (first, second) = (door.begin().await, door.begin().await);
    let (first, second) = (first.text("/id"), second.text("/id"));
    assert_eq!(fields(&door.go_on(first, wrong.clone()).await.body), ["username", "password"]);
    let over = door.go_on(second, wrong.clone()).await;
    assert_eq!(text(&over.body, "/authorisation/state"), "failed", "two in a row: {}", over.body);

    // Two other customers mistype in the same minutes: the bank is not at fault.
    for name in ["Ben Example", "Cleo Specimen"] {
        let other = bank.create_customer(&NewCustomer::with_two_accounts(name, 0)).unwrap();
        let user = bank.login(&other.id).unwrap().user;
        let begin = json!({ "institution_id": door.institution, "customer_ref": name });
        let begun = door.world.api.post("/v1/connections", &begin).await.unwrap();
        let typed = json!({ "username": user, "password": "another-mistake" });
        let again = door.go_on(begun.text("/id"), typed).await;
        assert_eq!(text(&again.body, "/authorisation/reason"), "credentials-rejected", "{}", again.body);
    }
    let sent = bank.request_count(PathKind::PortalLogin);
    // The form of the first connection still stands; what is typed there is not sent.
    let refused = door.go_on(first, wrong).await;
    assert_eq!(text(&refused.body, "/authorisation/state"), "failed", "{}", refused.body);
    let begin = json!({ "institution_id": door.institution, "customer_ref": "customer-42" });
    expect(&door.world.api.post("/v1/connections", &begin).await.unwrap(), 409).unwrap();
    assert_eq!(bank.request_count(PathKind::PortalLogin), sent);
    assert!(!bank.locked(&door.customer.id).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_whose_bank_can_no_longer_be_asked_is_told_at_once() {
    let mut door = door().await;
    let begun = door.begin().await;
    let connection = begun.text("/id").to_owned();
    let profile = door.world.folder().join("institutions/demo-portal.toml");
    std::fs::write(
        &profile,
        std::fs::read_to_string(&profile).unwrap().replace("html-portal", "no-such-connector"),
    )
    .unwrap();
    door.world.restart().await.unwrap();
    let typed = json!({ "values": { "username": door.login.user, "password": door.login.password } });
    let path = format!("/v1/connections/{connection}/continue");
    let told = door.world.api.post(&path, &typed).await.unwrap();
    assert!(matches!(told.status, 200 | 409 | 503), "{} {}", told.status, told.body);
    if told.status == 200 {
        let shown = door.shown(&connection).await;
        let said = (text(&shown, "/authorisation/state"), text(&shown, "/authorisation/reason"));
        assert_eq!(said, ("failed", "not-configured"), "{shown}");
    }
}
