//! The acts of the scenarios that are about the list: what stands on it, how far back it goes, and how it
//! is paged.
//!
//! Must not know: HTTP.

use super::super::entry::BankError;
use super::display::Ids;
use super::stage::Scene;

impl Scene<'_> {
    pub(super) fn identical_twins(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.display().ids = Ids::None;
                for days_ago in [15, 14, 13] {
                    let twin = self.payment(days_ago, 12);
                    self.book(twin.clone())?;
                    self.book(twin)?;
                }
                // Seventeen before them, so that the five stand on an edge of pages of 25, whether or not
                // the list begins with the first pair.
                for row in 0..17 {
                    let new = self.payment(12 - row / 3, 8);
                    self.book(new)?;
                }
                let twin = self.payment(5, 12);
                for _ in 0..5 {
                    let row = self.book(twin.clone())?;
                    self.cast(row);
                }
                for days_ago in [4, 3, 2, 1] {
                    let new = self.payment(days_ago, 8);
                    self.book(new)?;
                }
                Ok(())
            }
            1 => {
                let same = self.twin_of(self.actor(0)?)?;
                self.book(same).map(drop)
            }
            _ => self.remove(self.actor(2)?),
        }
    }

    pub(super) fn late_entry(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.older(&[60, 45, 30])?;
                self.history(8)?;
                let new = self.payment(20, 19);
                let pending = self.authorise(new)?;
                self.cast(pending);
                Ok(())
            }
            1 => self.older(&[11]),
            2 => self.older(&[40]),
            _ => self.settle(self.actor(0)?, None),
        }
    }

    fn older(&mut self, days_ago: &[i64]) -> Result<(), BankError> {
        for days_ago in days_ago {
            let new = self.payment(*days_ago, 8);
            self.book(new)?;
        }
        Ok(())
    }

    pub(super) fn removed_or_truncated(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.older(&[40])?;
                self.history(9)?;
                let oldest = self.oldest()?;
                self.cast(oldest);
                let new = self.payment(5, 17);
                let row = self.book(new)?;
                self.cast(row);
                Ok(())
            }
            1 => self.remove(self.actor(1)?),
            2 => {
                let newest = self.origins()?.into_iter().rev().take(2);
                self.display().hidden.extend(newest);
                Ok(())
            }
            3 => {
                self.display().hidden.clear();
                Ok(())
            }
            _ => self.remove(self.actor(0)?),
        }
    }

    pub(super) fn list_moves_between_pages(&mut self, act: usize) -> Result<(), BankError> {
        self.display().moves = match act {
            1 => 1,
            3 => u32::MAX,
            _ => 0,
        };
        match act {
            0 => {
                self.display().by_count = true;
                self.history(10)
            }
            2 => {
                let new = self.payment(0, 0).at(self.now);
                self.display().comes = Some(new);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn window_shortened(&mut self, act: usize) -> Result<(), BankError> {
        match act {
            0 => {
                self.older(&[70, 30, 14, 12, 11])?;
                self.history(9)
            }
            1 => {
                self.display().begins = Some(self.at(10, 0, 0));
                Ok(())
            }
            2 => {
                self.display().begins = None;
                self.display().after_first_day = true;
                Ok(())
            }
            _ => {
                self.display().after_first_day = false;
                self.new_row().map(drop)
            }
        }
    }
}
