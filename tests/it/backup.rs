//! A backup is made while the service runs; later the database is lost, the backup takes its place, and the ledger is the
//! bank's again.

use crate::linked::{Linked, Scene, TOKEN_LIFE, event};
use crate::served::Served;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use tests::bank::{NewCustomer, NewEntry};
use tests::compare::changes;
use tests::http::expect;
use tests::linking::shown;
use tests::postgres::Postgres;
use tests::story::connection_request;
use tests::world::{World, WorldConfig};

/// `tidegate` says no, and this.
fn refused(world: &World, arguments: &[&str], expected: &str) {
    let said = world.tidegate(arguments).unwrap_err().to_string();
    assert!(said.contains(expected), "{arguments:?}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_while_serving_takes_the_lost_databases_place_and_old_cursors_are_sent_back() {
    let mut world = World::start(WorldConfig::default()).await.unwrap();
    world.endpoint().await.unwrap();
    let mut linked = Linked::new(&world, &world.api, "Ada Sample", 5).await;
    let mut service = Served::start(&mut world).await;
    linked.api = world.api.clone();
    let everyday = linked.everyday().to_owned();
    let account = linked.ours(&everyday).to_owned();
    world.bank.book(&everyday, NewEntry::transfer("1.00", "BEFORE THE BACKUP")).unwrap();
    linked.good_sync(&everyday).await;

    let backup = world.folder().join("backup.db");
    let to = backup.display().to_string();
    let said = world.tidegate(&["backup", "--to", &to]).unwrap();
    assert!(said.contains("schema 0") && said.contains("whole"), "{said}");
    assert_eq!(std::fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    refused(&world, &["backup", "--to", &to], "is there already");
    refused(&world, &["restore", "--from", &to], "another `tidegate serve` works on this SQLite database");

    // Life goes on: a change that the backup does not know, read by the business; and a customer who leaves.
    world.bank.book(&everyday, NewEntry::transfer("2.00", "AFTER THE BACKUP")).unwrap();
    linked.good_sync(&everyday).await;
    let (_, cursor) = changes(&linked.api, &account, None).await.unwrap();
    let read_on = format!("/v1/accounts/{account}/changes?cursor={cursor}");
    expect(&linked.api.get(&read_on).await.unwrap(), 200).unwrap();

    service.kill();
    drop(service);
    let said = world.tidegate(&["restore", "--from", &to]).unwrap();
    for expected in ["is the database now", "is kept as", "cursors of 2 accounts", "ended again: 0"] {
        assert!(said.contains(expected), "{said}");
    }
    let service = Served::start(&mut world).await;
    linked.api = world.api.clone();
    let gone = linked.api.get(&read_on).await.unwrap();
    expect(&gone, 410).unwrap();
    assert!(gone.text("/type").ends_with("cursor-expired"), "{:?}", gone.body);
    assert!(gone.text("/detail").contains("Read again without a cursor"), "{:?}", gone.body);

    // The bank's truth again, webhook included; and a new cursor goes on.
    linked.good_sync(&everyday).await;
    linked.assert_like_the_bank(&world.bank, &everyday).await;
    let (_, cursor) = changes(&linked.api, &account, None).await.unwrap();
    let told = world.sink.received().len();
    world.bank.book(&everyday, NewEntry::transfer("3.00", "AFTER THE RESTORE")).unwrap();
    linked.good_sync(&everyday).await;
    event(&world, "account.updated", &account, told).await;
    let (new, _) = changes(&linked.api, &account, Some(&cursor)).await.unwrap();
    assert_eq!(new.len(), 1, "{new:?}");
    linked.assert_like_the_bank(&world.bank, &everyday).await;
    service.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_bank_has_seen_since_the_backup_asks_the_customer_and_who_left_stays_away() {
    let Scene { mut world, linked, .. } = Scene::new(WorldConfig::default(), 2).await;
    let everyday = linked.everyday().to_owned();
    let customer = NewCustomer::with_two_accounts("Bela Sample", 1);
    let leaving =
        Linked::existing(&world.bank, &world.api, world.bank.create_customer(&customer).unwrap()).await;
    let to = world.folder().join("backup.db").display().to_string();
    world.tidegate(&["backup", "--to", &to]).unwrap();

    // The refresh token of the backup is used up, and somebody leaves.
    world.advance(TOKEN_LIFE);
    linked.good_sync(&everyday).await;
    assert!(tests::linking::leave(&world, &leaving.connection).await.unwrap());
    world.stop().await.unwrap();
    let said = world.tidegate(&["restore", "--from", &to]).unwrap();
    assert!(said.contains("ended since the backup and are ended again: 1"), "{said}");
    world.restart().await.unwrap();
    world.advance(TOKEN_LIFE);

    let gone = world.api.get(&format!("/v1/connections/{}", leaving.connection)).await.unwrap();
    expect(&gone, 404).unwrap();
    let linked = Linked { api: world.api.clone(), ..linked };
    let sync = linked.sync(&everyday).await;
    assert_eq!(sync["code"], "REAUTHORISATION_REQUIRED", "{sync}");
    let consent = world.bank.grant(&linked.customer.id, None).unwrap();
    let fresh = connection_request(&consent);
    let body = json!({ "credentials": fresh["credentials"], "consent": fresh["consent"] });
    let path = format!("/v1/connections/{}", linked.connection);
    let back = world.api.post(&format!("{path}/reauthorise"), &body).await.unwrap();
    expect(&back, 200).unwrap();
    assert_eq!(shown(&world.api, &linked.connection).await.unwrap()["state"], "active");
    linked.good_sync(&everyday).await;
    linked.assert_like_the_bank(&world.bank, &everyday).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_named_its_own_tools_and_settled_after_them() {
    let Some(postgres) = Postgres::shared().unwrap() else { return };
    let database = Some(postgres.database().await.unwrap());
    let Scene { mut world, mut linked, .. } =
        Scene::new(WorldConfig { database, ..WorldConfig::default() }, 2).await;
    let everyday = linked.everyday().to_owned();
    let account = linked.ours(&everyday).to_owned();
    refused(&world, &["backup", "--to", "x.db"], "pg_dump --format=custom --file=x.db");
    refused(&world, &["restore", "--from", "x.db"], "restore --already-restored");
    let (_, cursor) = changes(&linked.api, &account, None).await.unwrap();
    world.stop().await.unwrap();
    let said = world.tidegate(&["restore", "--already-restored"]).unwrap();
    assert!(said.contains("cursors of 2 accounts") && said.contains("connection.deleted"), "{said}");
    world.restart().await.unwrap();
    linked.api = world.api.clone();
    let gone = linked.api.get(&format!("/v1/accounts/{account}/changes?cursor={cursor}")).await.unwrap();
    expect(&gone, 410).unwrap();
    world.bank.book(&everyday, NewEntry::transfer("2.00", "AFTER THE RESTORE")).unwrap();
    linked.good_sync(&everyday).await;
    linked.assert_like_the_bank(&world.bank, &everyday).await;
}
