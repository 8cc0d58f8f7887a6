//! The dialogue: numbered messages whose length counts the PIN, a code in the middle; through the whole service.

use crate::doors::{Door, Link, fields};
use crate::linked::{HOUR, until};
use serde_json::json;
use std::time::Duration;
use tests::bank::{Fault, Login, NewEntry, PathKind};
use tests::compare::Tells;
use tests::http::{expect, text};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn door() -> Door {
    let door = Door::new("demo-dialogue", "", Tells::BookedWithoutIds).await;
    // Characters that mean something to the dialogue, of more bytes than letters.
    let login = Login { user: "o'hara+ada".into(), pin: "1?:é@7".into(), ..door.login.clone() };
    door.world.bank.set_login(&door.customer.id, login.clone()).unwrap();
    Door { login, ..door }
}

/// In, by PIN and the code that the bank sends.
async fn link(door: &Door) -> Link {
    let begun = door.begin().await;
    assert_eq!(fields(&begun.body), ["user", "pin"]);
    let connection = begun.text("/id");
    let asked = door.go_on(connection, json!({ "user": door.login.user, "pin": door.login.pin })).await;
    assert_eq!(fields(&asked.body), ["code"]);
    let ending = &door.login.phone[door.login.phone.len() - 2..];
    let said = text(&asked.body, "/authorisation/next/text");
    assert_eq!(said, format!("Please enter the code that we sent to the telephone ending in {ending}."));
    let code = door.world.bank.last_otp(&door.customer.id).unwrap();
    let linked = door.go_on(connection, json!({ "code": code })).await;
    assert_eq!(linked.body["state"], "active", "{}", linked.body);
    door.linked(connection).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_comes_in_by_pin_and_code_and_rows_are_read_within_the_dialogue() {
    let door = door().await;
    let bank = &door.world.bank;
    let link = link(&door).await;
    door.assert_like_the_bank(&link).await;
    let everyday = door.everyday();
    bank.book_twins(everyday, &NewEntry::card("-3.20", "O'HARA + SON: ? @", "O'Hara")).unwrap();
    bank.book(everyday, NewEntry::transfer("1250.00", "INVOICE 2217")).unwrap();
    let sync = door.good_sync(&link, everyday).await;
    assert_eq!((&sync["added"], &sync["proof"]), (&json!(3), &json!("proved")), "{sync}");
    door.assert_like_the_bank(&link).await;
    door.good_sync(&link, everyday).await;
    assert!(door.leave(&link).await, "the dialogue is ended");
    assert_eq!(bank.request_count(PathKind::DialogueEnd), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_begin_anew_with_every_dialogue_and_a_lost_answer_ends_one() {
    let door = door().await;
    let bank = &door.world.bank;
    let link = link(&door).await;
    let everyday = door.everyday();
    let opened = bank.request_count(PathKind::DialogueOpen);
    door.good_sync(&link, everyday).await;
    for round in 1..=3 {
        door.world.advance(Duration::from_secs(11 * 60)); // longer than a dialogue lives
        bank.book(everyday, NewEntry::transfer("1.00", &format!("ROUND {round}"))).unwrap();
        assert_eq!(door.good_sync(&link, everyday).await["added"], 1);
    }
    assert!(bank.request_count(PathKind::DialogueOpen) >= opened + 3);
    // The bank has counted a message that we think was lost: the next number is right all the same.
    bank.fault(PathKind::DialogueMessage, Fault::LostAnswer, 1);
    let sync = door.sync(&link, everyday).await;
    assert_eq!(text(&sync, "/reason"), "unreachable", "{sync}");
    bank.clear_faults();
    door.good_sync(&link, everyday).await;
    // The bank has never seen one: it ends the dialogue, and another is opened.
    bank.fault(PathKind::DialogueMessage, Fault::Reset, 1);
    let sync = door.sync(&link, everyday).await;
    assert_eq!(text(&sync, "/reason"), "unreachable", "{sync}");
    bank.clear_faults();
    let opened = bank.request_count(PathKind::DialogueOpen);
    door.good_sync(&link, everyday).await;
    assert_eq!(bank.request_count(PathKind::DialogueOpen), opened + 1);
    door.assert_like_the_bank(&link).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_asked_for_once_in_ninety_days_and_then_the_customer_is_asked_again() {
    let door = door().await;
    let bank = &door.world.bank;
    let link = link(&door).await;
    let confirmed = bank.request_count(PathKind::DialogueConfirm);
    for _ in 0..8 {
        door.world.advance(11 * DAY);
        door.good_sync(&link, door.everyday()).await;
    }
    assert_eq!(bank.request_count(PathKind::DialogueConfirm), confirmed, "88 days without a code");
    door.world.advance(3 * DAY);
    until("a stopped connection", async || {
        (door.shown(&link.connection).await["state"] == "reauthorisation_required").then_some(())
    })
    .await;
    assert_eq!(door.shown(&link.connection).await["reason"], "customer-needed");
    let opened = bank.request_count(PathKind::DialogueOpen);
    door.world.advance(HOUR * 5);
    assert_eq!(bank.request_count(PathKind::DialogueOpen), opened, "polling stops, and no code is sent");

    // PIN and system are still known: only the code is asked for, and then for 90 days again.
    let path = format!("/v1/connections/{}/reauthorise", link.connection);
    let asked = door.world.api.post(&path, &json!({})).await.unwrap();
    expect(&asked, 200).unwrap();
    assert_eq!(fields(&asked.body), ["code"]);
    let code = bank.last_otp(&door.customer.id).unwrap();
    let back = door.go_on(&link.connection, json!({ "code": code })).await;
    assert_eq!(back.body["state"], "active", "{}", back.body);
    let back = door.linked(&link.connection).await;
    assert_eq!(back.accounts, link.accounts);
    door.world.advance(80 * DAY);
    door.good_sync(&back, door.everyday()).await;
    door.assert_like_the_bank(&back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_code_may_be_mended_and_three_end_the_login_without_touching_the_pin() {
    let door = door().await;
    let bank = &door.world.bank;
    let begun = door.begin().await;
    let connection = begun.text("/id");
    let pin = json!({ "user": door.login.user, "pin": door.login.pin });
    door.go_on(connection, pin.clone()).await;
    let wrong = json!({ "code": "never-a-code" });
    for _ in 0..2 {
        let again = door.go_on(connection, wrong.clone()).await;
        assert!(
            text(&again.body, "/authorisation/next/text").starts_with("That was not the code."),
            "{}",
            again.body
        );
    }
    let over = door.go_on(connection, wrong.clone()).await;
    assert_eq!(text(&over.body, "/authorisation/state"), "failed", "{}", over.body);
    assert_eq!(text(&over.body, "/authorisation/message"), "The bank ended the login. Please begin again.");
    assert!(!bank.locked(&door.customer.id).unwrap());

    // Begun again: the second try is right, in the same dialogue.
    let path = format!("/v1/connections/{connection}/reauthorise");
    let begun = door.world.api.post(&path, &json!({})).await.unwrap();
    assert_eq!(fields(&begun.body), ["user", "pin"]);
    door.go_on(connection, pin).await;
    door.go_on(connection, wrong).await;
    let code = bank.last_otp(&door.customer.id).unwrap();
    let linked = door.go_on(connection, json!({ "code": code })).await;
    assert_eq!(linked.body["state"], "active", "{}", linked.body);
    let link = door.linked(connection).await;
    door.assert_like_the_bank(&link).await;
}
