//! What the balance says of booked rows that are missing: they are gone, it counts them still, or it can't tell.

use super::identity::{self, Ids, Row};
use super::matching;
use super::proof::{self, Agrees, Open, Question, Scale, Weighed};
use crate::model::*;
use foldhash::{HashSet, HashSetExt};
use std::collections::{BTreeMap, BTreeSet};

/// Missing booked rows, and what the balance says of them.
pub(super) struct Judged<'k> {
    /// Those it is asked about.
    pub(super) booked: Vec<&'k StoredTransaction>,
    /// Those that are shown, dated or described anew.
    pub(super) described: Vec<&'k StoredTransaction>,
    /// Those that may never have been more than another one, shown twice at the first look.
    pub(super) repeats: BTreeSet<i64>,
    /// Those that were never more than another one which is gone, shown twice at the first look.
    pub(super) gone_too: Vec<&'k StoredTransaction>,
    /// What it says; none if nothing explains it, or several things would.
    pub(super) weighed: Option<Weighed>,
}

impl Judged<'_> {
    /// Rows, by number, that the balance agrees without: where they go, it does not move.
    pub(super) fn uncounted(&self) -> BTreeSet<i64> {
        let is_uncounted = |place: usize, row: &StoredTransaction| {
            self.weighed.as_ref().is_some_and(|weighed| match weighed.open {
                Some(open) => open == Agrees::WithoutThem,
                None => row.missed > 0 && weighed.gone.get(place) == Some(&None),
            })
        };
        let rows = self.booked.iter().enumerate().filter(|(place, row)| is_uncounted(*place, row));
        self.repeats.iter().copied().chain(rows.map(|(_, row)| row.id.number)).collect()
    }
}

/// Who judges.
pub(super) struct Jury<'j> {
    pub(super) scale: Option<&'j Scale>,
    pub(super) doubts: &'j [Open<'j>],
    pub(super) standing: &'j Standing,
    pub(super) ids: Ids,
    /// Contents of known rows without a name that were shown.
    pub(super) twins: &'j BTreeSet<identity::Content<'j>>,
    /// What known rows weigh that were missing before, and that the reading need not have shown.
    pub(super) waiting: &'j [i128],
}

impl Jury<'_> {
    /// First as if what may be described anew were: then fewer rows are missing, and fewer are new. `anew`: those
    /// rows, by number.
    pub(super) fn judge<'k>(
        &self,
        booked: Vec<&'k StoredTransaction>,
        anew: &BTreeMap<i64, &Transaction>,
    ) -> Judged<'k> {
        let is_anew = |row: &&StoredTransaction| anew.contains_key(&row.id.number);
        let (described, rest): (Vec<_>, Vec<_>) = booked.iter().copied().partition(is_anew);
        if let Some(scale) = self.scale.filter(|_| !described.is_empty()) {
            let weight: i128 =
                described.iter().map(|row| proof::weight(&row.transaction, scale.balance)).sum();
            let later = described.iter().filter(|row| scale.is_later(&row.transaction));
            let later = later.map(|row| proof::weight(&row.transaction, scale.balance)).sum();
            let scale = scale.without(weight, later);
            let rows: Vec<_> = described.iter().map(|row| Row::new(&row.transaction)).collect();
            let nameless = rows.iter().filter(|row| self.ids.of(row.of).is_none());
            let twins: BTreeSet<_> = self.twins.iter().copied().chain(nameless.map(Row::content)).collect();
            let judged = Jury { scale: Some(&scale), twins: &twins, ..*self }.judge_missing(rest, false);
            let explains = |weighed: &Weighed| weighed.otherwise.iter().all(|counted| *counted >= 0);
            if judged.weighed.as_ref().is_some_and(explains) {
                return Judged { described, ..judged };
            }
        }
        // Rows that may be described anew are no evidence that others are hidden.
        self.judge_missing(booked, !described.is_empty())
    }

    /// At the first look nothing told twins from one row on two pages: rows that are shown once less than they are
    /// held may be one, if that explains everything.
    fn judge_missing<'k>(&self, booked: Vec<&'k StoredTransaction>, only_simple: bool) -> Judged<'k> {
        let [repeats, gone_too, rest] = self.may_have_been_one(&booked);
        let is_doubtful = !repeats.is_empty() || !gone_too.is_empty();
        match self.weigh(&rest, only_simple).filter(|weighed| is_doubtful && explains(weighed)) {
            Some(weighed) => {
                let repeats = repeats.iter().map(|row| row.id.number).collect();
                Judged { booked: rest, described: Vec::new(), repeats, gone_too, weighed: Some(weighed) }
            }
            None => {
                let weighed = self.weigh(&booked, only_simple);
                let (described, repeats, gone_too) = (Vec::new(), BTreeSet::new(), Vec::new());
                Judged { booked, described, repeats, gone_too, weighed }
            }
        }
    }

    /// Rows of the first look that are equal to one without a name that is shown; those that are equal to another
    /// one that is missing, too; and the others.
    fn may_have_been_one<'k>(&self, booked: &[&'k StoredTransaction]) -> [Vec<&'k StoredTransaction>; 3] {
        let rows: Vec<_> = booked.iter().map(|row| Row::new(&row.transaction)).collect();
        let mut ones: HashSet<identity::Content<'_>> = HashSet::new();
        let [mut repeats, mut gone_too, mut rest] = [Vec::new(), Vec::new(), Vec::new()];
        for (held, row) in booked.iter().zip(&rows) {
            let is_first = held.id.number <= self.standing.first_rows;
            let weighs = self.scale.is_some_and(|scale| proof::weight(row.of, scale.balance) != 0);
            let is_nameless = self.ids.of(row.of).is_none();
            if is_first && self.twins.contains(&row.content()) {
                repeats.push(*held);
            } else if is_first && weighs && is_nameless && !ones.insert(row.content()) {
                gone_too.push(*held);
            } else {
                rest.push(*held);
            }
        }
        [repeats, gone_too, rest]
    }

    fn weigh(&self, absent: &[&StoredTransaction], only_simple: bool) -> Option<Weighed> {
        let Standing { in_doubt, unexplained, .. } = *self.standing;
        let Jury { doubts, waiting, .. } = *self;
        self.scale?.weigh(&Question { absent, doubts, in_doubt, unexplained, waiting, only_simple })
    }
}

/// Nothing that is missing still counts.
fn explains(weighed: &Weighed) -> bool {
    !weighed.unclear && weighed.open.is_none() && !weighed.gone.contains(&Some(false))
}

/// The place of the nearest of the new rows that the old one may be, dated or described anew.
pub(super) fn nearest<'n>(
    ids: Ids,
    old: &Row<'_>,
    new: impl Iterator<Item = &'n Transaction>,
    may_be: impl Fn(&&'n Transaction) -> bool,
) -> Option<usize> {
    let days = |new: &Transaction| {
        new.booked_on.zip(old.of.booked_on).map(|(new, old)| (new - old).num_days().abs())
    };
    let fits = |new: &Transaction| {
        new.money == old.of.money && !ids.part(old.of, new) && matching::is_amended(old, &Row::new(new))
    };
    let places = new.enumerate().filter(|(_, new)| may_be(new) && fits(new));
    let nearest =
        places.min_by(|(_, a), (_, b)| days(a).cmp(&days(b)).then_with(|| identity::in_order(a, b)));
    nearest.map(|(place, _)| place)
}
