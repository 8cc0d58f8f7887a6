//! One customer's data, line by line.

use super::world::{Reply, Tenant, World, entry};
use host::model::{ConnectionId, NewChange, Transaction};
use serde_json::{Value, json};
use std::collections::BTreeMap;

async fn export(world: &World, tenant: &Tenant, connection: ConnectionId) -> Vec<Value> {
    let reply = world.get(tenant, &format!("/v1/connections/{connection}/export")).await;
    assert_eq!(reply.header("content-type").as_deref(), Some("application/x-ndjson"), "{reply:?}");
    assert_eq!(reply.status, 200);
    lines(&reply)
}

fn lines(reply: &Reply) -> Vec<Value> {
    assert!(reply.text.ends_with('\n'));
    reply.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The data of all lines of a kind.
fn of<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).map(|line| &line["data"]).collect()
}

#[tokio::test]
async fn an_export_has_all_that_the_api_shows_of_a_customer_and_nothing_secret() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    world.estate(&tenant).await; // another customer's, of which nothing may be seen
    let connection = world.connection(&tenant, "customer-2").await;
    let lease = world.lease(connection).await;
    let account = world.account(&lease, "bank-2").await.id;
    // More than the pages it is read in.
    let rows = (1..=450).map(|row| NewChange::added(entry(row, &format!("row {row}"), 3))).collect();
    world.run(&lease, account, rows, |_| {}).await;
    let (before, after) = (entry(7, "row 7", 3), entry(-7, "row 7, corrected", 4));
    let changes = vec![
        NewChange::amended(7, before, after),
        NewChange::Removed {
            number: 8,
            before: entry(8, "row 8", 3),
            reason: host::model::ChangeReason::RemovedByBank,
        },
    ];
    world.run(&lease, account, changes, |_| {}).await;
    world.complete(&lease).await;

    let lines = export(&world, &tenant, connection).await;
    let kinds: Vec<&str> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[..4], ["connection", "consent", "account", "balance"]);
    let count = |kind| kinds.iter().filter(|other| **other == kind).count();
    assert_eq!(
        ["account", "balance", "transaction", "change", "sync", "end"].map(count),
        [1, 1, 449, 452, 2, 1]
    );
    let end = lines.last().unwrap();
    assert_eq!(*end, json!({"kind": "end", "data": {"lines": lines.len() - 1}}));

    // Each is what its own address shows.
    let path = format!("/v1/accounts/{account}");
    assert_eq!(*of(&lines, "account")[0], world.get(&tenant, &path).await.is(200));
    assert_eq!(of(&lines, "account")[0]["number"], "12345678");
    let shown = world.get(&tenant, &format!("/v1/connections/{connection}")).await.is(200);
    assert_eq!(*of(&lines, "consent")[0], shown["consent"]);
    assert_eq!(of(&lines, "connection")[0]["customer_ref"], "customer-2");
    let balances = world.get(&tenant, &format!("{path}/balances")).await.is(200);
    assert_eq!(of(&lines, "balance")[0]["amount"], balances["items"][0]["amount"]);
    assert_eq!(of(&lines, "balance")[0]["account_id"], account.to_string());
    let syncs = world.get(&tenant, &format!("{path}/syncs")).await.is(200);
    assert_eq!(json!(of(&lines, "sync")), syncs["items"]);
    let page = world.get(&tenant, &format!("{path}/transactions?limit=500")).await.is(200);
    assert_eq!(json!(of(&lines, "transaction")), page["items"]);

    // The changes, applied in order to nothing, give the transactions.
    let mut rebuilt = BTreeMap::new();
    for (place, change) in of(&lines, "change").into_iter().enumerate() {
        assert_eq!(change["seq"], place + 1);
        assert_eq!(change["account_id"], account.to_string());
        let id = change["transaction_id"].as_str().unwrap().to_owned();
        let known = rebuilt.get(&id).cloned().unwrap_or(Value::Null);
        assert_eq!(change["before"], known, "as it was");
        match &change["after"] {
            Value::Null => rebuilt.remove(&id),
            after => rebuilt.insert(id, after.clone()),
        };
    }
    let held = of(&lines, "transaction").into_iter().map(|row| {
        let mut row = row.as_object().unwrap().clone();
        for ours in ["account_id", "first_seen_at", "changed_at", "last_seq"] {
            row.remove(ours).unwrap();
        }
        let id = row.remove("id").unwrap();
        (id.as_str().unwrap().to_owned(), Value::Object(row))
    });
    assert_eq!(rebuilt, held.collect());

    let text = json!(lines).to_string();
    assert!(!text.contains("s3cret") && !text.contains("customer-1"), "credentials, or somebody else's");
}

#[tokio::test]
async fn an_export_of_a_link_without_accounts_ends_well() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let connection = world.connection(&tenant, "customer").await;
    let lines = export(&world, &tenant, connection).await;
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["connection", "consent", "end"]);
    let unknown = format!("/v1/connections/{}/export", ConnectionId::new());
    world.get(&tenant, &unknown).await.problem(404, "unknown-id");
}

#[tokio::test]
async fn an_export_breaks_off_when_the_customer_leaves_and_is_read_no_faster_than_it_is_taken() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let connection = world.connection(&tenant, "customer").await;
    let lease = world.lease(connection).await;
    let account = world.account(&lease, "bank-1").await.id;
    // Some thirty megabytes: more than the buffers on the way hold.
    let long = "x".repeat(16 * 1024);
    let rows =
        (1..=1_000).map(|row| NewChange::added(Transaction { text: long.clone(), ..entry(row, "", 1) }));
    world.run(&lease, account, rows.collect(), |_| {}).await;
    world.complete(&lease).await;
    let path = format!("/v1/connections/{connection}");
    let request = world.request("GET", &format!("{path}/export")).bearer_auth(&tenant.key);
    let mut answer = request.send().await.unwrap();
    let mut bytes = 0;
    while bytes < 1024 * 1024 {
        bytes += answer.chunk().await.unwrap().unwrap().len();
    }
    world.ask(&tenant, "DELETE", &path, None).await.is(204);
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes += chunk.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "it must not look complete after {bytes} bytes");
    assert!(bytes < 1_000 * 2 * long.len(), "all {bytes} bytes were read before they were wanted");
}
