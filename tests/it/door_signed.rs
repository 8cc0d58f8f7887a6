//! Signed requests: a consent by the bank's own page, a digest and a signature on every request; through the whole
//! service.

use crate::doors::{AT_SCREEN, Door, Link};
use serde_json::json;
use std::time::Duration;
use tests::bank::{Fault, NewEntry, PathKind};
use tests::browser::Browser;
use tests::compare::Tells;
use tests::http::{expect, text};
use tests::world::{Signer, WorldConfig};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A bank that knows the operator's key.
async fn door(more: &'static str) -> Door {
    let signer = Signer::new().unwrap();
    let setup = WorldConfig {
        shipped: vec![("demo-signed", more)],
        registrations: vec![("demo-signed".to_owned(), signer.registration())],
        ..WorldConfig::default()
    };
    let door = Door::with("demo-signed", setup, Tells::Everything).await;
    signer.tell(&door.world.bank).unwrap();
    door
}

/// More readings a day than any test makes.
const OFTEN: &str = "frequency-per-day = 1000\ninterval-minutes = 10080";

/// To the bank's page.
async fn sent_to_the_bank(browser: &mut Browser, answer: &serde_json::Value) {
    assert_eq!(answer["authorisation"]["next"]["kind"], "redirect", "{answer}");
    browser.visit(text(answer, "/authorisation/next/url")).await.unwrap();
    assert!(browser.page.url.path().starts_with("/signed/sca/"), "{}", browser.page.url);
}

/// There and back, with the customer's yes.
async fn agree(door: &Door, answer: &serde_json::Value) {
    let mut browser = Browser::new().unwrap();
    sent_to_the_bank(&mut browser, answer).await;
    let typed = [
        ("username", door.login.user.as_str()),
        ("password", door.login.password.as_str()),
        ("decision", "allow"),
    ];
    browser.submit(&typed).await.unwrap();
    assert!(
        browser.history.iter().any(|address| address.contains("/v1/callback?state=")),
        "{:?}",
        browser.history
    );
    let at = &browser.page.url;
    assert!(at.as_str().starts_with(&door.world.origin), "back with us: {at}");
}

async fn link(door: &Door) -> Link {
    let begun = door.begin().await;
    agree(door, &begun.body).await;
    door.linked(begun.text("/id")).await
}

/// The consents that were asked for, by the paths of what followed.
fn consents(door: &Door) -> Vec<String> {
    let requests = door.world.bank.requests();
    let of_status = requests.iter().filter(|request| request.kind == PathKind::SignedConsentStatus);
    let mut ids: Vec<String> =
        of_status.filter_map(|request| request.path.split('/').nth_back(1).map(str::to_owned)).collect();
    ids.dedup();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_agrees_on_the_banks_page_and_signed_requests_read_the_rows() {
    let door = door(OFTEN).await;
    let bank = &door.world.bank;
    let everyday = door.everyday();
    let pending = bank.authorise(everyday, NewEntry::card("-40.00", "LUIGI TRATTORIA", "Luigi")).unwrap();
    let link = link(&door).await;
    door.assert_like_the_bank(&link).await;
    let shown = door.shown(&link.connection).await;
    let consent = &shown["consent"];
    assert_eq!((text(consent, "/how"), &consent["scopes"]), ("redirect", &json!(["allPsd2"])), "{shown}");
    assert_eq!(text(consent, "/reference"), consents(&door)[0], "the bank's own name for it");
    assert!(consent["expires_at"].is_string(), "{shown}");
    let asked = bank.requests();
    let asked = asked.iter().find(|request| request.kind == PathKind::SignedConsentRequest).unwrap();
    assert_eq!(asked.fapi["psu-ip-address"], AT_SCREEN.0);

    bank.settle(everyday, &pending.id, Some("-46.00")).unwrap();
    bank.book_twins(everyday, &NewEntry::card("-3.20", "CORNER COFFEE", "Corner Coffee")).unwrap();
    bank.authorise(everyday, NewEntry::card("-7.00", "TEA", "Blue Door")).unwrap();
    let sync = door.good_sync(&link, everyday).await;
    assert_eq!(
        (&sync["added"], &sync["modified"], &sync["proof"]),
        (&json!(3), &json!(1), &json!("proved")),
        "{sync}"
    );
    door.assert_like_the_bank(&link).await;

    assert!(door.leave(&link).await, "the consent ends at the bank");
    assert_eq!(bank.request_count(PathKind::SignedConsentEnd), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_with_credit_of_unknown_size_proves_nothing_and_contradicts_nothing() {
    let door = door(OFTEN).await;
    let bank = &door.world.bank;
    let (link, everyday) = (link(&door).await, door.everyday());
    let look = async |credit: Option<&str>, proof: &str| {
        bank.count_credit(everyday, credit).unwrap();
        bank.book(everyday, NewEntry::transfer("-1.00", "FEE")).unwrap();
        let sync = door.good_sync(&link, everyday).await;
        assert_eq!((&sync["added"], &sync["proof"]), (&json!(1), &json!(proof)), "{sync}");
        let path = format!("/v1/accounts/{}/balances", link.accounts[everyday]);
        door.world.api.get(&path).await.unwrap().body["items"][0]["credit_included"].clone()
    };
    assert_eq!(look(None, "proved").await, json!("0.00"));
    assert_eq!(look(Some("500.00"), "unproved").await, json!(null));
    assert_eq!(look(Some("800.00"), "unproved").await, json!(null));
    assert_eq!(look(None, "proved").await, json!("0.00"), "what was booked meanwhile is in it");
    door.assert_like_the_bank(&link).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_declines_is_no_customer_and_may_come_again() {
    let door = door(OFTEN).await;
    let begun = door.begin().await;
    let connection = begun.text("/id");
    let mut browser = Browser::new().unwrap();
    sent_to_the_bank(&mut browser, &begun.body).await;
    browser.submit(&[("decision", "deny")]).await.unwrap();
    let shown = door.shown(connection).await;
    assert_eq!(
        (text(&shown, "/authorisation/state"), text(&shown, "/authorisation/reason")),
        ("failed", "customer-refused")
    );
    assert_eq!(shown["state"], "linking");
    assert_eq!(door.world.bank.request_count(PathKind::SignedAccounts), 0);

    let path = format!("/v1/connections/{connection}/reauthorise");
    let present = json!({ "customer_present": { "ip": AT_SCREEN.0 } });
    let again = door.world.api.post(&path, &present).await.unwrap();
    expect(&again, 200).unwrap();
    agree(&door, &again.body).await;
    let link = door.linked(connection).await;
    door.assert_like_the_bank(&link).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_wants_the_customers_address_is_told_it_or_nothing_is_begun() {
    let door = door(OFTEN).await;
    let request = json!({ "institution_id": door.institution, "customer_ref": "customer-42" });
    let refused = door.world.api.post("/v1/connections", &request).await.unwrap();
    expect(&refused, 422).unwrap();
    assert!(text(&refused.body, "/detail").starts_with("customer_present:"), "{}", refused.body);
    assert_eq!(door.world.bank.request_count(PathKind::SignedConsentRequest), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_browser_cannot_bring_a_customer_back() {
    let door = door(OFTEN).await;
    let begun = door.begin().await;
    let mut browser = Browser::new().unwrap();
    sent_to_the_bank(&mut browser, &begun.body).await;
    // The customer's decision, made in a browser that did not come by our link.
    let mut other = Browser::new().unwrap();
    let typed = [
        ("username", door.login.user.as_str()),
        ("password", door.login.password.as_str()),
        ("decision", "allow"),
    ];
    other.page = browser.page.clone();
    other.submit(&typed).await.unwrap();
    assert_eq!(other.page.status, 403, "{}", other.page.body);
    assert_eq!(door.shown(begun.text("/id")).await["state"], "linking");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_ends_stops_polling_and_a_new_one_goes_on_with_the_same_accounts() {
    let door = door(OFTEN).await;
    let bank = &door.world.bank;
    let link = link(&door).await;
    bank.expire_signed(&consents(&door)[0]).unwrap();
    let sync = door.sync(&link, door.everyday()).await;
    assert_eq!(
        (text(&sync, "/code"), text(&sync, "/reason")),
        ("REAUTHORISATION_REQUIRED", "consent-expired"),
        "{sync}"
    );
    let asked = bank.requests().len();
    door.world.advance(DAY);
    let again = door.sync(&link, door.everyday()).await;
    assert_eq!(text(&again, "/code"), "REAUTHORISATION_REQUIRED");
    assert_eq!(bank.requests().len(), asked, "polling stops");

    bank.book(door.everyday(), NewEntry::transfer("75.00", "WHILE YOU WERE AWAY")).unwrap();
    let path = format!("/v1/connections/{}/reauthorise", link.connection);
    let present = json!({ "customer_present": { "ip": AT_SCREEN.0 } });
    let begun = door.world.api.post(&path, &present).await.unwrap();
    expect(&begun, 200).unwrap();
    agree(&door, &begun.body).await;
    let back = door.linked(&link.connection).await;
    assert_eq!(back.accounts, link.accounts);
    door.assert_like_the_bank(&back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_readings_a_day_without_the_customer_and_more_with_them() {
    let door = door("interval-minutes = 10080").await;
    let bank = &door.world.bank;
    let link = link(&door).await;
    door.world.advance(DAY); // a fresh day of the bank
    let (everyday, present) = (door.everyday(), json!({ "customer_present": { "ip": AT_SCREEN.0 } }));
    for _ in 0..4 {
        door.good_sync(&link, everyday).await;
    }
    let sync = door.sync(&link, everyday).await;
    assert_eq!((text(&sync, "/code"), text(&sync, "/reason")), ("SYNC_ERROR", "rate-limited"), "{sync}");
    bank.book(everyday, NewEntry::card("-3.20", "CORNER COFFEE", "Corner Coffee")).unwrap();
    let sync = door.sync_with(&link, everyday, &present).await;
    assert_eq!((text(&sync, "/code"), &sync["added"]), ("SYNC_SUCCESSFUL", &json!(1)), "{sync}");
    let sister = &door.customer.accounts[1];
    door.good_sync(&link, sister).await;
    door.assert_like_the_bank(&link).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_the_bank_refuses_is_not_the_customers_fault() {
    let door = door(OFTEN).await;
    let bank = &door.world.bank;
    let link = link(&door).await;
    // The bank forgets our key, and knows another by its name.
    Signer::new().unwrap().tell(bank).unwrap();
    let sync = door.sync(&link, door.everyday()).await;
    assert_eq!((text(&sync, "/code"), text(&sync, "/reason")), ("SYNC_ERROR", "bank-unavailable"), "{sync}");
    assert_eq!(door.shown(&link.connection).await["state"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_is_down_at_the_way_back_ends_the_attempt_and_another_one_works() {
    let door = door(OFTEN).await;
    let bank = &door.world.bank;
    let begun = door.begin().await;
    let connection = begun.text("/id");
    bank.fault(PathKind::SignedConsentStatus, Fault::Status { status: 503, retry_after: None }, 1);
    agree(&door, &begun.body).await;
    let shown = door.shown(connection).await;
    let ended = (text(&shown, "/authorisation/state"), text(&shown, "/authorisation/reason"));
    assert_eq!(ended, ("failed", "bank-unavailable"), "{shown}");
    let path = format!("/v1/connections/{connection}/reauthorise");
    let present = json!({ "customer_present": { "ip": AT_SCREEN.0 } });
    let begun = door.world.api.post(&path, &present).await.unwrap();
    expect(&begun, 200).unwrap();
    agree(&door, &begun.body).await;
    let link = door.linked(connection).await;
    door.assert_like_the_bank(&link).await;
}
