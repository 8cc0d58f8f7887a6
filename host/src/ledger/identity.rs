//! When are two rows the same row, the same contents, or merely alike?

use super::counted::compared;
use crate::model::{IdStability, Money, Transaction, TransactionStatus};
use chrono::NaiveDate;
use foldhash::quality::RandomState;
use foldhash::{HashMap, HashMapExt};
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::hash::{BuildHasher, Hash, Hasher};

/// Does the bank's id name a row? A claim, believed until the bank contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// Where the connector says that it is immutable or provisional.
    Believed,
    /// No id does.
    Demoted,
}

impl Ids {
    /// The id, if it is meant to name the row rather than its place.
    pub(super) fn of(self, row: &Transaction) -> Option<&str> {
        match row.stability {
            IdStability::Immutable | IdStability::Provisional if self == Self::Believed => {
                row.bank_id.as_deref().filter(|id| !id.is_empty())
            }
            _ => None,
        }
    }

    /// The id, if the bank promises that the row keeps it for ever.
    pub(super) fn immutable(self, row: &Transaction) -> Option<&str> {
        self.of(row).filter(|_| row.stability == IdStability::Immutable)
    }

    /// By the bank's promise these are two rows.
    pub(super) fn part(self, old: &Transaction, new: &Transaction) -> bool {
        match (self.immutable(old), self.immutable(new)) {
            (Some(old), Some(new)) => old != new,
            _ => false,
        }
    }
}

/// A row whose text is made comparable once, when it is first compared.
pub(super) struct Row<'a> {
    pub(super) of: &'a Transaction,
    text: OnceCell<String>,
    party: OnceCell<Option<String>>,
}

impl<'a> Row<'a> {
    pub(super) fn new(of: &'a Transaction) -> Self {
        Self { of, text: OnceCell::new(), party: OnceCell::new() }
    }

    /// The text, comparable.
    pub(super) fn text(&self) -> &str {
        self.text.get_or_init(|| normalised(&self.of.text))
    }

    fn party(&self) -> Option<&str> {
        self.party.get_or_init(|| self.of.counterparty.as_deref().map(normalised)).as_deref()
    }

    /// What makes two rows equal when ids don't decide; equal rows are twins and told apart by their number only.
    pub(super) fn content(&self) -> Content<'_> {
        (self.of.status, self.of.booked_on, self.of.money.minor, self.of.money.currency.code(), self.text())
    }

    /// The same to the letter, with all that is told of a row.
    pub(super) fn exact(&self) -> Exact<'_> {
        (&self.of.text, self.of.valued_on, self.of.counterparty.as_deref(), &self.of.details)
    }

    /// The day it belongs to.
    pub(super) fn day(&self) -> Option<NaiveDate> {
        self.of.booked_on.or(self.of.valued_on)
    }
}

/// See [`Row::content`].
pub(super) type Content<'a> = (TransactionStatus, Option<NaiveDate>, i64, &'static str, &'a str);

/// Rows that are equal to the letter have one number: from 0 on, in the order in which they came.
pub(super) struct Letters<'a> {
    ids: Ids,
    hashing: RandomState,
    numbers: HashMap<Letter<'a>, usize>,
}

impl<'a> Letters<'a> {
    pub(super) fn new(ids: Ids, rows: usize) -> Self {
        Self { ids, hashing: RandomState::default(), numbers: HashMap::with_capacity(rows) }
    }

    /// Of a row, a new one if it has none yet.
    pub(super) fn number(&mut self, row: &'a Transaction) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(self.letter(row)).or_insert(next)
    }

    /// Of a row, if an equal one has it.
    pub(super) fn find(&self, row: &Transaction) -> Option<usize> {
        self.numbers.get(&self.letter(row)).copied()
    }

    fn letter<'r>(&self, of: &'r Transaction) -> Letter<'r> {
        Letter { hash: self.hashing.hash_one(whole(self.ids, of)), ids: self.ids, of }
    }
}

/// A row that is hashed once: its texts are far apart in memory.
struct Letter<'a> {
    hash: u64,
    ids: Ids,
    of: &'a Transaction,
}

impl Hash for Letter<'_> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

impl PartialEq for Letter<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && whole(self.ids, self.of) == whole(other.ids, other.of)
    }
}

impl Eq for Letter<'_> {}

/// All of a row, but for an id that names nothing.
fn whole(ids: Ids, row: &Transaction) -> Whole<'_> {
    (
        (ids.of(row), row.supersedes.as_deref(), row.status, row.money, row.balance_after),
        (row.booked_on, row.valued_on, &row.text, row.counterparty.as_deref(), &row.details),
    )
}

/// See [`whole`].
type Whole<'a> = (
    (Option<&'a str>, Option<&'a str>, TransactionStatus, Money, Option<i64>),
    (Option<NaiveDate>, Option<NaiveDate>, &'a str, Option<&'a str>, &'a str),
);

/// See [`Row::exact`].
pub(super) type Exact<'a> = (&'a str, Option<NaiveDate>, Option<&'a str>, &'a str);

/// Is there anything to tell? A new id alone is not: ids are claims. Nor is a new running balance,
/// which moves whenever an earlier row is inserted.
pub(super) fn differs(old: &Transaction, new: &Transaction) -> bool {
    old.status != new.status
        || old.booked_on != new.booked_on
        || old.valued_on != new.valued_on
        || old.money != new.money
        || old.text != new.text
        || old.counterparty != new.counterparty
        || old.details != new.details
}

/// Is what we hold still how the bank would be compared with? An id that names nothing is not compared.
pub(super) fn is_stale(ids: Ids, old: &Transaction, new: &Transaction) -> bool {
    ids.of(old) != ids.of(new)
        || old.stability != new.stability
        || old.supersedes != new.supersedes
        || old.balance_after != new.balance_after
}

/// Letters and digits in lower case, words separated by one space.
pub(super) fn normalised(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        match word.is_ascii() {
            true => words.extend(word.chars().map(|letter| letter.to_ascii_lowercase())),
            false => words.extend(word.chars().flat_map(char::to_lowercase)),
        }
    }
    words
}

/// Do they speak of the same business? The same party, or the words of one text within the other: banks add a place
/// behind it, a date before.
pub(super) fn alike(old: &Row<'_>, new: &Row<'_>) -> bool {
    compared();
    let same_party = matches!((old.party(), new.party()), (Some(old), Some(new)) if old == new);
    same_party || is_within(old.text(), new.text()) || is_within(new.text(), old.text())
}

fn is_within(words: &str, text: &str) -> bool {
    let is_end = |letter: Option<char>| letter.is_none_or(|letter| letter == ' ');
    !words.is_empty()
        && text.match_indices(words).any(|(at, _)| {
            let (before, rest) = text.split_at(at);
            let after = rest.strip_prefix(words).and_then(|rest| rest.chars().next());
            is_end(before.chars().next_back()) && is_end(after)
        })
}

/// Does the new text begin with the old one? Banks add to a text when they book; they seldom shorten it.
pub(super) fn goes_on(old: &Row<'_>, new: &Row<'_>) -> bool {
    !old.text().is_empty() && new.text().starts_with(old.text())
}

/// The rows in an order that does not depend on how the bank listed them: day by day, so that only rows of one day
/// are compared.
pub(super) fn ordered(rows: &[Transaction]) -> Vec<&Transaction> {
    let mut of_day: HashMap<NaiveDate, Vec<&Transaction>> = HashMap::new();
    for row in rows {
        of_day.entry(day(row)).or_default().push(row);
    }
    let mut days: Vec<_> = of_day.into_iter().collect();
    days.sort_unstable_by(|(one, _), (other, _)| {
        compared();
        one.cmp(other)
    });
    let mut all = Vec::with_capacity(rows.len());
    for (_, mut rows) in days {
        rows.sort_by(|one, other| in_order(one, other));
        all.extend(rows);
    }
    all
}

/// Which of two rows comes first.
pub(super) fn in_order(one: &Transaction, other: &Transaction) -> Ordering {
    compared();
    day(one).cmp(&day(other)).then_with(|| rest(one).cmp(&rest(other)))
}

fn day(row: &Transaction) -> NaiveDate {
    row.booked_on.or(row.valued_on).unwrap_or(NaiveDate::MAX)
}

fn rest(row: &Transaction) -> impl Ord + '_ {
    let last = (
        (row.booked_on, row.valued_on, row.counterparty.as_deref(), row.supersedes.as_deref()),
        (row.money.currency.code(), row.stability as u8),
    );
    (
        row.status,
        row.balance_after,
        row.money.minor,
        row.text.as_str(),
        row.bank_id.as_deref(),
        row.details.as_str(),
        last,
    )
}
