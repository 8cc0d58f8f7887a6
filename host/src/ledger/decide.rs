//! The balance decides what the rows leave open: whether missing rows are gone, and how often equal rows count.

use super::identity::{self, Ids, Row};
use super::jury::{Judged, Jury, nearest};
use super::look::{Look, changed_number};
use super::matching::{Matches, Sides};
use super::{Incomplete, MISSES_BEFORE_REMOVAL, SHRUNK_ROWS, covers, proof, repeats};
use crate::model::*;
use foldhash::{HashMap, HashMapExt};
use std::collections::{BTreeMap, BTreeSet};

/// Missing rows, and new ones of their amount, that are looked through for those that are described anew: more at once
/// are no corrections.
const DESCRIBED_ANEW_MAX: usize = 64;

impl<'a> Look<'a> {
    /// Lets the balance decide what the rows leave open.
    pub(super) fn weigh(
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
        let anew = self.described_anew(sides.ids, &booked);
        let scale = self.scale(sides.known, standing);
        let doubts = self.open_doubts(matches, reading);
        let twins = if booked.is_empty() { BTreeSet::new() } else { twins_shown(sides, matches) };
        let waiting = self.waiting(sides, matches);
        let jury = Jury {
            scale: scale.as_ref(),
            doubts: &doubts,
            standing,
            ids: sides.ids,
            twins: &twins,
            waiting: &waiting,
        };
        let judged = jury.judge(booked, &anew);
        let mut decided = BTreeSet::new();
        if let Some(weighed) = &judged.weighed {
            decided = self.decide(&judged, weighed, &anew, allow_incomplete)?;
            for (open, otherwise) in doubts.iter().zip(&weighed.otherwise) {
                self.count_otherwise(open, *otherwise);
            }
        } else if adds_up.is_none() && !allow_incomplete && !self.turned_back {
            let is_missing =
                |row: &&&StoredTransaction| row.missed == 0 && !anew.contains_key(&row.id.number);
            self.is_not_shrunk(sides, judged.booked.iter().filter(is_missing).count())?;
        }
        let undecided = absent.iter().filter_map(known).filter(|row| !decided.contains(&row.id.number));
        self.count_misses(sides.ids, undecided, &judged.uncounted());
        let scale = self.scale(sides.known, standing);
        let is_open = judged.weighed.as_ref().is_some_and(|weighed| weighed.open.is_some());
        if let Some(scale) = scale.as_ref().filter(|scale| scale.is_even() && !allow_incomplete && !is_open) {
            self.counts_only_what_is_shown(scale, &judged)?;
        }
        self.difference = scale.as_ref().and_then(proof::Scale::difference);
        Ok(match adds_up {
            Some(true) => Proof::Proved,
            // The rest of what is held has the wrong signs still.
            _ if self.turned_back && !self.observed.is_all => Proof::Contradicted,
            _ => proof::word(scale.as_ref()),
        })
    }

    /// What agrees only because it counts rows that were not shown is an incomplete statement.
    fn counts_only_what_is_shown(&self, scale: &proof::Scale, judged: &Judged<'_>) -> Result<(), Incomplete> {
        let waits = |row: &&&StoredTransaction| {
            self.missed.contains(&(row.id.number, row.missed.saturating_add(1)))
                && !scale.is_later(&row.transaction)
        };
        let missing: Vec<_> = judged.booked.iter().filter(waits).collect();
        let weight: i128 = missing.iter().map(|row| self.weight(&row.transaction)).sum();
        if weight == 0 { Ok(()) } else { Err(Incomplete::Missing(missing.len())) }
    }

    /// What there is to explain after all changes so far.
    fn scale(&self, known: &[StoredTransaction], standing: &Standing) -> Option<proof::Scale> {
        let changed: BTreeSet<i64> = self.changes.iter().filter_map(changed_number).collect();
        let kept = known.iter().filter(|row| !changed.contains(&row.id.number)).map(|row| &row.transaction);
        let modified = self.changes.iter().filter_map(|change| match change {
            NewChange::Modified { after, .. } => Some(after),
            _ => None,
        });
        let now = kept.chain(modified).chain(self.added.iter().map(|(row, _)| *row));
        proof::scale(standing.expected.filter(|_| !self.turned_back), self.observed, self.moved, now)
    }

    /// Missing booked rows, by number, and the new one that each may be, dated or described anew: of its amount, near
    /// it, described alike.
    fn described_anew(&self, ids: Ids, booked: &[&StoredTransaction]) -> BTreeMap<i64, &'a Transaction> {
        let mut of_amount: HashMap<Money, Vec<&'a Transaction>> = HashMap::new();
        for (row, _) in &self.added {
            of_amount.entry(row.money).or_default().push(row);
        }
        let mut pairs = BTreeMap::new();
        for row in booked.iter().take(DESCRIBED_ANEW_MAX) {
            let Some(new) = of_amount.get_mut(&row.transaction.money) else { continue };
            let old = Row::new(&row.transaction);
            // No row of the past becomes one of days to come.
            let is_later = |row: &Transaction| row.booked_on > self.observed.today;
            let new_ones = new.iter().copied().take(DESCRIBED_ANEW_MAX);
            let fits = |new: &&Transaction| is_later(new) == is_later(old.of);
            if let Some(place) = nearest(ids, &old, new_ones, fits) {
                pairs.insert(row.id.number, new.remove(place));
            }
        }
        pairs
    }

    /// What the balance says of the missing booked rows: they are gone, or it still counts them; those it speaks of.
    fn decide(
        &mut self,
        judged: &Judged<'_>,
        weighed: &proof::Weighed,
        anew: &BTreeMap<i64, &'a Transaction>,
        allow_incomplete: bool,
    ) -> Result<BTreeSet<i64>, Incomplete> {
        let (mut gone, mut still) = (Vec::new(), Vec::new());
        for (row, is_gone) in judged.booked.iter().zip(&weighed.gone) {
            match is_gone {
                Some(true) => gone.push(*row),
                Some(false) => still.push(*row),
                None => {}
            }
        }
        let total: i128 = still.iter().map(|row| self.weight(&row.transaction)).sum();
        if gone.is_empty() && total == 0 {
            still.clear(); // what weighs nothing together, no balance speaks of
        }
        if !still.is_empty() && !allow_incomplete {
            return Err(Incomplete::Missing(if weighed.unclear { 1 } else { still.len() }));
        }
        let mut decided: BTreeSet<i64> = still.iter().chain(&gone).map(|row| row.id.number).collect();
        for row in gone {
            self.remove_or_amend(row, anew.get(&row.id.number));
        }
        for row in &judged.gone_too {
            self.remove(row, ChangeReason::ProvedAbsent);
            self.moved += self.weight(&row.transaction); // the anchor never counted it
            decided.insert(row.id.number);
        }
        for row in &judged.described {
            if let Some(after) = anew.get(&row.id.number) {
                self.amend(row, after);
                decided.insert(row.id.number);
            }
        }
        Ok(decided)
    }

    /// Rows that nothing decides: missing once they wait, missing twice they go.
    fn count_misses<'b>(
        &mut self,
        ids: Ids,
        undecided: impl Iterator<Item = &'b StoredTransaction>,
        uncounted: &BTreeSet<i64>,
    ) {
        for row in undecided {
            let misses = row.missed.saturating_add(1);
            if uncounted.contains(&row.id.number) && misses >= MISSES_BEFORE_REMOVAL {
                self.moved += self.weight(&row.transaction); // the sum of before never was without it
            }
            match (misses >= MISSES_BEFORE_REMOVAL, row.transaction.status) {
                (true, TransactionStatus::Booked) => self.remove(row, ChangeReason::AbsentTwice),
                (true, TransactionStatus::Pending) => self.remove(row, ChangeReason::NeverBooked),
                (false, status) => {
                    self.forget_old_id(ids, row);
                    self.waits |= status == TransactionStatus::Booked;
                    self.missed.push((row.id.number, misses));
                }
            }
        }
    }

    /// The balance counts a row no longer: it is described anew, or it is gone.
    fn remove_or_amend(&mut self, row: &StoredTransaction, anew: Option<&&'a Transaction>) {
        match anew {
            Some(after) => self.amend(row, after),
            None => self.remove(row, ChangeReason::ProvedAbsent),
        }
    }

    /// A new row is a known one.
    pub(super) fn amend(&mut self, row: &StoredTransaction, after: &'a Transaction) {
        if self.give_back(after) {
            self.moved += self.weight(after) - self.weight(&row.transaction);
            let before = row.transaction.clone();
            self.changes.push(NewChange::amended(row.id.number, before, after.clone()));
        }
    }

    fn count_otherwise(&mut self, open: &proof::Open<'a>, otherwise: i64) {
        let fewer = usize::try_from(otherwise.saturating_neg()).unwrap_or(0);
        for row in open.new.iter().rev().take(fewer) {
            self.give_back(row);
        }
        for _ in 0..otherwise {
            self.take(open.row, Vec::new());
        }
    }

    /// What known rows weigh that were missing before, and that this reading need not have shown.
    fn waiting(&self, sides: &Sides<'_>, matches: &Matches) -> Vec<i128> {
        let rows = sides.known.iter().zip(&matches.partner).zip(sides.covered);
        let waits =
            rows.filter(|((row, partner), covered)| row.missed > 0 && partner.is_none() && !**covered);
        waits.map(|((row, _), _)| self.weight(&row.transaction)).filter(|weight| *weight != 0).collect()
    }

    /// The doubts that matter: equal rows of which some are new. None counts less often in a list that was not read to
    /// its end: what it left out may weigh as much. Nor is old ground in doubt: however often it counts, the sum stays.
    fn open_doubts(&self, matches: &Matches, reading: &repeats::Reading<'a>) -> Vec<proof::Open<'a>> {
        let coverage = self.observed.coverage.as_ref();
        let is_whole = coverage.is_some_and(|coverage| coverage.complete && coverage.snapshot);
        let open = |doubt: &repeats::Doubt| {
            let first = doubt.places.start;
            let row = reading.rows.get(first)?.of;
            let is_new = |place: &usize| matches.taken.get(*place) == Some(&false);
            let new = doubt.places.clone().filter(is_new);
            let new: Vec<_> = new.filter_map(|place| Some(reading.rows.get(place)?.of)).collect();
            let fewer = new.len().min(doubt.places.len() - doubt.held.clamp(1, doubt.places.len()));
            let fewer = if is_whole { fewer } else { 0 };
            let more = doubt.left_out;
            let is_open = (fewer > 0 || more > 0) && !self.is_old_ground(row);
            is_open.then_some(proof::Open { row, new, fewer, more })
        };
        reading.doubts.iter().filter_map(open).collect()
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
}

/// The contents of the known rows without a name that were shown.
fn twins_shown<'a>(sides: &'a Sides<'a>, matches: &Matches) -> BTreeSet<identity::Content<'a>> {
    let rows = sides.old.iter().zip(&matches.partner);
    let shown = rows.filter(|(row, partner)| {
        let new = partner.and_then(|partner| sides.new.get(partner));
        sides.ids.of(row.of).is_none() && new.is_some_and(|new| new.content() == row.content())
    });
    shown.map(|(row, _)| row.content()).collect()
}
