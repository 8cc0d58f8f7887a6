//! A bank that gives statements as files: one camt.053 for all accounts, given again and again until it is
//! acknowledged, and then forgotten.
//!
//! [`bank`] asks for files, [`camt`] reads statements and [`entry`] their rows, [`read`] makes pages of them.

mod bank;
mod camt;
mod entry;
mod read;

use tidegate_sdk::{AccountsStep, Connector, Context, Goal, ReadStep, Reply, SessionStep, Want};

/// The connector.
#[derive(Debug, Clone, Copy)]
pub struct Camt053;

impl Connector for Camt053 {
    fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> SessionStep {
        bank::session(ask, goal, memory, replies).into()
    }
    fn accounts(ask: &Context, _memory: &str, replies: &[Reply]) -> AccountsStep {
        read::accounts(ask, replies).into()
    }
    fn read(ask: &Context, wants: &[Want], _memory: &str, replies: &[Reply]) -> ReadStep {
        read::read(ask, wants, replies).into()
    }
}

tidegate_sdk::export!(Camt053);

#[cfg(test)]
mod fixtures;
