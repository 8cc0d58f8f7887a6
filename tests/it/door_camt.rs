//! The statements: one file for all accounts, forgotten by the bank once acknowledged; through the whole service.

use crate::doors::{Door, Link, fields};
use crate::linked::until;
use serde_json::{Value, json};
use std::time::Duration;
use tests::bank::{Correction, Fault, NewEntry, PathKind, RowStatus};
use tests::compare::{Tells, rows};
use tests::http::{items, text};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn door() -> Door {
    Door::new("demo-statements", "interval-minutes = 10080", Tells::BookedWithoutIds).await
}

async fn link(door: &Door) -> Link {
    let begun = door.begin().await;
    assert_eq!(fields(&begun.body), ["username", "password"]);
    let connection = begun.text("/id");
    let typed = json!({ "username": door.login.user, "password": door.login.password });
    let linked = door.go_on(connection, typed).await;
    assert_eq!(linked.body["state"], "active", "{}", linked.body);
    let link = door.linked(connection).await;
    // The planned sync of the week is over, with its acknowledgement, when the next one is.
    door.good_sync(&link, door.everyday()).await;
    link
}

/// How many files were acknowledged.
fn acknowledged(door: &Door) -> usize {
    door.world.bank.request_count(PathKind::CamtAcknowledge)
}

/// Waits until so many were: then everything is stored.
async fn until_acknowledged(door: &Door, files: usize) {
    until("an acknowledgement", async || (acknowledged(door) >= files).then_some(())).await;
    assert_eq!(acknowledged(door), files);
}

/// Stored rows of an account up to yesterday against the bank's, and the booked balance against their sum.
async fn assert_like_the_bank(door: &Door, link: &Link, bank_id: &str) {
    let (bank, account) = (&door.world.bank, &link.accounts[bank_id]);
    let today = bank.now().date_naive();
    let mut theirs: Vec<[String; 4]> = bank
        .statement(bank_id)
        .unwrap()
        .rows
        .iter()
        .filter(|row| row.status == RowStatus::Booked && row.booked_on < today)
        .map(|row| {
            [
                row.booked_on.to_string(),
                row.amount.clone(),
                row.text.clone(),
                row.merchant.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let stored = rows(&door.world.api, account).await.unwrap();
    let mut ours: Vec<[String; 4]> = stored
        .iter()
        .map(|row| ["/booked_on", "/amount", "/text", "/counterparty"].map(|at| text(row, at).to_owned()))
        .collect();
    theirs.sort();
    ours.sort();
    assert_eq!(ours, theirs);
    assert_adds_up(door, link, bank_id).await;
}

/// The booked balance is the sum of the stored rows.
async fn assert_adds_up(door: &Door, link: &Link, bank_id: &str) {
    let account = &link.accounts[bank_id];
    let minor = |row: &Value| -> i64 { text(row, "/amount").replace('.', "").parse().unwrap() };
    let sum: i64 = rows(&door.world.api, account).await.unwrap().iter().map(minor).sum();
    let balances = door.world.api.get(&format!("/v1/accounts/{account}/balances")).await.unwrap();
    let booked = items(&balances).iter().find(|balance| balance["kind"] == "booked").unwrap();
    assert_eq!(minor(booked), sum, "{booked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_brings_all_accounts_up_to_yesterday_and_is_acknowledged() {
    let door = door().await;
    let bank = &door.world.bank;
    let link = link(&door).await;
    let files = acknowledged(&door);
    assert!(files > 0);
    for account in &door.customer.accounts {
        assert_like_the_bank(&door, &link, account).await;
    }
    let ids = rows(&door.world.api, &link.accounts[door.everyday()]).await.unwrap();
    let ids = ids.iter().filter(|row| row["bank_id"].is_string()).count();
    assert!(ids > 0, "rows have the bank's references");

    // The day is not over: nothing is new, which is no failure.
    bank.book_twins(door.everyday(), &NewEntry::card("-3.20", "CORNER COFFEE", "Corner Coffee")).unwrap();
    bank.book(&door.customer.accounts[1], NewEntry::transfer("1250.00", "INVOICE <2217> & more")).unwrap();
    let sync = door.good_sync(&link, door.everyday()).await;
    assert_eq!((&sync["added"], &sync["has_new_data"]), (&json!(0), &json!(false)), "{sync}");
    assert_eq!(acknowledged(&door), files);

    door.world.advance(DAY);
    let sync = door.good_sync(&link, door.everyday()).await;
    assert!(sync["added"].as_i64() >= Some(2), "{sync}");
    assert_eq!(sync["proof"], "proved", "opening + rows = closing: {sync}");
    until_acknowledged(&door, files + 1).await;
    for account in &door.customer.accounts {
        assert_like_the_bank(&door, &link, account).await;
    }
    assert!(!door.leave(&link).await, "there is nothing to end at this bank");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_stated_is_corrected_by_a_reversal_and_comes_again_under_its_reference() {
    let door = door().await;
    let bank = &door.world.bank;
    let everyday = door.everyday();
    let stated = bank.book(everyday, NewEntry::card("-3.20", "WRONG PRICE", "Blue Door")).unwrap();
    let gone = bank.book(everyday, NewEntry::card("-9.00", "NEVER WAS", "Blue Door")).unwrap();
    door.world.advance(DAY);
    let link = link(&door).await;
    let before = rows(&door.world.api, &link.accounts[everyday]).await.unwrap().len();
    let correction = Correction { amount: Some("-4.20".into()), text: None };
    bank.correct(everyday, &stated.id, correction).unwrap();
    bank.remove(everyday, &gone.id).unwrap();
    door.world.advance(DAY);
    let sync = door.good_sync(&link, everyday).await;
    assert_eq!(
        (&sync["modified"], &sync["removed"]),
        (&json!(0), &json!(0)),
        "a statement is for ever: {sync}"
    );
    let after = rows(&door.world.api, &link.accounts[everyday]).await.unwrap();
    assert_eq!(after.len(), before + 3, "two reversals and the corrected row");
    let amounts = |wanted: &str| {
        let mut found: Vec<&str> =
            after.iter().filter(|row| row["text"] == wanted).map(|row| text(row, "/amount")).collect();
        found.sort_unstable();
        found.join(" ")
    };
    assert_eq!(
        (amounts("WRONG PRICE"), amounts("NEVER WAS")),
        ("-3.20 -4.20 3.20".into(), "-9.00 9.00".into())
    );
    assert_adds_up(&door, &link, everyday).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_acknowledged_only_after_every_account_is_stored() {
    let door = door().await;
    let bank = &door.world.bank;
    let everyday = door.everyday().to_owned();
    let savings = door.customer.accounts[1].clone();
    let link = link(&door).await;
    let files = acknowledged(&door);
    bank.book(&everyday, NewEntry::card("-3.20", "CORNER COFFEE", "Corner Coffee")).unwrap();
    bank.book(&savings, NewEntry::transfer("75.00", "SAVED")).unwrap();
    door.world.advance(DAY);

    // One account's part cannot be read: its sister is stored, and the bank keeps the file.
    bank.fault(PathKind::CamtStatements, Fault::BadAmount { amount: "1e3".into() }, 1);
    let sync = door.sync(&link, &everyday).await;
    assert_eq!((text(&sync, "/code"), text(&sync, "/reason")), ("SYNC_ERROR", "unreadable"), "{sync}");
    until("the sister's rows", async || {
        let stored = rows(&door.world.api, &link.accounts[&savings]).await.unwrap();
        stored.iter().any(|row| row["text"] == "SAVED").then_some(())
    })
    .await;
    assert_eq!(acknowledged(&door), files, "nothing is acknowledged");

    // The next sync gets it again, and nothing of it is stored twice.
    let sync = door.good_sync(&link, &everyday).await;
    assert!(sync["added"].as_i64() >= Some(1), "{sync}");
    until_acknowledged(&door, files + 1).await;
    for account in [&everyday, &savings] {
        assert_like_the_bank(&door, &link, account).await;
    }

    // The bank says so too: what was not stored can be had again, what was acknowledged cannot.
    bank.fault(PathKind::CamtStatements, Fault::HiddenRow, 1);
    bank.book(&everyday, NewEntry::card("-1.00", "BUN", "Bakery")).unwrap();
    door.world.advance(DAY);
    let sync = door.sync(&link, &everyday).await;
    assert_eq!(text(&sync, "/code"), "INCOMPLETE_STATEMENT_ERROR", "{sync}");
    door.good_sync(&link, &everyday).await;
    until_acknowledged(&door, files + 2).await;
    assert_like_the_bank(&door, &link, &everyday).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_is_lost_brings_the_same_file_again() {
    let door = door().await;
    let bank = &door.world.bank;
    let link = link(&door).await;
    bank.book(door.everyday(), NewEntry::card("-3.20", "CORNER COFFEE", "Corner Coffee")).unwrap();
    door.world.advance(DAY);
    bank.fault(PathKind::CamtAcknowledge, Fault::Reset, 1);
    let sync = door.good_sync(&link, door.everyday()).await;
    assert!(sync["added"].as_i64() >= Some(1), "stored all the same: {sync}");
    let sync = door.good_sync(&link, door.everyday()).await;
    assert_eq!(
        (&sync["added"], &sync["modified"], &sync["removed"]),
        (&json!(0), &json!(0), &json!(0)),
        "{sync}"
    );
    assert_like_the_bank(&door, &link, door.everyday()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changed_is_sent_twice_and_never_a_third_time() {
    let door = door().await;
    let bank = &door.world.bank;
    let link = link(&door).await;
    let login = tests::bank::Login { password: "another-password-entirely".into(), ..door.login.clone() };
    bank.set_login(&door.customer.id, login).unwrap();
    let refused = || {
        let asked = bank.requests();
        asked.iter().filter(|request| request.status == Some(401)).count()
    };
    let sync = door.sync(&link, door.everyday()).await;
    assert_eq!(text(&sync, "/reason"), "credentials-rejected", "{sync}");
    assert_eq!(refused(), 1);
    door.world.advance(DAY);
    until("a stopped connection", async || {
        (door.shown(&link.connection).await["state"] == "reauthorisation_required").then_some(())
    })
    .await;
    door.world.advance(DAY);
    assert_eq!(refused(), 2);
    assert!(!bank.locked(&door.customer.id).unwrap());
}
