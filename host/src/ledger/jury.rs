//! What the balance says of booked rows that are missing: they are gone, it counts them still, or it can't tell.

use super::identity::{self, Ids, Row};
use super::matching;
use super::proof::{self, Open, Question, Scale, Weighed};
use crate::model::*;
use std::collections::{BTreeMap, BTreeSet};

/// Missing booked rows, and what the balance says of them.
pub(super) struct Judged<'k> {
    /// Those it is asked about.
    pub(super) booked: Vec<&'k StoredTransaction>,
    /// Those that are shown, dated or described anew.
    pub(super) described: Vec<&'k StoredTransaction>,
    /// Those that may never have been more than another one, shown twice at the first look.
    pub(super) repeats: BTreeSet<i64>,
    /// What it says; none if nothing explains it, or several things would.
    pub(super) weighed: Option<Weighed>,
}

/// Who judges.
pub(super) struct Jury<'j> {
    pub(super) scale: Option<&'j Scale>,
    pub(super) doubts: &'j [Open<'j>],
    pub(super) standing: &'j Standing,
    /// Contents of known rows without a name that were shown.
    pub(super) twins: &'j BTreeSet<identity::Content<'j>>,
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
            let judged = Jury { scale: Some(&scale), ..*self }.judge_missing(rest, false);
            let explains = |weighed: &Weighed| weighed.otherwise.iter().all(|counted| *counted == 0);
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
        let was_one = |row: &&StoredTransaction| {
            row.id.number <= self.standing.first_rows
                && self.twins.contains(&Row::new(&row.transaction).content())
        };
        let (repeats, rest): (Vec<_>, Vec<_>) = booked.iter().copied().partition(was_one);
        match self.weigh(&rest, only_simple).filter(|weighed| !repeats.is_empty() && explains(weighed)) {
            Some(weighed) => {
                let repeats = repeats.iter().map(|row| row.id.number).collect();
                Judged { booked: rest, described: Vec::new(), repeats, weighed: Some(weighed) }
            }
            None => {
                let weighed = self.weigh(&booked, only_simple);
                Judged { booked, described: Vec::new(), repeats: BTreeSet::new(), weighed }
            }
        }
    }

    fn weigh(&self, absent: &[&StoredTransaction], only_simple: bool) -> Option<Weighed> {
        let Standing { in_doubt, unexplained, .. } = *self.standing;
        self.scale?.weigh(&Question { absent, doubts: self.doubts, in_doubt, unexplained, only_simple })
    }
}

/// Nothing that is missing still counts.
fn explains(weighed: &Weighed) -> bool {
    !weighed.unclear && !weighed.gone.contains(&Some(false))
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
