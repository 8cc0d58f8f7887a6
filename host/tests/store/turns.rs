//! Connections of one customer take turns at banks that let them have one session at a time.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::NewConnection;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

impl Bed {
    /// Two connections of a customer, claimed; an empty name is no reference.
    async fn leased_of(&self, customer: &str) -> [Lease; 2] {
        let customer_ref = Some(customer.to_owned()).filter(|name| !name.is_empty());
        let mut made = Vec::new();
        for _ in 0..2 {
            let new = NewConnection {
                customer_ref: customer_ref.clone(),
                credentials: vec![],
                consent: Some(consent()),
                linking: false,
                ..self.linking()
            };
            made.push(self.store.create_connection(&new, START).await.unwrap().id);
        }
        let mut leases = self.claim_all(START).await;
        let mut of = |id: ConnectionId| {
            let place = leases.iter().position(|lease| lease.connection == id).unwrap();
            leases.remove(place)
        };
        [of(made[0]), of(made[1])]
    }
}

both! {
    async fn connections_of_one_customer_take_turns(bed) {
        let [first, second] = bed.leased_of("customer Rosalind").await;
        let [other, _] = bed.leased_of("customer Celia").await;
        assert!(bed.store.take_turn_of_customer(&first, START).await.unwrap());
        assert!(bed.store.take_turn_of_customer(&first, START).await.unwrap(), "it has it already");
        assert!(bed.store.take_turn_of_customer(&other, START).await.unwrap(), "another customer");
        assert!(!bed.store.take_turn_of_customer(&second, START).await.unwrap());
        bed.store.release(&second, START.plus(SECOND)).await.unwrap();
        assert!(bed.claim_all(START).await.is_empty());
        let second = bed.claim(START.plus(SECOND)).await;
        assert!(!bed.store.take_turn_of_customer(&second, START.plus(SECOND)).await.unwrap());

        bed.store.end_turn_of_customer(&first).await.unwrap();
        assert!(bed.store.take_turn_of_customer(&second, START.plus(SECOND)).await.unwrap());
        // What comes late ends nobody else's turn.
        bed.store.end_turn_of_customer(&first).await.unwrap();
        assert!(!bed.store.take_turn_of_customer(&first, START.plus(SECOND)).await.unwrap());
    }

    async fn a_turn_ends_with_the_lease_of_a_process_that_died(bed) {
        let [first, second] = bed.leased_of("customer Rosalind").await;
        assert!(bed.store.take_turn_of_customer(&first, START).await.unwrap());
        assert!(!bed.store.take_turn_of_customer(&second, Timestamp(first.until.0 - 1)).await.unwrap());
        assert!(bed.store.take_turn_of_customer(&second, first.until).await.unwrap());
    }

    async fn a_turn_lasts_while_the_customer_is_asked(bed) {
        let [first, second] = bed.leased_of("customer Rosalind").await;
        assert!(bed.store.take_turn_of_customer(&first, START).await.unwrap());
        let asks = bed.new_authorisation(Some(INSTITUTION), [9; 32]);
        bed.store.authorise_again(first.connection, &asks, START).await.unwrap().unwrap();
        bed.store.end_turn_of_customer(&first).await.unwrap();
        assert!(!bed.store.take_turn_of_customer(&second, first.until).await.unwrap());
        assert!(bed.store.take_turn_of_customer(&second, asks.expires_at).await.unwrap());

        // Asked here, the customer comes in there: no poll, but the customer.
        bed.store.take_turn_of_customer(&first, asks.expires_at).await.unwrap();
        bed.store.end_turn_of_customer(&second).await.unwrap();
        assert!(bed.store.take_turn_of_customer(&first, START).await.unwrap());
        bed.store.end_turn_of_customer(&first).await.unwrap();
        assert!(!bed.store.take_turn_of_customer(&second, START).await.unwrap());
        let comes = bed.new_authorisation(Some(INSTITUTION), [8; 32]);
        bed.store.authorise_again(second.connection, &comes, START).await.unwrap().unwrap();
        assert!(bed.store.take_turn_of_customer(&second, START).await.unwrap());
    }

    async fn a_connection_without_a_customer_has_nobody_to_wait_for(bed) {
        let [first, second] = bed.leased_of("").await;
        for lease in [first, second] {
            assert!(bed.store.take_turn_of_customer(&lease, START).await.unwrap());
            bed.store.end_turn_of_customer(&lease).await.unwrap();
        }
    }
}
