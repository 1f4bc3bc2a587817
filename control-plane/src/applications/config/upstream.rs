//! The upstream of an application: where its proxy sends requests, how it chooses among URLs and
//! what it does about those that fail. Whether it answers is for `provision`; `docs/upstreams.md`
//! tells the user what the fields do.

mod resilience;
mod tls;

use std::net::IpAddr;

use authsome_shared::egress;
use authsome_shared::snapshot::{self, Balance, Protocol, Timeouts};
use ipnet::IpNet;
use serde::Deserialize;
use url::{Host, Url};

use crate::error::Checks;
pub use resilience::{Breaker, HealthCheck};
pub use tls::UpstreamTls;

const MAX_URLS: usize = 16;
const MAX_WEIGHT: u32 = 1_000;
const MAX_RETRIES: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upstream {
    pub urls: Vec<String>,
    /// Shares of the URLs, in their order; empty: equal.
    #[serde(default)]
    pub weights: Vec<u32>,
    #[serde(default)]
    pub balance: Balance,
    #[serde(default)]
    pub protocol: Protocol,
    #[serde(default)]
    pub preserve_host: bool,
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    #[serde(default)]
    pub timeouts: UpstreamTimeouts,
    /// Attempts after a first that failed.
    #[serde(default = "default_retries")]
    pub retries: u32,
    #[serde(default)]
    pub breaker: Option<Breaker>,
    #[serde(default)]
    pub tls: UpstreamTls,
}

fn default_retries() -> u32 {
    snapshot::Upstream::default().retries
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UpstreamTimeouts {
    pub connect_ms: u64,
    pub first_byte_ms: u64,
    pub idle_ms: u64,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        let Timeouts { connect_ms, first_byte_ms, idle_ms } = Timeouts::default();
        Self { connect_ms, first_byte_ms, idle_ms }
    }
}

impl Upstream {
    pub(super) fn check(&self, checks: &mut Checks, egress_allow: &[IpNet]) {
        checks.check(
            (1..=MAX_URLS).contains(&self.urls.len()),
            "config.upstream.urls",
            format!("`urls` must hold 1 to {MAX_URLS} URLs"),
        );
        for (i, url) in self.urls.iter().enumerate() {
            let field = || format!("config.upstream.urls[{i}]");
            if let Err(message) = check_url(url, egress_allow) {
                checks.fail(field(), message);
            } else if self.urls[..i].contains(url) {
                checks.fail(field(), "the URL is listed twice: give it a weight instead");
            }
        }
        self.check_weights(checks);
        let timeouts = [
            ("connectMs", self.timeouts.connect_ms),
            ("firstByteMs", self.timeouts.first_byte_ms),
            ("idleMs", self.timeouts.idle_ms),
        ];
        for (name, value) in timeouts {
            checks.check(
                (1..=3_600_000).contains(&value),
                &format!("config.upstream.timeouts.{name}"),
                format!("`{name}` must be 1 to 3600000"),
            );
        }
        checks.check(
            self.retries <= MAX_RETRIES,
            "config.upstream.retries",
            format!("`retries` must be 0 to {MAX_RETRIES}"),
        );
        if let Some(health) = &self.health_check {
            health.check(checks);
        }
        if let Some(breaker) = &self.breaker {
            breaker.check(checks);
        }
        self.tls.check(checks);
    }

    fn check_weights(&self, checks: &mut Checks) {
        checks.check(
            self.weights.is_empty() || self.weights.len() == self.urls.len(),
            "config.upstream.weights",
            "`weights` must hold one number for each URL, or none",
        );
        for (i, weight) in self.weights.iter().enumerate() {
            checks.check(
                (1..=MAX_WEIGHT).contains(weight),
                &format!("config.upstream.weights[{i}]"),
                format!("a weight must be 1 to {MAX_WEIGHT}"),
            );
        }
    }

    pub(super) fn to_wire(&self) -> snapshot::Upstream {
        let UpstreamTimeouts { connect_ms, first_byte_ms, idle_ms } = self.timeouts;
        snapshot::Upstream {
            urls: self.urls.clone(),
            weights: self.weights.clone(),
            balance: self.balance,
            protocol: self.protocol,
            preserve_host: self.preserve_host,
            timeouts: Timeouts { connect_ms, first_byte_ms, idle_ms },
            retries: self.retries,
            health_check: self.health_check.as_ref().map(HealthCheck::to_wire),
            breaker: self.breaker.map(Breaker::to_wire),
            tls: self.tls.to_wire(),
        }
    }
}

fn check_url(text: &str, egress_allow: &[IpNet]) -> std::result::Result<(), String> {
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("the URL must hold printable characters only".into());
    }
    let url = Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the URL must begin with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL must not hold credentials".into());
    }
    if url.query().is_some() || url.fragment().is_some() || text.len() > 2048 {
        return Err(
            "the URL must have no query and no fragment, and at most 2048 characters".into()
        );
    }
    let address = match url.host() {
        Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
        Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
        Some(Host::Domain(_)) => None,
        None => return Err("the URL must name a host".into()),
    };
    // Names are judged when they are resolved, at each connection; addresses already here.
    match address {
        Some(address) if !egress::is_allowed(address, egress_allow) => Err(format!(
            "{address} is not a public address; the operator can allow its network by egress.allow"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "upstream/tests.rs"]
mod tests;
