//! What the database would hold, in memory: rows by number, and what changes told the business.
//!
//! A verdict is folded in strictly: a change that does not fit what is held is an error.

use super::ledger::{Change, Standing, Verdict};
use host::model::{AccountId, StoredTransaction, Timestamp, Transaction, TransactionId};
use std::collections::{BTreeMap, BTreeSet};

/// One account.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Store {
    /// Rows that are held, by number.
    pub rows: Vec<StoredTransaction>,
    /// What the ledger remembers.
    pub standing: Standing,
    /// The business's copy: made of the changes alone.
    told: BTreeMap<i64, Transaction>,
    seq: i64,
}

impl Store {
    /// Folds a verdict in, or says what does not fit.
    pub fn fold(&mut self, verdict: &Verdict) -> Result<(), String> {
        let known: BTreeSet<i64> = self.told.keys().copied().collect();
        for change in &verdict.changes {
            self.seq += 1;
            match change {
                Change::Added { after, links } => {
                    if let Some(link) = links.iter().find(|link| !known.contains(&link.number)) {
                        return Err(format!("a link to {}, which is not held", link.number));
                    }
                    self.told.insert(self.seq, after.clone());
                    self.rows.push(Self::stored(self.seq, after.clone()));
                }
                Change::Modified { number, before, after, .. } => {
                    self.leaves(*number, before)?;
                    self.told.insert(*number, after.clone());
                    let row = self.row(*number)?;
                    (row.transaction, row.missed) = (after.clone(), 0);
                }
                Change::Removed { number, before, .. } => {
                    self.leaves(*number, before)?;
                    self.rows.retain(|row| row.id.number != *number);
                }
            }
        }
        for (number, row) in &verdict.rekeyed {
            self.row(*number)?.transaction = row.clone();
        }
        for (number, misses) in &verdict.missed {
            self.row(*number)?.missed = *misses;
        }
        self.standing = verdict.standing.clone();
        let told = self.told.iter().map(|(number, row)| (*number, telling(row)));
        let held = self.rows.iter().map(|row| (row.id.number, telling(&row.transaction)));
        let held: BTreeMap<_, _> = held.collect();
        if held != told.collect() {
            return Err("the changes do not lead to what is held".to_owned());
        }
        Ok(())
    }

    /// A row as it is held under a number.
    pub fn stored(number: i64, transaction: Transaction) -> StoredTransaction {
        StoredTransaction {
            id: TransactionId { account: AccountId::from_bytes(&[7; 16]).unwrap_or_default(), number },
            transaction,
            first_seen_at: Timestamp::default(),
            changed_at: Timestamp::default(),
            last_seq: number,
            missed: 0,
        }
    }

    /// A row that a change speaks of must be as the business knows it.
    fn leaves(&mut self, number: i64, before: &Transaction) -> Result<(), String> {
        match self.told.remove(&number) {
            Some(told) if telling(&told) == telling(before) => Ok(()),
            _ => Err(format!("`before` of {number} is not what was held")),
        }
    }

    fn row(&mut self, number: i64) -> Result<&mut StoredTransaction, String> {
        let row = self.rows.iter_mut().find(|row| row.id.number == number);
        row.ok_or_else(|| format!("{number} is not held"))
    }
}

/// All but what may change without being told: the bank's id and the running balance.
fn telling(row: &Transaction) -> Transaction {
    Transaction {
        bank_id: None,
        stability: host::model::IdStability::None,
        supersedes: None,
        balance_after: None,
        ..row.clone()
    }
}
