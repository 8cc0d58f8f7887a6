//! The bank's bad days, through its front door.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::tests::{Desk, SOON};
use super::*;
use crate::http::Api;
use serde_json::{Value, json};
use std::io::Read;

const MIB: usize = 1024 * 1024;

/// The answer as it comes off the wire, not decompressed.
async fn raw(desk: &Desk, api: &Api) -> reqwest::Result<(reqwest::header::HeaderMap, Vec<u8>)> {
    let client = reqwest::Client::builder().no_gzip().no_proxy().build()?;
    let request = client.get(format!("{}{}", desk.bank.api_origin(), desk.transactions()));
    let response = request.bearer_auth(api.key().unwrap()).send().await?;
    let headers = response.headers().clone();
    Ok((headers, response.bytes().await?.to_vec()))
}

#[tokio::test]
async fn faults_that_replace_the_answer_are_met_in_order_and_then_all_is_well() {
    let desk = Desk::open(BankConfig::default()).await;
    let api = desk.api().await;
    let bank = &desk.bank;
    let status = |status, retry_after| Fault::Status { status, retry_after };
    bank.fault(PathKind::Transactions, status(429, Some(RetryAfter::Seconds(120))), 1);
    bank.fault(PathKind::Transactions, status(503, Some(RetryAfter::DateIn(60))), 1);
    bank.fault(PathKind::Transactions, status(503, None), 1);
    bank.fault(PathKind::Transactions, Fault::Redirect { to: "http://127.0.0.1:9/".into() }, 1);
    bank.fault(Target::of(PathKind::Transactions, "another account"), Fault::Reset, 1);
    bank.fault(PathKind::Transactions, Fault::Reset, 1);
    assert_eq!(api.get("/accounts").await.unwrap().status, 200);
    let path = desk.transactions();
    let limited = api.get(&path).await.unwrap();
    assert_eq!((limited.status, limited.header("retry-after"), &limited.body), (429, "120", &Value::Null));
    let down = api.get(&path).await.unwrap();
    assert_eq!((down.status, down.header("retry-after")), (503, "Fri, 20 Mar 2026 12:01:00 GMT"));
    assert_eq!(down.text("/Errors/0/ErrorCode"), "UK.OBIE.UnexpectedError");
    let down = api.get(&path).await.unwrap();
    assert_eq!((down.status, down.header("retry-after")), (503, ""));
    let moved = api.get(&path).await.unwrap();
    assert_eq!((moved.status, moved.header("location")), (302, "http://127.0.0.1:9/"));
    assert!(api.get(&path).await.is_err());
    assert_eq!(api.get(&path).await.unwrap().status, 200);
    assert_eq!(bank.faults_left(), 1);
    bank.clear_faults();
    assert_eq!(bank.faults_left(), 0);
    let seen: Vec<_> =
        bank.requests().into_iter().filter(|request| request.kind == PathKind::Transactions).collect();
    let statuses: Vec<_> = seen.iter().map(|request| request.status).collect();
    assert_eq!(statuses, [Some(429), Some(503), Some(503), Some(302), None, Some(200)]);
}

#[tokio::test]
async fn faults_that_spoil_the_answer_spoil_just_what_they_say() {
    let desk = Desk::open(BankConfig::default()).await;
    let api = desk.api().await;
    let (_, good) = raw(&desk, &api).await.unwrap();
    assert!(serde_json::from_slice::<Value>(&good).is_ok());

    desk.bank.fault(PathKind::Transactions, Fault::TruncatedJson, 1);
    let (headers, cut) = raw(&desk, &api).await.unwrap();
    assert_eq!(cut, good[..good.len() / 2]);
    assert_eq!(headers["content-length"], cut.len().to_string().as_str());

    desk.bank.fault(PathKind::Transactions, Fault::CutShort, 1);
    assert!(raw(&desk, &api).await.is_err());

    desk.bank.fault(PathKind::Transactions, Fault::InvalidUtf8, 1);
    let (_, spoilt) = raw(&desk, &api).await.unwrap();
    assert!(std::str::from_utf8(&spoilt).is_err() && spoilt.len() == good.len());

    desk.bank.fault(PathKind::Transactions, Fault::GzipBomb { bytes: 20 * MIB }, 1);
    let (headers, bomb) = raw(&desk, &api).await.unwrap();
    assert_eq!(headers["content-encoding"], "gzip");
    assert!(bomb.len() < MIB / 4);
    let mut inside = Vec::new();
    flate2::read::GzDecoder::new(bomb.as_slice()).read_to_end(&mut inside).unwrap();
    assert_eq!(inside.len(), good.len() + 20 * MIB);

    desk.bank.fault(PathKind::Transactions, Fault::Oversized { bytes: 10 * MIB }, 1);
    let (headers, long) = raw(&desk, &api).await.unwrap();
    assert!(long.len() >= 10 * MIB && headers.get("content-length").is_none());
    assert!(serde_json::from_slice::<Value>(&long).is_ok());
    assert_eq!(raw(&desk, &api).await.unwrap().1, good);
}

#[tokio::test]
async fn bad_rows_and_echoed_secrets_stand_in_the_first_row_only() {
    let desk = Desk::open(BankConfig::default()).await;
    let api = desk.api().await;
    let rows = async || api.get(&desk.transactions()).await.unwrap().body["Data"]["Transaction"].clone();
    let good = rows().await;
    for amount in ["1e3", "12.345", "-0.00"] {
        desk.bank.fault(PathKind::Transactions, Fault::BadAmount { amount: amount.into() }, 1);
        let mut expected = good.clone();
        expected[0]["Amount"]["Amount"] = json!(amount);
        assert_eq!(rows().await, expected);
    }
    desk.bank.fault(PathKind::Transactions, Fault::EchoSecret, 1);
    let echoed = rows().await[0]["TransactionInformation"].clone();
    assert_eq!(echoed, format!("Bearer {}", api.key().unwrap()));
    assert_eq!(rows().await, good);
}

#[tokio::test]
async fn a_lost_renewal_has_used_the_token_up_and_run_out_access_tokens_can_be_renewed() {
    let desk = Desk::open(BankConfig::default()).await;
    let first = desk.renew(&desk.granted.refresh_token).await;
    desk.bank.fault(PathKind::Token, Fault::LostAnswer, 1);
    assert!(desk.try_renew(first.text("/refresh_token")).await.is_err());
    assert_eq!(desk.renew(first.text("/refresh_token")).await.text("/error"), "invalid_grant");

    let granted = desk.bank.grant(&desk.customer.id, None).unwrap();
    let tokens = desk.renew(&granted.refresh_token).await;
    let api = Api::new(desk.bank.api_origin(), Some(tokens.text("/access_token"))).unwrap();
    desk.bank.fault(PathKind::Accounts, Fault::ExpireAccessTokens, 1);
    assert_eq!(api.get("/accounts").await.unwrap().status, 401);
    let tokens = desk.renew(tokens.text("/refresh_token")).await;
    assert_eq!(api.with_key(Some(tokens.text("/access_token"))).get("/accounts").await.unwrap().status, 200);
}

#[tokio::test]
async fn held_requests_wait_for_the_release_before_or_after_they_are_answered() {
    let desk = Desk::open(BankConfig { page_rows: 1000, ..BankConfig::default() }).await;
    let api = desk.api().await;
    let start = desk.bank.statement(desk.account()).unwrap().rows.len();
    for (hold, sees_the_new_row) in [(Hold::Request, true), (Hold::Answer, false)] {
        let rows = desk.bank.statement(desk.account()).unwrap().rows.len();
        desk.bank.hold(Target::of(PathKind::Transactions, desk.account()), hold);
        let waiting = tokio::spawn({
            let (api, path) = (api.clone(), desk.transactions());
            async move { api.get(&path).await.unwrap() }
        });
        desk.bank.wait_held(1, SOON).await.unwrap();
        assert_eq!(api.get("/accounts").await.unwrap().status, 200);
        desk.bank.book(desk.account(), NewEntry::transfer("1.00", "NEW")).unwrap();
        assert!(!waiting.is_finished());
        assert_eq!(desk.bank.release(), 1);
        let seen = waiting.await.unwrap().body["Data"]["Transaction"].as_array().unwrap().len();
        assert_eq!(seen, rows + usize::from(sees_the_new_row), "{hold:?}");
        assert_eq!(desk.bank.held(), 0);
    }
    assert_eq!(desk.bank.statement(desk.account()).unwrap().rows.len(), start + 2);
    let late = desk.bank.wait_held(1, Duration::ZERO).await.unwrap_err();
    assert!(late.to_string().contains("1 held requests"), "{late}");
}

#[tokio::test]
async fn a_slow_answer_is_late_by_so_much() {
    let desk = Desk::open(BankConfig::default()).await;
    let api = desk.api().await;
    desk.bank.fault(PathKind::Accounts, Fault::Slow { millis: 50 }, 1);
    let start = std::time::Instant::now();
    assert_eq!(api.get("/accounts").await.unwrap().status, 200);
    assert!(start.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn the_log_has_every_request_with_its_times_and_fapi_headers_but_no_token() {
    let desk = Desk::open(BankConfig::default()).await;
    let api = desk.api().await;
    let sent = [
        ("x-fapi-interaction-id", "4f1c"),
        ("x-fapi-customer-ip-address", "203.0.113.9"),
        ("x-customer-user-agent", "curl"),
    ];
    let path = format!("{}?fromBookingDateTime=2026-01-01", desk.transactions());
    let before = Utc::now().timestamp_micros();
    let answer = api.send(reqwest::Method::GET, &path, &sent, None).await.unwrap();
    assert_eq!(answer.header("x-fapi-interaction-id"), "4f1c");
    desk.bank.wait_requests(PathKind::Transactions, 1, SOON).await.unwrap();
    assert_eq!(desk.bank.request_count(Target::any()), 2);
    assert_eq!(desk.bank.request_count(Target::of(PathKind::Transactions, "another")), 0);
    let log = desk.bank.requests();
    let seen = &log[1];
    assert_eq!(
        (seen.number, seen.kind, seen.account.as_deref()),
        (1, PathKind::Transactions, Some(desk.account()))
    );
    assert_eq!(
        (seen.method.as_str(), seen.query.as_deref()),
        ("GET", Some("fromBookingDateTime=2026-01-01"))
    );
    assert_eq!((seen.bank_time, seen.status), (desk.bank.now(), Some(200)));
    assert!((before..=Utc::now().timestamp_micros()).contains(&seen.received_at_us));
    assert_eq!(seen.fapi.len(), 3);
    assert_eq!(seen.fapi["x-fapi-customer-ip-address"], "203.0.113.9");
    let text = format!("{log:?}");
    for secret in
        [api.key().unwrap(), &desk.granted.refresh_token, &desk.bank.config().client_secret, "Basic"]
    {
        assert!(!text.contains(secret), "{secret}");
    }
    assert_eq!(api.get("/accounts").await.unwrap().header("x-fapi-interaction-id").len(), 36);
}

#[tokio::test]
async fn the_remote_control_does_what_the_handle_does() {
    let desk = Desk::open(BankConfig::default()).await;
    let control = Api::new(format!("{}/control", desk.bank.auth_origin()), None).unwrap();
    let post = async |path: &str, body: Value| {
        let answer = control.post(path, &body).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        answer
    };
    let accounts = json!([{ "nickname": "Everyday", "currency": "GBP", "history_days": 30 }]);
    let customer = post("/customers", json!({ "name": "Grace Hopper", "accounts": accounts })).await;
    let (id, account) = (customer.text("/id").to_owned(), customer.text("/accounts/0").to_owned());
    post(&format!("/customers/{id}/accounts"), json!({ "nickname": "Spare", "currency": "EUR" })).await;
    let consent = post(&format!("/customers/{id}/consents"), json!({ "lasts_seconds": 7_776_000 })).await;
    let token = desk.renew(consent.text("/refresh_token")).await.text("/access_token").to_owned();
    let api = Api::new(desk.bank.api_origin(), Some(&token)).unwrap();
    assert_eq!(api.get("/accounts").await.unwrap().body["Data"]["Account"].as_array().unwrap().len(), 2);

    let mark = control.get("/changes").await.unwrap().body["mark"].as_u64().unwrap();
    let entries = format!("/accounts/{account}/entries");
    let pending = post(
        &entries,
        json!({ "status": "pending", "amount": "-20.00", "text": "DINNER", "merchant": "Dishoom" }),
    )
    .await;
    let settled =
        post(&format!("{entries}/{}/settle", pending.text("/id")), json!({ "amount": "-23.00" })).await;
    post(&format!("{entries}/{}/correct", settled.text("/id")), json!({ "text": "DINNER FOR TWO" })).await;
    let lapsed = post(&entries, json!({ "status": "pending", "amount": "-1.00", "text": "HOLD" })).await;
    post(&format!("{entries}/{}/expire", lapsed.text("/id")), json!({})).await;
    let booked = post(&entries, json!({ "amount": "-3.20", "text": "COFFEE", "kind": "card" })).await;
    assert_eq!(control.delete(&format!("{entries}/{}", booked.text("/id"))).await.unwrap().status, 200);
    let changes = control.get(&format!("/changes?since={mark}")).await.unwrap();
    let kinds: Vec<_> =
        changes.body["changes"].as_array().unwrap().iter().map(|change| change["kind"].clone()).collect();
    assert_eq!(kinds, ["added", "settled", "modified", "added", "removed", "added", "removed"]);
    assert_eq!(changes.body["mark"], mark + 7);
    let statement = control.get(&format!("/accounts/{account}/statement")).await.unwrap().body;
    assert_eq!(
        serde_json::from_value::<Statement>(statement).unwrap(),
        desk.bank.statement(&account).unwrap()
    );

    let limited = json!({ "status": { "status": 429, "retry_after": { "seconds": 5 } } });
    post("/faults", json!({ "path": "accounts", "fault": limited, "times": 1 })).await;
    post("/faults", json!({ "path": "accounts", "fault": "reset", "times": 3 })).await;
    assert_eq!(api.get("/accounts").await.unwrap().header("retry-after"), "5");
    control.delete("/faults").await.unwrap();
    post("/holds", json!({ "path": "balances", "account": account, "hold": "answer" })).await;
    let (waiting, path) = (api.clone(), format!("/accounts/{account}/balances"));
    let waiting = tokio::spawn(async move { waiting.get(&path).await.unwrap().status });
    assert_eq!(control.get("/holds?at_least=1&wait_seconds=10").await.unwrap().body["held"], 1);
    assert_eq!(control.delete("/holds").await.unwrap().body["held"], 1);
    assert_eq!(waiting.await.unwrap(), 200);
    assert_eq!(control.get("/requests?since=1").await.unwrap().body[0]["kind"], "accounts");

    assert_eq!(post("/clock/advance", json!({ "seconds": 60 })).await.text("/now"), "2026-03-20T12:01:00Z");
    post("/access-tokens/expire", json!({})).await;
    assert_eq!(api.get("/accounts").await.unwrap().status, 401);
    post(&format!("/consents/{}/revoke", consent.text("/consent_id")), json!({})).await;
    post(&format!("/consents/{}/expire", consent.text("/consent_id")), json!({})).await;
    let refused = control.post("/consents/none/revoke", &json!({})).await.unwrap();
    assert_eq!((refused.status, refused.text("/error")), (400, "the bank knows no consent \"none\""));
}
