//! The accounts of the bank's customers, and the life of an entry: booked, or pending and then
//! settled or expired; corrected; removed. Whatever happens to money goes through the ledger.
//!
//! Must not know: HTTP, tokens, JSON of the Open Banking interface.

use super::entry::{BankError, Correction, EntryKind, NewEntry};
use super::ledger::{Book, Ledger, LedgerError, Posting, TransferId};
use super::money;
use super::random::Random;
use super::scenario::{Display, Stage};
use super::statement::{BankChange, BankChangeKind, Row, RowStatus, Statement};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, HashMap};

/// A listed entry.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) serial: u64,
    /// The serial that it began with: one payment keeps it, also when it settles.
    pub(super) origin: u64,
    pub(super) id: String,
    pub(super) status: RowStatus,
    pub(super) kind: EntryKind,
    pub(super) booked_at: DateTime<Utc>,
    pub(super) valued_at: Option<DateTime<Utc>>,
    pub(super) minor: i64,
    pub(super) text: String,
    pub(super) merchant: Option<String>,
    /// None while pending: nothing is posted yet.
    transfer: Option<TransferId>,
}

impl Entry {
    /// The order of the list: by booking time, then in the order they came.
    pub(super) fn place(&self) -> (DateTime<Utc>, u64) {
        (self.booked_at, self.serial)
    }

    pub(super) fn row(&self, currency: &str) -> Row {
        Row {
            id: self.id.clone(),
            status: self.status,
            booked_on: self.booked_at.date_naive(),
            valued_on: self.valued_at.map(|at| at.date_naive()),
            amount: money::text(self.minor, currency),
            currency: currency.to_owned(),
            text: self.text.clone(),
            merchant: self.merchant.clone(),
        }
    }
}

/// A customer's account.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) id: String,
    /// Sort code and account number, 14 digits.
    pub(super) number: String,
    pub(super) owner: String,
    pub(super) nickname: String,
    pub(super) currency: String,
    pub(super) savings: bool,
    pub(super) opened_at: DateTime<Utc>,
    /// An agreed overdraft that balances count in, in minor units.
    pub(super) credit: Option<i64>,
    book: Book,
    /// In the order of [`Entry::place`].
    pub(super) entries: Vec<Entry>,
    /// The scenario that is played on it.
    pub(super) stage: Option<Box<Stage>>,
}

impl Account {
    /// How the UK door shows it, where that differs from the books.
    pub(super) fn display(&self) -> Option<&Display> {
        self.stage.as_ref().map(|stage| &stage.display)
    }

    fn position(&self, id: &str) -> Result<usize, BankError> {
        let unknown = || BankError::Unknown("entry", id.to_owned());
        self.entries.iter().position(|entry| entry.id == id).ok_or_else(unknown)
    }

    fn insert(&mut self, entry: Entry) {
        let place = self.entries.partition_point(|other| other.place() < entry.place());
        self.entries.insert(place, entry);
    }

    fn minor(&self, amount: &str) -> Result<i64, BankError> {
        let bad = || BankError::BadAmount(amount.to_owned(), self.currency.clone());
        money::parse(amount, &self.currency).ok_or_else(bad)
    }
}

/// Everything that has to do with money.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) ledger: Ledger,
    counters: BTreeMap<(EntryKind, String), Book>,
    accounts: HashMap<String, Account>,
    changes: Vec<BankChange>,
    random: Random,
    serial: u64,
    /// How many accounts got another id.
    renamed: u64,
}

impl Books {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            ledger: Ledger::default(),
            counters: BTreeMap::new(),
            accounts: HashMap::new(),
            changes: Vec::new(),
            random: Random::new(seed),
            serial: 0,
            renamed: 0,
        }
    }

    pub(super) fn account(&self, id: &str) -> Result<&Account, BankError> {
        self.accounts.get(id).ok_or_else(|| BankError::Unknown("account", id.to_owned()))
    }

    pub(super) fn account_mut(&mut self, id: &str) -> Result<&mut Account, BankError> {
        self.accounts.get_mut(id).ok_or_else(|| BankError::Unknown("account", id.to_owned()))
    }

    pub(super) fn open_account(
        &mut self,
        at: DateTime<Utc>,
        owner: &str,
        nickname: &str,
        currency: &str,
        savings: bool,
    ) -> String {
        let count = self.accounts.len() + 1;
        let id = format!("{:08}", 22_289_000 + count);
        let number = format!("400515{:08}", 60_000_000 + count);
        let account = Account {
            id: id.clone(),
            book: self.ledger.open(format!("account {id}"), currency),
            number,
            owner: owner.to_owned(),
            nickname: nickname.to_owned(),
            currency: currency.to_owned(),
            savings,
            opened_at: at,
            credit: None,
            entries: Vec::new(),
            stage: None,
        };
        self.accounts.insert(id.clone(), account);
        id
    }

    /// From now on balances count this credit in, or none.
    pub(super) fn count_credit(&mut self, account: &str, amount: Option<&str>) -> Result<(), BankError> {
        let account = self.account_mut(account)?;
        account.credit = amount.map(|amount| account.minor(amount)).transpose()?;
        Ok(())
    }

    /// The account gets another id, never given before; number, name and entries stay.
    pub(super) fn rename_account(&mut self, old: &str) -> Result<String, BankError> {
        let unknown = || BankError::Unknown("account", old.to_owned());
        let mut account = self.accounts.remove(old).ok_or_else(unknown)?;
        self.renamed += 1;
        account.id = format!("{:08}", 77_000_000 + self.renamed);
        let id = account.id.clone();
        self.accounts.insert(id.clone(), account);
        Ok(id)
    }

    /// Moves money between the account and the counter-account of the kind.
    fn post(
        &mut self,
        at: DateTime<Utc>,
        account: &str,
        kind: EntryKind,
        minor: i64,
    ) -> Result<TransferId, BankError> {
        let account = self.account(account)?;
        let (book, currency) = (account.book, account.currency.clone());
        let ledger = &mut self.ledger;
        let counter = *self
            .counters
            .entry((kind, currency.clone()))
            .or_insert_with(|| ledger.open(format!("{kind:?} clearing"), currency));
        let other = minor.checked_neg().ok_or(LedgerError::TooLarge)?;
        let postings = vec![Posting { book, minor }, Posting { book: counter, minor: other }];
        Ok(self.ledger.post(at, postings)?)
    }

    fn note(
        &mut self,
        at: DateTime<Utc>,
        account: &str,
        kind: BankChangeKind,
        before: Option<Row>,
        after: Option<Row>,
    ) {
        let change = BankChange { at, account: account.to_owned(), kind, before, after };
        self.changes.push(change);
    }

    fn create(
        &mut self,
        account: &str,
        now: DateTime<Utc>,
        new: NewEntry,
        status: RowStatus,
    ) -> Result<Entry, BankError> {
        let minor = self.account(account)?.minor(&new.amount)?;
        let booked_at = new.booked_at.unwrap_or(now);
        let (transfer, valued_at) = match status {
            RowStatus::Booked => {
                let transfer = self.post(booked_at, account, new.kind, minor)?;
                (Some(transfer), new.valued_at.or(Some(booked_at)))
            }
            RowStatus::Pending => (None, new.valued_at),
        };
        self.serial += 1;
        let entry = Entry {
            serial: self.serial,
            origin: self.serial,
            id: format!("{:016x}{:08x}", self.random.next(), self.serial),
            status,
            kind: new.kind,
            booked_at,
            valued_at,
            minor,
            text: new.text,
            merchant: new.merchant,
            transfer,
        };
        self.account_mut(account)?.insert(entry.clone());
        Ok(entry)
    }

    /// A new entry: booked, or pending (listed and off the available balance, but not posted).
    pub(super) fn add(
        &mut self,
        account: &str,
        now: DateTime<Utc>,
        new: NewEntry,
        status: RowStatus,
    ) -> Result<Row, BankError> {
        let entry = self.create(account, now, new, status)?;
        let row = entry.row(&self.account(account)?.currency);
        self.note(now, account, BankChangeKind::Added, None, Some(row.clone()));
        Ok(row)
    }

    /// A pending entry becomes a booked one, with another id and, if given, another amount.
    pub(super) fn settle(
        &mut self,
        account: &str,
        id: &str,
        now: DateTime<Utc>,
        amount: Option<&str>,
    ) -> Result<Row, BankError> {
        self.settle_at(account, id, now, amount, None)
    }

    /// The same, dated as given.
    pub(super) fn settle_at(
        &mut self,
        account: &str,
        id: &str,
        now: DateTime<Utc>,
        amount: Option<&str>,
        booked_at: Option<DateTime<Utc>>,
    ) -> Result<Row, BankError> {
        let held = self.account(account)?;
        let (place, currency) = (held.position(id)?, held.currency.clone());
        let pending = held.entries.get(place).filter(|entry| entry.status == RowStatus::Pending).cloned();
        let pending = pending.ok_or_else(|| BankError::NotPending(id.to_owned()))?;
        let before = pending.row(&currency);
        let new = NewEntry {
            amount: amount.unwrap_or(&before.amount).to_owned(),
            text: pending.text,
            merchant: pending.merchant,
            kind: pending.kind,
            booked_at,
            valued_at: None,
        };
        let settled = self.create(account, now, new, RowStatus::Booked)?;
        let after = settled.row(&currency);
        let entries = &mut self.account_mut(account)?.entries;
        entries.retain(|entry| entry.id != id);
        for entry in entries.iter_mut().filter(|entry| entry.serial == settled.serial) {
            entry.origin = pending.origin;
        }
        self.note(now, account, BankChangeKind::Settled, Some(before), Some(after.clone()));
        Ok(after)
    }

    /// The same id, other text or amount: reversed and posted again.
    pub(super) fn correct(
        &mut self,
        account: &str,
        id: &str,
        now: DateTime<Utc>,
        correction: Correction,
    ) -> Result<Row, BankError> {
        let held = self.account(account)?;
        let (place, currency) = (held.position(id)?, held.currency.clone());
        let unknown = || BankError::Unknown("entry", id.to_owned());
        let mut entry = held.entries.get(place).cloned().ok_or_else(unknown)?;
        let before = entry.row(&currency);
        if let Some(amount) = &correction.amount {
            entry.minor = held.minor(amount)?;
        }
        entry.text = correction.text.unwrap_or(entry.text);
        if let Some(old) = entry.transfer {
            let new = self.post(now, account, entry.kind, entry.minor)?;
            self.ledger.reverse(now, old)?;
            entry.transfer = Some(new);
        }
        let after = entry.row(&currency);
        if let Some(slot) = self.account_mut(account)?.entries.get_mut(place) {
            *slot = entry;
        }
        self.note(now, account, BankChangeKind::Modified, Some(before), Some(after.clone()));
        Ok(after)
    }

    /// The same money in other words.
    pub(super) fn reword(
        &mut self,
        account: &str,
        id: &str,
        now: DateTime<Utc>,
        (text, merchant): (String, Option<String>),
    ) -> Result<Row, BankError> {
        let held = self.account_mut(account)?;
        let (place, currency) = (held.position(id)?, held.currency.clone());
        let unknown = || BankError::Unknown("entry", id.to_owned());
        let entry = held.entries.get_mut(place).ok_or_else(unknown)?;
        let before = entry.row(&currency);
        (entry.text, entry.merchant) = (text, merchant);
        let after = entry.row(&currency);
        self.note(now, account, BankChangeKind::Modified, Some(before), Some(after.clone()));
        Ok(after)
    }

    /// Reversed, and no longer listed.
    pub(super) fn remove(&mut self, account: &str, id: &str, now: DateTime<Utc>) -> Result<Row, BankError> {
        let held = self.account_mut(account)?;
        let place = held.position(id)?;
        let currency = held.currency.clone();
        let entry = held.entries.remove(place);
        if let Some(transfer) = entry.transfer {
            self.ledger.reverse(now, transfer)?;
        }
        let row = entry.row(&currency);
        self.note(now, account, BankChangeKind::Removed, Some(row.clone()), None);
        Ok(row)
    }

    /// A pending entry that never settles is no longer listed.
    pub(super) fn expire(&mut self, account: &str, id: &str, now: DateTime<Utc>) -> Result<Row, BankError> {
        let held = self.account(account)?;
        match held.entries.get(held.position(id)?) {
            Some(entry) if entry.status == RowStatus::Pending => self.remove(account, id, now),
            _ => Err(BankError::NotPending(id.to_owned())),
        }
    }

    /// Booked balance in minor units: the sum of the account's postings.
    pub(super) fn booked(&self, account: &Account) -> Result<i64, BankError> {
        Ok(self.ledger.balance(account.book)?)
    }

    /// What can be spent: booked, less what is reserved by pending entries. Pending money that is
    /// to arrive cannot be spent yet.
    pub(super) fn available(&self, account: &Account) -> Result<i64, BankError> {
        let pending = account.entries.iter().filter(|entry| entry.status == RowStatus::Pending);
        let reserved: i64 = pending.map(|entry| entry.minor.min(0)).sum();
        Ok(self.booked(account)?.saturating_add(reserved))
    }

    pub(super) fn statement(&self, account: &str) -> Result<Statement, BankError> {
        let account = self.account(account)?;
        Ok(Statement {
            rows: account.entries.iter().map(|entry| entry.row(&account.currency)).collect(),
            booked: money::text(self.booked(account)?, &account.currency),
            available: money::text(self.available(account)?, &account.currency),
        })
    }

    pub(super) fn changes(&self) -> &[BankChange] {
        &self.changes
    }
}
