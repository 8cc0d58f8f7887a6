//! The only end-to-end proof there is: what our booked rows add up to is what the bank says it holds.
//!
//! `expected` is anchored at the first booked balance and moved by every change since, so a row that the bank
//! hid at one look and shows at the next is explained then. The balance also decides what the rows leave open:
//! whether missing rows are gone, and how often rows count that stand there twice.

use super::Observed;
use crate::model::{Balance, BalanceKind, Money, Proof, StoredTransaction, Transaction, TransactionStatus};
use chrono::NaiveDate;

/// Rows that are weighed in every combination: 2¹² of them cost less than a millisecond.
const WEIGHED_MAX: usize = 12;

/// The balance that proves: booked, without pending rows, and the customer's own money.
pub fn booked_balance(balances: &[Balance]) -> Option<Money> {
    booked(balances).and_then(Balance::own_money)
}

fn booked(balances: &[Balance]) -> Option<&Balance> {
    let proves = |balance: &&Balance| balance.kind == BalanceKind::Booked && !balance.includes_pending;
    balances.iter().filter(proves).find(|balance| balance.own_money().is_some())
}

/// Does a statement that brings its own balances add up: opening + booked rows = closing? None if it
/// brings none. Rows in other currencies don't count.
pub(super) fn adds_up(observed: &Observed) -> Option<bool> {
    let of = |kind| {
        let mut found = observed.balances.iter().filter(|balance| balance.kind == kind);
        found.next().filter(|_| found.next().is_none()).and_then(Balance::own_money)
    };
    let (opening, closing) = (of(BalanceKind::Opening)?, of(BalanceKind::Closing)?);
    let moved: i128 = observed.transactions.iter().map(|row| weight(row, closing)).sum();
    (opening.currency == closing.currency)
        .then(|| i128::from(opening.minor) + moved == i128::from(closing.minor))
}

/// What a row adds to a booked balance of that currency.
pub(super) fn weight(row: &Transaction, of: Money) -> i128 {
    let counts = row.status == TransactionStatus::Booked && row.money.currency == of.currency;
    if counts { i128::from(row.money.minor) } else { 0 }
}

/// What is to be explained: the bank's balance, less what we would expect.
pub(super) struct Scale {
    pub(super) balance: Money,
    /// Everything counts; and, where rows are dated after the balance, only what is not.
    needed: Vec<i128>,
}

/// What the rows would have to add up to, if the bank gives a balance that proves and we have an anchor.
/// `moved`: by how much the changes that are certain move it. `now`: the rows as they are after them.
pub(super) fn scale<'a>(
    expected: Option<Money>,
    observed: &Observed,
    moved: i128,
    now: impl Iterator<Item = &'a Transaction>,
) -> Option<Scale> {
    let balance = booked_balance(&observed.balances)?;
    let expected = expected.filter(|expected| expected.currency == balance.currency)?;
    let needed = i128::from(balance.minor) - i128::from(expected.minor) - moved;
    let not_yet = not_yet(observed, balance, now);
    let mut needed = vec![needed];
    if not_yet != 0 {
        needed.extend(needed.first().map(|needed| needed + not_yet));
    }
    Some(Scale { balance, needed })
}

/// What the balance says of the rows that are open.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Weighed {
    /// For each absent row, whether it is gone.
    pub(super) gone: Vec<bool>,
    /// For each doubt, by how many rows the reading is to be counted otherwise: fewer, or more.
    pub(super) otherwise: Vec<i64>,
    /// Some of the absent rows are gone and others are not, and nobody knows which.
    pub(super) unclear: bool,
}

impl Scale {
    /// What there is to explain, in minor units.
    pub(super) fn difference(&self) -> i64 {
        let needed = self.needed.first().copied().unwrap_or(0);
        i64::try_from(needed).unwrap_or(if needed < 0 { i64::MIN } else { i64::MAX })
    }

    /// What explains the balance, the least that does: nothing, all absent rows gone, some of them, and only
    /// then rows counted otherwise. None if nothing does, or several things would.
    pub(super) fn weigh(
        &self,
        absent: &[&StoredTransaction],
        doubts: &[Open<'_>],
        in_doubt: bool,
    ) -> Option<Weighed> {
        let weights: Vec<i128> = absent.iter().map(|row| weight(&row.transaction, self.balance)).collect();
        let all: i128 = weights.iter().sum();
        let none =
            || Weighed { gone: vec![false; absent.len()], otherwise: vec![0; doubts.len()], unclear: false };
        let every = || Weighed { gone: vec![true; absent.len()], ..none() };
        for needed in &self.needed {
            if *needed == 0 {
                return Some(none());
            }
            if *needed == -all {
                return Some(every());
            }
        }
        if in_doubt {
            return None; // what nothing explained last time decides nothing now
        }
        self.needed.iter().find_map(|needed| {
            match subsets(&weights, -*needed) {
                Subsets::One(gone) => return Some(Weighed { gone, ..none() }),
                // Whichever of them went: others did not.
                Subsets::Several => return Some(Weighed { unclear: true, ..none() }),
                Subsets::None => {}
            }
            if let Some(otherwise) = only_counts(doubts, self.balance, *needed) {
                return Some(Weighed { otherwise, ..none() });
            }
            let otherwise = only_counts(doubts, self.balance, *needed + all)?;
            Some(Weighed { otherwise, ..every() })
        })
    }
}

/// Equal rows of which some are new, and how much less or more often they may count.
pub(super) struct Open<'a> {
    pub(super) row: &'a Transaction,
    pub(super) fewer: usize,
    pub(super) more: usize,
}

/// Which rows have a sum.
enum Subsets {
    None,
    One(Vec<bool>),
    /// Of other weights each.
    Several,
}

/// The subsets of that sum, but for none and all of the rows.
fn subsets(weights: &[i128], sum: i128) -> Subsets {
    if weights.len() > WEIGHED_MAX {
        return Subsets::None;
    }
    let chosen = |set: u32| weights.iter().enumerate().filter(move |(place, _)| set & (1 << place) != 0);
    let mut found: Option<(Vec<i128>, u32)> = None;
    for set in 1..(1_u32 << weights.len()).saturating_sub(1) {
        if chosen(set).map(|(_, weight)| weight).sum::<i128>() != sum {
            continue;
        }
        let mut kind: Vec<i128> = chosen(set).map(|(_, weight)| *weight).collect();
        kind.sort_unstable();
        match &found {
            Some((other, _)) if *other != kind => return Subsets::Several,
            Some(_) => {}
            None => found = Some((kind, set)),
        }
    }
    match found {
        Some((_, set)) => Subsets::One((0..weights.len()).map(|place| set & (1 << place) != 0).collect()),
        None => Subsets::None,
    }
}

/// The only way to count the doubtful rows otherwise that adds so much; fewest rows first.
fn only_counts(doubts: &[Open<'_>], of: Money, needed: i128) -> Option<Vec<i64>> {
    let mut best: Option<(i64, Vec<i64>)> = None;
    let mut several = false;
    let steps: Vec<(i128, i64, i64)> = doubts
        .iter()
        .map(|open| {
            let bound = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            (weight(open.row, of), -bound(open.fewer), bound(open.more))
        })
        .collect();
    let mut budget = 1_u32 << WEIGHED_MAX;
    let mut stack: Vec<(Vec<i64>, i128)> = vec![(Vec::new(), needed)];
    while let Some((counts, left)) = stack.pop() {
        budget = budget.checked_sub(1)?;
        let Some((weight, fewest, most)) = steps.get(counts.len()) else {
            let size: i64 = counts.iter().map(|count| count.abs()).sum();
            if left == 0 && size > 0 {
                match &best {
                    Some((known, _)) if *known < size => {}
                    Some((known, _)) if *known == size => several = true,
                    _ => (best, several) = (Some((size, counts)), false),
                }
            }
            continue;
        };
        // A group alone may be as large as it likes: the count follows from what is left.
        if counts.len() + 1 == steps.len() && *weight != 0 {
            let count = i64::try_from(left / weight).ok().filter(|_| left % weight == 0);
            if let Some(count) = count.filter(|count| (*fewest..=*most).contains(count)) {
                stack.push(([counts, vec![count]].concat(), 0));
            }
            continue;
        }
        for count in *fewest..=*most {
            stack.push(([counts.clone(), vec![count]].concat(), left - weight * i128::from(count)));
        }
    }
    best.filter(|_| !several).map(|(_, counts)| counts)
}

/// Where the proof stands from now on. The first balance is the anchor; rows dated after it are not yet in it.
pub(super) fn anchored<'a>(
    expected: Option<Money>,
    observed: &Observed,
    moved: i128,
    rows: impl Iterator<Item = &'a Transaction>,
) -> Option<Money> {
    let found = booked_balance(&observed.balances);
    let at = |money: Money, by: i128| {
        let minor = i64::try_from(i128::from(money.minor) + by).ok()?;
        Some(Money { minor, ..money })
    };
    match (expected, found) {
        (Some(expected), found) if found.is_none_or(|found| found.currency == expected.currency) => {
            at(expected, moved)
        }
        (_, Some(found)) => at(found, not_yet(observed, found, rows)),
        (_, None) => None,
    }
}

/// What the rows weigh that are dated after the balance.
fn not_yet<'a>(observed: &Observed, of: Money, rows: impl Iterator<Item = &'a Transaction>) -> i128 {
    let as_of = booked(&observed.balances).and_then(|balance| balance.as_of).map(|at| at.utc().date_naive());
    let day = as_of.into_iter().chain(observed.today).min();
    let later =
        |row: &&Transaction| row.booked_on.zip(day).is_some_and(|(booked, day): (NaiveDate, _)| booked > day);
    rows.filter(later).map(|row| weight(row, of)).sum()
}

/// The word for it.
pub(super) fn word(scale: Option<&Scale>, left: i128) -> Proof {
    match scale {
        None => Proof::Unproved,
        Some(scale) if scale.needed.contains(&left) => Proof::Proved,
        Some(_) => Proof::Contradicted,
    }
}
