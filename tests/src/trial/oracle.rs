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
//!   a booked row after the first day and up to the last one. Elsewhere what was held still stands,
//!   but for pending rows that nothing has spoken of for too long.
//! * **The balance decides** where one count only adds up (see [`evidence`](super::evidence)), the
//!   answer taken at its word: the row is gone, or hidden and still stands. Of rows that were shown
//!   several times it decides how many they are. It decides once another balance has agreed with the
//!   first, and not right after one that nothing explained: a first look may hide a row, a bank may
//!   count what it does not say, and the answers would be the same.
//! * **Missing once** without a decision: what truly is there must still stand, what is gone may.
//!   **Missing twice in a row**: what is gone must go, and what is there may.
//! * **An id that decides** (or the bank's word that a row replaces or removes another) ends the old
//!   contents at once. Where the answers don't tell whether an id moved on or its row was amended, the
//!   old contents may stand or not.
//! * **A pending row that is missing while a booked one could be it** may stand or not; it must go
//!   at once if the amounts are equal, the texts alike, and no other pair fits. A class that gives
//!   nothing is let off that: its transient doubles are not judged.
//! * **Where bank and evidence disagree** (a balance that counts what it should not), both are right.
//!
//! Which of several equal copies is missing can't be known: those that were missing before are taken.
//! A refused answer, also one in which most of what is held has the opposite sign, must leave everything as it was, and must deserve it: see [`Oracle::refused`].

use super::contents::Contents;
use super::evidence::{Possible, Weight, anchor, weigh};
use super::history::Look;
use super::shown::Reading;
use super::sorts::{Sort, sorts};
use super::trust::{Trust, claimed};
use super::words::Class;
use chrono::NaiveDate;
use host::model::{BalanceKind, StoredTransaction};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

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

impl Group {
    fn may_lose_one(&mut self) {
        self.fewest = self.fewest.saturating_sub(1);
    }
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
    /// A balance agreed with the one before.
    confirmed: bool,
    /// What was ever shown of one amount, in minor units, with one running balance.
    after: BTreeMap<(i64, i64), BTreeSet<Contents>>,
    /// What was shown now under an id that stood on another row before, of its amount or day.
    amended: BTreeSet<Contents>,
    trust: Trust,
    refused_in_a_row: usize,
}

/// After so many days a pending row is given up that no answer speaks of.
const EXPIRES_DAYS: i64 = 35;
/// For so many looks in a row an answer may be refused that could be incomplete, but is not.
const DOUBTS_MAX: usize = 2;

impl Oracle {
    /// Before the first look.
    pub fn new(class: Class) -> Self {
        let (groups, trust) = (BTreeMap::new(), Trust::default());
        Self {
            class,
            groups,
            bases: None,
            contradicted: false,
            confirmed: false,
            after: BTreeMap::new(),
            amended: BTreeSet::new(),
            trust,
            refused_in_a_row: 0,
        }
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
        self.end_what_balances_replace(reading);
        let sorts = sorts(&self.groups, &self.trust, look, reading);
        let possible = self.weigh(&sorts, reading, |_, sort| sort.possible(false));
        let as_shown =
            |contents: &Contents, sort: &Sort| sort.as_shown(may_be_described_anew(contents, sort, &sorts));
        let was_contradicted = std::mem::replace(&mut self.contradicted, false);
        let was_confirmed = self.confirmed;
        match (&possible, balance(reading)) {
            (Some(possible), _) => {
                let booked = || sorts.iter().filter(|(contents, sort)| contents.is_booked() && sort.covered);
                let is_plain = booked().all(|(_, sort)| sort.missing() == 0 && !sort.is_doubtful());
                self.confirmed |= is_plain && self.weigh(&sorts, reading, as_shown).is_some();
                self.bases = Some(possible.bases.clone());
            }
            (None, Some((balance, day))) => {
                self.contradicted = self.bases.is_some();
                if was_contradicted || !was_confirmed {
                    self.bases = anchor(&weights(&sorts, day, |_, sort| sort.possible(false)), balance);
                }
                self.confirmed = false;
            }
            (None, None) => self.contradicted = was_contradicted,
        }
        let decides = was_confirmed && !was_contradicted;
        let may_be = possible.clone();
        let possible = possible.filter(|_| decides);
        let is_explained = decides && self.weigh(&sorts, reading, as_shown).is_some();
        let mut places = 0..;
        self.groups.clear();
        for (contents, sort) in &sorts {
            let decided = contents.is_booked().then(|| places.next()).flatten();
            let is_told =
                sort.is_doubtful() || (is_explained && !may_be_described_anew(contents, sort, &sorts));
            let copies = decided.zip(possible.as_ref()).and_then(|(at, all)| all.copies.get(at));
            let copies = copies.filter(|_| is_told);
            let fewest =
                decided.zip(may_be.as_ref()).and_then(|(at, all)| all.copies.get(at)?.first().copied());
            let group = self.judge(
                contents,
                sort,
                &sorts,
                copies,
                (reading.seen.today, balance(reading).is_some(), fewest),
            );
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
        (today, has_balance, may_be): (Option<NaiveDate>, bool, Option<usize>),
    ) -> Group {
        let Sort { shown, sure, there, .. } = *sort;
        let who = sort.who.union(&sort.who_before).copied().collect();
        let could_be = |(other, sort): (&Contents, &Sort)| sort.is_new() && contents.may_settle_as(other);
        let could_be_booked = !contents.is_booked() && all.iter().any(could_be);
        if !sort.covered {
            // A row that need not be shown, and its equal under another id: two, or one whose id is new.
            let most = sort.most.max(shown) + sort.fresh.max(sort.renamed);
            // Those that are shown are not missing.
            let mut misses = sort.misses.clone();
            misses.truncate(most.saturating_sub(shown));
            misses.resize(most, 0);
            let is_old =
                contents.day.zip(today).is_some_and(|(day, today)| (today - day).num_days() > EXPIRES_DAYS);
            let may_go = could_be_booked || (!contents.is_booked() && is_old);
            let stands = if may_go { 0 } else { sort.fewest };
            // Equal rows without a name may be one on two pages there, too.
            let is_open = sort.is_doubtful() && has_balance;
            let seen = if is_open { sure.min(sort.distinct.max(sort.fewest.min(shown))) } else { sure };
            return Group { fewest: stands.max(seen), most, shown: seen, misses, who };
        }
        let missing = sort.missing();
        let mut misses: Vec<u8> = sort.misses.iter().take(missing).map(|times| times + 1).collect();
        let hidden = there.saturating_sub(sure).min(missing);
        let gone = missing - hidden;
        let once = |misses: &[u8]| misses.iter().filter(|times| **times < 2).count();
        // What nobody could tell from a repetition need not stand now.
        let known = sort.fewest.saturating_sub(sure);
        let could_be_told = could_be_booked || may_be_described_anew(contents, sort, all);
        let must = if could_be_told { 0 } else { once(misses.get(..hidden).unwrap_or_default()).min(known) };
        let mut may = once(misses.get(hidden..).unwrap_or_default()).min(gone);
        may -= usize::from(self.must_settle(contents, sort, all)).min(may);
        let (mut fewest, mut most) = (sure + must, shown + hidden + may);
        if sort.is_doubtful() && copies.is_none() && has_balance {
            fewest = fewest.min(sort.distinct.max(sort.fewest.min(shown)));
        }
        // What the balance says may be so, also where it does not decide.
        if let Some(least) = may_be.filter(|_| copies.is_none()) {
            fewest = fewest.min(least.max(sort.distinct));
        }
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
        let rivals = all.iter().filter(|(other, _)| fits(other, booked) || other.may_be_told_as(booked));
        let rivals: usize = rivals.map(|(_, sort)| sort.missing()).sum();
        self.class != Class::Nothing
            && rivals == 1
            && !self.amended.contains(*booked)
            && became.shown == became.most + 1
            && contents.reads_like(booked)
            && !sort.who_before.is_disjoint(&became.who)
    }

    /// Ids that decide, and what the bank says of ids, end what stood under them.
    fn end_what_ids_replace(&mut self, reading: &Reading, before: &BTreeMap<String, (usize, Contents)>) {
        self.amended.clear();
        for (row, now_is) in reading.seen.transactions.iter().zip(&reading.who) {
            let contents = Contents::of(row);
            let Some(id) = self.trust.decides(row) else {
                let named = [claimed(row), row.supersedes.as_deref()].into_iter().flatten();
                for (_, last) in named.filter(|_| !self.trust.is_gone()).filter_map(|id| before.get(id)) {
                    if last.may_be_amended_to(&contents) {
                        self.amended.insert(contents.clone());
                    }
                    if last.may_be_amended_to(&contents) || (!last.is_booked() && contents.is_booked()) {
                        self.groups.entry(last.clone()).and_modify(Group::may_lose_one);
                    }
                }
                continue;
            };
            for id in [Some(id), row.supersedes.as_deref()].into_iter().flatten() {
                if let Some((who, last)) =
                    before.get(id).filter(|(who, last)| who == now_is && *last != contents)
                {
                    self.end(*who, last);
                }
            }
        }
        for id in &reading.seen.removed {
            let stood = before.get(id).filter(|_| !self.trust.is_gone());
            match stood {
                // Whether the bank means the new ids or the old ones is its own affair.
                Some((who, last)) if self.trust.may_mean_another(*who) => self.may_end(last),
                Some((who, last)) => self.end(*who, last),
                None => {}
            }
        }
    }

    /// The same amount and the same balance after it, in other words: the same row, also where none need be shown.
    fn end_what_balances_replace(&mut self, reading: &Reading) {
        for row in &reading.seen.transactions {
            let (contents, Some(after)) = (Contents::of(row), row.balance_after) else { continue };
            let shown = self.after.entry((contents.minor, after)).or_default();
            let told: Vec<_> = shown.iter().filter(|last| last.may_be_told_as(&contents)).cloned().collect();
            shown.insert(contents);
            for last in told {
                self.may_end(&last);
            }
        }
    }

    fn may_end(&mut self, last: &Contents) {
        if let Some(group) = self.groups.get_mut(last) {
            group.may_lose_one();
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

    fn weigh(
        &self,
        sorts: &BTreeMap<Contents, Sort>,
        reading: &Reading,
        copies: impl Fn(&Contents, &Sort) -> RangeInclusive<usize>,
    ) -> Option<Possible> {
        let (balance, day) = balance(reading)?;
        weigh(&weights(sorts, day, copies), self.bases.as_ref()?, balance)
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
        let possible = self.weigh(&sorts, reading, |_, sort| sort.possible(false));
        let may_lack = match possible.as_ref().filter(|_| !self.contradicted) {
            Some(possible) => {
                let booked = sorts.iter().filter(|(contents, _)| contents.is_booked());
                booked.zip(&possible.copies).any(|((_, sort), copies)| {
                    sort.covered && copies.last().is_some_and(|most| *most > sort.shown)
                })
            }
            // Nobody knows what the balance counts: it may be what is missing.
            None => balance(reading).is_some() && missing > 0,
        };
        // Most of what came back has the opposite sign: one of the two answers was turned round.
        let turned = |contents: &Contents| {
            let is_opposite = |other: &Contents| {
                (other.status, other.day, other.minor) == (contents.status, contents.day, -contents.minor)
                    && (other.text.contains(&contents.text) || contents.text.contains(&other.text))
            };
            sorts.iter().any(|(other, sort)| sort.shown > 0 && is_opposite(other))
        };
        let held = || sorts.iter().filter(|(_, sort)| sort.most > 0);
        let straight = held().filter(|(_, sort)| sort.fewest > 0 && sort.shown > 0).count();
        let turned = held().filter(|(contents, sort)| sort.shown == 0 && turned(contents)).count();
        let turned = turned > straight;
        let is_untrue =
            sorts.iter().any(|(contents, sort)| contents.is_booked() && sort.shown > 0 && sort.there == 0);
        let may_be_complete = self.weigh(&sorts, reading, |_, sort| sort.possible(true)).is_some();
        let doubtful = may_lack && self.refused_in_a_row <= DOUBTS_MAX;
        let deserved = lacks
            || is_untrue
            || turned
            || shrunk
            || adds_up(reading) == Some(false)
            || (may_lack && !may_be_complete)
            || doubtful;
        (!deserved).then(|| Wrong::Contents("a complete answer was refused".to_owned()))
    }
}

/// Is a missing row perhaps among those that are new, dated or described anew?
fn may_be_described_anew(contents: &Contents, sort: &Sort, all: &BTreeMap<Contents, Sort>) -> bool {
    sort.missing() > 0 && all.iter().any(|(other, sort)| sort.is_new() && contents.may_be_told_as(other))
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

/// The booked sorts as a balance weighs them.
fn weights(
    sorts: &BTreeMap<Contents, Sort>,
    day: Option<NaiveDate>,
    copies: impl Fn(&Contents, &Sort) -> RangeInclusive<usize>,
) -> Vec<Weight> {
    let booked = sorts.iter().filter(|(contents, _)| contents.is_booked());
    booked
        .map(|(contents, sort)| Weight {
            minor: contents.minor,
            copies: copies(contents, sort),
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
