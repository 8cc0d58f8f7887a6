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

both! {
    async fn the_statements_that_run_all_day_are_answered_by_an_index_also_where_nothing_is_stored(bed) {
        bed.running().await;
        assert_eq!(bed.store.missing_indexes().await.unwrap(), Vec::<String>::new());
        let plans = bed.store.plans().await.unwrap();
        assert!(plans.len() >= 13, "{plans:?}");
        for plan in plans {
            assert!(plan.unused.is_empty() && plan.whole.is_empty(), "{plan:?}");
        }
    }

    async fn an_index_that_is_gone_is_missed_by_name_and_by_the_statements_that_need_it(bed) {
        bed.running().await;
        for index in ["schedule_due", "schedule_queued", "delivery_due"] {
            tests::database::execute(&bed.url, &format!("DROP INDEX {index}")).await.unwrap();
        }
        let missing = bed.store.missing_indexes().await.unwrap();
        assert_eq!(missing, ["delivery_due", "schedule_due", "schedule_queued"]);
        if bed.url.starts_with("sqlite:") {
            let plans = bed.store.plans().await.unwrap();
            let told = |name: &str| plans.iter().find(|plan| plan.statement == name).unwrap().unused.clone();
            assert_eq!(told("claiming connections"), ["schedule_due", "schedule_queued"]);
            assert_eq!(told("webhooks that are due"), ["delivery_due"]);
            assert!(told("rows to compare a reading with").is_empty());
            return;
        }
        // A large table that can only be read whole.
        for sql in [
            "ALTER TABLE txn_change DROP CONSTRAINT txn_change_key",
            "DROP INDEX txn_change_of_txn, txn_change_observed",
            "INSERT INTO txn_change (account, seq, number, kind, reason, ambiguous, observed_at, sync)
             SELECT decode(lpad(to_hex(n % 7), 32, '0'), 'hex'), n, n, 'added', 'new', false, n, 'x'
             FROM generate_series(1, 20000) AS n",
            "ANALYZE txn_change",
        ] {
            tests::database::execute(&bed.url, sql).await.unwrap();
        }
        let plans = bed.store.plans().await.unwrap();
        let told: Vec<_> = plans.iter().filter(|plan| !plan.whole.is_empty()).collect();
        assert_eq!((told.len(), told[0].statement.as_str()), (1, "changes by cursor"), "{told:?}");
    }
}
