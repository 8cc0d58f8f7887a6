//! The hostile guest, built once, and what it is asked.

use host::model::{Context, Reply, Timestamp, Want, Window};
use host::sandbox::{Connector, Limits, Sandbox, SandboxConfig};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio::sync::OnceCell;

/// Threads of a sandbox here, if a test does not care.
const THREADS: usize = 2;

/// This run's own folder for components and compiled code.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// The component, built once.
pub fn component() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests/hostile");
        std::fs::read(host::cli::connector::build::build(&guest, &folder()).unwrap()).unwrap()
    })
}

/// The real compiler: `tidegate connector compile` in a process of its own.
pub fn compiler() -> Vec<String> {
    [env!("CARGO_BIN_EXE_tidegate"), "connector", "compile"].map(String::from).to_vec()
}

/// What the tests that are not about the cache share.
pub fn config(limits: Limits) -> SandboxConfig {
    SandboxConfig {
        threads: THREADS,
        cache_dir: folder().join("compiled"),
        compiler: compiler(),
        cache_key: [7; 32],
        limits,
    }
}

/// A sandbox into which the guest loads without being compiled again.
pub async fn sandbox(threads: usize, limits: Limits) -> Sandbox {
    static COMPILED: OnceCell<()> = OnceCell::const_new();
    let compile = || async {
        Sandbox::new(config(Limits::default())).unwrap().load(component()).await.unwrap();
    };
    COMPILED.get_or_init(compile).await;
    Sandbox::new(SandboxConfig { threads, ..config(limits) }).unwrap()
}

/// The guest under these limits.
pub async fn hostile(limits: Limits) -> Arc<Connector> {
    Arc::new(sandbox(THREADS, limits).await.load(component()).await.unwrap())
}

/// What the guest is told: `settings` as JSON.
pub fn context(settings: &str) -> Context {
    Context {
        now: Timestamp(1_790_000_000_000_000),
        seed: [3; 32],
        profile: format!(r#"{{"origins":{{"api":"https://bank.example"}},"settings":{settings}}}"#),
        credentials: vec![],
        consent: None,
        customer_present: false,
        state: None,
    }
}

/// November of one account.
pub fn wants() -> Vec<Want> {
    let window = Window { since: "2026-11-01".parse().unwrap(), until: "2026-11-30".parse().unwrap() };
    vec![Want { account: "acc-1".into(), transactions: Some(window), balances: true, state: None }]
}

/// What the bank said.
pub fn reply(body: &str) -> Vec<Reply> {
    vec![Reply { status: 200, body: body.into(), ..Reply::default() }]
}
