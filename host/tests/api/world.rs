//! A service with an empty database, and shorthands to fill it and to ask it.

use host::api::{self, key};
use host::app::{App, Bank};
use host::clock::Clock;
use host::config::Config;
use host::crew::Crew;
use host::egress::{Egress, EgressConfig};
use host::model::*;
use host::nudge::Nudge;
use host::sandbox::{Connector, Limits, Sandbox, SandboxConfig};
use host::store::{NewConnection, Store};
use host::sync::Health;
use host::telemetry::Metrics;
use host::vault::Vault;
use host::webhook::payload;
use reqwest::header::{HeaderMap, HeaderName};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

pub const START: Timestamp = Timestamp(1_800_000_000_000_000);
pub const INSTITUTION: &str = "example-bank";
pub const ASKING: &str = "asking-bank";
const LEASE: Duration = Duration::from_secs(300);

/// A running service. Its folder goes with it.
pub struct World {
    pub app: Arc<App>,
    pub base: String,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

/// A business and a key with all scopes.
#[derive(Clone)]
pub struct Tenant {
    pub business: BusinessId,
    pub key_id: ApiKeyId,
    pub key: String,
}

/// Everything of one business that has an id.
pub struct Estate {
    pub connection: ConnectionId,
    pub consent: ConsentId,
    pub authorisation: AuthorisationId,
    pub account: Account,
    pub transaction: TransactionId,
    pub sync: SyncId,
    pub endpoint: String,
    pub delivery: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
    pub fn header(&self, name: &str) -> Option<String> {
        let name: HeaderName = name.parse().unwrap();
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }
    /// The body, if the status is this one.
    pub fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() { Value::Null } else { self.json() }
    }
    /// The problem, if it is one with this status and code.
    pub fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.header("content-type").as_deref(), Some("application/problem+json"), "{self:?}");
        let json = self.is(status);
        assert_eq!(json["code"], code, "{json}");
        assert_eq!(json["status"], status);
        assert_eq!(json["type"], format!("/docs#{code}"));
        assert!(json["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{json}");
        json
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::beside(change, None).await
    }

    /// With a bank that can be asked. Nobody works here: the test says what its connector came to.
    pub async fn with_asking_bank() -> Self {
        let profile = "name = \"Asking Bank\"\ncountry = \"DE\"\nconnector = \"asking\"\n[origins]\n\
                       bank = \"https://bank.example\"\n[settings]\nasks = [\"form\"]\n";
        let bank = Bank::new(Institution::parse(ASKING, profile).unwrap(), Ok(asking().await));
        let fingerprint = bank.fingerprint.clone();
        let world = Self::beside(|_| {}, Some(bank)).await;
        world.app.store.approve_institution(ASKING, &fingerprint, START).await.unwrap();
        world.app.look_up_approvals().await.unwrap();
        world
    }

    async fn beside(change: impl FnOnce(&mut Config), other: Option<Bank>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let master_key = Vault::new_master_key_line().unwrap();
        let mut config = Config {
            metrics_listen: None,
            listen: "127.0.0.1:0".parse().unwrap(),
            public_url: "https://link.example".into(),
            database_url: format!("sqlite:{}", path.join("db").display()),
            master_key: Secret::new(master_key.clone()),
            master_key_file: None,
            institutions_dir: path.clone(),
            connectors_dir: path.clone(),
            cache_dir: path,
            egress: EgressConfig {
                allow: vec![],
                bank_timeout: Duration::from_secs(5),
                webhook_timeout: Duration::from_secs(5),
            },
            sandbox_threads: 1,
            compiler: vec![],
            lease: LEASE,
            sync_concurrency: 1,
            sync_on_demand_per_business: 1,
            sync_histories_per_business: 1,
            webhook_concurrency: 1,
            webhook_per_endpoint: 1,
            api_rate_per_s: 10_000,
            api_burst: 10_000,
            api_body_max: 64 * 1024,
            retention: Retention::of_all(Duration::from_secs(24 * 3_600)),
            telemetry: Default::default(),
            log_format: "text".into(),
            log_filter: "info".into(),
        };
        change(&mut config);
        let store = Store::open(&config.database_url, Arc::new(Vault::from_text(&master_key).unwrap()))
            .await
            .unwrap();
        store.migrate().await.unwrap();
        let clock = Clock::frozen(START);
        let profile = "name = \"Example Bank\"\ncountry = \"GB\"\nconnector = \"example\"\n[origins]\n";
        let institution = Institution::parse(INSTITUTION, profile).unwrap();
        let bank = Bank::new(institution, Err("there is no connector \"example\"; build it".into()));
        let mut institutions = BTreeMap::from([(INSTITUTION.to_owned(), Arc::new(bank))]);
        institutions.extend(other.map(|bank| (bank.institution.id.clone(), Arc::new(bank))));
        let app = Arc::new(App {
            egress: Egress::new(config.egress.clone(), clock.clone()),
            config,
            clock,
            store,
            institutions,
            nudge: Nudge::new(false),
            crew: Crew::alone("0.1.0", START),
            health: Health::default(),
            metrics: Metrics::default(),
            freshness: Default::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(api::serve(app.clone(), listener, std::future::pending()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { app, base, client, _folder: folder }
    }

    pub async fn tenant(&self, name: &str) -> Tenant {
        let business = self.app.store.create_business(name, START).await.unwrap().id;
        let (key_id, key) = self.key(business, &Scope::ALL).await;
        Tenant { business, key_id, key }
    }

    pub async fn key(&self, business: BusinessId, scopes: &[Scope]) -> (ApiKeyId, String) {
        let minted = key::mint().unwrap();
        let stored = ApiKey {
            id: minted.id,
            business,
            name: "test".into(),
            scopes: scopes.to_vec(),
            created_at: START,
            revoked_at: None,
        };
        self.app.store.create_api_key(&stored, &minted.hash).await.unwrap();
        (minted.id, minted.text.reveal().to_owned())
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.base))
    }

    pub async fn ask(&self, tenant: &Tenant, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let request = self.request(method, path).bearer_auth(&tenant.key);
        send(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    pub async fn get(&self, tenant: &Tenant, path: &str) -> Reply {
        self.ask(tenant, "GET", path, None).await
    }

    pub async fn post(&self, tenant: &Tenant, path: &str, body: &Value) -> Reply {
        self.ask(tenant, "POST", path, Some(body)).await
    }

    /// A connection as the store keeps it.
    pub async fn connection(&self, tenant: &Tenant, customer: &str) -> ConnectionId {
        let id = ConnectionId::new();
        let new = NewConnection {
            id,
            business: tenant.business,
            institution: INSTITUTION.into(),
            customer_ref: Some(customer.into()),
            credentials: vec![NewCredential {
                name: "token".into(),
                value: Secret::new("s3cret"),
                expires_at: None,
            }],
            consent: Some(NewConsent {
                granted_at: START,
                expires_at: None,
                scopes: vec!["ReadBalances".into()],
                how: "redirect".into(),
                reference: None,
            }),
            phase: 0,
            slot_at: START,
            due_at: START,
            linking: false,
        };
        self.app.store.create_connection(&new, START).await.unwrap();
        id
    }

    /// The lease on a connection that is due.
    pub async fn lease(&self, connection: ConnectionId) -> Lease {
        let now = self.app.clock.now();
        let permits = Permits::of_any([(INSTITUTION.to_owned(), 100)]);
        let leases = self.app.store.claim_due(now, now.plus(LEASE), &permits).await.unwrap();
        let mut wanted = None;
        for lease in leases {
            if lease.connection == connection {
                wanted = Some(lease);
            } else {
                self.app.store.release(&lease, now).await.unwrap();
            }
        }
        wanted.expect("the connection is due")
    }

    /// Lists one account under a lease.
    pub async fn account(&self, lease: &Lease, bank_id: &str) -> Account {
        let listed = BankAccount {
            bank_id: bank_id.into(),
            name: "Current account".into(),
            currency: Currency::from_code("GBP").unwrap(),
            number: Some("12345678".into()),
        };
        let event = |_, _, _| panic!("the first accounts are told by account.updated");
        self.app.store.record_accounts(lease, &[listed], None, &event, START).await.unwrap().remove(0)
    }

    /// What a run over an account leaves behind, told to those who wait.
    pub async fn run(
        &self,
        lease: &Lease,
        account: AccountId,
        changes: Vec<NewChange>,
        shape: fn(&mut Sync),
    ) -> Sync {
        let now = self.app.clock.now();
        let (id, trigger, present) = self.app.store.begin_asking(lease, account).await.unwrap();
        let mut sync = Sync {
            id,
            connection: lease.connection,
            account,
            trigger,
            customer_present: present.is_some(),
            started_at: now,
            finished_at: now,
            bank_asked_at: Some(now),
            bank_answered_at: Some(now),
            code: SyncCode::SyncSuccessful,
            reason: None,
            message: None,
            has_new_data: !changes.is_empty(),
            added: 0,
            modified: 0,
            removed: 0,
            proof: Proof::Unproved,
            seq: self.app.store.head(account).await.unwrap().unwrap().seq,
            epoch: 0,
            next_allowed_at: None,
            next_at: Some(now.plus(Duration::from_secs(3_600))),
            connector: "example 1.0.0".into(),
            runs: 1,
        };
        shape(&mut sync);
        let business = self
            .app
            .store
            .opened(std::slice::from_ref(lease))
            .await
            .unwrap()
            .remove(0)
            .unwrap()
            .connection
            .business;
        let due_at = now.plus(Duration::from_secs(3_600));
        let stored = if sync.code == SyncCode::SyncSuccessful {
            let gbp = Currency::from_code("GBP").unwrap();
            let balance = Balance {
                kind: BalanceKind::Booked,
                money: Money { minor: 120_450, currency: gbp },
                as_of: None,
                includes_pending: false,
                credit_included: Credit::None,
            };
            let commit = SyncCommit {
                sync,
                changes,
                missed: vec![],
                balances: vec![balance],
                state: None,
                history_from: None,
                history_due_at: None,
                rekeyed: vec![],
                standing: Default::default(),
                index: None,
                due_at,
                stale_at: due_at.plus(Duration::from_secs(3_600)),
            };
            let event = move |sync: &Sync| Some(payload::account_updated(business, sync, true));
            self.app.store.commit_sync(lease, &commit, event).await.unwrap()
        } else {
            let event = |sync: &Sync| Some(payload::sync_failed(business, sync));
            self.app.store.fail_sync(lease, &SyncFailure { sync, due_at }, &event).await.unwrap()
        };
        self.app.nudge.sync_finished(stored.id, true);
        stored
    }

    /// The run over the connection is over.
    pub async fn complete(&self, lease: &Lease) {
        let now = self.app.clock.now();
        let due_at = now.plus(Duration::from_secs(3_600));
        self.app.store.complete(lease, now, due_at, 0, now).await.unwrap();
    }

    /// One of everything.
    pub async fn estate(&self, tenant: &Tenant) -> Estate {
        let body = serde_json::json!({"url": "https://example.com/hook"});
        let endpoint = self.post(tenant, "/v1/webhook-endpoints", &body).await.is(201)["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let connection = self.connection(tenant, "customer-1").await;
        let lease = self.lease(connection).await;
        let account = self.account(&lease, "bank-1").await;
        let sync =
            self.run(&lease, account.id, vec![NewChange::added(entry(-320, "Coffee", 1))], |_| {}).await;
        self.complete(&lease).await;
        let deliveries =
            self.get(tenant, &format!("/v1/webhook-endpoints/{endpoint}/deliveries")).await.is(200);
        let link = self.post(tenant, "/v1/links", &serde_json::json!({})).await.is(201);
        Estate {
            authorisation: link["id"].as_str().unwrap().parse().unwrap(),
            connection,
            consent: self.app.store.consent(connection).await.unwrap().unwrap().id,
            transaction: TransactionId { account: account.id, number: 1 },
            sync: sync.id,
            account,
            endpoint,
            delivery: deliveries["items"][0]["id"].as_str().unwrap().to_owned(),
        }
    }
}

/// The connector that asks its customers, built and compiled once.
async fn asking() -> Arc<Connector> {
    static ASKING: OnceCell<Arc<Connector>> = OnceCell::const_new();
    let load = || async {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests/asking");
        let component = std::fs::read(host::cli::connector::build::build(&guest, folder).unwrap()).unwrap();
        let sandbox = Sandbox::new(SandboxConfig {
            threads: 1,
            cache_dir: folder.join("compiled"),
            compiler: [env!("CARGO_BIN_EXE_tidegate"), "connector", "compile"].map(String::from).to_vec(),
            cache_key: [7; 32],
            limits: Limits::default(),
        });
        Arc::new(sandbox.unwrap().load(&component).await.unwrap())
    };
    ASKING.get_or_init(load).await.clone()
}

/// A booked entry of so many pence on a day of January 2027.
pub fn entry(minor: i64, text: &str, day: u32) -> Transaction {
    Transaction {
        bank_id: Some(format!("bank-{day}-{text}")),
        stability: IdStability::Immutable,
        supersedes: None,
        status: TransactionStatus::Booked,
        booked_on: chrono::NaiveDate::from_ymd_opt(2027, 1, day),
        valued_on: None,
        money: Money { minor, currency: Currency::from_code("GBP").unwrap() },
        text: text.into(),
        counterparty: None,
        balance_after: None,
        details: "{}".into(),
    }
}

pub async fn send(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    Reply {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.unwrap(),
    }
}
