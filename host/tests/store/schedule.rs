//! Claiming, fencing, completing.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{Requested, StoreError};
use std::collections::BTreeSet;

both! {
    async fn the_most_overdue_are_claimed_first_and_no_more_than_permitted(bed) {
        let late = bed.connection_at(INSTITUTION, START.minus(MINUTE)).await;
        let later = bed.connection_at(INSTITUTION, START).await;
        let other = bed.connection_at("other", START).await;
        bed.connection_at(INSTITUTION, START.plus(MINUTE)).await;
        let claim = async |permits: &[(&str, u32)]| {
            let permits = Permits::of_any(permits.iter().map(|(name, count)| ((*name).to_owned(), *count)));
            let leases = bed.store.claim_due(START, START.plus(MINUTE), &permits).await.unwrap();
            leases.into_iter().map(|lease| lease.connection).collect::<BTreeSet<_>>()
        };
        assert_eq!(bed.store.next_due(START).await.unwrap(), Some(START.minus(MINUTE)));
        assert_eq!(claim(&[]).await, [].into());
        assert_eq!(claim(&[(INSTITUTION, 0)]).await, [].into());
        assert_eq!(claim(&[(INSTITUTION, 1)]).await, [late.id].into());
        assert_eq!(claim(&[(INSTITUTION, 5), ("other", 5)]).await, [later.id, other.id].into());
        assert_eq!(claim(&[(INSTITUTION, 5), ("other", 5)]).await, [].into());
        assert_eq!(bed.store.next_due(START).await.unwrap(), Some(START.plus(MINUTE)));
    }

    async fn a_paused_institution_is_left_alone_until_its_pause_ends(bed) {
        bed.connection().await;
        let ends = START.plus(5 * MINUTE);
        bed.store.pause_institution(INSTITUTION, ends, "rate-limited").await.unwrap();
        bed.store.pause_institution(INSTITUTION, START.plus(MINUTE), "shorter").await.unwrap();
        assert_eq!(bed.claim_all(START.plus(2 * MINUTE)).await, []);
        assert_eq!(bed.store.next_due(START).await.unwrap(), Some(ends));
        bed.connection_at("other", START.plus(HOUR)).await;
        assert_eq!(bed.store.next_due(START).await.unwrap(), Some(ends));
        assert_eq!(bed.store.next_due(ends).await.unwrap(), Some(START), "over: the old due time counts");
        assert_eq!(bed.claim_all(ends).await.len(), 1);
    }

    async fn a_deferred_connection_may_not_be_asked_before_and_is_not_claimed_over_and_over(bed) {
        let (lease, account) = bed.running().await;
        bed.store.request_sync(&account, None, START).await.unwrap();
        let until = START.plus(10 * MINUTE);
        bed.store.defer_connection(&lease, until).await.unwrap();
        bed.store.defer_connection(&lease, START.plus(MINUTE)).await.unwrap();
        let head = bed.store.head(account.id).await.unwrap().unwrap();
        assert_eq!(head.next_allowed_at, Some(until), "the later one counts");
        bed.store.complete(&lease, START, until, 0, START).await.unwrap();
        assert_eq!(bed.store.next_due(START).await.unwrap(), Some(until));
        assert!(matches!(bed.store.defer_connection(&lease, until).await, Err(StoreError::LeaseLost)));
        let lease = bed.claim(until).await;
        bed.store.complete(&lease, START, until.plus(HOUR), 0, until).await.unwrap();
        assert_eq!(bed.store.next_due(START).await.unwrap(), Some(until), "what was requested is due at once");
    }

    async fn claimers_at_the_same_moment_never_get_the_same_connection(bed) {
        for _ in 0..40 {
            bed.connection().await;
        }
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = bed.store.clone();
            tasks.spawn(async move {
                let permits = Permits::of_any([(INSTITUTION.to_owned(), 3)]);
                let mut mine = Vec::new();
                loop {
                    let got = store.claim_due(START, START.plus(MINUTE), &permits).await.unwrap();
                    // Others may hold the rows of this round; done means that nothing is due any more.
                    if got.is_empty() && store.next_due(START).await.unwrap() > Some(START) {
                        return mine;
                    }
                    assert!(got.len() <= 3);
                    mine.extend(got.into_iter().map(|lease| lease.connection));
                }
            });
        }
        let all: Vec<ConnectionId> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(all.len(), 40);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 40);
    }

    async fn a_lease_that_ran_out_is_claimed_again_with_a_higher_token(bed) {
        bed.connection().await;
        let first = bed.claim(START).await;
        assert_eq!((first.claimed_at, first.until), (START, START.plus(MINUTE)));
        assert_eq!(bed.claim_all(START.plus(MINUTE / 2)).await, []);
        let second = bed.claim(START.plus(MINUTE)).await;
        assert_eq!(second.token, first.token + 1);
        assert_eq!(second.slot_at, first.slot_at);
        let lost = opened(&bed.store, &first).await;
        assert!(matches!(lost, Err(StoreError::LeaseLost)));
        assert_eq!(opened(&bed.store, &second).await.unwrap().connection.id, first.connection);
    }

    async fn every_write_of_a_lost_lease_is_refused_and_stores_nothing(bed) {
        let (stale, account) = bed.running().await;
        let (id, trigger, _) = bed.store.begin_asking(&stale, account.id).await.unwrap();
        let holder = bed.claim(START.plus(MINUTE)).await;
        let endpoint = bed.endpoint(&[]).await;
        let before = bed.store.connection(bed.business, stale.connection).await.unwrap();
        let head = bed.store.head(account.id).await.unwrap();
        let (store, now) = (&bed.store, START.plus(MINUTE));
        let event = || bed.event(stale.connection, EventType::AccountUpdated);
        let (done, late) = (sync(&stale, &account, id, trigger), event());
        let results = [
            ("save_captures", store.save_captures(&stale, &[(credential("t", "v"), 0)], now).await.err()),
            ("save_session", store.save_session(&stale, None, Some("s"), true).await.err()),
            ("close_session", store.close_session(&stale).await.err()),
            ("require_reauthorisation", store.require_reauthorisation(&stale, "r", &event(), now).await.err()),
            ("note_rejection", store.note_rejection(&stale, None, now).await.err()),
            ("record_accounts", bed.list(&stale, &[bank_account("new", None)], now).await.err()),
            ("begin_asking", store.begin_asking(&stale, account.id).await.err()),
            ("commit_sync", store.commit_sync(&stale, &commit(done.clone(), vec![NewChange::added(pending(1, "x"))]), move |_| Some(late.clone())).await.err()),
            ("fail_sync", store.fail_sync(&stale, &failure(done), &|_| Some(event())).await.err()),
            ("release", store.release(&stale, now).await.err()),
            ("complete", store.complete(&stale, now, now, 3, now).await.err()),
            ("opened", opened(store, &stale).await.err()),
        ];
        for (name, error) in results {
            assert!(matches!(error, Some(StoreError::LeaseLost)), "{name}: {error:?}");
        }
        assert_eq!(store.connection(bed.business, stale.connection).await.unwrap(), before);
        assert_eq!(store.head(account.id).await.unwrap(), head);
        assert_eq!(store.accounts(bed.business, None, None, 9).await.unwrap().items, std::slice::from_ref(&account));
        assert_eq!(store.credentials(stale.connection).await.unwrap().len(), 1);
        assert!(store.syncs(account.id, None, 9).await.unwrap().items.is_empty());
        assert!(store.changes(account.id, 0, 9).await.unwrap().items.is_empty());
        assert!(store.deliveries(endpoint.id, None, 9).await.unwrap().items.is_empty());
        assert_eq!(store.next_due(now).await.unwrap(), Some(holder.until));
        store.complete(&holder, now, now.plus(HOUR), 0, now).await.unwrap();
        let twice = store.complete(&holder, now, now, 0, now).await;
        assert!(matches!(twice, Err(StoreError::LeaseLost)), "a completed lease is over");
    }

    async fn a_completed_run_is_due_at_its_next_slot_with_its_failures(bed) {
        bed.connection().await;
        let lease = bed.claim(START).await;
        bed.store.complete(&lease, START.plus(HOUR), START.plus(HOUR), 2, START.plus(MINUTE)).await.unwrap();
        assert_eq!(bed.claim_all(START.plus(HOUR).minus(MINUTE)).await, []);
        let next = bed.claim(START.plus(HOUR)).await;
        assert_eq!((next.slot_at, next.failures, next.token), (START.plus(HOUR), 2, lease.token + 1));
    }

    async fn why_a_run_came_to_nothing_stands_until_the_next_one_or_another_way_in(bed) {
        let id = bed.connection().await.id;
        let shown = async || {
            let shown = bed.store.connection(bed.business, id).await.unwrap().unwrap();
            (shown.reason, shown.due_at)
        };
        let refused = Some("credentials-rejected".to_owned());
        let fail = async |now: Timestamp| {
            let lease = bed.claim(now).await;
            assert_eq!(shown().await.1, None, "a run has it");
            let later = now.plus(HOUR);
            bed.store.complete_for(&lease, later, later, 1, refused.as_deref(), now).await.unwrap();
            assert_eq!(shown().await, (refused.clone(), Some(later)));
            later
        };
        let now = fail(START).await;
        let lease = bed.claim(now).await;
        bed.store.complete(&lease, now, now, 0, now).await.unwrap();
        assert_eq!(shown().await, (None, Some(now)), "it went well");
        let now = fail(now).await;
        bed.reauthorise(id, &[], None, now).await.unwrap();
        assert_eq!(shown().await, (None, Some(now)), "other credentials");
        let now = fail(now).await;
        let event = bed.event(id, EventType::ConnectionPaused);
        bed.store.pause_connection(bed.business, id, &event, now).await.unwrap();
        assert_eq!(shown().await, (None, None), "it rests because its business says so");
        let event = bed.event(id, EventType::ConnectionResumed);
        bed.store.resume_connection(bed.business, id, &event, now).await.unwrap();
        assert_eq!(shown().await, (None, Some(now)));
    }

    async fn a_completed_run_is_due_when_the_first_account_that_is_read_is(bed) {
        let (lease, one) = bed.running().await;
        let listed = [bank_account("a1", Some("GB29")), bank_account("a2", None), bank_account("a3", None)];
        let [_, two, three] = bed.list(&lease, &listed, START).await.unwrap().try_into().unwrap();
        let later = START.plus(3 * HOUR);
        for (account, due_at, limit) in [(&one, START.plus(2 * HOUR), None), (&two, START.plus(HOUR), Some(later)), (&three, later, None)] {
            let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
            let done = Sync { next_allowed_at: limit, ..sync(&lease, account, id, trigger) };
            let commit = SyncCommit { due_at, ..commit(done, vec![]) };
            bed.store.commit_sync(&lease, &commit, |_| None).await.unwrap();
        }
        bed.store.complete(&lease, START, START, 7, START).await.unwrap();
        assert_eq!(bed.store.next_due(START).await.unwrap(), Some(START.plus(2 * HOUR)), "two's limit comes later");
        assert_eq!(bed.claim(START.plus(2 * HOUR)).await.failures, 0, "the accounts' own count");
    }

    async fn what_is_given_back_is_due_again_at_once(bed) {
        bed.connection().await;
        let lease = bed.claim(START).await;
        bed.store.release(&lease, START).await.unwrap();
        let again = bed.claim(START).await;
        assert_eq!(again.token, lease.token + 1);
        assert_eq!(bed.store.release_all(START).await.unwrap(), 1);
        assert_eq!(bed.store.release_all(START).await.unwrap(), 0);
        assert_eq!(bed.claim(START).await.token, lease.token + 2);
    }

    async fn a_request_during_a_run_makes_the_connection_due_again_when_the_run_is_over(bed) {
        let (lease, account) = bed.running().await;
        bed.commit(&lease, &account, vec![]).await;
        let Requested::Sync(wanted) = bed.store.request_sync(&account, None, START).await.unwrap() else { panic!() };
        assert_eq!(bed.claim_all(START).await, [], "the run goes on undisturbed");
        let now = START.plus(MINUTE);
        bed.store.complete(&lease, START.plus(HOUR), START.plus(HOUR), 0, now).await.unwrap();
        let next = bed.claim(now).await;
        assert_eq!(bed.store.begin_asking(&next, account.id).await.unwrap().0, wanted);
    }

    async fn a_request_at_the_moment_a_run_ends_is_never_forgotten(bed) {
        for round in 0..20 {
            let connection = bed.connection().await;
            let lease = bed.claim(START).await;
            let listed = [bank_account(&format!("r{round}"), None)];
            let account = bed.list(&lease, &listed, START).await.unwrap().remove(0);
            let (store, wanted) = (bed.store.clone(), account.clone());
            let request = tokio::spawn(async move { store.request_sync(&wanted, None, START).await.unwrap() });
            bed.store.complete(&lease, START.plus(HOUR), START.plus(HOUR), 0, START).await.unwrap();
            assert!(matches!(request.await.unwrap(), Requested::Sync(_)));
            let next = bed.claim(START).await;
            assert_eq!(next.connection, connection.id);
            bed.commit(&next, &account, vec![]).await;
            bed.store.complete(&next, START.plus(HOUR), START.plus(HOUR), 0, START).await.unwrap();
        }
    }
}
