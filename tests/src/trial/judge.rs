//! A brute-force judge of "it could have been another row": all ways in which the pending rows that
//! are missing may have become the booked rows that are new, by the published rules.
//!
//! First what is certain is set aside: rows with one id on both sides (unless ids have lied), rows
//! that the bank says are replaced, rows with equal contents. Of what is left, a way gives each
//! missing pending row at most one new booked row and the other way round, each pair in the same
//! direction and −1 to 14 days apart. Pairs of equal amounts, and pairs whose texts are alike with
//! amounts at most half as much again apart, *must not both be left over*: one explanation is as good
//! as another only if it leaves none. Of these ways those with the most equal amounts, then with the
//! most texts alike among these, are explanations. Other pairs with comparable amounts may be or not be.
//!
//! A pending row that the answer need not have shown may be there still: it may always be left over. A booked row that
//! may be a missing one in other words may be the booking of a pending row of another business, or not.
//!
//! An ambiguity is avoidable if there is exactly one explanation of all rows that hang together with
//! it, be it with such bookings or without. Shares no code with the ledger.

use super::contents::Contents;
use super::shown::Reading;
use super::trust::Trust;
use host::model::{StoredTransaction, TransactionStatus};
use std::collections::BTreeSet;

/// More pairs than this are not enumerated; then nobody can say that the guess was avoidable.
const PAIRS_MAX: usize = 18;

/// What is left when the certain is set aside.
#[derive(Debug, Default)]
pub struct Left {
    /// Missing pending rows by number, and whether the answer would have shown them.
    pub pending: Vec<(i64, Contents, bool)>,
    /// New booked rows.
    pub booked: Vec<Contents>,
    /// Missing booked rows.
    pub missing: Vec<Contents>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    May,
    Alike,
    Equal,
    EqualAndAlike,
}

/// Sets aside what is certain.
pub fn left(trust: &Trust, held: &[StoredTransaction], reading: &Reading) -> Left {
    let mut held: Vec<&StoredTransaction> = held.iter().collect();
    let mut seen: Vec<_> = reading.seen.transactions.iter().collect();
    let mut names = BTreeSet::new();
    seen.retain(|row| trust.decides(row).is_none_or(|id| names.insert(id.to_owned())));
    seen.retain(|row| {
        let named = [trust.decides(row), row.supersedes.as_deref()];
        let same = |old: &&StoredTransaction| {
            old.transaction.bank_id.is_some()
                && named.iter().any(|id| id.is_some() && *id == old.transaction.bank_id.as_deref())
        };
        take(&mut held, same).is_none()
    });
    seen.retain(|row| take(&mut held, |old| Contents::of(&old.transaction) == Contents::of(row)).is_none());
    let coverage = reading.seen.coverage.as_ref().filter(|coverage| {
        coverage.complete && coverage.snapshot && coverage.statuses.contains(&TransactionStatus::Pending)
    });
    let pending = held.iter().map(|row| {
        let contents = Contents::of(&row.transaction);
        let covered = coverage.zip(contents.day).is_some_and(|(coverage, day)| coverage.window.since < day);
        (row.id.number, contents, covered)
    });
    let missing = held.iter().map(|row| Contents::of(&row.transaction)).filter(Contents::is_booked).collect();
    Left {
        missing,
        pending: pending.filter(|(_, contents, _)| !contents.is_booked()).collect(),
        booked: seen.into_iter().map(Contents::of).filter(Contents::is_booked).collect(),
    }
}

fn take<T>(from: &mut Vec<T>, which: impl Fn(&T) -> bool) -> Option<T> {
    let place = from.iter().position(which)?;
    Some(from.remove(place))
}

/// How many explanations there are of all that hangs together with "the pending row `number` became
/// this booked one"; none if that is too much to enumerate, or if the pair itself can't be.
pub fn explanations(left: &Left, number: i64, became: &Contents) -> Option<usize> {
    let pending = left.pending.iter().position(|(known, ..)| *known == number)?;
    let booked = left.booked.iter().position(|row| row == became)?;
    if !left.pending[pending].2 {
        return None; // what may always be left over is never the only explanation
    }
    let all = pairs(left);
    let told = |(_, new, _): &Pair| left.missing.iter().any(|row| row.may_be_told_as(&left.booked[*new]));
    let speaks = |(old, new, _): &Pair| left.pending[*old].1.speaks_of(&left.booked[*new]);
    let without: Vec<Pair> = all.iter().copied().filter(|pair| !told(pair) || speaks(pair)).collect();
    let ways = [all, without].map(|pairs| count(&pairs, pending, booked));
    ways.into_iter().find(|ways| *ways != Some(1)).unwrap_or(Some(1))
}

/// How many, of these pairs.
fn count(all: &[Pair], pending: usize, booked: usize) -> Option<usize> {
    if !all.iter().any(|(old, new, _)| (*old, *new) == (pending, booked)) {
        return None;
    }
    let connected = connected(all, (pending, booked));
    if connected.len() > PAIRS_MAX {
        return None;
    }
    let mut ways = Vec::new();
    enumerate(&connected, &mut Vec::new(), &mut ways);
    ways.retain(|way| leaves_nothing_over(way, &connected));
    let merit = |way: &Way| {
        let of = |fits: &[Fit]| way.iter().filter(|(_, _, fit)| fits.contains(fit)).count();
        (of(&[Fit::Equal, Fit::EqualAndAlike]), of(&[Fit::EqualAndAlike]))
    };
    let best = ways.iter().map(merit).max()?;
    Some(ways.iter().filter(|way| merit(way) == best).count())
}

type Pair = (usize, usize, Fit);
type Way = Vec<Pair>;

fn pairs(left: &Left) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (old, (_, pending, covered)) in left.pending.iter().enumerate() {
        for (new, booked) in left.booked.iter().enumerate() {
            if !pending.may_settle_as(booked) {
                continue;
            }
            let (one, other) = (pending.minor.abs(), booked.minor.abs());
            let comparable = one * 2 <= other * 3 && other * 2 <= one * 3;
            let fit = match (one == other, pending.reads_like(booked)) {
                (true, true) => Fit::EqualAndAlike,
                (true, false) => Fit::Equal,
                (false, true) if comparable => Fit::Alike,
                (false, false) if comparable => Fit::May,
                _ => continue,
            };
            pairs.push((old, new, if *covered { fit } else { Fit::May }));
        }
    }
    pairs
}

/// The pairs that share a row with this one, or with one that does, and so on.
fn connected(all: &[Pair], start: (usize, usize)) -> Vec<Pair> {
    let (mut old, mut new) = (BTreeSet::from([start.0]), BTreeSet::from([start.1]));
    loop {
        let found: Vec<Pair> =
            all.iter().copied().filter(|pair| old.contains(&pair.0) || new.contains(&pair.1)).collect();
        let size = old.len() + new.len();
        old.extend(found.iter().map(|pair| pair.0));
        new.extend(found.iter().map(|pair| pair.1));
        if old.len() + new.len() == size {
            return found;
        }
    }
}

fn enumerate(rest: &[Pair], way: &mut Way, ways: &mut Vec<Way>) {
    let Some((pair, rest)) = rest.split_first() else {
        ways.push(way.clone());
        return;
    };
    enumerate(rest, way, ways);
    if way.iter().all(|(old, new, _)| *old != pair.0 && *new != pair.1) {
        way.push(*pair);
        enumerate(rest, way, ways);
        way.pop();
    }
}

fn leaves_nothing_over(way: &Way, all: &[Pair]) -> bool {
    let free = |pair: &Pair| way.iter().all(|(old, new, _)| *old != pair.0 && *new != pair.1);
    !all.iter().any(|pair| pair.2 != Fit::May && free(pair))
}

#[cfg(test)]
mod tests {
    use super::super::books::{Books, date};
    use super::super::shown::{Counts, Glitch, Ids, Manners};
    use super::super::store::Store;
    use super::super::words::Class;
    use super::*;
    use host::model::Transaction;

    /// As a bank that gives nothing shows them: (pending, day, amount, text).
    fn rows(of: &[(bool, i64, i64, &str)]) -> Vec<Transaction> {
        let mut books = Books::new(0, 28);
        for (pending, day, minor, text) in of {
            let status = if *pending { TransactionStatus::Pending } else { TransactionStatus::Booked };
            books.add(status, *day, *minor, text);
        }
        manners().answer(&books, (0, 28), 0, &Glitch::default()).seen.transactions
    }

    fn manners() -> Manners {
        Manners {
            class: Class::Nothing,
            balance: false,
            statement: false,
            as_of: false,
            counts: Counts::Booked,
            pending: true,
            unsigned: false,
            keeps_id: false,
            supersedes: false,
            ids: Ids::Own,
            pending_ids: true,
            prefix: ('a', 0, 0),
            ahead: 0,
            exclusive: false,
            page: 9,
        }
    }

    /// How many explanations there are of "number 1 became the first booked row".
    fn check(held: &[(bool, i64, i64, &str)], seen: &[(bool, i64, i64, &str)], expected: Option<usize>) {
        let mut reading = manners().answer(&Books::new(0, 28), (0, 28), 0, &Glitch::default());
        reading.seen.transactions = rows(seen);
        reading.who = (0..seen.len()).collect();
        let held: Vec<_> =
            (1..).zip(rows(held).into_iter().rev()).map(|(number, row)| Store::stored(number, row)).collect();
        let left = left(&Trust::default(), &held, &reading);
        let (_, day, minor, text) = seen[0];
        let became = left
            .booked
            .iter()
            .find(|row| row.day == Some(date(day)) && row.minor == minor && row.text == text);
        assert_eq!(became.and_then(|became| explanations(&left, 1, became)), expected);
    }

    #[test]
    fn a_pair_that_can_be_no_other_has_one_explanation() {
        check(&[(true, 5, -400, "Luigi")], &[(false, 6, -400, "LUIGI")], Some(1));
        check(&[(true, 5, -400, "Luigi")], &[(false, 7, -450, "LUIGI")], Some(1));
        // The better text decides between equal amounts.
        let two = [(true, 5, -400, "Luigi"), (true, 5, -400, "Bus")];
        check(&two, &[(false, 6, -400, "LUIGI"), (false, 6, -400, "BUS")], Some(1));
    }

    #[test]
    fn a_pair_that_could_be_another_has_several() {
        check(&[(true, 5, -400, "Bus"), (true, 5, -400, "Bus")], &[(false, 6, -400, "BUS")], Some(2));
        check(&[(true, 5, -400, "Luigi")], &[(false, 7, -450, "LUIGI"), (false, 7, -420, "LUIGI")], Some(2));
        // Of another name and amount it may be or not be.
        check(&[(true, 5, -400, "Luigi")], &[(false, 7, -450, "Bus")], Some(2));
    }

    #[test]
    fn what_is_certain_leaves_nothing_to_explain() {
        // Twenty days are too many.
        check(&[(true, 5, -400, "Luigi")], &[(false, 25, -400, "Luigi")], None);
        check(
            &[(true, 5, -400, "Luigi"), (false, 6, -400, "LUIGI")],
            &[(false, 6, -400, "LUIGI"), (true, 5, -400, "Luigi")],
            None,
        );
    }
}
