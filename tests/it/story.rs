//! The main job on both databases, and what is left of a customer on the disk.

use crate::linked::{Linked, until};
use std::path::Path;
use tests::doors;
use tests::http::{expect, items, text};
use tests::postgres::Postgres;
use tests::story::play;
use tests::world::{World, WorldConfig};

#[tokio::test(flavor = "multi_thread")]
async fn the_story_on_sqlite() {
    let world = World::start(WorldConfig::default()).await.unwrap();
    play(&world, &|line| println!("{line}")).await.unwrap();
    let told = world.bank.changes_since(0);
    let texts = told.iter().filter_map(|change| change.after.as_ref()).map(|row| row.text.clone());
    assert_absent(world.folder(), texts.chain(["Ada Sample".into(), "customer-42".into()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_on_postgresql() {
    let Some(postgres) = Postgres::shared().unwrap() else { return };
    let database = Some(postgres.database().await.unwrap());
    let world = World::start(WorldConfig { database, ..WorldConfig::default() }).await.unwrap();
    play(&world, &|line| println!("{line}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_front_door_of_the_bank_from_the_way_in_to_the_way_out() {
    let world = doors::world().await.unwrap();
    doors::play(&world, 1, &|line| println!("{line}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_customer_lies_on_the_disk_in_the_clear_neither_before_nor_after_the_end() {
    let mut world = World::start(WorldConfig::default()).await.unwrap();
    world.endpoint().await.unwrap();
    let linked = Linked::new(&world, &world.api, "Ada Sample", 30).await;
    world.advance(crate::linked::TOKEN_LIFE);
    linked.good_sync(linked.everyday()).await; // a renewed token is stored

    let mut needles =
        vec!["Ada Sample".to_owned(), "customer-42".to_owned(), linked.consent.refresh_token.clone()];
    let listed = world.api.get(&format!("/v1/accounts?connection_id={}", linked.connection)).await.unwrap();
    needles.extend(items(&listed).iter().map(|account| text(account, "/number").to_owned()));
    for bank_id in &linked.customer.accounts {
        for row in world.bank.statement(bank_id).unwrap().rows {
            needles.push(row.text);
            needles.extend(row.merchant);
        }
    }
    let connection: host::model::ConnectionId = linked.connection.parse().unwrap();
    let credentials = world.app.store.credentials(connection).await.unwrap();
    assert!(credentials.len() >= 2, "an access and a refresh token are stored");
    needles.extend(credentials.iter().map(|credential| credential.value.reveal().to_owned()));
    assert!(needles.iter().all(|needle| needle.len() >= 4) && needles.len() > 20, "{needles:?}");
    assert_absent(world.folder(), needles.iter().cloned());

    // Deleted, the rows are gone too: nothing that could be opened with a key from a backup.
    expect(&world.api.delete(&format!("/v1/connections/{}", linked.connection)).await.unwrap(), 204).unwrap();
    world.stop().await.unwrap();
    assert_absent(world.folder(), needles.into_iter());
    for table in ["txn", "txn_body", "credential", "sync_request"] {
        until(table, async || (count(&world, table).await == 0).then_some(())).await;
    }
}

async fn count(world: &World, table: &str) -> i64 {
    use sqlx::{AssertSqlSafe, Connection};
    let file = format!("sqlite:{}", world.folder().join("tidegate.db").display());
    let mut database = sqlx::SqliteConnection::connect(&file).await.unwrap();
    let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    let (count,): (i64,) = sqlx::query_as(sql).fetch_one(&mut database).await.unwrap();
    count
}

/// None of the texts stands in the files of the database.
fn assert_absent(folder: &Path, needles: impl Iterator<Item = String>) {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("tidegate.db") {
            files.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
    assert!(
        files.iter().any(|(_, bytes)| bytes.starts_with(b"SQLite format 3")),
        "no database in {folder:?}"
    );
    for needle in needles {
        for (path, bytes) in &files {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "\"{needle}\" stands in {}", path.display());
        }
    }
}
