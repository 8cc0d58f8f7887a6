//! The only end-to-end proof there is: old balance + changes = new balance.

use super::{Observed, booked_balance};
use crate::model::{Balance, BalanceKind, Money, NewChange, Proof, Transaction, TransactionStatus};

/// Does the bank's booked balance agree with these changes? Only rows in the balance's currency count.
pub fn prove(previous: &[Balance], balances: &[Balance], changes: &[NewChange]) -> Proof {
    let (Some(old), Some(new)) = (booked_balance(previous), booked_balance(balances)) else {
        return Proof::Unproved;
    };
    if old.currency != new.currency {
        return Proof::Unproved;
    }
    let counted = |row: &Transaction| -> i128 {
        let counts = row.status == TransactionStatus::Booked && row.money.currency == new.currency;
        if counts { i128::from(row.money.minor) } else { 0 }
    };
    let moved: i128 = changes
        .iter()
        .map(|change| match change {
            NewChange::Added(after) => counted(after),
            NewChange::Modified { before, after, .. } => counted(after) - counted(before),
            NewChange::Removed { before, .. } => -counted(before),
        })
        .sum();
    let Money { minor, .. } = old;
    if i128::from(minor) + moved == i128::from(new.minor) { Proof::Proved } else { Proof::Contradicted }
}

/// Does a statement that brings its own balances add up: opening + booked rows = closing? None if it
/// brings none. Rows in other currencies don't count.
pub(super) fn adds_up(observed: &Observed) -> Option<bool> {
    let of = |kind| {
        let mut found = observed.balances.iter().filter(|balance| balance.kind == kind);
        found.next().filter(|_| found.next().is_none()).map(|balance| balance.money)
    };
    let (opening, closing) = (of(BalanceKind::Opening)?, of(BalanceKind::Closing)?);
    let counts = |row: &&Transaction| {
        row.status == TransactionStatus::Booked && row.money.currency == closing.currency
    };
    let moved: i128 =
        observed.transactions.iter().filter(counts).map(|row| i128::from(row.money.minor)).sum();
    (opening.currency == closing.currency)
        .then(|| i128::from(opening.minor) + moved == i128::from(closing.minor))
}
