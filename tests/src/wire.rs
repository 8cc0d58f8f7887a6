//! What axum's own server can't do: cut a connection in the middle, and send bodies that drip,
//! end too early or never.
//!
//! Must not know: what the bytes mean.

use axum::body::{Body, HttpBody};
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use http_body::Frame;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Lets a handler cut the connection its request came on, by a TCP reset, instead of answering.
#[derive(Debug, Clone, Default)]
pub struct Cutter(Arc<AtomicBool>);

impl Cutter {
    /// From now on nothing is written any more: the next write resets the connection.
    pub fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A TCP listener whose connections can be cut.
#[derive(Debug)]
pub struct Door(TcpListener);

impl Door {
    /// Listens; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self(TcpListener::bind(address).await?))
    }
    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Listener for Door {
    type Io = Line;
    type Addr = SocketAddr;
    async fn accept(&mut self) -> (Line, SocketAddr) {
        let (stream, from) = Listener::accept(&mut self.0).await;
        // Small answers must not wait for an acknowledgement. Failing to say so harms nobody.
        let _ = stream.set_nodelay(true);
        (Line { stream, cutter: Cutter::default() }, from)
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// One connection.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    cutter: Cutter,
}

impl Line {
    /// What cuts this connection.
    pub fn cutter(&self) -> Cutter {
        self.cutter.clone()
    }
    fn alive(&self) -> io::Result<()> {
        if self.cutter.0.load(Ordering::SeqCst) {
            let _ = self.stream.set_zero_linger(); // closing then sends RST instead of FIN
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl Connected<IncomingStream<'_, Door>> for Cutter {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().cutter()
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.alive()?;
        Pin::new(&mut self.stream).poll_write(cx, from)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.alive()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.alive()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.alive()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, from)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A body without a declared length, piece by piece.
pub struct Pieces {
    left: VecDeque<axum::body::Bytes>,
    /// Starts again from the first piece, for ever.
    endless: bool,
    /// Waits so long before each piece, in real time.
    every: Option<tokio::time::Interval>,
}

impl Pieces {
    /// These pieces, at once.
    pub fn once(pieces: impl IntoIterator<Item = Vec<u8>>) -> Body {
        let left = pieces.into_iter().map(Into::into).collect();
        Body::new(Self { left, endless: false, every: None })
    }
    /// These pieces, one each `every`.
    pub fn drip(pieces: impl IntoIterator<Item = Vec<u8>>, every: Duration) -> Body {
        let left = pieces.into_iter().map(Into::into).collect();
        Body::new(Self { left, endless: false, every: Some(tokio::time::interval(every)) })
    }
    /// This piece again and again, as fast as it is taken.
    pub fn endless(piece: Vec<u8>) -> Body {
        Body::new(Self { left: VecDeque::from([piece.into()]), endless: true, every: None })
    }
}

impl HttpBody for Pieces {
    type Data = axum::body::Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
        if let Some(every) = &mut self.every
            && every.poll_tick(cx).is_pending()
        {
            return Poll::Pending;
        }
        let piece = self.left.pop_front();
        if self.endless
            && let Some(piece) = &piece
        {
            self.left.push_back(piece.clone());
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}
