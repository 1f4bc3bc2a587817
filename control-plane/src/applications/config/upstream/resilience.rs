//! What is done about URLs that fail: health checks and the circuit breaker. Both are off unless
//! they are given; `{}` gives them with their defaults, which are the wire's.

use authsome_shared::snapshot;
use serde::Deserialize;

use crate::error::Checks;

/// Asked by every proxy, and when the application is provisioned. Without one, any answer will do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HealthCheck {
    pub path: String,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    /// Good answers in a row that bring a URL back.
    pub healthy: u32,
    /// Bad ones in a row that take it out.
    pub unhealthy: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        let snapshot::HealthCheck { path, interval_ms, timeout_ms, healthy, unhealthy } =
            snapshot::HealthCheck::default();
        Self { path, interval_ms, timeout_ms, healthy, unhealthy }
    }
}

impl HealthCheck {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.check(
            self.path.starts_with('/')
                && self.path.len() <= 2048
                && self.path.bytes().all(|b| b.is_ascii_graphic() && b != b'#'),
            "config.upstream.healthCheck.path",
            "`path` must begin with `/` and hold at most 2048 printable characters other than `#`",
        );
        for (name, value, least, most) in [
            ("intervalMs", self.interval_ms, 1_000, 3_600_000),
            ("timeoutMs", self.timeout_ms, 1, 60_000),
            ("healthy", u64::from(self.healthy), 1, 10),
            ("unhealthy", u64::from(self.unhealthy), 1, 10),
        ] {
            number(checks, &format!("config.upstream.healthCheck.{name}"), value, least, most);
        }
    }

    pub(super) fn to_wire(&self) -> snapshot::HealthCheck {
        snapshot::HealthCheck {
            path: self.path.clone(),
            interval_ms: self.interval_ms,
            timeout_ms: self.timeout_ms,
            healthy: self.healthy,
            unhealthy: self.unhealthy,
        }
    }
}

/// Opens at `failures` in a window that are also `failurePercent` of its attempts; lets one request
/// through to see after `openMs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Breaker {
    pub failures: u32,
    pub failure_percent: u32,
    pub window_ms: u64,
    pub open_ms: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        let snapshot::Breaker { failures, failure_percent, window_ms, open_ms } =
            snapshot::Breaker::default();
        Self { failures, failure_percent, window_ms, open_ms }
    }
}

impl Breaker {
    pub(super) fn check(&self, checks: &mut Checks) {
        for (name, value, least, most) in [
            ("failures", u64::from(self.failures), 1, 1_000_000),
            ("failurePercent", u64::from(self.failure_percent), 1, 100),
            ("windowMs", self.window_ms, 1_000, 3_600_000),
            ("openMs", self.open_ms, 100, 3_600_000),
        ] {
            number(checks, &format!("config.upstream.breaker.{name}"), value, least, most);
        }
    }

    pub(super) fn to_wire(self) -> snapshot::Breaker {
        let Self { failures, failure_percent, window_ms, open_ms } = self;
        snapshot::Breaker { failures, failure_percent, window_ms, open_ms }
    }
}

fn number(checks: &mut Checks, field: &str, value: u64, least: u64, most: u64) {
    let name = field.rsplit('.').next().unwrap_or(field);
    checks.check(
        (least..=most).contains(&value),
        field,
        format!("`{name}` must be {least} to {most}"),
    );
}
