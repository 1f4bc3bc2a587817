//! What passes between client and upstream, byte by byte: an upstream that does just what a test
//! says.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::harness::{Harness, eventually};

const USERS: &str = "/v1/app_1/users";

/// A proxy in front of an upstream that the test plays.
async fn harness() -> (Harness, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    (Harness::with(move |world| world.upstream().urls = vec![url]).await, listener)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().await.expect("accepted").0
}

/// A request's head, up to its empty line.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    String::from_utf8(head).expect("text")
}

async fn answer(stream: &mut TcpStream, body: &str) {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.expect("sent");
}

fn bearer(harness: &Harness) -> String {
    format!("Authorization: Bearer {}\r\n", harness.world.secret)
}

#[tokio::test]
async fn an_upstream_that_answers_early_still_gets_the_rest_and_is_asked_again() {
    let (harness, listener) = harness().await;
    let upstream = tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        head(&mut stream).await;
        answer(&mut stream, "early").await;
        let mut body = [0; 10];
        stream.read_exact(&mut body).await.expect("the rest");
        head(&mut stream).await;
        answer(&mut stream, "next").await;
        body
    });
    let mut wire = harness.connect().await;
    let bearer = bearer(&harness);
    wire.send(format!(
        "PUT {USERS} HTTP/1.1\r\nHost: a\r\n{bearer}Content-Length: 10\r\n\r\nhalf,"
    ))
    .await;
    let early = wire.answer().await;
    assert_eq!((&early.body[..], early.header("connection")), (&b"early"[..], Some("close")));
    wire.send("whole").await;
    assert!(wire.is_closed().await);
    let next = harness.connect().await.get(USERS, &harness.world.secret).await;
    assert_eq!(next.body, b"next");
    assert_eq!(&upstream.await.expect("as told"), b"half,whole");
    harness.shipped(2).await;
}

#[tokio::test]
async fn an_upstream_that_refuses_a_body_and_closes_is_passed_on() {
    let (harness, listener) = harness().await;
    let (seen, see) = oneshot::channel();
    let upstream = tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        head(&mut stream).await;
        let refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(refusal.as_bytes()).await.expect("sent");
        drop(stream);
        let _ = seen.send(());
        let mut stream = accept(&listener).await;
        head(&mut stream).await;
        answer(&mut stream, "next").await;
    });
    let mut wire = harness.connect().await;
    let bearer = bearer(&harness);
    wire.send(format!("PUT {USERS} HTTP/1.1\r\nHost: a\r\n{bearer}Content-Length: 8\r\n\r\n"))
        .await;
    see.await.expect("refused");
    assert_eq!(wire.answer().await.status, 413);
    // What nobody wants any more is read all the same.
    wire.send("unwanted").await;
    assert!(wire.is_closed().await);
    let next = harness.connect().await.get(USERS, &harness.world.secret).await;
    assert_eq!(next.body, b"next");
    upstream.await.expect("as told");
}

#[tokio::test]
async fn what_an_upstream_says_unasked_is_nobodys_answer() {
    let (harness, listener) = harness().await;
    let (go, went) = oneshot::channel::<()>();
    let upstream = tokio::spawn(async move {
        let mut first = accept(&listener).await;
        head(&mut first).await;
        answer(&mut first, "one").await;
        went.await.expect("told");
        answer(&mut first, "smuggled").await;
        let mut second = accept(&listener).await;
        head(&mut second).await;
        answer(&mut second, "two").await;
        // Until the proxy closes it, with what it did not want unread.
        !matches!(first.read(&mut [0]).await, Ok(1..))
    });
    let mut wire = harness.connect().await;
    let bearer = bearer(&harness);
    assert_eq!(wire.ask("POST", USERS, &bearer, "").await.body, b"one");
    go.send(()).expect("waited for");
    assert_eq!(wire.ask("POST", USERS, &bearer, "").await.body, b"two");
    assert!(upstream.await.expect("as told"), "closed");
}

#[tokio::test]
async fn an_idle_connection_that_its_upstream_closes_is_closed_without_a_request() {
    let (harness, listener) = harness().await;
    let upstream = tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        head(&mut stream).await;
        answer(&mut stream, "one").await;
        stream.shutdown().await.expect("closed on our side");
        stream.read(&mut [0]).await.expect("closed on theirs")
    });
    assert_eq!(harness.connect().await.get(USERS, &harness.world.secret).await.body, b"one");
    assert_eq!(upstream.await.expect("closed"), 0);
}

#[tokio::test]
async fn fields_for_one_connection_end_there() {
    let (harness, listener) = harness().await;
    let upstream = tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        let mut heads = Vec::new();
        for _ in 0..3 {
            heads.push(head(&mut stream).await.to_lowercase());
            answer(&mut stream, "").await;
        }
        heads
    });
    let mut wire = harness.connect().await;
    let bearer = bearer(&harness);
    for fields in ["Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", "TE: trailers\r\n", ""] {
        let fields = format!("{bearer}X-Own: 1\r\nx-forwarded-host: evil\r\n{fields}");
        assert_eq!(wire.ask("GET", USERS, &fields, "").await.status, 200);
    }
    let heads = upstream.await.expect("as told");
    let fields = |head: &str| {
        let mut fields: Vec<_> = head.lines().skip(1).map(str::to_owned).collect();
        fields.retain(|field| !field.starts_with("x-authsome-request-id"));
        fields.sort();
        fields
    };
    assert_eq!(fields(&heads[0]), fields(&heads[2]), "nothing of the connection is left");
    assert_eq!(fields(&heads[1]), fields(&heads[2]));
    assert!(heads[0].starts_with("get /users http/1.1\r\n"), "{}", heads[0]);
    assert_eq!(heads[0].matches("x-forwarded-host: ").count(), 1);
    assert!(heads[0].contains("x-forwarded-host: api.test\r\n") && heads[0].contains("x-own: 1"));
}

#[tokio::test]
async fn many_requests_at_once_are_each_answered_and_recorded_once() {
    let harness = Harness::start().await;
    let (address, secret) = (harness.address(), harness.world.secret.clone());
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let secret = secret.clone();
            tokio::spawn(async move {
                let mut wire = crate::wire::Wire::to(address).await;
                for _ in 0..25 {
                    assert_eq!(wire.get(USERS, &secret).await.status, 200);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("all answered");
    }
    harness.shipped(1_000).await;
    assert_eq!(harness.control.records().len(), 1_000);
    eventually("nothing waits to be shipped", async || {
        harness.metric("authsome_proxy_journal_unshipped_records").await == 0
    })
    .await;
    assert_eq!(harness.metric("authsome_proxy_ledger_lost_records_total").await, 0);
}

#[tokio::test]
async fn cookies_that_came_in_pieces_are_one_field_to_an_http1_upstream() {
    let (harness, listener) = harness().await;
    let upstream = tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        let head = head(&mut stream).await;
        answer(&mut stream, "").await;
        head
    });
    let stream = TcpStream::connect(harness.address()).await.expect("connected");
    let (client, connection) = h2::client::handshake(stream).await.expect("a handshake");
    tokio::spawn(connection);
    let request = http::Request::get(format!("http://api.test{USERS}"))
        .header("authorization", format!("Bearer {}", harness.world.secret))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-own", "1")
        .header("cookie", "c=3")
        .body(())
        .expect("a request");
    let mut client = client.ready().await.expect("ready");
    let (answer, _) = client.send_request(request, true).expect("sent");
    assert_eq!(answer.await.expect("an answer").status(), 200);
    let head = upstream.await.expect("as told");
    let cookies: Vec<_> = head.lines().filter(|line| line.starts_with("cookie")).collect();
    assert_eq!(cookies, ["cookie: a=1; b=2; c=3"]);
}
