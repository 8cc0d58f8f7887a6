//! Businesses, keys, registrations, institutions, connectors, idempotency.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{Idempotent, StoreError};
use std::collections::BTreeMap;
use std::time::Duration;

fn api_key(business: BusinessId) -> ApiKey {
    ApiKey {
        id: ApiKeyId::new(),
        business,
        name: "backend".to_owned(),
        scopes: vec![Scope::Read, Scope::Sync],
        created_at: START,
        revoked_at: None,
    }
}

both! {
    async fn a_business_is_shown_as_it_was_said_last(bed) {
        let store = &bed.store;
        let known = store.business(bed.business).await.unwrap().unwrap();
        assert_eq!((known.display_name(), known.colour(), &known.theme), ("Books & Co", Colour::DEFAULT, &Theme::default()));
        let theme = Theme {
            display_name: Some("Books".to_owned()),
            colour: Some("#7a1f3d".parse().unwrap()),
            purpose: Some("Bookkeeping.".to_owned()),
        };
        assert!(store.set_theme(bed.business, &theme).await.unwrap());
        let known = store.business(bed.business).await.unwrap().unwrap();
        assert_eq!((known.display_name(), known.name.as_str(), &known.theme), ("Books", "Books & Co", &theme));
        assert_eq!(store.businesses().await.unwrap(), [known]);
        assert!(store.set_theme(bed.business, &Theme::default()).await.unwrap());
        assert_eq!(store.business(bed.business).await.unwrap().unwrap().theme, Theme::default());
        let other = BusinessId::new();
        assert!(!store.set_theme(other, &theme).await.unwrap());
        assert_eq!(store.business(other).await.unwrap(), None);
    }

    async fn a_key_works_until_it_is_revoked_and_only_its_hash_is_kept(bed) {
        let other = bed.store.create_business("Other", START.plus(MINUTE)).await.unwrap();
        let names: Vec<String> = bed.store.businesses().await.unwrap().into_iter().map(|business| business.name).collect();
        assert_eq!(names, ["Books & Co", "Other"]);
        let key = api_key(bed.business);
        bed.store.create_api_key(&key, &[7; 32]).await.unwrap();
        assert_eq!(bed.store.api_key(key.id).await.unwrap(), Some((key.clone(), [7; 32])));
        assert_eq!(bed.store.api_keys(bed.business).await.unwrap(), std::slice::from_ref(&key));
        assert_eq!(bed.store.api_keys(other.id).await.unwrap(), []);
        assert!(bed.store.revoke_api_key(key.id, START.plus(MINUTE)).await.unwrap());
        assert!(!bed.store.revoke_api_key(key.id, START.plus(HOUR)).await.unwrap());
        assert_eq!(bed.store.api_key(key.id).await.unwrap().unwrap().0.revoked_at, Some(START.plus(MINUTE)));
        assert_eq!(bed.store.api_key(ApiKeyId::new()).await.unwrap(), None);
        assert!(!bed.store.revoke_api_key(ApiKeyId::new(), START).await.unwrap());
    }

    async fn what_belongs_to_an_unknown_business_breaks_a_constraint_that_has_a_name(bed) {
        let named = |result: Result<(), StoreError>| match result {
            Err(StoreError::Constraint(name)) => name,
            other => panic!("{other:?}"),
        };
        let nobody = BusinessId::new();
        assert_eq!(named(bed.store.create_api_key(&api_key(nobody), &[0; 32]).await), "api_key_business");
        assert_eq!(named(bed.store.put_registration(&registration(Some(nobody), "s")).await), "registration_business");
        let key = api_key(bed.business);
        bed.store.create_api_key(&key, &[0; 32]).await.unwrap();
        assert_eq!(named(bed.store.create_api_key(&key, &[0; 32]).await), "api_key_key");
    }

    async fn a_business_uses_its_own_registration_else_the_operators(bed) {
        assert_eq!(bed.store.registration(bed.business, INSTITUTION).await.unwrap(), None);
        let operators = registration(None, "operator's");
        bed.store.put_registration(&operators).await.unwrap();
        assert_eq!(bed.store.registration(bed.business, INSTITUTION).await.unwrap(), Some(operators.clone()));
        let own = registration(Some(bed.business), "own");
        bed.store.put_registration(&own).await.unwrap();
        assert_eq!(bed.store.registration(bed.business, INSTITUTION).await.unwrap(), Some(own.clone()));
        assert_eq!(bed.store.registration(bed.business, "elsewhere").await.unwrap(), None);

        let again = Registration { created_at: START.plus(HOUR), ..registration(None, "newer") };
        bed.store.put_registration(&again).await.unwrap();
        let replaced = Registration { id: operators.id, version: 2, ..again };
        assert_eq!(bed.store.registrations().await.unwrap(), [replaced.clone(), own.clone()]);

        assert!(bed.store.delete_registration(own.id).await.unwrap());
        assert!(!bed.store.delete_registration(own.id).await.unwrap());
        assert_eq!(bed.store.registration(bed.business, INSTITUTION).await.unwrap(), Some(replaced));
    }

    async fn approvals_and_quarantines_are_kept(bed) {
        bed.store.approve_institution("demo", "f1", START).await.unwrap();
        bed.store.approve_institution("demo", "f2", START).await.unwrap();
        bed.store.pause_institution("other", START, "limit").await.unwrap();
        assert_eq!(bed.store.approvals().await.unwrap(), BTreeMap::from([("demo".to_owned(), "f2".to_owned())]));
        bed.store.quarantine_connector("sha256:1", "timeouts", START).await.unwrap();
        bed.store.quarantine_connector("sha256:1", "again", START).await.unwrap();
        let quarantined = BTreeMap::from([("sha256:1".to_owned(), "timeouts".to_owned())]);
        assert_eq!(bed.store.quarantined_connectors().await.unwrap(), quarantined);
    }

    async fn an_idempotency_key_goes_from_new_to_answered(bed) {
        let (store, business) = (&bed.store, bed.business);
        let begin = |key: &'static str, hash: u8, now| async move {
            store.idempotency_begin(business, key, &[hash; 32], 24 * HOUR, now).await.unwrap()
        };
        assert_eq!(begin("k", 1, START).await, Idempotent::New);
        assert_eq!(begin("k", 1, START).await, Idempotent::InFlight);
        assert_eq!(begin("k", 2, START).await, Idempotent::OtherRequest);
        store.idempotency_finish(business, "k", 201, "{\"secret\":\"whsec_x\"}", None).await.unwrap();
        let answered = Idempotent::Answered { status: 201, body: "{\"secret\":\"whsec_x\"}".to_owned() };
        assert_eq!(begin("k", 1, START.plus(23 * HOUR)).await, answered);
        assert_eq!(begin("k", 2, START.plus(23 * HOUR)).await, Idempotent::OtherRequest);
        assert_eq!(begin("k", 2, START.plus(24 * HOUR)).await, Idempotent::New);

        assert_eq!(begin("failed", 1, START).await, Idempotent::New);
        store.idempotency_abandon(business, "failed").await.unwrap();
        assert_eq!(begin("failed", 2, START).await, Idempotent::New);
        assert_eq!(begin("failed", 2, START.plus(MINUTE)).await, Idempotent::InFlight);
        assert_eq!(begin("failed", 2, START.plus(MINUTE + Duration::from_millis(1))).await, Idempotent::New);

        let other = store.create_business("Other", START).await.unwrap().id;
        assert_eq!(store.idempotency_begin(other, "k", &[9; 32], 24 * HOUR, START).await.unwrap(), Idempotent::New);
        let swept = store.sweep(&Retention::of_all(24 * HOUR), START.plus(25 * HOUR)).await.unwrap();
        assert_eq!(swept.rows, [("idempotency", 2)], "one of each business");
    }

    async fn an_answer_that_speaks_of_a_connection_goes_with_it(bed) {
        let begin = async |key: &str| {
            bed.store.idempotency_begin(bed.business, key, b"request", 24 * HOUR, START).await.unwrap()
        };
        let (one, other) = (bed.connection().await.id, bed.connection().await.id);
        for (key, of) in [("one", Some(one)), ("other", Some(other)), ("none", None)] {
            assert_eq!(begin(key).await, Idempotent::New);
            bed.store.idempotency_finish(bed.business, key, 201, "of Rosalind", of).await.unwrap();
        }
        assert_eq!(begin("late").await, Idempotent::New);
        assert!(bed.store.begin_closing(bed.business, one, START).await.unwrap());
        let answered = Idempotent::Answered { status: 201, body: "of Rosalind".to_owned() };
        assert_eq!(begin("other").await, answered);
        assert_eq!(begin("none").await, answered);
        assert_eq!(begin("one").await, Idempotent::New);
        // The request was being answered when its customer left.
        bed.store.idempotency_finish(bed.business, "late", 201, "of Rosalind", Some(one)).await.unwrap();
        assert_eq!(begin("late").await, Idempotent::New);
        let event = bed.event(other, EventType::ConnectionDeleted);
        assert!(bed.store.delete_connection(bed.business, other, &event, START).await.unwrap());
        assert_eq!(begin("other").await, Idempotent::New);
    }

    async fn of_many_requests_with_one_key_one_is_new(bed) {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let (store, business) = (bed.store.clone(), bed.business);
            tasks.spawn(async move { store.idempotency_begin(business, "k", &[1; 32], 24 * HOUR, START).await.unwrap() });
        }
        let all = tasks.join_all().await;
        assert_eq!(all.iter().filter(|one| **one == Idempotent::New).count(), 1);
        assert_eq!(all.iter().filter(|one| **one == Idempotent::InFlight).count(), 11);
    }
}
