//! Did each row stay the row it was, where ids or running balances decide it?
//!
//! Decided are two appearances of one entry: under one id that is to be believed (or where the bank
//! says which id it replaces); or with equal contents and running balance that no other entry ever
//! had. Then it must have kept its number, unless it was rightly dropped in between, or another entry
//! took its place while it was away: one of equal contents, which the published rules call a new id of
//! the same row, one that may be the same in other words, or a booked one that a pending row may have become.
//! Not decided: twins without either, new ids, whatever happens once an id has lied.
//!
//! And no look may remove a row and add its equal: that is one row.

use super::contents::Contents;
use super::ledger::{Change, Verdict};
use super::shown::Reading;
use super::trust::Trust;
use host::model::StoredTransaction;
use std::collections::{BTreeMap, BTreeSet};

/// What decides.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Id(String),
    Balance(Contents, i64),
}

/// Where an entry was last seen to stand.
#[derive(Debug, Clone)]
struct Place {
    number: i64,
    key: Key,
    contents: Contents,
}

/// The judge of identity.
#[derive(Debug, Default)]
pub struct Identity {
    places: BTreeMap<usize, Place>,
    /// Which entries were ever shown with these contents and this running balance.
    balances: BTreeMap<(Contents, i64), BTreeSet<usize>>,
}

impl Identity {
    /// The ledger took this answer: what it holds now against where things stood before.
    pub fn took(
        &mut self,
        trust: &Trust,
        reading: &Reading,
        before: &[StoredTransaction],
        held: &[StoredTransaction],
    ) -> Vec<String> {
        let rows = || reading.seen.transactions.iter().zip(&reading.who);
        for (row, who) in rows() {
            if let Some(after) = row.balance_after {
                self.balances.entry((Contents::of(row), after)).or_default().insert(*who);
            }
        }
        let shown: BTreeSet<usize> = reading.who.iter().copied().collect();
        let newcomers: BTreeSet<Contents> = rows()
            .filter(|(row, who)| self.places.get(who).is_none_or(|place| place.contents != Contents::of(row)))
            .map(|(row, _)| Contents::of(row))
            .collect();
        let taken = |old: &Contents| {
            newcomers.iter().any(|new| new == old || old.may_settle_as(new) || old.may_be_told_as(new))
        };
        self.places.retain(|who, place| shown.contains(who) || !taken(&place.contents));
        let was_held: BTreeSet<i64> = before.iter().map(|row| row.id.number).collect();
        let mut wrong = Vec::new();
        for (row, who) in rows() {
            let contents = Contents::of(row);
            let key = match (trust.decides(row), row.balance_after) {
                (Some(id), _) => Some(Key::Id(id.to_owned())),
                (None, Some(after)) => {
                    let key = (contents.clone(), after);
                    let only = self.balances.get(&key).is_some_and(|entries| entries.len() == 1);
                    only.then_some(Key::Balance(key.0, key.1))
                }
                (None, None) => None,
            };
            let place = key.and_then(|key| {
                let number = number(held, &key, &contents)?;
                Some(Place { number, key, contents })
            });
            let old = self.places.remove(who);
            let Some(place) = place else { continue };
            if let Some(old) = old {
                let replaces = row.supersedes.clone().map(Key::Id);
                let decided = old.key == place.key || replaces.is_some_and(|key| key == old.key);
                if decided && was_held.contains(&old.number) && old.number != place.number {
                    wrong.push(format!(
                        "{} was number {} and is number {}",
                        place.contents.words(),
                        old.number,
                        place.number
                    ));
                }
            }
            self.places.insert(*who, place);
        }
        wrong.sort();
        wrong.dedup();
        wrong
    }
}

/// The number under which what the key names is held.
fn number(held: &[StoredTransaction], key: &Key, contents: &Contents) -> Option<i64> {
    let named = held.iter().filter(|row| match key {
        Key::Id(id) => row.transaction.bank_id.as_deref() == Some(id),
        Key::Balance(contents, after) => {
            row.transaction.balance_after == Some(*after) && Contents::of(&row.transaction) == *contents
        }
    });
    let equal = held.iter().filter(|row| Contents::of(&row.transaction) == *contents);
    only(named.map(|row| row.id.number)).or_else(|| only(equal.map(|row| row.id.number)))
}

fn only<T>(mut of: impl Iterator<Item = T>) -> Option<T> {
    of.next().filter(|_| of.next().is_none())
}

/// Rows that a verdict removes and adds again.
pub fn removed_and_added(verdict: &Verdict) -> Vec<String> {
    let added: Vec<_> = verdict
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Added { after, .. } => Some(Contents::of(after)),
            _ => None,
        })
        .collect();
    let removed = verdict.changes.iter().filter_map(|change| match change {
        Change::Removed { before, .. } => Some(Contents::of(before)),
        _ => None,
    });
    removed
        .filter(|contents| added.contains(contents))
        .map(|contents| format!("{} is removed and added in one look", contents.words()))
        .collect()
}
