//! The page on which a customer decides about a consent for signed requests.
//!
//! Must not know: who the customer is, what becomes of the decision.

use super::html::{day, escape, page};
use super::signed_consents::Request;
use crate::bank::spoil::Answer;
use axum::http::StatusCode;

/// The form, with something to say above it.
pub(super) fn question(request: &Request, notice: Option<&str>) -> Answer {
    let notice = notice.map(|text| format!("<p class='notice'>{}</p>\n", escape(text)));
    let inside = format!(
        "<h1>Share your accounts?</h1>\n{}<p>A business wants to read the balances and transactions of all your \
         accounts until {}.</p>\n<form method=\"post\">\n\
         <label>User&nbsp;name <input type=\"text\" name=\"username\" autocomplete=off></label>\n\
         <label>Password <input type=\"password\" name=\"password\"></label>\n\
         <button name=\"decision\" value=\"allow\">Allow</button>\n\
         <button name=\"decision\" value=\"deny\" formnovalidate>Deny</button>\n</form>",
        notice.unwrap_or_default(),
        day(request.valid_until),
    );
    page(StatusCode::OK, "Share your accounts", &inside)
}

pub(super) fn locked() -> Answer {
    page(StatusCode::OK, "Notice", "<p class='notice'>Your access is locked. Please call us.</p>")
}

pub(super) fn closed() -> Answer {
    page(StatusCode::NOT_FOUND, "Notice", "<p class='notice'>This request is no longer open.</p>")
}

/// Where the customer goes after a refusal: the same address, and its query says why.
pub(super) fn with_denial(redirect: &str) -> String {
    let (address, fragment) = redirect.split_once('#').map_or((redirect, None), |(a, b)| (a, Some(b)));
    let joint = if address.contains('?') { '&' } else { '?' };
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    format!("{address}{joint}error=access_denied{fragment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_keeps_the_query_of_the_redirect_address() {
        for (given, expected) in [
            ("https://a.example/cb", "https://a.example/cb?error=access_denied"),
            ("https://a.example/cb?state=x%20y", "https://a.example/cb?state=x%20y&error=access_denied"),
            ("https://a.example/cb?s=1#top", "https://a.example/cb?s=1&error=access_denied#top"),
        ] {
            assert_eq!(with_denial(given), expected);
        }
    }
}
