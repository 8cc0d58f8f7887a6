//! `cargo demo` as a newcomer meets it: it stays up, and what it says to try works as it stands there.

use crate::linked::accounts_read;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use tests::browser::Browser;
use tests::http::Api;

/// Set to `1`, a missing curl is a failure instead of a skip.
const REQUIRE_VARIABLE: &str = "TIDEGATE_TESTS_REQUIRE_CURL";

/// Runs lines of a shell; what they printed.
fn shell(lines: &[&str]) -> String {
    let output = Command::new("sh").args(["-c", &lines.join("\n")]).output().unwrap();
    assert!(output.status.success(), "{lines:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_demo_says_to_try_works() {
    if Command::new("curl").arg("--version").output().is_err() {
        let required = std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| value == "1");
        assert!(!required, "curl is not on PATH");
        eprintln!("SKIPPED: this test needs curl, which is not on PATH");
        return;
    }
    let mut demo = Command::new(env!("CARGO_BIN_EXE_demo")).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    let told: Vec<String> = said.by_ref().take_while(|line| !line.starts_with("Ctrl-C")).collect();
    let place = told.iter().position(|line| line.ends_with("in another terminal:")).expect("what to try");
    let lines: Vec<&str> = told[place + 1..].iter().map(|line| line.trim()).collect();
    let looks = lines.iter().position(|line| line.starts_with("# the accounts")).unwrap();

    let link = told.iter().find(|line| line.contains("/link/")).unwrap();
    let mut browser = Browser::new().unwrap();
    browser.visit(link.trim()).await.unwrap();
    assert!(browser.page.body.contains("Choose your bank"), "{}", browser.page.body);

    let created = shell(&lines[..looks]);
    let created: serde_json::Value = serde_json::from_str(&created).unwrap();
    let exported = shell(&[lines[0], "echo $API $KEY"]);
    let (origin, key) = exported.trim().split_once(' ').unwrap();
    let api = Api::new(origin, Some(key)).unwrap();
    let accounts = accounts_read(&api, created["id"].as_str().unwrap(), 2).await;
    let mut again = vec![lines[0]];
    again.extend(&lines[looks..]);
    let printed = shell(&again);
    assert!(accounts.values().all(|id| printed.contains(id)), "{printed}");
    let sync = &printed[printed.rfind("{\"id\":\"syn_").unwrap()..];
    assert!(sync.contains("SYNC_SUCCESSFUL") && sync.contains("\"added\":1"), "{sync}");
    let webhook = said.find(|line| line.starts_with("webhook account.updated")).expect("it is printed");
    assert!(accounts.values().any(|id| webhook.contains(id)), "{webhook}");

    shell(&[&format!("kill -INT {}", demo.id())]);
    assert!(demo.wait().unwrap().success());
}
