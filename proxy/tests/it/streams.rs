//! Long answers and connections that go both ways: nothing is held back, nothing is held whole.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::harness::{Harness, eventually};

pub const LIMIT: Duration = Duration::from_secs(20);

/// Reads a head, byte by byte so that nothing after it is taken.
pub async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(LIMIT, stream.read_u8()).await.expect("in time").expect("a head"));
    }
    String::from_utf8(head).expect("text")
}

pub async fn expect(stream: &mut TcpStream, wanted: &[u8]) {
    let mut read = vec![0; wanted.len()];
    timeout(LIMIT, stream.read_exact(&mut read)).await.expect("in time").expect("more");
    assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(wanted));
}

/// An upstream for one connection.
pub async fn one<F, Fut>(serve: F) -> (String, AbortOnDropHandle<()>)
where
    F: FnOnce(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address: SocketAddr = listener.local_addr().expect("bound");
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accepted");
        serve(stream).await;
    });
    (format!("http://{address}"), AbortOnDropHandle::new(task))
}

pub async fn ask(harness: &Harness, target: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(harness.address()).await.expect("connected");
    let secret = &harness.world.secret;
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

/// Longer than the short time-outs of these tests.
pub async fn pause() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_web_socket_goes_both_ways_and_is_recorded_when_it_ends() {
    let (url, _upstream) = one(|mut stream| async move {
        let asked = head(&mut stream).await.to_lowercase();
        assert!(asked.contains("upgrade: websocket\r\n"), "{asked}");
        assert!(asked.contains("sec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n"), "{asked}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).await.expect("sent");
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..read]).await.expect("echoed");
        }
    })
    .await;
    let harness = Harness::with(|world| {
        world.upstream().urls = vec![url];
        world.application.max_body_bytes = 10;
    })
    .await;
    let headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut client = ask(&harness, "/v1/app_1/socket", headers).await;
    let answer = head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let lower = answer.to_lowercase();
    assert!(lower.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{answer}");
    assert!(lower.contains("x-authsome-request-id: "), "{answer}");
    expect(&mut client, b"hello").await;
    for message in ["first", "second, longer than a body may be", "third"] {
        client.write_all(message.as_bytes()).await.expect("sent");
        expect(&mut client, message.as_bytes()).await;
    }
    assert!(harness.control.records().is_empty(), "it goes on");
    drop(client);
    harness.shipped(1).await;
    let record = &harness.control.records()[0];
    assert_eq!((record.status, record.bytes_out), (101, 5 + 5 + 33 + 5));
}

#[tokio::test]
async fn events_arrive_as_they_are_sent() {
    let (events, mut sent) = mpsc::channel::<&str>(1);
    let (url, _upstream) = one(|mut stream| async move {
        head(&mut stream).await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
            Transfer-Encoding: chunked\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.expect("sent");
        while let Some(event) = sent.recv().await {
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            stream.write_all(chunk.as_bytes()).await.expect("sent");
        }
        stream.write_all(b"0\r\n\r\n").await.expect("sent");
    })
    .await;
    // An event may take longer than an answer's first byte.
    let harness = Harness::with(|world| {
        world.upstream().urls = vec![url];
        world.upstream().timeouts.first_byte_ms = 400;
    })
    .await;
    let mut client = ask(&harness, "/v1/app_1/events", "").await;
    let answer = head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "the head does not wait for an event: {answer}");
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        // The next is sent only once this one is here.
        events.send(event).await.expect("taken");
        expect(&mut client, format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await;
    }
    pause().await;
    events.send("data: 4\n\n").await.expect("taken");
    expect(&mut client, b"9\r\ndata: 4\n\n\r\n").await;
    drop(events);
    expect(&mut client, b"0\r\n\r\n").await;
    harness.shipped(1).await;
}

#[tokio::test]
async fn an_upload_is_passed_on_before_it_is_whole() {
    let (received, mut arrived) = mpsc::channel::<usize>(16);
    let (url, _upstream) = one(|mut stream| async move {
        head(&mut stream).await;
        let (mut total, mut buffer) = (0, vec![0; 4096]);
        while total < 10 {
            total += stream.read(&mut buffer).await.expect("read");
            let _ = received.send(total).await;
        }
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer.as_bytes()).await.expect("sent");
    })
    .await;
    let harness = Harness::with(|world| world.upstream().urls = vec![url]).await;
    let mut stream = TcpStream::connect(harness.address()).await.expect("connected");
    let secret = &harness.world.secret;
    let request = format!(
        "POST /v1/app_1/up HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\
         Content-Length: 10\r\n\r\nhalf."
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let first = timeout(LIMIT, arrived.recv()).await.expect("in time");
    assert_eq!(first, Some(5), "the first half is there while the second is not sent");
    stream.write_all(b"other").await.expect("sent");
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// The engine does not pass trailers on; what matters is that they are not taken for a response.
#[tokio::test]
async fn trailers_are_dropped_and_nothing_else() {
    let (url, _upstream) = one(|mut stream| async move {
        for _ in 0..2 {
            head(&mut stream).await;
            expect(&mut stream, b"3\r\nabc\r\n0\r\n\r\n").await;
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                2\r\nok\r\n0\r\nX-Checksum: 1\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.expect("sent");
        }
    })
    .await;
    let harness = Harness::with(|world| world.upstream().urls = vec![url]).await;
    let mut client = TcpStream::connect(harness.address()).await.expect("connected");
    for _ in 0..2 {
        let request = format!(
            "POST /v1/app_1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sent: 1\r\n\r\n",
            harness.world.secret
        );
        client.write_all(request.as_bytes()).await.expect("sent");
        let answer = head(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        expect(&mut client, b"2\r\nok\r\n0\r\n\r\n").await;
    }
}

/// One gigabyte down and one up, with the process's memory watched. Run by itself, because the
/// memory of other tests would count: `cargo test -p authsome-proxy gigabyte -- --ignored
/// --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a while, and measures the memory of the whole process"]
async fn a_gigabyte_each_way_needs_no_memory() {
    const PIECE: usize = 256 * 1024;
    const PIECES: usize = 4096;
    const TOTAL: usize = PIECE * PIECES;
    let (url, _upstream) = one(|mut stream| async move {
        head(&mut stream).await;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.expect("sent");
        let mut read = vec![0; PIECE];
        let piece = vec![b'x'; PIECE];
        for _ in 0..PIECES {
            stream.read_exact(&mut read).await.expect("uploaded");
            stream.write_all(&piece).await.expect("downloaded");
        }
    })
    .await;
    let harness = Harness::with(|world| {
        world.upstream().urls = vec![url];
        world.application.max_body_bytes = 1 << 31;
    })
    .await;
    let before = resident();
    let client = TcpStream::connect(harness.address()).await.expect("connected");
    let (mut reading, mut writing) = client.into_split();
    let head = format!(
        "POST /v1/app_1/all HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {TOTAL}\r\n\r\n",
        harness.world.secret
    );
    let upload = tokio::spawn(async move {
        writing.write_all(head.as_bytes()).await.expect("sent");
        let piece = vec![b'y'; PIECE];
        for _ in 0..PIECES {
            writing.write_all(&piece).await.expect("sent");
        }
        writing
    });
    let (mut read, mut most, mut buffer) = (0, 0, vec![0; PIECE]);
    while read < TOTAL {
        let count =
            timeout(LIMIT, reading.read(&mut buffer)).await.expect("in time").expect("more");
        assert!(count > 0, "cut after {read}");
        read += count;
        most = most.max(resident());
    }
    upload.await.expect("all was sent");
    eventually("recorded", || async { !harness.control.records().is_empty() }).await;
    let record = &harness.control.records()[0];
    assert_eq!((record.bytes_in, record.bytes_out), (TOTAL as u64, TOTAL as u64));
    let grown = most.saturating_sub(before);
    println!("1 GiB up and 1 GiB down: {before} KiB resident before, {grown} KiB more at most");
    assert!(grown < 32 * 1024, "{grown} KiB");
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("listed");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}
