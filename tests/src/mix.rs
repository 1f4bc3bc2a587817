//! Clients of every kind at once, each as strict as can be: none tries anything again, and what is
//! not answered whole with 200 has failed. Over HTTP/1.1 they keep a connection for as long as the
//! server does not say that it closes it, or want it closed, or send bodies; over HTTP/2 several
//! requests share a connection, plain or by TLS, until the server says that it goes away. A request
//! that this excludes was not processed, by the server's own word (RFC 9113, section 6.8): it is
//! counted apart, and sent anew on the next connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::wait;

/// Length of a body that is sent.
const BODY: usize = 3_000;

/// Where to, and as whom.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// Where HTTP/2 by prior knowledge is spoken; most have it at the same address.
    pub h2: SocketAddr,
    /// Where TLS is spoken, and the certificate to expect, for the name `localhost`.
    pub tls: Option<(SocketAddr, CertificateDer<'static>)>,
    /// Before `/things` and `/sum`.
    pub prefix: String,
    pub authorization: String,
    /// How many times each kind of client is there; several requests at once over HTTP/2.
    pub clients: usize,
}

/// By kind of client: what was answered, and what went wrong how often.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub answered: BTreeMap<&'static str, u64>,
    /// Requests that a server excluded when it went away.
    pub excluded: u64,
    pub failed: BTreeMap<String, u64>,
}

impl Tally {
    pub fn answers(&self) -> u64 {
        self.answered.values().sum()
    }

    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    fn add(&mut self, other: Self) {
        for (kind, count) in other.answered {
            *self.answered.entry(kind).or_default() += count;
        }
        self.excluded += other.excluded;
        for (what, count) in other.failed {
            *self.failed.entry(what).or_default() += count;
        }
    }
}

/// Clients that go on until they are stopped.
pub struct Mix {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    tasks: JoinSet<Tally>,
}

/// What each client counts.
struct Client {
    kind: &'static str,
    target: Target,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    tally: Tally,
}

impl Mix {
    pub fn start(target: &Target) -> Self {
        let mut mix = Self { stop: Arc::default(), answers: Arc::default(), tasks: JoinSet::new() };
        for _ in 0..target.clients {
            let client = |kind| Client {
                kind,
                target: target.clone(),
                stop: Arc::clone(&mix.stop),
                answers: Arc::clone(&mix.answers),
                tally: Tally::default(),
            };
            let h1 = [client("keep-alive"), client("close"), client("post")];
            let h2 = client("h2");
            let h2_tls = target.tls.is_some().then(|| client("h2-tls"));
            for client in h1 {
                mix.tasks.spawn(client.http1());
            }
            mix.tasks.spawn(h2.http2());
            if let Some(client) = h2_tls {
                mix.tasks.spawn(client.http2());
            }
        }
        mix
    }

    /// Answers so far.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Waits for this many more answers.
    pub async fn more(&self, count: u64) {
        let wanted = self.answers() + count;
        let what = format!("{count} more answers");
        wait::until(&what, Duration::from_mins(10), async || {
            (self.answers() >= wanted).then_some(())
        })
        .await;
    }

    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Tally::default();
        while let Some(tally) = self.tasks.join_next().await {
            total.add(tally.expect("a client does not panic"));
        }
        total
    }
}

impl Client {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn count(&mut self, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                *self.tally.answered.entry(self.kind).or_default() += 1;
                self.answers.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                *self.tally.failed.entry(format!("{}: {error}", self.kind)).or_default() += 1;
            }
        }
    }

    async fn http1(mut self) -> Tally {
        let Target { prefix, authorization, .. } = &self.target;
        let head = |line: &str, more: &str| {
            format!(
                "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n{more}\r\n"
            )
        };
        let request = match self.kind {
            "post" => {
                let length = format!("Content-Length: {BODY}\r\n");
                head(&format!("POST {prefix}/sum"), &length) + &"x".repeat(BODY)
            }
            "close" => head(&format!("GET {prefix}/things"), "Connection: close\r\n"),
            _ => head(&format!("GET {prefix}/things"), ""),
        };
        let mut kept: Option<(TcpStream, BytesMut)> = None;
        while self.goes_on() {
            let outcome = self.once(&mut kept, request.as_bytes()).await;
            self.count(outcome);
        }
        self.tally
    }

    /// One request on the connection that was kept, or on a new one.
    async fn once(
        &self,
        kept: &mut Option<(TcpStream, BytesMut)>,
        request: &[u8],
    ) -> Result<(), String> {
        let (fresh, (mut stream, mut read)) = match kept.take() {
            Some(kept) => (false, kept),
            None => {
                let stream = TcpStream::connect(self.target.address).await;
                let stream = stream.map_err(|error| format!("connect: {}", error.kind()))?;
                let _ = stream.set_nodelay(true);
                (true, (stream, BytesMut::new()))
            }
        };
        let when = if fresh { "new" } else { "kept" };
        let said = |what: &str, error: &std::io::Error| format!("{when}, {what}: {}", error.kind());
        stream.write_all(request).await.map_err(|error| said("write", &error))?;
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let more = stream.read_buf(&mut read).await.map_err(|error| said("read", &error))?;
            if more == 0 {
                return Err(format!("{when}, closed after {} bytes", read.len()));
            }
        };
        let head = String::from_utf8_lossy(&read.split_to(end)).to_lowercase();
        let length = header(&head, "content-length").and_then(|it| it.parse::<usize>().ok());
        let length = length.ok_or("an answer without a length")?;
        while read.len() < length {
            let more = stream.read_buf(&mut read).await.map_err(|error| said("body", &error))?;
            if more == 0 {
                return Err(format!("{when}, closed within the body"));
            }
        }
        let body = read.split_to(length);
        if !head.starts_with("http/1.1 200") {
            return Err(head.lines().next().unwrap_or_default().to_owned());
        }
        self.check(&body)?;
        if self.kind != "close" && header(&head, "connection") != Some("close") {
            *kept = Some((stream, read));
        }
        Ok(())
    }

    /// What was sent must have arrived whole.
    fn check(&self, body: &[u8]) -> Result<(), String> {
        if self.kind != "post" {
            return Ok(());
        }
        let body: serde_json::Value = serde_json::from_slice(body).map_err(|it| it.to_string())?;
        if body["bytes"] == BODY { Ok(()) } else { Err("the body arrived cut".to_owned()) }
    }

    async fn http2(mut self) -> Tally {
        while self.goes_on() {
            let connected = match (self.kind, &self.target.tls) {
                ("h2-tls", Some((address, trusted))) => connect_tls(*address, trusted).await,
                _ => match TcpStream::connect(self.target.h2).await {
                    Ok(stream) => handshake(stream).await,
                    Err(error) => Err(error.to_string()),
                },
            };
            match connected {
                Ok(client) => self.share(client).await,
                Err(error) => self.count(Err(format!("connect: {error}"))),
            }
        }
        self.tally
    }

    /// Four at a time, until the connection takes no more.
    async fn share(&mut self, client: SendRequest<Bytes>) {
        const AT_ONCE: usize = 4;
        let mut under_way = JoinSet::new();
        let ask = |under_way: &mut JoinSet<_>, target: &Target| {
            under_way.spawn(ask(client.clone(), target.clone()));
        };
        for _ in 0..AT_ONCE {
            ask(&mut under_way, &self.target);
        }
        while let Some(outcome) = under_way.join_next().await {
            let outcome = match outcome.expect("no panic") {
                Asked::Answered(outcome) => outcome,
                Asked::Excluded => {
                    self.tally.excluded += 1;
                    continue;
                }
                Asked::NotSent => continue,
            };
            let answered = outcome.is_ok();
            self.count(outcome);
            if answered && self.goes_on() {
                ask(&mut under_way, &self.target);
            }
        }
    }
}

/// What became of a request.
enum Asked {
    /// Or failed.
    Answered(Result<(), String>),
    Excluded,
    /// The connection takes no more.
    NotSent,
}

async fn ask(client: SendRequest<Bytes>, target: Target) -> Asked {
    let Ok(mut client) = client.ready().await else { return Asked::NotSent };
    let request = Request::builder()
        .method(Method::GET)
        .uri(format!("http://localhost{}/things", target.prefix))
        .header("authorization", &target.authorization)
        .body(())
        .expect("a request");
    let Ok((response, _)) = client.send_request(request, true) else { return Asked::NotSent };
    match response.await {
        Ok(response) => Asked::Answered(whole(response).await),
        Err(error)
            if error.is_go_away()
                && error.is_remote()
                && error.reason() == Some(h2::Reason::NO_ERROR) =>
        {
            Asked::Excluded
        }
        Err(error) => Asked::Answered(Err(format!("no answer: {error}"))),
    }
}

async fn whole(response: http::Response<h2::RecvStream>) -> Result<(), String> {
    if response.status() != 200 {
        return Err(response.status().to_string());
    }
    let mut body = response.into_body();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|error| format!("body: {error}"))?;
        let _ = body.flow_control().release_capacity(piece.len());
    }
    let trailers: Result<Option<HeaderMap>, _> = body.trailers().await;
    trailers.map(|_| ()).map_err(|error| format!("end: {error}"))
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Bytes>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) = h2::client::handshake(stream).await.map_err(|it| it.to_string())?;
    tokio::spawn(connection);
    Ok(client)
}

async fn connect_tls(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
) -> Result<SendRequest<Bytes>, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let name = ServerName::try_from("localhost").expect("a name");
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    handshake(connecting.await.map_err(|error| error.to_string())?).await
}

/// A header's value in a head of lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
