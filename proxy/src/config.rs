//! Settings of the proxy: sections with defaults, read once from `config/proxy.toml` (or another
//! file), the environment (`AUTHSOME_PROXY__SECTION__KEY`) and flags, each overriding the one
//! before. It only reads and checks; binding, opening and connecting are for whoever uses them.
//! An unknown or invalid setting is an error that names its source and key.

mod report;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use authsome_shared::secret::Secret;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::listener::connection::Limits;
pub use report::{ApplicationLog, Explain, Log, LogFormat, Tracing};

/// The documented defaults; a test holds them equal to `Config::default()`.
pub const DEFAULT_FILE: &str = include_str!("../../config/proxy.toml");

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub control: Control,
    pub connections: Connections,
    pub tls: Tls,
    pub strict: Strict,
    pub drain: Drain,
    pub upgrade: Upgrade,
    pub ledger: Ledger,
    pub log: Log,
    pub application_log: ApplicationLog,
    pub explain: Explain,
    pub tracing: Tracing,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where clients connect: HTTP/1.1, and HTTP/2 by prior knowledge.
    pub listen: SocketAddr,
    /// Where `/health`, `/ready`, `/metrics` and `/explain` are served. Not for the public.
    pub admin_listen: SocketAddr,
    /// Everything of ours lies in its folder `proxy/`.
    pub data_dir: PathBuf,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 8082)),
            data_dir: PathBuf::from("./data"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Base URL of the control plane.
    pub url: Url,
    /// The node token itself; goes before the file.
    pub token: Option<Secret<String>>,
    /// File that holds the node token; by default `node.token` in the data directory.
    pub token_file: Option<PathBuf>,
}

impl Default for Control {
    fn default() -> Self {
        let url = Url::parse("http://127.0.0.1:8080").expect("a fixed URL parses");
        Self { url, token: None, token_file: None }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Connections {
    /// Open at once; 0: any number.
    pub max: usize,
    /// Open at once from one IPv4 address or IPv6 /64; 0: any number.
    pub max_per_address: usize,
    /// An idle client connection is closed after this long.
    pub keep_alive_seconds: u64,
    /// A request's whole head must arrive within this time of its first byte.
    pub header_timeout_ms: u64,
    /// Longest silence while a request's body is awaited, or an answer's next part not taken.
    pub body_timeout_ms: u64,
    /// A request's body that comes more slowly is refused; 0: none is.
    pub min_body_bytes_per_second: u64,
    /// What that rate is measured over, and so the longest pause of a steady sender.
    pub body_grace_ms: u64,
    /// After 20 refusals in a row, one connection's further ones are told at this rate; 0: at once.
    pub refusals_per_second: u32,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            max: 10_000,
            max_per_address: 1_000,
            keep_alive_seconds: 60,
            header_timeout_ms: 10_000,
            body_timeout_ms: 60_000,
            min_body_bytes_per_second: 1_024,
            body_grace_ms: 10_000,
            refusals_per_second: 5,
        }
    }
}

impl Connections {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            idle: Duration::from_secs(self.keep_alive_seconds),
            head: Duration::from_millis(self.header_timeout_ms),
            body_bytes_per_second: self.min_body_bytes_per_second,
            body_grace: Duration::from_millis(self.body_grace_ms),
            unread: Duration::from_millis(self.body_timeout_ms),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Where clients connect by TLS; empty: nowhere.
    #[serde(deserialize_with = "address_or_empty")]
    pub listen: Option<SocketAddr>,
    /// The certificate, with its chain, in PEM; read again when it changes.
    pub cert_file: Option<PathBuf>,
    /// Its private key, in PEM.
    pub key_file: Option<PathBuf>,
    /// Further pairs, chosen by the name that a client asks for.
    pub certificates: Vec<Certificate>,
    /// A handshake must be done within this time.
    pub handshake_timeout_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            listen: None,
            cert_file: None,
            key_file: None,
            certificates: Vec::new(),
            handshake_timeout_ms: 10_000,
        }
    }
}

impl Tls {
    /// Every pair; the first is for clients that ask for no name we have.
    pub(crate) fn pairs(&self) -> Vec<Certificate> {
        let first = self.cert_file.clone().zip(self.key_file.clone());
        let first = first.map(|(cert_file, key_file)| Certificate { cert_file, key_file });
        first.into_iter().chain(self.certificates.iter().cloned()).collect()
    }

    pub(crate) fn handshake(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms)
    }

    fn validate(&self) -> anyhow::Result<()> {
        if self.cert_file.is_some() != self.key_file.is_some() {
            bail!("tls.cert_file and tls.key_file belong together");
        }
        if self.listen.is_some() && self.pairs().is_empty() {
            bail!("tls.listen needs tls.cert_file and tls.key_file");
        }
        Ok(())
    }
}

fn address_or_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    match &*text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Strict {
    /// The Redis or Valkey that holds strict limits for all proxies; absent or empty: none, and
    /// each proxy holds its share of them.
    pub redis_url: Option<Secret<String>>,
    /// Begins the names of its keys.
    pub prefix: String,
    /// A request waits this long for it, and is then decided by this proxy's share. The timer
    /// rounds up by as much as a millisecond.
    pub timeout_ms: u64,
    /// How long units of a rate limit that were taken in advance may be used.
    pub lease_ms: u64,
}

impl Default for Strict {
    fn default() -> Self {
        Self { redis_url: None, prefix: "authsome".into(), timeout_ms: 1, lease_ms: 10 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// Requests under way may take this long to finish after a stop was asked for.
    pub timeout_ms: u64,
    /// The same for WebSocket, event streams and gRPC, which may not end by themselves.
    pub stream_timeout_ms: u64,
    /// Idle connections stay open this long, so that a request already sent is still answered.
    pub idle_ms: u64,
}

impl Drain {
    pub(crate) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { timeout_ms: 30_000, stream_timeout_ms: 30_000, idle_ms: 500 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upgrade {
    /// The new process must be ready within this time, or the old one goes on.
    pub timeout_ms: u64,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { timeout_ms: 60_000 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ledger {
    /// Space for usage records that the control plane has not confirmed.
    pub max_bytes: u64,
    /// A journal file is closed and the next begun at this size.
    pub segment_bytes: u64,
    /// At most this much usage is lost when the power fails.
    pub fsync_interval_ms: u64,
    /// What to do when a record can't be written.
    pub when_full: WhenFull,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            max_bytes: 1024 * 1024 * 1024,
            segment_bytes: 16 * 1024 * 1024,
            fsync_interval_ms: 1_000,
            when_full: WhenFull::Refuse,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Answer 503 rather than serve what can't be billed.
    Refuse,
    /// Serve, and count the loss in a metric and the log.
    Drop,
}

/// Settings given on the command line.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub data_dir: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub admin_listen: Option<SocketAddr>,
    pub control_url: Option<Url>,
}

impl Config {
    /// Reads file < environment < flags, and checks the result.
    pub fn load(file: Option<&Path>, flags: &Flags) -> anyhow::Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            if !file.is_file() {
                bail!("configuration file {} does not exist", file.display());
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        figment = figment.merge(Env::prefixed("AUTHSOME_PROXY__").split("__"));
        if let Some(dir) = &flags.data_dir {
            figment = figment.merge(("server.data_dir", dir));
        }
        if let Some(address) = flags.listen {
            figment = figment.merge(("server.listen", address));
        }
        if let Some(address) = flags.admin_listen {
            figment = figment.merge(("server.admin_listen", address));
        }
        if let Some(url) = &flags.control_url {
            figment = figment.merge(("control.url", url));
        }
        let config: Self = figment.extract().context("invalid configuration")?;
        config.validate().context("invalid configuration")?;
        Ok(config)
    }

    /// Checks what types alone can't.
    pub fn validate(&self) -> anyhow::Result<()> {
        if !matches!(self.control.url.scheme(), "http" | "https") || !self.control.url.has_host() {
            bail!("control.url must be an http or https URL");
        }
        for (key, value) in [
            ("connections.keep_alive_seconds", self.connections.keep_alive_seconds),
            ("connections.header_timeout_ms", self.connections.header_timeout_ms),
            ("connections.body_timeout_ms", self.connections.body_timeout_ms),
            ("connections.body_grace_ms", self.connections.body_grace_ms),
            ("strict.timeout_ms", self.strict.timeout_ms),
            ("strict.lease_ms", self.strict.lease_ms),
            ("tls.handshake_timeout_ms", self.tls.handshake_timeout_ms),
            ("upgrade.timeout_ms", self.upgrade.timeout_ms),
            ("ledger.fsync_interval_ms", self.ledger.fsync_interval_ms),
        ] {
            if value == 0 {
                bail!("{key} must be at least 1");
            }
        }
        self.tls.validate()?;
        if self.ledger.segment_bytes < 64 * 1024 {
            bail!("ledger.segment_bytes must be at least 65536");
        }
        if self.ledger.max_bytes < 2 * self.ledger.segment_bytes {
            bail!("ledger.max_bytes must be at least twice ledger.segment_bytes");
        }
        self.log.validate()?;
        self.explain.validate()?;
        self.tracing.validate()?;
        Ok(())
    }

    /// The node token, from the setting or its file.
    pub fn node_token(&self) -> anyhow::Result<Secret<String>> {
        if let Some(token) = &self.control.token {
            return Ok(token.clone());
        }
        let path = match &self.control.token_file {
            Some(path) => path.clone(),
            None => self.server.data_dir.join("node.token"),
        };
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "no node token: can't read {}; the control plane makes it, copy it there or set \
                 control.token",
                path.display()
            )
        })?;
        let token = text.trim();
        if token.is_empty() {
            bail!("no node token: {} is empty", path.display());
        }
        Ok(Secret::new(token.to_owned()))
    }

    /// Checks the files that the settings name, as far as they are used from the start.
    pub fn check_files(&self) -> anyhow::Result<()> {
        if self.tls.listen.is_some() {
            let failures = prometheus::IntCounter::new("failures", "of this check")?;
            crate::tls::Tls::new(&self.tls, failures)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
