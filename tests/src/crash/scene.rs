//! Who takes part: the bank, the receivers, the service's processes as callers see them, and the customers with what is
//! true of them whatever the service thinks.
//!
//! Must not know: faults.

use super::service::{BANKS, BUDGETED, STATEMENTS};
use crate::bank::{Bank, Customer as BankCustomer, Granted, Login, NewCustomer};
use crate::http::{Answer, Api};
use crate::random::Random;
use crate::sink::Sink;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What every narration of the bank begins with: none may ever be found in the clear.
pub const NARRATION: &str = "SECRET-NARRATION";
/// A consent lasts so long, unless it is to end by itself.
const CONSENT_DAYS: i64 = 90;
/// A consent that is to end by itself lasts so long: over a round or two.
const SHORT_CONSENT: Duration = Duration::from_secs(25);
/// Days of ordinary life before a customer comes.
const HISTORY_DAYS: u32 = 3;
/// How long the service may take to answer a call, in all rounds.
const CALL: Duration = Duration::from_secs(70);

/// Which bank a customer comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// One of those that differ in nothing.
    Any,
    /// The one that allows few readings.
    Budgeted,
    /// The one with statements.
    Statements,
}

/// Where a customer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The business wants the link; the service has not answered yet that it has it.
    Coming,
    /// Linked, and the consent is in force.
    Here,
    /// The customer took the consent back at the bank, or its time is over; the service need not know yet.
    Ended,
    /// The business wants the link to end; the service has not answered yet.
    Leaving,
    /// Erased.
    Gone,
}

/// A customer.
#[derive(Debug, Clone)]
pub struct Customer {
    /// From 0.
    pub number: usize,
    /// Of which bank.
    pub institution: &'static str,
    /// At the bank.
    pub bank: BankCustomer,
    /// How they come in at the bank with statements; the others take tokens.
    pub login: Option<Login>,
    /// What they agreed to last.
    pub consent: Granted,
    /// Where they stand.
    pub stage: Stage,
    /// The link, once the service has answered.
    pub connection: Option<String>,
    /// The service's account ids by the bank's, once it has listed them.
    pub accounts: BTreeMap<String, String>,
    /// From this number on the bank must get no request for their accounts.
    pub silent_from: Option<u64>,
}

impl Customer {
    /// The business's name for them.
    pub fn reference(&self) -> String {
        format!("customer-{}", self.number)
    }

    /// What the business hands in.
    fn handed_in(&self) -> Value {
        let tokens = json!({
            "refresh-token": self.consent.refresh_token,
            "consent-id": self.consent.consent_id,
        });
        let login = |login: &Login| json!({ "username": login.user, "password": login.password });
        json!({
            "credentials": self.login.as_ref().map_or(tokens, login),
            "consent": {
                "granted_at": self.consent.granted_at,
                "expires_at": self.consent.expires_at,
                "scopes": self.consent.permissions,
                "how": "handed in",
                "reference": self.consent.consent_id,
            },
        })
    }

    /// Has the consent's own time passed?
    pub fn time_is_over(&self, now: DateTime<Utc>) -> bool {
        self.consent.expires_at.is_some_and(|end| end <= now)
    }
}

/// All who take part.
pub struct Scene {
    /// The truth.
    pub bank: Bank,
    /// The business's receivers; the first stands behind a relay.
    pub receivers: Vec<Sink>,
    /// The processes' APIs, with the business's key.
    pub apis: Vec<Api>,
    customers: Mutex<Vec<Customer>>,
}

impl Scene {
    /// Nobody is linked yet.
    pub fn new(bank: Bank, receivers: Vec<Sink>, apis: Vec<Api>) -> Self {
        Self { bank, receivers, apis, customers: Mutex::default() }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Customer>> {
        self.customers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The customers as they stand now.
    pub fn customers(&self) -> Vec<Customer> {
        self.locked().clone()
    }

    /// Those of a stage.
    pub fn those(&self, stage: Stage) -> Vec<Customer> {
        self.locked().iter().filter(|customer| customer.stage == stage).cloned().collect()
    }

    /// Changes what is known of one.
    pub fn change(&self, number: usize, change: impl FnOnce(&mut Customer)) {
        if let Some(customer) = self.locked().get_mut(number) {
            change(customer);
        }
    }

    /// A customer comes to a bank and agrees, for a short time only if `briefly`; their number.
    pub fn come(&self, to: To, briefly: bool) -> anyhow::Result<usize> {
        let number = self.locked().len();
        let bank = BANKS.get(number % BANKS.len()).copied().unwrap_or(BUDGETED);
        let institution = match to {
            To::Any => bank,
            To::Budgeted => BUDGETED,
            To::Statements => STATEMENTS,
        };
        let new = NewCustomer::with_two_accounts(&format!("Customer {number}"), HISTORY_DAYS);
        let customer = self.bank.create_customer(&new)?;
        let login = (to == To::Statements).then(|| self.bank.login(&customer.id)).transpose()?;
        let long = Duration::from_secs(u64::try_from(CONSENT_DAYS).unwrap_or(1) * 24 * 3600);
        let consent = self.bank.grant(&customer.id, Some(if briefly { SHORT_CONSENT } else { long }))?;
        self.locked().push(Customer {
            number,
            institution,
            bank: customer,
            login,
            consent,
            stage: Stage::Coming,
            connection: None,
            accounts: BTreeMap::new(),
            silent_from: None,
        });
        Ok(number)
    }

    /// Calls one of the processes; none if it did not answer.
    pub async fn call(
        &self,
        random: &mut Random,
        method: reqwest::Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Option<Answer> {
        let api = self.apis.get(random.place(self.apis.len()))?;
        tokio::time::timeout(CALL, api.send(method, path, headers, body)).await.ok()?.ok()
    }

    /// The same, to read.
    pub async fn get(&self, random: &mut Random, path: &str) -> Option<Answer> {
        self.call(random, reqwest::Method::GET, path, &[], None).await.filter(|answer| answer.status == 200)
    }

    /// Tries to link a customer who comes: again and again the same request, until the service has answered.
    pub async fn link(&self, random: &mut Random, customer: &Customer) {
        let mut request = customer.handed_in();
        request["institution_id"] = json!(customer.institution);
        request["customer_ref"] = json!(customer.reference());
        let key = format!("link-{}", customer.number);
        let key = [("idempotency-key", key.as_str())];
        let answer = self.call(random, reqwest::Method::POST, "/v1/connections", &key, Some(&request)).await;
        if let Some(answer) = answer.filter(|answer| answer.status == 201) {
            self.change(customer.number, |customer| {
                customer.connection = Some(answer.text("/id").to_owned());
                customer.stage = Stage::Here;
            });
        }
    }

    /// Tries to end a link; `Gone` once the service has answered that all is erased.
    pub async fn leave(&self, random: &mut Random, customer: &Customer) {
        let Some(connection) = &customer.connection else { return };
        let path = format!("/v1/connections/{connection}");
        let answer = self.call(random, reqwest::Method::DELETE, &path, &[], None).await;
        if answer.is_some_and(|answer| answer.status == 204) {
            self.gone(customer.number);
        }
    }

    /// All of a customer is erased: nothing may be asked for them any more.
    pub fn gone(&self, number: usize) {
        let next = self.bank.next_number();
        self.change(number, |customer| {
            customer.stage = Stage::Gone;
            customer.silent_from = Some(next);
        });
    }

    /// The customer agrees once more, and the business hands that in; true once the service has taken it.
    pub async fn come_again(&self, random: &mut Random, customer: &Customer) -> anyhow::Result<bool> {
        let Some(connection) = &customer.connection else { return Ok(false) };
        let lasts = Duration::from_secs(u64::try_from(CONSENT_DAYS).unwrap_or(1) * 24 * 3600);
        let consent = self.bank.grant(&customer.bank.id, Some(lasts))?;
        let customer = Customer { consent: consent.clone(), ..customer.clone() };
        let path = format!("/v1/connections/{connection}/reauthorise");
        let body = customer.handed_in();
        let answer = self.call(random, reqwest::Method::POST, &path, &[], Some(&body)).await;
        let taken = answer.is_some_and(|answer| answer.status == 200);
        if taken {
            self.change(customer.number, |customer| customer.consent = consent);
        }
        Ok(taken)
    }

    /// A customer takes the consent back at the bank.
    pub fn take_back(&self, customer: &Customer) -> anyhow::Result<()> {
        self.bank.revoke_consent(&customer.consent.consent_id)?;
        self.change(customer.number, |customer| customer.stage = Stage::Ended);
        Ok(())
    }

    /// Those whose consents have run out by now are past it.
    pub fn let_time_pass(&self) {
        let now = Utc::now();
        for customer in self.locked().iter_mut().filter(|customer| customer.stage == Stage::Here) {
            if customer.time_is_over(now) {
                customer.stage = Stage::Ended;
            }
        }
    }
}
