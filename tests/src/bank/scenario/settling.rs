//! The acts of the scenarios that are about pending rows, and about what a row says.
//!
//! Must not know: HTTP.

use super::super::entry::{BankError, Correction, NewEntry};
use super::super::money;
use super::display::{Counted, Signs};
use super::stage::Scene;

impl Scene<'_> {
    pub(super) fn amount_changes_on_booking(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.history(6)?;
                let restaurant = self.random().between(2_000, 6_000);
                let abroad = self.random().between(3_000, 8_000);
                let hotel = self.random().between(12_000, 20_000);
                for (minor, payee, days_ago) in [
                    (restaurant, "Trattoria Bellavista", 1),
                    (abroad, "Librairie du Port", 3),
                    (9_900, "Ring Road Fuel", 2),
                    (hotel, "Grand Hotel Astoria", 9),
                ] {
                    let new = self.announced(minor, payee, days_ago)?;
                    let row = self.authorise(new)?;
                    self.cast(row);
                }
                Ok(())
            }
            1 => {
                let with_tip = self.share(self.actor(0)?, 112)?;
                self.settle(self.actor(0)?, Some(&with_tip))
            }
            2 => {
                let exchanged = self.share(self.actor(1)?, 102)?;
                self.settle(self.actor(1)?, Some(&exchanged))?;
                self.relabel(1, "LIBRAIRIE DU PORT MARSEILLE FR EUR EXCHANGED")
            }
            3 => {
                self.settle(self.actor(3)?, None)?;
                self.relabel(3, "ASTORIA HOTELS INVOICE")
            }
            _ => {
                let hundredths = self.random().between(30, 38);
                let filled = self.share(self.actor(2)?, hundredths)?;
                self.settle(self.actor(2)?, Some(&filled))
            }
        }
    }

    fn announced(&mut self, minor: i64, payee: &str, days_ago: i64) -> Result<NewEntry, BankError> {
        let currency = &self.books.account(&self.account)?.currency;
        let (amount, text) = (money::text(-minor, currency), format!("PENDING {}", payee.to_uppercase()));
        Ok(NewEntry::card(&amount, &text, payee).at(self.at(days_ago, 20, 15)))
    }

    fn relabel(&mut self, place: usize, text: &str) -> Result<(), BankError> {
        self.correct(self.actor(place)?, Correction { text: Some(text.to_owned()), ..Correction::default() })
    }

    pub(super) fn pending_vanishes(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.history(6)?;
                self.pending_rows(&[3, 2, 1])
            }
            1 => self.expire(self.actor(0)?),
            2 => {
                let declined = self.entry(self.actor(1)?)?.clone();
                self.expire(declined.origin)?;
                self.display().declined.push(declined);
                Ok(())
            }
            _ => {
                let amount = self.share(self.actor(2)?, 100)?;
                self.expire(self.actor(2)?)?;
                let new = NewEntry::card(&amount, "PENDING HARBOUR KIOSK", "Harbour Kiosk").at(self.now);
                self.authorise(new).map(drop)
            }
        }
    }

    fn pending_rows(&mut self, days_ago: &[i64]) -> Result<(), BankError> {
        for days_ago in days_ago {
            let new = self.payment(*days_ago, 19);
            let pending = self.authorise(new)?;
            self.cast(pending);
        }
        Ok(())
    }

    pub(super) fn future_dated(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.history(6)?;
                let booked = self.payment(-2, 8);
                self.book(booked)?;
                self.pending_rows(&[-5])
            }
            1 => {
                let day = self.entry(self.actor(0)?)?.booked_at;
                self.settle_at(self.actor(0)?, None, Some(day))
            }
            2 => self.pending_rows(&[-6]),
            _ => self.expire(self.actor(1)?),
        }
    }

    pub(super) fn sign_flipped(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.display().signs = Signs::NoneOnPending;
                self.history(6)?;
                self.pending_rows(&[2, 1])
            }
            1 => self.settle(self.actor(0)?, None),
            2 => {
                self.display().signs = Signs::TurnedRound;
                Ok(())
            }
            _ => {
                self.display().signs = Signs::NoneOnPending;
                Ok(())
            }
        }
    }

    pub(super) fn balance_includes_pending(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.display().without_pending = true;
                self.display().counted = Counted::PendingToo;
                self.history(6)?;
                self.pending_rows(&[2])
            }
            1 => self.pending_rows(&[1]),
            2 => self.settle(self.actor(0)?, None),
            _ => {
                self.display().counted = Counted::Until(self.at(0, 0, 0));
                self.new_row().map(drop)
            }
        }
    }

    pub(super) fn booked_then_amended(&mut self, act: usize) -> Result<(), BankError> {
        if act == 0 {
            return self.history(8);
        }
        // Three different rows, neither the oldest nor the newest.
        let row = self.origins()?.get(act * 2).copied().unwrap_or_default();
        let more = self.random().between(103, 140);
        let amount = self.share(row, more)?;
        let reference = self.random().between(1_000, 9_999);
        let text = format!("{} CORRECTED {reference}", self.entry(row)?.text);
        let amended =
            Correction { amount: Some(amount).filter(|_| act != 1), text: Some(text).filter(|_| act != 2) };
        self.correct(row, amended)
    }
}
