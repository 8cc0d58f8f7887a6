//! Rows that stand in a reading more than once: twins, or one row on two pages?
//!
//! Banks page over lists that move, so a row may come twice. With an id that names it, it is one row. Without,
//! equal rows are twins, unless they show the same balance after them, which twins can't but by chance. What was
//! decided this way the balance may overrule.

use super::counted::compared;
use super::identity::{Content, Ids, Row, Whole};
use crate::model::{Transaction, TransactionStatus};
use std::collections::HashMap;

/// A reading, each row as often as it counts.
pub(super) struct Reading<'a> {
    pub(super) rows: Vec<Row<'a>>,
    /// What could be otherwise.
    pub(super) doubts: Vec<Doubt>,
}

/// Equal rows that may count less often, or more.
pub(super) struct Doubt {
    /// Their places among the rows; at least one of them counts.
    pub(super) places: Vec<usize>,
    /// So many more of them were shown.
    pub(super) left_out: usize,
    /// So many of them are held already.
    pub(super) held: usize,
}

/// Decides how often each row counts. `held` are the rows that are known.
pub(super) fn count<'a>(ids: Ids, held: &[Row<'_>], shown: &[&'a Transaction]) -> Reading<'a> {
    let mut of_equal: HashMap<Whole<'a>, usize> = HashMap::with_capacity(shown.len());
    let mut equal: Vec<Vec<&'a Transaction>> = Vec::with_capacity(shown.len());
    for row in shown.iter().copied() {
        compared();
        let group = *of_equal.entry(Row::new(row).whole(ids)).or_insert(equal.len());
        match equal.get_mut(group) {
            Some(rows) => rows.push(row),
            None => equal.push(vec![row]),
        }
    }
    let mut of_held: HashMap<(Content<'_>, Option<i64>), usize> = HashMap::new();
    if equal.len() < shown.len() {
        for row in held {
            *of_held.entry((row.content(), row.of.balance_after)).or_default() += 1;
        }
    }
    let mut reading = Reading { rows: Vec::with_capacity(shown.len()), doubts: Vec::new() };
    for rows in equal {
        let Some(first) = rows.first() else { continue };
        if rows.len() == 1 || ids.of(first).is_some() {
            reading.rows.push(Row::new(first));
            continue;
        }
        let one = Row::new(first);
        let known = of_held.get(&(one.content(), first.balance_after)).copied().unwrap_or(0);
        let shows_balance = first.balance_after.is_some() && first.money.minor != 0;
        let counted = if shows_balance { known.clamp(1, rows.len()) } else { rows.len() };
        let places = (reading.rows.len()..reading.rows.len() + counted).collect();
        reading.rows.extend(rows.iter().take(counted).map(|row| Row::new(row)));
        if first.status == TransactionStatus::Booked && first.money.minor != 0 {
            let left_out = rows.len() - counted;
            reading.doubts.push(Doubt { places, left_out, held: known });
        }
    }
    reading
}
