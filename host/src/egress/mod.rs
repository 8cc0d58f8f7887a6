//! The one way out of the process: banks and webhook receivers are reached through here.
//!
//! Checks routes and addresses, computes derived values, fills in credentials last, caps replies,
//! takes captures out. Must not know: the database, what a reply means.

use crate::clock::{Clock, Deadline};
use crate::model::{Manifest, Purpose, Registration, Reply, Request, Route, Secret};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// What the operator allows; see `[egress]` in `config.default.toml`.
#[derive(Debug, Clone, Default)]
pub struct EgressConfig {
    /// Exact addresses that are allowed although private, each as `IP:PORT`; over plain http too.
    pub allow: Vec<SocketAddr>,
    /// Time for one exchange with a bank, from connect to the last byte.
    pub bank_timeout: Duration,
    /// Time for one exchange with a webhook receiver.
    pub webhook_timeout: Duration,
}

/// The way out.
pub struct Egress {}

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

/// Cookies of one connection; serialised as JSON and kept sealed by the caller.
#[derive(Debug, Clone, Default)]
pub struct CookieJar {}

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
        /// `connect`, `timeout`, `tls`, `dns`, `reset`.
        code: &'static str,
        /// Which host.
        host: String,
    },
    /// The lease ran out before the request left.
    #[error("the lease ran out before the request left")]
    DeadlinePassed,
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
    /// Builds the clients.
    pub fn new(_config: EgressConfig, _clock: Clock) -> Self {
        todo!()
    }

    /// Checks, fills in and sends one request of a connector.
    ///
    /// GETs are retried twice on transport errors. Never follows a redirect.
    pub async fn send(
        &self,
        _call: &Call<'_>,
        _request: &Request,
        _jar: &mut CookieJar,
    ) -> Result<Exchange, EgressError> {
        todo!()
    }

    /// Searches text that a connector hands out (memory, state, rows) for secrets of at least 16 bytes.
    pub fn find_secret(
        _values: &BTreeMap<String, Secret>,
        _manifest: &Manifest,
        _text: &[u8],
    ) -> Option<String> {
        todo!()
    }

    /// POSTs a webhook. Reads at most 64 KiB of the answer. Never follows a redirect.
    pub async fn post(
        &self,
        _url: &str,
        _headers: &[(&'static str, String)],
        _body: Vec<u8>,
    ) -> Result<PostAnswer, EgressError> {
        todo!()
    }

    /// Would `post` accept this URL (scheme, port, literal addresses)? For checking at creation.
    pub fn check_webhook_url(&self, _url: &str) -> Result<(), EgressError> {
        todo!()
    }
}
