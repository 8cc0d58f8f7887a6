//! What a booked balance decides: which counts of rows add up to it.
//!
//! Each sort of row has a number of copies that may be real, from the fewest to the most. The
//! balance is what stood there before the first row (a number that only balances tell) and all real
//! rows. Rows dated after the balance's day may not count yet. A count is possible if some choice of
//! all the others makes the sum come out; if one count only is possible, the balance decides it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// More sums than this decide nothing anyway.
const SUMS_MAX: usize = 4_096;

/// One sort of booked row.
#[derive(Debug, Clone)]
pub struct Weight {
    /// What one copy weighs.
    pub minor: i64,
    /// How many copies may be real.
    pub copies: RangeInclusive<usize>,
    /// It is dated after the balance's day.
    pub may_wait: bool,
}

/// What the balance leaves possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Possible {
    /// For each sort, how many copies may be real.
    pub copies: Vec<BTreeSet<usize>>,
    /// What may have stood there before the first row.
    pub bases: BTreeSet<i64>,
}

/// What is possible, given what may have stood there before. None: nothing is, or too much to tell.
pub fn weigh(weights: &[Weight], bases: &BTreeSet<i64>, balance: i64) -> Option<Possible> {
    let after = sums(weights.iter().rev())?; // after[i]: of the last i sorts
    let all = after.last()?;
    let bases: BTreeSet<i64> = bases.iter().copied().filter(|base| all.contains(&(balance - base))).collect();
    if bases.is_empty() {
        return None;
    }
    let before = sums(weights.iter())?;
    let copies = weights.iter().enumerate().map(|(place, weight)| {
        let (before, after) = (&before[place], &after[weights.len() - place - 1]);
        let wanted = |own: i64| {
            bases.iter().any(|base| before.iter().any(|sum| after.contains(&(balance - base - sum - own))))
        };
        let options = options(weight).into_iter().filter(|(_, own)| wanted(*own));
        options.map(|(copies, _)| copies).collect()
    });
    Some(Possible { copies: copies.collect(), bases })
}

/// What may have stood there before the first row, by the first balance. None: too much to tell.
pub fn anchor(weights: &[Weight], balance: i64) -> Option<BTreeSet<i64>> {
    Some(sums(weights.iter())?.last()?.iter().map(|sum| balance - sum).collect())
}

/// The sums of the first 0, 1, 2 … sorts.
fn sums<'a>(weights: impl Iterator<Item = &'a Weight>) -> Option<Vec<BTreeSet<i64>>> {
    let mut all = vec![BTreeSet::from([0])];
    for weight in weights {
        let options = options(weight);
        let last = all.last()?;
        let next: BTreeSet<i64> =
            last.iter().flat_map(|sum| options.iter().map(move |(_, own)| sum + own)).collect();
        if next.len() > SUMS_MAX {
            return None;
        }
        all.push(next);
    }
    Some(all)
}

/// How many copies are real, and what they weigh in the balance.
fn options(weight: &Weight) -> Vec<(usize, i64)> {
    let of = |copies: usize| i64::try_from(copies).unwrap_or(0) * weight.minor;
    weight
        .copies
        .clone()
        .flat_map(|copies| {
            let fewest = if weight.may_wait { 0 } else { copies };
            (fewest..=copies).map(move |counted| (copies, counted))
        })
        .map(|(copies, counted)| (copies, of(counted)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(minor: i64, copies: RangeInclusive<usize>) -> Weight {
        Weight { minor, copies, may_wait: false }
    }

    fn check(weights: &[Weight], balance: i64, expected: &[&[usize]]) {
        let possible = weigh(weights, &BTreeSet::from([1_000]), balance);
        let copies = possible.map_or(vec![], |possible| possible.copies);
        let expected: Vec<BTreeSet<usize>> =
            expected.iter().map(|copies| copies.iter().copied().collect()).collect();
        assert_eq!(copies, expected);
    }

    #[test]
    fn a_balance_decides_what_can_be_no_other_way() {
        check(&[rows(-100, 1..=1), rows(-250, 0..=1)], 900, &[&[1], &[0]]);
        check(&[rows(-100, 1..=1), rows(-250, 0..=1)], 650, &[&[1], &[1]]);
        check(&[rows(-100, 0..=1), rows(-100, 0..=1)], 900, &[&[0, 1], &[0, 1]]);
        check(&[rows(-100, 1..=2)], 800, &[&[2]]);
        check(&[rows(-100, 1..=1)], 850, &[]);
        let future = Weight { may_wait: true, ..rows(-100, 0..=1) };
        check(&[future, rows(-250, 0..=1)], 1_000, &[&[0, 1], &[0]]);
    }
}
