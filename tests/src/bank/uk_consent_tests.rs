//! What a UK Open Banking consent opens, for how long, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::uk_business::{Business, parameter};
use super::uk_tests::{code, status};
use super::*;
use serde_json::{Value, json};

#[tokio::test]
async fn a_consent_is_refused_where_the_standard_says_so() {
    let business = Business::open(BankConfig::default()).await;
    let api = business.own_api().await;
    let post = async |body: Value| api.post("/account-access-consents", &body).await.unwrap();
    let read = json!(["ReadAccountsBasic"]);
    for (body, code, path) in [
        (json!({ "Risk": {} }), "Field.Missing", "Data"),
        (json!({ "Data": { "Permissions": read } }), "Field.Missing", "Risk"),
        (json!({ "Data": {}, "Risk": {} }), "Field.Missing", "Data.Permissions"),
        (json!({ "Data": { "Permissions": [] }, "Risk": {} }), "Field.Invalid", "Data.Permissions"),
        (
            json!({ "Data": { "Permissions": ["ReadAccountsBasic", "ReadTransactionsDetail"] }, "Risk": {} }),
            "Field.Invalid",
            "Data.Permissions",
        ),
        (
            json!({ "Data": { "Permissions": read, "ExpirationDateTime": "2026-03-20T12:00:00+00:00" }, "Risk": {} }),
            "Field.InvalidDate",
            "Data.ExpirationDateTime",
        ),
        (
            json!({ "Data": { "Permissions": read, "TransactionFromDateTime": "soon" }, "Risk": {} }),
            "Field.InvalidDate",
            "Data.TransactionFromDateTime",
        ),
        (json!({ "Data": { "Permissions": read }, "Risk": {}, "More": 1 }), "Resource.InvalidFormat", ""),
        (json!([]), "Resource.InvalidFormat", ""),
    ] {
        let answer = post(body.clone()).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.text("/Errors/0/ErrorCode"), format!("UK.OBIE.{code}"), "{body}");
        assert_eq!(answer.text("/Errors/0/Path"), path, "{body}");
    }
    let good = json!({ "Data": { "Permissions": read, "ExpirationDateTime": "2026-06-18T12:00:00.000Z" }, "Risk": {} });
    let made = post(good).await;
    assert_eq!(made.text("/Data/ExpirationDateTime"), "2026-06-18T12:00:00+00:00");
    let path = format!("/account-access-consents/{}", made.text("/Data/ConsentId"));
    let granted = format!("/account-access-consents/{}", business.desk.granted.consent_id);
    assert_eq!(api.get(&granted).await.unwrap().status, 403, "another's");
    assert_eq!(api.delete(&granted).await.unwrap().status, 403);
    assert_eq!(api.delete(&path).await.unwrap().status, 204);
    assert_eq!(code(&api.get(&path).await.unwrap()), (400, "UK.OBIE.Resource.NotFound"));
    assert_eq!(api.with_key(Some("ct_none")).get(&path).await.unwrap().status, 401);
}

#[tokio::test]
async fn only_what_the_customer_agreed_to_can_be_read() {
    let business = Business::open(BankConfig { row_balances: true, ..BankConfig::default() }).await;
    let desk = &business.desk;
    let enter = async |permissions: &[&str]| {
        let consent = business.ask_for(json!({ "Permissions": permissions })).await;
        business.enter(&consent).await
    };
    let balances = format!("/accounts/{}/balances", desk.account());
    let none = (403, "UK.DemoBank.NoPermission");

    let api = enter(&["ReadAccountsBasic"]).await;
    let listed = api.get("/accounts").await.unwrap();
    assert_eq!(listed.body["Data"]["Account"][0].get("Account"), None, "no number");
    assert_eq!(code(&api.get(&balances).await.unwrap()), none);
    assert_eq!(code(&api.get(&desk.transactions()).await.unwrap()), none);

    let basic = ["ReadAccountsDetail", "ReadBalances", "ReadTransactionsBasic", "ReadTransactionsCredits"];
    let api = enter(&basic).await;
    assert_eq!(api.get(&balances).await.unwrap().status, 200);
    let rows = api.get(&desk.transactions()).await.unwrap().body["Data"]["Transaction"].clone();
    let rows = rows.as_array().unwrap();
    assert!(rows.len() > 3);
    for row in rows {
        assert_eq!(row["CreditDebitIndicator"], "Credit");
        for detail in
            ["TransactionInformation", "Balance", "MerchantDetails", "CreditorAccount", "DebtorAccount"]
        {
            assert_eq!(row.get(detail), None);
        }
    }
    let debits = ["ReadAccountsBasic", "ReadTransactionsDetail", "ReadTransactionsDebits"];
    let rows = enter(&debits).await.get(&desk.transactions()).await.unwrap();
    let rows = rows.body["Data"]["Transaction"].as_array().unwrap().clone();
    assert!(rows.iter().all(|row| row["CreditDebitIndicator"] == "Debit" && row.get("Balance").is_some()));
    let shown = desk.bank.statement(desk.account()).unwrap().rows;
    let first =
        shown.iter().position(|row| Some(row.id.as_str()) == rows[0]["TransactionId"].as_str()).unwrap();
    let sum: i64 = shown[..=first].iter().map(|row| money::parse(&row.amount, "GBP").unwrap()).sum();
    assert_eq!(rows[0]["Balance"]["Amount"]["Amount"], money::unsigned_text(sum, "GBP"));
}

#[tokio::test]
async fn a_period_agreed_to_cuts_the_list_and_says_so() {
    let business = Business::open(BankConfig { page_rows: 500, ..BankConfig::default() }).await;
    let desk = &business.desk;
    let consent = business
        .ask_for(json!({
            "Permissions": PERMISSIONS,
            "TransactionFromDateTime": "2026-02-01T00:00:00Z",
            "TransactionToDateTime": "2026-02-28T23:59:59Z",
        }))
        .await;
    let api = business.enter(&consent).await;
    let days = async |query: &str| {
        let answer = api.get(&format!("{}{query}", desk.transactions())).await.unwrap();
        let rows = answer.body["Data"]["Transaction"].as_array().unwrap().clone();
        let day = |row: &Value| row["BookingDateTime"].as_str().unwrap()[..10].to_owned();
        let meta =
            ["FirstAvailableDateTime", "LastAvailableDateTime"].map(|name| answer.body["Meta"][name].clone());
        (day(rows.first().unwrap()), day(rows.last().unwrap()), meta)
    };
    let (first, last, meta) = days("?fromBookingDateTime=2026-01-01T00:00:00").await;
    assert!(first.as_str() >= "2026-02-01" && last.as_str() <= "2026-02-28", "{first} {last}");
    assert_eq!(meta, [json!("2026-02-01T00:00:00+00:00"), json!("2026-02-28T23:59:59+00:00")]);
    let (.., meta) = days("?fromBookingDateTime=2026-02-10&toBookingDateTime=2026-02-20").await;
    assert_eq!(meta, [Value::Null, Value::Null]);
}

#[tokio::test]
async fn history_of_more_than_ninety_days_is_given_only_right_after_the_customer_agreed() {
    let business = Business::open(BankConfig { page_rows: 5000, ..BankConfig::default() }).await;
    let bank = &business.desk.bank;
    let customer = bank.create_customer(&NewCustomer::with_two_accounts("Old Hand", 400)).unwrap();
    let consent = business.ask_for_all().await;
    let enter = async || {
        let url = business.url(&business.request(&consent));
        let location = bank.decide(&url, &Decision::allow(&customer.id)).unwrap();
        let tokens = business.tokens(&parameter(&location, "code")).await;
        business.api(tokens.text("/access_token"))
    };
    let list = |from: &str| format!("/accounts/{}/transactions{from}", customer.accounts[0]);
    let old = list("?fromBookingDateTime=2025-03-01T00:00:00");
    let api = enter().await;
    let rows = |answer: &crate::http::Answer| answer.body["Data"]["Transaction"].as_array().unwrap().len();
    let all = rows(&api.get(&old).await.unwrap());
    bank.advance(Duration::from_secs(300));
    assert_eq!(rows(&api.get(&old).await.unwrap()), all);
    bank.advance(Duration::from_secs(1));
    let refused = api.get(&old).await.unwrap();
    assert_eq!(code(&refused), (403, "UK.OBIE.Reauthenticate"));
    assert_eq!(refused.text("/Errors/0/Path"), "fromBookingDateTime");
    // 2026-03-20 less ninety days.
    assert_eq!(code(&api.get(&list("?fromBookingDateTime=2025-12-19")).await.unwrap()).0, 403);
    let recent = api.get(&list("?fromBookingDateTime=2025-12-20T00:00:00")).await.unwrap();
    assert_eq!((recent.status, &recent.body["Meta"]["FirstAvailableDateTime"]), (200, &Value::Null));
    let unasked = api.get(&list("")).await.unwrap();
    assert_eq!(rows(&unasked), rows(&recent));
    assert_eq!(unasked.body["Meta"]["FirstAvailableDateTime"], "2025-12-20T00:00:00+00:00");

    let again = enter().await;
    assert_eq!(rows(&again.get(&old).await.unwrap()), all, "the customer was just there again");
    assert_eq!(api.get("/accounts").await.unwrap().status, 401, "the tokens from before are good no more");
    let stranger =
        bank.decide(&business.url(&business.request(&consent)), &Decision::allow(&business.desk.customer.id));
    assert_eq!(parameter(&stranger.unwrap(), "error"), "access_denied", "another customer's consent");
    assert_eq!(again.get("/accounts").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_consent_that_was_taken_back_can_be_agreed_to_again_and_one_that_expired_cannot() {
    let business = Business::open(BankConfig::default()).await;
    let bank = &business.desk.bank;
    let data = json!({ "Permissions": PERMISSIONS, "ExpirationDateTime": "2026-03-20T13:00:00Z" });
    let consent = business.ask_for(data).await;
    let api = business.enter(&consent).await;
    bank.revoke_consent(&consent).unwrap();
    assert_eq!(code(&api.get("/accounts").await.unwrap()), (403, "UK.OBIE.Resource.InvalidConsentStatus"));
    assert_eq!(status(&business, &consent).await, "Authorised", "the standard leaves the status alone");
    let api = business.enter(&consent).await;
    assert_eq!(api.get("/accounts").await.unwrap().status, 200);
    bank.advance(Duration::from_secs(3600));
    assert_eq!(api.get("/accounts").await.unwrap().status, 401);
    let location =
        bank.decide(&business.url(&business.request(&consent)), &Decision::allow(&business.desk.customer.id));
    assert_eq!(parameter(&location.unwrap(), "error"), "invalid_request");
}
