//! Callers that ask again as soon as they are answered: what the subject can do at most, and what
//! that costs it. One thread, whatever the number of connections.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

use super::http1::{Request, Response};
use super::{Load, Outcome, Random, Wire, http2};

/// The name in the certificate of every subject.
pub const HOST: &str = "bench.localhost";

/// Sent at once of a request's body.
static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// What the callers have counted, once counting has begun.
#[derive(Debug, Default)]
pub struct Tally {
    counting: bool,
    outcome: Outcome,
}

impl Tally {
    pub fn answered(&mut self, status: u16, took: Duration, body: usize) {
        if self.counting {
            self.outcome.answered(status, took, body);
        }
    }

    pub fn closed(&mut self) {
        self.outcome.closed += u64::from(self.counting);
    }

    pub fn failed(&mut self) {
        self.outcome.failures += u64::from(self.counting);
    }
}

pub type Shared = Rc<RefCell<Tally>>;

/// Calls `load` for `time` after `warm_up`. `edge` is called at the beginning and the end of what
/// is counted.
pub fn run(
    load: &Load,
    warm_up: Duration,
    time: Duration,
    mut edge: impl FnMut(),
) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let callers = LocalSet::new();
    let tally = Shared::default();
    for n in 0..load.connections {
        callers.spawn_local(caller(load.clone(), n, tally.clone()));
    }
    let counted = callers.run_until(async {
        tokio::time::sleep(warm_up).await;
        edge();
        let began = Instant::now();
        tally.borrow_mut().counting = true;
        tokio::time::sleep(time).await;
        edge();
        tally.borrow_mut().counting = false;
        began.elapsed()
    });
    let time = runtime.block_on(counted);
    let mut outcome = std::mem::take(&mut tally.borrow_mut().outcome);
    outcome.time = time;
    outcome.latencies.sort_unstable();
    Ok(outcome)
}

/// Not even a turn of the runtime's, where there is nothing to wait for.
async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// One connection after the other, for ever.
async fn caller(load: Load, n: usize, tally: Shared) {
    let mut random = Random::new(n as u64 + 1);
    let part = |n| u32::try_from(n).unwrap_or(u32::MAX);
    pause(load.pause * part(n) / part(load.connections)).await;
    loop {
        if connection(&load, &mut random, &tally).await.is_err() {
            tally.borrow_mut().failed();
            // It may be gone for good: failing at full speed helps nobody.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn connection(load: &Load, random: &mut Random, tally: &Shared) -> anyhow::Result<()> {
    let stream = TcpStream::connect(load.address).await?;
    stream.set_nodelay(true)?;
    match load.wire {
        Wire::Http1 => calls(stream, load, random, tally).await?,
        Wire::Tls => {
            let stream = handshake(stream, load, b"http/1.1").await?;
            calls(stream, load, random, tally).await?;
        }
        Wire::Http2 => {
            let stream = handshake(stream, load, b"h2").await?;
            http2::calls(stream, load, random, tally).await?;
        }
    }
    Ok(())
}

async fn handshake(
    stream: TcpStream,
    load: &Load,
    protocol: &[u8],
) -> anyhow::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut config = (*load.tls).clone();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from(HOST).context("a name")?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    anyhow::ensure!(
        stream.get_ref().1.alpn_protocol() == Some(protocol),
        "the protocol was not agreed on"
    );
    Ok(stream)
}

/// Call after call until the connection ends.
async fn calls(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    load: &Load,
    random: &mut Random,
    tally: &Shared,
) -> io::Result<()> {
    let mut request = Request::new(&load.path, HOST, load.body);
    let mut response = Response::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let began = Instant::now();
        let key = &load.keys[random.below(load.keys.len())];
        stream.write_all(request.with(key)).await?;
        let mut rest = load.body;
        while rest > 0 {
            let piece = rest.min(PIECE.len());
            stream.write_all(&PIECE[..piece]).await?;
            rest -= piece;
        }
        stream.flush().await?;
        let head = loop {
            let length = stream.read(&mut buffer).await?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(head) = response.take(&buffer[..length])? {
                break head;
            }
        };
        {
            let mut tally = tally.borrow_mut();
            tally.answered(head.status, began.elapsed(), head.length + load.body);
            if head.closes {
                tally.closed();
                return Ok(());
            }
        }
        pause(load.pause).await;
    }
}
