//! What was found wrong after a round.

use std::sync::{Mutex, PoisonError};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something that happened at the bank is not in the ledger, in the history or with the receivers.
    Lost,
    /// Something is there twice, or a credential that is good once was used again.
    Doubled,
    /// A consent is not recorded, was dropped without need, or its end was not respected.
    Consent,
    /// A bank was asked more often than it allows.
    Budget,
    /// A secret lies in the clear.
    Secret,
}

/// All of it, with a sentence each.
#[derive(Debug, Default)]
pub struct Findings(Mutex<Vec<(Kind, String)>>);

impl Findings {
    /// One more.
    pub fn add(&self, kind: Kind, sentence: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((kind, sentence.into()));
    }

    /// How many of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.all().iter().filter(|(of, _)| *of == kind).count()
    }

    /// All, in the order they were found.
    pub fn all(&self) -> Vec<(Kind, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
