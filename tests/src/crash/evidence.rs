//! What the bank saw: single-use tokens that came twice, readings beyond a budget, requests after a consent's end.
//!
//! A token comes twice without anybody's fault in one case only: the answer to its first trade was lost, because the
//! process or the bank died while it was on its way. Then the service may try the old one once more (the bank
//! may never have got it), and must ask the customer when the bank refuses.

use super::fault::{CLOCK_S, Struck};
use super::findings::{Findings, Kind};
use super::scene::{Customer, Stage};
use super::service::{BUDGETED, READS_A_DAY};
use crate::bank::{Bank, LoggedRequest, PathKind, Shown};
use chrono::TimeDelta;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The longest that an answer of the bank can be on its way: a lease, and the harness holds none for longer.
const ON_ITS_WAY: TimeDelta = TimeDelta::seconds(20);
/// The customer's address says that they are there.
const PRESENT: &str = "x-fapi-customer-ip-address";
/// How long after a consent's time a request may still arrive that was sent before.
const ARRIVES_WITHIN: TimeDelta = TimeDelta::milliseconds(500);

/// What is kept from round to round.
#[derive(Default)]
pub struct Evidence {
    struck: Mutex<Vec<Struck>>,
    place: Mutex<Place>,
}

#[derive(Default)]
struct Place {
    shown: usize,
    request: u64,
    /// Unattended readings of accounts with a budget, by account and day.
    readings: BTreeMap<(String, chrono::NaiveDate), usize>,
}

impl Evidence {
    /// Something broke.
    pub fn note(&self, struck: Struck) {
        self.struck.lock().unwrap_or_else(PoisonError::into_inner).push(struck);
    }

    /// Was the answer to the first of two trades lost?
    fn was_lost(&self, first: chrono::DateTime<chrono::Utc>, second: chrono::DateTime<chrono::Utc>) -> bool {
        let struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = |one: &&Struck| {
            one.loses_answers && second >= one.from && first <= one.until && first >= one.from - ON_ITS_WAY
        };
        struck.iter().any(|one| lost(&one))
    }

    /// Did a token of this consent come twice?
    pub fn is_spent(&self, bank: &Bank, consent: &str) -> bool {
        bank.shown_since(0).iter().any(|shown| shown.consent == consent && shown.before.is_some())
    }

    fn judge_request(&self, request: &LoggedRequest, owner: &Customer, findings: &Findings) {
        let late = match owner.stage {
            Stage::Ended | Stage::Gone => {
                let told = owner.silent_from.is_some_and(|from| request.number >= from);
                told || (owner.time_is_over(request.bank_time - ARRIVES_WITHIN)
                    && !self.clock_was_wrong(request))
            }
            Stage::Coming | Stage::Here | Stage::Leaving => false,
        };
        if late {
            let (number, at) = (owner.number, request.bank_time);
            let sentence = format!(
                "customer {number}: the bank was asked at {at} for what is no longer allowed: {request:?}"
            );
            findings.add(Kind::Consent, sentence);
        }
    }

    /// A process whose clock is behind cannot know that a consent's time is over.
    fn clock_was_wrong(&self, request: &LoggedRequest) -> bool {
        let struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = |one: &Struck| {
            // It is read once a second.
            let until = one.until + TimeDelta::seconds(2);
            one.clock_is_wrong && (one.from..=until).contains(&request.bank_time)
        };
        struck.iter().any(wrong)
    }

    /// May a process whose clock was ahead have taken the consent for over?
    pub fn seemed_over(&self, customer: &Customer) -> bool {
        let struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = TimeDelta::seconds(CLOCK_S.1);
        struck.iter().any(|one| one.clock_is_wrong && customer.time_is_over(one.until + ahead))
    }

    /// Looks at all that the bank has seen since the last time.
    pub fn judge(&self, bank: &Bank, customers: &[Customer], findings: &Findings) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = bank.shown_since(place.shown);
        place.shown += shown.len();
        for Shown { consent, at, before } in &shown {
            if let Some(before) = before.filter(|before| !self.was_lost(*before, *at)) {
                let sentence = format!(
                    "a refresh token of {consent} was used at {before} and again at {at}, and no answer was lost"
                );
                findings.add(Kind::Doubled, sentence);
            }
        }
        let requests = bank.requests_since(place.request);
        place.request = requests.last().map_or(place.request, |last| last.number + 1);
        let owners: BTreeMap<&str, &Customer> = customers
            .iter()
            .flat_map(|one| one.bank.accounts.iter().map(move |id| (id.as_str(), one)))
            .collect();
        for request in &requests {
            let owner = request.account.as_deref().and_then(|account| owners.get(account));
            if let Some(owner) = owner {
                self.judge_request(request, owner, findings);
                place.count(request, owner, findings);
            }
        }
    }
}

impl Place {
    fn count(&mut self, request: &LoggedRequest, owner: &Customer, findings: &Findings) {
        let counts = owner.institution == BUDGETED
            && request.kind == PathKind::Transactions
            && !request.fapi.contains_key(PRESENT)
            // A further page is the same reading.
            && !request.query.as_deref().unwrap_or_default().contains("page=");
        if !counts {
            return;
        }
        let account = request.account.clone().unwrap_or_default();
        let readings = self.readings.entry((account.clone(), request.bank_time.date_naive())).or_default();
        *readings += 1;
        if *readings == READS_A_DAY + 1 {
            let sentence = format!(
                "the bank was asked for {account} without the customer more than {READS_A_DAY} times a day, at {}",
                request.bank_time
            );
            findings.add(Kind::Budget, sentence);
        }
    }
}
