//! One look, being judged: what became of each row, and what the look comes to.

use super::identity::{self, Ids, Row};
use super::matching::{Matches, Sides};
use super::{Observed, PENDING_EXPIRES_DAYS, Verdict, booked_balance, proof};
use crate::model::*;
use chrono::NaiveDate;
use std::collections::BTreeSet;

/// A reading is compared with rows from so many days before it, too: a correction may move a row into it. Whoever hands
/// in older ones got less than was asked for.
const BEFORE_WINDOW_DAYS: i64 = 7;

/// One look, being judged.
pub(super) struct Look<'a> {
    pub(super) observed: &'a Observed,
    /// The currency of the proof.
    unit: Option<Money>,
    pub(super) changes: Vec<NewChange>,
    rekeyed: Vec<(i64, Transaction)>,
    pub(super) missed: Vec<(i64, i16)>,
    pub(super) added: Vec<(&'a Transaction, Vec<Link>)>,
    /// By how much all changes together move the booked balance.
    pub(super) moved: i128,
    /// By how much the bank's balance differs in the end.
    pub(super) difference: Option<i64>,
    /// All was read to its end, and no booked row that is compared lies far outside.
    sees_all: bool,
    /// Most rows have other ids than before.
    ids_are_new: bool,
    /// A booked row is missing for the first time: the difference may be its.
    pub(super) waits: bool,
    /// The signs are the other way round, and rightly so.
    pub(super) turned_back: bool,
}

impl<'a> Look<'a> {
    pub(super) fn new(standing: &Standing, observed: &'a Observed) -> Self {
        Self {
            observed,
            unit: standing.expected.or(booked_balance(&observed.balances)),
            changes: Vec::new(),
            rekeyed: Vec::new(),
            missed: Vec::new(),
            added: Vec::new(),
            moved: 0,
            difference: None,
            sees_all: true,
            ids_are_new: false,
            waits: false,
            turned_back: false,
        }
    }

    pub(super) fn weight(&self, row: &Transaction) -> i128 {
        self.unit.map_or(0, |unit| proof::weight(row, unit))
    }

    pub(super) fn remove(&mut self, row: &StoredTransaction, reason: ChangeReason) {
        self.moved -= self.weight(&row.transaction);
        let before = row.transaction.clone();
        self.changes.push(NewChange::Removed { number: row.id.number, before, reason });
    }

    /// What became of the known rows; those that are missing from a complete reading, by their place.
    pub(super) fn compare(&mut self, sides: &Sides<'_>, matches: &Matches) -> Vec<usize> {
        let removed: BTreeSet<&str> = self.observed.removed.iter().map(String::as_str).collect();
        let mut absent = Vec::new();
        self.ids_are_new = matches.rotated;
        self.sees_all =
            self.observed.coverage.as_ref().is_some_and(|coverage| coverage.complete && coverage.snapshot);
        for (place, row) in sides.known.iter().enumerate() {
            let before = &row.transaction;
            let partner = matches.partner.get(place).copied().flatten();
            match partner.and_then(|partner| Some((partner, sides.new.get(partner)?))) {
                Some((at, after)) => {
                    if row.missed > 0 {
                        self.missed.push((row.id.number, 0));
                    }
                    let is = |marks: &[bool]| marks.get(place) == Some(&true);
                    if !is(&matches.same) || before.stability != after.of.stability {
                        let doubts = (is(&matches.ambiguous), sides.reading.may_be_again(at));
                        self.partner(sides.ids, row, after.of, doubts);
                    }
                }
                None if sides.ids.of(before).is_some_and(|id| removed.contains(id))
                    && (!matches.rotated || sides.covered.get(place) == Some(&true)) =>
                {
                    self.remove(row, ChangeReason::RemovedByBank)
                }
                None if sides.covered.get(place) == Some(&true) => absent.push(place),
                None if self.is_given_up(row) => self.remove(row, ChangeReason::Expired),
                None => {
                    self.sees_all &= !self.is_out_of_sight(before);
                    self.forget_old_id(sides.ids, row);
                }
            }
        }
        absent
    }

    /// A booked row from long before the days that were read.
    fn is_out_of_sight(&self, row: &Transaction) -> bool {
        let since = self.observed.coverage.as_ref().map(|coverage| coverage.window.since);
        let days = since.zip(row.booked_on).map(|(since, booked)| (since - booked).num_days());
        row.status == TransactionStatus::Booked && days.is_some_and(|days| days > BEFORE_WINDOW_DAYS)
    }

    /// Once most ids are new ones, the id of a row that was not shown is an old one, which names nothing any more, or
    /// soon another row.
    pub(super) fn forget_old_id(&mut self, ids: Ids, row: &StoredTransaction) {
        if self.ids_are_new && ids.immutable(&row.transaction).is_some() {
            let nameless =
                Transaction { bank_id: None, stability: IdStability::None, ..row.transaction.clone() };
            self.rekeyed.push((row.id.number, nameless));
        }
    }

    /// `is_again`: it may be the row before, shown again, whose balance is not this one's.
    fn partner(
        &mut self,
        ids: Ids,
        row: &StoredTransaction,
        after: &Transaction,
        (ambiguous, is_again): (bool, bool),
    ) {
        let (number, before) = (row.id.number, &row.transaction);
        if identity::differs(before, after) {
            let reason = match (before.status, after.status) {
                (TransactionStatus::Pending, TransactionStatus::Booked) => ChangeReason::Booked,
                _ => ChangeReason::Amended,
            };
            self.moved += self.weight(after) - self.weight(before);
            let (before, after) = (before.clone(), after.clone());
            self.changes.push(NewChange::Modified { number, before, after, reason, ambiguous });
        } else if identity::is_stale(ids, before, after) {
            let balance_after = before.balance_after.filter(|_| is_again).or(after.balance_after);
            let now = Transaction { balance_after, ..after.clone() };
            if identity::is_stale(ids, before, &now) {
                self.rekeyed.push((number, now));
            }
        }
    }

    /// A pending row of a bank that lists no pending rows to the end.
    fn is_given_up(&self, row: &StoredTransaction) -> bool {
        let seen = row.first_seen_at.utc().date_naive();
        let latest =
            row.transaction.booked_on.or(row.transaction.valued_on).map_or(seen, |day| day.max(seen));
        row.transaction.status == TransactionStatus::Pending
            && self.observed.today.is_some_and(|today| (today - latest).num_days() > PENDING_EXPIRES_DAYS)
    }

    pub(super) fn take_new(&mut self, matches: &Matches, rows: &[Row<'a>]) {
        for (place, (row, taken)) in rows.iter().zip(&matches.taken).enumerate() {
            if !taken {
                self.take(row.of, matches.links.get(&place).cloned().unwrap_or_default());
            }
        }
    }

    pub(super) fn take(&mut self, row: &'a Transaction, links: Vec<Link>) {
        if !self.is_old_ground(row) {
            self.moved += self.weight(row);
        }
        self.added.push((row, links));
    }

    /// This row is no new one: it counts no longer. False if it was none.
    pub(super) fn give_back(&mut self, row: &Transaction) -> bool {
        let Some(place) = self.added.iter().rposition(|(new, _)| std::ptr::eq(*new, row)) else {
            return false;
        };
        self.added.swap_remove(place); // they are put in order in the end
        if !self.is_old_ground(row) {
            self.moved -= self.weight(row);
        }
        true
    }

    /// From before anything that was ever read: the balance counted it all along.
    pub(super) fn is_old_ground(&self, row: &Transaction) -> bool {
        self.observed.held_from.zip(row.booked_on).is_some_and(|(from, day)| day <= from)
    }

    /// A link says that both stand: a row that goes with this look has none.
    fn drop_links_to_what_goes(&mut self) {
        if self.added.iter().all(|(_, links)| links.is_empty()) {
            return;
        }
        let removed = self.changes.iter().filter_map(|change| match change {
            NewChange::Removed { number, .. } => Some(*number),
            _ => None,
        });
        let removed: BTreeSet<i64> = removed.collect();
        for (_, links) in &mut self.added {
            links.retain(|link| !removed.contains(&link.number));
        }
    }

    /// By how much the balance differs for good, as far as one look can tell: all that is held was looked for, and no
    /// row waits.
    fn lasting_difference(&self) -> Option<i64> {
        self.difference.filter(|_| self.sees_all && !self.waits)
    }

    /// How late what is new was shown, counted from the last look.
    fn count_lateness(&self, standing: &mut Standing) {
        for (row, _) in self.added.iter().filter(|(row, _)| !self.is_old_ground(row)) {
            let booked = row.booked_on.filter(|_| row.status == TransactionStatus::Booked);
            if let Some((booked, looked)) = booked.zip(standing.looked_on) {
                standing.lateness.count(u32::try_from((looked - booked).num_days()).unwrap_or(0));
            }
        }
    }

    pub(super) fn verdict(mut self, ids: Ids, before: &Standing, proof: Proof) -> Verdict {
        let mut standing = Standing { ids_demoted: ids == Ids::Demoted, ..before.clone() };
        let rows = self.added.iter().map(|(row, _)| *row);
        if before.expected.is_none() && self.unit.is_some() {
            standing.first_rows = i64::try_from(self.added.len()).unwrap_or(i64::MAX);
        }
        let anchor = before.expected.filter(|_| !self.turned_back);
        // Whether a first balance counts rows that are missing, nothing tells: it is none to begin from.
        let moved = match anchor.is_none() && self.waits {
            true => None,
            false => proof::anchored(anchor, self.observed, self.moved, rows),
        };
        // A sum that no amount can hold stays where it was, in doubt.
        let is_too_large = anchor.is_some() && moved.is_none();
        standing.expected = moved.or(anchor);
        standing.in_doubt = match proof {
            _ if is_too_large => true,
            // What the rows of this look did not explain, they explain no better when they are shown again.
            Proof::Contradicted => true,
            Proof::Proved => false,
            // The first balance may count what the first look did not show: the next one confirms it.
            Proof::Unproved => before.in_doubt || (anchor.is_none() && standing.expected.is_some()),
        };
        let difference = self.lasting_difference();
        standing.unexplained = match proof {
            Proof::Contradicted
                if self.observed.is_all && difference.is_some() && difference == before.unexplained =>
            {
                // It lies outside of what the bank shows, and from now on the proof starts anew.
                standing.expected = standing
                    .expected
                    .zip(difference)
                    .map(|(money, by)| Money { minor: money.minor.saturating_add(by), ..money });
                standing.in_doubt = false;
                None
            }
            Proof::Contradicted if self.sees_all => difference,
            Proof::Contradicted => before.unexplained,
            Proof::Proved => None,
            Proof::Unproved => before.unexplained.filter(|_| anchor.is_some()),
        };
        self.count_lateness(&mut standing);
        standing.looked_on = self.observed.today.or(before.looked_on);
        if self.observed.is_all {
            standing.all_looked_on = self.observed.today.or(before.all_looked_on);
        }
        self.drop_links_to_what_goes();
        self.added.sort_by(|(a, _), (b, _)| identity::in_order(a, b));
        self.changes.sort_by_key(|change| match change {
            NewChange::Modified { number, .. } | NewChange::Removed { number, .. } => *number,
            NewChange::Added { .. } => i64::MAX,
        });
        let added =
            self.added.into_iter().map(|(after, links)| NewChange::Added { after: after.clone(), links });
        self.changes.extend(added);
        self.missed.sort_unstable();
        Verdict { changes: self.changes, rekeyed: self.rekeyed, missed: self.missed, proof, standing }
    }
}

/// The day of the oldest pending row that is left.
pub(super) fn oldest_pending(known: &[StoredTransaction], changes: &[NewChange]) -> Option<NaiveDate> {
    let changed: BTreeSet<i64> = changes.iter().filter_map(changed_number).collect();
    let held = known.iter().filter(|row| !changed.contains(&row.id.number)).map(|row| &row.transaction);
    let new = changes.iter().filter_map(|change| match change {
        NewChange::Added { after, .. } | NewChange::Modified { after, .. } => Some(after),
        NewChange::Removed { .. } => None,
    });
    let pending = held.chain(new).filter(|row| row.status == TransactionStatus::Pending);
    pending.filter_map(|row| row.booked_on.or(row.valued_on)).min()
}

pub(super) fn changed_number(change: &NewChange) -> Option<i64> {
    match change {
        NewChange::Modified { number, .. } | NewChange::Removed { number, .. } => Some(*number),
        NewChange::Added { .. } => None,
    }
}
