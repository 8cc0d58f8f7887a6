//! How the processes that share a database share what a bank allows: each worker has its part of every limit, and all
//! parts together are the limit.
//!
//! Each tells the others that it is there ([`BEAT`]) and learns who is. One that is not heard of for [`LOST_AFTER`] has
//! no part any more, and knows so itself: then it claims nothing. A new one begins when all others have heard of it. Pure
//! but for the clock. Must not know: the database.

use crate::clock::{Clock, Deadline};
use crate::model::{Process, ProcessId, Role, Timestamp};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a process says that it is there.
pub const BEAT: Duration = Duration::from_secs(5);
/// After so long without a word a process is gone: three beats, so that a slow database is no death.
pub const LOST_AFTER: Duration = Duration::from_secs(15);

/// This process among those that share its database.
#[derive(Debug)]
pub struct Crew {
    id: ProcessId,
    roles: BTreeSet<Role>,
    standing: Mutex<Standing>,
}

/// Where this process stands among the workers.
#[derive(Debug)]
struct Standing {
    me: Process,
    /// Its place among them, from 0.
    place: u32,
    workers: u32,
    /// Until when that holds; none for a process that shares with nobody.
    until: Option<Deadline>,
}

impl Crew {
    /// A process that shares with nobody.
    pub fn alone(version: &str, now: Timestamp) -> Self {
        Self::new(BTreeSet::from(Role::ALL), version, now, 1, None)
    }

    /// A process that has still to hear who else there is; until then it has no part in any limit.
    pub fn joining(roles: BTreeSet<Role>, version: &str, clock: &Clock) -> Self {
        Self::new(roles, version, clock.now(), 0, Some(clock.deadline(Duration::ZERO)))
    }

    fn new(
        roles: BTreeSet<Role>,
        version: &str,
        now: Timestamp,
        workers: u32,
        until: Option<Deadline>,
    ) -> Self {
        let (id, version) = (ProcessId::new(), version.to_owned());
        let me =
            Process { id, roles: roles.clone(), version, started_at: now, works_from: None, seen_at: now };
        Self { id, roles, standing: Mutex::new(Standing { me, place: 0, workers, until }) }
    }

    /// Which process this is.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Does it do this?
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// The others have not heard of it for so long, or never, that its part is theirs.
    pub fn is_lost(&self) -> bool {
        !self.standing().holds()
    }

    /// What this process says of itself now. Where it is new to the others, it begins to work when each has heard of it; at once
    /// if there is none.
    pub fn present(&self, others: &[Process], now: Timestamp) -> Process {
        let lost = now.minus(LOST_AFTER);
        let has_others = others
            .iter()
            .any(|other| other.works_from.is_some() && other.seen_at > lost && other.id != self.id);
        let mut standing = self.standing();
        if !standing.holds() && self.roles.contains(&Role::Worker) {
            standing.me.works_from = Some(if has_others { now.plus(BEAT * 2) } else { now });
        }
        standing.me.seen_at = now;
        standing.me.clone()
    }

    /// The others were just asked who they are: those are all that have been heard of, this one included. True if its part is
    /// another one now.
    pub fn heard(&self, processes: &[Process], clock: &Clock) -> bool {
        let now = clock.now();
        let lost = now.minus(LOST_AFTER);
        let mut workers: Vec<&Process> = processes
            .iter()
            .filter(|process| process.works_from.is_some() && process.seen_at > lost)
            .collect();
        workers.sort_by_key(|process| process.id);
        let place = workers.iter().position(|process| process.id == self.id);
        let mine = place.and_then(|place| workers.get(place)).and_then(|process| process.works_from);
        let begins = mine.is_some_and(|from| from <= now);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (place, workers) =
            if begins { (count(place.unwrap_or(0)), count(workers.len())) } else { (0, 0) };
        let mut standing = self.standing();
        let changed = (standing.place, standing.workers) != (place, workers) || !standing.holds();
        (standing.place, standing.workers) = (place, workers);
        standing.until = Some(clock.deadline(LOST_AFTER));
        changed
    }

    /// This process's part of what an institution allows: none while the others have not heard of it, or not for long.
    pub fn part(&self, institution: &str, limit: u32) -> u32 {
        let standing = self.standing();
        if !standing.holds() || standing.workers == 0 {
            return 0;
        }
        // What can't be divided falls to another one at each institution.
        let first =
            institution.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let turn = (first.wrapping_add(standing.place)) % standing.workers;
        limit / standing.workers + u32::from(turn < limit % standing.workers)
    }

    /// How many workers there are.
    pub fn workers(&self) -> u32 {
        self.standing().workers
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn holds(&self) -> bool {
        self.until.as_ref().is_none_or(|until| !until.passed())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp(1_800_000_000_000_000);

    fn crews(count: usize, clock: &Clock) -> Vec<Crew> {
        (0..count).map(|_| Crew::joining(BTreeSet::from(Role::ALL), "1", clock)).collect()
    }

    proptest! {
        /// However many there are, what they may do together is what the bank allows, evenly.
        #[test]
        fn parts_add_up_to_the_limit(count in 1_usize..9, limit in 0_u32..50, name in "[a-z]{1,12}") {
            let clock = Clock::frozen(START);
            let crews = crews(count, &clock);
            let processes: Vec<_> = crews.iter().map(|crew| crew.present(&[], clock.now())).collect();
            let parts = crews.iter().map(|crew| {
                assert!(crew.heard(&processes, &clock), "the first word changes what a process may do");
                crew.part(&name, limit)
            });
            let parts: Vec<_> = parts.collect();
            prop_assert_eq!(parts.iter().sum::<u32>(), limit);
            prop_assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn who_is_not_heard_of_has_no_part_and_the_others_take_it() {
        let clock = Clock::frozen(START);
        let crews = crews(2, &clock);
        let [one, two] = &crews[..] else { panic!("two") };
        assert_eq!(one.part("bank", 10), 0, "nobody was asked yet");
        let mut processes = [one.present(&[], START), two.present(&[], START)];
        crews.iter().for_each(|crew| assert!(crew.heard(&processes, &clock)));
        assert_eq!((one.part("bank", 10), two.part("bank", 10)), (5, 5));
        assert!(!one.heard(&processes, &clock), "nothing new");
        clock.advance(LOST_AFTER);
        assert_eq!((two.part("bank", 10), two.is_lost()), (0, true), "it knows that it was not heard of");
        processes[0].seen_at = clock.now();
        assert!(one.heard(&processes, &clock));
        assert_eq!((one.part("bank", 10), one.workers()), (10, 1));
        // Back again, it begins as a new one would.
        let from = two.present(&processes, clock.now()).works_from;
        assert_eq!(from, Some(clock.now().plus(BEAT * 2)));
    }

    #[test]
    fn a_new_worker_begins_when_all_have_heard_of_it() {
        let clock = Clock::frozen(START);
        let crews = crews(2, &clock);
        let [old, new] = &crews[..] else { panic!("two") };
        let first = old.present(&[], START);
        assert_eq!(first.works_from, Some(START), "there is nobody to wait for");
        old.heard(std::slice::from_ref(&first), &clock);
        assert_eq!(old.part("bank", 4), 4);
        let second = new.present(std::slice::from_ref(&first), START);
        assert_eq!(second.works_from, Some(START.plus(BEAT * 2)));
        let both = [first.clone(), second];
        new.heard(&both, &clock);
        assert!(old.heard(&both, &clock), "its part is smaller already");
        assert_eq!((old.part("bank", 4), new.part("bank", 4)), (2, 0));
        clock.advance(BEAT * 2);
        assert!(new.heard(&both, &clock));
        assert_eq!(new.part("bank", 4), 2);
        let sender = Crew::joining(BTreeSet::from([Role::Sender]), "1", &clock);
        let with = [first, sender.present(&[], START)];
        old.heard(&with, &clock);
        assert_eq!((old.part("bank", 4), with[1].works_from), (4, None), "who asks no bank has no part");
    }

    #[test]
    fn who_shares_with_nobody_has_all_of_it() {
        let crew = Crew::alone("1", START);
        assert_eq!((crew.part("bank", 7), crew.is_lost(), crew.has(Role::Sender)), (7, false, true));
    }
}
