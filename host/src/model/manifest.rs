//! What a connector asks for: `connector.toml`, carried inside the component. It grants nothing;
//! the operator approves the routes it resolves to at an institution.

use super::{Institution, Method};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name of the custom section of a component that carries `connector.toml`.
pub const MANIFEST_SECTION: &str = "tidegate:manifest";
/// The contract this host speaks.
pub const CONTRACT_VERSION: &str = "0.1.0";
/// Bytes of `connector.toml`: a page of text; more is not a manifest.
pub const MANIFEST_BYTES_MAX: usize = 64 * 1024;
/// Routes and values of one connector: the largest real ones have about ten.
pub const MANIFEST_ENTRIES_MAX: usize = 64;
/// Bytes of a mark's text: a sentence of a page.
pub const MARK_BYTES_MAX: usize = 256;
/// Bytes of a label: what stands beside an input field.
pub const LABEL_BYTES_MAX: usize = 128;

/// Values that the host makes itself while a customer authorises; no connector may declare them.
/// The first two are no secrets: the bank and the browser see them.
pub const REDIRECT_URI: &str = "redirect-uri";
/// See [`REDIRECT_URI`].
pub const REDIRECT_STATE: &str = "redirect-state";
/// RFC 7636: only its hash may go to the browser.
pub const PKCE_VERIFIER: &str = "pkce-verifier";

/// The value of kind `customer` that holds their address.
pub const CUSTOMER_IP: &str = "customer-ip";
/// The value of kind `customer` that holds what their browser calls itself.
pub const CUSTOMER_USER_AGENT: &str = "customer-user-agent";

/// What a route is for; decides what may be filled in and what is seen of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Opening or renewing a session: short secrets may be filled in, the reply is withheld but for
    /// the listed fields. Only from `session`.
    Login,
    /// Reading accounts, balances, transactions.
    Read,
    /// Telling the bank that something was stored. Only after the commit.
    Acknowledge,
    /// Ending the session or the consent. Only from `session` with the goal `close`.
    End,
    /// Where the customer's browser is sent. The host itself asks nothing there.
    Customer,
}

impl Purpose {
    /// Its name in `connector.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Read => "read",
            Self::Acknowledge => "acknowledge",
            Self::End => "end",
            Self::Customer => "customer",
        }
    }
}

/// How the body of a login reply is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplyEncoding {
    /// As it stands.
    #[default]
    Plain,
    /// RFC 4648, line breaks allowed: decoded before captures, fields and marks are looked for.
    Base64,
}

/// A route a connector declares: resolved against an institution's origins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RouteDeclaration {
    /// What `value.routes` calls it.
    pub name: String,
    /// Only this method.
    pub method: Method,
    /// Key of the institution's `[origins]`.
    pub origin: String,
    /// After the origin's own path: segments, where `*` stands for exactly one.
    pub path: String,
    /// What it is for.
    pub purpose: Purpose,
    /// For `login`: JSON fields of the reply that the connector may see, each by the names on its way
    /// joined by points.
    #[serde(default)]
    pub reply: Vec<String>,
    /// For `login`: names of texts; the connector is told which of them stand in the reply.
    #[serde(default)]
    pub marks: BTreeMap<String, String>,
    /// For `login`: names, each with two texts; the connector is told what stands between the first
    /// occurrence of one and the next of the other.
    #[serde(default)]
    pub texts: BTreeMap<String, (String, String)>,
    /// For `login`: how the reply's body is written.
    #[serde(default)]
    pub reply_encoding: ReplyEncoding,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueKind {
    /// Of the connection: handed in by the customer or captured from a reply.
    Credential,
    /// Of the business or operator: client id, signing key.
    Registration,
    /// Of the customer's browser: `customer-ip`, `customer-user-agent`.
    Customer,
    /// Of one authorisation: an OTP, or what the bank sends back with the customer's browser. Gone
    /// once the session is ready.
    Prompt,
}

impl ValueKind {
    /// Its name in `connector.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Registration => "registration",
            Self::Customer => "customer",
            Self::Prompt => "prompt",
        }
    }
}

/// How a value is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// Shown while it is typed.
    Text,
    /// Not shown.
    #[default]
    Password,
    /// Digits, used once.
    Code,
}

/// What may be done with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueUse {
    /// Written into a request, as it is or encoded.
    Fill,
    /// A private key for `sign`.
    Sign,
    /// A secret for `hmac` or `totp`.
    Mac,
}

/// A value a connector declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ValueDeclaration {
    /// What a request calls it.
    pub name: String,
    /// Where it comes from.
    pub kind: ValueKind,
    /// What may be done with it.
    #[serde(rename = "use")]
    pub usage: ValueUse,
    /// On which routes; undeclared means denied.
    pub routes: Vec<String>,
    /// Not a secret (a client id, an address): short values may be filled into any listed route,
    /// and replies are not searched for it.
    #[serde(default)]
    pub public: bool,
    /// A connection may lack it when it is created.
    #[serde(default)]
    pub optional: bool,
    /// What the customer calls it; what a form asks for needs one. A credential without one comes from the bank's
    /// replies only, see [`Self::is_password`].
    #[serde(default)]
    pub label: String,
    /// How a form asks for it.
    #[serde(default)]
    pub input: Input,
}

impl ValueDeclaration {
    /// A secret that a person knows: a bank that refuses it counts, and locks the login in the end. What a reply gave
    /// (a refresh token) the bank refuses without counting.
    pub fn is_password(&self) -> bool {
        self.kind == ValueKind::Credential && !self.public && !self.label.is_empty()
    }
}

/// Which accounts are wanted of one `read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadMode {
    /// One, so that its failure can't spoil another's reading.
    #[default]
    Single,
    /// All that are due: the bank gives one statement for all.
    Together,
}

/// `connector.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// Lower-case name, e.g. `open-banking-uk`.
    pub name: String,
    /// Semantic version of the connector.
    pub version: String,
    /// The contract it was built for.
    pub contract: String,
    /// One sentence for people.
    #[serde(default)]
    pub description: String,
    /// Which accounts one `read` is about.
    #[serde(default)]
    pub read: ReadMode,
    /// What it asks for.
    #[serde(default, rename = "route")]
    pub routes: Vec<RouteDeclaration>,
    /// What it may name.
    #[serde(default, rename = "value")]
    pub values: Vec<ValueDeclaration>,
}

/// Why a manifest is refused; the sentence says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// Not UTF-8, not TOML, or unknown or missing keys.
    #[error("connector.toml could not be read: {0}")]
    Syntax(String),
    /// Readable, but against a rule.
    #[error("connector.toml: {0}")]
    Rule(String),
}

impl Manifest {
    /// Reads and checks `connector.toml`.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadManifest> {
        let rule = |text: String| Err(BadManifest::Rule(text));
        if bytes.len() > MANIFEST_BYTES_MAX {
            return rule(format!("larger than {MANIFEST_BYTES_MAX} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| BadManifest::Syntax("not UTF-8".into()))?;
        let manifest: Self = toml::from_str(text).map_err(|error| BadManifest::Syntax(error.to_string()))?;
        if !is_name(&manifest.name) {
            return rule("`name` must be lower-case letters, digits and \"-\", at most 64".into());
        }
        if manifest.version.is_empty() || manifest.version.len() > 64 {
            return rule("`version` must be 1 to 64 characters".into());
        }
        if manifest.routes.len() > MANIFEST_ENTRIES_MAX || manifest.values.len() > MANIFEST_ENTRIES_MAX {
            return rule(format!("more than {MANIFEST_ENTRIES_MAX} routes or values"));
        }
        for (index, route) in manifest.routes.iter().enumerate() {
            if !is_name(&route.name) || !is_name(&route.origin) {
                return rule(format!("route {index}: `name` and `origin` must be lower-case names"));
            }
            if manifest.routes.iter().take(index).any(|other| other.name == route.name) {
                return rule(format!("route \"{}\" is declared twice", route.name));
            }
            if !route.path.starts_with('/') || route.path.contains(['?', '#', '%', '\\']) {
                return rule(format!(
                    "route \"{}\": `path` must start with \"/\" and hold no query",
                    route.name
                ));
            }
            if route
                .path
                .split('/')
                .any(|segment| segment == "." || segment == ".." || (segment.contains('*') && segment != "*"))
            {
                return rule(format!(
                    "route \"{}\": a path segment is \"*\" or plain text, never \"..\"",
                    route.name
                ));
            }
        }
        manifest.routes.iter().try_for_each(check_login)?;
        for (index, value) in manifest.values.iter().enumerate() {
            if own_value(&value.name).is_some() {
                return rule(format!("value \"{}\" is the host's own; it needs no declaration", value.name));
            }
            if value.label.len() > LABEL_BYTES_MAX || value.label.chars().any(char::is_control) {
                return rule(format!(
                    "value \"{}\": `label` has at most {LABEL_BYTES_MAX} bytes and no control characters",
                    value.name
                ));
            }
            if !is_name(&value.name) {
                return rule(format!("value {index}: `name` must be a lower-case name"));
            }
            if manifest.values.iter().take(index).any(|other| other.name == value.name) {
                return rule(format!("value \"{}\" is declared twice", value.name));
            }
            if let Some(unknown) =
                value.routes.iter().find(|name| manifest.routes.iter().all(|route| route.name != **name))
            {
                return rule(format!("value \"{}\" names the undeclared route \"{unknown}\"", value.name));
            }
        }
        Ok(manifest)
    }

    /// The declaration of a value.
    pub fn value(&self, name: &str) -> Option<&ValueDeclaration> {
        self.values.iter().find(|value| value.name == name)
    }

    /// What a form may ask the bank's customers for: what has a label.
    pub fn asked_for(&self) -> impl Iterator<Item = &ValueDeclaration> {
        let can_be = |kind| matches!(kind, ValueKind::Credential | ValueKind::Prompt);
        self.values.iter().filter(move |value| can_be(value.kind) && !value.label.is_empty())
    }

    /// Customers may be sent to the bank's own page.
    pub fn redirects(&self) -> bool {
        self.routes.iter().any(|route| route.purpose == Purpose::Customer)
    }
}

/// What only some purposes may say.
fn check_login(route: &RouteDeclaration) -> Result<(), BadManifest> {
    let rule = |text: &str| Err(BadManifest::Rule(format!("route \"{}\": {text}", route.name)));
    let only_login = !route.reply.is_empty()
        || !route.marks.is_empty()
        || !route.texts.is_empty()
        || route.reply_encoding != ReplyEncoding::Plain;
    if only_login && route.purpose != Purpose::Login {
        return rule(
            "`reply`, `marks`, `texts` and `reply-encoding` are for the purpose `login`; other replies are handed on whole",
        );
    }
    if route.purpose == Purpose::Customer && route.method != Method::Get {
        return rule("a browser is sent somewhere by GET");
    }
    let fits = |(name, text): (&String, &String)| is_name(name) && (1..=MARK_BYTES_MAX).contains(&text.len());
    if route.marks.len() > MANIFEST_ENTRIES_MAX || !route.marks.iter().all(fits) {
        return rule("a mark has a lower-case name and a text of 1 to 256 bytes");
    }
    let ends = |(name, (before, after)): (&String, &(String, String))| {
        fits((name, before)) && fits((name, after)) && !route.marks.contains_key(name)
    };
    if route.texts.len() > MANIFEST_ENTRIES_MAX || !route.texts.iter().all(ends) {
        return rule(
            "one of `texts` has a lower-case name that is no mark's, and stands between two texts of 1 to 256 bytes",
        );
    }
    Ok(())
}

/// Is it one of the host's own values, and if so, may replies hold it?
pub fn own_value(name: &str) -> Option<bool> {
    match name {
        REDIRECT_URI | REDIRECT_STATE => Some(true),
        PKCE_VERIFIER => Some(false),
        _ => None,
    }
}

/// Lower-case letters, digits and `-`, 1 to 64.
pub fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// A route at one institution: what is checked before a request leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// As declared.
    pub name: String,
    /// Only this method.
    pub method: Method,
    /// `https` or `http`.
    pub scheme: String,
    /// Exactly this host, in lower case.
    pub host: String,
    /// Exactly this port.
    pub port: u16,
    /// Segments, where `*` stands for exactly one.
    pub path: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Fields of a login reply that the connector may see.
    pub reply: Vec<String>,
    /// Texts of a login reply that the connector is told of.
    pub marks: BTreeMap<String, String>,
    /// What of a login reply the connector is told by the texts around it.
    pub texts: BTreeMap<String, (String, String)>,
    /// How a login reply is written.
    pub reply_encoding: ReplyEncoding,
}

impl Route {
    /// Does the path match, segment by segment? An empty segment never matches `*`.
    pub fn matches_path(&self, path: &str) -> bool {
        let mut wanted = self.path.split('/');
        let mut given = path.split('/');
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some("*"), Some(segment)) if !segment.is_empty() => {}
                (Some(wanted), Some(segment)) if wanted == segment => {}
                _ => return false,
            }
        }
    }

    /// One line for people: `POST https://bank.example:443/token (login)`.
    pub fn line(&self) -> String {
        format!(
            "{} {}://{}:{}{} ({})",
            self.method.name(),
            self.scheme,
            self.host,
            self.port,
            self.path,
            self.purpose.name()
        )
    }
}

/// Resolves a connector's routes at an institution.
///
/// Fails with a sentence when an origin is missing or is not an `http(s)` URL with a host.
pub fn resolve_routes(manifest: &Manifest, institution: &Institution) -> Result<Vec<Route>, String> {
    manifest
        .routes
        .iter()
        .map(|route| {
            let origin = institution.origins.get(&route.origin).ok_or_else(|| {
                format!(
                    "institution \"{}\" has no origin \"{}\"; add it under [origins] in its profile",
                    institution.id, route.origin
                )
            })?;
            let url =
                url::Url::parse(origin).map_err(|error| format!("origin \"{}\": {error}", route.origin))?;
            let (Some(host), Some(port), "http" | "https") =
                (url.host_str(), url.port_or_known_default(), url.scheme())
            else {
                return Err(format!("origin \"{}\" must be an http or https URL with a host", route.origin));
            };
            Ok(Route {
                name: route.name.clone(),
                method: route.method,
                scheme: url.scheme().to_owned(),
                host: host.to_ascii_lowercase(),
                port,
                path: format!("{}{}", url.path().trim_end_matches('/'), route.path),
                purpose: route.purpose,
                reply: route.reply.clone(),
                marks: route.marks.clone(),
                texts: route.texts.clone(),
                reply_encoding: route.reply_encoding,
            })
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(more: &str) -> Result<Manifest, String> {
        let text = format!("name = \"bank\"\nversion = \"1\"\ncontract = \"0.1.0\"\n{more}");
        Manifest::parse(text.as_bytes()).map_err(|error| error.to_string())
    }

    fn route(method: &str, purpose: &str, more: &str) -> Result<Manifest, String> {
        parse(&format!(
            "[[route]]\nname = \"r\"\nmethod = \"{method}\"\norigin = \"api\"\npath = \"/r\"\npurpose = \"{purpose}\"\n{more}"
        ))
    }

    #[test]
    fn only_a_login_route_says_what_of_its_reply_is_seen() {
        let said = ["reply = [\"a.b\"]", "marks = { refused = \"is wrong\" }", "reply-encoding = \"base64\""];
        for more in said {
            assert!(route("POST", "login", more).is_ok(), "{more}");
            assert!(route("GET", "read", more).unwrap_err().contains("for the purpose `login`"), "{more}");
        }
        for bad in ["marks = { refused = \"\" }", "marks = { Refused = \"x\" }"] {
            assert!(route("POST", "login", bad).unwrap_err().contains("a mark has"), "{bad}");
        }
    }

    #[test]
    fn a_browser_is_sent_by_get() {
        assert!(route("GET", "customer", "").is_ok());
        assert!(route("POST", "customer", "").unwrap_err().contains("by GET"));
    }

    #[test]
    fn the_hosts_own_values_cannot_be_declared_and_labels_are_short() {
        let value = |name: &str, label: &str| {
            parse(&format!(
                "[[value]]\nname = \"{name}\"\nkind = \"prompt\"\nuse = \"fill\"\nroutes = []\nlabel = \"{label}\"\ninput = \"code\""
            ))
        };
        assert_eq!(value("otp", "Code").unwrap().value("otp").map(|otp| otp.input), Some(Input::Code));
        for own in [REDIRECT_URI, REDIRECT_STATE, PKCE_VERIFIER] {
            assert!(value(own, "").unwrap_err().contains("the host's own"));
        }
        assert!(value("otp", &"x".repeat(LABEL_BYTES_MAX + 1)).unwrap_err().contains("`label`"));
    }
}
