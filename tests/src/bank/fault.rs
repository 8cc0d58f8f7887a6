//! How a bank misbehaves, on request: which requests, how, and how often.
//!
//! Must not know: money, tokens.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::watch;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// `GET /accounts`.
    Accounts,
    /// `GET /accounts/{id}`.
    Account,
    /// `GET /accounts/{id}/balances`.
    Balances,
    /// `GET /accounts/{id}/transactions`, any page.
    Transactions,
    /// `POST /token`.
    Token,
    /// `DELETE /account-access-consents/{id}`.
    Consent,

    // ---- the portal, the dialogue, the statements, the signed requests (`doors`)
    /// `GET /portal/login`.
    PortalForm,
    /// `POST /portal/login`.
    PortalLogin,
    /// `GET /portal/accounts`.
    PortalAccounts,
    /// `GET /portal/accounts/{id}`, any page.
    PortalAccount,
    /// `POST /portal/logout`.
    PortalLogout,
    /// `POST /dialogue/open`.
    DialogueOpen,
    /// `POST /dialogue/confirm`.
    DialogueConfirm,
    /// `POST /dialogue/message`, whatever it asks for.
    DialogueMessage,
    /// `POST /dialogue/end`.
    DialogueEnd,
    /// `GET /camt/accounts`.
    CamtAccounts,
    /// `GET /camt/statements`.
    CamtStatements,
    /// `POST /camt/statements/{id}/acknowledge`.
    CamtAcknowledge,
    /// `POST /signed/v1/consents`.
    SignedConsentRequest,
    /// `GET /signed/v1/consents/{id}`.
    SignedConsent,
    /// `GET /signed/v1/consents/{id}/status`.
    SignedConsentStatus,
    /// `DELETE /signed/v1/consents/{id}`.
    SignedConsentEnd,
    /// `GET /signed/sca/{id}`.
    SignedPage,
    /// `POST /signed/sca/{id}`.
    SignedDecision,
    /// `GET /signed/v1/accounts`.
    SignedAccounts,
    /// `GET /signed/v1/accounts/{id}/balances`.
    SignedBalances,
    /// `GET /signed/v1/accounts/{id}/transactions`, any page.
    SignedTransactions,

    // ---- the UK door
    /// `POST /account-access-consents`.
    Consents,
    /// `GET /account-access-consents/{id}`.
    ConsentStatus,
    /// `GET /authorize`.
    Authorise,
    /// `POST /authorize/login`.
    AuthoriseLogin,
    /// `POST /authorize/decide`.
    AuthoriseDecide,
}

impl PathKind {
    /// The id in the path is an account's.
    pub(super) fn is_about_an_account(self) -> bool {
        matches!(self, Self::Account | Self::Balances | Self::Transactions)
    }
}

/// Which requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Target {
    /// None is all.
    #[serde(default)]
    pub path: Option<PathKind>,
    /// None is all, also requests without an account.
    #[serde(default)]
    pub account: Option<String>,
}

impl Target {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }
    /// Only of this account.
    pub fn of(path: PathKind, account: &str) -> Self {
        Self { path: Some(path), account: Some(account.to_owned()) }
    }
    pub(super) fn matches(&self, path: PathKind, account: Option<&str>) -> bool {
        self.path.is_none_or(|wanted| wanted == path)
            && (self.account.is_none() || self.account.as_deref() == account)
    }
}

impl From<PathKind> for Target {
    fn from(path: PathKind) -> Self {
        Self { path: Some(path), account: None }
    }
}

/// How `Retry-After` is written (RFC 9110, 10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// So many seconds.
    Seconds(u32),
    /// A date so many seconds from now, by the bank's clock.
    DateIn(u32),
}

impl RetryAfter {
    /// The header's value.
    pub fn header(self, now: DateTime<Utc>) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::DateIn(seconds) => {
                let at = now + Duration::from_secs(u64::from(seconds));
                at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
            }
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// This status instead of an answer, with the error body (429 and 401 have none).
    Status {
        /// 429, 503, …
        status: u16,
        /// If said.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
    },
    /// 200, valid HTTP, but the JSON ends in the middle.
    TruncatedJson,
    /// `Content-Length` promises more than comes before the connection is closed.
    CutShort,
    /// All access tokens run out just before this request is looked at.
    ExpireAccessTokens,
    /// A byte in the middle of the JSON is not UTF-8.
    InvalidUtf8,
    /// `Content-Encoding: gzip`; inflates to the answer and so many bytes of spaces after it.
    GzipBomb {
        /// Rounded up to whole MiB.
        bytes: usize,
    },
    /// The answer, and spaces up to so many bytes, without `Content-Length`.
    Oversized {
        /// In all, rounded up to 64 KiB.
        bytes: usize,
    },
    /// 302 to there.
    Redirect {
        /// The `Location`.
        to: String,
    },
    /// Answers after so long, in real time.
    Slow {
        /// Milliseconds.
        millis: u64,
    },
    /// The connection is reset and nothing is done.
    Reset,
    /// All is done (a refresh token is used up), but the connection is reset instead of answered.
    LostAnswer,
    /// The first row of a page of transactions has this in `Amount.Amount`.
    BadAmount {
        /// `1e3`, `12.345`, `-0.00`, …
        amount: String,
    },
    /// The first row of a page of transactions repeats the `Authorization` header (or else the `Cookie`) as
    /// its text.
    EchoSecret,
    /// The first row of a page of transactions is left out; the balance still counts it.
    HiddenRow,
    /// The first row of a page of transactions stands there twice.
    RepeatedRow,
    /// 200, and an HTML page that says that the bank is being improved.
    Maintenance,
}

/// When a held request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// On arrival: the answer is worked out after the release.
    Request,
    /// With the answer worked out: it is old when it leaves.
    Answer,
}

#[derive(Debug)]
struct Rule {
    target: Target,
    fault: Fault,
    left: u32,
}

#[derive(Debug)]
struct Gate {
    target: Target,
    hold: Hold,
    open: watch::Sender<bool>,
    /// How many requests have come to it.
    arrived: usize,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: VecDeque<Rule>,
    gates: Vec<Gate>,
}

impl Faults {
    pub(super) fn add(&mut self, target: Target, fault: Fault, times: u32) {
        self.rules.push_back(Rule { target, fault, left: times });
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(super) fn left(&self) -> u32 {
        self.rules.iter().map(|rule| rule.left).sum()
    }

    /// The oldest fault that is meant for this request; it counts as used.
    pub(super) fn take(&mut self, path: PathKind, account: Option<&str>) -> Option<Fault> {
        let rule = self.rules.iter_mut().find(|rule| rule.target.matches(path, account) && rule.left > 0)?;
        rule.left -= 1;
        let fault = rule.fault.clone();
        self.rules.retain(|rule| rule.left > 0);
        Some(fault)
    }

    pub(super) fn hold(&mut self, target: Target, hold: Hold) {
        self.gates.push(Gate { target, hold, open: watch::Sender::new(false), arrived: 0 });
    }

    /// Opens all gates; how many requests had come to them.
    pub(super) fn release(&mut self) -> usize {
        let held = self.held();
        for gate in self.gates.drain(..) {
            gate.open.send_replace(true);
        }
        held
    }

    /// The gate this request must wait at, if there is one.
    pub(super) fn gate(
        &mut self,
        path: PathKind,
        account: Option<&str>,
        when: Hold,
    ) -> Option<watch::Receiver<bool>> {
        let meant = |gate: &&mut Gate| gate.hold == when && gate.target.matches(path, account);
        let gate = self.gates.iter_mut().find(meant)?;
        gate.arrived += 1;
        Some(gate.open.subscribe())
    }

    /// How many requests have come to gates since those were closed.
    pub(super) fn held(&self) -> usize {
        self.gates.iter().map(|gate| gate.arrived).sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_order_as_often_as_asked_and_only_where_meant() {
        let mut faults = Faults::default();
        faults.add(PathKind::Balances.into(), Fault::Reset, 2);
        faults.add(Target::any(), Fault::CutShort, 1);
        faults.add(Target::of(PathKind::Transactions, "a"), Fault::EchoSecret, 1);
        assert_eq!(faults.take(PathKind::Balances, Some("a")), Some(Fault::Reset));
        assert_eq!(faults.take(PathKind::Token, None), Some(Fault::CutShort));
        assert_eq!(faults.take(PathKind::Transactions, Some("b")), None);
        assert_eq!(faults.take(PathKind::Transactions, Some("a")), Some(Fault::EchoSecret));
        assert_eq!(faults.left(), 1);
        assert_eq!(faults.take(PathKind::Balances, None), Some(Fault::Reset));
        assert_eq!(faults.take(PathKind::Balances, None), None);
    }

    #[test]
    fn a_retry_after_date_is_written_as_http_wants_it() {
        let now = DateTime::from_timestamp(784_111_717, 0).unwrap();
        assert_eq!(RetryAfter::DateIn(60).header(now), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(RetryAfter::Seconds(60).header(now), "60");
    }
}
