//! Answers to what never becomes a request for the engine: the same envelope, request id, metric
//! and access log line as any other refusal, written by hand. What is wrong is for `head` to say.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use authsome_shared::clock::Clock;
use authsome_shared::id::RequestId;

use crate::access_log::sample::{End, draw_of};
use crate::decision::{Decision, Text};
use crate::denied::Cause;
use crate::denied::kind::Kind;
use crate::metrics::label::Label;
use crate::metrics::{Metrics, Outcome};
use crate::reports::Reports;

#[derive(Clone)]
pub struct Refusals {
    pub metrics: Arc<Metrics>,
    pub reports: Arc<Reports>,
    pub clock: Clock,
}

impl Refusals {
    /// Counts and logs a refusal. Gives the bytes that tell the client.
    pub fn tell(&self, cause: &Cause, peer: SocketAddr) -> Vec<u8> {
        let id = RequestId::new();
        let answer = cause.answer(&id);
        let status = answer.code.status();
        self.metrics.requests.inc(Outcome::of(Some(answer.code), status));
        self.metrics.denials.inc(Kind::of(cause));
        self.keep(cause, &id, peer, answer.body.len() as u64);
        let reason = http::StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason());
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason.unwrap_or("Refused"));
        let date = self.clock.now().format("%a, %d %b %Y %H:%M:%S GMT");
        let _ = write!(
            head,
            "Date: {date}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nX-AuthSome-Request-ID: {id}\r\nConnection: close\r\n\r\n",
            answer.body.len(),
        );
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&answer.body);
        bytes
    }
    /// Logs and remembers it.
    fn keep(&self, cause: &Cause, id: &RequestId, peer: SocketAddr, bytes_out: u64) {
        let code = cause.code();
        let end = End { status: code.status(), ours: true, latency_us: 0 };
        let sample = self.reports.access_log.sample(end, || draw_of(None, id.as_bytes()));
        let logged = sample.is_some();
        let mut bytes = Vec::with_capacity(128);
        Decision {
            time: self.clock.now().timestamp_micros(),
            request_id: id.as_bytes().into(),
            // What could not be read is not repeated: it may hold a key anywhere.
            method: "-".into(),
            path: "-".into(),
            client: peer.ip().to_string().into(),
            status: code.status(),
            code: Some(code.as_str().into()),
            cause: Some(Kind::of(cause).as_str().into()),
            detail: cause.detail().map(Text::from),
            bytes_out,
            sample,
            ..Decision::default()
        }
        .write(&mut bytes);
        self.reports.recent.keep(id.as_bytes(), true, &bytes);
        if logged {
            self.reports.access_log.log(bytes);
        }
    }
}
