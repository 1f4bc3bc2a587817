//! What a hostile connection costs the real process. Not run by default, because it measures:
//!
//! `cargo test -p authsome-proxy --test proxy memory -- --ignored --nocapture`
//!
//! The bound is 1 MiB a connection that brings no valid request, in a debug build as well. One that
//! holds a good key can have 32 requests under way, and costs more: about 34 KiB each for the
//! exchange, and where its answers are not read what the engine reads ahead of each, four pieces of
//! up to 64 KiB (9 MiB in all where the upstream is near). The number and size of these pieces are
//! constants of the engine; a smaller one could only come from a wrapped upstream connection, which
//! the engine can't pool. In time it is bounded by `connections.body_timeout_ms`: each piece must be
//! taken within it.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::frames::{CONTINUATION, END_HEADERS, END_STREAM, HEADERS, Raw, field, frame, request};
use crate::harness::{Harness, eventually};
use crate::wire::Wire;

const CONNECTIONS: usize = 50;
const BOUND: usize = 1024 * 1024;
/// With 32 admitted requests under way.
const ADMITTED_BOUND: usize = 10 * 1024 * 1024;

/// The binary over the harness's folder, killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    async fn start(harness: &mut Harness) -> (Self, SocketAddr) {
        harness.stop().await;
        let dir = harness.dir.path().to_owned();
        std::fs::write(dir.join("node.token"), crate::control::TOKEN).expect("written");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let child = Command::new(env!("CARGO_BIN_EXE_authsome-proxy"))
            .args(["--data-dir", dir.to_str().expect("text"), "--listen", &address.to_string()])
            .args(["--admin-listen", "127.0.0.1:0"])
            .args(["--control-url", &format!("http://{}", harness.control.address)])
            .env("AUTHSOME_PROXY__LOG__ACCESS_LOG", "off")
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        eventually("it listens", || async { TcpStream::connect(address).await.is_ok() }).await;
        (Self(child), address)
    }

    /// Resident memory, in bytes.
    fn resident(&self) -> usize {
        let path = format!("/proc/{}/status", self.0.id());
        let status = std::fs::read_to_string(path).expect("it lives");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
        let number: String = line.chars().filter(char::is_ascii_digit).collect();
        number.parse::<usize>().expect("a number") * 1024
    }

    /// The most it needs within two seconds.
    async fn peak(&self) -> usize {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
        let mut peak = 0;
        for _ in 0..40 {
            ticks.tick().await;
            peak = peak.max(self.resident());
        }
        peak
    }
}

/// Opens one connection of a kind and leaves it open.
async fn open(kind: &str, address: SocketAddr, secret: &str) -> TcpStream {
    let bearer = field("authorization", format!("Bearer {secret}").as_bytes(), false);
    match kind {
        "unfinished heads" => {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(16_000));
            stream.write_all(head.as_bytes()).await.expect("sent");
            stream
        }
        "unfinished bodies" => {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            let head = format!(
                "POST /v1/app_1/users HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\
                 Content-Length: 100000000\r\n\r\n{}",
                "a".repeat(100_000)
            );
            stream.write_all(head.as_bytes()).await.expect("sent");
            stream
        }
        "header bombs" => {
            let mut raw = Raw::to(address).await;
            let mut head = request("GET", "/v1/app_1/users");
            head.extend(field("x-bomb", &[b'a'; 3_900], true));
            head.extend([0xbe; 8_000]);
            for i in 0..30 {
                raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, &head)).await;
            }
            raw.stream
        }
        "endless continuations" => {
            let mut raw = Raw::to(address).await;
            raw.send(&frame(HEADERS, END_STREAM, 1, &request("GET", "/"))).await;
            for _ in 0..500 {
                let more = field("x-more", &[b'a'; 1_000], false);
                raw.send(&frame(CONTINUATION, 0, 1, &more)).await;
            }
            raw.stream
        }
        "admitted requests" | "admitted requests with large heads" => {
            let mut raw = Raw::to(address).await;
            for i in 0..32 {
                let mut head = request("POST", "/v1/app_1/users");
                head.extend(&bearer);
                if kind.ends_with("large heads") {
                    head.extend(field("x-large", &[b'a'; 14_000], false));
                }
                raw.send(&frame(HEADERS, END_HEADERS, 2 * i + 1, &head)).await;
            }
            raw.stream
        }
        "admitted requests whose answers nobody reads" => {
            let mut raw = Raw::to(address).await;
            for i in 0..32 {
                let mut head = request("GET", "/v1/app_1/bytes/10000000");
                head.extend(&bearer);
                raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, &head)).await;
            }
            raw.stream
        }
        other => panic!("no such kind: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures memory; see the module's text"]
async fn what_a_hostile_connection_costs_is_bounded() {
    let mut over = Vec::new();
    for kind in [
        "unfinished heads",
        "unfinished bodies",
        "header bombs",
        "endless continuations",
        "admitted requests",
        "admitted requests with large heads",
        "admitted requests whose answers nobody reads",
    ] {
        let mut harness = Harness::with(|world| {
            let limit = authsome_shared::snapshot::RateLimit::fast(100_000, 1_000, 100_000);
            world.workspace.rate_limit = limit;
        })
        .await;
        let (process, address) = Process::start(&mut harness).await;
        let secret = harness.world.secret.clone();
        assert_eq!(Wire::to(address).await.get("/v1/app_1/users", &secret).await.status, 200);
        let before = process.peak().await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            held.push(open(kind, address, &secret).await);
        }
        let grown = process.peak().await.saturating_sub(before) / CONNECTIONS;
        println!("{kind}: {} KiB a connection", grown / 1024);
        let bound = if kind.starts_with("admitted") { ADMITTED_BOUND } else { BOUND };
        if grown >= bound {
            over.push(kind);
        }
        drop(held);
    }
    assert!(over.is_empty(), "too much: {over:?}");
}
