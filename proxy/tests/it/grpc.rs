//! Upstreams that speak HTTP/2, gRPC's way: bodies both ways at once, a status in the trailers.

use std::net::SocketAddr;

use authsome_shared::snapshot::{HealthCheck, Protocol};
use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::harness::{Harness, World, eventually};

struct Server {
    url: String,
    /// The heads of requests, but for health checks.
    heads: mpsc::UnboundedReceiver<http::request::Parts>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("bound");
        let (seen, heads) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    // One that speaks HTTP/1 fails here.
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        let (head, body) = request.into_parts();
                        tokio::spawn(serve(head.uri.path().to_owned(), body, respond));
                        if head.uri.path() != "/health" {
                            let _ = seen.send(head);
                        }
                    }
                });
            }
        });
        let task = AbortOnDropHandle::new(task);
        Self { url: format!("http://{address}"), heads, _task: task }
    }
}

async fn serve(path: String, mut body: RecvStream, mut respond: SendResponse<Bytes>) {
    let head = Response::builder().header("content-type", "application/grpc");
    if path == "/things.Things/Denied" {
        let head = head.header("grpc-status", "7").body(()).expect("a response");
        respond.send_response(head, true).expect("sent");
        return;
    }
    let head = head.body(()).expect("a response");
    let mut sender = respond.send_response(head, false).expect("sent");
    // Each message is answered before the next comes.
    while let Some(Ok(message)) = body.data().await {
        body.flow_control().release_capacity(message.len()).expect("released");
        sender.send_data(message, false).expect("sent");
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("a value"));
    trailers.insert("x-authsome-key-id", "forged".parse().expect("a value"));
    sender.send_trailers(trailers).expect("sent");
}

async fn harness(server: &Server) -> Harness {
    Harness::with(|world: &mut World| {
        world.upstream().urls = vec![server.url.clone()];
        world.upstream().protocol = Protocol::Http2;
    })
    .await
}

async fn client(harness: &Harness) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(harness.address()).await.expect("connected");
    let (client, connection) = h2::client::handshake(stream).await.expect("a handshake");
    tokio::spawn(connection);
    client.ready().await.expect("ready")
}

fn call(harness: &Harness, method: &str) -> Request<()> {
    Request::post(format!("http://api.test/v1/app_1/things.Things/{method}"))
        .header("authorization", format!("Bearer {}", harness.world.secret))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request")
}

async fn message(body: &mut RecvStream) -> Bytes {
    let piece = body.data().await.expect("more").expect("a piece");
    body.flow_control().release_capacity(piece.len()).expect("released");
    piece
}

#[tokio::test]
async fn a_call_both_ways_ends_with_the_status_in_its_trailers() {
    let mut server = Server::start().await;
    let harness = harness(&server).await;
    let mut client = client(&harness).await;
    let (answer, mut sender) = client.send_request(call(&harness, "Chat"), false).expect("sent");
    sender.send_data("one".into(), false).expect("sent");
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("x-authsome-request-id"));
    let mut body = answer.into_body();
    assert_eq!(message(&mut body).await, "one");
    sender.send_data("two".into(), true).expect("sent");
    assert_eq!(message(&mut body).await, "two");
    assert!(body.data().await.is_none());
    let trailers = body.trailers().await.expect("read").expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
    assert!(!trailers.contains_key("x-authsome-key-id"), "only we set those");

    let head = server.heads.recv().await.expect("a request");
    assert_eq!(head.version, http::Version::HTTP_2);
    assert_eq!(head.uri.path(), "/things.Things/Chat");
    assert_eq!(head.headers["te"], "trailers");
    assert_eq!(head.headers["x-authsome-key-id"], "key_1");
    assert!(!head.headers.contains_key("authorization"));
    harness.shipped(1).await;
    let record = harness.control.records()[0].clone();
    assert_eq!((record.status, record.bytes_in, record.bytes_out), (200, 6, 6));
}

#[tokio::test]
async fn an_answer_that_is_all_head_is_passed_on_and_recorded() {
    let server = Server::start().await;
    let harness = harness(&server).await;
    let mut client = client(&harness).await;
    let (answer, _) = client.send_request(call(&harness, "Denied"), true).expect("sent");
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.headers()["grpc-status"], "7");
    harness.shipped(1).await;
}

#[tokio::test]
async fn calls_at_once_share_a_connection_and_clients_of_http1_are_served_too() {
    let mut server = Server::start().await;
    let harness = harness(&server).await;
    let client = client(&harness).await;
    let mut answers = Vec::new();
    for _ in 0..20 {
        let mut client = client.clone().ready().await.expect("ready");
        answers.push(client.send_request(call(&harness, "Echo"), true).expect("sent").0);
    }
    for answer in answers {
        assert_eq!(answer.await.expect("an answer").status(), 200);
    }
    let answer = harness.connect().await.get("/v1/app_1/x", &harness.world.secret).await;
    assert_eq!(answer.status, 200);
    for _ in 0..21 {
        server.heads.recv().await.expect("a request");
    }
    harness.shipped(21).await;
}

#[tokio::test]
async fn health_is_asked_in_the_upstreams_protocol() {
    let server = Server::start().await;
    let harness = Harness::with(|world: &mut World| {
        world.upstream().urls = vec![server.url.clone()];
        world.upstream().protocol = Protocol::Http2;
        let check = HealthCheck { interval_ms: 100, unhealthy: 1, ..HealthCheck::default() };
        world.upstream().health_check = Some(check);
    })
    .await;
    let checks = "authsome_proxy_upstream_health_checks_total";
    eventually("it was asked and is well", || async {
        harness.metric(&format!("{checks}{{outcome=\"healthy\"}}")).await > 0
    })
    .await;
    assert_eq!(harness.metric(&format!("{checks}{{outcome=\"unhealthy\"}}")).await, 0);
}
