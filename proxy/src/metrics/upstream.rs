//! What is counted of upstreams: sums over all applications, because their number has no bound.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

pub struct Upstream {
    /// Attempts after the first, and those that the budget refused.
    pub retries: IntCounterVec,
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
            retries: IntCounterVec::new(
                Opts::new(
                    "authsome_proxy_upstream_retries_total",
                    "Attempts after a first that failed: made, or refused by the budget",
                ),
                &["outcome"],
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
        registry.register(Box::new(metrics.retries.clone()))?;
        registry.register(Box::new(metrics.urls.clone()))?;
        registry.register(Box::new(metrics.ejections.clone()))?;
        registry.register(Box::new(metrics.checks.clone()))?;
        registry.register(Box::new(metrics.breakers_open.clone()))?;
        registry.register(Box::new(metrics.breakers_opened.clone()))?;
        Ok(metrics)
    }
}
