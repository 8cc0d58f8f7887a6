//! A customer leaves: the consent ends at the bank, everything is erased, and nothing is left behind
//! in files, tables and logs. And before that, all of it can be taken along.

use crate::linked::{HOUR, Linked, told, until};
use crate::served::Served;
use host::model::{ConnectionId, Retention};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use std::collections::BTreeMap;
use std::time::Duration;
use tests::PATIENCE;
use tests::bank::{Correction, Fault, Hold, NewEntry, PathKind, Target};
use tests::http::{expect, items, text};
use tests::postgres::Postgres;
use tests::story::events;
use tests::world::{DEMO_BANK, World, WorldConfig};

const DELETED: &str = "connection.deleted";
const UNAVAILABLE: Fault = Fault::Status { status: 503, retry_after: None };

struct Scene {
    world: World,
    linked: Linked,
    endpoint: String,
}

impl Scene {
    async fn new() -> Self {
        let world = World::start(WorldConfig::default()).await.unwrap();
        let endpoint = world.endpoint().await.unwrap();
        let linked = Linked::new(&world, &world.api, "Ada Sample", 0).await;
        Self { world, linked, endpoint }
    }

    fn path(&self) -> String {
        format!("/v1/connections/{}", self.linked.connection)
    }

    /// How often the bank was asked to end the consent, and what it answered.
    fn ended_at_bank(&self) -> Vec<Option<u16>> {
        let mut requests = self.world.bank.requests();
        requests.retain(|request| request.kind == PathKind::Consent);
        requests.iter().map(|request| request.status).collect()
    }

    /// Waits for the event; what it says of the bank.
    async fn consent_ended(&self) -> bool {
        let found = |received: &[_]| {
            let told = events(received, DELETED, &self.linked.connection);
            told.first().map(|event| event.payload["data"]["consent_ended_at_bank"].clone())
        };
        self.world.sink.wait_for(DELETED, PATIENCE, found).await.unwrap().as_bool().unwrap()
    }

    /// Once, and nothing is left to read.
    async fn assert_gone(&self) {
        let id: ConnectionId = self.linked.connection.parse().unwrap();
        until("the erasure", async || self.world.app.store.is_erased(id).await.unwrap().then_some(())).await;
        let account = format!("/v1/accounts/{}", self.linked.ours(self.linked.everyday()));
        for path in [self.path(), account.clone(), format!("{account}/transactions")] {
            expect(&self.world.api.get(&path).await.unwrap(), 404).unwrap();
        }
        expect(&self.world.api.delete(&self.path()).await.unwrap(), 404).unwrap();
        assert_eq!(told(&self.world.api, &self.endpoint, DELETED).await, 1);
        assert_eq!(self.world.app.store.credentials(id).await.unwrap(), []);
    }

    async fn requests(&self, kind: PathKind, count: usize) {
        self.world.bank.wait_requests(kind, count, PATIENCE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consent_ends_at_the_bank_exactly_once_and_then_everything_is_gone() {
    let scene = Scene::new().await;
    let (world, linked) = (&scene.world, &scene.linked);
    world.bank.book(linked.everyday(), NewEntry::transfer("5.00", "RENT")).unwrap();
    linked.good_sync(linked.everyday()).await;
    let changes = format!("/v1/accounts/{}/changes", linked.ours(linked.everyday()));
    let cursor = world.api.get(&changes).await.unwrap().text("/next_cursor").to_owned();
    expect(&world.api.delete(&scene.path()).await.unwrap(), 204).unwrap();
    assert_eq!(scene.ended_at_bank(), [Some(204)]);
    assert!(scene.consent_ended().await);
    scene.assert_gone().await;
    let gone = world.api.get(&format!("{changes}?cursor={cursor}")).await.unwrap();
    assert_eq!((gone.status, gone.text("/code")), (410, "account-erased"), "{}", gone.body);
    // Polling has ended for good.
    let asked = world.bank.requests().len();
    world.advance(HOUR * 3);
    let other = Linked::new(world, &world.api, "Ben Example", 0).await;
    other.good_sync(other.everyday()).await;
    let theirs = |request: &tests::bank::LoggedRequest| {
        request.account.as_ref().is_none_or(|account| other.customer.accounts.contains(account))
    };
    assert!(world.bank.requests().iter().skip(asked).all(theirs));
    assert_eq!(scene.ended_at_bank(), [Some(204)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_at_the_bank_stores_nothing_and_asks_nothing_more() {
    let scene = Scene::new().await;
    let (world, linked) = (&scene.world, &scene.linked);
    world.bank.book(linked.everyday(), NewEntry::transfer("5.00", "TOO LATE")).unwrap();
    world.bank.hold(PathKind::Transactions, Hold::Answer);
    let waiting = linked.ask(linked.everyday(), 0, &json!({})).await;
    expect(&waiting, 202).unwrap();
    world.bank.wait_held(1, PATIENCE).await.unwrap();
    let read = world.bank.request_count(PathKind::Balances);
    expect(&world.api.delete(&scene.path()).await.unwrap(), 204).unwrap();
    world.bank.release();
    expect(&world.api.get(&format!("/v1/syncs/{}", waiting.text("/id"))).await.unwrap(), 404).unwrap();
    assert!(scene.consent_ended().await);
    scene.assert_gone().await;
    assert_eq!(world.bank.request_count(PathKind::Balances), read);
    assert_eq!(told(&world.api, &scene.endpoint, "sync.failed").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_is_down_is_asked_three_times_and_not_waited_for() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let before = world.bank.request_count(PathKind::Token);
    world.bank.fault(PathKind::Token, UNAVAILABLE, 100);
    let answer = world.api.delete(&scene.path()).await.unwrap();
    expect(&answer, 202).unwrap();
    assert!(answer.text("/message").contains("ten minutes"), "{}", answer.body);
    assert_eq!(answer.text("/id"), scene.linked.connection);
    // Gone for its business already; its name too.
    expect(&world.api.get(&scene.path()).await.unwrap(), 404).unwrap();
    expect(&world.api.delete(&scene.path()).await.unwrap(), 404).unwrap();
    let listed = world.api.get("/v1/connections").await.unwrap();
    assert_eq!(
        (&items(&listed)[0]["state"], &items(&listed)[0]["customer_ref"]),
        (&json!("closing"), &Value::Null)
    );
    assert_eq!(told(&world.api, &scene.endpoint, DELETED).await, 0);
    world.advance(Duration::from_secs(11));
    scene.requests(PathKind::Token, before + 2).await;
    until("the second pause", async || {
        // While the try lasts, the row is due when its lease runs out, minutes later.
        let due = world.app.store.next_due(world.clock.now()).await.unwrap().unwrap();
        let seconds = due.since(world.clock.now()).as_secs();
        (30..=60).contains(&seconds).then_some(())
    })
    .await;
    world.advance(Duration::from_secs(61));
    assert!(!scene.consent_ended().await);
    scene.assert_gone().await;
    assert_eq!(world.bank.request_count(PathKind::Token), before + 3);
    assert_eq!(scene.ended_at_bank(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_never_answers_is_given_up_after_ten_minutes() {
    let scene = Scene::new().await;
    let world = &scene.world;
    world.bank.hold(PathKind::Consent, Hold::Request);
    expect(&world.api.delete(&scene.path()).await.unwrap(), 202).unwrap();
    world.bank.wait_held(1, PATIENCE).await.unwrap();
    world.advance(Duration::from_secs(10 * 60 + 1));
    assert!(!scene.consent_ended().await);
    scene.assert_gone().await;
    world.bank.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_goes_on_where_it_was() {
    let mut scene = Scene::new().await;
    scene.world.bank.fault(PathKind::Consent, UNAVAILABLE, 1);
    expect(&scene.world.api.delete(&scene.path()).await.unwrap(), 202).unwrap();
    assert_eq!(scene.ended_at_bank(), [Some(503)]);
    scene.world.restart().await.unwrap();
    expect(&scene.world.api.get(&scene.path()).await.unwrap(), 404).unwrap();
    scene.world.advance(Duration::from_secs(11));
    assert!(scene.consent_ended().await);
    scene.assert_gone().await;
    assert_eq!(scene.ended_at_bank(), [Some(503), Some(204)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_cannot_be_asked_is_not_asked() {
    let mut scene = Scene::new().await;
    let profile = scene.world.folder().join(format!("institutions/{DEMO_BANK}.toml"));
    std::fs::remove_file(&profile).unwrap();
    scene.world.restart().await.unwrap();
    let asked = scene.world.bank.requests().len();
    expect(&scene.world.api.delete(&scene.path()).await.unwrap(), 204).unwrap();
    assert!(!scene.consent_ended().await);
    scene.assert_gone().await;
    assert_eq!(scene.world.bank.requests().len(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_becomes_unavailable_meanwhile_is_not_waited_for() {
    let mut scene = Scene::new().await;
    scene.world.bank.fault(PathKind::Consent, UNAVAILABLE, 100);
    expect(&scene.world.api.delete(&scene.path()).await.unwrap(), 202).unwrap();
    let profile = scene.world.folder().join(format!("institutions/{DEMO_BANK}.toml"));
    std::fs::remove_file(&profile).unwrap();
    scene.world.restart().await.unwrap();
    // Nobody claims rows of a bank without a profile; the limit ends it all the same.
    scene.world.advance(Duration::from_secs(10 * 60));
    assert!(!scene.consent_ended().await);
    scene.assert_gone().await;
    assert_eq!(scene.ended_at_bank(), [Some(503)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_ran_out_is_not_asked_about_and_one_that_was_taken_back_once() {
    let world = World::start(WorldConfig::default()).await.unwrap();
    let endpoint = world.endpoint().await.unwrap();
    let linked = Linked::new(&world, &world.api, "Ada Sample", 0).await;
    let mut scene = Scene { world, linked, endpoint };
    let world = &scene.world;
    world.bank.revoke_consent(&scene.linked.consent.consent_id).unwrap();
    let stopped = scene.linked.sync(scene.linked.everyday()).await;
    assert_eq!(stopped["code"], "REAUTHORISATION_REQUIRED", "{stopped}");
    world.bank.fault(PathKind::Consent, UNAVAILABLE, 1);
    expect(&world.api.delete(&scene.path()).await.unwrap(), 204).unwrap();
    assert!(!scene.consent_ended().await, "the bank failed, and is not asked again");
    assert_eq!(scene.ended_at_bank(), [Some(503)]);
    scene.assert_gone().await;

    scene.linked = Linked::new(world, &world.api, "Ben Example", 0).await;
    world.advance(HOUR * 24 * 91);
    let kind = "connection.reauthorisation_required";
    let found = |received: &[_]| (!events(received, kind, &scene.linked.connection).is_empty()).then_some(());
    world.sink.wait_for(kind, PATIENCE, found).await.unwrap();
    let asked = world.bank.requests().len();
    expect(&world.api.delete(&scene.path()).await.unwrap(), 204).unwrap();
    assert!(!scene.consent_ended().await);
    assert_eq!(world.bank.requests().len(), asked);
}

// ---- what is left behind

/// A database, looked at from outside.
enum Store {
    File(std::path::PathBuf),
    Server(String),
}

impl Store {
    /// All that it holds: every byte of the files; or every column of every table.
    async fn bytes(&self) -> Vec<u8> {
        match self {
            Self::File(folder) => {
                let mut all = Vec::new();
                for entry in std::fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    if path.file_name().unwrap().to_string_lossy().starts_with("tidegate.db") {
                        all.extend(std::fs::read(path).unwrap());
                    }
                }
                all
            }
            Self::Server(url) => {
                let mut server = PgConnection::connect(url).await.unwrap();
                let sql = "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns
                           WHERE table_schema = 'public' ORDER BY 1, 2";
                let columns: Vec<(String, String, String)> =
                    sqlx::query_as(sql).fetch_all(&mut server).await.unwrap();
                assert!(columns.len() > 100, "{columns:?}");
                let mut all = Vec::new();
                for (table, column, kind) in columns {
                    let bytes = if kind == "bytea" {
                        format!("\"{column}\"")
                    } else {
                        format!("convert_to(\"{column}\"::text, 'UTF8')")
                    };
                    let sql = AssertSqlSafe(format!("SELECT {bytes} FROM \"{table}\""));
                    let values: Vec<(Option<Vec<u8>>,)> =
                        sqlx::query_as(sql).fetch_all(&mut server).await.unwrap();
                    all.extend(values.into_iter().filter_map(|(value,)| value).flatten());
                    all.push(0);
                }
                all
            }
        }
    }

    /// How many rows of a table there are, under a condition.
    async fn count(&self, table: &str, condition: &str) -> i64 {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table} WHERE {condition}"));
        let (count,): (i64,) = match self {
            Self::File(folder) => {
                let url = format!("sqlite:{}", folder.join("tidegate.db").display());
                let mut file = SqliteConnection::connect(&url).await.unwrap();
                sqlx::query_as(sql).fetch_one(&mut file).await.unwrap()
            }
            Self::Server(url) => {
                let mut server = PgConnection::connect(url).await.unwrap();
                sqlx::query_as(sql).fetch_one(&mut server).await.unwrap()
            }
        };
        count
    }

    async fn assert_holds_none_of(&self, needles: &[String], connection: &str) {
        let bytes = self.bytes().await;
        let id: ConnectionId = connection.parse().unwrap();
        assert!(contains(&bytes, id.as_bytes()), "the connection is there, so the search works");
        for needle in needles {
            assert!(!contains(&bytes, needle.as_bytes()), "\"{needle}\" stands in the database");
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    let Some(first) = wanted.first() else { return true };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = &rest[at..];
        if rest.starts_with(wanted) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_customer_is_left_in_the_files_of_sqlite_and_in_the_logs() {
    let mut world = World::start(WorldConfig::default()).await.unwrap();
    let store = Store::File(world.folder().to_owned());
    leave_nothing_behind(&mut world, &store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_customer_is_left_in_the_tables_of_postgresql_and_in_the_logs() {
    let Some(postgres) = Postgres::shared().unwrap() else { return };
    let url = postgres.database().await.unwrap();
    let setup = WorldConfig { database: Some(url.clone()), ..WorldConfig::default() };
    let mut world = World::start(setup).await.unwrap();
    leave_nothing_behind(&mut world, &Store::Server(url)).await;
}

/// A customer comes, is synced in every way, and leaves; the service is killed while it asks the bank.
async fn leave_nothing_behind(world: &mut World, store: &Store) {
    let mut served = Served::start(world).await;
    let created = world.api.post("/v1/webhook-endpoints", &json!({ "url": world.sink.url() })).await.unwrap();
    expect(&created, 201).unwrap();
    world.sink.set_secrets([created.text("/secret")]);
    let linked = Linked::new(world, &world.api, "Ada Sample", 20).await;
    let (everyday, connection) = (linked.everyday().to_owned(), linked.connection.clone());
    world.bank.authorise(&everyday, NewEntry::card("-9.00", "HOTEL PENDING", "Hotel Bristol")).unwrap();
    world.bank.expire_access_tokens();
    linked.good_sync(&everyday).await; // renewed tokens are stored
    let body = json!({ "customer_present": { "ip": "203.0.113.77", "user_agent": "Ada's own browser" } });
    expect(&linked.ask(&everyday, 60, &body).await, 200).unwrap();
    let rows = world.bank.statement(&everyday).unwrap().rows;
    let correction = Correction { amount: None, text: Some("CORRECTED FOR ADA".into()) };
    world.bank.correct(&everyday, &rows[rows.len() - 2].id, correction).unwrap();
    world.bank.fault(Target::of(PathKind::Transactions, &everyday), Fault::EchoSecret, 1);
    assert_eq!(linked.sync(&everyday).await["reason"], "secret-echoed");
    linked.good_sync(&everyday).await;
    expect(&world.api.get(&format!("/v1/connections/{connection}/export")).await.unwrap(), 200).unwrap();

    let mut needles: Vec<String> = [
        "Ada Sample",
        "customer-42",
        "203.0.113.77",
        "Ada's own browser",
        "CORRECTED FOR ADA",
        "HOTEL PENDING",
    ]
    .map(str::to_owned)
    .into();
    let credentials = world.app.store.credentials(connection.parse().unwrap()).await.unwrap();
    assert!(credentials.len() >= 3, "an access and a refresh token and the consent's id are stored");
    needles.extend(credentials.iter().map(|credential| credential.value.reveal().to_owned()));
    needles.push(linked.consent.refresh_token.clone());
    needles.extend([created.text("/secret").to_owned(), world.bank.config().client_secret.clone()]);
    needles.push(world.api.key().unwrap().to_owned());
    let listed = world.api.get(&format!("/v1/accounts?connection_id={connection}")).await.unwrap();
    for account in items(&listed) {
        needles.extend([text(account, "/number").to_owned(), text(account, "/bank_id").to_owned()]);
    }
    for row in rows {
        needles.extend([row.text, row.id]);
        needles.extend(row.merchant);
    }
    assert!(needles.iter().all(|needle| needle.len() >= 4) && needles.len() > 50, "{needles:?}");
    store.assert_holds_none_of(&needles, &connection).await;
    assert!(store.count("txn_body", "sealed IS NOT NULL").await > 0);

    // Killed while the bank is asked, and started again.
    world.bank.hold(PathKind::Consent, Hold::Request);
    expect(&world.api.delete(&format!("/v1/connections/{connection}")).await.unwrap(), 202).unwrap();
    world.bank.wait_held(1, PATIENCE).await.unwrap();
    served.kill();
    world.bank.release();
    if let Store::Server(url) = store {
        // Another process may serve the same database: the lease of the dead one must run out first.
        let mut server = PgConnection::connect(url).await.unwrap();
        let sql = "UPDATE schedule SET due_at = 0 WHERE closing_at IS NOT NULL";
        assert_eq!(sqlx::query(sql).execute(&mut server).await.unwrap().rows_affected(), 1);
    }
    let served = Served::start(world).await;
    let found = |received: &[_]| (!events(received, DELETED, &connection).is_empty()).then_some(());
    world.sink.wait_for(DELETED, PATIENCE, found).await.unwrap();
    until("the erasure", async || {
        (store.count("connection", "erased_at IS NOT NULL").await == 1).then_some(())
    })
    .await;
    let log = served.end();

    store.assert_holds_none_of(&needles, &connection).await;
    for table in ["txn", "txn_body", "credential", "sync_request", "schedule"] {
        assert_eq!(store.count(table, "TRUE").await, 0, "{table}");
    }
    // The keys of the business, of the registration and of the endpoint.
    assert_eq!(store.count("data_key", "TRUE").await, 3);
    for (table, empty) in [
        ("txn_change", "before_image IS NULL AND after_image IS NULL"),
        ("account", "listed IS NULL AND bank_id_index IS NULL AND number_index IS NULL"),
        ("account_head", "balances = '[]' AND state IS NULL AND present IS NULL"),
        ("consent", "reference IS NULL AND ended_at IS NOT NULL"),
        ("connection", "customer_ref IS NULL AND customer_ref_index IS NULL AND session_state IS NULL"),
    ] {
        assert!(store.count(table, "TRUE").await > 0, "{table}");
        assert_eq!(store.count(table, &format!("NOT ({empty})")).await, 0, "{table}");
    }
    assert!(log.contains("\"level\":\"TRACE\""), "it was talkative");
    let erased = log.lines().find(|line| line.contains("\"message\":\"erased\"")).unwrap();
    assert!(erased.contains("\"consent_ended_at_bank\":true"), "{erased}");
    for needle in needles {
        let found = log.lines().find(|line| line.contains(&needle));
        assert_eq!(found, None, "\"{needle}\" is in the log");
    }
}

// ---- what can be taken along

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_all_that_is_needed_to_rebuild_the_accounts() {
    let world = World::start(WorldConfig::default()).await.unwrap();
    let linked = Linked::new(&world, &world.api, "Ada Sample", 40).await;
    let everyday = linked.everyday();
    let pending = world.bank.authorise(everyday, NewEntry::card("-9.00", "HOTEL", "Hotel")).unwrap();
    linked.good_sync(everyday).await;
    world.bank.settle(everyday, &pending.id, Some("-10.00")).unwrap();
    let wrong = world.bank.book(everyday, NewEntry::transfer("20.00", "A MISTAKE")).unwrap();
    linked.good_sync(everyday).await;
    world.bank.remove(everyday, &wrong.id).unwrap();
    linked.good_sync(everyday).await;

    let path = format!("/v1/connections/{}/export", linked.connection);
    let answer = world.api.get(&path).await.unwrap();
    expect(&answer, 200).unwrap();
    let lines: Vec<Value> =
        answer.body.as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str, account: &str| -> Vec<Value> {
        let lines = lines.iter().filter(|line| line["kind"] == kind).map(|line| &line["data"]);
        lines.filter(|data| data["account_id"] == account).cloned().collect()
    };
    for bank_id in &linked.customer.accounts {
        let account = linked.ours(bank_id);
        let mut rebuilt = BTreeMap::new();
        for change in of("change", account) {
            match &change["after"] {
                Value::Null => rebuilt.remove(text(&change, "/transaction_id")),
                after => rebuilt.insert(text(&change, "/transaction_id").to_owned(), after.clone()),
            };
        }
        let held = of("transaction", account);
        assert_eq!(held, linked.rows(bank_id).await, "as the API shows them");
        assert_eq!(held.len(), rebuilt.len());
        for row in held {
            let (row, rebuilt) = (row.as_object().unwrap(), rebuilt[text(&row, "/id")].as_object().unwrap());
            assert!(rebuilt.iter().all(|(field, value)| row[field] == *value), "{row:?} {rebuilt:?}");
        }
        linked.assert_like_the_bank(&world.bank, bank_id).await;
    }
    let exported = answer.body.as_str().unwrap();
    assert!(exported.contains("customer-42") && exported.contains("\"before\":{"));
    for credential in world.app.store.credentials(linked.connection.parse().unwrap()).await.unwrap() {
        // The consent's id is the business's own reference as well.
        let shown = exported.contains(credential.value.reveal());
        assert_eq!(shown, credential.name == "consent-id", "{}", credential.name);
    }
}

// ---- what goes by itself

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_go_by_themselves_and_the_history_stays() {
    let day = Duration::from_secs(24 * 3_600);
    let adjust: fn(&mut host::config::Config) =
        |config| config.retention = Retention::of_all(Duration::from_secs(24 * 3_600));
    let world = World::start(WorldConfig { adjust: Some(adjust), ..WorldConfig::default() }).await.unwrap();
    let endpoint = world.endpoint().await.unwrap();
    let linked = Linked::new(&world, &world.api, "Ada Sample", 5).await;
    let everyday = linked.everyday();
    let nothing_new = linked.good_sync(everyday).await;
    assert_eq!(nothing_new["has_new_data"], false);
    let account = format!("/v1/accounts/{}", linked.ours(everyday));
    let changes = world.api.get(&format!("{account}/changes")).await.unwrap();
    until("the first events", async || {
        let listed = world.api.get(&format!("/v1/webhook-endpoints/{endpoint}/deliveries")).await.unwrap();
        let done = items(&listed).iter().filter(|delivery| delivery["state"] == "delivered").count();
        (done == 2).then_some(())
    })
    .await;
    world.advance(day * 2);
    let gone = format!("/v1/syncs/{}", text(&nothing_new, "/id"));
    until("the old sync to go", async || (world.api.get(&gone).await.unwrap().status == 404).then_some(()))
        .await;
    until("the old deliveries to go", async || {
        let listed = world.api.get(&format!("/v1/webhook-endpoints/{endpoint}/deliveries")).await.unwrap();
        items(&listed).is_empty().then_some(())
    })
    .await;
    let again = world.api.get(&format!("{account}/changes")).await.unwrap();
    assert_eq!(again.body, changes.body);
    for change in items(&again) {
        let sync = world.api.get(&format!("/v1/syncs/{}", text(change, "/sync_id"))).await.unwrap();
        expect(&sync, 200).unwrap();
    }
    let shown = linked.account(everyday).await;
    expect(&world.api.get(&format!("/v1/syncs/{}", text(&shown, "/last_sync_id"))).await.unwrap(), 200)
        .unwrap();
}
