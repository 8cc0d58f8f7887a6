//! The sum of a run: one JSON object.

use super::driver::{Outcome, play};
use super::history::History;
use super::ledger::Ledger;
use super::words::Class;
use crate::bank::Scenario;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a run came to; `docs/ledger-trial.md` says what each number means.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The seed of the run.
    pub seed: u64,
    /// How many histories were played.
    pub histories: u64,
    /// Sorts of rows held in a wrong number after a look, and complete answers refused.
    pub wrong_contents: usize,
    /// Rows that became others than they are.
    pub wrong_identity: usize,
    /// Rows shown and not held.
    pub missed: usize,
    /// Links, and changes that say they could have been of another row.
    pub ambiguous: usize,
    /// Those that could have been of no other row.
    pub ambiguous_avoidable: usize,
    /// Looks that break a rule that needs no truth.
    pub broken: usize,
    /// How many histories had anything wrong.
    pub failing: usize,
    /// How many looks there were.
    pub looks: usize,
    /// Histories of each class.
    pub classes: BTreeMap<&'static str, usize>,
    /// Histories in which each scenario happened.
    pub scenarios: BTreeMap<&'static str, usize>,
    /// Histories in which at least three happened.
    pub mixed_three: usize,
}

impl Report {
    /// Of a run that has not begun.
    pub fn new(seed: u64) -> Self {
        let classes = Class::ALL.iter().map(|class| (class.name(), 0)).collect();
        let scenarios = Scenario::ALL.iter().map(|scenario| (scenario.name(), 0)).collect();
        Self { seed, classes, scenarios, ..Self::default() }
    }

    /// Plays the history of this number and counts it in.
    pub fn play(&mut self, number: u64, ledger: Ledger) -> Outcome {
        let history = History::of(self.seed, number);
        let outcome = play(&history, ledger);
        self.histories += 1;
        self.looks += history.looks.len();
        *self.classes.entry(history.class.name()).or_default() += 1;
        for scenario in &history.scenarios {
            *self.scenarios.entry(scenario.name()).or_default() += 1;
        }
        self.mixed_three += usize::from(history.scenarios.len() >= 3);
        self.wrong_contents += outcome.wrong_contents;
        self.wrong_identity += outcome.wrong_identity;
        self.missed += outcome.missed;
        self.ambiguous += outcome.ambiguous;
        self.ambiguous_avoidable += outcome.ambiguous_avoidable;
        self.broken += outcome.broken;
        self.failing += usize::from(!outcome.is_right());
        outcome
    }
}
