//! The business's webhook receiver: a real HTTP server that verifies every signature with the
//! `standardwebhooks` crate, keeps what arrived, and misbehaves on request.
//!
//! Must not know: the service's code. Signatures are checked by somebody else's.

use crate::waiting::{TimedOut, wait};
use crate::wire::{Cutter, Door, Pieces};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use serde_json::Value;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// What the specification's own libraries accept, in either direction.
const TOLERANCE_SECONDS: u64 = 300;

/// Says what time it is, in Unix seconds.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How the sink misbehaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misbehaviour {
    /// This status, if said with `Retry-After` in seconds.
    Status(u16, Option<u32>),
    /// 302 to there.
    Redirect(String),
    /// Takes the request and never answers.
    Hang,
    /// 200, then a byte of the body each so often, so many times.
    SlowBody(Duration, usize),
    /// 200, then a body that never ends.
    EndlessBody,
    /// The connection is reset instead of answered.
    Reset,
}

/// One attempt to deliver, with a good signature.
#[derive(Debug, Clone)]
pub struct Received {
    /// `webhook-id`: the same for all attempts of one event.
    pub id: String,
    /// `webhook-timestamp`, Unix seconds.
    pub timestamp: i64,
    /// `type` of the payload.
    pub kind: String,
    /// The body, read.
    pub payload: Value,
    /// The body, as it came.
    pub body: Bytes,
    /// All headers.
    pub headers: HeaderMap,
    /// When it had arrived, by the system's clock, in microseconds since 1970-01-01T00:00:00Z.
    pub received_at_us: i64,
    /// It was answered with 204; otherwise the sink misbehaved.
    pub accepted: bool,
}

#[derive(Default)]
struct Inbox {
    secrets: Vec<String>,
    misbehaviours: VecDeque<Misbehaviour>,
    received: Vec<Received>,
    failures: Vec<String>,
}

struct Shared {
    now: Now,
    inbox: Mutex<Inbox>,
    changed: watch::Sender<()>,
    /// True: attempts are answered.
    answers: watch::Sender<bool>,
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running receiver. It stops when dropped.
pub struct Sink {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: tokio::task::AbortHandle,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Sink {
    /// Starts on a free port of 127.0.0.1; timestamps are checked against the system's clock.
    pub async fn start() -> std::io::Result<Self> {
        Self::start_with_clock(Arc::new(unix_now)).await
    }

    /// Timestamps are checked against this clock: the sender's, if that is a virtual one.
    pub async fn start_with_clock(now: Now) -> std::io::Result<Self> {
        let door = Door::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = door.address()?;
        let shared = Arc::new(Shared {
            now,
            inbox: Mutex::default(),
            changed: watch::Sender::new(()),
            answers: watch::Sender::new(true),
        });
        let routes = Router::new().route("/webhooks", post(receive)).with_state(shared.clone());
        let service = routes.into_make_service_with_connect_info::<Cutter>();
        let serving = tokio::spawn(async move { axum::serve(door, service).await });
        Ok(Self { shared, address, server: serving.abort_handle() })
    }

    /// Where webhooks are received.
    pub fn url(&self) -> String {
        format!("http://{}/webhooks", self.address)
    }
    /// For allow lists.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on a signature must be made with one of these (`whsec_…`). There are none at first.
    pub fn set_secrets(&self, secrets: impl IntoIterator<Item = impl Into<String>>) {
        self.shared.inbox().secrets = secrets.into_iter().map(Into::into).collect();
    }
    /// The next `times` attempts meet this; misbehaviours wait in line.
    pub fn misbehave(&self, how: Misbehaviour, times: usize) {
        self.shared.inbox().misbehaviours.extend(std::iter::repeat_n(how, times));
    }
    /// From now on attempts are accepted again.
    pub fn behave(&self) {
        self.shared.inbox().misbehaviours.clear();
    }

    /// From now on attempts are taken and wait for their answer until [`Sink::release`].
    pub fn hold(&self) {
        self.shared.answers.send_replace(false);
    }
    /// Answers all that wait, and from now on at once.
    pub fn release(&self) {
        self.shared.answers.send_replace(true);
    }

    /// What `found` makes of all attempts with a good signature, in order of arrival.
    pub fn look<T>(&self, found: impl FnOnce(&[Received]) -> T) -> T {
        found(&self.shared.inbox().received)
    }
    /// All attempts with a good signature, in order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.shared.inbox().received.clone()
    }
    /// What was wrong with attempts whose signature was not good. Empty, or the test has failed.
    pub fn failures(&self) -> Vec<String> {
        self.shared.inbox().failures.clone()
    }
    /// Events that were accepted more than once, and how often.
    pub fn duplicates(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for received in self.shared.inbox().received.iter().filter(|received| received.accepted) {
            *counts.entry(received.id.clone()).or_insert(0) += 1;
        }
        counts.retain(|_, count| *count > 1);
        counts
    }

    /// Returns what `found` makes of the attempts so far, as soon as it makes something of them.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        timeout: Duration,
        found: impl Fn(&[Received]) -> Option<T>,
    ) -> Result<T, TimedOut> {
        let look = || found(&self.shared.inbox().received);
        let missing = || {
            let inbox = self.shared.inbox();
            let kinds: Vec<&str> = inbox.received.iter().map(|received| received.kind.as_str()).collect();
            format!("{what}; received {kinds:?}, refused {:?}", inbox.failures)
        };
        wait(&self.shared.changed, timeout, look, missing).await
    }
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(0)
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let secrets = shared.inbox().secrets.clone();
    let read = verify(&secrets, (shared.now)(), &headers, &body);
    let (id, timestamp, payload) = match read {
        Ok(read) => read,
        Err(why) => {
            eprintln!("WEBHOOK SINK: refused an attempt: {why}");
            shared.inbox().failures.push(why);
            shared.changed.send_replace(());
            return status(StatusCode::UNAUTHORIZED, None);
        }
    };
    let misbehaviour = {
        let mut inbox = shared.inbox();
        let misbehaviour = inbox.misbehaviours.pop_front();
        inbox.received.push(Received {
            id,
            timestamp,
            kind: payload.get("type").and_then(Value::as_str).unwrap_or_default().to_owned(),
            payload,
            body,
            headers,
            received_at_us: i64::try_from(micros).unwrap_or(0),
            accepted: misbehaviour.is_none(),
        });
        misbehaviour
    };
    shared.changed.send_replace(());
    // An error means that the sink is gone, and nobody waits.
    let _ = shared.answers.subscribe().wait_for(|answers| *answers).await;
    answer(misbehaviour, &cutter).await
}

/// The id, timestamp and payload, if one of the secrets signed exactly this.
fn verify(
    secrets: &[String],
    now: i64,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(String, i64, Value), String> {
    let text = |name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).ok_or(format!("no header {name}"))
    };
    let (id, signatures) = (text(HEADER_WEBHOOK_ID)?, text(HEADER_WEBHOOK_SIGNATURE)?);
    let timestamp = text(HEADER_WEBHOOK_TIMESTAMP)?;
    let timestamp: i64 =
        timestamp.parse().map_err(|_| "webhook-timestamp is not a number of seconds".to_owned())?;
    if now.abs_diff(timestamp) > TOLERANCE_SECONDS {
        return Err(format!("webhook-timestamp {timestamp} of {id} is more than 300 s from {now}"));
    }
    // The crate's `verify` knows only the system's clock. Where a virtual clock is far from it,
    // the crate signs again and the signatures are compared.
    let by_system_clock = unix_now().abs_diff(timestamp) < TOLERANCE_SECONDS;
    let signed_by = |secret: &String| {
        let Ok(webhook) = Webhook::new(secret) else {
            return false;
        };
        if by_system_clock {
            return webhook.verify(body, headers).is_ok();
        }
        let expected = webhook.sign(id, timestamp, body);
        expected.is_ok_and(|expected| signatures.split(' ').any(|signature| signature == expected))
    };
    if !secrets.iter().any(signed_by) {
        return Err(format!("no signature of {id} is made with any of the {} secrets", secrets.len()));
    }
    let payload = serde_json::from_slice(body).map_err(|_| format!("the payload of {id} is not JSON"))?;
    Ok((id.to_owned(), timestamp, payload))
}

async fn answer(misbehaviour: Option<Misbehaviour>, cutter: &Cutter) -> Response {
    match misbehaviour {
        None => status(StatusCode::NO_CONTENT, None),
        Some(Misbehaviour::Status(code, retry_after)) => {
            let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            status(code, retry_after.map(|seconds| (header::RETRY_AFTER, seconds.to_string())))
        }
        Some(Misbehaviour::Redirect(to)) => status(StatusCode::FOUND, Some((header::LOCATION, to))),
        Some(Misbehaviour::Hang) => std::future::pending().await,
        Some(Misbehaviour::SlowBody(every, bytes)) => {
            Response::new(Pieces::drip(std::iter::repeat_n(b".".to_vec(), bytes), every))
        }
        Some(Misbehaviour::EndlessBody) => Response::new(Pieces::endless(vec![b'.'; 16 * 1024])),
        Some(Misbehaviour::Reset) => {
            cutter.cut();
            status(StatusCode::OK, None)
        }
    }
}

fn status(code: StatusCode, with: Option<(header::HeaderName, String)>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    if let Some((name, value)) = with
        && let Ok(value) = value.parse()
    {
        response.headers_mut().insert(name, value);
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const SOON: Duration = Duration::from_secs(10);

    async fn send(sink: &Sink, secret: &str, id: &str, timestamp: i64) -> reqwest::Result<reqwest::Response> {
        let body = br#"{"type":"account.updated","timestamp":"2026-01-01T00:00:00Z","data":{}}"#;
        let signature = Webhook::new(secret).unwrap().sign(id, timestamp, body).unwrap();
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()?
            .post(sink.url())
            .header(HEADER_WEBHOOK_ID, id)
            .header(HEADER_WEBHOOK_TIMESTAMP, timestamp)
            .header(HEADER_WEBHOOK_SIGNATURE, format!("v1,bm9uZQ== {signature}"))
            .body(body.to_vec())
            .send()
            .await
    }

    #[tokio::test]
    async fn a_good_signature_is_accepted_and_a_wrong_one_is_refused_and_remembered() {
        let sink = Sink::start().await.unwrap();
        assert_eq!(send(&sink, SECRET, "evt_0", unix_now()).await.unwrap().status(), 401);
        sink.set_secrets([SECRET]);
        assert_eq!(send(&sink, SECRET, "evt_1", unix_now()).await.unwrap().status(), 204);
        assert_eq!(
            send(&sink, "whsec_AAAAVsBQIhrscChlQIMV+b5sSYspob7o", "evt_2", unix_now())
                .await
                .unwrap()
                .status(),
            401
        );
        assert_eq!(send(&sink, SECRET, "evt_3", unix_now() - 400).await.unwrap().status(), 401);
        assert_eq!(sink.failures().len(), 3, "{:?}", sink.failures());
        let only = |all: &[Received]| (all.len() == 1).then(|| all[0].clone());
        let received = sink.wait_for("one event", SOON, only).await.unwrap();
        assert_eq!((received.id.as_str(), received.kind.as_str()), ("evt_1", "account.updated"));
        assert!(sink.duplicates().is_empty());
    }

    #[tokio::test]
    async fn a_virtual_clock_far_ahead_decides_which_timestamps_are_good() {
        let ahead = unix_now() + 86_400;
        let sink = Sink::start_with_clock(Arc::new(move || ahead)).await.unwrap();
        sink.set_secrets(["whsec_AAAAVsBQIhrscChlQIMV+b5sSYspob7o", SECRET]);
        assert_eq!(send(&sink, SECRET, "evt_1", ahead - 10).await.unwrap().status(), 204);
        assert_eq!(send(&sink, SECRET, "evt_2", unix_now()).await.unwrap().status(), 401);
        sink.set_secrets(["whsec_AAAAVsBQIhrscChlQIMV+b5sSYspob7o"]);
        assert_eq!(send(&sink, SECRET, "evt_3", ahead).await.unwrap().status(), 401);
    }

    #[tokio::test]
    async fn the_sink_misbehaves_as_often_as_it_is_told_and_counts_duplicates() {
        let sink = Sink::start().await.unwrap();
        sink.set_secrets([SECRET]);
        sink.misbehave(Misbehaviour::Status(429, Some(7)), 1);
        sink.misbehave(Misbehaviour::Redirect("http://127.0.0.1:1/".into()), 1);
        sink.misbehave(Misbehaviour::Reset, 1);
        sink.misbehave(Misbehaviour::SlowBody(Duration::from_millis(1), 3), 1);
        sink.misbehave(Misbehaviour::Hang, 1);
        sink.misbehave(Misbehaviour::EndlessBody, 1);
        let limited = send(&sink, SECRET, "evt_1", unix_now()).await.unwrap();
        assert_eq!(
            (limited.status().as_u16(), limited.headers()["retry-after"].to_str().unwrap()),
            (429, "7")
        );
        let moved = send(&sink, SECRET, "evt_1", unix_now()).await.unwrap();
        assert_eq!(
            (moved.status().as_u16(), moved.headers()["location"].to_str().unwrap()),
            (302, "http://127.0.0.1:1/")
        );
        assert!(send(&sink, SECRET, "evt_1", unix_now()).await.is_err());
        let slow = send(&sink, SECRET, "evt_1", unix_now()).await.unwrap();
        assert_eq!(slow.text().await.unwrap(), "...");
        let hanging = send(&sink, SECRET, "evt_1", unix_now());
        let five = |all: &[Received]| (all.len() == 5).then_some(());
        tokio::select! {
            answer = hanging => panic!("answered: {answer:?}"),
            seen = sink.wait_for("the hanging attempt", SOON, five) => seen.unwrap(),
        }
        let mut endless = send(&sink, SECRET, "evt_1", unix_now()).await.unwrap();
        let mut bytes = 0;
        while bytes < 1_000_000 {
            bytes += endless.chunk().await.unwrap().unwrap().len();
        }
        for _ in 0..2 {
            assert_eq!(send(&sink, SECRET, "evt_1", unix_now()).await.unwrap().status(), 204);
        }
        assert_eq!(sink.duplicates(), BTreeMap::from([("evt_1".to_owned(), 2)]));
    }
}
