//! Everything at once: the demo bank, the webhook sink, and the service as an operator runs it, with
//! its configuration, folders, master key and approvals made by the real `tidegate` program.
//!
//! The service runs in this process, so that its clock can be moved; the bank's own clock is moved
//! beside it. Must not know: what is being tested.

use crate::bank::{Bank, BankConfig, Client, NewClient};
use crate::http::{Api, expect, items, text};
use crate::sink::Sink;
use crate::waiting::until;
use anyhow::{Context, bail, ensure};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use host::app::App;
use host::clock::Clock;
use host::config::Config;
use host::crew::{BEAT, LOST_AFTER};
use host::model::{Role, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::TcpListener as Door;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The id of the demo bank's profile.
pub const DEMO_BANK: &str = "demo-bank";
/// Where the demo bank is in the profiles that stand in `institutions/`.
pub(crate) const PLACEHOLDER: &str = "http://127.0.0.1:7701";
/// What the demo bank calls a business that may send its customers there.
pub const CLIENT: &str = "corner-shop";
/// What the bank calls the operator's key for signed requests.
const SIGNER: &str = "tidegate-1";
/// The connectors that every world has.
const CONNECTORS: [&str; 3] = ["connectors/open-banking-uk", "tests/guests/asking", "tests/guests/hostile"];

/// How a world is set up.
#[derive(Default)]
pub struct WorldConfig {
    /// A database URL; none makes an SQLite file in the world's folder.
    pub database: Option<String>,
    /// The bank.
    pub bank: BankConfig,
    /// The operator is registered with the bank as [`CLIENT`], with a signing key and, if the bank has
    /// mutual TLS, a certificate; otherwise as the bank's first client, with HTTP Basic.
    pub registered: bool,
    /// More profiles: id and text. In the text, the demo bank is at the placeholder of `institutions/`.
    pub profiles: Vec<(String, String)>,
    /// More profiles of `institutions/`, by id, each with lines that take the place of its own, or follow them.
    pub shipped: Vec<(&'static str, &'static str)>,
    /// The operator's standing at institutions: id, and values by name.
    pub registrations: Vec<(String, Vec<(String, String)>)>,
    /// More addresses that may be reached.
    pub allow: Vec<String>,
    /// Lines added to `[limits]` and after it in the demo bank's profile.
    pub demo_bank: String,
    /// Changes the configuration before the service is built.
    pub adjust: Option<fn(&mut Config)>,
}

/// A running world; its folder is removed with it.
pub struct World {
    /// The bank.
    pub bank: Bank,
    /// The business's webhook receiver.
    pub sink: Sink,
    /// The service.
    pub app: Arc<App>,
    /// Its clock.
    pub clock: Clock,
    /// Its API, with the business's key.
    pub api: Api,
    /// Where the API is.
    pub origin: String,
    /// The business.
    pub business: String,
    /// The configuration file that `tidegate` takes.
    pub config: PathBuf,
    folder: tempfile::TempDir,
    adjust: Option<fn(&mut Config)>,
    server: Option<Server>,
    /// Where the service listens, kept from one start to the next: a bank sends browsers back there.
    door: Door,
}

/// One more process of the service: on the same database, with an API of its own.
pub struct Process {
    /// The service.
    pub app: Arc<App>,
    /// Its API, with the business's key.
    pub api: Api,
    server: Server,
}

impl Process {
    /// Stops it as a signal would, and waits until it has drained.
    pub async fn stop(self) -> anyhow::Result<()> {
        let _ = self.server.0.send(());
        self.server.1.await?
    }
}

impl World {
    /// Builds what must be built, starts bank and sink, installs and starts the service.
    pub async fn start(setup: WorldConfig) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let bank = Bank::start(setup.bank).await?;
        let clock = Clock::system();
        let sinks_clock = clock.clone();
        let sink = Sink::start_with_clock(Arc::new(move || sinks_clock.now().seconds())).await?;

        let config = folder.path().join("tidegate.toml");
        let institutions = folder.path().join("institutions");
        std::fs::create_dir(&institutions)?;
        let mut profiles = vec![(DEMO_BANK.to_owned(), demo_profile(&bank, &setup.demo_bank)?)];
        for (id, more) in &setup.shipped {
            profiles.push(((*id).to_owned(), shipped_profile(id, more)?));
        }
        profiles.extend(setup.profiles);
        for (id, text) in &profiles {
            let text = text.replace(PLACEHOLDER, &bank.auth_origin());
            std::fs::write(institutions.join(format!("{id}.toml")), text)?;
        }
        let components = components_of(profiles.iter().map(|(_, text)| text.as_str())).await?;
        let door = Door::bind("127.0.0.1:0")?;
        door.set_nonblocking(true)?;
        let origin = format!("http://{}", door.local_addr()?);
        let origins = [Some(bank.auth_origin()), bank.tls_origin().map(str::to_owned)];
        let addresses = origins.iter().flatten().filter_map(|origin| origin.split("://").nth(1));
        let mut allow: Vec<String> = addresses.map(str::to_owned).collect();
        allow.push(sink.address().to_string());
        allow.extend(setup.allow);
        let database = setup
            .database
            .unwrap_or_else(|| format!("sqlite:{}", folder.path().join("tidegate.db").display()));
        std::fs::write(&config, configuration(folder.path(), &origin, &components, &database, &allow))?;

        std::fs::copy(master_key(&config, &components)?, folder.path().join("tidegate.key"))?;
        tidegate(&config, &["migrate"])?;
        match setup.registered {
            true => {
                let client =
                    bank.register_client(&NewClient::new(CLIENT, &format!("{origin}/v1/callback")))?;
                register_client(&config, folder.path(), &client, bank.roots())?;
            }
            false => {
                let of_client = [
                    ("client-id", &bank.config().client_id),
                    ("client-secret", &bank.config().client_secret),
                ];
                let of_client = of_client.map(|(name, value)| (name.to_owned(), value.clone()));
                register(&config, folder.path(), DEMO_BANK, &of_client)?;
            }
        }
        for (institution, values) in &setup.registrations {
            register(&config, folder.path(), institution, values)?;
        }
        for (id, _) in &profiles {
            tidegate(&config, &["institution", "approve", id, "--yes"])?;
        }
        let business = made(&config, &["business", "create", "Corner Shop Ltd", "--json"], "/id")?;
        let key = made(&config, &["api-key", "create", &business, "--json"], "/key")?;

        let app = build(&config, setup.adjust, &clock, &Role::ALL).await?;
        let server = Some(serve(app.clone(), &door)?);
        let api = Api::new(origin.clone(), Some(&key))?;
        let adjust = setup.adjust;
        Ok(Self { bank, sink, app, clock, api, origin, business, config, folder, adjust, server, door })
    }

    /// The world's own folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Time passes, for the service and for the bank.
    pub fn advance(&self, span: Duration) {
        self.bank.advance(span);
        self.clock.advance(span);
    }

    /// The same, once nothing is due and nothing runs: a sync that asks its bank while hours pass loses its lease, and
    /// a login that was lost so counts as refused.
    pub async fn advance_at_rest(&self, span: Duration) -> anyhow::Result<()> {
        let mut looks_at_rest = 0; // two in a row: one may fall between a claim and its run
        until("nothing due and nothing running", async || {
            let due = self.app.store.queues(self.clock.now()).await?.due;
            let rests = due.is_empty() && self.app.metrics.runs_in_flight() == 0;
            looks_at_rest = if rests { looks_at_rest + 1 } else { 0 };
            Ok((looks_at_rest == 2).then_some(()))
        })
        .await?;
        self.advance(span);
        Ok(())
    }

    /// The same for several processes, each of which says that it is there as time passes.
    pub async fn advance_among(&self, span: Duration) -> anyhow::Result<()> {
        let mut left = span;
        while !left.is_zero() {
            let step = left.min(LOST_AFTER - BEAT);
            self.advance(step);
            left -= step;
            let from = self.clock.now().minus(Duration::from_secs(1));
            until("a word of each process", async || {
                let processes = self.app.store.processes().await?;
                Ok((step < BEAT || processes.iter().all(|process| process.seen_at >= from)).then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Lets time pass until the connection's next planned sync has run. A whole hour lies ahead then, in
    /// which the connection is synced only when asked for: what a test counts, nothing else adds to.
    ///
    /// The slot of a connection in the hour is a hash of its id, so without this a test that lets
    /// minutes pass meets the planned sync once in a while.
    pub async fn begin_an_hour(&self, api: &Api, connection: &str) -> anyhow::Result<()> {
        let listed = api.get(&format!("/v1/accounts?connection_id={connection}")).await?;
        expect(&listed, 200)?;
        let planned = async || {
            let mut planned = Vec::new();
            for account in items(&listed) {
                let shown = api.get(&format!("/v1/accounts/{}", text(account, "/id"))).await?;
                // One that is not read has no plan.
                let next: Option<Timestamp> = serde_json::from_value(shown.body["next_at"].clone())?;
                planned.extend(next);
            }
            anyhow::Ok(planned)
        };
        let first = planned().await?.into_iter().max().context("the connection has no account")?;
        self.advance(first.since(self.clock.now()));
        until(&format!("the sync planned for {first}"), async || {
            Ok(planned().await?.iter().all(|next| *next > first).then_some(()))
        })
        .await
    }

    /// An endpoint of the business at the sink, which learns its secret; its id.
    pub async fn endpoint(&self) -> anyhow::Result<String> {
        let created = self.api.post("/v1/webhook-endpoints", &json!({ "url": self.sink.url() })).await?;
        expect(&created, 201)?;
        self.sink.set_secrets([created.text("/secret")]);
        Ok(created.text("/id").to_owned())
    }

    /// Runs the real `tidegate` with this world's configuration; what it printed.
    pub fn tidegate(&self, arguments: &[&str]) -> anyhow::Result<String> {
        tidegate(&self.config, arguments)
    }

    /// Stops the service as a signal would, and waits until it has drained.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some((stop, server)) = self.server.take() {
            let _ = stop.send(());
            server.await??;
        }
        Ok(())
    }

    /// Stops the service and starts it again on the same database and port; the configuration and the
    /// folders are read anew.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop().await?;
        self.app = build(&self.config, self.adjust, &self.clock, &Role::ALL).await?;
        self.server = Some(serve(self.app.clone(), &self.door)?);
        self.origin = format!("http://{}", self.door.local_addr()?);
        self.api = Api::new(self.origin.clone(), self.api.key())?;
        Ok(())
    }

    /// Starts one more process of the service on the same database, which must be PostgreSQL.
    pub async fn another_process(&self, roles: &[Role]) -> anyhow::Result<Process> {
        let app = build(&self.config, self.adjust, &self.clock, roles).await?;
        let door = Door::bind("127.0.0.1:0")?;
        door.set_nonblocking(true)?;
        let api = Api::new(format!("http://{}", door.local_addr()?), self.api.key())?;
        let server = serve(app.clone(), &door)?;
        Ok(Process { app, api, server })
    }

    /// Another business with a key of its own: its API.
    pub fn another_business(&self) -> anyhow::Result<Api> {
        let business = made(&self.config, &["business", "create", "Somebody Else", "--json"], "/id")?;
        let key = made(&self.config, &["api-key", "create", &business, "--json"], "/key")?;
        Ok(self.api.with_key(Some(&key)))
    }
}

/// The service, built from its configuration file, for browsers that reach it at `origin`.
async fn build(
    config: &Path,
    adjust: Option<fn(&mut Config)>,
    clock: &Clock,
    roles: &[Role],
) -> anyhow::Result<Arc<App>> {
    let mut loaded = Config::load(Some(config))?;
    loaded.compiler = vec![program()?.display().to_string(), "connector".into(), "compile".into()];
    if let Some(adjust) = adjust {
        adjust(&mut loaded);
    }
    App::build(loaded, clock.clone(), roles.iter().copied().collect()).await
}

/// A key of the operator's for signed requests, which the bank must be told of.
pub struct Signer {
    private: String,
    public: String,
}

impl Signer {
    /// A fresh RSA key of 2048 bits.
    pub fn new() -> anyhow::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let (private, public): (Pkcs8V1Der, PublicKeyX509Der) = (pair.as_der()?, pair.public_key().as_der()?);
        let pem = |label: &str, der: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
        };
        Ok(Self { private: pem("PRIVATE KEY", private.as_ref()), public: pem("PUBLIC KEY", public.as_ref()) })
    }

    /// What the operator registers.
    pub fn registration(&self) -> Vec<(String, String)> {
        vec![("key-id".into(), SIGNER.into()), ("signing-key".into(), self.private.clone())]
    }

    /// The bank learns whose signature it is.
    pub fn tell(&self, bank: &Bank) -> anyhow::Result<()> {
        Ok(bank.register_signer(SIGNER, &self.public)?)
    }
}

type Server = (oneshot::Sender<()>, JoinHandle<anyhow::Result<()>>);

fn serve(app: Arc<App>, door: &Door) -> anyhow::Result<Server> {
    let listener = TcpListener::from_std(door.try_clone()?)?;
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        let _ = stopped.await;
    };
    Ok((stop, tokio::spawn(app.run(Some(listener), shutdown))))
}

/// The operator's standing at the bank, as the bank handed it out.
fn register_client(config: &Path, folder: &Path, client: &Client, roots: Option<&str>) -> anyhow::Result<()> {
    let values = [("client-id", &client.client_id), ("signing-key-id", &client.signing_key_id)];
    let key = written(folder, "signing-key", &client.signing_key)?;
    let mut arguments = vec!["registration".to_owned(), "set".into(), DEMO_BANK.into()];
    for (name, value) in values {
        arguments.extend(["--value".to_owned(), format!("{name}={value}")]);
    }
    arguments.extend(["--value-file".to_owned(), format!("signing-key={key}")]);
    if let Some((chain, key)) = client.certificate.as_ref().zip(client.certificate_key.as_ref()) {
        arguments.push("--client-identity".to_owned());
        arguments.push(written(folder, "transport.pem", &format!("{chain}{key}"))?);
    }
    if let Some(roots) = roots {
        arguments.extend(["--roots".to_owned(), written(folder, "roots.pem", roots)?]);
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    tidegate(config, &arguments).map(drop)
}

/// A file in the world's folder; its path.
fn written(folder: &Path, name: &str, text: &str) -> anyhow::Result<String> {
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// The operator's standing at an institution: values by name, each from a file.
pub(crate) fn register(
    config: &Path,
    folder: &Path,
    institution: &str,
    values: &[(String, String)],
) -> anyhow::Result<()> {
    let mut arguments = vec!["registration".to_owned(), "set".to_owned(), institution.to_owned()];
    for (name, value) in values {
        let file = written(folder, &format!("{institution}.{name}"), value)?;
        arguments.extend(["--value-file".to_owned(), format!("{name}={file}")]);
    }
    tidegate(config, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
}

/// A profile that stands in `institutions/`; a line of the caller's takes the place of the profile's own line for
/// that key, or stands at the end, which is `[limits]`.
pub(crate) fn shipped_profile(id: &str, more: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(root().join("institutions").join(format!("{id}.toml")))?;
    ensure!(text.contains("[limits]"), "the profile {id} has no [limits]");
    let key = |line: &str| line.split_once('=').map(|(key, _)| key.trim().to_owned());
    let mut lines: Vec<&str> = text.lines().collect();
    for line in more.lines() {
        match lines.iter_mut().find(|own| key(own).is_some() && key(own) == key(line)) {
            Some(own) => *own = line,
            None => lines.push(line),
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// The profile that stands in `institutions/`, with the addresses the bank really listens on.
fn demo_profile(bank: &Bank, more: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(root().join("institutions").join(format!("{DEMO_BANK}.toml")))?;
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let replaced = match line.split('=').next().map(str::trim) {
            // Browsers have no certificate.
            Some("authorise") => format!("authorise = \"{}\"", bank.auth_origin()),
            Some("auth") => {
                let secure = bank.tls_origin().map(str::to_owned);
                format!("auth = \"{}\"", secure.unwrap_or_else(|| bank.auth_origin()))
            }
            Some("api") => {
                format!("api = \"{}\"", bank.tls_api_origin().unwrap_or_else(|| bank.api_origin()))
            }
            _ => line.to_owned(),
        };
        // What the caller says of a key replaces what the profile says.
        let key = line.split('=').next().map(str::trim).unwrap_or_default();
        let said = more.lines().any(|more| more.split('=').next().map(str::trim) == Some(key));
        if key.is_empty() || !said {
            lines.push(replaced);
        }
    }
    let text = lines.join("\n");
    ensure!(text.trim_end().contains("[limits]"), "the demo bank's profile has no [limits]");
    Ok(format!("{text}\n{more}\n"))
}

fn configuration(folder: &Path, origin: &str, components: &Path, database: &str, allow: &[String]) -> String {
    let folder = folder.display();
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npublic-url = \"{origin}\"\n\
         [database]\nurl = \"{database}\"\n\
         [vault]\nmaster-key-file = \"{folder}/tidegate.key\"\n\
         [connectors]\ndir = \"{}\"\ncache-dir = \"{}\"\n\
         [institutions]\ndir = \"{folder}/institutions\"\n\
         [egress]\nallow = {allow:?}\n",
        components.display(),
        components.join("compiled").display(),
    )
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder cargo built this program into, e.g. `target/debug`.
pub fn built() -> anyhow::Result<PathBuf> {
    let me = std::env::current_exe()?;
    let folder = me.ancestors().find(|folder| folder.join(".fingerprint").is_dir());
    Ok(folder.context("this program was not started from cargo's target folder")?.to_owned())
}

/// The `tidegate` program, brought up to date once.
pub fn program() -> anyhow::Result<PathBuf> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || -> anyhow::Result<PathBuf> {
        let folder = built()?;
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // The same packages as `cargo demo`, so that nothing is compiled with other features.
        cargo.args(["build", "--quiet", "--package", "host", "--package", "tests", "--bin", "tidegate"]);
        cargo.arg("--target-dir").arg(folder.join("..")).current_dir(root());
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        let output = cargo.output().context("cargo could not be started")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(folder.join("tidegate"))
    };
    PROGRAM.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

/// The folder of the connectors that every world has, each built once.
pub async fn components() -> anyhow::Result<PathBuf> {
    components_of([]).await
}

/// The folder of the connectors, with those that these profiles name.
pub(crate) async fn components_of<'p>(
    profiles: impl IntoIterator<Item = &'p str>,
) -> anyhow::Result<PathBuf> {
    static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let named = |profile: &str| {
        let line = profile.lines().find_map(|line| line.strip_prefix("connector = "))?;
        Some(format!("connectors/{}", line.trim().trim_matches('"')))
    };
    let ours = profiles.into_iter().filter_map(named).filter(|folder| root().join(folder).is_dir());
    let wanted: BTreeSet<String> = CONNECTORS.map(str::to_owned).into_iter().chain(ours).collect();
    let build = move || -> anyhow::Result<PathBuf> {
        let out = built()?.join("components");
        let mut known = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        for connector in wanted {
            if !known.contains(&connector) {
                host::cli::connector::build::build(&root().join(&connector), &out)?;
                known.insert(connector);
            }
        }
        Ok(out)
    };
    tokio::task::spawn_blocking(build).await?
}

/// The file with the master key of all worlds: what one of them compiled of a connector, the others trust.
pub(crate) fn master_key(config: &Path, components: &Path) -> anyhow::Result<PathBuf> {
    static MADE: Mutex<()> = Mutex::new(());
    let _made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = components.join("tidegate.key");
    if !file.exists() {
        // Of several processes that come first, one key stays.
        let mine = components.join(format!("tidegate.key.{}", std::process::id()));
        tidegate(config, &["vault", "new-key", "--file", &mine.display().to_string()])?;
        std::fs::rename(mine, &file)?;
    }
    Ok(file)
}

pub(crate) fn tidegate(config: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program()?).arg("--config").arg(config).args(arguments).output()?;
    if !output.status.success() {
        bail!("tidegate {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

pub(crate) fn made(config: &Path, arguments: &[&str], pointer: &str) -> anyhow::Result<String> {
    let printed: Value = serde_json::from_str(&tidegate(config, arguments)?)?;
    let value = printed.pointer(pointer).and_then(Value::as_str);
    Ok(value.with_context(|| format!("`tidegate {}` printed no {pointer}", arguments.join(" ")))?.to_owned())
}
