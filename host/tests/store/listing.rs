//! The bank's list of accounts: which of them we know.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{FoundSync, Requested, StoreError};

both! {
    async fn accounts_are_recognised_by_bank_id_then_by_number_and_closed_when_they_vanish(bed) {
        let connection = bed.connection().await;
        let lease = bed.claim(START).await;
        let list = async |listed: &[BankAccount], now| bed.list(&lease, listed, now).await.unwrap();
        let first = list(&[bank_account("1", Some("GB1")), bank_account("2", Some("GB2")), bank_account("3", None)], START).await;
        assert_eq!(first.iter().map(|one| one.bank.clone()).collect::<Vec<_>>(),
            [bank_account("1", Some("GB1")), bank_account("2", Some("GB2")), bank_account("3", None)]);
        assert!(bed.store.connection(bed.business, connection.id).await.unwrap().unwrap().accounts_listed);
        let (one, two, three) = (first[0].id, first[1].id, first[2].id);

        let renamed = BankAccount { name: "Holiday".to_owned(), ..bank_account("1", Some("GB1-new")) };
        let second = list(&[renamed.clone(), bank_account("2 again", Some("GB2"))], START.plus(MINUTE)).await;
        let shown: Vec<_> = second.iter().map(|account| (account.id, account.state)).collect();
        assert_eq!(shown, [(one, AccountState::Active), (two, AccountState::Active), (three, AccountState::Closed)]);
        assert_eq!(second[0].bank, renamed);

        let euros = BankAccount { currency: Currency::from_code("EUR").unwrap(), ..bank_account("4", Some("GB2")) };
        let third = list(&[euros, bank_account("3", None)], START.plus(2 * MINUTE)).await;
        assert_eq!(third.len(), 4, "the same number in another currency is another account");
        let state = |id| third.iter().find(|account| account.id == id).unwrap().state;
        assert_eq!((state(one), state(two), state(three)), (AccountState::Closed, AccountState::Closed, AccountState::Active));
        let head = bed.store.head(three).await.unwrap().unwrap();
        assert_eq!(head.due_at, START.plus(2 * MINUTE), "reopened: due now");

        let twice = bed.list(&lease, &[bank_account("9", None), bank_account("9", None)], START).await.unwrap_err();
        assert!(matches!(&twice, StoreError::Constraint(name) if name == "account_bank_id"), "{twice:?}");
        assert_eq!(bed.store.accounts(bed.business, None, None, 9).await.unwrap().items, third);
    }

    async fn a_number_that_is_not_one_accounts_alone_recognises_none(bed) {
        bed.connection().await;
        let lease = bed.claim(START).await;
        let pots = |ids: [&str; 2]| ids.map(|id| bank_account(id, Some("GB1")));
        let first = bed.list(&lease, &pots(["1", "2"]), START).await.unwrap();
        // One number, two ids: each is recognised by its id, whatever the order.
        let second = bed.list(&lease, &pots(["2", "1"]), START).await.unwrap();
        assert_eq!(second, first);
        // New ids: nobody can say which is which.
        let third = bed.list(&lease, &pots(["3", "4"]), START).await.unwrap();
        let states: Vec<_> = third.iter().map(|account| account.state).collect();
        assert_eq!(states, [AccountState::Closed, AccountState::Closed, AccountState::Active, AccountState::Active]);
        // Nor may two listed accounts share one known one.
        let fourth = bed.list(&lease, &[bank_account("5", Some("GB5"))], START).await.unwrap();
        let fifth = bed.list(&lease, &["6", "7"].map(|id| bank_account(id, Some("GB5"))), START).await.unwrap();
        assert_eq!((fourth.len(), fifth.len()), (5, 7));
        assert_eq!(fifth[4].state, AccountState::Closed);
    }

    async fn an_account_with_another_id_keeps_its_history_also_if_the_id_was_its_sisters(bed) {
        bed.connection().await;
        let lease = bed.claim(START).await;
        let first = bed.list(&lease, &[bank_account("1", Some("GB1")), bank_account("2", Some("GB2"))], START).await.unwrap();
        bed.commit(&lease, &first[0], vec![NewChange::added(booked(1, -500, "coffee"))]).await;
        let head = bed.store.head(first[0].id).await.unwrap();
        let swapped = bed.list(&lease, &[bank_account("2", Some("GB1")), bank_account("1", Some("GB2"))], START).await.unwrap();
        let ids = |accounts: &[Account]| accounts.iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(ids(&swapped), ids(&first));
        assert_eq!((swapped[0].bank.bank_id.as_str(), swapped[1].bank.bank_id.as_str()), ("bank-id-2", "bank-id-1"));
        assert_eq!(bed.store.head(first[0].id).await.unwrap(), head);
        assert_eq!(bed.store.changes(first[0].id, 0, 9).await.unwrap().items.len(), 1);
        // The first is gone, and its id is the second's now; when it comes back, it has a new one.
        let one = bed.list(&lease, &[bank_account("2", Some("GB2"))], START).await.unwrap();
        assert_eq!((one[0].state, one[1].state), (AccountState::Closed, AccountState::Active));
        let back = bed.list(&lease, &[bank_account("2", Some("GB2")), bank_account("3", Some("GB1"))], START).await.unwrap();
        assert_eq!((ids(&back), back[0].state), (ids(&first), AccountState::Active));
        // A number that changed does not matter while the id is the same.
        let renumbered = bed.list(&lease, &[bank_account("2", Some("IBAN 2")), bank_account("3", Some("GB1"))], START).await.unwrap();
        assert_eq!(ids(&renumbered), ids(&first));
    }

    async fn accounts_that_appear_close_and_come_back_are_told_but_not_the_first_ones(bed) {
        bed.connection().await;
        let lease = bed.claim(START).await;
        let endpoint = bed.endpoint(&[]).await;
        let list = async |listed: &[BankAccount]| {
            let known = bed.store.deliveries(endpoint.id, None, 99).await.unwrap().items.len();
            let accounts = bed.list(&lease, listed, START).await.unwrap();
            let mut told = bed.store.deliveries(endpoint.id, None, 99).await.unwrap().items;
            told.truncate(told.len() - known);
            told.reverse();
            (accounts, told.into_iter().map(|one| one.kind).collect::<Vec<_>>())
        };
        let (one, two) = (bank_account("1", Some("GB1")), bank_account("2", Some("GB2")));
        assert_eq!(list(std::slice::from_ref(&one)).await.1, []);
        assert_eq!(list(std::slice::from_ref(&one)).await.1, []);
        assert_eq!(list(&[one.clone(), two.clone()]).await.1, [EventType::AccountAdded]);
        assert_eq!(list(std::slice::from_ref(&two)).await.1, [EventType::AccountClosed]);
        assert_eq!(list(std::slice::from_ref(&two)).await.1, []);
        let (accounts, told) = list(&[one, two]).await;
        assert_eq!((accounts.len(), told), (2, vec![EventType::AccountAdded]));
    }

    async fn a_list_that_cannot_be_stored_tells_nothing(bed) {
        let (lease, _) = bed.running().await;
        let endpoint = bed.endpoint(&[]).await;
        let twice = [bank_account("9", None), bank_account("9", None)];
        bed.list(&lease, &twice, START).await.unwrap_err();
        assert!(bed.store.deliveries(endpoint.id, None, 9).await.unwrap().items.is_empty());
    }


    async fn whoever_waits_for_an_account_that_closes_gets_an_answer(bed) {
        let (lease, account) = bed.running().await;
        let Requested::Sync(wanted) = bed.store.request_sync(&account, None, START).await.unwrap() else { panic!() };
        bed.list(&lease, &[], START).await.unwrap();
        let Some(FoundSync::Finished(answer)) = bed.store.sync(bed.business, wanted).await.unwrap() else { panic!() };
        assert_eq!((answer.code, answer.reason.as_deref()), (SyncCode::SyncError, Some("account-closed")));
        let stopped = bed.store.request_sync(&account, None, START).await.unwrap();
        assert_eq!(stopped, Requested::Stopped(Some(answer)));
        bed.store.complete(&lease, START, START.plus(HOUR), 0, START).await.unwrap();
        assert_eq!(bed.claim_all(START).await, [], "nothing is wanted any more");
    }
}
