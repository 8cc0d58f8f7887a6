//! The bank through its own front door.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::http::{Answer, Api};
use chrono::NaiveDate;
use chrono::TimeZone;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) const SOON: Duration = Duration::from_secs(10);

/// A bank that stands still at noon, a customer with 90 days of history, and a way in.
pub(super) struct Desk {
    pub(super) bank: Bank,
    pub(super) customer: Customer,
    pub(super) granted: Granted,
}

impl Desk {
    pub(super) async fn open(config: BankConfig) -> Self {
        let noon = Utc.with_ymd_and_hms(2026, 3, 20, 12, 0, 0).unwrap();
        let bank = Bank::start(BankConfig { clock: ClockStart::Frozen(noon), ..config }).await.unwrap();
        let customer = bank.create_customer(&NewCustomer::with_two_accounts("Ada Lovelace", 90)).unwrap();
        let granted = bank.grant(&customer.id, None).unwrap();
        Self { bank, customer, granted }
    }

    pub(super) fn account(&self) -> &str {
        &self.customer.accounts[0]
    }

    pub(super) async fn renew(&self, refresh_token: &str) -> Answer {
        self.try_renew(refresh_token).await.unwrap()
    }

    pub(super) async fn try_renew(&self, refresh_token: &str) -> reqwest::Result<Answer> {
        self.token(format!("grant_type=refresh_token&refresh_token={refresh_token}")).await
    }

    /// A token of the client itself.
    async fn client_token(&self) -> String {
        let answer = self.token("grant_type=client_credentials&scope=accounts".to_owned()).await.unwrap();
        assert_eq!((answer.status, &answer.body["refresh_token"]), (200, &Value::Null));
        answer.text("/access_token").to_owned()
    }

    async fn token(&self, form: String) -> reqwest::Result<Answer> {
        use base64::Engine;
        let BankConfig { client_id, client_secret, .. } = self.bank.config();
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{client_id}:{client_secret}"));
        let headers = [
            ("authorization", format!("Basic {basic}")),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let api = Api::new(self.bank.auth_origin(), None)?;
        api.send_raw(Method::POST, "/token", &headers, form.into_bytes()).await
    }

    pub(super) async fn api(&self) -> Api {
        let answer = self.renew(&self.granted.refresh_token).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        Api::new(self.bank.api_origin(), Some(answer.text("/access_token"))).unwrap()
    }

    pub(super) fn transactions(&self) -> String {
        format!("/accounts/{}/transactions", self.account())
    }

    /// All pages of a query: the rows, and how many pages there were.
    async fn read(&self, api: &Api, query: &str) -> (Vec<Value>, u64) {
        let (mut rows, mut pages) = (Vec::new(), 0);
        let mut path = format!("{}{query}", self.transactions());
        loop {
            let answer = api.get(&path).await.unwrap();
            assert_eq!(answer.status, 200, "{:?}", answer.body);
            pages += 1;
            rows.extend(answer.body["Data"]["Transaction"].as_array().unwrap().clone());
            let next = answer.text("/Links/Next");
            if next.is_empty() {
                assert_eq!(answer.body["Meta"]["TotalPages"], pages);
                return (rows, pages);
            }
            path =
                next.strip_prefix(&self.bank.api_origin()).expect("an absolute link to this API").to_owned();
        }
    }
}

fn id(row: &Value) -> String {
    row["TransactionId"].as_str().unwrap().to_owned()
}

/// Every promise that the books make, whatever was done to them.
fn audit(bank: &Bank, account: &str) -> Statement {
    let ledger = bank.ledger();
    for transfer in ledger.transfers() {
        assert_eq!(transfer.postings.iter().map(|posting| posting.minor).sum::<i64>(), 0);
    }
    assert_eq!(ledger.trial_balance().iter().map(|line| line.2).sum::<i128>(), 0);
    let statement = bank.statement(account).unwrap();
    let sum = |status: RowStatus| -> i64 {
        let rows = statement.rows.iter().filter(|row| row.status == status);
        rows.map(|row| money::parse(&row.amount, "GBP").unwrap()).sum()
    };
    let booked = money::parse(&statement.booked, "GBP").unwrap();
    assert_eq!(booked, sum(RowStatus::Booked));
    assert_eq!(money::parse(&statement.available, "GBP").unwrap(), booked + sum(RowStatus::Pending));
    let own = format!("account {account}");
    let line = ledger.trial_balance().into_iter().find(|line| line.0 == own).unwrap();
    assert_eq!(line.2, i128::from(booked));
    statement
}

#[tokio::test]
async fn whatever_happens_to_an_entry_the_balance_is_the_sum_of_the_booked_rows() {
    let desk = Desk::open(BankConfig::default()).await;
    let (bank, account) = (&desk.bank, desk.account());
    let start = audit(bank, account);
    let mark = bank.mark();
    let [coffee, twin] = bank.book_twins(account, &NewEntry::card("-3.20", "COFFEE", "Blue Door")).unwrap();
    assert_eq!(Row { id: twin.id.clone(), ..coffee.clone() }, twin);
    assert_ne!(coffee.id, twin.id);
    let pending = bank.authorise(account, NewEntry::card("-20.00", "DINNER", "Dishoom")).unwrap();
    let held = audit(bank, account);
    assert_ne!(held.booked, held.available);
    let settled = bank.settle(account, &pending.id, Some("-23.00")).unwrap();
    assert_ne!(settled.id, pending.id);
    assert_eq!((settled.amount.as_str(), settled.status), ("-23.00", RowStatus::Booked));
    let corrected = bank
        .correct(account, &twin.id, Correction { amount: Some("-3.00".into()), text: Some("TEA".into()) })
        .unwrap();
    assert_eq!(
        (&corrected.id, corrected.amount.as_str(), corrected.text.as_str()),
        (&twin.id, "-3.00", "TEA")
    );
    let removed = bank.remove(account, &coffee.id).unwrap();
    let lapsed = bank.authorise(account, NewEntry::card("-9.99", "HOTEL", "Inn")).unwrap();
    bank.expire(account, &lapsed.id).unwrap();
    let end = audit(bank, account);

    assert_eq!(end.rows.len(), start.rows.len() + 2);
    assert!(!end.rows.contains(&removed) && end.rows.contains(&settled) && end.rows.contains(&corrected));
    let change = money::parse(&end.booked, "GBP").unwrap() - money::parse(&start.booked, "GBP").unwrap();
    assert_eq!(change, -2300 - 300);
    let kinds: Vec<BankChangeKind> = bank.changes_since(mark).iter().map(|change| change.kind).collect();
    use BankChangeKind::*;
    assert_eq!(kinds, [Added, Added, Added, Settled, Modified, Removed, Added, Removed]);
}

#[tokio::test]
async fn what_cannot_be_done_to_an_entry_changes_nothing() {
    let desk = Desk::open(BankConfig::default()).await;
    let (bank, account) = (&desk.bank, desk.account());
    let row = bank.book(account, NewEntry::transfer("1.00", "GIFT")).unwrap();
    let before = audit(bank, account);
    assert_eq!(bank.settle(account, &row.id, None), Err(BankError::NotPending(row.id.clone())));
    assert_eq!(bank.expire(account, &row.id), Err(BankError::NotPending(row.id.clone())));
    assert!(bank.remove(account, "nothing").is_err());
    assert!(bank.book(account, NewEntry::transfer("12.345", "GIFT")).is_err());
    assert!(bank.book("nobody", NewEntry::transfer("1.00", "GIFT")).is_err());
    let bad = Correction { amount: Some("1e3".into()), text: Some("X".into()) };
    assert!(bank.correct(account, &row.id, bad).is_err());
    let pending = bank.authorise(account, NewEntry::transfer("-1.00", "X")).unwrap();
    assert!(bank.settle(account, &pending.id, Some("x")).is_err());
    bank.expire(account, &pending.id).unwrap();
    assert_eq!(audit(bank, account), before);
}

#[tokio::test]
async fn the_pages_show_every_row_exactly_once_and_agree_with_the_statement() {
    let desk = Desk::open(BankConfig { page_rows: 7, ..BankConfig::default() }).await;
    desk.bank.authorise(desk.account(), NewEntry::card("-4.10", "LUNCH", "Pret")).unwrap();
    let same = NewEntry::card("-3.20", "COFFEE", "Blue Door");
    for _ in 0..5 {
        desk.bank.book_twins(desk.account(), &same).unwrap(); // ten rows of one moment, over two pages
    }
    let api = desk.api().await;
    let (rows, pages) = desk.read(&api, "").await;
    let statement = audit(&desk.bank, desk.account());
    assert!(pages > 10 && rows.len() > 100, "{pages} {}", rows.len());
    let ids: Vec<String> = rows.iter().map(id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), rows.len());
    assert_eq!(ids, statement.rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>());
    for (shown, row) in rows.iter().zip(&statement.rows) {
        let sign = if shown["CreditDebitIndicator"] == "Debit" { "-" } else { "" };
        assert_eq!(format!("{sign}{}", shown["Amount"]["Amount"].as_str().unwrap()), row.amount);
        assert_eq!(shown["Status"], if row.status == RowStatus::Booked { "Booked" } else { "Pending" });
        assert_eq!(shown["TransactionInformation"], row.text.as_str());
        assert_eq!(&shown["BookingDateTime"].as_str().unwrap()[..10], row.booked_on.to_string());
    }
}

#[tokio::test]
async fn a_window_holds_the_rows_of_its_days_with_or_without_a_time_and_whatever_the_zone() {
    let desk = Desk::open(BankConfig { page_rows: 3, ..BankConfig::default() }).await;
    let api = desk.api().await;
    let [first, last]: [NaiveDate; 2] = ["2026-02-20", "2026-03-03"].map(|day| day.parse().unwrap());
    let wanted = desk.bank.statement(desk.account()).unwrap().rows.into_iter();
    let wanted: Vec<String> =
        wanted.filter(|row| (first..=last).contains(&row.booked_on)).map(|row| row.id).collect();
    assert!(wanted.len() > 6);
    for (from, to) in [
        ("2026-02-20", "2026-03-04"),
        ("2026-02-20T00:00:00", "2026-03-03T23:59:59.999"),
        ("2026-02-20T00:00:00Z", "2026-03-03T23:59:59Z"),
        ("2026-02-20T00:00:00%2B05:00", "2026-03-03T23:59:59-05:00"),
    ] {
        let query = format!("?fromBookingDateTime={from}&toBookingDateTime={to}");
        let (rows, _) = desk.read(&api, &query).await;
        assert_eq!(rows.iter().map(id).collect::<Vec<_>>(), wanted, "{query}");
    }
    let (none, pages) = desk.read(&api, "?fromBookingDateTime=2027-01-01").await;
    assert_eq!((none.len(), pages), (0, 1));
    for bad in ["?fromBookingDateTime=soon", "?toBookingDateTime=2026-13-01", "?page=abc"] {
        let answer = api.get(&format!("{}{bad}", desk.transactions())).await.unwrap();
        assert_eq!(
            (answer.status, answer.text("/Errors/0/ErrorCode")),
            (400, "UK.OBIE.Field.Invalid"),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn accounts_and_balances_are_what_the_books_say() {
    let desk = Desk::open(BankConfig::default()).await;
    desk.bank.authorise(desk.account(), NewEntry::card("-40.00", "FUEL", "Shell")).unwrap();
    let api = desk.api().await;
    let list = api.get("/accounts").await.unwrap();
    let ids = ["/Data/Account/0/AccountId", "/Data/Account/1/AccountId"].map(|place| list.text(place));
    assert_eq!(desk.customer.accounts, ids);
    assert_eq!(list.text("/Data/Account/0/Account/0/Identification").len(), 14);
    let one = api.get(&format!("/accounts/{}", ids[1])).await.unwrap();
    assert_eq!(one.body["Data"]["Account"], json!([list.body["Data"]["Account"][1]]));
    let balances = api.get(&format!("/accounts/{}/balances", desk.account())).await.unwrap();
    let statement = audit(&desk.bank, desk.account());
    assert_ne!(statement.booked, statement.available);
    for (place, kind, amount) in
        [(0, "InterimBooked", &statement.booked), (1, "InterimAvailable", &statement.available)]
    {
        let row = &balances.body["Data"]["Balance"][place];
        let sign = if row["CreditDebitIndicator"] == "Debit" { "-" } else { "" };
        assert_eq!(
            (row["Type"].as_str().unwrap(), &format!("{sign}{}", row["Amount"]["Amount"].as_str().unwrap())),
            (kind, amount)
        );
        assert_eq!(row["DateTime"], "2026-03-20T12:00:00+00:00");
    }
    desk.bank.count_credit(desk.account(), Some("1000000.00")).unwrap();
    let with_credit = api.get(&format!("/accounts/{}/balances", desk.account())).await.unwrap();
    for (place, own) in [(0, &statement.booked), (1, &statement.available)] {
        let row = &with_credit.body["Data"]["Balance"][place];
        let sum: i64 = row["Amount"]["Amount"].as_str().unwrap().replace('.', "").parse().unwrap();
        assert_eq!(sum - 100_000_000, own.replace('.', "").parse::<i64>().unwrap());
        let line = json!([{ "Included": true, "Type": "Pre-Agreed", "Amount": { "Amount": "1000000.00", "Currency": "GBP" } }]);
        assert_eq!(row["CreditLine"], line);
    }
    let stranger = desk.bank.create_customer(&NewCustomer::with_two_accounts("Eve", 0)).unwrap();
    for id in [stranger.accounts[0].as_str(), "unknown"] {
        let answer = api.get(&format!("/accounts/{id}/balances")).await.unwrap();
        assert_eq!((answer.status, answer.text("/Errors/0/ErrorCode")), (400, "UK.OBIE.Resource.NotFound"));
    }
}

#[tokio::test]
async fn rows_are_nine_tenths_of_a_kilobyte_and_their_balances_run_with_them() {
    let desk = Desk::open(BankConfig { row_balances: true, page_rows: 40, ..BankConfig::default() }).await;
    let api = desk.api().await;
    let (rows, _) = desk.read(&api, "").await;
    let bytes = rows.iter().map(|row| row.to_string().len()).sum::<usize>() / rows.len();
    assert!((930..=1130).contains(&bytes), "{bytes} bytes a row");
    let mut sum = 0;
    for row in &rows {
        let amount = money::parse(row["Amount"]["Amount"].as_str().unwrap(), "GBP").unwrap();
        sum += if row["CreditDebitIndicator"] == "Debit" { -amount } else { amount };
        let after = money::parse(row["Balance"]["Amount"]["Amount"].as_str().unwrap(), "GBP").unwrap();
        assert_eq!(after, i64::abs(sum));
        assert_eq!(row["Balance"]["CreditDebitIndicator"], if sum < 0 { "Debit" } else { "Credit" });
    }
    let plain = Desk::open(BankConfig { row_ids: false, page_rows: 400, ..BankConfig::default() }).await;
    let (rows, _) = plain.read(&plain.api().await, "").await;
    assert!(rows.iter().all(|row| row.get("TransactionId").is_none() && row.get("Balance").is_none()));
    let bytes = rows.iter().map(|row| row.to_string().len()).sum::<usize>() / rows.len();
    assert!((800..=1000).contains(&bytes), "{bytes} bytes a row");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_bank() {
    let [one, two] = [Desk::open(BankConfig::default()).await, Desk::open(BankConfig::default()).await];
    assert_eq!(one.granted, two.granted);
    assert_eq!(one.bank.statement(one.account()), two.bank.statement(two.account()));
    let other = Desk::open(BankConfig { seed: 2, ..BankConfig::default() }).await;
    assert_ne!(one.granted.refresh_token, other.granted.refresh_token);
    assert_ne!(one.bank.statement(one.account()), other.bank.statement(other.account()));
}

#[tokio::test]
async fn only_a_living_access_token_opens_the_api() {
    let desk = Desk::open(BankConfig::default()).await;
    let api = desk.api().await;
    let status = async |api: &Api| api.get("/accounts").await.unwrap().status;
    assert_eq!(status(&api).await, 200);
    assert_eq!(status(&api.with_key(None)).await, 401);
    assert_eq!(status(&api.with_key(Some("at_unknown"))).await, 401);
    desk.bank.advance(Duration::from_secs(599));
    assert_eq!(status(&api).await, 200);
    desk.bank.advance(Duration::from_secs(1));
    assert_eq!(status(&api).await, 401);
}

#[tokio::test]
async fn a_reused_refresh_token_ends_the_consent_at_once() {
    let desk = Desk::open(BankConfig::default()).await;
    let first = desk.renew(&desk.granted.refresh_token).await;
    assert_eq!((first.status, first.body["expires_in"].as_u64()), (200, Some(600)));
    assert_eq!(first.header("cache-control"), "no-store");
    let api = Api::new(desk.bank.api_origin(), Some(first.text("/access_token"))).unwrap();
    assert_eq!(api.get("/accounts").await.unwrap().status, 200);
    let reused = desk.renew(&desk.granted.refresh_token).await;
    assert_eq!((reused.status, reused.text("/error")), (400, "invalid_grant"));
    assert_eq!(api.get("/accounts").await.unwrap().status, 401);
    let second = desk.renew(first.text("/refresh_token")).await;
    assert_eq!((second.status, second.text("/error")), (400, "invalid_grant"));
    let again = desk.bank.grant(&desk.customer.id, None).unwrap();
    assert_eq!(desk.renew(&again.refresh_token).await.status, 200);
}

#[tokio::test]
async fn the_token_endpoint_wants_the_client_and_a_form() {
    let desk = Desk::open(BankConfig::default()).await;
    let origin = Api::new(desk.bank.auth_origin(), None).unwrap();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let body = format!("grant_type=refresh_token&refresh_token={}", desk.granted.refresh_token).into_bytes();
    let wrong = ("authorization", "Basic d3Jvbmc6d3Jvbmc=");
    let answer = origin.send_raw(Method::POST, "/token", &[form, wrong], body.clone()).await.unwrap();
    assert_eq!((answer.status, answer.text("/error")), (401, "invalid_client"));
    let answer = desk.renew("x&grant_type=password").await;
    assert_eq!((answer.status, answer.text("/error")), (400, "invalid_request"));
    assert_eq!(desk.renew("unknown").await.text("/error"), "invalid_grant");
    assert_eq!(desk.renew(&desk.granted.refresh_token).await.status, 200);
}

#[tokio::test]
async fn an_ended_consent_is_refused_with_the_error_body_of_the_specification() {
    let desk =
        Desk::open(BankConfig { access_token_lives: Duration::from_secs(1 << 30), ..BankConfig::default() })
            .await;
    let api = desk.api().await;
    desk.bank.revoke_consent(&desk.granted.consent_id).unwrap();
    let answer = api.get("/accounts").await.unwrap();
    assert_eq!(
        (answer.status, answer.text("/Errors/0/ErrorCode")),
        (403, "UK.OBIE.Resource.InvalidConsentStatus")
    );
    assert!(!answer.text("/Code").is_empty() && !answer.text("/Message").is_empty());

    let granted = desk.bank.grant(&desk.customer.id, Some(Duration::from_secs(3600))).unwrap();
    let tokens = desk.renew(&granted.refresh_token).await;
    let api = api.with_key(Some(tokens.text("/access_token")));
    assert_eq!(api.get("/accounts").await.unwrap().status, 200);
    desk.bank.advance(Duration::from_secs(3600));
    let answer = api.get("/accounts").await.unwrap();
    assert_eq!((answer.status, answer.text("/Errors/0/ErrorCode")), (403, "UK.OBIE.Reauthenticate"));
    assert_eq!(desk.renew(tokens.text("/refresh_token")).await.text("/error"), "invalid_grant");
}

#[tokio::test]
async fn a_client_ends_a_consent_once_with_a_token_of_its_own() {
    let desk = Desk::open(BankConfig::default()).await;
    let api = desk.api().await;
    let path = format!("/account-access-consents/{}", desk.granted.consent_id);
    assert_eq!(api.delete(&path).await.unwrap().status, 401, "the customer's token is not the client's");
    let token = desk.client_token().await;
    let client = api.with_key(Some(&token));
    assert_eq!(client.get("/accounts").await.unwrap().status, 401, "nor the other way round");
    assert_eq!(client.delete(&path).await.unwrap().status, 204);
    assert_eq!(client.delete(&path).await.unwrap().status, 400);
    assert_eq!(client.delete("/account-access-consents/nonsense").await.unwrap().status, 400);
    assert_eq!(api.get("/accounts").await.unwrap().status, 403);
    assert_eq!(desk.bank.request_count(PathKind::Consent), 4);
    desk.bank.advance(desk.bank.config().access_token_lives);
    assert_eq!(client.delete(&path).await.unwrap().status, 401);
}

#[tokio::test]
async fn accounts_with_other_ids_have_the_same_number_and_entries_and_need_a_new_consent() {
    let desk = Desk::open(BankConfig::default()).await;
    let (api, old) = (desk.api().await, desk.customer.accounts.clone());
    let listed = async |api: &Api| api.get("/accounts").await.unwrap().body["Data"]["Account"].clone();
    let (before, statement) = (listed(&api).await, desk.bank.statement(&old[0]).unwrap());
    desk.bank.close_account(&desk.customer.id, &old[1]).unwrap();
    let renamed = desk.bank.rename_accounts(&desk.customer.id).unwrap();
    assert_eq!(renamed.accounts.len(), 1);
    assert!(!old.contains(&renamed.accounts[0]));
    assert_eq!(desk.bank.statement(&renamed.accounts[0]).unwrap(), statement);
    assert!(desk.bank.statement(&old[0]).is_err());
    let left = listed(&api).await;
    assert_eq!(left.as_array().unwrap().len(), 1, "the closed one, by the old consent");
    let granted = desk.bank.grant(&desk.customer.id, None).unwrap();
    let token = desk.renew(&granted.refresh_token).await.text("/access_token").to_owned();
    let after = listed(&api.with_key(Some(&token))).await;
    assert_eq!(after.as_array().unwrap().len(), 1);
    assert_eq!(after[0]["Account"], before[0]["Account"]);
    assert_eq!(after[0]["AccountId"], renamed.accounts[0].as_str());
}
