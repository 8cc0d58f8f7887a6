//! What did the bank change since we last looked? Pure: no I/O, no clock, no async.
//!
//! A bank's id is a claim, identical twins are real, and absence is evidence only inside a window
//! that the connector read to its end. [`reconcile`] compares what we hold with what was seen:
//!
//! 1. Ids that contradict themselves name nothing any more, in this account and from now on ([`trust`]).
//! 2. Rows that stand in the reading more than once are counted ([`repeats`]).
//! 3. Rows are matched one to one, each rule only on what the earlier ones left ([`matching`]):
//!    a. equal bank id;
//!    b. the row says which pending row it replaces;
//!    c. equal contents, with the running balance where there is one, the n-th of several twins with the n-th;
//!    d. equal amount, near in time: blocks of up to 64 × 64 rows are solved exactly ([`assign`]), larger ones
//!    in the order of dates; what could be otherwise is marked as ambiguous;
//!    e. pending → booked with another amount (a tip, a fuel hold), only when it can be no other; else both
//!    stand, and a link says how likely they are one.
//! 4. What is left of the new rows was added. What is left of the old ones was removed if the bank says so, or
//!    if it lies inside a complete reading and the balance proves it, or if it was missing twice. When the
//!    balance proves that missing rows still count, the statement is incomplete and nothing may be stored.
//! 5. The booked balance is the judge of the whole ([`proof`]), and of what the rows leave open.
//!
//! The same rows give the same result in any order and on any pages. Time and memory grow linearly with the
//! rows, but for blocks, which are bounded.
//!
//! Must not know: where rows come from or go to.

mod assign;
mod identity;
mod index;
mod matching;
mod proof;
mod repeats;
mod trust;

pub use index::Index;
pub use proof::booked_balance;

use crate::model::*;
use chrono::NaiveDate;
use identity::{Ids, Row};
use matching::{Matches, Sides};
use std::collections::{BTreeMap, BTreeSet};

/// In how many complete readings in a row a row must be missing before it counts as removed without
/// a balance that proves it.
pub const MISSES_BEFORE_REMOVAL: i16 = 2;
/// Days after which a pending row is given up that a bank never lists to the end: card payments are booked or
/// dropped within two weeks, hotels and cars within a month.
pub const PENDING_EXPIRES_DAYS: i64 = 35;
/// So many missing rows, more than half of those that are held: without a balance that is a list cut short, not a
/// correction.
pub const SHRUNK_ROWS: usize = 4;

/// So many rows with the opposite sign, and most of what is shown, are no corrections.
pub const TURNED_ROWS: usize = 3;

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
    let mut shown: Vec<&Transaction> = observed.transactions.iter().collect();
    shown.sort_by(|a, b| identity::order(a).cmp(&identity::order(b)));
    let ids = if standing.ids_demoted { Ids::Demoted } else { trust::judge(known, &old, &shown) };
    let reading = repeats::count(ids, &old, &shown);
    let covered: Vec<bool> = known
        .iter()
        .map(|row| observed.coverage.as_ref().is_some_and(|coverage| covers(coverage, &row.transaction)))
        .collect();
    let sides =
        Sides { ids, known, old: &old, new: &reading.rows, covered: &covered, rotated: standing.ids_rotated };
    let matches = matching::match_rows(&sides);
    let mut look = Look {
        observed,
        unit: standing.expected.or(booked_balance(&observed.balances)),
        changes: Vec::new(),
        rekeyed: Vec::new(),
        missed: Vec::new(),
        added: Vec::new(),
        moved: 0,
        difference: None,
    };
    let absent = look.compare(&sides, &matches);
    look.take_new(&matches, &reading.rows);
    if !allow_incomplete {
        look.are_signs_right(&sides, &absent)?;
    }
    let proof = look.weigh(&sides, &matches, &absent, &reading, standing, (adds_up, allow_incomplete))?;
    let mut verdict = look.verdict((ids, matches.rotated), standing, proof);
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

/// One look, being judged.
struct Look<'a> {
    observed: &'a Observed,
    /// The currency of the proof.
    unit: Option<Money>,
    changes: Vec<NewChange>,
    rekeyed: Vec<(i64, Transaction)>,
    missed: Vec<(i64, i16)>,
    added: Vec<(&'a Transaction, Vec<Link>)>,
    /// By how much all changes together move the booked balance.
    moved: i128,
    /// What nothing explains of the bank's balance, before anything is removed that was missing twice.
    difference: Option<i64>,
}

impl<'a> Look<'a> {
    fn weight(&self, row: &Transaction) -> i128 {
        self.unit.map_or(0, |unit| proof::weight(row, unit))
    }

    fn remove(&mut self, row: &StoredTransaction, reason: ChangeReason) {
        self.moved -= self.weight(&row.transaction);
        let before = row.transaction.clone();
        self.changes.push(NewChange::Removed { number: row.id.number, before, reason });
    }

    /// What became of the known rows; those that are missing from a complete reading, by their place.
    fn compare(&mut self, sides: &Sides<'_>, matches: &Matches) -> Vec<usize> {
        let removed: BTreeSet<&str> = self.observed.removed.iter().map(String::as_str).collect();
        let mut absent = Vec::new();
        for (place, row) in sides.known.iter().enumerate() {
            let before = &row.transaction;
            let partner = matches.partner.get(place).copied().flatten();
            match partner.and_then(|partner| sides.new.get(partner)) {
                Some(after) => {
                    if row.missed > 0 {
                        self.missed.push((row.id.number, 0));
                    }
                    let ambiguous = matches.ambiguous.get(place).copied().unwrap_or(false);
                    self.partner(sides.ids, row, after.of, ambiguous);
                }
                None if before.bank_id.as_deref().is_some_and(|id| removed.contains(id))
                    && (!matches.rotated || sides.covered.get(place) == Some(&true)) =>
                {
                    self.remove(row, ChangeReason::RemovedByBank)
                }
                None if sides.covered.get(place) == Some(&true) => absent.push(place),
                None if self.is_given_up(row) => self.remove(row, ChangeReason::Expired),
                None => {}
            }
        }
        absent
    }

    fn partner(&mut self, ids: Ids, row: &StoredTransaction, after: &Transaction, ambiguous: bool) {
        let (number, before) = (row.id.number, &row.transaction);
        if identity::differs(before, after) {
            let reason = match (before.status, after.status) {
                (TransactionStatus::Pending, TransactionStatus::Booked) => ChangeReason::Booked,
                _ => ChangeReason::Amended,
            };
            self.moved += self.weight(after) - self.weight(before);
            let (before, after) = (before.clone(), after.clone());
            self.changes.push(NewChange::Modified { number, before, after, reason, ambiguous });
        } else if identity::is_stale(ids, before, after) {
            self.rekeyed.push((number, after.clone()));
        }
    }

    /// A pending row of a bank that lists no pending rows to the end.
    fn is_given_up(&self, row: &StoredTransaction) -> bool {
        let seen = row.first_seen_at.utc().date_naive();
        let latest =
            row.transaction.booked_on.or(row.transaction.valued_on).map_or(seen, |day| day.max(seen));
        row.transaction.status == TransactionStatus::Pending
            && self.observed.today.is_some_and(|today| (today - latest).num_days() > PENDING_EXPIRES_DAYS)
    }

    fn take_new(&mut self, matches: &Matches, rows: &[Row<'a>]) {
        for (place, (row, taken)) in rows.iter().zip(&matches.taken).enumerate() {
            if !taken {
                self.take(row.of, matches.links.get(&place).cloned().unwrap_or_default());
            }
        }
    }

    fn take(&mut self, row: &'a Transaction, links: Vec<Link>) {
        if !self.is_old_ground(row) {
            self.moved += self.weight(row);
        }
        self.added.push((row, links));
    }

    /// From before anything that was ever read: the balance counted it all along.
    fn is_old_ground(&self, row: &Transaction) -> bool {
        self.observed.held_from.zip(row.booked_on).is_some_and(|(from, day)| day <= from)
    }

    /// Debits that are listed as credits, or the other way round: most booked rows at once, with or without ids.
    fn are_signs_right(&self, sides: &Sides<'_>, absent: &[usize]) -> Result<(), Incomplete> {
        let is_booked = |row: &Transaction| row.status == TransactionStatus::Booked && row.money.minor != 0;
        let turned = |change: &&NewChange| match change {
            NewChange::Modified { before, after, .. } => {
                is_booked(before) && before.money.minor.checked_neg() == Some(after.money.minor)
            }
            _ => false,
        };
        let mut opposite: BTreeMap<(Option<NaiveDate>, i64, &str), usize> = BTreeMap::new();
        for (row, _) in self.added.iter().filter(|(row, _)| is_booked(row)) {
            *opposite.entry((row.booked_on, row.money.minor, &row.text)).or_default() += 1;
        }
        let taken = absent.iter().filter_map(|place| sides.known.get(*place)).filter(|row| {
            let row = &row.transaction;
            let key = (row.booked_on, row.money.minor.checked_neg().unwrap_or(0), row.text.as_str());
            let left = opposite.get_mut(&key).filter(|left| **left > 0 && is_booked(row));
            left.map(|left| *left -= 1).is_some()
        });
        let turned = taken.count() + self.changes.iter().filter(turned).count();
        let covered = sides
            .known
            .iter()
            .zip(sides.covered)
            .filter(|(row, covered)| **covered && is_booked(&row.transaction));
        if turned >= TURNED_ROWS && turned * 2 > covered.count() {
            return Err(Incomplete::SignsTurned(turned));
        }
        Ok(())
    }

    /// Lets the balance decide what the rows leave open.
    fn weigh(
        &mut self,
        sides: &Sides<'_>,
        matches: &Matches,
        absent: &[usize],
        reading: &repeats::Reading<'a>,
        standing: &Standing,
        (adds_up, allow_incomplete): (Option<bool>, bool),
    ) -> Result<Proof, Incomplete> {
        let known = |place: &usize| sides.known.get(*place);
        let is_booked = |row: &&StoredTransaction| row.transaction.status == TransactionStatus::Booked;
        let booked: Vec<&StoredTransaction> = absent.iter().filter_map(known).filter(is_booked).collect();
        let now = {
            let gone: BTreeSet<i64> = self.changes.iter().filter_map(removed_number).collect();
            let mut now: Vec<&Transaction> = Vec::new();
            for (place, row) in sides.known.iter().enumerate() {
                let partner = matches.partner.get(place).copied().flatten();
                match partner.and_then(|partner| sides.new.get(partner)) {
                    Some(new) => now.push(new.of),
                    None if gone.contains(&row.id.number) => {}
                    None => now.push(&row.transaction),
                }
            }
            now.extend(self.added.iter().map(|(row, _)| *row));
            now
        };
        let scale = proof::scale(standing.expected, self.observed, self.moved, now.into_iter());
        let before = self.moved;
        let open = open_doubts(matches, reading);
        // At the first look nothing told twins from one row on two pages: rows that are shown once less than they
        // are held may be one, if that explains everything.
        let twins = twins_shown(sides, matches);
        let was_one = |row: &&&StoredTransaction| {
            row.id.number <= standing.first_rows && twins.contains(&Row::new(&row.transaction).content())
        };
        let mut repeats: BTreeSet<i64> = booked.iter().filter(was_one).map(|row| row.id.number).collect();
        let rest: Vec<_> = booked.iter().copied().filter(|row| !repeats.contains(&row.id.number)).collect();
        let weigh = |rows: &[&StoredTransaction]| {
            scale.as_ref().and_then(|scale| scale.weigh(rows, &open, standing.in_doubt))
        };
        let explains = |weighed: &proof::Weighed| !weighed.unclear && weighed.gone.iter().all(|gone| *gone);
        let without = weigh(&rest).filter(|weighed| !repeats.is_empty() && explains(weighed));
        let (booked, weighed) = match without {
            Some(weighed) => (rest, Some(weighed)),
            None => {
                repeats.clear();
                let weighed = weigh(&booked);
                (booked, weighed)
            }
        };
        let total: i128 = booked.iter().map(|row| self.weight(&row.transaction)).sum();
        let mut decided = BTreeSet::new();
        if let Some(weighed) = &weighed {
            let (gone, still): (Vec<_>, Vec<_>) =
                booked.iter().zip(&weighed.gone).partition(|(_, gone)| **gone);
            let speaks = !gone.is_empty() || total != 0;
            if speaks && !still.is_empty() && !allow_incomplete {
                return Err(Incomplete::Missing(if weighed.unclear { 1 } else { still.len() }));
            }
            if speaks {
                decided.extend(booked.iter().map(|row| row.id.number));
            }
            for (row, _) in gone {
                self.remove_or_amend(sides.ids, row);
            }
            for (open, otherwise) in open.iter().zip(&weighed.otherwise) {
                self.count_otherwise(open, *otherwise);
            }
        } else if adds_up.is_none() && !allow_incomplete {
            self.is_not_shrunk(sides, booked.iter().filter(|row| row.missed == 0).count())?;
        }
        self.difference = scale.as_ref().filter(|_| weighed.is_none()).map(proof::Scale::difference);
        for row in absent.iter().filter_map(known).filter(|row| !decided.contains(&row.id.number)) {
            let misses = row.missed.saturating_add(1);
            if repeats.contains(&row.id.number) && misses >= MISSES_BEFORE_REMOVAL {
                self.moved += self.weight(&row.transaction); // the anchor never counted it
            }
            match (misses >= MISSES_BEFORE_REMOVAL, row.transaction.status) {
                (true, TransactionStatus::Booked) => self.remove(row, ChangeReason::AbsentTwice),
                (true, TransactionStatus::Pending) => self.remove(row, ChangeReason::NeverBooked),
                (false, status) => {
                    if status == TransactionStatus::Booked {
                        self.difference = None; // it may be the missing row's
                    }
                    self.missed.push((row.id.number, misses));
                }
            }
        }
        Ok(match adds_up {
            Some(true) => Proof::Proved,
            _ => proof::word(scale.as_ref(), self.moved - before),
        })
    }

    /// The balance counts a row no longer: another of its amount that is described alike has come in its place, or
    /// it is gone.
    fn remove_or_amend(&mut self, ids: Ids, row: &StoredTransaction) {
        let old = Row::new(&row.transaction);
        let fits = |new: &Transaction| !ids.part(old.of, new) && matching::is_amended(&old, &Row::new(new));
        let days = |new: &Transaction| {
            new.booked_on.zip(old.of.booked_on).map(|(new, old)| (new - old).num_days().abs())
        };
        let places = self.added.iter().enumerate().filter(|(_, (new, _))| fits(new));
        let nearest = places.min_by(|(_, (a, _)), (_, (b, _))| {
            days(a).cmp(&days(b)).then_with(|| identity::order(a).cmp(&identity::order(b)))
        });
        match nearest.map(|(place, _)| place) {
            Some(place) => {
                let (after, _) = self.added.remove(place);
                self.moved -= self.weight(&row.transaction);
                let before = row.transaction.clone();
                self.changes.push(NewChange::amended(row.id.number, before, after.clone()));
            }
            None => self.remove(row, ChangeReason::ProvedAbsent),
        }
    }

    /// The difference of the last look at all that the bank shows, again, and nothing to explain it.
    fn stands(&self, before: &Standing) -> bool {
        self.observed.is_all && self.difference.is_some() && self.difference == before.unexplained
    }

    fn count_otherwise(&mut self, open: &proof::Open<'a>, otherwise: i64) {
        for _ in otherwise..0 {
            if let Some(place) = self.added.iter().position(|(row, _)| *row == open.row) {
                let (row, _) = self.added.swap_remove(place);
                self.moved -= self.weight(row);
            }
        }
        for _ in 0..otherwise {
            self.take(open.row, Vec::new());
        }
    }

    /// Without a balance, most of the rows missing at once, and fewer shown than are held, are a list that was cut
    /// short. What was missing before is on its way out.
    fn is_not_shrunk(&self, sides: &Sides<'_>, missing: usize) -> Result<(), Incomplete> {
        let booked = sides.known.iter().zip(sides.covered).filter(|(row, covered)| {
            **covered && row.missed == 0 && row.transaction.status == TransactionStatus::Booked
        });
        let of = booked.count();
        let Some(coverage) = &self.observed.coverage else { return Ok(()) };
        let shown = sides
            .new
            .iter()
            .filter(|row| row.of.status == TransactionStatus::Booked && covers(coverage, row.of));
        if missing >= SHRUNK_ROWS && missing * 2 > of && shown.count() < of {
            return Err(Incomplete::Shrunk { missing, of });
        }
        Ok(())
    }

    fn verdict(mut self, (ids, ids_rotated): (Ids, bool), before: &Standing, proof: Proof) -> Verdict {
        let mut standing = Standing { ids_demoted: ids == Ids::Demoted, ids_rotated, ..before.clone() };
        let rows = self.added.iter().map(|(row, _)| *row);
        if before.expected.is_none() && self.unit.is_some() {
            standing.first_rows = i64::try_from(self.added.len()).unwrap_or(i64::MAX);
        }
        standing.expected = proof::anchored(before.expected, self.observed, self.moved, rows);
        standing.in_doubt = match proof {
            Proof::Contradicted => true,
            Proof::Proved => false,
            // The first balance may count what the first look did not show: the next one confirms it.
            Proof::Unproved => before.in_doubt || (before.expected.is_none() && standing.expected.is_some()),
        };
        match proof {
            Proof::Contradicted if self.stands(before) => {
                // It lies outside of what the bank shows, and from now on the proof starts anew.
                standing.expected = booked_balance(&self.observed.balances);
                standing.in_doubt = false;
                standing.unexplained = None;
            }
            Proof::Contradicted if self.observed.is_all => standing.unexplained = self.difference,
            Proof::Proved => standing.unexplained = None,
            _ => {}
        }
        for (row, _) in self.added.iter().filter(|(row, _)| !self.is_old_ground(row)) {
            let booked = row.booked_on.filter(|_| row.status == TransactionStatus::Booked);
            if let Some((booked, looked)) = booked.zip(before.looked_on) {
                standing.lateness.count(u32::try_from((looked - booked).num_days()).unwrap_or(0));
            }
        }
        standing.looked_on = self.observed.today.or(before.looked_on);
        if self.observed.is_all {
            standing.all_looked_on = self.observed.today.or(before.all_looked_on);
        }
        self.added.sort_by(|(a, _), (b, _)| identity::order(a).cmp(&identity::order(b)));
        self.changes.sort_by_key(|change| match change {
            NewChange::Modified { number, .. } | NewChange::Removed { number, .. } => *number,
            NewChange::Added { .. } => i64::MAX,
        });
        let added =
            self.added.into_iter().map(|(after, links)| NewChange::Added { after: after.clone(), links });
        self.changes.extend(added);
        self.missed.sort_unstable();
        Verdict { changes: self.changes, rekeyed: self.rekeyed, missed: self.missed, proof, standing }
    }
}

/// The day of the oldest pending row that is left.
fn oldest_pending(known: &[StoredTransaction], changes: &[NewChange]) -> Option<NaiveDate> {
    let changed: BTreeSet<i64> = changes.iter().filter_map(changed_number).collect();
    let held = known.iter().filter(|row| !changed.contains(&row.id.number)).map(|row| &row.transaction);
    let new = changes.iter().filter_map(|change| match change {
        NewChange::Added { after, .. } | NewChange::Modified { after, .. } => Some(after),
        NewChange::Removed { .. } => None,
    });
    let pending = held.chain(new).filter(|row| row.status == TransactionStatus::Pending);
    pending.filter_map(|row| row.booked_on.or(row.valued_on)).min()
}

fn changed_number(change: &NewChange) -> Option<i64> {
    match change {
        NewChange::Modified { number, .. } | NewChange::Removed { number, .. } => Some(*number),
        NewChange::Added { .. } => None,
    }
}

fn removed_number(change: &NewChange) -> Option<i64> {
    match change {
        NewChange::Removed { number, .. } => Some(*number),
        _ => None,
    }
}

/// The contents of the known rows without a name that were shown.
fn twins_shown<'a>(sides: &'a Sides<'a>, matches: &Matches) -> BTreeSet<identity::Content<'a>> {
    let rows = sides.old.iter().zip(&matches.partner);
    let shown = rows.filter(|(row, partner)| partner.is_some() && sides.ids.of(row.of).is_none());
    shown.map(|(row, _)| row.content()).collect()
}

/// The doubts that matter: equal rows of which some are new, and rows that may be other ones than those at the edge.
fn open_doubts<'a>(matches: &Matches, reading: &repeats::Reading<'a>) -> Vec<proof::Open<'a>> {
    let open = |doubt: &repeats::Doubt| {
        let first = doubt.places.first()?;
        let row = reading.rows.get(*first)?.of;
        let is_new = |place: &&usize| matches.taken.get(**place) == Some(&false);
        let new = doubt.places.iter().filter(is_new).count();
        let fewer = new.min(doubt.places.len() - doubt.held.clamp(1, doubt.places.len()));
        (fewer > 0 || doubt.left_out > 0).then_some(proof::Open { row, fewer, more: doubt.left_out })
    };
    let edge = matches.edge.iter().filter_map(|place| {
        let row = reading.rows.get(*place)?.of;
        (row.status == TransactionStatus::Booked).then_some(proof::Open { row, fewer: 0, more: 1 })
    });
    reading.doubts.iter().filter_map(open).chain(edge).collect()
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
