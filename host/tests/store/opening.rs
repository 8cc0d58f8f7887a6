//! Opening, migrating, and the master key.

use crate::bed::*;
use crate::both;
use host::store::{Store, StoreError};

both! {
    async fn a_migrated_database_is_ready_and_migrating_again_does_nothing(bed) {
        bed.store.ready().await.unwrap();
        assert_eq!(bed.store.migrate().await.unwrap(), Vec::<String>::new());
    }

    async fn rotating_wraps_every_key_again_and_the_old_master_key_is_no_longer_needed(bed) {
        let connection = bed.connection().await;
        drop(bed.store);
        let store = Store::open(&bed.url, rotated_vault()).await.unwrap();
        assert_eq!(store.rotate_data_keys().await.unwrap(), 2, "the business's and the connection's");
        assert_eq!(store.rotate_data_keys().await.unwrap(), 0);
        drop(store);
        let store = Store::open(&bed.url, new_vault()).await.unwrap();
        let credentials = store.credentials(connection.id).await.unwrap();
        assert_eq!(credentials[0].value.reveal(), "rt-1-secret-of-rosalind");
        let found = store.connections(bed.business, Some("customer Rosalind"), None, None, 10).await.unwrap();
        assert_eq!(found.items, std::slice::from_ref(&connection));
        drop(store);
        let store = Store::open(&bed.url, vault()).await.unwrap();
        assert!(matches!(store.credentials(connection.id).await, Err(StoreError::Vault(_))));
    }
}

#[tokio::test]
async fn a_database_that_was_never_migrated_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut urls = vec![format!("sqlite:{}", folder.path().join("new.db").display())];
    urls.extend(postgres_database().await);
    for url in urls {
        let store = Store::open(&url, vault()).await.unwrap();
        let refused = store.ready().await.unwrap_err();
        assert!(matches!(refused, StoreError::Migration(_)), "{refused:?}");
        assert!(refused.to_string().contains("run `tidegate migrate`"), "{refused}");
        assert_eq!(store.migrate().await.unwrap(), ["0001_initial", "0002_processes"]);
        store.ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_sqlite_file_is_served_by_one_process_at_a_time_while_subcommands_may_use_it() {
    let bed = Bed::sqlite().await;
    let serving = bed.store.sole_server().unwrap();
    assert!(serving.is_some());
    let other = Store::open(&bed.url, vault()).await.unwrap();
    other.ready().await.unwrap();
    let refused = other.sole_server().err().unwrap().to_string();
    assert!(refused.contains("another `tidegate serve` works on this SQLite database"), "{refused}");
    drop(serving);
    assert!(other.sole_server().unwrap().is_some());
}

#[tokio::test]
async fn an_unknown_kind_of_database_is_refused_with_the_known_ones() {
    let refused = Store::open("mysql://x", vault()).await.err().unwrap().to_string();
    assert!(refused.contains("sqlite:PATH"), "{refused}");
}
