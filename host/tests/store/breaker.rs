//! How a bank does, in its row: left alone while it fails, tried by a few when the pause is over.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{Requested, Store};
use std::collections::BTreeSet;

async fn open(store: &Store, institution: &str, now: Timestamp, until: Timestamp) {
    let opened = |before: &Breaker| Breaker {
        state: BreakerState::Open,
        since: Some(now),
        held_since: before.held_since.or(Some(now)),
        until: Some(until),
        faults: 7,
        opened: before.opened + 1,
        last_fault: Some(ConnectionId::from_bytes(&[7; 16]).unwrap()),
    };
    let (before, after) = store.note_of_bank(institution, &opened).await.unwrap();
    assert_eq!(
        store.note_of_bank(institution, &Breaker::clone).await.unwrap(),
        (after.clone(), after.clone())
    );
    assert_eq!(after, opened(&before));
}

both! {
    async fn a_bank_that_fails_is_left_alone_and_says_since_when(bed) {
        let (_, account) = bed.running().await;
        let second = bed.claim_all(START.plus(MINUTE)).await.remove(0);
        bed.store.complete(&second, START, START.plus(MINUTE), 0, START.plus(MINUTE)).await.unwrap();
        assert!(!second.is_suspect);
        let (now, until) = (START.plus(MINUTE), START.plus(3 * MINUTE));
        open(&bed.store, INSTITUTION, now, until).await;
        assert_eq!(bed.claim_all(until.minus(MINUTE)).await, []);
        assert_eq!(bed.store.next_due(now).await.unwrap(), Some(until));
        let early = bed.store.request_sync(&account, None, now).await.unwrap();
        assert_eq!(early, Requested::TooEarly { next_allowed_at: until, last: None });
        let held = |reason: &str, until| HeldInstitution {
            institution: INSTITUTION.to_owned(),
            reason: reason.to_owned(),
            state: BreakerState::Open,
            since: Some(now),
            until,
            faults: 7,
        };
        assert_eq!(bed.store.held_institutions(now).await.unwrap(), [held("failing", until)]);
        // A limit of the bank's that lasts longer counts, too.
        bed.store.pause_institution(INSTITUTION, until.plus(MINUTE), "rate-limited").await.unwrap();
        assert_eq!(bed.claim_all(until).await, []);
        assert_eq!(bed.store.held_institutions(now).await.unwrap(), [held("rate-limited", until.plus(MINUTE))]);
        assert_eq!(bed.claim_all(until.plus(MINUTE)).await.len(), 1);
    }

    async fn when_the_pause_is_over_a_few_try_and_the_others_wait_for_them(bed) {
        for _ in 0..8 {
            bed.connection().await;
        }
        let until = START.plus(MINUTE);
        open(&bed.store, INSTITUTION, START, until).await;
        let probes = bed.claim_all(until).await;
        assert_eq!(probes.len(), 3);
        assert!(probes.iter().all(|lease| lease.is_suspect));
        assert_eq!(bed.claim_all(until).await, [], "another process waits, too");
        assert_eq!(bed.store.held_institutions(until).await.unwrap()[0].state, BreakerState::HalfOpen);
        // Nobody came back: with the leases the trial is over, and there is another one.
        let again = bed.claim_all(until.plus(MINUTE)).await;
        assert_eq!(again.len(), 3);
        bed.store.note_of_bank(INSTITUTION, &|_| Breaker::default()).await.unwrap();
        assert_eq!(bed.store.held_institutions(until).await.unwrap(), []);
        let rest = bed.claim_all(until.plus(MINUTE)).await;
        assert_eq!(rest.len(), 5, "closed: all that is due");
        let all: BTreeSet<_> = again.iter().chain(&rest).map(|lease| lease.connection).collect();
        assert_eq!(all.len(), 8);
    }

    async fn a_trial_for_which_nothing_can_be_claimed_has_not_begun(bed) {
        bed.connection().await;
        let until = START.plus(MINUTE);
        open(&bed.store, INSTITUTION, START, until).await;
        let nobody = Permits { per_business: PerLane::of(|_| 0), ..Permits::of_any([(INSTITUTION.to_owned(), 9)]) };
        assert_eq!(bed.store.claim_due(until, until.plus(HOUR), &nobody).await.unwrap(), []);
        assert_eq!(bed.claim_all(until).await.len(), 1);
    }

    async fn an_institution_without_a_row_has_nothing_to_note(bed) {
        let fails = |_: &Breaker| Breaker { faults: 1, ..Breaker::default() };
        bed.store.note_of_bank("nowhere", &fails).await.unwrap();
        let (before, _) = bed.store.note_of_bank("nowhere", &fails).await.unwrap();
        assert_eq!(before, Breaker::default());
    }
}
