//! A bank that talks in numbered messages of escaped segments, as FinTS does: PIN, one-time code in the
//! middle, and a length that counts the PIN.
//!
//! [`message`] says how a message is made of parts that we do not know and how an answer is read,
//! [`session`] opens a dialogue, [`rows`] asks within it.

mod message;
mod rows;
mod session;

use tidegate_sdk::{AccountsStep, Connector, Context, Goal, ReadStep, Reply, SessionStep, Want};

/// The connector.
#[derive(Debug, Clone, Copy)]
pub struct SegmentDialogue;

impl Connector for SegmentDialogue {
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

tidegate_sdk::export!(SegmentDialogue);

#[cfg(test)]
mod fixtures;
