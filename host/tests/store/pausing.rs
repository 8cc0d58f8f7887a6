//! Pausing a connection and resuming it.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{FoundSync, Requested, StoreError};
use std::time::Duration;

impl Bed {
    async fn pause(&self, connection: ConnectionId) -> ConnectionState {
        let event = self.event(connection, EventType::ConnectionPaused);
        self.store.pause_connection(self.business, connection, &event, START).await.unwrap().unwrap().state
    }

    async fn resume(&self, connection: ConnectionId, now: Timestamp) -> ConnectionState {
        let event = self.event(connection, EventType::ConnectionResumed);
        self.store.resume_connection(self.business, connection, &event, now).await.unwrap().unwrap().state
    }

    async fn wanted(&self, account: &Account) -> SyncId {
        match self.store.request_sync(account, None, START).await.unwrap() {
            Requested::Sync(id) => id,
            other => panic!("{other:?}"),
        }
    }

    async fn reason(&self, sync: SyncId) -> Option<String> {
        match self.store.sync(self.business, sync).await.unwrap() {
            Some(FoundSync::Finished(done)) => done.reason,
            _ => None,
        }
    }
}

both! {
    async fn a_paused_connection_is_not_claimed_not_synced_and_told_once(bed) {
        let (lease, account) = bed.running().await;
        bed.commit(&lease, &account, vec![]).await;
        bed.store.complete(&lease, START, START, 0, START).await.unwrap();
        let (id, endpoint) = (lease.connection, bed.endpoint(&[]).await);
        let waiting = bed.wanted(&account).await;
        for _ in 0..2 {
            assert_eq!(bed.pause(id).await, ConnectionState::Paused);
        }
        assert_eq!(bed.reason(waiting).await.as_deref(), Some("connection-paused"));
        assert_eq!(bed.store.request_sync(&account, None, START).await.unwrap(), Requested::Paused);
        assert_eq!(bed.claim_all(START.plus(24 * HOUR)).await, []);
        assert_eq!(bed.store.next_due(START).await.unwrap(), None);

        let later = START.plus(MINUTE);
        for _ in 0..2 {
            assert_eq!(bed.resume(id, later).await, ConnectionState::Active);
        }
        assert_eq!(bed.store.head(account.id).await.unwrap().unwrap().due_at, later);
        assert_eq!(bed.claim(later).await.connection, id);
        let told = bed.store.deliveries(endpoint.id, None, 9).await.unwrap().items;
        let told: Vec<_> = told.into_iter().rev().map(|one| one.kind).collect();
        assert_eq!(told, [EventType::ConnectionPaused, EventType::ConnectionResumed]);
    }

    async fn only_an_active_connection_of_the_business_is_paused(bed) {
        let (lease, _) = bed.running().await;
        let (id, event) = (lease.connection, bed.event(lease.connection, EventType::ConnectionPaused));
        let endpoint = bed.endpoint(&[EventType::ConnectionPaused, EventType::ConnectionResumed]).await;
        for (business, connection) in [(BusinessId::new(), id), (bed.business, ConnectionId::new())] {
            assert_eq!(bed.store.pause_connection(business, connection, &event, START).await.unwrap(), None);
            assert_eq!(bed.store.resume_connection(business, connection, &event, START).await.unwrap(), None);
        }
        bed.store.require_reauthorisation(&lease, "customer-needed", &event, START).await.unwrap();
        let told = bed.store.deliveries(endpoint.id, None, 9).await.unwrap().items.len();
        assert_eq!(bed.pause(id).await, ConnectionState::ReauthorisationRequired);
        assert_eq!(bed.resume(id, START).await, ConnectionState::ReauthorisationRequired);
        assert_eq!(bed.claim_all(START.plus(HOUR)).await, []);
        assert!(bed.store.begin_closing(bed.business, id, START).await.unwrap());
        assert_eq!(bed.store.pause_connection(bed.business, id, &event, START).await.unwrap(), None);
        assert_eq!(bed.store.resume_connection(bed.business, id, &event, START).await.unwrap(), None);
        assert_eq!(bed.store.deliveries(endpoint.id, None, 9).await.unwrap().items.len(), told);
    }

    async fn a_run_that_has_begun_keeps_its_lease_begins_no_account_and_lays_the_connection_to_rest(bed) {
        let (lease, reading) = bed.running().await;
        let listed = [bank_account("a1", Some("GB29")), bank_account("a2", None)];
        let [_, next] = bed.list(&lease, &listed, START).await.unwrap().try_into().unwrap();
        let wanted = bed.wanted(&reading).await;
        let (id, trigger, _) = bed.store.begin_asking(&lease, reading.id).await.unwrap();
        assert_eq!(id, wanted);
        bed.pause(lease.connection).await;
        // A token that the bank gives once is stored, and what was read of the account.
        bed.store.save_captures(&lease, &[(credential("refresh_token", "rt-2"), 1)], START).await.unwrap();
        let begun = bed.store.begin_asking(&lease, next.id).await;
        assert!(matches!(begun, Err(StoreError::Unwanted)), "{begun:?}");
        let done = commit(sync(&lease, &reading, id, trigger), vec![NewChange::added(booked(1, 1, "rent"))]);
        bed.store.commit_sync(&lease, &done, |_| None).await.unwrap();
        bed.store.complete(&lease, START, START, 0, START).await.unwrap();
        assert_eq!(bed.reason(wanted).await, None, "a good sync has no reason");
        assert_eq!(bed.claim_all(START.plus(24 * HOUR)).await, []);
    }

    async fn a_run_that_dies_after_a_pause_leaves_nobody_waiting(bed) {
        let (lease, account) = bed.running().await;
        let left = bed.wanted(&account).await;
        bed.store.begin_asking(&lease, account.id).await.unwrap();
        bed.pause(lease.connection).await;
        assert_eq!(bed.store.sync(bed.business, left).await.unwrap(), Some(FoundSync::Running { account: account.id }));
        // Its lease runs out; whoever claims the connection finds it paused.
        let next = bed.claim(START.plus(MINUTE)).await;
        assert_eq!(opened(&bed.store, &next).await.unwrap().connection.state, ConnectionState::Paused);
        bed.store.complete(&next, START, START, 0, START).await.unwrap();
        assert_eq!(bed.reason(left).await.as_deref(), Some("connection-paused"));
        assert_eq!(bed.claim_all(START.plus(24 * HOUR)).await, []);
    }

    async fn resumed_while_a_run_from_before_goes_on_it_is_due_when_that_run_is_over(bed) {
        let (lease, account) = bed.running().await;
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        let done = commit(sync(&lease, &account, id, trigger), vec![]);
        bed.store.commit_sync(&lease, &done, |_| None).await.unwrap();
        bed.pause(lease.connection).await;
        let soon = START.plus(Duration::from_secs(10));
        bed.resume(lease.connection, soon).await;
        assert_eq!(bed.claim_all(soon).await, [], "the lease is not taken away");
        bed.store.complete(&lease, START.plus(HOUR), START.plus(HOUR), 0, soon).await.unwrap();
        assert_eq!(bed.claim(soon).await.token, lease.token + 1);
    }

    async fn fresh_credentials_resume_and_the_end_at_the_bank_counts_though_paused(bed) {
        let (lease, _) = bed.running().await;
        let endpoint = bed.endpoint(&[EventType::ConnectionResumed]).await;
        bed.pause(lease.connection).await;
        let event = bed.event(lease.connection, EventType::ReauthorisationRequired);
        assert!(bed.store.require_reauthorisation(&lease, "consent-expired", &event, START).await.unwrap());
        let active = bed.reauthorise(lease.connection, &[], Some(&consent()), START).await.unwrap();
        assert_eq!(active.state, ConnectionState::Active);
        assert!(bed.store.deliveries(endpoint.id, None, 9).await.unwrap().items.is_empty(), "it was not paused any more");
        bed.pause(lease.connection).await;
        let active = bed.reauthorise(lease.connection, &[], None, START).await.unwrap();
        assert_eq!(active.state, ConnectionState::Active);
        assert_eq!(bed.store.deliveries(endpoint.id, None, 9).await.unwrap().items.len(), 1);
        assert_eq!(bed.claim(START).await.connection, lease.connection);
    }
}
