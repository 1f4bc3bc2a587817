//! One HTTP/1 connection to an upstream, as the engine's session reads and writes it. It holds the
//! upstream to its time-outs: one timer a connection, set anew only when it has run out, because to
//! set one for each wait would cost more than the wait's bookkeeping. Being over time is an I/O
//! error to the engine; [`is_over`] says what it was.
//!
//! [`is_over`]: Wire::is_over

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_trait::async_trait;
use authsome_shared::snapshot::Timeouts;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora::upstreams::peer::{HttpPeer, Scheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::millis;

/// How long an upstream may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    /// From the request's end to the first byte of the answer.
    pub first_byte: Duration,
    /// Within the answer, and while it does not read the request.
    pub idle: Duration,
}

impl From<Timeouts> for Silence {
    fn from(Timeouts { first_byte_ms, idle_ms, .. }: Timeouts) -> Self {
        Self { first_byte: millis(first_byte_ms), idle: millis(idle_ms) }
    }
}

/// Whom a connection leads to, and whose it is.
#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    scheme: Scheme,
    name: Box<str>,
    /// Of the application, and of what it trusts and shows.
    group: u64,
}

impl Peer {
    fn of(peer: &HttpPeer) -> Self {
        Self {
            address: peer._address.clone(),
            scheme: peer.scheme.clone(),
            name: peer.sni.as_str().into(),
            group: peer.group_key,
        }
    }
}

impl PartialEq<HttpPeer> for Peer {
    fn eq(&self, other: &HttpPeer) -> bool {
        self.address == other._address
            && self.scheme == other.scheme
            && *self.name == *other.sni
            && self.group == other.group_key
    }
}

pub struct Wire {
    stream: Stream,
    to: Peer,
    silence: Silence,
    /// The next request's head, put in the place of the engine's; empty: it is written.
    head: Vec<u8>,
    /// Bytes of it that are written.
    written: usize,
    /// When the last request began.
    began: Instant,
    /// It has been written to its end, and that was with its head.
    ended: AtomicBool,
    is_head: bool,
    /// Anything was answered to it.
    answered: bool,
    /// When the present wait is over time.
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl Wire {
    /// A new connection to this peer.
    pub fn new(stream: Stream, peer: &HttpPeer) -> Self {
        Self {
            stream,
            to: Peer::of(peer),
            silence: Timeouts::default().into(),
            head: Vec::new(),
            written: 0,
            began: Instant::now(),
            ended: AtomicBool::new(false),
            is_head: false,
            answered: false,
            deadline: None,
            timer: None,
            over: false,
        }
    }

    pub fn is_to(&self, peer: &HttpPeer) -> bool {
        self.to == *peer
    }

    /// When its last request began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// A request begins, whose head is to be written into what is returned. `is_head`: it ends with
    /// that.
    pub fn begin(&mut self, now: Instant, is_head: bool) -> &mut Vec<u8> {
        self.began = now;
        self.is_head = is_head;
        *self.ended.get_mut() = is_head;
        self.answered = false;
        self.deadline = None;
        self.head.clear();
        self.written = 0;
        &mut self.head
    }

    /// How long it may take to be answered.
    pub fn hold_to(&mut self, silence: Silence) {
        self.silence = silence;
    }

    /// The request has been written to its end.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Was the upstream silent for too long?
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// May another request follow? Not when the upstream has closed it, or has said what nobody
    /// asked for.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        let stream = &mut self.stream;
        let look = poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut byte));
        // Whoever has used up its turn would be told to wait although there is something to read.
        let look = pin!(unconstrained(look));
        look.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// The upstream is waited for.
    fn poll_silence(&mut self, writing: bool, context: &mut Context<'_>) -> Poll<io::Error> {
        let Silence { first_byte, idle } = self.silence;
        let ended = *self.ended.get_mut();
        let deadline = *self.deadline.get_or_insert_with(|| {
            let from = if self.is_head && !self.answered { self.began } else { Instant::now() };
            let limit = match (writing || self.answered, ended) {
                (true, _) => idle,
                (_, true) => first_byte,
                // It need not answer yet; that the client does not go on shows here.
                _ => first_byte.max(idle),
            };
            from + limit
        });
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= deadline {
                self.over = true;
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_pending() {
            return this.poll_silence(false, context).map(Err);
        }
        this.answered = true;
        this.deadline = None;
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            let rest = this.head.get(this.written..).filter(|rest| !rest.is_empty());
            let written = Pin::new(&mut this.stream).poll_write(context, rest.unwrap_or(bytes));
            match (written, rest) {
                (Poll::Pending, _) => return this.poll_silence(true, context).map(Err),
                (Poll::Ready(Ok(length @ 1..)), Some(_)) => {
                    this.deadline = None;
                    this.written += length;
                    if this.written == this.head.len() {
                        return Poll::Ready(Ok(bytes.len()));
                    }
                }
                (written, _) => {
                    this.deadline = None;
                    return written;
                }
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        if flushed.is_pending() {
            return this.poll_silence(true, context).map(Err);
        }
        this.deadline = None;
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Wire {}

#[async_trait]
impl Peek for Wire {}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("to", &self.to).finish_non_exhaustive()
    }
}
