//! The only end-to-end proof there is: what our booked rows add up to is what the bank says it holds.
//!
//! `expected` is anchored at the first booked balance and moved by every change since, so a row that the bank
//! hid at one look and shows at the next is explained then. The balance also decides what the rows leave open:
//! whether missing rows are gone, and how often rows count that stand there twice.

use super::Observed;
use crate::model::{Balance, BalanceKind, Money, Proof, StoredTransaction, Transaction, TransactionStatus};
use chrono::NaiveDate;

/// Rows that are weighed in every combination: 2¹² of them cost less than a millisecond.
const WEIGHED_MAX: usize = 12;

/// The balance that proves: booked, without pending rows, and the customer's own money.
pub fn booked_balance(balances: &[Balance]) -> Option<Money> {
    booked(balances).and_then(Balance::own_money)
}

fn booked(balances: &[Balance]) -> Option<&Balance> {
    let proves = |balance: &&Balance| balance.kind == BalanceKind::Booked && !balance.includes_pending;
    balances.iter().filter(proves).find(|balance| balance.own_money().is_some())
}

/// Does a statement that brings its own balances add up: opening + booked rows = closing? None if it
/// brings none. Rows in other currencies don't count.
pub(super) fn adds_up(observed: &Observed) -> Option<bool> {
    let of = |kind| {
        let mut found = observed.balances.iter().filter(|balance| balance.kind == kind);
        found.next().filter(|_| found.next().is_none()).and_then(Balance::own_money)
    };
    let (opening, closing) = (of(BalanceKind::Opening)?, of(BalanceKind::Closing)?);
    let moved: i128 = observed.transactions.iter().map(|row| weight(row, closing)).sum();
    (opening.currency == closing.currency)
        .then(|| i128::from(opening.minor) + moved == i128::from(closing.minor))
}

/// What a row adds to a booked balance of that currency.
pub(super) fn weight(row: &Transaction, of: Money) -> i128 {
    let counts = row.status == TransactionStatus::Booked && row.money.currency == of.currency;
    if counts { i128::from(row.money.minor) } else { 0 }
}

/// What is to be explained: the bank's balance, less what we would expect.
pub(super) struct Scale {
    pub(super) balance: Money,
    /// If everything counts.
    needed: i128,
    /// What the rows weigh that are dated after the balance, which it may not count yet.
    not_yet: i128,
    /// The last day that the balance counts for sure.
    day: Option<NaiveDate>,
}

/// What the rows would have to add up to, if the bank gives a balance that proves and we have an anchor.
/// `moved`: by how much the changes that are certain move it. `now`: the rows as they are after them.
pub(super) fn scale<'a>(
    expected: Option<Money>,
    observed: &Observed,
    moved: i128,
    now: impl Iterator<Item = &'a Transaction>,
) -> Option<Scale> {
    let balance = booked_balance(&observed.balances)?;
    let expected = expected.filter(|expected| expected.currency == balance.currency)?;
    let sum = i128::from(expected.minor) + moved;
    let needed = i128::from(balance.minor) - sum;
    let not_yet = not_yet(observed, balance, now);
    i64::try_from(sum).ok()?; // a sum that no amount can hold proves nothing
    Some(Scale { balance, needed, not_yet, day: last_day(observed) })
}

/// What the balance says of the rows that are open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Weighed {
    /// For each absent row, whether it is gone; none where the balance does not speak of it.
    pub(super) gone: Vec<Option<bool>>,
    /// For each doubt, by how many rows the reading is to be counted otherwise: fewer, or more.
    pub(super) otherwise: Vec<i64>,
    /// Some of the absent rows are gone and others are not, and nobody knows which.
    pub(super) unclear: bool,
    /// Why it does not speak of the absent rows at all, though it agrees.
    pub(super) open: Option<Agrees>,
}

/// Why a balance says nothing of rows that are missing, though it agrees with what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agrees {
    /// It does so also if they are gone: rows that are dated after it weigh as much, and may count or not; or what it
    /// differed by last time does.
    EitherWay,
    /// It agreed when they were missing before, too, and nothing was refused then: it never counted them.
    WithoutThem,
}

/// What is open, and how far the anchor can be relied on.
pub(super) struct Question<'k, 'o> {
    /// Rows that are held and were not shown.
    pub(super) absent: &'k [&'k StoredTransaction],
    /// Rows that may count less or more often.
    pub(super) doubts: &'k [Open<'o>],
    /// The last balance was not explained, or there was none before.
    pub(super) in_doubt: bool,
    /// What it differed by.
    pub(super) unexplained: Option<i64>,
    /// What known rows weigh that were missing before, and that this reading need not have shown.
    pub(super) waiting: &'k [i128],
    /// No combinations: the rows are to be taken as they are shown.
    pub(super) only_simple: bool,
}

impl Question<'_, '_> {
    /// Whether a balance that agrees as if nothing were gone says so indeed.
    fn open(&self, views: &[&View], stands: Option<&View>) -> Option<Agrees> {
        let weighs = |view: &View| view.weights.iter().any(|weight| *weight != 0);
        let is_gone = |view: &View| {
            let all: i128 = view.weights.iter().sum();
            all != 0 && view.needed == -all
        };
        if views.iter().copied().chain(stands).any(is_gone) {
            return Some(Agrees::EitherWay);
        }
        let missed_before = !self.in_doubt && self.absent.iter().all(|row| row.missed > 0);
        (missed_before && views.iter().any(|view| weighs(view))).then_some(Agrees::WithoutThem)
    }
}

/// One way to read a balance.
struct View {
    needed: i128,
    /// What each absent row weighs.
    weights: Vec<i128>,
}

impl Weighed {
    /// What both say; where one does not speak of a row, neither do both.
    fn and(self, other: Self) -> Self {
        let both = |(one, other): (Option<bool>, Option<bool>)| one.filter(|_| other == one);
        Self { gone: self.gone.into_iter().zip(other.gone).map(both).collect(), ..self }
    }
}

impl View {
    /// Nothing that is absent is gone, or all of it is.
    fn simple(&self, doubts: usize) -> Option<Weighed> {
        let all: i128 = self.weights.iter().sum();
        let is_gone = match self.needed {
            0 => false,
            needed if needed == -all => true,
            _ => return None,
        };
        Some(Weighed { gone: self.gone(|_| is_gone), otherwise: vec![0; doubts], unclear: false, open: None })
    }

    fn gone(&self, is_gone: impl Fn(usize) -> bool) -> Vec<Option<bool>> {
        let of = |(place, weight): (usize, &i128)| (*weight != 0).then(|| is_gone(place));
        self.weights.iter().enumerate().map(of).collect()
    }
}

impl Scale {
    /// What there is to explain, in minor units; none if that is more than an amount can be.
    pub(super) fn difference(&self) -> Option<i64> {
        i64::try_from(self.needed + self.not_yet).ok()
    }

    /// The same without rows of this weight, of which so much is dated after the balance.
    pub(super) fn without(&self, weight: i128, later: i128) -> Self {
        Self { needed: self.needed + weight, not_yet: self.not_yet - later, ..*self }
    }

    /// Is nothing left to explain?
    pub(super) fn is_even(&self) -> bool {
        self.needed == 0 || self.needed + self.not_yet == 0
    }

    /// Dated after the balance: it may not count it yet.
    pub(super) fn is_later(&self, row: &Transaction) -> bool {
        self.day.is_some_and(|day| row.booked_on.is_some_and(|booked| booked > day))
    }

    /// What explains the balance, the least that does: nothing, all absent rows gone, some of them, and only
    /// then rows counted otherwise. None if nothing does, or several things would; but if one of them is that
    /// missing rows still count, that is said: nothing is stored then.
    pub(super) fn weigh(&self, question: &Question<'_, '_>) -> Option<Weighed> {
        let [all, so_far] = self.views(question.absent);
        let doubts = question.doubts;
        let stands = question.unexplained.filter(|_| question.in_doubt);
        // What it differed by last time stands.
        let stands = stands.map(|difference| View {
            needed: so_far.needed - i128::from(difference),
            weights: so_far.weights.clone(),
        });
        let views = [Some(&all), Some(&so_far), stands.as_ref()];
        let simple = || views.into_iter().flatten().filter_map(|view| view.simple(doubts.len()));
        if let Some(none) = simple().find(|weighed| !weighed.gone.contains(&Some(true))) {
            let open = question.open(&[&all, &so_far], stands.as_ref());
            return Some(match open {
                Some(_) => Weighed { gone: vec![None; none.gone.len()], open, ..none },
                None => none,
            });
        }
        let is_first = question.unexplained.is_none() && question.absent.iter().all(|row| row.missed == 0);
        if question.in_doubt && !is_first {
            // What nothing explained last time proves no removal: only what it moved by since.
            return stands.and_then(|view| view.simple(doubts.len()));
        }
        if let Some(every) = simple().reduce(Weighed::and) {
            // A row that came twice while another slipped away looks like one that came and another that went.
            let slipped = self.only_counts(doubts, so_far.needed).is_some();
            return Some(every).filter(|_| !slipped);
        }
        if question.in_doubt || question.only_simple { None } else { self.weigh_closely(&so_far, question) }
    }

    /// The balance counts everything; or nothing that is dated after it.
    fn views(&self, absent: &[&StoredTransaction]) -> [View; 2] {
        let weight = |row: &&StoredTransaction| weight(&row.transaction, self.balance);
        let counted =
            |row: &&StoredTransaction| if self.is_later(&row.transaction) { 0 } else { weight(row) };
        [
            View { needed: self.needed, weights: absent.iter().map(weight).collect() },
            View { needed: self.needed + self.not_yet, weights: absent.iter().map(counted).collect() },
        ]
    }

    fn weigh_closely(&self, view: &View, question: &Question<'_, '_>) -> Option<Weighed> {
        let doubts = question.doubts;
        let all: i128 = view.weights.iter().sum();
        let none = || Weighed {
            gone: view.gone(|_| false),
            otherwise: vec![0; doubts.len()],
            unclear: false,
            open: None,
        };
        match subsets(&view.weights, -view.needed) {
            Subsets::One(gone) => {
                // The balance agreed when the others were missing before: it never counted them.
                let missed = |place: usize| question.absent.get(place).is_some_and(|row| row.missed > 0);
                let gone = view.gone(|place| gone.get(place) == Some(&true)).into_iter().enumerate();
                let gone = gone.map(|(place, gone)| gone.filter(|gone| *gone || !missed(place)));
                return Some(Weighed { gone: gone.collect(), ..none() });
            }
            // Whichever of them went: others did not.
            Subsets::Several => return Some(Weighed { unclear: true, ..none() }),
            Subsets::None => {}
        }
        if may_add_up_to(question.waiting, -view.needed) {
            return None; // rows that were missing before may be gone as well
        }
        if let Some(otherwise) = self.only_counts(doubts, view.needed) {
            return Some(Weighed { otherwise, ..none() });
        }
        let otherwise = self.only_counts(doubts, view.needed + all)?;
        Some(Weighed { otherwise, gone: view.gone(|_| true), unclear: false, open: None })
    }

    fn only_counts(&self, doubts: &[Open<'_>], needed: i128) -> Option<Vec<i64>> {
        let counted =
            |open: &Open<'_>| if self.is_later(open.row) { 0 } else { weight(open.row, self.balance) };
        let bound = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let steps = doubts.iter().map(|open| match counted(open) {
            0 => (0, 0, 0), // no balance speaks of it yet
            weight => (weight, -bound(open.fewer), bound(open.more)),
        });
        only_counts(&steps.collect::<Vec<_>>(), needed)
    }
}

/// Equal rows of which some are new, and how much less or more often they may count.
pub(super) struct Open<'a> {
    pub(super) row: &'a Transaction,
    /// Those that are new: equal in all but an id that names nothing.
    pub(super) new: Vec<&'a Transaction>,
    pub(super) fewer: usize,
    pub(super) more: usize,
}

/// Which rows have a sum.
enum Subsets {
    None,
    One(Vec<bool>),
    /// Of other weights each.
    Several,
}

/// Do some of the weights, or all of them, have that sum? Of too many weights some may.
fn may_add_up_to(weights: &[i128], sum: i128) -> bool {
    let of = |set: u32| {
        let chosen = weights.iter().enumerate().filter(|(place, _)| set & (1 << place) != 0);
        chosen.map(|(_, weight)| weight).sum::<i128>()
    };
    weights.len() > WEIGHED_MAX || (1..1_u32 << weights.len()).any(|set| of(set) == sum)
}

/// The subsets of that sum, but for none and all of the rows.
fn subsets(weights: &[i128], sum: i128) -> Subsets {
    if weights.len() > WEIGHED_MAX {
        return Subsets::None;
    }
    let chosen = |set: u32| weights.iter().enumerate().filter(move |(place, _)| set & (1 << place) != 0);
    let mut found: Option<(Vec<i128>, u32)> = None;
    for set in 1..(1_u32 << weights.len()).saturating_sub(1) {
        if chosen(set).map(|(_, weight)| weight).sum::<i128>() != sum {
            continue;
        }
        let mut kind: Vec<i128> =
            chosen(set).map(|(_, weight)| *weight).filter(|weight| *weight != 0).collect();
        kind.sort_unstable();
        match &found {
            Some((other, _)) if *other != kind => return Subsets::Several,
            Some(_) => {}
            None => found = Some((kind, set)),
        }
    }
    match found {
        Some((_, set)) => Subsets::One((0..weights.len()).map(|place| set & (1 << place) != 0).collect()),
        None => Subsets::None,
    }
}

/// The only way to count the doubtful rows otherwise that adds so much; fewest rows first. `steps`: what each weighs,
/// how much less often it may count, and how much more often.
fn only_counts(steps: &[(i128, i64, i64)], needed: i128) -> Option<Vec<i64>> {
    let mut best: Option<(i64, Vec<i64>)> = None;
    let mut several = false;
    let mut budget = 1_u32 << WEIGHED_MAX;
    let mut stack: Vec<(Vec<i64>, i128)> = vec![(Vec::new(), needed)];
    while let Some((counts, left)) = stack.pop() {
        budget = budget.checked_sub(1)?;
        let Some((weight, fewest, most)) = steps.get(counts.len()) else {
            let size: i64 = counts.iter().map(|count| count.abs()).sum();
            if left == 0 && size > 0 {
                match &best {
                    Some((known, _)) if *known < size => {}
                    Some((known, _)) if *known == size => several = true,
                    _ => (best, several) = (Some((size, counts)), false),
                }
            }
            continue;
        };
        // A group alone may be as large as it likes: the count follows from what is left.
        if counts.len() + 1 == steps.len() && *weight != 0 {
            let count = i64::try_from(left / weight).ok().filter(|_| left % weight == 0);
            if let Some(count) = count.filter(|count| (*fewest..=*most).contains(count)) {
                stack.push(([counts, vec![count]].concat(), 0));
            }
            continue;
        }
        for count in *fewest..=*most {
            stack.push(([counts.clone(), vec![count]].concat(), left - weight * i128::from(count)));
        }
    }
    best.filter(|_| !several).map(|(_, counts)| counts)
}

/// Where the proof stands from now on. The first balance is the anchor; rows dated after it are not yet in it.
pub(super) fn anchored<'a>(
    expected: Option<Money>,
    observed: &Observed,
    moved: i128,
    rows: impl Iterator<Item = &'a Transaction>,
) -> Option<Money> {
    let found = booked_balance(&observed.balances);
    let at = |money: Money, by: i128| {
        let minor = i64::try_from(i128::from(money.minor) + by).ok()?;
        Some(Money { minor, ..money })
    };
    match (expected, found) {
        (Some(expected), found) if found.is_none_or(|found| found.currency == expected.currency) => {
            at(expected, moved)
        }
        (_, Some(found)) => at(found, not_yet(observed, found, rows)),
        (_, None) => None,
    }
}

/// The last day that the balance counts for sure.
fn last_day(observed: &Observed) -> Option<NaiveDate> {
    let as_of = booked(&observed.balances).and_then(|balance| balance.as_of).map(|at| at.utc().date_naive());
    as_of.into_iter().chain(observed.today).min()
}

/// What the rows weigh that are dated after the balance.
fn not_yet<'a>(observed: &Observed, of: Money, rows: impl Iterator<Item = &'a Transaction>) -> i128 {
    let day = last_day(observed);
    let later =
        |row: &&Transaction| row.booked_on.zip(day).is_some_and(|(booked, day): (NaiveDate, _)| booked > day);
    rows.filter(later).map(|row| weight(row, of)).sum()
}

/// The word for it.
pub(super) fn word(scale: Option<&Scale>) -> Proof {
    match scale {
        None => Proof::Unproved,
        Some(scale) if scale.is_even() => Proof::Proved,
        Some(_) => Proof::Contradicted,
    }
}
