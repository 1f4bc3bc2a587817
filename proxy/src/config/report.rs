//! Settings of what the proxy tells its operators: logs, recent decisions, traces.

use std::collections::BTreeMap;

use anyhow::bail;
use authsome_shared::log::Level;
use authsome_shared::secret::Secret;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::recent;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, or a filter such as `info,authsome_proxy::sync=debug`.
    pub level: String,
    pub format: LogFormat,
    /// One JSON line per request: `stdout`, `off`, or a file's path.
    pub access_log: String,
    /// The part of requests that the upstream answered below 500 that is logged, from 0 to 1.
    pub sample_successes: f64,
    /// The same of requests that were refused with a 4xx of ours.
    pub sample_refused: f64,
    /// The same of requests that ended with a 5xx, or with the client gone.
    pub sample_failed: f64,
    /// Requests that take this long are always logged; 0: none for that.
    pub slow_ms: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Text,
            access_log: "stdout".into(),
            sample_successes: 1.0,
            sample_refused: 1.0,
            sample_failed: 1.0,
            slow_ms: 1_000,
        }
    }
}

/// Of one application, lines for its owner's log in a second; 0: none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApplicationLog {
    /// About requests that failed with a 5xx, whoever's.
    pub errors_per_second: u32,
    /// About requests that were refused, were slow, or whose client went away.
    pub warnings_per_second: u32,
    /// About the others.
    pub successes_per_second: u32,
}

impl Default for ApplicationLog {
    fn default() -> Self {
        Self { errors_per_second: 20, warnings_per_second: 5, successes_per_second: 1 }
    }
}

impl ApplicationLog {
    pub(crate) fn of(&self, level: Level) -> u32 {
        match level {
            Level::Error => self.errors_per_second,
            Level::Warn => self.warnings_per_second,
            Level::Info | Level::Debug => self.successes_per_second,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Explain {
    /// Memory for recent decisions, which `authsome explain` asks for; 0: none are kept.
    pub max_bytes: u64,
}

impl Default for Explain {
    fn default() -> Self {
        Self { max_bytes: 16 * 1024 * 1024 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tracing {
    /// Base URL of an OTLP/HTTP collector; empty: contexts are passed on, and nothing is recorded.
    #[serde(deserialize_with = "url_or_empty")]
    pub endpoint: Option<Url>,
    /// The part of traces that is recorded, from 0 to 1.
    pub ratio: f64,
    /// A trace that comes from a caller is recorded if that says so; else its id is drawn as well.
    pub follow_callers: bool,
    /// Sent with each export, for a collector that wants a key.
    pub headers: BTreeMap<String, Secret<String>>,
    /// `service.name` of the spans.
    pub service: String,
    /// Finished requests that may wait to be exported; more are dropped and counted.
    pub queue: usize,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            endpoint: None,
            ratio: 0.1,
            follow_callers: true,
            headers: BTreeMap::new(),
            service: "authsome-proxy".into(),
            queue: 4_096,
        }
    }
}

fn url_or_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Url>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    match &*text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

impl Log {
    pub(super) fn validate(&self) -> anyhow::Result<()> {
        if self.access_log.is_empty() {
            bail!("log.access_log must be `stdout`, `off` or a path");
        }
        part("log.sample_successes", self.sample_successes)?;
        part("log.sample_refused", self.sample_refused)?;
        part("log.sample_failed", self.sample_failed)
    }
}

impl Explain {
    pub(super) fn validate(&self) -> anyhow::Result<()> {
        if (1..recent::LEAST_BYTES).contains(&self.max_bytes) {
            bail!("explain.max_bytes must be 0 or at least {}", recent::LEAST_BYTES);
        }
        Ok(())
    }
}

impl Tracing {
    pub(super) fn validate(&self) -> anyhow::Result<()> {
        if let Some(url) = &self.endpoint
            && (!matches!(url.scheme(), "http" | "https") || !url.has_host())
        {
            bail!("tracing.endpoint must be an http or https URL");
        }
        for (name, value) in &self.headers {
            if name.parse::<HeaderName>().is_err() || HeaderValue::from_str(value.expose()).is_err()
            {
                bail!("tracing.headers: `{name}` can't be sent as a header");
            }
        }
        if self.queue == 0 {
            bail!("tracing.queue must be at least 1");
        }
        part("tracing.ratio", self.ratio)
    }
}

fn part(key: &str, ratio: f64) -> anyhow::Result<()> {
    if !(0.0..=1.0).contains(&ratio) {
        bail!("{key} must be between 0 and 1");
    }
    Ok(())
}
