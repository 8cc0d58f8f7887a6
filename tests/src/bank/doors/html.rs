//! HTML as a bank's old portal writes it, and the forms that come back.
//!
//! Must not know: accounts, sessions.

use crate::bank::money;
use crate::bank::spoil::Answer;
use axum::http::{StatusCode, header};
use chrono::{DateTime, NaiveDate, Utc};
use std::collections::HashMap;

/// Text between tags or in an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\'' => written.push_str("&#39;"),
            '£' => written.push_str("&pound;"),
            '\u{a0}' => written.push_str("&nbsp;"),
            plain if plain.is_ascii() => written.push(plain),
            other => written.push_str(&format!("&#x{:X};", u32::from(other))),
        }
    }
    written
}

/// A whole page.
pub(super) fn page(status: StatusCode, title: &str, inside: &str) -> Answer {
    let title = escape(title);
    let html = format!(
        "<!DOCTYPE html>\n<html lang=en>\n<head><meta charset=\"utf-8\">\n<title>{title} &ndash; Demo \
         Bank</title>\n<link href='/portal/style.css' rel=stylesheet>\n<!-- <title>Old Portal</title> -->\n\
         </head>\n<body class=\"portal\">\n<div id='head'><b>Demo&nbsp;Bank</b> &copy; 2026</div>\n\
         {inside}\n</body>\n</html>\n"
    );
    let mut answer = Answer::new(status, html.into_bytes());
    answer.header(header::CONTENT_TYPE.as_str(), "text/html; charset=utf-8");
    answer.header(header::CACHE_CONTROL.as_str(), "no-store");
    answer
}

/// What a bank shows at night: status 200, and only the text says that this is no answer.
pub(in crate::bank) fn maintenance() -> Answer {
    let text = "<p class=\"notice\">We are improving our service. Please come back later.</p>";
    page(StatusCode::OK, "Demo Bank", text)
}

/// Go there; with a cookie to keep, if there is one.
pub(super) fn see_other(to: &str, cookie: Option<&str>) -> Answer {
    let mut answer = Answer::new(StatusCode::SEE_OTHER, Vec::new());
    answer.header(header::LOCATION.as_str(), to);
    if let Some(cookie) = cookie {
        answer.header(header::SET_COOKIE.as_str(), cookie);
    }
    answer
}

/// The fields of a form; none if it is not one.
pub(super) fn form(body: &[u8]) -> HashMap<String, String> {
    serde_urlencoded::from_bytes(body).unwrap_or_default()
}

/// -123456 in GBP is `-1,234.56`.
pub(super) fn amount(minor: i64, currency: &str) -> String {
    let plain = money::unsigned_text(minor, currency);
    let (whole, part) = plain.split_once('.').map_or((plain.as_str(), None), |(a, b)| (a, Some(b)));
    let mut written = String::from(if minor < 0 { "-" } else { "" });
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    if let Some(part) = part {
        written.push('.');
        written.push_str(part);
    }
    written
}

/// `20 Mar 2026`.
pub(super) fn day(day: NaiveDate) -> String {
    day.format("%d %b %Y").to_string()
}

/// `20 Mar 2026 12:00:05`.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.format("%d %b %Y %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_grouped_in_thousands_with_their_sign_in_front() {
        for (minor, currency, written) in [
            (-123_456, "GBP", "-1,234.56"),
            (5, "GBP", "0.05"),
            (-99_999, "EUR", "-999.99"),
            (123_456_789_012, "GBP", "1,234,567,890.12"),
            (-1_200, "JPY", "-1,200"),
            (1_234_567, "KWD", "1,234.567"),
        ] {
            assert_eq!(amount(minor, currency), written);
        }
    }

    #[test]
    fn nothing_that_a_customer_wrote_can_be_taken_for_a_tag() {
        assert_eq!(
            escape("<b>'Tom' & \"Jerry\"</b>"),
            "&lt;b&gt;&#39;Tom&#39; &amp; &quot;Jerry&quot;&lt;/b&gt;"
        );
        assert_eq!(escape("£5\u{a0}café"), "&pound;5&nbsp;caf&#xE9;");
    }
}
