//! A consent: what a business asks for, what the customer says to it, and what it opens. The words
//! and rules are UK Open Banking's (Account and Transaction API Profile 3.1.11).
//!
//! Must not know: HTTP, tokens.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// What a customer of this bank agrees to if nothing else is asked for.
pub const PERMISSIONS: [&str; 6] = [
    "ReadAccountsDetail",
    "ReadBalances",
    "ReadTransactionsBasic",
    "ReadTransactionsCredits",
    "ReadTransactionsDebits",
    "ReadTransactionsDetail",
];
const ACCOUNTS_BASIC: &str = "ReadAccountsBasic";
const ACCOUNTS_DETAIL: &str = "ReadAccountsDetail";
const BALANCES: &str = "ReadBalances";
const TRANSACTIONS_BASIC: &str = "ReadTransactionsBasic";
const TRANSACTIONS_CREDITS: &str = "ReadTransactionsCredits";
const TRANSACTIONS_DEBITS: &str = "ReadTransactionsDebits";
const TRANSACTIONS_DETAIL: &str = "ReadTransactionsDetail";
/// What this bank has an endpoint for; the standard wants the rest refused.
const SUPPORTED: [&str; 7] = [
    ACCOUNTS_BASIC,
    ACCOUNTS_DETAIL,
    BALANCES,
    TRANSACTIONS_BASIC,
    TRANSACTIONS_CREDITS,
    TRANSACTIONS_DEBITS,
    TRANSACTIONS_DETAIL,
];
/// Older history needs a customer who was just there (RTS on strong customer authentication,
/// article 10).
const HISTORY_DAYS: i64 = 90;

/// What a business asks for.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) permissions: Vec<String>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    /// Transactions before are not shown.
    pub(super) from: Option<DateTime<Utc>>,
    /// Transactions after are not shown.
    pub(super) to: Option<DateTime<Utc>>,
}

impl Terms {
    /// All that the bank gives.
    pub(super) fn all(expires_at: Option<DateTime<Utc>>) -> Self {
        let permissions = PERMISSIONS.iter().map(|&permission| permission.to_owned()).collect();
        Self { permissions, expires_at, from: None, to: None }
    }

    fn has(&self, permission: &str) -> bool {
        self.permissions.iter().any(|given| given == permission)
    }

    /// Why the standard wants these permissions refused, if it does.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let rows = self.has(TRANSACTIONS_BASIC) || self.has(TRANSACTIONS_DETAIL);
        let sides = self.has(TRANSACTIONS_CREDITS) || self.has(TRANSACTIONS_DEBITS);
        match () {
            () if self.permissions.is_empty() => Some("At least one permission must be asked for"),
            () if !self.permissions.iter().all(|given| SUPPORTED.contains(&given.as_str())) => {
                Some("A permission is not supported by this bank")
            }
            () if !self.has(ACCOUNTS_BASIC) && !self.has(ACCOUNTS_DETAIL) => {
                Some("ReadAccountsBasic or ReadAccountsDetail must be asked for")
            }
            () if rows && !sides => {
                Some("Transactions need ReadTransactionsCredits or ReadTransactionsDebits too")
            }
            () if sides && !rows => {
                Some("Credits and debits need ReadTransactionsBasic or ReadTransactionsDetail too")
            }
            () => None,
        }
    }

    /// Numbers and names of accounts are shown.
    pub(super) fn account_details(&self) -> bool {
        self.has(ACCOUNTS_DETAIL)
    }
    pub(super) fn balances(&self) -> bool {
        self.has(BALANCES)
    }
    /// None: no transactions at all.
    pub(super) fn rows(&self) -> Option<RowsShown> {
        let (credits, debits) = (self.has(TRANSACTIONS_CREDITS), self.has(TRANSACTIONS_DEBITS));
        let details = self.has(TRANSACTIONS_DETAIL);
        let some = (details || self.has(TRANSACTIONS_BASIC)) && (credits || debits);
        some.then_some(RowsShown { credits, debits, details })
    }
}

/// Which transactions are shown, and how much of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowsShown {
    pub(super) credits: bool,
    pub(super) debits: bool,
    /// Narration, balance and the other side.
    pub(super) details: bool,
}

/// In the standard's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConsentStatus {
    /// The customer has not said anything yet.
    AwaitingAuthorisation,
    /// The customer agreed. Stays so when the time is over or the customer takes the access back:
    /// then they may agree again.
    Authorised,
    /// The customer refused. For good.
    Rejected,
}

/// Why a consent does not open anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Ended by the customer, by the business, or by a token that was used twice.
    Revoked,
    /// Its time is over.
    Expired,
}

#[derive(Debug)]
pub(super) struct Consent {
    pub(super) id: String,
    /// Who asks.
    pub(super) client: String,
    pub(super) terms: Terms,
    pub(super) status: ConsentStatus,
    pub(super) created_at: DateTime<Utc>,
    pub(super) status_at: DateTime<Utc>,
    /// Who agreed. Nobody else can agree again.
    pub(super) customer: Option<String>,
    /// Those the customer shares.
    pub(super) accounts: Vec<String>,
    /// When the customer was there last.
    authorised_at: Option<DateTime<Utc>>,
    pub(super) revoked: bool,
    /// The business deleted it: nobody sees it any more.
    pub(super) deleted: bool,
    /// How often the customer agreed and a code was turned into tokens.
    pub(super) round: u32,
    /// Access tokens that may still be good.
    pub(super) tokens: Vec<String>,
}

impl Consent {
    pub(super) fn new(id: String, client: &str, terms: Terms, now: DateTime<Utc>) -> Self {
        Self {
            id,
            client: client.to_owned(),
            terms,
            status: ConsentStatus::AwaitingAuthorisation,
            created_at: now,
            status_at: now,
            customer: None,
            accounts: Vec::new(),
            authorised_at: None,
            revoked: false,
            deleted: false,
            round: 0,
            tokens: Vec::new(),
        }
    }

    pub(super) fn check(&self, now: DateTime<Utc>) -> Result<(), Over> {
        match self.terms.expires_at {
            _ if self.revoked || self.deleted || self.status != ConsentStatus::Authorised => {
                Err(Over::Revoked)
            }
            Some(end) if end <= now => Err(Over::Expired),
            _ => Ok(()),
        }
    }

    /// May the customer be asked? Once refused, never; once agreed, again until its time is over.
    pub(super) fn may_be_asked(&self, now: DateTime<Utc>) -> bool {
        let lasts = self.terms.expires_at.is_none_or(|end| end > now);
        lasts && !self.deleted && self.status != ConsentStatus::Rejected
    }

    pub(super) fn authorise(&mut self, customer: &str, accounts: Vec<String>, now: DateTime<Utc>) {
        if self.status != ConsentStatus::Authorised {
            (self.status, self.status_at) = (ConsentStatus::Authorised, now);
        }
        (self.customer, self.accounts) = (Some(customer.to_owned()), accounts);
        (self.authorised_at, self.revoked) = (Some(now), false);
    }

    /// A refusal is for good only if the customer never agreed.
    pub(super) fn reject(&mut self, now: DateTime<Utc>) {
        if self.status == ConsentStatus::AwaitingAuthorisation {
            (self.status, self.status_at) = (ConsentStatus::Rejected, now);
        }
    }

    /// The first day of history that is given at this moment; none is the very first.
    pub(super) fn first_day(&self, now: DateTime<Utc>, full_history_for: TimeDelta) -> Option<NaiveDate> {
        let fresh = self.authorised_at.is_some_and(|at| now - at <= full_history_for);
        (!fresh).then(|| (now - TimeDelta::days(HISTORY_DAYS)).date_naive())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_refused_where_the_standard_says_so() {
        let fault = |permissions: &[&str]| {
            let permissions = permissions.iter().map(|&permission| permission.to_owned()).collect();
            Terms { permissions, ..Terms::all(None) }.fault().is_some()
        };
        assert!(!fault(&PERMISSIONS));
        assert!(!fault(&SUPPORTED), "basic beside detail is no fault");
        assert!(!fault(&["ReadAccountsBasic"]));
        assert!(!fault(&["ReadAccountsBasic", "ReadTransactionsBasic", "ReadTransactionsDebits"]));
        for refused in [
            &[][..],
            &["ReadBalances"],
            &["ReadAccountsBasic", "ReadTransactionsBasic"],
            &["ReadAccountsBasic", "ReadTransactionsDetail"],
            &["ReadAccountsBasic", "ReadTransactionsCredits"],
            &["ReadAccountsBasic", "ReadTransactionsDebits"],
            &["ReadAccountsBasic", "ReadOffers"],
            &["ReadAccountsBasic", "ReadEverything"],
        ] {
            assert!(fault(refused), "{refused:?}");
        }
    }

    #[test]
    fn a_refusal_is_for_good_and_an_agreement_can_be_renewed_until_its_end() {
        let now = DateTime::UNIX_EPOCH;
        let end = now + TimeDelta::days(90);
        let new = || Consent::new("c".into(), "client", Terms::all(Some(end)), now);
        let mut consent = new();
        assert!(consent.may_be_asked(now) && consent.check(now).is_err());
        consent.reject(now);
        assert!(!consent.may_be_asked(now));

        let mut consent = new();
        consent.authorise("ada", vec![], now);
        consent.reject(now);
        assert!(consent.check(now).is_ok(), "who refuses to agree again has still agreed");
        consent.revoked = true;
        assert_eq!(consent.check(now), Err(Over::Revoked));
        consent.authorise("ada", vec![], now);
        assert!(consent.check(now).is_ok());
        assert_eq!((consent.check(end), consent.may_be_asked(end)), (Err(Over::Expired), false));
    }

    #[test]
    fn old_history_is_given_only_while_the_customer_was_just_there() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1000);
        let mut consent = Consent::new("c".into(), "client", Terms::all(None), now);
        consent.authorise("ada", vec![], now);
        let window = TimeDelta::minutes(5);
        assert_eq!(consent.first_day(now + window, window), None);
        let later = now + window + TimeDelta::seconds(1);
        assert_eq!(consent.first_day(later, window), Some((now - TimeDelta::days(90)).date_naive()));
        consent.authorise("ada", vec![], later);
        assert_eq!(consent.first_day(later, window), None);
    }
}
