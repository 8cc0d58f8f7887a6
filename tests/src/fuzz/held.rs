//! A store in memory: what a database holds after each verdict, and what a verdict must be to be stored at all.

use host::ledger::Verdict;
use host::model::{AccountId, NewChange, Standing, StoredTransaction, Timestamp, TransactionId};
use std::collections::BTreeSet;

#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) rows: Vec<StoredTransaction>,
    pub(super) standing: Standing,
    pub(super) seq: i64,
}

impl Held {
    /// Applies the changes to what is held. Each row changes at most once, and `before` is what is held.
    pub(super) fn apply(&mut self, verdict: &Verdict) {
        let account = AccountId::from_bytes(&[7; 16]).unwrap_or_default();
        let mut touched = BTreeSet::new();
        for change in &verdict.changes {
            self.seq += 1;
            let at = Timestamp(self.seq);
            match change {
                NewChange::Added { after, links } => {
                    for link in links {
                        assert!(
                            (1..=99).contains(&link.confidence),
                            "a confidence is no certainty: {link:?}"
                        );
                        assert!(self.has(link.number), "a link names a row that is held: {link:?}");
                    }
                    self.rows.push(StoredTransaction {
                        id: TransactionId { account, number: self.seq },
                        transaction: after.clone(),
                        first_seen_at: at,
                        changed_at: at,
                        last_seq: self.seq,
                        missed: 0,
                    });
                }
                NewChange::Modified { number, before, after, .. } => {
                    assert!(touched.insert(*number), "one change per row and look: {verdict:#?}");
                    assert_ne!(before, after, "a change changes something");
                    let row = self.row(*number);
                    assert_eq!(&row.transaction, before, "before is what is held");
                    (row.transaction, row.missed, row.changed_at) = (after.clone(), 0, at);
                }
                NewChange::Removed { number, before, .. } => {
                    assert!(touched.insert(*number), "one change per row and look: {verdict:#?}");
                    assert_eq!(&self.row(*number).transaction, before, "before is what is held");
                    self.rows.retain(|row| row.id.number != *number);
                }
            }
        }
        for (number, now) in &verdict.rekeyed {
            assert!(touched.insert(*number), "a row that only the bank calls otherwise has no change");
            self.row(*number).transaction = now.clone();
        }
        for (number, misses) in &verdict.missed {
            self.row(*number).missed = *misses;
        }
        self.standing = verdict.standing.clone();
    }

    fn has(&self, number: i64) -> bool {
        self.rows.iter().any(|row| row.id.number == number)
    }

    fn row(&mut self, number: i64) -> &mut StoredTransaction {
        let found = self.rows.iter_mut().find(|row| row.id.number == number);
        found.unwrap_or_else(|| unreachable!("a verdict names row {number}, which is not held"))
    }
}
