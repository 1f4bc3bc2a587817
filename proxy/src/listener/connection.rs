//! A client's connection as the engine reads it. It buffers small writes, so that an answer's head
//! and body leave together; knows its protocol by the first bytes; and holds a request's whole head
//! to a deadline, which the engine does not: it would wait anew for every byte.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pingora::protocols::l4::socket::SocketAddr as EngineAddress;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora::proxy::Session;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Head and small bodies fit; larger writes go straight through.
const WRITE_BUFFER: usize = 4 * 1024;

const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\n\
    Content-Length: 90\r\nConnection: close\r\n\r\n\
    {\"error\":{\"code\":\"request_timeout\",\"message\":\"The request's head did not arrive in time\"}}";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

pub struct Connection {
    stream: BufWriter<TcpStream>,
    /// Read to know the protocol, not yet given to the engine.
    prefix: BytesMut,
    digest: Arc<SocketDigest>,
    /// A request's head is being awaited or read.
    in_head: AtomicBool,
    /// A new head begins; what is known of the last one is void.
    fresh: AtomicBool,
    head_limit: Duration,
    /// When the head's first byte came.
    began: Option<Instant>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    pub fn new(stream: TcpStream, peer: SocketAddr, head_limit: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        let _ = digest.peer_addr.set(Some(EngineAddress::Inet(peer)));
        Ok(Self {
            stream: BufWriter::with_capacity(WRITE_BUFFER, stream),
            prefix: BytesMut::new(),
            digest: Arc::new(digest),
            in_head: AtomicBool::new(true),
            fresh: AtomicBool::new(false),
            head_limit,
            began: None,
            deadline: None,
        })
    }

    /// Reads until the first bytes tell the protocol.
    pub async fn protocol(&mut self) -> io::Result<Protocol> {
        let mut first = BytesMut::with_capacity(4 * 1024);
        loop {
            if self.read_buf(&mut first).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let compared = first.len().min(PREFACE.len());
            if first[..compared] != PREFACE[..compared] {
                self.prefix = first;
                return Ok(Protocol::Http1);
            }
            if compared == PREFACE.len() {
                self.prefix = first;
                self.in_head.store(false, Ordering::Relaxed);
                return Ok(Protocol::Http2);
            }
        }
    }

    /// The next bytes are a new request's.
    pub fn begin_head(&self) {
        self.fresh.store(self.prefix.is_empty(), Ordering::Relaxed);
        self.in_head.store(true, Ordering::Relaxed);
    }

    /// The head has been read; what follows is a body.
    pub fn end_head(&self) {
        self.in_head.store(false, Ordering::Relaxed);
    }

    /// The connection under an HTTP/1 session.
    pub fn under(session: &Session) -> Option<&Self> {
        let stream = session.as_downstream().stream()?;
        (**stream).as_any().downcast_ref()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.prefix.is_empty() {
            let length = this.prefix.len().min(buffer.remaining());
            buffer.put_slice(&this.prefix[..length]);
            this.prefix.advance(length);
            this.began = Some(Instant::now());
            return Poll::Ready(Ok(()));
        }
        let in_head = this.in_head.load(Ordering::Relaxed);
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if !in_head {
            return read;
        }
        if this.fresh.load(Ordering::Relaxed) {
            this.began = None;
            this.deadline = None;
        }
        if buffer.filled().len() > before {
            this.fresh.store(false, Ordering::Relaxed);
            this.began.get_or_insert_with(Instant::now);
        }
        if let (Poll::Pending, Some(began)) = (&read, this.began) {
            let limit = this.head_limit;
            let deadline =
                this.deadline.get_or_insert_with(|| Box::pin(sleep_until(began + limit)));
            if deadline.as_mut().poll(context).is_ready() {
                // Best effort: the engine has no answer for this.
                let _ = this.stream.get_ref().try_write(TOO_SLOW);
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[async_trait::async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().as_raw_fd()
    }
}

impl Ssl for Connection {}

#[async_trait::async_trait]
impl Peek for Connection {}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("stream", self.stream.get_ref()).finish_non_exhaustive()
    }
}
