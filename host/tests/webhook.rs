//! Webhooks against real receivers: the real database, the real way out, the real worker.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use host::app::App;
use host::clock::Clock;
use host::config::Config;
use host::egress::EgressConfig;
use host::model::{
    BusinessId, ConnectionId, DeliveryState, Endpoint, EndpointId, EndpointSecret, EndpointState, NewEvent,
    Retention, Role, Secret,
};
use host::nudge::Bell;
use host::store::{Attempt, Delivery, NewConnection, Store};
use host::vault::Vault;
use host::webhook::{payload, sign};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// Nothing here takes nearly as long on a working machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of a webhook exchange in these tests.
const TIMEOUT: Duration = Duration::from_secs(20);

// ---- a receiver

/// What a receiver does with a request.
enum Says {
    Status(u16),
    With(u16, &'static str, String),
    /// Answers 200 when the gate opens, which may be never.
    Waits,
}

#[derive(Debug, Clone)]
struct Got {
    path: String,
    headers: HeaderMap,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }
    /// Signed by this secret, says the official library? (Its `verify` also wants the real time.)
    fn is_signed_by(&self, secret: &Secret) -> bool {
        let library = standardwebhooks::Webhook::new(secret.reveal()).unwrap();
        let at = self.header("webhook-timestamp").parse().unwrap();
        let expected = library.sign(self.header("webhook-id"), at, self.body.as_bytes()).unwrap();
        self.header("webhook-signature").split(' ').any(|one| one == expected)
    }
}

struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    got: Mutex<Vec<Got>>,
    gate: Semaphore,
    says: Box<dyn Fn(usize) -> Says + Send + Sync>,
}

impl Receiver {
    /// `says`: the answer to the request of that number, counted from 0.
    async fn start(says: impl Fn(usize) -> Says + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared { got: Mutex::default(), gate: Semaphore::new(0), says: Box::new(says) };
        let shared = Arc::new(shared);
        let app = Router::new().fallback(receive).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, shared }
    }
    fn got(&self) -> Vec<Got> {
        self.shared.got.lock().unwrap().clone()
    }
    async fn got_at_least(&self, count: usize) -> Vec<Got> {
        until(&format!("{count} webhooks"), async || Some(self.got()).filter(|got| got.len() >= count)).await
    }
    fn open_gate(&self) {
        self.shared.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

async fn receive(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let number = {
        let mut got = shared.got.lock().unwrap();
        got.push(Got {
            path: uri.path().to_owned(),
            headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        });
        got.len() - 1
    };
    let status = |code| StatusCode::from_u16(code).unwrap();
    match (shared.says)(number) {
        Says::Status(code) => status(code).into_response(),
        Says::With(code, name, value) => (status(code), [(name, value)]).into_response(),
        Says::Waits => {
            let _open = shared.gate.acquire().await;
            StatusCode::OK.into_response()
        }
    }
}

// ---- the service

struct House {
    app: Arc<App>,
    business: BusinessId,
    _folder: tempfile::TempDir,
}

struct Worker {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl House {
    async fn build(allow: &[SocketAddr], change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["institutions", "connectors"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            metrics_listen: None,
            public_url: "http://127.0.0.1:1".to_owned(),
            database_url: format!("sqlite:{}", path("db").display()),
            master_key: Secret::new(Vault::new_master_key_line().unwrap()),
            master_key_file: None,
            institutions_dir: path("institutions"),
            connectors_dir: path("connectors"),
            cache_dir: path("cache"),
            egress: EgressConfig { allow: allow.to_vec(), bank_timeout: TIMEOUT, webhook_timeout: TIMEOUT },
            sandbox_threads: 1,
            compiler: Vec::new(),
            lease: Duration::from_secs(60),
            sync_concurrency: 1,
            sync_on_demand_per_business: 1,
            sync_histories_per_business: 1,
            webhook_concurrency: 16,
            webhook_per_endpoint: 4,
            api_rate_per_s: 1_000,
            api_burst: 1_000,
            api_body_max: 65_536,
            retention: Retention::of_all(Duration::from_secs(24 * 3_600)),
            telemetry: Default::default(),
            log_format: "text".to_owned(),
            log_filter: "warn".to_owned(),
        };
        change(&mut config);
        let vault = Arc::new(Vault::from_text(config.master_key.reveal()).unwrap());
        let store = Store::open(&config.database_url, vault).await.unwrap();
        store.migrate().await.unwrap();
        drop(store);
        let app = App::build(config, Clock::system(), Role::ALL.into()).await.unwrap();
        let business = app.store.create_business("Acme", app.clock.now()).await.unwrap().id;
        Self { app, business, _folder: folder }
    }

    fn work(&self) -> Worker {
        let (stop, stopping) = watch::channel(false);
        Worker { stop, task: tokio::spawn(host::webhook::run(self.app.clone(), stopping)) }
    }

    async fn endpoint(&self, address: SocketAddr) -> Endpoint {
        self.endpoint_with(
            address,
            vec![EndpointSecret { secret: sign::new_secret().unwrap(), expires_at: None }],
        )
        .await
    }

    async fn endpoint_with(&self, address: SocketAddr, secrets: Vec<EndpointSecret>) -> Endpoint {
        let endpoint = Endpoint {
            id: EndpointId::new(),
            business: self.business,
            url: format!("http://{address}/hook"),
            event_types: Vec::new(),
            state: EndpointState::Active,
            disabled_reason: None,
            failing_since: None,
            secrets,
            created_at: self.app.clock.now(),
        };
        self.app.store.create_endpoint(&endpoint).await.unwrap();
        endpoint
    }

    /// Something happens that all endpoints are told.
    async fn event(&self) -> NewEvent {
        let (id, now) = (ConnectionId::new(), self.app.clock.now());
        let connection = NewConnection {
            id,
            business: self.business,
            institution: "demo-bank".to_owned(),
            customer_ref: None,
            credentials: Vec::new(),
            consent: None,
            phase: 0,
            slot_at: now,
            due_at: now,
            linking: false,
        };
        self.app.store.create_connection(&connection, now).await.unwrap();
        let event = payload::connection_deleted(self.business, id, "demo-bank", Some(false), now);
        assert!(self.app.store.delete_connection(self.business, id, &event, now).await.unwrap());
        self.app.nudge.ring(Bell::Webhooks);
        event
    }

    async fn deliveries(&self, endpoint: &Endpoint) -> Vec<Delivery> {
        self.app.store.deliveries(endpoint.id, None, 1_000).await.unwrap().items
    }

    /// The endpoint's one delivery, once so many attempts are recorded.
    async fn after_attempts(&self, endpoint: &Endpoint, count: i32) -> (Delivery, Vec<Attempt>) {
        let what = format!("{count} attempts");
        let delivery = until(&what, async || {
            self.deliveries(endpoint).await.into_iter().find(|delivery| delivery.attempts >= count)
        });
        let delivery = delivery.await;
        let attempts = self.app.store.attempts(endpoint.id, delivery.id).await.unwrap();
        (delivery, attempts)
    }

    async fn endpoint_now(&self, endpoint: &Endpoint) -> Endpoint {
        self.app.store.endpoint(self.business, endpoint.id).await.unwrap().unwrap()
    }
}

impl Worker {
    /// Stops as on SIGTERM.
    async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(PATIENCE, self.task).await.expect("the worker stops").unwrap();
    }
    /// Stops as on SIGKILL.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Waits for a fact.
async fn until<T>(what: &str, fact: impl AsyncFn() -> Option<T>) -> T {
    let look = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            tick.tick().await;
            if let Some(found) = fact().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}

// ---- the tests

#[tokio::test]
async fn a_webhook_arrives_signed_and_is_recorded() {
    let receiver = Receiver::start(|_| Says::Status(204)).await;
    let house = House::build(&[receiver.address], |_| {}).await;
    let endpoint = house.endpoint(receiver.address).await;
    let worker = house.work();
    let event = house.event().await;

    let got = receiver.got_at_least(1).await.remove(0);
    assert_eq!(got.body, event.payload);
    assert_eq!(got.header("webhook-id"), event.id.to_string());
    assert_eq!(got.header("content-type"), "application/json");
    assert!(got.header("user-agent").starts_with("Tidegate/"));
    let library = standardwebhooks::Webhook::new(endpoint.secrets[0].secret.reveal()).unwrap();
    library.verify(got.body.as_bytes(), &got.headers).unwrap();
    assert!(library.verify(b"{}", &got.headers).is_err());

    let (delivery, attempts) = house.after_attempts(&endpoint, 1).await;
    assert_eq!(delivery.state, DeliveryState::Delivered);
    assert_eq!((attempts[0].outcome.status, &attempts[0].outcome.error), (Some(204), &None));
    worker.stop().await;
    assert_eq!(receiver.got().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_a_failure_that_is_not_followed_and_a_retry_has_the_same_id_and_a_new_time() {
    let receiver = Receiver::start(|number| match number {
        0 => Says::With(307, "location", "/elsewhere".to_owned()),
        _ => Says::Status(200),
    })
    .await;
    let house = House::build(&[receiver.address], |_| {}).await;
    let endpoint = house.endpoint(receiver.address).await;
    let worker = house.work();
    house.event().await;

    let (delivery, attempts) = house.after_attempts(&endpoint, 1).await;
    assert_eq!(delivery.state, DeliveryState::Pending);
    assert_eq!(
        (attempts[0].outcome.status, attempts[0].outcome.error.as_deref()),
        (Some(307), Some("status"))
    );
    assert!(house.endpoint_now(&endpoint).await.failing_since.is_some());

    house.app.clock.advance(Duration::from_secs(10)); // the second attempt is due after 4 to 6 s
    let (delivery, _) = house.after_attempts(&endpoint, 2).await;
    assert_eq!(delivery.state, DeliveryState::Delivered);
    assert_eq!(house.endpoint_now(&endpoint).await.failing_since, None);
    let got = receiver.got();
    assert_eq!(got.len(), 2);
    assert!(got.iter().all(|one| one.path == "/hook" && one.is_signed_by(&endpoint.secrets[0].secret)));
    assert_eq!(got[0].header("webhook-id"), got[1].header("webhook-id"));
    let at = |one: &Got| one.header("webhook-timestamp").parse::<i64>().unwrap();
    assert!(at(&got[1]) >= at(&got[0]) + 10, "{} {}", at(&got[0]), at(&got[1]));
    worker.stop().await;
}

#[tokio::test]
async fn an_answer_of_410_disables_the_endpoint_and_cancels_what_waits() {
    let receiver = Receiver::start(|_| Says::Status(410)).await;
    let house = House::build(&[receiver.address], |config| config.webhook_per_endpoint = 1).await;
    let endpoint = house.endpoint(receiver.address).await;
    for _ in 0..3 {
        house.event().await;
    }
    let worker = house.work();
    let now = until("the endpoint is disabled", async || {
        Some(house.endpoint_now(&endpoint).await).filter(|endpoint| endpoint.state == EndpointState::Disabled)
    });
    assert_eq!(now.await.disabled_reason.as_deref(), Some("the receiver answered 410 Gone"));
    worker.stop().await;
    assert_eq!(receiver.got().len(), 1);
    assert!(
        house.deliveries(&endpoint).await.iter().all(|delivery| delivery.state == DeliveryState::Cancelled)
    );
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it() {
    let receiver = Receiver::start(|_| Says::With(429, "retry-after", "3600".to_owned())).await;
    let house = House::build(&[receiver.address], |_| {}).await;
    let endpoint = house.endpoint(receiver.address).await;
    let worker = house.work();
    house.event().await;
    let (delivery, attempts) = house.after_attempts(&endpoint, 1).await;
    let wait = delivery.due_at.unwrap().since(attempts[0].outcome.at);
    assert!((3_600..3_700).contains(&wait.as_secs()), "{wait:?}");
    worker.stop().await;
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_given_up_in_time_and_tried_again() {
    let receiver = Receiver::start(|_| Says::Waits).await;
    let house = House::build(&[receiver.address], |config| {
        config.egress.webhook_timeout = Duration::from_millis(200);
    })
    .await;
    let endpoint = house.endpoint(receiver.address).await;
    let worker = house.work();
    house.event().await;
    let (delivery, attempts) = house.after_attempts(&endpoint, 1).await;
    assert_eq!(delivery.state, DeliveryState::Pending);
    assert_eq!((attempts[0].outcome.status, attempts[0].outcome.error.as_deref()), (None, Some("timeout")));
    assert!(attempts[0].outcome.duration_ms >= 200);
    worker.stop().await;
}

#[tokio::test]
async fn an_address_inside_the_network_is_not_reached() {
    let allowed = Receiver::start(|_| Says::Status(200)).await;
    let inside = Receiver::start(|_| Says::Status(200)).await;
    let house = House::build(&[allowed.address], |_| {}).await;
    let endpoint = house.endpoint(inside.address).await;
    let worker = house.work();
    house.event().await;
    let (_, attempts) = house.after_attempts(&endpoint, 1).await;
    let error = attempts[0].outcome.error.as_deref();
    assert!(matches!(error, Some("blocked-address" | "refused")), "{error:?}");
    assert!(inside.got().is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn dead_endpoints_do_not_delay_healthy_ones() {
    let dead = Receiver::start(|_| Says::Waits).await;
    let healthy = Receiver::start(|_| Says::Status(200)).await;
    let house = House::build(&[dead.address, healthy.address], |config| config.webhook_concurrency = 8).await;
    house.endpoint(dead.address).await;
    let served = house.endpoint(healthy.address).await;
    for _ in 0..20 {
        house.event().await; // the dead one has 20 deliveries waiting, too
    }
    let worker = house.work();
    healthy.got_at_least(20).await;
    let all = until("all are recorded", async || {
        let deliveries = house.deliveries(&served).await;
        deliveries.iter().all(|one| one.state == DeliveryState::Delivered).then_some(deliveries.len())
    });
    assert_eq!(all.await, 20);
    assert!((1..=4).contains(&dead.got().len()), "{} in flight to the dead one", dead.got().len());
    dead.open_gate();
    dead.got_at_least(20).await;
    worker.stop().await;
}

#[tokio::test]
async fn while_a_secret_is_rotated_both_sign_and_then_only_the_new_one() {
    let receiver = Receiver::start(|_| Says::Status(200)).await;
    let house = House::build(&[receiver.address], |_| {}).await;
    let (new, old) = (sign::new_secret().unwrap(), sign::new_secret().unwrap());
    let end = house.app.clock.now().plus(Duration::from_secs(3_600));
    let secrets = vec![
        EndpointSecret { secret: new.clone(), expires_at: None },
        EndpointSecret { secret: old.clone(), expires_at: Some(end) },
    ];
    house.endpoint_with(receiver.address, secrets).await;
    let worker = house.work();
    house.event().await;
    let got = receiver.got_at_least(1).await;
    assert_eq!(got[0].header("webhook-signature").split(' ').count(), 2);
    assert!(got[0].is_signed_by(&new) && got[0].is_signed_by(&old));

    house.app.clock.advance(Duration::from_secs(3_601));
    house.event().await;
    let got = receiver.got_at_least(2).await;
    assert_eq!(got[1].header("webhook-signature").split(' ').count(), 1);
    assert!(got[1].is_signed_by(&new) && !got[1].is_signed_by(&old));
    worker.stop().await;
}

#[tokio::test]
async fn what_was_sent_but_not_recorded_when_the_worker_died_is_sent_again() {
    let receiver = Receiver::start(|number| if number == 0 { Says::Waits } else { Says::Status(200) }).await;
    let house = House::build(&[receiver.address], |_| {}).await;
    let endpoint = house.endpoint(receiver.address).await;
    let worker = house.work();
    let event = house.event().await;
    receiver.got_at_least(1).await;
    worker.kill().await;
    receiver.open_gate();
    assert_eq!(house.deliveries(&endpoint).await[0].attempts, 0);

    let worker = house.work();
    house.app.clock.advance(TIMEOUT + Duration::from_secs(16)); // the lease of the dead one is over
    let (delivery, attempts) = house.after_attempts(&endpoint, 1).await;
    assert_eq!((delivery.state, attempts.len()), (DeliveryState::Delivered, 1));
    let got = receiver.got();
    assert_eq!(got.len(), 2);
    assert!(got.iter().all(|one| one.header("webhook-id") == event.id.to_string()));
    worker.stop().await;
}

#[tokio::test]
async fn a_stopping_worker_waits_for_the_answer_in_flight() {
    let receiver = Receiver::start(|_| Says::Waits).await;
    let house = House::build(&[receiver.address], |_| {}).await;
    let endpoint = house.endpoint(receiver.address).await;
    let worker = house.work();
    house.event().await;
    receiver.got_at_least(1).await;
    worker.stop.send_replace(true);
    house.event().await;
    receiver.open_gate();
    worker.stop().await;
    let states = house.deliveries(&endpoint).await;
    let count = |state| states.iter().filter(|one| one.state == state).count();
    // A worker that was about to claim when it was told to stop may still take the second one; what it took is
    // answered and recorded.
    let delivered = count(DeliveryState::Delivered);
    assert!((1..=2).contains(&delivered), "{states:?}");
    assert_eq!(count(DeliveryState::Pending), 2 - delivered, "{states:?}");
    assert_eq!(receiver.got().len(), delivered);
}

#[tokio::test]
async fn two_workers_send_each_webhook_once() {
    let receiver = Receiver::start(|_| Says::Status(200)).await;
    let house = House::build(&[receiver.address], |_| {}).await;
    let endpoint = house.endpoint(receiver.address).await;
    let workers = [house.work(), house.work()];
    for _ in 0..30 {
        house.event().await;
    }
    until("all are delivered", async || {
        let deliveries = house.deliveries(&endpoint).await;
        (deliveries.len() == 30 && deliveries.iter().all(|one| one.state == DeliveryState::Delivered))
            .then_some(())
    })
    .await;
    for worker in workers {
        worker.stop().await;
    }
    let mut ids: Vec<_> = receiver.got().iter().map(|one| one.header("webhook-id").to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), receiver.got().len()), (30, 30));
}
