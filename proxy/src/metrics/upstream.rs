//! What is counted of upstreams: sums over all applications, because their number has no bound.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::label::{Counters, label};

label! {
    /// Where an attempt failed.
    Fault {
        /// No address that may be connected to.
        Address => "address",
        Connect => "connect",
        Exchange => "exchange",
    }
}

label! {
    /// What became of the wish for one more attempt.
    Retry {
        Made => "made",
        OverBudget => "over_budget",
    }
}

pub struct Upstream {
    /// Attempts after the first, and those that the budget refused.
    pub retries: Counters<Retry>,
    /// URLs over all applications, by whether requests go to them.
    pub urls: IntGaugeVec,
    pub ejections: IntCounter,
    /// Health checks, by outcome.
    pub checks: IntCounterVec,
    pub breakers_open: IntGauge,
    pub breakers_opened: IntCounter,
}

impl Upstream {
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            retries: Counters::new(
                registry,
                "authsome_proxy_upstream_retries_total",
                "Attempts after a first that failed: made, or refused by the budget",
                "outcome",
            )?,
            urls: IntGaugeVec::new(
                Opts::new(
                    "authsome_proxy_upstream_urls",
                    "Upstream URLs that are in use, by state: in, ejected, unhealthy",
                ),
                &["state"],
            )?,
            ejections: IntCounter::new(
                "authsome_proxy_upstream_ejections_total",
                "Times that failing requests put a URL out",
            )?,
            checks: IntCounterVec::new(
                Opts::new(
                    "authsome_proxy_upstream_health_checks_total",
                    "Health checks of upstreams, by outcome",
                ),
                &["outcome"],
            )?,
            breakers_open: IntGauge::new(
                "authsome_proxy_upstream_breakers_open",
                "Applications whose circuit breaker is not closed",
            )?,
            breakers_opened: IntCounter::new(
                "authsome_proxy_upstream_breakers_opened_total",
                "Times that a circuit breaker opened",
            )?,
        };
        registry.register(Box::new(metrics.urls.clone()))?;
        registry.register(Box::new(metrics.ejections.clone()))?;
        registry.register(Box::new(metrics.checks.clone()))?;
        registry.register(Box::new(metrics.breakers_open.clone()))?;
        registry.register(Box::new(metrics.breakers_opened.clone()))?;
        for state in ["in", "ejected", "unhealthy"] {
            metrics.urls.with_label_values(&[state]).set(0);
        }
        for outcome in ["healthy", "unhealthy"] {
            let _ = metrics.checks.with_label_values(&[outcome]);
        }
        Ok(metrics)
    }
}
