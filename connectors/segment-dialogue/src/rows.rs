//! Accounts, rows and balances within a dialogue. Rows have no ids, only booked ones are given, and the
//! touch-down says where a page ended.

use crate::message::{answer, ask_for};
use serde::{Deserialize, Serialize};
use tidegate_sdk::walk::{Next, walk};
use tidegate_sdk::{
    Account, Balance, BalanceKind, Context, Coverage, Failure, More, Page, Reply, Send, Status, Stop,
    Transaction, Want, Window, date, decimal,
};

/// Pages of one account: with 25 rows a page, ten times a busy quarter. More is a list without an end.
const PAGES_MAX: u32 = 400;

/// What was asked last.
#[derive(Serialize, Deserialize)]
enum Asked {
    /// Which page of rows.
    Rows(u32),
    Balance,
}

/// The accounts of the customer.
pub fn accounts(ask: &Context, replies: &[Reply]) -> Result<Vec<Account>, Stop> {
    let [reply] = replies else {
        let requests = vec![ask_for(ask, "/message", &["ACC"])?];
        return Err(Stop::Send(Send { requests, memory: String::new() }));
    };
    let segments = answer(ask, reply)?.segments;
    let account = |(row, segment): (usize, Vec<String>)| match <[String; 6]>::try_from(segment) {
        Ok([_acc, id, iban, name, _owner, currency]) => {
            Ok(Account { id, name, currency, number: Some(iban).filter(|iban| !iban.is_empty()) })
        }
        Err(_) => Err(Failure::unreadable(Some(row), "ACC").into()),
    };
    segments.into_iter().enumerate().map(account).collect()
}

/// Reads the wanted accounts: rows, then the balance.
pub fn read(ask: &Context, wants: &[Want], memory: &str, replies: &[Reply]) -> Result<More, Stop> {
    let first = |want: &Want| match &want.transactions {
        Some(window) => rows(ask, want, window, 0, ""),
        None => balance(ask, want),
    };
    walk(wants, memory, replies, first, |want, asked, reply, into| match (asked, &want.transactions) {
        (Asked::Rows(page), Some(window)) => {
            let read = answer(ask, reply)?;
            for (row, segment) in read.segments.iter().enumerate() {
                let read = transaction(segment).map_err(|field| Failure::unreadable(Some(row), field))?;
                into.transactions.push(read);
            }
            if let Some(touch_down) = read.more {
                return rows(ask, want, window, page + 1, &touch_down);
            }
            into.coverage = Some(Coverage::snapshot(window, &[Status::Booked]));
            if want.balances { balance(ask, want) } else { Ok(None) }
        }
        _ => balances(&answer(ask, reply)?.segments, into).map(|()| None),
    })
}

fn rows(
    ask: &Context,
    want: &Want,
    window: &Window,
    page: u32,
    touch_down: &str,
) -> Result<Next<Asked>, Failure> {
    if page >= PAGES_MAX {
        return Err(Failure::unreadable(None, "touch-down"));
    }
    let compact = |day: &str| day.replace('-', "");
    let (since, until) = (compact(&window.since), compact(&window.until));
    let request = ask_for(ask, "/message", &["TRN", &want.account, &since, &until, touch_down])?;
    Ok(Some((request, Asked::Rows(page))))
}

fn balance(ask: &Context, want: &Want) -> Result<Next<Asked>, Failure> {
    Ok(Some((ask_for(ask, "/message", &["BAL", &want.account])?, Asked::Balance)))
}

fn balances(segments: &[Vec<String>], into: &mut Page) -> Result<(), Failure> {
    let bad = |field: &str| Failure::unreadable(None, field);
    let [segment] = segments else { return Err(bad("BAL")) };
    let [_bal, _account, mark, written, currency, day, time] = segment.as_slice() else {
        return Err(bad("BAL"));
    };
    let amount = amount(mark, written).ok_or_else(|| bad("BAL.amount"))?;
    let digits = |at: usize| time.get(at..at + 2).unwrap_or("x");
    let moment = day_of(day).map(|day| format!("{day}T{}:{}:{}", digits(0), digits(2), digits(4)));
    let as_of = moment.and_then(|moment| date::unix_ms(&moment)).ok_or_else(|| bad("BAL.time"))?;
    into.balances.push(Balance::new(BalanceKind::Booked, amount, currency, Some(as_of)));
    Ok(())
}

/// Day, value day, mark, amount, currency, text, counterparty.
fn transaction(segment: &[String]) -> Result<Transaction, &'static str> {
    let [name, booked, valued, mark, written, currency, text, counterparty] = segment else {
        return Err("ROW");
    };
    if name != "ROW" {
        return Err("ROW");
    }
    let booked_on = day_of(booked).ok_or("date")?;
    let valued_on = match valued.as_str() {
        "" => None,
        written => Some(day_of(written).ok_or("value-date")?),
    };
    let amount = amount(mark, written).ok_or("amount")?;
    Ok(Transaction::new(Status::Booked, amount, currency, text)
        .on(Some(booked_on), valued_on)
        .with(Some(counterparty)))
}

/// `C` or `D`, and `1234,56` or `1200,`.
fn amount(mark: &str, written: &str) -> Option<String> {
    let (whole, part) = written.split_once(',')?;
    let plain = if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") };
    match mark {
        "C" => decimal::with_sign(&plain, false),
        "D" => decimal::with_sign(&plain, true),
        _ => None,
    }
}

/// `20260320` as `2026-03-20`.
fn day_of(written: &str) -> Option<String> {
    let text = format!("{}-{}-{}", written.get(..4)?, written.get(4..6)?, written.get(6..)?);
    (date::civil(&text) == Some(text.as_str())).then_some(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::SegmentDialogue;
    use crate::fixtures::{ACCOUNTS, BALANCE, NOW, ROWS_1, ROWS_2, answered, known};
    use tidegate_sdk::{AccountsStep, Connector, CoverageKind, Operation, ReadStep, Request};

    fn wants() -> [Want; 1] {
        let window = Window { since: "2026-01-01".into(), until: "2026-03-20".into() };
        [Want { account: "22289+1".into(), transactions: Some(window), balances: true, state: None }]
    }
    fn shown(send: &Send) -> String {
        let Some(Operation::Encode(whole)) = send.requests[0].derived.last().map(|last| &last.how) else {
            panic!()
        };
        Request { url: whole.over.clone(), ..Request::get("") }.url_text()
    }
    fn first() -> Send {
        let ReadStep::Send(send) = SegmentDialogue::read(&known(&[]), &wants(), "", &[]) else { panic!() };
        send
    }
    fn step(memory: &str, body: &str) -> ReadStep {
        SegmentDialogue::read(&known(&[]), &wants(), memory, &[answered(body)])
    }
    fn read(step: ReadStep) -> (Page, Option<Send>) {
        let ReadStep::Pages(mut more) = step else { panic!("{step:?}") };
        (more.pages.remove(0), more.next)
    }

    #[test]
    fn accounts_are_listed() {
        let AccountsStep::Send(send) = SegmentDialogue::accounts(&known(&[]), "", &[]) else { panic!() };
        assert_eq!(shown(&send), "HDR+{length}+{dialogue-id}+{number}'ACC'");
        let AccountsStep::Done(listed) = SegmentDialogue::accounts(&known(&[]), "", &[answered(ACCOUNTS)])
        else {
            panic!()
        };
        let account = Account {
            id: "22289001".into(),
            name: "Tom & Ada's: all".into(),
            currency: "GBP".into(),
            number: Some("GB02DEMO40051560000001".into()),
        };
        assert_eq!((listed.len(), &listed[0]), (2, &account));
        let short = SegmentDialogue::accounts(&known(&[]), "", &[answered("RET+0010+ok'ACC+1'")]);
        assert_eq!(short, AccountsStep::Fail(Failure::unreadable(Some(0), "ACC")));
    }

    #[test]
    fn rows_are_read_by_touch_down_and_the_balance_last() {
        let send = first();
        let head = "HDR+{length}+{dialogue-id}+{number}'";
        assert_eq!(shown(&send), format!("{head}TRN+22289?+1+20260101+20260320+'"));
        let (page, next) = read(step(&send.memory, ROWS_1));
        assert_eq!((page.transactions.len(), page.coverage), (2, None));
        let row = Transaction::new(Status::Booked, "-3.20".into(), "GBP", "BLUE DOOR: FLAT WHITE")
            .on(Some("2026-03-19".into()), Some("2026-03-20".into()))
            .with(Some("Blue Door"));
        assert_eq!(page.transactions[0], row);
        assert_eq!(
            (page.transactions[1].amount.as_str(), &page.transactions[1].counterparty),
            ("1200", &None)
        );
        let send = next.unwrap();
        assert_eq!(shown(&send), format!("{head}TRN+22289?+1+20260101+20260320+MTc3'"));
        let (page, next) = read(step(&send.memory, ROWS_2));
        let coverage = page.coverage.unwrap();
        assert_eq!((coverage.kind, coverage.complete), (CoverageKind::Snapshot, true));
        assert_eq!(coverage.statuses, [Status::Booked]);
        let send = next.unwrap();
        assert_eq!(shown(&send), format!("{head}BAL+22289?+1'"));
        let (page, next) = read(step(&send.memory, BALANCE));
        let booked = Balance::new(BalanceKind::Booked, "-1234.56".into(), "GBP", Some(NOW + 5_000));
        assert_eq!((page.balances, next), (vec![booked], None));
    }

    #[test]
    fn one_unreadable_row_is_named_by_row_and_field() {
        let check = |from: &str, to: &str, row: Option<usize>, field: &str| {
            let spoilt = ROWS_1.replacen(from, to, 1);
            let failure = ReadStep::Fail(Failure::unreadable(row, field));
            assert_eq!(step(&first().memory, &spoilt), failure, "{to}");
        };
        check("+3,20+", "+1e3+", Some(0), "amount");
        check("+3,20+", "+3.20+", Some(0), "amount");
        check("+D+", "+X+", Some(0), "amount");
        check("20260319", "20260332", Some(0), "date");
        check("+Blue Door'", "'", Some(0), "ROW");
    }

    #[test]
    fn a_dialogue_that_is_over_is_a_session_that_is_over() {
        let failure = step(&first().memory, "RET+9800+dialogue ended'");
        assert_eq!(failure, ReadStep::Fail(Failure::SessionExpired));
    }

    #[test]
    fn a_list_without_an_end_is_stopped() {
        let (mut send, mut pages) = (first(), 0);
        let failure = loop {
            match step(&send.memory, "RET+3040+MTc3'") {
                ReadStep::Pages(more) => send = more.next.unwrap(),
                ReadStep::Fail(failure) => break failure,
                ReadStep::Send(_) => panic!(),
            }
            pages += 1;
        };
        assert_eq!((pages, failure), (PAGES_MAX - 1, Failure::unreadable(None, "touch-down")));
    }
}
