//! The upstream of an application: where its proxy sends requests, and how it is asked for its
//! health. Whether it answers is for `provision`.

use std::net::IpAddr;

use authsome_shared::egress;
use authsome_shared::snapshot::{self, Timeouts};
use ipnet::IpNet;
use serde::Deserialize;
use url::{Host, Url};

use crate::error::Checks;

const MAX_URLS: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upstream {
    pub urls: Vec<String>,
    #[serde(default)]
    pub preserve_host: bool,
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    #[serde(default)]
    pub timeouts: UpstreamTimeouts,
}

/// Asked when the application is provisioned. Without one, any answer will do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HealthCheck {
    pub path: String,
    pub timeout_ms: u64,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self { path: "/health".into(), timeout_ms: 5_000 }
    }
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
            if let Err(message) = check_url(url, egress_allow) {
                checks.fail(format!("config.upstream.urls[{i}]"), message);
            }
        }
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
        if let Some(health) = &self.health_check {
            checks.check(
                health.path.starts_with('/') && health.path.bytes().all(|b| b.is_ascii_graphic()),
                "config.upstream.healthCheck.path",
                "`path` must begin with `/` and hold printable characters only",
            );
            checks.check(
                (1..=60_000).contains(&health.timeout_ms),
                "config.upstream.healthCheck.timeoutMs",
                "`timeoutMs` must be 1 to 60000",
            );
        }
    }

    pub(super) fn to_wire(&self) -> snapshot::Upstream {
        let UpstreamTimeouts { connect_ms, first_byte_ms, idle_ms } = self.timeouts;
        snapshot::Upstream {
            urls: self.urls.clone(),
            preserve_host: self.preserve_host,
            timeouts: Timeouts { connect_ms, first_byte_ms, idle_ms },
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
