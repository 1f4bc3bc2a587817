//! Answers to what never becomes a request for the engine: the same envelope, request id, metric
//! and access log line as any other refusal, written by hand. What is wrong is for `head` to say.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use authsome_shared::clock::Clock;
use authsome_shared::id::RequestId;
use chrono::SecondsFormat;

use crate::access_log::{AccessLog, Line};
use crate::denied::Cause;
use crate::metrics::Metrics;

#[derive(Clone)]
pub struct Refusals {
    pub metrics: Arc<Metrics>,
    pub access_log: Arc<AccessLog>,
    pub clock: Clock,
}

impl Refusals {
    /// Counts and logs a refusal. Gives the bytes that tell the client.
    pub fn tell(&self, cause: &Cause, peer: SocketAddr) -> Vec<u8> {
        let id = RequestId::new();
        let answer = cause.answer(id.as_str());
        let status = answer.code.status();
        self.metrics.requests.with_label_values(&[answer.code.as_str()]).inc();
        if self.access_log.is_on() {
            self.access_log.log(Line {
                time: self.clock.now().to_rfc3339_opts(SecondsFormat::Micros, true),
                request_id: id.to_string(),
                application: None,
                key: None,
                // What could not be read is not repeated: it may hold a key anywhere.
                method: "-".into(),
                path: "-".into(),
                status,
                code: Some(answer.code.as_str()),
                latency_us: 0,
                upstream_us: None,
                bytes_in: 0,
                bytes_out: answer.body.len() as u64,
                client: peer.ip().to_string(),
            });
        }
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
}
