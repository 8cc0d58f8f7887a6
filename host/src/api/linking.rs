//! What the JSON API and the hosted link page have in common: beginning an authorisation, answering its
//! prompts, waiting for the connector's turn to end.
//!
//! Never asks a bank: the worker does. Must not know: HTML, JSON shapes, who asks.

use super::extract::SecretText;
use super::problem::{Answer, Code, Problem};
use crate::app::{App, Bank};
use crate::model::*;
use crate::nudge::Bell;
use crate::store::{NewAuthorisation, NewConnection};
use crate::vault::{self, hash};
use crate::webhook::payload;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// From the beginning of an authorisation to its end: customers look for a card reader.
pub const AUTHORISATION_LIVES: Duration = Duration::from_secs(60 * 60);
/// How long a link that nobody has opened yet is good, if the business does not say.
pub const LINK_LIVES: Duration = Duration::from_secs(24 * 3600);
/// The longest that a business may say: a link in an e-mail.
pub const LINK_LIVES_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a caller waits for the connector's turn: most banks need less, and a browser must not hang.
pub const TURN_WAIT: Duration = Duration::from_secs(10);
/// How often a waiting caller looks into the database: another process may do the work.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Bytes of what a customer types into one field: passwords have fewer.
pub const TYPED_BYTES_MAX: usize = 1_024;

/// An authorisation of `business`, ready to be stored.
pub fn new_authorisation(
    business: BusinessId,
    institution: Option<String>,
    wishes: Wishes,
    expires_at: Timestamp,
) -> Answer<NewAuthorisation> {
    let link = vault::random_token().map_err(|error| Problem::internal(&error))?;
    let link_hash = hash(link.reveal());
    Ok(NewAuthorisation {
        id: AuthorisationId::new(),
        business,
        institution,
        wishes,
        link,
        link_hash,
        expires_at,
    })
}

/// A connection whose customer has still to come.
pub fn new_connection(
    business: BusinessId,
    institution: &str,
    customer_ref: Option<String>,
    now: Timestamp,
) -> NewConnection {
    let id = ConnectionId::new();
    NewConnection {
        id,
        business,
        institution: institution.to_owned(),
        customer_ref,
        credentials: Vec::new(),
        consent: None,
        phase: id.phase(),
        slot_at: now,
        due_at: now,
        linking: true,
    }
}

/// Where the customer's browser goes on with an authorisation.
pub fn link_url(app: &App, authorisation: &Authorisation) -> String {
    format!("{}/link/{}", app.config.public_url, authorisation.link.reveal())
}

/// The same as a path, as the hosted page names itself.
pub fn link_path(app: &App, authorisation: &Authorisation) -> String {
    let whole = link_url(app, authorisation);
    url::Url::parse(&whole).map_or(whole, |url| url.path().to_owned())
}

/// A bank that insists on the customer's address must be told it.
pub fn check_customer(bank: &Bank, wishes: &Wishes) -> Answer<()> {
    let insists = |value: &ValueDeclaration| {
        value.kind == ValueKind::Customer && value.name == CUSTOMER_IP && !value.optional
    };
    if wishes.customer.is_none()
        && bank.manifest().is_some_and(|manifest| manifest.values.iter().any(insists))
    {
        return Err(Problem::invalid(
            "customer_present: this bank wants to be told the address of the customer who is asking; pass on `ip`.",
        ));
    }
    Ok(())
}

/// Business, its name for the customer, and institution.
pub type Customer<'a> = (BusinessId, Option<&'a str>, &'a str);

/// The bank refused this customer twice in a row: before anything else is sent they must have logged in at the
/// bank itself, which is what sets the bank's own counter back.
pub async fn must_check(
    app: &App,
    connection: Option<&Connection>,
    (business, customer_ref, institution): Customer<'_>,
) -> Answer<bool> {
    let of_customer = match customer_ref {
        Some(name) => app.store.rejections(business, name, institution).await?,
        None => 0,
    };
    Ok(of_customer.max(connection.map_or(0, |connection| connection.rejections)) >= REJECTIONS_MAX)
}

/// No third wrong password, unless the customer says to have logged in at the bank itself.
pub async fn check_rejections(
    app: &App,
    connection: Option<&Connection>,
    customer: Customer<'_>,
    checked_at_bank: bool,
) -> Answer<()> {
    if !must_check(app, connection, customer).await? {
        return Ok(());
    }
    let (business, customer_ref, institution) = customer;
    if !checked_at_bank {
        return Err(Problem::new(
            Code::CredentialsRefused,
            "The bank refused this customer's credentials twice, and many lock the access at the third time. Have the \
             customer log in at the bank's own site first; then send the request again with `\"checked_at_bank\": true`.",
        ));
    }
    match (connection, customer_ref) {
        (Some(connection), _) => app.store.forgive_rejections(connection.id).await?,
        (None, Some(name)) => app.store.forgive_customer(business, name, institution).await?,
        (None, None) => {}
    }
    Ok(())
}

/// Waits until it is not the connector's turn any more, or the customer is to act elsewhere meanwhile.
pub async fn after_turn(app: &App, known: Authorisation, wait: Duration) -> Answer<Authorisation> {
    let elsewhere = |prompt: &StandingPrompt| prompt.ask == StandingAsk::Wait;
    let over = |known: &Authorisation| {
        known.state != AuthorisationState::Asking || known.prompt.as_ref().is_some_and(elsewhere)
    };
    once(app, known, wait, over).await
}

/// Waits until this is so, but not longer than so long.
pub async fn once(
    app: &App,
    mut known: Authorisation,
    wait: Duration,
    is_so: impl Fn(&Authorisation) -> bool,
) -> Answer<Authorisation> {
    let deadline = Instant::now() + wait;
    loop {
        let told = app.nudge.heard(Bell::Authorisations);
        tokio::pin!(told);
        told.as_mut().enable(); // before looking, so that nothing is missed in between
        known = app.store.authorisation(known.business, known.id).await?.ok_or_else(gone)?;
        if is_so(&known) || Instant::now() >= deadline {
            return Ok(known);
        }
        let _ = tokio::time::timeout_at(deadline.min(Instant::now() + LOOK_EVERY), told).await;
    }
}

/// Hands in what the customer typed, and waits for what comes of it.
pub async fn answer(
    app: &App,
    authorisation: Authorisation,
    typed: BTreeMap<String, SecretText>,
) -> Answer<Authorisation> {
    let Some(StandingAsk::Form(names)) = authorisation.prompt.as_ref().map(|prompt| &prompt.ask) else {
        return Err(no_prompt());
    };
    if typed.len() != names.len() || !names.iter().all(|name| typed.contains_key(name)) {
        return Err(Problem::invalid(format!("values: exactly these are asked for: {}.", names.join(", "))));
    }
    let fits =
        |text: &str| (1..=TYPED_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    if let Some((name, _)) = typed.iter().find(|(_, value)| !fits(value.0.reveal())) {
        return Err(Problem::invalid(format!(
            "values: \"{name}\" must have 1 to {TYPED_BYTES_MAX} bytes and no control characters."
        )));
    }
    let values = typed.into_iter().map(|(name, value)| (name, value.0)).collect();
    go_on(app, authorisation, &values, None).await
}

/// The prompt is answered: the connector's turn.
pub async fn go_on(
    app: &App,
    authorisation: Authorisation,
    values: &BTreeMap<String, Secret>,
    redirect_hash: Option<&[u8; 32]>,
) -> Answer<Authorisation> {
    let now = app.clock.now();
    if !app.store.answer_prompt(authorisation.id, values, redirect_hash, now).await? {
        return Err(no_prompt());
    }
    app.nudge.ring(Bell::Schedule);
    after_turn(app, authorisation, TURN_WAIT).await
}

/// It came to nothing: the customer or the bank said no.
pub async fn fail(app: &App, authorisation: &Authorisation, reason: &str) -> Answer<()> {
    let (id, business, now) = (authorisation.id, authorisation.business, app.clock.now());
    let event = |connection, institution: &str| {
        payload::authorisation_failed(business, connection, institution, id, reason, now)
    };
    if app.store.fail_authorisation(id, reason, &event, now).await? {
        tracing::info!(authorisation = %id, reason, "not authorised");
        app.nudge.ring(Bell::Authorisations);
        app.nudge.ring(Bell::Webhooks);
    }
    Ok(())
}

/// An institution that can be asked, and whose connector has a way to ask its customers.
pub fn available<'a>(app: &'a App, institution: &str) -> Answer<&'a Bank> {
    let bank = app.institutions.get(institution).ok_or_else(|| {
        Problem::invalid("institution_id: there is no such institution. GET /v1/institutions shows all.")
    })?;
    match bank.unavailable() {
        None => Ok(bank),
        Some(reason) => Err(Problem::new(Code::InstitutionUnavailable, reason)),
    }
}

/// The authorisation went on or ended meanwhile.
pub fn no_prompt() -> Problem {
    Problem::new(
        Code::NotAsked,
        "Nothing is asked of the customer now: the prompt was answered, ran out, or the authorisation is over. \
         GET /v1/authorisations/{authorisation_id} shows where it stands.",
    )
}

/// The customer left while somebody waited.
fn gone() -> Problem {
    Problem::unknown("authorisation", "GET /v1/authorisations/{authorisation_id}")
}

/// Why an authorisation failed, or a prompt is shown again, in a sentence for people.
pub fn sentence(reason: &str) -> &'static str {
    match reason {
        "credentials-rejected" => "The bank did not accept what was entered.",
        "credentials-withheld" => {
            "The bank refused what was entered twice. Please log in at the bank itself first, then begin again."
        }
        "interrupted" => "We were interrupted while the bank was asked. Please begin again.",
        "expired" => "It took too long. Please begin again.",
        "customer-declined" => "You said no, and nothing is shared.",
        "customer-refused" => "Access was declined at the bank.",
        "bank-refused" | "session-expired" => "The bank ended the login. Please begin again.",
        "bank-unavailable" | "unreachable" => {
            "The bank cannot be reached at the moment. Please try again later."
        }
        "rate-limited" => "The bank asks for patience. Please try again later.",
        "superseded" => "A newer attempt has taken the place of this one.",
        "consent-expired" => "The bank says that the consent has ended. Please begin again.",
        "not-supported" => "The bank does not offer this, or not with what was entered.",
        _ => "Something went wrong between us and the bank. Please try again later.",
    }
}
