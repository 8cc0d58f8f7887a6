//! The wanted accounts: for each, pages of transactions, then its balances.

use crate::{balances, bank, transactions};
use tidegate_sdk::request::Field;
use tidegate_sdk::walk::{Paged, paged};
use tidegate_sdk::{Context, Failure, More, Page, Reply, Request, Stop, Want, Window, date};

/// Reads the next reply and says what to ask after it.
pub fn read(ask: &Context, wants: &[Want], memory: &str, replies: &[Reply]) -> Result<More, Stop> {
    paged(&Bank(ask), wants, memory, replies)
}

struct Bank<'a>(&'a Context);

impl Bank<'_> {
    fn of_account(&self, account: &str, what: &str) -> Result<Request, Failure> {
        Ok(Request::get(format!("{}/accounts", bank::api(self.0)?)).segment(account).segment(what))
    }
}

impl Paged for Bank<'_> {
    const NEXT: &'static str = "Links.Next";

    fn get(&self, url: &str) -> Request {
        bank::get(self.0, url)
    }

    /// From the first day on. An end is named only when it lies in the past: else rows announced for
    /// days to come would be left out. The zone changes nothing, since banks must ignore it, but without
    /// one it is no `date-time` of the specification, and a bank that checks requests refuses it.
    fn transactions(&self, account: &str, window: &Window) -> Result<String, Failure> {
        let since = format!("{}T00:00:00Z", window.since);
        let request = self.of_account(account, "transactions")?;
        let request = request.query("fromBookingDateTime", Field::Text(&since));
        let today = date::iso(self.0.now_ms);
        if date::civil(&today).is_none_or(|today| window.until.as_str() >= today) {
            return Ok(request.url_text());
        }
        let until = format!("{}T23:59:59Z", window.until);
        Ok(request.query("toBookingDateTime", Field::Text(&until)).url_text())
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
        bank::check_history(self.0, reply, &window.since)?;
        let read = transactions::parse(reply, &into.account)?;
        into.transactions = read.transactions;
        if read.next.is_none() {
            into.coverage = transactions::coverage(window, read.first_available.as_deref());
        }
        Ok(read.next)
    }

    fn read_balances(&self, reply: &Reply, into: &mut Page) -> Result<(), Failure> {
        bank::check(self.0, reply)?;
        into.balances = balances::parse(reply, &into.account)?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::OpenBankingUk;
    use crate::fixtures::*;
    use tidegate_sdk::{Connector, CoverageKind, RateLimited, ReadStep, Scope, Send, Status};

    const BASE: &str = "https://api.bank.example/open-banking/v3.1/aisp/accounts";

    fn step(wants: &[Want], memory: &str, replies: &[Reply]) -> ReadStep {
        OpenBankingUk::read(&context(), wants, memory, replies)
    }
    fn url(send: &Send) -> String {
        assert_eq!(send.requests.len(), 1);
        send.requests[0].url_text()
    }
    fn first(wants: &[Want]) -> Send {
        let ReadStep::Send(send) = step(wants, "", &[]) else { panic!() };
        send
    }
    fn pages(step: ReadStep) -> (Page, Option<Send>) {
        let ReadStep::Pages(mut more) = step else { panic!("{step:?}") };
        assert_eq!((more.pages.len(), more.after_commit.len()), (1, 0));
        (more.pages.remove(0), more.next)
    }

    #[test]
    fn an_account_is_read_page_by_page_and_its_balances_last() {
        let wants = [want("22289", true)];
        let send = first(&wants);
        assert_eq!(
            url(&send),
            format!("{BASE}/22289/transactions?fromBookingDateTime=2026-11-01T00%3A00%3A00Z")
        );

        let (page, next) = pages(step(&wants, &send.memory, &[reply(200, PAGE_1)]));
        assert_eq!((page.account.as_str(), page.transactions.len()), ("22289", 25));
        assert_eq!(page.coverage, None, "not at the end yet");
        let send = next.unwrap();
        assert_eq!(
            url(&send),
            format!("{BASE}/22289/transactions?fromBookingDateTime=2026-11-01T00%3A00%3A00Z&page=2")
        );

        let (page, next) = pages(step(&wants, &send.memory, &[reply(200, PAGE_2)]));
        assert_eq!(page.transactions.len(), 4, "the fifth was rejected: no money moved");
        let coverage = page.coverage.unwrap();
        assert_eq!((coverage.kind, coverage.complete), (CoverageKind::Snapshot, true));
        assert_eq!(coverage.window, Window { since: "2026-11-01".into(), until: "2026-11-20".into() });
        assert_eq!(coverage.statuses, [Status::Pending, Status::Booked]);
        let send = next.unwrap();
        assert_eq!(url(&send), format!("{BASE}/22289/balances"));

        let (page, next) = pages(step(&wants, &send.memory, &[reply(200, BALANCES)]));
        assert_eq!((page.transactions.len(), page.balances.len(), page.coverage), (0, 4, None));
        assert_eq!(next, None);
    }

    #[test]
    fn several_accounts_are_read_in_order() {
        let wants = [want("22289", false), want("31820", true)];
        let send = first(&wants);
        assert_eq!(url(&send), format!("{BASE}/22289/balances"), "no transactions wanted");
        let (page, next) = pages(step(&wants, &send.memory, &[reply(200, BALANCES)]));
        assert_eq!(page.account, "22289");
        assert!(url(&next.unwrap()).starts_with(&format!("{BASE}/31820/transactions?")));
        let mut nothing = want("1", false);
        nothing.balances = false;
        let ReadStep::Pages(more) = step(&[nothing], "", &[]) else { panic!() };
        assert_eq!((more.pages, more.next), (vec![], None));
    }

    #[test]
    fn an_account_id_cannot_leave_its_path_segment() {
        let send = first(&[want("../1?x=", false)]);
        assert_eq!(url(&send), format!("{BASE}/..%2F1%3Fx%3D/balances"));
    }

    #[test]
    fn a_window_that_ended_is_asked_with_its_end() {
        let mut old = want("22289", true);
        old.transactions = Some(Window { since: "2026-10-01".into(), until: "2026-10-31".into() });
        let asked = url(&first(&[old]));
        assert!(asked.ends_with("&toBookingDateTime=2026-10-31T23%3A59%3A59Z"), "{asked}");
    }

    #[test]
    fn empty_pages_are_complete_and_a_reply_without_data_is_not() {
        let wants = [want("22289", true)];
        let memory = first(&wants).memory;
        for (status, body) in
            [(204, &b""[..]), (200, br#"{"Data":{}}"#), (200, br#"{"Data":{"Transaction":[]}}"#)]
        {
            let (page, next) = pages(step(&wants, &memory, &[reply(status, body)]));
            assert_eq!(page.transactions, []);
            assert!(page.coverage.is_some_and(|coverage| coverage.complete));
            assert!(next.is_some(), "balances are still wanted");
        }
        // Reading these as "no rows" would remove every row we hold.
        for (body, field) in [(&b"{}"[..], "Data"), (b"", ""), (b"<html>", "")] {
            let failure = step(&wants, &memory, &[reply(200, body)]);
            assert_eq!(failure, ReadStep::Fail(Failure::unreadable(None, field)));
        }
    }

    #[test]
    fn links_that_lead_astray_or_in_circles_end_the_reading() {
        let wants = [want("22289", true)];
        let send = first(&wants);
        let link = |next: &str| format!(r#"{{"Data":{{}},"Links":{{"Self":"x","Next":"{next}"}}}}"#);
        let after = |next: &str| step(&wants, &send.memory, &[reply(200, link(next).as_bytes())]);
        let astray = ReadStep::Fail(Failure::unreadable(None, "Links.Next"));
        assert_eq!(after("https://evil.example/accounts/22289/transactions?page=2"), astray);
        assert_eq!(after("/open-banking/v3.1/aisp/accounts/31820/transactions?page=2"), astray);
        assert_eq!(after(&url(&send)), ReadStep::Fail(Failure::PagesChanged));
    }

    #[test]
    fn a_refusal_ends_the_reading() {
        let wants = [want("22289", true)];
        let memory = first(&wants).memory;
        let limited = RateLimited { retry_after_s: None, scope: Scope::Connection };
        for (status, body, expected) in [
            (401, &b""[..], Failure::SessionExpired),
            (403, ERROR_REAUTHENTICATE, Failure::ConsentExpired),
            (403, ERROR_WINDOW, Failure::WindowNotAvailable(None)),
            (429, b"", Failure::RateLimited(limited)),
            (503, b"", Failure::BankUnavailable(None)),
        ] {
            assert_eq!(step(&wants, &memory, &[reply(status, body)]), ReadStep::Fail(expected));
        }
    }

    #[test]
    fn memory_or_replies_that_do_not_fit_are_refused() {
        let wants = [want("22289", true)];
        let memory = first(&wants).memory;
        assert_eq!(step(&wants, "nonsense", &[]), ReadStep::Fail(Failure::unreadable(None, "memory")));
        assert_eq!(step(&[], &memory, &[]), ReadStep::Fail(Failure::unreadable(None, "memory")));
        assert_eq!(step(&wants, &memory, &[]), ReadStep::Fail(Failure::unreadable(None, "replies")));
    }

    #[test]
    fn a_reply_that_breaks_off_is_unreadable_at_its_row() {
        let wants = [want("22289", true)];
        let memory = first(&wants).memory;
        let half = &PAGE_1[..PAGE_1.len() / 2];
        let ReadStep::Fail(Failure::Unreadable(culprit)) = step(&wants, &memory, &[reply(200, half)]) else {
            panic!()
        };
        assert_eq!(culprit.row, Some(12));
    }
}
