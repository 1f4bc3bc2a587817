//! The load: callers that each ask again as soon as they are answered (`closed`), or at a fixed
//! rate whatever the answers take (`steady`). It counts, and takes each call's time; what a figure
//! means is for who asked.

pub mod closed;
pub mod http1;
mod http2;
pub mod steady;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

/// How calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Http1,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 over TLS.
    Http2,
}

/// What each call asks.
#[derive(Clone)]
pub struct Load {
    pub wire: Wire,
    pub address: SocketAddr,
    pub tls: Arc<ClientConfig>,
    pub keys: Arc<[String]>,
    pub path: String,
    /// Bytes of a `POST`'s body; 0: a `GET`.
    pub body: usize,
    pub connections: usize,
    /// What a caller over HTTP/1 waits for after an answer; callers begin spread over it.
    pub pause: Duration,
    /// The only status that is right.
    pub status: u16,
}

/// What came of calls.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Over which it was counted.
    pub time: Duration,
    /// Whole answers.
    pub answers: u64,
    pub statuses: BTreeMap<u16, u64>,
    /// Calls without a whole answer, and connections that could not be made.
    pub failures: u64,
    /// Connections that were closed after an answer.
    pub closed: u64,
    /// Bytes of bodies, both ways.
    pub body_bytes: u64,
    /// Of each call, in nanoseconds; sorted.
    pub latencies: Vec<u32>,
}

impl Outcome {
    pub fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.failures += other.failures;
        self.closed += other.closed;
        self.body_bytes += other.body_bytes;
        self.latencies.extend(other.latencies);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
    }

    fn answered(&mut self, status: u16, took: Duration, body: usize) {
        self.answers += 1;
        *self.statuses.entry(status).or_default() += 1;
        self.body_bytes += body as u64;
        self.latencies.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
    }

    /// Answers a second.
    pub fn rate(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a count of what was seen")]
        let answers = self.answers as f64;
        answers / self.time.as_secs_f64()
    }

    /// Whether something else came than was asked for.
    pub fn fault(&self, status: u16) -> Option<String> {
        let other: Vec<String> = self
            .statuses
            .iter()
            .filter(|(found, _)| **found != status)
            .map(|(found, count)| format!("{count} × {found}"))
            .collect();
        if self.answers == 0 {
            Some("nothing was answered".to_owned())
        } else if !other.is_empty() {
            Some(format!("wrong answers: {}", other.join(", ")))
        } else if self.failures > 0 {
            Some(format!("{} calls failed", self.failures))
        } else {
            None
        }
    }
}

/// Small, fast, and the same each time.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Below `bound`, which is above 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // xorshift64 (Marsaglia, 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap_or(0)
    }
}
