//! Backups while others write, and what must not go on after one took the database's place.

use crate::bed::*;
use crate::both;
use host::model::ConnectionState;
use host::store::{Store, StoreError};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

both! {
    async fn after_a_restore_cursors_leases_and_counts_of_the_time_before_fit_no_more(bed) {
        let (lease, account) = bed.running().await;
        let head = bed.store.head(account.id).await.unwrap().unwrap();
        let later = START.plus(HOUR);

        // The bank counts readings, and one was made today.
        let day_ends = later.plus(5 * HOUR);
        bed.store.take_read(&lease, account.id, (4, 4), day_ends, START).await.unwrap();

        let settled = bed.store.settle_restored(later).await.unwrap();
        assert_eq!((settled.accounts, settled.connections), (1, 1));
        let after = bed.store.head(account.id).await.unwrap().unwrap();
        assert!(after.epoch > head.epoch, "{} after {}", after.epoch, head.epoch);
        assert_eq!(after.seq, head.seq);
        assert_eq!((after.reads_until, after.unattended_at), (Some(day_ends), Some(day_ends)));
        let stored = bed.store.save_captures(&lease, &[(credential("refresh_token", "of before"), 1)], later).await;
        assert!(matches!(stored, Err(StoreError::LeaseLost)), "{stored:?}");

        // The password of each customer may leave once more.
        let again = bed.claim(later).await;
        assert!(again.token > lease.token + 1_000_000, "no lease of the lost time can be this one");
        let counted = bed.store.count_login(&again, None, later).await.unwrap();
        assert!(counted.is_some());
        assert_eq!(bed.store.count_login(&again, None, later).await.unwrap(), None);

        // The same backup restored once more, a day later: another epoch, and the bank's next day.
        bed.store.settle_restored(later.plus(24 * HOUR)).await.unwrap();
        let last = bed.store.head(account.id).await.unwrap().unwrap();
        assert!(last.epoch > after.epoch);
        assert_eq!(last.unattended_at, Some(day_ends.plus(24 * HOUR)));
    }

    async fn one_key_of_each_kind_is_opened_or_the_missing_master_key_is_named(bed) {
        assert_eq!(bed.store.open_one_of_each_key().await.unwrap(), ["business", "master key"]);
        bed.connection().await;
        bed.endpoint(&[]).await;
        let kinds = bed.store.open_one_of_each_key().await.unwrap();
        assert_eq!(kinds, ["business", "connection", "endpoint", "master key"]);
        let other = Store::open(&bed.url, new_vault()).await.unwrap();
        let said = other.open_one_of_each_key().await.unwrap_err().to_string();
        assert!(said.contains("master key \"k1\""), "{said}");
    }
}

/// The folder of a bed on SQLite, and a name in it.
fn place(bed: &Bed, name: &str) -> std::path::PathBuf {
    bed.folder.as_ref().unwrap().path().join(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_whole_private_and_replaces_nothing() {
    let bed = Bed::sqlite().await;
    let connection = bed.connection().await.id;
    let to = place(&bed, "backup.db");
    // Others write meanwhile.
    let store = bed.store.clone();
    let writing = tokio::spawn(async move {
        for n in 0..50 {
            store.create_business(&format!("Business {n}"), START).await.unwrap();
        }
    });
    let backup = bed.store.back_up(&to).await.unwrap();
    writing.await.unwrap();
    let file = std::fs::metadata(&to).unwrap();
    assert_eq!((file.permissions().mode() & 0o777, file.len()), (0o600, backup.bytes));
    assert!(bed.store.migrate().await.unwrap().is_empty());
    let copy = Store::open(&format!("sqlite:{}", to.display()), vault()).await.unwrap();
    copy.ready().await.unwrap();
    assert_eq!(copy.credentials(connection).await.unwrap().len(), 1);
    drop(copy);

    let before = std::fs::read(&to).unwrap();
    let refused = bed.store.back_up(&to).await.unwrap_err().to_string();
    assert!(refused.contains("is there already; choose another name"), "{refused}");
    assert_eq!(std::fs::read(&to).unwrap(), before);
    // One that was interrupted is nobody's backup, and is said to be there.
    std::fs::write(place(&bed, "next.db.partial"), "half").unwrap();
    let refused = bed.store.back_up(&place(&bed, "next.db")).await.unwrap_err().to_string();
    assert!(refused.contains("next.db.partial is there") && refused.contains("delete it"), "{refused}");
    let nowhere = bed.store.back_up(Path::new("/nowhere/x.db")).await.unwrap_err().to_string();
    assert!(nowhere.contains("/nowhere/x.db.partial"), "{nowhere}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_keeps_what_stood_there_and_ends_who_left_since() {
    let bed = Bed::sqlite().await;
    let (stays, leaves) = (bed.connection().await.id, bed.connection().await.id);
    let backup = place(&bed, "backup.db");
    bed.store.back_up(&backup).await.unwrap();
    assert!(bed.store.begin_closing(bed.business, leaves, START.plus(HOUR)).await.unwrap());
    bed.store.create_business("Made since", START).await.unwrap();
    let (url, folder) = (bed.url.clone(), bed.folder.as_ref().unwrap().path().to_owned());
    let now = START.plus(2 * HOUR);

    // Not while somebody serves it.
    let serving = bed.store.sole_server().unwrap();
    let refused = Store::restore(&url, &backup, vault(), now).await.unwrap_err().to_string();
    assert!(refused.contains("another `tidegate serve`"), "{refused}");
    drop((serving, bed.store));

    for (name, bytes, expected) in [
        ("text.db", b"no database at all".to_vec(), "is no backup that can be used"),
        ("cut.db", std::fs::read(&backup).unwrap()[..20_000].to_vec(), "is no backup that can be used"),
    ] {
        std::fs::write(folder.join(name), bytes).unwrap();
        let refused = Store::restore(&url, &folder.join(name), vault(), now).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{name}: {refused}");
    }
    let refused = Store::restore(&url, &backup, new_vault(), now).await.unwrap_err().to_string();
    assert!(refused.contains("master key \"k1\""), "{refused}");
    let untouched = Store::open(&url, vault()).await.unwrap();
    assert_eq!(untouched.businesses().await.unwrap().len(), 2);
    drop(untouched);

    let restored = Store::restore(&url, &backup, vault(), now).await.unwrap();
    assert_eq!((restored.ended_again, restored.settled.connections), (Some(1), 2));
    let store = Store::open(&url, vault()).await.unwrap();
    store.ready().await.unwrap();
    assert_eq!(store.businesses().await.unwrap().len(), 1, "what was made since is not in it");
    let connection = async |id| store.connection(bed.business, id).await.unwrap();
    assert_eq!(connection(stays).await.unwrap().state, ConnectionState::Active);
    assert!(connection(leaves).await.is_none_or(|left| left.state == ConnectionState::Closing));
    drop(store);
    let kept = restored.kept.unwrap();
    let old = Store::open(&format!("sqlite:{}", kept.display()), vault()).await.unwrap();
    assert_eq!(old.businesses().await.unwrap().len(), 2, "what stood there is whole");
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("restoring")), "{left:?}");
}
