//! Whether a bank is left alone, because it fails for many.

use super::{ConnectionId, Timestamp};
use serde::{Deserialize, Serialize};

/// Is a bank asked?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// As ever.
    #[default]
    Closed,
    /// Not before the pause is over.
    Open,
    /// The pause is over: a few runs try, all others wait for what they find.
    HalfOpen,
}

/// What is remembered of how a bank does, in its row and so for all processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Is it asked?
    pub state: BreakerState,
    /// Since when it has been in this state; none while it is closed.
    pub since: Option<Timestamp>,
    /// When it was opened first, since it was closed last.
    pub held_since: Option<Timestamp>,
    /// When the pause is over, or the trial.
    pub until: Option<Timestamp>,
    /// How many more faults than answers there were.
    pub faults: u32,
    /// How often it was opened since it was closed last.
    pub opened: u32,
    /// The connection that met the last fault, if no answer came after it.
    pub last_fault: Option<ConnectionId>,
}

/// An institution that is not asked now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldInstitution {
    /// Which.
    pub institution: String,
    /// Why, in kebab case: `failing` for many, or the reason of a pause, such as `rate-limited`.
    pub reason: String,
    /// Its breaker.
    pub state: BreakerState,
    /// Since when, if known.
    pub since: Option<Timestamp>,
    /// When it is asked again; in the past, if it is as soon as something is due.
    pub until: Timestamp,
    /// How many more faults than answers there were.
    pub faults: u32,
}
