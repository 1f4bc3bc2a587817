//! An endpoint of a customer, on a free port of this machine: remembers what it is sent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use ring::hmac;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::app::within;

/// What it answers: status, headers, body.
type Answer = (u16, Vec<(&'static str, String)>, String);

/// A request that came.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn event(&self) -> String {
        self.json()["event"].as_str().unwrap().to_owned()
    }

    /// By the specification: is one of the signatures made with this key?
    pub fn is_signed_with(&self, key: &[u8]) -> bool {
        let body = String::from_utf8(self.body.to_vec()).unwrap();
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let tag = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(tag));
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    /// For the next requests; then 204.
    answers: VecDeque<Answer>,
}

pub struct Receiver {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    count: watch::Receiver<usize>,
    /// While false, nobody is answered.
    answering: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (counter, count) = watch::channel(0);
        let (answering, gate) = watch::channel(true);
        let shared = Arc::clone(&state);
        let router = Router::new().fallback(async move |request: Request| {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let path = parts.uri.path().to_owned();
            shared.lock().received.push(Received { path, headers: parts.headers, body });
            counter.send_modify(|count| *count += 1);
            gate.clone().wait_for(|answering| *answering).await.unwrap();
            let answer = shared.lock().answers.pop_front();
            let (status, headers, body) = answer.unwrap_or((204, vec![], String::new()));
            let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        });
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state, count, answering, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What the next requests are answered, in their order.
    pub fn answer(&self, statuses: &[u16]) {
        for status in statuses {
            self.answer_with(*status, vec![], "");
        }
    }

    pub fn answer_with(&self, status: u16, headers: Vec<(&'static str, String)>, body: &str) {
        self.state.lock().answers.push_back((status, headers, body.to_owned()));
    }

    /// Answers nobody from now on.
    pub fn hang(&self) {
        self.answering.send_replace(false);
    }

    /// Answers again.
    pub fn recover(&self) {
        self.answering.send_replace(true);
    }

    /// Everything so far.
    pub fn received(&self) -> Vec<Received> {
        self.state.lock().received.clone()
    }

    /// The one thing that came.
    pub fn only(&self) -> Received {
        let mut received = self.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received.remove(0)
    }

    pub fn forget(&self) {
        self.state.lock().received.clear();
    }

    /// The types of what came.
    pub fn events(&self) -> Vec<String> {
        self.received().iter().map(Received::event).collect()
    }

    /// Waits until that many requests have come.
    pub async fn count(&self, wanted: usize) {
        within(self.count.clone().wait_for(|count| *count >= wanted)).await.unwrap();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}
