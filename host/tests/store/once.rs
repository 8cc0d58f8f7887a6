//! What a request with an `Idempotency-Key` made, though its answer was lost.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{Idempotent, NewConnection};

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);

both! {
    async fn a_connection_is_made_once_although_the_process_died_before_it_answered(bed) {
        let begin = async |key: &str, now| {
            bed.store.idempotency_begin(bed.business, key, b"POST", DAY, now).await.unwrap()
        };
        let new = NewConnection {
            id: ConnectionId::new(),
            business: bed.business,
            institution: INSTITUTION.to_owned(),
            customer_ref: None,
            credentials: Vec::new(),
            consent: Some(consent()),
            phase: 7,
            slot_at: START,
            due_at: START,
            linking: false,
        };
        assert_eq!(begin("one", START).await, Idempotent::New);
        bed.store.create_connection_once(&new, Some("one"), START).await.unwrap();
        for now in [START, START.plus(HOUR)] {
            assert_eq!(begin("one", now).await, Idempotent::Made(new.id));
            // A request that failed after it had made something.
            bed.store.idempotency_abandon(bed.business, "one").await.unwrap();
        }
        bed.store.idempotency_finish(bed.business, "one", 201, "{}", Some(new.id)).await.unwrap();
        let answered = Idempotent::Answered { status: 201, body: "{}".to_owned() };
        assert_eq!(begin("one", START.plus(HOUR)).await, answered);

        // What made nothing is free again after a minute, as before.
        assert_eq!(begin("two", START).await, Idempotent::New);
        assert_eq!(begin("two", START).await, Idempotent::InFlight);
        assert_eq!(begin("two", START.plus(2 * MINUTE)).await, Idempotent::New);
    }
}
