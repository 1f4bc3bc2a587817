//! An upstream that remembers what it was asked and answers as its path says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

type Body = BoxBody<Bytes, Infallible>;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body_bytes: usize,
    /// By whose port it came.
    pub connection: u16,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }
}

pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _task: AbortOnDropHandle<()>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(accept(listener, seen.clone()));
        Self { address, seen, _task: AbortOnDropHandle::new(task) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub fn last(&self) -> Seen {
        self.seen().pop().expect("a request came")
    }
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, peer) = listener.accept().await.expect("accepting works");
        let seen = seen.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let seen = seen.clone();
                async move { answer(&seen, request, peer.port()).await }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn text(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed()
}

async fn answer(
    seen: &Mutex<Vec<Seen>>,
    request: Request<Incoming>,
    connection: u16,
) -> Result<Response<Body>, std::io::Error> {
    let (head, mut body) = request.into_parts();
    let mut body_bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(std::io::ErrorKind::UnexpectedEof.into()) };
        body_bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    let target = head.uri.path_and_query().map_or("", |target| target.as_str()).to_owned();
    let path = head.uri.path().to_owned();
    seen.lock().push(Seen {
        method: head.method.to_string(),
        target,
        headers: head.headers,
        body_bytes,
        connection,
    });
    let (kind, argument) = path.trim_start_matches('/').split_once('/').unwrap_or((&path[1..], ""));
    let response = Response::builder();
    let response = match kind {
        "status" => {
            let status: u16 = argument.parse().expect("a status");
            let body = if status == 204 { Empty::new().boxed() } else { text("status") };
            response.status(status).body(body)
        }
        // Answers after so many milliseconds.
        "late" => {
            tokio::time::sleep(Duration::from_millis(argument.parse().expect("a number"))).await;
            response.body(text("ok"))
        }
        // Never answers.
        "silence" => std::future::pending().await,
        // Closes without an answer.
        "close" => return Err(std::io::ErrorKind::ConnectionAborted.into()),
        "bytes" => {
            let count: usize = argument.parse().expect("a number");
            response.body(stream(count))
        }
        "user" => response
            .header("x-authsome-user-id", argument)
            .header("x-ratelimit-limit", "of the upstream")
            .header("x-authsome-key-id", "of the upstream")
            .body(text("hello")),
        _ => response.body(text("ok")),
    };
    Ok(response.unwrap_or_else(|error| {
        let mut response = Response::new(text(error.to_string()));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }))
}

/// Chunked, without announcing a length.
fn stream(count: usize) -> Body {
    const PIECE: usize = 64 * 1024;
    let pieces = (0..count.div_ceil(PIECE)).map(move |i| {
        let length = PIECE.min(count - i * PIECE);
        Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; length])))
    });
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(pieces)))
}
