//! UK Open Banking account information (AISP) 3.1.11, as a Tidegate connector.
//!
//! Source of every field: the OpenAPI document of the standard, `account-info-openapi-3.1.11.json`.
//! What banks may do beyond it is not guessed: a reply that is not as promised is `unreadable`.
//!
//! [`session`] finds a way in: what was handed in, or the customer's [`consent`], traded at the token
//! endpoint (`tidegate_sdk::oauth`). [`accounts`] lists, [`read`] walks over the wanted accounts: pages of
//! [`transactions`], then [`balances`].

mod accounts;
mod balances;
mod bank;
mod consent;
mod read;
mod session;
mod transactions;

use tidegate_sdk::{AccountsStep, Connector, Context, Goal, ReadStep, Reply, SessionStep, Want};

/// The connector.
#[derive(Debug, Clone, Copy)]
pub struct OpenBankingUk;

impl Connector for OpenBankingUk {
    fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> SessionStep {
        session::session(ask, goal, memory, replies).into()
    }
    fn accounts(ask: &Context, memory: &str, replies: &[Reply]) -> AccountsStep {
        accounts::accounts(ask, memory, replies).into()
    }
    fn read(ask: &Context, wants: &[Want], memory: &str, replies: &[Reply]) -> ReadStep {
        read::read(ask, wants, memory, replies).into()
    }
}

tidegate_sdk::export!(OpenBankingUk);

#[cfg(test)]
mod fixtures;
