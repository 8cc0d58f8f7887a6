//! The rounds: traffic, one thing that breaks, rest, and a look at everything.

use super::check::Checker;
use super::database::Database;
use super::disk::Disk;
use super::evidence::Evidence;
use super::fault::{Fault, Machinery};
use super::findings::{Findings, Kind};
use super::relay::Relay;
use super::scene::{Scene, Stage, To};
use super::secrets;
use super::service::Service;
use super::settle::settle;
use super::traffic::Traffic;
use crate::bank::{Bank, BankConfig};
use crate::http::expect;
use crate::load::service::DatabaseKind;
use crate::random::Random;
use crate::sink::Sink;
use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Customers who are linked before the first round; of these, so many at the bank with a budget.
const CUSTOMERS: (usize, usize) = (16, 4);
/// Traffic goes on for so long before something breaks, and after it works again, in milliseconds.
const BEFORE_MS: (i64, i64) = (300, 1_500);
const AFTER: Duration = Duration::from_millis(1_200);
/// Every so many rounds all histories are replayed from their beginning, and the database's files are searched.
const THOROUGH_ONE_IN: u32 = 10;
/// Processes of the service on PostgreSQL.
const PROCESSES: usize = 3;
/// No run lasts longer, whatever happens.
const RUN: Duration = Duration::from_secs(4 * 3_600);

/// What to do.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// How often something breaks.
    #[arg(long, default_value_t = 20)]
    pub rounds: u32,
    /// Which database.
    #[arg(long, value_enum, default_value = "sqlite")]
    pub database: DatabaseKind,
    /// The same seed breaks the same things in the same order; what else happens meanwhile is up to the machine.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Only these, by name, in turn; by default all that can happen.
    #[arg(long, value_delimiter = ',')]
    pub faults: Vec<String>,
    /// Keep the folder also when nothing is wrong.
    #[arg(long)]
    pub keep: bool,
}

/// What it came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Rounds that were played.
    pub rounds: u32,
    /// What happened at the bank and is not in the ledger, the history, or with the receivers.
    pub lost: usize,
    /// What is there twice, and credentials that are good once and were used again.
    pub doubled: usize,
    /// Consents that were dropped, not recorded, or not respected.
    pub consents_lost: usize,
    /// Webhooks that a receiver took more than once: allowed, and counted.
    pub duplicate_deliveries: usize,
    /// Banks that were asked more often than they allow.
    pub budgets_exceeded: usize,
    /// Files in which a secret lay in the clear.
    pub secrets_seen: usize,
    /// Customers who had to agree once more, because the answer to a trade of their token died on its way.
    pub agreed_again: u32,
    /// Rounds in which the moment that was waited for did not come within five seconds, so that any moment was hit.
    pub moments_missed: u32,
    /// Which database.
    pub database: DatabaseKind,
    /// Processes of the service.
    pub processes: usize,
    /// What repeats it.
    pub seed: u64,
    /// Customers who came, and of these who went.
    pub customers: usize,
    /// See `customers`.
    pub left: usize,
    /// Rows compared with the bank's, all rounds together.
    pub compared: usize,
    /// Requests that the bank got.
    pub bank_requests: u64,
    /// Webhooks that were taken.
    pub webhooks: usize,
    /// How long a round took, on average and at most, in seconds.
    pub round_s: f64,
    /// See `round_s`.
    pub round_max_s: f64,
    /// How often each thing broke.
    pub faults: BTreeMap<String, u32>,
    /// What could not break here, since the machine does not allow it.
    pub skipped: Vec<&'static str>,
}

impl Report {
    /// Nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.lost + self.doubled + self.consents_lost + self.budgets_exceeded + self.secrets_seen == 0
    }
}

/// Plays the rounds; the first that finds something wrong is the last. `own_mounts`: see [`Disk`].
pub async fn run(arguments: &Arguments, own_mounts: bool, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ 0x7469_6465);
    let folder = tempfile::Builder::new().prefix("tidegate-crash-").tempdir()?;
    say(&format!("seed {seed}, in {}", folder.path().display()));
    let mut play = Play::prepare(arguments, seed, folder.path(), own_mounts).await?;
    let played = tokio::time::timeout(RUN, play.rounds(arguments, say)).await;
    let played = played.context("the run took too long").and_then(|played| played);
    let report = play.report(arguments, seed);
    if arguments.keep || played.is_err() || !report.is_good() {
        let kept = folder.keep();
        play.keep(&kept)?;
        say(&format!("seed {seed}; the logs are in {}/logs, the database in {0}/kept", kept.display()));
    }
    played?;
    Ok(report)
}

struct Play {
    scene: Arc<Scene>,
    machinery: Machinery,
    checker: Checker,
    evidence: Arc<Evidence>,
    findings: Arc<Findings>,
    random: Random,
    faults: BTreeMap<String, u32>,
    rounds: u32,
    agreed_again: u32,
    moments_missed: u32,
    took: Vec<f64>,
    folder: PathBuf,
}

impl Play {
    async fn prepare(
        arguments: &Arguments,
        seed: u64,
        folder: &Path,
        own_mounts: bool,
    ) -> anyhow::Result<Self> {
        open_to_all(folder)?;
        std::fs::create_dir(folder.join("logs"))?;
        let disk = Disk::make(folder.join("disk"), own_mounts)?;
        let database = Database::make(arguments.database, &disk, &folder.join("logs"))?;
        let (mut before_bank, mut before_receiver) = (Relay::reserve()?, Relay::reserve()?);
        let known_as = Some(format!("http://{}", before_bank.address()));
        let bank = Bank::start(BankConfig { seed, known_as, ..BankConfig::default() }).await?;
        before_bank.start(bank.address())?;
        let receivers = vec![Sink::start().await?, Sink::start().await?];
        before_receiver.start(receivers.first().context("a receiver")?.address())?;
        let told_at = [before_receiver.address(), receivers.last().context("a receiver")?.address()];
        let processes = if arguments.database == DatabaseKind::Postgres { PROCESSES } else { 1 };
        let allow = [before_bank.address(), told_at[0], told_at[1]];
        let mut service = Service::install(folder, &database, &bank, &allow, processes).await?;
        service.start().await?;
        let apis: Vec<_> = service.members.iter().map(|member| member.api.clone()).collect();
        for (receiver, address) in receivers.iter().zip(told_at) {
            let url = json!({ "url": format!("http://{address}/webhooks") });
            let created = apis.first().context("a process")?.post("/v1/webhook-endpoints", &url).await?;
            expect(&created, 201)?;
            receiver.set_secrets([created.text("/secret")]);
        }
        let scene = Arc::new(Scene::new(bank, receivers, apis));
        for number in 0..CUSTOMERS.0 {
            scene.come(if number < CUSTOMERS.1 { To::Budgeted } else { To::Any }, false)?;
        }
        let machinery = Machinery { service, database, disk, bank: before_bank, receiver: before_receiver };
        Ok(Self {
            scene,
            machinery,
            checker: Checker::default(),
            evidence: Arc::default(),
            findings: Arc::default(),
            random: Random::of(seed, 0),
            faults: BTreeMap::new(),
            rounds: 0,
            agreed_again: 0,
            moments_missed: 0,
            took: Vec::new(),
            folder: folder.to_owned(),
        })
    }

    async fn rounds(&mut self, arguments: &Arguments, say: &dyn Fn(&str)) -> anyhow::Result<()> {
        let possible = Fault::possible(arguments.database, &self.machinery.disk);
        let wanted = |fault: &Fault| arguments.faults.is_empty() || arguments.faults.contains(&fault.name());
        let possible: Vec<Fault> = possible.into_iter().filter(wanted).collect();
        ensure!(!possible.is_empty(), "none of these can break here: {:?}", arguments.faults);
        let began = Instant::now();
        self.rest().await?;
        say(&format!("{} customers are linked, {:.1?}", CUSTOMERS.0, began.elapsed()));
        let mut bag = Vec::new();
        while self.rounds < arguments.rounds && self.findings.all().is_empty() {
            // Each thing breaks as often as any other.
            if bag.is_empty() {
                bag = possible.clone();
                self.random.shuffle(&mut bag);
            }
            let Some(fault) = bag.pop() else { break };
            let began = Instant::now();
            let settled = self
                .round(fault)
                .await
                .with_context(|| format!("round {}, {}", self.rounds + 1, fault.name()))?;
            self.rounds += 1;
            *self.faults.entry(fault.name()).or_default() += 1;
            self.took.push(began.elapsed().as_secs_f64());
            let round = self.rounds;
            say(&format!("round {round}: {}; settled in {settled:.1?}", fault.name()));
            for (kind, sentence) in self.findings.all() {
                say(&format!("round {round}: {kind:?}: {sentence}"));
            }
        }
        Ok(())
    }

    async fn round(&mut self, fault: Fault) -> anyhow::Result<Duration> {
        let traffic = Traffic::begin(&self.scene, &mut self.random)?;
        let before = u64::try_from(self.random.between(BEFORE_MS.0, BEFORE_MS.1))?;
        tokio::time::sleep(Duration::from_millis(before)).await; // traffic for a while is no fact
        let mut of_fault = self.random.clone();
        self.random.chance(50); // goes on otherwise than the fault does
        let struck = self.machinery.strike(fault, &self.scene, &mut of_fault).await;
        self.machinery.mend(&self.scene).await?;
        let struck = struck?;
        self.moments_missed += u32::from(!struck.at_its_moment);
        self.evidence.note(struck);
        tokio::time::sleep(AFTER).await; // as before
        traffic.end().await;
        let began = Instant::now();
        self.rest().await?;
        let settled = began.elapsed();
        let thorough = (self.rounds + 1).is_multiple_of(THOROUGH_ONE_IN);
        if thorough {
            self.checker.forget();
        }
        self.checker.check(&self.scene, &self.evidence, &self.findings).await?;
        self.search(thorough)?;
        Ok(settled)
    }

    async fn rest(&mut self) -> anyhow::Result<()> {
        self.scene.let_time_pass();
        let seed = u64::try_from(self.random.between(0, i64::MAX))?;
        self.agreed_again += settle(&self.scene, &self.evidence, &self.findings, seed).await?;
        Ok(())
    }

    /// Secrets in logs and cores; now and then in the database's files, too.
    fn search(&self, thorough: bool) -> anyhow::Result<()> {
        let (logs, cores) = (self.folder.join("logs"), self.folder.join("cores"));
        let mut folders = vec![logs.as_path(), cores.as_path()];
        if thorough {
            folders.push(self.machinery.disk.folder());
        }
        let logins = self.scene.customers().into_iter().filter_map(|customer| Some(customer.login?.password));
        let secrets: Vec<String> = self.machinery.service.secrets.iter().cloned().chain(logins).collect();
        for file in secrets::found(&folders, &secrets)? {
            self.findings.add(Kind::Secret, format!("a secret lies in {file}"));
        }
        for core in secrets::cores(&cores)? {
            self.findings
                .add(Kind::Secret, format!("a core was written, with all that the process knew: {core}"));
        }
        Ok(())
    }

    fn report(&self, arguments: &Arguments, seed: u64) -> Report {
        let count = |kind| self.findings.count(kind);
        let twice = |receiver: &Sink| receiver.duplicates().values().map(|times| times - 1).sum::<usize>();
        let mut skipped = Vec::new();
        if !self.machinery.disk.is_small() {
            skipped.push("disk_full: not allowed to mount; run it as root");
        }
        if super::service::faketime().is_none() {
            skipped.push("clock: libfaketime is not installed (Debian: apt install libfaketime)");
        }
        Report {
            rounds: self.rounds,
            lost: count(Kind::Lost),
            doubled: count(Kind::Doubled),
            consents_lost: count(Kind::Consent),
            duplicate_deliveries: self.scene.receivers.iter().map(twice).sum(),
            budgets_exceeded: count(Kind::Budget),
            secrets_seen: count(Kind::Secret),
            agreed_again: self.agreed_again,
            moments_missed: self.moments_missed,
            database: arguments.database,
            processes: self.machinery.service.members.len(),
            seed,
            customers: self.scene.customers().len(),
            left: self.scene.those(Stage::Gone).len(),
            compared: self.checker.compared,
            bank_requests: self.scene.bank.next_number(),
            webhooks: self.scene.receivers.iter().map(|receiver| receiver.look(<[_]>::len)).sum(),
            round_s: self.took.iter().sum::<f64>() / (self.took.len().max(1) as f64),
            round_max_s: self.took.iter().copied().fold(0.0, f64::max),
            faults: self.faults.clone(),
            skipped,
        }
    }

    /// What lies on the disk is gone with it: copies it into the folder that stays.
    fn keep(&self, folder: &Path) -> anyhow::Result<()> {
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.machinery.disk.folder()).arg(folder.join("kept"));
        ensure!(copy.status()?.success(), "the database could not be kept");
        Ok(())
    }
}

/// PostgreSQL runs as a user of its own, and must get in.
fn open_to_all(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?)
}
