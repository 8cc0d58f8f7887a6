//! A customer's browser, as far as pages without JavaScript need one: cookies, redirects, forms.
//!
//! It goes wherever it is sent on this machine; an address elsewhere is where the journey ends. Must
//! not know: whose pages they are.

use anyhow::{Context, ensure};
use reqwest::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, Url};
use std::collections::BTreeMap;

/// Redirects in a row: more are a circle.
const REDIRECTS_MAX: u32 = 10;

/// A browser with one window.
pub struct Browser {
    client: Client,
    /// Of this machine; as in real browsers, ports share them.
    cookies: BTreeMap<String, String>,
    /// Where it is, or where it would be if somebody were there.
    pub at: Url,
    /// Of the page; 0 where nobody is.
    pub status: u16,
    /// The page's text.
    pub page: String,
}

impl Browser {
    /// Without cookies, on an empty page.
    pub fn new() -> anyhow::Result<Self> {
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        let (cookies, at) = (BTreeMap::new(), Url::parse("about:blank")?);
        Ok(Self { client, cookies, at, status: 0, page: String::new() })
    }

    /// Goes to an address, and on from there wherever it is sent.
    pub async fn visit(&mut self, url: &str) -> anyhow::Result<()> {
        self.go(Method::GET, Url::parse(url)?, String::new()).await
    }

    /// Sends the page's form as it stands, but for these fields: they take the place of all of the same
    /// name, and a button is one of them.
    pub async fn submit(&mut self, fields: &[(&str, &str)]) -> anyhow::Result<()> {
        let form = self.page.split("<form ").nth(1).and_then(|rest| rest.split("</form>").next());
        let form = form.with_context(|| format!("there is no form on {}: {}", self.at, self.page))?;
        let said = |name: &str| fields.iter().any(|field| field.0 == name);
        let mut all: Vec<(String, String)> = Vec::new();
        for input in form.split("<input ").skip(1) {
            let input = input.split('>').next().unwrap_or_default();
            let kind = attribute(input, "type").unwrap_or_default();
            let ticked = !matches!(kind.as_str(), "checkbox" | "radio") || input.contains("checked");
            if let Some(name) = attribute(input, "name").filter(|name| ticked && !said(name)) {
                all.push((name, attribute(input, "value").unwrap_or_default()));
            }
        }
        all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let tag = form.split('>').next().unwrap_or_default();
        let mut action = self.at.join(&attribute(tag, "action").unwrap_or_default())?;
        let body = serde_urlencoded::to_string(all)?;
        if attribute(tag, "method").is_some_and(|method| method.eq_ignore_ascii_case("post")) {
            return self.go(Method::POST, action, body).await;
        }
        action.set_query(Some(&body));
        self.go(Method::GET, action, String::new()).await
    }

    /// A parameter of the address it is at; empty if there is none.
    pub fn parameter(&self, name: &str) -> String {
        let mut pairs = self.at.query_pairs();
        pairs.find(|pair| pair.0 == name).map_or_else(String::new, |pair| pair.1.into_owned())
    }

    async fn go(&mut self, method: Method, url: Url, body: String) -> anyhow::Result<()> {
        let (mut method, mut body) = (method, body);
        self.at = url;
        for _ in 0..REDIRECTS_MAX {
            if !matches!(self.at.host_str(), Some("127.0.0.1" | "localhost")) {
                (self.status, self.page) = (0, String::new());
                return Ok(());
            }
            let mut request = self.client.request(method, self.at.clone());
            if !body.is_empty() {
                request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
            }
            let cookies: Vec<_> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            if !cookies.is_empty() {
                request = request.header(COOKIE, cookies.join("; "));
            }
            let response = request.send().await.with_context(|| format!("{} does not answer", self.at))?;
            for cookie in response.headers().get_all(SET_COOKIE) {
                let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
                let (name, value) = pair.split_once('=').context("a cookie without a name")?;
                self.cookies.insert(name.trim().to_owned(), value.trim().to_owned());
            }
            self.status = response.status().as_u16();
            let location = response.headers().get(LOCATION).map(|to| to.to_str()).transpose()?;
            let next = location.map(|to| self.at.join(to)).transpose()?;
            self.page = response.text().await?;
            match next.filter(|_| (300..400).contains(&self.status)) {
                Some(next) => (self.at, method, body) = (next, Method::GET, String::new()),
                None => return Ok(()),
            }
        }
        ensure!(false, "more than {REDIRECTS_MAX} redirects, the last one to {}", self.at);
        Ok(())
    }
}

/// An attribute of a tag, in double quotes; without escapes.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    let value = rest.split('"').next()?;
    let plain = value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    Some(plain.replace("&amp;", "&"))
}
