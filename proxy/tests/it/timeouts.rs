//! How long an upstream may be silent, before its answer and within it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Harness, World};
use crate::streams::{LIMIT, ask, head, one, pause};

const SHORT_MS: u64 = 400;
const BIG: usize = 32 * 1024 * 1024;

/// The other time-out stays at a minute, longer than any test.
fn short_first_byte(world: &mut World) {
    world.upstream().timeouts.first_byte_ms = SHORT_MS;
}

fn short_idle(world: &mut World) {
    world.upstream().timeouts.idle_ms = SHORT_MS;
}

async fn with(url: String, change: impl FnOnce(&mut World)) -> Harness {
    Harness::with(|world| {
        world.upstream().urls = vec![url];
        world.upstream().retries = 0;
        change(world);
    })
    .await
}

async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = timeout(LIMIT, stream.read_to_end(&mut rest)).await.expect("it ends in time");
    rest
}

/// Says this, and then nothing more, with the connection open.
async fn says(text: &'static str) -> (String, impl Sized) {
    one(move |mut stream| async move {
        head(&mut stream).await;
        stream.write_all(text.as_bytes()).await.expect("sent");
        std::future::pending::<()>().await;
    })
    .await
}

#[tokio::test]
async fn an_answer_that_stops_is_cut_whatever_its_first_byte_may_take() {
    for text in [
        // Of one with a length the engine passes nothing on before it is whole or long.
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        // Ended by closing: our closing must not look like its end.
        "HTTP/1.1 200 OK\r\n\r\nhalf",
    ] {
        let (url, _upstream) = says(text).await;
        let harness = with(url, short_idle).await;
        let mut client = ask(&harness, "/v1/app_1/x", "").await;
        let received = String::from_utf8(rest(&mut client).await).expect("text");
        let cut =
            received.is_empty() || received.ends_with("half") || received.ends_with("half\r\n");
        assert!(cut, "{text}: {received}");
        harness.shipped(1).await;
    }
}

#[tokio::test]
async fn a_first_byte_may_take_longer_than_a_pause() {
    let (url, _upstream) = one(|mut stream| async move {
        head(&mut stream).await;
        pause().await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        stream.write_all(answer.as_bytes()).await.expect("sent");
    })
    .await;
    let harness = with(url, short_idle).await;
    let answer = harness.connect().await.get("/v1/app_1/x", &harness.world.secret).await;
    assert_eq!((answer.status, &*answer.body), (200, &b"ok"[..]));
}

#[tokio::test]
async fn a_slow_client_is_not_a_silent_upstream() {
    let (url, _upstream) = one(|mut stream| async move {
        head(&mut stream).await;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.expect("sent");
        stream.write_all(&vec![b'x'; BIG]).await.expect("sent");
        std::future::pending::<()>().await;
    })
    .await;
    let harness = with(url, short_idle).await;
    let mut client = ask(&harness, "/v1/app_1/x", "").await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
    pause().await;
    let mut body = vec![0; BIG];
    timeout(LIMIT, client.read_exact(&mut body)).await.expect("in time").expect("all of it");
}

#[tokio::test]
async fn a_slow_upload_is_not_a_silent_upstream() {
    let (url, _upstream) = one(|mut stream| async move {
        head(&mut stream).await;
        let mut body = [0; 4];
        stream.read_exact(&mut body).await.expect("the body");
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer.as_bytes()).await.expect("sent");
    })
    .await;
    let harness = with(url, short_first_byte).await;
    let mut client = TcpStream::connect(harness.address()).await.expect("connected");
    let request = format!(
        "POST /v1/app_1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 4\r\n\r\nha",
        harness.world.secret
    );
    client.write_all(request.as_bytes()).await.expect("sent");
    pause().await;
    client.write_all(b"lf").await.expect("sent");
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_kept_connection_is_watched_only_while_it_is_used() {
    // Answers twice on its one connection, then is silent.
    let (url, _upstream) = one(|mut stream| async move {
        for _ in 0..2 {
            head(&mut stream).await;
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(answer.as_bytes()).await.expect("sent");
        }
        head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let harness = with(url, short_first_byte).await;
    let mut wire = harness.connect().await;
    assert_eq!(wire.get("/v1/app_1/x", &harness.world.secret).await.status, 200);
    pause().await;
    assert_eq!(wire.get("/v1/app_1/x", &harness.world.secret).await.status, 200);
    let answer = wire.get("/v1/app_1/x", &harness.world.secret).await;
    assert_eq!((answer.status, &*answer.code()), (504, "gateway_timeout"));
    assert_eq!(answer.json()["error"]["details"]["reason"], "response_timeout");
}

#[tokio::test]
async fn a_watched_connection_that_is_done_is_closed() {
    let (ended, mut told) = tokio::sync::mpsc::channel(1);
    let (url, _upstream) = one(|mut stream| async move {
        head(&mut stream).await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        stream.write_all(answer.as_bytes()).await.expect("sent");
        let _ = ended.send(matches!(stream.read(&mut [0]).await, Ok(0))).await;
    })
    .await;
    let harness = with(url, short_first_byte).await;
    let answer = harness.connect().await.get("/v1/app_1/x", &harness.world.secret).await;
    assert_eq!(answer.status, 200);
    let closed = timeout(LIMIT, told.recv()).await.expect("in time");
    assert_eq!(closed, Some(true), "no handle of ours holds it open");
}

#[tokio::test]
async fn an_upload_may_take_longer_than_the_upstream_may_be_silent() {
    let (url, _upstream) = one(|mut stream| async move {
        head(&mut stream).await;
        let mut body = [0; 20];
        stream.read_exact(&mut body).await.expect("the body");
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer.as_bytes()).await.expect("sent");
    })
    .await;
    let harness = with(url, |world| {
        short_first_byte(world);
        short_idle(world);
    })
    .await;
    let mut client = TcpStream::connect(harness.address()).await.expect("connected");
    let request = format!(
        "POST /v1/app_1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 20\r\n\r\n",
        harness.world.secret
    );
    client.write_all(request.as_bytes()).await.expect("sent");
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        client.write_all(b"x").await.expect("sent");
    }
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
}
