//! The admin listener: `/health`, `/ready` and `/metrics` for orchestrators and scrapers. It tells
//! no secret, but is not for the public.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

pub struct Admin {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub metrics: Arc<Metrics>,
    pub ledger: Arc<Ledger>,
    pub draining: Arc<AtomicBool>,
}

impl Admin {
    /// Serves until it is aborted, or told to leave the listener to another process.
    pub async fn serve(self: Arc<Self>, listener: Arc<TcpListener>, stop: CancellationToken) {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, peer)) = accepted else { continue };
                    connections.spawn(self.clone().connection(stream, peer, stop.clone()));
                }
                Some(_) = connections.join_next() => {}
                () = stop.cancelled() => break,
            }
        }
        drop(listener);
        connections.join_all().await;
    }

    async fn connection(
        self: Arc<Self>,
        stream: tokio::net::TcpStream,
        peer: SocketAddr,
        stop: CancellationToken,
    ) {
        let service = service_fn(|request: Request<Incoming>| {
            let response = self.answer(request.method(), request.uri().path());
            async move { Ok::<_, Infallible>(response) }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new());
        let mut serving = pin!(server.serve_connection(TokioIo::new(stream), service));
        let served = tokio::select! {
            served = &mut serving => served,
            () = stop.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%peer, %error, "an admin connection failed");
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        const JSON: &str = "application/json";
        let (status, kind, body) = match (method, path) {
            (&Method::GET | &Method::HEAD, "/health") => {
                (StatusCode::OK, JSON, json!({"status": "ok"}).to_string().into_bytes())
            }
            (&Method::GET | &Method::HEAD, "/ready") => match self.unready() {
                None => {
                    let body =
                        json!({"status": "ready", "revision": self.snapshot.load().revision});
                    (StatusCode::OK, JSON, body.to_string().into_bytes())
                }
                Some(reason) => {
                    let body = json!({"status": "unready", "reason": reason});
                    (StatusCode::SERVICE_UNAVAILABLE, JSON, body.to_string().into_bytes())
                }
            },
            (&Method::GET | &Method::HEAD, "/metrics") => {
                let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
                self.metrics.journal_bytes.set(size(self.ledger.bytes()));
                self.metrics.unshipped.set(size(self.ledger.unshipped()));
                (StatusCode::OK, "text/plain; version=0.0.4", self.metrics.text())
            }
            (_, "/health" | "/ready" | "/metrics") => {
                (StatusCode::METHOD_NOT_ALLOWED, "text/plain", Vec::new())
            }
            _ => (StatusCode::NOT_FOUND, "text/plain", Vec::new()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(http::header::ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        }
        response
    }

    /// Why no traffic should come here now.
    fn unready(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Relaxed) {
            Some("draining")
        } else if self.snapshot.load().platform.is_none() {
            Some("no_snapshot")
        } else if !self.ledger.has_room() {
            Some("ledger_full")
        } else {
            None
        }
    }
}
