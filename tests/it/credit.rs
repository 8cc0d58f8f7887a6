//! Credit that a bank counts in its balances: known, it is taken off before a balance proves anything; unknown, it
//! proves nothing.

use crate::linked::Scene;
use serde_json::{Value, json};
use tests::bank::NewEntry;
use tests::world::WorldConfig;

/// Amount, credit and kind of each balance as the API shows them.
fn shown(balances: &Value) -> Vec<(&str, &Value)> {
    let items = balances.as_array().unwrap();
    items.iter().map(|balance| (balance["amount"].as_str().unwrap(), &balance["credit_included"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_that_counts_an_overdraft_proves_the_rows_without_it() {
    let Scene { world, linked, .. } = Scene::new(WorldConfig::default(), 0).await;
    let everyday = linked.everyday();
    world.bank.book(everyday, NewEntry::transfer("120.00", "WAGES")).unwrap();
    assert_eq!(linked.good_sync(everyday).await["proof"], "proved");

    // The bank counts it in, then raises it: no row says so.
    for (credit, amount) in [("500.00", "619.00"), ("800.00", "918.00")] {
        world.bank.count_credit(everyday, Some(credit)).unwrap();
        world.bank.book(everyday, NewEntry::transfer("-1.00", "FEE")).unwrap();
        let sync = linked.good_sync(everyday).await;
        assert_eq!((&sync["added"], &sync["proof"]), (&json!(1), &json!("proved")), "{sync}");
        let (_, balances) = linked.ledger(everyday).await;
        assert_eq!(shown(&balances), [(amount, &json!(credit)); 2], "as the bank gave it: {balances}");
        linked.assert_like_the_bank(&world.bank, everyday).await;
    }

    // Raised again and nothing else: that is news, and no transaction.
    world.bank.count_credit(everyday, Some("900.00")).unwrap();
    let sync = linked.good_sync(everyday).await;
    assert_eq!(
        (&sync["has_new_data"], &sync["added"], &sync["proof"]),
        (&json!(true), &json!(0), &json!("proved")),
        "{sync}"
    );
    world.bank.count_credit(everyday, None).unwrap();
    assert_eq!(linked.good_sync(everyday).await["proof"], "proved");
    linked.assert_like_the_bank(&world.bank, everyday).await;
}
