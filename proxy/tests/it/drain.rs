//! What a stop does to each kind of connection, and when.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::harness::{Harness, World, eventually};
use crate::streams::{LIMIT, ask, expect, head, one};
use crate::wire::Wire;

/// How long the stop takes.
async fn stop(harness: &mut Harness) -> Duration {
    let began = Instant::now();
    harness.stop().await;
    began.elapsed()
}

/// Streams may take less time than requests.
fn streams_end_first(world: &mut World) {
    world.config.drain.idle_ms = 20;
    world.config.drain.stream_timeout_ms = 200;
    world.config.drain.timeout_ms = 10_000;
}

const SOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = timeout(LIMIT, stream.read_to_end(&mut rest)).await.expect("closed in time");
    rest
}

#[tokio::test]
async fn a_web_socket_has_its_own_time_and_is_told_that_we_go() {
    let (url, _upstream) = one(|mut stream| async move {
        head(&mut stream).await;
        stream.write_all(SWITCH.as_bytes()).await.expect("sent");
        // Messages back, unmasked as a server's are.
        let mut message = [0; 8];
        while stream.read_exact(&mut message).await.is_ok() {
            stream.write_all(b"\x81\x05hello").await.expect("sent");
        }
    })
    .await;
    let mut harness = Harness::with(|world| {
        world.upstream().urls = vec![url];
        streams_end_first(world);
        world.config.drain.stream_timeout_ms = 1_000;
    })
    .await;
    let mut client = ask(&harness, "/v1/app_1/socket", SOCKET).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 101 "));
    let stopping = async {
        let took = stop(&mut harness).await;
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
    };
    let talking = async {
        for _ in 0..20 {
            client.write_all(b"\x81\x82abcd\x01\x02").await.expect("sent");
            expect(&mut client, b"\x81\x05hello").await;
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        assert_eq!(rest(&mut client).await, b"\x88\x02\x03\xe9", "1001, going away");
    };
    tokio::join!(stopping, talking);
    assert_eq!(harness.control.records().len(), 1, "it is on the bill");
    assert_eq!(harness.control.records()[0].bytes_out, 140);
}

#[tokio::test]
async fn a_web_socket_within_a_message_is_closed_without_a_word() {
    let (url, _upstream) = one(|mut stream| async move {
        head(&mut stream).await;
        stream.write_all(SWITCH.as_bytes()).await.expect("sent");
        stream.write_all(b"\x81\x05hel").await.expect("sent");
        std::future::pending::<()>().await;
    })
    .await;
    let mut harness = Harness::with(|world| {
        world.upstream().urls = vec![url];
        streams_end_first(world);
    })
    .await;
    let mut client = ask(&harness, "/v1/app_1/socket", SOCKET).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 101 "));
    expect(&mut client, b"\x81\x05hel").await;
    let (took, rest) = tokio::join!(stop(&mut harness), rest(&mut client));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(rest, b"");
    assert_eq!(harness.control.records().len(), 1, "it is on the bill");
}

#[tokio::test]
async fn events_end_in_their_time_and_requests_go_on() {
    let (url, _upstream) = one(|mut stream| async move {
        head(&mut stream).await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
            Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
        stream.write_all(answer.as_bytes()).await.expect("sent");
        std::future::pending::<()>().await;
    })
    .await;
    let mut harness = Harness::with(|world| {
        let late = world.upstream().urls.remove(0);
        world.upstream().urls = vec![late];
        let mut events = world.application.clone();
        events.id = "app_2".parse().expect("an id");
        events.upstream.as_mut().expect("has one").urls = vec![url];
        let (mut key, secret) = crate::harness::key("key_2");
        key.application = events.id.clone();
        world.more = vec![
            authsome_shared::snapshot::Change::Application(Box::new(events)),
            authsome_shared::snapshot::Change::Key(Box::new(key)),
        ];
        world.more_secret = secret;
        streams_end_first(world);
    })
    .await;
    let mut events = TcpStream::connect(harness.address()).await.expect("connected");
    let secret = &harness.world.more_secret;
    let request =
        format!("GET /v1/app_2/e HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n");
    events.write_all(request.as_bytes()).await.expect("sent");
    assert!(head(&mut events).await.starts_with("HTTP/1.1 200 "));
    expect(&mut events, b"9\r\ndata: 1\n\n\r\n").await;
    let mut late = ask(&harness, "/v1/app_1/late/1500", "").await;
    eventually("it has reached the upstream", || async { !harness.upstream.seen().is_empty() })
        .await;
    let began = Instant::now();
    let ended = async {
        let left = rest(&mut events).await;
        (began.elapsed(), left)
    };
    let answered = async {
        let answer = head(&mut late).await;
        expect(&mut late, b"ok").await;
        assert_eq!(rest(&mut late).await, b"");
        answer
    };
    let (took, (events_took, left), answer) = tokio::join!(stop(&mut harness), ended, answered);
    assert!(events_took < Duration::from_millis(1_200), "{events_took:?}");
    assert_eq!(left, b"", "cut, not ended: the upstream did not end it");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    assert!(took >= Duration::from_millis(1_200) && took < Duration::from_secs(8), "{took:?}");
    assert_eq!(harness.control.records().len(), 2);
}

#[tokio::test]
async fn a_request_over_its_time_is_told_so_and_recorded() {
    let mut harness = Harness::with(|world| {
        world.config.drain.idle_ms = 20;
        world.config.drain.timeout_ms = 200;
    })
    .await;
    let mut wire = harness.connect().await;
    let secret = harness.world.secret.clone();
    wire.send(format!(
        "GET /v1/app_1/silence HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n"
    ))
    .await;
    eventually("it has reached the upstream", || async { !harness.upstream.seen().is_empty() })
        .await;
    let (took, answer) = tokio::join!(stop(&mut harness), wire.answer());
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!((answer.status, answer.header("connection")), (503, Some("close")));
    assert_eq!(answer.json()["error"]["reason"], "draining");
    assert_eq!(harness.control.records()[0].status, 503);
}

#[tokio::test]
async fn readiness_ends_at_once_and_an_idle_connection_in_its_time() {
    let mut harness = Harness::with(|world| {
        world.config.drain.idle_ms = 500;
        world.config.drain.timeout_ms = 10_000;
    })
    .await;
    let secret = harness.world.secret.clone();
    let mut idle = harness.connect().await;
    assert_eq!(idle.get("/v1/app_1/users", &secret).await.status, 200);
    let mut used = harness.connect().await;
    assert_eq!(used.get("/v1/app_1/users", &secret).await.status, 200);
    let mut admin = Wire::to(harness.admin()).await;
    let (began, address) = (Instant::now(), harness.address());
    let watching = async {
        loop {
            let answer = admin.ask("GET", "/ready", "", "").await;
            if answer.status == 503 {
                assert_eq!(answer.json()["reason"], "draining");
                break;
            }
        }
        assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
        eventually("nobody new", || async { TcpStream::connect(address).await.is_err() }).await;
        // One more request on a connection that is still open, and its last.
        let answer = used.get("/v1/app_1/users", &secret).await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert!(idle.is_closed().await);
        let after = began.elapsed();
        assert!(after >= Duration::from_millis(500), "closed after {after:?}");
    };
    tokio::join!(stop(&mut harness), watching);
}

#[tokio::test]
async fn an_http2_stream_that_does_not_end_is_cut_with_its_connection_and_recorded() {
    let (url, _upstream) = one(|mut stream| async move {
        head(&mut stream).await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
            Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
        stream.write_all(answer.as_bytes()).await.expect("sent");
        std::future::pending::<()>().await;
    })
    .await;
    let mut harness = Harness::with(|world| {
        world.upstream().urls = vec![url];
        streams_end_first(world);
        world.config.drain.timeout_ms = 300;
    })
    .await;
    let stream = TcpStream::connect(harness.address()).await.expect("connected");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("a handshake");
    tokio::spawn(connection);
    let bearer = format!("Bearer {}", harness.world.secret);
    let request = http::Request::get("http://api.test/v1/app_1/e").header("authorization", bearer);
    let request = request.body(()).expect("a request");
    let (answer, _) = client.send_request(request, true).expect("sent");
    let mut body = answer.await.expect("answered").into_body();
    let piece = body.data().await.expect("an event").expect("read");
    assert_eq!(&piece[..], b"data: 1\n\n");
    let (took, rest) = tokio::join!(stop(&mut harness), body.data());
    assert!(rest.is_none_or(|it| it.is_err()), "cut");
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(harness.control.records().len(), 1, "it is on the bill");
}

#[tokio::test]
async fn an_http2_connection_is_told_and_its_streams_finish() {
    let mut harness = Harness::start().await;
    let stream = TcpStream::connect(harness.address()).await.expect("connected");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("a handshake");
    let connection = tokio::spawn(connection);
    let request = |path: &str| {
        let bearer = format!("Bearer {}", harness.world.secret);
        let uri = format!("http://api.test/v1/app_1/{path}");
        http::Request::get(uri).header("authorization", bearer).body(()).expect("a request")
    };
    let (late, again) = (request("late/500"), request("users"));
    let (answer, _) = client.send_request(late, true).expect("sent");
    eventually("it has reached the upstream", || async { !harness.upstream.seen().is_empty() })
        .await;
    let talking = async {
        let answer = answer.await.expect("it finishes");
        assert_eq!(answer.status(), 200);
        let ended = timeout(LIMIT, connection).await.expect("closed in time");
        assert!(ended.expect("no panic").is_ok(), "closed in order");
        let refused = client.ready().await.map(|_| ()).expect_err("told to go elsewhere");
        assert!(refused.is_go_away() || refused.is_io(), "{refused}");
        drop(again);
    };
    tokio::join!(stop(&mut harness), talking);
}
