//! What did the bank change since we last looked? Pure: no I/O, no clock, no async.
//!
//! A bank's id is a claim, identical twins are real, and absence is evidence only inside a window
//! that the connector read to its end. [`reconcile`] compares what we hold with what was seen:
//!
//! 1. Rows that stand on two pages (same id, same contents) count once.
//! 2. Rows are matched one to one, each rule only on what the earlier ones left:
//!    a. equal bank id, unless amount and date both differ (then the id is being reused);
//!    b. the row says which pending row it replaces;
//!    c. equal contents, the n-th of several twins with the n-th;
//!    d. pending → booked with the same amount;
//!    e. pending → booked with another amount (a tip, a fuel hold), only when it can be no other.
//! 3. What is left of the new rows was added. What is left of the old ones was removed if the bank
//!    says so, or if it lies inside a complete reading and the balance proves it, or if it was
//!    missing twice. When the balance proves that missing rows still count, the statement is
//!    incomplete and nothing may be stored. A statement that brings its own balances must add up.
//!
//! The result does not depend on the order of rows or pages. Time and memory grow linearly with
//! the rows, but for rule e, which looks at no more than [`matching::PAIRS_MAX`] pairs.
//!
//! Must not know: where rows come from or go to.

mod identity;
mod matching;
mod proof;

pub use proof::prove;

use crate::model::{
    Balance, BalanceKind, Coverage, Money, NewChange, Proof, StoredTransaction, Transaction,
    TransactionStatus,
};
use std::collections::BTreeSet;

/// In how many complete readings in a row a row must be missing before it counts as removed without
/// a balance that proves it.
pub const MISSES_BEFORE_REMOVAL: i16 = 2;

/// What one reading of an account showed, all pages together.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Rows of all pages.
    pub transactions: Vec<Transaction>,
    /// Ids the bank says are removed.
    pub removed: Vec<String>,
    /// Balances, read after the rows.
    pub balances: Vec<Balance>,
    /// What the reading proved it has seen.
    pub coverage: Option<Coverage>,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// In the order they get their `seq`: what was known by number, then what is new by date.
    pub changes: Vec<NewChange>,
    /// Rows (by number) whose count of misses changes, and to what.
    pub missed: Vec<(i64, i16)>,
    /// Did the balance agree?
    pub proof: Proof,
}

/// The bank showed less than its own balance says there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// So many rows that we hold were not in the complete reading.
    #[error("{0} booked rows are missing although the balance still counts them")]
    Missing(usize),
    /// A statement's own balances say that rows are missing, or too many.
    #[error("the statement's opening balance and rows do not add up to its closing balance")]
    DoesNotAddUp,
}

/// Compares what we hold with what was seen.
///
/// `known`: all pending rows, and the booked rows of at least the covered window. `previous`: the
/// balances stored with them; empty before the first sync.
pub fn reconcile(
    known: &[StoredTransaction],
    previous: &[Balance],
    observed: &Observed,
) -> Result<Verdict, Incomplete> {
    let adds_up = proof::adds_up(observed);
    if adds_up == Some(false) {
        return Err(Incomplete::DoesNotAddUp);
    }
    let seen = identity::without_repeats(&observed.transactions);
    let matches = matching::match_rows(known, &seen);

    let mut changes = Vec::new();
    let mut missed = Vec::new();
    let mut absent = Vec::new();
    let told_removed: BTreeSet<&str> = observed.removed.iter().map(String::as_str).collect();
    for (row, partner) in known.iter().zip(&matches.partner_of_known) {
        let before = &row.transaction;
        match partner.and_then(|partner| seen.get(partner)) {
            Some(after) => {
                if row.missed > 0 {
                    missed.push((row.id.number, 0));
                }
                if identity::differs(before, after) {
                    changes.push(NewChange::Modified {
                        number: row.id.number,
                        before: before.clone(),
                        after: (*after).clone(),
                    });
                }
            }
            None if before.bank_id.as_deref().is_some_and(|id| told_removed.contains(id)) => {
                changes.push(removal(row))
            }
            None if observed.coverage.as_ref().is_some_and(|coverage| covers(coverage, before)) => {
                absent.push(row)
            }
            None => {}
        }
    }
    let mut added: Vec<&Transaction> = seen
        .iter()
        .zip(&matches.seen_is_matched)
        .filter(|(_, matched)| !**matched)
        .map(|(row, _)| *row)
        .collect();
    added.sort_by(|a, b| identity::order(a).cmp(&identity::order(b)));
    changes.extend(added.into_iter().cloned().map(NewChange::Added));

    let (proof, gone) = judge_absent(&absent, &changes, previous, &observed.balances)?;
    for row in absent {
        let misses = row.missed.saturating_add(1);
        if gone || misses >= MISSES_BEFORE_REMOVAL {
            changes.push(removal(row));
        } else {
            missed.push((row.id.number, misses));
        }
    }
    changes.sort_by_key(|change| match change {
        NewChange::Modified { number, .. } | NewChange::Removed { number, .. } => *number,
        NewChange::Added(_) => i64::MAX, // a stable sort: the new ones keep their order
    });
    missed.sort_unstable();
    // The second miss may have removed rows that the first judgement left in.
    let proof = match adds_up {
        Some(true) => Proof::Proved,
        _ if gone => proof,
        _ => prove(previous, &observed.balances, &changes),
    };
    Ok(Verdict { changes, missed, proof })
}

fn removal(row: &StoredTransaction) -> NewChange {
    NewChange::Removed { number: row.id.number, before: row.transaction.clone() }
}

/// Are the absent rows gone, by the bank's own balance?
fn judge_absent(
    absent: &[&StoredTransaction],
    changes: &[NewChange],
    previous: &[Balance],
    balances: &[Balance],
) -> Result<(Proof, bool), Incomplete> {
    let kept = prove(previous, balances, changes);
    let booked: Vec<_> =
        absent.iter().filter(|row| row.transaction.status == TransactionStatus::Booked).collect();
    let weight: i64 = booked.iter().fold(0, |sum, row| sum.saturating_add(row.transaction.money.minor));
    if booked.is_empty() || weight == 0 {
        return Ok((kept, false)); // the balance says nothing about them
    }
    if kept == Proof::Proved {
        return Err(Incomplete::Missing(booked.len()));
    }
    let mut without = changes.to_vec();
    without.extend(booked.into_iter().map(|row| removal(row)));
    let gone = prove(previous, balances, &without);
    Ok((
        gone,
        gone == Proof::Proved && absent.iter().all(|row| row.transaction.status == TransactionStatus::Booked),
    ))
}

/// Would the reading have shown this row? The first day of a window is never evidence: whether a
/// bank's date filter includes it, and in which time zone, is its own affair.
fn covers(coverage: &Coverage, row: &Transaction) -> bool {
    let in_window = match (row.status, row.booked_on) {
        (TransactionStatus::Pending, _) => true,
        (TransactionStatus::Booked, Some(day)) => coverage.window.since < day && day <= coverage.window.until,
        (TransactionStatus::Booked, None) => false,
    };
    coverage.complete && coverage.snapshot && coverage.statuses.contains(&row.status) && in_window
}

/// The balance that proves: booked, without pending rows.
pub fn booked_balance(balances: &[Balance]) -> Option<Money> {
    balances
        .iter()
        .find(|balance| balance.kind == BalanceKind::Booked && !balance.includes_pending)
        .map(|balance| balance.money)
}

#[cfg(test)]
mod tests;
