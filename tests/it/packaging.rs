//! What an operator is given beside the program: the unit, the container file, the alerts and their runbook.

use std::collections::BTreeSet;
use std::process::Command;
use tests::world::{program, root};

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of metrics that stand in a text, without what Prometheus puts after them.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let named = words.filter(|word| word.starts_with("tidegate_"));
    let endings = ["_total", "_bucket", "_count", "_sum"];
    named
        .map(|name| endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name).to_owned())
        .collect()
}

#[test]
fn every_metric_of_an_alert_or_the_runbook_exists_and_every_alert_has_its_section() {
    let (alerts, manual) = (read("packaging/alerts.yaml"), read("docs/operations.md"));
    let source = read("host/src/telemetry/metrics.rs");
    // As they are registered: the name, and the unit after it where it has one.
    let mut exist = BTreeSet::new();
    for call in source.split("registry.register").skip(1) {
        let name = call.split('"').nth(1).unwrap();
        let unit = if call.starts_with("_with_unit") { "_seconds" } else { "" };
        exist.insert(format!("tidegate_{name}{unit}"));
    }
    assert!(exist.len() >= 12 && exist.contains("tidegate_data_age_seconds"), "{exist:?}");
    for (file, text) in [("alerts.yaml", &alerts), ("operations.md", &manual)] {
        let unknown: Vec<_> = metrics(text).difference(&exist).cloned().collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}; there are {exist:?}");
    }
    let unwatched: Vec<_> = exist.difference(&metrics(&alerts)).cloned().collect();
    assert!(unwatched.is_empty(), "no alert looks at {unwatched:?}");

    let names: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 10);
    let runbooks: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("runbook: ")).collect();
    let wanted: Vec<_> =
        names.iter().map(|name| format!("docs/operations.md#{}", name.to_lowercase())).collect();
    assert_eq!(runbooks, wanted);
    for name in &names {
        let section =
            manual.split_once(&format!("\n### {name}\n")).unwrap_or_else(|| panic!("no section {name}")).1;
        let section = section.split("\n###").next().unwrap();
        for part in ["*Means:*", "*Fault:*", "*Look at:*", "*Do:*"] {
            assert!(section.contains(part), "{name} lacks {part}");
        }
    }
    let sections: Vec<_> = manual.lines().filter_map(|line| line.strip_prefix("### Tidegate")).collect();
    assert_eq!(sections.len(), names.len(), "a section without an alert: {sections:?}");
}

#[tokio::test]
async fn systemd_takes_the_unit_and_finds_it_well_locked_up() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: this test needs systemd-analyze");
        return;
    }
    // Its program must be there.
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("tidegate.service");
    let program = program().unwrap().display().to_string();
    std::fs::write(&unit, read("packaging/tidegate.service").replace("/usr/local/bin/tidegate", &program))
        .unwrap();
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&unit).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (well, said) = analyze(&["verify", "--man=no"]);
    let about_ours: Vec<_> = said.lines().filter(|line| line.contains("tidegate.service")).collect();
    assert!(well && about_ours.is_empty(), "{said}");
    // Exposure in tenths: 20 is 2.0 of 10.
    let (well, said) = analyze(&["security", "--offline=true", "--no-pager", "--threshold=20"]);
    assert!(well, "{said}");
}

#[test]
fn the_unit_and_the_container_name_settings_that_exist_and_run_as_nobody_in_particular() {
    let manual = read("host/config.default.toml");
    for path in ["packaging/tidegate.service", "packaging/Containerfile"] {
        let text = read(path);
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let variables: BTreeSet<_> = words.filter(|word| word.starts_with("TIDEGATE_")).collect();
        assert!(variables.len() >= 4, "{path}: {variables:?}");
        for variable in variables {
            assert!(manual.contains(&format!("#   {variable} ")), "{path}: {variable} is not in the manual");
        }
    }
    let container = read("packaging/Containerfile");
    let last = container.rsplit("\nFROM ").next().unwrap();
    assert!(last.contains("\nUSER 10001:10001") && !last.contains("cargo"), "{last}");
    assert!(container.contains("--locked") && container.matches("\nFROM ").count() == 2);
    let toolchain = read("rust-toolchain.toml");
    let version = container.split("rust:").nth(1).and_then(|rest| rest.split('-').next()).unwrap();
    assert!(toolchain.contains(&format!("\"{version}")), "{version} in {toolchain}");
}
