//! What a customer does on the page: agree, decline, answer.
//!
//! A good answer is always "see there": the page itself says what is next, and loading it again repeats
//! nothing.

use super::browser::Browser;
use super::customer;
use super::form::{self, Typed};
use super::page::{self, Page};
use super::show::{self, Asked, DECLINED};
use super::view::Wrong;
use crate::api::Api;
use crate::api::extract::SecretText;
use crate::api::linking::{self, AUTHORISATION_LIVES, TURN_WAIT, TYPED_BYTES_MAX};
use crate::api::problem::Code;
use crate::api::v1::authorisations::{self, FormField};
use crate::app::App;
use crate::model::{Authorisation, AuthorisationState, CustomerPresent, Input, Secret, StandingAsk};
use crate::nudge::Bell;
use axum::extract::{Path, Request, State};
use axum::response::Response;

/// A form that was sent from our page, by the browser that the authorisation is bound to.
pub struct Act {
    /// Where it stands.
    pub known: Authorisation,
    /// Who sent it.
    pub browser: Browser,
    /// From where.
    pub present: Option<CustomerPresent>,
    typed: Typed,
}

impl Act {
    /// Checks who sends, then reads what.
    pub async fn begin(api: &Api, token: &str, request: Request) -> Result<Self, Page> {
        let (known, browser) = page::acting(&api.app, token, request.headers()).await?;
        let present = customer::present(&request);
        let typed = form::read(request, api).await?;
        Ok(Self { known, browser, present, typed })
    }

    /// The customer says to have logged in at the bank itself.
    pub fn checked(&self) -> bool {
        self.typed.get("checked").is_some_and(|value| value.reveal() == "yes")
    }
}

/// The page of an authorisation.
pub fn to_page(app: &App, known: &Authorisation) -> Response {
    page::see_other(&linking::link_url(app, known))
}

/// What to put right when the bank refused twice.
pub fn unchecked() -> Vec<Wrong> {
    let text = "Log in at the bank itself first, then tick the box.";
    vec![Wrong { field: "checked".to_owned(), text: text.to_owned() }]
}

/// `POST /link/{token}/agree`: the connection is made, and the connector's turn begins.
pub async fn agree(
    State(api): State<Api>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Response, Page> {
    let (app, now) = (&api.app, api.app.clock.now());
    let act = Act::begin(&api, &token, request).await?;
    let known = &act.known;
    if known.state != AuthorisationState::Choosing {
        return Ok(to_page(app, known));
    }
    let chosen = || act.typed.get("bank").map(|id| id.reveal().to_owned()).unwrap_or_default();
    let institution = known.institution.clone().unwrap_or_else(chosen);
    linking::available(app, &institution)?;
    let customer_ref = known.wishes.customer_ref.clone();
    let customer = (known.business, customer_ref.as_deref(), institution.as_str());
    match linking::check_rejections(app, None, customer, act.checked()).await {
        Err(problem) if problem.code() == Code::CredentialsRefused => {
            let asked = Asked { bank: Some(institution), ..Asked::default() };
            return show::next(app, known, &asked, unchecked()).await;
        }
        checked => checked?,
    }
    let new = linking::new_connection(known.business, &institution, customer_ref, now);
    let (present, until) = (act.present.as_ref(), now.plus(AUTHORISATION_LIVES));
    if let Some(begun) = app.store.choose(known.id, &new, present, until, now).await? {
        tracing::info!(authorisation = %begun.id, connection = %new.id, institution, "agreed");
        app.nudge.ring(Bell::Schedule);
        linking::after_turn(app, begun, TURN_WAIT).await?;
    }
    Ok(to_page(app, known))
}

/// `POST /link/{token}/decline`: the customer says no.
pub async fn decline(
    State(api): State<Api>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Response, Page> {
    let act = Act::begin(&api, &token, request).await?;
    if matches!(act.known.state, AuthorisationState::Choosing | AuthorisationState::Prompted) {
        linking::fail(&api.app, &act.known, DECLINED).await?;
    }
    Ok(to_page(&api.app, &act.known))
}

/// `POST /link/{token}/answer`: what the bank's form asked for.
pub async fn answer(
    State(api): State<Api>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Response, Page> {
    let app = &api.app;
    let act = Act::begin(&api, &token, request).await?;
    let (known, mut typed) = (&act.known, act.typed);
    let Some(StandingAsk::Form(names)) = known.prompt.as_ref().map(|prompt| &prompt.ask) else {
        return Ok(to_page(app, known));
    };
    let fields = authorisations::fields(app, known.institution.as_deref(), names);
    let values: Vec<_> = fields
        .iter()
        .map(|field| (field, tidy(field.input, typed.remove(&field.name).unwrap_or_default())))
        .collect();
    let problems: Vec<Wrong> = values.iter().filter_map(|(field, value)| wrong(field, value)).collect();
    if !problems.is_empty() {
        return show::next(app, known, &Asked::default(), problems).await;
    }
    let values = values.into_iter().map(|(field, value)| (field.name.clone(), SecretText(value))).collect();
    match linking::answer(app, known.clone(), values).await {
        // Somebody was faster, or it ran out: the page says so.
        Err(problem) if problem.code() == Code::NotAsked => {}
        Err(problem) => return Err(problem.into()),
        Ok(_) => {}
    }
    Ok(to_page(app, known))
}

/// Without what a hand or a phone adds to names and codes; a password stays as it is.
fn tidy(input: Input, typed: Secret) -> Secret {
    match input {
        Input::Text => Secret::new(typed.reveal().trim()),
        Input::Code => {
            Secret::new(typed.reveal().chars().filter(|letter| !letter.is_whitespace()).collect::<String>())
        }
        Input::Password => typed,
    }
}

fn wrong(field: &FormField, value: &Secret) -> Option<Wrong> {
    let label = &field.label;
    let text = match value.reveal() {
        "" => format!("{label}: this is missing."),
        text if text.len() > TYPED_BYTES_MAX => format!("{label}: at most {TYPED_BYTES_MAX} characters."),
        text if text.chars().any(char::is_control) => format!("{label}: one line without special keys."),
        _ => return None,
    };
    Some(Wrong { field: show::field_id(&field.name), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_are_tidied_and_passwords_are_not() {
        let tidied = |input, text: &str| tidy(input, Secret::new(text)).reveal().to_owned();
        assert_eq!(tidied(Input::Text, " ada "), "ada");
        assert_eq!(tidied(Input::Code, " 123 456\u{a0}"), "123456");
        assert_eq!(tidied(Input::Password, " pass word "), " pass word ");
    }

    #[test]
    fn what_cannot_be_sent_to_a_bank_is_named_without_repeating_it() {
        let field = FormField { name: "pin".into(), label: "PIN".into(), input: Input::Password };
        let said = |text: &str| wrong(&field, &Secret::new(text)).map(|wrong| wrong.text);
        assert_eq!(said("1234"), None);
        assert_eq!(said("").as_deref(), Some("PIN: this is missing."));
        assert_eq!(said("12\n34").as_deref(), Some("PIN: one line without special keys."));
        assert_eq!(said(&"x".repeat(1_025)).as_deref(), Some("PIN: at most 1024 characters."));
    }
}
