//! Everything at once: the demo bank, the webhook sink, and the service as an operator runs it, with
//! its configuration, folders, master key and approvals made by the real `tidegate` program.
//!
//! The service runs in this process, so that its clock can be moved; the bank's own clock is moved
//! beside it. Must not know: what is being tested.

use crate::bank::{Bank, BankConfig};
use crate::http::Api;
use crate::sink::Sink;
use crate::story::{LOOK_EVERY, PATIENCE, expect, items, text};
use anyhow::{Context, bail, ensure};
use host::app::App;
use host::clock::Clock;
use host::config::Config;
use host::model::Timestamp;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The id of the demo bank's profile.
pub const DEMO_BANK: &str = "demo-bank";
/// The connectors that every world has.
const CONNECTORS: [&str; 3] = ["connectors/open-banking-uk", "tests/guests/asking", "tests/guests/hostile"];

/// How a world is set up.
#[derive(Default)]
pub struct WorldConfig {
    /// A database URL; none makes an SQLite file in the world's folder.
    pub database: Option<String>,
    /// The bank.
    pub bank: BankConfig,
    /// More profiles: id and text.
    pub profiles: Vec<(String, String)>,
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
    server: Option<(oneshot::Sender<()>, JoinHandle<anyhow::Result<()>>)>,
}

impl World {
    /// Builds what must be built, starts bank and sink, installs and starts the service.
    pub async fn start(setup: WorldConfig) -> anyhow::Result<Self> {
        let components = components().await?;
        let folder = tempfile::tempdir()?;
        let bank = Bank::start(setup.bank).await?;
        let clock = Clock::system();
        let sinks_clock = clock.clone();
        let sink = Sink::start_with_clock(Arc::new(move || sinks_clock.now().seconds())).await?;

        let config = folder.path().join("tidegate.toml");
        let institutions = folder.path().join("institutions");
        std::fs::create_dir(&institutions)?;
        let profile = demo_profile(&bank, &setup.demo_bank)?;
        std::fs::write(institutions.join(format!("{DEMO_BANK}.toml")), profile)?;
        for (id, text) in &setup.profiles {
            std::fs::write(institutions.join(format!("{id}.toml")), text)?;
        }
        let bank_address = bank.auth_origin().replace("http://", "");
        let mut allow = vec![bank_address, sink.address().to_string()];
        allow.extend(setup.allow);
        let database = setup
            .database
            .unwrap_or_else(|| format!("sqlite:{}", folder.path().join("tidegate.db").display()));
        std::fs::write(&config, configuration(folder.path(), &components, &database, &allow))?;

        let path = folder.path().join("tidegate.key").display().to_string();
        tidegate(&config, &["vault", "new-key", "--file", &path])?;
        tidegate(&config, &["migrate"])?;
        let secret = folder.path().join("client-secret");
        std::fs::write(&secret, &bank.config().client_secret)?;
        let id = format!("client-id={}", bank.config().client_id);
        let file = format!("client-secret={}", secret.display());
        tidegate(&config, &["registration", "set", DEMO_BANK, "--value", &id, "--value-file", &file])?;
        tidegate(&config, &["institution", "approve", DEMO_BANK, "--yes"])?;
        for (id, _) in &setup.profiles {
            tidegate(&config, &["institution", "approve", id, "--yes"])?;
        }
        let business = made(&config, &["business", "create", "Corner Shop Ltd", "--json"], "/id")?;
        let key = made(&config, &["api-key", "create", &business, "--json"], "/key")?;

        let (listener, origin) = listen().await?;
        let app = build(&config, setup.adjust, &clock, &origin).await?;
        let server = serve(app.clone(), listener);
        let api = Api::new(origin.clone(), Some(&key))?;
        let (adjust, server) = (setup.adjust, Some(server));
        Ok(Self { bank, sink, app, clock, api, origin, business, config, folder, adjust, server })
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
                planned.push(serde_json::from_value::<Timestamp>(shown.body["next_at"].clone())?);
            }
            anyhow::Ok(planned)
        };
        let first = planned().await?.into_iter().max().context("the connection has no account")?;
        self.advance(first.since(self.clock.now()));
        let mut again = tokio::time::interval(LOOK_EVERY);
        let waiting = async {
            while !planned().await?.iter().all(|next| *next > first) {
                again.tick().await;
            }
            Ok(())
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.with_context(|| format!("the sync planned for {first} does not run"))?
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

    /// Stops the service and starts it again on the same database; the configuration and the folders
    /// are read anew. It listens on another port.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop().await?;
        let (listener, origin) = listen().await?;
        self.app = build(&self.config, self.adjust, &self.clock, &origin).await?;
        let server = serve(self.app.clone(), listener);
        self.api = Api::new(origin.clone(), self.api.key())?;
        (self.origin, self.server) = (origin, Some(server));
        Ok(())
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
    origin: &str,
) -> anyhow::Result<Arc<App>> {
    let mut loaded = Config::load(Some(config))?;
    loaded.public_url = origin.to_owned();
    loaded.compiler = vec![program()?.display().to_string(), "connector".into(), "compile".into()];
    if let Some(adjust) = adjust {
        adjust(&mut loaded);
    }
    App::build(loaded, clock.clone()).await
}

type Server = (oneshot::Sender<()>, JoinHandle<anyhow::Result<()>>);

/// A free port, and its origin.
async fn listen() -> anyhow::Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    Ok((listener, origin))
}

fn serve(app: Arc<App>, listener: TcpListener) -> Server {
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        let _ = stopped.await;
    };
    (stop, tokio::spawn(app.run(listener, shutdown)))
}

/// The profile that stands in `institutions/`, with the addresses the bank really listens on.
fn demo_profile(bank: &Bank, more: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(root().join("institutions").join(format!("{DEMO_BANK}.toml")))?;
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let replaced = match line.split('=').next().map(str::trim) {
            Some("auth") => format!("auth = \"{}\"", bank.auth_origin()),
            Some("api") => format!("api = \"{}\"", bank.api_origin()),
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

fn configuration(folder: &Path, components: &Path, database: &str, allow: &[String]) -> String {
    let folder = folder.display();
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n\
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
fn built() -> anyhow::Result<PathBuf> {
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

/// The folder of the connectors, built once.
pub async fn components() -> anyhow::Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || -> anyhow::Result<PathBuf> {
        let out = built()?.join("components");
        for connector in CONNECTORS {
            host::cli::connector::build::build(&root().join(connector), &out)?;
        }
        Ok(out)
    };
    let once = move || FOLDER.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone();
    tokio::task::spawn_blocking(once).await?.map_err(anyhow::Error::msg)
}

fn tidegate(config: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program()?).arg("--config").arg(config).args(arguments).output()?;
    if !output.status.success() {
        bail!("tidegate {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn made(config: &Path, arguments: &[&str], pointer: &str) -> anyhow::Result<String> {
    let printed: Value = serde_json::from_str(&tidegate(config, arguments)?)?;
    let value = printed.pointer(pointer).and_then(Value::as_str);
    Ok(value.with_context(|| format!("`tidegate {}` printed no {pointer}", arguments.join(" ")))?.to_owned())
}
