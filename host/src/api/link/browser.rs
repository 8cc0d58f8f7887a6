//! Which browser it is: a random cookie of its own, of which only the hash is stored.

use crate::app::App;
use crate::model::{Authorisation, Secret};
use crate::store::StoreError;
use crate::vault::{self, hash};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};

/// The cookie's name.
const NAME: &str = "tidegate_browser";
/// Seconds that a browser is known for: as long as a link may be good.
const KNOWN_S: u64 = 7 * 24 * 3600;

/// A browser: known, or met for the first time.
pub struct Browser {
    token: Secret,
    new: bool,
}

impl Browser {
    /// The one that asks.
    pub fn of(headers: &HeaderMap) -> Result<Self, StoreError> {
        match known(headers) {
            Some(token) => Ok(Self { token, new: false }),
            None => Ok(Self { token: vault::random_token()?, new: true }),
        }
    }

    /// It sent our cookie.
    pub fn is_known(&self) -> bool {
        !self.new
    }

    /// May it look at an authorisation: one that is its own, or nobody's yet?
    pub async fn may_see(&self, app: &App, authorisation: &Authorisation) -> Result<bool, StoreError> {
        app.store.is_open_to(authorisation.id, &hash(self.token.reveal())).await
    }

    /// Binds an authorisation to this browser, if it is the first that comes; false if it is another's.
    pub async fn binds(&self, app: &App, authorisation: &Authorisation) -> Result<bool, StoreError> {
        app.store.bind_browser(authorisation.id, &hash(self.token.reveal())).await
    }

    /// Is the authorisation bound to this browser?
    pub async fn has(&self, app: &App, authorisation: &Authorisation) -> Result<bool, StoreError> {
        if self.new {
            return Ok(false);
        }
        app.store.is_browser_of(authorisation.id, &hash(self.token.reveal())).await
    }

    /// Lets the browser know itself by the answer's headers.
    pub fn tell(&self, app: &App, headers: &mut HeaderMap) {
        // Lax: the bank's redirect back is a navigation from another site.
        let secure = if app.config.public_url.starts_with("https:") { "; Secure" } else { "" };
        let cookie = format!(
            "{NAME}={}; Path=/; Max-Age={KNOWN_S}; HttpOnly; SameSite=Lax{secure}",
            self.token.reveal()
        );
        if let (true, Ok(cookie)) = (self.new, HeaderValue::from_str(&cookie)) {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

fn known(headers: &HeaderMap) -> Option<Secret> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|all| all.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let token = pairs.filter(|(name, _)| *name == NAME).map(|(_, value)| value).next()?;
    vault::is_token(token).then(|| Secret::new(token))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(cookie: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_str(cookie).unwrap());
        known(&headers).map(|token| token.reveal().to_owned())
    }

    #[test]
    fn a_browser_is_known_by_its_cookie_among_others() {
        let token = vault::random_token().unwrap().reveal().to_owned();
        assert_eq!(of(&format!("a=b; {NAME}={token}; c=d")), Some(token.clone()));
        assert_eq!(of(&format!("{NAME}x={token}")), None);
        assert_eq!(of(&format!("{NAME}=short")), None);
        assert_eq!(known(&HeaderMap::new()), None);
    }
}
