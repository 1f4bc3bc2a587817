//! One request at a time: key, version, faults, idempotency, and then the operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use chrono::TimeDelta;
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::fault::{self, Fault, Kind};
use crate::form::{self, Params};
use crate::refusal::Refusal;
use crate::store::Store;
use crate::webhooks::Manner;
use crate::{SECRET_KEY, VERSION, control, routes};

/// Stripe forgets an idempotency key after this.
const KEPT: TimeDelta = TimeDelta::hours(24);

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub params: Value,
    pub idempotency_key: Option<String>,
    /// Was it answered what the key had been answered before?
    pub replayed: bool,
    /// As answered, whether or not it arrived.
    pub status: u16,
}

/// An answer that is kept under an idempotency key.
#[derive(Debug, Clone)]
struct Kept {
    fingerprint: String,
    status: u16,
    body: Value,
    at: i64,
}

/// Everything that requests share.
#[derive(Debug)]
pub struct Shared {
    pub store: Mutex<Store>,
    pub faults: Mutex<Vec<Fault>>,
    pub seen: Mutex<Vec<Seen>>,
    pub manner: Mutex<Manner>,
    kept: Mutex<BTreeMap<String, Kept>>,
    /// Wakes the courier of webhooks.
    pub posted: Notify,
    /// How many requests hang or have hung.
    pub stalled: watch::Sender<usize>,
    /// Changes when the stand-in recovers: those that hang are dropped then.
    pub recovered: watch::Sender<usize>,
}

impl Shared {
    pub fn new(store: Store) -> Self {
        Self {
            store: Mutex::new(store),
            faults: Mutex::default(),
            seen: Mutex::default(),
            manner: Mutex::default(),
            kept: Mutex::default(),
            posted: Notify::new(),
            stalled: watch::channel(0).0,
            recovered: watch::channel(0).0,
        }
    }
}

pub fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(answer).with_state(shared)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return broken() };
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    if let Some(what) = path.strip_prefix("/_control/") {
        return render(&control::call(&shared, what, &body).into());
    }
    let query = parts.uri.query().unwrap_or_default();
    let form = if method == "GET" || method == "DELETE" { query } else { body.as_str() };
    let params = form::parse(form);
    let fault = fault::take(&mut shared.faults.lock(), method, path);
    match fault {
        Some(Kind::Cut) => return broken(),
        Some(Kind::HangBefore) => return hang(&shared).await,
        _ => {}
    }
    let answer = perform(&shared, method, path, form, &params, &parts.headers, fault);
    shared.posted.notify_one();
    shared.seen.lock().push(Seen {
        method: method.to_owned(),
        path: path.to_owned(),
        params,
        idempotency_key: key(&parts.headers),
        replayed: answer.replayed,
        status: answer.status,
    });
    match fault {
        Some(Kind::Lost) => broken(),
        Some(Kind::HangAfter) => hang(&shared).await,
        _ => render(&answer),
    }
}

fn key(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("idempotency-key")?.to_str().ok()?.to_owned())
}

/// An answer, before it is rendered.
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub replayed: bool,
}

impl From<Result<Value, Refusal>> for Answer {
    fn from(result: Result<Value, Refusal>) -> Self {
        let (status, body) = match result {
            Ok(body) => (200, body),
            Err(refusal) => (refusal.status, refusal.body()),
        };
        Self { status, body, replayed: false }
    }
}

fn perform(
    shared: &Shared,
    method: &str,
    path: &str,
    form: &str,
    params: &Value,
    headers: &HeaderMap,
    fault: Option<Kind>,
) -> Answer {
    if let Err(refusal) = check(headers) {
        return Err(refusal).into();
    }
    let Some(operation) = path.strip_prefix("/v1/") else {
        let message = format!("Unrecognized request URL ({method}: {path}).");
        return Err(Refusal::new(404, "invalid_request_error", message)).into();
    };
    let key = if method == "POST" { key(headers) } else { None };
    let fingerprint = format!("{path}\n{form}");
    let mut store = shared.store.lock();
    let now = store.now();
    if let Some(key) = &key {
        let mut kept = shared.kept.lock();
        kept.retain(|_, kept| now - kept.at < KEPT.num_seconds());
        if let Some(kept) = kept.get(key) {
            if kept.fingerprint != fingerprint {
                let message = format!(
                    "Keys for idempotent requests can only be used with the same parameters they \
                     were first used with. Try using a key other than '{key}' if you meant to \
                     execute a different request."
                );
                return Err(Refusal::new(400, "idempotency_error", message)).into();
            }
            return Answer { status: kept.status, body: kept.body.clone(), replayed: true };
        }
    }
    store.idempotency_key.clone_from(&key);
    let failed = |status| {
        let kind = if status == 429 { "invalid_request_error" } else { "api_error" };
        Refusal::new(status, kind, "An unknown error occurred").code(match status {
            429 => "rate_limit",
            _ => "api_error",
        })
    };
    let result = match fault {
        Some(Kind::Status(status)) => Err(failed(status)),
        Some(Kind::StatusAfter(status)) => {
            let done = routes::call(&mut store, method, operation, &Params(params));
            done.and_then(|_| Err(failed(status)))
        }
        _ => routes::call(&mut store, method, operation, &Params(params)),
    };
    let answer = Answer::from(result);
    // What failed validation had not begun, and is not kept.
    let begun = answer.status < 400 || answer.status == 402 || answer.status >= 500;
    if let Some(key) = key.filter(|_| begun) {
        let (status, body) = (answer.status, answer.body.clone());
        shared.kept.lock().insert(key, Kept { fingerprint, status, body, at: now });
    }
    answer
}

/// The secret key, as a bearer or as the user of basic authentication, and the API's version.
fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given = text("authorization").unwrap_or_default();
    // `sk_test_stand_in:`, in base64.
    let basic = "c2tfdGVzdF9zdGFuZF9pbjo=";
    let known = given.strip_prefix("Bearer ") == Some(SECRET_KEY)
        || given.strip_prefix("Basic ") == Some(basic);
    if !known {
        let message = "Invalid API Key provided: sk_****";
        return Err(Refusal::new(401, "invalid_request_error", message));
    }
    match text("stripe-version") {
        None | Some(VERSION) => Ok(()),
        Some(other) => {
            Err(Refusal::invalid(format!("The stand-in speaks version {VERSION}, not {other}")))
        }
    }
}

fn render(answer: &Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("request-id", "req_StandIn")
        .header("stripe-version", VERSION);
    if answer.replayed {
        response = response.header("idempotent-replayed", "true");
    }
    let body = serde_json::to_string_pretty(&answer.body).unwrap_or_default();
    response.body(Body::from(body)).expect("a valid response")
}

/// An answer that breaks off at once.
fn broken() -> Response {
    let end: Result<bytes::Bytes, std::io::Error> = Err(std::io::ErrorKind::ConnectionReset.into());
    let response = Response::builder().header("content-length", "1000");
    response.body(Body::from_stream(stream::iter([end]))).expect("a valid response")
}

async fn hang(shared: &Shared) -> Response {
    let mut recovered = shared.recovered.subscribe();
    shared.stalled.send_modify(|stalled| *stalled += 1);
    // The sender lives as long as what is shared.
    let _ = recovered.changed().await;
    broken()
}

/// What the control answers when all is well.
pub fn done() -> Value {
    json!({ "done": true })
}
