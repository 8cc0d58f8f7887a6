//! A browser, as far as a customer needs one to be sent to a bank and back: cookies, redirects, forms.
//!
//! It goes wherever it is sent on this machine; an address elsewhere is where the journey ends. Must not
//! know: whose pages these are. No scripts, no styles.

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Method, Url};
use tidegate_sdk::html::{self, Token};

/// Redirects in a row, as browsers allow them.
const REDIRECTS_MAX: usize = 20;

/// Why a page could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// Not an address.
    #[error("\"{0}\" is no address")]
    Address(String),
    /// Around in circles.
    #[error("more than {REDIRECTS_MAX} redirects")]
    Redirects,
    /// The page has no such thing.
    #[error("the page at {0} has no {1}: {2}")]
    Missing(String, &'static str, String),
}

/// One customer's browser, with one window.
#[derive(Debug, Clone)]
pub struct Browser {
    client: reqwest::Client,
    jar: Vec<Cookie>,
    /// What is shown.
    pub page: Page,
    /// Every address it has been to.
    pub history: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cookie {
    /// Host and port: banks and services on one machine are kept apart, unlike in a real browser.
    site: String,
    path: String,
    name: String,
    value: String,
}

/// What is shown.
#[derive(Debug, Clone)]
pub struct Page {
    /// Where it is, after all redirects, or where it would be if somebody were there.
    pub url: Url,
    /// Its status; 0 where nobody is.
    pub status: u16,
    /// Its HTML, or whatever it is.
    pub body: String,
}

/// A form on a page: what stands in its fields, and its buttons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Where it is sent.
    pub action: Url,
    /// `GET` or `POST`.
    pub method: Method,
    /// Name, type and value of each field, in order.
    pub fields: Vec<Field>,
}

/// A field or a button of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// As it is sent.
    pub name: String,
    /// `text`, `password`, `hidden`, `submit`, …
    pub kind: String,
    /// What stands in it.
    pub value: String,
    /// Not an empty box: those are not sent.
    pub ticked: bool,
}

fn address(text: &str) -> Result<Url, BrowserError> {
    Url::parse(text).map_err(|_| BrowserError::Address(text.to_owned()))
}

fn site(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

impl Browser {
    /// Fresh, without a cookie, on an empty page.
    pub fn new() -> Result<Self, BrowserError> {
        let none = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder().no_proxy().redirect(none).build()?;
        let page = Page { url: address("about:blank")?, status: 0, body: String::new() };
        Ok(Self { client, jar: Vec::new(), page, history: Vec::new() })
    }

    /// Goes to an address, and on from there wherever it is sent.
    pub async fn visit(&mut self, to: &str) -> Result<(), BrowserError> {
        self.go(Method::GET, address(to)?, String::new()).await
    }

    /// Sends the page's first form with these fields filled in; a button is a field too.
    pub async fn submit(&mut self, typed: &[(&str, &str)]) -> Result<(), BrowserError> {
        let form = self.page.form()?;
        let mut sent: Vec<(&str, &str)> = Vec::new();
        for field in &form.fields {
            let typed = typed.iter().find(|(name, value)| {
                // Of several buttons of a name, the one that was pressed.
                *name == field.name && (field.kind != "submit" || *value == field.value)
            });
            match (typed, field.kind.as_str()) {
                (Some((_, value)), _) => sent.push((&field.name, value)),
                (None, "submit") => {}
                (None, _) if !field.ticked => {}
                (None, _) => sent.push((&field.name, &field.value)),
            }
        }
        for (name, _) in typed {
            if form.fields.iter().all(|field| field.name != *name) {
                return Err(self.page.missing("field", name));
            }
        }
        let body = serde_urlencoded::to_string(&sent).unwrap_or_default();
        let mut url = form.action.clone();
        if form.method == Method::GET {
            url.set_query(Some(&body));
            return self.go(Method::GET, url, String::new()).await;
        }
        self.go(Method::POST, url, body).await
    }

    /// Asks, and goes on by GET as long as the answer is a redirect.
    async fn go(&mut self, method: Method, url: Url, body: String) -> Result<(), BrowserError> {
        let (mut method, mut url, mut body) = (method, url, body);
        for _ in 0..=REDIRECTS_MAX {
            self.history.push(url.to_string());
            if !matches!(url.host_str(), Some("127.0.0.1" | "localhost")) {
                self.page = Page { url, status: 0, body: String::new() };
                return Ok(());
            }
            let mut request = self.client.request(method.clone(), url.clone());
            if method == Method::POST {
                request =
                    request.header("content-type", "application/x-www-form-urlencoded").body(body.clone());
            }
            if let Some(cookies) = self.cookies(&url) {
                request = request.header(COOKIE, cookies);
            }
            let response = request.send().await?;
            let texts = response.headers().get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
            for set in texts.map(str::to_owned).collect::<Vec<_>>() {
                self.keep(&url, &set);
            }
            let status = response.status().as_u16();
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
            let Some(to) = to.filter(|_| (300..400).contains(&status)) else {
                self.page = Page { url, status, body: response.text().await? };
                return Ok(());
            };
            url = url.join(&to).map_err(|_| BrowserError::Address(to))?;
            (method, body) = (Method::GET, String::new());
        }
        Err(BrowserError::Redirects)
    }

    fn cookies(&self, url: &Url) -> Option<String> {
        let sent =
            self.jar.iter().filter(|cookie| cookie.site == site(url) && url.path().starts_with(&cookie.path));
        let pairs: Vec<String> = sent.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    fn keep(&mut self, url: &Url, set: &str) {
        let mut parts = set.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let (mut path, mut over) = ("/".to_owned(), false);
        for attribute in parts {
            match attribute.split_once('=') {
                Some((key, given)) if key.eq_ignore_ascii_case("path") => path = given.to_owned(),
                Some((key, "0")) if key.eq_ignore_ascii_case("max-age") => over = true,
                _ => {}
            }
        }
        let (site, name, value) = (site(url), name.to_owned(), value.to_owned());
        self.jar.retain(|old| !(old.site == site && old.name == name && old.path == path));
        if !over {
            self.jar.push(Cookie { site, path, name, value });
        }
    }
}

impl Page {
    fn missing(&self, what: &'static str, name: &str) -> BrowserError {
        BrowserError::Missing(self.url.to_string(), what, format!("{name}\n{}", self.body))
    }

    /// A parameter of its address; empty if there is none.
    pub fn parameter(&self, name: &str) -> String {
        let mut pairs = self.url.query_pairs();
        pairs.find(|pair| pair.0 == name).map_or_else(String::new, |pair| pair.1.into_owned())
    }

    /// The first form of the page.
    pub fn form(&self) -> Result<Form, BrowserError> {
        let tokens = html::tokens(&self.body);
        let start = tokens.iter().position(|token| token.opens("form"));
        let start = start.ok_or_else(|| self.missing("form", ""))?;
        let text = |token: &Token<'_>, name: &str| token.attribute(name).unwrap_or_default().into_owned();
        let tag = tokens[start];
        let action = self.url.join(&text(&tag, "action")).map_err(|_| self.missing("form", "action"))?;
        let method = match text(&tag, "method").to_ascii_lowercase().as_str() {
            "post" => Method::POST,
            _ => Method::GET,
        };
        let mut fields = Vec::new();
        for token in tokens[start..].iter().take_while(|token| **token != Token::Close("form")) {
            let kind = match token {
                _ if token.opens("button") => "submit".to_owned(),
                _ if token.opens("input") => text(token, "type"),
                _ => continue,
            };
            let (name, value) = (text(token, "name"), text(token, "value"));
            let ticked =
                !matches!(kind.as_str(), "checkbox" | "radio") || token.attribute("checked").is_some();
            if !name.is_empty() {
                fields.push(Field { name, kind, value, ticked });
            }
        }
        Ok(Form { action, method, fields })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn page(body: &str) -> Page {
        Page {
            url: Url::parse("https://bank.example/sca/1?x=1").unwrap(),
            status: 200,
            body: body.to_owned(),
        }
    }

    #[test]
    fn a_form_is_read_with_its_fields_and_buttons() {
        let form = page(
            "<form method=\"post\"><input type=hidden name=csrf value='a&amp;b'><input name=u><input type=checkbox name=box value=1>
             <button name=decision value=allow>Yes</button></form><input name=outside>",
        )
        .form()
        .unwrap();
        assert_eq!((form.action.as_str(), form.method), ("https://bank.example/sca/1?x=1", Method::POST));
        let fields: Vec<_> = form
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field.kind.as_str(), field.value.as_str(), field.ticked))
            .collect();
        let expected = [
            ("csrf", "hidden", "a&b", true),
            ("u", "", "", true),
            ("box", "checkbox", "1", false),
            ("decision", "submit", "allow", true),
        ];
        assert_eq!(fields, expected);
        assert!(page("<p>no form").form().is_err());
        assert_eq!(
            page("<form action=/login>").form().unwrap().action.as_str(),
            "https://bank.example/login"
        );
    }

    #[test]
    fn cookies_go_back_to_their_own_site_and_path_until_they_end() {
        let mut browser = Browser::new().unwrap();
        let url = |text: &str| Url::parse(text).unwrap();
        browser.keep(&url("http://127.0.0.1:1/a"), "sid=1; Path=/a; HttpOnly");
        assert_eq!(browser.cookies(&url("http://127.0.0.1:1/a/b")).as_deref(), Some("sid=1"));
        assert_eq!(browser.cookies(&url("http://127.0.0.1:1/b")), None);
        assert_eq!(browser.cookies(&url("http://127.0.0.1:2/a")), None);
        browser.keep(&url("http://127.0.0.1:1/a"), "sid=2; Path=/a");
        assert_eq!(browser.cookies(&url("http://127.0.0.1:1/a")).as_deref(), Some("sid=2"));
        browser.keep(&url("http://127.0.0.1:1/a"), "sid=; Path=/a; Max-Age=0");
        assert_eq!(browser.cookies(&url("http://127.0.0.1:1/a")), None);
    }
}
