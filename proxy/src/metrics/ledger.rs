//! What is counted of the usage ledger.

use prometheus::{IntCounter, IntGauge, Registry};

use super::register::Register;

pub struct Ledger {
    pub bytes: IntGauge,
    /// `ledger.max_bytes`.
    pub max_bytes: IntGauge,
    pub unshipped: IntGauge,
    /// Seconds since the oldest unconfirmed record was made.
    pub lag: IntGauge,
    pub batches: IntCounter,
    pub ship_failures: IntCounter,
    pub lost: IntCounter,
}

impl Ledger {
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let register = Register(registry);
        Ok(Self {
            bytes: register.gauge("authsome_proxy_journal_bytes", "Size of the usage journal")?,
            max_bytes: register.gauge(
                "authsome_proxy_journal_max_bytes",
                "Size that the usage journal may have",
            )?,
            unshipped: register.gauge(
                "authsome_proxy_journal_unshipped_records",
                "Usage records that the control plane has not confirmed",
            )?,
            lag: register.gauge(
                "authsome_proxy_ledger_lag_seconds",
                "Age of the oldest usage record that the control plane has not confirmed",
            )?,
            batches: register.counter(
                "authsome_proxy_ledger_batches_total",
                "Batches of usage records that the control plane has confirmed",
            )?,
            ship_failures: register.counter(
                "authsome_proxy_ledger_ship_failures_total",
                "Attempts to ship a batch that failed; each is made again",
            )?,
            lost: register.counter(
                "authsome_proxy_ledger_lost_records_total",
                "Usage records that could not be written",
            )?,
        })
    }
}
