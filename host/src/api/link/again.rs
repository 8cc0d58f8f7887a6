//! `POST /link/{token}/again`: a customer who failed tries once more, with the same connection.

use super::act::{self, Act};
use super::page::{self, Page};
use super::show::{self, Asked, DECLINED};
use crate::api::Api;
use crate::api::linking::{self, AUTHORISATION_LIVES, LINK_LIVES, TURN_WAIT};
use crate::api::problem::Code;
use crate::app::App;
use crate::model::{Authorisation, AuthorisationState, Connection, Wishes};
use crate::nudge::Bell;
use axum::extract::{Path, Request, State};
use axum::response::Response;

/// What a customer whose authorisation failed can do about it.
pub enum Chance {
    /// Nothing here.
    Nothing,
    /// Begin again.
    Again {
        /// What was to be authorised.
        connection: Box<Connection>,
        /// Only after a login at the bank itself: the bank refused twice.
        must_check: bool,
    },
    /// Go on with a newer authorisation of the same connection.
    Newer(Box<Authorisation>),
}

/// Is there a second chance? For a day at most: who comes later asks the business again.
pub async fn chance(app: &App, known: &Authorisation) -> Result<Chance, Page> {
    let (AuthorisationState::Failed, Some(connection), Some(institution), Some(ended_at)) =
        (known.state, known.connection, known.institution.as_deref(), known.ended_at)
    else {
        return Ok(Chance::Nothing);
    };
    match app.store.authorisation_of(connection).await? {
        Some(last) if last.id != known.id => return Ok(Chance::Newer(Box::new(last))),
        _ => {}
    }
    let reason = known.reason.as_deref().unwrap_or_default();
    let in_vain = matches!(reason, DECLINED | "superseded");
    let late = app.clock.now().since(ended_at) > LINK_LIVES;
    if in_vain || late || linking::available(app, institution).is_err() {
        return Ok(Chance::Nothing);
    }
    let found = app.store.connection(known.business, connection).await?;
    let Some(connection) = found.filter(|connection| !connection.state.is_over()) else {
        return Ok(Chance::Nothing);
    };
    let must_check = linking::must_check(app, Some(&connection), customer(known, &connection)).await?;
    Ok(Chance::Again { connection: Box::new(connection), must_check })
}

fn customer<'a>(
    known: &Authorisation,
    connection: &'a Connection,
) -> (crate::model::BusinessId, Option<&'a str>, &'a str) {
    (known.business, connection.customer_ref.as_deref(), connection.institution.as_str())
}

/// Begins again, in the same browser.
pub async fn again(
    State(api): State<Api>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Response, Page> {
    let (app, now) = (&api.app, api.app.clock.now());
    let act = Act::begin(&api, &token, request).await?;
    let known = &act.known;
    let Chance::Again { connection, .. } = chance(app, known).await? else {
        return Ok(act::to_page(app, known));
    };
    let customer = customer(known, &connection);
    match linking::check_rejections(app, Some(&connection), customer, act.checked()).await {
        Err(problem) if problem.code() == Code::CredentialsRefused => {
            return show::next(app, known, &Asked::default(), act::unchecked()).await;
        }
        checked => checked?,
    }
    let institution = Some(connection.institution.clone());
    let wishes = Wishes { customer: act.present.clone(), ..known.wishes.clone() };
    let until = now.plus(AUTHORISATION_LIVES);
    let new = linking::new_authorisation(known.business, institution, wishes, until)?;
    let begun = app.store.authorise_again(connection.id, &new, now).await?.ok_or_else(page::unknown_link)?;
    act.browser.binds(app, &begun).await?;
    tracing::info!(authorisation = %begun.id, before = %known.id, connection = %connection.id, "begun again");
    app.nudge.ring(Bell::Schedule);
    let begun = linking::after_turn(app, begun, TURN_WAIT).await?;
    Ok(act::to_page(app, &begun))
}
