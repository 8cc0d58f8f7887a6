//! What a step may use up, and that nobody else pays for it.

use crate::guest::{component, context, hostile, reply, sandbox, wants};
use host::model::ReadStep;
use host::sandbox::{Connector, Fault, Limits};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Ticks for harms that are not about time: this machine may be busy.
const NO_HURRY_TICKS: u64 = 6_000;
/// Rounds that take longer than the 200 ms of a step on any machine, and seconds at most.
const ROUNDS: u64 = 500_000_000;

/// Every limit as it is, but for time.
fn usual() -> Limits {
    Limits { step_ticks: NO_HURRY_TICKS, ..Limits::default() }
}

/// The first step of reading.
async fn first(connector: &Arc<Connector>, settings: &str) -> Result<ReadStep, Fault> {
    connector.read(&context(settings), &wants(), String::new(), vec![]).await
}

/// The step after the bank's answer.
async fn second(connector: &Arc<Connector>, settings: &str) -> Result<ReadStep, Fault> {
    connector.read(&context(settings), &wants(), "0".into(), reply("{}")).await
}

#[track_caller]
fn refused(answer: Result<ReadStep, Fault>, rule: &str) {
    let fault = answer.unwrap_err();
    assert_eq!(fault.to_string(), format!("connector hostile 0.1.0: {rule}"));
    assert!(!fault.quarantine);
}

#[track_caller]
fn memory(answer: Result<ReadStep, Fault>) -> usize {
    match answer.unwrap() {
        ReadStep::Send(send) => send.memory.len(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn requests(answer: Result<ReadStep, Fault>) -> usize {
    match answer.unwrap() {
        ReadStep::Send(send) => send.requests.len(),
        other => panic!("{other:?}"),
    }
}

/// Rows and bytes of state of the only page.
#[track_caller]
fn page(answer: Result<ReadStep, Fault>) -> (usize, usize) {
    let Ok(ReadStep::Pages { pages, .. }) = answer else { panic!("{:?}", answer.err()) };
    let content = pages[0].content.as_ref().unwrap();
    (content.transactions.len(), content.state.as_deref().map_or(0, str::len))
}

#[tokio::test]
async fn a_step_that_never_returns_is_stopped() {
    let rule = "a step did not return within 200 ms";
    let long = format!(r#"{{"mode":"never-returns","count":{ROUNDS}}}"#);
    let connector = hostile(Limits::default()).await;
    refused(first(&connector, r#"{"mode":"never-returns"}"#).await, rule);
    refused(first(&connector, &long).await, rule);

    let lifted = hostile(usual()).await;
    assert_eq!(requests(first(&lifted, &long).await), 1, "it runs on and on, and then returns");
}

#[tokio::test]
async fn the_third_interrupted_step_in_a_minute_quarantines_the_version() {
    let endless = r#"{"mode":"never-returns"}"#;
    let quarantined = async |limits: Limits| {
        let connector = hostile(limits).await;
        let mut said = Vec::new();
        for _ in 0..3 {
            said.push(first(&connector, endless).await.unwrap_err().quarantine);
        }
        // Other faults are no interruption.
        said.push(first(&connector, r#"{"mode":"panics"}"#).await.unwrap_err().quarantine);
        said
    };
    assert_eq!(quarantined(Limits::default()).await, [false, false, true, false]);
    let lifted = Limits { interrupts_per_minute: usize::MAX, ..Limits::default() };
    assert_eq!(quarantined(lifted).await, [false; 4]);
}

#[tokio::test]
async fn memory_grows_to_the_limit_and_no_further() {
    let rule = "a step wanted more than 64 MiB of memory";
    let much = r#"{"mode":"grows-memory","bytes":100000000}"#;
    let connector = hostile(usual()).await;
    refused(first(&connector, r#"{"mode":"grows-memory"}"#).await, rule);
    refused(first(&connector, much).await, rule);
    assert_eq!(requests(first(&connector, "{}").await), 1, "the next step begins afresh");

    let lifted = hostile(Limits { memory_bytes: 256 << 20, ..usual() }).await;
    assert_eq!(requests(first(&lifted, much).await), 1);
}

#[tokio::test]
async fn a_million_rows_are_refused_by_whichever_limit_they_meet_first() {
    let million = r#"{"mode":"million-rows"}"#;
    let connector = hostile(usual()).await;
    refused(second(&connector, million).await, "a step wanted more than 64 MiB of memory");

    let (memory_bytes, lift_bytes) = (2 << 30, 2 << 30);
    let roomy = hostile(Limits { memory_bytes, ..usual() }).await;
    let fault = second(&roomy, million).await.unwrap_err();
    assert!(fault.rule.starts_with("a step gave no valid answer of at most 16 MiB: "), "{fault}");

    let roomier = hostile(Limits { memory_bytes, lift_bytes, ..usual() }).await;
    refused(second(&roomier, million).await, "rows of a page: 1000000, at most 10000 allowed");

    let lifted = hostile(Limits { memory_bytes, lift_bytes, page_rows: usize::MAX, ..usual() }).await;
    assert_eq!(page(second(&lifted, million).await).0, 1_000_000);
}

#[tokio::test]
async fn a_page_has_ten_thousand_rows_and_not_one_more() {
    let (full, more) =
        (r#"{"mode":"million-rows","count":10000}"#, r#"{"mode":"million-rows","count":10001}"#);
    let connector = hostile(usual()).await;
    assert_eq!(page(second(&connector, full).await).0, 10_000);
    refused(second(&connector, more).await, "rows of a page: 10001, at most 10000 allowed");

    let lifted = hostile(Limits { page_rows: usize::MAX, ..usual() }).await;
    assert_eq!(page(second(&lifted, more).await).0, 10_001);
}

#[tokio::test]
async fn a_giant_memory_text_is_refused() {
    let (giant, full) = (r#"{"mode":"giant-memory"}"#, r#"{"mode":"giant-memory","bytes":65536}"#);
    let connector = hostile(usual()).await;
    refused(first(&connector, giant).await, "bytes of memory: 1048576, at most 65536 allowed");
    assert_eq!(memory(first(&connector, full).await), 65_536);

    let lifted = hostile(Limits { memory_text_bytes: usize::MAX, ..usual() }).await;
    assert_eq!(memory(first(&lifted, giant).await), 1_048_576);
}

#[tokio::test]
async fn a_giant_state_is_refused() {
    let (giant, full) = (r#"{"mode":"giant-state"}"#, r#"{"mode":"giant-state","bytes":16384}"#);
    let connector = hostile(usual()).await;
    refused(second(&connector, giant).await, "bytes of state: 1048576, at most 16384 allowed");
    assert_eq!(page(second(&connector, full).await).1, 16_384);

    let lifted = hostile(Limits { state_bytes: usize::MAX, ..usual() }).await;
    assert_eq!(page(second(&lifted, giant).await).1, 1_048_576);
}

#[tokio::test]
async fn more_requests_in_a_step_than_sixteen_are_refused() {
    let (many, full) = (r#"{"mode":"many-requests"}"#, r#"{"mode":"many-requests","count":16}"#);
    let connector = hostile(usual()).await;
    refused(first(&connector, many).await, "requests of a step: 17, at most 16 allowed");
    assert_eq!(requests(first(&connector, full).await), 16);
    refused(
        first(&connector, r#"{"mode":"many-requests","count":0}"#).await,
        "a step sends no request; answer with rows or a failure instead",
    );

    let lifted = hostile(Limits { requests_per_step: usize::MAX, ..usual() }).await;
    assert_eq!(requests(first(&lifted, many).await), 17);
}

#[tokio::test]
async fn endless_recursion_and_a_panic_end_the_step_and_nothing_else() {
    let connector = hostile(usual()).await;
    refused(
        first(&connector, r#"{"mode":"deep-recursion"}"#).await,
        "a step reached outside of its memory (endless recursion?)",
    );
    refused(
        first(&connector, r#"{"mode":"panics"}"#).await,
        "a step trapped: wasm trap: wasm `unreachable` instruction executed",
    );
    // The stack is no limit of ours to lift; a recursion that fits in it returns.
    assert_eq!(requests(first(&connector, r#"{"mode":"deep-recursion","count":100}"#).await), 1);
}

/// On so many threads, four endless steps of one connector are in flight: is another's step done
/// before the first of them is stopped?
async fn other_is_served(threads: usize) -> bool {
    let sandbox = sandbox(threads, Limits { step_ticks: 500, ..Limits::default() }).await;
    let load = async || Arc::new(sandbox.load(component()).await.unwrap());
    let (greedy, other) = (load().await, load().await);
    let mut endless = JoinSet::new();
    for _ in 0..4 {
        let greedy = greedy.clone();
        endless.spawn(async move { first(&greedy, r#"{"mode":"never-returns"}"#).await });
    }
    // One thread runs these tasks: now each has put its step into the queue, or waits for its share.
    tokio::task::yield_now().await;
    assert!(first(&other, "{}").await.is_ok());
    // A step that was stopped before is told of by now.
    tokio::task::yield_now().await;
    endless.try_join_next().is_none()
}

#[tokio::test(flavor = "current_thread")]
async fn a_connector_takes_at_most_half_of_the_threads() {
    assert!(other_is_served(4).await);
    assert!(!other_is_served(1).await, "of a single thread there is no half: the other waits");
}
