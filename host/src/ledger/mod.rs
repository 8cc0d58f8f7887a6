//! What did the bank change since we last looked? Pure: no I/O, no clock, no async.
//!
//! A bank's id is a claim, identical twins are real, and absence is evidence only inside a window that the connector
//! read to its end. [`reconcile`] compares what we hold with what was seen, in this order:
//!
//! 1. **A statement's own balances** ([`proof`]): opening + rows = closing, or it is incomplete.
//! 2. **Are ids still ids?** ([`trust`]) Ids that contradict themselves name nothing any more, in this account and from
//!    now on: two rows under one id; an id that goes to a row of another amount and day, or moves on while its own row
//!    stands under another one.
//! 3. **Rows that stand there twice** ([`repeats`]): with an id, or with the same balance after them, they are one row;
//!    without, they are twins until the balance says otherwise.
//! 4. **Which row became which** ([`matching`]), one to one, each rule only on what the earlier ones left:
//!    a. equal to the letter;
//!    b. equal id, unless that id has moved on to another known row or another business;
//!    c. the row says which pending row it replaces;
//!    d. equal contents: to the letter before alike, the same running balance before another, the n-th twin with the
//!    n-th, the one that was missing before as the one that is missing now;
//!    e. equal amount and running balance, described alike: the same row in other words;
//!    f. equal contents under another id at the edge of the window, if ids changed elsewhere too;
//!    g. equal amount, near in time: blocks of up to 64 × 64 rows are solved exactly ([`assign`]), larger ones in the
//!    order of dates; what could be otherwise is marked as ambiguous;
//!    h. pending → booked with another amount (a tip, a fuel hold), only when it can be no other; else both stand, and
//!    a link says how likely they are one.
//! 5. **Signs** ([`signs`]): a list in which more rows came back with the opposite sign than with their own is
//!    refused, unless balances say that it is the right one.
//! 6. **What is left** ([`look`], [`decide`]): new rows were added. Old ones were removed if the bank says so, or if
//!    they lie inside a complete reading and the balance proves it, or if they were missing twice. When the balance
//!    proves that missing rows still count, the statement is incomplete and nothing may be stored; so is one in which
//!    most rows are missing while no balance speaks.
//! 7. **The booked balance is the judge of the whole** ([`proof`]), and of what the rows leave open ([`jury`]): the
//!    fewest changes that explain it, first as if missing rows were described anew, then none gone, all gone, some
//!    gone, twins counted otherwise. Two explanations are none, and rows that wait since
//!    an earlier look may be one. A balance that nothing explained decides at the next look only by what it moved since,
//!    and nothing of twins: so the same look again adds nothing. One that agrees whether missing rows are gone or not,
//!    or that agreed before while they were missing, says nothing of them.
//!
//! The same rows give the same result in any order and on any pages, and the same look again changes nothing.
//!
//! Time and memory grow linearly with the rows: rules look rows up by hash, and only rows of one day are sorted. What
//! could grow faster is bounded: blocks ([`assign::SIDE_MAX`]), pairs of other amounts ([`amounts::PAIRS_MAX`]),
//! combinations that are weighed, rows that may be described anew. A look that shows just what the last one did is
//! known by its [`Index`] and not compared at all.
//!
//! Sources: assignment by Kuhn 1955 and Munkres 1957, its second solutions by alternating cycles; the rules are what
//! import tools learned (Actual, Sure, Kresus, hledger: ids first, then amount and day, one to one), turned strict
//! where they guess; opening + sum = closing is the statement check of MT940 and camt.053.
//!
//! Must not know: where rows come from or go to.

mod amounts;
mod assign;
mod counted;
mod decide;
mod identity;
mod index;
mod jury;
mod look;
mod matching;
mod proof;
mod repeats;
mod signs;
mod trust;

pub use index::Index;
pub use proof::booked_balance;

use crate::model::*;
use chrono::NaiveDate;
use identity::{Ids, Row};
use look::{Look, oldest_pending};
use matching::Sides;

/// In how many complete readings in a row a row must be missing before it counts as removed without
/// a balance that proves it.
pub const MISSES_BEFORE_REMOVAL: i16 = 2;
/// Days after which a pending row is given up that a bank never lists to the end: card payments are booked or
/// dropped within two weeks, hotels and cars within a month.
pub const PENDING_EXPIRES_DAYS: i64 = 35;
/// So many missing rows, more than half of those that are held: without a balance that is a list cut short, not a
/// correction.
pub const SHRUNK_ROWS: usize = 4;

/// What one reading of an account showed, all pages together.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Rows of all pages.
    pub transactions: Vec<Transaction>,
    /// Ids the bank says are removed.
    pub removed: Vec<String>,
    /// Balances, read after the rows.
    pub balances: Vec<Balance>,
    /// What the reading proved it has seen.
    pub coverage: Option<Coverage>,
    /// The bank's day.
    pub today: Option<NaiveDate>,
    /// The reading reached as far back as the bank gives.
    pub is_all: bool,
    /// Nothing from before this day was ever read, nor all of it: such a row is old ground that the balance always counted, and
    /// not a late one.
    pub held_from: Option<NaiveDate>,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// In the order they get their `seq`: what was known by number, then what is new by date.
    pub changes: Vec<NewChange>,
    /// Rows (by number) whose stored copy becomes this one though there is nothing to tell: a new bank id, a new
    /// running balance.
    pub rekeyed: Vec<(i64, Transaction)>,
    /// Rows (by number) whose count of misses changes, and to what.
    pub missed: Vec<(i64, i16)>,
    /// Did the balance agree?
    pub proof: Proof,
    /// For the next look.
    pub standing: Standing,
}

/// The bank showed less than its own balance says there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// So many rows that we hold were not in the complete reading.
    #[error("{0} booked rows are missing although the balance still counts them")]
    Missing(usize),
    /// A statement's own balances say that rows are missing, or too many.
    #[error("the statement's opening balance and rows do not add up to its closing balance")]
    DoesNotAddUp,
    /// So many booked rows have the opposite sign at once: no bank turns them round for good.
    #[error("{0} booked rows have the opposite sign all at once")]
    SignsTurned(usize),
    /// There is no balance to judge by.
    #[error("{missing} of {of} booked rows are missing at once, and no balance says that they are gone")]
    Shrunk {
        /// So many.
        missing: usize,
        /// Of so many that should have been shown.
        of: usize,
    },
}

/// Compares what we hold with what was seen.
///
/// `known`: all pending rows, and the booked rows of at least the covered window. `allow_incomplete`: a statement
/// that shows too little is taken as far as it goes; rows that its balance still counts stay.
pub fn reconcile(
    known: &[StoredTransaction],
    standing: &Standing,
    observed: &Observed,
    allow_incomplete: bool,
) -> Result<Verdict, Incomplete> {
    let adds_up = proof::adds_up(observed);
    if adds_up == Some(false) && !allow_incomplete {
        return Err(Incomplete::DoesNotAddUp);
    }
    let old: Vec<Row<'_>> = known.iter().map(|row| Row::new(&row.transaction)).collect();
    let shown = identity::ordered(&observed.transactions);
    let ids = if standing.ids_demoted { Ids::Demoted } else { trust::judge(known, &old, &shown) };
    let reading = repeats::count(ids, &old, &shown);
    let covered: Vec<bool> = known
        .iter()
        .map(|row| observed.coverage.as_ref().is_some_and(|coverage| covers(coverage, &row.transaction)))
        .collect();
    let sides = Sides { ids, known, old: &old, new: &reading.rows, reading: &reading, covered: &covered };
    let matches = matching::match_rows(&sides);
    let mut look = Look::new(standing, observed);
    let mut absent = look.compare(&sides, &matches);
    look.take_new(&matches, &reading.rows);
    if !allow_incomplete {
        let turned = look.are_signs_right(&sides, &matches, &absent, standing)?;
        absent.retain(|place| !turned.contains(place));
    }
    let proof = look.weigh(&sides, &matches, &absent, &reading, standing, (adds_up, allow_incomplete))?;
    let mut verdict = look.verdict(ids, standing, proof);
    verdict.standing.pending_since = oldest_pending(known, &verdict.changes);
    Ok(verdict)
}

/// What a look came to that shows just what the last one did.
pub fn unchanged(standing: &Standing, observed: &Observed, proof: Proof) -> Verdict {
    let looked_on = observed.today.or(standing.looked_on);
    let in_doubt = standing.in_doubt && proof != Proof::Proved;
    let standing = Standing { looked_on, in_doubt, ..standing.clone() };
    Verdict { changes: Vec::new(), rekeyed: Vec::new(), missed: Vec::new(), proof, standing }
}

/// Would the reading have shown a row of that day; none for one that belongs to every day?
fn covers_day(coverage: &Coverage, day: Option<NaiveDate>) -> bool {
    day.is_none_or(|day| coverage.window.since < day && day <= coverage.window.until)
}

/// Would the reading have shown this row? The first day of a window is never evidence: whether a
/// bank's date filter includes it, and in which time zone, is its own affair. A pending row belongs to the days
/// after its own, on which it may be booked.
fn covers(coverage: &Coverage, row: &Transaction) -> bool {
    let in_window = match (row.status, row.booked_on) {
        (TransactionStatus::Booked, None) => false,
        (TransactionStatus::Booked, day) => covers_day(coverage, day),
        (TransactionStatus::Pending, day) => {
            day.or(row.valued_on).is_none_or(|day| coverage.window.since < day)
        }
    };
    coverage.complete && coverage.snapshot && coverage.statuses.contains(&row.status) && in_window
}

#[cfg(test)]
mod tests;
