//! The customer's say: the authorisation endpoint (RFC 6749, 4.1; PKCE, RFC 7636; signed request
//! objects, RFC 9101), and the codes that come of it.
//!
//! # The wire
//! The customer's browser is sent to
//! `GET {origin}/authorize?client_id=…&request=JWT` (the plain origin, since browsers have no client
//! certificate), where other parameters may stand too if they say the same as the JWT. The JWT is
//! signed by the client with PS256, `kid` optional, and has the claims
//!
//! | Claim | |
//! |---|---|
//! | `iss`, `client_id` | the client id |
//! | `aud` | the bank's origin (either one, if it has two) |
//! | `exp` | at most an hour ahead, by the bank's clock; `nbf`, `iat` optional |
//! | `response_type` | `code` |
//! | `redirect_uri` | one that is registered, letter by letter |
//! | `scope` | has `accounts` |
//! | `state`, `nonce` | optional; `state` comes back, `nonce` is for ID tokens, which this bank does not give |
//! | `code_challenge`, `code_challenge_method` | base64url of SHA-256 of the verifier; `S256` |
//! | `openbanking_intent_id` | the ConsentId; or at `claims.id_token.openbanking_intent_id.value`, as UK Open Banking has it |
//!
//! The page asks for a customer number (`Customer::id`) and a passcode:
//! `POST /authorize/login` with `authorisation` (from the page), `customer`, `passcode`; three wrong
//! ones end it with `access_denied`. Then it shows the accounts, all of them ticked:
//! `POST /authorize/decide` with `authorisation`, any number of `account`, and `decision` = `allow` or
//! `deny`. That answers 303 to `redirect_uri` with `code` and `state`, or with `error`,
//! `error_description` and `state`. Without JavaScript, and without cookies: the page is the session.
//!
//! A client or an address that the bank does not know is told to the customer on a page (400), and
//! nobody is sent anywhere. Every other fault goes back to the client: `invalid_request_object`,
//! `invalid_request`, `unsupported_response_type`, `invalid_scope`, `access_denied`.
//!
//! A consent that was agreed to can be agreed to again by the same customer until its time is over.

use super::access::{Access, Asking, Tokens};
use super::authorise_page as page;
use super::clients::Registered;
use super::entry::BankError;
use super::fault::PathKind;
use super::jws::Claims;
use super::service::Asked;
use super::spoil::Answer;
use super::{Decision, Shared, State};
use axum::body::Body;
use axum::http::{StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashMap;

/// A code is turned into tokens at once, or not at all.
const CODE_LIVES: TimeDelta = TimeDelta::seconds(60);
/// How long the customer may think.
const PAGE_LIVES: TimeDelta = TimeDelta::minutes(10);
const REQUEST_LIVES_MAX: TimeDelta = TimeDelta::hours(1);
/// Passcodes are short: who guesses gets no fourth try.
const LOGIN_TRIES_MAX: u32 = 3;
/// A customer with hundreds of accounts ticks them all.
const FORM_BYTES_MAX: usize = 64 * 1024;
/// What may stand outside the request object too, if it says the same there.
const PARAMETERS: [&str; 8] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];

/// What a client asks for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) client: String,
    redirect_uri: String,
    state: Option<String>,
    pub(super) consent: String,
    challenge: String,
}

impl Wanted {
    /// Back to the client, with these parameters and `state`.
    fn back(&self, parameters: &[(&str, &str)]) -> String {
        back(&self.redirect_uri, parameters, self.state.as_deref())
    }

    fn refused(&self, error: &str, sentence: &str) -> String {
        self.back(&[("error", error), ("error_description", sentence)])
    }
}

fn back(redirect_uri: &str, parameters: &[(&str, &str)], state: Option<&str>) -> String {
    let state = state.map(|state| ("state", state));
    let pairs: Vec<_> = parameters.iter().copied().chain(state).collect();
    let query = serde_urlencoded::to_string(pairs).unwrap_or_default();
    let joint = if redirect_uri.contains('?') { '&' } else { '?' };
    format!("{redirect_uri}{joint}{query}")
}

/// A page that waits for the customer.
#[derive(Debug)]
struct Pending {
    wanted: Wanted,
    until: DateTime<Utc>,
    /// Who logged in.
    customer: Option<String>,
    wrong: u32,
}

#[derive(Debug)]
struct Code {
    wanted: Wanted,
    until: DateTime<Utc>,
    tried: bool,
    /// The tokens that it gave.
    round: Option<u32>,
}

/// What comes of a step.
#[derive(Debug)]
enum Outcome {
    /// Show this.
    Page(String),
    /// The bank does not know who asks, or what page this is: tell the customer.
    Error(&'static str),
    /// Send the browser there.
    Back(String),
}

#[derive(Debug, Default)]
pub(super) struct Authorisations {
    pending: HashMap<String, Pending>,
    codes: HashMap<String, Code>,
}

impl Authorisations {
    /// Turns a code into tokens; else why not.
    pub(super) fn redeem(
        &mut self,
        access: &mut Access,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
        asking: &Asking<'_>,
    ) -> Result<Tokens, &'static str> {
        let known = self.codes.get_mut(code).filter(|code| code.wanted.client == asking.client);
        let code = known.ok_or("The bank does not know this code")?;
        if std::mem::replace(&mut code.tried, true) {
            if let Some(round) = code.round {
                access.close(&code.wanted.consent, round);
            }
            return Err("The code was used before");
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
        match () {
            () if code.until <= asking.now => Err("The code has expired"),
            () if code.wanted.redirect_uri != redirect_uri => {
                Err("The redirect_uri is not the one asked with")
            }
            () if code.wanted.challenge != URL_SAFE_NO_PAD.encode(digest) => {
                Err("The code_verifier is wrong")
            }
            () => {
                let opened = access.open(&code.wanted.consent, asking);
                let (tokens, round) = opened.ok_or("The consent has ended")?;
                code.round = Some(round);
                Ok(tokens)
            }
        }
    }

    /// The page of this id, while it lasts.
    fn take(&mut self, id: &str, now: DateTime<Utc>) -> Result<Pending, &'static str> {
        let pending = self.pending.remove(id).filter(|pending| pending.until > now);
        pending.ok_or("This page is not good any more. Please begin again where you came from.")
    }
}

// ---------------------------------------------------------------- the three steps

/// What the request object asks for.
fn wanted(shared: &Shared, query: &str) -> Result<Wanted, Outcome> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    let outside = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str());
    let state = shared.state();
    let id = outside("client_id").unwrap_or_default();
    let client = state.clients.get(id).ok_or(Outcome::Error("The bank does not know who sent you here."))?;
    let registered = |uri: &&str| client.redirect_uris.iter().any(|known| known == uri);
    const UNKNOWN_ADDRESS: Outcome =
        Outcome::Error("The bank does not know the address that you would be sent back to.");

    let claims = match request_object(shared, client, id, outside("request")) {
        Ok(claims) => claims,
        Err(why) => {
            let uri = outside("redirect_uri").filter(registered).ok_or(UNKNOWN_ADDRESS)?;
            let parameters = [("error", "invalid_request_object"), ("error_description", why)];
            return Err(Outcome::Back(back(uri, &parameters, outside("state"))));
        }
    };
    let inside = |name: &str| claims.text(name);
    let redirect_uri = inside("redirect_uri").filter(registered).ok_or(UNKNOWN_ADDRESS)?;
    let in_standard = claims.inside(&["claims", "id_token", "openbanking_intent_id", "value"]);
    let consent = inside("openbanking_intent_id").or(in_standard).unwrap_or_default();
    let wanted = Wanted {
        client: id.to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        state: inside("state").map(str::to_owned),
        consent: consent.to_owned(),
        challenge: inside("code_challenge").unwrap_or_default().to_owned(),
    };
    let twice = PARAMETERS.iter().any(|name| pairs.iter().filter(|pair| pair.0 == **name).count() > 1);
    let agree = PARAMETERS.iter().all(|name| outside(name).is_none_or(|said| inside(name) == Some(said)));
    let has_scope = inside("scope").is_some_and(|scope| scope.split(' ').any(|one| one == "accounts"));
    let challenged = inside("code_challenge_method") == Some("S256")
        && URL_SAFE_NO_PAD.decode(&wanted.challenge).is_ok_and(|digest| digest.len() == 32);
    let now = shared.clock.now();
    let known = state.access.consent(consent).filter(|consent| consent.client == id);
    let fault = match () {
        () if twice || !agree => ("invalid_request", "The parameters do not agree with the request object"),
        () if inside("response_type") != Some("code") => {
            ("unsupported_response_type", "This bank has the response_type code")
        }
        () if !has_scope => ("invalid_scope", "This bank has the scope accounts"),
        () if !challenged => ("invalid_request", "A code_challenge with S256 is needed"),
        () if !known.is_some_and(|consent| consent.may_be_asked(now)) => {
            ("invalid_request", "The openbanking_intent_id names no consent that can be agreed to")
        }
        () => return Ok(wanted),
    };
    Err(Outcome::Back(wanted.refused(fault.0, fault.1)))
}

fn request_object(
    shared: &Shared,
    client: &Registered,
    id: &str,
    jwt: Option<&str>,
) -> Result<Claims, &'static str> {
    let key = client.key.as_ref().ok_or("The client is registered without a key to sign requests with")?;
    let claims = Claims::verified(jwt.ok_or("A signed request object is needed (request)")?, key)?;
    if claims.text("iss") != Some(id) || claims.text("client_id") != Some(id) {
        return Err("The request object is not from this client (iss, client_id)");
    }
    if !claims.is_for(&shared.origins().cloned().collect::<Vec<_>>()) {
        return Err("The request object is not for this bank (aud)");
    }
    claims.in_time(shared.clock.now(), REQUEST_LIVES_MAX)?;
    Ok(claims)
}

/// Keeps what waits for the customer, under an id that only the page knows.
fn wait(state: &mut State, pending: Pending) -> String {
    let id = state.random.token("auth_");
    state.authorisations.pending.insert(id.clone(), pending);
    id
}

fn begin(shared: &Shared, query: &str) -> Result<Outcome, Outcome> {
    let wanted = wanted(shared, query)?;
    let until = shared.clock.now() + PAGE_LIVES;
    let client = wanted.client.clone();
    let id = wait(&mut shared.state(), Pending { wanted, until, customer: None, wrong: 0 });
    Ok(Outcome::Page(page::login(&id, &client, false)))
}

fn login(shared: &Shared, id: &str, customer: &str, passcode: &str) -> Result<Outcome, Outcome> {
    let now = shared.clock.now();
    let state = &mut *shared.state();
    let mut pending = state.authorisations.take(id, now).map_err(Outcome::Error)?;
    let customer = customer.trim();
    if !state.access.passcode_fits(customer, passcode) {
        pending.wrong += 1;
        if pending.wrong == LOGIN_TRIES_MAX {
            let denied = pending.wanted.refused("access_denied", "The customer could not log in");
            return Err(Outcome::Back(denied));
        }
        let client = pending.wanted.client.clone();
        return Ok(Outcome::Page(page::login(&wait(state, pending), &client, true)));
    }
    pending.customer = Some(customer.to_owned());
    choose(state, pending, None)
}

/// Shows the accounts to choose from.
fn choose(state: &mut State, pending: Pending, fault: Option<&str>) -> Result<Outcome, Outcome> {
    let wanted = pending.wanted.clone();
    let customer = pending.customer.clone().unwrap_or_default();
    let id = wait(state, pending);
    let State { access, books, .. } = state;
    let found = access.customer(&customer).ok().zip(access.consent(&wanted.consent));
    let (customer, consent) = found.ok_or(Outcome::Error("The bank lost what you were asked."))?;
    let accounts: Vec<_> = customer.accounts.iter().filter_map(|id| books.account(id).ok()).collect();
    Ok(Outcome::Page(page::accounts(&id, customer, consent, &accounts, fault)))
}

/// `accounts` are those that the customer shares.
fn decide(shared: &Shared, id: &str, accounts: &[String], allow: bool) -> Result<Outcome, Outcome> {
    let now = shared.clock.now();
    let state = &mut *shared.state();
    let pending = state.authorisations.take(id, now).map_err(Outcome::Error)?;
    let customer = pending.customer.clone().ok_or(Outcome::Error("Please log in first."))?;
    let owned = state.access.customer(&customer).map(|customer| customer.accounts.clone());
    let mut shared_accounts = owned.unwrap_or_default();
    shared_accounts.retain(|account| accounts.contains(account));
    if allow && shared_accounts.is_empty() {
        return choose(state, pending, Some("Choose at least one account, or refuse."));
    }
    let wanted = pending.wanted;
    let lost = |_| Outcome::Error("The consent is not there any more.");
    let consent = state.access.consent_mut(&wanted.consent).map_err(lost)?;
    let same = consent.customer.as_ref().is_none_or(|before| *before == customer);
    if !allow || !same || !consent.may_be_asked(now) {
        if !allow {
            consent.reject(now);
        }
        return Ok(Outcome::Back(wanted.refused("access_denied", "The customer did not agree")));
    }
    consent.authorise(&customer, shared_accounts, now);
    let code = state.random.token("code_");
    let location = wanted.back(&[("code", &code)]);
    let known = &mut state.authorisations.codes;
    known.insert(code, Code { wanted, until: now + CODE_LIVES, tried: false, round: None });
    Ok(Outcome::Back(location))
}

// ---------------------------------------------------------------- the page

/// Answers the three requests.
pub(super) async fn answer(shared: &Shared, asked: &Asked<'_>, body: Body) -> Answer {
    let body = axum::body::to_bytes(body, FORM_BYTES_MAX).await.unwrap_or_default();
    let form: Vec<(String, String)> = serde_urlencoded::from_bytes(&body).unwrap_or_default();
    let field = |name: &str| form.iter().find(|pair| pair.0 == name).map_or("", |pair| pair.1.as_str());
    let outcome = match asked.kind {
        PathKind::Authorise => begin(shared, asked.query),
        PathKind::AuthoriseLogin => {
            login(shared, field("authorisation"), field("customer"), field("passcode"))
        }
        _ => {
            let ticked = form.iter().filter(|pair| pair.0 == "account").map(|pair| pair.1.clone());
            let accounts: Vec<_> = ticked.collect();
            decide(shared, field("authorisation"), &accounts, field("decision") == "allow")
        }
    };
    let (status, page, location) = match outcome.unwrap_or_else(|instead| instead) {
        Outcome::Page(page) => (StatusCode::OK, page, None),
        Outcome::Error(sentence) => (StatusCode::BAD_REQUEST, page::error(sentence), None),
        Outcome::Back(location) => (StatusCode::SEE_OTHER, String::new(), Some(location)),
    };
    let mut answer = Answer::new(status, page.into_bytes());
    answer.header(header::CACHE_CONTROL.as_str(), "no-store");
    answer.header(header::REFERRER_POLICY.as_str(), "no-referrer");
    match location {
        Some(location) => answer.header(header::LOCATION.as_str(), &location),
        None => {
            answer.header(header::CONTENT_TYPE.as_str(), "text/html; charset=utf-8");
            answer.header(header::CONTENT_SECURITY_POLICY.as_str(), page::POLICY);
        }
    }
    answer
}

// ---------------------------------------------------------------- without a browser

/// Plays the page for the URL that the customer's browser is sent to; where it is sent next.
pub(super) fn play(shared: &Shared, url: &str, decision: &Decision) -> Result<String, BankError> {
    let away = BankError::Authorisation("the URL does not lead to this bank's /authorize");
    let query = url.strip_prefix(&format!("{}/authorize?", shared.origin)).ok_or(away)?;
    let customer = shared.state().access.customer(&decision.customer)?.clone();
    let played = || {
        let wanted = wanted(shared, query)?;
        let until = shared.clock.now() + PAGE_LIVES;
        let pending = Pending { wanted, until, customer: Some(customer.id), wrong: 0 };
        let id = wait(&mut shared.state(), pending);
        let accounts = decision.accounts.as_ref().unwrap_or(&customer.accounts);
        decide(shared, &id, accounts, decision.allow)
    };
    match played().unwrap_or_else(|instead| instead) {
        Outcome::Back(location) => Ok(location),
        Outcome::Error(sentence) => Err(BankError::Authorisation(sentence)),
        Outcome::Page(_) => Err(BankError::Authorisation("no account of the customer was chosen")),
    }
}
