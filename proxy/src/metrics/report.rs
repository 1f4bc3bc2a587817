//! What is counted of the reports on requests themselves: logs, recent decisions, traces.

use prometheus::{IntCounter, IntGauge, Registry};

use super::label::{Counters, label};
use super::register::Register;

label! {
    /// Why a line for an application's log is not told.
    Dropped {
        /// More in a second than there may be.
        Rate => "rate",
        /// The control plane is away.
        Away => "away",
        /// The control plane did not take it.
        Refused => "refused",
    }
}

pub struct Report {
    pub log_lines: IntCounter,
    pub log_dropped: IntCounter,
    pub application_log_lines: IntCounter,
    pub application_log_dropped: Counters<Dropped>,
    pub decisions_bytes: IntGauge,
    pub spans_exported: IntCounter,
    pub spans_dropped: IntCounter,
}

impl Report {
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let register = Register(registry);
        Ok(Self {
            application_log_lines: register.counter(
                "authsome_proxy_application_log_lines_total",
                "Lines for applications' logs that the control plane took",
            )?,
            application_log_dropped: Counters::new(
                registry,
                "authsome_proxy_application_log_dropped_total",
                "Lines for applications' logs that are not told, by reason",
                "reason",
            )?,
            log_lines: register.counter(
                "authsome_proxy_access_log_lines_total",
                "Access log lines handed to the writer",
            )?,
            log_dropped: register.counter(
                "authsome_proxy_access_log_dropped_total",
                "Access log lines dropped because the writer was behind",
            )?,
            decisions_bytes: register.gauge(
                "authsome_proxy_decisions_bytes",
                "Size of the recent decisions that are kept for `authsome explain`",
            )?,
            spans_exported: register.counter(
                "authsome_proxy_spans_exported_total",
                "Trace spans that the collector took",
            )?,
            spans_dropped: register.counter(
                "authsome_proxy_spans_dropped_total",
                "Trace spans dropped because the collector was away or behind",
            )?,
        })
    }
}
