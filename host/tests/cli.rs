//! The program as an operator runs it: the real binary, a real folder, a real database.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A folder to run in, with nothing but the two folders that the service reads.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["institutions", "connectors"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    folder
}

fn tidegate(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command.env_clear().env("TIDEGATE_LISTEN", "127.0.0.1:0");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    tidegate(folder, arguments).output().unwrap()
}

#[track_caller]
fn good(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn bad(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// With a master key and a database of this version.
fn prepared() -> tempfile::TempDir {
    let folder = folder();
    good(folder.path(), &["vault", "new-key", "--file", "tidegate.key"]);
    good(folder.path(), &["migrate"]);
    folder
}

#[test]
fn without_a_key_or_a_migrated_database_nothing_starts_and_the_sentence_says_what_to_run() {
    let folder = folder();
    let here = folder.path();
    let command = "tidegate vault new-key --file tidegate.key";
    assert!(bad(here, &["serve"]).contains(command));
    good(here, &command.split(' ').skip(1).collect::<Vec<_>>());
    for arguments in [&["serve"][..], &["business", "list"]] {
        let sentence = bad(here, arguments);
        assert!(sentence.contains("tidegate migrate"), "{sentence}");
        assert_eq!(sentence.trim_end().lines().count(), 1, "{sentence}");
    }
    assert!(good(here, &["migrate"]).contains("applied"));
    assert_eq!(good(here, &["migrate"]), "the database is up to date\n");
}

#[test]
fn a_business_and_its_keys_are_made_listed_and_ended() {
    let folder = prepared();
    let here = folder.path();
    let business: serde_json::Value =
        serde_json::from_str(&good(here, &["business", "create", "Acme Ltd", "--json"])).unwrap();
    let business = business["id"].as_str().unwrap();
    assert!(good(here, &["business", "list"]).contains("Acme Ltd"));

    let made = good(here, &["api-key", "create", business, "--scopes", "read,sync", "--json"]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let (id, text) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let listed = good(here, &["api-key", "list", business]);
    assert!(listed.contains(id) && listed.contains("read,sync") && !listed.contains(text), "{listed}");
    good(here, &["api-key", "revoke", id]);
    assert!(bad(here, &["api-key", "revoke", id]).contains("no key"));

    let unknown = bad(here, &["api-key", "create", "biz_00000000000000000000000000"]);
    assert!(unknown.contains("tidegate business list"), "{unknown}");
}

#[test]
fn a_business_says_how_it_is_shown_and_takes_it_back() {
    let folder = prepared();
    let here = folder.path();
    let made = good(here, &["business", "create", "Acme Ltd", "--json"]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let business = made["id"].as_str().unwrap();
    let theme = |more: &[&'static str]| [&["business", "theme", business][..], more].concat();
    assert!(good(here, &theme(&[])).contains("is shown as Acme Ltd in #1d3f72; purpose: -"));
    let said = good(here, &theme(&["--display-name", "Acme", "--colour", "#7A1F3D", "--purpose", "Books."]));
    assert!(said.contains("is shown as Acme in #7a1f3d; purpose: Books."), "{said}");
    let listed = good(here, &["business", "list"]);
    assert!(listed.contains("Acme Ltd  Acme") && listed.contains("#7a1f3d"), "{listed}");
    let light = bad(here, &theme(&["--colour", "#ffcc00"]));
    assert!(light.contains("#ffcc00 is too light") && light.contains("such as #"), "{light}");
    assert!(bad(here, &theme(&["--colour", "blue"])).contains("#rrggbb"));
    let back = good(here, &theme(&["--display-name", "", "--colour", ""]));
    assert!(back.contains("is shown as Acme Ltd in #1d3f72; purpose: Books."), "{back}");
    let unknown = bad(here, &["business", "theme", "biz_00000000000000000000000000"]);
    assert!(unknown.contains("tidegate business list"), "{unknown}");
}

#[test]
fn a_registration_is_replaced_whole_and_its_values_are_never_shown() {
    let folder = prepared();
    let here = folder.path();
    std::fs::write(here.join("secret"), "hunter2\n").unwrap();
    let set = [
        "registration",
        "set",
        "demo-bank",
        "--value",
        "client-id=abc",
        "--value-file",
        "client-secret=secret",
    ];
    let first = good(here, &set);
    assert_eq!(first, good(here, &set), "it keeps its id");
    let listed = good(here, &["registration", "list"]);
    assert!(listed.contains("client-id,client-secret") && listed.contains("operator"), "{listed}");
    assert!(!listed.contains("hunter2") && !listed.contains("abc"), "{listed}");
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let id = first.split_whitespace().nth(1).unwrap();
    good(here, &["registration", "delete", id]);
    assert!(bad(here, &["registration", "delete", id]).contains("no registration"));
}

#[test]
fn a_new_master_key_takes_over_and_the_old_one_can_go() {
    let folder = prepared();
    let here = folder.path();
    std::fs::write(here.join("secret"), "hunter2").unwrap();
    good(here, &["registration", "set", "demo-bank", "--value-file", "client-secret=secret"]);
    good(here, &["vault", "new-key", "--file", "tidegate.key"]);
    assert_eq!(good(here, &["vault", "rotate"]), "wrapped 1 data keys again\n");
    let keys = std::fs::read_to_string(here.join("tidegate.key")).unwrap();
    let (new, old) = keys.split_once('\n').unwrap();
    std::fs::write(here.join("tidegate.key"), new).unwrap();
    assert!(good(here, &["registration", "list"]).contains("client-secret"));
    std::fs::write(here.join("tidegate.key"), old).unwrap();
    assert!(bad(here, &["registration", "list"]).contains("master key"));
}

#[test]
fn a_file_that_is_no_component_is_inspected_and_refused() {
    let folder = folder();
    std::fs::write(folder.path().join("x.wasm"), "hello").unwrap();
    let output = run(folder.path(), &["connector", "inspect", "x.wasm"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("would not load: "));
}

#[test]
fn serve_says_where_it_listens_and_ends_well_on_sigterm() {
    let folder = prepared();
    let mut server =
        tidegate(folder.path(), &["serve"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("tidegate listens on http://").unwrap_or_else(|| panic!("{line}"));
    std::net::TcpStream::connect(address).unwrap();
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.wait().unwrap().success());
}

#[test]
fn a_crash_writes_no_core_since_it_would_hold_every_secret() {
    let folder = prepared();
    let here = folder.path();
    // Whatever the machine allows by default: a core would lie in the folder.
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -c unlimited; exec \"$0\" serve", env!("CARGO_BIN_EXE_tidegate")]);
    shell.current_dir(here).env("TIDEGATE_LISTEN", "127.0.0.1:0").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut serving = shell.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(serving.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("listens"), "{said}");
    assert!(Command::new("kill").args(["-s", "ABRT", &serving.id().to_string()]).status().unwrap().success());
    assert!(!serving.wait().unwrap().success());
    let names = || std::fs::read_dir(here).unwrap().map(|entry| entry.unwrap().file_name());
    let cores: Vec<_> = names().filter(|name| name.to_string_lossy().starts_with("core")).collect();
    assert!(cores.is_empty(), "{cores:?}");
}
