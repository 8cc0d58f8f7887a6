//! `tidegate doctor`: says that all is well where it is, and of each thing that is broken what to do about it.

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tests::database::execute;
use tests::postgres::Postgres;
use tests::world::{DEMO_BANK, World, WorldConfig, program};

/// The report, and whether the program ended well.
fn doctor(world: &World) -> (Value, bool) {
    let mut command = Command::new(program().unwrap());
    let output = command.arg("--config").arg(&world.config).args(["doctor", "--json"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for secret in secrets(world) {
        assert!(!said.contains(&secret), "{said}");
    }
    (serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}")), output.status.success())
}

fn secrets(world: &World) -> Vec<String> {
    let key = std::fs::read_to_string(world.folder().join("tidegate.key")).unwrap();
    let key = key.trim().split_once(':').map(|(_, key)| key.to_owned());
    key.into_iter().chain([world.bank.config().client_secret.clone()]).collect()
}

/// The sentence and the advice of a check in this state.
fn said(report: &Value, name: &str, state: &str) -> String {
    let found = report["checks"].as_array().unwrap().iter();
    let mut found = found.filter(|check| check["name"] == name && check["state"] == state);
    let check = found.next().unwrap_or_else(|| panic!("no {state} of {name} in {report}"));
    format!("{} -> {}", check["sentence"].as_str().unwrap(), check["advice"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_beside_a_running_service_and_each_thing_that_breaks_is_told_with_what_to_do() {
    let world = World::start(WorldConfig::default()).await.unwrap();
    world.endpoint().await.unwrap();
    let (report, well) = doctor(&world);
    assert!(well && report["problems"] == 0, "{report}");
    for name in [
        "configuration",
        "descriptors",
        "connectors",
        "cache",
        "key file",
        "file system",
        "database",
        "plans",
    ] {
        said(&report, name, "ok");
    }
    let opened = said(&report, "master key", "ok");
    let lines = world.tidegate(&["doctor"]).unwrap();
    assert!(lines.contains("ok       database") && lines.contains("0 problems, "), "{opened} {lines}");

    // One thing after the other.
    let key = world.folder().join("tidegate.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let profile = world.folder().join("institutions").join(format!("{DEMO_BANK}.toml"));
    let text = std::fs::read_to_string(&profile).unwrap();
    std::fs::write(&profile, text.replace("connector = \"open-banking-uk\"", "connector = \"no-such\""))
        .unwrap();
    let database = format!("sqlite:{}", world.folder().join("tidegate.db").display());
    execute(&database, "DROP INDEX schedule_due").await.unwrap();
    let (report, well) = doctor(&world);
    assert!(!well && report["problems"].as_u64() >= Some(4), "{report}");
    assert!(said(&report, "key file", "problem").contains("-> chmod 600 "));
    assert!(said(&report, "institution", "problem").contains("there is no connector \"no-such\""));
    assert!(said(&report, "indexes", "problem").contains("schedule_due"));
    assert!(said(&report, "plans", "problem").contains("does not use schedule_due"));

    // Another master key, another approval.
    std::fs::write(&key, "other:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n").unwrap();
    std::fs::write(&profile, text.replace("allow-post", "# allow-post")).unwrap();
    let (report, well) = doctor(&world);
    assert!(!well && said(&report, "master key", "problem").contains("put the missing line"), "{report}");

    // Nothing can be looked at without a configuration.
    std::fs::write(&world.config, "[sever]\nlisten = 1").unwrap();
    let (report, well) = doctor(&world);
    assert!(
        !well && said(&report, "configuration", "problem").contains("did you mean [server]?"),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_the_clock_and_the_plans_are_looked_at_and_a_server_that_is_gone_is_a_problem() {
    if Postgres::shared().unwrap().is_none() {
        return;
    }
    let postgres = Postgres::start().unwrap();
    let database = Some(postgres.database().await.unwrap());
    let world = World::start(WorldConfig { database, ..WorldConfig::default() }).await.unwrap();
    let (report, well) = doctor(&world);
    assert!(well, "{report}");
    assert!(said(&report, "clock", "ok").contains(" ms from ours"));
    said(&report, "plans", "ok");
    said(&report, "database TLS", "ok");
    drop(postgres);
    let (report, well) = doctor(&world);
    assert!(!well && said(&report, "database", "problem").contains("start the database"), "{report}");
}
