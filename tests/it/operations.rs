//! What an operator does, with the real program: start it with something missing, look into a
//! connector, rotate the master key, read the logs.

use crate::linked::{Linked, TOKEN_LIFE};
use crate::served::Served;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use tests::bank::{Fault, NewEntry, PathKind};
use tests::http::{items, text};
use tests::world::{DEMO_BANK, World, WorldConfig, components, program};

fn run(arguments: &[&str]) -> Output {
    Command::new(program().unwrap()).args(arguments).env_remove("TIDEGATE_MASTER_KEY").output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_without_a_master_key_or_a_migrated_database_says_what_to_do() {
    let components = components().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display();
    std::fs::create_dir(folder.path().join("institutions")).unwrap();
    let config = folder.path().join("tidegate.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"sqlite:{here}/tidegate.db\"\n\
         [vault]\nmaster-key-file = \"{here}/tidegate.key\"\n\
         [connectors]\ndir = \"{0}\"\ncache-dir = \"{0}/compiled\"\n[institutions]\ndir = \"{here}/institutions\"\n",
        components.display()
    );
    std::fs::write(&config, &text).unwrap();
    let config = config.display().to_string();
    let serve = || {
        let output = run(&["serve", "--config", &config]);
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        said(&output.stderr)
    };
    let key = format!("{here}/tidegate.key");
    let error = serve();
    assert!(error.contains(&format!("tidegate vault new-key --file {key}")), "{error}");
    assert!(!Path::new(&format!("{here}/tidegate.db")).exists(), "nothing was begun");

    assert!(run(&["vault", "new-key", "--file", &key]).status.success());
    let error = serve();
    assert!(error.contains("tidegate migrate"), "{error}");

    std::fs::write(&config, text.replace("listen", "lisen")).unwrap();
    let error = serve();
    assert!(error.contains("server.lisen; did you mean server.listen"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_shows_what_a_connector_may_do_and_why_another_would_not_load() {
    let file = components().await.unwrap().join("open-banking-uk.wasm");
    let output = run(&["connector", "inspect", &file.display().to_string()]);
    let shown = said(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for expected in [
        "connector  open-banking-uk ",
        "contract   0.1.0 (this host speaks 0.1.0)",
        "digest     sha256:",
        "exports\n  tidegate:connector/",
        "imports    none",
        "  token: POST {auth}/token (login, reply expires_in error)",
        "  transactions: GET {api}/accounts/*/transactions (read)",
        "  refresh-token: credential, fill, on token",
        "  authorise: GET {authorise}/authorize (customer)",
        "  client-secret: registration, fill, optional, on token",
        "  signing-key: registration, sign, optional, on token authorise",
        "  customer-ip: customer, fill, public, optional, on accounts balances transactions",
        "limits\n",
        "\nwould load\n",
    ] {
        assert!(shown.contains(expected), "\"{expected}\" is not in\n{shown}");
    }
    let folder = tempfile::tempdir().unwrap();
    let inspect = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let output = run(&["connector", "inspect", &file.display().to_string()]);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        let shown = said(&output.stdout);
        assert!(shown.lines().last().unwrap().starts_with("would not load: "), "{name}: {shown}");
        shown
    };
    inspect("text.wasm", b"not a component");
    let module = wat::parse_str("(module)").unwrap();
    inspect("module.wasm", &module);
    let importing =
        wat::parse_str("(component (import \"wasi:clocks/wall-clock@0.2.0\" (instance)))").unwrap();
    let shown = inspect("importing.wasm", &importing);
    assert!(shown.contains("imports\n  wasi:clocks/wall-clock@0.2.0"), "{shown}");
    // The same connector, but for one digit of its connector.toml.
    let mut other = std::fs::read(&file).unwrap();
    let (spoken, changed) = (b"contract = \"0.1.0\"", b"contract = \"0.2.0\"");
    let at = other.windows(spoken.len()).position(|window| window == spoken).unwrap();
    other[at..at + spoken.len()].copy_from_slice(changed);
    let shown = inspect("other-contract.wasm", &other);
    assert!(shown.contains("contract   0.2.0 (this host speaks 0.1.0)"), "{shown}");
    assert!(shown.ends_with("write contract = \"0.1.0\" and build it again\n"), "{shown}");

    let missing = run(&["connector", "inspect", "/nowhere.wasm"]);
    assert!(!missing.status.success() && said(&missing.stderr).contains("/nowhere.wasm"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_key_is_rotated_while_the_service_runs_and_the_old_one_can_go() {
    let mut world = World::start(WorldConfig::default()).await.unwrap();
    world.endpoint().await.unwrap();
    let mut linked = Linked::new(&world, &world.api, "Ada Sample", 2).await;
    let everyday = linked.everyday().to_owned();
    let file = world.folder().join("tidegate.key");
    let old = std::fs::read_to_string(&file).unwrap();

    // As the manual says: a new first key, every process again, then rotate.
    world.tidegate(&["vault", "new-key", "--file", &file.display().to_string()]).unwrap();
    let both = std::fs::read_to_string(&file).unwrap();
    let new = both.lines().next().unwrap().to_owned();
    assert!(both.ends_with(&old) && new.trim() != old.trim());
    world.restart().await.unwrap();
    linked.api = world.api.clone();
    linked.good_sync(&everyday).await;

    let syncing = async {
        for round in 0..5 {
            world.bank.book(&everyday, NewEntry::transfer("1.00", &format!("ROUND {round}"))).unwrap();
            world.advance(TOKEN_LIFE); // a token is sealed in every round
            linked.good_sync(&everyday).await;
        }
    };
    let rotating = async {
        let said = tokio::task::block_in_place(|| world.tidegate(&["vault", "rotate"])).unwrap();
        assert!(said.starts_with("wrapped ") && !said.starts_with("wrapped 0 "), "{said}");
    };
    tokio::join!(syncing, rotating);
    linked.assert_like_the_bank(&world.bank, &everyday).await;
    assert!(world.tidegate(&["vault", "rotate"]).unwrap().starts_with("wrapped 0 "), "nothing is left to do");

    std::fs::write(&file, format!("{new}\n")).unwrap();
    world.restart().await.unwrap();
    linked.api = world.api.clone();
    world.advance(TOKEN_LIFE);
    world.bank.book(&everyday, NewEntry::transfer("2.00", "WITHOUT THE OLD KEY")).unwrap();
    linked.good_sync(&everyday).await;
    linked.assert_like_the_bank(&world.bank, &everyday).await;

    // The old key alone opens nothing any more.
    std::fs::write(&file, &old).unwrap();
    world.restart().await.unwrap();
    let rows = format!("/v1/accounts/{}/transactions", linked.ours(&everyday));
    let closed = world.api.get(&rows).await;
    assert!(!closed.is_ok_and(|answer| answer.status == 200), "the old key must be of no use");
}

#[tokio::test(flavor = "multi_thread")]
async fn monitoring_reads_how_syncs_end_how_old_the_data_is_and_what_waits() {
    let mut world = World::start(WorldConfig::default()).await.unwrap();
    let service = Served::start(&mut world).await;
    let linked = Linked::new(&world, &world.api, "Ada Sample", 5).await;
    linked.good_sync(linked.everyday()).await;
    world.bank.fault(PathKind::Transactions, Fault::BadAmount { amount: "1e3".into() }, 10);
    assert_eq!(linked.sync(linked.everyday()).await["reason"], "unreadable");
    let shown = service.metrics().await;
    let number = |series: &str| {
        let line = shown.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("{series} is not in\n{shown}")).trim().parse::<f64>().unwrap()
    };
    let syncs = |code: &str, reason: &str| {
        let labels = format!("institution=\"{DEMO_BANK}\",code=\"{code}\",reason=\"{reason}\"");
        number(&format!("tidegate_syncs_total{{{labels}}}"))
    };
    assert!(syncs("SYNC_SUCCESSFUL", "") >= 3.0);
    assert!(syncs("SYNC_ERROR", "unreadable") >= 1.0);
    assert!(number("tidegate_sync_seconds_count") >= 4.0);
    let of = format!("{{institution=\"{DEMO_BANK}\"");
    assert_eq!(number(&format!("tidegate_accounts{of}}}")), linked.accounts.len() as f64);
    assert_eq!(number(&format!("tidegate_accounts_waiting{of}}}")), 0.0);
    for quantile in ["0.5", "0.95", "0.99"] {
        assert!(number(&format!("tidegate_data_age_seconds{of},quantile=\"{quantile}\"}}")) < 600.0);
    }
    for gauge in ["tidegate_runs_in_flight", "tidegate_deliveries_due", "tidegate_delivery_lag_seconds"] {
        assert!(number(gauge) >= 0.0);
    }
    assert!(shown.ends_with("# EOF\n"), "{shown}");
    service.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_at_their_most_talkative_hold_no_secret_no_body_and_no_customers_text() {
    let mut world = World::start(WorldConfig::default()).await.unwrap();
    let service = Served::start(&mut world).await;
    let key = world.api.key().unwrap().to_owned();

    let created =
        world.api.post("/v1/webhook-endpoints", &serde_json::json!({ "url": world.sink.url() })).await;
    let secret = created.unwrap().text("/secret").to_owned();
    world.sink.set_secrets([&secret]);
    let linked = Linked::new(&world, &world.api, "Ada Sample", 5).await;
    let everyday = linked.everyday();
    // A renewal, a bad row and a good one.
    world.bank.expire_access_tokens();
    linked.good_sync(everyday).await;
    for (fault, reason) in
        [(Fault::BadAmount { amount: "1e3".into() }, "unreadable"), (Fault::EchoSecret, "secret-echoed")]
    {
        world.bank.fault(PathKind::Transactions, fault, 10); // a planned sync may meet it, too
        assert_eq!(linked.sync(everyday).await["reason"], reason);
        world.bank.clear_faults();
    }
    linked.good_sync(everyday).await;

    let credentials = world.app.store.credentials(linked.connection.parse().unwrap()).await.unwrap();
    let mut needles: Vec<String> = credentials.iter().map(|one| one.value.reveal().to_owned()).collect();
    assert!(needles.len() >= 2);
    let master = std::fs::read_to_string(world.folder().join("tidegate.key")).unwrap();
    needles.push(master.trim().split_once(':').unwrap().1.to_owned());
    let listed = linked.api.get("/v1/accounts").await.unwrap();
    needles.extend(items(&listed).iter().map(|account| text(account, "/number").to_owned()));
    for row in world.bank.statement(everyday).unwrap().rows {
        needles.push(row.text);
        needles.extend(row.merchant);
    }
    needles.extend(
        ["Ada Sample", "customer-42", "CreditDebitIndicator", "refresh_token=", "Basic "].map(str::to_owned),
    );
    needles.extend([
        key,
        secret,
        linked.consent.refresh_token.clone(),
        world.bank.config().client_secret.clone(),
    ]);
    assert!(needles.iter().all(|needle| needle.len() >= 5), "{needles:?}");

    let log = service.end();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect();
    let level = |level: &str| lines.iter().filter(|line| line["level"] == level).count();
    assert!(level("TRACE") > 0 && level("DEBUG") > 0, "it was talkative: {} lines", lines.len());
    let synced = lines.iter().filter(|line| line["message"] == "synced").count();
    assert!(synced >= 6, "{synced}");
    for needle in needles {
        let found = log.lines().find(|line| line.contains(&needle));
        assert_eq!(found, None, "\"{needle}\" is in the log");
    }
}
