//! Links for customers who have still to choose: who may see them, and what begins when they agree.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{NewAuthorisation, NewConnection};

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

fn link(bed: &Bed, hash: u8) -> NewAuthorisation {
    NewAuthorisation {
        id: AuthorisationId::new(),
        business: bed.business,
        institution: None,
        wishes: Wishes { return_to: Some("https://shop.example/back".to_owned()), ..Wishes::default() },
        link: Secret::new("the-link"),
        link_hash: [hash; 32],
        expires_at: START.plus(DAY),
    }
}

fn connection(bed: &Bed) -> NewConnection {
    let id = ConnectionId::new();
    NewConnection {
        id,
        business: bed.business,
        institution: INSTITUTION.to_owned(),
        customer_ref: None,
        credentials: vec![],
        consent: None,
        phase: id.phase(),
        slot_at: START,
        due_at: START,
        linking: true,
    }
}

both! {
    async fn a_link_is_seen_by_all_until_a_browser_acts_and_then_by_that_one(bed) {
        let made = bed.store.create_link(&link(&bed, 1), START).await.unwrap();
        let (first, second) = ([10; 32], [20; 32]);
        for browser in [&first, &second] {
            assert!(bed.store.is_open_to(made.id, browser).await.unwrap());
            assert!(!bed.store.is_browser_of(made.id, browser).await.unwrap());
        }
        assert!(bed.store.bind_browser(made.id, &first).await.unwrap());
        assert!(bed.store.bind_browser(made.id, &first).await.unwrap());
        assert!(!bed.store.bind_browser(made.id, &second).await.unwrap());
        assert!(bed.store.is_open_to(made.id, &first).await.unwrap());
        assert!(!bed.store.is_open_to(made.id, &second).await.unwrap());
        assert!(!bed.store.is_open_to(AuthorisationId::new(), &first).await.unwrap());
    }

    async fn who_agrees_in_the_last_moment_still_has_time_to_go_on(bed) {
        let made = bed.store.create_link(&link(&bed, 1), START).await.unwrap();
        assert_eq!((made.state, made.expires_at), (AuthorisationState::Choosing, START.plus(DAY)));
        let (new, late) = (connection(&bed), Timestamp(START.plus(DAY).0 - 1));
        let here = CustomerPresent { ip: "9.9.9.9".parse().unwrap(), user_agent: None };
        let begun = bed.store.choose(made.id, &new, Some(&here), late.plus(HOUR), late).await.unwrap().unwrap();
        assert_eq!((begun.state, begun.connection), (AuthorisationState::Asking, Some(new.id)));
        assert_eq!((begun.expires_at, begun.wishes), (late.plus(HOUR), Wishes { customer: Some(here), ..made.wishes }));
        assert!(bed.store.overdue_authorisations(START.plus(DAY)).await.unwrap().is_empty());
        let lease = bed.claim(late).await;
        assert_eq!(lease.connection, new.id);
        assert!(bed.store.open_authorisation(&lease, made.id).await.unwrap().is_some());

        let again = bed.store.choose(made.id, &connection(&bed), None, late.plus(HOUR), late).await.unwrap();
        assert_eq!(again, None, "somebody was faster");
        let other = bed.store.create_link(&link(&bed, 2), START).await.unwrap();
        let over = bed.store.choose(other.id, &connection(&bed), None, late.plus(HOUR), START.plus(DAY)).await.unwrap();
        assert_eq!(over, None, "too late");
        let found = bed.store.authorisation_by_link(&[2; 32]).await.unwrap().unwrap();
        assert_eq!((found.id, found.state), (other.id, AuthorisationState::Choosing));
    }
}
