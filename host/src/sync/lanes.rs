//! Who may run: of the permits of a bank, and of the process, each lane keeps some for itself, so that a
//! flood of one kind of work leaves room for every other. What nobody keeps goes to who has waited longest.
//!
//! Pure arithmetic. Must not know: the database, what a run does.

use crate::model::{Lane, LimitsProfile, PerLane, Share};
use std::time::Duration;

/// One permit in so many is kept for those whom somebody waits for: they are few, and short.
const WANTED_KEEPS_ONE_IN: u32 = 5;
/// One in so many for customers who have just come in.
const FIRST_KEEPS_ONE_IN: u32 = 10;
/// One in so many for older history, which nobody waits for.
const HISTORY_KEEPS_ONE_IN: u32 = 10;
/// One in so many may read older history: those runs are long.
const HISTORY_MOST_ONE_IN: u32 = 4;
/// Half of the permits are the schedule's: whatever else there is, most accounts are no older than they should be.
const ORDINARY_KEEPS_ONE_IN: u32 = 2;
/// From so many permits on, customers who come in have one of their own.
const FIRST_KEEPS_FROM: u32 = 4;
/// From so many on, older history has one.
const HISTORY_KEEPS_FROM: u32 = 5;

/// What each lane keeps of so many. There is one that nobody keeps, unless each lane has its own.
fn kept(total: u32) -> PerLane<u32> {
    let at_least_one_from = |from: u32, part: u32| if total >= from { part.max(1) } else { 0 };
    let wanted = at_least_one_from(2, total / WANTED_KEEPS_ONE_IN);
    let first = at_least_one_from(FIRST_KEEPS_FROM, total / FIRST_KEEPS_ONE_IN);
    let history = at_least_one_from(HISTORY_KEEPS_FROM, total / HISTORY_KEEPS_ONE_IN);
    let anybodys = u32::from(total < HISTORY_KEEPS_FROM);
    let rest = total.saturating_sub(wanted + first + history + anybodys);
    PerLane::of(|lane| match lane {
        Lane::Ordinary => (total / ORDINARY_KEEPS_ONE_IN).min(rest),
        Lane::Wanted => wanted,
        Lane::First => first,
        Lane::History => history,
    })
}

/// Requests of a run: a session, the list of accounts, and several pages of each. A bank that allows few in a minute gets so
/// few runs at a time that all of theirs find a place within the lease.
const REQUESTS_OF_A_RUN: u64 = 25;

/// How many runs a bank is given at the same time by this process, which has a part of each limit.
pub(super) fn concurrency(limits: &LimitsProfile, lease: Duration, part: impl Fn(u32) -> u32) -> u32 {
    let concurrency = part(limits.concurrency);
    let Some(per_minute) = limits.requests_per_minute.map(part) else { return concurrency };
    if per_minute == 0 {
        return 0;
    }
    let requests = u64::from(per_minute) * lease.as_secs() / 60;
    let runs = u32::try_from(requests / REQUESTS_OF_A_RUN).unwrap_or(u32::MAX);
    runs.max(1).min(concurrency)
}

/// What is free of so many permits, while so many runs of each lane go on.
pub(super) fn share(total: u32, busy: &PerLane<u32>) -> Share {
    let kept = kept(total);
    let own = PerLane::of(|lane| kept.get(lane).saturating_sub(*busy.get(lane)));
    let free = total.saturating_sub(busy.sum());
    // A profile may have been given less while runs went on.
    let anybodys = free.saturating_sub(own.sum());
    let most = PerLane::of(|lane| {
        let most = (own.get(lane) + anybodys).min(free);
        match lane {
            Lane::History => most.min((total / HISTORY_MOST_ONE_IN).max(1).saturating_sub(*busy.get(lane))),
            _ => most,
        }
    });
    Share { free, own, most }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However runs come and go, there are never more than permits, and a lane always gets what it keeps.
        #[test]
        fn no_more_runs_than_permits_and_each_lane_gets_what_it_keeps(
            total in 1_u32..200,
            steps in prop::collection::vec((0_usize..4, 0_u32..50, any::<bool>()), 1..60),
        ) {
            let mut busy = PerLane::<u32>::default();
            for (lane, count, begins) in steps {
                let lane = *Lane::ALL.get(lane).unwrap();
                let now = share(total, &busy);
                prop_assert_eq!(now.free + busy.sum(), total);
                prop_assert!(now.own.sum() <= now.free, "what is kept is there");
                for lane in Lane::ALL {
                    prop_assert!(now.most.get(lane) >= now.own.get(lane));
                    if *busy.get(lane) == 0 && total >= 5 {
                        prop_assert!(*now.most.get(lane) > 0, "{:?} waits for others", lane);
                    }
                }
                let count = if begins { count.min(*now.most.get(lane)) } else { count };
                let of_lane = busy.get_mut(lane);
                *of_lane = if begins { *of_lane + count } else { of_lane.saturating_sub(count) };
            }
        }

        #[test]
        fn a_bank_that_allows_few_serves_every_lane_in_turn(total in 1_u32..5) {
            let idle = share(total, &PerLane::default());
            for lane in Lane::ALL {
                prop_assert!(*idle.most.get(lane) > 0, "{:?} of {}", lane, total);
            }
        }
    }

    #[test]
    fn a_bank_that_allows_few_requests_a_minute_gets_few_runs() {
        let limits = |requests_per_minute| LimitsProfile { requests_per_minute, ..LimitsProfile::default() };
        let lease = Duration::from_secs(300);
        let runs = [None, Some(6_000), Some(60), Some(10), Some(1)]
            .map(|pace| concurrency(&limits(pace), lease, |limit| limit));
        assert_eq!(runs, [16, 16, 12, 2, 1]);
    }

    #[test]
    fn a_fifth_is_kept_for_who_waits_and_half_for_the_schedule() {
        let of = |total| Lane::ALL.map(|lane| *kept(total).get(lane));
        assert_eq!(of(1), [0, 0, 0, 0]);
        assert_eq!(of(2), [0, 1, 0, 0]);
        assert_eq!(of(4), [1, 1, 1, 0]);
        assert_eq!(of(16), [8, 3, 1, 1]);
        assert_eq!(of(1_000), [500, 200, 100, 100]);
        assert_eq!(*share(16, &PerLane::default()).most.get(Lane::History), 4);
    }
}
