//! A proxy that knows CONNECT (RFC 9110 section 9.3.6) and nothing else: what an operator has between the service and
//! the internet. It notes who asked for what, and cannot read what goes through.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a request's head: a CONNECT has two or three lines.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Somebody asked to be led somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Where they came from.
    pub from: IpAddr,
    /// `HOST:PORT`.
    pub target: String,
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    refuses: Arc<AtomicBool>,
    accepting: tokio::task::AbortHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Listens on this machine.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (asked, refuses) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(AtomicBool::new(false)));
        let (log, no) = (asked.clone(), refuses.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((socket, from)) = listener.accept().await {
                tokio::spawn(lead(socket, from.ip(), log.clone(), no.clone()));
            }
        });
        Ok(Self { address, asked, refuses, accepting: accepting.abort_handle() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on it leads nobody anywhere.
    pub fn refuse(&self) {
        self.refuses.store(true, Ordering::SeqCst);
    }
}

/// One connection: its head, the answer, and then whatever both sides say. Who fails is cut off.
async fn lead(
    mut socket: TcpStream,
    from: IpAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    refuses: Arc<AtomicBool>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        head.push(socket.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let Some(target) = target.filter(|_| !refuses.load(Ordering::SeqCst)) else {
        return socket.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    };
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(Asked { from, target: target.to_owned() });
    let mut there = TcpStream::connect(target).await?;
    socket.write_all(b"HTTP/1.1 200 Connection Established\r\n\r\n").await?;
    copy_bidirectional(&mut socket, &mut there).await.map(drop)
}
