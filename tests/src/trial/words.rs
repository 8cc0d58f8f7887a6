//! What a bank of the trial gives, and which of the demo bank's scenarios can happen there.

use crate::bank::Scenario;
use serde::Serialize;

/// What the bank gives to tell rows by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Ids that it says name a row; in half of the histories a booked balance too.
    Ids,
    /// The balance after each booked row; in half of the histories a booked balance too.
    RunningBalance,
    /// A booked balance with each look, or opening and closing balance of each statement.
    ClosingBalance,
    /// Rows and nothing else.
    Nothing,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ids, Self::RunningBalance, Self::ClosingBalance, Self::Nothing];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ids => "ids",
            Self::RunningBalance => "running-balance",
            Self::ClosingBalance => "closing-balance",
            Self::Nothing => "nothing",
        }
    }
}

impl Class {
    /// Can a bank of this class have it? Some speak of ids only, one of balances only.
    pub fn has(self, scenario: Scenario) -> bool {
        match scenario {
            Scenario::IdsRotated
            | Scenario::IdPerRequest
            | Scenario::IdConstantOrReused
            | Scenario::IdOnlyWhenBooked
            | Scenario::IdRuleChanges => self == Self::Ids,
            Scenario::BalanceIncludesPending => self != Self::Nothing,
            _ => true,
        }
    }
}
