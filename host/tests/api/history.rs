//! Transactions and changes.

use super::world::{World, entry};
use host::model::{NewChange, Transaction, TransactionStatus};
use serde_json::{Value, json};

fn texts(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn changes_are_read_to_their_end_and_on_from_there() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let connection = world.connection(&tenant, "customer").await;
    let lease = world.lease(connection).await;
    let account = world.account(&lease, "bank-1").await.id;
    let path = format!("/v1/accounts/{account}/changes");
    let empty = world.get(&tenant, &path).await.is(200);
    assert_eq!((&empty["items"], &empty["has_more"]), (&json!([]), &json!(false)));

    let (coffee, rent) = (entry(-320, "Coffee", 1), entry(-90_000, "Rent", 2));
    world
        .run(&lease, account, vec![NewChange::added(coffee.clone()), NewChange::added(rent.clone())], |_| {})
        .await;
    let first = format!("{path}?limit=1&cursor={}", empty["next_cursor"].as_str().unwrap());
    let first = world.get(&tenant, &first).await.is(200);
    assert_eq!(first["has_more"], true);
    assert_eq!(first["items"][0]["seq"], 1);
    let second = format!("{path}?cursor={}", first["next_cursor"].as_str().unwrap());
    let second = world.get(&tenant, &second).await.is(200);
    assert_eq!((&second["items"][0]["seq"], &second["has_more"]), (&json!(2), &json!(false)));
    assert_eq!(second["items"][0]["after"]["amount"], "-900.00");

    let corrected = Transaction { text: "Cafe".into(), ..coffee.clone() };
    let changes = vec![
        NewChange::amended(1, coffee, corrected),
        NewChange::Removed { number: 2, before: rent, reason: host::model::ChangeReason::RemovedByBank },
    ];
    let sync = world.run(&lease, account, changes, |_| {}).await;
    let third = format!("{path}?cursor={}", second["next_cursor"].as_str().unwrap());
    let third = world.get(&tenant, &third).await.is(200);
    let items = third["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["kind"], "modified");
    assert_eq!((&items[0]["before"]["text"], &items[0]["after"]["text"]), (&json!("Coffee"), &json!("Cafe")));
    assert_eq!((&items[1]["kind"], &items[1]["after"]), (&json!("removed"), &Value::Null));
    assert_eq!(items[1]["sync_id"], sync.id.to_string());

    // The sync's own cursor is the end it reached.
    let shown = world.get(&tenant, &format!("/v1/syncs/{}", sync.id)).await.is(200);
    assert_eq!(shown["cursor"], third["next_cursor"]);
    assert_eq!(
        (&shown["modified"], &shown["removed"], &shown["code"]),
        (&json!(1), &json!(1), &json!("SYNC_SUCCESSFUL"))
    );
}

#[tokio::test]
async fn a_cursor_of_another_account_or_beyond_the_end_is_refused() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let (one, two) = (world.estate(&tenant).await, world.estate(&tenant).await);
    let list = async |account, cursor: &str| {
        world.get(&tenant, &format!("/v1/accounts/{account}/changes?cursor={cursor}")).await
    };
    let page = world.get(&tenant, &format!("/v1/accounts/{}/changes", one.account.id)).await.is(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    list(one.account.id, cursor).await.is(200);
    list(two.account.id, cursor).await.problem(400, "bad-cursor");
    // The same cursor, a thousand changes later than there are.
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap();
    let place = bytes.len() - 2;
    bytes[place] = 4;
    list(one.account.id, &URL_SAFE_NO_PAD.encode(bytes)).await.problem(410, "cursor-expired");
}

#[tokio::test]
async fn transactions_are_filtered_by_day_status_and_amount_and_paged() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let connection = world.connection(&tenant, "customer").await;
    let lease = world.lease(connection).await;
    let account = world.account(&lease, "bank-1").await.id;
    let pending = Transaction { status: TransactionStatus::Pending, ..entry(-500, "Lunch", 4) };
    let entries = [entry(-320, "Coffee", 1), entry(-90_000, "Rent", 2), entry(250_000, "Salary", 3), pending];
    world.run(&lease, account, entries.into_iter().map(NewChange::added).collect(), |_| {}).await;
    let list = async |query: &str| {
        texts(&world.get(&tenant, &format!("/v1/accounts/{account}/transactions?{query}")).await.is(200))
    };
    assert_eq!(list("").await, ["Coffee", "Rent", "Salary", "Lunch"]);
    assert_eq!(list("from=2027-01-02&to=2027-01-03").await, ["Rent", "Salary"]);
    assert_eq!(list("status=pending").await, ["Lunch"]);
    assert_eq!(list("max_amount=-5.00").await, ["Rent", "Lunch"]);
    assert_eq!(list("min_amount=-5.00&max_amount=0").await, ["Coffee", "Lunch"]);

    let page = world.get(&tenant, &format!("/v1/accounts/{account}/transactions?limit=3")).await.is(200);
    assert_eq!((texts(&page).len(), &page["has_more"]), (3, &json!(true)));
    let rest = list(&format!("limit=3&cursor={}", page["next_cursor"].as_str().unwrap())).await;
    assert_eq!(rest, ["Lunch"]);

    let coffee = &page["items"][0];
    let path = format!("/v1/accounts/{account}/transactions/{}", coffee["id"].as_str().unwrap());
    assert_eq!(world.get(&tenant, &path).await.is(200), *coffee);
    assert_eq!((&coffee["amount"], &coffee["booked_on"]), (&json!("-3.20"), &json!("2027-01-01")));
    let balances = world.get(&tenant, &format!("/v1/accounts/{account}/balances")).await.is(200);
    assert_eq!(
        (&balances["items"][0]["amount"], &balances["items"][0]["kind"]),
        (&json!("1204.50"), &json!("booked"))
    );
    let status = world.get(&tenant, &format!("/v1/accounts/{account}")).await.is(200);
    assert_eq!(
        (&status["seq"], &status["number"], &status["failures"]),
        (&json!(4), &json!("12345678"), &json!(0))
    );
}
