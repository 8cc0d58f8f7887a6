//! Processes that share a database: who is there, what time it is, and news.

use crate::bed::*;
use crate::both;
use host::clock::Clock;
use host::model::*;
use host::nudge::{Bell, News};
use std::collections::BTreeSet;

fn process(roles: &[Role]) -> Process {
    Process {
        id: ProcessId::new(),
        roles: BTreeSet::from_iter(roles.iter().copied()),
        version: "1.2.3".to_owned(),
        started_at: START,
        works_from: roles.contains(&Role::Worker).then_some(START),
        seen_at: START,
    }
}

both! {
    async fn each_says_that_it_is_there_and_learns_who_else_is(bed) {
        let (one, two) = (process(&Role::ALL), process(&[Role::Sender]));
        assert_eq!(bed.store.check_in(&one, START.minus(HOUR)).await.unwrap(), std::slice::from_ref(&one));
        assert_eq!(bed.store.check_in(&two, START.minus(HOUR)).await.unwrap(), [one.clone(), two.clone()]);
        let later = Process { seen_at: START.plus(MINUTE), works_from: Some(START.plus(MINUTE)), ..one.clone() };
        assert_eq!(bed.store.check_in(&later, START.minus(HOUR)).await.unwrap(), [later.clone(), two.clone()]);
        assert_eq!(bed.store.check_in(&later, START.plus(MINUTE)).await.unwrap(), std::slice::from_ref(&later), "the other is forgotten");
        bed.store.check_out(later.id).await.unwrap();
        assert_eq!(bed.store.processes().await.unwrap(), []);
    }

    async fn it_is_known_how_far_a_clock_is_off_where_the_database_has_one_of_its_own(bed) {
        let (clock, hour) = (Clock::system(), 3_600_000_000);
        clock.follow(hour);
        let off = bed.store.clock_off(&clock).await.unwrap();
        assert_eq!(off.is_some(), bed.store.is_shared());
        assert!(off.is_none_or(|off| (off + hour).abs() < 60_000_000), "{off:?}");
        assert_eq!(bed.store.clock_off(&Clock::frozen(START)).await.unwrap(), None);
    }

    async fn news_reach_the_others_and_not_who_tells_them(bed) {
        let (one, two) = (ProcessId::new(), ProcessId::new());
        let news = |bell| News { bells: vec![bell], finished: (0..host::nudge::FINISHED_MAX).map(|_| SyncId::new()).collect() };
        let (first, second) = (news(Bell::Schedule), news(Bell::Authorisations));
        let listening = (bed.store.listen(one).await.unwrap(), bed.store.listen(two).await.unwrap());
        bed.store.tell_others(one, &first).await.unwrap();
        bed.store.tell_others(two, &second).await.unwrap();
        if let (Some(mut of_one), Some(mut of_two)) = listening {
            assert_eq!(of_two.next().await.unwrap(), first, "as many as one message holds");
            assert_eq!(of_one.next().await.unwrap(), second, "not its own");
        } else {
            assert!(!bed.store.is_shared());
        }
    }
}
