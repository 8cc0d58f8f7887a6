//! Who may see or do what with a link, the pages that say no, and how a browser is sent on.

use super::browser::Browser;
use super::{form, view};
use crate::api::linking;
use crate::api::problem::{Code, Problem};
use crate::app::App;
use crate::model::{Authorisation, AuthorisationState};
use crate::store::StoreError;
use crate::vault::{self, hash};
use axum::http::header::{LOCATION, REFERRER_POLICY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// A page that says what went wrong and what to do.
#[derive(Debug)]
pub struct Page {
    /// HTTP status.
    pub status: StatusCode,
    /// What happened.
    pub title: &'static str,
    /// What to do.
    pub text: &'static str,
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        view::message(self.status, self.title, self.text)
    }
}

/// What the JSON API would have said, in words for customers.
impl From<Problem> for Page {
    fn from(problem: Problem) -> Self {
        let (title, text) = match problem.code() {
            Code::BodyTooLarge => {
                ("That was too much", "Go back and send less: no field takes so many characters.")
            }
            Code::SlowRequest => ("That took too long to arrive", "Go back and send it again."),
            Code::NotAsked => {
                ("This was answered already", "Go back to where you came from and begin again.")
            }
            Code::InstitutionUnavailable => {
                ("This bank cannot be reached at the moment", "Please try again later.")
            }
            _ => ("Something went wrong on our side", "Please try again in a moment."),
        };
        Self { status: problem.code().status(), title, text }
    }
}

impl From<StoreError> for Page {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Erased => unknown_link(), // the customer left meanwhile
            error => Problem::from(error).into(),
        }
    }
}

/// The link is not one of ours, or its authorisation was erased.
pub fn unknown_link() -> Page {
    Page {
        status: StatusCode::NOT_FOUND,
        title: "This link does not work any more",
        text: "Ask for a new one where you got it.",
    }
}

/// The bank sent a browser back with a state that we do not know (any more).
pub fn unknown_way_back() -> Page {
    Page {
        status: StatusCode::BAD_REQUEST,
        title: "This way back was used already, or is not known",
        text: "Please go back to where you came from and begin again.",
    }
}

/// Somebody else's link.
pub fn other_browser() -> Page {
    Page {
        status: StatusCode::FORBIDDEN,
        title: "This link was opened in another browser",
        text: "Go on there, or ask for a new link where you got this one.",
    }
}

/// A form that another site sent.
fn other_site() -> Page {
    Page {
        status: StatusCode::FORBIDDEN,
        title: "This was not sent from our page",
        text: "Open your link again and go on there.",
    }
}

/// A form from a browser that does not send our cookie.
fn no_cookie() -> Page {
    Page {
        status: StatusCode::FORBIDDEN,
        title: "Your browser does not keep our cookie",
        text: "It is how we know that it is still you. Allow cookies for this page, then open your link again.",
    }
}

/// Something else than a form.
pub fn no_form() -> Page {
    Page {
        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
        title: "This was not sent from our page",
        text: "Open your link again and go on there.",
    }
}

/// The authorisation behind a link, for a browser that only looks. Before the customer agreed and when all is
/// over, looking binds nobody: a link in an e-mail is opened by programs first.
pub async fn seen(app: &App, token: &str, headers: &HeaderMap) -> Result<(Authorisation, Browser), Page> {
    let authorisation = found(app, token).await?;
    let browser = Browser::of(headers)?;
    let may = match authorisation.state {
        AuthorisationState::Asking | AuthorisationState::Prompted => {
            browser.binds(app, &authorisation).await?
        }
        _ => browser.may_see(app, &authorisation).await?,
    };
    if may { Ok((authorisation, browser)) } else { Err(other_browser()) }
}

/// The same for a browser that goes on: from now on it is this browser's.
pub async fn opened(app: &App, token: &str, headers: &HeaderMap) -> Result<(Authorisation, Browser), Page> {
    let authorisation = found(app, token).await?;
    let browser = Browser::of(headers)?;
    if !browser.binds(app, &authorisation).await? {
        return Err(other_browser());
    }
    Ok((authorisation, browser))
}

/// The same for a browser that sends a form, which only our own page may, and only with our cookie.
pub async fn acting(app: &App, token: &str, headers: &HeaderMap) -> Result<(Authorisation, Browser), Page> {
    if !form::comes_from_here(&app.config.public_url, headers) {
        return Err(other_site());
    }
    if !Browser::of(headers)?.is_known() {
        return Err(no_cookie());
    }
    opened(app, token, headers).await
}

async fn found(app: &App, token: &str) -> Result<Authorisation, Page> {
    if !vault::is_token(token) {
        return Err(unknown_link());
    }
    let found = app.store.authorisation_by_link(&hash(token)).await?.ok_or_else(unknown_link)?;
    if found.state.is_over() || found.expires_at > app.clock.now() {
        return Ok(found);
    }
    // Its time is over, and nobody need wait for housekeeping to say so.
    linking::fail(app, &found, "expired").await?;
    app.store.authorisation(found.business, found.id).await?.ok_or_else(unknown_link)
}

/// Sends the browser on, without telling where it came from.
pub fn see_other(url: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(url) = HeaderValue::from_str(url) {
        response.headers_mut().insert(LOCATION, url);
    }
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The answer, with which the browser knows itself.
pub fn known_to(app: &App, browser: &Browser, mut response: Response) -> Response {
    browser.tell(app, response.headers_mut());
    response
}
