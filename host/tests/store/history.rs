//! Accounts, transactions and their history.

use crate::bed::*;
use crate::both;
use chrono::NaiveDate;
use host::model::*;
use host::store::TransactionFilter;

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2027, 1, day).unwrap()
}

both! {
    async fn accounts_are_seen_by_their_business_only_and_listed_in_pages(bed) {
        let (lease, _) = bed.running().await;
        let listed = [bank_account("a1", None), bank_account("b", None), bank_account("c", None)];
        let all = bed.list(&lease, &listed, START).await.unwrap();
        let list = async |connection, after, limit| {
            let page = bed.store.accounts(bed.business, connection, after, limit).await.unwrap();
            (page.items, page.has_more)
        };
        assert_eq!(list(None, None, 2).await, (all[..2].to_vec(), true));
        assert_eq!(list(Some(lease.connection), Some(all[1].id), 2).await, (all[2..].to_vec(), false));
        assert_eq!(list(Some(ConnectionId::new()), None, 2).await, (vec![], false));
        assert_eq!(bed.store.account(bed.business, all[0].id).await.unwrap(), Some(all[0].clone()));
        assert_eq!(bed.store.account(BusinessId::new(), all[0].id).await.unwrap(), None);
        assert_eq!(bed.store.head(AccountId::new()).await.unwrap(), None);
        let both = bed.store.accounts_with_heads(lease.connection).await.unwrap();
        assert_eq!(both.len(), 3);
        assert!(both.iter().all(|(account, head)| account.id == head.account && head.due_at == START && head.seq == 0));
        assert!(bed.store.accounts_with_heads(ConnectionId::new()).await.unwrap().is_empty());
    }

    async fn history_is_gap_free_and_a_transaction_keeps_its_number(bed) {
        let (lease, account) = bed.running().await;
        let (coffee, lunch) = (booked(2, -350, "coffee"), pending(-900, "lunch"));
        let first = bed.commit(&lease, &account, vec![NewChange::added(coffee.clone()), NewChange::added(lunch.clone())]).await;
        let settled = booked(3, -950, "lunch with tip");
        let second = bed.commit(&lease, &account, vec![
            NewChange::amended(2, lunch.clone(), settled.clone()),
            NewChange::added(coffee.clone()),
            NewChange::Removed { number: 1, before: coffee.clone(), reason: host::model::ChangeReason::RemovedByBank },
        ]).await;
        assert_eq!((second.added, second.modified, second.removed, second.seq), (1, 1, 1, 5));

        let page = bed.store.changes(account.id, 0, 99).await.unwrap();
        assert!(!page.has_more);
        let shown: Vec<_> = page.items.iter().map(|one| (one.seq, one.transaction.number, one.kind, one.sync)).collect();
        assert_eq!(shown, [
            (1, 1, ChangeKind::Added, first.id),
            (2, 2, ChangeKind::Added, first.id),
            (3, 2, ChangeKind::Modified, second.id),
            (4, 4, ChangeKind::Added, second.id),
            (5, 1, ChangeKind::Removed, second.id),
        ]);
        let images: Vec<_> = page.items.into_iter().map(|one| (one.before, one.after)).collect();
        assert_eq!(images, [
            (None, Some(coffee.clone())),
            (None, Some(lunch.clone())),
            (Some(lunch), Some(settled.clone())),
            (None, Some(coffee.clone())),
            (Some(coffee.clone()), None),
        ]);
        let middle = bed.store.changes(account.id, 1, 2).await.unwrap();
        assert_eq!((middle.items.iter().map(|one| one.seq).collect::<Vec<_>>(), middle.has_more), (vec![2, 3], true));

        let id = |number| TransactionId { account: account.id, number };
        assert_eq!(bed.store.transaction(id(1)).await.unwrap(), None, "removed");
        let stored = bed.store.transaction(id(2)).await.unwrap().unwrap();
        assert_eq!((stored.transaction, stored.last_seq, stored.missed), (settled, 3, 0));
        assert_eq!(stored.first_seen_at, first.finished_at);
        let all = bed.store.transactions(account.id, &TransactionFilter::default(), 9).await.unwrap();
        assert_eq!(all.items.iter().map(|one| one.id).collect::<Vec<_>>(), [id(2), id(4)]);
        assert_eq!(all.items[1].transaction, coffee);
    }

    async fn seq_has_no_gap_when_many_try_to_commit_at_once(bed) {
        let (lease, account) = bed.running().await;
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..8 {
            let (store, lease, account) = (bed.store.clone(), lease.clone(), account.clone());
            tasks.spawn(async move {
                for _ in 0..5 {
                    let changes = vec![NewChange::added(pending(writer, "a")), NewChange::added(pending(writer, "b"))];
                    let commit = commit(sync(&lease, &account, SyncId::new(), Trigger::Schedule), changes);
                    store.commit_sync(&lease, &commit, &|_| None).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        let page = bed.store.changes(account.id, 0, 100).await.unwrap();
        let seqs: Vec<i64> = page.items.iter().map(|change| change.seq).collect();
        assert_eq!(seqs, (1..=80).collect::<Vec<_>>());
        assert!(page.items.chunks(2).all(|pair| pair[0].sync == pair[1].sync), "each commit's changes stand together");
        assert_eq!(bed.store.head(account.id).await.unwrap().unwrap().seq, 80);
    }

    async fn transactions_are_filtered_and_paged(bed) {
        let (lease, account) = bed.running().await;
        let rows = [booked(2, -500, "a"), booked(5, 700, "b"), pending(-20, "c"), booked(9, -1, "d")];
        bed.commit(&lease, &account, rows.into_iter().map(NewChange::added).collect()).await;
        let list = async |filter: TransactionFilter, limit| {
            let page = bed.store.transactions(account.id, &filter, limit).await.unwrap();
            (page.items.into_iter().map(|one| one.id.number).collect::<Vec<_>>(), page.has_more)
        };
        let any = TransactionFilter::default;
        assert_eq!(START.utc().date_naive(), day(15), "when the pending row was first seen");
        assert_eq!(list(any(), 9).await, (vec![1, 2, 3, 4], false));
        assert_eq!(list(any(), 2).await, (vec![1, 2], true));
        assert_eq!(list(TransactionFilter { after: Some(2), ..any() }, 2).await, (vec![3, 4], false));
        assert_eq!(list(TransactionFilter { from: Some(day(5)), ..any() }, 9).await.0, [2, 3, 4]);
        assert_eq!(list(TransactionFilter { to: Some(day(5)), ..any() }, 9).await.0, [1, 2]);
        assert_eq!(list(TransactionFilter { from: Some(day(15)), to: Some(day(15)), ..any() }, 9).await.0, [3]);
        assert_eq!(list(TransactionFilter { status: Some(TransactionStatus::Pending), ..any() }, 9).await.0, [3]);
        assert_eq!(list(TransactionFilter { min_amount_minor: Some(-20), ..any() }, 9).await.0, [2, 3, 4]);
        assert_eq!(list(TransactionFilter { max_amount_minor: Some(-20), ..any() }, 9).await.0, [1, 3]);
        let elsewhere = bed.store.transactions(AccountId::new(), &any(), 9).await.unwrap();
        assert!(elsewhere.items.is_empty());
    }

    async fn a_reading_is_compared_with_pending_and_undated_rows_and_those_booked_since(bed) {
        let (lease, account) = bed.running().await;
        let undated = Transaction { booked_on: None, ..booked(1, 3, "undated") };
        let dated = Transaction { booked_on: Some(day(1)), ..pending(4, "dated pending") };
        let rows = [booked(4, 1, "old"), booked(5, 2, "new"), undated, dated];
        bed.commit(&lease, &account, rows.into_iter().map(NewChange::added).collect()).await;
        let known = async |since| {
            let known = bed.store.known(account.id, since).await.unwrap();
            known.into_iter().map(|one| (one.id.number, one.missed)).collect::<Vec<_>>()
        };
        assert_eq!(known(day(5)).await, [(2, 0), (3, 0), (4, 0)]);
        let missed = SyncCommit { missed: vec![(2, 1), (4, 2)], ..commit(sync(&lease, &account, SyncId::new(), Trigger::Schedule), vec![]) };
        assert!(!bed.store.commit_sync(&lease, &SyncCommit { balances: vec![balance(100)], ..missed }, &|_| None).await.unwrap().has_new_data);
        assert_eq!(known(day(5)).await, [(2, 1), (3, 0), (4, 2)]);
        let before = booked(5, 2, "new");
        let seen = SyncCommit {
            missed: vec![(4, 0)],
            ..commit(sync(&lease, &account, SyncId::new(), Trigger::Schedule), vec![NewChange::amended(2, before.clone(), booked(3, 2, "moved"))])
        };
        bed.store.commit_sync(&lease, &seen, &|_| None).await.unwrap();
        assert_eq!(known(day(5)).await, [(3, 0), (4, 0)], "number 2 is booked before the window now");
        assert_eq!(known(day(3)).await, [(1, 0), (2, 0), (3, 0), (4, 0)]);
    }

    async fn a_large_first_reading_is_stored_whole(bed) {
        let (lease, account) = bed.running().await;
        let rows = (0..500).map(|row| NewChange::added(booked(1 + row % 28, i64::from(row), &format!("row {row} \u{0} \"ü\" 銀行")))).collect();
        assert_eq!(bed.commit(&lease, &account, rows).await.added, 500);
        let known = bed.store.known(account.id, day(1)).await.unwrap();
        assert_eq!(known.len(), 500);
        assert_eq!(known[499].transaction, booked(1 + 499 % 28, 499, "row 499 \u{0} \"ü\" 銀行"));
    }
}
