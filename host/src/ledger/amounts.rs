//! Which row of equal amount became which, and which pending row was booked with another amount.

use super::assign::{self, SIDE_MAX, Worth};
use super::counted::compared;
use super::identity::{Content, Row, alike, goes_on};
use super::matching::{Pairing, Sides, groups, is_amended};
use crate::model::{Link, TransactionStatus};
use chrono::NaiveDate;
use foldhash::{HashMap, HashMapExt};

/// Days between announcement and booking: card payments take up to two weeks.
const SETTLEMENT_DAYS_MAX: i64 = 14;
/// A booked amount may be this much of the announced one and back, in percent: tips and exchange
/// rates, not another purchase.
const AMOUNT_PERCENT_MAX: i128 = 150;
/// Pairs that the rule for changed amounts looks at; beyond that nothing would be unique anyway.
pub const PAIRS_MAX: usize = SIDE_MAX * SIDE_MAX;
/// How sure a link is, in percent, that one candidate alone has.
const LINK_CONFIDENCE: usize = 90;
/// What any pair is worth beside what a better one is worth more: more pairs come before better ones.
const PAIR: i64 = 1_000;

impl<'a> Pairing<'a> {
    /// What is left and of equal amount: a pending row that was booked, a row with a new id and a new text.
    pub(super) fn by_amount(&mut self) {
        let amount = |row: &Row<'_>| (row.of.money.minor, row.of.money.currency.code());
        let candidates = self
            .free_old()
            .filter(|(place, row)| row.of.status == TransactionStatus::Pending || self.covered(*place));
        let mut old: Vec<_> =
            groups(candidates.map(|(place, row)| (amount(row), place))).into_iter().collect();
        old.sort_unstable_by_key(|(amount, _)| *amount);
        let new = groups(self.free_new().map(|(place, row)| (amount(row), place)));
        for (amount, old) in old {
            let Some(new) = new.get(&amount) else { continue };
            for (old, new) in blocks(self.sides, &old, new) {
                if old.len() <= SIDE_MAX && new.len() <= SIDE_MAX {
                    self.solve(&old, &new);
                } else {
                    self.in_date_order(&old, &new);
                }
            }
        }
    }

    /// Could the known row have become the new one of the same amount? What such a pair is worth.
    fn worth(&self, old: usize, new: usize) -> Option<Worth> {
        use TransactionStatus::{Booked, Pending};
        let is_gone = self.covered(old);
        let (old, new) = (self.sides.old.get(old)?, self.sides.new.get(new)?);
        let days = days_between(old, new);
        let alike = alike(old, new);
        let fits = match (old.of.status, new.of.status) {
            // One that need not have been shown may well stand still.
            (Pending, Booked) => {
                (is_gone || alike) && days.is_none_or(|days| (-1..=SETTLEMENT_DAYS_MAX).contains(&days))
            }
            (Booked, Pending) => false,
            // One row gone and another come may be two: only the balance can tell, or that all have new ids.
            _ => self.reissued && is_gone && is_amended(old, new),
        };
        let finer = days.map_or(SETTLEMENT_DAYS_MAX, i64::abs);
        let likeness = i64::from(alike) + i64::from(goes_on(old, new)) + i64::from(old.text() == new.text());
        let settles = i64::from(old.of.status != new.of.status);
        let tier = PAIR + 2 * likeness + i64::from(is_gone) + settles;
        fits.then_some(Worth { tier, finer })
    }

    /// Exactly: as many pairs as possible, the most alike, the nearest in time.
    fn solve(&mut self, old: &[usize], new: &[usize]) {
        let (old_rows, new_rows) = (self.sides.old, self.sides.new);
        let mut worth: Vec<Vec<Option<Worth>>> =
            old.iter().map(|old| new.iter().map(|new| self.worth(*old, *new)).collect()).collect();
        self.leave_to_the_missing(old, new, &mut worth);
        let solved = assign::best(&worth, &classes(old_rows, old), &classes(new_rows, new));
        for (old, pair) in old.iter().zip(solved) {
            if let Some((column, ambiguous)) = pair
                && let Some(new) = new.get(column)
            {
                self.pair(*old, *new, ambiguous);
            }
        }
    }

    /// A booked row that may be a missing one in other words is no booking of another business.
    fn leave_to_the_missing(&self, old: &[usize], new: &[usize], worth: &mut [Vec<Option<Worth>>]) {
        let row = |place: &usize| self.sides.old.get(*place);
        let is_booked = |row: &&Row<'_>| row.of.status == TransactionStatus::Booked;
        let missing: Vec<_> = old.iter().filter_map(row).filter(is_booked).collect();
        if missing.is_empty() {
            return;
        }
        for (column, new) in new.iter().enumerate() {
            let Some(new) = self.sides.new.get(*new) else { continue };
            if !missing.iter().any(|old| is_amended(old, new)) {
                continue;
            }
            for (old, worth) in old.iter().filter_map(row).zip(worth.iter_mut()) {
                if old.of.status == TransactionStatus::Pending
                    && !alike(old, new)
                    && let Some(worth) = worth.get_mut(column)
                {
                    *worth = None;
                }
            }
        }
    }

    /// Too many to weigh: those of equal text in the order of their dates, then the others.
    fn in_date_order(&mut self, old: &[usize], new: &[usize]) {
        let (old_rows, new_rows) = (self.sides.old, self.sides.new);
        let texts = |rows: &'a [Row<'a>], places: &[usize]| {
            groups(places.iter().filter_map(|place| Some((rows.get(*place)?.text(), *place))))
        };
        let mut of_text: Vec<_> = texts(old_rows, old).into_iter().collect();
        of_text.sort_unstable();
        let with_text = texts(new_rows, new);
        for (text, old) in of_text {
            self.merge(&old, with_text.get(text).map_or(&[][..], Vec::as_slice));
        }
        let is_free = |taken: Option<bool>| taken == Some(false);
        let partner = |place: &usize| self.matches.partner.get(*place).map(Option::is_some);
        let old: Vec<usize> = old.iter().copied().filter(|place| is_free(partner(place))).collect();
        let taken = |place: &usize| self.matches.taken.get(*place).copied();
        let new: Vec<usize> = new.iter().copied().filter(|place| is_free(taken(place))).collect();
        self.merge(&old, &new);
    }

    /// Walks both lists, which are in the order of their dates, once.
    fn merge(&mut self, old: &[usize], new: &[usize]) {
        let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
        while let (Some(old), Some(new)) = (olds.peek(), news.peek()) {
            let (Some(before), Some(after)) = (self.sides.old.get(**old), self.sides.new.get(**new)) else {
                return;
            };
            if self.worth(**old, **new).is_some() {
                self.pair(**old, **new, true);
                olds.next();
                news.next();
            } else if before.day() <= after.day() {
                olds.next();
            } else {
                news.next();
            }
        }
    }

    /// A pending row and a booked one of another amount: the same business, the same direction, not too far off.
    /// Only if it is gone and can be no other; else both stand, and are linked.
    pub(super) fn by_other_amount(&mut self) {
        let old: Vec<usize> = self
            .free_old()
            .filter(|(_, row)| row.of.status == TransactionStatus::Pending)
            .map(|(place, _)| place)
            .collect();
        let new: Vec<usize> = self
            .free_new()
            .filter(|(place, row)| {
                row.of.status == TransactionStatus::Booked && !self.sides.reading.may_be_again(*place)
            })
            .map(|(place, _)| place)
            .collect();
        if old.len().saturating_mul(new.len()) > PAIRS_MAX {
            return;
        }
        let mut candidates: Vec<(usize, usize)> = Vec::new();
        let (mut of_old, mut of_new): (HashMap<usize, usize>, HashMap<usize, usize>) = Default::default();
        for old in old {
            for new in &new {
                let (Some(before), Some(after)) = (self.sides.old.get(old), self.sides.new.get(*new)) else {
                    continue;
                };
                if may_have_settled(before, after) {
                    candidates.push((old, *new));
                    *of_old.entry(old).or_default() += 1;
                    *of_new.entry(*new).or_default() += 1;
                }
            }
        }
        for (old, new) in candidates {
            let others = of_old.get(&old).max(of_new.get(&new)).copied().unwrap_or(1);
            if others == 1 && self.covered(old) {
                self.pair(old, new, false);
            } else if let Some(held) = self.sides.known.get(old) {
                let confidence = u8::try_from((LINK_CONFIDENCE / others).max(1)).unwrap_or(1);
                let link = Link { number: held.id.number, confidence };
                self.matches.links.entry(new).or_default().push(link);
            }
        }
    }
}

/// Equal rows have equal numbers, which are below the count of rows.
fn classes(rows: &[Row<'_>], places: &[usize]) -> Vec<usize> {
    let mut known: HashMap<(Content<'_>, &str), usize> = HashMap::new();
    let mut class = |place: &usize| {
        let row = rows.get(*place)?;
        let next = known.len();
        Some(*known.entry((row.content(), row.of.details.as_str())).or_insert(next))
    };
    places.iter().map(|place| class(place).unwrap_or(0)).collect()
}

/// Rows of one amount, cut where no row of one part could be one of the other: both sides in the order of dates.
fn blocks(sides: &Sides<'_>, old: &[usize], new: &[usize]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let undated = NaiveDate::MAX;
    let day = |rows: &[Row<'_>], place: usize| rows.get(place).and_then(Row::day).unwrap_or(undated);
    let mut all: Vec<(NaiveDate, bool, usize)> =
        old.iter().map(|place| (day(sides.old, *place), false, *place)).collect();
    all.extend(new.iter().map(|place| (day(sides.new, *place), true, *place)));
    // A row without a date may be any.
    let whole = all.iter().any(|(day, _, _)| *day == undated);
    all.sort_unstable();
    let mut blocks: Vec<(Vec<usize>, Vec<usize>)> = vec![Default::default()];
    let mut before: Option<NaiveDate> = None;
    for (day, is_new, place) in all {
        let far = before.is_some_and(|before| (day - before).num_days() > SETTLEMENT_DAYS_MAX);
        if far && !whole {
            blocks.push(Default::default());
        }
        before = Some(day);
        if let Some((old, new)) = blocks.last_mut() {
            if is_new { new.push(place) } else { old.push(place) }
        }
    }
    blocks.retain(|(old, new)| !old.is_empty() && !new.is_empty());
    blocks
}

pub(super) fn days_between(old: &Row<'_>, new: &Row<'_>) -> Option<i64> {
    Some((new.day()? - old.day()?).num_days())
}

/// Booked after it was announced, and not too long after, a day's slack for time zones; of the same business,
/// currency and direction, and neither is much more than the other.
fn may_have_settled(old: &Row<'_>, new: &Row<'_>) -> bool {
    compared();
    let (a, b) = (i128::from(old.of.money.minor), i128::from(new.of.money.minor));
    old.of.money.currency == new.of.money.currency
        && a.signum() == b.signum()
        && a.abs() * 100 <= b.abs() * AMOUNT_PERCENT_MAX
        && b.abs() * 100 <= a.abs() * AMOUNT_PERCENT_MAX
        && days_between(old, new).is_none_or(|days| (-1..=SETTLEMENT_DAYS_MAX).contains(&days))
        && alike(old, new)
}
