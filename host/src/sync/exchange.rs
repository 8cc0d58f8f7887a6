//! Between two steps: what the connector asked for is sent, what came back is kept.

use super::{Halt, Run};
use crate::app::App;
use crate::egress::{Call, CookieJar, Egress, EgressError};
use crate::model::*;
use crate::sandbox::Fault;
use crate::store::StoreError;
use crate::vault;
use aws_lc_rs::rand;
use std::collections::BTreeMap;
use std::time::Duration;
use tracing::Instrument;

/// Waiting that a connector may ask for, in milliseconds per sync: one minute, as the contract says.
const WAIT_MS_MAX: u32 = 60_000;
/// The names under which the cookie jar and the number of the last numbered request are kept; no connector
/// can declare them.
const COOKIES: &str = "@cookies";
const COUNTER: &str = "@counter";
/// How soon a database that failed is tried again: a restart takes a second or two.
const STORE_AGAIN: Duration = Duration::from_millis(250);

impl Run<'_> {
    /// The values are the connection's.
    pub(super) fn take_up_credentials(&mut self, credentials: Vec<Credential>) {
        for credential in credentials {
            self.take_up(&credential.name, &credential.value);
            self.credentials.insert(credential.name.clone(), credential);
        }
        self.take_registration();
    }

    /// From now on the values are an authorisation's, and so is what replies give.
    pub(super) fn belong_to(&mut self, id: AuthorisationId, own: BTreeMap<String, Secret>) {
        (self.values, self.jar, self.counter) = (BTreeMap::new(), CookieJar::default(), 0);
        for (name, value) in &own {
            self.take_up(name, value);
        }
        self.take_registration();
        self.own = Some((id, own));
    }

    /// A redirect that the customer has come back from had its own state and verifier: the next one has fresh ones.
    pub(super) fn ready_to_redirect(&mut self) -> Result<(), StoreError> {
        if self.values.contains_key(REDIRECT_STATE) {
            return Ok(());
        }
        for name in [REDIRECT_STATE, PKCE_VERIFIER] {
            let value = vault::random_token()?;
            self.values.insert(name.to_owned(), value.clone());
            if let Some((_, own)) = &mut self.own {
                own.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    /// The values of the authorisation.
    pub(super) fn own_values(&self) -> BTreeMap<String, Secret> {
        self.own.as_ref().map(|(_, own)| own.clone()).unwrap_or_default()
    }

    fn take_up(&mut self, name: &str, value: &Secret) {
        match name {
            COOKIES => self.jar = serde_json::from_str::<CookieJar>(value.reveal()).unwrap_or_default(),
            COUNTER => self.counter = value.reveal().parse().unwrap_or(0),
            _ => drop(self.values.insert(name.to_owned(), value.clone())),
        }
    }

    fn take_registration(&mut self) {
        for (name, value) in self.registration.iter().flat_map(|registration| &registration.values) {
            self.values.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }

    /// A session begins: its requests are numbered from 1.
    pub(super) fn reset_counter(&mut self) {
        self.counter = 0;
    }

    /// Where the connector sends the customer's browser.
    pub(super) fn browser_url(&self, redirect: &Redirect) -> Result<String, Halt> {
        let call = self.call(&[Purpose::Customer]);
        self.app.egress.browser_url(&call, redirect).map_err(|error| self.not_sent(error))
    }

    fn call<'a>(&'a self, purposes: &'a [Purpose]) -> Call<'a> {
        Call {
            institution: &self.connection.institution,
            registration: self.registration.as_ref(),
            manifest: self.connector.manifest(),
            routes: &self.bank.routes,
            purposes,
            values: &self.values,
            counter: self.counter,
            repeats: true,
            way: &self.bank.institution.egress,
            // A run that has begun goes on, at the slowest.
            requests_per_minute: (self.bank.institution.limits.requests_per_minute)
                .map(|limit| self.app.crew.part(&self.bank.institution.id, limit).max(1)),
            deadline: &self.deadline,
        }
    }

    /// The customer is at a screen (or not any more): their address may be passed on.
    pub(super) fn customer(&mut self, present: Option<CustomerPresent>) {
        for name in [CUSTOMER_IP, CUSTOMER_USER_AGENT] {
            self.values.remove(name);
        }
        if let Some(present) = &present {
            self.values.insert(CUSTOMER_IP.into(), Secret::new(present.ip.to_string()));
            if let Some(agent) = &present.user_agent {
                self.values.insert(CUSTOMER_USER_AGENT.into(), Secret::new(agent.clone()));
            }
        }
        self.present = present;
    }

    /// What the connector is told with the next call.
    pub(super) fn context(&self) -> Result<Context, Halt> {
        let mut seed = [0; 32];
        rand::fill(&mut seed)
            .map_err(|_| Failure::NotConfigured("the system gives no random bytes".into()))?;
        let manifest = self.connector.manifest();
        let credentials = self
            .values
            .iter()
            .filter(|(name, _)| manifest.value(name).is_some())
            .map(|(name, value)| CredentialInfo {
                name: name.clone(),
                bytes: u32::try_from(value.reveal().len()).unwrap_or(u32::MAX),
                expires_at: self.credentials.get(name).and_then(|known| known.expires_at),
            })
            .collect();
        Ok(Context {
            now: self.app.clock.now(),
            seed,
            profile: self.bank.institution.for_connector(),
            credentials,
            consent: self
                .consent
                .as_ref()
                .map(|consent| (consent.granted_at, consent.expires_at, consent.scopes.clone())),
            customer_present: self.present.is_some(),
            state: self.connection.session_state.clone(),
        })
    }

    /// Counts a step; a connector that asks for ever is stopped here.
    pub(super) fn count_step(&mut self) -> Result<(), Halt> {
        self.steps += 1;
        let max = self.connector.limits().steps_per_sync;
        if self.steps > max {
            return Err(self.broken(format!("more than {max} steps in one sync")));
        }
        Ok(())
    }

    /// A rule of the contract was broken.
    pub(super) fn broken(&self, rule: String) -> Halt {
        Failure::ConnectorFault(format!("connector {}: {rule}", self.connector.label())).into()
    }

    /// A step gave no usable answer; a version that does so too often is no longer run.
    pub(super) async fn fault(&self, fault: Fault) -> Halt {
        if fault.quarantine {
            self.app.quarantine(&self.connector, &fault.rule).await;
        }
        Failure::ConnectorFault(fault.to_string()).into()
    }

    /// Sends the requests of a step in their order; the memory to come back with, and the replies.
    pub(super) async fn exchange(
        &mut self,
        send: Send,
        purposes: &[Purpose],
    ) -> Result<(String, Vec<Reply>), Halt> {
        self.no_secret_in(&send.memory)?;
        let mut replies = Vec::with_capacity(send.requests.len());
        for request in &send.requests {
            self.count_wait(request.after_ms)?;
            let is_login = self.guard_password(request).await?;
            self.number(request).await?;
            self.asked_at.get_or_insert(self.app.clock.now());
            let before = serde_json::to_string(&self.jar).unwrap_or_default();
            let mut jar = std::mem::take(&mut self.jar);
            let call = Call { repeats: !is_login && !self.counts_readings(), ..self.call(purposes) };
            let span = tracing::debug_span!(
                target: "tidegate", "exchange", institution = call.institution, status = tracing::field::Empty
            );
            let sent = self.app.egress.send(&call, request, &mut jar).instrument(span.clone()).await;
            if let Ok(exchange) = &sent {
                span.record("status", exchange.reply.status);
            }
            self.jar = jar;
            if is_login {
                self.password_sent(&sent);
            }
            self.answered_at = Some(self.app.clock.now());
            let exchange = sent.map_err(|error| self.not_sent(error))?;
            let mut captured = exchange.captured;
            let after = serde_json::to_string(&self.jar).unwrap_or_default();
            if after != before {
                captured.push((COOKIES.to_owned(), Secret::new(after)));
            }
            self.keep(captured).await?;
            replies.push(exchange.reply);
        }
        Ok((send.memory, replies))
    }

    /// Text that a connector hands out must hold no secret.
    pub(super) fn no_secret_in(&self, text: &str) -> Result<(), Halt> {
        match Egress::find_secret(&self.values, self.connector.manifest(), text.as_bytes()) {
            Some(_) => Err(Failure::SecretEchoed.into()),
            None => Ok(()),
        }
    }

    /// Counts the waiting that a request asks for; `egress` is where it waits, within the lease.
    fn count_wait(&mut self, after_ms: u32) -> Result<(), Halt> {
        self.waited_ms = self.waited_ms.saturating_add(after_ms);
        if self.waited_ms > WAIT_MS_MAX {
            return Err(self.broken(format!("requests ask to wait longer than {WAIT_MS_MAX} ms in one sync")));
        }
        Ok(())
    }

    /// Counts a request that names its number. The count is stored first: a number is never used twice.
    async fn number(&mut self, request: &Request) -> Result<(), Halt> {
        if request.derived.iter().all(|derived| derived.how != Operation::Counter) {
            return Ok(());
        }
        self.counter += 1;
        self.keep(vec![(COUNTER.to_owned(), Secret::new(self.counter.to_string()))]).await
    }

    /// Commits what a reply gave before any other request of this connection leaves. It is given once: as long as the
    /// lease lasts, a database that is away or full is tried again.
    async fn keep(&mut self, captured: Vec<(String, Secret)>) -> Result<(), Halt> {
        if captured.is_empty() {
            return Ok(());
        }
        if let Some((id, own)) = &mut self.own {
            own.extend(captured.iter().cloned());
            let progress = Progress { memory: String::new(), values: own.clone() };
            while let Err(error) = self.app.store.save_progress(self.lease, *id, &progress).await {
                before_another_try(self.app, self.lease, error).await?;
            }
            captured.iter().for_each(|(name, value)| self.take_up(name, value));
            return Ok(());
        }
        let captures: Vec<_> = captured
            .into_iter()
            .map(|(name, value)| {
                let version = self.credentials.get(&name).map_or(0, |known| known.version);
                (NewCredential { name, value, expires_at: None }, version)
            })
            .collect();
        let versions = loop {
            match self.app.store.save_captures(self.lease, &captures, self.app.clock.now()).await {
                Ok(versions) => break versions,
                Err(error) => before_another_try(self.app, self.lease, error).await?,
            }
        };
        for ((new, _), version) in captures.into_iter().zip(versions) {
            let NewCredential { name, value, expires_at } = new;
            self.take_up(&name, &value);
            self.credentials.insert(name.clone(), Credential { name, version, value, expires_at });
        }
        Ok(())
    }

    /// Whose fault it is that a request did not leave, or that its reply cannot be used.
    fn not_sent(&self, error: EgressError) -> Halt {
        match error {
            EgressError::Refused(rule) | EgressError::BlockedAddress(rule) => self.broken(rule),
            EgressError::SecretEchoed(_) => Failure::SecretEchoed.into(),
            EgressError::ReplyTooLarge(_) => {
                Failure::Unreadable { row: None, field: "reply-too-large".into() }.into()
            }
            EgressError::BadReply(_) => Failure::Unreadable { row: None, field: "reply".into() }.into(),
            EgressError::Unreachable { code, .. } => Failure::Unreachable(code.to_owned()).into(),
            EgressError::LineTooLong { wait } => {
                let retry_after_s = u32::try_from(wait.as_secs().max(1)).ok();
                Failure::RateLimited { retry_after_s, scope: LimitScope::Connection }.into()
            }
            EgressError::DeadlinePassed => StoreError::LeaseLost.into(),
        }
    }
}

/// Waits a moment, if the error is the database's and the lease lasts; gives it back otherwise.
async fn before_another_try(app: &App, lease: &Lease, error: StoreError) -> Result<(), StoreError> {
    if !matches!(error, StoreError::Database(_)) || app.clock.now().plus(STORE_AGAIN) >= lease.until {
        return Err(error);
    }
    tracing::warn!(connection = %lease.connection, %error, "what the bank gave could not be stored; trying again");
    app.clock.sleep(STORE_AGAIN).await;
    Ok(())
}
