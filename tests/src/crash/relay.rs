//! What stands before the bank and before a receiver of webhooks: a process that carries bytes, and can be killed.
//!
//! Books and inboxes live in the harness, since they are the truth. Killing the relay is, for the service, the same as
//! killing the server behind it: connections break in the middle, and nobody listens until it is started again.

use crate::load::machine::Process;
use crate::load::service::free_port;
use anyhow::ensure;
use std::io::Read;
use std::net::SocketAddr;
use std::process::Command;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// What the process prints once it listens.
const READY: &str = "ready";

/// A relay, running or killed; always at the same address.
pub struct Relay {
    process: Option<Process>,
    listens: SocketAddr,
    to: Option<SocketAddr>,
}

impl Relay {
    /// Chooses the address; nobody listens there yet.
    pub fn reserve() -> anyhow::Result<Self> {
        let listens = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        Ok(Self { process: None, listens, to: None })
    }

    /// Where it listens, or will.
    pub fn address(&self) -> SocketAddr {
        self.listens
    }

    /// Starts it before a server.
    pub fn start(&mut self, to: SocketAddr) -> anyhow::Result<()> {
        self.to = Some(to);
        self.restart()
    }

    /// Starts it again, if it does not run.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let (None, Some(to)) = (&self.process, self.to) else { return Ok(()) };
        let mut command = Command::new(super::program()?);
        command.args(["relay", "--listen", &self.listens.to_string(), "--to", &to.to_string()]);
        let (process, said) = Process::start_and_hear(command)?;
        ensure!(said == READY, "the relay at {} did not start: {said}", self.listens);
        self.process = Some(process);
        Ok(())
    }

    /// Kills it: `SIGKILL`.
    pub fn kill(&mut self) {
        self.process = None;
    }
}

/// The relay's own process: serves until standard input ends.
pub async fn serve(listen: SocketAddr, to: SocketAddr) -> anyhow::Result<()> {
    let door = TcpListener::bind(listen).await?;
    println!("{READY}");
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        std::process::exit(0);
    });
    loop {
        let (mut from, _) = door.accept().await?;
        tokio::spawn(async move {
            let mut server = TcpStream::connect(to).await?;
            // Small answers must not wait for an acknowledgement.
            from.set_nodelay(true)?;
            server.set_nodelay(true)?;
            copy_bidirectional(&mut from, &mut server).await
        });
    }
}
