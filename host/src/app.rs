//! All of it, built and run: configuration in, a running service out.
//!
//! Must not know: how a sync, a webhook or a request is done; it starts those who do.

mod among;
mod housekeeping;

use crate::clock::Clock;
use crate::config::Config;
use crate::crew::Crew;
use crate::egress::Egress;
use crate::model::{
    Freshness, Institution, Manifest, Method, Purpose, Role, Route, Timestamp, hex, resolve_routes,
};
use crate::nudge::Nudge;
use crate::sandbox::{Connector, Limits, Sandbox, SandboxConfig};
use crate::store::{Store, StoreError};
use crate::sync::Health;
use crate::telemetry::Metrics;
use crate::vault::Vault;
use crate::{api, sync, webhook};
use anyhow::{Context, bail};
use aws_lc_rs::digest;
use chrono::NaiveDate;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

/// How often the ages of all accounts are counted, at most: it looks at each of them.
const FRESHNESS_EVERY: Duration = Duration::from_secs(30);

/// The built service: what every part shares.
pub struct App {
    /// What the operator said.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// The database.
    pub store: Store,
    /// The way out.
    pub egress: Egress,
    /// Profiles by id.
    pub institutions: BTreeMap<String, Arc<Bank>>,
    /// Wake-ups.
    pub nudge: Nudge,
    /// This process among those that share the database.
    pub crew: Crew,
    /// How connectors do lately.
    pub health: Health,
    /// What an operator's monitoring reads.
    pub metrics: Metrics,
    /// The last count of ages, and when it was made; see [`App::freshness`].
    pub freshness: Mutex<Option<(Timestamp, Arc<Vec<Freshness>>)>>,
}

/// An institution, ready to be synced or not.
pub struct Bank {
    /// Its profile.
    pub institution: Institution,
    /// What speaks to it, if it is loaded.
    pub connector: Option<Arc<Connector>>,
    /// The connector's routes at this institution.
    pub routes: Vec<Route>,
    /// What the operator approves: a hash of routes and values.
    pub fingerprint: String,
    /// Why it can never be asked as things are: no connector, wrong profile.
    broken: Option<String>,
    /// Why it can't be asked now: not approved, quarantined. Looked up again and again.
    barred: RwLock<Option<String>>,
}

impl Bank {
    /// Joins a profile and its connector.
    pub fn new(institution: Institution, connector: Result<Arc<Connector>, String>) -> Self {
        let manifest = connector.as_ref().map(|connector| connector.manifest());
        let resolved = manifest.map_err(Clone::clone).and_then(|manifest| {
            let routes = resolve_routes(manifest, &institution)?;
            let fingerprint = fingerprint(manifest, &routes, &institution);
            match unallowed_post(&institution, &routes) {
                Some(route) => Err(format!(
                    "{} writes outside login; if that is right, add `allow-post = [\"{}\"]` to institutions/{}.toml",
                    route.line(),
                    route.name,
                    institution.id
                )),
                None => Ok((routes, fingerprint)),
            }
        });
        let (routes, fingerprint, broken) = match resolved {
            Ok((routes, fingerprint)) => (routes, fingerprint, None),
            Err(sentence) => (Vec::new(), String::new(), Some(sentence)),
        };
        let barred = RwLock::new(Some("its approval was not looked up yet".to_owned()));
        Self { institution, connector: connector.ok(), routes, fingerprint, broken, barred }
    }

    /// Its connector's manifest, if the connector is loaded.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.connector.as_deref().map(Connector::manifest)
    }

    /// Why it can never be asked as things are, in a sentence for the operator.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Why nothing can be asked of it, in a sentence for the operator; none if it can.
    pub fn unavailable(&self) -> Option<String> {
        self.broken.clone().or_else(|| self.barred.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Which day it is there.
    pub fn today(&self, now: Timestamp) -> NaiveDate {
        let zone = self.institution.time_zone.parse().unwrap_or(chrono_tz::Tz::UTC);
        now.utc().with_timezone(&zone).date_naive()
    }

    /// The hour of the bank's day: 0 to 23.
    pub fn hour(&self, now: Timestamp) -> u32 {
        let zone = self.institution.time_zone.parse().unwrap_or(chrono_tz::Tz::UTC);
        chrono::Timelike::hour(&now.utc().with_timezone(&zone))
    }

    fn bar(&self, approvals: &BTreeMap<String, String>, quarantined: &BTreeMap<String, String>) {
        let id = &self.institution.id;
        let digest = self.connector.as_deref().map_or("", Connector::digest);
        let barred = if let Some(reason) = quarantined.get(digest) {
            Some(format!("its connector is quarantined: {reason}; install a mended version"))
        } else {
            match approvals.get(id) {
                Some(approved) if *approved == self.fingerprint => None,
                Some(_) => Some(format!(
                    "its routes, or the way to it, changed since they were approved; run `tidegate institution approve {id}`"
                )),
                None => Some(format!("its routes are not approved; run `tidegate institution approve {id}`")),
            }
        };
        *self.barred.write().unwrap_or_else(PoisonError::into_inner) = barred;
    }
}

/// SHA-256 over what the operator approves: each route, each value with its use and routes, and the way that requests take.
fn fingerprint(manifest: &Manifest, routes: &[Route], institution: &Institution) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut add = |line: String| {
        context.update(line.as_bytes());
        context.update(b"\n");
    };
    add(manifest.name.clone());
    for route in routes {
        let shown = (&route.reply, &route.marks, &route.texts);
        add(format!("{} {} {shown:?}", route.name, route.line()));
    }
    for value in &manifest.values {
        add(format!("{} {:?} {:?} {:?} {}", value.name, value.kind, value.usage, value.routes, value.public));
    }
    institution.egress.lines().into_iter().for_each(add);
    hex(context.finish().as_ref())
}

/// A token that reads may also be able to pay: writing outside login needs the operator's word.
fn unallowed_post<'a>(institution: &Institution, routes: &'a [Route]) -> Option<&'a Route> {
    routes.iter().find(|route| {
        let harmless = match (route.method, route.purpose) {
            (Method::Get, _) | (_, Purpose::Login) | (Method::Delete, Purpose::End) => true,
            (Method::Post | Method::Put | Method::Delete, _) => false,
        };
        !harmless && !institution.allow_post.contains(&route.name)
    })
}

impl App {
    /// Builds everything; nothing runs yet. Fails with a sentence when the master key is missing,
    /// the database is not migrated, or a profile is wrong. A connector that does not load is only
    /// logged: its institutions are unavailable, the others are served.
    pub async fn build(config: Config, clock: Clock, roles: BTreeSet<Role>) -> anyhow::Result<Arc<Self>> {
        let vault = Arc::new(Vault::from_text(config.master_key.reveal())?);
        let cache_key = vault.derive("compiled connectors");
        let store = Store::open(&config.database_url, vault).await?;
        store.ready().await?;
        let is_shared = store.is_shared();
        if !is_shared && roles.len() < Role::ALL.len() {
            bail!(
                "on SQLite one process does everything; leave out --roles, or use PostgreSQL, which several can share"
            );
        }
        let version = env!("CARGO_PKG_VERSION");
        let crew = match is_shared {
            true => Crew::joining(roles, version, &clock),
            false => Crew::alone(version, clock.now()),
        };
        let sandbox = Sandbox::new(SandboxConfig {
            threads: config.sandbox_threads,
            cache_dir: config.cache_dir.clone(),
            compiler: config.compiler.clone(),
            cache_key,
            limits: Limits::default(),
        })?;
        let connectors = load_connectors(&sandbox, &config.connectors_dir).await?;
        let institutions = load_institutions(&config, &connectors)?;
        let egress = Egress::new(config.egress.clone(), clock.clone());
        let (nudge, health) = (Nudge::new(is_shared), Health::default());
        let app = Arc::new(Self {
            config,
            clock,
            store,
            egress,
            institutions,
            nudge,
            crew,
            health,
            metrics: Metrics::default(),
            freshness: Mutex::default(),
        });
        app.look_up_approvals().await?;
        for (id, bank) in &app.institutions {
            if let Some(sentence) = bank.unavailable() {
                tracing::warn!(institution = id, "unavailable: {sentence}");
            }
        }
        Ok(app)
    }

    /// Does what its roles are until `shutdown` resolves, then drains. `listener` is where the API listens, if that is one of
    /// them.
    pub async fn run(
        self: Arc<Self>,
        listener: Option<TcpListener>,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let watched_at = match self.config.metrics_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        among::join(&self).await?;
        let now = self.clock.now();
        let sole = self.store.sole_server()?;
        // What an earlier process left claimed: alone, nobody else can be at it; among many, its
        // leases run out.
        let released = if sole.is_some() { self.store.release_all(now).await? } else { 0 };
        let erased = self.store.finish_erasures(now).await?;
        tracing::info!(released, erased, "taking up work");
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        if self.crew.has(Role::Worker) {
            tasks.spawn(sync::work(self.clone(), stopping.clone()));
        }
        if self.crew.has(Role::Sender) {
            tasks.spawn(webhook::run(self.clone(), stopping.clone()));
        }
        tasks.spawn(housekeeping::run(self.clone(), stopping.clone()));
        if let Some(at) = watched_at {
            tasks.spawn(api::serve_metrics(self.clone(), at, stopping.clone()));
        }
        let (drained, when_drained) = watch::channel(false);
        let others = tokio::spawn(among::stay(self.clone(), when_drained));
        let stopped = async move {
            shutdown.await;
            stop.send_replace(true);
        };
        let served = match listener {
            Some(listener) => api::serve(self.clone(), listener, stopped).await,
            None => {
                stopped.await;
                Ok(())
            }
        };
        while let Some(ended) = tasks.join_next().await {
            ended.context("a background task ended abnormally")?;
        }
        // Its part goes to the others when nothing of it is done any more.
        drained.send_replace(true);
        others.await.context("a background task ended abnormally")?;
        among::leave(&self).await;
        served
    }

    /// How old the data is, by institution: counted now, or some seconds ago.
    pub async fn freshness(&self) -> Result<Arc<Vec<Freshness>>, StoreError> {
        let now = self.clock.now();
        // Held while counting: whoever asks meanwhile gets the same.
        let mut last = self.freshness.lock().await;
        if let Some((at, counted)) = &*last
            && now.since(*at) < FRESHNESS_EVERY
        {
            return Ok(counted.clone());
        }
        let counted = Arc::new(self.store.freshness(now).await?);
        *last = Some((now, counted.clone()));
        Ok(counted)
    }

    /// An institution that can be asked now, and its connector; else the sentence that says why not.
    pub fn bank(&self, id: &str) -> Result<(Arc<Bank>, Arc<Connector>), String> {
        let bank = self.institutions.get(id).ok_or_else(|| {
            format!("institution \"{id}\" has no profile; put {id}.toml back into the institutions folder")
        })?;
        match (bank.unavailable(), &bank.connector) {
            (None, Some(connector)) => Ok((bank.clone(), connector.clone())),
            (reason, _) => Err(format!("institution \"{id}\": {}", reason.unwrap_or_default())),
        }
    }

    /// This version of a connector is no longer run, here and after a restart.
    pub(crate) async fn quarantine(&self, connector: &Connector, reason: &str) {
        tracing::error!(connector = connector.label(), digest = connector.digest(), reason, "quarantined");
        let stored = self.store.quarantine_connector(connector.digest(), reason, self.clock.now()).await;
        let looked = match stored {
            Ok(()) => self.look_up_approvals().await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = looked {
            tracing::error!(%error, "the quarantine could not be stored; trying again with the next failure");
        }
    }

    /// Looks up what the operator approved and what is quarantined.
    pub async fn look_up_approvals(&self) -> anyhow::Result<()> {
        let approvals = self.store.approvals().await?;
        let quarantined = self.store.quarantined_connectors().await?;
        for bank in self.institutions.values() {
            bank.bar(&approvals, &quarantined);
        }
        Ok(())
    }
}

/// Where metrics are served.
async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; stop who does, or set server.metrics-listen")
    })?;
    tracing::info!(address = %listener.local_addr()?, "metrics are served");
    Ok(listener)
}

/// Files of a folder with an ending, in the order of their names.
fn files(folder: &Path, ending: &str) -> anyhow::Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(folder)
        .with_context(|| format!("the folder {} could not be read", folder.display()))?;
    let mut files = Vec::new();
    for entry in listed {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == ending) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Connectors by name. Of two files with the same name in their manifests, none is taken.
pub(crate) async fn load_connectors(
    sandbox: &Sandbox,
    folder: &Path,
) -> anyhow::Result<BTreeMap<String, Result<Arc<Connector>, String>>> {
    let mut connectors = BTreeMap::new();
    for path in files(folder, "wasm")? {
        let shown = path.display();
        let component = std::fs::read(&path).with_context(|| format!("{shown} could not be read"))?;
        match sandbox.load(&component).await {
            Ok(connector) => {
                let name = connector.manifest().name.clone();
                tracing::info!(connector = connector.label(), digest = connector.digest(), "loaded");
                let twice = connectors.contains_key(&name);
                let entry = if twice {
                    Err(format!("two files in {} are connector \"{name}\"; keep one", folder.display()))
                } else {
                    Ok(Arc::new(connector))
                };
                connectors.insert(name, entry);
            }
            Err(error) => {
                tracing::error!(%error, file = %shown, "a connector does not load");
                if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) {
                    connectors.entry(stem.to_owned()).or_insert(Err(format!("{shown}: {error}")));
                }
            }
        }
    }
    Ok(connectors)
}

fn load_institutions(
    config: &Config,
    connectors: &BTreeMap<String, Result<Arc<Connector>, String>>,
) -> anyhow::Result<BTreeMap<String, Arc<Bank>>> {
    let mut institutions = BTreeMap::new();
    for path in files(&config.institutions_dir, "toml")? {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} could not be read", path.display()))?;
        let id = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let institution = Institution::parse(id, &text).map_err(anyhow::Error::msg)?;
        let connector = connectors.get(&institution.connector).cloned().unwrap_or_else(|| {
            Err(format!(
                "there is no connector \"{}\" in {}; build it with `tidegate connector build`",
                institution.connector,
                config.connectors_dir.display()
            ))
        });
        institutions.insert(id.to_owned(), Arc::new(Bank::new(institution, connector)));
    }
    Ok(institutions)
}
