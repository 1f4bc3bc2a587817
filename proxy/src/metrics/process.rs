//! What is counted of the process itself: its settings and its successors.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

pub struct Process {
    /// By result.
    pub reloads: IntCounterVec,
    /// Seconds since the epoch.
    pub reloaded_at: IntGauge,
    /// By result, as far as this process took part.
    pub upgrades: IntCounterVec,
}

impl Process {
    pub fn new(registry: &Registry) -> anyhow::Result<Self> {
        let results = |name: &str, help: &str, bad: &str| -> prometheus::Result<IntCounterVec> {
            let counters = IntCounterVec::new(Opts::new(name, help), &["result"])?;
            registry.register(Box::new(counters.clone()))?;
            // Both are there from the start, so that an alert sees the first.
            for result in ["succeeded", bad] {
                counters.with_label_values(&[result]);
            }
            Ok(counters)
        };
        let reloaded_at = IntGauge::new(
            "authsome_proxy_config_last_reload_success_timestamp_seconds",
            "When settings were last taken up, at the start or by a reload",
        )?;
        registry.register(Box::new(reloaded_at.clone()))?;
        Ok(Self {
            reloads: results(
                "authsome_proxy_config_reloads_total",
                "Reloads of the settings, by result",
                "refused",
            )?,
            reloaded_at,
            upgrades: results(
                "authsome_proxy_upgrades_total",
                "Upgrades that this process tried and failed, or that began it",
                "failed",
            )?,
        })
    }
}
