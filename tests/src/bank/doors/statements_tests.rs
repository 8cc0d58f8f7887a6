//! The statements through their front door, read by a reader that knows no more than the schema.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use crate::bank::tests::Desk;
use crate::bank::{
    BankConfig, Correction, EntryKind, Fault, Login, NewAccount, NewEntry, PathKind, Row, money,
};
use crate::http::{Answer, Api};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDate;
use reqwest::Method;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

struct Reader {
    api: Api,
    basic: String,
}

impl Reader {
    fn of(desk: &Desk, login: &Login) -> Self {
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", login.user, login.password)));
        Self { api: Api::new(desk.bank.auth_origin(), None).unwrap(), basic }
    }

    async fn send(&self, method: Method, path: &str) -> Answer {
        self.api.send(method, path, &[("authorization", &self.basic)], None).await.unwrap()
    }

    async fn file(&self) -> Answer {
        self.send(Method::GET, "/camt/statements").await
    }

    async fn acknowledge(&self, id: &str) -> u16 {
        self.send(Method::POST, &format!("/camt/statements/{id}/acknowledge")).await.status
    }

    /// The file, acknowledged.
    async fn take(&self) -> Vec<Stmt> {
        let file = self.file().await;
        assert_eq!((file.status, file.header("content-type")), (200, "application/xml; charset=utf-8"));
        assert_eq!(self.acknowledge(file.header("x-statement-id")).await, 204);
        statements(&file)
    }
}

async fn open() -> (Desk, Reader) {
    let desk = Desk::open(BankConfig::default()).await;
    let login = desk.bank.login(&desk.customer.id).unwrap();
    let reader = Reader::of(&desk, &login);
    (desk, reader)
}

/// The insides of every element of this name, in order.
fn all<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&start).skip(1).map(|rest| rest.split_once(&end).expect("an end").0).collect()
}

fn one<'a>(xml: &'a str, name: &str) -> &'a str {
    all(xml, name).first().copied().unwrap_or_default()
}

fn text(xml: &str) -> String {
    xml.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// `Amt` and `CdtDbtInd` as signed minor units of GBP.
fn amount(xml: &str) -> i64 {
    let written = xml.split_once("<Amt Ccy=\"GBP\">").unwrap().1.split_once('<').unwrap().0;
    let minor = money::parse(written, "GBP").unwrap();
    assert!(minor >= 0, "the sign stands in CdtDbtInd");
    if one(xml, "CdtDbtInd") == "DBIT" { -minor } else { minor }
}

#[derive(Debug, Clone, PartialEq)]
struct Ntry {
    xml: String,
    amount: i64,
    booked: NaiveDate,
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Stmt {
    xml: String,
    iban: String,
    number: u32,
    days: (NaiveDate, NaiveDate),
    opening: i64,
    closing: i64,
    rows: Vec<Ntry>,
}

fn statements(file: &Answer) -> Vec<Stmt> {
    let xml = file.body.as_str().unwrap();
    assert!(xml.contains("<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\">"));
    let day = |text: &str| -> NaiveDate { text[..10].parse().unwrap() };
    let read = all(xml, "Stmt").into_iter().map(|stmt| {
        let balances = all(stmt, "Bal");
        assert_eq!(balances.iter().map(|bal| one(bal, "Cd")).collect::<Vec<_>>(), ["OPBD", "CLBD"]);
        let rows = all(stmt, "Ntry").into_iter().map(|ntry| Ntry {
            xml: ntry.to_owned(),
            amount: amount(ntry),
            booked: day(one(ntry, "BookgDt").trim_start_matches("<Dt>").trim_start_matches("<DtTm>")),
            text: text(&all(ntry, "Ustrd").join(" ")),
        });
        let stmt = Stmt {
            xml: stmt.to_owned(),
            iban: one(stmt, "IBAN").to_owned(),
            number: one(stmt, "ElctrncSeqNb").parse().unwrap(),
            days: (day(one(stmt, "FrDtTm")), day(one(stmt, "ToDtTm"))),
            opening: amount(balances[0]),
            closing: amount(balances[1]),
            rows: rows.collect(),
        };
        let moved: i64 = stmt.rows.iter().map(|row| row.amount).sum();
        assert_eq!(stmt.opening + moved, stmt.closing);
        stmt
    });
    read.collect()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn minor(row: &Row) -> i64 {
    money::parse(&row.amount, "GBP").unwrap()
}

#[tokio::test]
async fn the_first_file_has_the_history_up_to_yesterday_of_all_accounts() {
    let (desk, reader) = open().await;
    let file = reader.take().await;
    assert_eq!(file.len(), 2);
    for (stmt, id) in file.iter().zip(&desk.customer.accounts) {
        assert_eq!(stmt.days, (day("2025-12-20"), day("2026-03-19")));
        assert_eq!((stmt.number, stmt.opening), (1, 0));
        let rows = desk.bank.statement(id).unwrap().rows.into_iter();
        let wanted: Vec<_> = rows
            .filter(|row| row.booked_on < day("2026-03-20"))
            .map(|row| (minor(&row), row.booked_on, row.text))
            .collect();
        let read: Vec<_> = stmt.rows.iter().map(|row| (row.amount, row.booked, row.text.clone())).collect();
        assert_eq!(read, wanted);
    }
    assert!(file[0].iban.starts_with("GB") && file[0].iban.len() == 22 && file[0].rows.len() > 80);
    let listed = reader.send(Method::GET, "/camt/accounts").await;
    let listed = all(listed.body.as_str().unwrap(), "Acct").join("|");
    let stated: Vec<&str> = file.iter().map(|stmt| one(&stmt.xml, "Acct")).collect();
    assert_eq!(listed, stated.join("|"));
}

#[tokio::test]
async fn a_file_comes_again_byte_for_byte_until_it_is_acknowledged_and_then_never() {
    let (desk, reader) = open().await;
    let first = reader.file().await;
    desk.bank.book(desk.account(), NewEntry::transfer("1.00", "GIFT")).unwrap();
    desk.bank.advance(DAY * 2);
    assert_eq!(reader.file().await.body, first.body);
    let id = first.header("x-statement-id").to_owned();
    assert_eq!(reader.acknowledge("st-999999").await, 404);
    let eve = desk.bank.create_customer(&crate::bank::NewCustomer::with_two_accounts("Eve", 0)).unwrap();
    let eve = Reader::of(&desk, &desk.bank.login(&eve.id).unwrap());
    assert_eq!(eve.acknowledge(&id).await, 404, "somebody else's");
    assert_eq!(reader.acknowledge(&id).await, 204);
    assert_eq!(reader.acknowledge(&id).await, 404);

    let (before, after) = (statements(&first), reader.take().await);
    assert_eq!(after[0].days, (day("2026-03-20"), day("2026-03-21")));
    for (old, new) in before.iter().zip(&after) {
        assert_eq!((new.opening, new.number, &new.iban), (old.closing, 2, &old.iban));
    }
    assert_eq!(after[0].rows.iter().filter(|row| row.text == "GIFT").count(), 1);
    let nothing = reader.file().await;
    assert_eq!((nothing.status, nothing.header("x-statement-id")), (204, ""));
    desk.bank.advance(DAY);
    let quiet = reader.take().await;
    assert!(
        quiet.iter().all(|stmt| stmt.rows.is_empty() && stmt.opening == stmt.closing && stmt.number == 3)
    );
}

#[tokio::test]
async fn what_was_stated_and_changes_later_is_reversed_and_late_rows_come_with_their_own_day() {
    let (desk, reader) = open().await;
    let (bank, account) = (&desk.bank, desk.account());
    let card = |amount: &str, text: &str| bank.book(account, NewEntry::card(amount, text, "Shop")).unwrap();
    let [gone, wrong, text] = [card("-5.00", "GONE"), card("-7.00", "WRONG"), card("-9.00", "TEXT")];
    bank.authorise(account, NewEntry::card("-1.00", "HELD", "Shop")).unwrap();
    bank.advance(DAY);
    let first = reader.take().await;
    assert!(first[0].rows.iter().all(|row| row.text != "HELD"));
    bank.remove(account, &gone.id).unwrap();
    let fix = |amount: Option<&str>, text: Option<&str>| Correction {
        amount: amount.map(str::to_owned),
        text: text.map(str::to_owned),
    };
    bank.correct(account, &wrong.id, fix(Some("-7.50"), None)).unwrap();
    bank.correct(account, &text.id, fix(None, Some("OTHER"))).unwrap();
    let old = bank.now() - chrono::TimeDelta::days(30);
    bank.book(account, NewEntry::transfer("-2.00", "LATE").at(old)).unwrap();
    bank.advance(DAY);
    let next = &reader.take().await[0];
    let rows: Vec<_> = next.rows.iter().map(|row| (row.text.as_str(), row.amount, row.booked)).collect();
    let last = day("2026-03-21");
    assert_eq!(
        rows,
        [
            ("GONE", 500, last),
            ("WRONG", 700, last),
            ("LATE", -200, old.date_naive()),
            ("WRONG", -750, day("2026-03-20")),
        ]
    );
    for (row, id) in next.rows.iter().zip([&gone.id, &wrong.id]) {
        assert_eq!(one(&row.xml, "AcctSvcrRef"), format!("{id}-R"));
        assert_eq!(one(&row.xml, "RvslInd"), "true");
    }
    assert_eq!((one(&next.rows[3].xml, "AcctSvcrRef"), one(&next.rows[3].xml, "RvslInd")), (&*wrong.id, ""));
    assert_eq!(next.closing, money::parse(&bank.statement(account).unwrap().booked, "GBP").unwrap());
}

#[tokio::test]
async fn accounts_come_and_go_and_old_history_is_in_the_opening_balance() {
    let (desk, reader) = open().await;
    reader.take().await;
    let (bank, id) = (&desk.bank, &desk.customer.id);
    let (nickname, currency) = ("Old".to_owned(), "GBP".to_owned());
    bank.open_account(id, &NewAccount { nickname, currency, savings: false, history_days: 200 }).unwrap();
    bank.close_account(id, &desk.customer.accounts[1]).unwrap();
    bank.rename_accounts(id).unwrap();
    bank.advance(DAY);
    let next = reader.take().await;
    assert_eq!(next.iter().map(|stmt| stmt.number).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(next[1].days, (day("2025-12-21"), day("2026-03-20")));
    assert!(next[1].opening != 0 && next[1].rows.iter().all(|row| row.booked >= next[1].days.0));
}

#[tokio::test]
async fn references_are_what_real_banks_give() {
    let (desk, reader) = open().await;
    let long = format!("{}<end> & \"more\"", "WORDS OF A LONG TEXT ".repeat(12));
    desk.bank.book(desk.account(), NewEntry::transfer("-1.00", &long)).unwrap();
    let interest = NewEntry { kind: EntryKind::Interest, ..NewEntry::transfer("1.00", "INTEREST") };
    desk.bank.book_twins(desk.account(), &interest).unwrap();
    desk.bank.advance(DAY);
    let stmt = &reader.take().await[0];
    let missing = stmt.rows.iter().filter(|row| one(&row.xml, "NtryRef").is_empty()).count();
    assert!(missing > 0 && missing < stmt.rows.len() / 3, "{missing}");
    let long_row = stmt.rows.iter().find(|row| row.text == long).expect("joined by spaces");
    assert_eq!(all(&long_row.xml, "Ustrd").len(), 2);
    assert_eq!(one(&long_row.xml, "RltdPties"), "<Cdtr><Pty><Nm>NOTPROVIDED</Nm></Pty></Cdtr>");
    for row in stmt.rows.iter().filter(|row| row.text == "INTEREST") {
        assert_eq!((one(&row.xml, "AcctSvcrRef"), one(&row.xml, "RltdPties")), ("NOTPROVIDED", ""));
    }
    let mut references: Vec<_> = stmt.rows.iter().map(|row| one(&row.xml, "AcctSvcrRef")).collect();
    references.retain(|reference| *reference != "NOTPROVIDED");
    let all_references = references.len();
    references.sort_unstable();
    references.dedup();
    assert!(references.len() == all_references && all_references == stmt.rows.len() - 2);
}

#[tokio::test]
async fn only_the_right_password_opens_and_faults_spoil_one_answer_but_not_the_file() {
    let (desk, reader) = open().await;
    let login = desk.bank.login(&desk.customer.id).unwrap();
    let wrong = Reader::of(&desk, &Login { password: "no".into(), ..login.clone() });
    let refused = wrong.file().await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Basic realm=\"statements\""));
    assert_eq!(wrong.api.get("/camt/accounts").await.unwrap().status, 401);
    assert_eq!((wrong.file().await.status, wrong.file().await.status), (401, 403));
    assert_eq!(reader.file().await.status, 403);
    desk.bank.unlock(&desk.customer.id).unwrap();

    let good = reader.file().await;
    desk.bank.fault(PathKind::CamtStatements, Fault::HiddenRow, 1);
    let xml = reader.file().await.body.as_str().unwrap().to_owned();
    let count = |xml: &str| xml.matches("<Ntry>").count();
    assert_eq!(count(&xml), count(good.body.as_str().unwrap()) - 1);
    desk.bank.fault(PathKind::CamtStatements, Fault::BadAmount { amount: "1e3".into() }, 1);
    assert_eq!(reader.file().await.body.as_str().unwrap().matches(">1e3</Amt>").count(), 1);
    desk.bank.fault(PathKind::CamtAcknowledge, Fault::LostAnswer, 1);
    let path = format!("/camt/statements/{}/acknowledge", good.header("x-statement-id"));
    assert_eq!(reader.file().await.body, good.body);
    assert!(reader.api.send(Method::POST, &path, &[("authorization", &reader.basic)], None).await.is_err());
    assert_eq!(reader.file().await.status, 204, "the bank has heard it");
}
