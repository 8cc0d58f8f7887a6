//! Group commit: who can't be written, or lost the lease, is refused alone.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::StoreError;

/// Runs that end at the same moment: more than one group has.
const RUNS: u32 = 120;

both! {
    async fn of_many_that_end_together_only_the_culprit_and_the_overtaken_are_refused(bed) {
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            bed.connection().await;
        }
        let mut leases = bed.claim_all(START).await;
        leases.extend(bed.claim_all(START).await);
        assert_eq!(leases.len(), usize::try_from(RUNS).unwrap());
        for lease in leases {
            let account = bed.list(&lease, &[bank_account("a1", None)], START).await.unwrap().remove(0);
            let before = bed.commit(&lease, &account, vec![NewChange::added(booked(1, 1, "before"))]).await;
            runs.push((lease, account, before));
        }
        let endpoint = bed.endpoint(&[]).await;
        // One has the id of a sync that there is; another's connection is held by somebody else since.
        let (culprit, overtaken) = (17, 71);
        let bed = std::sync::Arc::new(bed);
        let mut tasks = tokio::task::JoinSet::new();
        for (place, (lease, account, before)) in runs.iter().cloned().enumerate() {
            let bed = bed.clone();
            tasks.spawn(async move {
                let lease = if place == overtaken { Lease { token: lease.token - 1, ..lease } } else { lease };
                let id = if place == culprit { before.id } else { SyncId::new() };
                let one = bed.after(sync(&lease, &account, id, Trigger::Schedule)).await;
                let changes = (0..3).map(|row| NewChange::added(booked(2, row, "new"))).collect();
                let event = NewEvent { account: Some(account.id), ..bed.event(lease.connection, EventType::AccountUpdated) };
                let stored = bed.store.commit_sync(&lease, &commit(one, changes), move |_| Some(event.clone())).await;
                let completed = bed.store.complete(&lease, START.plus(HOUR), START.plus(HOUR), 0, START).await;
                (place, stored, completed)
            });
        }
        for (place, stored, completed) in tasks.join_all().await {
            let (_, account, before) = &runs[place];
            let is_refused = place == culprit || place == overtaken;
            match stored {
                Ok(stored) => assert_eq!((is_refused, stored.seq, stored.added), (false, 4, 3), "{place}"),
                Err(StoreError::LeaseLost) => assert_eq!(place, overtaken),
                Err(StoreError::Constraint(name)) => assert_eq!((place, name.as_str()), (culprit, "sync_key")),
                Err(error) => panic!("{place}: {error}"),
            }
            assert_eq!(matches!(completed, Err(StoreError::LeaseLost)), place == overtaken, "{place}: {completed:?}");
            let head = bed.store.head(account.id).await.unwrap().unwrap();
            let rows = bed.store.changes(account.id, 0, 99).await.unwrap().items.len();
            let syncs = bed.store.syncs(account.id, None, 9).await.unwrap().items;
            let expected = if is_refused { (1, 1, 1) } else { (4, 4, 2) };
            assert_eq!((head.seq, rows, syncs.len()), expected, "{place}");
            assert_eq!(is_refused, syncs[0].id == before.id);
        }
        let told = bed.store.deliveries(endpoint.id, None, 1_000).await.unwrap().items.len();
        assert_eq!(told, usize::try_from(RUNS).unwrap() - 2, "each of the others told its event, once");
    }
}
