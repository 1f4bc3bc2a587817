//! What is counted, in a registry of this proxy's own. Labels are few and fixed: neither
//! applications nor keys nor paths are among them. `docs/metrics.md` is the operator's list of all
//! of it, held equal to what is exposed by a test.

pub mod label;
mod latency;
mod ledger;
mod outcome;
mod process;
mod rate_limit;
mod register;
mod report;
mod strict;
mod upstream;

use prometheus::{
    Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::denied::kind::Kind;
use label::Counters;
pub use latency::Latency;
use ledger::Ledger;
pub use outcome::Outcome;
pub use process::Process;
pub use rate_limit::{Mode, RateLimits};
use register::Register;
pub use report::Dropped;
use report::Report;
pub use strict::Strict;
pub use upstream::{Fault, Retry, Upstream};

pub struct Metrics {
    registry: Registry,
    /// By the error's code, or the class of the upstream's status.
    pub requests: Counters<Outcome>,
    /// Refused and failed requests, by cause.
    pub denials: Counters<Kind>,
    pub rate_limits: RateLimits,
    /// How long things take.
    pub latency: Latency,
    pub connections: IntGauge,
    /// By the bound that was reached.
    pub connections_refused: IntCounterVec,
    /// Told later than they could have been.
    pub refusals_held: IntCounter,
    pub tls_handshake_failures: IntCounter,
    pub tls_reload_failures: IntCounter,
    pub upstream_errors: Counters<Fault>,
    pub upstream: Upstream,
    pub strict: Strict,
    pub revision: IntGauge,
    /// Revisions that the control plane is ahead.
    pub lag: IntGauge,
    pub connected: IntGauge,
    /// Proxies that share the rate limits.
    pub fleet: IntGauge,
    /// Epoch second of the last word from the control plane.
    pub heard: IntGauge,
    /// Epoch second at which the served revision was applied.
    pub applied: IntGauge,
    pub sync_failures: IntCounter,
    pub quarantined: IntGauge,
    pub ledger: Ledger,
    pub report: Report,
    pub ready: IntGauge,
    /// Epoch second.
    pub started: IntGauge,
    pub process: Process,
}

impl Metrics {
    pub fn new() -> anyhow::Result<Self> {
        let registry = Registry::new();
        let register = Register(&registry);
        let metrics = Self {
            requests: Counters::new(
                &registry,
                "authsome_proxy_requests_total",
                "Requests answered, by error code or status class",
                "outcome",
            )?,
            denials: Counters::new(
                &registry,
                "authsome_proxy_denials_total",
                "Requests refused or failed, by cause",
                "cause",
            )?,
            rate_limits: RateLimits::new(&registry)?,
            latency: Latency::new(&registry)?,
            connections: register
                .gauge("authsome_proxy_connections", "Client connections that are open")?,
            connections_refused: register.counters(
                "authsome_proxy_connections_refused_total",
                "Client connections closed at once, by the limit that was reached",
                "limit",
            )?,
            refusals_held: register.counter(
                "authsome_proxy_refusals_held_total",
                "Refusals held back on connections with too many in a row",
            )?,
            tls_handshake_failures: register.counter(
                "authsome_proxy_tls_handshake_failures_total",
                "TLS handshakes that failed or took too long",
            )?,
            tls_reload_failures: register.counter(
                "authsome_proxy_tls_reload_failures_total",
                "Changed certificates that could not be used",
            )?,
            upstream_errors: Counters::new(
                &registry,
                "authsome_proxy_upstream_errors_total",
                "Upstream failures, by kind",
                "kind",
            )?,
            upstream: Upstream::new(&registry)?,
            strict: Strict::new(&registry)?,
            revision: register
                .gauge("authsome_proxy_snapshot_revision", "Revision that is served")?,
            lag: register
                .gauge("authsome_proxy_config_lag_revisions", "Revisions known but not applied")?,
            connected: register
                .gauge("authsome_proxy_control_connected", "1 while the stream is open")?,
            fleet: register.gauge(
                "authsome_proxy_fleet_proxies",
                "Proxies that share the rate limits, this one included",
            )?,
            heard: register.gauge(
                "authsome_proxy_control_last_heard_timestamp_seconds",
                "When the control plane was last heard, since the epoch; 0: never",
            )?,
            applied: register.gauge(
                "authsome_proxy_config_last_applied_timestamp_seconds",
                "When a configuration was last applied, since the epoch; 0: not since the start",
            )?,
            sync_failures: register
                .counter("authsome_proxy_sync_failures_total", "Streams that failed")?,
            quarantined: register.gauge(
                "authsome_proxy_quarantined_entities",
                "Configuration entities that could not be read or served",
            )?,
            ledger: Ledger::new(&registry)?,
            report: Report::new(&registry)?,
            ready: register.gauge("authsome_proxy_ready", "1 while /ready answers 200")?,
            started: register.gauge(
                "authsome_proxy_start_time_seconds",
                "When this proxy started, since the epoch",
            )?,
            process: Process::new(&registry)?,
            registry,
        };
        let options = Opts::new("authsome_proxy_build_info", "1, with the version as a label");
        let build = IntGaugeVec::new(options, &["version"])?;
        build.with_label_values(&[crate::VERSION]).set(1);
        metrics.registry.register(Box::new(build))?;
        for limit in ["total", "address"] {
            let _ = metrics.connections_refused.with_label_values(&[limit]);
        }
        #[cfg(target_os = "linux")]
        metrics
            .registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// The Prometheus text format.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics can't be written");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_as_text() {
        let metrics = Metrics::new().expect("no name is taken twice");
        metrics.requests.inc(Outcome::Success);
        let text = String::from_utf8(metrics.text()).expect("text");
        assert!(text.contains("authsome_proxy_requests_total{outcome=\"2xx\"} 1"), "{text}");
    }
}
