//! The pages: what stands in each template of `host/templates/link`, and the headers they go out with.
//!
//! Askama escapes what it is given. The style is the same for all but for the business's colour; the page's
//! policy allows exactly it, by its hash, and nothing else.

use crate::api::problem::Problem;
use crate::app::App;
use crate::model::{Business, Colour, Institution};
use crate::vault::hash;
use askama::Template;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

const STYLE: &str = include_str!("../../../templates/link/style.css");
/// What a page may do that has no style: send a form to us.
pub const POLICY: &str = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What stands around every page.
pub struct Frame {
    /// Whose page it is.
    pub business: String,
    foot: String,
    style: String,
}

impl Frame {
    /// Of a business's page.
    pub fn of(business: &Business) -> Self {
        let name = business.display_name();
        Self {
            business: name.to_owned(),
            foot: format!("Bank access for {name}, through Tidegate. It can only read."),
            style: style(business.colour()),
        }
    }

    /// Of a page that is nobody's.
    fn plain() -> Self {
        Self {
            business: "Bank access".to_owned(),
            foot: "Through Tidegate.".to_owned(),
            style: style(Colour::DEFAULT),
        }
    }
}

fn style(colour: Colour) -> String {
    format!(":root{{--accent:{colour}}}\n{STYLE}")
}

/// A bank, as customers are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Of its profile.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// In words.
    pub country: String,
}

impl Shown {
    /// Of a profile.
    pub fn of(institution: &Institution) -> Self {
        Self {
            id: institution.id.clone(),
            name: institution.name.clone(),
            country: super::country::name(&institution.country).to_owned(),
        }
    }

    /// By the id of a profile, which may be gone.
    pub fn find(app: &App, id: Option<&str>) -> Self {
        let id = id.unwrap_or_default();
        match app.institutions.get(id) {
            Some(bank) => Self::of(&bank.institution),
            None => Self { id: id.to_owned(), name: "your bank".to_owned(), country: String::new() },
        }
    }
}

/// Something to put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The id of the field; empty for the whole form.
    pub field: String,
    /// What is wrong.
    pub text: String,
}

impl Wrong {
    /// With the form as a whole.
    pub fn whole(text: impl Into<String>) -> Self {
        Self { field: String::new(), text: text.into() }
    }
}

/// A question of the consent, and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// For the customer to ask.
    pub question: &'static str,
    /// Whole sentences.
    pub sentences: Vec<String>,
}

/// A field of the bank's form.
pub struct Field {
    /// Within the page.
    pub id: String,
    /// In the form.
    pub name: String,
    /// What the customer calls it.
    pub label: String,
    /// Attributes that say how it is typed.
    pub kind: &'static str,
    /// There is something to put right in it.
    pub wrong: bool,
}

/// The way back to the business.
pub struct Back {
    /// Where.
    pub url: String,
    /// `button` if that is the next thing to do.
    pub class: &'static str,
}

/// The customer chooses the bank.
#[derive(Template)]
#[template(path = "link/choose.html")]
pub struct Choose {
    pub frame: Frame,
    pub here: String,
    pub asked: String,
    pub found: String,
    pub banks: Vec<Shown>,
}

/// The customer agrees.
#[derive(Template)]
#[template(path = "link/consent.html")]
pub struct Consent {
    pub frame: Frame,
    pub here: String,
    pub problems: Vec<Wrong>,
    pub bank: Shown,
    pub topics: Vec<Topic>,
    pub must_check: bool,
    pub can_choose: bool,
}

/// The bank asks for values.
#[derive(Template)]
#[template(path = "link/form.html")]
pub struct Form {
    pub frame: Frame,
    pub here: String,
    pub problems: Vec<Wrong>,
    pub bank: Shown,
    pub text: String,
    pub fields: Vec<Field>,
    pub max: usize,
}

/// The customer goes to the bank's own page.
#[derive(Template)]
#[template(path = "link/redirect.html")]
pub struct Redirect {
    pub frame: Frame,
    pub here: String,
    pub bank: Shown,
    pub text: String,
}

/// Nothing to do here now.
#[derive(Template)]
#[template(path = "link/waiting.html")]
pub struct Waiting {
    pub frame: Frame,
    pub here: String,
    pub bank: Shown,
    pub text: String,
    pub every_s: u32,
}

/// The end, well.
#[derive(Template)]
#[template(path = "link/ready.html")]
pub struct Ready {
    pub frame: Frame,
    pub bank: Shown,
    pub back: Option<Back>,
}

/// The end, not well.
#[derive(Template)]
#[template(path = "link/failed.html")]
pub struct Failed {
    pub frame: Frame,
    pub here: String,
    pub problems: Vec<Wrong>,
    pub bank: Shown,
    pub title: &'static str,
    pub text: &'static str,
    pub may_again: bool,
    pub must_check: bool,
    pub back: Option<Back>,
}

/// Anything else that has to be said.
#[derive(Template)]
#[template(path = "link/message.html")]
struct Message {
    frame: Frame,
    title: &'static str,
    text: &'static str,
}

/// A page that is nobody's.
pub fn message(status: StatusCode, title: &'static str, text: &'static str) -> Response {
    let page = Message { frame: Frame::plain(), title, text };
    answer(status, &page.frame, &page)
}

/// A page of a business, about something that cannot be done now.
pub fn said(frame: Frame, status: StatusCode, title: &'static str, text: &'static str) -> Response {
    let page = Message { frame, title, text };
    answer(status, &page.frame, &page)
}

/// A page as an answer.
pub fn answer(status: StatusCode, frame: &Frame, page: &impl Template) -> Response {
    let html = match page.render() {
        Ok(html) => html,
        Err(error) => return Problem::internal(&error).into_response(),
    };
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let policy = format!("{POLICY}; style-src 'sha256-{}'", BASE64.encode(hash(&frame.style)));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_page_allows_exactly_its_own_style() {
        let page = message(StatusCode::OK, "Title", "Text");
        let policy = page.headers().get(CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
        let frame = Frame::plain();
        let html = Message { frame, title: "Title", text: "Text" }.render().unwrap();
        let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        assert!(policy.ends_with(&format!("style-src 'sha256-{}'", BASE64.encode(hash(style)))), "{policy}");
        assert!(style.starts_with(":root{--accent:#1d3f72}"), "{style}");
        assert!(!html.contains("<script") && !html.contains(" style="), "{html}");
    }

    #[test]
    fn what_a_business_or_a_bank_is_called_is_shown_as_text() {
        let bank = Shown { id: "b".into(), name: "<b>\"&'".into(), country: "GB".into() };
        let page = Waiting {
            frame: Frame { business: "A </title><script>".into(), ..Frame::plain() },
            here: "/link/x".into(),
            bank,
            text: "<img src=x>".into(),
            every_s: 3,
        };
        let html = page.render().unwrap();
        assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("<b>"), "{html}");
        assert!(html.contains("A &#60;/title&#62;&#60;script&#62;"), "{html}");
    }
}
