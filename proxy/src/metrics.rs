//! What is counted, in a registry of this proxy's own. Labels are few and fixed: neither
//! applications nor keys nor paths are among them.

mod process;
mod upstream;

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

pub use process::Process;
pub use upstream::Upstream;

pub struct Metrics {
    registry: Registry,
    /// By the error's code, or the class of the upstream's status.
    pub requests: IntCounterVec,
    /// The whole of a request, in seconds.
    pub duration: Histogram,
    /// Our part before the upstream is asked, in seconds.
    pub admission: Histogram,
    pub connections: IntGauge,
    /// By the bound that was reached.
    pub connections_refused: IntCounterVec,
    pub tls_handshake_failures: IntCounter,
    pub tls_reload_failures: IntCounter,
    pub upstream_errors: IntCounterVec,
    pub upstream: Upstream,
    pub revision: IntGauge,
    /// Revisions that the control plane is ahead.
    pub lag: IntGauge,
    pub connected: IntGauge,
    pub sync_failures: IntCounter,
    pub quarantined: IntGauge,
    pub journal_bytes: IntGauge,
    pub unshipped: IntGauge,
    pub ledger_lost: IntCounter,
    pub access_log_dropped: IntCounter,
    pub process: Process,
}

impl Metrics {
    pub fn new() -> anyhow::Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let counters = |name: &str, help: &str, label: &str| -> prometheus::Result<IntCounterVec> {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let histogram =
            |name: &str, help: &str, buckets: &[f64]| -> prometheus::Result<Histogram> {
                let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
                let histogram = Histogram::with_opts(opts)?;
                registry.register(Box::new(histogram.clone()))?;
                Ok(histogram)
            };
        let metrics = Self {
            requests: counters(
                "authsome_proxy_requests_total",
                "Requests answered, by error code or status class",
                "outcome",
            )?,
            duration: histogram(
                "authsome_proxy_request_seconds",
                "From a request's head to its response's end",
                &[
                    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
                    10.0, 30.0, 60.0,
                ],
            )?,
            admission: histogram(
                "authsome_proxy_admission_seconds",
                "From a request's head to the decision about it",
                &[0.000_005, 0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.01],
            )?,
            connections: gauge("authsome_proxy_connections", "Client connections that are open")?,
            connections_refused: counters(
                "authsome_proxy_connections_refused_total",
                "Client connections closed at once, by the limit that was reached",
                "limit",
            )?,
            tls_handshake_failures: counter(
                "authsome_proxy_tls_handshake_failures_total",
                "TLS handshakes that failed or took too long",
            )?,
            tls_reload_failures: counter(
                "authsome_proxy_tls_reload_failures_total",
                "Changed certificates that could not be used",
            )?,
            upstream_errors: counters(
                "authsome_proxy_upstream_errors_total",
                "Upstream failures, by kind",
                "kind",
            )?,
            upstream: Upstream::new(&registry)?,
            revision: gauge("authsome_proxy_snapshot_revision", "Revision that is served")?,
            lag: gauge("authsome_proxy_config_lag_revisions", "Revisions known but not applied")?,
            connected: gauge("authsome_proxy_control_connected", "1 while the stream is open")?,
            sync_failures: counter("authsome_proxy_sync_failures_total", "Streams that failed")?,
            quarantined: gauge(
                "authsome_proxy_quarantined_entities",
                "Configuration entities that could not be read or served",
            )?,
            journal_bytes: gauge("authsome_proxy_journal_bytes", "Size of the usage journal")?,
            unshipped: gauge(
                "authsome_proxy_journal_unshipped_records",
                "Usage records that the control plane has not confirmed",
            )?,
            ledger_lost: counter(
                "authsome_proxy_ledger_lost_records_total",
                "Usage records that could not be written",
            )?,
            access_log_dropped: counter(
                "authsome_proxy_access_log_dropped_total",
                "Access log lines dropped because the writer was behind",
            )?,
            process: Process::new(&registry)?,
            registry,
        };
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
        metrics.requests.with_label_values(&["2xx"]).inc();
        let text = String::from_utf8(metrics.text()).expect("text");
        assert!(text.contains("authsome_proxy_requests_total{outcome=\"2xx\"} 1"), "{text}");
    }
}
