//! Pages out of statements: each account's, those of several days added up.
//!
//! A statement that is given until it is acknowledged says only what is new (a row may be booked late, into
//! days of an earlier one), so that nothing is missing because it is not there: a delta. Where the bank keeps
//! its statements, all of them are read each time: a snapshot of their days.

use crate::bank;
use crate::camt::{self, Statement};
use tidegate_sdk::{
    Account, Balance, BalanceKind, Context, Coverage, CoverageKind, Failure, More, Page, Reply, Status, Stop,
    Unread, Unreadable, Want, Window,
};

/// The header that names a statement to be acknowledged.
const STATEMENT_ID: &str = "x-statement-id";

/// The bank's list, or those that its statements name.
pub fn accounts(ask: &Context, replies: &[Reply]) -> Result<Vec<Account>, Stop> {
    let [reply] = replies else {
        let settings = bank::profile(ask)?.settings;
        let path = settings.accounts.unwrap_or(settings.statements);
        return Err(Stop::ask(bank::file(ask, &path)?));
    };
    Ok(camt::accounts(bank::text(ask, reply)?.unwrap_or_default())?)
}

/// Reads one file for all wanted accounts.
///
/// An account of the file that is not wanted is passed over, and acknowledged with the rest: the list of
/// accounts was read just before, so it is one that nobody wants.
pub fn read(ask: &Context, wants: &[Want], replies: &[Reply]) -> Result<More, Stop> {
    let settings = bank::profile(ask)?.settings;
    let [reply] = replies else {
        return Err(Stop::ask(bank::file(ask, &settings.statements)?));
    };
    let mut more = More::of(Vec::new(), None);
    let Some(text) = bank::text(ask, reply)? else {
        return Ok(more); // nothing is new
    };
    let kind = match settings.accounts {
        Some(_) => CoverageKind::Delta,
        None => CoverageKind::Snapshot,
    };
    let mut statements = camt::statements(text)?;
    if statements.iter().any(|statement| statement.account.is_none()) {
        return Err(Failure::unreadable(None, "Acct").into());
    }
    for want in wants {
        let of_account =
            |one: &mut Statement| one.account.as_ref().is_some_and(|known| known.id == want.account);
        let own: Vec<Statement> = statements.extract_if(.., of_account).collect();
        match page(&want.account, kind, own) {
            Ok(page) => more.pages.extend(page),
            Err((row, field)) => {
                let row = row.and_then(|row| u32::try_from(row).ok());
                let why = Unreadable { row, field: field.to_owned() };
                more.unread.push(Unread { account: want.account.clone(), why });
            }
        }
    }
    if settings.accounts.is_some() {
        let id = reply.header(STATEMENT_ID).ok_or_else(|| Failure::unreadable(None, STATEMENT_ID))?;
        more.after_commit.push(bank::acknowledge(ask, id)?);
    }
    Ok(more)
}

/// What the statements of one account say together; none if there are none.
fn page(
    account: &str,
    kind: CoverageKind,
    own: Vec<Statement>,
) -> Result<Option<Page>, (Option<usize>, &'static str)> {
    let mut dated = Vec::with_capacity(own.len());
    for statement in own {
        if let Some(fault) = statement.fault {
            return Err(fault);
        }
        dated.push((statement.days().ok_or((None, "FrToDt"))?, statement));
    }
    dated.sort_by(|(one, _), (other, _)| one.since.cmp(&other.since));
    let (Some((first, _)), Some((last, _))) = (dated.first(), dated.last()) else {
        return Ok(None);
    };
    let window = Window { since: first.since.clone(), until: last.until.clone() };
    let mut page = Page::of(account);
    page.coverage = Some(Coverage { kind, ..Coverage::snapshot(&window, &[Status::Booked]) });
    let (mut opening, mut closing) = (None, None);
    for (place, (_, statement)) in dated.into_iter().enumerate() {
        if place == 0 {
            opening = statement.opening.clone();
        }
        closing = statement.closing.clone();
        page.transactions.extend(statement.rows());
    }
    let booked = closing.clone().map(|closing| Balance { kind: BalanceKind::Booked, ..closing });
    page.balances = [booked, opening, closing].into_iter().flatten().collect();
    Ok(Some(page))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::Camt053;
    use crate::fixtures::{ACCOUNTS, KEPT, STATEMENT, keeping, known, reply};
    use tidegate_sdk::{AccountsStep, Connector, ReadStep, Request};

    fn wants(accounts: &[&str]) -> Vec<Want> {
        let window = Window { since: "2025-12-20".into(), until: "2026-03-20".into() };
        let want = |account: &&str| Want {
            account: (*account).to_owned(),
            transactions: Some(window.clone()),
            balances: true,
            state: None,
        };
        accounts.iter().map(want).collect()
    }
    const BOTH: [&str; 2] = ["GB82DEMO40051560000001", "GB55DEMO40051560000002"];

    fn read(ask: &Context, accounts: &[&str], reply: Reply) -> ReadStep {
        Camt053::read(ask, &wants(accounts), "", &[reply])
    }
    fn pages(step: ReadStep) -> More {
        let ReadStep::Pages(more) = step else { panic!("{step:?}") };
        more
    }
    fn urls(requests: &[Request]) -> Vec<String> {
        requests.iter().map(Request::url_text).collect()
    }
    fn given() -> Reply {
        reply(200, STATEMENT.as_bytes(), "st-000001")
    }

    #[test]
    fn one_file_is_read_for_all_accounts_and_acknowledged_after_the_commit() {
        let ReadStep::Send(send) = Camt053::read(&known(), &wants(&BOTH), "", &[]) else { panic!() };
        assert_eq!(urls(&send.requests), ["https://bank.example/camt/statements"]);
        let more = pages(read(&known(), &BOTH, given()));
        assert_eq!(urls(&more.after_commit), ["https://bank.example/camt/statements/st-000001/acknowledge"]);
        assert_eq!((more.unread.len(), more.next), (0, None));
        let accounts: Vec<_> = more.pages.iter().map(|page| page.account.as_str()).collect();
        assert_eq!(accounts, BOTH);
        let first = &more.pages[0];
        assert_eq!(first.transactions.len(), 4);
        let coverage = first.coverage.as_ref().unwrap();
        assert_eq!(
            (coverage.kind, coverage.statuses.as_slice()),
            (CoverageKind::Delta, &[Status::Booked][..])
        );
        assert_eq!(coverage.window, Window { since: "2025-12-20".into(), until: "2026-03-19".into() });
        let balances: Vec<_> = first.balances.iter().map(|one| (one.kind, one.amount.as_str())).collect();
        assert_eq!(
            balances,
            [
                (BalanceKind::Booked, "-12.80"),
                (BalanceKind::Opening, "-10.00"),
                (BalanceKind::Closing, "-12.80")
            ]
        );
    }

    #[test]
    fn nothing_new_is_no_page_and_no_acknowledgement() {
        for nothing in [reply(204, b"", ""), reply(200, b"\n", "")] {
            assert_eq!(pages(read(&known(), &BOTH, nothing)), More::of(vec![], None));
        }
    }

    #[test]
    fn an_account_that_cannot_be_read_does_not_spoil_its_sister() {
        let spoilt =
            STATEMENT.replacen("<CdtDbtInd>DBIT</CdtDbtInd><Sts>", "<CdtDbtInd>X</CdtDbtInd><Sts>", 1);
        let more = pages(read(&known(), &BOTH, reply(200, spoilt.as_bytes(), "st-000001")));
        let why = Unreadable { row: Some(0), field: "CdtDbtInd".into() };
        assert_eq!(more.unread, [Unread { account: BOTH[0].into(), why }]);
        assert_eq!(more.pages.len(), 1);
        assert_eq!(more.after_commit.len(), 1, "the host sends it only if all is stored");
    }

    #[test]
    fn what_nobody_wants_is_passed_over() {
        let more = pages(read(&known(), &BOTH[1..], given()));
        assert_eq!((more.pages.len(), more.unread.len(), more.after_commit.len()), (1, 0, 1));
    }

    #[test]
    fn statements_that_the_bank_keeps_add_up_and_are_not_acknowledged() {
        let more = pages(read(&keeping(), &["NL41MOCK0000000001"], reply(200, KEPT.as_bytes(), "")));
        assert_eq!((more.pages.len(), more.after_commit.len()), (1, 0));
        let page = &more.pages[0];
        let coverage = page.coverage.as_ref().unwrap();
        assert_eq!(coverage.kind, CoverageKind::Snapshot);
        assert_eq!(coverage.window, Window { since: "2026-11-27".into(), until: "2026-11-30".into() });
        let balances: Vec<_> = page.balances.iter().map(|one| one.amount.as_str()).collect();
        assert_eq!(
            balances,
            ["125012.50", "125000.00", "125012.50"],
            "the first day's opening, the last one's closing"
        );
        assert_eq!(page.transactions.len(), 1);
    }

    #[test]
    fn accounts_are_listed_by_the_bank_or_named_by_its_statements() {
        for (ask, url, body, count) in [
            (known(), "https://bank.example/camt/accounts", ACCOUNTS, 2),
            (keeping(), "https://bank.example/_mock/mailbox?leave&raw&type=camt.053", KEPT, 1),
        ] {
            let AccountsStep::Send(send) = Camt053::accounts(&ask, "", &[]) else { panic!() };
            assert_eq!(urls(&send.requests), [url]);
            let AccountsStep::Done(listed) = Camt053::accounts(&ask, "", &[reply(200, body.as_bytes(), "")])
            else {
                panic!()
            };
            assert_eq!(listed.len(), count);
        }
    }

    #[test]
    fn a_file_that_breaks_off_or_has_no_name_fails_the_step() {
        let half = &STATEMENT.as_bytes()[..STATEMENT.len() / 2];
        let fails = |field: &str| ReadStep::Fail(Failure::unreadable(None, field));
        assert_eq!(read(&known(), &BOTH, reply(200, half, "st-000001")), fails("xml"));
        assert_eq!(read(&known(), &BOTH, reply(200, STATEMENT.as_bytes(), "")), fails("x-statement-id"));
        let page = b"<!DOCTYPE html>\n<html lang=en><p>We are improving our service.";
        assert_eq!(read(&known(), &BOTH, reply(200, page, "")), fails("xml"));
        assert_eq!(read(&known(), &BOTH, reply(401, b"", "")), ReadStep::Fail(Failure::CredentialsRejected));
    }
}
