//! What a business hands in for a customer: credentials, consent and names, checked.
//!
//! Pure: the time comes as an argument. Refusals name fields, never values.

use crate::api::extract::SecretText;
use crate::api::problem::{Answer, Problem};
use crate::model::{Manifest, NewConsent, NewCredential, Timestamp, ValueKind, Wishes};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// Bytes of one credential: certificates and tokens have up to about four kilobytes.
const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;
/// Credentials of one connection: the largest connectors declare about ten.
const CREDENTIALS_MAX: usize = 32;
/// Bytes of a customer reference, consent reference, scope or way of consent: names, not documents.
const TEXT_BYTES_MAX: usize = 256;
/// Scopes of a consent: UK Open Banking knows about twenty.
const SCOPES_MAX: usize = 64;
/// Account numbers that may be wished for: as many as a connection may have.
const ACCOUNTS_WANTED_MAX: usize = 1_000;
/// Bytes of a return address: what browsers take.
const RETURN_TO_BYTES_MAX: usize = 2_048;
/// How far the caller's clock may be ahead of ours.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(300);

/// What a customer agreed to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentGiven {
    /// When it was given.
    #[schema(value_type = String, format = DateTime)]
    granted_at: Timestamp,
    /// When it ends by itself, if the bank said so.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The permissions, in the bank's words.
    #[schema(max_items = 64, example = json!(["ReadAccountsDetail", "ReadBalances", "ReadTransactionsDetail"]))]
    scopes: Vec<String>,
    /// How it was given, in your words.
    #[schema(example = "redirect", max_length = 256)]
    how: String,
    /// Your or the bank's reference.
    #[serde(default)]
    #[schema(max_length = 256)]
    reference: Option<String>,
}

/// Which accounts are wanted.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum AccountsWanted {
    /// `"all"`.
    Word(String),
    /// Only those with these numbers, as the bank writes them.
    Numbers(Vec<String>),
}

/// What a business wishes of an authorisation.
#[derive(Default, Deserialize, ToSchema)]
pub struct Wished {
    /// Your own name for the customer; erased with the connection.
    #[serde(default)]
    #[schema(max_length = 256)]
    pub customer_ref: Option<String>,
    /// `"all"` (by default), or the numbers (IBANs, …) of the accounts that are wanted.
    #[serde(default)]
    #[schema(example = json!("all"))]
    pub accounts: Option<AccountsWanted>,
    /// Where the customer's browser goes in the end: https, or http on the customer's own machine.
    /// `connection_id`, `authorisation_id` and `state` are added to its query.
    #[serde(default)]
    #[schema(max_length = 2048)]
    pub return_to: Option<String>,
    /// What you need the data for, in words for the customer.
    #[serde(default)]
    #[schema(max_length = 256)]
    pub purpose: Option<String>,
}

/// `hosted`: our own page leads the customer.
pub fn check_wishes(asked: Wished, hosted: bool) -> Answer<Wishes> {
    check_text("customer_ref", asked.customer_ref.as_deref().unwrap_or("-"))?;
    check_text("purpose", asked.purpose.as_deref().unwrap_or("-"))?;
    if let Some(url) = &asked.return_to {
        check_return(url)?;
    }
    let accounts = match asked.accounts {
        None => None,
        Some(AccountsWanted::Word(word)) if word == "all" => None,
        Some(AccountsWanted::Numbers(numbers)) if (1..=ACCOUNTS_WANTED_MAX).contains(&numbers.len()) => {
            numbers.iter().try_for_each(|number| check_text("accounts", number))?;
            Some(numbers)
        }
        Some(_) => {
            return Err(Problem::invalid(format!(
                "accounts: \"all\", or a list of 1 to {ACCOUNTS_WANTED_MAX} account numbers."
            )));
        }
    };
    Ok(Wishes {
        customer_ref: asked.customer_ref,
        return_to: asked.return_to,
        accounts,
        purpose: asked.purpose,
        hosted,
        customer: None,
    })
}

fn check_return(text: &str) -> Answer<()> {
    let local = |url: &url::Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let fits = url::Url::parse(text).is_ok_and(|url| {
        url.host_str().is_some()
            && url.username().is_empty()
            && (url.scheme() == "https" || (url.scheme() == "http" && local(&url)))
    });
    if fits && text.len() <= RETURN_TO_BYTES_MAX {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "return_to: an https address (http only on localhost) of at most {RETURN_TO_BYTES_MAX} bytes."
    )))
}

pub fn check_credentials(
    manifest: Option<&Manifest>,
    given: BTreeMap<String, SecretText>,
    expiry: &BTreeMap<String, Timestamp>,
    now: Timestamp,
) -> Answer<Vec<NewCredential>> {
    let declared: BTreeMap<&str, bool> = manifest
        .into_iter()
        .flat_map(|manifest| &manifest.values)
        .filter(|value| value.kind == ValueKind::Credential)
        .map(|value| (value.name.as_str(), value.optional))
        .collect();
    let names = || declared.keys().copied().collect::<Vec<_>>().join(", ");
    if given.len() > CREDENTIALS_MAX {
        return Err(Problem::invalid(format!("credentials: at most {CREDENTIALS_MAX}.")));
    }
    if given.keys().any(|name| !declared.contains_key(name.as_str())) {
        return Err(Problem::invalid(format!("credentials: this institution takes only {}.", names())));
    }
    if let Some((name, _)) =
        declared.iter().find(|(name, optional)| !**optional && !given.contains_key(**name))
    {
        return Err(Problem::invalid(format!(
            "credentials: \"{name}\" is missing; this institution takes {}.",
            names()
        )));
    }
    for (name, value) in &given {
        if !(1..=CREDENTIAL_BYTES_MAX).contains(&value.0.reveal().len()) {
            return Err(Problem::invalid(format!(
                "credentials: \"{name}\" must have 1 to {CREDENTIAL_BYTES_MAX} bytes."
            )));
        }
    }
    if expiry.keys().any(|name| !given.contains_key(name)) {
        return Err(Problem::invalid("credential_expiry: names a credential that is not in `credentials`."));
    }
    if let Some((name, _)) = expiry.iter().find(|(_, expires_at)| **expires_at <= now) {
        return Err(Problem::invalid(format!("credential_expiry: \"{name}\" has already run out.")));
    }
    let with_expiry = |(name, value): (String, SecretText)| {
        let expires_at = expiry.get(&name).copied();
        NewCredential { name, value: value.0, expires_at }
    };
    Ok(given.into_iter().map(with_expiry).collect())
}

pub fn check_consent(given: ConsentGiven, now: Timestamp) -> Answer<NewConsent> {
    if given.granted_at > now.plus(CLOCK_SKEW_MAX) {
        return Err(Problem::invalid("consent.granted_at: lies in the future."));
    }
    if given.expires_at.is_some_and(|expires_at| expires_at <= now || expires_at <= given.granted_at) {
        return Err(Problem::invalid("consent.expires_at: must lie in the future and after granted_at."));
    }
    if given.scopes.len() > SCOPES_MAX {
        return Err(Problem::invalid(format!("consent.scopes: at most {SCOPES_MAX}.")));
    }
    for scope in &given.scopes {
        check_text("consent.scopes", scope)?;
    }
    check_text("consent.how", &given.how)?;
    check_text("consent.reference", given.reference.as_deref().unwrap_or("-"))?;
    Ok(NewConsent {
        granted_at: given.granted_at,
        expires_at: given.expires_at,
        scopes: given.scopes,
        how: given.how,
        reference: given.reference,
    })
}

pub fn check_text(field: &str, text: &str) -> Answer<()> {
    if (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "{field}: must have 1 to {TEXT_BYTES_MAX} bytes and no control characters."
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Secret;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

    fn manifest() -> Manifest {
        let text = r#"
            name = "example"
            version = "1.0.0"
            contract = "0.1.0"
            value = [
                { name = "refresh-token", kind = "credential", use = "fill", routes = [] },
                { name = "access-token", kind = "credential", use = "fill", routes = [], optional = true },
                { name = "client-id", kind = "registration", use = "fill", routes = [] },
            ]
        "#;
        Manifest::parse(text.as_bytes()).unwrap()
    }

    fn credentials(
        given: &[(&str, &str)],
        expiry: &[(&str, Timestamp)],
    ) -> Result<Vec<NewCredential>, String> {
        let given =
            given.iter().map(|(name, text)| ((*name).to_owned(), SecretText(Secret::new(*text)))).collect();
        let expiry = expiry.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect();
        check_credentials(Some(&manifest()), given, &expiry, NOW)
            .map_err(|problem| problem.json().to_string())
    }

    fn refused(given: &[(&str, &str)], expiry: &[(&str, Timestamp)], word: &str) {
        let said = credentials(given, expiry).unwrap_err();
        assert!(said.contains(word) && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn credentials_are_those_the_connector_declares() {
        let later = Timestamp(NOW.0 + 1);
        let taken = credentials(&[("refresh-token", "hunter2")], &[("refresh-token", later)]).unwrap();
        let expected = NewCredential {
            name: "refresh-token".into(),
            value: Secret::new("hunter2"),
            expires_at: Some(later),
        };
        assert_eq!(taken, [expected]);
        assert_eq!(credentials(&[("refresh-token", "a"), ("access-token", "b")], &[]).unwrap().len(), 2);

        let long = "x".repeat(CREDENTIAL_BYTES_MAX + 1);
        refused(&[("access-token", "hunter2")], &[], "\\\"refresh-token\\\" is missing");
        refused(
            &[("refresh-token", "hunter2"), ("password", "hunter2")],
            &[],
            "takes only access-token, refresh-token",
        );
        refused(&[("refresh-token", "hunter2"), ("client-id", "hunter2")], &[], "takes only");
        refused(&[("refresh-token", "")], &[], "1 to 8192 bytes");
        refused(&[("refresh-token", &long)], &[], "1 to 8192 bytes");
        refused(&[("refresh-token", "hunter2")], &[("access-token", later)], "not in `credentials`");
        refused(&[("refresh-token", "hunter2")], &[("refresh-token", NOW)], "already run out");
    }

    fn consent(change: impl FnOnce(&mut ConsentGiven)) -> Result<NewConsent, String> {
        let mut given = ConsentGiven {
            granted_at: NOW,
            expires_at: Some(Timestamp(NOW.0 + 1)),
            scopes: vec!["ReadBalances".into()],
            how: "redirect".into(),
            reference: None,
        };
        change(&mut given);
        check_consent(given, NOW).map_err(|problem| problem.json().to_string())
    }

    #[test]
    fn a_consent_lies_in_the_past_and_ends_in_the_future() {
        assert!(consent(|_| {}).is_ok());
        assert!(
            consent(|given| given.granted_at = NOW.plus(CLOCK_SKEW_MAX)).is_err(),
            "it would end before it began"
        );
        let within_skew = |given: &mut ConsentGiven| {
            given.granted_at = NOW.plus(CLOCK_SKEW_MAX);
            given.expires_at = None;
        };
        assert!(consent(within_skew).is_ok());
        let check = |change: fn(&mut ConsentGiven), word: &str| {
            let said = consent(change).unwrap_err();
            assert!(said.contains(word), "{said}");
        };
        check(|given| given.granted_at = Timestamp(NOW.plus(CLOCK_SKEW_MAX).0 + 1), "consent.granted_at");
        check(|given| given.expires_at = Some(NOW), "consent.expires_at");
        check(|given| given.how = String::new(), "consent.how");
        check(|given| given.how = "a\nb".into(), "consent.how");
        check(|given| given.reference = Some("x".repeat(257)), "consent.reference");
        check(|given| given.scopes = vec!["x".into(); 65], "consent.scopes");
    }
}
