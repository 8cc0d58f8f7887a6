//! The best one-to-one assignment within a block, and whether it is the only one.
//!
//! The Hungarian method in its O(n³) form with potentials (Kuhn 1955, Munkres 1957), on at most [`SIDE_MAX`]
//! rows and columns. An assignment of equal worth is found in the graph of the pairs whose reduced cost is zero:
//! there is one if and only if that graph has an alternating cycle.

#![allow(clippy::indexing_slicing)] // every index is below the side that all vectors here are made with

/// Rows, or columns, of a block that is solved exactly: 64³ steps are a fraction of a millisecond.
pub(super) const SIDE_MAX: usize = 64;

/// What a pair of a row and a column is worth; none if they can't be one.
pub(super) struct Worth {
    /// What decides.
    pub(super) tier: i64,
    /// What chooses between equals: smaller than [`FINER`] in sum.
    pub(super) finer: i64,
}

/// So many times more a tier is worth than what is finer.
const FINER: i64 = 100_000;

/// For each row the column that it is assigned, and whether something else could have been as well.
/// `row_class` and `column_class`: equal things, which may change places without anybody noticing.
pub(super) fn best(
    worth: &[Vec<Option<Worth>>],
    row_class: &[usize],
    column_class: &[usize],
) -> Vec<Option<(usize, bool)>> {
    let (rows, columns) = (row_class.len(), column_class.len());
    let side = rows.max(columns);
    let weight = |of: fn(&Worth) -> i64| -> Vec<Vec<i64>> {
        let at = |row: usize, column: usize| worth.get(row)?.get(column)?.as_ref().map(of);
        (0..side).map(|row| (0..side).map(|column| -at(row, column).unwrap_or(0)).collect()).collect()
    };
    let allowed = |row: usize, column: usize| {
        worth.get(row).and_then(|row| row.get(column)).is_some_and(Option::is_some)
    };
    let (assigned, _, _) = hungarian(&weight(|worth| worth.tier * FINER - worth.finer));
    let tiers = weight(|worth| worth.tier);
    let (_, mut of_row, mut of_column) = hungarian(&tiers);
    // Whoever stands alone has a potential of zero; then so may everyone else of that potential.
    let alone = (0..side).find(|row| !allowed(*row, assigned[*row]));
    if let Some(row) = alone {
        let shift = of_row[row];
        of_row.iter_mut().for_each(|potential| *potential -= shift);
        of_column.iter_mut().for_each(|potential| *potential += shift);
    }
    let graph = Graph { rows, columns, row_class, column_class };
    let ambiguous = graph.ambiguous(&assigned, &allowed, |row, column| match (row, column) {
        (Some(row), Some(column)) => {
            allowed(row, column) && tiers[row][column] == of_row[row] + of_column[column]
        }
        (Some(row), None) => alone.is_some() && of_row[row] == 0,
        (None, Some(column)) => alone.is_some() && of_column[column] == 0,
        (None, None) => false,
    });
    (0..rows)
        .map(|row| {
            let column = assigned[row];
            allowed(row, column).then(|| (column, ambiguous & (1 << row_class[row]) != 0))
        })
        .collect()
}

/// Classes of rows and columns, and nobody on either side, whom those have that stand alone.
struct Graph<'a> {
    rows: usize,
    columns: usize,
    row_class: &'a [usize],
    column_class: &'a [usize],
}

/// The class of rows of those who are no row.
const NOBODY: usize = SIDE_MAX;

impl Graph<'_> {
    /// The classes of rows, as bits, that lie on an alternating cycle: each of them takes what another holds, and
    /// no class of columns is passed twice. `is_tight`: a pair (or standing alone) is as good as what was chosen.
    fn ambiguous(
        &self,
        assigned: &[usize],
        allowed: &impl Fn(usize, usize) -> bool,
        is_tight: impl Fn(Option<usize>, Option<usize>) -> bool,
    ) -> u128 {
        let alone = self.columns; // the class of columns of those who have none
        let mut holders = vec![0_u128; self.columns + 1];
        for (row, column) in assigned.iter().copied().enumerate() {
            if allowed(row, column) {
                holders[self.column_class[column]] |= 1 << self.row_class[row];
                continue;
            }
            if row < self.rows {
                holders[alone] |= 1 << self.row_class[row];
            }
            if column < self.columns {
                holders[self.column_class[column]] |= 1 << NOBODY;
            }
        }
        // By class of rows, the classes of columns that it could take.
        let mut takes = [0_u128; SIDE_MAX + 1];
        for row in 0..self.rows {
            for column in (0..self.columns).filter(|column| is_tight(Some(row), Some(*column))) {
                takes[self.row_class[row]] |= 1 << self.column_class[column];
            }
            if is_tight(Some(row), None) {
                takes[self.row_class[row]] |= 1 << alone;
            }
        }
        for column in (0..self.columns).filter(|column| is_tight(None, Some(*column))) {
            takes[NOBODY] |= 1 << self.column_class[column];
        }
        let mut found = 0;
        for without in 0..=self.columns {
            let first: Vec<usize> = (0..=NOBODY).filter(|row| takes[*row] & (1 << without) != 0).collect();
            if first.is_empty() || holders[without] == 0 {
                continue;
            }
            let reach = self.reach(&takes, &holders, without);
            for row in first {
                let others =
                    (0..=NOBODY).filter(|other| *other != row && holders[without] & (1 << other) != 0);
                if others.into_iter().any(|other| reach[other] & (1 << row) != 0) {
                    found |= 1 << row;
                }
            }
        }
        found
    }

    /// Which class of rows leads to which, without one class of columns (Warshall 1962, on bits).
    fn reach(&self, takes: &[u128], holders: &[u128], without: usize) -> [u128; SIDE_MAX + 1] {
        let mut reach = [0_u128; SIDE_MAX + 1];
        for (reached, takes) in reach.iter_mut().zip(takes) {
            for column in (0..=self.columns).filter(|column| *column != without && takes & (1 << column) != 0)
            {
                *reached |= holders[column];
            }
        }
        for through in 0..=NOBODY {
            for from in 0..=NOBODY {
                if reach[from] & (1 << through) != 0 {
                    reach[from] |= reach[through];
                }
            }
        }
        reach
    }
}

/// The cheapest assignment of all rows to all columns: the column of each row, and the potentials of rows and
/// columns, whose sum is at most the cost of a pair, and just that for an assigned one.
fn hungarian(cost: &[Vec<i64>]) -> (Vec<usize>, Vec<i64>, Vec<i64>) {
    let side = cost.len();
    let (mut of_row, mut of_column) = (vec![0_i64; side + 1], vec![0_i64; side + 1]);
    let mut row_of = vec![0_usize; side + 1]; // counted from 1; 0 is none
    let mut came_from = vec![0_usize; side + 1];
    for row in 1..=side {
        row_of[0] = row;
        let mut column = 0;
        let mut least = vec![i64::MAX; side + 1];
        let mut done = vec![false; side + 1];
        while row_of[column] != 0 {
            done[column] = true;
            let (at, mut step, mut next) = (row_of[column], i64::MAX, 0);
            for other in 1..=side {
                if done[other] {
                    continue;
                }
                let reduced = cost[at - 1][other - 1] - of_row[at] - of_column[other];
                if reduced < least[other] {
                    least[other] = reduced;
                    came_from[other] = column;
                }
                if least[other] < step {
                    step = least[other];
                    next = other;
                }
            }
            for other in 0..=side {
                if done[other] {
                    of_row[row_of[other]] += step;
                    of_column[other] -= step;
                } else if other > 0 {
                    least[other] -= step;
                }
            }
            column = next;
        }
        while column != 0 {
            let before = came_from[column];
            row_of[column] = row_of[before];
            column = before;
        }
    }
    let mut assigned = vec![0; side];
    for column in 1..=side {
        assigned[row_of[column] - 1] = column - 1;
    }
    (assigned, of_row[1..].to_vec(), of_column[1..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn solve(tiers: &[&[i64]], rows: &[usize], columns: &[usize]) -> Vec<Option<(usize, bool)>> {
        let worth = |tier: &i64| (*tier > 0).then_some(Worth { tier: *tier, finer: 0 });
        let worth: Vec<Vec<_>> = tiers.iter().map(|row| row.iter().map(worth).collect()).collect();
        best(&worth, rows, columns)
    }

    #[test]
    fn the_only_best_is_certain_and_one_of_two_is_not() {
        assert_eq!(
            solve(&[&[101, 100], &[100, 101]], &[0, 1], &[0, 1]),
            [Some((0, false)), Some((1, false))]
        );
        assert!(
            solve(&[&[100, 100], &[100, 100]], &[0, 1], &[0, 1])
                .iter()
                .all(|pair| pair.is_some_and(|pair| pair.1))
        );
        // One row, two columns that suit it alike; and two equal ones, which nobody can tell apart.
        assert!(solve(&[&[100, 100]], &[0], &[0, 1])[0].is_some_and(|pair| pair.1));
        assert_eq!(solve(&[&[100, 100]], &[0], &[0, 0])[0].map(|pair| pair.1), Some(false));
        // Two rows, one column.
        assert!(solve(&[&[100], &[100]], &[0, 1], &[0]).iter().flatten().all(|pair| pair.1));
        assert!(solve(&[&[100], &[100]], &[0, 0], &[0]).iter().flatten().all(|pair| !pair.1));
        assert_eq!(solve(&[&[0], &[100]], &[0, 1], &[0]), [None, Some((0, false))]);
        // More pairs before better ones.
        assert_eq!(solve(&[&[101, 100], &[100, 0]], &[0, 1], &[0, 1]), [Some((1, false)), Some((0, false))]);
    }

    /// All assignments by trial.
    fn every(
        tiers: &[Vec<i64>],
        row: usize,
        taken: &mut Vec<Option<usize>>,
        found: &mut Vec<(i64, Vec<Option<usize>>)>,
    ) {
        let Some(columns) = tiers.get(row) else {
            let worth = taken
                .iter()
                .enumerate()
                .map(|(row, column)| column.map_or(0, |column| tiers[row][column]))
                .sum();
            found.push((worth, taken.clone()));
            return;
        };
        taken.push(None);
        every(tiers, row + 1, taken, found);
        taken.pop();
        for (column, tier) in columns.iter().enumerate() {
            if *tier > 0 && !taken.contains(&Some(column)) {
                taken.push(Some(column));
                every(tiers, row + 1, taken, found);
                taken.pop();
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_the_best_of_all_and_certain_only_where_all_best_agree(
            tiers in (1_usize..5, 1_usize..5).prop_flat_map(|(rows, columns)| {
                prop::collection::vec(prop::collection::vec(prop_oneof![Just(0), Just(100), Just(101)], columns), rows)
            }),
        ) {
            let mut all = Vec::new();
            every(&tiers, 0, &mut Vec::new(), &mut all);
            let most = all.iter().map(|(worth, _)| *worth).max().unwrap_or(0);
            let best_of_all: Vec<_> = all.iter().filter(|(worth, _)| *worth == most).map(|(_, columns)| columns).collect();
            let rows: Vec<usize> = (0..tiers.len()).collect();
            let columns: Vec<usize> = (0..tiers[0].len()).collect();
            let slices: Vec<&[i64]> = tiers.iter().map(Vec::as_slice).collect();
            let solved = solve(&slices, &rows, &columns);
            let chosen: Vec<Option<usize>> = solved.iter().map(|pair| pair.map(|pair| pair.0)).collect();
            prop_assert!(best_of_all.contains(&&chosen));
            for (row, pair) in solved.iter().enumerate() {
                let Some((_, ambiguous)) = pair else { continue };
                let agree = best_of_all.iter().all(|columns| columns[row] == chosen[row]);
                prop_assert_eq!(*ambiguous, !agree, "row {} of {:?}", row, &tiers);
            }
        }
    }
}
