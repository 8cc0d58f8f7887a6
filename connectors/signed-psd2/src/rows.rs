//! Accounts, transactions page by page, and balances.

use crate::bank::{check, get, url};
use serde::{Deserialize, Serialize};
use tidegate_sdk::paging::Pages;
use tidegate_sdk::request::Field;
use tidegate_sdk::walk::{Next, walk};
use tidegate_sdk::{
    Account, Balance, BalanceKind, Context, Coverage, Credit, Failure, IdStability, More, Page, Reply,
    Request, Send, Status, Stop, Transaction, Want, Window, date, decimal, json,
};

#[derive(Deserialize)]
struct Accounts {
    accounts: Vec<AccountRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountRow {
    resource_id: String,
    currency: String,
    iban: Option<String>,
    name: Option<String>,
    owner_name: Option<String>,
}

#[derive(Deserialize)]
struct Balances {
    balances: Vec<BalanceRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BalanceRow {
    balance_type: String,
    balance_amount: Amount,
    /// The standard says whether, and never how much.
    #[serde(default)]
    credit_limit_included: bool,
    last_change_date_time: Option<String>,
    reference_date: Option<String>,
}

#[derive(Deserialize)]
struct Amount {
    amount: String,
    currency: String,
}

#[derive(Deserialize)]
struct Transactions {
    transactions: Lists,
}

#[derive(Deserialize)]
struct Lists {
    #[serde(default)]
    booked: Vec<Row>,
    #[serde(default)]
    pending: Vec<Row>,
    #[serde(rename = "_links", default)]
    links: Links,
}

#[derive(Default, Deserialize)]
struct Links {
    next: Option<Link>,
}

#[derive(Deserialize)]
struct Link {
    href: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    entry_reference: Option<String>,
    transaction_id: Option<String>,
    booking_date: Option<String>,
    value_date: Option<String>,
    transaction_amount: Amount,
    creditor_name: Option<String>,
    debtor_name: Option<String>,
    #[serde(default)]
    remittance_information_unstructured: String,
}

/// What was asked last.
#[derive(Serialize, Deserialize)]
enum Asked {
    Transactions(String, Pages),
    Balances,
}

/// The accounts of the consent.
pub fn accounts(ask: &Context, replies: &[Reply]) -> Result<Vec<Account>, Stop> {
    let [reply] = replies else {
        let requests = vec![get(ask, &url(ask, "/accounts")?)];
        return Err(Stop::Send(Send { requests, memory: String::new() }));
    };
    check(ask, reply)?;
    let listed: Accounts = json::rows(&reply.body, "accounts")?;
    let account = |row: AccountRow| Account {
        id: row.resource_id,
        name: row.name.or(row.owner_name).unwrap_or_default(),
        currency: row.currency,
        number: row.iban,
    };
    Ok(listed.accounts.into_iter().map(account).collect())
}

/// Reads the wanted accounts: transactions, then balances.
pub fn read(ask: &Context, wants: &[Want], memory: &str, replies: &[Reply]) -> Result<More, Stop> {
    let first = |want: &Want| match &want.transactions {
        Some(window) => transactions(ask, want, window).map(Some),
        None => balances(ask, want).map(Some),
    };
    walk(wants, memory, replies, first, |want, asked, reply, into| {
        check(ask, reply)?;
        match (asked, &want.transactions) {
            (Asked::Transactions(at, pages), Some(window)) => {
                let next = a_page(ask, reply, window, (at, pages), into)?;
                if next.is_some() || !want.balances {
                    return Ok(next);
                }
                balances(ask, want).map(Some)
            }
            _ => read_balances(reply, into).map(|()| None),
        }
    })
}

fn address(ask: &Context, want: &Want, what: &str) -> Result<Request, Failure> {
    Ok(Request::get(url(ask, "/accounts")?).segment(&want.account).segment(what))
}

fn balances(ask: &Context, want: &Want) -> Result<(Request, Asked), Failure> {
    Ok((get(ask, &address(ask, want, "balances")?.url_text()), Asked::Balances))
}

fn transactions(ask: &Context, want: &Want, window: &Window) -> Result<(Request, Asked), Failure> {
    let at = address(ask, want, "transactions")?
        .query("dateFrom", Field::Text(&window.since))
        .query("dateTo", Field::Text(&window.until))
        .query("bookingStatus", Field::Text("both"))
        .url_text();
    Ok((get(ask, &at), Asked::Transactions(at, Pages::default())))
}

fn a_page(
    ask: &Context,
    reply: &Reply,
    window: &Window,
    (at, mut pages): (String, Pages),
    into: &mut Page,
) -> Result<Next<Asked>, Failure> {
    let read: Transactions = json::document(&reply.body)?;
    let Lists { booked, pending, links } = read.transactions;
    for (status, list, name) in [(Status::Booked, booked, "booked"), (Status::Pending, pending, "pending")] {
        for (number, row) in list.into_iter().enumerate() {
            let unreadable = |field: &str| Failure::unreadable(Some(number), &format!("{name}.{field}"));
            into.transactions.push(transaction(status, row).map_err(unreadable)?);
        }
    }
    if let Some(Link { href }) = links.next {
        let next = pages.follow(&at, &href, "_links.next.href")?;
        return Ok(Some((get(ask, &next), Asked::Transactions(next, pages))));
    }
    into.coverage = Some(Coverage::snapshot(window, &[Status::Booked, Status::Pending]));
    Ok(None)
}

/// A booked row's `entryReference` is its own for ever; a pending row's `transactionId` is another one when it
/// is booked, and its day is that of its authorisation.
fn transaction(status: Status, row: Row) -> Result<Transaction, &'static str> {
    let Amount { amount, currency } = row.transaction_amount;
    let negative = decimal::is_negative(&amount);
    let amount =
        decimal::with_sign(decimal::absolute(&amount), negative).ok_or("transactionAmount.amount")?;
    let day = |written: Option<String>, field| match written {
        Some(written) => date::civil(&written).map(|day| Some(day.to_owned())).ok_or(field),
        None => Ok(None),
    };
    let valued_on = day(row.value_date, "valueDate")?;
    let counterparty = if negative { row.creditor_name } else { row.debtor_name };
    let text = row.remittance_information_unstructured;
    let written = Transaction::new(status, amount, &currency, &text).with(counterparty.as_deref());
    let (id, stability, booked_on) = match status {
        Status::Booked => {
            let booked_on = day(row.booking_date, "bookingDate")?.ok_or("bookingDate")?;
            (row.entry_reference, IdStability::Immutable, Some(booked_on))
        }
        Status::Pending => (row.transaction_id, IdStability::Provisional, valued_on.clone()),
    };
    let valued_on = valued_on.filter(|_| status == Status::Booked);
    let written = written.on(booked_on, valued_on);
    Ok(match id {
        Some(id) => written.with_id(&id, stability),
        None => written,
    })
}

fn read_balances(reply: &Reply, into: &mut Page) -> Result<(), Failure> {
    let read: Balances = json::rows(&reply.body, "balances")?;
    for (number, row) in read.balances.into_iter().enumerate() {
        let kind = match row.balance_type.as_str() {
            "closingBooked" | "interimBooked" => BalanceKind::Booked,
            "interimAvailable" => BalanceKind::Available,
            "expected" => BalanceKind::Expected,
            _ => continue,
        };
        let as_of = row.last_change_date_time.or(row.reference_date);
        let as_of = as_of.map(|written| {
            date::unix_ms(&written).ok_or_else(|| Failure::unreadable(Some(number), "lastChangeDateTime"))
        });
        let Amount { amount, currency } = row.balance_amount;
        let credit = if row.credit_limit_included { Credit::Unknown } else { Credit::None };
        let balance = Balance::new(kind, amount, &currency, as_of.transpose()?).with_credit(credit);
        // One of each kind; the bank's first counts.
        if into.balances.iter().all(|known| known.kind != kind) {
            into.balances.push(balance);
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::SignedPsd2;
    use crate::fixtures::{ACCOUNTS, BALANCES, NOW, PAGE_1, PAGE_2, held, reply};
    use tidegate_sdk::{AccountsStep, Connector, CoverageKind, ReadStep};

    const URL: &str = "https://bank.example/psd2/accounts/22289001";

    fn wants() -> [Want; 1] {
        let window = Window { since: "2026-01-01".into(), until: "2026-03-20".into() };
        [Want { account: "22289001".into(), transactions: Some(window), balances: true, state: None }]
    }
    fn first() -> Send {
        let ReadStep::Send(send) = SignedPsd2::read(&held(), &wants(), "", &[]) else { panic!() };
        send
    }
    fn step(memory: &str, status: u16, body: &[u8]) -> ReadStep {
        SignedPsd2::read(&held(), &wants(), memory, &[reply(status, body)])
    }
    fn read(step: ReadStep) -> (Page, Option<Send>) {
        let ReadStep::Pages(mut more) = step else { panic!("{step:?}") };
        (more.pages.remove(0), more.next)
    }

    #[test]
    fn accounts_are_listed() {
        let AccountsStep::Send(send) = SignedPsd2::accounts(&held(), "", &[]) else { panic!() };
        assert_eq!(send.requests[0].url_text(), "https://bank.example/psd2/accounts");
        let account = Account {
            id: "22289001".into(),
            name: "Everyday".into(),
            currency: "GBP".into(),
            number: Some("GB82DEMO40051560000001".into()),
        };
        let listed = SignedPsd2::accounts(&held(), "", &[reply(200, ACCOUNTS)]);
        assert_eq!(listed, AccountsStep::Done(vec![account]));
        let none = SignedPsd2::accounts(&held(), "", &[reply(200, b"{}")]);
        assert_eq!(none, AccountsStep::Fail(Failure::unreadable(None, "accounts")));
    }

    #[test]
    fn booked_and_pending_rows_are_read_page_by_page_and_balances_last() {
        let send = first();
        let asked = format!("{URL}/transactions?dateFrom=2026-01-01&dateTo=2026-03-20&bookingStatus=both");
        assert_eq!(send.requests[0].url_text(), asked);
        let (page, next) = read(step(&send.memory, 200, PAGE_1));
        let booked = Transaction::new(Status::Booked, "-3.20".into(), "GBP", "FLAT WHITE")
            .on(Some("2026-03-19".into()), Some("2026-03-20".into()))
            .with(Some("Blue Door"))
            .with_id("9f3c-2a", IdStability::Immutable);
        assert_eq!(page.transactions, [booked]);
        assert_eq!(page.coverage, None);
        let send = next.unwrap();
        assert_eq!(send.requests[0].url_text(), format!("{asked}&page=MTc3"));
        let (page, next) = read(step(&send.memory, 200, PAGE_2));
        let pending = Transaction::new(Status::Pending, "25.00".into(), "GBP", "REFUND")
            .on(Some("2026-03-20".into()), None)
            .with(Some("Blue Door"))
            .with_id("51b0-2b", IdStability::Provisional);
        assert_eq!(page.transactions, [pending]);
        assert_eq!(page.coverage.unwrap().kind, CoverageKind::Snapshot);
        let send = next.unwrap();
        assert_eq!(send.requests[0].url_text(), format!("{URL}/balances"));
        let (page, next) = read(step(&send.memory, 200, BALANCES));
        let balances: Vec<_> =
            page.balances.iter().map(|one| (one.kind, one.amount.as_str(), one.as_of_ms)).collect();
        let now = Some(NOW);
        assert_eq!(
            balances,
            [
                (BalanceKind::Booked, "-1234.56", now),
                (BalanceKind::Available, "-1234.56", now),
                (BalanceKind::Expected, "-1209.56", now)
            ]
        );
        assert_eq!(next, None);
    }

    #[test]
    fn a_credit_limit_that_is_counted_is_of_unknown_size() {
        let check = |said: &str, expected: Credit| {
            let line = format!(
                r#"{{"balances":[{{"balanceType":"closingBooked",{said}"balanceAmount":{{"currency":"GBP","amount":"600.00"}}}}]}}"#
            );
            let mut into = Page::of("22289001");
            read_balances(&reply(200, line.as_bytes()), &mut into).unwrap();
            assert_eq!(into.balances[0].credit_included, expected, "{said}");
        };
        check("", Credit::None);
        check(r#""creditLimitIncluded":false,"#, Credit::None);
        check(r#""creditLimitIncluded":true,"#, Credit::Unknown);
    }

    #[test]
    fn one_unreadable_row_is_named_by_list_row_and_field() {
        let check = |from: &str, to: &str, row: Option<usize>, field: &str| {
            let spoilt = String::from_utf8_lossy(PAGE_1).replacen(from, to, 1);
            let failure = ReadStep::Fail(Failure::unreadable(row, field));
            assert_eq!(step(&first().memory, 200, spoilt.as_bytes()), failure, "{to}");
        };
        check("-3.20", "1e3", Some(0), "booked.transactionAmount.amount");
        check("2026-03-19", "2026-02-30", Some(0), "booked.bookingDate");
        check("\"bookingDate\":\"2026-03-19\",", "", Some(0), "booked.bookingDate");
        check("\"transactions\":{", "\"rows\":{", None, "transactions");
        check("/accounts/22289001/transactions", "/consents", None, "_links.next.href");
    }

    #[test]
    fn a_refusal_ends_the_reading() {
        let memory = first().memory;
        let expired = br#"{"tppMessages":[{"category":"ERROR","code":"CONSENT_EXPIRED"}]}"#;
        assert_eq!(step(&memory, 401, expired), ReadStep::Fail(Failure::ConsentExpired));
    }
}
