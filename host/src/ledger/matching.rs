//! Which row became which: one to one, in a fixed order of rules.

use super::amounts::days_between;
use super::counted::compared;
use super::identity::{Content, Exact, Ids, Row, alike};
use super::repeats::Reading;
use crate::model::{Link, StoredTransaction, TransactionStatus};
use foldhash::{HashMap, HashMapExt, HashSet};
use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;

/// Days that the bank may move a booked row, or a pending one: a value date, a weekend.
const CORRECTION_DAYS_MAX: i64 = 7;
/// So many rows that are gone while others of their amount and day came under new ids were not exchanged by
/// hand: the bank gives new ids.
const REISSUED_ROWS: usize = 3;

/// What is compared.
pub(super) struct Sides<'a> {
    pub(super) ids: Ids,
    pub(super) known: &'a [StoredTransaction],
    pub(super) old: &'a [Row<'a>],
    pub(super) new: &'a [Row<'a>],
    /// Where the new rows come from.
    pub(super) reading: &'a Reading<'a>,
    /// For each known row, whether the reading would have shown it.
    pub(super) covered: &'a [bool],
}

/// The outcome.
pub(super) struct Matches {
    /// For each known row, the place of its partner among the new.
    pub(super) partner: Vec<Option<usize>>,
    /// For each known row, whether it came back just as it was.
    pub(super) same: Vec<bool>,
    /// For each new row, whether it has a partner.
    pub(super) taken: Vec<bool>,
    /// For each known row, whether its partner could have been another's.
    pub(super) ambiguous: Vec<bool>,
    /// For each new row, the pending ones that it may be the booking of.
    pub(super) links: BTreeMap<usize, Vec<Link>>,
    /// Most rows that were shown again have other ids than before.
    pub(super) rotated: bool,
}

pub(super) fn match_rows(sides: &Sides<'_>) -> Matches {
    let matches = Matches {
        partner: vec![None; sides.old.len()],
        same: vec![false; sides.old.len()],
        taken: vec![false; sides.new.len()],
        ambiguous: vec![false; sides.old.len()],
        links: BTreeMap::new(),
        rotated: false,
    };
    let mut pairing = Pairing { sides, reissued: false, matches };
    pairing.pair_to_the_letter();
    pairing.by_id();
    pairing.by_supersedes();
    for (and_balance, exactly) in [(true, true), (true, false), (false, true), (false, false)] {
        pairing.by_content(and_balance, exactly);
    }
    pairing.by_running_balance();
    pairing.at_the_edge();
    pairing.reissued = pairing.are_reissued();
    pairing.by_amount();
    pairing.by_other_amount();
    pairing.matches
}

pub(super) struct Pairing<'a> {
    pub(super) sides: &'a Sides<'a>,
    /// The bank gave new ids to many rows at once: two ids say no longer that they are two rows.
    pub(super) reissued: bool,
    pub(super) matches: Matches,
}

impl<'a> Pairing<'a> {
    pub(super) fn free_old(&self) -> impl Iterator<Item = (usize, &'a Row<'a>)> + use<'a, '_> {
        let rows = self.sides.old.iter().zip(&self.matches.partner).enumerate();
        rows.filter(|(_, (_, partner))| partner.is_none()).map(|(place, (row, _))| (place, row))
    }

    pub(super) fn free_new(&self) -> impl Iterator<Item = (usize, &'a Row<'a>)> + use<'a, '_> {
        let rows = self.sides.new.iter().zip(&self.matches.taken).enumerate();
        rows.filter(|(_, (_, taken))| !**taken).map(|(place, (row, _))| (place, row))
    }

    pub(super) fn covered(&self, old: usize) -> bool {
        self.sides.covered.get(old).copied().unwrap_or(false)
    }

    pub(super) fn pair(&mut self, old: usize, new: usize, ambiguous: bool) {
        let Matches { partner, taken, ambiguous: doubts, .. } = &mut self.matches;
        if let (Some(partner), Some(taken), Some(doubt)) =
            (partner.get_mut(old), taken.get_mut(new), doubts.get_mut(old))
        {
            (*partner, *taken, *doubt) = (Some(new), true, ambiguous);
        }
    }

    /// Rows that came back just as they were. Of twins without a name all of them: where one is missing, it matters
    /// which.
    fn pair_to_the_letter(&mut self) {
        let Sides { ids, old, reading, .. } = *self.sides;
        let groups: Vec<Option<usize>> = old.iter().map(|row| reading.group_of(row.of)).collect();
        let mut held = vec![0_usize; reading.groups().len()];
        for group in groups.iter().flatten() {
            if let Some(held) = held.get_mut(*group) {
                *held += 1;
            }
        }
        let mut next: Vec<usize> = reading.groups().iter().map(|places| places.start).collect();
        for (place, (row, group)) in old.iter().zip(groups).enumerate() {
            compared();
            let Some(group) = group else { continue };
            let (Some(places), Some(next), Some(held)) =
                (reading.groups().get(group), next.get_mut(group), held.get(group))
            else {
                continue;
            };
            if places.contains(next) && (ids.of(row.of).is_some() || *held == places.len()) {
                self.pair(place, *next, false);
                *next += 1;
                if let Some(same) = self.matches.same.get_mut(place) {
                    *same = true;
                }
            }
        }
    }

    /// Equal ids, each standing once on both sides; an id that stands twice names nothing.
    fn by_id(&mut self) {
        let ids = self.sides.ids;
        let old = groups(self.free_old().filter_map(|(place, row)| Some((ids.of(row.of)?, place))));
        let new = groups(self.free_new().filter_map(|(place, row)| Some((ids.of(row.of)?, place))));
        self.pair_only_ones(&old, &new);
    }

    /// The bank says which pending row this one replaces: as good as its ids. One that is held has replaced its own
    /// already, though it be one of twins.
    fn by_supersedes(&mut self) {
        if self.sides.ids == Ids::Demoted {
            return;
        }
        let pending = self.free_old().filter(|(_, row)| row.of.status == TransactionStatus::Pending);
        let old = groups(pending.filter_map(|(place, row)| Some((row.of.bank_id.as_deref()?, place))));
        let replaced = |row: &'a Row<'a>| Some((row.of.supersedes.as_deref()?, row.content(), row.exact()));
        let held: HashSet<_> = self.free_old().filter_map(|(_, row)| replaced(row)).collect();
        let new = self.free_new().filter_map(|(place, row)| Some((replaced(row)?, place)));
        let new = groups(new.filter(|(row, _)| !held.contains(row)).map(|((id, ..), place)| (id, place)));
        self.pair_only_ones(&old, &new);
    }

    /// Known rows whose id is not shown, or only with other contents.
    fn orphans(&self) -> HashSet<(Content<'a>, Exact<'a>)> {
        let ids = self.sides.ids;
        let whole = |row: &'a Row<'a>| (row.content(), row.exact());
        let shown: HashMap<&str, _> =
            self.sides.new.iter().filter_map(|row| Some((ids.of(row.of)?, whole(row)))).collect();
        let orphans = self.sides.old.iter().filter_map(|row| Some((ids.of(row.of)?, whole(row))));
        orphans.filter(|(id, row)| shown.get(id) != Some(row)).map(|(_, row)| row).collect()
    }

    /// Not one that went to a row which is to the letter another one that is known, which has lost its own id, nor to
    /// another business while its own row stands under another id, nor a booking of another business and amount: such
    /// an id has moved. Where one has, an id alone does not say that a pending row was booked with another amount.
    fn pair_only_ones(&mut self, old: &HashMap<&str, Vec<usize>>, new: &HashMap<&str, Vec<usize>>) {
        let mut pairs = Vec::new();
        for (id, old) in old {
            let ([old], Some([new])) = (old.as_slice(), new.get(id).map(Vec::as_slice)) else { continue };
            if let (Some(before), Some(after)) = (self.sides.old.get(*old), self.sides.new.get(*new)) {
                pairs.push((*old, *new, before, after));
            }
        }
        if pairs.is_empty() {
            return;
        }
        let whole = |row: &'a Row<'a>| (row.content(), row.exact());
        let orphans = self.orphans();
        let shown: HashSet<_> = self.sides.new.iter().map(|row| (row.content(), row.exact())).collect();
        let is_same =
            |old: &Row<'_>, new: &Row<'_>| old.content() == new.content() && old.exact() == new.exact();
        let is_settled = |old: &Row<'_>, new: &Row<'_>| {
            old.of.status == new.of.status || old.of.money == new.of.money || alike(old, new)
        };
        let has_moved = |old: &'a Row<'a>, new: &'a Row<'a>| {
            !is_same(old, new)
                && (orphans.contains(&whole(new))
                    || (shown.contains(&whole(old)) && !alike(old, new))
                    || !is_settled(old, new))
        };
        let (moved, kept): (Vec<_>, Vec<_>) =
            pairs.into_iter().partition(|(_, _, before, after)| has_moved(before, after));
        for (old, new, before, after) in kept {
            if moved.is_empty() || before.of.status == after.of.status || before.of.money == after.of.money {
                self.pair(old, new, false);
            }
        }
    }

    /// Equal contents, the n-th twin with the n-th: first those that are equal to the letter, and those of the same
    /// running balance, then in the order of their balances, which a row inserted before them moves alike. Which twin is which can't matter
    /// otherwise: they are equal; one that was missing before is the one that is missing now. A row that the reading
    /// would not have shown is no row with another id, nor one that was shown on two pages in other letters.
    fn by_content(&mut self, and_balance: bool, exactly: bool) {
        type Key<'a> = (Content<'a>, Option<i64>, Option<Exact<'a>>);
        let key = |row: &'a Row<'a>| -> Option<Key<'a>> {
            let balance = row.of.balance_after;
            let exact = exactly.then(|| row.exact());
            (!and_balance || balance.is_some())
                .then(|| (row.content(), balance.filter(|_| and_balance), exact))
        };
        let old = groups(self.free_old().filter_map(|(place, row)| Some((key(row)?, place))));
        let new = groups(self.free_new().filter_map(|(place, row)| Some((key(row)?, place))));
        for (key, mut old) in old {
            let Some(found) = new.get(&key) else { continue };
            let mut found = found.clone();
            if !exactly && !old.iter().all(|place| self.covered(*place)) {
                found.retain(|place| !self.sides.reading.may_be_again(*place));
            }
            let balance =
                |rows: &[Row<'_>], place: usize| rows.get(place).and_then(|row| row.of.balance_after);
            let missed = |place: usize| self.sides.known.get(place).is_some_and(|row| row.missed > 0);
            let fewer = found.len() < old.len();
            old.sort_by_key(|place| (fewer && missed(*place), balance(self.sides.old, *place), *place));
            found.sort_by_key(|place| (balance(self.sides.new, *place), *place));
            self.pair_twins(&old, &found);
        }
    }

    fn pair_twins(&mut self, old: &[usize], new: &[usize]) {
        let (old_rows, new_rows, ids) = (self.sides.old, self.sides.new, self.sides.ids);
        let has_id = |place: usize| new_rows.get(place).is_some_and(|row| ids.immutable(row.of).is_some());
        let (mut named, mut nameless): (VecDeque<_>, VecDeque<_>) =
            new.iter().copied().enumerate().partition(|(_, place)| has_id(*place));
        for old in old {
            let Some(row) = old_rows.get(*old) else { continue };
            let is_named = ids.immutable(row.of).is_some();
            let named_one = named.front().filter(|_| self.covered(*old) || !is_named);
            let likely = if is_named { [named_one, nameless.front()] } else { [nameless.front(), named_one] };
            let Some((_, next)) = likely.into_iter().flatten().next().copied() else { continue };
            for queue in [&mut named, &mut nameless] {
                if queue.front().is_some_and(|(_, place)| *place == next) {
                    queue.pop_front();
                }
            }
            self.pair(*old, next, false);
        }
    }

    /// The same day, amount and balance after it, described alike: the same row in other words, wherever the reading
    /// ends.
    fn by_running_balance(&mut self) {
        let key = |row: &Row<'_>| {
            let counts = row.of.status == TransactionStatus::Booked && row.of.money.minor != 0;
            row.of.balance_after.filter(|_| counts).map(|balance| (row.of.money, balance))
        };
        let old = groups(self.free_old().filter_map(|(place, row)| Some((key(row)?, place))));
        let new = groups(self.free_new().filter_map(|(place, row)| Some((key(row)?, place))));
        for (key, old) in old {
            let ([old], Some([new])) = (old.as_slice(), new.get(&key).map(Vec::as_slice)) else { continue };
            if let (Some(before), Some(after)) = (self.sides.old.get(*old), self.sides.new.get(*new))
                && before.of.booked_on == after.of.booked_on
                && is_amended(before, after)
                && !self.sides.ids.part(before.of, after.of)
            {
                self.pair(*old, *new, false);
            }
        }
    }

    /// Rows that the reading need not have shown, and their equals under other ids: the same rows, if the ids of
    /// others changed too, now or before, no known id is shown at all, or that very id stood on another row. A balance
    /// may say otherwise.
    fn at_the_edge(&mut self) {
        let ids = self.sides.ids;
        let (mut kept, mut renamed) = (0_usize, 0_usize);
        for (old, partner) in self.sides.old.iter().zip(&self.matches.partner) {
            let new = partner.and_then(|partner| self.sides.new.get(partner));
            match new.map(|new| (ids.immutable(old.of), ids.immutable(new.of))) {
                Some((Some(old), Some(new))) if old == new => kept += 1,
                Some((Some(_), Some(_))) => renamed += 1,
                _ => {}
            }
        }
        self.matches.rotated = renamed > kept;
        let all_may = self.matches.rotated || kept == 0;
        let left: HashSet<&str> = self.free_old().filter_map(|(_, row)| ids.of(row.of)).collect();
        let has_moved = |row: &Row<'_>| ids.of(row.of).is_some_and(|id| left.contains(id));
        let old = groups(self.free_old().map(|(place, row)| (row.content(), place)));
        let new = self.free_new().filter(|(_, row)| all_may || has_moved(row));
        let new = groups(new.map(|(place, row)| (row.content(), place)));
        for (content, old) in old {
            let again = |new: &&usize| self.sides.reading.may_be_again(**new);
            let new: Vec<usize> =
                new.get(&content).into_iter().flatten().filter(|new| !again(new)).copied().collect();
            for (old, new) in old.into_iter().zip(new) {
                self.pair(old, new, false);
            }
        }
    }

    /// Are the rows that are left on both sides the same ones with new ids, by amount and day?
    fn are_reissued(&self) -> bool {
        let ids = self.sides.ids;
        let key = |row: &Row<'_>| (row.of.status, row.of.booked_on, row.of.money.minor);
        let gone =
            self.free_old().filter(|(place, row)| self.covered(*place) && ids.immutable(row.of).is_some());
        let gone = groups(gone.map(|(place, row)| (key(row), place)));
        let come = groups(
            self.free_new()
                .filter(|(_, row)| ids.immutable(row.of).is_some())
                .map(|(place, row)| (key(row), place)),
        );
        let both: usize =
            gone.iter().map(|(key, gone)| gone.len().min(come.get(key).map_or(0, Vec::len))).sum();
        let covered = self.sides.covered.iter().filter(|covered| **covered).count();
        both >= REISSUED_ROWS || both * 2 > covered
    }
}

/// Could it be one row of the same amount that the bank dated or described anew?
pub(super) fn is_amended(old: &Row<'_>, new: &Row<'_>) -> bool {
    old.of.status == new.of.status
        && old.of.money == new.of.money
        && alike(old, new)
        && days_between(old, new).is_none_or(|days| days.abs() <= CORRECTION_DAYS_MAX)
}

pub(super) fn groups<K: Hash + Eq>(rows: impl Iterator<Item = (K, usize)>) -> HashMap<K, Vec<usize>> {
    let mut groups: HashMap<K, Vec<usize>> = HashMap::new();
    for (key, place) in rows {
        compared();
        groups.entry(key).or_default().push(place);
    }
    groups
}
