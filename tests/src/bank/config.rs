//! How a bank, its customers and their accounts are set up.

use super::clock::ClockStart;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// How a bank is set up.
#[derive(Debug, Clone)]
pub struct BankConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The origin that others know it by, if something stands before it; by default where it listens.
    pub known_as: Option<String>,
    /// The same seed gives the same histories, ids and tokens.
    pub seed: u64,
    /// The bank's clock.
    pub clock: ClockStart,
    /// Rows per page of transactions.
    pub page_rows: usize,
    /// How long an access token lives, by the bank's clock.
    pub access_token_lives: Duration,
    /// HTTP Basic at the token endpoint.
    pub client_id: String,
    /// HTTP Basic at the token endpoint.
    pub client_secret: String,
    /// Rows carry the booked balance after them (pending rows don't).
    pub row_balances: bool,
    /// Rows carry a `TransactionId`, which the specification leaves optional.
    pub row_ids: bool,
    /// A second listener that speaks TLS and demands the certificate of a registered client.
    pub mutual_tls: bool,
    /// So long after the customer agreed, by the bank's clock, history of more than 90 days is given.
    pub full_history_for: Duration,
}

impl Default for BankConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            known_as: None,
            seed: 1,
            clock: ClockStart::System,
            page_rows: 25,
            access_token_lives: Duration::from_secs(600),
            client_id: "tidegate-demo".into(),
            client_secret: "demo-bank-client-secret-0123456789".into(),
            row_balances: false,
            row_ids: true,
            mutual_tls: false,
            full_history_for: Duration::from_secs(300),
        }
    }
}

/// A customer to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewCustomer {
    /// Full name.
    pub name: String,
    /// In the order they are listed.
    pub accounts: Vec<NewAccount>,
}

/// An account to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccount {
    /// At most 70 characters.
    pub nickname: String,
    /// ISO 4217.
    pub currency: String,
    /// A savings account, not a current one.
    #[serde(default)]
    pub savings: bool,
    /// So many days of ordinary life up to now; 0 leaves it empty.
    #[serde(default)]
    pub history_days: u32,
}

impl NewCustomer {
    /// With a current and a savings account in GBP.
    pub fn with_two_accounts(name: &str, history_days: u32) -> Self {
        let account = |nickname: &str, savings| NewAccount {
            nickname: nickname.into(),
            currency: "GBP".into(),
            savings,
            history_days,
        };
        Self { name: name.into(), accounts: vec![account("Everyday", false), account("Rainy days", true)] }
    }
}
