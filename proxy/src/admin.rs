//! The admin listener: `/health`, `/ready` and `/metrics` for orchestrators and scrapers, and
//! `/explain/{requestId}` for `authsome explain`. It tells no secret, but is not for the public.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use authsome_shared::clock::Clock;
use authsome_shared::id::RequestId;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::decision::{Decision, rfc3339};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::reports::Reports;
use crate::snapshot::Snapshot;

pub struct Admin {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub metrics: Arc<Metrics>,
    pub ledger: Arc<Ledger>,
    pub draining: Arc<AtomicBool>,
    pub reports: Arc<Reports>,
    pub clock: Clock,
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
                self.gauge();
                (StatusCode::OK, "text/plain; version=0.0.4", self.metrics.text())
            }
            (_, "/health" | "/ready" | "/metrics") => {
                (StatusCode::METHOD_NOT_ALLOWED, "text/plain", Vec::new())
            }
            (method, path) if let Some(id) = path.strip_prefix("/explain/") => match *method {
                Method::GET | Method::HEAD => {
                    let (status, body) = self.explain(id);
                    (status, JSON, body.to_string().into_bytes())
                }
                _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", Vec::new()),
            },
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

    /// What was decided about a request, if it is still known here.
    fn explain(&self, id: &str) -> (StatusCode, Value) {
        if id.parse::<RequestId>().is_err() {
            let message = "A request id begins with req_";
            return (StatusCode::BAD_REQUEST, json!({"error": {"message": message}}));
        }
        let found = self.reports.recent.find(id.as_bytes());
        let node = self.reports.node.as_str();
        if let Some(decision) = found.decision.as_deref().and_then(Decision::read) {
            return (StatusCode::OK, json!({"node": node, "decision": decision}));
        }
        let started = self.metrics.started.get().saturating_mul(1_000_000);
        let [refused, others] = found.since.map(|since| rfc3339(since.unwrap_or(started)));
        let message = if self.reports.recent.is_on() {
            "Not among the recent requests of this proxy"
        } else {
            "This proxy keeps no recent requests: explain.max_bytes is 0"
        };
        let kept =
            self.reports.recent.is_on().then(|| json!({"refused": refused, "others": others}));
        let error = json!({"message": message});
        (StatusCode::NOT_FOUND, json!({"node": node, "error": error, "since": kept}))
    }

    /// Brings gauges up to date that are read from elsewhere.
    fn gauge(&self) {
        let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let metrics = &self.metrics;
        metrics.ledger.bytes.set(size(self.ledger.bytes()));
        metrics.ledger.unshipped.set(size(self.ledger.unshipped()));
        metrics.ledger.lag.set(self.ledger.lag(self.clock.now()));
        metrics.report.decisions_bytes.set(size(self.reports.recent.bytes() as u64));
        metrics.ready.set(self.unready().is_none().into());
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
