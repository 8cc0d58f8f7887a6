//! A customer lets us in: the connector's `session` is asked step by step, and between its steps the
//! customer, who may take minutes and come back to another process.
//!
//! What is typed, captured and returned belongs to the authorisation until the session is ready, and
//! takes the place of the connection's credentials then, in one transaction. Until then what the
//! connection holds stays in force. Must not know: how a prompt is shown, SQL.

use super::{Halt, Run, outcome, schedule};
use crate::app::App;
use crate::model::*;
use crate::nudge::Bell;
use crate::store::StoreError;
use crate::vault;
use crate::webhook::payload;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a prompt stands if the connector does not say: an OTP lives about as long, and people who
/// left the page do not come back later.
const PROMPT_STANDS: Duration = Duration::from_secs(15 * 60);
/// Why a connection stopped whose bank wanted the customer, not new credentials.
const CUSTOMER_NEEDED: &str = "customer-needed";
/// A new connection that nobody authorised within this is erased: who comes back later begins anew.
const LINKING_MAX: Duration = Duration::from_secs(24 * 3600);
/// Why an authorisation failed whose process died, or lost its lease, while the bank was asked.
const INTERRUPTED: &str = "interrupted";
/// Why one failed with which nobody went on in time.
const EXPIRED: &str = "expired";
/// Login replies are read in `session` only.
const PURPOSES: &[Purpose] = &[Purpose::Login, Purpose::Read];

/// What the connector came to.
enum Came {
    /// The customer is needed.
    Asks(Prompt),
    /// The session is open.
    Ready { valid_until: Option<Timestamp>, state: Option<String>, consent: Option<ConsentAtBank> },
}

/// The connector's turn. Ends the run: what follows is another claim's.
pub(super) async fn run(run: &mut Run<'_>) -> Result<(), StoreError> {
    let app = run.app;
    let attempt = match run.attempt() {
        Some(id) => app.store.open_authorisation(run.lease, id).await?,
        None => None,
    };
    let Some(open) = attempt else {
        if let Some(id) = run.attempt() {
            app.store.drop_attempt(run.lease, id).await?; // given up meanwhile
        }
        return rest(run).await;
    };
    let id = open.authorisation.id;
    // What the bank said to the answer died with the process that sent it: it counts as refused.
    if open.answering {
        tracing::warn!(connection = %run.connection.id, authorisation = %id, "interrupted while the bank was asked");
        give_up(app, &open.authorisation, INTERRUPTED).await?;
        return rest(run).await;
    }
    if open.authorisation.expires_at <= app.clock.now() {
        fail(run, id, EXPIRED).await?;
        return rest(run).await;
    }
    let inherits = run.connection.reason.as_deref() == Some(CUSTOMER_NEEDED);
    begin(run, &open, inherits)?;
    let mut came = steps(run, &open.progress.memory).await;
    // What the connection held was no way in after all: the customer starts from nothing.
    if let (true, true, Err(Halt::Failure(Failure::ConsentExpired))) =
        (inherits, open.progress.memory.is_empty(), &came)
    {
        run.password_came_to(&Failure::ConsentExpired).await?;
        begin(run, &open, false)?;
        came = steps(run, "").await;
    }
    if came.is_ok() {
        run.answered();
    }
    match came {
        Ok(Came::Asks(prompt)) => {
            run.password_came_to(&Failure::CustomerNeeded).await?;
            ask(run, id, prompt).await?;
        }
        Ok(Came::Ready { valid_until, state, consent }) => {
            run.note_of_bank().await?;
            return ready(run, &open.authorisation, valid_until, state, consent).await;
        }
        Err(Halt::Failure(failure)) => settle(run, &open, failure).await?,
        Err(Halt::Store(error)) => return Err(error),
    }
    rest(run).await
}

/// The values of this authorisation, the host's own among them, and nothing of the connection's but what it
/// may begin with.
fn begin(run: &mut Run<'_>, open: &OpenAuthorisation, inherits: bool) -> Result<(), StoreError> {
    let mut own = open.progress.values.clone();
    if own.is_empty() && inherits {
        own.extend(run.credentials.iter().map(|(name, known)| (name.clone(), known.value.clone())));
    }
    let registered = run.registration.as_ref().and_then(|known| known.values.get(REDIRECT_URI)).cloned();
    let own_address = || Secret::new(format!("{}/v1/callback", run.app.config.public_url));
    own.insert(REDIRECT_URI.to_owned(), registered.unwrap_or_else(own_address));
    // A verifier stays for the whole of its redirect, also when the customer has come back.
    let begun = own.contains_key(PKCE_VERIFIER);
    run.belong_to(open.authorisation.id, own);
    run.customer(open.authorisation.wishes.customer.clone());
    let prompt = open.authorisation.prompt.as_ref();
    run.answers = prompt.is_some_and(|prompt| matches!(prompt.ask, StandingAsk::Form(_)));
    match begun {
        true => Ok(()),
        false => run.ready_to_redirect(),
    }
}

/// Asks the connector until the customer is needed or the session is ready.
async fn steps(run: &mut Run<'_>, memory: &str) -> Result<Came, Halt> {
    let (mut memory, mut replies) = (memory.to_owned(), Vec::new());
    if memory.is_empty() {
        run.reset_counter();
    }
    loop {
        run.count_step()?;
        let ask = run.context()?;
        let step = match run.connector.session(&ask, Goal::Open, memory, replies).await {
            Ok(step) => step,
            Err(fault) => return Err(run.fault(fault).await),
        };
        match step {
            SessionStep::Send(send) => (memory, replies) = run.exchange(send, PURPOSES).await?,
            SessionStep::AskCustomer(prompt) => return Ok(Came::Asks(prompt)),
            SessionStep::Ready { valid_until, state, consent } => {
                run.no_secret_in(state.as_deref().unwrap_or(""))?;
                return Ok(Came::Ready { valid_until, state, consent });
            }
            SessionStep::Fail(failure) => return Err(failure.into()),
        }
    }
}

/// Puts a prompt before the customer, if it is one that can be.
async fn ask(run: &mut Run<'_>, id: AuthorisationId, prompt: Prompt) -> Result<(), StoreError> {
    match standing(run, prompt) {
        Ok(step) => store(run, id, &step).await,
        Err(Halt::Failure(failure)) => {
            tracing::error!(connection = %run.connection.id, %failure, "a prompt could not be shown");
            fail(run, id, failure.reason()).await
        }
        Err(Halt::Store(error)) => Err(error),
    }
}

fn standing(run: &mut Run<'_>, prompt: Prompt) -> Result<AuthorisationStep, Halt> {
    run.no_secret_in(&prompt.memory)?;
    run.no_secret_in(&prompt.text)?;
    let now = run.app.clock.now();
    let (text, memory) = (prompt.text, prompt.memory);
    let (ask, redirect_hash) = match prompt.ask {
        PromptKind::Wait(ms) => {
            let at = now.plus(Duration::from_millis(u64::from(ms)));
            let prompt = StandingPrompt { text, ask: StandingAsk::Wait };
            return Ok(AuthorisationStep::Waiting { prompt, memory, at });
        }
        PromptKind::Form(names) => {
            names.iter().try_for_each(|name| can_be_asked_for(run, name))?;
            (StandingAsk::Form(names), None)
        }
        PromptKind::Redirect(redirect) => {
            for returned in &redirect.returned {
                let kind = run.connector.manifest().value(&returned.name).map(|declared| declared.kind);
                if kind != Some(ValueKind::Prompt) {
                    return Err(run.broken(format!(
                        "the parameter \"{}\" becomes \"{}\", which is not declared with kind = \"prompt\"",
                        returned.parameter, returned.name
                    )));
                }
            }
            run.ready_to_redirect()?;
            let url = run.browser_url(&redirect)?;
            let state = run.values.get(REDIRECT_STATE).map_or("", Secret::reveal);
            let hash = vault::hash(state);
            (StandingAsk::Redirect { url, returned: redirect.returned }, Some(hash))
        }
    };
    let latest = now.plus(PROMPT_STANDS);
    let expires_at = prompt.expires_at.filter(|end| *end > now).map_or(latest, |end| end.min(latest));
    let prompt = StandingPrompt { text, ask };
    Ok(AuthorisationStep::Prompted { prompt, memory, redirect_hash, reason: None, expires_at })
}

fn can_be_asked_for(run: &Run<'_>, name: &str) -> Result<(), Halt> {
    match run.connector.manifest().value(name) {
        Some(declared) if declared.label.is_empty() => {
            Err(run.broken(format!("a form asks for \"{name}\", which has no `label` in connector.toml")))
        }
        Some(declared) if matches!(declared.kind, ValueKind::Credential | ValueKind::Prompt) => Ok(()),
        _ => Err(run.broken(format!(
            "a form asks for \"{name}\", which is not declared with kind = \"credential\" or \"prompt\""
        ))),
    }
}

/// The customer is in: what belonged to the authorisation becomes the connection's.
async fn ready(
    run: &Run<'_>,
    authorisation: &Authorisation,
    valid_until: Option<Timestamp>,
    session_state: Option<String>,
    consent: Option<ConsentAtBank>,
) -> Result<(), StoreError> {
    let (app, now) = (run.app, run.app.clock.now());
    if consent.as_ref().and_then(|consent| consent.expires_at).is_some_and(|end| end <= now) {
        fail(run, authorisation.id, Failure::ConsentExpired.reason()).await?;
        return rest(run).await;
    }
    let manifest = run.connector.manifest();
    let kept = |name: &str| match manifest.value(name) {
        Some(declared) => declared.kind == ValueKind::Credential,
        None => name.starts_with('@'), // the host's own: cookies, counter
    };
    let credentials = run
        .own_values()
        .iter()
        .filter(|(name, _)| kept(name))
        .map(|(name, value)| NewCredential { name: name.clone(), value: value.clone(), expires_at: None })
        .collect();
    let redirected = authorisation
        .prompt
        .as_ref()
        .is_some_and(|prompt| matches!(prompt.ask, StandingAsk::Redirect { .. }));
    let at_bank = consent.unwrap_or_default();
    let consent = NewConsent {
        granted_at: now,
        expires_at: at_bank.expires_at,
        scopes: at_bank.scopes,
        how: if redirected { "redirect" } else { "form" }.to_owned(),
        reference: at_bank.reference,
    };
    let new = Authorised { credentials, valid_until, session_state, consent };
    let connection = &run.connection;
    let event = payload::connection_authorised(
        connection.business,
        connection.id,
        &connection.institution,
        authorisation.id,
        now,
    );
    app.store.authorised(run.lease, authorisation.id, &new, &event, now).await?;
    tracing::info!(connection = %connection.id, authorisation = %authorisation.id, "authorised");
    app.nudge.ring(Bell::Authorisations);
    app.nudge.ring(Bell::Webhooks);
    Ok(())
}

/// What becomes of a failure: a refused login is asked for once more, anything else has failed.
async fn settle(run: &mut Run<'_>, open: &OpenAuthorisation, failure: Failure) -> Result<(), StoreError> {
    let (app, now, id) = (run.app, run.app.clock.now(), open.authorisation.id);
    run.met(&failure);
    if failure != Failure::CredentialsRejected {
        run.password_came_to(&failure).await?;
        tracing::warn!(connection = %run.connection.id, %failure, "not authorised");
        return fail(run, id, failure.reason()).await;
    }
    let in_a_row = app.store.note_typed_rejection(run.lease, run.counted(), now).await?;
    match open.authorisation.prompt.clone() {
        Some(prompt) if in_a_row < REJECTIONS_MAX && matches!(prompt.ask, StandingAsk::Form(_)) => {
            let again = AuthorisationStep::Prompted {
                prompt,
                memory: open.progress.memory.clone(),
                redirect_hash: None,
                reason: Some(failure.reason().to_owned()),
                expires_at: now.plus(PROMPT_STANDS),
            };
            store(run, id, &again).await
        }
        _ => fail(run, id, failure.reason()).await,
    }
}

async fn fail(run: &Run<'_>, id: AuthorisationId, reason: &str) -> Result<(), StoreError> {
    store(run, id, &AuthorisationStep::Failed { reason: reason.to_owned() }).await
}

async fn store(run: &Run<'_>, id: AuthorisationId, step: &AuthorisationStep) -> Result<(), StoreError> {
    let (app, now, connection) = (run.app, run.app.clock.now(), &run.connection);
    let event = match step {
        AuthorisationStep::Failed { reason } => Some(payload::authorisation_failed(
            connection.business,
            connection.id,
            &connection.institution,
            id,
            reason,
            now,
        )),
        _ => None,
    };
    let values = match step {
        AuthorisationStep::Failed { .. } => BTreeMap::new(),
        _ => run.own_values(),
    };
    app.store.settle_authorisation(run.lease, id, step, &values, event.as_ref(), now).await?;
    app.nudge.ring(Bell::Authorisations);
    app.nudge.ring(Bell::Webhooks);
    Ok(())
}

/// Ends the authorisations whose time is over, and erases connections whose customers never came.
pub async fn end_overdue_authorisations(app: &App) -> Result<(), StoreError> {
    let now = app.clock.now();
    for late in app.store.overdue_authorisations(now).await? {
        if app.store.expire_authorisation(late.id, &failed(&late, EXPIRED, now), now).await? {
            app.nudge.ring(Bell::Authorisations);
            app.nudge.ring(Bell::Webhooks);
        }
    }
    let created = now.minus(LINKING_MAX);
    for left in app.store.abandoned(created).await? {
        let event = payload::connection_deleted(left.business, left.id, &left.institution, None, now);
        if app.store.delete_abandoned(&left, created, &event, now).await? {
            tracing::info!(connection = %left.id, "erased: its customer never came");
            app.nudge.ring(Bell::Webhooks);
        }
    }
    Ok(())
}

/// Over, whoever holds the lease.
async fn give_up(app: &App, known: &Authorisation, reason: &str) -> Result<(), StoreError> {
    let now = app.clock.now();
    app.store.fail_authorisation(known.id, reason, &failed(known, reason, now), now).await?;
    app.nudge.ring(Bell::Authorisations);
    app.nudge.ring(Bell::Webhooks);
    Ok(())
}

/// What is told of the connection of an authorisation that failed.
fn failed(known: &Authorisation, reason: &str, now: Timestamp) -> impl Fn(ConnectionId, &str) -> NewEvent {
    let (business, id) = (known.business, known.id);
    move |connection, institution| {
        payload::authorisation_failed(business, connection, institution, id, reason, now)
    }
}

/// The run is over; a connection that is polled is due when it would have been.
async fn rest(run: &Run<'_>) -> Result<(), StoreError> {
    if run.connection.state == ConnectionState::Active {
        return outcome::rest(run).await;
    }
    run.note_of_bank().await?;
    let now = run.app.clock.now();
    let slot = schedule::next_slot(&run.bank.institution, run.lease.interval_minutes, run.lease.phase, now);
    run.app.store.complete(run.lease, slot, slot, 0, now).await
}
