//! Requests that two servers could read differently never reach the upstream.

use std::time::Duration;

use crate::harness::Harness;
use crate::wire::Wire;

fn ambiguous(bearer: &str) -> Vec<(&'static str, u16, String)> {
    vec![
        (
            "both framings",
            400,
            format!(
                "POST /v1/app_1/users HTTP/1.1\r\nHost: a\r\n{bearer}\r\nContent-Length: 5\r\n\
                 Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "both framings, the other way round",
            400,
            format!(
                "POST /v1/app_1/users HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\
                 transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "a list of lengths",
            400,
            format!(
                "POST /v1/app_1/users HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\
                 Content-Length: 5, 5\r\n\r\nhello"
            ),
        ),
        (
            "two lengths",
            400,
            format!(
                "POST /v1/app_1/users HTTP/1.1\r\nHost: a\r\n{bearer}\r\nContent-Length: 5\r\n\
                 Content-Length: 6\r\n\r\nhello!"
            ),
        ),
        ("no host", 400, format!("GET /v1/app_1/users HTTP/1.1\r\n{bearer}\r\n\r\n")),
        (
            "two hosts",
            400,
            format!("GET /v1/app_1/users HTTP/1.1\r\nHost: a\r\nHost: b\r\n{bearer}\r\n\r\n"),
        ),
        (
            "absolute form",
            400,
            format!("GET http://a/v1/app_1/users HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n"),
        ),
        (
            "dot segments",
            400,
            format!("GET /v1/app_1/../app_2/users HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n"),
        ),
        (
            "an encoded slash",
            400,
            format!("GET /v1/app_1/a%2fb HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n"),
        ),
        (
            "a lower-case method",
            400,
            format!("get /v1/app_1/users HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n"),
        ),
        (
            "a coding that is not ours",
            501,
            format!(
                "POST /v1/app_1/users HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\
                 Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "a long target",
            414,
            format!("GET /v1/app_1/{} HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n", "a".repeat(9_000)),
        ),
        (
            "a large head",
            431,
            format!(
                "GET /v1/app_1/users HTTP/1.1\r\nHost: a\r\n{bearer}\r\nX-Large: {}\r\n\r\n",
                "a".repeat(17_000)
            ),
        ),
        (
            "many fields",
            431,
            format!(
                "GET /v1/app_1/users HTTP/1.1\r\nHost: a\r\n{bearer}\r\n{}\r\n",
                "X-Many: a\r\n".repeat(100)
            ),
        ),
        (
            "a nominated forwarding header",
            400,
            format!(
                "GET /v1/app_1/users HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\
                 Connection: x-forwarded-for\r\n\r\n"
            ),
        ),
    ]
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_their_connection_closed() {
    let harness = Harness::start().await;
    let bearer = format!("Authorization: Bearer {}", harness.world.secret);
    for (name, status, request) in ambiguous(&bearer) {
        let mut wire = harness.connect().await;
        wire.send(request).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, status, "{name}");
        assert_eq!(answer.header("connection"), Some("close"), "{name}");
        assert!(wire.is_closed().await, "{name}");
    }
    assert!(harness.upstream.seen().is_empty());
}

#[tokio::test]
async fn what_the_engine_refuses_itself_gets_an_answer_too() {
    let harness = Harness::start().await;
    for request in [
        "NONSENSE\r\n\r\n                          ",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
    ] {
        let mut wire = harness.connect().await;
        wire.send(request).await;
        assert_eq!(wire.answer().await.status, 400, "{request}");
        assert!(wire.is_closed().await, "{request}");
    }
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_off() {
    let harness = Harness::with(|world| world.config.connections.header_timeout_ms = 150).await;
    let mut wire = harness.connect().await;
    wire.send("GET /v1/app_1/users HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    let trickle = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            if !wire.try_send("a").await {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), trickle).await.expect("cut off");
}

#[tokio::test]
async fn a_head_that_stops_is_told_so_also_on_a_used_connection() {
    let harness = Harness::with(|world| world.config.connections.header_timeout_ms = 150).await;
    let mut wire = harness.connect().await;
    assert_eq!(wire.get("/v1/app_1/users", &harness.world.secret).await.status, 200);
    wire.send("GET /v1/app_1/users HTTP/1.1\r\nHost: a\r\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, &*answer.code()), (408, "request_timeout"));
    assert!(wire.is_closed().await);
}

#[tokio::test]
async fn waiting_between_requests_is_no_slow_head() {
    let harness = Harness::with(|world| world.config.connections.header_timeout_ms = 50).await;
    let mut wire = Wire::to(harness.address()).await;
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(120)).await;
        assert_eq!(wire.get("/v1/app_1/users", &harness.world.secret).await.status, 200);
    }
}
