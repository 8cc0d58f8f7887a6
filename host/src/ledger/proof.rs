//! The only end-to-end proof there is: old balance + changes = new balance.

use super::booked_balance;
use crate::model::{Balance, Money, NewChange, Proof, Transaction, TransactionStatus};

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
