//! The crash matrix at a small size, with the same checks: a few things break on each database.

use crate::linked::{Scene, TOKEN_LIFE, until};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use std::process::{Command, Stdio};
use tests::PATIENCE;
use tests::bank::{Hold, PathKind};
use tests::postgres::Postgres;
use tests::world::WorldConfig;

/// Plays these faults once each; what the last line says.
fn play(database: &str, faults: &str) -> Value {
    let rounds = faults.split(',').count().to_string();
    let mut crash = Command::new(env!("CARGO_BIN_EXE_crash"));
    crash.args(["--rounds", &rounds, "--database", database, "--seed", "1", "--faults", faults, "--json"]);
    let ended = crash.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    let report: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap();
    for key in ["lost", "doubled", "consents_lost", "budgets_exceeded", "secrets_seen"] {
        assert_eq!(report[key], 0, "{report}");
    }
    assert_eq!(report["rounds"].to_string(), rounds, "{report}");
    assert!(report["compared"].as_u64() > Some(0) && report["webhooks"].as_u64() > Some(0), "{report}");
    assert!(ended.status.success(), "{report}");
    report
}

#[test]
fn nothing_is_lost_when_the_one_process_on_a_file_dies_between_any_two_steps() {
    play(
        "sqlite",
        "killed_token_given,killed_page_given,killed_webhook_answered,killed_acknowledgement_taken",
    );
}

#[test]
fn nothing_is_lost_when_of_three_processes_some_die_and_their_database_restarts() {
    if Postgres::shared().unwrap().is_some() {
        play("postgres", "database_immediate,terminated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_bank_gave_while_the_database_was_away_is_stored_when_it_is_back() {
    let scene = Scene::new(WorldConfig::default(), 3).await;
    let Scene { world, linked, .. } = &scene;
    let database = format!("sqlite:{}", world.folder().join("tidegate.db").display());
    let mut database = SqliteConnection::connect(&database).await.unwrap();
    let mut rename = async |from: &str, to: &str| {
        let sql = sqlx::AssertSqlSafe(format!("ALTER TABLE {from} RENAME TO {to}"));
        sqlx::raw_sql(sql).execute(&mut database).await.unwrap();
    };
    world.advance(TOKEN_LIFE);
    let renewals = world.bank.request_count(PathKind::Token);
    world.bank.hold(PathKind::Token, Hold::Answer);
    let asked = linked.ask(linked.everyday(), 0, &json!({})).await;
    world.bank.wait_held(1, PATIENCE).await.unwrap();
    rename("credential", "away").await;
    world.bank.release();
    // It is answered, and cannot be stored.
    let path = format!("/v1/syncs/{}", asked.text("/id"));
    let status = async || world.api.get(&path).await.unwrap().text("/status").to_owned();
    let answered = async || {
        let last = world.bank.requests().into_iter().rfind(|request| request.kind == PathKind::Token);
        last.unwrap().status.map(drop)
    };
    until("the bank's answer", answered).await;
    assert_eq!(status().await, "running");
    rename("away", "credential").await;
    until("the sync", async || (status().await == "finished").then_some(())).await;
    assert_eq!(world.api.get(&path).await.unwrap().text("/code"), "SYNC_SUCCESSFUL");
    assert_eq!(world.bank.request_count(PathKind::Token), renewals + 1, "it was not used twice");
}
