//! To the bank and back: the redirect of an authorisation.
//!
//! The way back is good once, in the browser that went (RFC 6749, 10.12): its `state` is compared by hash,
//! and the browser by its cookie.

use super::browser::Browser;
use super::page::{self, Page};
use crate::api::Api;
use crate::api::linking;
use crate::app::App;
use crate::model::{Authorisation, AuthorisationState, Returned, Secret, StandingAsk};
use crate::vault::hash;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use std::collections::BTreeMap;

/// Bytes of one parameter that comes back: codes have up to about two kilobytes.
const PARAMETER_BYTES_MAX: usize = 8 * 1_024;

/// `GET /link/{token}/go`: on to the bank's page.
pub async fn go(
    State(api): State<Api>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Page> {
    let app = &api.app;
    let (authorisation, browser) = page::opened(app, &token, &headers).await?;
    let answer = match authorisation.prompt.as_ref().map(|prompt| &prompt.ask) {
        Some(StandingAsk::Redirect { url, .. }) => page::see_other(url),
        // The page says what is next instead.
        _ => page::see_other(&linking::link_url(app, &authorisation)),
    };
    Ok(page::known_to(app, &browser, answer))
}

/// `GET /v1/callback`: back from the bank.
pub async fn come_back(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Page> {
    let app = &api.app;
    let parameters: BTreeMap<String, String> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let state = parameters.get("state").map(|state| hash(state)).ok_or_else(page::unknown_way_back)?;
    let found = app.store.authorisation_by_redirect(&state).await?;
    let authorisation = found.ok_or_else(page::unknown_way_back)?;
    if !Browser::of(&headers)?.has(app, &authorisation).await? {
        tracing::warn!(authorisation = %authorisation.id, "a way back was brought by another browser");
        return Err(page::other_browser());
    }
    let Some(StandingAsk::Redirect { returned, .. }) =
        authorisation.prompt.as_ref().map(|prompt| &prompt.ask)
    else {
        return Err(page::unknown_way_back());
    };
    match values(&parameters, returned) {
        Ok(values) => {
            let then = linking::go_on(app, authorisation, &values, Some(&state)).await?;
            Ok(page::see_other(&onward(app, &then)))
        }
        Err(reason) => {
            linking::fail(app, &authorisation, reason).await?;
            let then = app.store.authorisation(authorisation.business, authorisation.id).await?;
            let then = then.ok_or_else(page::unknown_way_back)?;
            Ok(page::see_other(&onward(app, &then)))
        }
    }
}

/// What comes back as values of the connector; or why there is nothing to go on with.
fn values(
    parameters: &BTreeMap<String, String>,
    returned: &[Returned],
) -> Result<BTreeMap<String, Secret>, &'static str> {
    if let Some(error) = parameters.get("error") {
        // RFC 6749, 4.1.2.1. The rest of its list says that we or the bank did something wrong.
        return Err(if error == "access_denied" { "customer-refused" } else { "bank-refused" });
    }
    let mut values = BTreeMap::new();
    for wanted in returned {
        match parameters.get(&wanted.parameter).filter(|text| !text.is_empty()) {
            Some(text) if text.len() > PARAMETER_BYTES_MAX => return Err("bank-refused"),
            Some(text) => drop(values.insert(wanted.name.clone(), Secret::new(text))),
            None if wanted.required => return Err("bank-refused"),
            None => {}
        }
    }
    Ok(values)
}

/// Where the browser goes on: to the business if its own pages lead the customer or all is well, else to ours,
/// where a customer who failed can try again.
pub fn onward(app: &App, authorisation: &Authorisation) -> String {
    let theirs = authorisation.state == AuthorisationState::Ready || !authorisation.wishes.hosted;
    match authorisation.wishes.return_to.as_deref().filter(|_| theirs) {
        Some(return_to) => returning(return_to, authorisation),
        None => linking::link_url(app, authorisation),
    }
}

/// The business's address, with what came of it.
pub fn returning(return_to: &str, authorisation: &Authorisation) -> String {
    let Ok(mut url) = url::Url::parse(return_to) else { return return_to.to_owned() };
    let state = serde_json::to_value(authorisation.state).unwrap_or_default();
    {
        let mut query = url.query_pairs_mut();
        if let Some(connection) = authorisation.connection {
            query.append_pair("connection_id", &connection.to_string());
        }
        query.append_pair("authorisation_id", &authorisation.id.to_string());
        query.append_pair("state", state.as_str().unwrap_or_default());
    }
    url.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(query: &[(&str, &str)], expected: Result<&[(&str, &str)], &'static str>) {
        let parameters =
            query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let returned = [
            Returned { parameter: "code".into(), name: "authorisation-code".into(), required: true },
            Returned { parameter: "iss".into(), name: "issuer".into(), required: false },
        ];
        let found = values(&parameters, &returned);
        let expected = expected.map(|pairs| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
        });
        assert_eq!(found, expected, "{query:?}");
    }

    #[test]
    fn what_comes_back_becomes_values_and_an_error_ends_it() {
        check(
            &[("code", "c"), ("state", "s"), ("iss", "i")],
            Ok(&[("authorisation-code", "c"), ("issuer", "i")]),
        );
        check(&[("code", "c")], Ok(&[("authorisation-code", "c")]));
        check(&[("iss", "i")], Err("bank-refused"));
        check(&[("code", "")], Err("bank-refused"));
        check(&[("code", "c"), ("error", "access_denied")], Err("customer-refused"));
        check(&[("error", "server_error")], Err("bank-refused"));
        let long = "x".repeat(PARAMETER_BYTES_MAX + 1);
        check(&[("code", &long)], Err("bank-refused"));
    }
}
