//! The load bank as a process of its own: how it is served, and how the harness holds it.
//!
//! Must not know: what it answers.

use super::bank::{Bank, Behaviour, LoadBank, Log, Show};
use super::machine::{self, Process};
use crate::bank::tls::{Authorities, TlsDoor};
use crate::http::{Api, expect};
use crate::wire::Door;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// What a client of the bank needs for TLS, as files: its certificate and key, and whom it trusts.
const CLIENT: &str = "client.pem";
const ROOTS: &str = "roots.pem";

/// The load bank as a process of its own.
pub struct BankProcess {
    process: Process,
    /// Where it is.
    pub origin: String,
    tls: Option<TempDir>,
    control: Api,
}

impl BankProcess {
    /// Starts it.
    pub fn start(reply_rows: u32) -> anyhow::Result<Self> {
        Self::start_with(reply_rows, None)
    }

    /// Starts it with mutual TLS: its origin is the one for that.
    pub fn start_with_tls(reply_rows: u32) -> anyhow::Result<Self> {
        Self::start_with(reply_rows, Some(tempfile::tempdir()?))
    }

    fn start_with(reply_rows: u32, tls: Option<TempDir>) -> anyhow::Result<Self> {
        let mut command = Command::new(super::program()?);
        command.args(["bank", "--rows", &reply_rows.to_string()]);
        if let Some(folder) = &tls {
            command.arg("--tls").arg(folder.path());
        }
        let (process, said) = Process::start_and_hear(command)?;
        let (plain, secure) = said.split_once(' ').unwrap_or((&said, &said));
        ensure!(plain.starts_with("http"), "the load bank did not start: {said}");
        let control = Api::new(plain.to_owned(), None)?;
        Ok(Self { process, origin: secure.to_owned(), tls, control })
    }

    /// The arguments of `tidegate registration set` that a client needs here; none over plain HTTP.
    pub fn registration(&self) -> Option<[String; 4]> {
        let file = |name| Some(self.tls.as_ref()?.path().join(name).display().to_string());
        Some(["--client-identity".into(), file(CLIENT)?, "--roots".into(), file(ROOTS)?])
    }

    /// What it has computed so far.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        machine::cpu(self.process.id())
    }

    /// Changes what it shows.
    pub async fn show(&self, show: Show) -> anyhow::Result<()> {
        self.put("/control", &serde_json::to_value(show)?).await
    }

    /// Changes how an institution does.
    pub async fn behave(&self, institution: &str, behaviour: Behaviour) -> anyhow::Result<()> {
        self.put(&format!("/control/{institution}"), &serde_json::to_value(behaviour)?).await
    }

    async fn put(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        expect(&self.control.send(reqwest::Method::PUT, path, &[], Some(body)).await?, 204)
    }

    /// The most requests that it had in hand together.
    pub async fn most_at_once(&self) -> anyhow::Result<u64> {
        let answer = self.control.get("/control/most").await?;
        expect(&answer, 200)?;
        Ok(serde_json::from_value(answer.body)?)
    }

    /// When accounts were asked.
    pub async fn log(&self) -> anyhow::Result<Log> {
        let answer = self.control.get("/control/log").await?;
        expect(&answer, 200)?;
        Ok(serde_json::from_value(answer.body)?)
    }
}

/// Prints where it is and serves until standard input ends: whoever started it has. With a folder for what a client needs,
/// over mutual TLS, too.
pub async fn serve(config: LoadBank, tls: Option<&Path>) -> anyhow::Result<()> {
    let routes = Bank::new(config).routes();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let plain = format!("http://{}", listener.local_addr()?);
    match tls {
        None => println!("{plain}"),
        Some(folder) => {
            let authorities = Authorities::new()?;
            let client = authorities.issue_client("Load")?;
            std::fs::write(folder.join(CLIENT), format!("{}{}", client.chain, client.key))?;
            std::fs::write(folder.join(ROOTS), authorities.roots())?;
            let door = TlsDoor::new(Door::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?, &authorities)?;
            println!("{plain} https://{}", door.address());
            tokio::spawn(axum::serve(door, routes.clone()).into_future());
        }
    }
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        std::process::exit(0);
    });
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        // A small answer must not wait for an acknowledgement; failing to say so harms nobody.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, routes).await.context("the load bank")
}
