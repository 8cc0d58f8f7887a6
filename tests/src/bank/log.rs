//! What was asked of the bank, in order of arrival. Never a token and never a body.

use super::fault::{PathKind, Target};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Older requests are forgotten; a load run must not fill the memory.
const REQUESTS_KEPT_MAX: usize = 100_000;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedRequest {
    /// Counts from 0.
    pub number: u64,
    /// What was asked for.
    pub kind: PathKind,
    /// The account in the path.
    pub account: Option<String>,
    /// `GET`, `POST` or `DELETE`.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Without the question mark.
    pub query: Option<String>,
    /// On arrival, by the bank's clock.
    pub bank_time: DateTime<Utc>,
    /// On arrival, by the system's clock, in microseconds since 1970-01-01T00:00:00Z.
    pub received_at_us: i64,
    /// The `x-fapi-…`, `x-customer-…`, `x-request-id` and `psu-…` headers, names in lower case.
    pub fapi: BTreeMap<String, String>,
    /// What was answered; none while it is being answered, and if the connection was cut.
    pub status: Option<u16>,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    requests: VecDeque<LoggedRequest>,
    next: u64,
}

impl Log {
    /// Notes an arrival; its number.
    pub(super) fn arrived(&mut self, request: LoggedRequest) -> u64 {
        if self.requests.len() == REQUESTS_KEPT_MAX {
            self.requests.pop_front();
        }
        let number = self.next;
        self.requests.push_back(LoggedRequest { number, ..request });
        self.next += 1;
        number
    }

    pub(super) fn answered(&mut self, number: u64, status: u16) {
        let first = self.requests.front().map_or(0, |request| request.number);
        let place = number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(request) = place.and_then(|place| self.requests.get_mut(place)) {
            request.status = Some(status);
        }
    }

    pub(super) fn since(&self, number: u64) -> Vec<LoggedRequest> {
        self.requests.iter().filter(|request| request.number >= number).cloned().collect()
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next
    }

    /// Was a request that is meant, from this number on, answered?
    pub(super) fn has_answered(&self, target: &Target, number: u64) -> bool {
        let meant = |request: &&LoggedRequest| target.matches(request.kind, request.account.as_deref());
        let mut new = self.requests.iter().rev().take_while(|request| request.number >= number).filter(meant);
        new.any(|request| request.status.is_some())
    }

    pub(super) fn count(&self, target: &Target) -> usize {
        self.requests
            .iter()
            .filter(|request| target.matches(request.kind, request.account.as_deref()))
            .count()
    }
}
