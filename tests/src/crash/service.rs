//! The service: installed once, as an operator does, and run as one process or several on one database.
//!
//! Each process has a clock that can be set wrong (libfaketime, which stands between the process and the system), and may
//! write a core when it crashes. Must not know: when anything is done to it.

use super::database::Database;
use crate::bank::Bank;
use crate::http::Api;
use crate::load::machine::Process;
use crate::load::service::free_port;
use crate::until;
use crate::world::{
    DEMO_BANK, PLACEHOLDER, components_of, made, master_key, program, register, shipped_profile, tidegate,
};
use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Banks that differ in nothing, so that what is decided for one bank does not hold back all customers.
pub const BANKS: [&str; 3] = ["bank-north", "bank-south", "bank-west"];
/// The bank that lets an account be read four times a day without its customer.
pub const BUDGETED: &str = "bank-budget";
/// What it allows.
pub const READS_A_DAY: usize = 4;
/// The bank that gives statements as files, which it forgets once they are acknowledged.
pub const STATEMENTS: &str = "bank-statements";
/// Its profile as it stands in `institutions/`.
const STATEMENTS_PROFILE: &str = "demo-statements";
/// Where Debian puts libraries, and libfaketime below the folder of an architecture.
const LIBRARIES: &str = "/usr/lib";
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";
/// The shortest lease that the configuration allows, in seconds.
pub const LEASE_S: u64 = 10;

/// One process of the service, running or not.
pub struct Member {
    config: PathBuf,
    log: PathBuf,
    cores: PathBuf,
    /// What sets it wrong, and the file that says by how much.
    clock: Option<(PathBuf, PathBuf)>,
    process: Option<Process>,
    /// Its API, with the business's key.
    pub api: Api,
}

/// The installed service.
pub struct Service {
    /// Its processes.
    pub members: Vec<Member>,
    /// What must never be seen outside of the database's sealed columns.
    pub secrets: Vec<String>,
}

/// What sets clocks wrong, where it is installed.
pub fn faketime() -> Option<PathBuf> {
    let architectures = std::fs::read_dir(LIBRARIES).ok()?.flatten();
    architectures.map(|folder| folder.path().join(FAKETIME)).find(|library| library.is_file())
}

impl Service {
    /// Installs it, with so many processes; none runs yet.
    pub async fn install(
        folder: &Path,
        database: &Database,
        bank: &Bank,
        allow: &[SocketAddr],
        processes: usize,
    ) -> anyhow::Result<Self> {
        let institutions = folder.join("institutions");
        std::fs::create_dir(&institutions)?;
        let cores = folder.join("cores");
        std::fs::create_dir(&cores)?;
        for id in BANKS {
            profile(
                &institutions,
                id,
                DEMO_BANK,
                bank,
                "interval-minutes = 1\nhistory-days = 31\nconcurrency = 8",
            )?;
        }
        let budget = format!("history-days = 31\nunattended-reads-per-day = {READS_A_DAY}");
        profile(&institutions, BUDGETED, DEMO_BANK, bank, &budget)?;
        profile(&institutions, STATEMENTS, STATEMENTS_PROFILE, bank, "")?;
        let statements = shipped_profile(STATEMENTS_PROFILE, "")?;
        let components = components_of([statements.as_str()]).await?;
        let mut members = Vec::new();
        for number in 0..processes {
            let listen = format!("127.0.0.1:{}", free_port()?);
            let config = folder.join(format!("tidegate-{number}.toml"));
            std::fs::write(&config, configuration(folder, &listen, database, &components, allow))?;
            let clock = faketime().map(|library| (library, folder.join(format!("clock-{number}"))));
            let log = folder.join("logs").join(format!("tidegate-{number}.log"));
            let api = Api::new(format!("http://{listen}"), None)?;
            members.push(Member { config, log, cores: cores.clone(), clock, process: None, api });
        }
        let config = members.first().context("a process at least")?.config.clone();
        std::fs::copy(master_key(&config, &components)?, folder.join("tidegate.key"))?;
        tidegate(&config, &["migrate"])?;
        let client = bank.config();
        let client = [
            ("client-id".to_owned(), client.client_id.clone()),
            ("client-secret".to_owned(), client.client_secret.clone()),
        ];
        for id in BANKS.iter().chain([&BUDGETED]) {
            register(&config, folder, id, &client)?;
        }
        for id in BANKS.iter().chain([&BUDGETED, &STATEMENTS]) {
            tidegate(&config, &["institution", "approve", id, "--yes"])?;
        }
        let business = made(&config, &["business", "create", "Corner Shop Ltd", "--json"], "/id")?;
        let key = made(&config, &["api-key", "create", &business, "--json"], "/key")?;
        for member in &mut members {
            member.api = member.api.with_key(Some(&key));
        }
        let master = std::fs::read_to_string(folder.join("tidegate.key"))?;
        let master = master.lines().filter_map(|line| Some(line.split_once(':')?.1.trim().to_owned()));
        let secrets = master.chain([key, bank.config().client_secret.clone()]).collect();
        Ok(Self { members, secrets })
    }

    /// Starts each process that does not run, and returns when all of them answer.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            member.start()?;
        }
        for member in &mut self.members {
            member.answers().await?;
        }
        Ok(())
    }
}

impl Member {
    fn start(&mut self) -> anyhow::Result<()> {
        if let Some(process) = &mut self.process {
            if !process.has_ended()? {
                return Ok(());
            }
            self.process = None;
        }
        // A core would be written here, whatever the machine allows by default.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]).arg(program()?);
        command.arg("--config").arg(&self.config).arg("serve").current_dir(&self.cores);
        if let Some((library, clock)) = &self.clock {
            std::fs::write(clock, "+0")?;
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", clock);
            // Read again each second; only the time of day is wrong, as when somebody sets it.
            command.env("FAKETIME_CACHE_DURATION", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        self.process = Some(Process::start(command, &self.log)?);
        Ok(())
    }

    async fn answers(&mut self) -> anyhow::Result<()> {
        let (log, api) = (self.log.clone(), self.api.clone());
        until("a process answers", async || {
            let ended = self.process.as_mut().map(Process::has_ended).transpose()?.unwrap_or(true);
            ensure!(!ended, "a process of the service ended by itself; see {}", log.display());
            Ok(api.get("/readyz").await.is_ok_and(|answer| answer.status == 200).then_some(()))
        })
        .await
    }

    /// `SIGKILL`.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// As a programming error would end it.
    pub fn abort(&mut self) -> anyhow::Result<()> {
        if let Some(process) = self.process.take() {
            process.signal("ABRT")?;
            process.wait()?;
        }
        Ok(())
    }

    /// As a service manager ends it, and waits until it has.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(process) => process.stop().with_context(|| format!("see {}", self.log.display())),
            None => Ok(()),
        }
    }

    /// It computes nothing until [`Member::go_on`].
    pub fn pause(&self) -> anyhow::Result<()> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal("STOP"))
    }

    /// It goes on.
    pub fn go_on(&self) -> anyhow::Result<()> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal("CONT"))
    }

    /// From now on, or a second later, its clock is wrong by so many seconds.
    pub fn set_clock(&self, wrong_by_s: i64) -> anyhow::Result<()> {
        if let Some((_, clock)) = &self.clock {
            std::fs::write(clock, format!("{wrong_by_s:+}"))?;
        }
        Ok(())
    }
}

fn profile(institutions: &Path, id: &str, like: &str, bank: &Bank, lines: &str) -> anyhow::Result<()> {
    let text = shipped_profile(like, lines)?.replace(PLACEHOLDER, &bank.auth_origin());
    Ok(std::fs::write(institutions.join(format!("{id}.toml")), text)?)
}

fn configuration(
    folder: &Path,
    listen: &str,
    database: &Database,
    components: &Path,
    allow: &[SocketAddr],
) -> String {
    let allow: Vec<_> = allow.iter().map(ToString::to_string).collect();
    let (at, compiled) = (folder.display(), components.join("compiled"));
    format!(
        "[server]\nlisten = \"{listen}\"\n[database]\nurl = \"{}\"\n[vault]\nmaster-key-file = \"{at}/tidegate.key\"\n\
         [connectors]\ndir = \"{}\"\ncache-dir = \"{}\"\n[institutions]\ndir = \"{at}/institutions\"\n\
         [egress]\nallow = {allow:?}\nbank-timeout-s = 10\nwebhook-timeout-s = 5\n[sync]\nlease-s = {LEASE_S}\n\
         [api]\nrate-per-s = 100000\nburst = 100000\n[log]\nfilter = \"info,host=debug\"\n",
        database.url(),
        components.display(),
        compiled.display(),
    )
}
