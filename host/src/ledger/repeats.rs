//! Rows that stand in a reading more than once: twins, or one row on two pages?
//!
//! Banks page over lists that move, so a row may come twice. With an id that names it, it is one row. Without,
//! equal rows are twins, unless they show the same balance after them, which twins can't but by chance. What was
//! decided this way the balance may overrule.

use super::counted::compared;
use super::identity::{Content, Ids, Letters, Row};
use crate::model::{Transaction, TransactionStatus};
use foldhash::{HashMap, HashMapExt};
use std::ops::Range;

/// A reading, each row as often as it counts.
pub(super) struct Reading<'a> {
    pub(super) rows: Vec<Row<'a>>,
    /// What could be otherwise.
    pub(super) doubts: Vec<Doubt>,
    letters: Letters<'a>,
    /// The places among the rows of those that are equal to the letter, by the number of their letters.
    places: Vec<Range<usize>>,
}

impl Reading<'_> {
    /// The number of the group of rows that are equal to this one to the letter, if there is one.
    pub(super) fn group_of(&self, row: &Transaction) -> Option<usize> {
        self.letters.find(row)
    }

    /// This row is equal to the letter to the one before: it may be that one, on another page.
    pub(super) fn may_be_again(&self, place: usize) -> bool {
        let at = self.doubts.partition_point(|doubt| doubt.places.end <= place);
        self.doubts.get(at).is_some_and(|doubt| doubt.places.start < place)
    }

    /// The places of each group's rows.
    pub(super) fn groups(&self) -> &[Range<usize>] {
        &self.places
    }
}

/// Equal rows that may count less often, or more.
pub(super) struct Doubt {
    /// Their places among the rows; at least one of them counts.
    pub(super) places: Range<usize>,
    /// So many more of them were shown.
    pub(super) left_out: usize,
    /// So many of them are held already.
    pub(super) held: usize,
}

/// Rows that are equal to the letter: the first, and the others, of which there are seldom any.
struct Equal<'a> {
    first: &'a Transaction,
    more: Vec<&'a Transaction>,
}

/// Decides how often each row counts. `held` are the rows that are known.
pub(super) fn count<'a>(ids: Ids, held: &[Row<'_>], shown: &[&'a Transaction]) -> Reading<'a> {
    let mut letters = Letters::new(ids, shown.len());
    let mut equal: Vec<Equal<'a>> = Vec::with_capacity(shown.len());
    for row in shown.iter().copied() {
        compared();
        match equal.get_mut(letters.number(row)) {
            Some(rows) => rows.more.push(row),
            None => equal.push(Equal { first: row, more: Vec::new() }),
        }
    }
    let known = if equal.len() < shown.len() { held_of_each(held, &equal, &letters) } else { Vec::new() };
    let (mut rows, mut doubts) = (Vec::with_capacity(shown.len()), Vec::new());
    let mut places = Vec::with_capacity(equal.len());
    for (group, Equal { first, more }) in equal.into_iter().enumerate() {
        let begin = rows.len();
        rows.push(Row::new(first));
        if !more.is_empty() && ids.of(first).is_none() {
            let shown = more.len() + 1;
            let known = known.get(group).copied().unwrap_or(0);
            let shows_balance = first.balance_after.is_some() && first.money.minor != 0;
            let counted = if shows_balance { known.clamp(1, shown) } else { shown };
            rows.extend(more.into_iter().take(counted - 1).map(Row::new));
            if first.status == TransactionStatus::Booked && first.money.minor != 0 {
                doubts.push(Doubt { places: begin..rows.len(), left_out: shown - counted, held: known });
            }
        }
        places.push(begin..rows.len());
    }
    Reading { rows, doubts, letters, places }
}

/// How many of the held rows each group may be: those that are equal to the letter; then, one for each group that has
/// none, and in the groups' order, those that are left of its contents. A row that is inserted before them moves the
/// balances after them, and may so make those of twins equal.
fn held_of_each(held: &[Row<'_>], equal: &[Equal<'_>], letters: &Letters<'_>) -> Vec<usize> {
    let mut known = vec![0_usize; equal.len()];
    let firsts: Vec<Row<'_>> = equal.iter().map(|group| Row::new(group.first)).collect();
    let mut left: HashMap<Content<'_>, usize> = HashMap::new();
    for row in held {
        compared();
        let group = letters.find(row.of).filter(|group| {
            let shown = equal.get(*group).map_or(0, |group| group.more.len() + 1);
            known.get(*group).is_some_and(|known| *known < shown)
        });
        match group.and_then(|group| known.get_mut(group)) {
            Some(known) => *known += 1,
            None => *left.entry(row.content()).or_default() += 1,
        }
    }
    for is_none in [true, false] {
        for ((known, row), group) in known.iter_mut().zip(&firsts).zip(equal) {
            let Some(left) = left.get_mut(&row.content()) else { continue };
            let most = if is_none { 1 } else { group.more.len() + 1 };
            let taken = most.saturating_sub(*known).min(*left);
            *known += taken;
            *left -= taken;
        }
    }
    known
}
