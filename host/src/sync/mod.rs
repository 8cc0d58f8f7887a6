//! The story of one sync: open the session, ask, check, reconcile, commit, be due again.
//!
//! [`run`] is the one function that has the order of things. Must not know: wasm, SQL, HTTP, routes
//! of the API. No database transaction is open while a bank is asked.

mod account;
mod authorise;
mod breaker;
mod budget;
mod close;
mod consent;
mod exchange;
mod health;
mod history;
mod lanes;
mod outcome;
mod password;
mod read;
pub mod schedule;
mod session;
mod stale;
mod together;
mod window;
mod worker;

pub use authorise::end_overdue_authorisations;
pub use close::end_overdue;
pub use consent::tend_consents;
pub use health::Health;
pub use stale::tell_stale;
pub use worker::work;

use crate::app::{App, Bank};
use crate::clock::Deadline;
use crate::egress::CookieJar;
use crate::model::*;
use crate::sandbox::Connector;
use crate::store::{Opened, StoreError};
use password::Password;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// Why a run goes no further.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The bank, the connector or the configuration: the story has an end for each of them.
    Failure(Failure),
    /// The database: nothing is recorded, the lease runs out, and the connection is due again.
    Store(StoreError),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}
impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Everything one run knows, opened once.
pub(crate) struct Run<'a> {
    app: &'a App,
    lease: &'a Lease,
    /// After it nothing may be sent: another process may hold the connection.
    deadline: Deadline,
    started_at: Timestamp,
    connection: Connection,
    /// The bank took the connection's credentials before this run.
    was_let_in: bool,
    bank: Arc<Bank>,
    connector: Arc<Connector>,
    registration: Option<Registration>,
    consent: Option<Consent>,
    credentials: BTreeMap<String, Credential>,
    /// Its accounts as the run found them; good until it has asked the bank for something.
    accounts: Vec<(Account, AccountHead)>,
    /// What requests may name: credentials, registration values, the customer's address.
    values: BTreeMap<String, Secret>,
    /// The authorisation that captures belong to, and its values; none while the connection is synced.
    own: Option<(AuthorisationId, BTreeMap<String, Secret>)>,
    jar: CookieJar,
    /// How many requests of this session were numbered.
    counter: u64,
    present: Option<CustomerPresent>,
    /// The customer has filled in a form, and this turn of the authorisation says what the bank makes of it.
    answers: bool,
    password: Password,
    /// Readings without the customer that are still allowed, where the bank counts them.
    reads: Reads,
    /// What this run says of its bank.
    said: Option<breaker::Said>,
    steps: u32,
    waited_ms: u32,
    /// When the first request of the account being read left, and when its last answer was read.
    asked_at: Option<Timestamp>,
    answered_at: Option<Timestamp>,
}

/// What is being read, and how often that may be done.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// The accounts that one reading is of.
    of: Vec<AccountId>,
    /// Of the first of them: made today, and how many may be.
    made: u32,
    most: u32,
}

impl Run<'_> {
    /// The customer's consent has ended: nothing may be asked any more.
    fn consent_is_over(&self) -> bool {
        self.consent.as_ref().is_some_and(|consent| consent.is_over(self.app.clock.now()))
    }
}

/// How soon a connection looks again whose customer has a session at the bank through another one.
const TURN_AGAIN: Duration = Duration::from_secs(2);

/// Brings one connection's due accounts up to date, and leaves behind what the business must be told.
/// A connection whose customer leaves is closed at the bank instead; one whose customer is on the way in
/// is authorised first. Where the bank lets a customer have one session at a time, it is done when it is the
/// connection's turn.
///
/// An error means that nothing more could be written: the lease runs out and the connection is
/// claimed again.
pub(crate) async fn run(app: &App, lease: &Lease, opened: Opened) -> Result<(), StoreError> {
    let span = tracing::debug_span!(
        target: "tidegate", "sync", connection = %lease.connection, institution = lease.institution
    );
    run_in_turn(app, lease, opened).instrument(span).await
}

async fn run_in_turn(app: &App, lease: &Lease, opened: Opened) -> Result<(), StoreError> {
    let bank = app.institutions.get(&lease.institution);
    if !bank.is_some_and(|bank| bank.institution.limits.exclusive_session) {
        return run_now(app, lease, opened).await;
    }
    let now = app.clock.now();
    if !app.store.take_turn_of_customer(lease, now).await? {
        return app.store.release(lease, now.plus(TURN_AGAIN)).await;
    }
    let done = run_now(app, lease, opened).await;
    app.store.end_turn_of_customer(lease).await?;
    done
}

async fn run_now(app: &App, lease: &Lease, opened: Opened) -> Result<(), StoreError> {
    let mut run = match begin(app, lease, opened) {
        Ok(run) if run.connection.state == ConnectionState::Closing => return close::run(run).await,
        Ok(mut run) if run.attempt().is_some() => return authorise::run(&mut run).await,
        // Paused while another run had it, which died, or its customer has still to come: it only rests.
        Ok(run) if run.connection.state != ConnectionState::Active => {
            return outcome::complete(&run, None).await;
        }
        Ok(run) => run,
        Err(without) => {
            let (connection, failure) = *without;
            return match connection.state {
                ConnectionState::Closing => close::without_connector(app, lease, &connection, &failure).await,
                _ => outcome::without_connector(app, lease, &connection, failure).await,
            };
        }
    };
    if run.consent_is_over() {
        return outcome::all_accounts(&mut run, Failure::ConsentExpired).await;
    }
    let prepared = match session::ensure_open(&mut run).await {
        Ok(()) => account::list_if_needed(&mut run).await,
        Err(halt) => Err(halt),
    };
    match prepared {
        Ok(()) => {}
        Err(Halt::Failure(failure)) => return outcome::all_accounts(&mut run, failure).await,
        Err(Halt::Store(error)) => return Err(error),
    }
    if run.connector.manifest().read == ReadMode::Together {
        return together::sync(&mut run).await;
    }
    for (account, head) in account::due(&mut run).await? {
        if run.consent_is_over() {
            return outcome::all_accounts(&mut run, Failure::ConsentExpired).await;
        }
        match account::sync(&mut run, &account, head).await {
            // One account's failure is recorded there and does not block its sisters.
            Ok(None) => {}
            // This one is all of theirs.
            Ok(Some(settled)) => return outcome::sisters_failed(&mut run, &account, &settled).await,
            // Paused or switched off since the run began.
            Err(StoreError::Unwanted) => {}
            Err(error) => return Err(error),
        }
    }
    history::go_on(&mut run).await?;
    outcome::complete(&run, None).await
}

impl Run<'_> {
    /// The bank was asked for something: what was found before may have changed since.
    fn has_asked(&self) -> bool {
        self.steps > 0
    }

    /// The authorisation that is the connector's turn now.
    fn attempt(&self) -> Option<AuthorisationId> {
        let due = |(_, at): &(AuthorisationId, Timestamp)| *at <= self.app.clock.now();
        self.connection.attempt.filter(due).map(|(id, _)| id)
    }
}

/// A run with what it found. Without a connector there is none, but there is a connection to answer for.
fn begin<'a>(app: &'a App, lease: &'a Lease, opened: Opened) -> Result<Run<'a>, Box<(Connection, Failure)>> {
    let deadline = app.clock.deadline(app.config.lease);
    let Opened { connection, registration, consent, credentials, accounts } = opened;
    let (bank, connector) = match app.bank(&connection.institution) {
        Ok(ready) => ready,
        Err(sentence) => return Err(Box::new((connection, Failure::NotConfigured(sentence)))),
    };
    let mut run = Run {
        app,
        lease,
        deadline,
        started_at: app.clock.now(),
        was_let_in: connection.session_open || connection.accounts_listed,
        connection,
        bank,
        connector,
        registration,
        consent,
        credentials: BTreeMap::new(),
        accounts,
        values: BTreeMap::new(),
        own: None,
        jar: CookieJar::default(),
        counter: 0,
        present: None,
        answers: false,
        password: Password::Unused,
        reads: Reads::default(),
        said: None,
        steps: 0,
        waited_ms: 0,
        asked_at: None,
        answered_at: None,
    };
    // A sync sends nothing after the consent's end, in the middle of a reading either. A customer on the way
    // back gives a new one, and a bank may be told at any time that it is over.
    let syncs = run.connection.state != ConnectionState::Closing && run.attempt().is_none();
    if let (true, Some(end)) = (syncs, run.consent.as_ref().and_then(|consent| consent.expires_at)) {
        run.deadline = run.deadline.and_before(end.since(run.started_at));
    }
    run.take_up_credentials(credentials);
    Ok(run)
}
