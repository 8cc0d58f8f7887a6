//! What runs begin with: the same for many at once as what each of its parts says alone.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{Settings, StoreError};

both! {
    async fn many_runs_begin_with_what_is_theirs(bed) {
        let other = bed.store.create_business("Other & Co", START).await.unwrap().id;
        bed.store.put_registration(&registration(None, "operator's")).await.unwrap();
        bed.store.put_registration(&registration(Some(other), "other's")).await.unwrap();
        let mut connections = Vec::new();
        for business in [bed.business, other, bed.business] {
            connections.push(bed.connection_for(business, INSTITUTION, START).await);
        }
        let mut leases = bed.claim_all(START).await;
        leases.sort_by_key(|lease| connections.iter().position(|connection| connection.id == lease.connection));
        let first = leases.first().unwrap();
        let accounts = bed.list(first, &[bank_account("a1", Some("GB29")), bank_account("a2", None)], START).await.unwrap();
        let (kept, off) = (accounts[0].id, accounts[1].id);
        let settings = Settings { accounts: Some(AccountsKept::Only(vec![kept])), ..Settings::default() };
        bed.store.change_settings(bed.business, connections[0].id, &settings, START).await.unwrap();
        bed.store.request_sync(accounts.first().unwrap(), None, START).await.unwrap();
        bed.store.save_session(first, Some(START.plus(HOUR)), Some("of the session"), true).await.unwrap();

        let opened = bed.store.opened(&leases).await.unwrap();
        assert_eq!(opened.len(), 3);
        for (connection, opened) in connections.iter().zip(opened) {
            let (opened, id) = (opened.unwrap(), connection.id);
            let alone = bed.store.connection(connection.business, id).await.unwrap().unwrap();
            assert_eq!(opened.connection, alone);
            let registered = bed.store.registration(connection.business, INSTITUTION).await.unwrap();
            assert_eq!(opened.registration, registered);
            let client = if connection.business == other { "other's" } else { "operator's" };
            assert_eq!(opened.registration.unwrap().values["client_secret"].reveal(), client);
            assert_eq!(opened.consent, bed.store.consent(id).await.unwrap());
            assert!(opened.consent.is_some());
            assert_eq!(opened.credentials, bed.store.credentials(id).await.unwrap());
            assert_eq!(opened.credentials.len(), 1);
            assert_eq!(opened.accounts, bed.store.accounts_with_heads(id).await.unwrap());
        }
        let of_first = opened_accounts(&bed, first).await;
        assert_eq!(of_first, [(kept, AccountState::Active, true), (off, AccountState::Excluded, false)]);
    }

    async fn a_lost_lease_opens_nothing_and_does_not_hinder_the_others(bed) {
        let (kept, lost, erased) = (bed.connection().await, bed.connection().await, bed.connection().await);
        let leases = bed.claim_all(START).await;
        let of = |connection: &Connection| leases.iter().find(|lease| lease.connection == connection.id).unwrap().clone();
        bed.store.release(&of(&lost), START.plus(HOUR)).await.unwrap();
        bed.store.begin_closing(bed.business, erased.id, START).await.unwrap();
        let opened = bed.store.opened(&[of(&lost), of(&erased), of(&kept)]).await.unwrap();
        let came: Vec<_> = opened.into_iter().map(|opened| opened.map(|opened| opened.connection.id)).collect();
        assert!(
            matches!(&came[..], [Err(StoreError::LeaseLost), Err(StoreError::LeaseLost), Ok(id)] if *id == kept.id),
            "{came:?}"
        );
        assert!(bed.store.opened(&[]).await.unwrap().is_empty());
    }
}

async fn opened_accounts(bed: &Bed, lease: &Lease) -> Vec<(AccountId, AccountState, bool)> {
    let accounts = opened(&bed.store, lease).await.unwrap().accounts;
    accounts.into_iter().map(|(account, head)| (account.id, account.state, head.is_awaited)).collect()
}
