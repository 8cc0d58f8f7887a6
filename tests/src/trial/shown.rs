//! How a bank shows its books: what it gives with a row, and what goes wrong in one answer.
//!
//! Must not know: what is held, or what anybody makes of an answer.

use super::books::{Books, Entry, date};
use super::ledger::Observed;
use super::words::Class;
use chrono::NaiveTime;
use host::model::{
    Balance, BalanceKind, Coverage, Credit, Currency, IdStability, Money, Timestamp, Transaction,
    TransactionStatus, Window,
};

/// What the bank makes ids of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// The entry.
    Own,
    /// The entry and the request.
    PerRequest,
    /// Nothing.
    Constant(&'static str),
    /// The place in the list of all that stands, the newest first or the oldest first.
    Place {
        /// The newest is 0.
        newest_first: bool,
    },
}

/// What a balance counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// Booked rows up to today.
    Booked,
    /// Pending ones too, and the bank says so.
    PendingToo,
    /// Pending ones too, and the bank keeps that to itself.
    PendingSilently,
    /// Booked rows up to yesterday, as it says.
    Yesterday,
}

/// How this bank does things.
#[derive(Debug, Clone)]
pub struct Manners {
    /// What it gives.
    pub class: Class,
    /// It gives a booked balance.
    pub balance: bool,
    /// It gives opening and closing balances.
    pub statement: bool,
    /// It says of when a balance is.
    pub as_of: bool,
    /// What its booked balance counts.
    pub counts: Counts,
    /// It shows pending rows.
    pub pending: bool,
    /// Pending amounts have no sign.
    pub unsigned: bool,
    /// A row keeps its id when it is booked.
    pub keeps_id: bool,
    /// A booked row names the pending one that it replaces.
    pub supersedes: bool,
    /// What ids are made of.
    pub ids: Ids,
    /// Pending rows have ids.
    pub pending_ids: bool,
    /// What stands before and is added to each id: the account, the connector's rule, the rotation.
    pub prefix: (char, i64, i64),
    /// It shows so many days after today.
    pub ahead: i64,
    /// It leaves out the first day of a window.
    pub exclusive: bool,
    /// Rows on a page.
    pub page: usize,
}

/// What goes wrong in one answer.
#[derive(Debug, Clone, Default)]
pub struct Glitch {
    /// At the edge after so many pages the list moves: a row comes twice (true), or one is left out.
    pub moves: Vec<(usize, bool)>,
    /// Only so many rows, and whether the bank says so.
    pub cut: Option<(usize, bool)>,
    /// Only from this day on, and whether the bank says so.
    pub shortened: Option<(i64, bool)>,
    /// All signs are turned round.
    pub flipped: bool,
}

/// One answer, and the truth about its rows.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// What the bank shows.
    pub seen: Observed,
    /// The true identity of each row shown.
    pub who: Vec<usize>,
}

impl Manners {
    /// One answer: the rows of the days asked for, both ends inclusive, by one request.
    pub fn answer(&self, books: &Books, days: (i64, i64), request: i64, glitch: &Glitch) -> Reading {
        let since = glitch.shortened.map_or(days.0, |(since, _)| since.max(days.0));
        let told_since = if glitch.shortened.is_some_and(|(_, says)| says) { since } else { days.0 };
        let asked = |entry: &Entry, since: i64| match entry.status {
            // Like the booked ones by their day, but those of days to come are listed as well.
            TransactionStatus::Pending => self.pending && since <= entry.day,
            TransactionStatus::Booked => {
                since + i64::from(self.exclusive) <= entry.day && entry.day <= days.1
            }
        };
        let all = self.rows(books, request);
        let in_window: i64 = all
            .iter()
            .filter(|(entry, _)| entry.status == TransactionStatus::Booked && asked(entry, told_since))
            .map(|(entry, _)| entry.minor)
            .sum();
        let mut rows: Vec<_> = all.into_iter().filter(|(entry, _)| asked(entry, since)).collect();
        rows.reverse(); // the newest first, as banks do
        let mut complete = true;
        if let Some((keep, says)) = glitch.cut {
            rows.truncate(keep);
            complete = !says;
        }
        for (pages, twice) in &glitch.moves {
            let edge = pages * self.page;
            if *twice && edge > 0 && edge <= rows.len() {
                rows.insert(edge, rows[edge - 1].clone());
            } else if !*twice && edge < rows.len() {
                rows.remove(edge);
            }
        }
        let (who, mut transactions): (Vec<_>, Vec<_>) =
            rows.into_iter().map(|(entry, row)| (entry.who, row)).unzip();
        if glitch.flipped {
            transactions.iter_mut().for_each(|row| row.money.minor = -row.money.minor);
        }
        let statuses = match self.pending {
            true => vec![TransactionStatus::Booked, TransactionStatus::Pending],
            false => vec![TransactionStatus::Booked],
        };
        let window = Window { since: date(told_since), until: date(days.1) };
        let mut balances = self.balances(books, self.counts);
        if self.statement {
            let closing = books.balance(days.1);
            balances.push(self.balance(BalanceKind::Opening, closing - in_window, None));
            balances.push(self.balance(BalanceKind::Closing, closing, None));
        }
        Reading {
            seen: Observed {
                transactions,
                removed: Vec::new(),
                balances,
                coverage: Some(Coverage { snapshot: true, window, statuses, complete }),
                today: Some(date(books.today)),
                is_all: days.0 == 0 && complete,
                ..Observed::default()
            },
            who,
        }
    }

    /// The balance that comes with each answer.
    pub fn balances(&self, books: &Books, counts: Counts) -> Vec<Balance> {
        if !self.balance {
            return Vec::new();
        }
        let pending =
            books.entries.iter().filter(|entry| !entry.gone && entry.status == TransactionStatus::Pending);
        let pending: i64 = pending.map(|entry| entry.minor).sum();
        let (day, more) = match counts {
            Counts::Booked => (books.today, 0),
            Counts::PendingToo | Counts::PendingSilently => (books.today, pending),
            Counts::Yesterday => (books.today - 1, 0),
        };
        let as_of = (self.as_of || counts == Counts::Yesterday).then_some(day);
        let balance = self.balance(BalanceKind::Booked, books.balance(day) + more, as_of);
        vec![Balance { includes_pending: counts == Counts::PendingToo, ..balance }]
    }

    fn balance(&self, kind: BalanceKind, minor: i64, day: Option<i64>) -> Balance {
        let noon = NaiveTime::from_hms_opt(12, 0, 0).unwrap_or_default();
        let as_of = day.map(|day| Timestamp::from(date(day).and_time(noon).and_utc()));
        let credit_included = Credit::None;
        Balance { kind, money: money(minor), as_of, includes_pending: false, credit_included }
    }

    /// All that stands in the books, as this bank shows it, the oldest first.
    pub fn rows<'a>(&self, books: &'a Books, request: i64) -> Vec<(&'a Entry, Transaction)> {
        let listed = books.listed();
        let (mut after, count) = (books.base, listed.len());
        let mut rows = Vec::with_capacity(count);
        for (place, entry) in listed.into_iter().enumerate() {
            let booked = entry.status == TransactionStatus::Booked;
            after += if booked { entry.minor } else { 0 };
            let place = i64::try_from(place).unwrap_or(0);
            let from_end = i64::try_from(count).unwrap_or(0) - place;
            let bank_id = match self.ids {
                Ids::Place { newest_first } => {
                    Some(format!("@{}", if newest_first { from_end } else { place }))
                }
                _ if self.class != Class::Ids || (!booked && !self.pending_ids) => None,
                Ids::Own => Some(self.id(entry.id_no)),
                Ids::PerRequest => Some(format!("r{request}-{from_end}")),
                Ids::Constant(id) => Some(id.to_owned()),
            };
            let stability = match (&bank_id, self.class) {
                (None, _) => IdStability::None,
                (Some(_), Class::Ids) if booked => IdStability::Immutable,
                (Some(_), Class::Ids) => IdStability::Provisional,
                (Some(_), _) => IdStability::Positional,
            };
            let minor = if self.unsigned && !booked { entry.minor.abs() } else { entry.minor };
            let named = self.class == Class::Ids && self.ids == Ids::Own && self.pending_ids;
            let was = entry.was.filter(|_| self.supersedes && named);
            rows.push((
                entry,
                Transaction {
                    bank_id,
                    stability,
                    supersedes: was.map(|id| self.id(id)),
                    status: entry.status,
                    booked_on: Some(date(entry.day)),
                    valued_on: None,
                    money: money(minor),
                    text: entry.text.clone(),
                    counterparty: None,
                    balance_after: (booked && self.class == Class::RunningBalance).then_some(after),
                    details: "{}".to_owned(),
                },
            ));
        }
        rows
    }

    fn id(&self, number: i64) -> String {
        let (account, rule, rotation) = self.prefix;
        match rotation {
            0 => format!("{account}{}", number + rule),
            _ => format!("{account}{}-{rotation}", number + rule),
        }
    }

    /// The id that an entry has, where a bank tells what it removed.
    pub fn own_id(&self, entry: &Entry) -> Option<String> {
        (self.class == Class::Ids && self.ids == Ids::Own).then(|| self.id(entry.id_no))
    }
}

fn money(minor: i64) -> Money {
    match Currency::from_code("GBP") {
        Some(currency) => Money { minor, currency },
        None => unreachable!("ISO 4217 has pounds"),
    }
}
