//! Customers, their consents, and the tokens that stand for a consent. Refresh tokens are good for
//! one use; a second use ends the consent at once (RFC 9700, section 4.14.2). Tokens are bound to the
//! certificate with which they were asked for, or to its absence (RFC 8705, section 3).
//!
//! Must not know: HTTP, money.

use super::consent::{Consent, Over, Terms};
use super::entry::BankError;
use super::random::Random;
use super::tls::Caller;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Every customer's until it is changed.
pub const FIRST_PASSCODE: &str = "482913";

/// A customer with the bank's ids of their accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The bank's; also the customer number to log in with.
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
    /// [`super::PERMISSIONS`].
    pub permissions: Vec<String>,
}

/// A refresh token was shown to the bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The consent that it is of.
    pub consent: String,
    /// By the bank's clock.
    pub at: DateTime<Utc>,
    /// When the same token was shown before; none if it is the first time.
    pub before: Option<DateTime<Utc>>,
}

/// A pair of fresh tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
}

/// Who asks for tokens, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) client: &'a str,
    pub(super) caller: Caller,
    pub(super) now: DateTime<Utc>,
    /// How long an access token lives.
    pub(super) lives: TimeDelta,
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

impl From<Over> for Denied {
    fn from(over: Over) -> Self {
        match over {
            Over::Revoked => Self::ConsentRevoked,
            Over::Expired => Self::ConsentExpired,
        }
    }
}

/// Why a business does not get at a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Withheld {
    /// There is none, or not any more.
    Unknown,
    /// It is another business's.
    NotYours,
}

#[derive(Debug)]
struct AccessToken {
    consent: String,
    caller: Caller,
    expires_at: DateTime<Utc>,
}

#[derive(Debug)]
struct RefreshToken {
    consent: String,
    /// When it was shown last.
    used_at: Option<DateTime<Utc>>,
}

/// Of the business itself: opens no account, but makes and ends consents.
#[derive(Debug)]
struct ClientToken {
    client: String,
    caller: Caller,
    expires_at: DateTime<Utc>,
}

#[derive(Debug)]
pub(super) struct Access {
    customers: BTreeMap<String, Customer>,
    /// Those that are not the first one any more.
    passcodes: HashMap<String, String>,
    consents: HashMap<String, Consent>,
    access_tokens: HashMap<String, AccessToken>,
    refresh_tokens: HashMap<String, RefreshToken>,
    client_tokens: HashMap<String, ClientToken>,
    shown: Vec<Shown>,
    random: Random,
}

impl Access {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            customers: BTreeMap::new(),
            passcodes: HashMap::new(),
            consents: HashMap::new(),
            access_tokens: HashMap::new(),
            refresh_tokens: HashMap::new(),
            client_tokens: HashMap::new(),
            shown: Vec::new(),
            random: Random::new(seed ^ 0x746f_6b65_6e73),
        }
    }
}

// ---- customers
impl Access {
    pub(super) fn create_customer(&mut self, name: &str) -> String {
        let id = format!("cust-{:06}", self.customers.len() + 1);
        let customer = Customer { id: id.clone(), name: name.to_owned(), accounts: Vec::new() };
        self.customers.insert(id.clone(), customer);
        id
    }

    pub(super) fn customer(&self, id: &str) -> Result<&Customer, BankError> {
        self.customers.get(id).ok_or_else(|| BankError::Unknown("customer", id.to_owned()))
    }

    fn customer_mut(&mut self, id: &str) -> Result<&mut Customer, BankError> {
        self.customers.get_mut(id).ok_or_else(|| BankError::Unknown("customer", id.to_owned()))
    }

    /// Whose account it is.
    pub(super) fn owner(&self, account: &str) -> Result<String, BankError> {
        let owns = |customer: &&Customer| customer.accounts.iter().any(|own| own == account);
        let owner = self.customers.values().find(owns);
        owner
            .map(|customer| customer.id.clone())
            .ok_or_else(|| BankError::Unknown("account", account.to_owned()))
    }

    pub(super) fn add_account(&mut self, customer: &str, account: &str) -> Result<(), BankError> {
        self.customer_mut(customer)?.accounts.push(account.to_owned());
        Ok(())
    }

    /// The customer's accounts have these ids from now on; consents given before keep the old ones.
    pub(super) fn set_accounts(&mut self, customer: &str, accounts: Vec<String>) -> Result<(), BankError> {
        self.customer_mut(customer)?.accounts = accounts;
        Ok(())
    }

    pub(super) fn set_passcode(&mut self, customer: &str, passcode: &str) -> Result<(), BankError> {
        let id = self.customer(customer)?.id.clone();
        self.passcodes.insert(id, passcode.to_owned());
        Ok(())
    }

    pub(super) fn passcode_fits(&self, customer: &str, passcode: &str) -> bool {
        let right = self.passcodes.get(customer).map_or(FIRST_PASSCODE, String::as_str);
        self.customers.contains_key(customer) && passcode == right
    }
}

// ---- consents
impl Access {
    pub(super) fn create_consent(&mut self, client: &str, terms: Terms, now: DateTime<Utc>) -> &Consent {
        let id = format!("consent-{:06}", self.consents.len() + 1);
        let consent = Consent::new(id.clone(), client, terms, now);
        self.consents.entry(id).or_insert(consent)
    }

    /// What the business gets when the customer agreed to everything, without the way there.
    pub(super) fn grant(
        &mut self,
        client: &str,
        customer: &str,
        now: DateTime<Utc>,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<Granted, BankError> {
        let accounts = self.customer(customer)?.accounts.clone();
        let terms = Terms::all(expires_at);
        let permissions = terms.permissions.clone();
        let consent_id = self.create_consent(client, terms, now).id.clone();
        self.consent_mut(&consent_id)?.authorise(customer, accounts, now);
        let refresh_token = self.issue_refresh_token(&consent_id);
        Ok(Granted { refresh_token, consent_id, granted_at: now, expires_at, permissions })
    }

    /// Also one that was deleted or is another's.
    pub(super) fn consent(&self, id: &str) -> Option<&Consent> {
        self.consents.get(id)
    }

    pub(super) fn consent_mut(&mut self, id: &str) -> Result<&mut Consent, BankError> {
        self.consents.get_mut(id).ok_or_else(|| BankError::Unknown("consent", id.to_owned()))
    }

    /// A consent as the business that asked for it may see it.
    pub(super) fn consent_for(&self, id: &str, client: &str) -> Result<&Consent, Withheld> {
        let consent = self.consents.get(id).ok_or(Withheld::Unknown)?;
        match consent.client == client {
            true if consent.deleted => Err(Withheld::Unknown),
            true => Ok(consent),
            false => Err(Withheld::NotYours),
        }
    }

    /// The business deletes a consent. One that the customer took back before counts as gone.
    pub(super) fn delete_consent(&mut self, id: &str, client: &str) -> Result<(), Withheld> {
        self.consent_for(id, client)?;
        let consent = self.consents.get_mut(id).filter(|consent| !consent.revoked);
        consent.ok_or(Withheld::Unknown)?.deleted = true;
        Ok(())
    }

    pub(super) fn revoke(&mut self, consent: &str) -> Result<(), BankError> {
        self.consent_mut(consent)?.revoked = true;
        Ok(())
    }

    pub(super) fn expire(&mut self, consent: &str, now: DateTime<Utc>) -> Result<(), BankError> {
        self.consent_mut(consent)?.terms.expires_at = Some(now);
        Ok(())
    }
}

// ---- tokens
impl Access {
    fn issue_refresh_token(&mut self, consent: &str) -> String {
        let token = self.random.token("rt_");
        self.refresh_tokens
            .insert(token.clone(), RefreshToken { consent: consent.to_owned(), used_at: None });
        token
    }

    pub(super) fn issue_client_token(&mut self, asking: &Asking<'_>) -> String {
        let token = self.random.token("ct_");
        let expires_at = asking.now.checked_add_signed(asking.lives).unwrap_or(asking.now);
        let issued = ClientToken { client: asking.client.to_owned(), caller: asking.caller, expires_at };
        self.client_tokens.insert(token.clone(), issued);
        token
    }

    pub(super) fn expire_access_tokens(&mut self, now: DateTime<Utc>) {
        self.access_tokens.values_mut().for_each(|token| token.expires_at = token.expires_at.min(now));
    }

    /// The business whose own token this is.
    pub(super) fn check_client(
        &self,
        token: Option<&str>,
        caller: Caller,
        now: DateTime<Utc>,
    ) -> Result<&str, Denied> {
        let token = token.and_then(|token| self.client_tokens.get(token)).ok_or(Denied::Token)?;
        let good = token.caller == caller && token.expires_at > now;
        good.then_some(token.client.as_str()).ok_or(Denied::Token)
    }

    /// What an access token opens at this moment.
    pub(super) fn check(
        &self,
        access_token: Option<&str>,
        caller: Caller,
        now: DateTime<Utc>,
    ) -> Result<&Consent, Denied> {
        let token = access_token.and_then(|token| self.access_tokens.get(token)).ok_or(Denied::Token)?;
        let consent = self.consents.get(&token.consent).ok_or(Denied::Token)?;
        if token.expires_at <= now || token.caller != caller {
            return Err(Denied::Token);
        }
        consent.check(now)?;
        Ok(consent)
    }

    fn drop_tokens(&mut self, consent: &str) {
        self.refresh_tokens.retain(|_, token| token.consent != consent);
        if let Some(consent) = self.consents.get_mut(consent) {
            consent.tokens.drain(..).for_each(|token| drop(self.access_tokens.remove(&token)));
        }
    }

    /// The first tokens after the customer agreed; those from an earlier time are good no more. With
    /// them comes the round, to end just these.
    pub(super) fn open(&mut self, consent_id: &str, asking: &Asking<'_>) -> Option<(Tokens, u32)> {
        let consent = self.consents.get_mut(consent_id)?;
        consent.check(asking.now).ok()?;
        consent.round += 1;
        let round = consent.round;
        self.drop_tokens(consent_id);
        Some((self.issue(consent_id, asking)?, round))
    }

    /// Ends the tokens of a round, if they are still the ones in use.
    pub(super) fn close(&mut self, consent: &str, round: u32) {
        if self.consents.get(consent).is_some_and(|consent| consent.round == round) {
            self.drop_tokens(consent);
        }
    }

    /// Turns a refresh token into a new pair; none is `invalid_grant`. A used one ends its consent
    /// and drops all tokens of it.
    pub(super) fn renew(&mut self, refresh_token: &str, asking: &Asking<'_>) -> Option<Tokens> {
        let token = self.refresh_tokens.get_mut(refresh_token)?;
        let consent = self.consents.get_mut(&token.consent).filter(|one| one.client == asking.client)?;
        let before = token.used_at.replace(asking.now);
        self.shown.push(Shown { consent: token.consent.clone(), at: asking.now, before });
        if before.is_some() {
            consent.revoked = true;
            consent.tokens.drain(..).for_each(|token| drop(self.access_tokens.remove(&token)));
            return None;
        }
        consent.check(asking.now).ok()?;
        let consent_id = token.consent.clone();
        self.issue(&consent_id, asking)
    }

    /// Each time that a refresh token was shown.
    pub(super) fn shown(&self) -> &[Shown] {
        &self.shown
    }

    fn issue(&mut self, consent_id: &str, asking: &Asking<'_>) -> Option<Tokens> {
        let expires_at = asking.now.checked_add_signed(asking.lives)?;
        let consent = self.consents.get_mut(consent_id)?;
        let known = &mut self.access_tokens;
        consent.tokens.retain(|token| {
            let good = known.get(token).is_some_and(|token| token.expires_at > asking.now);
            if !good {
                known.remove(token);
            }
            good
        });
        let access_token = self.random.token("at_");
        consent.tokens.push(access_token.clone());
        let issued = AccessToken { consent: consent_id.to_owned(), caller: asking.caller, expires_at };
        self.access_tokens.insert(access_token.clone(), issued);
        Some(Tokens { access_token, refresh_token: self.issue_refresh_token(consent_id) })
    }
}
