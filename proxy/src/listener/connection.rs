//! A client's connection as the engine reads it. Of HTTP/1 it gives the engine one whole, strictly
//! checked head at a time, then exactly that message's body, and never a byte of the next request:
//! what two readers could take differently does not get that far. It holds heads and bodies to
//! their deadlines, and gathers small writes, so that an answer's head and body leave together.
//! HTTP/2 and switched protocols pass as they are. Failures are I/O errors to the engine; [`fault`]
//! says what they were.
//!
//! [`fault`]: Connection::fault

mod answer;
mod engine;
mod read;
mod websocket;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr as EngineAddress;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{ALPN, SocketDigest};
use pingora::proxy::Session;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::io::poll_read_buf;

use super::body::Body;
use super::ends::{Ending, Wait};
use super::head::Reader;
use super::pace::Pace;
use super::patience::Patience;
use super::transport::Transport;
use crate::ctx::Ctx;
use crate::denied::Cause;
use answer::Fields;
use websocket::Frames;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Head and small bodies fit; larger writes go straight through.
const WRITE_BUFFER: usize = 4 * 1024;

/// Read at once of a head.
const READ_SIZE: usize = 4 * 1024;

/// Most that is read after an answer before closing, so that the client gets to read it.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Without any byte of a request.
    pub idle: Duration,
    /// For a whole head, from its first byte.
    pub head: Duration,
    /// Slower bodies are cut off; 0: none are.
    pub body_bytes_per_second: u64,
    /// What the rate is measured over.
    pub body_grace: Duration,
    /// Without reading anything of an answer that waits for it.
    pub unread: Duration,
}

/// Why there is no next request.
#[derive(Debug)]
pub enum End {
    /// The client closed, or sent nothing for too long.
    Quiet,
    Refused(Cause),
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Malformed,
    Slow,
    /// Not the client's: we are draining, and it took too long.
    Ended,
}

pub struct Connection {
    /// First, so that it goes before the stream is closed.
    ending: Ending,
    stream: BufWriter<Transport>,
    digest: Arc<SocketDigest>,
    /// Its [`Patience`], in the one place that the engine hands on with every request.
    user: Option<Arc<ProxyDigest>>,
    /// The client's address, as upstreams are told it.
    client: HeaderValue,
    alpn: Option<ALPN>,
    limits: Limits,
    /// How long it may stay without a first request when idle connections have been ended already.
    moment: Option<Duration>,
    /// Read, not yet given to the engine.
    ahead: BytesMut,
    reader: Reader,
    /// When the head's first byte came.
    began: Option<Instant>,
    /// Bytes of a checked head at the beginning of `ahead`.
    head: usize,
    body: Body,
    /// Everything passes: HTTP/2, or a protocol that was switched to.
    raw: AtomicBool,
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    /// Until when the client must have read something.
    unread: Option<Instant>,
    fault: Option<Fault>,
    ended: bool,
    /// An answer is under way that may not end by itself.
    streaming: AtomicBool,
    /// It is HTTP/2: what is on it ends by itself or with the connection.
    multiplexed: bool,
    /// What has passed of WebSocket.
    frames: Option<Frames>,
    /// How much has been said of a last word to the client.
    leave: usize,
    /// What the next answer's head is to have beside the engine's.
    fields: Mutex<Fields>,
    /// What was decided of the request whose head is read again.
    decided: Mutex<Option<Box<Ctx>>>,
}

impl Connection {
    pub fn new(
        stream: Transport,
        peer: SocketAddr,
        alpn: Option<ALPN>,
        limits: Limits,
        ending: Ending,
        moment: Option<Duration>,
    ) -> Self {
        let digest = SocketDigest::from_raw_fd(stream.descriptor());
        let _ = digest.peer_addr.set(Some(EngineAddress::Inet(peer)));
        Self {
            ending,
            stream: BufWriter::with_capacity(WRITE_BUFFER, stream),
            digest: Arc::new(digest),
            user: with_patience(peer),
            client: HeaderValue::try_from(peer.ip().to_string()).expect("an address is a value"),
            alpn,
            limits,
            moment,
            ahead: BytesMut::new(),
            reader: Reader::default(),
            began: None,
            head: 0,
            body: Body::Done,
            raw: AtomicBool::new(false),
            pace: Pace::new(limits.body_bytes_per_second, limits.body_grace),
            timer: None,
            unread: None,
            fault: None,
            ended: false,
            streaming: AtomicBool::new(false),
            multiplexed: false,
            frames: None,
            leave: 0,
            fields: Mutex::default(),
            decided: Mutex::default(),
        }
    }

    /// How long it may stay without a request.
    pub fn idle_limit(&self) -> Duration {
        self.limits.idle
    }

    /// The client's address, as upstreams are told it.
    pub fn client(&self) -> &HeaderValue {
        &self.client
    }

    /// By what TLS agreed on, else by the first bytes.
    pub async fn protocol(&mut self) -> Result<Protocol, End> {
        let agreed = self.alpn.clone();
        let protocol = match agreed {
            None if !self.prefaced().await? => Protocol::Http1,
            None => Protocol::Http2,
            Some(ALPN::H2) => match self.prefaced().await {
                Ok(true) => Protocol::Http2,
                // An answer of HTTP/1 would be none.
                _ => return Err(End::Quiet),
            },
            Some(_) => Protocol::Http1,
        };
        self.multiplexed = protocol == Protocol::Http2;
        self.raw.store(self.multiplexed, Ordering::Relaxed);
        Ok(protocol)
    }

    /// Reads until it is clear whether HTTP/2's preface comes.
    async fn prefaced(&mut self) -> Result<bool, End> {
        loop {
            let compared = self.ahead.len().min(PREFACE.len());
            if self.ahead[..compared] != PREFACE[..compared] {
                return Ok(false);
            }
            if compared == PREFACE.len() {
                return Ok(true);
            }
            self.more().await?;
        }
    }

    /// Reads the next request's head and checks it; the engine can then read it without waiting.
    pub async fn next_head(&mut self) -> Result<(), End> {
        if !self.body.is_done() {
            return Err(End::Quiet);
        }
        let mut blank_lines = 1;
        loop {
            // Old clients send an empty line after a body (RFC 9112, section 2.2).
            if blank_lines > 0 && self.ahead.starts_with(b"\r\n") {
                blank_lines -= 1;
                self.ahead.advance(2);
                self.reader = Reader::default();
            }
            match self.reader.read(&self.ahead).map_err(End::Refused)? {
                Some(head) => {
                    self.head = head.length;
                    self.body = head.body;
                    self.reader = Reader::default();
                    self.began = None;
                    self.pace.restart();
                    *self.streaming.get_mut() = false;
                    return Ok(());
                }
                None => self.more().await?,
            }
        }
    }

    async fn more(&mut self) -> Result<(), End> {
        self.ahead.reserve(READ_SIZE);
        let mut deadline = None;
        let read = poll_fn(|context| {
            let read = poll_read_buf(Pin::new(&mut self.stream), context, &mut self.ahead);
            if let Poll::Ready(read) = read {
                return Poll::Ready(Some(read));
            }
            let ends = self.ahead.is_empty() && self.moment.is_none();
            if ends && self.ending.poll(Wait::Idle, context) {
                return Poll::Ready(None);
            }
            let deadline = *deadline.get_or_insert_with(|| {
                let now = Instant::now();
                if self.ahead.is_empty() {
                    now + self.moment.unwrap_or(self.limits.idle)
                } else {
                    *self.began.get_or_insert(now) + self.limits.head
                }
            });
            self.poll_until(deadline, context).map(|()| None)
        });
        match read.await {
            Some(Ok(1..)) => Ok(()),
            Some(_) => Err(End::Quiet),
            None if self.ahead.is_empty() => Err(End::Quiet),
            None => Err(End::Refused(Cause::ClientTimeout)),
        }
    }

    /// Ready when the time has come. The timer is the connection's only one, and may be set to an
    /// earlier time: to set it anew for each request would cost more than to look again.
    fn poll_until(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Answers without the engine, and closes so that the client gets to read it.
    pub async fn answer_and_close(mut self, answer: &[u8]) {
        let closing = async {
            self.stream.write_all(answer).await?;
            self.stream.shutdown().await?;
            let mut read = 0;
            while read < LINGER_BYTES {
                self.ahead.clear();
                self.ahead.reserve(READ_SIZE);
                match self.stream.read_buf(&mut self.ahead).await? {
                    0 => break,
                    more => read += more,
                }
            }
            io::Result::Ok(())
        };
        let _ = timeout(LINGER, closing).await;
    }

    /// Lets a head that was given to the engine be read again, of a request that is decided.
    pub fn unread(&mut self, head: &[u8], decided: Box<Ctx>) {
        debug_assert!(self.head == 0 && head.ends_with(b"\r\n\r\n"));
        let rest = std::mem::replace(&mut self.ahead, BytesMut::from(head));
        self.ahead.unsplit(rest);
        self.head = head.len();
        self.decided = Mutex::new(Some(decided));
    }

    /// What was decided of the request, if its head was read before.
    pub fn take_decided(&self) -> Option<Box<Ctx>> {
        self.decided.lock().take()
    }

    /// From here on everything passes as it is: WebSocket was switched to.
    pub fn switch(&self) {
        self.raw.store(true, Ordering::Relaxed);
    }

    /// Puts further lines into the head of the HTTP/1 answer that is sent next, with this status.
    pub fn add_fields(&self, status: StatusCode, write: impl FnOnce(&mut Vec<u8>)) {
        self.fields.lock().set(status, write);
    }

    /// The answer that begins may not end by itself.
    pub fn stream(&self, streaming: bool) {
        self.streaming.store(streaming, Ordering::Relaxed);
    }

    /// Why the request could not be read to its end, or its answer not awaited.
    pub fn fault(&self) -> Option<Cause> {
        self.fault.map(|fault| match fault {
            Fault::Slow => Cause::ClientTimeout,
            Fault::Ended => Cause::Unavailable("draining"),
            Fault::Malformed => Cause::Request {
                code: authsome_shared::code::Code::InvalidRequest,
                reason: "chunks",
                message: "The request's body is not validly chunked",
            },
        })
    }

    /// What is remembered of the refusals on a session's connection.
    pub fn patience(session: &Session) -> Option<&Patience> {
        session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
    }

    /// The connection under an HTTP/1 session.
    pub fn under(session: &Session) -> Option<&Self> {
        let stream = session.as_downstream().stream()?;
        (**stream).as_any().downcast_ref()
    }
}

fn with_patience(peer: SocketAddr) -> Option<Arc<ProxyDigest>> {
    let patience = Patience::new(peer, Instant::now().into_std());
    let response = ResponseHeader::build(200, None).ok()?;
    Some(Arc::new(ProxyDigest::new(Box::new(response), Some(Box::new(patience)))))
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("stream", self.stream.get_ref()).finish_non_exhaustive()
    }
}
