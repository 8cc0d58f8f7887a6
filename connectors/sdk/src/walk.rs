//! Reading wanted accounts one after another, page by page.
//!
//! [`walk`] is `read` for a bank with a list of rows per account: it knows which account is being read
//! and what was asked last (kept in memory as a type of the connector's own), and hands each reply to
//! the connector with a page to fill.
//!
//! ```
//! # use tidegate_sdk::*;
//! # use tidegate_sdk::walk::{Next, walk};
//! fn read(wants: &[Want], memory: &str, replies: &[Reply]) -> Result<More, Stop> {
//!     let page = |account: &str, number: u32| {
//!         let url = format!("https://bank.example/rows/{number}");
//!         Some((Request::get(url).segment(account), number))
//!     };
//!     walk(wants, memory, replies, |want| Ok(page(&want.account, 1)), |want, number, reply, into| {
//!         let rows: Vec<String> = reply.json()?;
//!         let row = |amount| Transaction::new(Status::Booked, amount, "EUR", "");
//!         into.transactions.extend(rows.into_iter().map(row));
//!         Ok(if number < 3 { page(&want.account, number + 1) } else { None })
//!     })
//! }
//! ```
//!
//! [`paged`] is the walk of most banks: pages of transactions linked to each other, then balances.

use crate::paging::Pages;
use crate::{Failure, More, Page, Reply, Request, Send, Stop, Want, Window, memory};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What to ask next of the account at hand, and what to remember of it; none when it is read.
pub type Next<A> = Option<(Request, A)>;

/// Where the reading stands.
#[derive(Serialize, Deserialize)]
struct Place<A> {
    want: usize,
    asked: A,
}

/// Reads the wanted accounts in order.
///
/// `first` says what to ask of an account; `read` fills the page from a reply and says what to ask
/// next. What is asked is remembered as it was when the request was made.
pub fn walk<A: Serialize + DeserializeOwned>(
    wants: &[Want],
    memory: &str,
    replies: &[Reply],
    first: impl Fn(&Want) -> Result<Next<A>, Failure>,
    read: impl FnOnce(&Want, A, &Reply, &mut Page) -> Result<Next<A>, Failure>,
) -> Result<More, Stop> {
    let begin = |from: usize| -> Result<Option<Send>, Failure> {
        for (number, want) in wants.iter().enumerate().skip(from) {
            if (want.transactions.is_some() || want.balances)
                && let Some(next) = first(want)?
            {
                return send(number, next).map(Some);
            }
        }
        Ok(None)
    };
    if memory.is_empty() {
        return match begin(0)? {
            Some(send) => Err(Stop::Send(send)),
            None => Ok(More::of(Vec::new(), None)),
        };
    }
    let bad_memory = || Failure::unreadable(None, "memory");
    let place: Place<A> = serde_json::from_str(memory).map_err(|_| bad_memory())?;
    let want = wants.get(place.want).ok_or_else(bad_memory)?;
    let [reply] = replies else {
        return Err(Failure::unreadable(None, "replies").into());
    };
    let mut page = Page::of(&want.account);
    let next = match read(want, place.asked, reply, &mut page)? {
        Some(next) => Some(send(place.want, next)?),
        None => begin(place.want + 1)?,
    };
    Ok(More::of(vec![page], next))
}

/// A bank whose transactions come in pages, each with a link to the next, and whose balances are asked for on
/// their own.
///
/// ```
/// # use tidegate_sdk::*;
/// # use tidegate_sdk::{json::{Listed, Object, each}, walk::{Paged, paged}};
/// struct Bank;
/// impl Paged for Bank {
///     const NEXT: &'static str = "links.next";
///     fn get(&self, url: &str) -> Request {
///         Request::get(url).bearer("access-token")
///     }
///     fn transactions(&self, account: &str, window: &Window) -> Result<String, Failure> {
///         Ok(format!("https://bank.example/{account}/rows?since={}", window.since))
///     }
///     fn balances(&self, account: &str) -> Result<String, Failure> {
///         Ok(format!("https://bank.example/{account}/balance"))
///     }
///     fn read_transactions(&self, _: &Window, reply: &Reply, into: &mut Page) -> Result<Option<String>, Failure> {
///         let listed: Listed<Object> = Listed::read(&reply.body, "rows")?;
///         let next = listed.said("links", "next")?;
///         let row = |row: &Object| Ok(Some(Transaction::new(Status::Booked, row.signed("sum")?, "EUR", "")));
///         into.transactions = each(&listed.rows.unwrap_or_default(), row)?;
///         Ok(next)
///     }
///     fn read_balances(&self, _: &Reply, _: &mut Page) -> Result<(), Failure> {
///         Ok(())
///     }
/// }
/// fn read(wants: &[Want], memory: &str, replies: &[Reply]) -> Result<More, Stop> {
///     paged(&Bank, wants, memory, replies)
/// }
/// ```
pub trait Paged {
    /// Where a page has its link to the next, for a failure.
    const NEXT: &'static str;

    /// The request for one of the addresses.
    fn get(&self, url: &str) -> Request;
    /// The address of an account's first page.
    fn transactions(&self, account: &str, window: &Window) -> Result<String, Failure>;
    /// The address of an account's balances.
    fn balances(&self, account: &str) -> Result<String, Failure>;
    /// Fills the page and gives the link to the next; on the last one, says what was covered.
    fn read_transactions(
        &self,
        window: &Window,
        reply: &Reply,
        into: &mut Page,
    ) -> Result<Option<String>, Failure>;
    /// Fills the page with balances.
    fn read_balances(&self, reply: &Reply, into: &mut Page) -> Result<(), Failure>;
}

/// What was asked last.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Asked {
    Transactions { url: String, pages: Pages },
    Balances,
}

/// Reads the wanted accounts in order: transactions page by page, then balances.
pub fn paged<B: Paged>(bank: &B, wants: &[Want], memory: &str, replies: &[Reply]) -> Result<More, Stop> {
    let rows = |url: String, pages| Some((bank.get(&url), Asked::Transactions { url, pages }));
    let balances = |want: &Want| {
        let url = bank.balances(&want.account)?;
        Ok(Some((bank.get(&url), Asked::Balances)))
    };
    let first = |want: &Want| match &want.transactions {
        Some(window) => Ok(rows(bank.transactions(&want.account, window)?, Pages::default())),
        None => balances(want),
    };
    walk(wants, memory, replies, first, |want, asked, reply, into| match (asked, &want.transactions) {
        (Asked::Transactions { url, mut pages }, Some(window)) => {
            match bank.read_transactions(window, reply, into)? {
                Some(link) => Ok(rows(pages.follow(&url, &link, B::NEXT)?, pages)),
                None if want.balances => balances(want),
                None => Ok(None),
            }
        }
        (Asked::Transactions { .. }, None) => Err(Failure::unreadable(None, "memory")),
        (Asked::Balances, _) => bank.read_balances(reply, into).map(|()| None),
    })
}

fn send<A: Serialize>(want: usize, (request, asked): (Request, A)) -> Result<Send, Failure> {
    Ok(Send { requests: vec![request], memory: memory::save(&Place { want, asked })? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn want(account: &str, balances: bool) -> Want {
        Want { account: account.into(), transactions: None, balances, state: None }
    }

    /// Two pages of each account; the number of the page is what is remembered.
    fn step(wants: &[Want], memory: &str, replies: &[Reply]) -> Result<More, Stop> {
        let ask = |want: &Want, page: u32| (Request::get(format!("{}/{page}", want.account)), page);
        walk(
            wants,
            memory,
            replies,
            |want| Ok((want.account != "closed").then(|| ask(want, 1))),
            |want, page, reply, into| {
                into.removed.push(String::from_utf8_lossy(&reply.body).into_owned());
                Ok((page < 2).then(|| ask(want, page + 1)))
            },
        )
    }

    fn reply(body: &str) -> Reply {
        Reply { status: 200, headers: vec![], body: body.as_bytes().to_vec(), captured: vec![] }
    }

    #[test]
    fn accounts_are_read_in_order_each_to_its_end() {
        let wants = [want("unwanted", false), want("a", true), want("closed", true), want("b", true)];
        let Err(Stop::Send(mut send)) = step(&wants, "", &[]) else { panic!() };
        let mut seen = Vec::new();
        loop {
            let url = send.requests[0].url_text();
            let more = step(&wants, &send.memory, &[reply("x")]).unwrap();
            seen.push((url, more.pages[0].account.clone()));
            match more.next {
                Some(next) => send = next,
                None => break,
            }
        }
        let expected = [("a/1", "a"), ("a/2", "a"), ("b/1", "b"), ("b/2", "b")];
        assert_eq!(seen, expected.map(|(url, account)| (url.to_owned(), account.to_owned())));
        assert_eq!(step(&wants[..1], "", &[]), Ok(More::of(vec![], None)));
    }

    #[test]
    fn memory_or_replies_that_do_not_fit_are_refused() {
        let wants = [want("a", true)];
        let Err(Stop::Send(send)) = step(&wants, "", &[]) else { panic!() };
        let fails = |field: &str| Err(Stop::Fail(Failure::unreadable(None, field)));
        assert_eq!(step(&wants, "nonsense", &[reply("x")]), fails("memory"));
        assert_eq!(step(&[], &send.memory, &[reply("x")]), fails("memory"));
        assert_eq!(step(&wants, &send.memory, &[]), fails("replies"));
    }
}
