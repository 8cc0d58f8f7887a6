//! Connectors: load, limit, step. The only module that knows wasmtime.
//!
//! Must not know: HTTP, the database, secrets, what a step is wanted for. Guest types stay inside;
//! what a guest says is checked and turned into domain types, or refused.

mod check;
mod engine;
mod guest;
mod limits;
mod load;
mod pool;

pub use limits::{Limits, TICK_MS};
pub use load::LoadError;

use crate::model::{AccountsStep, Context, Goal, Manifest, ReadStep, Reply, SessionStep, Want};
use engine::Meter;
use guest::{Fresh, Linked};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tracing::Instrument;
use wasmtime::{Engine, Store, Trap};

/// Live handles of a store: the contract has no resources, so none are needed.
const HANDLES_MAX: usize = 16;
/// The time in which interrupted steps are counted.
const INTERRUPT_WINDOW: Duration = Duration::from_secs(60);

/// What the sandbox is built from.
pub struct SandboxConfig {
    /// Threads that run steps.
    pub threads: usize,
    /// Where compiled connectors are kept.
    pub cache_dir: PathBuf,
    /// Program and arguments of the process that compiles.
    pub compiler: Vec<String>,
    /// Authenticates the cache.
    pub cache_key: [u8; 32],
    /// What a connector may use.
    pub limits: Limits,
}

/// Runs connectors.
pub struct Sandbox {
    engine: Engine,
    pool: Arc<pool::Pool>,
    cache: load::CodeCache,
    limits: Arc<Limits>,
    threads: usize,
}

/// A loaded connector.
pub struct Connector {
    manifest: Manifest,
    digest: String,
    linked: Linked,
    engine: Engine,
    pool: Arc<pool::Pool>,
    limits: Arc<Limits>,
    /// At most half of the threads: no connector can take the sandbox from the others.
    share: Semaphore,
    interrupts: Mutex<Vec<Instant>>,
}

/// A step that gave no usable answer: the connector's fault. Names connector, version and rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("connector {connector}: {rule}")]
pub struct Fault {
    /// `name version`.
    pub connector: String,
    /// Which rule of the contract was broken, and how.
    pub rule: String,
    /// Steps of this version were interrupted so often that it must no longer be run.
    pub quarantine: bool,
}

impl Sandbox {
    /// Starts the engine and its threads.
    pub fn new(config: SandboxConfig) -> Result<Self, LoadError> {
        let system = |what: String| LoadError::System(format!("the sandbox could not start: {what}"));
        let engine = engine::run_engine(&config.limits, config.threads)
            .map_err(|error| system(format!("{error:#}")))?;
        let pool = pool::Pool::start(config.threads).map_err(|error| system(error.to_string()))?;
        Ok(Self {
            engine,
            pool: Arc::new(pool),
            cache: load::CodeCache {
                folder: config.cache_dir,
                compiler: config.compiler,
                key: config.cache_key,
            },
            limits: Arc::new(config.limits),
            threads: config.threads,
        })
    }

    /// Makes a connector of a component's bytes, compiled before or now.
    pub async fn load(&self, component: &[u8]) -> Result<Connector, LoadError> {
        let manifest = load::read_manifest(component, &self.limits)?;
        let compiled = self.cache.component(&self.engine, component).await?;
        let linked = load::link(&self.engine, &compiled, &manifest, &self.limits)?;
        Ok(Connector {
            manifest,
            digest: load::digest_of(component),
            linked,
            engine: self.engine.clone(),
            pool: self.pool.clone(),
            limits: self.limits.clone(),
            share: Semaphore::new((self.threads / 2).max(1)),
            interrupts: Mutex::default(),
        })
    }
}

impl Connector {
    /// Its `connector.toml`.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    /// SHA-256 of the component, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }
    /// `name version`, for logs and sync records.
    pub fn label(&self) -> String {
        format!("{} {}", self.manifest.name, self.manifest.version)
    }
    /// What it runs under.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// One step of opening, renewing or closing a session.
    pub async fn session(
        self: &Arc<Self>,
        ask: &Context,
        goal: Goal,
        memory: String,
        replies: Vec<Reply>,
    ) -> Result<SessionStep, Fault> {
        let (ask, goal, replies) = (guest::context(ask), guest::goal(goal), guest::replies(replies));
        self.step(move |store, fresh| fresh.session(store, &ask, goal, &memory, &replies), check::session)
            .await
    }

    /// One step of listing accounts.
    pub async fn accounts(
        self: &Arc<Self>,
        ask: &Context,
        memory: String,
        replies: Vec<Reply>,
    ) -> Result<AccountsStep, Fault> {
        let (ask, replies) = (guest::context(ask), guest::replies(replies));
        self.step(move |store, fresh| fresh.accounts(store, &ask, &memory, &replies), check::accounts).await
    }

    /// One step of reading.
    pub async fn read(
        self: &Arc<Self>,
        ask: &Context,
        wants: &[Want],
        memory: String,
        replies: Vec<Reply>,
    ) -> Result<ReadStep, Fault> {
        let (ask, replies, wanted) = (guest::context(ask), guest::replies(replies), wants.to_vec());
        let asked = guest::wants(wants);
        self.step(
            move |store, fresh| fresh.read(store, &ask, &asked, &memory, &replies),
            move |step, limits| check::read(step, &wanted, limits),
        )
        .await
    }

    /// Runs one call in a fresh instance on a sandbox thread, and checks the answer there.
    async fn step<Given, Checked: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&mut Store<Meter>, &Fresh<'_>) -> wasmtime::Result<Given> + Send + 'static,
        check: impl FnOnce(Given, &Limits) -> Result<Checked, String> + Send + 'static,
    ) -> Result<Checked, Fault> {
        let _share = self.share.acquire().await.map_err(|_| self.fault("the sandbox is closing".into()))?;
        let connector = self.clone();
        let span = tracing::debug_span!(target: "tidegate", "step", connector = self.manifest.name.as_str());
        let answered = self.pool.run(move || {
            let given = connector.step_here(call)?;
            check(given, &connector.limits).map_err(|rule| connector.fault(rule))
        });
        answered
            .instrument(span)
            .await
            .unwrap_or_else(|| Err(self.fault("the step was dropped by the host".into())))
    }

    /// One call in a fresh instance on this thread.
    fn step_here<Given>(
        &self,
        call: impl FnOnce(&mut Store<Meter>, &Fresh<'_>) -> wasmtime::Result<Given>,
    ) -> Result<Given, Fault> {
        let mut store = fresh_store(&self.engine, &self.limits);
        let fresh = self.linked.instantiate(&mut store);
        fresh
            .and_then(|fresh| call(&mut store, &fresh))
            .map_err(|error| self.trapped(&error, store.data().hit))
    }

    /// For benchmarks: a fresh instance on this thread, and nothing else.
    pub fn instantiate_here(&self) -> Result<(), Fault> {
        self.step_here(|_, _| Ok(()))
    }

    /// For benchmarks: one step of reading on this thread. How many rows were lifted, and how long
    /// the memory is; the answer is checked only if `checked`.
    pub fn read_here(
        &self,
        ask: &Context,
        wants: &[Want],
        memory: &str,
        replies: Vec<Reply>,
        checked: bool,
    ) -> Result<(usize, String), Fault> {
        let (ask, replies, asked) = (guest::context(ask), guest::replies(replies), guest::wants(wants));
        let step = self.step_here(|store, fresh| fresh.read(store, &ask, &asked, memory, &replies))?;
        if checked {
            return match check::read(step, wants, &self.limits).map_err(|rule| self.fault(rule))? {
                ReadStep::Pages { pages, .. } => Ok((
                    pages.iter().flat_map(|page| &page.content).map(|page| page.transactions.len()).sum(),
                    String::new(),
                )),
                ReadStep::Send(send) => Ok((0, send.memory)),
                ReadStep::Fail(_) => Ok((0, String::new())),
            };
        }
        Ok(match step {
            guest::wit::ReadStep::Pages(more) => {
                (more.pages.iter().map(|page| page.transactions.len()).sum(), String::new())
            }
            guest::wit::ReadStep::Send(send) => (0, send.memory),
            guest::wit::ReadStep::Fail(_) => (0, String::new()),
        })
    }

    fn fault(&self, rule: String) -> Fault {
        Fault { connector: self.label(), rule, quarantine: false }
    }

    fn trapped(&self, error: &wasmtime::Error, hit: Option<&'static str>) -> Fault {
        let limits = &self.limits;
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => {
                let ms = limits.step_ticks * TICK_MS;
                let mut fault = self.fault(format!("a step did not return within {ms} ms"));
                fault.quarantine = self.interrupted_too_often();
                fault
            }
            _ if hit == Some("linear memory") => {
                self.fault(format!("a step wanted more than {} MiB of memory", limits.memory_bytes >> 20))
            }
            _ if hit.is_some() => {
                self.fault(format!("a step wanted more than {} table elements", limits.table_elements))
            }
            Some(Trap::StackOverflow) => self.fault("a step used up the stack (endless recursion?)".into()),
            // Compiled Rust keeps its large values on a stack inside the memory, below everything else.
            Some(Trap::MemoryOutOfBounds) => {
                self.fault("a step reached outside of its memory (endless recursion?)".into())
            }
            Some(trap) => self.fault(format!("a step trapped: {trap}")),
            // wasmtime's own sentences hold no guest data; the one about fuel means the answer was too large.
            None => self.fault(format!(
                "a step gave no valid answer of at most {} MiB: {error:#}",
                limits.lift_bytes >> 20
            )),
        }
    }

    #[allow(clippy::disallowed_methods)] // measures this process's own threads, not the world's time
    fn interrupted_too_often(&self) -> bool {
        let now = Instant::now();
        let mut interrupts = self.interrupts.lock().unwrap_or_else(PoisonError::into_inner);
        interrupts.retain(|at| now.duration_since(*at) < INTERRUPT_WINDOW);
        interrupts.push(now);
        interrupts.len() >= self.limits.interrupts_per_minute
    }
}

fn fresh_store(engine: &Engine, limits: &Limits) -> Store<Meter> {
    let mut store = Store::new(engine, Meter::new(limits));
    store.limiter(|meter| meter);
    store.set_epoch_deadline(limits.step_ticks);
    store.set_hostcall_fuel(limits.lift_bytes);
    store.set_max_component_handles(HANDLES_MAX);
    store
}

/// What is known of a component without running it, for `tidegate connector inspect`.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// SHA-256 of the component, hex.
    pub digest: String,
    /// What it exports.
    pub exports: Vec<String>,
    /// What it imports: must be empty.
    pub imports: Vec<String>,
    /// Its `connector.toml`, if there is one.
    pub manifest: Option<Manifest>,
    /// Name and value of each limit it would run under.
    pub limits: Vec<(&'static str, String)>,
    /// Why it would not load; none if it would.
    pub refusal: Option<String>,
}

/// Looks at a component and tries to load it, all in this process.
pub fn inspect(component: &[u8]) -> Inspection {
    let limits = Limits::default();
    let mut inspection = Inspection {
        digest: load::digest_of(component),
        exports: Vec::new(),
        imports: Vec::new(),
        manifest: None,
        limits: limits.list(),
        refusal: None,
    };
    let mut look = || -> Result<(), LoadError> {
        let manifest = load::read_manifest(component, &limits);
        if let Err(error @ (LoadError::TooLarge(..) | LoadError::NotAComponent(_))) = manifest {
            return Err(error);
        }
        let compile = |error: wasmtime::Error| LoadError::Compile(format!("{error:#}"));
        let engine = engine::compile_engine().map_err(compile)?;
        engine::start_ticker(&engine); // a component may run code when it is instantiated
        let compiled = wasmtime::component::Component::new(&engine, component).map_err(compile)?;
        (inspection.imports, inspection.exports) = load::surface(&engine, &compiled);
        let manifest = &*inspection.manifest.insert(manifest?);
        load::link(&engine, &compiled, manifest, &limits).map(drop)
    };
    let looked = look();
    inspection.refusal = looked.err().map(|error| error.to_string());
    inspection
}

/// Compiles a component to native code: what the child process `tidegate connector compile` does.
pub fn compile(component: &[u8]) -> Result<Vec<u8>, String> {
    engine::compile_engine()
        .and_then(|engine| engine.precompile_component(component))
        .map_err(|error| format!("{error:#}"))
}
