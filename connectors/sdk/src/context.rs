//! What the host tells, made easy to read.

use crate::{Context, CredentialInfo, Failure, ids};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The institution's profile, as far as a connector sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct Profile<S> {
    /// Name to base URL, without a trailing slash.
    pub origins: BTreeMap<String, String>,
    /// Whatever the connector documents.
    pub settings: S,
}

impl<S> Profile<S> {
    /// The base URL of that name.
    ///
    /// Fails as `unreadable` with the field `profile.origins` if the profile lacks it; the host
    /// refuses such an institution before it asks.
    pub fn origin(&self, name: &str) -> Result<&str, Failure> {
        self.origins.get(name).map(String::as_str).ok_or_else(|| Failure::unreadable(None, "profile.origins"))
    }
}

impl Context {
    /// The profile, with the settings as the connector's own type.
    ///
    /// Fails as `unreadable` with a field under `profile`.
    pub fn profile<S: for<'a> Deserialize<'a>>(&self) -> Result<Profile<S>, Failure> {
        crate::json::document(self.profile.as_bytes()).map_err(|failure| failure.under("profile"))
    }

    /// The value of that name, if this connection has it.
    pub fn credential(&self, name: &str) -> Option<&CredentialInfo> {
        self.credentials.iter().find(|credential| credential.name == name)
    }

    /// A random UUID for this call; another one for each `index`.
    pub fn uuid(&self, index: u32) -> String {
        ids::uuid(&self.seed, index)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Settings {
        #[serde(default)]
        pages: u32,
    }

    fn context(profile: &str) -> Context {
        Context {
            now_ms: 0,
            seed: vec![7; 32],
            profile: profile.to_owned(),
            credentials: vec![CredentialInfo { name: "pin".into(), bytes: 4, expires_at_ms: None }],
            consent: None,
            customer_present: false,
            state: None,
        }
    }

    #[test]
    fn a_profile_is_read_with_the_connectors_own_settings() {
        let ask = context(r#"{"origins":{"api":"https://bank.example"},"settings":{"pages":3}}"#);
        let profile = ask.profile::<Settings>().unwrap();
        assert_eq!(profile.settings, Settings { pages: 3 });
        assert_eq!(profile.origin("api"), Ok("https://bank.example"));
        assert_eq!(profile.origin("auth"), Err(Failure::unreadable(None, "profile.origins")));
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let ask = context(r#"{"origins":{},"settings":{"pages":"many"}}"#);
        assert_eq!(
            ask.profile::<Settings>().unwrap_err(),
            Failure::unreadable(None, "profile.settings.pages")
        );
    }

    #[test]
    fn credentials_are_found_by_name() {
        let ask = context("{}");
        assert_eq!(ask.credential("pin").map(|pin| pin.bytes), Some(4));
        assert_eq!(ask.credential("token"), None);
    }
}
