//! Accounts, transactions and their history.

use crate::bed::*;
use crate::both;
use chrono::NaiveDate;
use host::model::*;
use host::store::{StoreError, TransactionFilter};

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

    async fn a_compact_reading_shows_what_became_of_each_since_then(bed) {
        let (lease, account) = bed.running().await;
        let (coffee, lunch, rent) = (booked(2, -350, "coffee"), pending(-900, "lunch"), booked(1, -70_000, "rent"));
        let first = [&coffee, &lunch, &rent].map(|row| NewChange::added(row.clone()));
        bed.commit(&lease, &account, first.to_vec()).await;
        let (dearer, settled) = (pending(-950, "lunch"), booked(3, -950, "lunch"));
        let removed = |number, row: &Transaction| NewChange::Removed {
            number,
            before: row.clone(),
            reason: ChangeReason::ProvedAbsent,
        };
        let (came, stays) = (booked(4, -1, "came"), booked(4, -2, "stays"));
        bed.commit(&lease, &account, vec![
            NewChange::amended(2, lunch.clone(), dearer.clone()), // 4
            NewChange::added(came.clone()), // 5
            NewChange::Added { after: stays.clone(), links: vec![Link { number: 2, confidence: 45 }] }, // 6
        ]).await;
        let last = bed.commit(&lease, &account, vec![
            NewChange::Modified { number: 2, before: dearer, after: settled.clone(), reason: ChangeReason::Booked, ambiguous: true }, // 7
            removed(5, &came), // 8
            removed(1, &coffee), // 9
            NewChange::amended(6, stays.clone(), booked(4, -3, "stays")), // 10
        ]).await;
        let compact = async |after, until, from, limit| {
            bed.store.compact_changes(account.id, (after, until), from, limit).await.unwrap()
        };
        let all = compact(3, 10, 3, 99).await.items;
        let shown: Vec<_> = all.iter().map(|one| (one.seq, one.transaction.number, one.kind)).collect();
        assert_eq!(shown, [
            (7, 2, ChangeKind::Modified),
            (9, 1, ChangeKind::Removed),
            (10, 6, ChangeKind::Added),
        ]);
        assert_eq!((&all[0].before, &all[0].after), (&Some(lunch.clone()), &Some(settled.clone())), "before is what the reader knew");
        assert_eq!((all[0].reason, all[0].ambiguous), (ChangeReason::Booked, true));
        assert_eq!((&all[1].before, &all[2].before), (&Some(coffee.clone()), &None));
        // Pinned: what came later is not in it. From the beginning, nobody has seen what came and went.
        let numbers = |page: Vec<Change>| page.into_iter().map(|one| one.transaction.number).collect::<Vec<_>>();
        assert_eq!(numbers(compact(3, 6, 3, 99).await.items), [2, 5, 6]);
        assert_eq!(numbers(compact(0, 10, 0, 99).await.items), [3, 2, 6]);
        let page = compact(3, 10, 3, 2).await;
        assert!(page.has_more);
        assert_eq!(numbers(compact(3, 10, page.items[1].seq, 2).await.items), [6]);

        let of_two = bed.store.changes_of(TransactionId { account: account.id, number: 2 }, 0, 2).await.unwrap();
        assert_eq!((of_two.items.iter().map(|one| one.seq).collect::<Vec<_>>(), of_two.has_more), (vec![2, 4], true));
        let links = bed.store.changes(account.id, 5, 1).await.unwrap().items.remove(0).links;
        assert_eq!(links, [Link { number: 2, confidence: 45 }]);

        // What was believed then.
        let held = async |seq| bed.store.held_at(account.id, seq, 0, 99).await.unwrap().items;
        let texts = |rows: &[StoredTransaction]| rows.iter().map(|row| row.transaction.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&held(3).await), ["coffee", "lunch", "rent"]);
        assert_eq!(texts(&held(6).await), ["coffee", "lunch", "rent", "came", "stays"]);
        let now = held(10).await;
        assert_eq!(texts(&now), ["lunch", "rent", "stays"]);
        let listed = bed.store.transactions(account.id, &TransactionFilter::default(), 9).await.unwrap().items;
        assert_eq!(now, listed, "at the end it is what is listed");
        assert_eq!(bed.store.seq_at(account.id, last.finished_at).await.unwrap(), 10);
        assert_eq!(bed.store.seq_at(account.id, Timestamp(0)).await.unwrap(), 0);
    }

    async fn a_row_that_only_the_bank_calls_otherwise_changes_without_a_change(bed) {
        let (lease, account) = bed.running().await;
        bed.commit(&lease, &account, vec![NewChange::added(booked(2, -350, "coffee"))]).await;
        let renamed = Transaction { bank_id: Some("another".into()), balance_after: Some(7), ..booked(2, -350, "coffee") };
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        let rekeyed = SyncCommit { rekeyed: vec![(1, renamed.clone())], ..commit(bed.after(sync(&lease, &account, id, trigger)).await, vec![]) };
        let stored = bed.store.commit_sync(&lease, &rekeyed, |_| None).await.unwrap();
        assert_eq!((stored.has_new_data, stored.seq), (false, 1));
        let row = bed.store.transaction(TransactionId { account: account.id, number: 1 }).await.unwrap().unwrap();
        assert_eq!((row.transaction, row.last_seq), (renamed, 1));
    }

    async fn what_the_ledger_remembers_is_read_back(bed) {
        let (lease, account) = bed.running().await;
        let head = async || bed.store.head(account.id).await.unwrap().unwrap();
        assert_eq!((head().await.standing, head().await.index, head().await.take_incomplete), (Standing::default(), None, false));
        let mut standing = Standing {
            expected: Some(Money { minor: -5, currency: Currency::from_code("GBP").unwrap() }),
            unexplained: Some(3),
            ids_demoted: true,
            looked_on: Some(day(3)),
            pending_since: Some(day(1)),
            all_looked_on: Some(day(2)),
            reach_days: Some(90),
            ..Standing::default()
        };
        standing.lateness.count(4);
        bed.store.take_incomplete(account.id, true).await.unwrap();
        assert!(head().await.take_incomplete);
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        let done = SyncCommit {
            standing: standing.clone(),
            index: Some(vec![1, 2, 3]),
            history_from: Some(day(1)),
            history_due_at: Some(START),
            ..commit(sync(&lease, &account, id, trigger), vec![])
        };
        bed.store.commit_sync(&lease, &done, |_| None).await.unwrap();
        let known = head().await;
        assert_eq!((known.standing, known.index), (standing.clone(), Some(vec![1, 2, 3])));
        assert_eq!((known.history_from, known.history_due_at), (Some(day(1)), Some(START)));
        assert!(!known.take_incomplete, "it was for one statement");
        // Older history moves neither freshness nor the time of the next sync.
        let fresh_at = known.fresh_at;
        let piece = Sync { trigger: Trigger::History, bank_answered_at: Some(START.plus(HOUR)), ..sync(&lease, &account, SyncId::new(), trigger) };
        bed.store.commit_sync(&lease, &SyncCommit { standing: standing.clone(), ..commit(piece, vec![]) }, |_| None).await.unwrap();
        assert_eq!(head().await.fresh_at, fresh_at);
        standing.reach_days = None;
        bed.store.plan_history(&lease, account.id, None, &standing).await.unwrap();
        assert_eq!((head().await.standing, head().await.history_due_at), (standing, None));
    }

    async fn scheduled_runs_of_a_day_that_change_nothing_are_one_sync(bed) {
        let (lease, account) = bed.running().await;
        let run = async |at: Timestamp, trigger, proof| {
            let (id, _, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
            let one = Sync { started_at: at, finished_at: at, proof, ..sync(&lease, &account, id, trigger) };
            bed.store.commit_sync(&lease, &commit(one, vec![]), |_| None).await.unwrap()
        };
        let hour = |hours: u32| START.plus(HOUR * hours);
        let with_balance = run(hour(0), Trigger::Schedule, Proof::Proved).await;
        assert!(with_balance.has_new_data);
        let first = run(hour(1), Trigger::Schedule, Proof::Proved).await;
        let second = run(hour(2), Trigger::Schedule, Proof::Proved).await;
        assert_eq!((second.id, second.runs, second.started_at, second.finished_at), (first.id, 2, hour(1), hour(2)));
        // Who asked is answered by a sync of its own; another outcome, or day, is another row.
        let asked = run(hour(3), Trigger::Request, Proof::Proved).await;
        let other = run(hour(4), Trigger::Schedule, Proof::Unproved).await;
        let tomorrow = run(hour(30), Trigger::Schedule, Proof::Unproved).await;
        let listed = bed.store.syncs(account.id, None, 9).await.unwrap().items;
        let listed: Vec<_> = listed.into_iter().map(|one| (one.id, one.runs)).collect();
        assert_eq!(listed, [(tomorrow.id, 1), (other.id, 1), (asked.id, 1), (first.id, 2), (with_balance.id, 1)]);
        assert_eq!(bed.store.head(account.id).await.unwrap().unwrap().last_sync, Some(tomorrow.id));
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

    async fn seq_has_no_gap_when_many_try_to_commit_at_once_and_who_knew_an_older_one_is_refused(bed) {
        let (lease, account) = bed.running().await;
        let bed = std::sync::Arc::new(bed);
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..8 {
            let (bed, lease, account) = (bed.clone(), lease.clone(), account.clone());
            tasks.spawn(async move {
                let mut stored = 0;
                while stored < 5 {
                    let changes = vec![NewChange::added(pending(writer, "a")), NewChange::added(pending(writer, "b"))];
                    let one = bed.after(sync(&lease, &account, SyncId::new(), Trigger::Schedule)).await;
                    match bed.store.commit_sync(&lease, &commit(one, changes), |_| None).await {
                        Ok(_) => stored += 1,
                        Err(StoreError::LeaseLost) => {}
                        Err(error) => panic!("{error}"),
                    }
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
        let missed = SyncCommit { missed: vec![(2, 1), (4, 2)], ..commit(bed.after(sync(&lease, &account, SyncId::new(), Trigger::Schedule)).await, vec![]) };
        assert!(!bed.store.commit_sync(&lease, &SyncCommit { balances: vec![balance(100)], ..missed }, |_| None).await.unwrap().has_new_data);
        assert_eq!(known(day(5)).await, [(2, 1), (3, 0), (4, 2)]);
        let before = booked(5, 2, "new");
        let seen = SyncCommit {
            missed: vec![(4, 0)],
            ..commit(bed.after(sync(&lease, &account, SyncId::new(), Trigger::Schedule)).await, vec![NewChange::amended(2, before.clone(), booked(3, 2, "moved"))])
        };
        bed.store.commit_sync(&lease, &seen, |_| None).await.unwrap();
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
