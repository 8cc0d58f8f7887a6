//! Endpoints, deliveries, attempts.

use crate::bed::*;
use crate::both;
use host::model::*;
use std::collections::{BTreeMap, BTreeSet};

impl Bed {
    /// One more event of the connection, through a door that stores events.
    async fn tell(&self, lease: &Lease, account: &Account, kind: EventType) -> NewEvent {
        let event = NewEvent { account: Some(account.id), ..self.event(lease.connection, kind) };
        let commit = commit(sync(lease, account, SyncId::new(), Trigger::Schedule), vec![]);
        let told = event.clone();
        self.store.commit_sync(lease, &commit, move |_| Some(told.clone())).await.unwrap();
        event
    }

    async fn claim_deliveries(&self, now: Timestamp, per_endpoint: u32, limit: u32) -> Vec<ClaimedDelivery> {
        let mut claimed = Vec::new();
        for failing in [false, true] {
            let left = limit - claimed.len() as u32;
            claimed.extend(
                self.store
                    .claim_deliveries(now, now.plus(MINUTE), per_endpoint, left, failing, &[])
                    .await
                    .unwrap(),
            );
        }
        claimed
    }
}

fn attempt(at: Timestamp, status: Option<i16>) -> NewAttempt {
    let error = status.is_none().then(|| "timeout".to_owned());
    NewAttempt { id: AttemptId::new(), at, duration_ms: 12, status, error }
}

both! {
    async fn an_endpoint_is_created_changed_and_deleted(bed) {
        let endpoint = bed.endpoint(&[EventType::SyncFailed]).await;
        let second = bed.endpoint(&[]).await;
        assert_eq!(bed.store.endpoint(bed.business, endpoint.id).await.unwrap(), Some(endpoint.clone()));
        assert_eq!(bed.store.endpoint(BusinessId::new(), endpoint.id).await.unwrap(), None);
        assert_eq!(bed.store.endpoints(bed.business).await.unwrap(), [endpoint.clone(), second.clone()]);

        let mut changed = Endpoint { url: "https://books.example/2".to_owned(), event_types: vec![], ..endpoint.clone() };
        changed.secrets.insert(0, EndpointSecret { secret: Secret::new("whsec_new"), expires_at: None });
        changed.secrets[1].expires_at = Some(START.plus(24 * HOUR));
        assert!(bed.store.update_endpoint(&changed).await.unwrap());
        assert_eq!(bed.store.endpoint(bed.business, endpoint.id).await.unwrap(), Some(changed.clone()));
        let foreign = Endpoint { business: BusinessId::new(), ..changed.clone() };
        assert!(!bed.store.update_endpoint(&foreign).await.unwrap());
        assert!(!bed.store.update_endpoint(&Endpoint { id: EndpointId::new(), ..changed }).await.unwrap());

        assert!(!bed.store.delete_endpoint(BusinessId::new(), endpoint.id).await.unwrap());
        assert!(bed.store.delete_endpoint(bed.business, endpoint.id).await.unwrap());
        assert!(!bed.store.delete_endpoint(bed.business, endpoint.id).await.unwrap());
        assert_eq!(bed.store.endpoints(bed.business).await.unwrap(), [second]);
    }

    async fn each_endpoint_that_wants_an_event_gets_exactly_one_delivery(bed) {
        let (lease, account) = bed.running().await;
        let (all, updates, failures) =
            (bed.endpoint(&[]).await, bed.endpoint(&[EventType::AccountUpdated]).await, bed.endpoint(&[EventType::SyncFailed]).await);
        let other = bed.store.create_business("Other", START).await.unwrap().id;
        bed.store.create_endpoint(&Endpoint { id: EndpointId::new(), business: other, ..all.clone() }).await.unwrap();
        let update = bed.tell(&lease, &account, EventType::AccountUpdated).await;
        let failure = bed.tell(&lease, &account, EventType::SyncFailed).await;
        let claimed = bed.claim_deliveries(START, 9, 99).await;
        let told: BTreeSet<_> = claimed.iter().map(|one| (one.endpoint.id, one.event)).collect();
        let expected = [(all.id, update.id), (all.id, failure.id), (updates.id, update.id), (failures.id, failure.id)];
        assert_eq!(told, BTreeSet::from(expected));
        assert_eq!(claimed.len(), 4);
        let first = claimed.iter().find(|one| one.endpoint.id == updates.id).unwrap();
        assert_eq!((&first.payload, &first.endpoint, first.attempts), (&update.payload, &updates, 0));
    }

    async fn a_full_endpoint_does_not_take_the_place_of_another(bed) {
        let (lease, account) = bed.running().await;
        let busy = bed.endpoint(&[EventType::AccountUpdated]).await;
        for _ in 0..10 {
            bed.tell(&lease, &account, EventType::AccountUpdated).await;
        }
        let quiet = bed.endpoint(&[EventType::SyncFailed]).await;
        bed.tell(&lease, &account, EventType::SyncFailed).await;
        let count = |claimed: &[ClaimedDelivery]| {
            let mut counts = BTreeMap::new();
            for one in claimed {
                *counts.entry(one.endpoint.id).or_insert(0) += 1;
            }
            counts
        };
        assert_eq!(count(&bed.claim_deliveries(START, 3, 99).await), BTreeMap::from([(busy.id, 3), (quiet.id, 1)]));
        assert_eq!(count(&bed.claim_deliveries(START, 3, 2).await), BTreeMap::from([(busy.id, 2)]));
        assert_eq!(count(&bed.claim_deliveries(START, 99, 99).await), BTreeMap::from([(busy.id, 5)]));
        assert!(bed.claim_deliveries(START, 99, 99).await.is_empty());
        assert!(bed.claim_deliveries(START.plus(MINUTE), 0, 9).await.is_empty());
        assert_eq!(count(&bed.claim_deliveries(START.plus(MINUTE), 99, 99).await), BTreeMap::from([(busy.id, 10), (quiet.id, 1)]), "unrecorded claims run out");
    }

    async fn claimers_at_the_same_moment_never_get_the_same_delivery(bed) {
        let (lease, account) = bed.running().await;
        bed.endpoint(&[]).await;
        for _ in 0..30 {
            bed.tell(&lease, &account, EventType::AccountUpdated).await;
        }
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let store = bed.store.clone();
            tasks.spawn(async move {
                let mut mine = Vec::new();
                while store.next_delivery().await.unwrap() <= Some(START) {
                    let claimed = store.claim_deliveries(START, START.plus(MINUTE), 4, 4, false, &[]).await.unwrap();
                    mine.extend(claimed.into_iter().map(|one| one.id));
                }
                mine
            });
        }
        let all: Vec<DeliveryId> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (30, 30));
    }

    async fn failing_endpoints_are_claimed_apart_and_busy_ones_not_at_all(bed) {
        let (lease, account) = bed.running().await;
        let (failing, healthy) = (bed.endpoint(&[]).await, bed.endpoint(&[]).await);
        bed.tell(&lease, &account, EventType::AccountUpdated).await;
        let claim = async |now: Timestamp, failing: bool, busy: &[EndpointId]| {
            let claimed = bed.store.claim_deliveries(now, now.plus(MINUTE), 9, 9, failing, busy).await.unwrap();
            claimed.into_iter().map(|one| one.endpoint.id).collect::<Vec<_>>()
        };
        let mut claimed = bed.claim_deliveries(START, 9, 9).await;
        claimed.retain(|one| one.endpoint.id == failing.id);
        let failed = attempt(START, Some(500));
        assert!(bed.store.record_attempt(&claimed[0], &failed, &AfterAttempt::Retry(START.plus(MINUTE))).await.unwrap());

        let later = START.plus(2 * MINUTE);
        assert!(claim(later, true, &[healthy.id, failing.id]).await.is_empty());
        assert!(claim(later, false, &[healthy.id]).await.is_empty());
        assert_eq!(claim(later, true, &[healthy.id]).await, [failing.id]);
        assert_eq!(claim(later, false, &[failing.id]).await, [healthy.id]);
    }

    async fn a_delivery_is_retried_until_it_is_delivered(bed) {
        let (lease, account) = bed.running().await;
        let endpoint = bed.endpoint(&[]).await;
        assert_eq!(bed.store.next_delivery().await.unwrap(), None);
        bed.tell(&lease, &account, EventType::AccountUpdated).await;
        assert_eq!(bed.store.next_delivery().await.unwrap(), Some(START));
        let first = bed.claim_deliveries(START, 9, 9).await.remove(0);
        let retry = START.plus(5 * MINUTE);
        let failed = attempt(START, None);
        assert!(bed.store.record_attempt(&first, &failed, &AfterAttempt::Retry(retry)).await.unwrap());
        let late = attempt(START.plus(MINUTE), Some(200));
        assert!(!bed.store.record_attempt(&first, &late, &AfterAttempt::Delivered).await.unwrap(), "its token is used up");
        assert_eq!(bed.store.next_delivery().await.unwrap(), Some(retry));
        let since = async || bed.store.endpoint(bed.business, endpoint.id).await.unwrap().unwrap().failing_since;
        assert_eq!(since().await, Some(START));

        let second = bed.claim_deliveries(retry, 9, 9).await.remove(0);
        assert_eq!((second.id, second.attempts), (first.id, 1));
        assert!(second.token > first.token);
        let listed = |state, attempts, due_at| (state, attempts, due_at);
        let show = async || {
            let one = bed.store.deliveries(endpoint.id, None, 9).await.unwrap().items.remove(0);
            (one.state, one.attempts, one.due_at)
        };
        assert_eq!(show().await, listed(DeliveryState::Pending, 1, Some(retry.plus(MINUTE))));
        assert!(bed.store.record_attempt(&second, &attempt(retry, Some(204)), &AfterAttempt::Delivered).await.unwrap());
        assert_eq!(show().await, listed(DeliveryState::Delivered, 2, None));
        assert_eq!((since().await, bed.store.next_delivery().await.unwrap()), (None, None));
        let attempts = bed.store.attempts(endpoint.id, first.id).await.unwrap();
        assert_eq!(attempts.len(), 3);
        assert_eq!((&attempts[0].outcome, attempts[0].event), (&failed, first.event));
        assert!(bed.store.attempts(EndpointId::new(), first.id).await.unwrap().is_empty());
    }

    async fn a_receiver_that_is_gone_is_disabled_and_its_pending_deliveries_cancelled(bed) {
        let (lease, account) = bed.running().await;
        let endpoint = bed.endpoint(&[]).await;
        for _ in 0..3 {
            bed.tell(&lease, &account, EventType::AccountUpdated).await;
        }
        let claimed = bed.claim_deliveries(START, 2, 9).await;
        let gone = AfterAttempt::DisableEndpoint("answered 410".to_owned());
        assert!(bed.store.record_attempt(&claimed[0], &attempt(START, Some(410)), &gone).await.unwrap());
        assert!(!bed.store.record_attempt(&claimed[1], &attempt(START, Some(200)), &AfterAttempt::Delivered).await.unwrap());
        let states = async || {
            let page = bed.store.deliveries(endpoint.id, None, 9).await.unwrap();
            page.items.into_iter().map(|one| one.state).collect::<Vec<_>>()
        };
        assert_eq!(states().await, [DeliveryState::Cancelled; 3]);
        let mut disabled = bed.store.endpoint(bed.business, endpoint.id).await.unwrap().unwrap();
        assert_eq!((disabled.state, disabled.disabled_reason.as_deref()), (EndpointState::Disabled, Some("answered 410")));
        bed.tell(&lease, &account, EventType::AccountUpdated).await;
        assert_eq!(states().await.len(), 3, "a disabled endpoint is told nothing");

        disabled.state = EndpointState::Active;
        disabled.disabled_reason = None;
        assert!(bed.store.update_endpoint(&disabled).await.unwrap());
        let active = bed.store.endpoint(bed.business, endpoint.id).await.unwrap().unwrap();
        assert_eq!((active.state, active.failing_since), (EndpointState::Active, None));
    }

    async fn results_that_arrive_while_an_endpoint_is_disabled_never_block_each_other(bed) {
        let (lease, account) = bed.running().await;
        let endpoint = bed.endpoint(&[]).await;
        for _ in 0..24 {
            bed.tell(&lease, &account, EventType::AccountUpdated).await;
        }
        let mut tasks = tokio::task::JoinSet::new();
        for (place, one) in bed.claim_deliveries(START, 99, 99).await.into_iter().enumerate() {
            let store = bed.store.clone();
            tasks.spawn(async move {
                let after = match place % 3 {
                    0 => AfterAttempt::DisableEndpoint("answered 410".to_owned()),
                    1 => AfterAttempt::Retry(START.plus(HOUR)),
                    _ => AfterAttempt::Delivered,
                };
                store.record_attempt(&one, &attempt(START, Some(410)), &after).await.map(drop)
            });
        }
        for result in tasks.join_all().await {
            result.unwrap();
        }
        let states = bed.store.deliveries(endpoint.id, None, 99).await.unwrap().items;
        assert!(states.iter().all(|one| one.state != DeliveryState::Pending), "{states:?}");
    }

    async fn a_delivery_is_replayed_whatever_its_state(bed) {
        let (lease, account) = bed.running().await;
        let endpoint = bed.endpoint(&[]).await;
        bed.tell(&lease, &account, EventType::AccountUpdated).await;
        bed.tell(&lease, &account, EventType::AccountUpdated).await;
        for one in bed.claim_deliveries(START, 9, 9).await {
            assert!(bed.store.record_attempt(&one, &attempt(START, Some(500)), &AfterAttempt::Exhausted).await.unwrap());
        }
        let newest = bed.store.deliveries(endpoint.id, None, 1).await.unwrap();
        assert!(newest.has_more);
        let (newest, now) = (newest.items[0].clone(), START.plus(HOUR));
        assert_eq!(newest.state, DeliveryState::Exhausted);
        let older = bed.store.deliveries(endpoint.id, Some(newest.id), 9).await.unwrap();
        assert_eq!((older.items.len(), older.has_more), (1, false));
        assert!(!bed.store.replay_delivery(EndpointId::new(), newest.id, now).await.unwrap());
        assert!(!bed.store.replay_delivery(endpoint.id, DeliveryId::new(), now).await.unwrap());
        assert!(bed.store.replay_delivery(endpoint.id, newest.id, now).await.unwrap());
        let claimed = bed.claim_deliveries(now, 9, 9).await;
        assert_eq!((claimed.len(), claimed[0].id, claimed[0].attempts), (1, newest.id, 1));
    }

    async fn disabling_or_deleting_an_endpoint_cancels_what_waits_for_it(bed) {
        let (lease, account) = bed.running().await;
        let (off, gone) = (bed.endpoint(&[]).await, bed.endpoint(&[]).await);
        bed.tell(&lease, &account, EventType::AccountUpdated).await;
        bed.store.update_endpoint(&Endpoint { state: EndpointState::Disabled, ..off.clone() }).await.unwrap();
        bed.store.delete_endpoint(bed.business, gone.id).await.unwrap();
        for id in [off.id, gone.id] {
            let deliveries = bed.store.deliveries(id, None, 9).await.unwrap().items;
            assert_eq!((deliveries.len(), deliveries[0].state), (1, DeliveryState::Cancelled));
        }
        assert_eq!(bed.store.next_delivery().await.unwrap(), None);
        assert!(bed.claim_deliveries(START.plus(HOUR), 9, 9).await.is_empty());
    }
}
