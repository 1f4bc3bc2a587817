//! A real API to put behind the proxy: it counts, and it moves big bodies without holding them.
//!
//! What does not come through the proxy is answered and not counted.
//!
//! `/status/{n}` answers n · `/blob?bytes=n` sends n bytes of
//! [`blob`] · POST `/sum` answers the body's length and SHA-256 · `/held` is answered when the
//! test says so · anything else 200 and JSON.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use ring::digest::{Context, SHA256};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// Size of a piece of [`blob`].
const PIECE: usize = 64 * 1024;

type Body = BoxBody<Bytes, Infallible>;

/// Runs until the test's runtime ends.
#[derive(Clone)]
pub struct Upstream {
    pub url: String,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: AtomicU64,
    /// Every header value that had a secret key in it.
    leaked: Mutex<Vec<String>>,
    release: Notify,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let seen = Arc::new(Seen::default());
        let serving = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let Ok((connection, _)) = listener.accept().await else { continue };
                let seen = Arc::clone(&serving);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&seen), request));
                    // A client that goes away is its own affair.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(connection), service)
                        .await;
                });
            }
        });
        Self { url, seen }
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Lets the request that waits at `/held` be answered.
    pub fn release(&self) {
        self.seen.release.notify_one();
    }

    /// Header values in which a caller's secret key reached us.
    pub fn leaked(&self) -> Vec<String> {
        self.seen.leaked.lock().expect("no holder panics").clone()
    }
}

async fn answer(seen: Arc<Seen>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    if !request.headers().contains_key("x-authsome-request-id") {
        return Ok(response(200, "{}"));
    }
    seen.requests.fetch_add(1, Ordering::SeqCst);
    for value in request.headers().values() {
        let value = String::from_utf8_lossy(value.as_bytes());
        if value.contains("sk_live_") || value.contains("sk_test_") {
            seen.leaked.lock().expect("no holder panics").push(value.into_owned());
        }
    }
    if let Some(status) = path.strip_prefix("/status/") {
        return Ok(response(status.parse().expect("a status"), "{}"));
    }
    if path == "/held" {
        seen.release.notified().await;
    }
    if path == "/blob" {
        let bytes = request.uri().query().and_then(|query| query.strip_prefix("bytes="));
        let bytes = bytes.and_then(|bytes| bytes.parse().ok()).expect("bytes=n");
        let pieces = stream::iter(blob(bytes).map(|piece| Ok(Frame::data(piece))));
        return Ok(Response::new(StreamBody::new(pieces).boxed()));
    }
    if path == "/sum" {
        let mut context = Context::new(&SHA256);
        let mut bytes = 0;
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Ok(response(400, "{}")) };
            if let Some(data) = frame.data_ref() {
                bytes += data.len();
                context.update(data);
            }
        }
        let sum = hex::encode(context.finish());
        return Ok(response(200, &json!({ "bytes": bytes, "sha256": sum }).to_string()));
    }
    let version = format!("{:?}", request.version());
    Ok(response(200, &json!({ "path": path, "version": version }).to_string()))
}

fn response(status: u16, json: &str) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(json.to_owned())).boxed())
        .expect("a valid response")
}

/// `bytes` bytes in pieces, no two pieces alike, the same each time.
pub fn blob(bytes: usize) -> impl Iterator<Item = Bytes> + Send + Sync {
    (0..bytes.div_ceil(PIECE)).map(move |number| {
        let length = PIECE.min(bytes - number * PIECE);
        (0..length).map(|at| u8::try_from((at * 31 + number * 17) % 251).expect("< 251")).collect()
    })
}

/// SHA-256 of [`blob`], in hexadecimal digits.
pub fn blob_sum(bytes: usize) -> String {
    let mut context = Context::new(&SHA256);
    for piece in blob(bytes) {
        context.update(&piece);
    }
    hex::encode(context.finish())
}
