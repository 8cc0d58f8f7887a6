//! Headers of the Financial-grade API (FAPI 1.0 part 1, 6.2.1 and 6.2.2): which exchange this is, and when and
//! where the customer was there.
//!
//! ```
//! # use tidegate_sdk::{Context, Request};
//! # fn accounts(ask: &Context) -> Request {
//! Request::get("https://bank.example/accounts").fapi(ask).bearer("access-token").fapi_customer(ask)
//! # }
//! ```
//!
//! Must not know: what is asked for.

use crate::{Context, Part, Request, date};

impl Request {
    /// `x-fapi-interaction-id`: a UUID of this call.
    #[must_use]
    pub fn fapi(self, ask: &Context) -> Self {
        self.header("x-fapi-interaction-id", ask.uuid(0))
    }

    /// When the customer was there last, and where.
    ///
    /// `x-fapi-auth-date` is now while the customer is present, else when the consent was granted: the
    /// last moment we know the customer was there. `x-fapi-customer-ip-address` tells the bank that the
    /// customer is present, so it stands there only then; `customer-ip` must be declared.
    #[must_use]
    pub fn fapi_customer(mut self, ask: &Context) -> Self {
        let granted = || ask.consent.as_ref().map(|consent| consent.granted_at_ms);
        let seen_at = if ask.customer_present { Some(ask.now_ms) } else { granted() };
        if let Some(text) = seen_at.and_then(date::http_date) {
            self = self.header("x-fapi-auth-date", text);
        }
        match ask.customer_present {
            true => self.header_parts("x-fapi-customer-ip-address", vec![Part::value("customer-ip")]),
            false => self,
        }
    }

    /// A header with a value of the customer at the screen, if there is one and their browser told it.
    #[must_use]
    pub fn header_of_customer(self, header: &str, name: &str, ask: &Context) -> Self {
        match ask.credential(name) {
            Some(_) if ask.customer_present => self.header_parts(header, vec![Part::value(name)]),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConsentInfo, CredentialInfo};

    fn context(customer_present: bool) -> Context {
        let consent = ConsentInfo { granted_at_ms: 1_793_491_200_000, expires_at_ms: None, scopes: vec![] };
        Context {
            now_ms: 1_795_176_000_000,
            seed: vec![7; 32],
            profile: "{}".to_owned(),
            credentials: vec![CredentialInfo { name: "customer-ip".into(), bytes: 9, expires_at_ms: None }],
            consent: Some(consent),
            customer_present,
            state: None,
        }
    }

    #[test]
    fn the_bank_learns_when_and_where_the_customer_was_there() {
        let shown =
            |ask: &Context, name: &str| Request::get("x").fapi(ask).fapi_customer(ask).header_text(name);
        let (away, here) = (context(false), context(true));
        let id = shown(&away, "x-fapi-interaction-id");
        assert_eq!(id.as_deref(), Some("07070707-0707-4707-8707-070707070707"));
        assert_eq!(shown(&away, "x-fapi-auth-date").as_deref(), Some("Sun, 01 Nov 2026 00:00:00 GMT"));
        assert_eq!(shown(&away, "x-fapi-customer-ip-address"), None);
        assert_eq!(shown(&here, "x-fapi-auth-date").as_deref(), Some("Fri, 20 Nov 2026 12:00:00 GMT"));
        assert_eq!(shown(&here, "x-fapi-customer-ip-address").as_deref(), Some("{customer-ip}"));
        let unasked = Context { consent: None, ..away };
        assert_eq!(shown(&unasked, "x-fapi-auth-date"), None);
    }

    #[test]
    fn a_header_of_the_customer_needs_the_customer_and_the_value() {
        let header = |ask: &Context, name: &str| {
            Request::get("x").header_of_customer("psu", name, ask).header_text("psu")
        };
        assert_eq!(header(&context(true), "customer-ip").as_deref(), Some("{customer-ip}"));
        assert_eq!(header(&context(true), "customer-user-agent"), None);
        assert_eq!(header(&context(false), "customer-ip"), None);
    }
}
