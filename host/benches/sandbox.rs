//! What the sandbox costs: `cargo bench -p host`.
//!
//! Instantiation, a step that asks, and the step that parses a UK Open Banking page of 25 and of 100
//! rows of 0.9 kB, each beside the same crate run natively in the same process. After criterion's
//! own lines, medians and ratios are printed: absolute times depend on the machine, ratios hardly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use criterion::Criterion;
use host::model::{Context, Reply, Timestamp, Want, Window};
use host::sandbox::{Connector, Limits, Sandbox, SandboxConfig};
use open_banking_uk::OpenBankingUk;
use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_sdk::Connector as _;

const ACCOUNT: &str = "22289";
/// Runs behind a printed median.
const RUNS: usize = 4_000;

fn main() {
    let mut criterion = Criterion::default()
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1))
        .configure_from_args();
    let connector = load();
    let (ask, wants) = (context(), wants());

    let mut group = criterion.benchmark_group("sandbox");
    group.bench_function("instantiate", |bench| bench.iter(|| connector.instantiate_here().unwrap()));
    group.bench_function("asking step", |bench| {
        bench.iter(|| connector.read_here(&ask, &wants, "", Vec::new(), true).unwrap())
    });
    group.finish();

    println!("\n{:<34}{:>12}{:>12}{:>9}", "median", "sandbox", "native", "ratio");
    let instantiate = median(|| (), |()| connector.instantiate_here().unwrap());
    let asking = median(|| (), |()| drop(connector.read_here(&ask, &wants, "", Vec::new(), true).unwrap()));
    println!("{:<34}{:>12}", "instantiate", micros(instantiate));
    println!("{:<34}{:>12}", "asking step", micros(asking));
    for rows in [25, 100] {
        parse(&mut criterion, &connector, rows);
    }
    criterion.final_summary();
}

fn parse(criterion: &mut Criterion, connector: &Connector, rows: usize) {
    let (ask, wants) = (context(), wants());
    let (native_ask, native_wants) = (native_context(), native_wants());
    let body = page(rows);
    let (_, memory) = connector.read_here(&ask, &wants, "", Vec::new(), true).unwrap();
    let native_memory = match OpenBankingUk::read(&native_ask, &native_wants, "", &[]) {
        tidegate_sdk::ReadStep::Send(send) => send.memory,
        tidegate_sdk::ReadStep::Pages(more) => more.next.unwrap().memory,
        tidegate_sdk::ReadStep::Fail(failure) => panic!("{failure:?}"),
    };
    let reply = || vec![Reply { status: 200, headers: headers(), body: body.clone(), captured: vec![] }];
    let native_reply = || {
        let headers =
            headers().into_iter().map(|(name, value)| tidegate_sdk::ReplyHeader { name, value }).collect();
        vec![tidegate_sdk::Reply { status: 200, headers, body: body.clone(), captured: vec![] }]
    };
    let sandboxed = |replies: Vec<Reply>| {
        let (lifted, _) = connector.read_here(&ask, &wants, &memory, replies, false).unwrap();
        assert_eq!(lifted, rows);
    };
    let checked = |replies: Vec<Reply>| {
        let (lifted, _) = connector.read_here(&ask, &wants, &memory, replies, true).unwrap();
        assert_eq!(lifted, rows);
    };
    let native = |replies: Vec<tidegate_sdk::Reply>| {
        let step = OpenBankingUk::read(&native_ask, &native_wants, &native_memory, &replies);
        let tidegate_sdk::ReadStep::Pages(more) = black_box(step) else { panic!("no pages") };
        assert_eq!(more.pages.iter().map(|page| page.transactions.len()).sum::<usize>(), rows);
    };

    let mut group = criterion.benchmark_group(format!("page of {rows} rows"));
    let batch = criterion::BatchSize::SmallInput;
    group.bench_function("sandbox", |bench| bench.iter_batched(reply, sandboxed, batch));
    group.bench_function("sandbox, checked", |bench| bench.iter_batched(reply, checked, batch));
    group.bench_function("native", |bench| bench.iter_batched(native_reply, native, batch));
    group.finish();

    // Interleaved, so that a busy machine slows both alike.
    let (mut inside, mut outside, mut with_checks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        inside.push(time(reply(), &sandboxed));
        outside.push(time(native_reply(), &native));
        with_checks.push(time(reply(), &checked));
    }
    let (inside, outside, with_checks) = (middle(inside), middle(outside), middle(with_checks));
    let kib = body.len() as f64 / 1024.0;
    let name = format!("parse {rows} rows ({kib:.0} KiB)");
    let ratio = |inside: Duration| inside.as_secs_f64() / outside.as_secs_f64();
    println!("{name:<34}{:>12}{:>12}{:>8.2}×", micros(inside), micros(outside), ratio(inside));
    println!(
        "{:<34}{:>12}{:>12}{:>8.2}×",
        "  and checked by the host",
        micros(with_checks),
        "",
        ratio(with_checks)
    );
}

fn time<T>(input: T, run: &impl Fn(T)) -> Duration {
    let start = Instant::now();
    run(input);
    start.elapsed()
}

fn median<T>(input: impl Fn() -> T, run: impl Fn(T)) -> Duration {
    middle((0..RUNS).map(|_| time(input(), &run)).collect())
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

/// The connector, built and compiled as an operator's would be.
fn load() -> Arc<Connector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = host::cli::connector::build::build(&folder.join("../connectors/open-banking-uk"), out)
        .unwrap_or_else(|error| panic!("{error}"));
    let component = std::fs::read(file).unwrap();
    let compiler = [env!("CARGO_BIN_EXE_tidegate"), "connector", "compile"];
    let sandbox = Sandbox::new(SandboxConfig {
        threads: 1,
        cache_dir: out.join("compiled"),
        compiler: compiler.map(str::to_owned).to_vec(),
        cache_key: [7; 32],
        limits: Limits::default(),
    })
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connector = runtime.block_on(sandbox.load(&component)).unwrap_or_else(|error| panic!("{error}"));
    // The engine's ticker lives as long as the sandbox: epoch checks stay on.
    std::mem::forget(sandbox);
    Arc::new(connector)
}

const PROFILE: &str = r#"{"origins":{"api":"https://api.bank.example/open-banking/v3.1/aisp","auth":"https://auth.bank.example"},"settings":{}}"#;
const NOW_MS: u64 = 1_780_000_000_000;

fn context() -> Context {
    Context {
        now: Timestamp::from_millis(NOW_MS),
        seed: [3; 32],
        profile: PROFILE.into(),
        credentials: vec![],
        consent: None,
        customer_present: false,
        state: None,
    }
}

fn native_context() -> tidegate_sdk::Context {
    tidegate_sdk::Context {
        now_ms: NOW_MS,
        seed: vec![3; 32],
        profile: PROFILE.into(),
        credentials: vec![],
        consent: None,
        customer_present: false,
        state: None,
    }
}

fn wants() -> Vec<Want> {
    let window = Window { since: "2026-02-01".parse().unwrap(), until: "2026-05-28".parse().unwrap() };
    vec![Want { account: ACCOUNT.into(), transactions: Some(window), balances: false, state: None }]
}

fn native_wants() -> Vec<tidegate_sdk::Want> {
    let window = tidegate_sdk::Window { since: "2026-02-01".into(), until: "2026-05-28".into() };
    vec![tidegate_sdk::Want {
        account: ACCOUNT.into(),
        transactions: Some(window),
        balances: false,
        state: None,
    }]
}

fn headers() -> Vec<(String, String)> {
    vec![("content-type".into(), "application/json; charset=utf-8".into())]
}

/// A page as a bank sends it, about 0.9 kB a row.
fn page(rows: usize) -> Vec<u8> {
    let mut text = String::from(r#"{"Data":{"Transaction":["#);
    for row in 0..rows {
        if row > 0 {
            text.push(',');
        }
        let (pence, day) = (100 + row * 37 % 9_000, 1 + row % 27);
        write!(
            text,
            r#"{{"AccountId":"{ACCOUNT}","TransactionId":"4f1c7a{row:06}b9e2","TransactionReference":"REF {row:08}","StatementReference":["2026-05"],"CreditDebitIndicator":"Debit","Status":"Booked","TransactionMutability":"Immutable","BookingDateTime":"2026-05-{day:02}T09:41:07+00:00","ValueDateTime":"2026-05-{day:02}T09:41:07+00:00","TransactionInformation":"CARD PAYMENT TO CORNER COFFEE HOUSE LTD, LONDON E8 ON {day:02} MAY, CONTACTLESS","AddressLine":"14 Broadway Market, London E8 4QJ","Amount":{{"Amount":"{}.{:02}","Currency":"GBP"}},"BankTransactionCode":{{"Code":"CustomerCardTransactions","SubCode":"PointOfSaleDebit"}},"ProprietaryBankTransactionCode":{{"Code":"POS","Issuer":"Example Bank plc"}},"Balance":{{"Amount":{{"Amount":"{}.00","Currency":"GBP"}},"CreditDebitIndicator":"Credit","Type":"InterimBooked"}},"MerchantDetails":{{"MerchantName":"Corner Coffee House","MerchantCategoryCode":"5814"}},"CardInstrument":{{"CardSchemeName":"VISA","AuthorisationType":"Contactless","Name":"A SAMPLE CUSTOMER","Identification":"************1234"}}}}"#,
            pence / 100,
            pence % 100,
            1_000 + row,
        )
        .unwrap();
    }
    text.push_str(r#"]},"Links":{"Self":"https://api.bank.example/open-banking/v3.1/aisp/accounts/22289/transactions"},"Meta":{"TotalPages":1}}"#);
    text.into_bytes()
}
