//! A connector that misbehaves, inside the whole service, through the public door: its accounts
//! fail with the rule that was broken, nothing is stored, and nobody else notices.
//!
//! Each refusal stands beside the same guest doing the same within what is allowed, or with what the
//! operator allowed in addition: then it gets through.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use crate::linked::accounts_read;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use host::clock::Clock;
use host::config::Config;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tests::http::{Answer, expect, items, text};
use tests::story::Story;
use tests::world::{World, WorldConfig};

/// The secret of every connection here: long enough to be searched for.
const TOKEN: &str = "a-token-that-nobody-may-see";

/// A bank of the hostile connector. The first segment of the path says whose profile asks.
struct Bank {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Bank {
    /// `elsewhere` is where its redirects lead.
    async fn start(elsewhere: Option<SocketAddr>) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let answer = move |uri: Uri, headers: HeaderMap| {
            log.lock().unwrap().push(uri.to_string());
            std::future::ready(answer(&uri, &headers, elsewhere))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Self { address, asked }
    }

    /// The paths that a profile asked for.
    fn asked_by(&self, profile: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let start = format!("/{profile}/");
        asked.iter().filter_map(|path| path.strip_prefix(&start)).map(str::to_owned).collect()
    }
}

fn answer(uri: &Uri, headers: &HeaderMap, elsewhere: Option<SocketAddr>) -> Response<Body> {
    let profile = uri.path().split('/').nth(1).unwrap_or_default();
    if profile == "redirected" {
        let there = format!("http://{}/redirected/data", elsewhere.unwrap());
        return Response::builder()
            .status(StatusCode::FOUND)
            .header("location", there)
            .body(Body::empty())
            .unwrap();
    }
    let today = Clock::system().now().utc().date_naive().to_string();
    let row = |number: u32, amount: &str, text: &str| json!({ "id": format!("row-{number}"), "amount": amount, "text": text, "booked_on": today });
    let spoilt = profile == "unreadable" && uri.query() == Some("account=acc-1");
    let said = if profile.starts_with("echo-secret") {
        headers.get("authorization").unwrap().to_str().unwrap()
    } else {
        "GROCER"
    };
    let body = json!({
        "transactions": [row(0, "-1.00", said), row(1, if spoilt { "1e3" } else { "-0.00" }, "BAKER")],
        "balances": [{ "kind": "booked", "amount": "99.00", "currency": "GBP" }],
    });
    Response::builder().header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
}

/// A profile of the hostile connector; `settings` are lines of its `[settings]`, and what follows them.
pub fn profile(origin: &str, settings: &str) -> String {
    format!(
        "name = \"Hostile\"\ncountry = \"GB\"\nconnector = \"hostile\"\n\
         [origins]\napi = \"{origin}\"\n[settings]\n{settings}\n"
    )
}

/// The same, but that nothing is planned for a week: what is counted, no planned sync adds to.
fn weekly(origin: &str, settings: &str) -> String {
    // No older history either: what is asked is one reading.
    profile(origin, &format!("{settings}\n[schedule]\ninterval-minutes = 10080\n[limits]\nhistory-days = 31"))
}

/// A connection at an institution, with a secret; its accounts by the bank's id, once the first sync
/// of each is over.
struct Linked {
    connection: String,
    accounts: BTreeMap<String, String>,
}

/// Links a customer with these credentials; the connection.
pub async fn link(world: &World, institution: &str, credentials: &Value) -> String {
    let request = json!({
        "institution_id": institution,
        "credentials": credentials,
        "consent": { "granted_at": world.clock.now(), "scopes": [], "how": "test" },
    });
    let created = world.api.post("/v1/connections", &request).await.unwrap();
    expect(&created, 201).unwrap();
    created.text("/id").to_owned()
}

async fn linked(world: &World, institution: &str, accounts: usize) -> Linked {
    let connection = link(world, institution, &json!({ "token": TOKEN, "pin": "1234" })).await;
    let accounts = accounts_read(&world.api, &connection, accounts).await;
    Linked { connection, accounts }
}

async fn get(world: &World, path: &str) -> Answer {
    let answer = world.api.get(path).await.unwrap();
    expect(&answer, 200).unwrap();
    answer
}

async fn sync(world: &World, account: &str) -> Value {
    let answer = world.api.post(&format!("/v1/accounts/{account}/sync?wait=60"), &json!({})).await.unwrap();
    expect(&answer, 200).unwrap();
    assert!(!answer.body.to_string().contains(TOKEN));
    answer.body
}

/// How many rows and balances are stored, and the number of the last change.
async fn stored(world: &World, account: &str) -> (usize, usize, i64) {
    let rows = get(world, &format!("/v1/accounts/{account}/transactions")).await;
    let balances = get(world, &format!("/v1/accounts/{account}/balances")).await;
    let head = get(world, &format!("/v1/accounts/{account}")).await;
    let changes = get(world, &format!("/v1/accounts/{account}/changes")).await;
    assert_eq!(items(&changes).len(), items(&rows).len());
    (items(&rows).len(), items(&balances).len(), head.body["seq"].as_i64().unwrap())
}

const NOTHING: (usize, usize, i64) = (0, 0, 0);
const BOTH_ROWS: (usize, usize, i64) = (2, 1, 2);

/// A profile, and what becomes of its sync.
struct Case {
    id: &'static str,
    settings: &'static str,
    /// Reason and a part of the message; none if it gets through.
    refused: Option<(&'static str, &'static str)>,
    /// How many requests of a sync reach the bank.
    asked: usize,
}

const fn fault(id: &'static str, settings: &'static str, rule: &'static str, asked: usize) -> Case {
    Case { id, settings, refused: Some(("connector-fault", rule)), asked }
}
const fn fine(id: &'static str, settings: &'static str, asked: usize) -> Case {
    Case { id, settings, refused: None, asked }
}
const fn echo(id: &'static str, settings: &'static str) -> Case {
    let sentence = "the bank's reply contained a secret; it was withheld from the connector";
    Case { id, settings, refused: Some(("secret-echoed", sentence)), asked: 1 }
}

/// Each harm, and beside it what the same guest may do.
const CASES: &[Case] = &[
    fine("good", "", 1),
    fault(
        "other-route",
        r#"mode = "undeclared-route""#,
        "/other-route/other, which is on no approved route; to declare it, write in connector.toml",
        0,
    ),
    fine("own-route", "mode = \"undeclared-route\"\npath = \"/data\"", 1),
    fault(
        "metadata",
        "mode = \"private-name\"\nurl = \"http://169.254.169.254/latest\"",
        "which is on no approved route",
        0,
    ),
    fault(
        "other-value",
        r#"mode = "undeclared-credential""#,
        "the value \"undeclared\" is not declared; write in connector.toml",
        0,
    ),
    fault(
        "pin-in-data",
        r#"mode = "pin-on-data-route""#,
        "the value \"pin\" is not declared for route \"data\"; add it to the value's `routes`",
        0,
    ),
    fault("login-in-read", r#"mode = "login-in-read""#, "may not be asked now", 0),
    fault("line-break", r#"mode = "header-line-break""#, "\"x-note\" holds a line break", 0),
    fault("line-break-bytes", r#"mode = "header-line-break-bytes""#, "\"x-note\" holds a line break", 0),
    fault("host", r#"mode = "forbidden-header""#, "the header \"host\" belongs to the host; leave it out", 0),
    fault(
        "cookie",
        "mode = \"forbidden-header\"\nheader = \"cookie\"",
        "the header \"cookie\" belongs to the host; leave it out",
        0,
    ),
    fine("own-header", "mode = \"forbidden-header\"\nheader = \"x-note\"", 1),
    fault("giant-request", r#"mode = "giant-request""#, "a request of more than 262144 bytes", 0),
    fine("long-request", "mode = \"giant-request\"\nbytes = 2000", 1),
    fault("asks-forever", r#"mode = "asks-forever""#, "more than 1000 steps in one sync", 1_000),
    fine("asks-often", "mode = \"asks-forever\"\ncount = 20", 20),
    fault("giant-memory", r#"mode = "giant-memory""#, "bytes of memory: 1048576, at most 65536 allowed", 0),
    fine("long-memory", "mode = \"giant-memory\"\nbytes = 65536", 1),
    fault("giant-state", r#"mode = "giant-state""#, "bytes of state: 1048576, at most 16384 allowed", 1),
    fine("long-state", "mode = \"giant-state\"\nbytes = 16384", 1),
    fault("many-requests", r#"mode = "many-requests""#, "requests of a step: 17, at most 16 allowed", 0),
    fine("some-requests", "mode = \"many-requests\"\ncount = 16", 16),
    fault("waits", r#"mode = "waits""#, "requests ask to wait longer than 60000 ms in one sync", 0),
    fine("waits-a-bit", "mode = \"waits\"\ncount = 1", 1),
    fault("wrong-account", r#"mode = "wrong-account""#, "a page names an account that was not wanted", 1),
    fault("panics", r#"mode = "panics""#, "a step trapped: ", 0),
    fault("recursion", r#"mode = "deep-recursion""#, "(endless recursion?)", 0),
    fine("shallow", "mode = \"deep-recursion\"\ncount = 100", 1),
    fault("redirected", r#"mode = "follows-redirect""#, "/redirected/data, which is on no approved route", 1),
    echo("echo-secret-text", "mode = \"echo\"\ninto = \"text\""),
    echo("echo-secret-details", "mode = \"echo\"\ninto = \"details\""),
    echo("echo-secret-state", "mode = \"echo\"\ninto = \"state\""),
    echo("echo-secret-memory", "mode = \"echo\"\ninto = \"memory\""),
];

/// The same again, apart from the table: what the address decides.
const BY_NAME: [&str; 4] = ["name-allowed", "name-next-port", "name-tls", "address-next-port"];

#[tokio::test]
async fn what_a_connector_may_not_do_fails_with_the_rule_and_stores_nothing() {
    // Both are on private addresses; the operator allows the first one only.
    let forbidden = Bank::start(None).await;
    let bank = Bank::start(Some(forbidden.address)).await;
    let (port, next) = (bank.address.port(), forbidden.address.port());
    let mut profiles: Vec<_> = CASES
        .iter()
        .map(|case| {
            (case.id.to_owned(), weekly(&format!("http://127.0.0.1:{port}/{}", case.id), case.settings))
        })
        .collect();
    let origins = [
        format!("http://localhost:{port}/name-allowed"),
        format!("http://localhost:{next}/name-next-port"),
        format!("https://localhost:{next}/name-tls"),
        format!("http://127.0.0.1:{next}/address-next-port"),
    ];
    profiles.extend(BY_NAME.iter().zip(&origins).map(|(id, origin)| ((*id).to_owned(), weekly(origin, ""))));
    let unreadable = weekly(&format!("http://127.0.0.1:{port}/unreadable"), "accounts = 2");
    profiles.push(("unreadable".into(), unreadable));
    let allow = vec![bank.address.to_string()];
    // So many profiles make more requests than one key may.
    let adjust: fn(&mut Config) = |config| (config.api_rate_per_s, config.api_burst) = (10_000, 10_000);
    let setup = WorldConfig { profiles, allow, adjust: Some(adjust), ..WorldConfig::default() };
    let mut world = World::start(setup).await.unwrap();
    let mut story = Story::begin(&world, &|_| {}).await.unwrap();

    let mut wrong = Vec::new();
    for case in CASES {
        if let Err(error) = check(&world, &bank, case).await {
            wrong.push(format!("{}: {error:#}", case.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(forbidden.asked.lock().unwrap().len(), 0, "no redirect leads there");

    private_names_are_not_reached(&world, &bank, &forbidden).await;
    an_unreadable_row_fails_its_account_only(&world).await;

    // Nobody else noticed: the demo bank's customer is linked, synced, and followed.
    story.link().await.unwrap();
    story.an_hour_passes().await.unwrap();
    story.compare_everything().await.unwrap();
    drop(story);
    world.stop().await.unwrap();
}

async fn check(world: &World, bank: &Bank, case: &Case) -> anyhow::Result<()> {
    let Linked { connection, accounts } = linked(world, case.id, 1).await;
    let account = &accounts["acc-1"];
    let before = bank.asked_by(case.id).len();
    let said = sync(world, account).await;
    let asked = bank.asked_by(case.id).len() - before;
    anyhow::ensure!(asked == case.asked, "asked {asked} times: {:?}", bank.asked_by(case.id).last());
    let stored = stored(world, account).await;
    let (code, reason, message) = (text(&said, "/code"), text(&said, "/reason"), text(&said, "/message"));
    match case.refused {
        None => {
            anyhow::ensure!(code == "SYNC_SUCCESSFUL", "{said}");
            anyhow::ensure!(stored == BOTH_ROWS, "stored {stored:?}");
        }
        Some((expected, rule)) => {
            anyhow::ensure!(code == "SYNC_ERROR" && reason == expected, "{said}");
            anyhow::ensure!(message.contains(rule), "{message}");
            let names_it = expected != "connector-fault" || message.contains("connector hostile 0.1.0: ");
            anyhow::ensure!(names_it, "{message}");
            anyhow::ensure!(said["has_new_data"] == false && said["next_at"].is_string(), "{said}");
            anyhow::ensure!(stored == NOTHING, "stored {stored:?}");
        }
    }
    // The connection goes on, whatever its connector did.
    let link = get(world, &format!("/v1/connections/{connection}")).await;
    anyhow::ensure!(link.text("/state") == "active", "{}", link.body);
    Ok(())
}

async fn private_names_are_not_reached(world: &World, bank: &Bank, forbidden: &Bank) {
    let next = forbidden.address.port();
    for (id, expected) in BY_NAME.into_iter().zip([
        None,
        Some(format!("\"localhost\" is 127.0.0.1:{next}, and plain http is only for allowed addresses")),
        Some(format!("\"localhost\" is 127.0.0.1:{next}, which is not an address of the public internet")),
        Some(format!("\"127.0.0.1\" is 127.0.0.1:{next}, and plain http is only for allowed addresses")),
    ]) {
        let Linked { accounts, .. } = linked(world, id, 1).await;
        let said = sync(world, &accounts["acc-1"]).await;
        let Some(sentence) = expected else {
            assert_eq!(text(&said, "/code"), "SYNC_SUCCESSFUL", "{said}");
            assert_eq!(stored(world, &accounts["acc-1"]).await, BOTH_ROWS);
            assert!(!bank.asked_by(id).is_empty());
            continue;
        };
        assert_eq!((text(&said, "/code"), text(&said, "/reason")), ("SYNC_ERROR", "connector-fault"));
        // A resolver may name the address of IPv6 first.
        let message = text(&said, "/message").replace("[::1]", "127.0.0.1");
        assert!(message.contains(&sentence), "{message}");
        assert!(message.contains("to egress.allow"), "{message}");
        assert_eq!(stored(world, &accounts["acc-1"]).await, NOTHING);
    }
    assert_eq!(forbidden.asked.lock().unwrap().len(), 0);
}

async fn an_unreadable_row_fails_its_account_only(world: &World) {
    let Linked { connection, accounts } = linked(world, "unreadable", 2).await;
    let (bad, good) = (&accounts["acc-1"], &accounts["acc-2"]);
    let said = sync(world, bad).await;
    assert_eq!((text(&said, "/code"), text(&said, "/reason")), ("SYNC_ERROR", "unreadable"), "{said}");
    assert_eq!(text(&said, "/message"), "row 1: amount could not be read");
    assert_eq!(stored(world, bad).await, NOTHING, "not even the good row, nor the balance");
    let said = sync(world, good).await;
    assert_eq!(text(&said, "/code"), "SYNC_SUCCESSFUL", "{said}");
    assert_eq!(stored(world, good).await, BOTH_ROWS);
    let rows = get(world, &format!("/v1/accounts/{good}/transactions")).await;
    assert!(items(&rows).iter().any(|row| row["amount"] == "0.00"), "-0.00 is zero: {}", rows.body);
    let link = get(world, &format!("/v1/connections/{connection}")).await;
    assert_eq!(link.text("/state"), "active");
}

#[tokio::test]
async fn a_connector_whose_steps_never_return_is_no_longer_run() {
    let bank = Bank::start(None).await;
    let origin = |id: &str| format!("http://{}/{id}", bank.address);
    let profiles = vec![
        ("endless".to_owned(), weekly(&origin("endless"), r#"mode = "never-returns""#)),
        ("sister".to_owned(), weekly(&origin("sister"), "")),
    ];
    let allow = vec![bank.address.to_string()];
    let mut world = World::start(WorldConfig { profiles, allow, ..WorldConfig::default() }).await.unwrap();
    let mut story = Story::begin(&world, &|_| {}).await.unwrap();
    let Linked { accounts: good, .. } = linked(&world, "sister", 1).await;
    let Linked { accounts: bad, .. } = linked(&world, "endless", 1).await;

    // The first sync was the first interruption.
    for _ in 0..2 {
        let said = sync(&world, &bad["acc-1"]).await;
        assert_eq!(text(&said, "/reason"), "connector-fault", "{said}");
        let rule = "connector hostile 0.1.0: a step did not return within 200 ms";
        assert!(text(&said, "/message").ends_with(rule), "{said}");
    }
    for account in [&bad["acc-1"], &good["acc-1"]] {
        let said = sync(&world, account).await;
        assert_eq!(text(&said, "/reason"), "not-configured", "{said}");
        let message = text(&said, "/message");
        assert!(
            message.contains("its connector is quarantined: a step did not return within 200 ms"),
            "{message}"
        );
        assert!(message.ends_with("install a mended version"), "{message}");
    }
    assert_eq!(stored(&world, &bad["acc-1"]).await, NOTHING);
    assert_eq!(stored(&world, &good["acc-1"]).await, BOTH_ROWS, "what was stored stays");
    let refused = world
        .api
        .post(
            "/v1/connections",
            &json!({
                "institution_id": "sister",
                "credentials": {},
                "consent": { "granted_at": world.clock.now(), "scopes": [], "how": "test" },
            }),
        )
        .await
        .unwrap();
    expect(&refused, 409).unwrap();

    story.link().await.unwrap(); // another connector
    drop(story);
    world.stop().await.unwrap();
}
