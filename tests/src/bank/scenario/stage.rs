//! Where an act is played: the account, its play, and the few things that acts do.
//!
//! Must not know: HTTP.

use super::super::access::Access;
use super::super::books::{Books, Entry};
use super::super::entry::{BankError, Correction, NewEntry};
use super::super::money;
use super::super::random::Random;
use super::super::statement::RowStatus;
use super::{Act, Display, Scenario, TrueRow};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use std::collections::BTreeSet;

/// Who is paid.
const PAYEES: [&str; 8] = [
    "Northside Bakery",
    "Quayside Books",
    "Hill Street Grocers",
    "Lantern Cinema",
    "Riverside Pharmacy",
    "Old Mill Garden Centre",
    "Tramway Tickets",
    "Copper Kettle",
];

/// A play on an account.
#[derive(Debug, Clone)]
pub(in crate::bank) struct Stage {
    scenario: Scenario,
    /// The next one.
    act: usize,
    /// How the door shows the account.
    pub(in crate::bank) display: Display,
    /// What was shown since the last first page.
    pub(super) reading: Vec<TrueRow>,
    random: Random,
    /// Entries that later acts are about, by origin.
    cast: Vec<u64>,
    /// Amounts that stand on the account: only equal rows are meant to be equal.
    amounts: BTreeSet<i64>,
}

impl Stage {
    pub(super) fn new(scenario: Scenario, seed: u64) -> Self {
        Self {
            scenario,
            act: 0,
            display: Display::default(),
            reading: Vec::new(),
            // One seed for several scenarios gives them different rows.
            random: Random::new(Random::new(seed).next() ^ scenario as u64),
            cast: Vec::new(),
            amounts: BTreeSet::new(),
        }
    }
}

/// A page as it was shown.
#[derive(Debug)]
pub(in crate::bank) struct Look {
    /// It was the first page.
    pub(in crate::bank) begins: bool,
    /// It was the last page.
    pub(in crate::bank) ends: bool,
    pub(in crate::bank) rows: Vec<TrueRow>,
    /// The serial of the last row of the list.
    pub(in crate::bank) last: Option<u64>,
}

/// A page was shown: what was to happen after it happens.
pub(in crate::bank) fn looked(books: &mut Books, account: &str, now: DateTime<Utc>, look: Look) {
    let Ok(held) = books.account_mut(account) else { return };
    let Some(Stage { display, reading, .. }) = held.stage.as_deref_mut() else { return };
    display.requests += 1;
    if look.begins {
        reading.clear();
        display.moved = None;
    }
    reading.extend(look.rows);
    if look.begins && !look.ends && display.moves > 0 {
        display.moves -= 1;
        display.moved = look.last;
    }
    if let Some(new) = display.comes.take_if(|_| look.begins) {
        // Its amount is in the account's currency: it was written so.
        let _ = books.add(account, now, new, RowStatus::Booked);
    }
}

/// One act, while it is played.
pub(super) struct Scene<'b> {
    pub(super) books: &'b mut Books,
    pub(super) access: &'b mut Access,
    /// The bank's id of the account now.
    pub(super) account: String,
    pub(super) now: DateTime<Utc>,
    stage: Box<Stage>,
    currency: String,
    /// The account got another id.
    pub(super) relink: bool,
}

impl<'b> Scene<'b> {
    pub(super) fn open(
        books: &'b mut Books,
        access: &'b mut Access,
        account: &str,
        now: DateTime<Utc>,
    ) -> Result<Self, BankError> {
        let held = books.account(account)?;
        let currency = held.currency.clone();
        let stage =
            held.stage.clone().ok_or_else(|| BankError::Unknown("play on account", account.to_owned()))?;
        Ok(Self { books, access, account: account.to_owned(), now, stage, currency, relink: false })
    }

    /// Plays the next act; none after the last.
    pub(super) fn play(mut self) -> Result<Option<Act>, BankError> {
        let (scenario, number) = (self.stage.scenario, self.stage.act);
        let Some(says) = scenario.acts().get(number) else { return Ok(None) };
        match scenario {
            Scenario::IdenticalTwins => self.identical_twins(number)?,
            Scenario::IdsRotated => self.ids_rotated(number)?,
            Scenario::PositionalIdsShift => self.positional_ids_shift(number)?,
            Scenario::IdPerRequest => self.id_per_request(number)?,
            Scenario::IdConstantOrReused => self.id_constant_or_reused(number)?,
            Scenario::IdOnlyWhenBooked => self.id_only_when_booked(number)?,
            Scenario::AmountChangesOnBooking => self.amount_changes_on_booking(number)?,
            Scenario::PendingVanishes => self.pending_vanishes(number)?,
            Scenario::FutureDated => self.future_dated(number)?,
            Scenario::LateEntry => self.late_entry(number)?,
            Scenario::RemovedOrTruncated => self.removed_or_truncated(number)?,
            Scenario::ListMovesBetweenPages => self.list_moves_between_pages(number)?,
            Scenario::SignFlipped => self.sign_flipped(number)?,
            Scenario::BalanceIncludesPending => self.balance_includes_pending(number)?,
            Scenario::AccountIdChanges => self.account_id_changes(number)?,
            Scenario::WindowShortened => self.window_shortened(number)?,
            Scenario::IdRuleChanges => self.id_rule_changes(number)?,
            Scenario::ReissuedIdsAndDatedPayee => self.reissued_ids_and_dated_payee(number)?,
            Scenario::BookedThenAmended => self.booked_then_amended(number)?,
        }
        self.stage.act += 1;
        let Self { account, relink, stage, books, .. } = self;
        books.account_mut(&account)?.stage = Some(stage);
        Ok(Some(Act { scenario, number, says: (*says).to_owned(), account, relink }))
    }

    pub(super) fn display(&mut self) -> &mut Display {
        &mut self.stage.display
    }

    pub(super) fn random(&mut self) -> &mut Random {
        &mut self.stage.random
    }

    /// Later acts are about this entry.
    pub(super) fn cast(&mut self, entry: u64) {
        self.stage.cast.push(entry);
    }

    /// The n-th entry of the cast.
    pub(super) fn actor(&self, place: usize) -> Result<u64, BankError> {
        let missing = || BankError::Unknown("entry of the cast", place.to_string());
        self.stage.cast.get(place).copied().ok_or_else(missing)
    }

    // ---- what there is

    pub(super) fn entry(&self, origin: u64) -> Result<&Entry, BankError> {
        let unknown = || BankError::Unknown("entry", origin.to_string());
        self.books
            .account(&self.account)?
            .entries
            .iter()
            .find(|entry| entry.origin == origin)
            .ok_or_else(unknown)
    }

    /// The origins of the account's entries, the oldest first.
    pub(super) fn origins(&self) -> Result<Vec<u64>, BankError> {
        Ok(self.books.account(&self.account)?.entries.iter().map(|entry| entry.origin).collect())
    }

    pub(super) fn oldest(&self) -> Result<u64, BankError> {
        Ok(self.origins()?.first().copied().unwrap_or_default())
    }

    // ---- what comes

    /// A moment so many days ago.
    pub(super) fn at(&self, days_ago: i64, hour: u32, minute: u32) -> DateTime<Utc> {
        let time = NaiveTime::from_hms_opt(hour, minute, 0).unwrap_or_default();
        self.now.date_naive().and_time(time).and_utc() - TimeDelta::days(days_ago)
    }

    /// A card payment of an amount that no other has, so many days ago at about this hour.
    pub(super) fn payment(&mut self, days_ago: i64, hour: u32) -> NewEntry {
        let minute = u32::try_from(self.random().between(0, 59)).unwrap_or(0);
        let at = self.at(days_ago, hour, minute);
        let minor = loop {
            let minor = self.random().between(150, 9_900);
            if self.stage.amounts.insert(minor) {
                break minor;
            }
        };
        let payee = self.random().pick(&PAYEES).copied().unwrap_or_default();
        let reference = self.random().between(100_000, 999_999);
        let text = format!("CARD PAYMENT TO {} REF {reference}", payee.to_uppercase());
        NewEntry::card(&money::text(-minor, &self.currency), &text, payee).at(at)
    }

    /// So many booked rows, spread over the days from nine days ago to yesterday.
    pub(super) fn history(&mut self, rows: i64) -> Result<(), BankError> {
        for row in 0..rows {
            let new = self.payment(9 - row * 9 / rows, 8);
            self.book(new)?;
        }
        Ok(())
    }

    /// An entry to come that says what this one says.
    pub(super) fn twin_of(&self, origin: u64) -> Result<NewEntry, BankError> {
        let twin = self.entry(origin)?;
        Ok(NewEntry {
            amount: money::text(twin.minor, &self.currency),
            text: twin.text.clone(),
            merchant: twin.merchant.clone(),
            kind: twin.kind,
            booked_at: Some(twin.booked_at),
            valued_at: twin.valued_at,
        })
    }

    pub(super) fn book(&mut self, new: NewEntry) -> Result<u64, BankError> {
        self.add(new, RowStatus::Booked)
    }

    pub(super) fn authorise(&mut self, new: NewEntry) -> Result<u64, BankError> {
        self.add(new, RowStatus::Pending)
    }

    fn add(&mut self, new: NewEntry, status: RowStatus) -> Result<u64, BankError> {
        let row = self.books.add(&self.account, self.now, new, status)?;
        let unknown = || BankError::Unknown("entry", row.id.clone());
        let entries = &self.books.account(&self.account)?.entries;
        entries.iter().find(|entry| entry.id == row.id).map(|entry| entry.origin).ok_or_else(unknown)
    }

    /// A payment of this moment.
    pub(super) fn new_row(&mut self) -> Result<u64, BankError> {
        let new = self.payment(0, 0).at(self.now);
        self.book(new)
    }

    // ---- what becomes of it

    /// A share of an entry's amount, in hundredths, as text.
    pub(super) fn share(&self, origin: u64, hundredths: i64) -> Result<String, BankError> {
        Ok(money::text(self.entry(origin)?.minor * hundredths / 100, &self.currency))
    }

    /// The pending entry is booked now.
    pub(super) fn settle(&mut self, origin: u64, amount: Option<&str>) -> Result<(), BankError> {
        self.settle_at(origin, amount, None)
    }

    pub(super) fn settle_at(
        &mut self,
        origin: u64,
        amount: Option<&str>,
        at: Option<DateTime<Utc>>,
    ) -> Result<(), BankError> {
        let id = self.entry(origin)?.id.clone();
        self.books.settle_at(&self.account, &id, self.now, amount, at).map(drop)
    }

    pub(super) fn remove(&mut self, origin: u64) -> Result<(), BankError> {
        let id = self.entry(origin)?.id.clone();
        self.books.remove(&self.account, &id, self.now).map(drop)
    }

    pub(super) fn expire(&mut self, origin: u64) -> Result<(), BankError> {
        let id = self.entry(origin)?.id.clone();
        self.books.expire(&self.account, &id, self.now).map(drop)
    }

    pub(super) fn correct(&mut self, origin: u64, correction: Correction) -> Result<(), BankError> {
        let id = self.entry(origin)?.id.clone();
        self.books.correct(&self.account, &id, self.now, correction).map(drop)
    }

    pub(super) fn reword(
        &mut self,
        origin: u64,
        text: String,
        merchant: Option<String>,
    ) -> Result<(), BankError> {
        let id = self.entry(origin)?.id.clone();
        self.books.reword(&self.account, &id, self.now, (text, merchant)).map(drop)
    }
}
