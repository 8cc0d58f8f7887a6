//! The audit trail of consents, what is told ahead of their end, and the end itself.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{ConsentFilter, FoundSync, NewConnection, Requested, StoreError};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn end() -> Timestamp {
    consent().expires_at.unwrap()
}

impl Bed {
    /// The ids of the trail, page by page.
    async fn trail(&self, filter: ConsentFilter<'_>, limit: u32) -> Vec<ConsentId> {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page =
                self.store.recorded_consents(self.business, &filter, after, limit, START).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            ids.extend(page.items.iter().map(|one| one.consent.id));
            after = page.items.last().map(|last| last.consent.id);
            if !page.has_more {
                return ids;
            }
        }
    }

    /// The one consent that is due.
    async fn due(&self, now: Timestamp) -> DueConsent {
        let mut due = self.store.due_consents(now, 9).await.unwrap();
        assert_eq!(due.len(), 1);
        due.remove(0)
    }

    async fn note_told(&self, due: &DueConsent, now: Timestamp) -> bool {
        let event = self.event(due.connection, EventType::ConsentExpiring);
        self.store.consent_told(due, &event, consent_due_at(due.expires_at, now)).await.unwrap()
    }

    async fn end(&self, due: &DueConsent, now: Timestamp) -> bool {
        let event = self.event(due.connection, EventType::ReauthorisationRequired);
        self.store.end_expired(due, &event, now).await.unwrap()
    }
}

both! {
    async fn the_trail_has_every_consent_of_the_business_and_is_filtered(bed) {
        let one = bed.connection().await;
        let two = bed.connection_at("other", START).await;
        bed.reauthorise(one.id, &[], Some(&consent()), START.plus(HOUR)).await.unwrap();
        let [first, third] = bed.store.consents(one.id).await.unwrap().try_into().unwrap();
        let second = bed.store.consent(two.id).await.unwrap().unwrap();
        let (first, second, third) = (first.id, second.id, third.id);
        let all = ConsentFilter::default();
        for limit in [1, 2, 9] {
            assert_eq!(bed.trail(all, limit).await, [first, second, third]);
        }
        let of = |connection| ConsentFilter { connection: Some(connection), ..all };
        assert_eq!(bed.trail(of(one.id), 1).await, [first, third]);
        assert_eq!(bed.trail(ConsentFilter { institution: Some("other"), ..all }, 9).await, [second]);
        let rosalind = ConsentFilter { customer_ref: Some("customer Rosalind"), ..all };
        assert_eq!(bed.trail(rosalind, 1).await, [first, second, third]);
        assert_eq!(bed.trail(ConsentFilter { connection: Some(two.id), ..rosalind }, 9).await, [second]);
        let nobody = ConsentFilter { customer_ref: Some("customer Rosalin"), ..all };
        assert_eq!(bed.trail(nobody, 9).await, []);
        assert_eq!(bed.trail(ConsentFilter { connection: Some(two.id), ..nobody }, 9).await, []);
        assert_eq!(bed.trail(ConsentFilter { in_force: Some(true), ..all }, 9).await, [second, third]);
        assert_eq!(bed.trail(ConsentFilter { in_force: Some(false), ..of(one.id) }, 9).await, [first]);
        // Run out, though nobody has noted it yet.
        let ended = ConsentFilter { in_force: Some(false), ..all };
        for (now, count) in [(end().minus(MINUTE), 1), (end(), 3)] {
            let page = bed.store.recorded_consents(bed.business, &ended, None, 9, now).await.unwrap();
            assert_eq!(page.items.len(), count);
        }

        let shown = bed.store.recorded_consent(bed.business, second).await.unwrap().unwrap();
        assert_eq!((shown.institution.as_str(), shown.customer_ref.as_deref()), ("other", Some("customer Rosalind")));
        assert_eq!(shown.consent, bed.store.consent(two.id).await.unwrap().unwrap());
        let other = BusinessId::new();
        assert_eq!(bed.store.recorded_consent(other, second).await.unwrap(), None);
        for filter in [all, of(one.id), rosalind] {
            let page = bed.store.recorded_consents(other, &filter, None, 9, START).await.unwrap();
            assert_eq!(page.items, []);
        }
    }

    async fn of_a_customer_who_left_dates_and_permissions_stay_and_name_and_reference_are_gone(bed) {
        let connection = bed.connection().await;
        let id = bed.store.consent(connection.id).await.unwrap().unwrap().id;
        let show = async || bed.store.recorded_consent(bed.business, id).await.unwrap().unwrap();
        let before = show().await;
        assert_eq!(before.consent.reference.as_deref(), Some("reference of Rosalind"));
        assert!(bed.store.begin_closing(bed.business, connection.id, START).await.unwrap());
        let closing = show().await;
        assert_eq!((closing.customer_ref.as_deref(), closing.consent.reference.as_deref()), (None, None));
        let event = bed.event(connection.id, EventType::ConnectionDeleted);
        assert!(bed.store.delete_connection(bed.business, connection.id, &event, START.plus(HOUR)).await.unwrap());
        let erased = show().await;
        let consent = Consent {
            reference: None, ended_at: Some(START.plus(HOUR)), end_reason: Some("deleted".into()), ..before.consent
        };
        assert_eq!(erased, RecordedConsent { consent, customer_ref: None, ..before });
        assert_eq!(bed.trail(ConsentFilter { connection: Some(connection.id), ..Default::default() }, 9).await, [id]);
        let by_name = ConsentFilter { customer_ref: Some("customer Rosalind"), ..Default::default() };
        assert_eq!(bed.trail(by_name, 9).await, []);
    }

    async fn each_notice_is_told_once_however_many_look(bed) {
        bed.connection().await;
        let endpoint = bed.endpoint(&[]).await;
        for (days, next) in [(14, end().minus(7 * DAY)), (7, end().minus(DAY)), (1, end())] {
            let now = end().minus(days * DAY);
            assert_eq!(bed.store.next_consent_due().await.unwrap(), Some(now));
            assert_eq!(bed.store.due_consents(now.minus(Duration::from_micros(1)), 9).await.unwrap(), []);
            let due = bed.due(now).await;
            assert_eq!((due.business, due.institution.as_str(), due.expires_at), (bed.business, INSTITUTION, end()));
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..4 {
                let (store, due) = (bed.store.clone(), due.clone());
                let event = bed.event(due.connection, EventType::ConsentExpiring);
                tasks.spawn(async move { store.consent_told(&due, &event, next).await.unwrap() });
            }
            assert_eq!(tasks.join_all().await.into_iter().filter(|told| *told).count(), 1);
        }
        assert_eq!(bed.told(&endpoint).await, [EventType::ConsentExpiring; 3]);
        assert_eq!(bed.store.next_consent_due().await.unwrap(), Some(end()));
    }

    async fn a_consent_that_is_replaced_or_ended_or_whose_customer_leaves_tells_nothing(bed) {
        let (now, endpoint) = (end().minus(14 * DAY), bed.endpoint(&[]).await);
        // Replaced, between the look and the note.
        let replaced = bed.connection().await;
        let due = bed.due(now).await;
        let lasting = NewConsent { expires_at: None, ..consent() };
        bed.reauthorise(replaced.id, &[], Some(&lasting), now).await.unwrap();
        assert!(!bed.note_told(&due, now).await);
        assert!(!bed.end(&due, end()).await);
        assert_eq!(bed.store.connection(bed.business, replaced.id).await.unwrap().unwrap().state, ConnectionState::Active);
        // Ended by the bank.
        let (lease, _) = bed.running_at(now).await;
        let event = bed.event(lease.connection, EventType::ReauthorisationRequired);
        bed.store.require_reauthorisation(&lease, "customer-needed", &event, now).await.unwrap();
        assert_eq!(bed.store.due_consents(end(), 9).await.unwrap(), []);
        // The customer leaves; the bank has yet to end it.
        let leaving = bed.connection().await;
        let due = bed.due(now).await;
        assert!(bed.store.begin_closing(bed.business, leaving.id, now).await.unwrap());
        assert!(!bed.note_told(&due, now).await);
        assert!(!bed.end(&due, end()).await);
        assert_eq!(bed.store.due_consents(end(), 9).await.unwrap(), []);
        assert_eq!(bed.store.next_consent_due().await.unwrap(), None);
        assert_eq!(bed.told(&endpoint).await, [EventType::ReauthorisationRequired]);
    }

    async fn the_end_of_a_consent_stops_polling_answers_everybody_and_is_told_once(bed) {
        let (lease, account) = bed.running().await;
        let listed = [bank_account("a1", Some("GB29")), bank_account("a2", None)];
        let [_, quiet] = bed.list(&lease, &listed, START).await.unwrap().try_into().unwrap();
        let endpoint = bed.endpoint(&[]).await;
        // One call waits for the run that is at the bank, another for the next one.
        let Requested::Sync(reading) = bed.store.request_sync(&account, None, START).await.unwrap() else { panic!() };
        bed.store.begin_asking(&lease, account.id).await.unwrap();
        let Requested::Sync(waiting) = bed.store.request_sync(&account, None, START).await.unwrap() else { panic!() };
        bed.store.save_session(&lease, None, Some("state"), true).await.unwrap();

        let due = bed.store.due_consents(end(), 9).await.unwrap().remove(0);
        assert!(!bed.end(&due, end().minus(Duration::from_micros(1))).await, "not before its time");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (store, due) = (bed.store.clone(), due.clone());
            let event = bed.event(due.connection, EventType::ReauthorisationRequired);
            let now = end().plus(MINUTE);
            tasks.spawn(async move { store.end_expired(&due, &event, now).await.unwrap() });
        }
        assert_eq!(tasks.join_all().await.into_iter().filter(|ended| *ended).count(), 1);
        assert_eq!(bed.told(&endpoint).await, [EventType::ReauthorisationRequired]);
        let stopped = bed.store.connection(bed.business, lease.connection).await.unwrap().unwrap();
        assert_eq!(stopped.state, ConnectionState::ReauthorisationRequired);
        assert_eq!((stopped.reason.as_deref(), stopped.session_open), (Some("consent-expired"), false));
        let consent = bed.store.consent(lease.connection).await.unwrap().unwrap();
        assert_eq!((consent.end_reason.as_deref(), consent.ended_at), (Some("expired"), Some(end())), "when it ended, not when it was seen");

        for wanted in [reading, waiting] {
            let Some(FoundSync::Finished(answer)) = bed.store.sync(bed.business, wanted).await.unwrap() else { panic!() };
            assert_eq!((answer.id, answer.code), (waiting, SyncCode::ReauthorisationRequired));
            assert_eq!((answer.reason.as_deref(), answer.bank_asked_at), (Some("consent-expired"), None));
        }
        let Requested::Stopped(Some(last)) = bed.store.request_sync(&quiet, None, end()).await.unwrap() else { panic!() };
        assert_eq!((last.account, last.code, last.trigger), (quiet.id, SyncCode::ReauthorisationRequired, Trigger::Schedule));
        let late = bed.store.complete(&lease, START, START, 0, START).await;
        assert!(matches!(late, Err(StoreError::LeaseLost)));
        assert_eq!(bed.claim_all(end().plus(30 * DAY)).await, []);
        assert_eq!(bed.store.next_consent_due().await.unwrap(), None);
    }

    async fn the_end_of_a_consent_takes_no_lease_from_a_customer_on_the_way_back(bed) {
        let connection = bed.connection().await.id;
        let due = bed.store.due_consents(end(), 9).await.unwrap().remove(0);
        let back = bed.new_authorisation(Some(INSTITUTION), [7; 32]);
        bed.store.authorise_again(connection, &back, end()).await.unwrap().unwrap();
        let lease = bed.claim(end()).await;
        assert!(bed.end(&due, end()).await);
        assert!(bed.claim_all(end()).await.is_empty(), "the run goes on");
        let event = bed.event(connection, EventType::ConnectionAuthorised);
        let new = Authorised { credentials: vec![], valid_until: None, session_state: None, consent: consent() };
        bed.store.authorised(&lease, back.id, &new, &event, end()).await.unwrap();
        let known = bed.store.connection(bed.business, connection).await.unwrap().unwrap();
        assert_eq!((known.state, known.reason), (ConnectionState::Active, None));
    }

    async fn a_consent_without_an_end_is_never_due_and_one_that_ends_soon_only_for_what_is_still_to_come(bed) {
        for (expires_at, due_at) in [(None, None), (Some(START.plus(3 * DAY)), Some(START.plus(2 * DAY)))] {
            let new = NewConnection {
                id: ConnectionId::new(), business: bed.business, institution: INSTITUTION.to_owned(), customer_ref: None,
                credentials: vec![], consent: Some(NewConsent { expires_at, ..consent() }), phase: 0, slot_at: START,
                due_at: START, linking: false,
            };
            bed.store.create_connection(&new, START).await.unwrap();
            assert_eq!(bed.store.next_consent_due().await.unwrap(), due_at);
        }
    }
}
