//! The promise is freshness: where it is broken, the business is told, and who must act.

use crate::linked::{Scene, event, told, until};
use serde_json::{Value, json};
use std::time::Duration;
use tests::bank::{Fault, PathKind};
use tests::http::expect;
use tests::world::{DEMO_BANK, World, WorldConfig};

const HOUR: Duration = Duration::from_secs(3600);
/// Counted anew after that.
const COUNTED_EVERY: Duration = Duration::from_secs(31);

async fn health(world: &World) -> Value {
    world.advance(COUNTED_EVERY);
    let answer = world.api.get(&format!("/v1/institutions/{DEMO_BANK}/health")).await.unwrap();
    expect(&answer, 200).unwrap();
    answer.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_is_down_makes_accounts_stale_and_everybody_is_told_whose_fault_it_is() {
    let Scene { world, linked, endpoint, .. } = Scene::new(WorldConfig::default(), 3).await;
    let everyday = linked.everyday().to_owned();
    linked.good_sync(&everyday).await;
    linked.good_sync(linked.savings()).await;
    let well = health(&world).await;
    assert_eq!(
        (&well["status"], &well["fault"], &well["since"]),
        (&json!("healthy"), &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&well["accounts"], &well["failing_accounts"], &well["stale_accounts"]),
        (&json!(2), &json!(0), &json!(0))
    );
    assert!(well["age"]["p99_s"].as_i64().unwrap() < 600, "{well}");
    let fresh_at = linked.account(&everyday).await["fresh_at"].clone();

    let skip = world.sink.received().len();
    world.bank.fault(PathKind::Transactions, Fault::Status { status: 503, retry_after: None }, 100_000);
    world.advance(HOUR);
    event(&world, "sync.failed", linked.ours(&everyday), skip).await;
    assert_eq!(
        linked.account(&everyday).await["stale"],
        false,
        "it is late, and within the hour that it may be"
    );
    assert_eq!(told(&world.api, &endpoint, "account.stale").await, 0);
    world.advance(HOUR);
    let stale = event(&world, "account.stale", linked.ours(&everyday), skip).await;
    let data = &stale["data"];
    assert_eq!((&data["reason"], &data["institution_id"]), (&json!("bank-unavailable"), &json!(DEMO_BANK)));
    assert_eq!(data["fresh_at"], fresh_at);
    assert!(data["failures"].as_i64().unwrap() > 0, "{data}");
    assert_eq!(linked.account(&everyday).await["stale"], true);
    event(&world, "account.stale", linked.ours(linked.savings()), skip).await;

    let ill = health(&world).await;
    assert_eq!(
        (&ill["status"], &ill["fault"], &ill["reason"]),
        (&json!("down"), &json!("bank"), &json!("bank-unavailable"))
    );
    assert_eq!((&ill["failing_accounts"], &ill["stale_accounts"]), (&json!(2), &json!(2)));
    assert_eq!(ill["since"], ill["last_success_at"]);

    // Once, however long it lasts.
    let failures = linked.account(&everyday).await["failures"].as_i64().unwrap();
    world.advance(2 * HOUR);
    until("one more failure", async || {
        (linked.account(&everyday).await["failures"].as_i64().unwrap() > failures).then_some(())
    })
    .await;
    assert_eq!(told(&world.api, &endpoint, "account.stale").await, 2);

    world.bank.clear_faults();
    for account in [&everyday, linked.savings()] {
        world.advance(HOUR); // whatever the bank's failures made it wait for
        linked.good_sync(account).await;
        assert_eq!(linked.account(account).await["stale"], false);
    }
    linked.good_sync(&everyday).await;
    let well = health(&world).await;
    assert_eq!((&well["status"], &well["stale_accounts"]), (&json!("healthy"), &json!(0)));

    // And anew, where it happens again.
    world.bank.fault(PathKind::Transactions, Fault::Status { status: 503, retry_after: None }, 100_000);
    world.advance(3 * HOUR);
    until("told again", async || (told(&world.api, &endpoint, "account.stale").await == 4).then_some(()))
        .await;
}
