//! Where a bank contradicts itself, and what a business can do: take a statement as it is, see that ids are not
//! believed any more, and read again from the beginning.

use crate::linked::{Linked, Scene};
use serde_json::json;
use std::path::{Path, PathBuf};
use tests::bank::{Fault, NewEntry, PathKind, Scenario, Target};
use tests::compare::changes;
use tests::http::{expect, items, text};
use tests::world::{World, WorldConfig};

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_shows_too_little_is_taken_once_where_the_business_says_so() {
    let setup =
        WorldConfig { demo_bank: "[schedule]\ninterval-minutes = 10080\n".into(), ..WorldConfig::default() };
    let Scene { world, linked, .. } = Scene::new(setup, 0).await;
    let everyday = linked.everyday();
    for row in ["ONE", "TWO", "THREE"] {
        world.bank.book(everyday, NewEntry::transfer("10.00", row)).unwrap();
    }
    linked.good_sync(everyday).await;
    world.bank.fault(Target::of(PathKind::Transactions, everyday), Fault::HiddenRow, 100);
    world.bank.book(everyday, NewEntry::transfer("4.00", "FOUR")).unwrap();
    let refused = linked.sync(everyday).await;
    assert_eq!(refused["code"], "INCOMPLETE_STATEMENT_ERROR", "{refused}");
    assert_eq!(linked.rows(everyday).await.len(), 3);

    let allowed = json!({ "allow_incomplete_statement": true });
    let taken = linked.ask(everyday, 60, &allowed).await;
    expect(&taken, 200).unwrap();
    let counts = ["added", "modified", "removed"].map(|name| taken.body[name].as_i64().unwrap());
    assert_eq!((taken.text("/code"), counts), ("SYNC_SUCCESSFUL", [1, 0, 0]), "{}", taken.body);
    linked.assert_like_the_bank(&world.bank, everyday).await;

    // The very same one again shows nothing new; the next one is refused.
    assert_eq!(linked.good_sync(everyday).await["has_new_data"], false);
    world.bank.book(everyday, NewEntry::transfer("5.00", "FIVE")).unwrap();
    let refused = linked.sync(everyday).await;
    assert_eq!(refused["code"], "INCOMPLETE_STATEMENT_ERROR", "it was said of one statement: {refused}");
    world.bank.clear_faults();
    assert_eq!(linked.good_sync(everyday).await["proof"], "proved");
    linked.assert_like_the_bank(&world.bank, everyday).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_says_when_the_banks_ids_are_not_believed_any_more() {
    let world = World::start(WorldConfig::default()).await.unwrap();
    let new = tests::bank::NewCustomer::with_two_accounts("Ada Sample", 0);
    let customer = world.bank.create_customer(&new).unwrap();
    let mut play = world.bank.play(Scenario::PositionalIdsShift, &customer.accounts[0], 25).unwrap();
    let linked = Linked::existing(&world.bank, &world.api, customer).await;
    let demoted = async || {
        let shown = [linked.everyday(), linked.savings()].map(|account| linked.account(account));
        let [everyday, savings] = shown;
        [everyday.await["ids_demoted"].clone(), savings.await["ids_demoted"].clone()]
    };
    assert_eq!(demoted().await, [json!(false), json!(false)]);
    // A late row comes first on its day: every id of that day names another entry.
    play.next_act().unwrap().unwrap();
    let sync = linked.good_sync(linked.everyday()).await;
    assert_eq!((&sync["added"], &sync["modified"], &sync["removed"]), (&json!(1), &json!(0), &json!(0)));
    assert_eq!(demoted().await, [json!(true), json!(false)], "of this account, and for good");
    linked.good_sync(linked.everyday()).await;
    assert_eq!(demoted().await, [json!(true), json!(false)]);
}

/// The files of an SQLite database.
fn files(folder: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("tidegate.db");
    all.filter(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restored_backup_a_cursor_says_that_it_is_over_and_how_to_go_on() {
    let Scene { mut world, mut linked, .. } = Scene::new(WorldConfig::default(), 3).await;
    let everyday = linked.everyday().to_owned();
    let account = linked.ours(&everyday).to_owned();
    world.stop().await.unwrap();
    let backup = tempfile::tempdir().unwrap();
    for file in files(world.folder()) {
        std::fs::copy(&file, backup.path().join(file.file_name().unwrap())).unwrap();
    }
    world.restart().await.unwrap();
    linked.api = world.api.clone();
    world.bank.book(&everyday, NewEntry::transfer("3.00", "AFTER THE BACKUP")).unwrap();
    linked.good_sync(&everyday).await;
    let (_, cursor) = changes(&world.api, &account, None).await.unwrap();

    world.stop().await.unwrap();
    files(world.folder()).iter().for_each(|file| std::fs::remove_file(file).unwrap());
    for file in files(backup.path()) {
        std::fs::copy(&file, world.folder().join(file.file_name().unwrap())).unwrap();
    }
    world.restart().await.unwrap();
    linked.api = world.api.clone();
    let path = format!("/v1/accounts/{account}/changes");
    let over = world.api.get(&format!("{path}?cursor={cursor}")).await.unwrap();
    assert_eq!((over.status, over.text("/code")), (410, "cursor-expired"), "{}", over.body);
    assert!(over.text("/detail").contains("Read again without a cursor"), "{}", over.body);
    // The way back.
    let (all, cursor) = changes(&world.api, &account, None).await.unwrap();
    let held = linked.rows(&everyday).await;
    assert_eq!(all.len(), held.len());
    linked.good_sync(&everyday).await;
    let (new, _) = changes(&world.api, &account, Some(&cursor)).await.unwrap();
    assert_eq!(new.iter().map(|one| text(one, "/after/text")).collect::<Vec<_>>(), ["AFTER THE BACKUP"]);
    linked.assert_like_the_bank(&world.bank, &everyday).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_a_customer_who_left_says_so_and_the_account_that_comes_after_begins_anew() {
    let Scene { world, linked, .. } = Scene::new(WorldConfig::default(), 3).await;
    let account = linked.ours(linked.everyday());
    let (_, cursor) = changes(&world.api, account, None).await.unwrap();
    let path = format!("/v1/connections/{}", linked.connection);
    expect(&world.api.delete(&path).await.unwrap(), 204).unwrap();
    for compact in ["", "&compact=true"] {
        let path = format!("/v1/accounts/{account}/changes?cursor={cursor}{compact}");
        let gone = world.api.get(&path).await.unwrap();
        assert_eq!((gone.status, gone.text("/code")), (410, "account-erased"), "{}", gone.body);
        assert!(gone.text("/detail").contains("without a cursor"), "{}", gone.body);
    }
    let again = Linked::existing(&world.bank, &world.api, linked.customer.clone()).await;
    let ours = again.ours(linked.everyday());
    assert_ne!(ours, account);
    let foreign = world.api.get(&format!("/v1/accounts/{ours}/changes?cursor={cursor}")).await.unwrap();
    assert_eq!((foreign.status, foreign.text("/code")), (400, "bad-cursor"), "{}", foreign.body);
    let all = world.api.get(&format!("/v1/accounts/{ours}/changes")).await.unwrap();
    assert_eq!(items(&all).len(), again.rows(linked.everyday()).await.len());
}
