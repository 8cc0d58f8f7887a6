//! The rows of one answer, sort by sort, beside what was held of each and what truly is there.

use super::contents::Contents;
use super::history::Look;
use super::oracle::Group;
use super::shown::Reading;
use super::trust::{Trust, claimed};
use host::model::{Coverage, Transaction};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// One sort of row.
#[derive(Debug, Clone, Default)]
pub struct Sort {
    /// So many copies were shown, less those that are one row twice for all to see.
    pub shown: usize,
    /// So many different entries were shown, less those that nobody could tell from a repetition.
    pub sure: usize,
    /// So many of them are different rows for all to see.
    pub distinct: usize,
    /// So many truly stand in the books.
    pub there: usize,
    /// The answer would have shown it.
    pub covered: bool,
    /// Entries that are new to this sort, where ids decide that.
    pub fresh: usize,
    /// Entries that by the bank's promise of ids could be new to this sort, though they are not.
    pub renamed: usize,
    /// At least so many were held.
    pub fewest: usize,
    /// At most so many.
    pub most: usize,
    /// How often each of them was missing.
    pub misses: Vec<u8>,
    /// The entries that were shown now.
    pub who: BTreeSet<usize>,
    /// Those that were shown before.
    pub who_before: BTreeSet<usize>,
}

impl Sort {
    /// So many copies that may have been held were not shown.
    pub fn missing(&self) -> usize {
        if self.covered { self.most - self.most.min(self.shown - self.fresh.min(self.shown)) } else { 0 }
    }

    /// More are shown than were held.
    pub fn is_new(&self) -> bool {
        self.shown > self.most || self.fresh > 0
    }

    /// How many may be real if the answer is taken at its word: each shown copy is one, and of those that must be
    /// held some may be hidden; none if they may be among the shown ones in other words.
    pub fn as_shown(&self, in_other_words: bool) -> RangeInclusive<usize> {
        let known = self.fewest - self.fewest.min(self.shown - self.fresh.min(self.shown));
        let most = match (self.covered, in_other_words) {
            (true, true) => self.shown,
            (true, false) => self.shown + known,
            (false, _) => self.most.max(self.shown) + self.fresh,
        };
        let fewest = if self.covered { self.shown } else { self.shown.max(self.fewest) };
        fewest..=most.max(fewest)
    }

    /// Copies were shown that may be one row twice.
    pub fn is_doubtful(&self) -> bool {
        self.distinct < self.shown
    }

    /// How many may be real; `complete` if nothing covered is hidden.
    pub fn possible(&self, complete: bool) -> RangeInclusive<usize> {
        match (self.covered, complete) {
            (true, true) => self.distinct..=self.shown,
            (true, false) => self.distinct..=self.shown + self.missing(),
            (false, _) => self.distinct.max(self.fewest)..=self.most.max(self.shown) + self.fresh,
        }
    }
}

/// All sorts that were held, are shown, or are there.
pub fn sorts(
    groups: &BTreeMap<Contents, Group>,
    trust: &Trust,
    look: &Look,
    reading: &Reading,
) -> BTreeMap<Contents, Sort> {
    let mut sorts: BTreeMap<Contents, Sort> = BTreeMap::new();
    for (contents, group) in groups {
        let sort = sorts.entry(contents.clone()).or_default();
        (sort.fewest, sort.most) = (group.fewest, group.most);
        (sort.misses, sort.who_before) = (group.misses.clone(), group.who.clone());
    }
    for (_, row) in &look.books {
        sorts.entry(Contents::of(row)).or_default().there += 1;
    }
    let mut copies: BTreeMap<Contents, Vec<(&Transaction, usize)>> = BTreeMap::new();
    for (row, who) in reading.seen.transactions.iter().zip(&reading.who) {
        copies.entry(Contents::of(row)).or_default().push((row, *who));
    }
    for (contents, copies) in copies {
        let sort = sorts.entry(contents).or_default();
        sort.who = copies.iter().map(|(_, who)| *who).collect();
        let named: Vec<_> = copies.iter().filter_map(|(row, _)| trust.decides(row)).collect();
        let claims: Vec<_> = copies.iter().filter_map(|(row, _)| claimed(row)).collect();
        let after: Vec<_> = copies.iter().filter_map(|(row, _)| row.balance_after).collect();
        let all = copies.len();
        // Equal running balances may be one row twice, or two rows between which as much came as went.
        (sort.shown, sort.distinct) = if named.len() == all {
            (different(&named), different(&named))
        } else if after.len() == all {
            (all, different(&after))
        } else {
            (all, 1)
        };
        sort.renamed = trust.may_be_others(&sort.who);
        sort.sure = sort.who.len().min(sort.shown);
        if after.len() == all {
            sort.sure = sort.sure.min(sort.distinct);
        }
        if claims.len() == all && !trust.is_gone() {
            sort.sure = sort.sure.min(different(&claims)); // one id, equal contents: one row, by all rules
        }
        if named.len() == all {
            sort.fresh = sort.who.difference(&sort.who_before).count();
        }
    }
    for (contents, sort) in &mut sorts {
        sort.covered = reading.seen.coverage.as_ref().is_some_and(|coverage| covers(coverage, contents));
    }
    sorts
}

fn different<T: Ord>(of: &[T]) -> usize {
    of.iter().collect::<BTreeSet<_>>().len()
}

/// Would the answer have shown it? The first day of a window is never evidence, nor is anything that
/// was not read to its end.
fn covers(coverage: &Coverage, contents: &Contents) -> bool {
    let window = coverage.window;
    let inside =
        contents.day.is_some_and(|day| window.since < day && (day <= window.until || !contents.is_booked()));
    coverage.complete && coverage.snapshot && coverage.statuses.contains(&contents.status) && inside
}
