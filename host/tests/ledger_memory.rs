//! What the ledger takes of memory while it compares: counted in bytes, in a process of its own.

#![allow(clippy::unwrap_used, missing_docs)]

use chrono::{Days, NaiveDate};
use host::ledger::{self, Observed};
use host::model::*;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn statement(rows: usize) -> Observed {
    let first = NaiveDate::from_ymd_opt(2026, 3, 2).unwrap();
    let transactions = (0..rows).rev().map(|row| {
        let day = first + Days::new(u64::try_from(row / 25).unwrap());
        Transaction {
            bank_id: Some(format!("2026-{row:09}")),
            stability: IdStability::Immutable,
            supersedes: None,
            status: TransactionStatus::Booked,
            booked_on: Some(day),
            valued_on: Some(day),
            money: Money {
                minor: -100 - i64::try_from(row % 977).unwrap(),
                currency: Currency::from_code("GBP").unwrap(),
            },
            text: format!("CARD PAYMENT {row} LONDON GB"),
            counterparty: Some("SOMEBODY LTD".to_owned()),
            balance_after: None,
            details: "{\"merchant\":\"5814\"}".to_owned(),
        }
    });
    let (transactions, last) = (transactions.collect(), first + Days::new(5_000));
    let window = Window { since: first - Days::new(1), until: last };
    let statuses = vec![TransactionStatus::Pending, TransactionStatus::Booked];
    Observed {
        transactions,
        coverage: Some(Coverage { snapshot: true, complete: true, window, statuses }),
        today: Some(last),
        ..Observed::default()
    }
}

/// Bytes per row that are needed at once to compare so many rows with themselves and one in a hundred that is new.
fn bytes_per_row(rows: usize) -> usize {
    let (standing, shown) = (Standing::default(), statement(rows + rows / 100));
    let number = |number: usize, transaction: &Transaction| StoredTransaction {
        id: TransactionId { account: AccountId::new(), number: i64::try_from(number).unwrap() },
        transaction: transaction.clone(),
        first_seen_at: Timestamp(0),
        changed_at: Timestamp(0),
        last_seq: 1,
        missed: 0,
    };
    let known: Vec<_> =
        statement(rows).transactions.iter().enumerate().map(|(at, row)| number(at + 1, row)).collect();
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let verdict = ledger::reconcile(&known, &standing, &shown, false).unwrap();
    assert_eq!(verdict.changes.len(), rows / 100);
    (MEMORY.peak_usage() - before) / rows
}

#[test]
fn a_hundred_times_the_rows_take_a_hundred_times_the_memory() {
    let (small, large) = (bytes_per_row(1_000), bytes_per_row(100_000));
    assert!(large <= small + small / 10, "{small} bytes per row of 1,000, {large} of 100,000");
    println!("{small} bytes per row of 1,000, {large} of 100,000");
}
