//! Which row became which: one to one, in a fixed order of rules.

use super::identity::{alike, content_key, id_conflict, usable_id};
use crate::model::{StoredTransaction, Transaction, TransactionStatus};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Days between announcement and booking: card payments take up to two weeks.
const SETTLEMENT_DAYS_MAX: i64 = 14;
/// A booked amount may be this much of the announced one and back, in percent: tips and exchange
/// rates, not another purchase.
const AMOUNT_PERCENT_MAX: i128 = 150;
/// Pairs that the rule for changed amounts looks at: 64 pending times 64 booked; beyond that
/// nothing would be unique anyway.
pub const PAIRS_MAX: usize = 64 * 64;

/// The outcome.
pub(super) struct Matches {
    /// For each known row, the place of its partner among the seen.
    pub(super) partner_of_known: Vec<Option<usize>>,
    /// For each seen row, whether it has a partner.
    pub(super) seen_is_matched: Vec<bool>,
}

pub(super) fn match_rows(known: &[StoredTransaction], seen: &[&Transaction]) -> Matches {
    let mut pairing = Pairing {
        known,
        seen,
        matches: Matches {
            partner_of_known: vec![None; known.len()],
            seen_is_matched: vec![false; seen.len()],
        },
    };
    pairing.by_id();
    pairing.by_supersedes();
    pairing.by_content();
    pairing.settled_same_amount();
    pairing.settled_other_amount();
    pairing.matches
}

struct Pairing<'a> {
    known: &'a [StoredTransaction],
    seen: &'a [&'a Transaction],
    matches: Matches,
}

impl<'a> Pairing<'a> {
    fn free_known(&self) -> impl Iterator<Item = (usize, &'a Transaction)> + use<'a, '_> {
        let rows = self.known.iter().zip(&self.matches.partner_of_known).enumerate();
        rows.filter(|(_, (_, partner))| partner.is_none()).map(|(place, (row, _))| (place, &row.transaction))
    }

    fn free_seen(&self) -> impl Iterator<Item = (usize, &'a Transaction)> + use<'a, '_> {
        let rows = self.seen.iter().zip(&self.matches.seen_is_matched).enumerate();
        rows.filter(|(_, (_, matched))| !**matched).map(|(place, (row, _))| (place, *row))
    }

    fn pair(&mut self, known: usize, seen: usize) {
        if let (Some(partner), Some(matched)) =
            (self.matches.partner_of_known.get_mut(known), self.matches.seen_is_matched.get_mut(seen))
        {
            *partner = Some(seen);
            *matched = true;
        }
    }

    /// Equal ids, each standing once on both sides; an id that stands twice names nothing.
    fn by_id(&mut self) {
        let old = groups(self.free_known().filter_map(|(place, row)| Some((usable_id(row)?, place))));
        let new = groups(self.free_seen().filter_map(|(place, row)| Some((usable_id(row)?, place))));
        for (id, known) in old {
            let ([known], Some([seen])) = (known.as_slice(), new.get(id).map(Vec::as_slice)) else {
                continue;
            };
            if let (Some(old), Some(new)) = (self.known.get(*known), self.seen.get(*seen))
                && !id_conflict(&old.transaction, new)
            {
                self.pair(*known, *seen);
            }
        }
    }

    /// The bank says which row this one replaces.
    fn by_supersedes(&mut self) {
        let old = groups(self.free_known().filter_map(|(place, row)| Some((row.bank_id.as_deref()?, place))));
        let new =
            groups(self.free_seen().filter_map(|(place, row)| Some((row.supersedes.as_deref()?, place))));
        for (id, known) in old {
            if let ([known], Some([seen])) = (known.as_slice(), new.get(id).map(Vec::as_slice)) {
                self.pair(*known, *seen);
            }
        }
    }

    /// Equal contents: the n-th twin with the n-th. Which twin is which can't matter: they are equal.
    fn by_content(&mut self) {
        let old = groups(self.free_known().map(|(place, row)| (content_key(row), place)));
        let new = groups(self.free_seen().map(|(place, row)| (content_key(row), place)));
        for (key, known) in old {
            for (known, seen) in known.into_iter().zip(new.get(&key).into_iter().flatten()) {
                self.pair(known, *seen);
            }
        }
    }

    /// A pending row and a booked one of the same amount, close in time: first those that speak of
    /// the same business, then those that can be no other.
    fn settled_same_amount(&mut self) {
        for by_text in [true, false] {
            let amount = |row: &Transaction| (row.money.minor, row.money.currency.code());
            let old = groups(self.free_pending().map(|(place, row)| (amount(row), place)));
            let new = groups(self.free_booked().map(|(place, row)| (amount(row), place)));
            let mut found = BTreeMap::new();
            for (amount, known) in old {
                let Some(seen) = new.get(&amount) else { continue };
                self.only_pairs(
                    &known,
                    seen,
                    |old, new| near(old, new) && (!by_text || alike(old, new)),
                    &mut found,
                );
            }
            for (known, seen) in found {
                self.pair(known, seen);
            }
        }
    }

    /// A pending row and a booked one of another amount: the same business, the same direction, not
    /// too far off, and no other candidate on either side.
    fn settled_other_amount(&mut self) {
        let known: Vec<usize> = self.free_pending().map(|(place, _)| place).collect();
        let seen: Vec<usize> = self.free_booked().map(|(place, _)| place).collect();
        let mut found = BTreeMap::new();
        self.only_pairs(
            &known,
            &seen,
            |old, new| near(old, new) && alike(old, new) && comparable(old, new),
            &mut found,
        );
        for (known, seen) in found {
            self.pair(known, seen);
        }
    }

    fn free_pending(&self) -> impl Iterator<Item = (usize, &'a Transaction)> + use<'a, '_> {
        self.free_known().filter(|(_, row)| row.status == TransactionStatus::Pending)
    }

    fn free_booked(&self) -> impl Iterator<Item = (usize, &'a Transaction)> + use<'a, '_> {
        self.free_seen().filter(|(_, row)| row.status == TransactionStatus::Booked)
    }

    /// Pairs in which each is the other's only candidate.
    fn only_pairs(
        &self,
        known: &[usize],
        seen: &[usize],
        fits: impl Fn(&Transaction, &Transaction) -> bool,
        found: &mut BTreeMap<usize, usize>,
    ) {
        if known.len().saturating_mul(seen.len()) > PAIRS_MAX {
            return;
        }
        let mut candidates_of_seen: HashMap<usize, usize> = HashMap::new();
        let mut only = Vec::new();
        for known in known {
            let Some(old) = self.known.get(*known) else { continue };
            let candidates: Vec<usize> = seen
                .iter()
                .copied()
                .filter(|place| self.seen.get(*place).is_some_and(|new| fits(&old.transaction, new)))
                .collect();
            for seen in &candidates {
                *candidates_of_seen.entry(*seen).or_default() += 1;
            }
            if let [seen] = candidates.as_slice() {
                only.push((*known, *seen));
            }
        }
        found.extend(only.into_iter().filter(|(_, seen)| candidates_of_seen.get(seen) == Some(&1)));
    }
}

fn groups<K: Hash + Eq>(rows: impl Iterator<Item = (K, usize)>) -> HashMap<K, Vec<usize>> {
    let mut groups: HashMap<K, Vec<usize>> = HashMap::new();
    for (key, place) in rows {
        groups.entry(key).or_default().push(place);
    }
    groups
}

/// Booked after it was announced, and not too long after; a day's slack for time zones.
fn near(old: &Transaction, new: &Transaction) -> bool {
    match (old.booked_on.or(old.valued_on), new.booked_on.or(new.valued_on)) {
        (Some(old), Some(new)) => (-1..=SETTLEMENT_DAYS_MAX).contains(&(new - old).num_days()),
        _ => true,
    }
}

/// Same currency and direction, and neither is much more than the other.
fn comparable(old: &Transaction, new: &Transaction) -> bool {
    let (a, b) = (i128::from(old.money.minor), i128::from(new.money.minor));
    old.money.currency == new.money.currency
        && a.signum() == b.signum()
        && a.abs() * 100 <= b.abs() * AMOUNT_PERCENT_MAX
        && b.abs() * 100 <= a.abs() * AMOUNT_PERCENT_MAX
}
