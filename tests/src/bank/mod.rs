//! The demo bank: an HTTP server with its own clock and a double-entry ledger, from which every
//! answer is computed. It speaks UK Open Banking 3.1.11 (consents, account information) and OAuth 2.0
//! (the customer's say on a page, tokens), if wanted over mutual TLS, has more front doors (`doors`), and
//! misbehaves on request.
//!
//! Must not know: the service, its code, its database. It is the oracle that the service is
//! compared with.
//!
//! In a test, hold a [`Bank`]. From outside, everything that [`Bank`] does can be asked for under
//! `/control` (see `control.rs`). The same seed and the same calls give the same bank.
//!
//! Read in this order: `ledger` (money), `books` (entries), `statement` (the oracle), `consent` and
//! `access` (consents and tokens), `clients`, `jws`, `client_auth`, `tls` (who asks), `service`,
//! `pages`, `consents`, `authorise`, `token` (HTTP; their headers are the manual of the wire), `rows`
//! and `transaction_rows` (JSON), `fault`, `log`, `control`, `uk`; `scenario`; `doors`.

mod access;
#[cfg(test)]
mod access_tests;
mod authorise;
mod authorise_page;
mod books;
mod client_auth;
mod clients;
mod clock;
mod config;
mod consent;
mod consents;
mod control;
mod doors;
mod entry;
mod fault;
#[cfg(test)]
mod fault_tests;
mod history;
mod jws;
mod ledger;
mod log;
mod money;
mod pages;
mod random;
mod rows;
mod scenario;
mod service;
mod spoil;
mod statement;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod token;
mod transaction_rows;
mod uk;
#[cfg(test)]
mod uk_business;
#[cfg(test)]
mod uk_consent_tests;
#[cfg(test)]
mod uk_tests;

pub use access::{Customer, FIRST_PASSCODE, Granted};
pub use clients::{Client, ClientAuthentication, NewClient};
pub use clock::ClockStart;
pub use config::{BankConfig, NewAccount, NewCustomer};
pub use consent::{ConsentStatus, PERMISSIONS};
pub use doors::Login;
pub use entry::{BankError, Correction, EntryKind, NewEntry};
pub use fault::{Fault, Hold, PathKind, RetryAfter, Target};
pub use ledger::{Ledger, LedgerError};
pub use log::LoggedRequest;
pub use scenario::{Act, Play, Scenario, TrueRow, UnknownScenario};
pub use statement::{BankChange, BankChangeKind, Row, RowStatus, Statement};
pub use uk::Decision;

use crate::waiting::{TimedOut, wait};
use crate::wire::Door;
use access::Access;
use authorise::Authorisations;
use books::Books;
use chrono::{DateTime, Days, Utc};
use clients::{Clients, Registered};
use clock::BankClock;
use fault::Faults;
use log::Log;
use random::Random;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Where the API lies below the origin, as in the specification's `servers`.
pub const API_PATH: &str = "/open-banking/v3.1/aisp";

struct State {
    books: Books,
    access: Access,
    faults: Faults,
    log: Log,
    random: Random,
    doors: doors::Doors,
    clients: Clients,
    authorisations: Authorisations,
}

struct Shared {
    config: BankConfig,
    origin: String,
    /// Of the second listener.
    tls_origin: Option<String>,
    authorities: Option<tls::Authorities>,
    clock: BankClock,
    state: Mutex<State>,
    /// Sends after every request, answer, and arrival at a gate.
    changed: watch::Sender<()>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the bank can be reached.
    fn origins(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.origin).chain(&self.tls_origin)
    }
}

/// A running bank. Clones are the same bank; it stops when the last one is dropped.
#[derive(Clone)]
pub struct Bank {
    shared: Arc<Shared>,
    /// None in the bank's own remote control, which must not keep the server alive.
    _server: Option<Arc<Server>>,
}

struct Server(Vec<tokio::task::AbortHandle>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

// ---- the server
impl Bank {
    /// Starts serving on the current tokio runtime.
    pub async fn start(config: BankConfig) -> std::io::Result<Self> {
        let door = Door::bind(config.listen).await?;
        let authorities = if config.mutual_tls { Some(tls::Authorities::new()) } else { None };
        let authorities = authorities.transpose().map_err(std::io::Error::other)?;
        let tls_door = match &authorities {
            Some(known) => Some(tls::TlsDoor::new(Door::bind((config.listen.ip(), 0).into()).await?, known)?),
            None => None,
        };
        let mut clients = Clients::default();
        let first = Registered {
            secret: Some(config.client_secret.clone()),
            key: None,
            certificate: None,
            redirect_uris: Vec::new(),
        };
        // It is the first, so its id is free.
        let _ = clients.add(&config.client_id, first);
        let state = State {
            books: Books::new(config.seed),
            access: Access::new(config.seed),
            faults: Faults::default(),
            log: Log::default(),
            random: Random::new(config.seed),
            doors: doors::Doors::new(config.seed),
            clients,
            authorisations: Authorisations::default(),
        };
        let shared = Arc::new(Shared {
            origin: format!("http://{}", door.address()?),
            tls_origin: tls_door.as_ref().map(|door| format!("https://{}", door.address())),
            authorities,
            clock: BankClock::new(config.clock),
            config,
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
        });
        let remote = Self { shared: shared.clone(), _server: None };
        let routes = service::routes(&shared).merge(control::routes(remote.clone()));
        let routes = routes.merge(doors::routes(&shared)).merge(doors::control_routes(remote));
        let service = routes.into_make_service_with_connect_info::<crate::wire::Cutter>();
        let serving = tokio::spawn(async move { axum::serve(door, service).await });
        let mut server = Server(vec![serving.abort_handle()]);
        if let Some(door) = tls_door {
            let routes = service::routes_over_tls(&shared);
            let service = routes.into_make_service_with_connect_info::<tls::Shaken>();
            let serving = tokio::spawn(async move { axum::serve(door, service).await });
            server.0.push(serving.abort_handle());
        }
        Ok(Self { shared, _server: Some(Arc::new(server)) })
    }

    /// `http://127.0.0.1:PORT`; the token endpoint is `/token` below it.
    pub fn auth_origin(&self) -> String {
        self.shared.origin.clone()
    }
    /// The origin and [`API_PATH`].
    pub fn api_origin(&self) -> String {
        format!("{}{API_PATH}", self.shared.origin)
    }
    /// How it was set up.
    pub fn config(&self) -> &BankConfig {
        &self.shared.config
    }
    /// By the bank's clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.shared.clock.now()
    }
    /// Moves the bank's clock forward.
    pub fn advance(&self, span: Duration) {
        self.shared.clock.advance(span);
    }
}

// ---- customers and consents
impl Bank {
    /// A new customer with accounts and their histories.
    pub fn create_customer(&self, new: &NewCustomer) -> Result<Customer, BankError> {
        let id = self.shared.state().access.create_customer(&new.name);
        self.shared.state().doors.logins.add(&id);
        for account in &new.accounts {
            self.open_account(&id, account)?;
        }
        self.customer(&id)
    }

    /// One more account; its id. Consents given before don't cover it.
    pub fn open_account(&self, customer: &str, new: &NewAccount) -> Result<String, BankError> {
        let now = self.now();
        let since = now.checked_sub_days(Days::new(u64::from(new.history_days))).unwrap_or(now);
        let State { books, access, random, .. } = &mut *self.shared.state();
        let owner = access.customer(customer)?.name.clone();
        let account = books.open_account(since, &owner, &new.nickname, &new.currency, new.savings);
        access.add_account(customer, &account)?;
        if new.history_days > 0 {
            let mut random = Random::new(random.next());
            for entry in history::history(&mut random, new.savings, &new.currency, since.date_naive(), now) {
                books.add(&account, now, entry, RowStatus::Booked)?;
            }
        }
        Ok(account)
    }

    /// The customer gives an account up: consents given from now on don't cover it.
    pub fn close_account(&self, customer: &str, account: &str) -> Result<(), BankError> {
        let access = &mut self.shared.state().access;
        let mut left = access.customer(customer)?.accounts.clone();
        left.retain(|id| id != account);
        access.set_accounts(customer, left)
    }

    /// All accounts of a customer get other ids, as some banks do with every consent; the customer with
    /// the new ones, in the same order. Consents given before cover none of them.
    pub fn rename_accounts(&self, customer: &str) -> Result<Customer, BankError> {
        let State { books, access, .. } = &mut *self.shared.state();
        let old = access.customer(customer)?.accounts.clone();
        let new = old.iter().map(|id| books.rename_account(id)).collect::<Result<_, _>>()?;
        access.set_accounts(customer, new)?;
        access.customer(customer).cloned()
    }

    /// What the business gets when the customer agreed on the bank's page: a consent for all their
    /// accounts and a refresh token.
    pub fn grant(&self, customer: &str, lasts: Option<Duration>) -> Result<Granted, BankError> {
        self.grant_to(&self.shared.config.client_id, customer, lasts)
    }
    /// The customer takes the consent back.
    pub fn revoke_consent(&self, consent: &str) -> Result<(), BankError> {
        self.shared.state().access.revoke(consent)
    }
    /// The consent's time is over now.
    pub fn expire_consent(&self, consent: &str) -> Result<(), BankError> {
        self.shared.state().access.expire(consent, self.now())
    }
    /// All access tokens run out now; refresh tokens stay good.
    pub fn expire_access_tokens(&self) {
        self.shared.state().access.expire_access_tokens(self.now());
    }
}

// ---- entries
impl Bank {
    /// Books an entry.
    pub fn book(&self, account: &str, new: NewEntry) -> Result<Row, BankError> {
        self.shared.state().books.add(account, self.now(), new, RowStatus::Booked)
    }
    /// A card payment is authorised: listed as pending and off the available balance, not posted.
    pub fn authorise(&self, account: &str, new: NewEntry) -> Result<Row, BankError> {
        self.shared.state().books.add(account, self.now(), new, RowStatus::Pending)
    }
    /// A pending entry becomes a booked one, with another id and, if given, another amount (a tip).
    pub fn settle(&self, account: &str, entry: &str, amount: Option<&str>) -> Result<Row, BankError> {
        self.shared.state().books.settle(account, entry, self.now(), amount)
    }
    /// The same id, another text or amount.
    pub fn correct(&self, account: &str, entry: &str, correction: Correction) -> Result<Row, BankError> {
        self.shared.state().books.correct(account, entry, self.now(), correction)
    }
    /// From now on balances count an agreed overdraft in, or no more. The UK door says how much it is, the
    /// signed one that it does, the others count nothing in.
    pub fn count_credit(&self, account: &str, amount: Option<&str>) -> Result<(), BankError> {
        self.shared.state().books.count_credit(account, amount)
    }
    /// Reversed, and no longer listed; the row as it was.
    pub fn remove(&self, account: &str, entry: &str) -> Result<Row, BankError> {
        self.shared.state().books.remove(account, entry, self.now())
    }
    /// A pending entry that never settles is no longer listed; the row as it was.
    pub fn expire(&self, account: &str, entry: &str) -> Result<Row, BankError> {
        self.shared.state().books.expire(account, entry, self.now())
    }
    /// Two entries that differ in nothing but their id.
    pub fn book_twins(&self, account: &str, new: &NewEntry) -> Result<[Row; 2], BankError> {
        let now = self.now();
        let same = NewEntry { booked_at: new.booked_at.or(Some(now)), ..new.clone() };
        let books = &mut self.shared.state().books;
        let mut twin = || books.add(account, now, same.clone(), RowStatus::Booked);
        Ok([twin()?, twin()?])
    }
}

// ---- the oracle
impl Bank {
    /// All that is listed of an account now, and its balances.
    pub fn statement(&self, account: &str) -> Result<Statement, BankError> {
        self.shared.state().books.statement(account)
    }
    /// A place in the list of changes: now.
    pub fn mark(&self) -> usize {
        self.shared.state().books.changes().len()
    }
    /// What was done to entries since the mark, histories included, in order.
    pub fn changes_since(&self, mark: usize) -> Vec<BankChange> {
        self.shared.state().books.changes().iter().skip(mark).cloned().collect()
    }
    /// A copy of the ledger, to audit.
    pub fn ledger(&self) -> Ledger {
        self.shared.state().books.ledger.clone()
    }
}

// ---- faults and waiting
impl Bank {
    /// The next `times` requests that are meant meet this fault. Faults wait in line: each request
    /// takes the oldest that is meant for it.
    pub fn fault(&self, target: impl Into<Target>, fault: Fault, times: u32) {
        self.shared.state().faults.add(target.into(), fault, times);
    }
    /// Forgets faults that were not met.
    pub fn clear_faults(&self) {
        self.shared.state().faults.clear();
    }
    /// How many requests will still meet a fault.
    pub fn faults_left(&self) -> u32 {
        self.shared.state().faults.left()
    }
    /// Requests that are meant wait from now on until [`Bank::release`].
    pub fn hold(&self, target: impl Into<Target>, hold: Hold) {
        self.shared.state().faults.hold(target.into(), hold);
    }
    /// Lets all held requests go on; how many there were (also those whose caller gave up).
    pub fn release(&self) -> usize {
        self.shared.state().faults.release()
    }
    /// Returns when `count` requests are being held.
    pub async fn wait_held(&self, count: usize, timeout: Duration) -> Result<(), TimedOut> {
        let enough = || (self.held() >= count).then_some(());
        wait(&self.shared.changed, timeout, enough, || format!("{count} held requests, saw {}", self.held()))
            .await
    }
    /// How many requests came to the gates that are closed now.
    pub fn held(&self) -> usize {
        self.shared.state().faults.held()
    }
    /// All requests from this number on, oldest first (of the newest 100,000).
    pub fn requests_since(&self, number: u64) -> Vec<LoggedRequest> {
        self.shared.state().log.since(number)
    }
    /// All requests, oldest first (the newest 100,000).
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.requests_since(0)
    }
    /// How many of the logged requests are meant.
    pub fn request_count(&self, target: impl Into<Target>) -> usize {
        self.shared.state().log.count(&target.into())
    }
    /// Returns when at least `count` requests that are meant have arrived since the start.
    pub async fn wait_requests(
        &self,
        target: impl Into<Target>,
        count: usize,
        timeout: Duration,
    ) -> Result<(), TimedOut> {
        let target = target.into();
        let seen = || self.shared.state().log.count(&target);
        let enough = || (seen() >= count).then_some(());
        let what = || format!("{count} requests of {target:?}, saw {}", seen());
        wait(&self.shared.changed, timeout, enough, what).await
    }
}
