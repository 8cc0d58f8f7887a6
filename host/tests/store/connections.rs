//! Connections, credentials, consents, sessions.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{NewConnection, StoreError};

both! {
    async fn a_connection_reads_back_what_was_stored(bed) {
        let connection = bed.connection().await;
        assert_eq!(connection.customer_ref.as_deref(), Some("customer Rosalind"));
        assert_eq!(connection.state, ConnectionState::Active);
        assert!(!connection.session_open && !connection.accounts_listed);
        assert_eq!(bed.store.connection(bed.business, connection.id).await.unwrap(), Some(connection.clone()));
        assert_eq!(bed.store.connection(BusinessId::new(), connection.id).await.unwrap(), None);
        let credentials = bed.store.credentials(connection.id).await.unwrap();
        assert_eq!(credentials.len(), 1);
        assert_eq!((credentials[0].name.as_str(), credentials[0].version), ("refresh_token", 1));
        assert_eq!(credentials[0].expires_at, Some(START.plus(HOUR)));
        let consent = bed.store.consent(connection.id).await.unwrap().unwrap();
        assert_eq!(consent.reference.as_deref(), Some("reference of Rosalind"));
        assert_eq!((consent.scopes, consent.ended_at), (vec!["ReadBalances".to_owned()], None));
        assert_eq!(bed.store.consent(ConnectionId::new()).await.unwrap(), None);
        assert_eq!(bed.store.credentials(ConnectionId::new()).await.unwrap(), []);
    }

    async fn a_connection_of_an_unknown_business_is_refused(bed) {
        for customer_ref in [None, Some("x".to_owned())] {
            let new = NewConnection {
                id: ConnectionId::new(), business: BusinessId::new(), institution: INSTITUTION.to_owned(), customer_ref,
                credentials: vec![], consent: None, phase: 0, slot_at: START, due_at: START, linking: false,
            };
            let refused = bed.store.create_connection(&new, START).await.unwrap_err();
            assert!(matches!(&refused, StoreError::Constraint(name) if name == "connection_business"), "{refused:?}");
        }
        assert_eq!(bed.claim_all(START).await, []);
    }

    async fn connections_are_listed_by_customer_and_institution_in_pages(bed) {
        let first = bed.connection().await;
        let second = bed.connection_at("other", START).await;
        let third = bed.connection().await;
        let list = async |customer: Option<&str>, institution: Option<&str>, after, limit| {
            let page = bed.store.connections(bed.business, customer, institution, after, limit).await.unwrap();
            (page.items.into_iter().map(|one| one.id).collect::<Vec<_>>(), page.has_more)
        };
        assert_eq!(list(None, None, None, 2).await, (vec![first.id, second.id], true));
        assert_eq!(list(None, None, Some(second.id), 2).await, (vec![third.id], false));
        assert_eq!(list(Some("customer Rosalind"), Some(INSTITUTION), None, 9).await, (vec![first.id, third.id], false));
        assert_eq!(list(Some("customer Rosalin"), None, None, 9).await, (vec![], false));
        let other = bed.store.connections(BusinessId::new(), Some("customer Rosalind"), None, None, 9).await.unwrap();
        assert!(other.items.is_empty());
    }

    async fn a_capture_replaces_only_the_version_it_was_made_from(bed) {
        let connection = bed.connection().await;
        let lease = bed.claim(START).await;
        let captures = [(credential("refresh_token", "rt-2"), 1), (credential("access_token", "at-1"), 0)];
        assert_eq!(bed.store.save_captures(&lease, &captures, START).await.unwrap(), [2, 1]);
        let before = bed.store.credentials(connection.id).await.unwrap();
        let values: Vec<_> = before.iter().map(|one| (one.name.as_str(), one.version, one.value.reveal())).collect();
        assert_eq!(values, [("access_token", 1, "at-1"), ("refresh_token", 2, "rt-2")]);

        for stale in [
            [(credential("access_token", "at-2"), 1), (credential("refresh_token", "rt-3"), 1)],
            [(credential("access_token", "at-2"), 1), (credential("refresh_token", "rt-3"), 0)],
        ] {
            let refused = bed.store.save_captures(&lease, &stale, START).await.unwrap_err();
            assert!(matches!(&refused, StoreError::CredentialReplaced(name) if name == "refresh_token"), "{refused:?}");
            assert_eq!(bed.store.credentials(connection.id).await.unwrap(), before, "nothing is stored");
        }
    }

    async fn of_two_captures_of_one_version_one_wins(bed) {
        bed.connection().await;
        let lease = bed.claim(START).await;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..8 {
            let (store, lease) = (bed.store.clone(), lease.clone());
            let capture = [(credential("refresh_token", &format!("rt-{number}")), 1)];
            tasks.spawn(async move { store.save_captures(&lease, &capture, START).await.is_ok() });
        }
        assert_eq!(tasks.join_all().await.into_iter().filter(|won| *won).count(), 1);
    }

    async fn a_session_is_saved_and_closed(bed) {
        let connection = bed.connection().await;
        let lease = bed.claim(START).await;
        bed.store.save_session(&lease, Some(START.plus(HOUR)), Some("{\"step\":\"Rosalind\"}"), true).await.unwrap();
        let open = opened(&bed.store, &lease).await.unwrap().connection;
        assert!(open.session_open);
        assert_eq!(open.session_valid_until, Some(START.plus(HOUR)));
        assert_eq!(open.session_state.as_deref(), Some("{\"step\":\"Rosalind\"}"));
        bed.store.close_session(&lease).await.unwrap();
        let closed = bed.store.connection(bed.business, connection.id).await.unwrap().unwrap();
        assert!(!closed.session_open);
        assert_eq!(closed.session_valid_until, None);
    }

    async fn refusals_are_remembered_until_a_session_opens_and_counted_per_institution(bed) {
        for _ in 0..3 {
            bed.connection().await;
        }
        bed.connection_at("other", START).await;
        let leases = bed.claim_all(START).await;
        let note = async |lease: &Lease, now| {
            let noted = bed.store.note_rejection(lease, None, now).await.unwrap();
            (noted.first_at, noted.recent_at_institution)
        };
        assert_eq!(note(&leases[0], START).await, (None, 1));
        assert_eq!(note(&leases[0], START.plus(MINUTE)).await, (Some(START), 1));
        assert_eq!(note(&leases[1], START.plus(MINUTE)).await, (None, 2));
        bed.store.save_session(&leases[0], None, None, true).await.unwrap();
        assert_eq!(note(&leases[2], START.plus(2 * MINUTE)).await, (None, 2));
        assert_eq!(note(&leases[0], START.plus(11 * MINUTE)).await, (None, 2), "the second refusal is over ten minutes old");

        bed.store.void_rejections("other", START.plus(11 * MINUTE)).await.unwrap();
        assert_eq!(note(&leases[1], START.plus(40 * MINUTE)).await, (Some(START.plus(MINUTE)), 1), "another bank's fault");
        bed.store.void_rejections(INSTITUTION, START.plus(11 * MINUTE)).await.unwrap();
        for lease in [&leases[0], &leases[1]] {
            assert_eq!(note(lease, START.plus(60 * MINUTE)).await.0, None, "the bank's fault is nobody's first refusal");
            assert_eq!(note(lease, START.plus(61 * MINUTE)).await.0, Some(START.plus(60 * MINUTE)));
        }
    }

    async fn a_connection_that_needs_its_customer_is_told_once_and_no_longer_claimed(bed) {
        let connection = bed.connection().await;
        let endpoint = bed.endpoint(&[]).await;
        let lease = bed.claim(START).await;
        let stop = async || {
            let event = bed.event(connection.id, EventType::ReauthorisationRequired);
            bed.store.require_reauthorisation(&lease, "consent-expired", &event, START).await.unwrap()
        };
        assert!(stop().await);
        assert!(!stop().await);
        assert_eq!(bed.store.deliveries(endpoint.id, None, 9).await.unwrap().items.len(), 1);
        let stopped = bed.store.connection(bed.business, connection.id).await.unwrap().unwrap();
        assert_eq!(stopped.state, ConnectionState::ReauthorisationRequired);
        assert_eq!(stopped.reason.as_deref(), Some("consent-expired"));
        assert_eq!(bed.store.consent(connection.id).await.unwrap().unwrap().end_reason.as_deref(), Some("ended_by_bank"));
        bed.store.complete(&lease, START, START, 0, START).await.unwrap();
        assert_eq!(bed.claim_all(START.plus(HOUR)).await, []);
        assert_eq!(bed.store.next_due(START).await.unwrap(), None);
    }

    async fn a_consent_that_ran_out_by_itself_ends_as_expired(bed) {
        let connection = bed.connection().await;
        let later = START.plus(91 * 24 * HOUR);
        let lease = bed.claim(later).await;
        let event = bed.event(connection.id, EventType::ReauthorisationRequired);
        assert!(bed.store.require_reauthorisation(&lease, "consent-expired", &event, later).await.unwrap());
        assert_eq!(bed.store.consent(connection.id).await.unwrap().unwrap().end_reason.as_deref(), Some("expired"));
    }

    async fn reauthorising_keeps_ids_history_and_seq_and_starts_everything_else_again(bed) {
        let (lease, account) = bed.running().await;
        bed.commit(&lease, &account, vec![NewChange::added(booked(1, -500, "coffee"))]).await;
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        bed.store.fail_sync(&lease, &failure(sync(&lease, &account, id, trigger)), &|_| None).await.unwrap();
        bed.store.save_session(&lease, Some(START.plus(HOUR)), Some("state"), true).await.unwrap();
        bed.store.note_rejection(&lease, None, START).await.unwrap();
        bed.store.save_captures(&lease, &[(credential("access_token", "at"), 0)], START).await.unwrap();
        let event = bed.event(lease.connection, EventType::ReauthorisationRequired);
        bed.store.require_reauthorisation(&lease, "credentials-rejected", &event, START).await.unwrap();

        let now = START.plus(HOUR);
        let fresh = [credential("refresh_token", "rt-new")];
        let unknown = bed.store.reauthorise(BusinessId::new(), lease.connection, &fresh, None, &bed.event(lease.connection, EventType::ConnectionResumed), now).await.unwrap();
        assert_eq!(unknown, None);
        let consent = NewConsent { reference: None, ..consent() };
        let active = bed.reauthorise(lease.connection, &fresh, Some(&consent), now).await.unwrap();
        assert_eq!((active.state, active.reason), (ConnectionState::Active, None));
        assert!(!active.session_open && !active.accounts_listed && active.session_state.is_none());
        let credentials = bed.store.credentials(lease.connection).await.unwrap();
        let shown: Vec<_> = credentials.iter().map(|one| (one.name.as_str(), one.version, one.value.reveal())).collect();
        assert_eq!(shown, [("refresh_token", 2, "rt-new")]);
        let consents = bed.store.consents(lease.connection).await.unwrap();
        let ends: Vec<_> = consents.iter().map(|one| one.end_reason.as_deref()).collect();
        assert_eq!(ends, [Some("ended_by_bank"), None]);

        let refused = bed.store.save_session(&lease, None, None, true).await;
        assert!(matches!(refused, Err(StoreError::LeaseLost)), "the old run is fenced off");
        let lease = bed.claim(now).await;
        assert_eq!(lease.failures, 0);
        let listed = bed.list(&lease, &[bank_account("other id", Some("GB29"))], now).await.unwrap();
        assert_eq!(listed[0].id, account.id);
        let head = bed.store.head(account.id).await.unwrap().unwrap();
        assert_eq!((head.seq, head.epoch, head.failures, head.due_at), (1, 0, 0, now));
        assert_eq!(bed.store.changes(account.id, 0, 9).await.unwrap().items.len(), 1);
        assert_eq!(bed.store.note_rejection(&lease, None, now).await.unwrap().first_at, None);
    }

    async fn a_pause_after_a_refusal_ends_with_new_credentials_and_a_limit_of_the_banks_does_not(bed) {
        let (now, pause) = (START.plus(HOUR), START.plus(2 * HOUR));
        for (refused, left) in [(true, None), (false, Some(pause))] {
            let (lease, account) = bed.running().await;
            if refused {
                bed.store.note_rejection(&lease, None, START).await.unwrap();
            }
            bed.store.defer_connection(&lease, pause).await.unwrap();
            bed.reauthorise(lease.connection, &[], None, now).await.unwrap();
            assert_eq!(bed.store.head(account.id).await.unwrap().unwrap().next_allowed_at, left);
        }
    }

    async fn a_consent_is_replaced_by_the_next_one(bed) {
        let connection = bed.connection().await;
        bed.reauthorise(connection.id, &[], Some(&consent()), START.plus(HOUR)).await.unwrap();
        let consents = bed.store.consents(connection.id).await.unwrap();
        let ends: Vec<_> = consents.iter().map(|one| (one.ended_at, one.end_reason.as_deref())).collect();
        assert_eq!(ends, [(Some(START.plus(HOUR)), Some("replaced")), (None, None)]);
        assert_eq!(bed.store.consent(connection.id).await.unwrap().unwrap().id, consents[1].id);
    }
}
