//! What a connector asks for: `connector.toml`, carried inside the component. It grants nothing;
//! the operator approves the routes it resolves to at an institution.

use super::{Institution, Method};
use serde::{Deserialize, Serialize};

/// Name of the custom section of a component that carries `connector.toml`.
pub const MANIFEST_SECTION: &str = "tidegate:manifest";
/// The contract this host speaks.
pub const CONTRACT_VERSION: &str = "0.1.0";
/// Bytes of `connector.toml`: a page of text; more is not a manifest.
pub const MANIFEST_BYTES_MAX: usize = 64 * 1024;
/// Routes and values of one connector: the largest real ones have about ten.
pub const MANIFEST_ENTRIES_MAX: usize = 64;

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
    /// For `login`: top-level JSON fields of the reply that the connector may see.
    #[serde(default)]
    pub reply: Vec<String>,
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
        for (index, value) in manifest.values.iter().enumerate() {
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
        let purpose = match self.purpose {
            Purpose::Login => "login",
            Purpose::Read => "read",
            Purpose::Acknowledge => "acknowledge",
            Purpose::End => "end",
        };
        format!(
            "{} {}://{}:{}{} ({purpose})",
            self.method.name(),
            self.scheme,
            self.host,
            self.port,
            self.path
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
            })
        })
        .collect()
}
