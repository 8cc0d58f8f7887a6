//! Which row became which: one to one, in a fixed order of rules.

use super::assign::{self, SIDE_MAX, Worth};
use super::identity::{Content, Exact, Ids, Row, alike};
use crate::model::{Link, StoredTransaction, TransactionStatus};
use chrono::NaiveDate;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// Days between announcement and booking: card payments take up to two weeks.
const SETTLEMENT_DAYS_MAX: i64 = 14;
/// Days that the bank may move a booked row, or a pending one: a value date, a weekend.
const CORRECTION_DAYS_MAX: i64 = 7;
/// A booked amount may be this much of the announced one and back, in percent: tips and exchange
/// rates, not another purchase.
const AMOUNT_PERCENT_MAX: i128 = 150;
/// Pairs that the rule for changed amounts looks at; beyond that nothing would be unique anyway.
pub const PAIRS_MAX: usize = SIDE_MAX * SIDE_MAX;
/// So many rows that are gone while others of their amount and day came under new ids were not exchanged by
/// hand: the bank gives new ids.
const REISSUED_ROWS: usize = 3;
/// How sure a link is, in percent, that one candidate alone has.
const LINK_CONFIDENCE: usize = 90;
/// What any pair is worth beside what a better one is worth more: more pairs come before better ones.
const PAIR: i64 = 1_000;

/// What is compared.
pub(super) struct Sides<'a> {
    pub(super) ids: Ids,
    pub(super) known: &'a [StoredTransaction],
    pub(super) old: &'a [Row<'a>],
    pub(super) new: &'a [Row<'a>],
    /// For each known row, whether the reading would have shown it.
    pub(super) covered: &'a [bool],
    /// The bank has given new ids to most rows at once before.
    pub(super) rotated: bool,
}

/// The outcome.
pub(super) struct Matches {
    /// For each known row, the place of its partner among the new.
    pub(super) partner: Vec<Option<usize>>,
    /// For each new row, whether it has a partner.
    pub(super) taken: Vec<bool>,
    /// For each known row, whether its partner could have been another's.
    pub(super) ambiguous: Vec<bool>,
    /// For each new row, the pending ones that it may be the booking of.
    pub(super) links: BTreeMap<usize, Vec<Link>>,
    /// Most rows have other ids than before, now or at an earlier look.
    pub(super) rotated: bool,
    /// New rows that are taken for known ones which the reading need not have shown.
    pub(super) edge: Vec<usize>,
}

pub(super) fn match_rows(sides: &Sides<'_>) -> Matches {
    let matches = Matches {
        partner: vec![None; sides.old.len()],
        taken: vec![false; sides.new.len()],
        ambiguous: vec![false; sides.old.len()],
        links: BTreeMap::new(),
        rotated: sides.rotated,
        edge: Vec::new(),
    };
    let mut pairing = Pairing { sides, reissued: false, matches };
    pairing.by_id();
    pairing.by_supersedes();
    for (and_balance, exactly) in [(true, true), (true, false), (false, true), (false, false)] {
        pairing.by_content(and_balance, exactly);
    }
    pairing.at_the_edge();
    pairing.reissued = pairing.are_reissued();
    pairing.by_amount();
    pairing.by_other_amount();
    pairing.matches
}

struct Pairing<'a> {
    sides: &'a Sides<'a>,
    /// The bank gave new ids to many rows at once: two ids say no longer that they are two rows.
    reissued: bool,
    matches: Matches,
}

impl<'a> Pairing<'a> {
    fn free_old(&self) -> impl Iterator<Item = (usize, &'a Row<'a>)> + use<'a, '_> {
        let rows = self.sides.old.iter().zip(&self.matches.partner).enumerate();
        rows.filter(|(_, (_, partner))| partner.is_none()).map(|(place, (row, _))| (place, row))
    }

    fn free_new(&self) -> impl Iterator<Item = (usize, &'a Row<'a>)> + use<'a, '_> {
        let rows = self.sides.new.iter().zip(&self.matches.taken).enumerate();
        rows.filter(|(_, (_, taken))| !**taken).map(|(place, (row, _))| (place, row))
    }

    fn covered(&self, old: usize) -> bool {
        self.sides.covered.get(old).copied().unwrap_or(false)
    }

    fn pair(&mut self, old: usize, new: usize, ambiguous: bool) {
        let Matches { partner, taken, ambiguous: doubts, .. } = &mut self.matches;
        if let (Some(partner), Some(taken), Some(doubt)) =
            (partner.get_mut(old), taken.get_mut(new), doubts.get_mut(old))
        {
            (*partner, *taken, *doubt) = (Some(new), true, ambiguous);
        }
    }

    /// Equal ids, each standing once on both sides; an id that stands twice names nothing.
    fn by_id(&mut self) {
        let ids = self.sides.ids;
        let old = groups(self.free_old().filter_map(|(place, row)| Some((ids.of(row.of)?, place))));
        let new = groups(self.free_new().filter_map(|(place, row)| Some((ids.of(row.of)?, place))));
        self.pair_only_ones(&old, &new);
    }

    /// The bank says which pending row this one replaces.
    fn by_supersedes(&mut self) {
        let pending = self.free_old().filter(|(_, row)| row.of.status == TransactionStatus::Pending);
        let old = groups(pending.filter_map(|(place, row)| Some((row.of.bank_id.as_deref()?, place))));
        let new =
            groups(self.free_new().filter_map(|(place, row)| Some((row.of.supersedes.as_deref()?, place))));
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

    /// Not one that went to a row which is to the letter another one that is known, which has lost its own id, nor a
    /// booking of another business and amount: such an id has moved.
    fn pair_only_ones(&mut self, old: &HashMap<&str, Vec<usize>>, new: &HashMap<&str, Vec<usize>>) {
        let orphans = self.orphans();
        let has_moved = |old: &Row<'_>, new: &Row<'_>| {
            let same = old.content() == new.content() && old.exact() == new.exact();
            let settled = old.of.status == new.of.status || old.of.money == new.of.money || alike(old, new);
            !same && (orphans.contains(&(new.content(), new.exact())) || !settled)
        };
        for (id, old) in old {
            let ([old], Some([new])) = (old.as_slice(), new.get(id).map(Vec::as_slice)) else { continue };
            if let (Some(before), Some(after)) = (self.sides.old.get(*old), self.sides.new.get(*new))
                && !has_moved(before, after)
            {
                self.pair(*old, *new, false);
            }
        }
    }

    /// Equal contents, the n-th twin with the n-th: first those that are equal to the letter, and those of the same
    /// running balance, then in the order of their balances, which a row inserted before them moves alike. Which twin is which can't matter
    /// otherwise: they are equal. A row that the reading would not have shown is no row with another id.
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
            let balance =
                |rows: &[Row<'_>], place: usize| rows.get(place).and_then(|row| row.of.balance_after);
            old.sort_by_key(|place| (balance(self.sides.old, *place), *place));
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

    /// Rows that the reading need not have shown, and their equals under other ids: the same rows, if the ids of
    /// others changed too, now or before, or no known id is shown at all. A balance may say otherwise.
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
        self.matches.rotated |= renamed > kept;
        if !self.matches.rotated && kept > 0 {
            return;
        }
        let old = groups(self.free_old().map(|(place, row)| (row.content(), place)));
        let new = groups(self.free_new().map(|(place, row)| (row.content(), place)));
        for (content, old) in old {
            for (old, new) in old.into_iter().zip(new.get(&content).into_iter().flatten()) {
                self.pair(old, *new, false);
                self.matches.edge.push(*new);
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

    /// What is left and of equal amount: a pending row that was booked, a row with a new id and a new text.
    fn by_amount(&mut self) {
        let amount = |row: &Row<'_>| (row.of.money.minor, row.of.money.currency.code());
        let candidates = self
            .free_old()
            .filter(|(place, row)| row.of.status == TransactionStatus::Pending || self.covered(*place));
        let mut old: Vec<_> =
            groups(candidates.map(|(place, row)| (amount(row), place))).into_iter().collect();
        old.sort_unstable_by_key(|(amount, _)| *amount);
        let new = groups(self.free_new().map(|(place, row)| (amount(row), place)));
        for (amount, old) in old {
            let Some(new) = new.get(&amount) else { continue };
            for (old, new) in blocks(self.sides, &old, new) {
                if old.len() <= SIDE_MAX && new.len() <= SIDE_MAX {
                    self.solve(&old, &new);
                } else {
                    self.in_date_order(&old, &new);
                }
            }
        }
    }

    /// Could the known row have become the new one of the same amount? What such a pair is worth.
    fn worth(&self, old: usize, new: usize) -> Option<Worth> {
        use TransactionStatus::{Booked, Pending};
        let is_gone = self.covered(old);
        let (old, new) = (self.sides.old.get(old)?, self.sides.new.get(new)?);
        let days = days_between(old, new);
        let alike = alike(old, new);
        let fits = match (old.of.status, new.of.status) {
            (Pending, Booked) => days.is_none_or(|days| (-1..=SETTLEMENT_DAYS_MAX).contains(&days)),
            (Booked, Pending) => false,
            // One row gone and another come may be two: only the balance can tell, or that all have new ids.
            _ => self.reissued && is_gone && is_amended(old, new),
        };
        let finer = days.map_or(SETTLEMENT_DAYS_MAX, i64::abs);
        let tier = PAIR + 4 * i64::from(old.text == new.text) + 2 * i64::from(alike) + i64::from(is_gone);
        fits.then_some(Worth { tier, finer })
    }

    /// Exactly: as many pairs as possible, the most alike, the nearest in time.
    fn solve(&mut self, old: &[usize], new: &[usize]) {
        let (old_rows, new_rows) = (self.sides.old, self.sides.new);
        let worth: Vec<Vec<Option<Worth>>> =
            old.iter().map(|old| new.iter().map(|new| self.worth(*old, *new)).collect()).collect();
        let solved = assign::best(&worth, &classes(old_rows, old), &classes(new_rows, new));
        for (old, pair) in old.iter().zip(solved) {
            if let Some((column, ambiguous)) = pair
                && let Some(new) = new.get(column)
            {
                self.pair(*old, *new, ambiguous);
            }
        }
    }

    /// Too many to weigh: those of equal text in the order of their dates, then the others.
    fn in_date_order(&mut self, old: &[usize], new: &[usize]) {
        let (old_rows, new_rows) = (self.sides.old, self.sides.new);
        let texts = |rows: &'a [Row<'a>], places: &[usize]| {
            groups(places.iter().filter_map(|place| Some((rows.get(*place)?.text.as_str(), *place))))
        };
        let mut of_text: Vec<_> = texts(old_rows, old).into_iter().collect();
        of_text.sort_unstable();
        let with_text = texts(new_rows, new);
        for (text, old) in of_text {
            self.merge(&old, with_text.get(text).map_or(&[][..], Vec::as_slice));
        }
        let is_free = |taken: Option<bool>| taken == Some(false);
        let partner = |place: &usize| self.matches.partner.get(*place).map(Option::is_some);
        let old: Vec<usize> = old.iter().copied().filter(|place| is_free(partner(place))).collect();
        let taken = |place: &usize| self.matches.taken.get(*place).copied();
        let new: Vec<usize> = new.iter().copied().filter(|place| is_free(taken(place))).collect();
        self.merge(&old, &new);
    }

    /// Walks both lists, which are in the order of their dates, once.
    fn merge(&mut self, old: &[usize], new: &[usize]) {
        let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
        while let (Some(old), Some(new)) = (olds.peek(), news.peek()) {
            let (Some(before), Some(after)) = (self.sides.old.get(**old), self.sides.new.get(**new)) else {
                return;
            };
            if self.worth(**old, **new).is_some() {
                self.pair(**old, **new, true);
                olds.next();
                news.next();
            } else if before.day() <= after.day() {
                olds.next();
            } else {
                news.next();
            }
        }
    }

    /// A pending row and a booked one of another amount: the same business, the same direction, not too far off.
    /// Only if it is gone and can be no other; else both stand, and are linked.
    fn by_other_amount(&mut self) {
        let old: Vec<usize> = self
            .free_old()
            .filter(|(_, row)| row.of.status == TransactionStatus::Pending)
            .map(|(place, _)| place)
            .collect();
        let new: Vec<usize> = self
            .free_new()
            .filter(|(_, row)| row.of.status == TransactionStatus::Booked)
            .map(|(place, _)| place)
            .collect();
        if old.len().saturating_mul(new.len()) > PAIRS_MAX {
            return;
        }
        let mut candidates: Vec<(usize, usize)> = Vec::new();
        let (mut of_old, mut of_new): (HashMap<usize, usize>, HashMap<usize, usize>) = Default::default();
        for old in old {
            for new in &new {
                let (Some(before), Some(after)) = (self.sides.old.get(old), self.sides.new.get(*new)) else {
                    continue;
                };
                if may_have_settled(before, after) {
                    candidates.push((old, *new));
                    *of_old.entry(old).or_default() += 1;
                    *of_new.entry(*new).or_default() += 1;
                }
            }
        }
        for (old, new) in candidates {
            let others = of_old.get(&old).max(of_new.get(&new)).copied().unwrap_or(1);
            if others == 1 && self.covered(old) {
                self.pair(old, new, false);
            } else if let Some(held) = self.sides.known.get(old) {
                let confidence = u8::try_from((LINK_CONFIDENCE / others).max(1)).unwrap_or(1);
                let link = Link { number: held.id.number, confidence };
                self.matches.links.entry(new).or_default().push(link);
            }
        }
    }
}

/// Could it be one row of the same amount that the bank dated or described anew?
pub(super) fn is_amended(old: &Row<'_>, new: &Row<'_>) -> bool {
    old.of.status == new.of.status
        && old.of.money == new.of.money
        && alike(old, new)
        && days_between(old, new).is_none_or(|days| days.abs() <= CORRECTION_DAYS_MAX)
}

fn groups<K: Hash + Eq>(rows: impl Iterator<Item = (K, usize)>) -> HashMap<K, Vec<usize>> {
    let mut groups: HashMap<K, Vec<usize>> = HashMap::new();
    for (key, place) in rows {
        groups.entry(key).or_default().push(place);
    }
    groups
}

/// Equal rows have equal numbers, which are below the count of rows.
fn classes(rows: &[Row<'_>], places: &[usize]) -> Vec<usize> {
    let mut known: HashMap<(Content<'_>, &str), usize> = HashMap::new();
    let mut class = |place: &usize| {
        let row = rows.get(*place)?;
        let next = known.len();
        Some(*known.entry((row.content(), row.of.details.as_str())).or_insert(next))
    };
    places.iter().map(|place| class(place).unwrap_or(0)).collect()
}

/// Rows of one amount, cut where no row of one part could be one of the other: both sides in the order of dates.
fn blocks(sides: &Sides<'_>, old: &[usize], new: &[usize]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let undated = NaiveDate::MAX;
    let day = |rows: &[Row<'_>], place: usize| rows.get(place).and_then(Row::day).unwrap_or(undated);
    let mut all: Vec<(NaiveDate, bool, usize)> =
        old.iter().map(|place| (day(sides.old, *place), false, *place)).collect();
    all.extend(new.iter().map(|place| (day(sides.new, *place), true, *place)));
    // A row without a date may be any.
    let whole = all.iter().any(|(day, _, _)| *day == undated);
    all.sort_unstable();
    let mut blocks: Vec<(Vec<usize>, Vec<usize>)> = vec![Default::default()];
    let mut before: Option<NaiveDate> = None;
    for (day, is_new, place) in all {
        let far = before.is_some_and(|before| (day - before).num_days() > SETTLEMENT_DAYS_MAX);
        if far && !whole {
            blocks.push(Default::default());
        }
        before = Some(day);
        if let Some((old, new)) = blocks.last_mut() {
            if is_new { new.push(place) } else { old.push(place) }
        }
    }
    blocks.retain(|(old, new)| !old.is_empty() && !new.is_empty());
    blocks
}

fn days_between(old: &Row<'_>, new: &Row<'_>) -> Option<i64> {
    Some((new.day()? - old.day()?).num_days())
}

/// Booked after it was announced, and not too long after, a day's slack for time zones; of the same business,
/// currency and direction, and neither is much more than the other.
fn may_have_settled(old: &Row<'_>, new: &Row<'_>) -> bool {
    let (a, b) = (i128::from(old.of.money.minor), i128::from(new.of.money.minor));
    old.of.money.currency == new.of.money.currency
        && a.signum() == b.signum()
        && a.abs() * 100 <= b.abs() * AMOUNT_PERCENT_MAX
        && b.abs() * 100 <= a.abs() * AMOUNT_PERCENT_MAX
        && days_between(old, new).is_none_or(|days| (-1..=SETTLEMENT_DAYS_MAX).contains(&days))
        && alike(old, new)
}
