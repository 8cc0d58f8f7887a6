//! Customers, their consents, and the tokens that stand for a consent. Refresh tokens are good for
//! one use; a second use ends the consent at once (RFC 9700, section 4.14.2).
//!
//! Must not know: HTTP, money.

use super::entry::BankError;
use super::random::Random;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// What a customer of this bank agrees to, in UK Open Banking's words.
pub const PERMISSIONS: [&str; 6] = [
    "ReadAccountsDetail",
    "ReadBalances",
    "ReadTransactionsBasic",
    "ReadTransactionsCredits",
    "ReadTransactionsDebits",
    "ReadTransactionsDetail",
];

/// A customer with the bank's ids of their accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The bank's.
    pub id: String,
    /// Full name.
    pub name: String,
    /// In the order they were opened.
    pub accounts: Vec<String>,
}

/// What a business holds after the customer came back from the bank's consent page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The bank's id of the consent.
    pub consent_id: String,
    /// Good for one renewal.
    pub refresh_token: String,
    /// By the bank's clock.
    pub granted_at: DateTime<Utc>,
    /// When the consent ends; none is never.
    pub expires_at: Option<DateTime<Utc>>,
    /// [`PERMISSIONS`].
    pub permissions: Vec<String>,
}

/// A pair of fresh tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
}

/// Why a token does not open anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// Missing, unknown or run out.
    Token,
    /// The customer or the bank took the consent back.
    ConsentRevoked,
    /// The consent's time is over.
    ConsentExpired,
}

#[derive(Debug)]
pub(super) struct Consent {
    /// The accounts of the customer when they agreed.
    pub(super) accounts: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    revoked: bool,
    /// Access tokens that may still be good.
    tokens: Vec<String>,
}

impl Consent {
    fn check(&self, now: DateTime<Utc>) -> Result<(), Denied> {
        match self.expires_at {
            _ if self.revoked => Err(Denied::ConsentRevoked),
            Some(end) if end <= now => Err(Denied::ConsentExpired),
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
struct AccessToken {
    consent: String,
    expires_at: DateTime<Utc>,
}

#[derive(Debug)]
struct RefreshToken {
    consent: String,
    used: bool,
}

#[derive(Debug)]
pub(super) struct Access {
    customers: BTreeMap<String, Customer>,
    consents: HashMap<String, Consent>,
    access_tokens: HashMap<String, AccessToken>,
    refresh_tokens: HashMap<String, RefreshToken>,
    /// Of the business itself, with the end of each: they open no account, but end consents.
    client_tokens: HashMap<String, DateTime<Utc>>,
    random: Random,
}

impl Access {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            customers: BTreeMap::new(),
            consents: HashMap::new(),
            access_tokens: HashMap::new(),
            refresh_tokens: HashMap::new(),
            client_tokens: HashMap::new(),
            random: Random::new(seed ^ 0x746f_6b65_6e73),
        }
    }

    pub(super) fn create_customer(&mut self, name: &str) -> String {
        let id = format!("cust-{:06}", self.customers.len() + 1);
        let customer = Customer { id: id.clone(), name: name.to_owned(), accounts: Vec::new() };
        self.customers.insert(id.clone(), customer);
        id
    }

    pub(super) fn customer(&self, id: &str) -> Result<&Customer, BankError> {
        self.customers.get(id).ok_or_else(|| BankError::Unknown("customer", id.to_owned()))
    }

    pub(super) fn add_account(&mut self, customer: &str, account: &str) -> Result<(), BankError> {
        let unknown = || BankError::Unknown("customer", customer.to_owned());
        self.customers.get_mut(customer).ok_or_else(unknown)?.accounts.push(account.to_owned());
        Ok(())
    }

    /// The customer's accounts have these ids from now on; consents given before keep the old ones.
    pub(super) fn set_accounts(&mut self, customer: &str, accounts: Vec<String>) -> Result<(), BankError> {
        let unknown = || BankError::Unknown("customer", customer.to_owned());
        self.customers.get_mut(customer).ok_or_else(unknown)?.accounts = accounts;
        Ok(())
    }

    pub(super) fn grant(
        &mut self,
        customer: &str,
        now: DateTime<Utc>,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<Granted, BankError> {
        let accounts = self.customer(customer)?.accounts.clone();
        let consent_id = format!("consent-{:06}", self.consents.len() + 1);
        self.consents
            .insert(consent_id.clone(), Consent { accounts, expires_at, revoked: false, tokens: Vec::new() });
        Ok(Granted {
            refresh_token: self.issue_refresh_token(&consent_id),
            consent_id,
            granted_at: now,
            expires_at,
            permissions: PERMISSIONS.iter().map(|&permission| permission.to_owned()).collect(),
        })
    }

    fn issue_refresh_token(&mut self, consent: &str) -> String {
        let token = self.random.token("rt_");
        self.refresh_tokens.insert(token.clone(), RefreshToken { consent: consent.to_owned(), used: false });
        token
    }

    pub(super) fn issue_client_token(&mut self, now: DateTime<Utc>, lives: TimeDelta) -> String {
        let token = self.random.token("ct_");
        self.client_tokens.insert(token.clone(), now.checked_add_signed(lives).unwrap_or(now));
        token
    }

    /// Ends a consent for the business whose token this is; false if there is none in force.
    pub(super) fn end(
        &mut self,
        consent: &str,
        client_token: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<bool, Denied> {
        let end = client_token.and_then(|token| self.client_tokens.get(token)).ok_or(Denied::Token)?;
        if *end <= now {
            return Err(Denied::Token);
        }
        let consent = self.consents.get_mut(consent);
        Ok(consent.is_some_and(|consent| !std::mem::replace(&mut consent.revoked, true)))
    }

    fn consent_mut(&mut self, id: &str) -> Result<&mut Consent, BankError> {
        self.consents.get_mut(id).ok_or_else(|| BankError::Unknown("consent", id.to_owned()))
    }

    pub(super) fn revoke(&mut self, consent: &str) -> Result<(), BankError> {
        self.consent_mut(consent)?.revoked = true;
        Ok(())
    }

    pub(super) fn expire(&mut self, consent: &str, now: DateTime<Utc>) -> Result<(), BankError> {
        self.consent_mut(consent)?.expires_at = Some(now);
        Ok(())
    }

    pub(super) fn expire_access_tokens(&mut self, now: DateTime<Utc>) {
        self.access_tokens.values_mut().for_each(|token| token.expires_at = token.expires_at.min(now));
    }

    /// What an access token opens at this moment.
    pub(super) fn check(&self, access_token: Option<&str>, now: DateTime<Utc>) -> Result<&Consent, Denied> {
        let token = access_token.and_then(|token| self.access_tokens.get(token)).ok_or(Denied::Token)?;
        let consent = self.consents.get(&token.consent).ok_or(Denied::Token)?;
        if token.expires_at <= now {
            return Err(Denied::Token);
        }
        consent.check(now)?;
        Ok(consent)
    }

    /// Turns a refresh token into a new pair; none is `invalid_grant`. A used one ends its consent
    /// and drops all tokens of it.
    pub(super) fn renew(
        &mut self,
        refresh_token: &str,
        now: DateTime<Utc>,
        lives: TimeDelta,
    ) -> Option<Tokens> {
        let token = self.refresh_tokens.get_mut(refresh_token)?;
        let reused = std::mem::replace(&mut token.used, true);
        let consent_id = token.consent.clone();
        let consent = self.consents.get_mut(&consent_id)?;
        if reused {
            consent.revoked = true;
            consent.tokens.drain(..).for_each(|token| drop(self.access_tokens.remove(&token)));
            return None;
        }
        consent.check(now).ok()?;
        let expires_at = now.checked_add_signed(lives)?;
        let known = &mut self.access_tokens;
        consent.tokens.retain(|token| {
            let good = known.get(token).is_some_and(|token| token.expires_at > now);
            if !good {
                known.remove(token);
            }
            good
        });
        let access_token = self.random.token("at_");
        consent.tokens.push(access_token.clone());
        let issued = AccessToken { consent: consent_id.clone(), expires_at };
        self.access_tokens.insert(access_token.clone(), issued);
        Some(Tokens { access_token, refresh_token: self.issue_refresh_token(&consent_id) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIVES: TimeDelta = TimeDelta::seconds(600);

    fn granted(expires_at: Option<DateTime<Utc>>) -> (Access, Granted, DateTime<Utc>) {
        let mut access = Access::new(1);
        let now = DateTime::UNIX_EPOCH;
        let customer = access.create_customer("Ada");
        let granted = access.grant(&customer, now, expires_at).unwrap();
        (access, granted, now)
    }

    #[test]
    fn each_renewal_gives_a_new_pair_and_uses_the_old_token_up() {
        let (mut access, granted, now) = granted(None);
        let first = access.renew(&granted.refresh_token, now, LIVES).unwrap();
        assert!(access.check(Some(&first.access_token), now).is_ok());
        assert!(access.check(Some(&first.access_token), now + LIVES).is_err());
        let second = access.renew(&first.refresh_token, now, LIVES).unwrap();
        assert_ne!(first.access_token, second.access_token);
        assert!(access.check(Some(&second.access_token), now).is_ok());
    }

    #[test]
    fn a_reused_refresh_token_ends_the_consent_and_all_its_tokens() {
        let (mut access, granted, now) = granted(None);
        let first = access.renew(&granted.refresh_token, now, LIVES).unwrap();
        assert_eq!(access.renew(&granted.refresh_token, now, LIVES), None);
        assert_eq!(access.check(Some(&first.access_token), now).err(), Some(Denied::Token));
        assert_eq!(access.renew(&first.refresh_token, now, LIVES), None);
    }

    #[test]
    fn a_consent_ends_by_time_or_by_revocation() {
        let end = DateTime::UNIX_EPOCH + TimeDelta::days(90);
        let (mut access, granted, now) = granted(Some(end));
        let tokens = access.renew(&granted.refresh_token, now, TimeDelta::days(365)).unwrap();
        let check = |access: &Access, at| access.check(Some(&tokens.access_token), at).err();
        assert_eq!(check(&access, now), None);
        assert_eq!(check(&access, end), Some(Denied::ConsentExpired));
        access.revoke(&granted.consent_id).unwrap();
        assert_eq!(check(&access, now), Some(Denied::ConsentRevoked));
        assert_eq!(access.renew(&tokens.refresh_token, now, LIVES), None);
    }
}
