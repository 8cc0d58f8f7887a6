//! Between the wish to end a connection and its erasure.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{ClosingConnection, ClosingTry, Requested, StoreError};
use std::time::Duration;

impl Bed {
    async fn begin_closing(&self, connection: ConnectionId) -> bool {
        self.store.begin_closing(self.business, connection, START).await.unwrap()
    }

    async fn assert_gone(&self, lease: &Lease, account: &Account) {
        let store = &self.store;
        assert_eq!(store.account(self.business, account.id).await.unwrap(), None);
        assert!(
            store.accounts(self.business, Some(lease.connection), None, 9).await.unwrap().items.is_empty()
        );
        assert!(store.is_erased_account(self.business, account.id).await.unwrap());
        assert!(!store.is_erased_account(BusinessId::new(), account.id).await.unwrap());
        assert_eq!(store.request_sync(account, None, START).await.unwrap(), Requested::Stopped(None));
        assert_eq!(self.reauthorise(lease.connection, &[], None, START).await, None);
        let by_name =
            store.connections(self.business, Some("customer Rosalind"), None, None, 9).await.unwrap();
        assert!(by_name.items.is_empty());
    }
}

both! {
    async fn a_closing_connection_is_gone_for_everybody_but_the_run_that_closes_it(bed) {
        let (lease, account) = bed.running().await;
        let done = bed.commit(&lease, &account, vec![NewChange::added(booked(1, 1, "Rosalind's rent"))]).await;
        let Requested::Sync(wanted) = bed.store.request_sync(&account, None, START).await.unwrap() else { panic!() };
        assert!(!bed.store.is_erased_account(bed.business, account.id).await.unwrap());
        assert!(!bed.store.begin_closing(BusinessId::new(), lease.connection, START).await.unwrap());
        assert!(!bed.begin_closing(ConnectionId::new()).await);
        assert!(bed.begin_closing(lease.connection).await);
        assert!(!bed.begin_closing(lease.connection).await, "once");
        bed.assert_gone(&lease, &account).await;
        for sync in [wanted, done.id] {
            assert_eq!(bed.store.sync(bed.business, sync).await.unwrap(), None);
        }
        let stored = bed.store.connection(bed.business, lease.connection).await.unwrap().unwrap();
        assert_eq!((stored.state, stored.customer_ref, stored.deleted_at), (ConnectionState::Closing, None, None));
        assert!(!bed.store.is_erased(lease.connection).await.unwrap());

        // Its run has all that it needs to ask the bank.
        let closing = bed.claim(START).await;
        assert_eq!(opened(&bed.store, &closing).await.unwrap().connection.state, ConnectionState::Closing);
        assert_eq!(bed.store.credentials(lease.connection).await.unwrap().len(), 1);
        assert_eq!(bed.store.consent(lease.connection).await.unwrap().unwrap().ended_at, None);
        let capture = [(credential("client_token", "ct"), 0)];
        assert_eq!(bed.store.save_captures(&closing, &capture, START).await.unwrap(), [1]);
    }

    async fn no_lease_from_before_writes_anything(bed) {
        let (lease, account) = bed.running().await;
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        assert!(bed.begin_closing(lease.connection).await);
        let (store, late) = (&bed.store, sync(&lease, &account, id, trigger));
        let event = bed.event(lease.connection, EventType::ReauthorisationRequired);
        let results = [
            store.commit_sync(&lease, &commit(late.clone(), vec![NewChange::added(booked(1, 1, "late"))]), |_| None).await.err(),
            store.fail_sync(&lease, &failure(late), &|_| None).await.err(),
            store.save_captures(&lease, &[(credential("access_token", "late"), 0)], START).await.err(),
            store.save_session(&lease, None, Some("late"), true).await.err(),
            store.require_reauthorisation(&lease, "consent-expired", &event, START).await.err(),
            bed.list(&lease, &[], START).await.err(),
            store.complete(&lease, START, START, 0, START).await.err(),
            store.begin_closing_try(&lease).await.err(),
            store.retry_closing(&lease, START).await.err(),
            store.delete_closed(&lease, &event, START).await.err(),
        ];
        for (place, error) in results.into_iter().enumerate() {
            assert!(matches!(error, Some(StoreError::LeaseLost)), "{place}: {error:?}");
        }
        assert!(store.changes(account.id, 0, 9).await.unwrap().items.is_empty());
        assert_eq!(store.credentials(lease.connection).await.unwrap().len(), 1);
    }

    async fn tries_are_counted_before_the_bank_is_asked_and_the_limit_from_the_wish(bed) {
        let (lease, _) = bed.running().await;
        assert!(matches!(bed.store.begin_closing_try(&lease).await, Err(StoreError::LeaseLost)), "nobody wants that");
        assert!(bed.begin_closing(lease.connection).await);
        let first = bed.claim(START).await;
        let counted = bed.store.begin_closing_try(&first).await.unwrap();
        assert_eq!(counted, ClosingTry { since: START, number: 1 });
        let soon = START.plus(Duration::from_secs(10));
        bed.store.retry_closing(&first, soon).await.unwrap();
        assert!(bed.claim_all(soon.minus(Duration::from_secs(1))).await.is_empty());
        // The second try dies with its process: the third is counted all the same.
        let second = bed.claim(soon).await;
        assert_eq!(bed.store.begin_closing_try(&second).await.unwrap().number, 2);
        assert_eq!(bed.store.release_all(soon).await.unwrap(), 1);
        let third = bed.claim(soon).await;
        assert_eq!(bed.store.begin_closing_try(&third).await.unwrap(), ClosingTry { since: START, number: 3 });
    }

    async fn the_run_that_closed_erases_and_tells_once(bed) {
        let (lease, account) = bed.running().await;
        let endpoint = bed.endpoint(&[]).await;
        assert!(bed.begin_closing(lease.connection).await);
        let closing = bed.claim(START).await;
        let event = bed.event(lease.connection, EventType::ConnectionDeleted);
        bed.store.delete_closed(&closing, &event, START).await.unwrap();
        let again = bed.store.delete_closed(&closing, &event, START).await;
        assert!(matches!(again, Err(StoreError::LeaseLost)));
        assert!(!bed.store.delete_connection(bed.business, lease.connection, &event, START).await.unwrap());
        assert!(bed.store.is_erased(lease.connection).await.unwrap());
        assert_eq!(bed.store.credentials(lease.connection).await.unwrap(), []);
        let consent = bed.store.consent(lease.connection).await.unwrap().unwrap();
        assert_eq!(consent.end_reason.as_deref(), Some("deleted"));
        assert_eq!(bed.store.deliveries(endpoint.id, None, 9).await.unwrap().items.len(), 1);
        bed.assert_gone(&lease, &account).await;
        assert!(bed.claim_all(START.plus(24 * HOUR)).await.is_empty());
    }

    async fn a_closing_that_takes_too_long_is_found_and_its_lease_is_lost_when_it_is_erased(bed) {
        let (lease, _) = bed.running().await;
        assert_eq!(bed.store.overdue_closings(START.plus(HOUR)).await.unwrap(), []);
        assert!(bed.begin_closing(lease.connection).await);
        let closing = bed.claim(START).await;
        assert_eq!(bed.store.overdue_closings(START.minus(MINUTE)).await.unwrap(), []);
        let late = ClosingConnection { id: lease.connection, business: bed.business, institution: INSTITUTION.to_owned() };
        assert_eq!(bed.store.overdue_closings(START).await.unwrap(), [late]);
        let event = bed.event(lease.connection, EventType::ConnectionDeleted);
        assert!(bed.store.delete_connection(bed.business, lease.connection, &event, START).await.unwrap());
        assert_eq!(bed.store.overdue_closings(START).await.unwrap(), []);
        let event = bed.event(lease.connection, EventType::ConnectionDeleted);
        let lost = bed.store.delete_closed(&closing, &event, START).await;
        assert!(matches!(lost, Err(StoreError::LeaseLost)));
    }

    async fn a_crash_at_any_moment_leaves_it_closing_or_to_be_finished(bed) {
        let (lease, account) = bed.running().await;
        bed.commit(&lease, &account, vec![NewChange::added(booked(1, 1, "Rosalind's rent"))]).await;
        let state = async || bed.store.connection(bed.business, lease.connection).await.unwrap().unwrap().state;
        for polls in 1.. {
            drop_after(polls, bed.begin_closing(lease.connection)).await;
            // A write of its own waits on SQLite until the dropped transaction is gone.
            bed.store.approve_institution("other", "f", START).await.unwrap();
            if state().await == ConnectionState::Closing {
                break;
            }
            assert_eq!(state().await, ConnectionState::Active);
        }
        bed.assert_gone(&lease, &account).await;
        let mut now = START;
        for polls in 1.. {
            // PostgreSQL frees a dropped transaction's locks a moment later; until then nobody can claim.
            let claimed = async {
                loop {
                    if let Some(closing) = bed.claim_all(now).await.pop() {
                        return Some(closing);
                    }
                    if state().await == ConnectionState::Deleted {
                        return None;
                    }
                    tokio::task::yield_now().await;
                }
            };
            let claimed = tokio::time::timeout(MINUTE, claimed).await.expect("the row can be claimed again");
            let Some(closing) = claimed else { break };
            let event = bed.event(lease.connection, EventType::ConnectionDeleted);
            drop_after(polls, bed.store.delete_closed(&closing, &event, now)).await;
            bed.store.approve_institution("other", "f", START).await.unwrap();
            if state().await == ConnectionState::Deleted {
                break;
            }
            assert_eq!(bed.store.credentials(lease.connection).await.unwrap().len(), 1);
            now = now.plus(2 * MINUTE); // the lease runs out
        }
        bed.store.finish_erasures(START.minus(MINUTE)).await.unwrap();
        bed.store.finish_erasures(now).await.unwrap();
        assert!(bed.store.is_erased(lease.connection).await.unwrap());
        assert!(bed.store.transactions(account.id, &Default::default(), 9).await.unwrap().items.is_empty());
    }
}
