//! Looks at a bank, one after another, and what the ledger promises of each.

use super::bytes::Bytes;
use super::held::Held;
use super::looks::{self, Look};
use host::ledger::{self, Incomplete, Index, Observed, Verdict};
use host::model::{
    ChangeReason, NewChange, Proof, Standing, StoredTransaction, Transaction, TransactionStatus,
};
use std::collections::BTreeSet;

/// Looks per run.
const LOOKS_MAX: usize = 6;
/// So many equal looks settle everything: what is missing twice goes with the second, what a first balance leaves
/// open is decided by the next.
const LOOKS_TO_REST: usize = 5;

/// Plays the looks that the bytes say. Panics where the ledger breaks a promise.
pub fn reconcile(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut held = Held::default();
    let mut before: Option<Look> = None;
    for _ in 0..LOOKS_MAX {
        if bytes.are_over() {
            break;
        }
        let look = looks::next(&mut bytes, before.as_ref());
        if let Ok(verdict) = judge(&held, &look.observed, look.allow_incomplete) {
            let (known, standing) = (held.rows.clone(), held.standing.clone());
            held.apply(&verdict);
            money_moves_by_the_changes(&known, &standing, &held, &look.observed, &verdict);
            what_was_shown_is_held(&held, &look.observed);
            the_same_look_is_known_by_its_index(&known, &held, &look, &verdict);
            the_same_look_again_comes_to_rest(&held, &look.observed);
        }
        before = Some(look);
    }
}

fn judge(held: &Held, observed: &Observed, allow_incomplete: bool) -> Result<Verdict, Incomplete> {
    let verdict = ledger::reconcile(&held.rows, &held.standing, observed, allow_incomplete);
    // In another order the same.
    let mut turned = observed.clone();
    turned.transactions.reverse();
    turned.removed.reverse();
    let other = ledger::reconcile(&held.rows, &held.standing, &turned, allow_incomplete);
    assert_eq!(verdict, other, "the order of rows decides nothing");
    verdict
}

fn is_booked(row: &Transaction) -> bool {
    row.status == TransactionStatus::Booked
}

/// What we expect the bank to have moves by as much as our booked rows do.
fn money_moves_by_the_changes(
    known: &[StoredTransaction],
    before: &Standing,
    held: &Held,
    observed: &Observed,
    verdict: &Verdict,
) {
    let (Some(was), Some(is)) = (before.expected, held.standing.expected) else { return };
    // Rows of before all reading, twins of the first look that were one, and an anchor that moves, are not counted.
    let is_plain = observed.held_from.is_none()
        && was.currency == is.currency
        && verdict.proof != Proof::Contradicted
        && !verdict.changes.iter().any(|change| change.reason() == ChangeReason::AbsentTwice)
        && !goes_twice(verdict, before.first_rows);
    if !is_plain {
        return;
    }
    let sum = |rows: &[StoredTransaction]| -> i128 {
        let booked = rows.iter().map(|row| &row.transaction);
        let booked = booked.filter(|row| is_booked(row) && row.money.currency == is.currency);
        booked.map(|row| i128::from(row.money.minor)).sum()
    };
    let moved = sum(&held.rows) - sum(known);
    // A sum that no amount can hold stays where it was.
    if i64::try_from(i128::from(was.minor) + moved).is_err() {
        return;
    }
    assert_eq!(i128::from(is.minor) - i128::from(was.minor), moved, "{verdict:#?}");
}

/// Equal rows of the first look, gone at once: one row that was shown twice then, and that the balance counted once.
fn goes_twice(verdict: &Verdict, first_rows: i64) -> bool {
    let mut gone = BTreeSet::new();
    let is_again = |change: &NewChange| match change {
        NewChange::Removed { number, before, .. } if *number <= first_rows => {
            !gone.insert((before.booked_on, before.money.minor))
        }
        _ => false,
    };
    verdict.changes.iter().any(is_again)
}

/// Every row that was shown is held, be it as one of several.
fn what_was_shown_is_held(held: &Held, observed: &Observed) {
    for row in &observed.transactions {
        let is_this = |known: &StoredTransaction| {
            let known = &known.transaction;
            (known.status, known.booked_on, known.money, &known.text)
                == (row.status, row.booked_on, row.money, &row.text)
        };
        assert!(held.rows.iter().any(is_this), "shown and not held: {row:?}");
    }
}

/// An index survives being stored; where it says that a look shows nothing new, row by row says so, too.
fn the_same_look_is_known_by_its_index(
    known: &[StoredTransaction],
    held: &Held,
    look: &Look,
    verdict: &Verdict,
) {
    let Some(index) = Index::of(&look.observed, verdict, known, look.index_from) else { return };
    let read = Index::decode(&index.encode());
    assert_eq!(read.as_ref(), Some(&index));
    let Some(proof) = index.unchanged(&held.standing, &look.observed) else { return };
    // A statement that was taken as far as it goes stays so, while it is the same.
    let again = ledger::reconcile(&held.rows, &held.standing, &look.observed, look.allow_incomplete);
    let Ok(again) = again else { unreachable!("by its index nothing is new, row by row it is {again:?}") };
    assert_eq!((&again.changes, &again.rekeyed, &again.missed), (&vec![], &vec![], &vec![]));
    assert_eq!(again.proof, proof);
}

/// Nothing is added by looking again, and soon nothing changes at all.
fn the_same_look_again_comes_to_rest(held: &Held, observed: &Observed) {
    let mut held = held.clone();
    let mut last = 0;
    for _ in 0..LOOKS_TO_REST {
        let Ok(verdict) = ledger::reconcile(&held.rows, &held.standing, observed, false) else { return };
        let is_removed = |change: &NewChange| matches!(change, NewChange::Removed { .. });
        assert!(verdict.changes.iter().all(is_removed), "{verdict:#?}");
        last = verdict.changes.len() + verdict.rekeyed.len();
        held.apply(&verdict);
    }
    assert_eq!(last, 0, "the same look over and over");
}
