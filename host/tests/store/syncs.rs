//! Requesting, beginning, committing and failing syncs.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{FoundSync, Requested};
use std::collections::BTreeSet;

both! {
    async fn twenty_requests_at_the_same_moment_get_one_sync(bed) {
        let (lease, account) = bed.running().await;
        bed.commit(&lease, &account, vec![]).await;
        bed.store.complete(&lease, START.plus(HOUR), START.plus(HOUR), 0, START).await.unwrap();
        assert_eq!(bed.claim_all(START).await, []);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (store, account) = (bed.store.clone(), account.clone());
            tasks.spawn(async move {
                match store.request_sync(&account, None, START).await.unwrap() {
                    Requested::Sync(id) => id,
                    other => panic!("{other:?}"),
                }
            });
        }
        let ids: BTreeSet<SyncId> = tasks.join_all().await.into_iter().collect();
        assert_eq!(ids.len(), 1);
        let head = bed.store.head(account.id).await.unwrap().unwrap();
        assert_eq!(head.requested_at, Some(START));
        assert_eq!(bed.claim_all(START).await.len(), 1, "due at once");
    }

    async fn a_request_joins_the_run_that_has_not_asked_yet_else_the_next_one(bed) {
        let (lease, account) = bed.running().await;
        let request = async |present: Option<&CustomerPresent>| match bed.store.request_sync(&account, present, START).await.unwrap() {
            Requested::Sync(id) => id,
            other => panic!("{other:?}"),
        };
        let here = CustomerPresent { ip: "192.0.2.7".parse().unwrap(), user_agent: Some("Firefox".to_owned()) };
        let first = request(None).await;
        assert_eq!(request(Some(&here)).await, first);
        let running = Some(FoundSync::Running { account: account.id });
        assert_eq!(bed.store.sync(bed.business, first).await.unwrap(), running);
        assert_eq!(bed.store.sync(BusinessId::new(), first).await.unwrap(), None);
        let begun = bed.store.begin_asking(&lease, account.id).await.unwrap();
        assert_eq!(begun, (first, Trigger::Request, Some(here)));
        let second = request(None).await;
        assert_ne!(second, first);
        assert_eq!(bed.store.sync(bed.business, first).await.unwrap(), running);

        let stored = bed.store.commit_sync(&lease, &commit(sync(&lease, &account, first, Trigger::Request), vec![]), |_| None).await.unwrap();
        assert_eq!(bed.store.sync(bed.business, first).await.unwrap(), Some(FoundSync::Finished(Box::new(stored))));
        assert_eq!(bed.store.sync(BusinessId::new(), first).await.unwrap(), None);
        let (id, trigger, present) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        assert_eq!((id, trigger, present), (second, Trigger::Request, None));
        assert_eq!(bed.store.sync(bed.business, SyncId::new()).await.unwrap(), None);
    }

    async fn a_scheduled_run_makes_an_id_of_its_own_and_a_wanted_one_keeps_its_own_over_an_interruption(bed) {
        let (lease, account) = bed.running().await;
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        assert_eq!(trigger, Trigger::Schedule);
        assert_ne!(bed.store.begin_asking(&lease, account.id).await.unwrap().0, id);
        let Requested::Sync(id) = bed.store.request_sync(&account, None, START).await.unwrap() else { panic!() };
        assert_eq!(bed.store.begin_asking(&lease, account.id).await.unwrap(), (id, Trigger::Request, None));
        let lease = bed.claim(START.plus(MINUTE)).await;
        assert_eq!(bed.store.begin_asking(&lease, account.id).await.unwrap(), (id, Trigger::Request, None));
        bed.commit(&lease, &account, vec![]).await;
        assert_ne!(bed.store.begin_asking(&lease, account.id).await.unwrap().0, id);
    }

    async fn what_an_interrupted_run_left_is_answered_by_the_run_that_takes_over(bed) {
        let (lease, account) = bed.running().await;
        let request = async || match bed.store.request_sync(&account, None, START).await.unwrap() {
            Requested::Sync(id) => id,
            other => panic!("{other:?}"),
        };
        let left = request().await;
        bed.store.begin_asking(&lease, account.id).await.unwrap();
        let wanted = async || bed.store.head(account.id).await.unwrap().unwrap().requested_at.is_some();
        assert!(wanted().await, "until it is answered");
        let next = request().await;
        let lease = bed.claim(START.plus(MINUTE)).await;
        assert_eq!(bed.store.begin_asking(&lease, account.id).await.unwrap().0, next);
        let running = Some(FoundSync::Running { account: account.id });
        assert_eq!(bed.store.sync(bed.business, left).await.unwrap(), running);
        let stored = bed.commit(&lease, &account, vec![]).await;
        assert_eq!((stored.id, wanted().await), (next, false));
        let answer = Some(FoundSync::Finished(Box::new(stored)));
        assert_eq!(bed.store.sync(bed.business, left).await.unwrap(), answer);
        assert_eq!(bed.store.sync(bed.business, next).await.unwrap(), answer);
    }

    async fn too_early_and_stopped_say_so_with_the_last_sync(bed) {
        let (lease, account) = bed.running().await;
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        let allowed = START.plus(10 * MINUTE);
        let done = Sync { next_allowed_at: Some(allowed), ..sync(&lease, &account, id, trigger) };
        let last = Some(Box::new(bed.store.commit_sync(&lease, &commit(done, vec![]), |_| None).await.unwrap()));
        let ask = async |now| bed.store.request_sync(&account, None, now).await.unwrap();
        assert_eq!(ask(START).await, Requested::TooEarly { next_allowed_at: allowed, last: last.clone() });
        let pause = START.plus(20 * MINUTE);
        bed.store.pause_institution(INSTITUTION, pause, "limit").await.unwrap();
        assert_eq!(ask(allowed).await, Requested::TooEarly { next_allowed_at: pause, last: last.clone() });
        let event = bed.event(lease.connection, EventType::ReauthorisationRequired);
        bed.store.require_reauthorisation(&lease, "consent-expired", &event, pause).await.unwrap();
        assert_eq!(ask(pause).await, Requested::Stopped(last));
        bed.reauthorise(lease.connection, &[], None, pause).await.unwrap();
        assert!(matches!(ask(pause).await, Requested::Sync(_)));
    }

    async fn a_commit_stores_everything_at_once(bed) {
        let (lease, account) = bed.running().await;
        let endpoint = bed.endpoint(&[EventType::AccountUpdated]).await;
        bed.endpoint(&[EventType::SyncFailed]).await;
        let off = bed.endpoint(&[]).await;
        bed.store.update_endpoint(&Endpoint { state: EndpointState::Disabled, ..off.clone() }).await.unwrap();
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        let changes = vec![NewChange::added(booked(2, -350, "coffee")), NewChange::added(pending(-900, "lunch"))];
        let commit = commit(sync(&lease, &account, id, trigger), changes);
        let event = NewEvent { account: Some(account.id), ..bed.event(lease.connection, EventType::AccountUpdated) };
        let told = event.clone();
        let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
        let sees = seen.clone();
        let tell = move |done: &Sync| { *sees.lock().unwrap() = Some(done.clone()); Some(told.clone()) };
        let stored = bed.store.commit_sync(&lease, &commit, tell).await.unwrap();
        assert_eq!((stored.added, stored.modified, stored.removed, stored.seq), (2, 0, 0, 2));
        assert!(stored.has_new_data);
        assert_eq!(*seen.lock().unwrap(), Some(stored.clone()), "the event is built from what is stored");
        assert_eq!(bed.store.syncs(account.id, None, 9).await.unwrap().items, std::slice::from_ref(&stored));

        let head = bed.store.head(account.id).await.unwrap().unwrap();
        assert_eq!((head.seq, head.balances, head.state.as_deref()), (2, vec![balance(100)], Some("cursor 1")));
        assert_eq!((head.due_at, head.last_sync, head.fresh_at), (commit.due_at, Some(id), stored.bank_answered_at));
        let deliveries = bed.store.deliveries(endpoint.id, None, 9).await.unwrap().items;
        assert_eq!(deliveries.len(), 1);
        assert_eq!((deliveries[0].event, deliveries[0].kind), (event.id, EventType::AccountUpdated));
        let claimed = bed.store.claim_deliveries(START, START.plus(MINUTE), 9, 9, false, &[]).await.unwrap();
        assert_eq!(claimed.len(), 1, "neither the endpoint of other kinds nor the disabled one is told");
        assert_eq!((claimed[0].id, &claimed[0].payload), (deliveries[0].id, &event.payload));
    }

    async fn new_data_is_a_change_of_rows_or_of_money_not_of_the_moment_of_asking(bed) {
        let (lease, account) = bed.running().await;
        let run = async |balances: Vec<Balance>| {
            let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
            let commit = SyncCommit { balances, ..commit(sync(&lease, &account, id, trigger), vec![]) };
            bed.store.commit_sync(&lease, &commit, |_| None).await.unwrap().has_new_data
        };
        let other = Balance { kind: BalanceKind::Available, ..balance(5) };
        assert!(run(vec![balance(100), other]).await);
        assert!(!run(vec![other, balance(100)]).await);
        assert!(!run(vec![other, Balance { as_of: Some(START.plus(HOUR)), ..balance(100) }]).await);
        assert!(run(vec![other, balance(101)]).await);
        assert!(run(vec![balance(101)]).await);
        let head = bed.store.head(account.id).await.unwrap().unwrap();
        assert_eq!(head.balances, [balance(101)]);
    }

    async fn how_far_back_the_history_reaches_is_kept_with_each_sync(bed) {
        let (lease, account) = bed.running().await;
        let since = async || bed.store.head(account.id).await.unwrap().unwrap().history_from;
        assert_eq!(since().await, None);
        for day in ["2025-11-30", "2025-12-31"] {
            let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
            let history_from = Some(day.parse().unwrap());
            let commit = SyncCommit { history_from, ..commit(sync(&lease, &account, id, trigger), vec![]) };
            bed.store.commit_sync(&lease, &commit, |_| None).await.unwrap();
            assert_eq!(since().await, history_from);
        }
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        bed.store.fail_sync(&lease, &failure(sync(&lease, &account, id, trigger)), &|_| None).await.unwrap();
        assert_eq!(since().await, Some("2025-12-31".parse().unwrap()), "a failure says nothing about it");
    }

    async fn a_failure_is_told_once_until_a_sync_succeeds(bed) {
        let (lease, account) = bed.running().await;
        let endpoint = bed.endpoint(&[]).await;
        bed.commit(&lease, &account, vec![NewChange::added(booked(1, 1, "x"))]).await;
        let fail = async || {
            let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
            let event = bed.event(lease.connection, EventType::SyncFailed);
            bed.store.fail_sync(&lease, &failure(sync(&lease, &account, id, trigger)), &|_| Some(event.clone())).await.unwrap()
        };
        let told = async || bed.store.deliveries(endpoint.id, None, 9).await.unwrap().items.len();
        let failed = fail().await;
        assert_eq!((failed.seq, failed.has_new_data, failed.code), (1, false, SyncCode::SyncError));
        assert_eq!(told().await, 1);
        let head = bed.store.head(account.id).await.unwrap().unwrap();
        assert_eq!((head.failures, head.due_at, head.last_sync), (1, START.plus(5 * MINUTE), Some(failed.id)));
        assert_eq!(head.balances, [balance(100)], "what was known stays");
        fail().await;
        assert_eq!(told().await, 1);
        bed.commit(&lease, &account, vec![]).await;
        assert_eq!(bed.store.head(account.id).await.unwrap().unwrap().failures, 0);
        fail().await;
        assert_eq!(told().await, 2);
    }

    async fn a_failed_sync_answers_those_who_wait_and_keeps_the_banks_limit(bed) {
        let (lease, account) = bed.running().await;
        let Requested::Sync(wanted) = bed.store.request_sync(&account, None, START).await.unwrap() else { panic!() };
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        let limited = Sync { next_allowed_at: Some(START.plus(HOUR)), ..sync(&lease, &account, id, trigger) };
        let stored = bed.store.fail_sync(&lease, &failure(limited), &|_| None).await.unwrap();
        assert_eq!(bed.store.sync(bed.business, wanted).await.unwrap(), Some(FoundSync::Finished(Box::new(stored))));
        assert!(matches!(bed.store.request_sync(&account, None, START).await.unwrap(), Requested::TooEarly { .. }));
    }

    async fn syncs_are_listed_newest_first_in_pages(bed) {
        let (lease, account) = bed.running().await;
        let mut all = Vec::new();
        for row in 0..3 {
            all.insert(0, bed.commit(&lease, &account, vec![NewChange::added(booked(1, row, "row"))]).await.id);
        }
        let list = async |before, limit| {
            let page = bed.store.syncs(account.id, before, limit).await.unwrap();
            (page.items.into_iter().map(|one| one.id).collect::<Vec<_>>(), page.has_more)
        };
        assert_eq!(list(None, 2).await, (vec![all[0], all[1]], true));
        assert_eq!(list(Some(all[1]), 2).await, (vec![all[2]], false));
    }

    async fn a_commit_that_dies_between_two_steps_leaves_all_or_nothing(bed) {
        let (lease, _) = bed.running().await;
        let lease = Lease { lane: Lane::Wanted, ..lease }; // somebody waits: its transaction is its own, and dies with it
        let endpoint = bed.endpoint(&[]).await;
        let mut died = 0;
        for round in 0.. {
            let listed = [bank_account(&format!("round {round}"), None)];
            let accounts = bed.list(&lease, &listed, START).await.unwrap();
            let account = accounts.into_iter().find(|one| one.bank == listed[0]).unwrap();
            let told = bed.store.deliveries(endpoint.id, None, 99).await.unwrap().items.len();
            let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
            let changes: Vec<_> = (0..30).map(|row| NewChange::added(pending(row, "row"))).collect();
            let commit = commit(sync(&lease, &account, id, trigger), changes);
            for polls in 1.. {
                let event = bed.event(lease.connection, EventType::AccountUpdated);
                let done = drop_after(polls, bed.store.commit_sync(&lease, &commit, move |_| Some(event.clone()))).await;
                // A write of the same connection waits until the dropped transaction is gone.
                bed.store.close_session(&lease).await.unwrap();
                let stored = (
                    bed.store.head(account.id).await.unwrap().unwrap().seq,
                    bed.store.changes(account.id, 0, 99).await.unwrap().items.len(),
                    bed.store.transactions(account.id, &Default::default(), 99).await.unwrap().items.len(),
                    bed.store.syncs(account.id, None, 9).await.unwrap().items.len(),
                    bed.store.deliveries(endpoint.id, None, 99).await.unwrap().items.len() - told,
                );
                if stored == (30, 30, 30, 1, 1) {
                    break; // committed, whether or not the answer was heard
                }
                assert_eq!(stored, (0, 0, 0, 0, 0), "after {polls} polls");
                assert!(done.is_none());
                died += 1;
            }
            // How often a commit pauses depends on how fast the database answers.
            if died >= 12 {
                break;
            }
        }
    }
}
