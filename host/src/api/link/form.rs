//! Forms that come back: only from our own pages, within limits. What was typed is kept secret and never
//! shown again.

use super::page::{self, Page};
use crate::api::{Api, extract};
use crate::model::Secret;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, ORIGIN};
use std::collections::BTreeMap;

/// Bytes of a form: eight fields of a kilobyte, each byte written as three.
pub const FORM_BYTES_MAX: usize = 32 * 1024;
/// Says where a request was made, in browsers since 2023.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The fields by name.
pub type Typed = BTreeMap<String, Secret>;

/// The whole form.
pub async fn read(request: Request, api: &Api) -> Result<Typed, Page> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(page::no_form());
    }
    let bytes = extract::read(request, api).await?;
    let fields = url::form_urlencoded::parse(&bytes);
    Ok(fields.map(|(name, value)| (name.into_owned(), Secret::new(value))).collect())
}

/// Was the form sent from a page of ours? Browsers say so themselves; an old one that says nothing is still
/// held to its cookie, which other sites' forms do not carry (`SameSite=Lax`).
pub fn comes_from_here(public_url: &str, headers: &HeaderMap) -> bool {
    let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    match (said(SEC_FETCH_SITE), said(ORIGIN.as_str())) {
        // `none`: the customer's own doing, such as loading a page again.
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        // `null`: our pages tell nobody where they are (`Referrer-Policy: no-referrer`).
        (None, None | Some("null")) => true,
        (None, Some(origin)) => {
            url::Url::parse(public_url).is_ok_and(|ours| ours.origin().ascii_serialization() == origin)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn check(said: &[(&'static str, &'static str)], expected: bool) {
        let headers =
            said.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let headers = headers.collect::<HeaderMap>();
        assert_eq!(comes_from_here("https://link.example/tidegate", &headers), expected, "{said:?}");
    }

    #[test]
    fn a_form_is_taken_from_our_own_pages_only() {
        check(&[("sec-fetch-site", "same-origin"), ("origin", "null")], true);
        check(&[("sec-fetch-site", "none")], true);
        check(&[("sec-fetch-site", "same-site"), ("origin", "https://link.example")], false);
        check(&[("sec-fetch-site", "cross-site")], false);
        check(&[("origin", "https://link.example")], true);
        check(&[("origin", "http://link.example")], false);
        check(&[("origin", "https://evil.example")], false);
        check(&[("origin", "null")], true);
        check(&[], true);
    }
}
