//! Several processes on one PostgreSQL: each does its part, none needs the others, and time is the database's.

use crate::linked::{Linked, Scene, until};
use host::app::App;
use host::clock::Clock;
use host::config::Config;
use host::model::{ProcessId, Role};
use host::nudge::News;
use serde_json::json;
use std::time::Duration;
use tests::bank::{Hold, PathKind, Target};
use tests::http::expect;
use tests::postgres::Postgres;
use tests::world::{DEMO_BANK, Process, World, WorldConfig, program};

const PATIENCE: Duration = Duration::from_secs(60);

async fn on_postgres() -> Option<WorldConfig> {
    let postgres = Postgres::shared().unwrap()?;
    Some(WorldConfig { database: Some(postgres.database().await.unwrap()), ..WorldConfig::default() })
}

/// Both have heard of each other, and each takes its part.
async fn share(world: &World, other: &Process) {
    world.advance_among(Duration::from_secs(20)).await.unwrap();
    until("both to work", async || {
        let parts = [&world.app, &other.app].map(|app| app.crew.part(DEMO_BANK, 5));
        (parts.iter().sum::<u32>() == 5 && parts.iter().all(|part| *part > 1)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_at_one_process_is_woken_by_the_worker_of_another() {
    let Some(setup) = on_postgres().await else { return };
    let Scene { world, linked, .. } = Scene::new(setup, 0).await;
    let door = world.another_process(&[Role::Api]).await.unwrap();
    let mut heard = world.app.store.listen(ProcessId::new()).await.unwrap().unwrap();
    world.bank.book(linked.everyday(), tests::bank::NewEntry::transfer("5.00", "ELSEWHERE")).unwrap();
    let path = format!("/v1/accounts/{}/sync?wait=30", linked.ours(linked.everyday()));
    let done = door.api.post(&path, &json!({})).await.unwrap();
    expect(&done, 200).unwrap();
    assert_eq!((done.text("/code"), &done.body["added"]), ("SYNC_SUCCESSFUL", &json!(1)));
    let sync = done.text("/id").parse().unwrap();
    let told = async {
        loop {
            let News { finished, .. } = heard.next().await.unwrap();
            if finished.contains(&sync) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the worker tells that the sync is over");
    assert_eq!(world.app.crew.workers(), 1, "who asks no bank has no part in what banks allow");
    door.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bank_allows_is_shared_and_falls_to_who_stays() {
    let Some(setup) = on_postgres().await else { return };
    let world = World::start(setup).await.unwrap();
    until("it to work alone", async || (world.app.crew.part(DEMO_BANK, 5) == 5).then_some(())).await;
    let other = world.another_process(&Role::ALL).await.unwrap();
    assert_eq!(other.app.crew.part(DEMO_BANK, 5), 0, "a new one begins when all have heard of it");
    share(&world, &other).await;
    other.stop().await.unwrap();
    world.advance_among(Duration::from_secs(5)).await.unwrap();
    until("it to work alone again", async || (world.app.crew.part(DEMO_BANK, 5) == 5).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_gives_back_what_takes_too_long() {
    let Some(setup) = on_postgres().await else { return };
    let mut world = World::start(setup).await.unwrap();
    let linked = Linked::new(&world, &world.api, "Ada Sample", 0).await;
    world.begin_an_hour(&world.api, &linked.connection).await.unwrap();
    world.bank.hold(Target::of(PathKind::Transactions, linked.everyday()), Hold::Request);
    expect(&linked.ask(linked.everyday(), 0, &json!({})).await, 202).unwrap();
    world.bank.wait_held(1, PATIENCE).await.unwrap();
    world.stop().await.unwrap();
    let now = world.clock.now();
    let queues = world.app.store.queues(now).await.unwrap();
    assert_eq!(
        queues.due.iter().map(|due| due.connections).sum::<i64>(),
        1,
        "due at once, though its lease was good for minutes: {queues:?}"
    );
    world.bank.release();
    world.restart().await.unwrap();
    linked.good_sync(linked.everyday()).await;
    linked.assert_like_the_bank(&world.bank, linked.everyday()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_clock_is_wrong_refuses_to_start_and_says_so() {
    let Some(setup) = on_postgres().await else { return };
    let mut world = World::start(setup).await.unwrap();
    world.stop().await.unwrap();
    for (ahead, words) in
        [(3_000_000, "3.0 s ahead of the database's"), (-1_500_000, "1.5 s behind the database's")]
    {
        let clock = Clock::system();
        clock.follow(ahead);
        let app =
            App::build(Config::load(Some(&world.config)).unwrap(), clock, Role::ALL.into()).await.unwrap();
        let refused = app.run(None, std::future::ready(())).await.unwrap_err().to_string();
        assert!(refused.contains(words) && refused.contains("timedatectl"), "{refused}");
    }
    // Off by less, it takes the database's time, whatever its own says from then on.
    let clock = Clock::system();
    clock.follow(700_000);
    let app = App::build(Config::load(Some(&world.config)).unwrap(), clock.clone(), Role::ALL.into())
        .await
        .unwrap();
    app.clone().run(None, std::future::ready(())).await.unwrap();
    let off = app.store.clock_off(&clock).await.unwrap().unwrap();
    assert!(off.abs() < 500_000, "{off} us");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_served_by_one_process_with_all_roles() {
    let mut world = World::start(WorldConfig::default()).await.unwrap();
    world.stop().await.unwrap();
    let config = world.config.display().to_string();
    for (roles, words) in
        [("api", "use PostgreSQL, which several can share"), ("api,boss", "there is no role \"boss\"")]
    {
        let refused = std::process::Command::new(program().unwrap())
            .args(["serve", "--config", &config, "--roles", roles])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(words), "{roles}: {said}");
    }
}
