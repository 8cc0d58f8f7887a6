//! Accounts, transactions page by page, and balances.

use crate::bank::{check, get, url};
use serde::Deserialize;
use tidegate_sdk::json::{self, Listed, Object, each};
use tidegate_sdk::request::Field;
use tidegate_sdk::walk::{Paged, paged};
use tidegate_sdk::{
    Account, Balance, BalanceKind, Context, Coverage, Credit, Failure, IdStability, More, Page, Reply,
    Request, Status, Stop, Transaction, Want, Window, decimal,
};

/// The accounts of the consent.
pub fn accounts(ask: &Context, replies: &[Reply]) -> Result<Vec<Account>, Stop> {
    let [reply] = replies else {
        return Err(Stop::ask(get(ask, &url(ask, "/accounts")?)));
    };
    check(ask, reply)?;
    let listed: Listed<Object> = Listed::read(&reply.body, "accounts")?;
    let rows = listed.rows.ok_or_else(|| Failure::unreadable(None, "accounts"))?;
    Ok(each(&rows, account)?)
}

fn account(row: &Object<'_>) -> Result<Option<Account>, Failure> {
    let (name, owner) = (row.text_if("name")?, row.text_if("ownerName")?);
    Ok(Some(Account {
        id: row.text("resourceId")?.into_owned(),
        name: name.or(owner).unwrap_or_default().into_owned(),
        currency: row.text("currency")?.into_owned(),
        number: row.text_if("iban")?.map(String::from),
    }))
}

/// Reads the wanted accounts: transactions, then balances.
pub fn read(ask: &Context, wants: &[Want], memory: &str, replies: &[Reply]) -> Result<More, Stop> {
    paged(&Bank(ask), wants, memory, replies)
}

struct Bank<'a>(&'a Context);

impl Bank<'_> {
    fn of_account(&self, account: &str, what: &str) -> Result<Request, Failure> {
        Ok(Request::get(url(self.0, "/accounts")?).segment(account).segment(what))
    }
}

impl Paged for Bank<'_> {
    const NEXT: &'static str = "_links.next.href";

    fn get(&self, url: &str) -> Request {
        get(self.0, url)
    }

    fn transactions(&self, account: &str, window: &Window) -> Result<String, Failure> {
        let request = self
            .of_account(account, "transactions")?
            .query("dateFrom", Field::Text(&window.since))
            .query("dateTo", Field::Text(&window.until))
            .query("bookingStatus", Field::Text("both"));
        Ok(request.url_text())
    }

    fn balances(&self, account: &str) -> Result<String, Failure> {
        Ok(self.of_account(account, "balances")?.url_text())
    }

    fn read_transactions(
        &self,
        window: &Window,
        reply: &Reply,
        into: &mut Page,
    ) -> Result<Option<String>, Failure> {
        check(self.0, reply)?;
        let Transactions { transactions: lists } = json::document(&reply.body)?;
        for (status, list, name) in
            [(Status::Booked, &lists.booked, "booked"), (Status::Pending, &lists.pending, "pending")]
        {
            let rows = each(list, |row| transaction(status, row).map(Some));
            into.transactions.extend(rows.map_err(|failure| failure.under(name))?);
        }
        if let Some(next) = lists.links.object_if("next").map_err(|failure| failure.under("_links"))? {
            let link = next.text("href").map_err(|failure| failure.under("_links"))?;
            return Ok(Some(link.into_owned()));
        }
        into.coverage = Some(Coverage::snapshot(window, &[Status::Booked, Status::Pending]));
        Ok(None)
    }

    fn read_balances(&self, reply: &Reply, into: &mut Page) -> Result<(), Failure> {
        check(self.0, reply)?;
        read_balances(reply, into)
    }
}

#[derive(Deserialize)]
struct Transactions<'a> {
    #[serde(borrow)]
    transactions: Lists<'a>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Lists<'a> {
    #[serde(default)]
    booked: Vec<Object<'a>>,
    #[serde(default)]
    pending: Vec<Object<'a>>,
    #[serde(rename = "_links", default)]
    links: Object<'a>,
}

/// A booked row's `entryReference` is its own for ever; a pending row's `transactionId` is another one when it
/// is booked, and its day is that of its authorisation.
fn transaction(status: Status, row: &Object<'_>) -> Result<Transaction, Failure> {
    let (reference, id) = (row.text_if("entryReference")?, row.text_if("transactionId")?);
    let valued_on = row.day_if("valueDate")?;
    let money = row.object("transactionAmount")?;
    let amount = money.signed("amount")?;
    let (creditor, debtor) = (row.text_if("creditorName")?, row.text_if("debtorName")?);
    let counterparty = if decimal::is_negative(&amount) { creditor } else { debtor };
    let text = row.text_if("remittanceInformationUnstructured")?.unwrap_or_default();
    let written =
        Transaction::new(status, amount, &money.text("currency")?, &text).with(counterparty.as_deref());
    let (written, id, stability) = match status {
        Status::Booked => {
            (written.on(Some(row.day("bookingDate")?), valued_on), reference, IdStability::Immutable)
        }
        Status::Pending => (written.on(valued_on, None), id, IdStability::Provisional),
    };
    Ok(match id {
        Some(id) => written.with_id(&id, stability),
        None => written,
    })
}

fn read_balances(reply: &Reply, into: &mut Page) -> Result<(), Failure> {
    let listed: Listed<Object> = Listed::read(&reply.body, "balances")?;
    let rows = listed.rows.ok_or_else(|| Failure::unreadable(None, "balances"))?;
    for balance in each(&rows, balance)? {
        // One of each kind; the bank's first counts.
        if into.balances.iter().all(|known| known.kind != balance.kind) {
            into.balances.push(balance);
        }
    }
    Ok(())
}

fn balance(row: &Object<'_>) -> Result<Option<Balance>, Failure> {
    let kind = match row.text("balanceType")?.as_ref() {
        "closingBooked" | "interimBooked" => BalanceKind::Booked,
        "interimAvailable" => BalanceKind::Available,
        "expected" => BalanceKind::Expected,
        _ => return Ok(None),
    };
    let as_of = match row.instant_if("lastChangeDateTime")? {
        None => row.instant_if("referenceDate")?,
        moment => moment,
    };
    // The standard says whether, and never how much.
    let credit = match row.read_if("creditLimitIncluded")? {
        Some(true) => Credit::Unknown,
        _ => Credit::None,
    };
    let money = row.object("balanceAmount")?;
    let amount = money.text("amount")?.into_owned();
    Ok(Some(Balance::new(kind, amount, &money.text("currency")?, as_of).with_credit(credit)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::SignedPsd2;
    use crate::fixtures::{ACCOUNTS, BALANCES, NOW, PAGE_1, PAGE_2, held, reply};
    use tidegate_sdk::{AccountsStep, Connector, CoverageKind, ReadStep, Send};

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
