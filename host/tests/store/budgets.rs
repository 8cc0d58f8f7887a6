//! How often an account is read without its customer: counted before the read leaves, never more than agreed.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{Requested, StoreError};

const BUDGET: (u32, u32) = (4, 4);

fn present() -> CustomerPresent {
    CustomerPresent { ip: "203.0.113.7".parse().unwrap(), user_agent: None }
}

both! {
    async fn no_more_readings_are_counted_than_a_day_has_and_the_next_day_has_as_many(bed) {
        let (lease, account) = bed.running().await;
        let ends_at = START.plus(10 * HOUR);
        let take = async |limits, now| bed.store.take_read(&lease, account.id, limits, ends_at, now).await.unwrap();
        assert!(take(BUDGET, START).await);
        assert!(!take((4, 1), START).await, "so many may be for something else only");
        assert!(take((4, 2), START).await && take(BUDGET, START).await);
        let head = bed.store.head(account.id).await.unwrap().unwrap();
        assert_eq!((head.reads_today(START), head.reads_today(ends_at), head.unattended_at), (3, 0, None));
        assert!(take(BUDGET, START).await && !take(BUDGET, START).await);
        assert!(!take(BUDGET, Timestamp(ends_at.0 - 1)).await);
        let head = bed.store.head(account.id).await.unwrap().unwrap();
        assert_eq!((head.reads, head.unattended_at, head.allowed_at()), (4, Some(ends_at), Some(ends_at)));
        let tomorrow = ends_at.plus(24 * HOUR);
        assert!(bed.store.take_read(&lease, account.id, BUDGET, tomorrow, ends_at).await.unwrap());
        let head = bed.store.head(account.id).await.unwrap().unwrap();
        assert_eq!((head.reads, head.reads_until, head.unattended_at), (1, Some(tomorrow), None));
        let lost = Lease { token: lease.token + 1, ..lease.clone() };
        let refused = bed.store.take_read(&lost, account.id, BUDGET, tomorrow, ends_at).await;
        assert!(matches!(refused, Err(StoreError::LeaseLost)));
    }

    async fn once_it_is_used_up_only_the_customer_may_ask_and_is_served_at_once(bed) {
        let (lease, account) = bed.running().await;
        let ends_at = START.plus(10 * HOUR);
        // Somebody asks while the last reading goes on: that one waits.
        bed.commit(&lease, &account, vec![]).await;
        assert!(bed.store.take_read(&lease, account.id, (1, 1), ends_at, START).await.unwrap());
        let early = bed.store.request_sync(&account, None, START).await.unwrap();
        assert!(matches!(early, Requested::TooEarly { next_allowed_at, .. } if next_allowed_at == ends_at));
        bed.store.complete(&lease, START, START, 0, START).await.unwrap();
        assert_eq!(bed.store.next_due(START).await.unwrap(), Some(ends_at), "the schedule waits, too");
        let asked = bed.store.request_sync(&account, Some(&present()), START).await.unwrap();
        assert!(matches!(asked, Requested::Sync(_)));
        let lease = bed.claim(START).await;
        assert_eq!(lease.lane, Lane::Wanted);
        let head = bed.store.head(account.id).await.unwrap().unwrap();
        assert!(head.is_attended && head.is_allowed(START));
        let (_, _, who) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        assert_eq!(who, Some(present()));
        let head = bed.store.head(account.id).await.unwrap().unwrap();
        assert!(!head.is_allowed(START) && head.is_allowed(ends_at));
    }

    async fn a_customer_who_joins_a_request_that_waits_makes_it_due(bed) {
        let (lease, account) = bed.running().await;
        let ends_at = START.plus(10 * HOUR);
        bed.commit(&lease, &account, vec![]).await;
        let Requested::Sync(waits) = bed.store.request_sync(&account, None, START).await.unwrap() else { panic!() };
        assert!(bed.store.take_read(&lease, account.id, (1, 1), ends_at, START).await.unwrap());
        bed.store.complete(&lease, START, START, 0, START).await.unwrap();
        assert_eq!(bed.claim_all(START).await, []);
        let joined = bed.store.request_sync(&account, Some(&present()), START).await.unwrap();
        assert_eq!(joined, Requested::Sync(waits));
        assert_eq!(bed.claim_all(START).await.len(), 1);
    }
}
