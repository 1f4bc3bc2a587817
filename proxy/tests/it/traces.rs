//! W3C trace contexts pass on, and spans reach a collector that is there.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::harness::{Harness, World, eventually};

const USERS: &str = "/v1/app_1/users";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// An OTLP/HTTP receiver that keeps the spans it is sent.
struct Collector {
    address: SocketAddr,
    state: Arc<State>,
    _task: AbortOnDropHandle<()>,
}

struct State {
    spans: Mutex<Vec<Value>>,
    /// What it answers with.
    status: AtomicU16,
    asked: AtomicU16,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            spans: Mutex::default(),
            status: AtomicU16::new(200),
            asked: AtomicU16::new(0),
        });
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                let state = shared.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| take(state.clone(), request));
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
                });
            }
        });
        Self { address, state, _task: AbortOnDropHandle::new(task) }
    }

    fn spans(&self) -> Vec<Value> {
        self.state.spans.lock().clone()
    }
}

async fn take(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.uri().path(), "/otlp/v1/traces");
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(request.headers()["x-api-key"], "of the collector");
    let body = request.into_body().collect().await.expect("a body").to_bytes();
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let status = state.status.load(Ordering::SeqCst);
    state.asked.fetch_add(1, Ordering::SeqCst);
    if status == 200 {
        for resource in body["resourceSpans"].as_array().expect("resources") {
            assert_eq!(text(&resource["resource"], "service.name"), Some("the-edge"));
            assert!(text(&resource["resource"], "service.instance.id").is_some());
            for scope in resource["scopeSpans"].as_array().expect("scopes") {
                state.spans.lock().extend(scope["spans"].as_array().expect("spans").clone());
            }
        }
    }
    let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    Ok(response)
}

/// An attribute's text, or its number as text.
fn text<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    let attributes = span["attributes"].as_array().expect("attributes");
    let value = &attributes.iter().find(|it| it["key"] == key)?["value"];
    value["stringValue"].as_str().or(value["intValue"].as_str())
}

fn traced(world: &mut World, collector: &Collector) {
    let tracing = &mut world.config.tracing;
    let endpoint = format!("http://{}/otlp/", collector.address);
    tracing.endpoint = Some(endpoint.parse().expect("a URL"));
    tracing.ratio = 1.0;
    tracing.service = "the-edge".into();
    let key = authsome_shared::secret::Secret::new("of the collector".to_owned());
    tracing.headers.insert("x-api-key".into(), key);
}

async fn get(harness: &Harness, target: &str, headers: &str) -> u16 {
    let headers = format!("Authorization: Bearer {}\r\n{headers}", harness.world.secret);
    harness.connect().await.ask("GET", target, &headers, "").await.status
}

#[tokio::test]
async fn a_valid_context_passes_and_an_invalid_one_does_not() {
    let harness = Harness::start().await;
    for (headers, parent, state) in [
        (
            format!("traceparent: {PARENT}\r\ntracestate: a=1,b=2\r\n"),
            Some(PARENT),
            Some("a=1,b=2"),
        ),
        (format!("traceparent: {PARENT}\r\ntracestate: nonsense\r\n"), Some(PARENT), None),
        ("traceparent: 00-nonsense-01\r\ntracestate: a=1\r\n".into(), None, None),
        (format!("traceparent: {PARENT}\r\n").repeat(2), None, None),
        ("tracestate: a=1\r\n".into(), None, None),
        (String::new(), None, None),
    ] {
        assert_eq!(get(&harness, USERS, &headers).await, 200);
        let seen = harness.upstream.last();
        let found = (seen.header("traceparent"), seen.header("tracestate"));
        assert_eq!(found, (parent, state), "{headers}");
    }
}

#[tokio::test]
async fn a_request_is_a_server_span_with_a_client_span_for_its_upstream() {
    let collector = Collector::start().await;
    let harness = Harness::with(|world| traced(world, &collector)).await;
    let headers = format!("traceparent: {PARENT}\r\nUser-Agent: tester/1\r\n");
    assert_eq!(get(&harness, "/v1/app_1/status/404?secret=1", &headers).await, 404);
    eventually("spans come", || async { collector.spans().len() == 2 }).await;

    let spans = collector.spans();
    let (server, client) = (&spans[0], &spans[1]);
    assert_eq!((&server["kind"], &client["kind"]), (&2.into(), &3.into()));
    assert_eq!(server["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(client["traceId"], server["traceId"]);
    assert_eq!(server["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(client["parentSpanId"], server["spanId"]);
    let told = harness.upstream.last().header("traceparent").expect("told").to_owned();
    let client_id = client["spanId"].as_str().expect("an id");
    assert_eq!(told, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{client_id}-01"));
    assert_eq!(server["name"], "GET /v1/{application}/*");
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/v1/{application}/*"),
        ("url.path", "/v1/app_1/status/404"),
        ("url.scheme", "http"),
        ("server.address", "api.test"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "tester/1"),
        ("http.response.status_code", "404"),
        ("authsome.key", "key_1"),
    ] {
        assert_eq!(text(server, key), Some(value), "{key}");
    }
    let port = harness.upstream.address.port().to_string();
    assert_eq!(text(client, "server.port"), Some(&*port));
    assert_eq!(text(client, "http.response.status_code"), Some("404"));
    assert_eq!(server.get("status"), None, "a 4xx is not the server's error");
    assert_eq!(client["status"]["code"], 2);
    let nanos = |span: &Value, field: &str| -> u64 {
        span[field].as_str().expect("a text").parse().expect("a number")
    };
    let (start, end) = ("startTimeUnixNano", "endTimeUnixNano");
    assert!(nanos(server, start) <= nanos(client, start));
    assert!(nanos(client, start) <= nanos(client, end));
    assert!(nanos(client, end) <= nanos(server, end));
    assert!(!spans.iter().any(|span| span.to_string().contains("secret=1")));
}

#[tokio::test]
async fn a_trace_begins_here_where_none_came_and_refusals_are_in_it() {
    let collector = Collector::start().await;
    let mut harness = Harness::with(|world| traced(world, &collector)).await;
    assert_eq!(get(&harness, USERS, "").await, 200);
    let told = harness.upstream.last().header("traceparent").expect("begun").to_owned();
    assert!(told.starts_with("00-") && told.ends_with("-01"), "{told}");
    assert_eq!(harness.connect().await.get(USERS, "sk_live_typo").await.status, 401);
    harness.stop().await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "what was left is sent at the end: {spans:?}");
    assert_eq!(spans[0]["traceId"], told[3..35]);
    assert_eq!(text(&spans[2], "authsome.cause"), Some("key_malformed"));
}

#[tokio::test]
async fn what_the_caller_does_not_sample_is_not_recorded_and_passes_untouched() {
    let collector = Collector::start().await;
    let mut harness = Harness::with(|world| traced(world, &collector)).await;
    let unsampled = PARENT.replace("-01", "-00");
    assert_eq!(get(&harness, USERS, &format!("traceparent: {unsampled}\r\n")).await, 200);
    assert_eq!(harness.upstream.last().header("traceparent"), Some(&*unsampled));
    harness.stop().await;
    assert_eq!(collector.spans(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_collector_that_is_away_or_refuses_costs_no_request_anything() {
    let collector = Collector::start().await;
    collector.state.status.store(400, Ordering::SeqCst);
    let harness = Harness::with(|world| {
        traced(world, &collector);
        world.config.tracing.queue = 8;
    })
    .await;
    let dropped = "authsome_proxy_spans_dropped_total";
    for _ in 0..40 {
        assert_eq!(get(&harness, USERS, "").await, 200);
    }
    eventually("all are counted as dropped", || async { harness.metric(dropped).await == 80 })
        .await;
    assert_eq!(harness.metric("authsome_proxy_spans_exported_total").await, 0);

    collector.state.status.store(503, Ordering::SeqCst);
    let asked = collector.state.asked.load(Ordering::SeqCst);
    assert_eq!(get(&harness, USERS, "").await, 200);
    let again = || async { collector.state.asked.load(Ordering::SeqCst) > asked + 1 };
    eventually("it is tried again", again).await;
    collector.state.status.store(200, Ordering::SeqCst);
    eventually("and taken then", || async { collector.spans().len() == 2 }).await;
    assert_eq!(harness.metric(dropped).await, 80);
}
