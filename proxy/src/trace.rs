//! Traces. A valid W3C trace context that came with a request is always passed on, an invalid one
//! never. With `tracing.endpoint` set the proxy also takes part: it begins a trace where none came,
//! and records a server and a client span of those that are sampled (as the parent says, else by
//! ratio), which `export` sends to a collector. Nothing here waits for anything, and nothing that
//! happens to a collector happens to a request.

pub mod context;
pub mod export;
mod otlp;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use authsome_shared::id::RequestId;
use http::{HeaderMap, HeaderValue};
use tokio::sync::mpsc::Sender;

use crate::access_log::sample::{draw_of, is_drawn};
use crate::config::Tracing;
use crate::metrics::Metrics;
use context::{Parent, SAMPLED};
pub use otlp::{Attempt, Recorded};

/// The trace that a request is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    pub id: u128,
    flags: u8,
    /// The caller's span.
    parent: Option<u64>,
    /// The upstream is told this client span instead of what came.
    told: Option<u64>,
    /// Our server span, when the trace is recorded.
    server: Option<u64>,
    /// What came as `tracestate` can be passed on.
    state: bool,
}

impl Trace {
    pub fn is_recorded(&self) -> bool {
        self.server.is_some()
    }

    /// The id's text.
    pub fn text(&self) -> String {
        format!("{:032x}", self.id)
    }
}

/// What the upstream's request says of the trace.
#[derive(Debug)]
pub struct Told {
    /// Instead of the `traceparent` that came.
    pub parent: Option<HeaderValue>,
    keeps_parent: bool,
    keeps_state: bool,
}

impl Told {
    pub fn of(trace: Option<&Trace>) -> Self {
        let parent = trace.and_then(|trace| {
            let span = trace.told?;
            Some(Parent { trace: trace.id, span, flags: trace.flags }.header())
        });
        Self {
            keeps_parent: trace.is_some() && parent.is_none(),
            keeps_state: trace.is_some_and(|trace| trace.state),
            parent,
        }
    }

    /// Does a field that came with this name pass?
    pub fn keeps(&self, name: &str) -> bool {
        match name {
            "traceparent" => self.keeps_parent,
            "tracestate" => self.keeps_state,
            _ => true,
        }
    }
}

/// Whether and how this proxy takes part in traces.
pub struct Tracer {
    /// The part of traces that is recorded.
    ratio: f64,
    /// Of a trace that came, its sampled flag decides.
    follow: bool,
    /// Makes span ids: random keys, then the request's id.
    ids: RandomState,
    /// `None`: it only passes on.
    spans: Option<Sender<Recorded>>,
    metrics: Arc<Metrics>,
}

impl Tracer {
    fn new(settings: &Tracing, spans: Option<Sender<Recorded>>, metrics: Arc<Metrics>) -> Self {
        let (ratio, follow) = (settings.ratio, settings.follow_callers);
        Self { ratio, follow, ids: RandomState::new(), spans, metrics }
    }

    /// Does it begin traces?
    pub fn is_on(&self) -> bool {
        self.spans.is_some()
    }

    /// The trace of a request with these headers, if it is part of one.
    pub fn join(&self, headers: &HeaderMap, request: &RequestId) -> Option<Trace> {
        let parent = Parent::find(headers);
        let on = self.is_on();
        let Some(parent) = parent else {
            return on.then(|| self.begin(request));
        };
        let sampled = if self.follow {
            parent.is_sampled()
        } else {
            is_drawn(draw_of(Some(parent.trace), ""), self.ratio)
        };
        let recorded = on && sampled;
        Some(Trace {
            id: parent.trace,
            // Told only when it is recorded.
            flags: parent.flags | SAMPLED,
            parent: Some(parent.span),
            told: recorded.then(|| self.span(request, "client")),
            server: recorded.then(|| self.span(request, "server")),
            state: context::state_is_valid(headers),
        })
    }

    /// A new trace. Its id is a keyed hash of the request's, which nobody can foresee.
    fn begin(&self, request: &RequestId) -> Trace {
        let half = |name: &str| u128::from(self.ids.hash_one((request.as_str(), name)));
        let id = (half("upper") << 64 | half("lower")).max(1);
        let recorded = is_drawn(draw_of(Some(id), ""), self.ratio);
        Trace {
            id,
            flags: if recorded { SAMPLED } else { 0 },
            parent: None,
            told: Some(self.span(request, "client")),
            server: recorded.then(|| self.span(request, "server")),
            state: false,
        }
    }

    fn span(&self, request: &RequestId, kind: &str) -> u64 {
        self.ids.hash_one((request.as_str(), kind)).max(1)
    }

    /// Hands a finished request to the exporter; counts it as dropped when that is behind.
    pub fn record(&self, recorded: Recorded) {
        if let Some(spans) = &self.spans {
            let count = recorded.spans();
            if spans.try_send(recorded).is_err() {
                self.metrics.report.spans_dropped.inc_by(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn tracer(ratio: f64, on: bool) -> (Tracer, Option<tokio::sync::mpsc::Receiver<Recorded>>) {
        let metrics = Arc::new(Metrics::new().expect("registered once"));
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let settings = Tracing { ratio, ..Tracing::default() };
        (Tracer::new(&settings, on.then_some(sender), metrics), on.then_some(receiver))
    }

    fn headers(parent: &'static str, state: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static(parent));
        headers.insert("tracestate", HeaderValue::from_static(state));
        headers
    }

    fn passed(trace: Option<&Trace>, came: &HeaderMap) -> (Option<String>, Option<String>) {
        let told = Told::of(trace);
        let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        let kept = |name| came.get(name).filter(|_| told.keeps(name)).map(text);
        (told.parent.as_ref().map(text).or_else(|| kept("traceparent")), kept("tracestate"))
    }

    const SAMPLED_PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const OTHER_PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn without_a_collector_what_is_valid_passes_untouched_and_nothing_begins() {
        let (tracer, _) = tracer(1.0, false);
        let id = RequestId::new();
        let came = headers(SAMPLED_PARENT, "a=1");
        let trace = tracer.join(&came, &id).expect("valid");
        assert!(!trace.is_recorded());
        assert_eq!(trace.text(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let (parent, state) = passed(Some(&trace), &came);
        assert_eq!((parent.as_deref(), state.as_deref()), (Some(SAMPLED_PARENT), Some("a=1")));

        let came = headers(SAMPLED_PARENT, "no member");
        let trace = tracer.join(&came, &id).expect("valid");
        let (parent, state) = passed(Some(&trace), &came);
        assert_eq!((parent.as_deref(), state), (Some(SAMPLED_PARENT), None));

        let came = headers("00-nonsense", "a=1");
        assert_eq!(tracer.join(&came, &id), None);
        assert_eq!(passed(None, &came), (None, None));
        assert_eq!(tracer.join(&HeaderMap::new(), &id), None);
    }

    #[test]
    fn with_a_collector_a_sampled_parent_is_followed_and_our_span_is_told() {
        let (tracer, _receiver) = tracer(0.0, true);
        let id = RequestId::new();
        let came = headers(SAMPLED_PARENT, "a=1");
        let trace = tracer.join(&came, &id).expect("valid");
        assert!(trace.is_recorded());
        let (parent, state) = passed(Some(&trace), &came);
        let told = Parent::parse(parent.expect("told").as_bytes()).expect("valid");
        assert_eq!((told.trace, Some(told.span)), (trace.id, trace.told));
        assert!(told.is_sampled() && told.span != 0x00f0_67aa_0ba9_02b7);
        assert_eq!(state.as_deref(), Some("a=1"));

        let came = headers(OTHER_PARENT, "a=1");
        let trace = tracer.join(&came, &id).expect("valid");
        assert!(!trace.is_recorded());
        assert_eq!(passed(Some(&trace), &came).0.as_deref(), Some(OTHER_PARENT));
    }

    #[test]
    fn where_callers_are_not_followed_the_ratio_alone_decides() {
        for (ratio, parent, recorded) in
            [(0.0, SAMPLED_PARENT, false), (1.0, OTHER_PARENT, true), (1.0, SAMPLED_PARENT, true)]
        {
            let (mut tracer, _receiver) = tracer(ratio, true);
            tracer.follow = false;
            let came = headers(parent, "a=1");
            let trace = tracer.join(&came, &RequestId::new()).expect("valid");
            assert_eq!(trace.is_recorded(), recorded, "{parent} at {ratio}");
            let told = passed(Some(&trace), &came).0.expect("told");
            if recorded {
                let told = Parent::parse(told.as_bytes()).expect("valid");
                assert_eq!((told.trace, told.is_sampled()), (trace.id, true));
            } else {
                assert_eq!(told, parent);
            }
        }
    }

    #[test]
    fn a_trace_that_begins_here_says_whether_it_is_sampled() {
        for (ratio, sampled) in [(0.0, false), (1.0, true)] {
            let (tracer, _receiver) = tracer(ratio, true);
            let id = RequestId::new();
            let trace = tracer.join(&HeaderMap::new(), &id).expect("begun");
            assert_eq!(trace.is_recorded(), sampled);
            let came = HeaderMap::new();
            let told = passed(Some(&trace), &came).0.expect("told");
            let told = Parent::parse(told.as_bytes()).expect("valid");
            assert_eq!((told.trace, told.is_sampled()), (trace.id, sampled));
            let other = tracer.join(&HeaderMap::new(), &RequestId::new()).expect("begun");
            assert_ne!(trace.id, other.id);
        }
    }
}
