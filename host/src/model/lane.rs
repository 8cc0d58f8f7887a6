//! Lanes: what a connection is due for, so that one kind of work never waits behind another.

use serde::{Deserialize, Serialize};

/// What a connection is due for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Its slot.
    Ordinary,
    /// Somebody waits: a `/sync` call, a customer on the way in, one who leaves.
    Wanted,
    /// The customer has just come in: the newest days are read for the first time.
    First,
    /// Older history, in pieces.
    History,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ordinary, Self::Wanted, Self::First, Self::History];
}

/// Something of each lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerLane<T>([T; 4]);

impl<T> PerLane<T> {
    /// Made for each lane.
    pub fn of(make: impl FnMut(Lane) -> T) -> Self {
        Self(Lane::ALL.map(make))
    }
    /// A lane's.
    pub fn get(&self, lane: Lane) -> &T {
        let [ordinary, wanted, first, history] = &self.0;
        match lane {
            Lane::Ordinary => ordinary,
            Lane::Wanted => wanted,
            Lane::First => first,
            Lane::History => history,
        }
    }
    /// A lane's, to change.
    pub fn get_mut(&mut self, lane: Lane) -> &mut T {
        let [ordinary, wanted, first, history] = &mut self.0;
        match lane {
            Lane::Ordinary => ordinary,
            Lane::Wanted => wanted,
            Lane::First => first,
            Lane::History => history,
        }
    }
}

impl PerLane<u32> {
    /// All lanes together.
    pub fn sum(&self) -> u32 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// How many runs may begin: of one institution, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// In all.
    pub free: u32,
    /// Of these, kept for each lane: no other lane takes them.
    pub own: PerLane<u32>,
    /// The most of each lane. What nobody keeps goes to who has waited longest.
    pub most: PerLane<u32>,
}

impl Share {
    /// So many, whatever they are for.
    pub fn of_any(free: u32) -> Self {
        Self { free, own: PerLane::default(), most: PerLane::of(|_| free) }
    }
    /// No more than so many, whatever they are for.
    #[must_use]
    pub fn at_most(self, most: u32) -> Self {
        let free = self.free.min(most);
        Self { free, own: PerLane::default(), most: PerLane::of(|lane| (*self.most.get(lane)).min(free)) }
    }
    /// What no lane keeps.
    pub fn rest(&self) -> u32 {
        self.free.saturating_sub(self.own.sum())
    }
}

/// What one claim may bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permits {
    /// Of all institutions together.
    pub all: Share,
    /// Of each; what is not here is not claimed.
    pub institutions: Vec<(String, Share)>,
    /// Runs at the same time of one business in all processes; the ordinary lane has no such limit.
    pub per_business: PerLane<u32>,
}

impl Permits {
    /// So many of each institution, whatever they are for and whoever's.
    pub fn of_any(institutions: impl IntoIterator<Item = (String, u32)>) -> Self {
        let institutions: Vec<_> =
            institutions.into_iter().map(|(id, free)| (id, Share::of_any(free))).collect();
        let free = institutions.iter().fold(0_u32, |sum, (_, share)| sum.saturating_add(share.free));
        Self { all: Share::of_any(free), institutions, per_business: PerLane::of(|_| u32::MAX) }
    }
}
