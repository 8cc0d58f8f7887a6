//! Work grows with the rows, and no faster: counted, not timed.

use super::*;
use crate::ledger::counted::comparisons;

/// 25 rows a day, the newest first; with ids or without.
fn statement(rows: u32, has_ids: bool) -> Observed {
    let of = |place: u32| {
        let id = if has_ids { format!("id {place}") } else { String::new() };
        let row = row(&id, 1, -100 - i64::from(place % 977), &format!("CARD PAYMENT {place}"));
        let booked_on = day(1).checked_add_days(chrono::Days::new(u64::from(place / 25)));
        Transaction { booked_on, ..row }
    };
    let rows: Vec<Transaction> = (0..rows).rev().map(of).collect();
    let sum = rows.iter().map(|row| row.money.minor).sum();
    let mut look = whole_month(rows, booked(sum));
    let window = &mut look.coverage.as_mut().unwrap().window;
    (window.since, window.until) = (day(1) - chrono::Days::new(1), day(1) + chrono::Days::new(5_000));
    look
}

/// Comparisons per row of a look that shows so many rows again, and one in a hundred that is new.
fn per_row(rows: u32, has_ids: bool) -> f64 {
    let mut held = Held::default();
    held.look(&statement(rows, has_ids));
    let then = statement(rows + rows / 100, has_ids);
    let mut changes = 0;
    let count = comparisons(|| changes = held.judge(&then).unwrap().changes.len());
    assert_eq!(changes, usize::try_from(rows / 100).unwrap());
    #[allow(clippy::cast_precision_loss)] // far below 2⁵²
    let count = count as f64;
    count / f64::from(rows)
}

#[test]
fn a_hundred_times_the_rows_take_a_hundred_times_the_comparisons() {
    for has_ids in [true, false] {
        let (small, large) = (per_row(1_000, has_ids), per_row(100_000, has_ids));
        assert!(large <= small * 1.1, "{small} comparisons per row of 1,000, {large} of 100,000");
    }
}
