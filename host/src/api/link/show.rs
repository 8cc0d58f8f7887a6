//! `GET /link/{token}`: what is next for the customer.

use super::again::Chance;
use super::page::{self, Page};
use super::view::{self, Back, Field, Frame, Shown, Wrong};
use super::{again, callback, consent, pick};
use crate::api::Api;
use crate::api::linking::{self, TURN_WAIT, TYPED_BYTES_MAX};
use crate::api::v1::authorisations;
use crate::app::App;
use crate::model::{Authorisation, AuthorisationState, Business, Input, StandingAsk, StandingPrompt};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

/// Seconds after which a page on which nothing can be done looks again.
const LOOK_AGAIN_S: u32 = 3;
/// What is said while the turn is ours.
const ASKING: &str = "We are talking to the bank.";
/// The reason of an authorisation whose customer said no on our page.
pub const DECLINED: &str = "customer-declined";

/// What the query asks for.
#[derive(Default)]
pub struct Asked {
    /// Of the search.
    pub search: String,
    /// The bank whose consent is to be shown.
    pub bank: Option<String>,
    /// Wait a while for our turn to end.
    pub look: bool,
}

impl Asked {
    fn read(query: Option<String>) -> Self {
        let mut asked = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "q" => asked.search = value.into_owned(),
                "bank" => asked.bank = Some(value.into_owned()),
                "look" => asked.look = true,
                _ => {}
            }
        }
        asked
    }
}

/// What is next.
pub async fn show(
    State(api): State<Api>,
    Path(token): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Page> {
    let app = &api.app;
    let (mut known, browser) = page::seen(app, &token, &headers).await?;
    let asked = Asked::read(query);
    if asked.look {
        // A page that looks again by itself need not do so often.
        known =
            linking::once(app, known, TURN_WAIT, |known| known.state != AuthorisationState::Asking).await?;
    }
    if let Chance::Newer(newer) = again::chance(app, &known).await?
        && browser.has(app, &newer).await?
    {
        return Ok(page::see_other(&linking::link_url(app, &newer)));
    }
    let answer = next(app, &known, &asked, Vec::new()).await?;
    Ok(page::known_to(app, &browser, answer))
}

/// The page for where the authorisation stands, with what there is to put right.
pub async fn next(
    app: &App,
    known: &Authorisation,
    asked: &Asked,
    problems: Vec<Wrong>,
) -> Result<Response, Page> {
    let business = app.store.business(known.business).await?.ok_or_else(page::unknown_link)?;
    match (known.state, &known.prompt) {
        (AuthorisationState::Choosing, _) => choosing(app, known, &business, asked, problems).await,
        (AuthorisationState::Asking, Some(prompt)) if prompt.ask == StandingAsk::Wait => {
            Ok(waiting(app, known, &business, &prompt.text))
        }
        (AuthorisationState::Prompted, Some(prompt)) => Ok(prompted(app, known, &business, prompt, problems)),
        (AuthorisationState::Asking | AuthorisationState::Prompted, _) => {
            Ok(waiting(app, known, &business, ASKING))
        }
        (AuthorisationState::Ready, _) => Ok(ready(app, known, &business)),
        (AuthorisationState::Failed, _) => failed(app, known, &business, problems).await,
    }
}

async fn choosing(
    app: &App,
    known: &Authorisation,
    business: &Business,
    asked: &Asked,
    problems: Vec<Wrong>,
) -> Result<Response, Page> {
    let (frame, here, status) = (Frame::of(business), linking::link_path(app, known), status(&problems));
    let Some(id) = known.institution.as_deref().or(asked.bank.as_deref()) else {
        let found = pick::find(app, &asked.search);
        let asked = asked.search.clone();
        let page = view::Choose { frame, here, asked, found: found.said, banks: found.banks };
        return Ok(view::answer(status, &page.frame, &page));
    };
    let Ok(bank) = linking::available(app, id) else {
        let (title, text) =
            ("This bank cannot be reached at the moment", "Please open your link again later.");
        return Ok(view::said(frame, StatusCode::CONFLICT, title, text));
    };
    let customer = (known.business, known.wishes.customer_ref.as_deref(), id);
    let page = view::Consent {
        frame,
        here,
        problems,
        bank: Shown::of(&bank.institution),
        topics: consent::topics(business, &bank.institution, bank.manifest(), &known.wishes, app.clock.now()),
        must_check: linking::must_check(app, None, customer).await?,
        can_choose: known.institution.is_none(),
    };
    Ok(view::answer(status, &page.frame, &page))
}

fn prompted(
    app: &App,
    known: &Authorisation,
    business: &Business,
    prompt: &StandingPrompt,
    mut problems: Vec<Wrong>,
) -> Response {
    let bank = Shown::find(app, known.institution.as_deref());
    let (frame, here, text) = (Frame::of(business), linking::link_path(app, known), prompt.text.clone());
    let status = status(&problems);
    match &prompt.ask {
        StandingAsk::Wait => waiting(app, known, business, &text),
        StandingAsk::Redirect { .. } => {
            let page = view::Redirect { frame, here, bank, text };
            view::answer(status, &page.frame, &page)
        }
        StandingAsk::Form(names) => {
            let refused = known.reason.as_deref().filter(|_| problems.is_empty());
            if let Some(reason) = refused {
                problems.push(Wrong::whole(linking::sentence(reason)));
            }
            let whole = problems.iter().any(|problem| problem.field.is_empty());
            let fields = authorisations::fields(app, known.institution.as_deref(), names);
            let field = |field: authorisations::FormField| {
                let id = field_id(&field.name);
                let wrong = whole || problems.iter().any(|problem| problem.field == id);
                Field { wrong, id, name: field.name, label: field.label, kind: kind(field.input) }
            };
            let fields = fields.into_iter().map(field).collect();
            let page = view::Form { frame, here, bank, text, fields, max: TYPED_BYTES_MAX, problems };
            view::answer(status, &page.frame, &page)
        }
    }
}

/// The id of a field within its page.
pub fn field_id(name: &str) -> String {
    format!("field-{name}")
}

/// Attributes that say how a value is typed. A bank's password is not for this page's place in a browser's
/// store, but may be pasted from anywhere.
fn kind(input: Input) -> &'static str {
    match input {
        Input::Text => r#"type="text" autocomplete="off" autocapitalize="none" spellcheck="false""#,
        Input::Password => r#"type="password" autocomplete="off""#,
        Input::Code => {
            r#"type="text" inputmode="numeric" autocomplete="one-time-code" autocapitalize="none" spellcheck="false""#
        }
    }
}

fn waiting(app: &App, known: &Authorisation, business: &Business, text: &str) -> Response {
    let page = view::Waiting {
        frame: Frame::of(business),
        here: linking::link_path(app, known),
        bank: Shown::find(app, known.institution.as_deref()),
        text: text.to_owned(),
        every_s: LOOK_AGAIN_S,
    };
    view::answer(StatusCode::OK, &page.frame, &page)
}

fn ready(app: &App, known: &Authorisation, business: &Business) -> Response {
    let bank = Shown::find(app, known.institution.as_deref());
    let page = view::Ready { frame: Frame::of(business), bank, back: back(known, true) };
    view::answer(StatusCode::OK, &page.frame, &page)
}

async fn failed(
    app: &App,
    known: &Authorisation,
    business: &Business,
    problems: Vec<Wrong>,
) -> Result<Response, Page> {
    let reason = known.reason.as_deref().unwrap_or_default();
    let chance = again::chance(app, known).await?;
    let (title, text) = match reason {
        DECLINED => ("Nothing was shared", linking::sentence(reason)),
        "expired" if known.connection.is_none() => (
            "This link does not work any more",
            "It was not used in time. Ask for a new one where you got it.",
        ),
        _ => ("That did not work", linking::sentence(reason)),
    };
    let may_again = matches!(chance, Chance::Again { .. });
    let page = view::Failed {
        frame: Frame::of(business),
        here: linking::link_path(app, known),
        bank: Shown::find(app, known.institution.as_deref()),
        title,
        text,
        may_again,
        must_check: matches!(chance, Chance::Again { must_check: true, .. }),
        back: back(known, !may_again),
        problems,
    };
    Ok(view::answer(status(&page.problems), &page.frame, &page))
}

/// To the business, if it said where.
fn back(known: &Authorisation, is_next: bool) -> Option<Back> {
    let return_to = known.wishes.return_to.as_deref()?;
    let class = if is_next { "button" } else { "" };
    Some(Back { url: callback::returning(return_to, known), class })
}

fn status(problems: &[Wrong]) -> StatusCode {
    if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }
}
