//! What a guest hands out: read exactly, or refused with row and field.

use crate::guest::{context, hostile, reply, wants};
use host::model::*;
use host::sandbox::{Connector, Fault, Limits};
use serde_json::{Value, json};
use std::sync::Arc;

async fn guest() -> Arc<Connector> {
    // Time is not what is tested here.
    hostile(Limits { step_ticks: 6_000, ..Limits::default() }).await
}

async fn read(connector: &Arc<Connector>, body: &Value) -> Result<Result<PageContent, Failure>, Fault> {
    let step = connector.read(&context("{}"), &wants(), "0".into(), reply(&body.to_string())).await?;
    let ReadStep::Pages { pages, next: None, .. } = step else { panic!("{step:?}") };
    let [page] = pages.as_slice() else { panic!("{pages:?}") };
    assert_eq!(page.account, "acc-1");
    Ok(page.content.clone())
}

fn rows(rows: &[Value]) -> Value {
    json!({ "transactions": rows })
}

#[tokio::test]
async fn a_row_that_cannot_be_read_names_itself_and_its_field_and_spoils_the_page() {
    let guest = guest().await;
    let good = json!({ "id": "a", "amount": "1.00" });
    for (bad, field) in [
        (json!({ "amount": "1e3" }), "amount"),
        (json!({ "amount": "12.345" }), "amount"),
        (json!({ "amount": "" }), "amount"),
        (json!({ "amount": "1,000.00" }), "amount"),
        (json!({ "amount": "92233720368547758.08" }), "amount"),
        (json!({ "amount": "5.0", "currency": "JPY" }), "amount"),
        (json!({ "currency": "gbp" }), "currency"),
        (json!({ "currency": "XYZ" }), "currency"),
        (json!({ "balance_after": "1e3" }), "balance-after"),
        (json!({ "booked_on": "2026-02-30" }), "date"),
        (json!({ "booked_on": "01/11/2026" }), "date"),
        (json!({ "booked_on": "2026-11-1 " }), "date"),
        (json!({ "valued_on": "+2026-1-01" }), "date"),
    ] {
        let unreadable = Failure::Unreadable { row: Some(1), field: field.to_owned() };
        assert_eq!(read(&guest, &rows(&[good.clone(), bad.clone()])).await, Ok(Err(unreadable)), "{bad}");
    }
    let said = Failure::Unreadable { row: Some(1), field: "amount".into() }.to_string();
    assert_eq!(said, "row 1: amount could not be read");
    let balance = |amount: &str, currency: &str| json!({ "balances": [{ "kind": "booked", "amount": amount, "currency": currency }] });
    for (amount, currency, field) in [("1e3", "GBP", "balance.amount"), ("1", "pounds", "balance.currency")] {
        let unreadable = Failure::Unreadable { row: Some(0), field: field.to_owned() };
        assert_eq!(read(&guest, &balance(amount, currency)).await, Ok(Err(unreadable)));
    }
    for credit in ["-5.00", "5.001", "much", ""] {
        let unreadable = Failure::Unreadable { row: Some(0), field: "balance.credit-included".to_owned() };
        assert_eq!(read(&guest, &with_credit(Some(credit))).await, Ok(Err(unreadable)), "{credit}");
    }
}

/// A balance of 600.00 with so much credit in it.
fn with_credit(credit: Option<&str>) -> Value {
    json!({ "balances": [{
        "kind": "booked", "amount": "600.00", "currency": "GBP", "credit_included": credit,
    }] })
}

#[tokio::test]
async fn credit_in_a_balance_is_known_unknown_or_none() {
    let guest = guest().await;
    for (said, credit, own) in [
        (None, Credit::None, Some(60_000)),
        (Some("0.00"), Credit::None, Some(60_000)),
        (Some("500"), Credit::Included(50_000), Some(10_000)),
        (Some("700.00"), Credit::Included(70_000), Some(-10_000)),
        (Some("unknown"), Credit::Unknown, None),
    ] {
        let content = read(&guest, &with_credit(said)).await.unwrap().unwrap();
        let [balance] = content.balances.as_slice() else { panic!("{content:?}") };
        assert_eq!((balance.money.minor, balance.credit_included), (60_000, credit));
        assert_eq!(balance.own_money().map(|money| money.minor), own);
    }
}

#[tokio::test]
async fn what_can_be_read_is_read_exactly() {
    let guest = guest().await;
    let given = rows(&[
        json!({ "amount": "-0.00" }),
        json!({ "amount": "-12.3", "balance_after": "-0.01", "valued_on": "2028-02-29" }),
        json!({ "amount": "500", "currency": "JPY", "status": "pending", "booked_on": null }),
        json!({ "amount": "92233720368547758.07" }),
    ]);
    let content = read(&guest, &given).await.unwrap().unwrap();
    let minor: Vec<_> = content.transactions.iter().map(|row| row.money.minor).collect();
    assert_eq!(minor, [0, -1230, 500, i64::MAX]);
    let row = &content.transactions[1];
    assert_eq!((row.balance_after, row.valued_on), (Some(-1), "2028-02-29".parse().ok()));
    let row = &content.transactions[2];
    assert_eq!((row.status, row.booked_on), (TransactionStatus::Pending, None));
    let coverage = content.coverage.unwrap();
    assert_eq!(Some(coverage.window), wants()[0].transactions);
    assert!(coverage.complete && coverage.snapshot);
}

#[tokio::test]
async fn what_only_a_bad_connector_says_is_its_fault() {
    let guest = guest().await;
    let long = |bytes: usize| "x".repeat(bytes);
    let details = "a transaction's details are not a JSON object";
    for (row, rule) in [
        (json!({ "id": long(257) }), "bytes of a transaction's id: 257, at most 256 allowed"),
        (json!({ "supersedes": long(257) }), "bytes of a transaction's id: 257, at most 256 allowed"),
        (json!({ "text": long(2_001) }), "characters of a narration: 2001, at most 2000 allowed"),
        (json!({ "counterparty": long(257) }), "characters of a counterparty: 257, at most 256 allowed"),
        (json!({ "details": "" }), details),
        (json!({ "details": "[]" }), details),
        (json!({ "details": "{" }), details),
        (json!({ "details": "{}{}" }), details),
    ] {
        let fault = read(&guest, &rows(&[row])).await.unwrap_err();
        assert_eq!(fault.to_string(), format!("connector hostile 0.1.0: {rule}"));
    }
    let fault = read(&guest, &rows(&[json!({ "details": format!("{{\"a\":\"{}\"}}", long(16_384)) })])).await;
    assert!(fault.unwrap_err().rule.starts_with("bytes of a transaction's details: 16392, "));
    // Characters are not bytes.
    let wide = json!({ "id": long(256), "text": "ß".repeat(2_000), "counterparty": "ß".repeat(256) });
    assert!(read(&guest, &rows(&[wide])).await.unwrap().is_ok());
    let fault = read(&guest, &json!({ "removed": [long(257)] })).await.unwrap_err();
    assert_eq!(fault.rule, "bytes of a removed id: 257, at most 256 allowed");
}

#[tokio::test]
async fn a_page_of_an_account_that_was_not_wanted_is_a_fault() {
    let guest = guest().await;
    let asked = context(r#"{"mode":"wrong-account"}"#);
    let fault = guest.read(&asked, &wants(), "0".into(), reply("{}")).await.unwrap_err();
    assert_eq!(fault.to_string(), "connector hostile 0.1.0: a page names an account that was not wanted");
    let mut wanted = wants();
    wanted.push(Want { account: "acc-unwanted".into(), ..wanted[0].clone() });
    assert!(
        guest.read(&asked, &wanted, "0".into(), reply("{}")).await.is_ok(),
        "once it is wanted it may come"
    );
}

#[tokio::test]
async fn more_accounts_than_the_limit_are_refused() {
    let many = context(r#"{"accounts":1001}"#);
    let fault = guest().await.accounts(&many, String::new(), vec![]).await.unwrap_err();
    assert_eq!(fault.to_string(), "connector hostile 0.1.0: accounts: 1001, at most 1000 allowed");
    let lifted = hostile(Limits { accounts: usize::MAX, step_ticks: 6_000, ..Limits::default() }).await;
    let listed = lifted.accounts(&many, String::new(), vec![]).await.unwrap();
    assert!(matches!(listed, AccountsStep::Done(accounts) if accounts.len() == 1_001));
}

#[tokio::test]
async fn the_same_question_has_the_same_answer() {
    let guest = guest().await;
    let body = rows(&[json!({ "id": "a", "amount": "1.00" }), json!({ "id": "b", "amount": "-2.50" })]);
    assert_eq!(read(&guest, &body).await, read(&guest, &body).await);
    let asked = context(r#"{"accounts":3}"#);
    let accounts = async || guest.accounts(&asked, String::new(), vec![]).await.unwrap();
    assert_eq!(accounts().await, accounts().await);
    let session = async || guest.session(&asked, Goal::Open, String::new(), vec![]).await.unwrap();
    assert_eq!(session().await, session().await);
    // And nothing stays behind from a step that went wrong between them.
    let first = async |mode: &str| {
        let asked = context(&format!(r#"{{"mode":"{mode}"}}"#));
        guest.read(&asked, &wants(), String::new(), vec![]).await
    };
    let before = first("well-behaved").await.unwrap();
    assert!(first("panics").await.is_err());
    assert_eq!(first("well-behaved").await.unwrap(), before);
}
