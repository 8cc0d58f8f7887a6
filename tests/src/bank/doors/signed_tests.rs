//! Signed requests through their front door: a business that signs, and a customer's browser.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use crate::bank::tests::Desk;
use crate::bank::{BankConfig, BankError, Fault, NewEntry, PathKind, RowStatus};
use crate::http::{Answer, Api};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use std::cell::Cell;
use std::time::Duration;

const CALLBACK: &str = "https://business.example/callback?state=s1";
const DAY: Duration = Duration::from_secs(86_400);

struct Business {
    api: Api,
    key: KeyPair,
    key_id: &'static str,
    requests: Cell<u32>,
}

/// A request before it is signed, and what its signature is spoilt with.
struct Draft {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Draft {
    fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), headers: Vec::new(), body: String::new() }
    }
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
    fn consent(days: u64, frequency: u32) -> Self {
        let until = chrono::NaiveDate::from_ymd_opt(2026, 3, 20).unwrap() + chrono::Days::new(days);
        let body = json!({ "access": { "allPsd2": "allAccounts" }, "recurringIndicator": true,
            "validUntil": until, "frequencyPerDay": frequency, "combinedServiceIndicator": false });
        let draft = Self { method: Method::POST, body: body.to_string(), ..Self::get("/signed/v1/consents") };
        draft
            .with("content-type", "application/json")
            .with("tpp-redirect-uri", CALLBACK)
            .with("psu-ip-address", "203.0.113.9")
    }
}

impl Business {
    fn at(desk: &Desk, key_id: &'static str) -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = key.public_key().as_der().unwrap();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        desk.bank.register_signer(key_id, &pem).unwrap();
        let api = Api::new(desk.bank.auth_origin(), None).unwrap();
        Self { api, key, key_id, requests: Cell::new(0) }
    }

    /// The four headers that every request carries.
    fn sign(&self, body: &str, date: &str) -> Vec<(&'static str, String)> {
        self.requests.set(self.requests.get() + 1);
        let id = format!("99391c7e-ad88-49ec-a2ad-{:012x}", self.requests.get());
        let hash = format!("SHA-256={}", STANDARD.encode(digest(&SHA256, body.as_bytes())));
        let lines = format!("digest: {hash}\nx-request-id: {id}\ndate: {date}");
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), lines.as_bytes(), &mut signature).unwrap();
        let signature = format!(
            "keyId=\"{}\",algorithm=\"rsa-sha256\",headers=\"digest x-request-id date\",signature=\"{}\"",
            self.key_id,
            STANDARD.encode(signature)
        );
        vec![("x-request-id", id), ("date", date.to_owned()), ("digest", hash), ("signature", signature)]
    }

    async fn send_as(&self, draft: &Draft, signed: &[(&'static str, String)]) -> Answer {
        let headers: Vec<_> =
            draft.headers.iter().chain(signed).map(|(name, value)| (*name, value.as_str())).collect();
        let body = draft.body.clone().into_bytes();
        self.api.send_raw(draft.method.clone(), &draft.path, &headers, body).await.unwrap()
    }

    async fn send(&self, desk: &Desk, draft: Draft) -> Answer {
        let date = desk.bank.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        self.send_as(&draft, &self.sign(&draft.body, &date)).await
    }

    /// A consent that the customer agreed to; its id.
    async fn consent(&self, desk: &Desk, frequency: u32) -> String {
        let answer = self.send(desk, Draft::consent(90, frequency)).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        let id = answer.text("/consentId").to_owned();
        desk.bank.decide_signed(&id, &desk.customer.id, true).unwrap();
        id
    }

    async fn read(&self, desk: &Desk, consent: &str, path: &str) -> Answer {
        self.send(desk, Draft::get(path).with("consent-id", consent)).await
    }

    async fn read_attended(&self, desk: &Desk, consent: &str, path: &str) -> Answer {
        let draft = Draft::get(path).with("consent-id", consent).with("psu-ip-address", "203.0.113.9");
        self.send(desk, draft).await
    }

    async fn status(&self, desk: &Desk, consent: &str) -> String {
        let answer = self.send(desk, Draft::get(&format!("/signed/v1/consents/{consent}/status"))).await;
        answer.text("/consentStatus").to_owned()
    }
}

fn refused(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.body["tppMessages"][0]["category"], "ERROR");
    (answer.status, answer.text("/tppMessages/0/code").to_owned())
}

async fn open(page_rows: usize) -> (Desk, Business) {
    let desk = Desk::open(BankConfig { page_rows, ..BankConfig::default() }).await;
    let business = Business::at(&desk, "tidegate-1");
    (desk, business)
}

#[tokio::test]
async fn a_request_with_a_flaw_in_its_signature_is_refused() {
    let (desk, business) = open(25).await;
    let now = "Fri, 20 Mar 2026 12:00:00 GMT";
    let draft = Draft::consent(90, 4);
    for (at, value) in [
        (0, "not-a-uuid"),
        (0, "99391c7e-ad88-49ec-a2ad-99ddcb1f7721"),
        (1, "Fri, 20 Mar 2026 12:00:01 GMT"),
        (1, "soon"),
        (2, "SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        (3, ""),
        (3, "keyId=\"tidegate-1\",algorithm=\"rsa-sha256\",headers=\"digest date\",signature=\"AAAA\""),
        (
            3,
            "keyId=\"other\",algorithm=\"rsa-sha256\",headers=\"digest x-request-id date\",signature=\"AA==\"",
        ),
    ] {
        let mut signed = business.sign(&draft.body, now);
        signed[at].1 = value.to_owned();
        let answer = business.send_as(&draft, &signed).await;
        assert_eq!(refused(&answer), (401, "SIGNATURE_INVALID".to_owned()), "{value}");
    }
    for (date, status) in [
        ("Fri, 20 Mar 2026 11:55:00 GMT", 201),
        ("Fri, 20 Mar 2026 11:54:59 GMT", 401),
        ("Fri, 20 Mar 2026 12:05:00 GMT", 201),
        ("Fri, 20 Mar 2026 12:05:01 GMT", 401),
    ] {
        let answer = business.send_as(&draft, &business.sign(&draft.body, date)).await;
        assert_eq!(answer.status, status, "{date}");
    }
    let signed = business.sign(&draft.body, now);
    let first = business.send_as(&draft, &signed).await;
    assert_eq!((first.status, first.header("x-request-id")), (201, signed[0].1.as_str()));
    assert_eq!(refused(&business.send_as(&draft, &signed).await), (401, "SIGNATURE_INVALID".to_owned()));
    let (get, signed) = (Draft::get(first.text("/_links/status/href")), business.sign("", now));
    for _ in 0..2 {
        assert_eq!(business.send_as(&get, &signed).await.status, 200, "a reading may come again");
    }
    let stranger = Business { key: KeyPair::generate(KeySize::Rsa2048).unwrap(), ..business };
    assert_eq!(stranger.send(&desk, Draft::consent(90, 4)).await.status, 401);
    let bad = desk.bank.register_signer("x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----");
    assert_eq!(bad, Err(BankError::BadKey("x".into())));
    let seen = desk.bank.requests();
    let seen = seen.iter().rfind(|request| request.kind == PathKind::SignedConsentRequest).unwrap();
    assert_eq!(seen.fapi["psu-ip-address"], "203.0.113.9");
}

#[tokio::test]
async fn the_customer_allows_or_denies_on_the_banks_page_and_comes_back() {
    let (desk, business) = open(25).await;
    let login = desk.bank.login(&desk.customer.id).unwrap();
    let browser = Api::new("", None).unwrap();
    let post = async |page: &str, form: &[(&str, &str)]| {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let body = serde_urlencoded::to_string(form).unwrap().into_bytes();
        browser.send_raw(Method::POST, page, &headers, body).await.unwrap()
    };
    let ask = async || {
        let asked = business.send(&desk, Draft::consent(90, 4)).await;
        assert_eq!((asked.status, asked.text("/consentStatus")), (201, "received"));
        let page = asked.text("/_links/scaRedirect/href").to_owned();
        assert!(page.starts_with(&desk.bank.auth_origin()));
        (asked.text("/consentId").to_owned(), page)
    };
    let (id, page) = ask().await;
    let form = browser.get(&page).await.unwrap();
    assert!(form.status == 200 && form.body.as_str().unwrap().contains("value=\"allow\">"));
    let allow = [("username", login.user.as_str()), ("password", &login.password), ("decision", "allow")];
    let wrong = [allow[0], ("password", "no"), allow[2]];
    let again = post(&page, &wrong).await;
    assert!(
        again.status == 200 && again.body.as_str().unwrap().contains("Your user name or password is wrong.")
    );
    assert_eq!(business.status(&desk, &id).await, "received");
    assert_eq!(refused(&business.read(&desk, &id, "/signed/v1/accounts").await).1, "CONSENT_INVALID");
    let back = post(&page, &allow).await;
    assert_eq!((back.status, back.header("location")), (303, CALLBACK));
    assert_eq!(business.status(&desk, &id).await, "valid");
    assert_eq!(business.read(&desk, &id, "/signed/v1/accounts").await.status, 200);
    assert_eq!((browser.get(&page).await.unwrap().status, post(&page, &allow).await.status), (404, 404));

    let (id, page) = ask().await;
    let back = post(&page, &[("decision", "deny")]).await;
    assert_eq!(back.header("location"), format!("{CALLBACK}&error=access_denied"));
    assert_eq!(business.status(&desk, &id).await, "rejected");

    let (_, page) = ask().await;
    post(&page, &wrong).await;
    post(&page, &wrong).await;
    let locked = post(&page, &wrong).await;
    assert!(locked.body.as_str().unwrap().contains("Your access is locked. Please call us."));
}

#[tokio::test]
async fn a_consent_ends_by_its_day_by_the_customer_by_the_bank_and_by_the_business() {
    let (desk, business) = open(25).await;
    let first = business.consent(&desk, 4).await;
    let path = format!("/signed/v1/consents/{first}");
    let whole = business.send(&desk, Draft::get(&path)).await;
    assert_eq!(
        whole.body,
        json!({ "access": { "allPsd2": "allAccounts" }, "recurringIndicator": true, "validUntil": "2026-06-18",
            "frequencyPerDay": 4, "combinedServiceIndicator": false, "lastActionDate": "2026-03-20",
            "consentStatus": "valid" })
    );
    let other = Business::at(&desk, "other");
    assert_eq!(refused(&other.send(&desk, Draft::get(&path)).await), (403, "CONSENT_UNKNOWN".to_owned()));
    assert_eq!(refused(&other.read(&desk, &first, "/signed/v1/accounts").await).1, "CONSENT_INVALID");
    let [second, third] = [business.consent(&desk, 4).await, business.consent(&desk, 4).await];
    desk.bank.revoke_signed(&second).unwrap();
    desk.bank.expire_signed(&third).unwrap();
    for (id, status, code) in
        [(&second, "revokedByPsu", "CONSENT_INVALID"), (&third, "expired", "CONSENT_EXPIRED")]
    {
        assert_eq!(business.status(&desk, id).await, status);
        let answer = business.read(&desk, id, "/signed/v1/accounts").await;
        assert_eq!(refused(&answer), (401, code.to_owned()));
    }
    let fourth = business.consent(&desk, 4).await;
    for _ in 0..2 {
        let end = Draft { method: Method::DELETE, ..Draft::get(&format!("/signed/v1/consents/{fourth}")) };
        assert_eq!(business.send(&desk, end).await.status, 204);
    }
    assert_eq!(business.status(&desk, &fourth).await, "terminatedByTpp");
    assert_eq!(refused(&business.read(&desk, &fourth, "/signed/v1/accounts").await).1, "CONSENT_INVALID");
    desk.bank.advance(DAY * 90);
    assert_eq!(business.read(&desk, &first, "/signed/v1/accounts").await.status, 200);
    desk.bank.advance(DAY);
    assert_eq!(business.status(&desk, &first).await, "expired");
    assert_eq!(refused(&business.read(&desk, &first, "/signed/v1/accounts").await).1, "CONSENT_EXPIRED");
    let long = business.send(&desk, Draft::consent(1000, 4)).await;
    let long = business.send(&desk, Draft::get(long.text("/_links/self/href"))).await;
    assert_eq!(long.text("/validUntil"), "2026-12-16", "180 days from that day");
    for (draft, code) in [
        (Draft::consent(0, 4), "PERIOD_INVALID"),
        (Draft::consent(200, 0), "FORMAT_ERROR"),
        (Draft { body: "{}".into(), ..Draft::consent(200, 4) }, "FORMAT_ERROR"),
        (Draft { headers: Vec::new(), ..Draft::consent(200, 4) }, "FORMAT_ERROR"),
    ] {
        assert_eq!(refused(&business.send(&desk, draft).await), (400, code.to_owned()));
    }
}

#[tokio::test]
async fn accounts_balances_and_rows_are_what_the_books_say_page_by_page() {
    let (desk, business) = open(7).await;
    let account = desk.account().to_owned();
    desk.bank.book_twins(&account, &NewEntry::card("-3.20", "COFFEE", "Blue Door")).unwrap();
    desk.bank.authorise(&account, NewEntry::transfer("-40.00", "FUEL")).unwrap();
    desk.bank.authorise(&account, NewEntry::transfer("15.00", "REFUND")).unwrap();
    let consent = business.consent(&desk, 1000).await;
    let accounts = business.read(&desk, &consent, "/signed/v1/accounts").await;
    let listed = |field: &str| -> Vec<&str> {
        accounts.body["accounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line[field].as_str().unwrap())
            .collect()
    };
    assert_eq!(listed("resourceId"), desk.customer.accounts);
    assert_eq!((listed("name"), listed("currency")), (vec!["Everyday", "Rainy days"], vec!["GBP", "GBP"]));
    assert!(listed("iban").iter().all(|iban| iban.starts_with("GB") && iban.len() == 22));

    let statement = desk.bank.statement(&account).unwrap();
    let balances = business.read(&desk, &consent, &format!("/signed/v1/accounts/{account}/balances")).await;
    let minor = |text: &str| crate::bank::money::parse(text, "GBP").unwrap();
    let expected = crate::bank::money::text(minor(&statement.booked) - 4000 + 1500, "GBP");
    for (place, kind, amount) in [
        (0, "closingBooked", &statement.booked),
        (1, "interimAvailable", &statement.available),
        (2, "expected", &expected),
    ] {
        let line = &balances.body["balances"][place];
        assert_eq!((&line["balanceType"], &line["balanceAmount"]["amount"]), (&json!(kind), &json!(amount)));
        assert_eq!(line["lastChangeDateTime"], "2026-03-20T12:00:00Z");
    }

    for (status, from) in [("both", "2025-12-01"), ("booked", "2026-02-20"), ("pending", "2026-02-20")] {
        let mut path = format!(
            "/signed/v1/accounts/{account}/transactions?dateFrom={from}&dateTo=2026-03-20&bookingStatus={status}"
        );
        let mut rows: [Vec<Value>; 2] = [Vec::new(), Vec::new()];
        while !path.is_empty() {
            let page = business.read(&desk, &consent, &path).await;
            assert_eq!(page.status, 200, "{:?}", page.body);
            let inside = &page.body["transactions"];
            for (rows, (name, other)) in rows.iter_mut().zip([("booked", "pending"), ("pending", "booked")]) {
                assert_eq!(inside.get(name).is_some(), status != other);
                rows.extend(inside[name].as_array().cloned().unwrap_or_default());
            }
            let next = page.text("/transactions/_links/next/href");
            path = next.strip_prefix(&desk.bank.auth_origin()).unwrap_or_default().to_owned();
        }
        for (rows, of) in rows.iter().zip([RowStatus::Booked, RowStatus::Pending]) {
            let booked = of == RowStatus::Booked;
            let wanted = statement
                .rows
                .iter()
                .filter(|row| row.status == of && row.booked_on >= from.parse().unwrap());
            let wanted = wanted.filter(|_| status != if booked { "pending" } else { "booked" }).map(|row| {
                let other = if row.amount.starts_with('-') { "creditorName" } else { "debtorName" };
                let mut line = json!({
                    "valueDate": row.valued_on.unwrap_or(row.booked_on),
                    "transactionAmount": { "currency": "GBP", "amount": row.amount },
                    "remittanceInformationUnstructured": row.text,
                });
                line[if booked { "entryReference" } else { "transactionId" }] = json!(row.id);
                if booked {
                    line["bookingDate"] = json!(row.booked_on);
                }
                if let Some(merchant) = &row.merchant {
                    line[other] = json!(merchant);
                }
                line
            });
            assert_eq!(*rows, wanted.collect::<Vec<_>>(), "{status}");
        }
        assert_eq!(
            (rows[0].len() > 14, rows[1].len()),
            (status != "pending", if status == "booked" { 0 } else { 2 })
        );
    }
    let base = format!("/signed/v1/accounts/{account}/transactions");
    for (query, code) in [
        ("?bookingStatus=both", "FORMAT_ERROR"),
        ("?dateFrom=2026-03-01", "FORMAT_ERROR"),
        ("?dateFrom=2026-03-01&bookingStatus=all", "FORMAT_ERROR"),
        ("?dateFrom=2026-03-01&bookingStatus=both&page=x", "FORMAT_ERROR"),
        ("?dateFrom=2026-03-02&dateTo=2026-03-01&bookingStatus=both", "PERIOD_INVALID"),
    ] {
        let answer = business.read(&desk, &consent, &format!("{base}{query}")).await;
        assert_eq!(refused(&answer), (400, code.to_owned()), "{query}");
    }
    let unknown = business.read(&desk, &consent, "/signed/v1/accounts/12345678/balances").await;
    assert_eq!(refused(&unknown), (404, "RESOURCE_UNKNOWN".to_owned()));
    desk.bank.fault(PathKind::SignedTransactions, Fault::BadAmount { amount: "1e3".into() }, 1);
    let bad =
        business.read(&desk, &consent, &format!("{base}?dateFrom=2026-03-01&bookingStatus=booked")).await;
    assert_eq!(bad.text("/transactions/booked/0/transactionAmount/amount"), "1e3");
}

#[tokio::test]
async fn unattended_readings_are_counted_per_day_account_and_kind_but_not_their_further_pages() {
    let (desk, business) = open(7).await;
    let consent = business.consent(&desk, 2).await;
    let [one, two] = [0, 1].map(|place| format!("/signed/v1/accounts/{}", desk.customer.accounts[place]));
    let rows = format!("{one}/transactions?dateFrom=2026-01-01&bookingStatus=both");
    let status = async |path: &str| business.read(&desk, &consent, path).await.status;
    let page = business.read(&desk, &consent, &rows).await;
    let next = page.text("/transactions/_links/next/href");
    let next = next.strip_prefix(&desk.bank.auth_origin()).unwrap().to_owned();
    for _ in 0..5 {
        assert_eq!(status(&next).await, 200);
    }
    assert_eq!((status(&rows).await, status(&rows).await), (200, 429));
    let exceeded = business.read(&desk, &consent, &rows).await;
    assert_eq!(refused(&exceeded), (429, "ACCESS_EXCEEDED".to_owned()));
    for other in [format!("{one}/balances"), format!("{two}/balances"), "/signed/v1/accounts".to_owned()] {
        assert_eq!(
            (status(&other).await, status(&other).await, status(&other).await),
            (200, 200, 429),
            "{other}"
        );
    }
    assert_eq!(business.read_attended(&desk, &consent, &rows).await.status, 200);
    desk.bank.advance(DAY / 2);
    assert_eq!(status(&rows).await, 200, "another day");
}
