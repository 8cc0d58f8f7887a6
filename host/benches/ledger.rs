//! What the ledger costs: `cargo bench -p host --bench ledger`.
//!
//! A look that shows nothing new, by its index and row by row; a large one; hostile looks of 10,000 rows.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use chrono::{Days, NaiveDate};
use criterion::{BatchSize, Criterion};
use host::ledger::{self, Index, Observed};
use host::model::*;
use std::hint::black_box;
use std::time::Duration;

const HOSTILE_ROWS: u32 = 10_000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1))
        .configure_from_args();

    let mut group = criterion.benchmark_group("unchanged");
    for rows in [25, 100] {
        let shown = look(
            (0..rows).map(|row| booked(row % 14, -100 - i64::from(row), &format!("CARD PAYMENT {row}"))),
        );
        let (known, standing) = held(&shown);
        let verdict = ledger::reconcile(&known, &standing, &shown, false).unwrap();
        let index = Index::of(&shown, &verdict, &known, day(0) - Days::new(1)).unwrap().encode();
        group.bench_function(format!("{rows} rows by index"), |bench| {
            bench.iter(|| Index::decode(black_box(&index)).unwrap().unchanged(&standing, &shown).unwrap())
        });
        group.bench_function(format!("{rows} rows one by one"), |bench| {
            bench.iter(|| ledger::reconcile(&known, &standing, black_box(&shown), false).unwrap())
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("shown again, one row in a hundred new");
    for rows in [1_000, 100_000] {
        let (known, standing) = held(&statement(rows));
        let shown = statement(rows + rows / 100);
        group.bench_function(format!("{rows} rows"), |bench| {
            bench.iter(|| ledger::reconcile(&known, &standing, black_box(&shown), false).unwrap())
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("hostile 10,000 rows");
    let equal = || look((0..HOSTILE_ROWS).map(|_| booked(3, -100, "COFFEE")));
    let cases: [(&str, Observed, Observed); 5] = [
        ("equal, at first", look([].into_iter()), equal()),
        ("equal, again", equal(), equal()),
        ("one amount, all texts new", texts("BEFORE", 0), texts("AFTER", 0)),
        ("one amount, announced and booked", pending_texts(), texts("AFTER", 1)),
        ("156 blocks of 64 by 64", blocks(TransactionStatus::Pending), blocks(TransactionStatus::Booked)),
    ];
    for (name, before, after) in cases {
        let (known, standing) = held(&before);
        group.bench_function(name, |bench| {
            bench.iter_batched(
                || (),
                |()| ledger::reconcile(&known, &standing, black_box(&after), true).unwrap(),
                BatchSize::PerIteration,
            )
        });
    }
    group.finish();
}

fn day(after: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, 2).unwrap() + Days::new(u64::from(after))
}

fn gbp(minor: i64) -> Money {
    Money { minor, currency: Currency::from_code("GBP").unwrap() }
}

fn booked(on: u32, minor: i64, text: &str) -> Transaction {
    Transaction {
        bank_id: None,
        stability: IdStability::None,
        supersedes: None,
        status: TransactionStatus::Booked,
        booked_on: Some(day(on)),
        valued_on: Some(day(on)),
        money: gbp(minor),
        text: text.to_owned(),
        counterparty: Some("SOMEBODY LTD".to_owned()),
        balance_after: None,
        details: "{\"merchant\":\"5814\"}".to_owned(),
    }
}

/// Of a bank whose ids name rows; the newest first, 25 a day.
fn statement(rows: u32) -> Observed {
    look((0..rows).rev().map(|row| Transaction {
        bank_id: Some(format!("2026-{row:09}")),
        stability: IdStability::Immutable,
        ..booked(row / 25, -100 - i64::from(row % 977), &format!("CARD PAYMENT {row} LONDON GB"))
    }))
}

fn texts(word: &str, shift: u32) -> Observed {
    look((0..HOSTILE_ROWS).map(|row| booked(row % 20 + shift, -100, &format!("{word} {row}"))))
}

fn pending_texts() -> Observed {
    look((0..HOSTILE_ROWS).map(|row| Transaction {
        status: TransactionStatus::Pending,
        ..booked(row % 20, -100, &format!("BEFORE {row}"))
    }))
}

/// Rows of 156 amounts, 64 each, whose texts are all different.
fn blocks(status: TransactionStatus) -> Observed {
    look((0..HOSTILE_ROWS).map(|row| Transaction {
        status,
        ..booked(row % 10, -100 - i64::from(row / 64), &format!("{status:?} {row}"))
    }))
}

fn look(rows: impl Iterator<Item = Transaction>) -> Observed {
    let transactions: Vec<_> = rows.collect();
    let counts = |row: &&Transaction| row.status == TransactionStatus::Booked;
    let sum = transactions.iter().filter(counts).map(|row| row.money.minor).sum();
    let coverage = Coverage {
        snapshot: true,
        complete: true,
        window: Window { since: day(0) - Days::new(1), until: day(5_000) },
        statuses: vec![TransactionStatus::Pending, TransactionStatus::Booked],
    };
    Observed {
        transactions,
        balances: vec![Balance {
            kind: BalanceKind::Booked,
            money: gbp(sum),
            as_of: None,
            includes_pending: false,
            credit_included: Credit::None,
        }],
        coverage: Some(coverage),
        today: Some(day(5_000)),
        ..Observed::default()
    }
}

/// What is held after that look.
fn held(look: &Observed) -> (Vec<StoredTransaction>, Standing) {
    let verdict = ledger::reconcile(&[], &Standing::default(), look, false).unwrap();
    let account = AccountId::from_bytes(&[7; 16]).unwrap();
    let store = |(place, change): (usize, NewChange)| {
        let NewChange::Added { after, .. } = change else { unreachable!("everything is new") };
        let number = i64::try_from(place).unwrap() + 1;
        StoredTransaction {
            id: TransactionId { account, number },
            transaction: after,
            first_seen_at: Timestamp(number),
            changed_at: Timestamp(number),
            last_seq: number,
            missed: 0,
        }
    };
    (verdict.changes.into_iter().enumerate().map(store).collect(), verdict.standing)
}
