//! Requests that two servers could read differently never reach the upstream.

use std::time::Duration;

use crate::corpus::recorder::Recorder;
use crate::corpus::{self, Names};
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
async fn what_never_becomes_a_request_is_told_and_counted_alike() {
    let harness = Harness::start().await;
    let metric = "authsome_proxy_requests_total{outcome=\"invalid_request\"}";
    for (i, request) in [
        "NONSENSE\r\n\r\n                          ",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let mut wire = harness.connect().await;
        wire.send(request).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, &*answer.code()), (400, "invalid_request"), "{request}");
        assert_eq!(answer.header("connection"), Some("close"), "{request}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{request}");
        let id = answer.header("x-authsome-request-id").expect("an id");
        assert_eq!(answer.json()["error"]["requestId"], id, "{request}");
        assert!(answer.json()["error"]["details"]["reason"].is_string(), "{request}");
        assert!(wire.is_closed().await, "{request}");
        assert_eq!(harness.metric(metric).await, i as u64 + 1);
    }
}

#[tokio::test]
async fn a_body_that_stops_being_chunked_is_told_so() {
    let harness = Harness::start().await;
    let mut wire = harness.connect().await;
    wire.send(format!(
        "POST /v1/app_1/users HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
        harness.world.secret
    ))
    .await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, &*answer.code()), (400, "invalid_request"));
    assert_eq!(answer.json()["error"]["details"]["reason"], "chunks");
    assert!(wire.is_closed().await);
    harness.shipped(1).await;
    assert_eq!(harness.control.records()[0].status, 400);
    assert!(harness.upstream.seen().is_empty(), "it never became whole");
}

#[tokio::test]
async fn a_body_that_trickles_is_cut_off() {
    let harness = Harness::with(|world| world.config.connections.body_grace_ms = 200).await;
    let mut wire = harness.connect().await;
    wire.send(format!(
        "POST /v1/app_1/users HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 100000\r\n\r\n",
        harness.world.secret
    ))
    .await;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let trickle = async {
        for _ in 0..20 {
            ticks.tick().await;
            wire.try_send("a").await;
        }
    };
    trickle.await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, &*answer.code()), (408, "request_timeout"));
}

#[tokio::test]
async fn a_body_that_waits_for_the_upstream_is_not_slow() {
    let harness = Harness::with(|world| world.config.connections.body_grace_ms = 150).await;
    let mut wire = harness.connect().await;
    let bearer = format!("Authorization: Bearer {}\r\n", harness.world.secret);
    let late = wire.ask("POST", "/v1/app_1/late/400", &bearer, "hello").await;
    assert_eq!(late.status, 200);
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

#[tokio::test]
async fn every_case_of_the_corpus_is_right() {
    let recorder = Recorder::start(([127, 0, 0, 1], 0).into()).await;
    let url = format!("http://{}", recorder.address);
    let harness = Harness::with(move |world| world.upstream().urls = vec![url]).await;
    let names = Names {
        path: "/v1/app_1".into(),
        authorization: format!("Authorization: Bearer {}\r\n", harness.world.secret),
    };
    let score = corpus::run(harness.address(), &recorder, &names).await;
    assert!(score.total >= 150, "{} cases", score.total);
    assert!(score.wrong.is_empty(), "{}", score.wrong.join("\n"));
    harness.shipped(recorder.whole()).await;
}
