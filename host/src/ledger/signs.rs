//! Debits that are listed as credits, or the other way round: a whole list, at once.
//!
//! No bank turns single rows round for good, with or without ids: if more of the known rows came back with the opposite sign than with
//! their own, one of the two lists is wrong. Which one, balances may tell: the balance after each row, and the
//! booked balance by what it made of the rows that are new. Until then nothing is stored.

use super::Incomplete;
use super::identity::{Row, alike};
use super::look::Look;
use super::matching::{Matches, Sides};
use super::proof;
use crate::model::*;
use foldhash::{HashMap, HashMapExt, HashSet};
use std::collections::BTreeSet;

/// Rows of one day and amount that are looked at for one that is described alike.
const LOOKED_AT: usize = 64;
/// So many rows that follow each other only with the opposite sign are no coincidence of amounts.
const TURNED_FOLLOW: usize = 2;

impl<'a> Look<'a> {
    /// Refuses a list whose signs are turned round. If those of the rows that are held were, they become what is
    /// shown; gives the places of missing rows of which that is true.
    pub(super) fn are_signs_right(
        &mut self,
        sides: &Sides<'_>,
        matches: &Matches,
        absent: &[usize],
        standing: &Standing,
    ) -> Result<BTreeSet<usize>, Incomplete> {
        if let Some(turned) = turned_against_balances(sides) {
            return Err(Incomplete::SignsTurned(turned));
        }
        let (by_contents, described) = self.turned_by_contents(sides, absent);
        let turned = self.turned_by_id() + by_contents.len();
        if turned <= straight(sides, matches) + described {
            return Ok(BTreeSet::new());
        }
        if !self.balance_moved_as_shown(sides, &by_contents, standing) {
            return Err(Incomplete::SignsTurned(turned));
        }
        self.turned_back = true;
        for (place, new) in &by_contents {
            if let Some(row) = sides.known.get(*place) {
                self.amend(row, new);
            }
        }
        Ok(by_contents.into_iter().map(|(place, _)| place).collect())
    }

    fn turned_by_id(&self) -> usize {
        let turned = |change: &&NewChange| match change {
            NewChange::Modified { before, after, .. } => {
                before.status == after.status && are_opposite(before.money, after.money)
            }
            _ => false,
        };
        self.changes.iter().filter(turned).count()
    }

    /// Missing rows, by their place, and the new ones that they are with the opposite sign; and how many are there with
    /// their own, described anew.
    fn turned_by_contents(
        &self,
        sides: &Sides<'_>,
        absent: &[usize],
    ) -> (Vec<(usize, &'a Transaction)>, usize) {
        let mut new: HashMap<_, Vec<Row<'a>>> = HashMap::new();
        for (row, _) in self.added.iter().filter(|(row, _)| row.money.minor != 0) {
            new.entry((row.status, row.booked_on, row.money.minor)).or_default().push(Row::new(row));
        }
        let mut take = |old: &Row<'_>, minor: Option<i64>| {
            let found = new.get_mut(&(old.of.status, old.of.booked_on, minor?))?;
            let at = found.iter().take(LOOKED_AT).position(|new| alike(old, new))?;
            Some(found.swap_remove(at).of)
        };
        let missing = absent.iter().filter_map(|place| Some((*place, sides.old.get(*place)?)));
        let turned: Vec<_> =
            missing.clone().filter(|(_, old)| take(old, Some(old.of.money.minor)).is_none()).collect();
        let described = missing.count() - turned.len();
        let turned = turned
            .into_iter()
            .filter_map(|(place, old)| Some((place, take(old, old.of.money.minor.checked_neg())?)));
        (turned.collect(), described)
    }

    /// The balance moved by what the new rows say, not by its opposite: then the signs of this list are right.
    fn balance_moved_as_shown(
        &self,
        sides: &Sides<'_>,
        turned: &[(usize, &Transaction)],
        standing: &Standing,
    ) -> bool {
        let held = sides.known.iter().map(|row| &row.transaction);
        let Some(scale) = proof::scale(standing.expected, self.observed, 0, held) else { return false };
        let weight =
            |row: &Transaction| if scale.is_later(row) { 0 } else { proof::weight(row, scale.balance) };
        let new: i128 = self.added.iter().map(|(row, _)| weight(row)).sum();
        let moved = new - turned.iter().map(|(_, row)| weight(row)).sum::<i128>();
        moved != 0 && scale.difference().map(i128::from) == Some(moved)
    }
}

fn are_opposite(one: Money, other: Money) -> bool {
    one.minor != 0 && one.currency == other.currency && one.minor.checked_neg() == Some(other.minor)
}

/// Known rows that came back with their amount.
fn straight(sides: &Sides<'_>, matches: &Matches) -> usize {
    let is_straight = |(row, partner): &(&StoredTransaction, &Option<usize>)| {
        let new = partner.and_then(|partner| sides.new.get(partner));
        new.is_some_and(|new| {
            let old = &row.transaction;
            old.money.minor != 0 && new.of.money == old.money && new.of.status == old.status
        })
    };
    sides.known.iter().zip(&matches.partner).filter(is_straight).count()
}

/// Rows of which the balance before them, if their sign is the opposite, is another shown row's: so many, if hardly
/// any is as it should be.
fn turned_against_balances(sides: &Sides<'_>) -> Option<usize> {
    let rows = || sides.new.iter().map(|row| row.of).filter(|row| row.status == TransactionStatus::Booked);
    let balances: HashSet<i64> = rows().filter_map(|row| row.balance_after).collect();
    let follow = |sign: i64| {
        let is_shown = |row: &&Transaction| {
            let before = row.money.minor.checked_mul(sign).zip(row.balance_after);
            let before = before.and_then(|(minor, after)| after.checked_sub(minor));
            row.money.minor != 0 && before.is_some_and(|before| balances.contains(&before))
        };
        rows().filter(is_shown).count()
    };
    let (straight, turned) = (follow(1), follow(-1));
    (turned >= TURNED_FOLLOW && turned > 2 * straight).then_some(turned)
}
