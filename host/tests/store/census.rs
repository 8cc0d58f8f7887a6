//! How fresh everything is, and what waits.

use crate::bed::*;
use crate::both;
use host::model::*;

both! {
    async fn ages_are_of_accounts_that_are_polled_and_those_never_read_are_told_apart(bed) {
        let (lease, account) = bed.running().await;
        let count = async |now| bed.store.freshness(now).await.unwrap();
        let never = Freshness {
            institution: INSTITUTION.to_owned(),
            accounts: 0,
            waiting: 1,
            age: None,
            stale: 0,
            last_success_at: None,
            failing: vec![],
        };
        assert_eq!(count(START).await, std::slice::from_ref(&never));
        bed.commit(&lease, &account, vec![]).await;
        // The bank answered some moments after the start, and ages go in steps of ten seconds.
        let age = Age { p50_s: 50, p95_s: 50, p99_s: 50 };
        let mut read = Freshness { accounts: 1, waiting: 0, age: Some(age), ..never };
        read.last_success_at = count(START.plus(MINUTE)).await[0].last_success_at;
        assert!(read.last_success_at.is_some());
        assert_eq!(count(START.plus(MINUTE)).await, [read]);
        assert_eq!(count(START.plus(2 * HOUR)).await[0].stale, 1, "an hour after its slot");
        bed.store.complete(&lease, START.plus(HOUR), START.plus(HOUR), 0, START).await.unwrap();
        bed.store.pause_connection(bed.business, lease.connection, &bed.event(lease.connection, EventType::ConnectionPaused), START).await.unwrap().unwrap();
        assert_eq!(count(START.plus(MINUTE)).await, [], "nobody promised that a paused one is fresh");
    }

    async fn what_is_due_and_nobodys_waits(bed) {
        let waits = async |now| bed.store.queues(now).await.unwrap();
        assert_eq!(waits(START).await, Queues::default());
        let connection = bed.connection().await;
        bed.connection_at("other", START.plus(HOUR)).await;
        let due = Due { institution: INSTITUTION.to_owned(), connections: 1, lag_s: 60 };
        assert_eq!(waits(START.plus(MINUTE)).await.due, [due]);
        bed.claim(START.plus(MINUTE)).await;
        assert_eq!(waits(START.plus(MINUTE)).await.due, [], "it is being done");
        bed.endpoint(&[]).await;
        let event = bed.event(connection.id, EventType::ConnectionDeleted);
        assert!(bed.store.begin_closing(bed.business, connection.id, START).await.unwrap());
        assert!(bed.store.delete_connection(bed.business, connection.id, &event, START).await.unwrap());
        let waiting = waits(START.plus(MINUTE)).await;
        assert_eq!((waiting.deliveries, waiting.delivery_lag_s), (1, 60));
    }

    async fn a_stale_account_is_told_of_once_until_it_is_read_again(bed) {
        let (lease, account) = bed.running().await;
        let endpoint = bed.endpoint(&[]).await;
        bed.commit(&lease, &account, vec![]).await;
        let stale = async |now| bed.store.stale_accounts(now, 10).await.unwrap();
        // Its slot is an hour after the start, and so much later it is stale.
        assert_eq!(stale(START.plus(2 * HOUR - MINUTE)).await, []);
        let then = START.plus(2 * HOUR);
        let found = stale(then).await;
        assert_eq!(found.iter().map(|one| (one.account, one.polled, one.failures)).collect::<Vec<_>>(), [(account.id, true, 0)]);
        assert_eq!((found[0].institution.as_str(), found[0].reason.as_deref()), (INSTITUTION, None));
        let event = NewEvent { account: Some(account.id), ..bed.event(lease.connection, EventType::AccountStale) };
        assert!(bed.store.stale_told(&found[0], Some(&event)).await.unwrap());
        assert!(!bed.store.stale_told(&found[0], Some(&event)).await.unwrap(), "somebody else told");
        assert_eq!(bed.told(&endpoint).await, [EventType::AccountStale]);
        assert_eq!(stale(then.plus(24 * HOUR)).await, [], "once");

        // A failure does not make it fresh; a reading does, and then it may be stale again.
        bed.store.complete(&lease, then, then, 0, then).await.unwrap();
        let lease = bed.claim(then).await;
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        bed.store.fail_sync(&lease, &failure(sync(&lease, &account, id, trigger)), &|_| None).await.unwrap();
        assert_eq!(stale(then.plus(24 * HOUR)).await, []);
        let at = then.plus(10 * MINUTE);
        bed.store.complete(&lease, at, at, 1, then).await.unwrap();
        let lease = bed.claim(at).await;
        bed.commit(&lease, &account, vec![]).await;
        let again = stale(at.plus(24 * HOUR)).await;
        assert_eq!(again.len(), 1);
        assert!(!bed.store.stale_told(&found[0], Some(&event)).await.unwrap(), "it was read since");

        // Nobody relies on a paused one: it is no longer looked at, and nobody is told.
        bed.store.complete(&lease, at.plus(HOUR), at.plus(HOUR), 0, at).await.unwrap();
        bed.store.pause_connection(bed.business, lease.connection, &bed.event(lease.connection, EventType::ConnectionPaused), at).await.unwrap().unwrap();
        let paused = stale(at.plus(24 * HOUR)).await;
        assert_eq!(paused.iter().map(|one| one.polled).collect::<Vec<_>>(), [false]);
        assert!(bed.store.stale_told(&paused[0], None).await.unwrap());
        assert_eq!(stale(at.plus(24 * HOUR)).await, []);
    }

    async fn accounts_that_fail_are_counted_by_their_reason(bed) {
        let (lease, account) = bed.running().await;
        bed.commit(&lease, &account, vec![]).await;
        let at = START.plus(HOUR);
        bed.store.complete(&lease, at, at, 0, START).await.unwrap();
        let lease = bed.claim(at).await;
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        bed.store.fail_sync(&lease, &failure(sync(&lease, &account, id, trigger)), &|_| None).await.unwrap();
        let counted = bed.store.freshness(at).await.unwrap();
        let since = counted[0].last_success_at;
        assert!(since.is_some());
        assert_eq!(counted[0].failing, [Failing { reason: "bank-unavailable".to_owned(), accounts: 1, since }]);
    }
}
