//! A bank's web portal, read as people see it: a form to log in, cookies, tables in HTML.
//!
//! [`session`] logs in and out, [`accounts`] lists, [`rows`] reads the pages of an account; all three
//! through the SDK's reader of tags. Cookies stay with the host, and so does the form's secret.

mod accounts;
mod page;
mod rows;
mod session;

use tidegate_sdk::{AccountsStep, Connector, Context, Goal, ReadStep, Reply, SessionStep, Want};

/// The connector.
#[derive(Debug, Clone, Copy)]
pub struct HtmlPortal;

impl Connector for HtmlPortal {
    fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> SessionStep {
        session::session(ask, goal, memory, replies).into()
    }
    fn accounts(ask: &Context, memory: &str, replies: &[Reply]) -> AccountsStep {
        accounts::accounts(ask, memory, replies).into()
    }
    fn read(ask: &Context, wants: &[Want], memory: &str, replies: &[Reply]) -> ReadStep {
        rows::read(ask, wants, memory, replies).into()
    }
}

tidegate_sdk::export!(HtmlPortal);

#[cfg(test)]
mod fixtures;
