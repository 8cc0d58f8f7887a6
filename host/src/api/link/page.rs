//! Pages for people, and how a browser is sent on.

use super::browser::Browser;
use crate::api::problem::Problem;
use crate::app::App;
use crate::model::Authorisation;
use crate::vault::hash;
use axum::http::header::{CONTENT_TYPE, LOCATION, REFERRER_POLICY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// A page that says what went wrong and what to do.
#[derive(Debug)]
pub struct Page {
    /// HTTP status.
    pub status: StatusCode,
    /// What happened.
    pub title: String,
    /// What to do.
    pub text: String,
}

impl Page {
    /// What the JSON API would have said.
    pub fn of(problem: &Problem) -> Self {
        Self {
            status: problem.code().status(),
            title: problem.code().title().to_owned(),
            text: "Please go back to where you came from and begin again.".to_owned(),
        }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let text = format!("{}\n\n{}\n", self.title, self.text);
        (self.status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
    }
}

/// The link is not one of ours, or its authorisation was erased.
pub fn unknown_link() -> Page {
    Page {
        status: StatusCode::NOT_FOUND,
        title: "This link does not work any more".to_owned(),
        text: "Ask for a new one where you got it.".to_owned(),
    }
}

/// The bank sent a browser back with a state that we do not know (any more).
pub fn unknown_way_back() -> Page {
    Page {
        status: StatusCode::BAD_REQUEST,
        title: "This way back was used already, or is not known".to_owned(),
        text: "Please go back to where you came from and begin again.".to_owned(),
    }
}

/// Somebody else's link.
pub fn other_browser() -> Page {
    Page {
        status: StatusCode::FORBIDDEN,
        title: "This link was opened in another browser".to_owned(),
        text: "Go on there, or ask for a new link where you got this one.".to_owned(),
    }
}

/// The authorisation behind a link, and the browser it is bound to.
pub async fn opened(app: &App, token: &str, headers: &HeaderMap) -> Result<(Authorisation, Browser), Page> {
    let failed = |error| Page::of(&Problem::from(error));
    let found = app.store.authorisation_by_link(&hash(token)).await.map_err(failed)?;
    let authorisation = found.ok_or_else(unknown_link)?;
    let browser = Browser::of(headers).map_err(failed)?;
    if !browser.binds(app, &authorisation).await.map_err(failed)? {
        return Err(other_browser());
    }
    Ok((authorisation, browser))
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
