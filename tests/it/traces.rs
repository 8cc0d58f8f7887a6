//! Traces of syncs at a real collector: what came, how it hangs together, and what must not be in it.

use crate::linked::{Linked, TOKEN_LIFE};
use crate::served::Served;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tests::bank::NewEntry;
use tests::http::text;
use tests::world::{DEMO_BANK, World, WorldConfig};

/// What a collector took: whole requests, as they came.
type Taken = Arc<Mutex<Vec<Bytes>>>;

/// A collector that answers with this status; where it is, and what it took.
async fn collector(status: StatusCode) -> (String, Taken) {
    let taken = Taken::default();
    let take = move |State(taken): State<Taken>, body: Bytes| async move {
        taken.lock().unwrap().push(body);
        status
    };
    let routes = Router::new().route("/v1/traces", post(take)).with_state(taken.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (origin, taken)
}

fn spans(taken: &Taken) -> Vec<Span> {
    let taken = taken.lock().unwrap();
    let requests = taken.iter().map(|body| ExportTraceServiceRequest::decode(body.clone()).unwrap());
    let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|of| of.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let said = |value: &Any| match value {
        Any::StringValue(text) => text.clone(),
        Any::IntValue(number) => number.to_string(),
        Any::BoolValue(flag) => flag.to_string(),
        other => panic!("an attribute that is no id and no number: {other:?}"),
    };
    let each = span.attributes.iter();
    each.map(|one| (one.key.as_str(), said(one.value.as_ref().unwrap().value.as_ref().unwrap()))).collect()
}

async fn world_with(collector: &str) -> World {
    let world = World::start(WorldConfig::default()).await.unwrap();
    let text = std::fs::read_to_string(&world.config).unwrap();
    let more = format!("{text}[telemetry]\notlp-endpoint = \"{collector}\"\n");
    std::fs::write(&world.config, more).unwrap();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_is_one_trace_of_its_parts_and_holds_ids_and_numbers_only() {
    let (origin, taken) = collector(StatusCode::OK).await;
    let mut world = world_with(&origin).await;
    let service = Served::start(&mut world).await;
    let linked = Linked::new(&world, &world.api, "Ada Sample", 5).await;
    let everyday = linked.everyday().to_owned();
    world.bank.expire_access_tokens();
    world.bank.book(&everyday, NewEntry::transfer("12.34", "SECRET NARRATION")).unwrap();
    let sync = linked.good_sync(&everyday).await;
    service.end();

    let spans = spans(&taken);
    let names = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    for name in ["claim", "sync", "step", "exchange", "reconcile", "commit"] {
        assert!(!names(name).is_empty(), "no span {name} of {}", spans.len());
    }
    // The part that stored the sync: its trace is the run's, and has all parts.
    let mine = |span: &&&Span| attributes(span).get("sync").map(String::as_str) == Some(text(&sync, "/id"));
    let commit = *names("commit").iter().find(mine).expect("the commit of the sync that was asked for");
    let trace: Vec<&Span> = spans.iter().filter(|span| span.trace_id == commit.trace_id).collect();
    let root = trace.iter().find(|span| span.parent_span_id.is_empty()).unwrap();
    assert_eq!((root.name.as_str(), attributes(root)["institution"].as_str()), ("sync", DEMO_BANK));
    assert_eq!(attributes(root)["connection"], linked.connection);
    assert_eq!(attributes(commit)["account"], linked.ours(&everyday));
    assert_eq!(attributes(commit)["changes"], "1");
    for name in ["step", "exchange", "reconcile"] {
        let inside = trace.iter().filter(|span| span.name == name);
        let inside: Vec<_> = inside.filter(|span| span.parent_span_id == root.span_id).collect();
        assert!(!inside.is_empty(), "{name}");
        assert!(inside.iter().all(|span| span.start_time_unix_nano >= root.start_time_unix_nano));
    }
    assert!(trace.iter().any(|span| span.name == "exchange" && attributes(span)["status"] == "200"));

    // Nothing of the bank's or the customer's, in any request, anywhere.
    let known =
        ["connection", "institution", "connector", "account", "sync", "changes", "rows", "status", "claimed"];
    for span in &spans {
        let odd: Vec<_> = attributes(span).into_keys().filter(|key| !known.contains(key)).collect();
        assert!(odd.is_empty() && span.events.is_empty(), "{}: {odd:?} {:?}", span.name, span.events);
    }
    let mut needles = vec!["SECRET NARRATION".to_owned(), "Ada Sample".to_owned(), "customer-42".to_owned()];
    needles.push(world.bank.config().client_secret.clone());
    needles.push(linked.consent.refresh_token.clone());
    needles.push(world.api.key().unwrap().to_owned());
    let credentials = world.app.store.credentials(linked.connection.parse().unwrap()).await.unwrap();
    needles.extend(credentials.iter().map(|one| one.value.reveal().to_owned()));
    for row in world.bank.statement(&everyday).unwrap().rows {
        needles.push(row.text);
        needles.extend(row.merchant);
    }
    for body in taken.lock().unwrap().iter() {
        let body = String::from_utf8_lossy(body);
        for needle in &needles {
            assert!(needle.len() >= 5 && !body.contains(needle.as_str()), "\"{needle}\" is in a trace");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_or_is_gone_slows_and_fails_nothing_and_is_told_of_once() {
    let (origin, taken) = collector(StatusCode::SERVICE_UNAVAILABLE).await;
    // Nobody is at home there.
    let nobody = "http://127.0.0.1:9".to_owned();
    for endpoint in [origin, nobody] {
        let mut world = world_with(&endpoint).await;
        let service = Served::start(&mut world).await;
        let linked = Linked::new(&world, &world.api, "Ada Sample", 2).await;
        linked.good_sync(linked.everyday()).await;
        linked.assert_like_the_bank(&world.bank, linked.everyday()).await;
        world.advance(TOKEN_LIFE);
        #[allow(clippy::disallowed_methods)] // how long a real process takes to end
        let begun = std::time::Instant::now();
        let log = service.end();
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
        let told = log.lines().filter(|line| line.contains("the collector does not take traces")).count();
        assert_eq!(told, 1, "{log}");
    }
    assert!(!taken.lock().unwrap().is_empty(), "it was tried");
}
