//! Are the ledger's contents right, as far as that was knowable?
//!
//! The oracle sees the bank's truth and each answer that the ledger took, never the ledger's
//! reasoning. For each sort of row (equal [`Contents`]) it keeps from how many to how many copies may
//! be held. Held knowable, after an answer was taken:
//!
//! * **Shown is held.** Of a sort that was shown, at least as many as truly different entries were
//!   shown, less those that nobody could tell from a repetition (one id, or one running balance). At
//!   most as many as were shown, less those copies that an id shows to be one row twice while ids are
//!   to be believed.
//! * **Absence is evidence only where it was looked for**: complete, a snapshot, that status, and for
//!   a booked row after the first day and up to the last one. Elsewhere what was held still stands.
//! * **The balance decides** where one count only adds up (see [`evidence`](super::evidence)): the
//!   row is gone, or hidden and still stands, or was one row shown twice.
//! * **Missing once** without a decision: what truly is there must still stand, what is gone may.
//!   **Missing twice in a row**: what is gone must go, and what is there may.
//! * **An id that decides** (or the bank's word that a row replaces or removes another) ends the old
//!   contents at once.
//! * **A pending row that is missing while a booked one could be it** may stand or not; it must go
//!   at once if the amounts are equal, the texts alike, and no other pair fits. A class that gives
//!   nothing is let off that: its transient doubles are not judged.
//! * **Where bank and evidence disagree** (a balance that counts what it should not), both are right;
//!   and a balance that nothing explained at one look decides nothing at the next.
//!
//! Which of several equal copies is missing can't be known: those that were missing before are taken.
//! A refused answer, also one in which most of what is held has the opposite sign, must leave everything as it was, and must deserve it: see [`Oracle::refused`].

use super::contents::Contents;
use super::evidence::{Possible, Weight, anchor, weigh};
use super::history::Look;
use super::shown::Reading;
use super::sorts::{Sort, sorts};
use super::trust::Trust;
use super::words::Class;
use chrono::NaiveDate;
use host::model::{BalanceKind, StoredTransaction};
use std::collections::{BTreeMap, BTreeSet};

/// What may be held of one sort.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// At least so many copies.
    pub fewest: usize,
    /// At most so many.
    pub most: usize,
    /// So many of them were just shown.
    pub shown: usize,
    /// How often in a row each copy was missing, the most often first; as many as `most`.
    pub misses: Vec<u8>,
    /// The entries that were shown so.
    pub who: BTreeSet<usize>,
}

/// What is wrong with what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// Shown, and not held.
    Missed(String),
    /// Held and should not be, or no longer held and should be.
    Contents(String),
}

/// The judge of contents.
#[derive(Debug)]
pub struct Oracle {
    class: Class,
    groups: BTreeMap<Contents, Group>,
    /// What may have stood on the account before the first row; none before a balance was seen.
    bases: Option<BTreeSet<i64>>,
    /// Nothing explained the balance at the last look.
    contradicted: bool,
    trust: Trust,
    refused_in_a_row: usize,
}

/// For so many looks in a row an answer may be refused that could be incomplete, but is not.
const DOUBTS_MAX: usize = 2;

impl Oracle {
    /// Before the first look.
    pub fn new(class: Class) -> Self {
        let (groups, trust) = (BTreeMap::new(), Trust::default());
        Self { class, groups, bases: None, contradicted: false, trust, refused_in_a_row: 0 }
    }

    /// The ids, as far as they can be believed.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The ledger took this answer.
    pub fn took(&mut self, look: &Look, reading: &Reading) {
        self.refused_in_a_row = 0;
        let before = self.trust.see(reading);
        self.end_what_ids_replace(reading, &before);
        let sorts = sorts(&self.groups, &self.trust, look, reading);
        let possible = self.weigh(&sorts, reading, false);
        let was_contradicted = std::mem::replace(&mut self.contradicted, false);
        match (&possible, balance(reading)) {
            (Some(possible), _) => self.bases = Some(possible.bases.clone()),
            (None, Some((balance, day))) if self.bases.is_none() => {
                self.bases = anchor(&weights(&sorts, day, false), balance);
            }
            (None, given) => self.contradicted = given.is_some() || was_contradicted,
        }
        let possible = possible.filter(|_| !was_contradicted);
        let mut places = 0..;
        self.groups.clear();
        for (contents, sort) in &sorts {
            let decided = contents.is_booked().then(|| places.next()).flatten();
            let copies = decided.zip(possible.as_ref()).and_then(|(at, all)| all.copies.get(at));
            let group = self.judge(contents, sort, &sorts, copies);
            if group.most > 0 {
                self.groups.insert(contents.clone(), group);
            }
        }
    }

    /// What may be held of a sort, now that `copies` of it are possible by the balance.
    fn judge(
        &self,
        contents: &Contents,
        sort: &Sort,
        all: &BTreeMap<Contents, Sort>,
        copies: Option<&BTreeSet<usize>>,
    ) -> Group {
        let Sort { shown, sure, there, .. } = *sort;
        let who = sort.who.union(&sort.who_before).copied().collect();
        let could_be = |(other, sort): (&Contents, &Sort)| sort.is_new() && contents.may_settle_as(other);
        let could_be_booked = !contents.is_booked() && all.iter().any(could_be);
        if !sort.covered {
            let most = sort.most.max(shown) + sort.fresh;
            let mut misses = sort.misses.clone();
            misses.resize(most, 0);
            let stands = if could_be_booked { 0 } else { sort.fewest };
            return Group { fewest: stands.max(sure), most, shown: sure, misses, who };
        }
        let missing = sort.missing();
        let mut misses: Vec<u8> = sort.misses.iter().take(missing).map(|times| times + 1).collect();
        let hidden = there.saturating_sub(sure).min(missing);
        let gone = missing - hidden;
        let once = |misses: &[u8]| misses.iter().filter(|times| **times < 2).count();
        let must = if could_be_booked { 0 } else { once(misses.get(..hidden).unwrap_or_default()) };
        let mut may = once(misses.get(hidden..).unwrap_or_default()).min(gone);
        may -= usize::from(self.must_settle(contents, sort, all)).min(may);
        let (mut fewest, mut most) = (sure + must, shown + hidden + may);
        if let Some((least, top)) = copies.and_then(|copies| Some((*copies.first()?, *copies.last()?))) {
            if (least..=top).contains(&there) {
                // Where one count only is possible it is the truth; else shown rows are taken at their word.
                fewest = if least == top { there } else { fewest.min(least).max(sure) };
                most = if least == top { there } else { most };
            } else {
                (fewest, most) = (fewest.min(least), most.max(top));
            }
        }
        // Those that must have gone were missing the most often.
        misses.drain(..misses.len() - misses.len().min(most.saturating_sub(shown)));
        misses.resize(most, 0);
        Group { fewest, most, shown: sure.min(fewest), misses, who }
    }

    /// Is this missing pending row booked by now, and can it be no other?
    fn must_settle(&self, contents: &Contents, sort: &Sort, all: &BTreeMap<Contents, Sort>) -> bool {
        let fits = |pending: &Contents, booked: &Contents| {
            pending.may_settle_as(booked) && pending.minor == booked.minor
        };
        let booked: Vec<_> =
            all.iter().filter(|(other, sort)| sort.is_new() && fits(contents, other)).collect();
        let [(booked, became)] = booked.as_slice() else { return false };
        let rivals = all.iter().filter(|(other, _)| fits(other, booked));
        let rivals: usize = rivals.map(|(_, sort)| sort.missing()).sum();
        self.class != Class::Nothing
            && rivals == 1
            && became.shown == became.most + 1
            && contents.reads_like(booked)
            && !sort.who_before.is_disjoint(&became.who)
    }

    /// Ids that decide, and what the bank says of ids, end what stood under them.
    fn end_what_ids_replace(&mut self, reading: &Reading, before: &BTreeMap<String, (usize, Contents)>) {
        for (row, now_is) in reading.seen.transactions.iter().zip(&reading.who) {
            let Some(id) = self.trust.decides(row) else { continue };
            let contents = Contents::of(row);
            for id in [Some(id), row.supersedes.as_deref()].into_iter().flatten() {
                if let Some((who, last)) =
                    before.get(id).filter(|(who, last)| who == now_is && *last != contents)
                {
                    self.end(*who, last);
                }
            }
        }
        for id in &reading.seen.removed {
            let stood = before.get(id).filter(|_| !self.trust.has_lied());
            if let Some((who, last)) = stood {
                self.end(*who, last);
            }
        }
    }

    fn end(&mut self, who: usize, last: &Contents) {
        if let Some(group) = self.groups.get_mut(last)
            && group.who.remove(&who)
        {
            group.fewest = group.fewest.saturating_sub(1);
            group.most = group.most.saturating_sub(1);
            group.misses.truncate(group.most);
        }
    }

    fn weigh(&self, sorts: &BTreeMap<Contents, Sort>, reading: &Reading, complete: bool) -> Option<Possible> {
        let (balance, day) = balance(reading)?;
        weigh(&weights(sorts, day, complete), self.bases.as_ref()?, balance)
    }

    /// What is wrong with what is held.
    pub fn check(&self, held: &[StoredTransaction]) -> Vec<Wrong> {
        let mut counts: BTreeMap<Contents, usize> = BTreeMap::new();
        for row in held {
            *counts.entry(Contents::of(&row.transaction)).or_default() += 1;
        }
        let nothing = Group::default();
        let all: BTreeSet<&Contents> = self.groups.keys().chain(counts.keys()).collect();
        let mut wrong = Vec::new();
        for contents in all {
            let group = self.groups.get(contents).unwrap_or(&nothing);
            let held = counts.get(contents).copied().unwrap_or(0);
            let line = format!("{} held {held}×, not {} to {}", contents.words(), group.fewest, group.most);
            if held < group.shown {
                wrong.extend((held..group.shown).map(|_| Wrong::Missed(line.clone())));
            } else if held < group.fewest || held > group.most {
                wrong.push(Wrong::Contents(line));
            }
        }
        wrong
    }

    /// The ledger refused this answer, also when asked for once more. It deserved that if it truly
    /// lacked rows, if its own balances don't add up, if the balance says that it must lack rows, or
    /// if there is no balance and more than half of the rows, at least four, are missing. If it only
    /// may lack rows, doubt is allowed twice in a row: after that, the account would stand still.
    pub fn refused(&mut self, look: &Look, reading: &Reading) -> Option<Wrong> {
        self.refused_in_a_row += 1;
        let mut trust = self.trust.clone();
        trust.see(reading);
        let sorts = sorts(&self.groups, &trust, look, reading);
        let covered = || sorts.iter().filter(|(contents, sort)| sort.covered && contents.is_booked());
        let lacks = covered().any(|(_, sort)| sort.there > sort.shown);
        let missing: usize = covered().map(|(_, sort)| sort.missing()).sum();
        let known: usize = covered().map(|(_, sort)| sort.most).sum();
        let shrunk = balance(reading).is_none() && missing >= 4 && missing * 2 > known;
        let may_lack = self.weigh(&sorts, reading, false).is_some_and(|possible| {
            let booked = sorts.iter().filter(|(contents, _)| contents.is_booked());
            booked.zip(&possible.copies).any(|((_, sort), copies)| {
                sort.covered && copies.last().is_some_and(|most| *most > sort.shown)
            })
        });
        // Most of what is held, with the opposite sign: one of the two answers was turned round.
        let turned = |contents: &Contents| {
            let mut other = contents.clone();
            other.minor = -other.minor;
            sorts.get(&other).is_some_and(|sort| sort.shown > 0)
        };
        let signs = covered().filter(|(contents, sort)| sort.most > sort.shown && turned(contents)).count();
        let turned = signs >= 3 && signs * 2 > known;
        let may_be_complete = self.weigh(&sorts, reading, true).is_some();
        let doubtful = may_lack && self.refused_in_a_row <= DOUBTS_MAX;
        let deserved = lacks
            || turned
            || shrunk
            || adds_up(reading) == Some(false)
            || (may_lack && !may_be_complete)
            || doubtful;
        (!deserved).then(|| Wrong::Contents("a complete answer was refused".to_owned()))
    }
}

/// The balance that proves, and the last day that it counts.
fn balance(reading: &Reading) -> Option<(i64, Option<NaiveDate>)> {
    let mut proving = reading
        .seen
        .balances
        .iter()
        .filter(|balance| balance.kind == BalanceKind::Booked && !balance.includes_pending);
    let balance = proving.next()?;
    let day = balance.as_of.map(|at| at.utc().date_naive()).or(reading.seen.today);
    Some((balance.money.minor, day))
}

/// The booked sorts as a balance weighs them; `complete` if the answer lacks nothing that it covers.
fn weights(sorts: &BTreeMap<Contents, Sort>, day: Option<NaiveDate>, complete: bool) -> Vec<Weight> {
    let booked = sorts.iter().filter(|(contents, _)| contents.is_booked());
    booked
        .map(|(contents, sort)| Weight {
            minor: contents.minor,
            copies: sort.possible(complete),
            may_wait: contents.day.zip(day).is_some_and(|(row, balance)| row > balance),
        })
        .collect()
}

/// Does a statement's own arithmetic hold, row by row as shown? None if it brings none.
fn adds_up(reading: &Reading) -> Option<bool> {
    let of = |kind| {
        let mut found = reading.seen.balances.iter().filter(move |balance| balance.kind == kind);
        found.next().map(|balance| balance.money.minor)
    };
    let (opening, closing) = (of(BalanceKind::Opening)?, of(BalanceKind::Closing)?);
    let booked = reading.seen.transactions.iter().filter(|row| Contents::of(row).is_booked());
    Some(opening + booked.map(|row| row.money.minor).sum::<i64>() == closing)
}
