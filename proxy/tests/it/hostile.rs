//! Clients that want to cost more than they pay: they are bounded, cut off, or both, and others are
//! served meanwhile.

use authsome_shared::snapshot::Breaker;

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, Raw, SETTINGS, field,
    frame, request,
};
use crate::harness::{Harness, eventually};

const USERS: &str = "/v1/app_1/users";

async fn serves(harness: &Harness) {
    let status = harness.connect().await.get(USERS, &harness.world.secret).await.status;
    assert_eq!(status, 200, "others are served");
}

#[tokio::test]
async fn connections_beyond_the_limit_of_an_address_are_closed_at_once() {
    let harness = Harness::with(|world| world.config.connections.max_per_address = 3).await;
    let refused = "authsome_proxy_connections_refused_total{limit=\"address\"}";
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut wire = harness.connect().await;
        assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
        kept.push(wire);
    }
    assert!(harness.connect().await.is_closed().await);
    assert_eq!(harness.metric(refused).await, 1);
    for wire in &mut kept {
        assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200, "kept ones go on");
    }
    kept.pop();
    eventually("its place is free again", || async {
        harness.metric("authsome_proxy_connections").await == 2
    })
    .await;
    serves(&harness).await;
}

#[tokio::test]
async fn connections_beyond_the_total_are_closed_at_once() {
    let harness = Harness::with(|world| world.config.connections.max = 1).await;
    let mut kept = harness.connect().await;
    assert_eq!(kept.get(USERS, &harness.world.secret).await.status, 200);
    assert!(harness.connect().await.is_closed().await);
    assert_eq!(
        harness.metric("authsome_proxy_connections_refused_total{limit=\"total\"}").await,
        1
    );
}

#[tokio::test]
async fn http2_announces_its_bounds() {
    let harness = Harness::start().await;
    let mut raw = Raw::to(harness.address()).await;
    let settings = loop {
        let (kind, _, payload) = raw.frame().await.expect("settings");
        if kind == SETTINGS && !payload.is_empty() {
            break payload;
        }
    };
    let value = |wanted: u16| {
        settings
            .chunks_exact(6)
            .find(|it| it[..2] == wanted.to_be_bytes())
            .map(|it| u32::from_be_bytes([it[2], it[3], it[4], it[5]]))
    };
    assert_eq!(value(3), Some(32), "streams at once");
    assert_eq!(value(6), Some(16 * 1024), "header list");
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let harness = Harness::start().await;
    let mut raw = Raw::to(harness.address()).await;
    let head = request("GET", USERS);
    for i in 0..2_000 {
        let stream = 2 * i + 1;
        let both = [
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &head),
            frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
        ];
        if !raw.send(&both.concat()).await {
            break;
        }
    }
    assert!(raw.is_ended().await);
    serves(&harness).await;
}

#[tokio::test]
async fn endless_continuations_end_the_connection() {
    let harness = Harness::start().await;
    let mut raw = Raw::to(harness.address()).await;
    raw.send(&frame(HEADERS, END_STREAM, 1, &request("GET", USERS))).await;
    let more = frame(CONTINUATION, 0, 1, &field("x-more", &[b'a'; 1_000], false));
    for _ in 0..1_000 {
        if !raw.send(&more).await {
            break;
        }
    }
    assert!(raw.is_ended().await);
    serves(&harness).await;
}

#[tokio::test]
async fn a_header_bomb_never_becomes_a_request() {
    let harness = Harness::start().await;
    let mut raw = Raw::to(harness.address()).await;
    // One field of 4,000 bytes in the table, then a reference to it in every byte: 32 MB.
    let mut head = request("GET", USERS);
    let bearer = format!("Bearer {}", harness.world.secret);
    head.extend(field("authorization", bearer.as_bytes(), false));
    head.extend(field("x-bomb", &[b'a'; 3_900], true));
    head.extend([0xbe; 8_000]);
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)).await;
    while let Some((kind, ..)) = raw.frame().await {
        if matches!(kind, HEADERS | RST_STREAM | GOAWAY) {
            break;
        }
    }
    assert!(harness.upstream.seen().is_empty());
    serves(&harness).await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let harness = Harness::with(|world| world.config.connections.body_timeout_ms = 200).await;
    let mut wire = harness.connect().await;
    wire.send(format!(
        "GET /v1/app_1/bytes/100000000 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        harness.world.secret
    ))
    .await;
    eventually("given up", || async { harness.metric("authsome_proxy_connections").await == 0 })
        .await;
}

/// Waits for the first request to be answered or reset, and tells the status on its record.
async fn told(harness: &Harness, raw: &mut Raw) -> u16 {
    while let Some((kind, stream, _)) = raw.frame().await {
        if kind == GOAWAY || (stream == 1 && matches!(kind, HEADERS | RST_STREAM)) {
            break;
        }
    }
    harness.shipped(1).await;
    harness.control.records()[0].status
}

/// An upload over HTTP/2 of which only the head has come.
async fn upload(harness: &Harness) -> Raw {
    let mut raw = Raw::to(harness.address()).await;
    let mut head = request("POST", USERS);
    let bearer = format!("Bearer {}", harness.world.secret);
    head.extend(field("authorization", bearer.as_bytes(), false));
    head.extend(field("content-length", b"100000", false));
    raw.send(&frame(HEADERS, END_HEADERS, 1, &head)).await;
    raw
}

#[tokio::test]
async fn a_body_that_trickles_over_http2_is_refused() {
    let harness = Harness::with(|world| world.config.connections.body_grace_ms = 200).await;
    let mut raw = upload(&harness).await;
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
    for _ in 0..40 {
        ticks.tick().await;
        raw.send(&frame(DATA, 0, 1, b"a")).await;
    }
    assert_eq!(told(&harness, &mut raw).await, 408);
    serves(&harness).await;
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_the_upstreams_fault() {
    let harness = Harness::with(|world| {
        let upstream = world.upstream();
        upstream.timeouts.first_byte_ms = 300;
        upstream.timeouts.idle_ms = 300;
        upstream.breaker = Some(Breaker { failures: 1, failure_percent: 1, ..Breaker::default() });
    })
    .await;
    let mut raw = upload(&harness).await;
    assert_eq!(told(&harness, &mut raw).await, 408);
    assert_eq!(harness.metric("authsome_proxy_upstream_errors_total{kind=\"exchange\"}").await, 0);
    // Nor has it opened the breaker.
    serves(&harness).await;
}
