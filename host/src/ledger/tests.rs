//! What the ledger must get right: one `check` per rule, and properties over random statements.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use chrono::NaiveDate;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

mod evidence;
mod growth;
mod index;
mod properties;
mod rules;

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, day).unwrap()
}

fn gbp(minor: i64) -> Money {
    Money { minor, currency: Currency::from_code("GBP").unwrap() }
}

fn row(id: &str, on: u32, minor: i64, text: &str) -> Transaction {
    Transaction {
        bank_id: (!id.is_empty()).then(|| id.to_owned()),
        stability: if id.is_empty() { IdStability::None } else { IdStability::Immutable },
        supersedes: None,
        status: TransactionStatus::Booked,
        booked_on: Some(day(on)),
        valued_on: None,
        money: gbp(minor),
        text: text.to_owned(),
        counterparty: None,
        balance_after: None,
        details: "{}".to_owned(),
    }
}

fn pending(id: &str, on: u32, minor: i64, text: &str) -> Transaction {
    let stability = if id.is_empty() { IdStability::None } else { IdStability::Provisional };
    Transaction { status: TransactionStatus::Pending, stability, ..row(id, on, minor, text) }
}

fn booked(minor: i64) -> Vec<Balance> {
    vec![Balance {
        kind: BalanceKind::Booked,
        money: gbp(minor),
        as_of: None,
        includes_pending: false,
        credit_included: Credit::None,
    }]
}

fn whole_month(transactions: Vec<Transaction>, balances: Vec<Balance>) -> Observed {
    let coverage = Coverage {
        snapshot: true,
        window: Window { since: day(1), until: day(31) },
        statuses: vec![TransactionStatus::Pending, TransactionStatus::Booked],
        complete: true,
    };
    Observed { transactions, balances, coverage: Some(coverage), ..Observed::default() }
}

/// A store in memory: what the database would hold after each verdict.
#[derive(Default, Clone)]
struct Held {
    rows: Vec<StoredTransaction>,
    standing: Standing,
    next: i64,
}

impl Held {
    fn look(&mut self, observed: &Observed) -> Verdict {
        let verdict = self.judge(observed).expect("a complete statement");
        self.apply(&verdict);
        verdict
    }

    /// Looks twice: a first balance alone does not decide everything.
    fn confirmed(&mut self, observed: &Observed) {
        self.look(observed);
        self.look(observed);
    }

    fn judge(&self, observed: &Observed) -> Result<Verdict, Incomplete> {
        reconcile(&self.rows, &self.standing, observed, false)
    }

    fn apply(&mut self, verdict: &Verdict) {
        let account = AccountId::from_bytes(&[7; 16]).unwrap();
        for change in &verdict.changes {
            self.next += 1;
            let at = Timestamp(self.next);
            match change {
                NewChange::Added { after, .. } => self.rows.push(StoredTransaction {
                    id: TransactionId { account, number: self.next },
                    transaction: after.clone(),
                    first_seen_at: at,
                    changed_at: at,
                    last_seq: self.next,
                    missed: 0,
                }),
                NewChange::Modified { number, before, after, .. } => {
                    let held = self.rows.iter_mut().find(|row| row.id.number == *number).unwrap();
                    assert_eq!(&held.transaction, before, "before is what we had");
                    held.transaction = after.clone();
                    held.missed = 0;
                }
                NewChange::Removed { number, .. } => self.rows.retain(|row| row.id.number != *number),
            }
        }
        for (number, now) in &verdict.rekeyed {
            self.rows.iter_mut().find(|row| row.id.number == *number).unwrap().transaction = now.clone();
        }
        self.standing = verdict.standing.clone();
        for (number, misses) in &verdict.missed {
            self.rows.iter_mut().find(|row| row.id.number == *number).unwrap().missed = *misses;
        }
    }

    fn contents(&self) -> Vec<String> {
        contents(self.rows.iter().map(|row| &row.transaction))
    }
}

fn contents<'a>(rows: impl Iterator<Item = &'a Transaction>) -> Vec<String> {
    let mut lines: Vec<String> =
        rows.map(|row| format!("{:?} {:?} {} {}", row.status, row.booked_on, row.money, row.text)).collect();
    lines.sort();
    lines
}

fn kinds(verdict: &Verdict) -> String {
    verdict
        .changes
        .iter()
        .map(|change| match change {
            NewChange::Added { .. } => '+',
            NewChange::Modified { .. } => '~',
            NewChange::Removed { .. } => '-',
        })
        .collect()
}

/// Looks at `first`, then at `second`; the second look must give these kinds and this proof.
fn check(
    first: (Vec<Transaction>, i64),
    second: (Vec<Transaction>, i64),
    expected: &str,
    proof: Proof,
) -> Held {
    let mut held = Held::default();
    held.look(&whole_month(first.0, booked(first.1)));
    let verdict = held.look(&whole_month(second.0.clone(), booked(second.1)));
    assert_eq!((kinds(&verdict).as_str(), verdict.proof), (expected, proof), "{verdict:#?}");
    if proof == Proof::Proved {
        assert_eq!(held.contents(), contents(second.0.iter()));
    }
    held
}

#[test]
fn the_same_statement_twice_changes_nothing() {
    let rows = vec![row("a", 2, -100, "Coffee"), row("", 3, -100, "Tea"), pending("p", 4, -5, "Bus")];
    check((rows.clone(), 0), (rows, 0), "", Proof::Proved);
}

#[test]
fn new_rows_are_added_and_corrected_ones_modified() {
    check(
        (vec![row("a", 2, -100, "Coffee")], 900),
        (vec![row("a", 2, -120, "Coffee"), row("b", 3, 500, "Pay")], 1380),
        "~+",
        Proof::Proved,
    );
}

#[test]
fn two_identical_rows_are_two_rows_with_and_without_ids() {
    let coffee = row("", 2, -100, "Coffee");
    let held = check((vec![coffee.clone()], 0), (vec![coffee.clone(), coffee], -100), "+", Proof::Proved);
    assert_eq!(held.rows.len(), 2);
    check(
        (vec![row("a", 2, -100, "Coffee")], 0),
        (vec![row("b", 2, -100, "Coffee"), row("a", 2, -100, "Coffee")], -100),
        "+",
        Proof::Proved,
    );
}

#[test]
fn a_row_on_two_pages_is_one_row() {
    let a = row("a", 2, -100, "Coffee");
    let mut held = Held::default();
    held.look(&whole_month(vec![], booked(100)));
    let verdict = held.look(&whole_month(vec![a.clone(), a], booked(0)));
    assert_eq!((kinds(&verdict).as_str(), verdict.proof), ("+", Proof::Proved));
}

#[test]
fn a_pending_row_that_is_booked_with_another_id_and_amount_is_one_changed_row() {
    check(
        (vec![pending("p1", 5, -4000, "RESTAURANT LUIGI"), row("a", 4, -100, "Coffee")], 1000),
        (vec![row("b9", 7, -4600, "Restaurant Luigi LONDON"), row("a", 4, -100, "Coffee")], -3600),
        "~",
        Proof::Proved,
    );
}

#[test]
fn a_changed_amount_that_could_be_two_rows_is_not_guessed() {
    check(
        (vec![pending("p1", 5, -4000, "Luigi")], 0),
        (
            vec![row("b", 7, -4600, "Luigi"), row("c", 7, -4400, "Luigi"), pending("p1", 5, -4000, "Luigi")],
            -9000,
        ),
        "++",
        Proof::Proved,
    );
    // … and when the pending row is gone, both bookings stand as new and the pending one waits.
    let mut held = Held::default();
    held.look(&whole_month(vec![pending("p1", 5, -4000, "Luigi")], booked(0)));
    let two = whole_month(vec![row("b", 7, -4600, "Luigi"), row("c", 7, -4400, "Luigi")], booked(-9000));
    assert_eq!(kinds(&held.look(&two)), "++");
    assert_eq!(kinds(&held.look(&two)), "-");
}

#[test]
fn a_removal_shows_at_once_when_the_balance_proves_it() {
    check(
        (vec![row("a", 2, -100, "Coffee"), row("b", 3, -250, "Book")], 650),
        (vec![row("a", 2, -100, "Coffee")], 900),
        "-",
        Proof::Proved,
    );
}

#[test]
fn a_row_that_the_balance_still_counts_makes_the_statement_incomplete() {
    let mut held = Held::default();
    held.look(&whole_month(vec![row("a", 2, -100, "Coffee"), row("b", 3, -250, "Book")], booked(650)));
    let short = whole_month(vec![row("a", 2, -100, "Coffee")], booked(650));
    assert_eq!(held.judge(&short), Err(Incomplete::Missing(1)));
}

#[test]
fn without_a_balance_a_row_is_removed_only_when_missing_twice() {
    let mut held = Held::default();
    held.look(&whole_month(vec![row("a", 2, -100, "Coffee"), row("b", 3, -250, "Book")], vec![]));
    let short = whole_month(vec![row("a", 2, -100, "Coffee")], vec![]);
    let first = held.look(&short);
    assert_eq!((kinds(&first).as_str(), first.missed.len()), ("", 1));
    assert_eq!(kinds(&held.clone().look(&short)), "-");
    // Seen again in between: the count starts anew.
    held.look(&whole_month(vec![row("a", 2, -100, "Coffee"), row("b", 3, -250, "Book")], vec![]));
    assert_eq!(kinds(&held.look(&short)), "");
}

#[test]
fn absence_outside_a_complete_reading_means_nothing() {
    let rows = vec![row("a", 1, -100, "First day"), row("b", 9, -250, "Book")];
    for change in ["incomplete", "delta", "shorter", "none"] {
        let mut held = Held::default();
        held.look(&whole_month(rows.clone(), booked(650)));
        let mut seen = whole_month(vec![], booked(900));
        let coverage = seen.coverage.as_mut().unwrap();
        match change {
            "incomplete" => coverage.complete = false,
            "delta" => coverage.snapshot = false,
            "shorter" => coverage.window.since = day(9),
            _ => seen.coverage = None,
        }
        let verdict = held.look(&seen);
        assert_eq!((kinds(&verdict).as_str(), verdict.missed.len()), ("", 0), "{change}");
    }
}

#[test]
fn the_bank_may_say_what_it_removed() {
    let mut held = Held::default();
    held.look(&whole_month(vec![row("a", 2, -100, "Coffee")], booked(0)));
    let said = Observed { removed: vec!["a".into()], balances: booked(100), ..Observed::default() };
    let verdict = held.look(&said);
    assert_eq!((kinds(&verdict).as_str(), verdict.proof), ("-", Proof::Proved));
}

#[test]
fn a_reused_id_does_not_merge_two_rows() {
    check(
        (vec![row("x", 2, -100, "Coffee")], 0),
        (vec![row("x", 2, -100, "Coffee"), row("x", 9, -700, "Shoes")], -700),
        "+",
        Proof::Proved,
    );
}

#[test]
fn rotated_ids_with_equal_contents_change_nothing() {
    check(
        (vec![row("a", 2, -100, "Coffee"), row("b", 3, -250, "Book")], 0),
        (vec![row("c", 2, -100, "Coffee"), row("d", 3, -250, "Book")], 0),
        "",
        Proof::Proved,
    );
}

#[test]
fn ten_thousand_equal_rows_are_matched_by_their_number() {
    let rows = vec![row("", 2, -100, "Coffee"); 10_000];
    let more = vec![row("", 2, -100, "Coffee"); 10_001];
    check((rows, 0), (more, -100), "+", Proof::Proved);
}
