//! The pages of an account: newest row first, balances above them.
//!
//! Rows have no ids, and pages are counted from the newest row: one that is booked between two pages moves
//! all others on. The balances of each page tell; if they are not those of the first one, the list has
//! changed.

use crate::page;
use serde::{Deserialize, Serialize};
use tidegate_sdk::html::{self, Row, Token};
use tidegate_sdk::paging::Pages;
use tidegate_sdk::request::Field;
use tidegate_sdk::walk::{Next, walk};
use tidegate_sdk::{
    Balance, BalanceKind, Context, Coverage, Failure, More, Page, Reply, Request, Status, Stop, Transaction,
    Want,
};

/// What was asked last.
#[derive(Serialize, Deserialize)]
struct Asked {
    url: String,
    pages: Pages,
    /// The balances of the first page, as they are written.
    standing: Option<[String; 2]>,
}

/// Reads the wanted accounts.
pub fn read(ask: &Context, wants: &[Want], memory: &str, replies: &[Reply]) -> Result<More, Stop> {
    let accounts = page::url(ask, "/accounts")?;
    let first = |want: &Want| {
        let mut request = Request::get(accounts.as_str()).segment(&want.account);
        if let Some(window) = &want.transactions {
            request =
                request.query("from", Field::Text(&window.since)).query("to", Field::Text(&window.until));
        }
        let asked = Asked { url: request.url_text(), pages: Pages::default(), standing: None };
        Ok(Some((request, asked)))
    };
    walk(wants, memory, replies, first, |want, asked, reply, into| a_page(ask, want, asked, reply, into))
}

fn a_page(
    ask: &Context,
    want: &Want,
    mut asked: Asked,
    reply: &Reply,
    into: &mut Page,
) -> Result<Next<Asked>, Failure> {
    let tokens = page::tokens(ask, reply)?;
    let text = |id: &str| html::text_of(&tokens, id).ok_or_else(|| Failure::unreadable(None, id));
    let standing = [text("current")?, text("available")?];
    if asked.standing.as_ref().is_some_and(|before| *before != standing) {
        return Err(Failure::PagesChanged);
    }
    if want.transactions.is_some() {
        let rows = html::table(&tokens, "transactions");
        let rows = rows.ok_or_else(|| Failure::unreadable(None, "transactions"))?;
        for (number, row) in rows.iter().enumerate() {
            if let [_nothing] = row.cells.as_slice() {
                continue; // "No transactions."
            }
            let read = transaction(row).map_err(|field| Failure::unreadable(Some(number), field))?;
            into.transactions.push(read);
        }
        if let Some(link) = older(&tokens) {
            let url = asked.pages.follow(&asked.url, &link, "older")?;
            let next = Asked { url: url.clone(), pages: asked.pages, standing: Some(standing) };
            return Ok(Some((Request::get(url), next)));
        }
    }
    let as_of = page::moment(&text("asat")?).ok_or_else(|| Failure::unreadable(None, "asat"))?;
    for (kind, written, id) in
        [(BalanceKind::Booked, &standing[0], "current"), (BalanceKind::Available, &standing[1], "available")]
    {
        let (amount, currency) = page::money(written).ok_or_else(|| Failure::unreadable(None, id))?;
        into.balances.push(Balance::new(kind, amount, &currency, Some(as_of)));
    }
    into.coverage = want
        .transactions
        .as_ref()
        .map(|window| Coverage::snapshot(window, &[Status::Pending, Status::Booked]));
    Ok(None)
}

/// Day, value day, text, counterparty, amount.
fn transaction(row: &Row<'_>) -> Result<Transaction, &'static str> {
    let [booked_on, valued_on, text, counterparty, money] = row.cells.as_slice() else {
        return Err("cells");
    };
    let (amount, currency) = page::money(money).ok_or("amount")?;
    let booked_on = page::day(booked_on).ok_or("date")?;
    let valued_on = match valued_on.as_str() {
        "" => None,
        written => Some(page::day(written).ok_or("value-date")?),
    };
    let status = if row.tag.has_class("pending") { Status::Pending } else { Status::Booked };
    Ok(Transaction::new(status, amount, &currency, text)
        .on(Some(booked_on), valued_on)
        .with(Some(counterparty)))
}

/// Where older rows are.
fn older(tokens: &[Token<'_>]) -> Option<String> {
    let next = |token: &&Token<'_>| token.opens("a") && token.attribute("rel").as_deref() == Some("next");
    tokens.iter().find(next)?.attribute("href").map(|link| link.into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::HtmlPortal;
    use crate::fixtures::{NOW, PAGE_1, PAGE_2, context, page};
    use tidegate_sdk::{Connector, CoverageKind, IdStability, ReadStep, Send, Window};

    const URL: &str = "https://bank.example/portal/accounts/22289001";

    fn wants() -> [Want; 1] {
        let window = Window { since: "2026-01-01".into(), until: "2026-03-20".into() };
        [Want { account: "22289001".into(), transactions: Some(window), balances: true, state: None }]
    }
    fn first() -> Send {
        let ReadStep::Send(send) = HtmlPortal::read(&context(), &wants(), "", &[]) else { panic!() };
        send
    }
    fn step(memory: &str, body: &[u8]) -> ReadStep {
        HtmlPortal::read(&context(), &wants(), memory, &[page(200, body, "")])
    }
    fn read(step: ReadStep) -> (Page, Option<Send>) {
        let ReadStep::Pages(mut more) = step else { panic!("{step:?}") };
        (more.pages.remove(0), more.next)
    }

    #[test]
    fn an_account_is_read_page_by_page_and_its_balances_once() {
        let send = first();
        assert_eq!(send.requests[0].url_text(), format!("{URL}?from=2026-01-01&to=2026-03-20"));
        let (page, next) = read(step(&send.memory, PAGE_1));
        assert_eq!((page.transactions.len(), page.balances.len()), (2, 0));
        assert_eq!(page.coverage, None, "not at the end yet");
        let pending = Transaction::new(Status::Pending, "-3.20".into(), "GBP", "TEA & TOAST 'TO GO'")
            .on(Some("2026-03-20".into()), None)
            .with(Some("Blue Door"));
        assert_eq!(page.transactions[0], pending);
        assert_eq!(pending.stability, IdStability::None);
        let booked = &page.transactions[1];
        assert_eq!((booked.status, booked.amount.as_str()), (Status::Booked, "1234.56"));
        assert_eq!(booked.valued_on.as_deref(), Some("2026-03-20"));
        assert_eq!(booked.counterparty, None);

        let send = next.unwrap();
        assert_eq!(send.requests[0].url_text(), format!("{URL}?from=2026-01-01&to=2026-03-20&page=2"));
        let (page, next) = read(step(&send.memory, PAGE_2));
        assert_eq!((page.transactions.len(), next), (1, None));
        assert_eq!(page.transactions[0].text, "CAFÉ £5 – \u{201c}café\u{201d}");
        let coverage = page.coverage.unwrap();
        assert_eq!((coverage.kind, coverage.complete), (CoverageKind::Snapshot, true));
        assert_eq!(coverage.statuses, [Status::Pending, Status::Booked]);
        let balances: Vec<_> =
            page.balances.iter().map(|one| (one.kind, one.amount.as_str(), one.as_of_ms)).collect();
        assert_eq!(
            balances,
            [
                (BalanceKind::Booked, "-1234.56", Some(NOW + 5_000)),
                (BalanceKind::Available, "-1237.76", Some(NOW + 5_000))
            ]
        );
    }

    #[test]
    fn a_balance_that_moved_between_two_pages_means_that_the_list_did() {
        let (_, next) = read(step(&first().memory, PAGE_1));
        let moved = String::from_utf8_lossy(PAGE_2).replace("-1,237.76", "-1,240.96");
        assert_eq!(step(&next.unwrap().memory, moved.as_bytes()), ReadStep::Fail(Failure::PagesChanged));
    }

    #[test]
    fn an_account_without_rows_is_read_to_its_end() {
        let empty = String::from_utf8_lossy(PAGE_2);
        let (before, rest) = empty.split_once("<tbody>").unwrap();
        let (_, after) = rest.split_once("</tbody>").unwrap();
        let empty = format!("{before}<tr><td colspan=5>No transactions.</td></tr>{after}");
        let (page, next) = read(step(&first().memory, empty.as_bytes()));
        assert_eq!((page.transactions.len(), page.balances.len(), next), (0, 2, None));
        assert!(page.coverage.unwrap().complete);
    }

    #[test]
    fn balances_alone_are_read_without_rows() {
        let wants = [Want { transactions: None, ..wants()[0].clone() }];
        let ReadStep::Send(send) = HtmlPortal::read(&context(), &wants, "", &[]) else { panic!() };
        assert_eq!(send.requests[0].url_text(), URL);
        let step = HtmlPortal::read(&context(), &wants, &send.memory, &[page(200, PAGE_1, "")]);
        let (page, next) = read(step);
        assert_eq!((page.transactions.len(), page.balances.len(), page.coverage, next), (0, 2, None, None));
    }

    #[test]
    fn one_unreadable_row_is_named_by_row_and_field() {
        let check = |from: &str, to: &str, row: Option<usize>, field: &str| {
            let spoilt = String::from_utf8_lossy(PAGE_1).replacen(from, to, 1);
            let failure = ReadStep::Fail(Failure::unreadable(row, field));
            assert_eq!(step(&first().memory, spoilt.as_bytes()), failure, "{to}");
        };
        check("-3.20&nbsp;GBP", "1e3&nbsp;GBP", Some(0), "amount");
        check("1,234.56&nbsp;GBP</td>", "1,234.56</td>", Some(1), "amount");
        check("19 Mar 2026", "32 Mar 2026", Some(1), "date");
        check("<td>Blue Door</td>", "", Some(0), "cells");
        check("id='current'", "", None, "current");
        check("id=transactions", "", None, "transactions");
    }

    #[test]
    fn a_session_that_is_over_and_links_that_lead_astray_end_the_reading() {
        let memory = first().memory;
        let over = HtmlPortal::read(&context(), &wants(), &memory, &[page(303, b"", "/portal/login")]);
        assert_eq!(over, ReadStep::Fail(Failure::SessionExpired));
        let astray = String::from_utf8_lossy(PAGE_1).replace("/portal/accounts/22289001?", "/portal/logout?");
        assert_eq!(step(&memory, astray.as_bytes()), ReadStep::Fail(Failure::unreadable(None, "older")));
    }
}
