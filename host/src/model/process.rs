//! Processes of this service that share a database, and what each of them does.

use super::{ProcessId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::str::FromStr;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Answers the API and the link page.
    Api,
    /// Asks banks, and does what is due with time.
    Worker,
    /// Sends webhooks.
    Sender,
}

impl Role {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Api, Self::Worker, Self::Sender];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Sender => "sender",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|role| role.word() == text);
        known.ok_or_else(|| format!("there is no role \"{text}\"; the roles are api, worker and sender"))
    }
}

/// A running process, as it tells the others of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Made when it starts.
    pub id: ProcessId,
    /// What it does.
    pub roles: BTreeSet<Role>,
    /// Which version it is.
    pub version: String,
    /// Since when it runs.
    pub started_at: Timestamp,
    /// From when on it takes its share of the work with banks; none if that is not its role.
    pub works_from: Option<Timestamp>,
    /// When it was heard of last.
    pub seen_at: Timestamp,
}
