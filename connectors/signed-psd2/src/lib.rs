//! PSD2 account information as JSON behind signed requests, Berlin Group's NextGenPSD2 in spirit: every request
//! carries a digest of its body and a signature over it, and a customer decides on the bank's page.
//!
//! [`bank`] signs and says what a refusal means, [`session`] gets a consent and ends it, [`rows`] reads.

mod bank;
mod rows;
mod session;

use tidegate_sdk::{AccountsStep, Connector, Context, Goal, ReadStep, Reply, SessionStep, Want};

/// The connector.
#[derive(Debug, Clone, Copy)]
pub struct SignedPsd2;

impl Connector for SignedPsd2 {
    fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> SessionStep {
        session::session(ask, goal, memory, replies).into()
    }
    fn accounts(ask: &Context, _memory: &str, replies: &[Reply]) -> AccountsStep {
        rows::accounts(ask, replies).into()
    }
    fn read(ask: &Context, wants: &[Want], memory: &str, replies: &[Reply]) -> ReadStep {
        rows::read(ask, wants, memory, replies).into()
    }
}

tidegate_sdk::export!(SignedPsd2);

#[cfg(test)]
mod fixtures;
