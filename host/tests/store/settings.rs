//! What a business sets of a connection: its interval, and which accounts are read.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{Changed, FoundSync, Requested, Settings, StoreError};

impl Bed {
    async fn set(&self, connection: ConnectionId, settings: Settings, now: Timestamp) -> Connection {
        match self.store.change_settings(self.business, connection, &settings, now).await.unwrap() {
            Changed::To(connection) => *connection,
            other => panic!("{other:?}"),
        }
    }

    async fn keep(&self, connection: ConnectionId, accounts: AccountsKept, now: Timestamp) -> Connection {
        self.set(connection, Settings { interval: None, accounts: Some(accounts) }, now).await
    }

    async fn due_at(&self, account: &Account) -> Timestamp {
        self.store.head(account.id).await.unwrap().unwrap().due_at
    }
}

fn every(minutes: u32, slot: Timestamp) -> Settings {
    Settings { interval: Some((Some(minutes), slot)), accounts: None }
}

both! {
    async fn a_new_interval_plans_anew_but_for_what_is_due_or_tried_again_sooner(bed) {
        let (lease, planned) = bed.running().await;
        let listed = [bank_account("a1", Some("GB29")), bank_account("a2", None), bank_account("a3", None)];
        let [_, failing, due] = bed.list(&lease, &listed, START).await.unwrap().try_into().unwrap();
        bed.commit(&lease, &planned, vec![]).await;
        let (id, trigger, _) = bed.store.begin_asking(&lease, failing.id).await.unwrap();
        bed.store.fail_sync(&lease, &failure(sync(&lease, &failing, id, trigger)), &|_| None).await.unwrap();
        bed.store.complete(&lease, START, START, 0, START).await.unwrap();
        assert_eq!(bed.store.connection(bed.business, lease.connection).await.unwrap().unwrap().interval_minutes, None);

        let slot = START.plus(6 * HOUR);
        let set = bed.set(lease.connection, every(360, slot), START).await;
        assert_eq!(set.interval_minutes, Some(360));
        assert_eq!(bed.due_at(&planned).await, slot);
        assert_eq!(bed.due_at(&failing).await, START.plus(5 * MINUTE), "its retry stays");
        assert_eq!(bed.due_at(&due).await, START, "what is due stays due");
        assert_eq!(bed.store.next_due(START).await.unwrap(), Some(START));
        let claimed = bed.claim(START).await;
        assert_eq!((claimed.interval_minutes, claimed.phase), (Some(360), lease.phase));

        // Shorter again: sooner than the retry, too.
        let soon = START.plus(MINUTE);
        bed.set(lease.connection, Settings { interval: Some((None, soon)), accounts: None }, START).await;
        assert_eq!((bed.due_at(&planned).await, bed.due_at(&failing).await), (soon, soon));
    }

    async fn an_idle_connection_is_due_by_its_new_plan_and_a_resting_one_stays_at_rest(bed) {
        let (lease, account) = bed.running().await;
        bed.commit(&lease, &account, vec![]).await;
        bed.store.complete(&lease, START, START, 0, START).await.unwrap();
        assert_eq!(bed.store.next_due(START).await.unwrap(), Some(START.plus(HOUR)));
        let id = lease.connection;
        bed.set(id, every(120, START.plus(2 * HOUR)), START).await;
        assert_eq!(bed.store.next_due(START).await.unwrap(), Some(START.plus(2 * HOUR)));
        let event = bed.event(id, EventType::ConnectionPaused);
        bed.store.pause_connection(bed.business, id, &event, START).await.unwrap();
        bed.set(id, every(60, START.plus(MINUTE)), START).await;
        assert_eq!(bed.claim_all(START.plus(24 * HOUR)).await, []);
    }

    async fn a_run_that_planned_by_the_interval_of_before_is_followed_by_one_that_does_not(bed) {
        let (lease, account) = bed.running().await;
        bed.set(lease.connection, every(120, START.plus(2 * HOUR)), START).await;
        bed.commit(&lease, &account, vec![]).await; // due in an hour, by the old one
        let now = START.plus(MINUTE);
        bed.store.complete(&lease, START, START, 0, now).await.unwrap();
        let next = bed.claim(now).await;
        assert_eq!(next.interval_minutes, Some(120));
        assert_eq!(bed.due_at(&account).await, now);
        bed.commit(&next, &account, vec![]).await;
        bed.store.complete(&next, START, START, 0, now).await.unwrap();
        assert_eq!(bed.claim_all(now).await, [], "once");
    }

    async fn an_account_that_is_switched_off_is_not_read_and_one_that_is_switched_on_is_due(bed) {
        let (lease, one) = bed.running().await;
        let listed = [bank_account("a1", Some("GB29")), bank_account("a2", None)];
        let [_, two] = bed.list(&lease, &listed, START).await.unwrap().try_into().unwrap();
        for account in [&one, &two] {
            bed.commit(&lease, account, vec![]).await;
        }
        bed.store.complete(&lease, START, START, 0, START).await.unwrap();
        let id = lease.connection;
        let Requested::Sync(waiting) = bed.store.request_sync(&two, None, START).await.unwrap() else { panic!() };
        let only = AccountsKept::Only(vec![one.id]);
        assert_eq!(bed.keep(id, only.clone(), START).await.accounts, only);
        assert_eq!(bed.store.connection(bed.business, id).await.unwrap().unwrap().accounts, only);
        let state = async |account: &Account| bed.store.account(bed.business, account.id).await.unwrap().unwrap().state;
        assert_eq!((state(&one).await, state(&two).await), (AccountState::Active, AccountState::Excluded));
        let Some(FoundSync::Finished(answer)) = bed.store.sync(bed.business, waiting).await.unwrap() else { panic!() };
        assert_eq!((answer.code, answer.reason.as_deref()), (SyncCode::SyncError, Some("account-excluded")));
        assert_eq!(bed.store.request_sync(&two, None, START).await.unwrap(), Requested::Excluded);
        assert_eq!(bed.store.next_due(START).await.unwrap(), Some(START.plus(HOUR)), "nothing is wanted any more");
        let lease = bed.claim(START.plus(HOUR)).await;
        let refused = bed.store.begin_asking(&lease, two.id).await;
        assert!(matches!(refused, Err(StoreError::Unwanted)), "{refused:?}");
        bed.commit(&lease, &one, vec![]).await;
        bed.store.complete(&lease, START, START, 0, START).await.unwrap();

        let now = START.plus(90 * MINUTE);
        assert_eq!(bed.keep(id, AccountsKept::All, now).await.accounts, AccountsKept::All);
        assert_eq!((state(&two).await, bed.due_at(&two).await), (AccountState::Active, now));
        assert_eq!(bed.claim(now).await.connection, id);
    }

    async fn whoever_waits_for_a_run_that_dies_is_answered_though_the_account_was_switched_off(bed) {
        let (lease, one) = bed.running().await;
        let listed = [bank_account("a1", Some("GB29")), bank_account("a2", None)];
        let [_, two] = bed.list(&lease, &listed, START).await.unwrap().try_into().unwrap();
        let Requested::Sync(left) = bed.store.request_sync(&two, None, START).await.unwrap() else { panic!() };
        bed.store.begin_asking(&lease, two.id).await.unwrap();
        bed.keep(lease.connection, AccountsKept::Only(vec![one.id]), START).await;
        assert_eq!(bed.store.sync(bed.business, left).await.unwrap(), Some(FoundSync::Running { account: two.id }));
        let next = bed.claim(START.plus(MINUTE)).await;
        bed.commit(&next, &one, vec![]).await;
        bed.store.complete(&next, START, START, 0, START).await.unwrap();
        let Some(FoundSync::Finished(answer)) = bed.store.sync(bed.business, left).await.unwrap() else { panic!() };
        assert_eq!((answer.id, answer.reason.as_deref()), (left, Some("account-excluded")));
    }

    async fn what_the_bank_lists_later_is_read_only_where_all_accounts_are(bed) {
        let (lease, one) = bed.running().await;
        let (id, store) = (lease.connection, &bed.store);
        let told = std::sync::Mutex::new(Vec::new());
        let list = async |names: &[&str]| {
            let listed: Vec<_> = names.iter().map(|name| bank_account(name, None)).collect();
            let event = |kind, account, state| {
                told.lock().unwrap().push((kind, state));
                NewEvent { account: Some(account), ..bed.event(id, kind) }
            };
            let accounts = store.record_accounts(&lease, &listed, None, &event, START).await.unwrap();
            (accounts.into_iter().map(|one| one.state).collect::<Vec<_>>(), std::mem::take(&mut *told.lock().unwrap()))
        };
        use {AccountState::*, EventType::*};
        bed.keep(id, AccountsKept::Only(vec![one.id]), START).await;
        assert_eq!(list(&["a1", "a2"]).await, (vec![Active, Excluded], vec![(AccountAdded, Excluded)]));
        // One that closes and comes back is as it was.
        assert_eq!(list(&["a1"]).await, (vec![Active, Closed], vec![(AccountClosed, Closed)]));
        assert_eq!(list(&["a1", "a2"]).await, (vec![Active, Excluded], vec![(AccountAdded, Excluded)]));
        bed.keep(id, AccountsKept::All, START).await;
        assert_eq!(list(&["a1", "a2", "a3"]).await, (vec![Active; 3], vec![(AccountAdded, Active)]));
    }

    async fn accounts_of_others_and_connections_of_others_change_nothing(bed) {
        let (lease, one) = bed.running().await;
        let stranger = Settings { interval: Some((Some(360), START)), accounts: Some(AccountsKept::Only(vec![one.id, AccountId::new()])) };
        let before = bed.store.connection(bed.business, lease.connection).await.unwrap();
        let change = async |business, connection| bed.store.change_settings(business, connection, &stranger, START).await.unwrap();
        assert_eq!(change(bed.business, lease.connection).await, Changed::NoSuchAccount);
        assert_eq!(change(BusinessId::new(), lease.connection).await, Changed::NoSuchConnection);
        assert_eq!(change(bed.business, ConnectionId::new()).await, Changed::NoSuchConnection);
        assert_eq!(bed.store.connection(bed.business, lease.connection).await.unwrap(), before);
    }
}
