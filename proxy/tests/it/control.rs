//! A small control plane: it keeps a configuration, serves snapshots and the stream, and applies
//! usage exactly once. It can be taken away and brought back.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use authsome_shared::id::{KeyId, NodeId, PlatformId};
use authsome_shared::log::{LogBatch, LogLine};
use authsome_shared::node::{Ack, Frame};
use authsome_shared::snapshot::Change;
use authsome_shared::snapshot::encoding::{Header, encode};
use authsome_shared::usage::{Applied, BatchHeader, Total, UsageRecord};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio_util::task::AbortOnDropHandle;

pub const TOKEN: &str = "node-token-of-the-test";

type Body = BoxBody<Bytes, Infallible>;

pub struct Control {
    pub address: SocketAddr,
    state: Arc<State>,
    _task: AbortOnDropHandle<()>,
}

struct State {
    inner: Mutex<Inner>,
    frames: broadcast::Sender<Frame>,
    /// While false no connection is served.
    up: AtomicBool,
    /// Cuts the connections that are open.
    cuts: watch::Sender<u64>,
    /// While true usage is taken in and not answered.
    holds: watch::Sender<bool>,
}

struct Inner {
    platform: PlatformId,
    revision: u64,
    changes: Vec<Change>,
    log: Vec<(u64, Vec<serde_json::Value>)>,
    acks: Vec<Ack>,
    watermarks: HashMap<(NodeId, String), u64>,
    gaps: u64,
    records: Vec<UsageRecord>,
    /// How many records have been applied.
    applied: u64,
    /// The highest sequence number that has come, applied or not.
    received: u64,
    only_counts: bool,
    /// Of the month of the last record.
    totals: HashMap<String, u64>,
    period: String,
    /// Whoever has had a quota.
    limited: HashSet<String>,
    snapshots_served: usize,
    log_batches: HashSet<String>,
    log_lines: Vec<LogLine>,
    refuses_logs: bool,
}

impl Control {
    pub async fn start(changes: Vec<Change>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let limited = limited(&changes);
        let state = Arc::new(State {
            inner: Mutex::new(Inner {
                platform: PlatformId::new(),
                revision: 1,
                changes,
                log: vec![],
                acks: vec![],
                watermarks: HashMap::new(),
                gaps: 0,
                records: vec![],
                applied: 0,
                received: 0,
                only_counts: false,
                totals: HashMap::new(),
                period: String::new(),
                limited,
                snapshots_served: 0,
                log_batches: HashSet::new(),
                log_lines: vec![],
                refuses_logs: false,
            }),
            frames: broadcast::Sender::new(64),
            up: AtomicBool::new(true),
            cuts: watch::Sender::new(0),
            holds: watch::Sender::new(false),
        });
        let task = tokio::spawn(accept(listener, state.clone()));
        Self { address, state, _task: AbortOnDropHandle::new(task) }
    }

    /// Commits one revision and streams it. Gives its number.
    pub fn change(&self, changes: Vec<Change>) -> u64 {
        let mut inner = self.state.inner.lock();
        let limited = limited(&changes);
        let used = inner.used(&limited);
        inner.limited.extend(limited);
        let values: Vec<_> = (used.iter().chain(&changes))
            .map(|change| serde_json::to_value(change).expect("JSON"))
            .collect();
        inner.revision += 1;
        let revision = inner.revision;
        inner.changes.extend(changes);
        inner.log.push((revision, values.clone()));
        let _ = self.state.frames.send(Frame::Delta { revision, changes: values });
        revision
    }

    pub fn totals(&self, totals: Vec<Total>) {
        let _ = self.state.frames.send(Frame::Totals { totals });
    }

    /// Takes it away, or brings it back.
    pub fn set_up(&self, up: bool) {
        self.state.up.store(up, Ordering::SeqCst);
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// As after a restore from a backup.
    pub fn go_back_to(&self, revision: u64, changes: Vec<Change>) {
        let mut inner = self.state.inner.lock();
        inner.revision = revision;
        inner.limited = limited(&changes);
        inner.changes = changes;
        inner.log.clear();
    }

    /// As after moving to another database.
    pub fn become_another(&self, revision: u64, changes: Vec<Change>) {
        self.go_back_to(revision, changes);
        self.state.inner.lock().platform = PlatformId::new();
    }

    pub fn acked(&self) -> u64 {
        self.state.inner.lock().acks.last().map_or(0, |ack| ack.revision)
    }

    pub fn last_ack(&self) -> Option<Ack> {
        self.state.inner.lock().acks.last().cloned()
    }

    pub fn records(&self) -> Vec<UsageRecord> {
        self.state.inner.lock().records.clone()
    }

    /// Sequence numbers that were skipped.
    pub fn gaps(&self) -> u64 {
        self.state.inner.lock().gaps
    }

    pub fn epochs(&self) -> usize {
        self.state.inner.lock().watermarks.len()
    }

    /// The lines of applications' logs, as they came.
    pub fn log_lines(&self) -> Vec<LogLine> {
        self.state.inner.lock().log_lines.clone()
    }

    /// Is of a release that knows no logs.
    pub fn refuse_logs(&self) {
        self.state.inner.lock().refuses_logs = true;
    }

    pub fn snapshots_served(&self) -> usize {
        self.state.inner.lock().snapshots_served
    }
}

#[allow(dead_code, reason = "for measurements")]
impl Control {
    /// From here on records are counted, and not kept.
    pub fn only_count(&self) {
        self.state.inner.lock().only_counts = true;
    }

    /// Records applied so far.
    pub fn applied(&self) -> u64 {
        self.state.inner.lock().applied
    }

    /// Records that have come so far from a proxy's one epoch, applied or not.
    pub fn received(&self) -> u64 {
        self.state.inner.lock().received
    }

    /// Leaves usage unanswered, or answers it again.
    pub fn hold_usage(&self, hold: bool) {
        self.state.holds.send_replace(hold);
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("accepting works");
        let state = state.clone();
        let mut cuts = state.cuts.subscribe();
        if !state.up.load(Ordering::SeqCst) {
            continue;
        }
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let state = state.clone();
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = serving => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

fn full(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed());
    *response.status_mut() = status;
    response
}

async fn answer(state: &Arc<State>, request: Request<Incoming>) -> Response<Body> {
    let authorised = request
        .headers()
        .get("authorization")
        .is_some_and(|value| value.as_bytes() == format!("Bearer {TOKEN}").as_bytes());
    if !authorised {
        return full(StatusCode::UNAUTHORIZED, "");
    }
    match request.uri().path() {
        "/node/v1/snapshot" => {
            let mut inner = state.inner.lock();
            inner.snapshots_served += 1;
            // There may be a million: without need none is copied.
            let changes = match inner.used(&inner.limited) {
                used if used.is_empty() => Cow::Borrowed(&inner.changes),
                used => Cow::Owned([used, inner.changes.clone()].concat()),
            };
            let (platform, revision) = (inner.platform.clone(), inner.revision);
            let header = Header { platform, revision, changes: changes.len() };
            full(StatusCode::OK, encode(&header, &changes))
        }
        "/node/v1/stream" => stream(state, request.uri().query().unwrap_or_default()),
        "/node/v1/ack" => {
            let body = request.collect().await.expect("a body").to_bytes();
            let ack: Ack = serde_json::from_slice(&body).expect("an ack");
            state.inner.lock().acks.push(ack);
            full(StatusCode::NO_CONTENT, "")
        }
        "/node/v1/usage" => {
            let body = request.collect().await.expect("a body").to_bytes();
            let header = body.split(|byte| *byte == b'\n').next().expect("a header");
            let header: BatchHeader = serde_json::from_slice(header).expect("a header");
            let last = header.first + header.count as u64 - 1;
            {
                let mut inner = state.inner.lock();
                inner.received = inner.received.max(last);
            }
            let _ = state.holds.subscribe().wait_for(|holds| !holds).await;
            let applied = apply(&mut state.inner.lock(), &body);
            full(StatusCode::OK, serde_json::to_vec(&applied).expect("JSON"))
        }
        "/node/v1/logs" => {
            let body = request.collect().await.expect("a body").to_bytes();
            let batch: LogBatch = serde_json::from_slice(&body).expect("a batch");
            let mut inner = state.inner.lock();
            let refused = inner.refuses_logs;
            if !refused && inner.log_batches.insert(batch.id.to_string()) {
                inner.log_lines.extend(batch.lines);
            }
            full(if refused { StatusCode::NOT_FOUND } else { StatusCode::NO_CONTENT }, "")
        }
        _ => full(StatusCode::NOT_FOUND, ""),
    }
}

fn stream(state: &Arc<State>, query: &str) -> Response<Body> {
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let from: u64 = query["revision"].parse().expect("a number");
    let inner = state.inner.lock();
    let receiver = state.frames.subscribe();
    let (platform, revision) = (inner.platform.clone(), inner.revision);
    let reaches = query["platform"] == platform.as_str()
        && from <= revision
        && (from == revision || inner.log.iter().any(|(first, _)| *first == from + 1));
    let mut first = Vec::new();
    if reaches {
        first.push(Frame::Hello { platform, revision });
        for (revision, changes) in inner.log.iter().filter(|(revision, _)| *revision > from) {
            first.push(Frame::Delta { revision: *revision, changes: changes.clone() });
        }
    } else {
        first.push(Frame::Reset { platform, revision });
    }
    drop(inner);
    let state = state.clone();
    let live =
        futures_util::stream::unfold((receiver, state), |(mut receiver, state)| async move {
            let next = tokio::time::timeout(Duration::from_millis(500), receiver.recv()).await;
            let frame = match next {
                Ok(Ok(frame)) => frame,
                Ok(Err(_)) => return None,
                Err(_) => Frame::Ping { revision: state.inner.lock().revision },
            };
            Some((frame, (receiver, state)))
        });
    let frames = futures_util::stream::iter(first);
    let lines = |frame: Frame| {
        let mut line = serde_json::to_vec(&frame).expect("JSON");
        line.push(b'\n');
        Ok::<_, Infallible>(hyper::body::Frame::data(Bytes::from(line)))
    };
    let body: Body = if reaches {
        BodyExt::boxed(StreamBody::new(SyncStream(Box::pin(frames.chain(live).map(lines)))))
    } else {
        BodyExt::boxed(StreamBody::new(frames.map(lines)))
    };
    Response::new(body)
}

/// A boxed stream that may be shared; it is only ever polled.
struct SyncStream<T>(std::pin::Pin<Box<dyn futures_util::Stream<Item = T> + Send + Sync>>);

impl<T> futures_util::Stream for SyncStream<T> {
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        self.0.as_mut().poll_next(context)
    }
}

/// Whose quotas the changes set: workspaces, applications and lines of keys.
fn limited(changes: &[Change]) -> HashSet<String> {
    let quotas = changes.iter().filter_map(|change| match change {
        Change::Workspace(it) => Some((it.quota?, it.id.as_str())),
        Change::Application(it) => Some((it.quota?, it.id.as_str())),
        Change::Key(it) => Some((it.quota?, it.bucket.as_str())),
        _ => None,
    });
    quotas.map(|(_, subject)| subject.to_owned()).collect()
}

impl Inner {
    /// What has been used of these subjects' quotas.
    fn used(&self, subjects: &HashSet<String>) -> Vec<Change> {
        let total = |subject: &String| {
            let used = *self.totals.get(subject)?;
            let (subject, period) = (subject.clone(), self.period.clone());
            Some(Change::Used(Total { subject, period, used, applied: 0 }))
        };
        subjects.iter().filter_map(total).collect()
    }
}

/// Applies a batch exactly once, as the real one does in a transaction.
fn apply(inner: &mut Inner, body: &[u8]) -> Applied {
    let mut lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let header: BatchHeader =
        serde_json::from_slice(lines.next().expect("a header")).expect("a header");
    let records: Vec<UsageRecord> =
        lines.map(|line| serde_json::from_slice(line).expect("a record")).collect();
    assert_eq!(records.len(), header.count);
    let key = (header.node, header.epoch.to_string());
    let watermark = inner.watermarks.get(&key).copied().unwrap_or(0);
    inner.gaps += header.first.saturating_sub(watermark + 1);
    let mut newly: HashMap<String, u64> = HashMap::new();
    let mut last = watermark;
    let mut latest = inner.records.last().map_or(0, |record| record.at);
    for (sequence, record) in (header.first..).zip(records) {
        last = last.max(sequence);
        if sequence <= watermark {
            continue;
        }
        let bucket = record.bucket.as_ref().unwrap_or(&record.key);
        let subjects = [record.workspace.as_str(), record.application.as_str(), bucket.as_str()];
        for subject in subjects {
            *newly.entry(subject.to_owned()).or_default() += u64::from(record.units);
        }
        latest = record.at;
        inner.applied += 1;
        if !inner.only_counts {
            inner.records.push(record);
        }
    }
    inner.watermarks.insert(key, last);
    let latest = chrono::DateTime::from_timestamp_millis(latest).expect("in range");
    if !newly.is_empty() {
        inner.period = authsome_shared::clock::period_of(latest);
    }
    for (subject, applied) in &newly {
        *inner.totals.entry(subject.clone()).or_default() += applied;
    }
    let limited = &inner.limited;
    let told = |subject: &str| !subject.starts_with(KeyId::PREFIX) || limited.contains(subject);
    let told = newly.into_iter().filter(|(subject, _)| told(subject));
    let totals = told.map(|(subject, applied)| {
        let used = inner.totals[&subject];
        Total { subject, period: inner.period.clone(), used, applied }
    });
    Applied { watermark: last, totals: totals.collect() }
}
