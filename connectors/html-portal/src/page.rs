//! What every page has in common: where the portal is, what is no page at all, how things are written.

use serde::Deserialize;
use tidegate_sdk::html::{self, Token};
use tidegate_sdk::{Context, Failure, Profile, Reply, date, decimal, status};

/// What the profile may set.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// A session ends so many minutes after its last page.
    pub idle_minutes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { idle_minutes: 10 }
    }
}

/// The profile; its origin `portal` is where `/login` and `/accounts` lie.
pub fn profile(ask: &Context) -> Result<Profile<Settings>, Failure> {
    ask.profile()
}

/// An address of the portal.
pub fn url(ask: &Context, path: &str) -> Result<String, Failure> {
    Ok(format!("{}{path}", profile(ask)?.origin("portal")?))
}

/// The tags of a page behind the login.
///
/// Where the portal sends us to its login, or shows it, the session is over; a page that says it is
/// being improved, whatever its status, means that the bank cannot answer.
pub fn tokens<'r>(ask: &Context, reply: &'r Reply) -> Result<Vec<Token<'r>>, Failure> {
    if let 301..=303 = reply.status
        && reply.header("location").is_some_and(|to| to.split('?').next().unwrap_or(to).ends_with("/login"))
    {
        return Err(Failure::SessionExpired);
    }
    let text = std::str::from_utf8(&reply.body).map_err(|_| Failure::unreadable(None, "utf-8"))?;
    if text.contains("We are improving our service.") {
        return Err(Failure::BankUnavailable(None));
    }
    status::check(reply, ask.now_ms)?;
    let tokens = html::tokens(text);
    let asks_for_password =
        |token: &Token<'_>| token.opens("input") && token.attribute("type").as_deref() == Some("password");
    match tokens.iter().any(asks_for_password) {
        true => Err(Failure::SessionExpired),
        false => Ok(tokens),
    }
}

/// `-1,234.56` without its commas.
pub fn amount(written: &str) -> Option<String> {
    let plain = written.replace(',', "");
    decimal::with_sign(decimal::absolute(&plain), decimal::is_negative(&plain))
}

/// `-1,234.56 GBP`: amount and currency.
pub fn money(written: &str) -> Option<(String, String)> {
    let (number, currency) = written.split_once(' ')?;
    Some((amount(number)?, currency.trim().to_owned()))
}

/// `20 Mar 2026` as `2026-03-20`.
pub fn day(written: &str) -> Option<String> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = written.split(' ');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let text = format!("{year}-{month:02}-{day:0>2}");
    (parts.next().is_none() && date::civil(&text) == Some(text.as_str())).then_some(text)
}

/// `20 Mar 2026 12:00:05`, in UTC.
pub fn moment(written: &str) -> Option<u64> {
    let (date, time) = written.rsplit_once(' ')?;
    date::unix_ms(&format!("{}T{time}", day(date)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NOW, context, page};

    #[test]
    fn amounts_and_days_are_read_as_the_bank_writes_them() {
        assert_eq!(amount("-1,234.56").as_deref(), Some("-1234.56"));
        assert_eq!(amount("0.00").as_deref(), Some("0.00"));
        for bad in ["", "1e3", "£5.00", "--1", "1.2.3", " 1"] {
            assert_eq!(amount(bad), None, "{bad}");
        }
        assert_eq!(money("-3.20 GBP"), Some(("-3.20".into(), "GBP".into())));
        assert_eq!(money("-3.20"), None);
        assert_eq!(day("20 Mar 2026").as_deref(), Some("2026-03-20"));
        assert_eq!(day("5 Mar 2026").as_deref(), Some("2026-03-05"));
        for bad in ["20 March 2026", "30 Feb 2026", "20 Mar 26", "2026-03-20", "20 Mar 2026 1"] {
            assert_eq!(day(bad), None, "{bad}");
        }
        assert_eq!(moment("20 Mar 2026 12:00:05"), Some(NOW + 5_000));
    }

    #[test]
    fn what_is_no_page_says_what_it_is() {
        let check = |status: u16, body: &str, location: &str, expected: Failure| {
            let reply = page(status, body.as_bytes(), location);
            assert_eq!(tokens(&context(), &reply).err(), Some(expected), "{status} {body}");
        };
        check(303, "", "/portal/login", Failure::SessionExpired);
        check(302, "", "/portal/login?back=1", Failure::SessionExpired);
        check(303, "", "/portal/news", Failure::unreadable(None, "status-303"));
        check(200, "<form><input type=\"password\" name=p></form>", "", Failure::SessionExpired);
        let notice = "<p>We are improving our service. Please come back later.</p>";
        check(200, notice, "", Failure::BankUnavailable(None));
        check(503, notice, "", Failure::BankUnavailable(None));
        check(500, "", "", Failure::BankUnavailable(None));
        check(404, "<p>We do not know this account.</p>", "", Failure::NotSupported);
    }
}
