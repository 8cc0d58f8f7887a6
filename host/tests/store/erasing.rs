//! Deleting a connection and its customer's data.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{Requested, StoreError};

/// More than two batches of erasing.
const ROWS: i64 = 1_200;

impl Bed {
    /// A connection with a long history, and one row changed.
    async fn long_history(&self) -> (Lease, Account) {
        let (lease, account) = self.running().await;
        let rows = (0..ROWS).map(|row| NewChange::added(booked(1, row, "Rosalind's rent"))).collect();
        self.commit(&lease, &account, rows).await;
        (lease, account)
    }

    async fn delete(&self, connection: ConnectionId) -> bool {
        let event = self.event(connection, EventType::ConnectionDeleted);
        self.store.delete_connection(self.business, connection, &event, START.plus(HOUR)).await.unwrap()
    }

    async fn assert_erased(&self, lease: &Lease, account: &Account) {
        let (store, id) = (&self.store, lease.connection);
        let connection = store.connection(self.business, id).await.unwrap().unwrap();
        assert_eq!(
            (connection.state, connection.deleted_at),
            (ConnectionState::Deleted, Some(START.plus(HOUR)))
        );
        assert_eq!((connection.customer_ref, connection.session_state), (None, None));
        assert_eq!(store.credentials(id).await.unwrap(), []);
        let consent = store.consent(id).await.unwrap().unwrap();
        assert_eq!((consent.reference, consent.end_reason.as_deref()), (None, Some("deleted")));
        assert_eq!(store.account(self.business, account.id).await.unwrap(), None);
        assert!(store.accounts(self.business, None, None, 9).await.unwrap().items.is_empty());
        assert_eq!(store.head(account.id).await.unwrap(), None);
        assert!(store.transactions(account.id, &Default::default(), 9).await.unwrap().items.is_empty());
        let history = store.changes(account.id, ROWS - 2, 9).await.unwrap().items;
        let left: Vec<_> = history
            .iter()
            .map(|one| (one.seq, one.kind, one.before.is_some(), one.after.is_some()))
            .collect();
        assert_eq!(
            left,
            [(ROWS - 1, ChangeKind::Added, false, false), (ROWS, ChangeKind::Added, false, false)]
        );
        assert_eq!(store.request_sync(account, None, START).await.unwrap(), Requested::Stopped(None));
        assert!(self.claim_all(START.plus(24 * HOUR)).await.is_empty());
        assert_eq!(store.next_due(START).await.unwrap(), None);
    }
}

both! {
    async fn a_deleted_connection_is_told_once_and_only_seq_kinds_and_times_stay(bed) {
        let (lease, account) = bed.long_history().await;
        let endpoint = bed.endpoint(&[]).await;
        let Requested::Sync(wanted) = bed.store.request_sync(&account, None, START).await.unwrap() else { panic!() };
        let event = bed.event(lease.connection, EventType::ConnectionDeleted);
        assert!(!bed.store.delete_connection(BusinessId::new(), lease.connection, &event, START).await.unwrap());
        assert!(!bed.delete(ConnectionId::new()).await);
        assert!(bed.delete(lease.connection).await);
        assert!(!bed.delete(lease.connection).await);
        bed.assert_erased(&lease, &account).await;
        let told = bed.store.deliveries(endpoint.id, None, 9).await.unwrap().items;
        assert_eq!(told.iter().map(|one| one.kind).collect::<Vec<_>>(), [EventType::ConnectionDeleted]);
        assert_eq!(bed.store.sync(bed.business, wanted).await.unwrap(), None);
        assert_eq!(bed.store.finish_erasures(START.plus(HOUR)).await.unwrap(), 0);
        let none = bed.reauthorise(lease.connection, &[], None, START).await;
        assert_eq!(none, None);
        let by_name = bed.store.connections(bed.business, Some("customer Rosalind"), None, None, 9).await.unwrap();
        assert!(by_name.items.is_empty());
        assert_eq!(bed.store.connections(bed.business, None, None, None, 9).await.unwrap().items.len(), 1);
    }

    async fn a_run_in_flight_stores_nothing_after_the_deletion(bed) {
        let (lease, account) = bed.long_history().await;
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        assert!(bed.delete(lease.connection).await);
        let late = commit(sync(&lease, &account, id, trigger), vec![NewChange::added(booked(1, 1, "late"))]);
        let refused = bed.store.commit_sync(&lease, &late, |_| None).await;
        assert!(matches!(refused, Err(StoreError::LeaseLost)));
        let refused = bed.store.save_captures(&lease, &[(credential("access_token", "late"), 0)], START).await;
        assert!(matches!(refused, Err(StoreError::LeaseLost)));
        bed.assert_erased(&lease, &account).await;
    }

    async fn an_erasure_that_was_interrupted_is_finished_later_and_nothing_can_be_read_meanwhile(bed) {
        let (mut lease, mut account) = bed.long_history().await;
        let (mut polls, mut whole) = (0, 0);
        loop {
            polls += 1;
            let deleted = drop_after(polls, bed.delete(lease.connection)).await;
            // A write of its own waits on SQLite until the dropped transaction is gone.
            bed.store.approve_institution("other", "f", START).await.unwrap();
            let state = bed.store.connection(bed.business, lease.connection).await.unwrap().unwrap().state;
            if state == ConnectionState::Active {
                assert_eq!(bed.store.credentials(lease.connection).await.unwrap().len(), 1);
                assert_eq!(bed.store.known(account.id, START.utc().date_naive()).await.unwrap().len(), 0);
                assert!(bed.store.transaction(TransactionId { account: account.id, number: 1 }).await.unwrap().is_some());
                continue;
            }
            if deleted == Some(true) {
                // The database was so quick that it came to its end in one go: again, with another customer's.
                whole += 1;
                assert!(whole < 50, "never interrupted");
                ((lease, account), polls) = (bed.long_history().await, 0);
                continue;
            }
            let unread = bed.store.transaction(TransactionId { account: account.id, number: ROWS }).await;
            // How far the long tables were erased when it was dropped is chance: unreadable, or gone.
            assert!(matches!(unread, Err(StoreError::Erased) | Ok(None)), "{unread:?}");
            let history = bed.store.changes(account.id, 0, 2_000).await.unwrap().items;
            assert!(history.iter().all(|one| one.before.is_none() && one.after.is_none()));
            assert!(bed.store.finish_erasures(START.plus(HOUR)).await.unwrap() <= 1);
            break;
        }
        bed.assert_erased(&lease, &account).await;
        assert_eq!(bed.store.finish_erasures(START.plus(HOUR)).await.unwrap(), 0);
    }

    async fn another_connection_of_the_same_customer_is_untouched(bed) {
        let (lease, _) = bed.long_history().await;
        let other = bed.connection().await;
        assert!(bed.delete(lease.connection).await);
        let same = bed.store.connections(bed.business, Some("customer Rosalind"), None, None, 9).await.unwrap().items;
        assert_eq!(same, std::slice::from_ref(&other));
        assert_eq!(bed.store.credentials(other.id).await.unwrap().len(), 1);
    }
}

/// All bytes of the database's files.
fn bytes(bed: &Bed) -> Vec<u8> {
    let files = std::fs::read_dir(bed.folder.as_ref().unwrap()).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[tokio::test]
async fn no_customer_text_ever_stands_in_the_sqlite_files_and_no_key_stays_after_erasing() {
    let bed = Bed::sqlite().await;
    let (lease, account) = bed.long_history().await;
    let here = CustomerPresent {
        ip: "192.0.2.77".parse().unwrap(),
        user_agent: Some("Rosalind's browser".to_owned()),
    };
    bed.store.request_sync(&account, Some(&here), START).await.unwrap();
    bed.store.save_session(&lease, None, Some("Rosalind's session"), true).await.unwrap();
    let before = bytes(&bed);
    assert!(contains(&before, INSTITUTION.as_bytes()), "what is clear is found, so the search works");
    for text in
        ["Rosalind", "rosalind", "GB29", "bank-id", "'s rent", "Größe", "Zürich", "192.0.2.77", "cursor 1"]
    {
        assert!(!contains(&before, text.as_bytes()), "{text} stands in the clear");
    }
    // The row of the data key: owner, business, master key's id, wrapped key.
    let row = [lease.connection.as_bytes(), bed.business.as_bytes(), b"k1"].concat();
    let start = before.windows(row.len()).position(|window| window == row).unwrap() + row.len();
    let wrapped_key = &before[start..start + 48];
    assert!(bed.delete(lease.connection).await);
    let after = bytes(&bed);
    assert!(!contains(&after, wrapped_key), "the log is emptied and deleted rows are overwritten");
    assert!(contains(&after, lease.connection.as_bytes()));
}

#[tokio::test]
async fn a_stolen_database_does_not_tell_the_pin_that_an_idempotent_request_brought() {
    let bed = Bed::sqlite().await;
    let request = b"POST\n/v1/connections\n{\"pin\":\"1234\"}";
    bed.store.idempotency_begin(bed.business, "key of the request", request, HOUR, START).await.unwrap();
    let stored = bytes(&bed);
    assert!(contains(&stored, b"key of the request"), "what is clear is found, so the search works");
    let plain = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, request);
    assert!(!contains(&stored, plain.as_ref()), "a hash that anybody can compute of each PIN");
}
