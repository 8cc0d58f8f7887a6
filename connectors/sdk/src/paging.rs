//! Following the bank's link to the next page without being led astray or in circles.

use crate::Failure;
use serde::{Deserialize, Serialize};

/// Pages of one list: with 25 rows a page, ten times a busy quarter. More is a list without an end.
pub const PAGES_MAX: usize = 400;

/// Which pages of one list were seen. Goes into memory: 8 bytes for each page, whatever the links
/// look like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pages {
    seen: Vec<u64>,
}

impl Pages {
    /// The URL of the next page: `link`, as the bank wrote it on the page that was asked for as
    /// `current`.
    ///
    /// The link may be absolute or relative (RFC 3986), and must stay on the origin and path of
    /// `current`: only the query may change. Fails as `unreadable` with `field` when it leads
    /// elsewhere or after [`PAGES_MAX`] pages, and as `pages-changed` when it leads to a page seen
    /// before.
    pub fn follow(&mut self, current: &str, link: &str, field: &str) -> Result<String, Failure> {
        let astray = || Failure::unreadable(None, field);
        let next = resolve(current, link).ok_or_else(astray)?;
        let hash = fnv1a(&next);
        if self.seen.is_empty() {
            self.seen.push(fnv1a(current));
        }
        if self.seen.contains(&hash) {
            return Err(Failure::PagesChanged);
        }
        if self.seen.len() >= PAGES_MAX {
            return Err(astray());
        }
        self.seen.push(hash);
        Ok(next)
    }
}

/// `link` against `current`, if it differs from it in the query at most.
fn resolve(current: &str, link: &str) -> Option<String> {
    let link = link.split('#').next().unwrap_or(link);
    let here = current.split(['?', '#']).next()?;
    let (scheme, rest) = here.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (place, query) = match link.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (link, None),
    };
    let last = path.rsplit('/').next().unwrap_or(path);
    let same = if place.is_empty() {
        query.is_some()
    } else if let Some((their_scheme, rest)) = place.split_once("://") {
        let (their_authority, their_path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        their_scheme.eq_ignore_ascii_case(scheme)
            && without_default_port(their_scheme, their_authority)
                .eq_ignore_ascii_case(without_default_port(scheme, authority))
            && their_path == path
    } else if place.starts_with("//") {
        false
    } else if place.starts_with('/') {
        place == path
    } else {
        place == last
    };
    // Spelled our way, so that one page has one spelling.
    same.then(|| match query {
        Some(query) => format!("{here}?{query}"),
        None => here.to_owned(),
    })
}

fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    authority.strip_suffix(port).unwrap_or(authority)
}

/// FNV-1a, 64 bits (draft-eastlake-fnv): no defence, only a short name for a link.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CURRENT: &str = "https://bank.example/v3/accounts/1/transactions?from=x";

    fn check(link: &str, expected: Option<&str>) {
        let got = Pages::default().follow(CURRENT, link, "Links.Next");
        let expected = expected.map(str::to_owned).ok_or(Failure::unreadable(None, "Links.Next"));
        assert_eq!(got, expected, "{link}");
    }

    #[test]
    fn a_link_may_be_absolute_or_relative() {
        let expected = Some("https://bank.example/v3/accounts/1/transactions?page=2");
        check("https://bank.example/v3/accounts/1/transactions?page=2", expected);
        check("HTTPS://Bank.Example:443/v3/accounts/1/transactions?page=2", expected);
        check("/v3/accounts/1/transactions?page=2", expected);
        check("transactions?page=2", expected);
        check("?page=2", expected);
        check("?page=2#top", expected);
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_refused() {
        for link in [
            "https://evil.example/v3/accounts/1/transactions?page=2",
            "https://bank.example.evil.example/v3/accounts/1/transactions?page=2",
            "https://bank.example@evil.example/v3/accounts/1/transactions?page=2",
            "https://bank.example:8443/v3/accounts/1/transactions?page=2",
            "http://bank.example/v3/accounts/1/transactions?page=2",
            "//evil.example/v3/accounts/1/transactions?page=2",
            "/v3/accounts/2/transactions?page=2",
            "/v3/accounts/1/../2/transactions?page=2",
            "../2/transactions?page=2",
            "javascript:alert(1)",
            "",
            "#top",
        ] {
            check(link, None);
        }
    }

    #[test]
    fn a_list_that_goes_in_circles_has_changed() {
        let mut pages = Pages::default();
        assert_eq!(pages.clone().follow(CURRENT, CURRENT, "Next"), Err(Failure::PagesChanged));
        let second = pages.follow(CURRENT, "?page=2", "Next").unwrap();
        let third = pages.follow(&second, "?page=3", "Next").unwrap();
        assert_eq!(pages.follow(&third, "?page=2", "Next"), Err(Failure::PagesChanged));
        assert_eq!(pages.follow(&third, "?from=x", "Next"), Err(Failure::PagesChanged));
    }

    #[test]
    fn a_list_without_an_end_is_stopped_and_its_memory_stays_small() {
        let mut pages = Pages::default();
        let mut at = CURRENT.to_owned();
        let mut asked = 1;
        let failure = loop {
            match pages.follow(&at, &format!("?page={asked}"), "Links.Next") {
                Ok(next) => at = next,
                Err(failure) => break failure,
            }
            asked += 1;
        };
        assert_eq!((asked, failure), (PAGES_MAX, Failure::unreadable(None, "Links.Next")));
        assert!(crate::memory::save(&pages).unwrap().len() < 16 * 1024);
    }
}
