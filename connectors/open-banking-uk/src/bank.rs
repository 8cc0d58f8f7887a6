//! What every resource of the bank has in common: headers of a request, and what a refusal means.

use serde::Deserialize;
use std::borrow::Cow;
use tidegate_sdk::json::Object;
use tidegate_sdk::oauth::Client;
use tidegate_sdk::{Context, Failure, Profile, Reply, Request, date, decimal, json, status};

/// How far back history goes when the customer is not just there: 90 days, less one, since the bank's
/// day may have begun before ours.
const HISTORY_DAYS: i64 = 89;

/// `[settings]` of the profile; unknown ones are passed over.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Settings {
    /// What the bank calls itself, if that is not its `authorise` origin.
    pub issuer: Option<String>,
    /// How long a consent is asked for; 0 for one without an end.
    pub consent_days: Option<u64>,
    /// What a consent is asked for.
    pub permissions: Option<Vec<String>>,
}

/// The profile.
pub fn profile(ask: &Context) -> Result<Profile<Settings>, Failure> {
    ask.profile()
}

/// The base URL of the account information API, e.g. `https://bank.example/open-banking/v3.1/aisp`.
pub fn api(ask: &Context) -> Result<String, Failure> {
    profile(ask)?.origin("api").map(str::to_owned)
}

/// We, at the bank's token endpoint.
pub fn client(ask: &Context) -> Result<Client<'_>, Failure> {
    Ok(Client::new(ask, format!("{}/token", profile(ask)?.origin("auth")?)))
}

/// A GET with the headers of the standard.
pub fn get(ask: &Context, url: &str) -> Request {
    Request::get(url)
        .header("accept", "application/json")
        .fapi(ask)
        .bearer("access-token")
        .fapi_customer(ask)
        .header_of_customer("x-customer-user-agent", "customer-user-agent", ask)
}

/// `Amount` and `Currency`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Amount<'a> {
    #[serde(borrow)]
    pub amount: Cow<'a, str>,
    #[serde(borrow)]
    pub currency: Cow<'a, str>,
}

/// `CreditDebitIndicator`. A zero is a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Direction {
    Credit,
    Debit,
}

impl Amount<'_> {
    /// With the sign that stands beside it.
    pub fn signed(&self, direction: Direction) -> Result<String, Failure> {
        let signed = decimal::with_sign(&self.amount, direction == Direction::Debit);
        signed.ok_or_else(|| Failure::unreadable(None, "Amount.Amount"))
    }
}

/// Every row says whose it is; it must be the account that was asked for.
pub fn check_account(its: &str, account: &str) -> Result<(), Failure> {
    if its == account { Ok(()) } else { Err(Failure::unreadable(None, "AccountId")) }
}

/// Passes a 2xx reply on, and turns a refusal into a failure.
///
/// The error body decides where it says something: a window that is refused is asked for again,
/// shorter, and a consent that is over is over whatever the status (banks use 400 and 403). A body
/// that cannot be read leaves it to the status.
pub fn check(ask: &Context, reply: &Reply) -> Result<(), Failure> {
    if let 400 | 403 = reply.status {
        let refusal: Object = json::document(&reply.body).unwrap_or_default();
        for reason in refusal.list("Errors").unwrap_or_default() {
            let said = |name| reason.text_if(name).ok().flatten().unwrap_or_default();
            match said("ErrorCode").as_ref() {
                _ if said("Path").contains("fromBookingDateTime") => {
                    return Err(Failure::WindowNotAvailable(None));
                }
                "UK.OBIE.Reauthenticate"
                | "UK.OBIE.Resource.InvalidConsentStatus"
                | "UK.OBIE.Resource.ConsentMismatch" => return Err(Failure::ConsentExpired),
                "UK.OBIE.Field.InvalidDate" => return Err(Failure::WindowNotAvailable(None)),
                "UK.OBIE.Resource.NotFound" => return Err(Failure::NotSupported),
                _ => {}
            }
        }
    }
    status::check(reply, ask.now_ms).map(|_| ())
}

/// The same for a list of transactions from `since` on.
///
/// Older history than 90 days needs a customer who was just there. The standard's word for that is
/// the one for a consent that is over, `UK.OBIE.Reauthenticate` with 403, and not every bank names
/// the field. So where an old window is refused, a younger one is asked for first: if the consent is
/// over, that is refused too.
pub fn check_history(ask: &Context, reply: &Reply, since: &str) -> Result<(), Failure> {
    let Err(failure) = check(ask, reply) else { return Ok(()) };
    let today = date::iso(ask.now_ms);
    let earliest = date::civil(&today).and_then(|today| date::plus_days(today, -HISTORY_DAYS));
    match (failure, earliest) {
        (Failure::ConsentExpired | Failure::WindowNotAvailable(None), Some(earliest))
            if reply.status == 403 && since < earliest.as_str() =>
        {
            Err(Failure::WindowNotAvailable(Some(earliest)))
        }
        (failure, _) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::*;
    use tidegate_sdk::{RateLimited, Scope};

    #[test]
    fn a_request_has_the_headers_of_the_standard() {
        let request = get(&context(), "https://api.bank.example/accounts");
        let header = |name: &str| request.header_text(name);
        assert_eq!(header("authorization").as_deref(), Some("Bearer {access-token}"));
        assert_eq!(header("accept").as_deref(), Some("application/json"));
        assert_eq!(header("x-fapi-interaction-id").as_deref(), Some("07070707-0707-4707-8707-070707070707"));
        assert_eq!(header("x-fapi-auth-date").as_deref(), Some("Sun, 01 Nov 2026 00:00:00 GMT"));
        assert_eq!(header("x-fapi-customer-ip-address"), None);
        assert_eq!(header("x-customer-user-agent"), None);
    }

    #[test]
    fn the_customers_address_is_sent_only_while_the_customer_is_present() {
        let mut ask = context();
        ask.customer_present = true;
        let request = get(&ask, "https://api.bank.example/accounts");
        assert_eq!(request.header_text("x-fapi-customer-ip-address").as_deref(), Some("{customer-ip}"));
        assert_eq!(request.header_text("x-fapi-auth-date").as_deref(), Some("Fri, 20 Nov 2026 12:00:00 GMT"));
        assert_eq!(request.header_text("x-customer-user-agent"), None);
        ask.credentials.push(credential("customer-user-agent", None));
        let request = get(&ask, "https://api.bank.example/accounts");
        assert_eq!(request.header_text("x-customer-user-agent").as_deref(), Some("{customer-user-agent}"));
    }

    #[test]
    fn a_refusal_says_what_the_bank_means() {
        let body = |code: &str, path: &str| {
            format!(
                r#"{{"Code":"4xx","Message":"no","Errors":[{{"ErrorCode":"{code}","Message":"no","Path":"{path}"}}]}}"#
            )
        };
        let limited = RateLimited { retry_after_s: None, scope: Scope::Connection };
        for (status, code, path, expected) in [
            (403, "UK.OBIE.Reauthenticate", "", Failure::ConsentExpired),
            (403, "UK.OBIE.Reauthenticate", "fromBookingDateTime", Failure::WindowNotAvailable(None)),
            (400, "UK.OBIE.Resource.InvalidConsentStatus", "", Failure::ConsentExpired),
            (400, "UK.OBIE.Field.InvalidDate", "", Failure::WindowNotAvailable(None)),
            (400, "UK.OBIE.Field.Invalid", "fromBookingDateTime", Failure::WindowNotAvailable(None)),
            (400, "UK.OBIE.Resource.NotFound", "", Failure::NotSupported),
            (400, "UK.OBIE.Header.Invalid", "", Failure::unreadable(None, "status-400")),
            (403, "Anything", "", Failure::ConsentExpired),
            (401, "UK.OBIE.Reauthenticate", "", Failure::SessionExpired),
            (429, "Anything", "", Failure::RateLimited(limited)),
            (500, "UK.OBIE.UnexpectedError", "", Failure::BankUnavailable(None)),
        ] {
            let reply = reply(status, body(code, path).as_bytes());
            assert_eq!(check(&context(), &reply), Err(expected), "{status} {code} {path}");
        }
        assert_eq!(check(&context(), &reply(403, b"<html>")), Err(Failure::ConsentExpired));
        assert_eq!(check(&context(), &reply(403, ERROR_WINDOW)), Err(Failure::WindowNotAvailable(None)));
        assert_eq!(check(&context(), &reply(403, ERROR_REAUTHENTICATE)), Err(Failure::ConsentExpired));
    }

    #[test]
    fn a_refused_list_is_the_windows_fault_first_if_the_window_is_old() {
        // Today is 2026-11-20.
        let shorter = || Err(Failure::WindowNotAvailable(Some("2026-08-23".into())));
        let check = |status, body: &[u8], since| check_history(&context(), &reply(status, body), since);
        for body in [ERROR_WINDOW, ERROR_REAUTHENTICATE, b""] {
            assert_eq!(check(403, body, "2026-08-22"), shorter());
        }
        assert_eq!(check(403, ERROR_REAUTHENTICATE, "2026-08-23"), Err(Failure::ConsentExpired));
        assert_eq!(check(403, ERROR_WINDOW, "2026-08-23"), Err(Failure::WindowNotAvailable(None)));
        assert_eq!(check(401, b"", "2020-01-01"), Err(Failure::SessionExpired));
        assert_eq!(check(200, b"", "2020-01-01"), Ok(()));
    }
}
