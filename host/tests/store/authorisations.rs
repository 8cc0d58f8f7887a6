//! Customers on their way to letting us in.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{NewAuthorisation, NewConnection, StoreError};
use std::collections::BTreeMap;

const LINK: [u8; 32] = [1; 32];
const STATE: [u8; 32] = [2; 32];

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), secret(value))).collect()
}

fn form() -> StandingPrompt {
    StandingPrompt { text: "Your PIN, Rosalind?".to_owned(), ask: StandingAsk::Form(vec!["pin".to_owned()]) }
}

fn prompted(prompt: StandingPrompt, redirect_hash: Option<[u8; 32]>) -> AuthorisationStep {
    let expires_at = START.plus(15 * MINUTE);
    AuthorisationStep::Prompted {
        prompt,
        memory: "[null]".to_owned(),
        redirect_hash,
        reason: None,
        expires_at,
    }
}

fn authorised() -> Authorised {
    Authorised {
        credentials: vec![credential("refresh_token", "rt-of-the-authorisation")],
        valid_until: Some(START.plus(HOUR)),
        session_state: Some("state of the session".to_owned()),
        consent: NewConsent { how: "form".to_owned(), ..consent() },
    }
}

impl Bed {
    pub fn new_authorisation(&self, institution: Option<&str>, link_hash: [u8; 32]) -> NewAuthorisation {
        NewAuthorisation {
            id: AuthorisationId::new(),
            business: self.business,
            institution: institution.map(str::to_owned),
            wishes: Wishes {
                customer_ref: Some("customer Rosalind".to_owned()),
                return_to: Some("https://books.example/back".to_owned()),
                accounts: Some(vec!["GB29".to_owned()]),
                purpose: Some("Rosalind's loan".to_owned()),
                hosted: true,
                customer: None,
            },
            link: secret("token of the link"),
            link_hash,
            expires_at: START.plus(HOUR),
        }
    }

    pub fn linking(&self) -> NewConnection {
        NewConnection {
            id: ConnectionId::new(),
            business: self.business,
            institution: INSTITUTION.to_owned(),
            customer_ref: Some("customer Rosalind".to_owned()),
            credentials: vec![],
            consent: None,
            phase: 77,
            slot_at: START,
            due_at: START,
            linking: true,
        }
    }

    /// A new connection whose connector's turn it is, claimed.
    async fn asking(&self) -> (Lease, Authorisation) {
        let new = self.new_authorisation(Some(INSTITUTION), LINK);
        let begun = self.store.create_authorising(&self.linking(), &new, START).await.unwrap();
        (self.claim(START).await, begun)
    }

    async fn settle(
        &self,
        lease: &Lease,
        id: AuthorisationId,
        step: AuthorisationStep,
        held: &[(&str, &str)],
    ) {
        let event = self.event(lease.connection, EventType::AuthorisationFailed);
        self.store.settle_authorisation(lease, id, &step, &values(held), Some(&event), START).await.unwrap();
        self.store.complete(lease, START.plus(HOUR), START.plus(HOUR), 0, START).await.unwrap();
    }

    async fn known(&self, id: AuthorisationId) -> Authorisation {
        self.store.authorisation(self.business, id).await.unwrap().unwrap()
    }

    /// What is told of a connection whose authorisation failed.
    fn failed(&self) -> impl Fn(ConnectionId, &str) -> NewEvent {
        |connection, institution| {
            assert_eq!(institution, INSTITUTION);
            self.event(connection, EventType::AuthorisationFailed)
        }
    }

    async fn rejections_of(&self, id: ConnectionId) -> i64 {
        self.store.connection(self.business, id).await.unwrap().unwrap().rejections
    }

    async fn state(&self, id: ConnectionId) -> ConnectionState {
        self.store.connection(self.business, id).await.unwrap().unwrap().state
    }
}

both! {
    async fn a_link_waits_for_its_customer_and_becomes_a_connection_once(bed) {
        let new = bed.new_authorisation(None, LINK);
        let made = bed.store.create_link(&new, START).await.unwrap();
        assert_eq!((made.state, made.connection, made.institution.clone()), (AuthorisationState::Choosing, None, None));
        assert_eq!((&made.wishes, made.link.reveal()), (&new.wishes, "token of the link"));
        assert_eq!(bed.store.authorisation_by_link(&LINK).await.unwrap(), Some(made.clone()));
        assert_eq!(bed.store.authorisation_by_link(&STATE).await.unwrap(), None);
        assert_eq!(bed.store.authorisation(BusinessId::new(), new.id).await.unwrap(), None);
        assert!(bed.claim_all(START).await.is_empty());

        let connection = bed.linking();
        let chosen = bed.store.choose(new.id, &connection, None, START.plus(HOUR), START).await.unwrap().unwrap();
        assert_eq!((chosen.state, chosen.connection), (AuthorisationState::Asking, Some(connection.id)));
        assert_eq!((chosen.institution.as_deref(), &chosen.wishes), (Some(INSTITUTION), &new.wishes));
        assert_eq!(bed.store.choose(new.id, &bed.linking(), None, START.plus(HOUR), START).await.unwrap(), None, "once");
        assert_eq!(bed.state(connection.id).await, ConnectionState::Linking);
        let lease = bed.claim(START).await;
        assert_eq!(lease.connection, connection.id);
        let leased = opened(&bed.store, &lease).await.unwrap().connection;
        assert_eq!(leased.attempt, Some((new.id, START)));

        let late = bed.new_authorisation(None, STATE);
        bed.store.create_link(&late, START).await.unwrap();
        let over = START.plus(HOUR);
        assert_eq!(bed.store.choose(late.id, &bed.linking(), None, over.plus(HOUR), over).await.unwrap(), None, "its time is over");
    }

    async fn the_first_browser_has_a_link_and_no_other(bed) {
        let new = bed.new_authorisation(None, LINK);
        bed.store.create_link(&new, START).await.unwrap();
        let (first, second) = ([7; 32], [8; 32]);
        assert!(!bed.store.is_browser_of(new.id, &first).await.unwrap(), "nobody's yet");
        assert!(bed.store.bind_browser(new.id, &first).await.unwrap());
        assert!(bed.store.bind_browser(new.id, &first).await.unwrap(), "again");
        assert!(!bed.store.bind_browser(new.id, &second).await.unwrap());
        assert!(bed.store.is_browser_of(new.id, &first).await.unwrap());
        assert!(!bed.store.is_browser_of(new.id, &second).await.unwrap());
    }

    async fn a_prompt_is_answered_once_and_what_was_kept_comes_back(bed) {
        let (lease, begun) = bed.asking().await;
        let open = bed.store.open_authorisation(&lease, begun.id).await.unwrap().unwrap();
        assert_eq!(open.progress, Progress::default());
        let kept = Progress { memory: String::new(), values: values(&[("csrf", "captured on the way")]) };
        bed.store.save_progress(&lease, begun.id, &kept).await.unwrap();
        let again = bed.store.open_authorisation(&lease, begun.id).await.unwrap().unwrap();
        assert_eq!(again.progress, kept);

        bed.settle(&lease, begun.id, prompted(form(), None), &[("csrf", "captured on the way")]).await;
        let standing = bed.known(begun.id).await;
        assert_eq!((standing.state, standing.prompt), (AuthorisationState::Prompted, Some(form())));
        assert!(bed.claim_all(START.plus(HOUR)).await.is_empty(), "nothing is due while the customer thinks");

        let typed = values(&[("pin", "1234")]);
        assert!(!bed.store.answer_prompt(begun.id, &typed, Some(&STATE), START).await.unwrap(), "no redirect");
        assert!(!bed.store.answer_prompt(begun.id, &typed, None, START.plus(15 * MINUTE)).await.unwrap(), "too late");
        assert!(bed.store.answer_prompt(begun.id, &typed, None, START).await.unwrap());
        assert!(!bed.store.answer_prompt(begun.id, &typed, None, START).await.unwrap(), "once");
        let lease = bed.claim(START).await;
        let open = bed.store.open_authorisation(&lease, begun.id).await.unwrap().unwrap();
        assert_eq!(open.progress.memory, "[null]");
        assert_eq!(open.progress.values, values(&[("csrf", "captured on the way"), ("pin", "1234")]));
    }

    async fn a_redirect_comes_back_once_by_the_hash_of_its_state(bed) {
        let (lease, begun) = bed.asking().await;
        let returned = vec![Returned { parameter: "code".into(), name: "code".into(), required: true }];
        let ask = StandingAsk::Redirect { url: "https://bank.example/authorize".into(), returned };
        let prompt = StandingPrompt { text: "On to your bank.".into(), ask };
        bed.settle(&lease, begun.id, prompted(prompt, Some(STATE)), &[]).await;
        let found = bed.store.authorisation_by_redirect(&STATE).await.unwrap().unwrap();
        assert_eq!(found.id, begun.id);
        assert_eq!(bed.store.authorisation_by_redirect(&LINK).await.unwrap(), None);
        let code = values(&[("code", "c")]);
        assert!(!bed.store.answer_prompt(begun.id, &code, None, START).await.unwrap());
        assert!(!bed.store.answer_prompt(begun.id, &code, Some(&LINK), START).await.unwrap());
        assert!(bed.store.answer_prompt(begun.id, &code, Some(&STATE), START).await.unwrap());
        assert_eq!(bed.store.authorisation_by_redirect(&STATE).await.unwrap(), None, "used");
        assert!(!bed.store.answer_prompt(begun.id, &code, Some(&STATE), START).await.unwrap());
    }

    async fn a_session_that_is_ready_takes_the_place_of_all_that_was_held(bed) {
        let (lease, begun) = bed.asking().await;
        let event = bed.event(lease.connection, EventType::ConnectionAuthorised);
        bed.store.authorised(&lease, begun.id, &authorised(), &event, START).await.unwrap();
        let ready = bed.known(begun.id).await;
        assert_eq!((ready.state, ready.prompt, ready.ended_at), (AuthorisationState::Ready, None, Some(START)));
        let connection = bed.store.connection(bed.business, lease.connection).await.unwrap().unwrap();
        assert_eq!((connection.state, connection.session_open), (ConnectionState::Active, true));
        assert_eq!(connection.session_state.as_deref(), Some("state of the session"));
        let held = bed.store.credentials(lease.connection).await.unwrap();
        assert_eq!(held.iter().map(|known| known.value.reveal()).collect::<Vec<_>>(), ["rt-of-the-authorisation"]);
        let consent = bed.store.consent(lease.connection).await.unwrap().unwrap();
        assert_eq!((consent.how.as_str(), consent.ended_at), ("form", None));
        // The lease went with it, and the connection is due for its first sync.
        assert!(matches!(bed.store.complete(&lease, START, START, 0, START).await, Err(StoreError::LeaseLost)));
        let next = bed.claim(START).await;
        assert!(bed.store.open_authorisation(&next, begun.id).await.unwrap().is_none());
        assert_eq!(bed.store.authorisation_of(lease.connection).await.unwrap().map(|known| known.id), Some(begun.id));
    }

    async fn what_an_active_connection_holds_stays_in_force_until_the_new_session_is_ready(bed) {
        let connection = bed.connection().await;
        let new = bed.new_authorisation(Some(INSTITUTION), LINK);
        let begun = bed.store.authorise_again(connection.id, &new, START).await.unwrap().unwrap();
        assert_eq!(bed.store.authorise_again(ConnectionId::new(), &new, START).await.unwrap(), None);
        let lease = bed.claim(START).await;
        bed.settle(&lease, begun.id, prompted(form(), None), &[]).await;
        assert_eq!(bed.state(connection.id).await, ConnectionState::Active);
        assert_eq!(bed.store.credentials(connection.id).await.unwrap()[0].value.reveal(), "rt-1-secret-of-rosalind");
        // It is still polled.
        assert_eq!(bed.claim_all(START.plus(HOUR)).await.len(), 1);

        let second = bed.new_authorisation(Some(INSTITUTION), STATE);
        bed.store.authorise_again(connection.id, &second, START).await.unwrap().unwrap();
        let given_up = bed.known(begun.id).await;
        assert_eq!((given_up.state, given_up.reason.as_deref()), (AuthorisationState::Failed, Some("superseded")));
        // So does handing in credentials.
        bed.reauthorise(connection.id, &[], Some(&consent()), START).await.unwrap();
        assert_eq!(bed.known(second.id).await.reason.as_deref(), Some("superseded"));
    }

    async fn the_pause_after_a_refusal_ends_when_the_customer_has_let_us_in(bed) {
        let (lease, account) = bed.running().await;
        let until = START.plus(HOUR);
        let mut lease = lease;
        for (refused, link, left) in [(false, LINK, Some(until)), (true, STATE, None)] {
            if refused {
                bed.store.note_rejection(&lease, None, START).await.unwrap();
            }
            bed.store.defer_connection(&lease, until).await.unwrap();
            bed.store.complete(&lease, until, until, 1, START).await.unwrap();
            let new = bed.new_authorisation(Some(INSTITUTION), link);
            bed.store.authorise_again(lease.connection, &new, START).await.unwrap().unwrap();
            lease = bed.claim(START).await;
            let event = bed.event(lease.connection, EventType::ConnectionAuthorised);
            bed.store.authorised(&lease, new.id, &authorised(), &event, START).await.unwrap();
            let head = bed.store.head(account.id).await.unwrap().unwrap();
            assert_eq!((head.next_allowed_at, head.due_at), (left, START), "a limit of the bank's stays");
            lease = bed.claim(START).await;
        }
    }

    async fn a_turn_that_was_given_up_meanwhile_stores_nothing(bed) {
        let connection = bed.connection().await;
        let first = bed.new_authorisation(Some(INSTITUTION), LINK);
        bed.store.authorise_again(connection.id, &first, START).await.unwrap().unwrap();
        let lease = bed.claim(START).await;
        let second = bed.new_authorisation(Some(INSTITUTION), STATE);
        bed.store.authorise_again(connection.id, &second, START).await.unwrap().unwrap();
        let event = bed.event(connection.id, EventType::ConnectionAuthorised);
        let results = [
            bed.store.save_progress(&lease, first.id, &Progress::default()).await.err(),
            bed.store.settle_authorisation(&lease, first.id, &prompted(form(), None), &values(&[]), None, START).await.err(),
            bed.store.authorised(&lease, first.id, &authorised(), &event, START).await.err(),
        ];
        for error in results {
            assert!(matches!(error, Some(StoreError::LeaseLost)), "{error:?}");
        }
        assert_eq!(bed.store.credentials(connection.id).await.unwrap()[0].value.reveal(), "rt-1-secret-of-rosalind");
        // The run that was on ends, and the second one's turn comes at once.
        bed.store.complete(&lease, START.plus(HOUR), START.plus(HOUR), 0, START).await.unwrap();
        let lease = bed.claim(START).await;
        assert!(bed.store.open_authorisation(&lease, second.id).await.unwrap().is_some());
    }

    async fn a_connector_that_waits_is_asked_again_when_it_said(bed) {
        let (lease, begun) = bed.asking().await;
        let prompt = StandingPrompt { text: "Look at your app.".into(), ask: StandingAsk::Wait };
        let at = START.plus(MINUTE);
        let step = AuthorisationStep::Waiting { prompt: prompt.clone(), memory: "[1]".into(), at };
        bed.settle(&lease, begun.id, step, &[("device", "d")]).await;
        let waiting = bed.known(begun.id).await;
        assert_eq!((waiting.state, waiting.prompt), (AuthorisationState::Asking, Some(prompt)));
        assert!(bed.claim_all(START).await.is_empty());
        let lease = bed.claim(at).await;
        let open = bed.store.open_authorisation(&lease, begun.id).await.unwrap().unwrap();
        assert_eq!((open.progress.memory.as_str(), open.progress.values), ("[1]", values(&[("device", "d")])));
    }

    async fn an_authorisation_that_failed_is_told_once_and_its_connection_rests(bed) {
        bed.endpoint(&[]).await;
        let (lease, begun) = bed.asking().await;
        bed.settle(&lease, begun.id, AuthorisationStep::Failed { reason: "bank-unavailable".into() }, &[]).await;
        let failed = bed.known(begun.id).await;
        assert_eq!((failed.state, failed.reason.as_deref()), (AuthorisationState::Failed, Some("bank-unavailable")));
        let connection = bed.store.connection(bed.business, lease.connection).await.unwrap().unwrap();
        assert_eq!((connection.state, connection.reason.as_deref()), (ConnectionState::Linking, Some("bank-unavailable")));
        assert!(bed.claim_all(START.plus(HOUR)).await.is_empty());
        assert!(!bed.store.fail_authorisation(begun.id, "expired", &bed.failed(), START).await.unwrap(), "over");

        // The customer says no while the prompt stands.
        let again = bed.new_authorisation(Some(INSTITUTION), STATE);
        bed.store.authorise_again(lease.connection, &again, START).await.unwrap().unwrap();
        let lease = bed.claim(START).await;
        bed.settle(&lease, again.id, prompted(form(), None), &[]).await;
        assert!(bed.store.fail_authorisation(again.id, "customer-refused", &bed.failed(), START).await.unwrap());
        assert!(!bed.store.answer_prompt(again.id, &values(&[("pin", "1")]), None, START).await.unwrap());
        assert_eq!(bed.known(again.id).await.reason.as_deref(), Some("customer-refused"));
    }

    async fn only_the_accounts_that_were_wished_for_are_kept(bed) {
        let (lease, begun) = bed.asking().await;
        let event = bed.event(lease.connection, EventType::ConnectionAuthorised);
        bed.store.authorised(&lease, begun.id, &authorised(), &event, START).await.unwrap();
        let lease = bed.claim(START).await;
        let listed = [bank_account("a1", Some("gb 29")), bank_account("a2", Some("GB30")), bank_account("a3", None)];
        let event = |kind, _, _| bed.event(lease.connection, kind);
        let wanted = begun.wishes.accounts.as_deref();
        let states = async |wanted| {
            let accounts = bed.store.record_accounts(&lease, &listed, wanted, &event, START).await.unwrap();
            accounts.iter().map(|account| account.state).collect::<Vec<_>>()
        };
        use AccountState::*;
        assert_eq!(states(wanted).await, [Active, Excluded, Excluded]);
        // Asked for once: what was switched on and off since then stays.
        assert_eq!(states(Some(&["GB30".to_owned()])).await, [Active, Excluded, Excluded]);
    }

    async fn what_nobody_goes_on_with_is_overdue_and_then_abandoned(bed) {
        let (lease, begun) = bed.asking().await;
        bed.settle(&lease, begun.id, prompted(form(), None), &[]).await;
        assert!(bed.store.overdue_authorisations(START).await.unwrap().is_empty());
        assert!(bed.store.abandoned(START).await.unwrap().is_empty(), "somebody is on the way");
        let overdue = bed.store.overdue_authorisations(START.plus(15 * MINUTE)).await.unwrap();
        assert_eq!(overdue.iter().map(|late| late.id).collect::<Vec<_>>(), [begun.id]);
        assert!(bed.store.expire_authorisation(begun.id, &bed.failed(), START.plus(15 * MINUTE)).await.unwrap());
        assert!(bed.store.overdue_authorisations(START.plus(HOUR)).await.unwrap().is_empty());
        assert!(bed.store.abandoned(START.minus(MINUTE)).await.unwrap().is_empty(), "too young");
        let abandoned = bed.store.abandoned(START).await.unwrap();
        assert_eq!(abandoned.iter().map(|left| left.id).collect::<Vec<_>>(), [lease.connection]);

        let event = bed.event(lease.connection, EventType::ConnectionDeleted);
        assert!(!bed.store.delete_abandoned(&abandoned[0], START.minus(MINUTE), &event, START).await.unwrap());
        assert!(bed.store.delete_abandoned(&abandoned[0], START, &event, START).await.unwrap());
        assert!(!bed.store.delete_abandoned(&abandoned[0], START, &event, START).await.unwrap(), "once");
        assert_eq!(bed.store.authorisation(bed.business, begun.id).await.unwrap(), None, "erased with it");
    }

    async fn whoever_comes_back_at_the_last_moment_is_neither_expired_nor_erased(bed) {
        let (lease, begun) = bed.asking().await;
        bed.settle(&lease, begun.id, prompted(form(), None), &[]).await;
        let late = START.plus(15 * MINUTE);
        assert_eq!(bed.store.overdue_authorisations(late).await.unwrap().len(), 1);
        let last = Timestamp(late.0 - 1);
        assert!(bed.store.answer_prompt(begun.id, &values(&[("pin", "1234")]), None, last).await.unwrap());
        assert!(!bed.store.expire_authorisation(begun.id, &bed.failed(), late).await.unwrap(), "looked up before");
        assert_eq!(bed.known(begun.id).await.state, AuthorisationState::Asking);

        assert!(bed.store.fail_authorisation(begun.id, "unreachable", &bed.failed(), late).await.unwrap());
        let left = bed.store.abandoned(late).await.unwrap().remove(0);
        let again = bed.new_authorisation(Some(INSTITUTION), STATE);
        bed.store.authorise_again(lease.connection, &again, late).await.unwrap().unwrap();
        let event = bed.event(lease.connection, EventType::ConnectionDeleted);
        assert!(!bed.store.delete_abandoned(&left, late, &event, late).await.unwrap(), "looked up before");
        let lease = bed.claim(late).await;
        let event = bed.event(lease.connection, EventType::ConnectionAuthorised);
        bed.store.authorised(&lease, again.id, &authorised(), &event, late).await.unwrap();
        assert!(!bed.store.delete_abandoned(&left, late, &event, late).await.unwrap(), "in");
        assert_eq!(bed.state(left.id).await, ConnectionState::Active);
    }

    async fn a_link_that_is_given_up_while_its_bank_is_chosen_leaves_no_turn_behind(bed) {
        let endpoint = bed.endpoint(&[]).await;
        for round in 0..40 {
            let new = bed.new_authorisation(None, [round; 32]);
            bed.store.create_link(&new, START).await.unwrap();
            let connection = bed.linking();
            let (store, chosen) = (bed.store.clone(), connection.clone());
            let chooses = tokio::spawn(async move { store.choose(new.id, &chosen, None, START.plus(HOUR), START).await });
            let given_up = bed.store.fail_authorisation(new.id, "customer-declined", &bed.failed(), START).await.unwrap();
            let chosen = chooses.await.unwrap().unwrap();
            assert!(given_up, "it was open all the while");
            if chosen.is_some() {
                let made = bed.store.connection(bed.business, connection.id).await.unwrap().unwrap();
                assert_eq!((made.attempt, made.reason.as_deref()), (None, Some("customer-declined")), "round {round}");
                let told = bed.store.deliveries(endpoint.id, None, 99).await.unwrap().items.len();
                assert!(bed.claim_all(START).await.is_empty() && told > 0, "round {round}");
            }
        }
    }

    async fn an_answer_that_nobody_noted_the_end_of_counts_as_refused(bed) {
        let (lease, begun) = bed.asking().await;
        bed.settle(&lease, begun.id, prompted(form(), None), &[]).await;
        let answered = async |id, now| {
            assert!(bed.store.answer_prompt(id, &values(&[("pin", "1234")]), None, now).await.unwrap());
            let lease = bed.claim(now).await;
            let open = bed.store.open_authorisation(&lease, id).await.unwrap().unwrap();
            assert!(!open.answering, "nothing has left");
            let series = bed.store.count_login(&lease, Some(id), START).await.unwrap().unwrap();
            (lease, series)
        };
        // Something else than yes or no: the form stands again.
        let (lease, series) = answered(begun.id, START).await;
        assert_eq!(bed.rejections_of(lease.connection).await, 1, "counted before it leaves");
        bed.store.uncount_login(&lease, series).await.unwrap();
        bed.settle(&lease, begun.id, prompted(form(), None), &[]).await;
        // The next one's process dies, and the lease runs out.
        let (dead, series) = answered(begun.id, START).await;
        let lease = bed.claim(dead.until).await;
        let late = bed.store.count_login(&dead, Some(begun.id), START).await;
        assert!(matches!(late, Err(StoreError::LeaseLost)));
        assert!(matches!(bed.store.uncount_login(&dead, series).await, Err(StoreError::LeaseLost)));
        let open = bed.store.open_authorisation(&lease, begun.id).await.unwrap().unwrap();
        assert!(open.answering, "sent already");
        assert_eq!(bed.rejections_of(lease.connection).await, 1);
        assert!(bed.store.fail_authorisation(begun.id, "interrupted", &bed.failed(), START).await.unwrap());
        assert_eq!(bed.rejections_of(lease.connection).await, 1);
        let late = bed.store.count_login(&lease, Some(begun.id), START).await;
        assert!(matches!(late, Err(StoreError::LeaseLost)), "over");
        assert_eq!(bed.rejections_of(lease.connection).await, 1, "and not counted");
        bed.store.complete(&lease, dead.until, dead.until, 0, dead.until).await.unwrap();

        // A customer who begins again before the lease of the dead one has run out is the same.
        let again = bed.new_authorisation(Some(INSTITUTION), [8; 32]);
        bed.store.authorise_again(lease.connection, &again, START).await.unwrap().unwrap();
        let lease = bed.claim(START).await;
        bed.settle(&lease, again.id, prompted(form(), None), &[]).await;
        answered(again.id, START).await;
        let third = bed.new_authorisation(Some(INSTITUTION), [9; 32]);
        bed.store.authorise_again(lease.connection, &third, START).await.unwrap().unwrap();
        assert_eq!(bed.rejections_of(lease.connection).await, 2);
    }

    async fn a_turn_that_is_over_is_dropped_and_one_that_stands_is_not(bed) {
        let new = bed.new_authorisation(Some(INSTITUTION), LINK);
        bed.store.create_authorising(&bed.linking(), &new, START).await.unwrap();
        let lease = bed.claim(START).await;
        bed.store.drop_attempt(&lease, new.id).await.unwrap();
        let attempt = async || bed.store.connection(bed.business, lease.connection).await.unwrap().unwrap().attempt;
        assert_eq!(attempt().await, Some((new.id, START)), "it is the connector's turn");
        bed.store.settle_authorisation(&lease, new.id, &prompted(form(), None), &BTreeMap::new(), None, START).await.unwrap();
        bed.store.drop_attempt(&lease, new.id).await.unwrap();
        assert_eq!(attempt().await, None);
    }

    async fn an_answer_that_came_in_time_is_not_over_while_the_bank_is_asked(bed) {
        let new = bed.new_authorisation(Some(INSTITUTION), LINK);
        bed.store.create_authorising(&bed.linking(), &new, START).await.unwrap();
        let lease = bed.claim(START).await;
        bed.store.settle_authorisation(&lease, new.id, &prompted(form(), None), &BTreeMap::new(), None, START).await.unwrap();
        let last = Timestamp(START.plus(15 * MINUTE).0 - 1);
        assert!(bed.store.answer_prompt(new.id, &values(&[("pin", "1234")]), None, last).await.unwrap());
        assert!(bed.store.overdue_authorisations(START.plus(29 * MINUTE)).await.unwrap().is_empty());
    }

    async fn whoever_leaves_on_the_way_in_is_not_told_of_it_and_the_closing_goes_on(bed) {
        let new = bed.new_authorisation(Some(INSTITUTION), LINK);
        bed.store.create_authorising(&bed.linking(), &new, START).await.unwrap();
        let lease = bed.claim(START).await;
        bed.store.settle_authorisation(&lease, new.id, &prompted(form(), None), &BTreeMap::new(), None, START).await.unwrap();
        assert!(bed.store.begin_closing(bed.business, lease.connection, START).await.unwrap());
        let open = bed.store.authorisation(bed.business, new.id).await.unwrap().unwrap();
        assert_eq!((open.state, open.reason.as_deref()), (AuthorisationState::Failed, Some("superseded")));
        assert!(!bed.store.fail_authorisation(new.id, "expired", &bed.failed(), START).await.unwrap());
        assert_eq!(bed.claim(START).await.connection, lease.connection, "it is due to be closed");
    }

    async fn of_logins_at_the_same_moment_no_more_leave_than_may_be_refused(bed) {
        let mut leases = Vec::new();
        for _ in 0..5 {
            bed.connection().await;
            leases.push(bed.claim(START).await);
        }
        let count = async |one: usize| bed.store.count_login(&leases[one], None, START).await.unwrap();
        let (a, b, c, d, e) = tokio::join!(count(0), count(1), count(2), count(3), count(4));
        let left: Vec<_> = leases.iter().zip([a, b, c, d, e]).filter_map(|(lease, series)| series.map(|series| (lease, series))).collect();
        assert_eq!((left.len(), left[0].1), (2, left[1].1));
        let ((first, series), (second, _)) = (left[0], left[1]);
        let last = &leases[4];
        assert_eq!(bed.store.count_login(last, None, START).await.unwrap(), None);
        // Of one nothing has left: another may.
        bed.store.uncount_login(first, series).await.unwrap();
        assert_eq!(bed.store.count_login(last, None, START).await.unwrap(), Some(series));
        // The refusal of one that was counted when it left is not another.
        assert_eq!(bed.store.note_typed_rejection(last, Some(series), START).await.unwrap(), 2);
        bed.store.note_rejection(last, Some(series), START).await.unwrap();
        assert_eq!(bed.rejections_of(last.connection).await, 2);

        // The customer is let in by one; what comes of the others then is of a series that is over.
        bed.store.clear_logins(first).await.unwrap();
        bed.store.uncount_login(second, series).await.unwrap();
        assert_eq!(bed.rejections_of(second.connection).await, 0);
        let anew = bed.store.count_login(first, None, START).await.unwrap().unwrap();
        assert_ne!(anew, series);
        bed.store.uncount_login(second, series).await.unwrap();
        assert_eq!(bed.rejections_of(second.connection).await, 1, "that was not the one that is under way");
        assert_eq!(bed.store.note_typed_rejection(second, Some(series), START).await.unwrap(), 2, "after the customer was let in");
    }

    async fn refusals_are_counted_per_customer_until_a_login_or_the_customers_word(bed) {
        let count = async || bed.store.rejections(bed.business, "customer Rosalind", INSTITUTION).await.unwrap();
        let connection = bed.connection().await;
        let lease = bed.claim(START).await;
        assert_eq!(count().await, 0);
        for expected in 1..=2 {
            assert_eq!(bed.store.note_typed_rejection(&lease, None, START).await.unwrap(), expected);
            assert_eq!(bed.rejections_of(connection.id).await, expected);
            assert_eq!(count().await, expected);
        }
        assert_eq!(bed.store.rejections(bed.business, "customer Orlando", INSTITUTION).await.unwrap(), 0);
        // Fresh credentials do not set the bank's own counter back; the customer does.
        bed.reauthorise(connection.id, &[], Some(&consent()), START).await.unwrap();
        assert_eq!(count().await, 2);
        bed.store.forgive_rejections(connection.id).await.unwrap();
        assert_eq!(count().await, 0);
        let lease = bed.claim(START).await;
        bed.store.note_rejection(&lease, None, START).await.unwrap();
        bed.store.forgive_customer(bed.business, "customer Rosalind", INSTITUTION).await.unwrap();
        assert_eq!(count().await, 0);
        bed.store.note_rejection(&lease, None, START).await.unwrap();
        bed.store.save_session(&lease, None, None, false).await.unwrap();
        assert_eq!(count().await, 1, "a token proves nothing about the password");
        bed.store.save_session(&lease, None, None, true).await.unwrap();
        assert_eq!(count().await, 0);
        bed.store.note_rejection(&lease, None, START).await.unwrap();
        bed.store.note_typed_rejection(&lease, None, START).await.unwrap();
        for _ in 0..2 {
            bed.store.void_rejections(INSTITUTION, START).await.unwrap();
            assert_eq!(count().await, 1, "the bank's own fault; what was typed still counts");
        }
        // On another connection of theirs, it is the same customer, for better or worse.
        let other = bed.connection().await.id;
        let second = bed.claim(START).await;
        assert_eq!((second.connection, bed.store.note_typed_rejection(&second, None, START).await.unwrap()), (other, 2));
        bed.store.save_session(&lease, None, None, true).await.unwrap();
        assert_eq!(count().await, 0);
    }

    async fn refusals_outlive_the_connection_and_are_swept_when_no_login_has_followed_for_a_quarter_of_a_year(bed) {
        let connection = bed.connection().await;
        let lease = bed.claim(START).await;
        for _ in 0..2 {
            bed.store.note_typed_rejection(&lease, None, START).await.unwrap();
        }
        let event = bed.event(connection.id, EventType::ConnectionDeleted);
        assert!(bed.store.begin_closing(bed.business, connection.id, START).await.unwrap());
        assert!(bed.store.delete_connection(bed.business, connection.id, &event, START).await.unwrap());
        let count = async || bed.store.rejections(bed.business, "customer Rosalind", INSTITUTION).await.unwrap();
        assert_eq!(count().await, 2);
        assert_eq!(bed.connection().await.rejections, 2, "linked anew");
        assert_eq!(bed.connection_at("other", START).await.rejections, 0);
        let stranger = NewConnection { customer_ref: None, consent: Some(consent()), linking: false, ..bed.linking() };
        assert_eq!(bed.store.create_connection(&stranger, START).await.unwrap().rejections, 0);

        let kept = Retention::of_all(1000 * 24 * HOUR);
        let (early, late) = (START.plus(89 * 24 * HOUR), START.plus(90 * 24 * HOUR));
        assert_eq!(bed.store.sweep(&kept, early).await.unwrap().rows, []);
        assert_eq!(bed.store.sweep(&kept, late).await.unwrap().rows, [("rejection", 1)]);
        assert_eq!(count().await, 0);
    }

    async fn a_connection_without_a_customer_reference_has_its_own_refusals_which_go_with_it(bed) {
        let nameless = NewConnection { customer_ref: None, consent: Some(consent()), linking: false, ..bed.linking() };
        let connection = bed.store.create_connection(&nameless, START).await.unwrap();
        let lease = bed.claim(START).await;
        assert_eq!(bed.store.note_typed_rejection(&lease, None, START).await.unwrap(), 1);
        let other = bed.store.create_connection(&NewConnection { id: ConnectionId::new(), ..nameless }, START).await;
        assert_eq!((bed.rejections_of(connection.id).await, other.unwrap().rejections), (1, 0));
        let event = bed.event(connection.id, EventType::ConnectionDeleted);
        assert!(bed.store.delete_connection(bed.business, connection.id, &event, START).await.unwrap());
        assert_eq!(bed.rejections_of(connection.id).await, 0);
    }
}
