//! Accounts after a new consent: the same one under another id keeps its history, one that is gone is
//! closed, one that is new is added, and each is told once.

use crate::linked::{HOUR, Linked, event, told, until};
use serde_json::{Value, json};
use tests::bank::{NewAccount, NewEntry};
use tests::http::{expect, items, text};
use tests::story::connection_request;
use tests::world::{World, WorldConfig};

fn account(nickname: &str, currency: &str) -> NewAccount {
    NewAccount { nickname: nickname.into(), currency: currency.into(), savings: false, history_days: 3 }
}

/// A new consent, handed in; waits until the accounts were listed with it.
async fn reauthorise(world: &World, linked: &mut Linked) -> Vec<Value> {
    linked.consent = world.bank.grant(&linked.customer.id, Some(HOUR * 24 * 90)).unwrap();
    let mut request = connection_request(&linked.consent);
    request.as_object_mut().unwrap().retain(|key, _| key == "credentials" || key == "consent");
    let connection = format!("/v1/connections/{}", linked.connection);
    expect(&world.api.post(&format!("{connection}/reauthorise"), &request).await.unwrap(), 200).unwrap();
    until("the list", async || {
        (world.api.get(&connection).await.unwrap().body["accounts_listed"] == true).then_some(())
    })
    .await;
    let listed = world.api.get(&format!("/v1/accounts?connection_id={}", linked.connection)).await.unwrap();
    expect(&listed, 200).unwrap();
    items(&listed).to_vec()
}

fn by_bank_id<'a>(accounts: &'a [Value], bank_id: &str) -> &'a Value {
    accounts.iter().find(|account| account["bank_id"] == bank_id).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bank_gives_other_ids_one_account_is_gone_and_one_is_new() {
    let world = World::start(WorldConfig::default()).await.unwrap();
    let endpoint = world.endpoint().await.unwrap();
    let mut linked = Linked::new(&world, &world.api, "Ada Sample", 10).await;
    let (everyday, savings) = (linked.everyday().to_owned(), linked.savings().to_owned());
    let (ours, gone) = (linked.ours(&everyday).to_owned(), linked.ours(&savings).to_owned());
    let changes = format!("/v1/accounts/{ours}/changes");
    let before = linked.rows(&everyday).await;
    let read = world.api.get(&format!("{changes}?limit=500")).await.unwrap();
    let cursor = read.text("/next_cursor").to_owned();
    assert_eq!(
        told(&world.api, &endpoint, "account.added").await,
        0,
        "the first ones are told by account.updated"
    );

    world.bank.close_account(&linked.customer.id, &savings).unwrap();
    let opened = world.bank.open_account(&linked.customer.id, &account("Holidays", "GBP")).unwrap();
    linked.customer = world.bank.rename_accounts(&linked.customer.id).unwrap();
    let [renamed, new] = linked.customer.accounts.clone().try_into().unwrap();
    assert!(renamed != everyday && new != opened);
    let skip = world.sink.received().len();
    let accounts = reauthorise(&world, &mut linked).await;
    assert_eq!(accounts.len(), 3);
    let same = by_bank_id(&accounts, &renamed);
    assert_eq!((text(same, "/id"), text(same, "/state")), (ours.as_str(), "active"));
    let closed = by_bank_id(&accounts, &savings);
    assert_eq!((text(closed, "/id"), text(closed, "/state")), (gone.as_str(), "closed"));
    let added = text(by_bank_id(&accounts, &new), "/id").to_owned();
    assert_eq!(
        event(&world, "account.added", &added, skip).await["data"]["connection_id"],
        linked.connection
    );
    event(&world, "account.closed", &gone, skip).await;
    event(&world, "account.updated", &added, skip).await;

    // History and cursor go on: nothing was read twice.
    linked.accounts.extend([(renamed.clone(), ours.clone()), (new.clone(), added.clone())]);
    until("the first sync under the new id", async || {
        let shown = linked.account(&renamed).await;
        let read: host::model::Timestamp = serde_json::from_value(shown["fresh_at"].clone()).unwrap();
        (read.0 > linked.consent.granted_at.timestamp_micros()).then_some(())
    })
    .await;
    let now = linked.rows(&renamed).await;
    assert_eq!(now, before);
    world.bank.book(&renamed, NewEntry::transfer("7.00", "UNDER A NEW ID")).unwrap();
    assert_eq!(linked.good_sync(&renamed).await["added"], 1);
    let after = world.api.get(&format!("{changes}?cursor={cursor}")).await.unwrap();
    assert_eq!(items(&after).len(), 1, "{}", after.body);
    linked.assert_like_the_bank(&world.bank, &renamed).await;
    linked.assert_like_the_bank(&world.bank, &new).await;

    // The closed one can be read, and not synced.
    let closed = world.api.post(&format!("/v1/accounts/{gone}/sync"), &json!({})).await.unwrap();
    assert_eq!((closed.status, closed.text("/code")), (409, "account-closed"));
    let history = world.api.get(&format!("/v1/accounts/{gone}/changes")).await.unwrap();
    assert!(!items(&history).is_empty());
    assert_eq!(told(&world.api, &endpoint, "account.added").await, 1);
    assert_eq!(told(&world.api, &endpoint, "account.closed").await, 1);
    assert!(world.sink.failures().is_empty(), "{:?}", world.sink.failures());
}
