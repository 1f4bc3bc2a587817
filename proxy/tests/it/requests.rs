//! What happens to one request, from the client's bytes to the upstream's and back.

use authsome_shared::snapshot::{ApplicationStatus, Change, KeySource};

use crate::harness::{Harness, eventually, key};
use crate::upstream::Upstream;

const USERS: &str = "/v1/app_1/users/7?expand=1";

#[tokio::test]
async fn an_admitted_request_reaches_the_upstream_with_trusted_headers_only() {
    let harness = Harness::with(|world| {
        world.upstream().urls[0].push_str("/base/");
    })
    .await;
    let mut wire = harness.connect().await;
    let headers = format!(
        "Authorization: Bearer {}\r\nX-AuthSome-Scopes: forged\r\nX_AuthSome_Key_ID: forged\r\n\
         X-Forwarded-For: 6.6.6.6\r\nX-Own: kept\r\nConnection: x-hop\r\nX-Hop: gone\r\n",
        harness.world.secret
    );
    let answer = wire.ask("POST", USERS, &headers, r#"{"a":1}"#).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
    assert_eq!(answer.header("x-authsome-app-id"), Some("app_1"));
    assert_eq!(answer.header("x-authsome-region"), Some("eu-1"));
    let id = answer.header("x-authsome-request-id").expect("an id").to_owned();
    assert!(id.starts_with("req_"));
    assert_eq!(answer.header("x-ratelimit-limit"), Some("1000"));
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("999"));
    let reset: i64 = answer.header("x-ratelimit-reset").expect("set").parse().expect("a number");
    let now = harness.world.clock.now().timestamp();
    assert!((now..=now + 2).contains(&reset), "{reset}");
    assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=1000;w=1"));
    assert_eq!(answer.header("ratelimit"), Some("\"default\";r=999;t=1"));

    let seen = harness.upstream.last();
    assert_eq!((&*seen.method, &*seen.target), ("POST", "/base/users/7?expand=1"));
    assert_eq!(seen.body_bytes, 7);
    for (name, value) in [
        ("x-authsome-app-id", "app_1"),
        ("x-authsome-workspace-id", "ws_1"),
        ("x-authsome-key-id", "key_1"),
        ("x-authsome-key-type", "secret"),
        ("x-authsome-scopes", "*"),
        ("x-authsome-environment", "production"),
        ("x-authsome-request-id", &id),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "api.test"),
        ("x-own", "kept"),
        ("host", &harness.upstream.address.to_string()),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(seen.headers.get_all("x-authsome-scopes").iter().count(), 1);
    for name in ["authorization", "x_authsome_key_id", "x-hop", "connection"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn the_clients_host_is_kept_where_the_application_says_so() {
    let harness = Harness::with(|world| world.upstream().preserve_host = true).await;
    harness.connect().await.get(USERS, &harness.world.secret).await;
    assert_eq!(harness.upstream.last().header("host"), Some("api.test"));
}

#[tokio::test]
async fn keys_in_header_and_query_are_taken_out_where_they_are_accepted() {
    let harness = Harness::with(|world| {
        world.application.accept = vec![KeySource::XApiKey, KeySource::Query];
    })
    .await;
    let secret = &harness.world.secret;
    let mut wire = harness.connect().await;
    let headers = format!("X-API-Key: {secret}\r\nAuthorization: Bearer of-the-upstream\r\n");
    assert_eq!(wire.ask("GET", "/v1/app_1/users", &headers, "").await.status, 200);
    let seen = harness.upstream.last();
    assert_eq!(seen.header("x-api-key"), None);
    assert_eq!(seen.header("authorization"), Some("Bearer of-the-upstream"));
    let target = format!("/v1/app_1/users?a=1&key={secret}&b=2");
    assert_eq!(wire.ask("GET", &target, "", "").await.status, 200);
    assert_eq!(harness.upstream.last().target, "/users?a=1&b=2");
}

#[tokio::test]
async fn refusals_explain_themselves_and_keep_the_connection() {
    let harness = Harness::with(|world| {
        world.key.scopes = vec!["users:read".into()];
        world.application.max_body_bytes = 10;
    })
    .await;
    let good = harness.world.secret.clone();
    let mut wire = harness.connect().await;

    let answer = wire.get("/v1/app_9/users", &good).await;
    assert_eq!((answer.status, &*answer.code()), (404, "not_found"));
    assert_eq!(answer.header("x-authsome-app-id"), None);
    assert!(answer.header("x-authsome-request-id").is_some());

    let answer = wire.get(USERS, "sk_live_nonsense").await;
    assert_eq!((answer.status, &*answer.code()), (401, "unauthorized"));
    assert_eq!(answer.json()["error"]["message"], "Invalid or expired API key");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert_eq!(answer.header("x-authsome-app-id"), Some("app_1"));
    assert_eq!(answer.header("x-ratelimit-limit"), None);
    assert_eq!(
        answer.json()["error"]["requestId"].as_str(),
        answer.header("x-authsome-request-id")
    );

    let bearer = format!("Authorization: Bearer {good}\r\n");
    let answer = wire.ask("POST", "/v1/app_1/users", &bearer, "{\"small\":1}").await;
    assert_eq!((answer.status, &*answer.code()), (403, "forbidden"));
    assert_eq!(answer.json()["error"]["details"]["required"], "users:write");
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("1000"));

    let headers = format!("{bearer}Content-Length: 11\r\n");
    wire.send(format!("GET {USERS} HTTP/1.1\r\nHost: a\r\n{headers}\r\nhello world")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, &*answer.code()), (413, "payload_too_large"));

    let mut maintained = harness.world.application.clone();
    maintained.status = ApplicationStatus::Maintenance;
    harness.change(vec![Change::Application(Box::new(maintained))]).await;
    let answer = wire.get(USERS, &good).await;
    assert_eq!((answer.status, &*answer.code()), (503, "service_unavailable"));
    assert_eq!(answer.json()["error"]["reason"], "maintenance");

    harness.change(vec![Change::Application(Box::new(harness.world.application.clone()))]).await;
    assert_eq!(wire.get(USERS, &good).await.status, 200, "all on one connection");
    harness.shipped(1).await;
    assert_eq!(harness.control.records().len(), 1, "refusals are not billed");
}

#[tokio::test]
async fn a_head_request_is_refused_without_a_body() {
    let harness = Harness::start().await;
    let mut wire = harness.connect().await;
    let answer = wire.ask("HEAD", USERS, "", "").await;
    assert_eq!((answer.status, answer.body.len()), (401, 0));
    assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
}

#[tokio::test]
async fn an_unreachable_upstream_is_a_bad_gateway_and_the_next_url_is_tried() {
    let closed = {
        let upstream = Upstream::start().await;
        upstream.url()
    };
    let dead = closed.clone();
    let harness = Harness::with(move |world| world.upstream().urls = vec![dead]).await;
    let mut wire = harness.connect().await;
    let answer = wire.get(USERS, &harness.world.secret).await;
    assert_eq!((answer.status, &*answer.code()), (502, "bad_gateway"));
    assert_eq!(answer.json()["error"]["details"]["reason"], "connect");
    assert!(answer.header("x-ratelimit-remaining").is_some());

    let mut application = harness.world.application.clone();
    application.upstream.as_mut().expect("set").urls = vec![closed, harness.upstream.url()];
    harness.change(vec![Change::Application(Box::new(application))]).await;
    for _ in 0..4 {
        let answer = harness.connect().await.get(USERS, &harness.world.secret).await;
        assert_eq!(answer.status, 200);
    }
    harness.shipped(5).await;
    let statuses: Vec<u16> = harness.control.records().iter().map(|record| record.status).collect();
    assert_eq!(statuses, [502, 200, 200, 200, 200], "each request is recorded once");
}

#[tokio::test]
async fn private_addresses_are_refused_unless_allowed() {
    let harness = Harness::with(|world| world.settings.egress_allow = vec![]).await;
    let mut wire = harness.connect().await;
    let answer = wire.get(USERS, &harness.world.secret).await;
    assert_eq!((answer.status, &*answer.code()), (502, "bad_gateway"));
    assert_eq!(answer.json()["error"]["details"]["reason"], "egress_denied");
    harness
        .change(vec![Change::Settings(authsome_shared::snapshot::Settings {
            egress_allow: vec!["127.0.0.0/8".parse().expect("a net")],
            default_upstream: None,
        })])
        .await;
    assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200, "the connection was kept");
}

#[tokio::test]
async fn a_silent_upstream_is_a_gateway_timeout() {
    let harness = Harness::with(|world| world.upstream().timeouts.first_byte_ms = 100).await;
    let answer = harness.connect().await.get("/v1/app_1/silence", &harness.world.secret).await;
    assert_eq!((answer.status, &*answer.code()), (504, "gateway_timeout"));
    harness.shipped(1).await;
    assert_eq!(harness.control.records()[0].status, 504);
}

#[tokio::test]
async fn an_upstream_that_closes_is_a_bad_gateway() {
    let harness = Harness::start().await;
    let answer = harness.connect().await.get("/v1/app_1/close", &harness.world.secret).await;
    assert_eq!((answer.status, &*answer.code()), (502, "bad_gateway"));
}

#[tokio::test]
async fn a_kept_connection_that_the_upstream_closed_costs_a_replayable_request_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    // Answers one request on each connection, and closes when a second one comes.
    let upstream = tokio::spawn(async move {
        let mut connections = 0;
        loop {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            connections += 1;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a head"));
            }
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{connections}");
            stream.write_all(answer.as_bytes()).await.expect("sent");
            let _ = stream.read_u8().await;
        }
    });
    let harness = Harness::with(move |world| world.upstream().urls = vec![url]).await;
    let mut wire = harness.connect().await;
    for connections in 1..=4 {
        let answer = wire.get(USERS, &harness.world.secret).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, connections.to_string().as_bytes());
    }
    // What may have had an effect is not sent twice.
    let bearer = format!("Authorization: Bearer {}\r\n", harness.world.secret);
    let answer = wire.ask("POST", "/v1/app_1/users", &bearer, "{}").await;
    assert_eq!((answer.status, &*answer.code()), (502, "bad_gateway"));
    harness.shipped(5).await;
    assert_eq!(harness.control.records().len(), 5);
    upstream.abort();
}

#[tokio::test]
async fn an_answer_cut_off_by_the_upstream_is_cut_off_for_the_client() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await.expect("sent");
    });
    let harness = Harness::with(move |world| world.upstream().urls = vec![url]).await;
    let mut stream = tokio::net::TcpStream::connect(harness.address()).await.expect("connected");
    let head = format!(
        "GET {USERS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        harness.world.secret
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(!answer.contains("bad_gateway"), "no second answer inside the first: {answer}");
    harness.shipped(1).await;
    upstream.await.expect("as expected");
}

#[tokio::test]
async fn the_echo_serves_an_application_without_an_upstream() {
    let harness = Harness::with(|world| world.application.upstream = None).await;
    let mut wire = harness.connect().await;
    let bearer = format!("Authorization: Bearer {}\r\n", harness.world.secret);
    let answer = wire.ask("POST", "/v1/app_1/auth/signup?a=1&b=x%20y", &bearer, "{\"n\":1}").await;
    let echo = answer.json();
    assert_eq!(answer.status, 200);
    assert_eq!(echo["method"], "POST");
    assert_eq!(echo["path"], "/auth/signup");
    assert_eq!(echo["query"], serde_json::json!({"a": "1", "b": "x y"}));
    assert_eq!(echo["body"], serde_json::json!({"n": 1}));
    assert_eq!(echo["headers"]["x-authsome-app-id"], "app_1");
    assert!(echo["headers"].get("authorization").is_none());
    let answer = wire.ask("POST", "/v1/app_1/x", &bearer, "plain text").await;
    assert_eq!(answer.json()["body"], "plain text");

    harness.change(vec![Change::Settings(authsome_shared::snapshot::Settings::default())]).await;
    let answer = wire.get(USERS, &harness.world.secret).await;
    assert_eq!(answer.json()["error"]["reason"], "no_upstream");
}

#[tokio::test]
async fn large_bodies_stream_both_ways() {
    const SIZE: usize = 50 * 1024 * 1024;
    let harness = Harness::start().await;
    let mut wire = harness.connect().await;
    wire.send(format!(
        "PUT /v1/app_1/upload HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {SIZE}\r\n\r\n",
        harness.world.secret
    ))
    .await;
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..SIZE / piece.len() {
        wire.send(&piece).await;
    }
    assert_eq!(wire.answer().await.status, 200);
    assert_eq!(harness.upstream.last().body_bytes, SIZE);
    let answer = wire.get(&format!("/v1/app_1/bytes/{SIZE}"), &harness.world.secret).await;
    assert_eq!(answer.body.len(), SIZE);
    harness.shipped(2).await;
    let records = harness.control.records();
    assert_eq!(records[0].bytes_in, SIZE as u64);
    assert_eq!(records[1].bytes_out, SIZE as u64);
}

#[tokio::test]
async fn a_streamed_body_over_the_limit_ends_with_413() {
    let harness = Harness::with(|world| world.application.max_body_bytes = 100_000).await;
    let mut wire = harness.connect().await;
    wire.send(format!(
        "POST /v1/app_1/upload HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        harness.world.secret
    ))
    .await;
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    for _ in 0..8 {
        if !wire.try_send(&chunk).await {
            break;
        }
    }
    let answer = wire.answer().await;
    assert_eq!((answer.status, &*answer.code()), (413, "payload_too_large"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let harness = Harness::start().await;
    let mut wire = harness.connect().await;
    let request = |path: &str| {
        format!(
            "GET /v1/app_1{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
            harness.world.secret
        )
    };
    wire.send(format!("{}{}{}", request("/status/201"), request("/status/202"), request("/a")))
        .await;
    for status in [201, 202, 200] {
        assert_eq!(wire.answer().await.status, status);
    }
}

#[tokio::test]
async fn a_websocket_passes() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        let head = String::from_utf8(head).expect("text").to_lowercase();
        assert!(head.contains("upgrade: websocket"), "{head}");
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                  Connection: Upgrade\r\n\r\n",
            )
            .await
            .expect("sent");
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.expect("read");
        stream.write_all(&hello).await.expect("sent");
        let _ = stream.read_u8().await;
    });
    let harness = Harness::with(move |world| world.upstream().urls = vec![url]).await;
    let mut stream = tokio::net::TcpStream::connect(harness.address()).await.expect("connected");
    let head = format!(
        "GET /v1/app_1/ws HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        harness.world.secret
    );
    // A client may speak the new protocol before it knows that it was accepted.
    stream.write_all(format!("{head}he").as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("an answer"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    stream.write_all(b"llo").await.expect("sent");
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.expect("read");
    assert_eq!(&echo, b"hello");
    drop(stream);
    harness.shipped(1).await;
    assert_eq!(harness.control.records()[0].status, 101);
    upstream.await.expect("as expected");
}

#[tokio::test]
async fn http2_by_prior_knowledge() {
    let harness = Harness::start().await;
    let stream = tokio::net::TcpStream::connect(harness.address()).await.expect("connected");
    let (client, connection) = h2::client::handshake(stream).await.expect("a handshake");
    let driver = tokio::spawn(connection);
    let mut client = client.ready().await.expect("ready");
    let request = |path: &str, key: &str| {
        http::Request::builder()
            .uri(format!("http://api.test/v1/app_1{path}"))
            .header("authorization", format!("Bearer {key}"))
            .body(())
            .expect("a request")
    };
    let secret = harness.world.secret.as_str();
    for (path, key, status) in
        [("/users?a=1", secret, 200), ("/users", "sk_live_x", 401), ("/bytes/200000", secret, 200)]
    {
        let (answer, _) = client.send_request(request(path, key), true).expect("sent");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
        assert!(answer.headers().contains_key("x-authsome-request-id"));
        let mut body = answer.into_body();
        let mut length = 0;
        while let Some(piece) = body.data().await {
            let piece = piece.expect("a piece");
            length += piece.len();
            body.flow_control().release_capacity(piece.len()).expect("released");
        }
        assert!(path != "/bytes/200000" || length == 200_000, "{length}");
    }
    let (answer, mut sender) = client
        .send_request(
            http::Request::post("http://api.test/v1/app_1/users")
                .header("authorization", format!("Bearer {secret}"))
                .body(())
                .expect("a request"),
            false,
        )
        .expect("sent");
    sender.send_data("hello".into(), true).expect("sent");
    assert_eq!(answer.await.expect("an answer").status(), 200);
    let seen = harness.upstream.last();
    assert_eq!(seen.body_bytes, 5);
    assert_eq!(seen.header("x-forwarded-host"), Some("api.test"));
    assert_eq!(seen.header("host"), Some(&*harness.upstream.address.to_string()));
    harness.shipped(3).await;
    assert_eq!(harness.control.records().len(), 3);
    drop(client);
    driver.abort();
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_accepts_no_more() {
    let mut harness = Harness::start().await;
    let mut busy = harness.connect().await;
    busy.send(format!(
        "POST /v1/app_1/upload HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 5\r\n\r\nhel",
        harness.world.secret
    ))
    .await;
    let mut idle = harness.connect().await;
    assert_eq!(idle.get(USERS, &harness.world.secret).await.status, 200);
    let address = harness.address();
    let proxy = harness.proxy.take().expect("running");
    let stopping = tokio::spawn(proxy.shutdown());
    assert!(idle.is_closed().await, "idle connections are closed");
    eventually("no new connections", || async {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    assert!(!stopping.is_finished());
    busy.send("lo").await;
    assert_eq!(busy.answer().await.status, 200);
    stopping.await.expect("stopped");
    assert_eq!(harness.control.records().len(), 2, "all usage was shipped before the end");
}

#[tokio::test]
async fn a_drain_waits_for_a_request_that_has_begun() {
    let mut harness = Harness::with(|world| world.config.drain.idle_ms = 1).await;
    let secret = harness.world.secret.clone();
    let mut wire = harness.connect().await;
    assert_eq!(wire.get("/v1/app_1/users", &secret).await.status, 200);
    wire.send("GET /v1/app_1/users HTTP/1.1\r\nHost: a\r\n").await;
    let mut idle = harness.connect().await;
    assert_eq!(idle.get("/v1/app_1/users", &secret).await.status, 200);
    let proxy = harness.proxy.take().expect("running");
    let stopping = tokio::spawn(proxy.shutdown());
    assert!(idle.is_closed().await, "the moment for idle ones is over");
    wire.send(format!("Authorization: Bearer {secret}\r\n\r\n")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    stopping.await.expect("stopped");
}

#[tokio::test]
async fn a_rotated_key_shares_its_bucket_with_the_old_one() {
    let harness = Harness::with(|world| {
        world.workspace.rate_limit.requests = 2;
        world.workspace.rate_limit.burst = 2;
        world.workspace.rate_limit.window_ms = 3_600_000;
    })
    .await;
    let (mut next, secret) = key("key_2");
    next.bucket = harness.world.key.id.clone();
    harness.change(vec![Change::Key(Box::new(next))]).await;
    let mut wire = harness.connect().await;
    assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
    assert_eq!(wire.get(USERS, &secret).await.status, 200);
    for key in [&harness.world.secret, &secret] {
        assert_eq!(wire.get(USERS, key).await.status, 429);
    }
    harness.shipped(2).await;
    let buckets: Vec<_> = harness.control.records().into_iter().map(|it| it.bucket).collect();
    assert_eq!(buckets, [None, Some(harness.world.key.id.clone())]);
}
