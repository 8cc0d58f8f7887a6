//! The consents of signed requests: asked for by a business, decided by a customer, and counted when
//! nobody is there.
//!
//! Must not know: HTTP, signatures, money.

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::Deserialize;
use std::collections::HashMap;

/// A consent lasts at most so long (RTS on strong customer authentication, article 10a).
const LASTS_DAYS_MAX: Days = Days::new(180);

/// What a business asks for: the body of `POST /consents`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) access: Access,
    pub(super) recurring_indicator: bool,
    pub(super) valid_until: NaiveDate,
    pub(super) frequency_per_day: u32,
    pub(super) combined_service_indicator: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Access {
    pub(super) all_psd2: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Received,
    Valid,
    Rejected,
    Expired,
    /// By the customer.
    Revoked,
    /// By the business.
    Terminated,
}

impl Status {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Valid => "valid",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Revoked => "revokedByPsu",
            Self::Terminated => "terminatedByTpp",
        }
    }
}

/// Why a consent does not open what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// Unknown, another business's, not decided, refused or taken back.
    Invalid,
    Expired,
    /// It does not cover this account.
    NoSuchAccount,
    /// Read too often today while nobody was there.
    TooOften,
}

#[derive(Debug)]
pub(super) struct Consent {
    pub(super) id: String,
    /// Of the business that asked.
    pub(super) key_id: String,
    pub(super) request: Request,
    /// Where the customer goes after the decision.
    pub(super) redirect: String,
    status: Status,
    /// The last day on which the business did something with it.
    pub(super) last_action: NaiveDate,
    /// The customer's, when they agreed.
    pub(super) accounts: Vec<String>,
    /// Unattended readings of a kind and account: the day, and how many.
    readings: HashMap<(&'static str, String), (NaiveDate, u32)>,
}

impl Consent {
    pub(super) fn status(&self, now: DateTime<Utc>) -> Status {
        match self.status {
            Status::Received | Status::Valid if now.date_naive() > self.request.valid_until => {
                Status::Expired
            }
            status => status,
        }
    }
    /// The customer's word, while it is waited for; false if it is not any more.
    pub(super) fn decide(&mut self, accounts: Option<Vec<String>>, now: DateTime<Utc>) -> bool {
        if self.status(now) != Status::Received {
            return false;
        }
        self.status = if accounts.is_some() { Status::Valid } else { Status::Rejected };
        self.accounts = accounts.unwrap_or_default();
        true
    }
    /// Ends it, if it is not over already.
    pub(super) fn end(&mut self, how: Status, now: DateTime<Utc>) {
        if matches!(self.status(now), Status::Received | Status::Valid) {
            self.status = how;
        }
    }

    /// Counts a reading that nobody waits for.
    fn count(&mut self, kind: &'static str, account: &str, today: NaiveDate) -> Result<(), Denied> {
        let (day, times) = self.readings.entry((kind, account.to_owned())).or_insert((today, 0));
        if *day != today {
            (*day, *times) = (today, 0);
        }
        if *times >= self.request.frequency_per_day {
            return Err(Denied::TooOften);
        }
        *times += 1;
        Ok(())
    }
}

/// A reading that a consent must cover.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) kind: &'static str,
    /// None for the list of accounts.
    pub(super) account: Option<&'a str>,
    /// Nobody waits for it, and it is not the next page of one.
    pub(super) counted: bool,
}

/// All consents.
#[derive(Debug, Default)]
pub(super) struct Consents(HashMap<String, Consent>);

impl Consents {
    /// A new one, waiting for the customer; its id.
    pub(super) fn ask(
        &mut self,
        id: String,
        key_id: &str,
        request: Request,
        redirect: &str,
        today: NaiveDate,
    ) -> &Consent {
        let longest = today.checked_add_days(LASTS_DAYS_MAX).unwrap_or(today);
        let request = Request { valid_until: request.valid_until.min(longest), ..request };
        self.0.entry(id.clone()).or_insert(Consent {
            id,
            key_id: key_id.to_owned(),
            request,
            redirect: redirect.to_owned(),
            status: Status::Received,
            last_action: today,
            accounts: Vec::new(),
            readings: HashMap::new(),
        })
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Consent> {
        self.0.get_mut(id)
    }

    /// A business's own.
    pub(super) fn of(&mut self, key_id: &str, id: &str) -> Option<&mut Consent> {
        self.0.get_mut(id).filter(|consent| consent.key_id == key_id)
    }

    /// The accounts that a reading may see.
    pub(super) fn check(
        &mut self,
        key_id: &str,
        id: &str,
        reading: Reading<'_>,
        now: DateTime<Utc>,
    ) -> Result<&[String], Denied> {
        let consent = self.of(key_id, id).ok_or(Denied::Invalid)?;
        match consent.status(now) {
            Status::Valid => {}
            Status::Expired => return Err(Denied::Expired),
            _ => return Err(Denied::Invalid),
        }
        let account = reading.account.unwrap_or("");
        if reading.account.is_some() && !consent.accounts.iter().any(|covered| covered == account) {
            return Err(Denied::NoSuchAccount);
        }
        if reading.counted {
            consent.count(reading.kind, account, now.date_naive())?;
        }
        consent.last_action = now.date_naive();
        Ok(&consent.accounts)
    }
}
