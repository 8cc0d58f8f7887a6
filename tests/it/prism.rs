//! The service reads from a bank that nobody here wrote: Prism, a server that makes up its answers
//! from the OpenAPI file of the standard and refuses requests that are not as it says.
//!
//! Prism is stateless and knows no more than the schemas. What a schema allows and no bank means is
//! taken out of the file first ([`narrowed`]): what remains is valid by the file as it is, only less
//! of it. Without that the service refuses what it gets, and the second test shows for which reason.

use crate::linked::{HOUR, accounts_read, until};
use crate::specification::{self, Specification, TRANSACTIONS};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tests::http::{Answer, Api, expect, items, text};
use tests::world::{World, WorldConfig};

/// Set to `1`, a missing Node is a failure instead of a skip.
const REQUIRE_VARIABLE: &str = "TIDEGATE_TESTS_REQUIRE_NODE";
const PRISM: &str = "@stoplight/prism-cli@5.14.2";
/// The first start downloads it.
const START_MAX: Duration = Duration::from_secs(300);
/// What it makes up depends on the seed: booked and pending rows, balances of other kinds.
const SEEDS: [u32; 3] = [2, 5, 7];

/// Stands between this process and Prism, and ends it when the pipe to this process closes. Prism is a
/// grandchild of npx, so it gets a process group, which can be ended whole.
const KEEPER: &str = r#"
trap : INT TERM HUP
setsid npx -y "$1" mock --dynamic --seed "$3" --errors -p 0 -h 127.0.0.1 "$2" 2>&1 </dev/null &
read -r _
kill -s KILL -- "-$!"
"#;

struct Prism {
    /// The institution that it stands for.
    id: String,
    origin: String,
    said: Arc<Mutex<Vec<String>>>,
    keeper: Child,
    leash: Option<ChildStdin>,
}

impl Drop for Prism {
    fn drop(&mut self) {
        drop(self.leash.take());
        let _ = self.keeper.wait();
    }
}

impl Prism {
    /// None, said loudly, if the machine has no Node and [`REQUIRE_VARIABLE`] is not `1`.
    async fn start(file: &Path, seed: u32) -> Option<Self> {
        let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
        if !has("npx") || !has("node") {
            let required = std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| value == "1");
            assert!(!required, "npx is not on PATH: install Node.js (Debian: `apt install npm`)");
            eprintln!("SKIPPED: this test needs Node.js, and npx is not on PATH");
            return None;
        }
        let file = file.to_owned();
        Some(tokio::task::spawn_blocking(move || Self::run(&file, seed)).await.unwrap())
    }

    fn run(file: &Path, seed: u32) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper", PRISM]).arg(file).arg(seed.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().unwrap();
        let (leash, out) = (keeper.stdin.take(), keeper.stdout.take().unwrap());
        let said = Arc::new(Mutex::new(Vec::new()));
        let (listening, listens) = mpsc::channel();
        let heard = said.clone();
        // Reads on until Prism ends: a full pipe would stop it.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some((_, origin)) = line.split_once("Prism is listening on ") {
                    let _ = listening.send(origin.trim().to_owned());
                }
                heard.lock().unwrap().push(line);
            }
        });
        let mut prism = Self { id: format!("prism-{seed}"), origin: String::new(), said, keeper, leash };
        match listens.recv_timeout(START_MAX) {
            Ok(origin) => prism.origin = origin,
            Err(_) => panic!("Prism does not start:\n{}", prism.said.lock().unwrap().join("\n")),
        }
        prism
    }

    /// Its answer to a question of our own; without saying which of the file's content types, it
    /// would give an encrypted one, which it cannot make.
    async fn ask(&self, path: &str) -> Answer {
        let api = Api::new(self.origin.clone(), Some("another-token")).unwrap();
        api.send(Method::GET, path, &[("accept", "application/json")], None).await.unwrap()
    }

    /// How often it was asked for a path.
    fn asked(&self, path: &str) -> usize {
        let said = self.said.lock().unwrap();
        let request = format!("] get {path} ");
        said.iter().filter(|line| line.contains("Request received") && line.contains(&request)).count()
    }

    /// What it found wrong with a request or with its own reply.
    fn complaints(&self) -> Vec<String> {
        let said = self.said.lock().unwrap();
        said.iter().filter(|line| line.to_lowercase().contains("violation")).cloned().collect()
    }

    fn profile(&self) -> (String, String) {
        let origin = &self.origin;
        let text = format!(
            "name = \"Prism\"\ncountry = \"GB\"\nconnector = \"open-banking-uk\"\n\
             [origins]\nauth = \"{origin}\"\nauthorise = \"{origin}\"\napi = \"{origin}\"\n"
        );
        (self.id.clone(), text)
    }
}

/// A world in which each of these is an institution.
async fn world(banks: &[Prism]) -> World {
    let address = |bank: &Prism| bank.origin.strip_prefix("http://").unwrap().to_owned();
    let (profiles, allow) = (banks.iter().map(Prism::profile).collect(), banks.iter().map(address).collect());
    World::start(WorldConfig { profiles, allow, ..WorldConfig::default() }).await.unwrap()
}

/// Links a customer with an access token that is good for a year: the file has no token endpoint.
async fn link(world: &World, institution: &str) -> String {
    let next_year = world.clock.now().plus(HOUR * 24 * 365);
    let request = json!({
        "institution_id": institution,
        "credentials": { "access-token": "an-access-token-for-prism", "refresh-token": "never-used-at-all" },
        "credential_expiry": { "access-token": next_year },
        "consent": { "granted_at": world.clock.now(), "scopes": [], "how": "test" },
    });
    let created = world.api.post("/v1/connections", &request).await.unwrap();
    expect(&created, 201).unwrap();
    created.text("/id").to_owned()
}

/// The specification, with less left open. Every change takes something away:
fn narrowed(mut file: Value) -> Value {
    let schemas = &mut file["components"]["schemas"];
    // Answers about an account are about the account that was listed: Prism does not look at the path.
    schemas["AccountId"] = json!({ "type": "string", "enum": ["22289"] });
    let accounts = &mut schemas["OBReadAccount6"]["properties"]["Data"]["properties"]["Account"];
    (accounts["minItems"], accounts["maxItems"]) = (json!(1), json!(1));
    // Three capitals are not yet a currency, and pounds have two decimals.
    for code in ["ActiveOrHistoricCurrencyCode_0", "ActiveOrHistoricCurrencyCode_1"] {
        schemas[code] = json!({ "type": "string", "enum": ["GBP"] });
    }
    schemas["OBActiveCurrencyAndAmount_SimpleType"]["pattern"] = json!("^\\d{1,10}\\.\\d{2}$");
    // A balance is not older than the clock of computers.
    let balances = &mut schemas["OBReadBalance1"]["properties"]["Data"]["properties"]["Balance"];
    balances["items"]["properties"]["DateTime"] =
        json!({ "type": "string", "enum": ["2026-11-20T12:00:00Z"] });
    // There is one page: a made-up link leads to somebody else's server.
    schemas["Links"]["properties"].as_object_mut().unwrap().remove("Next");
    // Rejected rows moved no money, and are left out: there must be others.
    schemas["OBEntryStatus1Code"]["enum"] = json!(["Booked", "Pending"]);
    schemas["OBReadDataTransaction6"]["properties"]["Transaction"]["minItems"] = json!(1);
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_syncs_once_from_the_specification_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("narrowed.json");
    let whole = serde_json::from_slice(&std::fs::read(specification::file()).unwrap()).unwrap();
    std::fs::write(&file, narrowed(whole).to_string()).unwrap();
    let mut banks = Vec::new();
    for seed in SEEDS {
        let Some(bank) = Prism::start(&file, seed).await else { return };
        banks.push(bank);
    }
    let world = world(&banks).await;
    let mut statuses = BTreeSet::new();
    for bank in &banks {
        statuses.extend(synced_once(&world, bank).await);
    }
    assert_eq!(statuses.len(), 2, "booked and pending rows");

    // Prism does complain: without a zone this is no date-time. (The refusal is made up as well; where that
    // does not match the file, it is a 500 in place of a 400.)
    let wrong = banks[0].ask("/accounts/22289/transactions?fromBookingDateTime=2026-01-01T00:00:00").await;
    assert!(matches!(wrong.status, 400 | 500), "{} {}", wrong.status, wrong.body);
    let of_request = "Violation: request.query.frombookingdatetime";
    until("the complaint", async || {
        banks[0].complaints().iter().any(|line| line.contains(of_request)).then_some(())
    })
    .await;
}

/// Links a customer, and compares what is stored with what Prism says; the statuses of the rows.
async fn synced_once(world: &World, bank: &Prism) -> BTreeSet<String> {
    let connection = link(world, &bank.id).await;
    let accounts = accounts_read(&world.api, &connection, 1).await;
    let account = format!("/v1/accounts/{}", accounts["22289"]);
    let synced = world.api.post(&format!("{account}/sync?wait=60"), &json!({})).await.unwrap();
    assert_eq!(synced.text("/code"), "SYNC_SUCCESSFUL", "{}: {}", bank.id, synced.body);

    // With its seed, it answers us what it answered the service.
    let answer = bank.ask("/accounts/22289/transactions").await;
    let faults = Specification::load().faults("get", TRANSACTIONS, &answer);
    assert!(faults.is_empty(), "valid by the whole file too: {faults:#?}");
    let said = answer.body["Data"]["Transaction"].as_array().unwrap();
    let stored = world.api.get(&format!("{account}/transactions")).await.unwrap();
    assert!(!said.is_empty());
    assert_eq!(items(&stored).len(), said.len());
    for row in said {
        let same = items(&stored).iter().find(|stored| stored["bank_id"] == row["TransactionId"]);
        let same = same.unwrap_or_else(|| panic!("{}: {row} is not in {}", bank.id, stored.body));
        assert_eq!(text(same, "/booked_on"), &text(row, "/BookingDateTime")[..10]);
        assert_eq!(text(same, "/text"), text(row, "/TransactionInformation"));
        assert_eq!(text(same, "/status"), text(row, "/Status").to_lowercase());
        let pence = |amount: &str| amount.replace('.', "").parse::<i64>().unwrap();
        let sign = if row["CreditDebitIndicator"] == "Debit" { -1 } else { 1 };
        assert_eq!(pence(text(same, "/amount")), sign * pence(text(row, "/Amount/Amount")));
    }
    assert!(bank.asked("/accounts/22289/balances") > 0);
    assert_eq!(bank.complaints(), Vec::<String>::new());
    items(&stored).iter().map(|row| text(row, "/status").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_somebody_elses_server_is_not_followed_and_nothing_is_stored() {
    let Some(prism) = Prism::start(&specification::file(), 1).await else { return };
    let prism = [prism];
    let (world, [prism]) = (world(&prism).await, &prism);
    let connection = link(&world, &prism.id).await;
    // Asked again an hour later, because the first list was refused.
    until("two lists of accounts", async || {
        world.advance(HOUR);
        (prism.asked("/accounts") >= 2).then_some(())
    })
    .await;
    let shown = world.api.get(&format!("/v1/connections/{connection}")).await.unwrap();
    assert_eq!((&shown.body["state"], &shown.body["accounts_listed"]), (&json!("active"), &json!(false)));
    let listed = world.api.get(&format!("/v1/accounts?connection_id={connection}")).await.unwrap();
    assert!(items(&listed).is_empty(), "{}", listed.body);
    assert_eq!(prism.complaints(), Vec::<String>::new());
}
