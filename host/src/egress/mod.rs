//! The one way out of the process: banks and webhook receivers are reached through here.
//!
//! Checks routes and addresses, computes derived values, fills in credentials last, caps replies,
//! takes captures out. Must not know: the database, what a reply means. Logs nothing.
//!
//! Traces leave here as well, to their collector (`collector`).
//!
//! Read `send` first: it has the order of things. Then `route` (where to), `value` (with what),
//! `address` and `client` (over which connection), `reply` (what comes back), `webhook`.

mod address;
mod capture;
mod client;
mod collector;
mod cookie;
mod crypto;
mod encoding;
mod header;
mod json;
mod limits;
mod pace;
mod reply;
mod route;
mod secret;
mod send;
mod transport;
mod value;
mod webhook;

pub use address::is_public;
pub use collector::Collector;
pub use cookie::CookieJar;
pub use limits::*;

use crate::clock::{Clock, Deadline};
use crate::model::{EgressProfile, Manifest, Purpose, Redirect, Registration, Reply, Request, Route, Secret};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// What the operator allows; see `[egress]` in `config.default.toml`.
#[derive(Debug, Clone)]
pub struct EgressConfig {
    /// Exact addresses that are allowed although private, each as `IP:PORT`; over plain http too.
    pub allow: Vec<SocketAddr>,
    /// Time for one exchange with a bank, from connect to the last byte.
    pub bank_timeout: Duration,
    /// Time for one exchange with a webhook receiver.
    pub webhook_timeout: Duration,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self { allow: Vec::new(), bank_timeout: BANK_TIMEOUT, webhook_timeout: WEBHOOK_TIMEOUT }
    }
}

/// The way out.
pub struct Egress {
    config: EgressConfig,
    limits: Limits,
    clock: Clock,
    clients: client::Clients,
    pace: pace::Pace,
}

/// On whose behalf and under which rules a request leaves.
pub struct Call<'a> {
    /// Which bank: one HTTP client per (institution, registration and its version).
    pub institution: &'a str,
    /// The business's standing there: client certificate, roots, values.
    pub registration: Option<&'a Registration>,
    /// The connector's declarations.
    pub manifest: &'a Manifest,
    /// The approved routes.
    pub routes: &'a [Route],
    /// Which purposes may be asked now.
    pub purposes: &'a [Purpose],
    /// Values by name: credentials, registration values, `customer-ip`, `customer-user-agent`.
    pub values: &'a BTreeMap<String, Secret>,
    /// The number of this request within the session, for the operation `counter`.
    pub counter: u64,
    /// May be sent again if its answer was lost, should the method allow it. Not so a login.
    pub repeats: bool,
    /// By which way it leaves: a proxy, an address of ours.
    pub way: &'a EgressProfile,
    /// How many requests a minute the bank allows; each waits for its place.
    pub requests_per_minute: Option<u32>,
    /// After it nothing is sent.
    pub deadline: &'a Deadline,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// For the connector: captures blanked, login bodies reduced.
    pub reply: Reply,
    /// For the vault: name and value of what was captured.
    pub captured: Vec<(String, Secret)>,
}

/// Why a request did not leave or its reply cannot be used. Sentences name routes, hosts and value
/// names, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The connector asked for something it may not: undeclared route, value, header, size.
    #[error("{0}")]
    Refused(String),
    /// The name resolves to an address that is not public and not allowed.
    #[error("{0}")]
    BlockedAddress(String),
    /// A secret stood in the reply.
    #[error("a secret stood in the reply to {0}")]
    SecretEchoed(String),
    /// The reply is larger than the cap, also after decompression.
    #[error("{0}")]
    ReplyTooLarge(String),
    /// The reply breaks HTTP or its encoding, or a required capture is missing.
    #[error("{0}")]
    BadReply(String),
    /// Refused, reset, timed out, TLS: a code and the host.
    #[error("{code}: {host}")]
    Unreachable {
        /// `connect`, `timeout`, `tls`, `dns`, `reset`; `proxy` if that did not lead there; `client-certificate`, `roots` if the registration's
        /// PEM cannot be used.
        code: &'static str,
        /// Which host.
        host: String,
        /// The request may have reached it.
        left: bool,
    },
    /// The bank allows so few requests a minute that this one would have left after the deadline.
    #[error("too many requests wait for this bank")]
    LineTooLong {
        /// How long it would have waited.
        wait: Duration,
    },
    /// The lease ran out before the request left.
    #[error("the lease ran out before the request left")]
    DeadlinePassed,
}

impl EgressError {
    /// The request may have reached the bank, whether or not something came back.
    pub fn may_have_left(&self) -> bool {
        match self {
            Self::Refused(_) | Self::BlockedAddress(_) | Self::LineTooLong { .. } | Self::DeadlinePassed => {
                false
            }
            Self::Unreachable { left, .. } => *left,
            Self::SecretEchoed(_) | Self::ReplyTooLarge(_) | Self::BadReply(_) => true,
        }
    }
}

/// The answer of a webhook receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After` in seconds (dates are turned into seconds from `now`).
    pub retry_after_s: Option<u64>,
}

impl Egress {
    /// Ready to send; clients are built when they are first needed.
    pub fn new(config: EgressConfig, clock: Clock) -> Self {
        Self::with_limits(config, clock, Limits::default())
    }

    /// The same with other limits: for showing that they matter.
    pub fn with_limits(config: EgressConfig, clock: Clock, limits: Limits) -> Self {
        let clients = client::Clients::new(&config.allow);
        Self { config, limits, clock, clients, pace: pace::Pace::default() }
    }

    /// Checks, fills in and sends one request of a connector.
    ///
    /// GETs are retried twice on transport errors. Never follows a redirect.
    pub async fn send(
        &self,
        call: &Call<'_>,
        request: &Request,
        jar: &mut CookieJar,
    ) -> Result<Exchange, EgressError> {
        send::send(self, call, request, jar).await
    }

    /// Where a connector sends the customer's browser, with values filled in: on a route with purpose
    /// `customer`, and without any secret.
    pub fn browser_url(&self, call: &Call<'_>, redirect: &Redirect) -> Result<String, EgressError> {
        send::browser_url(self, call, redirect)
    }

    /// Searches text that a connector hands out (memory, state, rows) for secrets of at least 16
    /// bytes, raw and encoded; the name of one that stands there.
    pub fn find_secret(
        values: &BTreeMap<String, Secret>,
        manifest: &Manifest,
        text: &[u8],
    ) -> Option<String> {
        secret::find_secret(values, manifest, text)
    }

    /// POSTs a webhook. Reads at most 64 KiB of the answer. Never follows a redirect.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<PostAnswer, EgressError> {
        webhook::post(self, url, headers, body).await
    }

    /// Would `post` accept this URL (scheme, port, literal addresses)? For checking at creation.
    pub fn check_webhook_url(&self, url: &str) -> Result<(), EgressError> {
        webhook::check(self, url).map(drop)
    }
}
