//! Can this bank's ids be believed, as far as anybody could see by now?
//!
//! An id that the bank says names a row (immutable, provisional) decides which row it is until it is
//! seen to lie: until it stands on another entry than before; or on a row whose amount and date both
//! differ from before; or two ids at once stand on other contents while their old contents stand
//! under other ids (a pending row that is booked beside its twin is no such). By the published rules the last two tell
//! reused ids from amended rows. What an id meant before its row was shown under another one, it need not mean again.

use super::contents::Contents;
use super::shown::Reading;
use host::model::{IdStability, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// What was seen of ids.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    lied: bool,
    /// One id stood on two unequal rows of one answer: nobody could believe it.
    evident: bool,
    last: BTreeMap<String, (usize, Contents)>,
    /// Under which id each entry was shown last.
    present: BTreeMap<usize, String>,
    /// Those that had another id than before, in the last answer.
    renamed: BTreeSet<usize>,
    /// More entries had other ids than before, in the last answer, than had their own.
    rotated: bool,
    /// Entries that were not shown since most ids were other ones.
    unseen: BTreeSet<usize>,
}

/// The id, if the bank says that it names the row.
pub fn claimed(row: &Transaction) -> Option<&str> {
    let names = matches!(row.stability, IdStability::Immutable | IdStability::Provisional);
    row.bank_id.as_deref().filter(|id| names && !id.is_empty())
}

impl Trust {
    /// Takes note of an answer; gives what each id stood on before.
    pub fn see(&mut self, reading: &Reading) -> BTreeMap<String, (usize, Contents)> {
        let is_present = |id: &String, who: &usize| self.present.get(who) == Some(id);
        let before: BTreeMap<_, _> = self
            .last
            .iter()
            .filter(|(id, (who, _))| is_present(id, who))
            .map(|(id, last)| (id.clone(), last.clone()))
            .collect();
        let mut now: BTreeMap<&str, Contents> = BTreeMap::new();
        let mut changed = Vec::new();
        let mut kept = 0;
        self.renamed.clear();
        for (row, who) in reading.seen.transactions.iter().zip(&reading.who) {
            let Some(id) = claimed(row) else { continue };
            let contents = Contents::of(row);
            if now.get(id).is_some_and(|other| *other != contents) {
                self.evident = true;
            }
            now.insert(id, contents.clone());
            match self.present.insert(*who, id.to_owned()) {
                Some(old) if old == id => kept += 1,
                Some(_) => drop(self.renamed.insert(*who)),
                None => {}
            }
            if let Some((other, last)) = self.last.insert(id.to_owned(), (*who, contents.clone())) {
                let moved = last.minor != contents.minor && last.day != contents.day;
                self.lied |= other != *who || (moved && last.status == contents.status);
                let is_settled = last.status != contents.status;
                changed.extend((last != contents && !is_settled).then_some((id, last)));
            }
        }
        self.rotated = self.renamed.len() > kept;
        let shown: BTreeSet<usize> = reading.who.iter().copied().collect();
        if self.rotated {
            self.unseen.extend(self.present.keys());
        }
        self.unseen.retain(|who| !shown.contains(who));
        let stands =
            |(id, old): &&(&str, Contents)| now.iter().any(|(at, contents)| at != id && contents == old);
        self.lied |= changed.iter().filter(stands).count() > 1;
        before
    }

    /// The id of a row, if it decides which row this is.
    pub fn decides<'a>(&self, row: &'a Transaction) -> Option<&'a str> {
        claimed(row).filter(|_| !self.lied)
    }

    /// The id that this entry had may be another one's by now: most ids were other ones in the last answer, or since
    /// it was shown, or ids were seen to lie.
    pub fn may_mean_another(&self, who: usize) -> bool {
        self.rotated || self.lied || self.unseen.contains(&who)
    }

    /// Of these entries, so many stood under another id before while most ids of the last answer were the old ones:
    /// by the bank's promise they are new.
    pub fn may_be_others(&self, who: &BTreeSet<usize>) -> usize {
        if self.rotated || self.is_gone() { 0 } else { self.renamed.intersection(who).count() }
    }

    /// Nobody could still believe the ids.
    pub fn is_gone(&self) -> bool {
        self.lied && self.evident
    }
}
