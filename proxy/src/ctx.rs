//! What is remembered of one request between the engine's phases.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use authsome_shared::code::Code;
use authsome_shared::id::RequestId;
use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::admit::Admitted;
use crate::denied::{Cause, Presented};
use crate::gateway::names::Marks;
use crate::limit::{Level, rate};
use crate::listener::pace::Pace;
use crate::snapshot::Snapshot;
use crate::snapshot::entity::{Application, Key};
use crate::trace::Trace;
use crate::upstream::Choice;
use crate::upstream::silence::Watch;

/// Whether an admitted request is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    Due,
    /// To be committed by this number.
    Noted(u64),
    Done,
}

pub struct Ctx {
    pub started: Instant,
    /// The same by the clock, in microseconds since the epoch: it is read once, and what happens
    /// later is so much later.
    pub came: i64,
    pub id: RequestId,
    /// What is among the request's fields.
    pub marks: Marks,
    /// The client's address, as it is told.
    pub client: Option<HeaderValue>,
    pub peer: Option<SocketAddr>,
    /// One request, one configuration.
    pub snapshot: Option<Arc<Snapshot>>,
    pub application: Option<Arc<Application>>,
    pub key: Option<Arc<Key>>,
    /// A well-formed key that was refused.
    pub presented: Option<Presented>,
    pub trace: Option<Trace>,
    /// Where the rate limit stood, and when that was (nanoseconds since the epoch).
    pub rate: Option<(rate::State, u64)>,
    /// Whose rate limit that is.
    pub level: Option<Level>,
    /// Set once the request has been counted; from then on it is recorded exactly once.
    pub admitted: Option<Admitted>,
    pub record: Record,
    pub choice: Option<Choice>,
    /// The exchange with the upstream is made without the engine's.
    pub plain: bool,
    /// Over the attempt's connection, where the application's time-outs need one.
    pub watch: Option<Watch>,
    /// The next attempt's peer, when it is known already.
    pub next_peer: Option<Box<HttpPeer>>,
    /// Why the request fails, when it is we who ended it.
    pub failure: Option<Cause>,
    /// What the client was told; 0 before that.
    pub status: u16,
    pub code: Option<Code>,
    /// Why it was refused or failed, once that is told.
    pub cause: Option<Cause>,
    pub bytes_in: u64,
    /// The whole request has been read.
    pub asked: bool,
    /// How fast its body comes, where `listener` can't tell: over HTTP/2.
    pub pace: Option<Pace>,
    pub bytes_out: u64,
    /// The response says where it ends, by a length or chunks.
    pub framed: bool,
    /// The response's announced length.
    pub expected_out: Option<u64>,
    /// The end user that the upstream named.
    pub user: Option<String>,
    pub admission_us: Option<u64>,
    pub upstream_started: Option<Instant>,
    /// The last attempt's.
    pub attempt_started: Option<Instant>,
    pub connected: Option<Instant>,
    pub upstream_us: Option<u64>,
    /// Held until everything is said and recorded.
    pub under_way: Option<TaskTrackerToken>,
}

impl Ctx {
    /// Of a request that came now.
    pub fn new(now: i64, under_way: TaskTrackerToken) -> Self {
        Self {
            started: Instant::now(),
            came: now,
            id: RequestId::at(now),
            marks: Marks::default(),
            client: None,
            peer: None,
            snapshot: None,
            application: None,
            key: None,
            presented: None,
            trace: None,
            rate: None,
            level: None,
            admitted: None,
            record: Record::Due,
            choice: None,
            plain: false,
            watch: None,
            next_peer: None,
            failure: None,
            status: 0,
            code: None,
            cause: None,
            bytes_in: 0,
            asked: false,
            pace: None,
            bytes_out: 0,
            framed: false,
            expected_out: None,
            user: None,
            admission_us: None,
            upstream_started: None,
            attempt_started: None,
            connected: None,
            upstream_us: None,
            under_way: Some(under_way),
        }
    }
}
