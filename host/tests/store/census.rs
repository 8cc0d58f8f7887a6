//! How fresh everything is, and what waits.

use crate::bed::*;
use crate::both;
use host::model::*;

both! {
    async fn ages_are_of_accounts_that_are_polled_and_those_never_read_are_told_apart(bed) {
        let (lease, account) = bed.running().await;
        let count = async |now| bed.store.freshness(now).await.unwrap();
        let never = Freshness { institution: INSTITUTION.to_owned(), accounts: 0, waiting: 1, age: None };
        assert_eq!(count(START).await, std::slice::from_ref(&never));
        bed.commit(&lease, &account, vec![]).await;
        // The bank answered some moments after the start, and ages go in steps of ten seconds.
        let age = Age { p50_s: 50, p95_s: 50, p99_s: 50 };
        let read = Freshness { accounts: 1, waiting: 0, age: Some(age), ..never };
        assert_eq!(count(START.plus(MINUTE)).await, [read]);
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
}
