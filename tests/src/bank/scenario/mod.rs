//! The scenarios: the nineteen ways in which banks make it hard to keep a true copy, each as a play of
//! a few acts on one account of the demo bank, seen through the UK door at any page size.
//!
//! An act changes what the bank has (always through the books, so that money stays double-entry) or how
//! the UK door shows it ([`Display`]). Between acts, a client looks as often as it likes. All of it
//! comes from the seed. [`Bank::truth`] is what the bank has, with who is who; [`Bank::reading`] is what
//! it showed last; neither can be seen on the wire. Other front doors show the books as they are.
//!
//! Must not know: the service, and what it makes of it.
//!
//! Read in this order: `words` (what happens in each), `display`, `stage` (how an act is played), `ids`,
//! `settling` and `lists` (the acts), `control`.

pub(super) mod control;
mod display;
mod ids;
mod lists;
#[cfg(test)]
mod quirk_tests;
mod settling;
mod stage;
#[cfg(test)]
mod tests;
mod words;

pub(super) use display::Display;
pub(super) use stage::{Look, Stage, looked};

use super::entry::BankError;
use super::statement::Row;
use super::{Bank, State};
use serde::{Deserialize, Serialize};
use stage::Scene;
use std::fmt;
use std::str::FromStr;

/// What goes wrong at banks. Each line says what the bank does, and what an honest ledger makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Equal rows without ids, on one day, across the edges of pages and windows: each is one of its own.
    IdenticalTwins,
    /// All ids are other ones, the contents are equal: nothing has changed.
    IdsRotated,
    /// An id is the day and the place in it; a late row shifts the others: one row is new, no other has
    /// changed.
    PositionalIdsShift,
    /// Each request gives other ids: nothing has changed.
    IdPerRequest,
    /// All rows have one id, or two rows share one, or a later row gets the id of an earlier: each is a row
    /// of its own.
    IdConstantOrReused,
    /// Pending rows have no id and get one when they are booked: the same row, now booked.
    IdOnlyWhenBooked,
    /// A tip, an exchange rate, a fuel hold, days later, under another label: the pending row goes, the
    /// booked one comes, and it is not counted twice.
    AmountChangesOnBooking,
    /// A pending row is never booked, or is declined: it goes when it was missing in two looks; another
    /// purchase of the same amount is another row.
    PendingVanishes,
    /// Rows dated after today, pending and booked: rows like others.
    FutureDated,
    /// A booked row appears among older ones, also before the days that are read again; one is booked
    /// months after it was announced: none is missed, and what was not asked for is not gone.
    LateEntry,
    /// A row is taken back and the balance follows: it goes. The list is cut and the balance does not
    /// follow: the statement is incomplete, and nothing is stored.
    RemovedOrTruncated,
    /// The list is paged by count and moves meanwhile, so that a row comes twice and another not at all:
    /// none is doubled, none goes.
    ListMovesBetweenPages,
    /// Pending amounts have no sign; a whole list has its signs turned round: what the balance contradicts
    /// is not stored.
    SignFlipped,
    /// The booked balance counts pending rows that are not listed, or is yesterday's: the rows are right all
    /// the same.
    BalanceIncludesPending,
    /// After a new consent the account has another id, and another account ends in the same four digits:
    /// each goes on where it was.
    AccountIdChanges,
    /// Fewer days are shown than asked for, and the balance still counts the others; or the first day is left
    /// out: nothing goes.
    WindowShortened,
    /// Ids are made by another rule, as after an upgrade of a connector: nothing has changed.
    IdRuleChanges,
    /// Recent rows get new ids, and their date before text and payee: the same rows in other words.
    ReissuedIdsAndDatedPayee,
    /// A booked row gets another text or amount under its id: the same row, changed.
    BookedThenAmended,
}

/// No scenario is called so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scenario \"{0}\"; there are: {known}", known = Scenario::ALL.map(Scenario::name).join(", "))]
pub struct UnknownScenario(String);

impl fmt::Display for Scenario {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|scenario| scenario.name() == name);
        known.ok_or_else(|| UnknownScenario(name.to_owned()))
    }
}

/// An act that was played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Of which scenario.
    pub scenario: Scenario,
    /// 0 is what stood there when the play began.
    pub number: usize,
    /// What happened.
    pub says: String,
    /// The bank's id of the account now.
    pub account: String,
    /// The account has another id, so that only a new consent covers it.
    pub relink: bool,
}

/// A row, and which entry of the bank it is: one payment is one entry for all its life, whatever its ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TrueRow {
    /// Never on the wire.
    pub entry: u64,
    /// As the bank has it, or as it was shown.
    pub row: Row,
}

/// A play that is on. Clones play on the same account.
#[derive(Clone)]
pub struct Play {
    bank: Bank,
    act: Act,
}

impl Play {
    /// The act that was played last.
    pub fn act(&self) -> &Act {
        &self.act
    }
    /// The bank's id of the account now.
    pub fn account(&self) -> &str {
        &self.act.account
    }
    /// Plays the next act; none after the last.
    pub fn next_act(&mut self) -> Result<Option<&Act>, BankError> {
        match self.bank.next_act(self.account())? {
            Some(act) => self.act = act,
            None => return Ok(None),
        }
        Ok(Some(&self.act))
    }
    /// [`Bank::truth`].
    pub fn truth(&self) -> Result<Vec<TrueRow>, BankError> {
        self.bank.truth(self.account())
    }
    /// [`Bank::reading`].
    pub fn reading(&self) -> Result<Vec<TrueRow>, BankError> {
        self.bank.reading(self.account())
    }
}

impl Bank {
    /// Begins a play on an account and plays its first act: the rows that stand there before anything goes
    /// wrong. A play that was on there ends, and leaves its rows behind.
    pub fn play(&self, scenario: Scenario, account: &str, seed: u64) -> Result<Play, BankError> {
        let stage = Stage::new(scenario, seed);
        self.shared.state().books.account_mut(account)?.stage = Some(Box::new(stage));
        let not_on = || BankError::Unknown("play on account", account.to_owned());
        let act = self.next_act(account)?.ok_or_else(not_on)?;
        Ok(Play { bank: self.clone(), act })
    }

    /// Plays the next act on an account; none after the last. The account may have another id then.
    pub fn next_act(&self, account: &str) -> Result<Option<Act>, BankError> {
        let now = self.now();
        let State { books, access, .. } = &mut *self.shared.state();
        Scene::open(books, access, account, now)?.play()
    }

    /// All that the bank has of an account, the oldest first. An entry's id is the bank's own, whatever the
    /// UK door shows.
    pub fn truth(&self, account: &str) -> Result<Vec<TrueRow>, BankError> {
        let State { books, .. } = &*self.shared.state();
        let account = books.account(account)?;
        let row = |entry: &super::books::Entry| entry.row(&account.currency);
        Ok(account.entries.iter().map(|entry| TrueRow { entry: entry.origin, row: row(entry) }).collect())
    }

    /// The rows that the UK door showed since a client last asked for the first page of an account with a
    /// play on it: in that order, with the ids (an empty one is none) and signs that were shown, a row that
    /// was shown twice twice, without rejected rows.
    pub fn reading(&self, account: &str) -> Result<Vec<TrueRow>, BankError> {
        let State { books, .. } = &*self.shared.state();
        Ok(books.account(account)?.stage.as_ref().map_or_else(Vec::new, |stage| stage.reading.clone()))
    }
}
