//! Sweeping what is old and what nothing needs.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{FoundSync, Idempotent, Requested, Swept};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Everything is kept for a century, but what is said otherwise.
fn for_ever() -> Retention {
    Retention::of_all(36_500 * DAY)
}

impl Bed {
    async fn sweep(&self, retention: &Retention, now: Timestamp) -> Vec<(&'static str, u64)> {
        let Swept { rows, more } = self.store.sweep(retention, now).await.unwrap();
        assert!(!more);
        rows
    }

    /// A sync that ends at this moment.
    async fn sync_at(
        &self,
        lease: &Lease,
        account: &Account,
        at: Timestamp,
        changes: Vec<NewChange>,
    ) -> Sync {
        let (id, trigger, _) = self.store.begin_asking(lease, account.id).await.unwrap();
        let done = Sync { finished_at: at, ..self.after(sync(lease, account, id, trigger)).await };
        self.store.commit_sync(lease, &commit(done, changes), |_| None).await.unwrap()
    }

    /// An event of this moment; its deliveries are due then.
    async fn tell_at(&self, lease: &Lease, account: &Account, at: Timestamp) {
        let (id, trigger, _) = self.store.begin_asking(lease, account.id).await.unwrap();
        let event = NewEvent { created_at: at, ..self.event(lease.connection, EventType::AccountUpdated) };
        let commit = commit(self.after(sync(lease, account, id, trigger)).await, vec![]);
        self.store.commit_sync(lease, &commit, move |_| Some(event.clone())).await.unwrap();
    }
}

both! {
    async fn syncs_that_changed_nothing_go_but_never_the_last_one_nor_those_with_changes(bed) {
        let (lease, account) = bed.running().await;
        let row = vec![NewChange::added(booked(1, 1, "rent"))];
        let changed = bed.sync_at(&lease, &account, START, row).await;
        let old = bed.sync_at(&lease, &account, START, vec![]).await;
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        let failed = Sync { finished_at: START, ..sync(&lease, &account, id, trigger) };
        let failed = bed.store.fail_sync(&lease, &failure(failed), &|_| None).await.unwrap();
        let young = bed.sync_at(&lease, &account, START.plus(DAY), vec![]).await;
        let last = bed.sync_at(&lease, &account, START, vec![]).await;
        let month = Retention { unchanged_syncs: 30 * DAY, ..for_ever() };
        let now = START.plus(30 * DAY);
        assert_eq!(bed.sweep(&month, now.minus(Duration::from_secs(1))).await, []);
        assert_eq!(bed.sweep(&month, now).await, [("sync", 2)]);
        let left = bed.store.syncs(account.id, None, 9).await.unwrap().items;
        let left: Vec<_> = left.into_iter().map(|one| one.id).collect();
        assert_eq!(left, [last.id, young.id, changed.id]);
        assert!(![old.id, failed.id].iter().any(|gone| left.contains(gone)));
        assert_eq!(bed.sweep(&month, now).await, []);
        // Nobody asks for the last sync of a customer who has left.
        let event = bed.event(lease.connection, EventType::ConnectionDeleted);
        assert!(bed.store.delete_connection(bed.business, lease.connection, &event, now).await.unwrap());
        assert_eq!(bed.sweep(&month, now).await, [("sync", 1)]);
    }

    async fn more_rows_than_a_batch_go_in_one_call(bed) {
        let (lease, account) = bed.running().await;
        for days in 0..3 {
            bed.sync_at(&lease, &account, START.minus(DAY * days), vec![]).await;
        }
        for key in 0..2_100 {
            let key = format!("key {key}");
            let begun = bed.store.idempotency_begin(bed.business, &key, &[1; 32], DAY, START).await.unwrap();
            assert_eq!(begun, Idempotent::New);
        }
        let day = Retention::of_all(DAY);
        assert_eq!(bed.sweep(&day, START.plus(DAY)).await, [("sync", 1), ("idempotency", 2_100)]);
        let again = bed.store.idempotency_begin(bed.business, "key 7", &[2; 32], DAY, START).await.unwrap();
        assert_eq!(again, Idempotent::New);
    }

    async fn a_request_that_another_run_answered_goes_one_that_waits_stays(bed) {
        let (lease, account) = bed.running().await;
        let request = async || match bed.store.request_sync(&account, None, START).await.unwrap() {
            Requested::Sync(id) => id,
            other => panic!("{other:?}"),
        };
        let left = request().await;
        bed.store.begin_asking(&lease, account.id).await.unwrap();
        request().await;
        let lease = bed.claim(START.plus(MINUTE)).await;
        bed.commit(&lease, &account, vec![]).await; // answers both
        let waiting = request().await;
        let week = Retention { sync_requests: 7 * DAY, ..for_ever() };
        assert!(matches!(bed.store.sync(bed.business, left).await.unwrap(), Some(FoundSync::Finished(_))));
        assert_eq!(bed.sweep(&week, START.plus(7 * DAY)).await, [("sync_request", 1)]);
        assert_eq!(bed.store.sync(bed.business, left).await.unwrap(), None);
        let running = Some(FoundSync::Running { account: account.id });
        assert_eq!(bed.store.sync(bed.business, waiting).await.unwrap(), running);
    }

    async fn a_pending_delivery_and_its_event_stay_whatever_their_age(bed) {
        let (lease, account) = bed.running().await;
        let (kept, ended) = (bed.endpoint(&[]).await, bed.endpoint(&[]).await);
        bed.tell_at(&lease, &account, START).await;
        let claimed = bed.store.claim_deliveries(START, START.plus(MINUTE), 9, 9, false, &[kept.id]).await.unwrap();
        assert_eq!(claimed.len(), 1);
        let attempt = |at| NewAttempt { id: AttemptId::new(), at, duration_ms: 1, status: Some(204), error: None };
        let (first, done) = (&claimed[0], AfterAttempt::Delivered);
        assert!(bed.store.record_attempt(first, &attempt(START), &done).await.unwrap());
        let now = START.plus(100 * DAY);
        let only = |change: fn(&mut Retention)| {
            let mut retention = for_ever();
            change(&mut retention);
            retention
        };
        let events = only(|retention| retention.events = DAY);
        assert_eq!(bed.sweep(&events, now).await, []);
        let attempts = only(|retention| retention.attempts = DAY);
        assert_eq!(bed.sweep(&attempts, START).await, []);
        assert_eq!(bed.sweep(&attempts, now).await, [("attempt", 1)]);
        assert_eq!(bed.store.attempts(ended.id, first.id).await.unwrap(), []);
        let deliveries = only(|retention| retention.deliveries = DAY);
        assert_eq!(bed.sweep(&deliveries, START.plus(DAY)).await, [], "it was sent a minute later");
        assert_eq!(bed.sweep(&deliveries, now).await, [("delivery", 1)]);
        assert!(bed.store.deliveries(ended.id, None, 9).await.unwrap().items.is_empty());
        // The other endpoint has not heard of it yet: event and delivery stay.
        assert_eq!(bed.sweep(&Retention::of_all(DAY), now).await, []);
        let waiting = bed.store.deliveries(kept.id, None, 9).await.unwrap().items;
        assert_eq!(waiting[0].state, DeliveryState::Pending);
        let claimed = bed.store.claim_deliveries(now, now.plus(MINUTE), 9, 9, false, &[]).await.unwrap();
        assert_eq!(claimed[0].event, first.event);
        assert!(bed.store.record_attempt(&claimed[0], &attempt(now), &done).await.unwrap());
        let later = now.plus(2 * DAY);
        let gone = bed.sweep(&Retention::of_all(DAY), later).await;
        assert_eq!(gone, [("attempt", 1), ("delivery", 1), ("event", 1)]);
    }

    async fn consents_stay_with_their_customer_and_for_a_while_after(bed) {
        let (lease, _) = bed.running().await;
        let id = lease.connection;
        bed.reauthorise(id, &[], Some(&consent()), START).await.unwrap();
        let year = Retention { ended_consents: 365 * DAY, ..for_ever() };
        let later = START.plus(1_000 * DAY);
        assert_eq!(bed.sweep(&year, later).await, [], "the first one ended long ago, but the customer is there");
        let event = bed.event(id, EventType::ConnectionDeleted);
        assert!(bed.store.delete_connection(bed.business, id, &event, later).await.unwrap());
        assert_eq!(bed.sweep(&year, later).await, [("consent", 1)]);
        let left = bed.store.consents(id).await.unwrap();
        assert_eq!(left.iter().map(|one| one.end_reason.as_deref()).collect::<Vec<_>>(), [Some("deleted")]);
        assert_eq!(bed.sweep(&year, later.plus(365 * DAY)).await, [("consent", 1)]);
        assert_eq!(bed.store.consents(id).await.unwrap(), []);
    }

    async fn two_who_sweep_at_once_do_not_disturb_each_other(bed) {
        for key in 0..300 {
            bed.store.idempotency_begin(bed.business, &format!("key {key}"), &[1; 32], DAY, START).await.unwrap();
        }
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let store = bed.store.clone();
            tasks.spawn(async move { store.sweep(&Retention::of_all(DAY), START.plus(DAY)).await.unwrap() });
        }
        let gone: u64 = tasks.join_all().await.iter().flat_map(|swept| &swept.rows).map(|(_, rows)| rows).sum();
        assert_eq!(gone, 300);
    }
}
