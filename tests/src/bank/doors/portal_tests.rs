//! The portal through its front door, as a browser and a reader of pages see it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use crate::bank::tests::Desk;
use crate::bank::{BankConfig, Fault, NewEntry, PathKind, RowStatus};
use crate::http::{Answer, Api};
use reqwest::Method;
use std::time::Duration;

/// Keeps the cookie, follows no redirect.
struct Browser {
    api: Api,
    cookie: String,
}

impl Browser {
    fn at(desk: &Desk) -> Self {
        Self { api: Api::new(desk.bank.auth_origin(), None).unwrap(), cookie: String::new() }
    }

    async fn send(&mut self, method: Method, path: &str, form: &[(&str, &str)]) -> Answer {
        let headers =
            [("cookie", self.cookie.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        let body = serde_urlencoded::to_string(form).unwrap().into_bytes();
        let answer = self.api.send_raw(method, path, &headers, body).await.unwrap();
        if let Some((pair, rest)) = answer.header("set-cookie").split_once(';') {
            assert!(rest.contains("HttpOnly") && rest.contains("Path=/portal"), "{rest}");
            self.cookie = pair.to_owned();
        }
        answer
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[]).await
    }

    async fn log_in(&mut self, user: &str, password: &str) -> Answer {
        let form = self.get("/portal/login").await;
        assert_eq!(form.status, 200);
        let csrf = between(html(&form), "<input value=\"", "\"").to_owned();
        let fields = [("username", user), ("password", password), ("csrf", csrf.as_str())];
        self.send(Method::POST, "/portal/login", &fields).await
    }
}

fn html(answer: &Answer) -> &str {
    answer.body.as_str().unwrap_or("")
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).and_then(|(_, rest)| rest.split_once(end)).expect(start).0
}

/// What a reader of the page sees.
fn seen(cell: &str) -> String {
    let mut text = cell.to_owned();
    while let Some((before, rest)) = text.split_once('<') {
        text = format!("{before}{}", rest.split_once('>').unwrap().1);
    }
    let mut read = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('&') {
        let (entity, after) = after.split_once(';').unwrap();
        read.push_str(before);
        match entity.strip_prefix("#x").map(|hex| u32::from_str_radix(hex, 16).unwrap()) {
            Some(code) => read.push(char::from_u32(code).unwrap()),
            None => read.push_str(match entity {
                "amp" => "&",
                "lt" => "<",
                "gt" => ">",
                "quot" => "\"",
                "#39" => "'",
                "pound" => "£",
                "nbsp" => " ",
                other => panic!("{other} is not promised"),
            }),
        }
        rest = after;
    }
    read.push_str(rest);
    read.trim().to_owned()
}

/// The rows of the page's table: each row's tag, and its cells.
fn table(page: &Answer) -> Vec<(String, Vec<String>)> {
    let body = between(html(page), "<tbody>", "</tbody>");
    let rows = body.split("<tr").skip(1).map(|row| {
        let (tag, cells) = row.split_once('>').unwrap();
        let cells = cells.split("<td").skip(1).map(|cell| seen(cell.split_once('>').unwrap().1.trim()));
        (tag.to_owned(), cells.collect())
    });
    rows.collect()
}

fn plain(amount: &str) -> String {
    amount.replace(',', "")
}

#[tokio::test]
async fn the_right_password_opens_the_accounts_and_logging_out_closes_them() {
    let desk = Desk::open(BankConfig::default()).await;
    let login = desk.bank.login(&desk.customer.id).unwrap();
    let mut browser = Browser::at(&desk);
    let away = browser.get("/portal/accounts").await;
    assert_eq!((away.status, away.header("location")), (303, "/portal/login"));
    let inside = browser.log_in(&login.user, &login.password).await;
    assert_eq!((inside.status, inside.header("location")), (303, "/portal/accounts"));
    let page = browser.get("/portal/accounts").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let rows = table(&page);
    assert_eq!(rows.len(), 2);
    let statement = desk.bank.statement(desk.account()).unwrap();
    let [id, name, iban, currency, balance, day] = rows[0].1.as_slice() else { panic!("{rows:?}") };
    assert_eq!((id.as_str(), name.as_str(), currency.as_str()), (desk.account(), "Everyday", "GBP"));
    assert!(iban.starts_with("GB") && iban.contains(" DEMO 4005 "), "{iban}");
    assert_eq!((plain(balance), day.as_str()), (statement.booked, "20 Mar 2026"));
    assert!(balance.contains(','), "{balance}");
    assert_eq!(browser.send(Method::POST, "/portal/logout", &[]).await.status, 303);
    assert_eq!(browser.get("/portal/accounts").await.header("location"), "/portal/login");
}

#[tokio::test]
async fn three_wrong_passwords_in_a_row_lock_until_the_bank_unlocks() {
    let desk = Desk::open(BankConfig::default()).await;
    let login = desk.bank.login(&desk.customer.id).unwrap();
    let mut browser = Browser::at(&desk);
    let wrong = "Your user name or password is wrong.";
    let locked = "Your access is locked. Please call us.";
    for _ in 0..2 {
        let answer = browser.log_in(&login.user, "no").await;
        assert!(answer.status == 200 && html(&answer).contains(wrong) && html(&answer).contains("<form"));
    }
    assert_eq!(browser.log_in(&login.user, &login.password).await.status, 303);
    for text in [wrong, wrong, locked] {
        assert!(html(&browser.log_in(&login.user, "no").await).contains(text));
    }
    let answer = browser.log_in(&login.user, &login.password).await;
    assert!(answer.status == 200 && html(&answer).contains(locked) && !html(&answer).contains("<form"));
    assert!(html(&browser.log_in("nobody", "no").await).contains(wrong));
    desk.bank.unlock(&desk.customer.id).unwrap();
    assert_eq!(browser.log_in(&login.user, &login.password).await.status, 303);
}

#[tokio::test]
async fn a_form_is_good_once_for_ten_minutes_and_with_its_own_cookie() {
    let desk = Desk::open(BankConfig::default()).await;
    let login = desk.bank.login(&desk.customer.id).unwrap();
    let (mut one, mut two) = (Browser::at(&desk), Browser::at(&desk));
    let form = async |browser: &mut Browser| {
        between(html(&browser.get("/portal/login").await), "value=\"", "\"").to_owned()
    };
    let post = async |browser: &mut Browser, csrf: &str| {
        let fields = [("username", login.user.as_str()), ("password", &login.password), ("csrf", csrf)];
        let answer = browser.send(Method::POST, "/portal/login", &fields).await;
        assert!(answer.status == 303 || html(&answer).contains("This form is no longer valid."));
        answer.status
    };
    let (first, second) = (form(&mut one).await, form(&mut two).await);
    assert_ne!(first, second);
    assert_eq!(post(&mut one, &second).await, 403);
    assert_eq!(post(&mut one, &first).await, 403, "used up by the try before");
    assert_eq!(post(&mut two, "").await, 403);
    let late = form(&mut two).await;
    desk.bank.advance(Duration::from_secs(600));
    assert_eq!(post(&mut two, &late).await, 403);
    let good = form(&mut two).await;
    desk.bank.advance(Duration::from_secs(599));
    assert_eq!(post(&mut two, &good).await, 303);
    assert!(!desk.bank.locked(&desk.customer.id).unwrap());
}

#[tokio::test]
async fn a_customer_has_one_session_and_it_ends_after_ten_idle_minutes() {
    let desk = Desk::open(BankConfig::default()).await;
    let login = desk.bank.login(&desk.customer.id).unwrap();
    let (mut one, mut two) = (Browser::at(&desk), Browser::at(&desk));
    one.log_in(&login.user, &login.password).await;
    assert_eq!(one.get("/portal/accounts").await.status, 200);
    two.log_in(&login.user, &login.password).await;
    assert_eq!(one.get("/portal/accounts").await.status, 303);
    for _ in 0..3 {
        desk.bank.advance(Duration::from_secs(599));
        assert_eq!(two.get("/portal/accounts").await.status, 200);
    }
    desk.bank.advance(Duration::from_secs(600));
    assert_eq!(two.get("/portal/accounts").await.status, 303);
}

#[tokio::test]
async fn the_pages_show_every_row_newest_first_and_agree_with_the_statement() {
    let desk = Desk::open(BankConfig { page_rows: 7, ..BankConfig::default() }).await;
    let login = desk.bank.login(&desk.customer.id).unwrap();
    let text = "£5 <b>TEA</b> & \"TOAST\" CAFÉ 'TO GO'";
    desk.bank.book(desk.account(), NewEntry::card("-1234.50", text, "Blue & Door")).unwrap();
    desk.bank.book_twins(desk.account(), &NewEntry::card("-3.20", "COFFEE", "Blue Door")).unwrap();
    desk.bank.authorise(desk.account(), NewEntry::transfer("-4.10", "LUNCH")).unwrap();
    let mut browser = Browser::at(&desk);
    browser.log_in(&login.user, &login.password).await;
    let statement = desk.bank.statement(desk.account()).unwrap();
    let path = format!("/portal/accounts/{}", desk.account());
    for (query, from, to) in
        [("", "2025-12-20", "2026-03-20"), ("?from=2026-02-20&to=2026-03-03", "2026-02-20", "2026-03-03")]
    {
        let (mut rows, mut next, mut pages) = (Vec::new(), format!("{path}{query}"), 0);
        while !next.is_empty() {
            let page = browser.get(&next).await;
            assert_eq!(page.status, 200, "{next}");
            let shown = |start: &str| plain(&seen(between(html(&page), start, "</dd>")));
            assert_eq!(shown("<dd id='current'>"), format!("{} GBP", statement.booked));
            assert_eq!(shown("<dd id=\"available\">"), format!("{} GBP", statement.available));
            assert_eq!(shown("<dd id=asat>"), "20 Mar 2026 12:00:00");
            rows.extend(table(&page));
            pages += 1;
            let more = html(&page).contains("rel=next");
            next =
                if more { seen(between(html(&page), "class='more' href=\"", "\"")) } else { String::new() };
        }
        let [from, to] = [from, to].map(|day| day.parse().unwrap());
        let wanted = statement.rows.iter().rev().filter(|row| (from..=to).contains(&row.booked_on));
        let wanted: Vec<Vec<String>> = wanted
            .map(|row| {
                let day = |day: chrono::NaiveDate| day.format("%d %b %Y").to_string();
                vec![
                    day(row.booked_on),
                    row.valued_on.map(day).unwrap_or_default(),
                    row.text.clone(),
                    row.merchant.clone().unwrap_or_default(),
                    format!("{} {}", row.amount, row.currency),
                    (row.status == RowStatus::Pending).to_string(),
                ]
            })
            .collect();
        let read: Vec<Vec<String>> = rows
            .into_iter()
            .map(|(tag, mut cells)| {
                cells[4] = plain(&cells[4]);
                cells.push(tag.contains("pending").to_string());
                cells
            })
            .collect();
        assert_eq!(read, wanted, "{query}");
        assert_eq!(pages, wanted.len().div_ceil(7));
    }
    let empty = browser.get(&format!("{path}?from=2027-01-01&to=2027-01-02")).await;
    assert_eq!(table(&empty)[0].1, ["No transactions."]);
    for bad in ["?from=soon", "?page=0", "?page=x"] {
        assert_eq!(browser.get(&format!("{path}{bad}")).await.status, 400, "{bad}");
    }
    assert_eq!(browser.get("/portal/accounts/12345678").await.status, 404);
}

#[tokio::test]
async fn faults_are_met_in_the_portal_too_and_maintenance_looks_like_a_page() {
    let desk = Desk::open(BankConfig { page_rows: 1000, ..BankConfig::default() }).await;
    let login = desk.bank.login(&desk.customer.id).unwrap();
    let mut browser = Browser::at(&desk);
    browser.log_in(&login.user, &login.password).await;
    let path = format!("/portal/accounts/{}", desk.account());
    let good = table(&browser.get(&path).await);
    let fault = |fault| desk.bank.fault(PathKind::PortalAccount, fault, 1);
    fault(Fault::HiddenRow);
    assert_eq!(table(&browser.get(&path).await).len(), good.len() - 1);
    fault(Fault::RepeatedRow);
    let repeated = table(&browser.get(&path).await);
    assert_eq!((repeated.len(), &repeated[0].1), (good.len() + 1, &repeated[1].1));
    fault(Fault::BadAmount { amount: "1e3".into() });
    assert_eq!(table(&browser.get(&path).await)[0].1[4], "1e3 GBP");
    fault(Fault::EchoSecret);
    assert_eq!(table(&browser.get(&path).await)[0].1[2], browser.cookie);
    let sorry = "We are improving our service. Please come back later.";
    fault(Fault::Maintenance);
    let page = browser.get(&path).await;
    assert!(page.status == 200 && html(&page).contains(sorry));
    assert_eq!(table(&browser.get(&path).await), good);
    desk.bank.maintenance(true);
    for path in [path.as_str(), "/portal/login", "/portal/accounts"] {
        let page = browser.get(path).await;
        assert!(page.status == 200 && html(&page).contains(sorry), "{path}");
    }
    desk.bank.maintenance(false);
    assert_eq!(browser.get(&path).await.status, 200, "the session has outlived it");
    let seen = desk.bank.requests().into_iter().rev().find(|request| request.kind == PathKind::PortalAccount);
    assert_eq!(seen.unwrap().account.as_deref(), Some(desk.account()));
}
