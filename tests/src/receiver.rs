//! An endpoint for webhooks: remembers what it is sent, and answers 204 unless it is told to hang.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::wait;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Received {
    pub headers: HeaderMap,
    pub body: Value,
}

impl Received {
    pub fn id(&self) -> String {
        let id = self.headers.get("webhook-id").and_then(|value| value.to_str().ok());
        id.unwrap_or_else(|| panic!("no webhook-id: {self:?}")).to_owned()
    }
}

/// Runs until the test's runtime ends.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    answering: watch::Sender<bool>,
}

impl Receiver {
    pub async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (answering, gate) = watch::channel(true);
        let received = Arc::new(Mutex::new(vec![]));
        let seen = Arc::clone(&received);
        tokio::spawn(async move {
            loop {
                let Ok((connection, _)) = listener.accept().await else { continue };
                let (seen, gate) = (Arc::clone(&seen), gate.clone());
                tokio::spawn(async move {
                    let service =
                        service_fn(move |request| answer(Arc::clone(&seen), gate.clone(), request));
                    // A client that goes away is its own affair.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(connection), service)
                        .await;
                });
            }
        });
        Self { url, received, answering }
    }

    /// Answers nobody from now on.
    pub fn hang(&self) {
        self.answering.send_replace(false);
    }

    /// Answers again, also those who wait.
    pub fn recover(&self) {
        self.answering.send_replace(true);
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("no holder panics").clone()
    }

    /// Waits for `probe` to find what it looks for in what has come.
    pub async fn find<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut probe: impl FnMut(&[Received]) -> Option<T>,
    ) -> T {
        wait::until(what, deadline, async || probe(&self.received())).await
    }
}

async fn answer(
    seen: Arc<Mutex<Vec<Received>>>,
    mut gate: watch::Receiver<bool>,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(status(400)) };
    let body = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
    seen.lock().expect("no holder panics").push(Received { headers: parts.headers, body });
    let _ = gate.wait_for(|answering| *answering).await;
    Ok(status(204))
}

fn status(status: u16) -> Response<Empty<Bytes>> {
    Response::builder().status(status).body(Empty::new()).expect("a valid response")
}
