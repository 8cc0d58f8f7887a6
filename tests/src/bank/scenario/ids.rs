//! The acts of the scenarios that are about ids: of rows and of accounts.
//!
//! Must not know: HTTP.

use super::super::entry::{BankError, NewEntry};
use super::display::{Ids, turned};
use super::stage::Scene;

/// What stands in for an id at banks that have none.
const CONSTANTS: [&str; 3] = ["0", "NOTPROVIDED", "NONREF"];

impl Scene<'_> {
    pub(super) fn ids_rotated(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.display().promises_ids = true;
                self.history(8)?;
                self.pending_of_yesterday()
            }
            1 => {
                self.turn();
                Ok(())
            }
            _ => {
                self.turn();
                self.settle(self.actor(0)?, None)?;
                self.new_row().map(drop)
            }
        }
    }

    fn turn(&mut self) {
        self.display().ids = Ids::Turned(self.random().next());
    }

    fn pending_of_yesterday(&mut self) -> Result<(), BankError> {
        let new = self.payment(1, 19);
        let pending = self.authorise(new)?;
        self.cast(pending);
        Ok(())
    }

    pub(super) fn positional_ids_shift(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.display().promises_ids = true;
                self.display().ids = Ids::DayPlaces;
                for (days_ago, hour) in [
                    (9, 8),
                    (8, 8),
                    (7, 8),
                    (6, 8),
                    (3, 10),
                    (3, 11),
                    (3, 12),
                    (3, 13),
                    (3, 14),
                    (1, 8),
                    (1, 9),
                ] {
                    let new = self.payment(days_ago, hour);
                    let row = self.book(new)?;
                    self.cast(row);
                }
                Ok(())
            }
            1 => {
                let late = self.payment(3, 9);
                self.book(late).map(drop)
            }
            _ => self.remove(self.actor(5)?),
        }
    }

    pub(super) fn id_per_request(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.display().promises_ids = true;
                self.display().ids = Ids::PerRequest(self.random().next());
                self.history(8)
            }
            1 => Ok(()),
            _ => self.new_row().map(drop),
        }
    }

    pub(super) fn id_constant_or_reused(&mut self, act: usize) -> Result<(), BankError> {
        let id = self.random().pick(&CONSTANTS).copied().unwrap_or_default();
        match act {
            0 => {
                self.display().promises_ids = true;
                self.display().ids = Ids::Constant(id);
                self.history(6)
            }
            1 => {
                self.display().ids = Ids::Own;
                let id = turned(self.random().next(), 0);
                for hour in [15, 16] {
                    let new = self.payment(1, hour);
                    let row = self.book(new)?;
                    self.display().given.insert(row, id.clone());
                }
                Ok(())
            }
            2 => {
                let oldest = self.oldest()?;
                let id = self.entry(oldest)?.id.clone();
                self.remove(oldest)?;
                let row = self.new_row()?;
                self.display().given.insert(row, id);
                Ok(())
            }
            _ => {
                self.display().ids = Ids::Constant(id);
                self.display().given.clear();
                let twin = self.twin_of(self.oldest()?)?;
                self.book(twin).map(drop)
            }
        }
    }

    pub(super) fn id_only_when_booked(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.display().ids = Ids::BookedOnly;
                self.history(6)?;
                self.pending_of_yesterday()?;
                self.pending_of_yesterday()
            }
            1 => self.settle(self.actor(0)?, None),
            _ => {
                self.settle(self.actor(1)?, None)?;
                let new = self.payment(0, 0).at(self.now);
                self.authorise(new).map(drop)
            }
        }
    }

    pub(super) fn id_rule_changes(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.display().promises_ids = true;
                self.history(8)?;
                self.pending_of_yesterday()
            }
            1 => {
                self.display().ids = Ids::Rule("v2.");
                Ok(())
            }
            _ => {
                self.display().ids = Ids::Rule("aisp:transaction:");
                self.settle(self.actor(0)?, None)
            }
        }
    }

    pub(super) fn reissued_ids_and_dated_payee(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.display().promises_ids = true;
                self.history(8)
            }
            1 => {
                let turn = self.random().next();
                let since = self.at(5, 0, 0);
                for origin in self.origins()? {
                    let entry = self.entry(origin)?;
                    if entry.booked_at < since {
                        continue;
                    }
                    let (dated, serial) =
                        (entry.booked_at.format("%d%b%y").to_string().to_uppercase(), entry.serial);
                    let (text, merchant) = (format!("{dated} {}", entry.text), entry.merchant.clone());
                    self.reword(origin, text, merchant.map(|name| format!("{dated} {name}")))?;
                    self.display().given.insert(origin, turned(turn, serial));
                }
                Ok(())
            }
            _ => self.new_row().map(drop),
        }
    }

    pub(super) fn account_id_changes(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.history(6)?;
                self.open_account_alike()
            }
            1 => {
                let customer = self.access.owner(&self.account)?;
                let old = self.access.customer(&customer)?.accounts.clone();
                let new =
                    old.iter().map(|id| self.books.rename_account(id)).collect::<Result<Vec<_>, _>>()?;
                let renamed = old.iter().zip(&new).find(|(old, _)| **old == self.account);
                self.account = renamed.map_or_else(String::new, |(_, new)| new.clone());
                self.access.set_accounts(&customer, new)?;
                self.relink = true;
                Ok(())
            }
            _ => self.new_row().map(drop),
        }
    }

    /// Another account of the customer, whose number ends in the same four digits, with rows of its own.
    fn open_account_alike(&mut self) -> Result<(), BankError> {
        let customer = self.access.owner(&self.account)?;
        let held = self.books.account(&self.account)?;
        let (owner, currency, number) = (held.owner.clone(), held.currency.clone(), held.number.clone());
        let alike = self.books.open_account(self.now, &owner, "Much the same", &currency, false);
        let (start, end) = number.split_at_checked(number.len().saturating_sub(4)).unwrap_or_default();
        let start: String = start.chars().rev().collect();
        self.books.account_mut(&alike)?.number = format!("{start}{end}");
        self.access.add_account(&customer, &alike)?;
        for days_ago in [4, 3, 2] {
            let new: NewEntry = self.payment(days_ago, 8);
            self.books.add(&alike, self.now, new, super::super::statement::RowStatus::Booked)?;
        }
        Ok(())
    }
}
