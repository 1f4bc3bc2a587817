//! Settings: `config/control-plane.toml` (compiled in), a file, the environment and flags, in that
//! order of rising precedence. Loaded once, in `main`. Unknown and impossible settings are errors
//! that name the key and where it was set.

mod billing;
mod documents;
mod provider;
mod stripe;
mod value;
mod webhooks;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use authsome_shared::secret::Secret;
use authsome_shared::snapshot::DefaultUpstream;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::db::Location;
use crate::identity::user::is_email;
pub use billing::{Billing, Issuer, TaxRate, is_country};
pub use documents::Documents;
pub use provider::{GOOGLE, Provider, ProviderKind};
pub use stripe::Stripe;
use value::{addresses, check_http_url, networks, origins, some_networks};
pub use webhooks::Webhooks;

/// The documented defaults.
pub const DEFAULTS: &str = include_str!("../../config/control-plane.toml");

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub database: Database,
    pub proxy: Proxy,
    pub nodes: Nodes,
    pub platform: Platform,
    pub applications: Applications,
    pub egress: Egress,
    pub identity: Identity,
    pub mail: Mail,
    pub distribution: Distribution,
    pub logs: Logs,
    pub metering: Metering,
    pub log: Log,
    pub api: Api,
    pub webhooks: Webhooks,
    pub billing: Billing,
    pub documents: Documents,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    pub limits: bool,
    #[serde(deserialize_with = "origins")]
    pub allowed_origins: Vec<String>,
}

impl Default for Api {
    fn default() -> Self {
        Self { limits: true, allowed_origins: vec![] }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    pub public_url: String,
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    pub drain_seconds: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            data_dir: "./data".into(),
            listen: ([127, 0, 0, 1], 8080).into(),
            public_url: String::new(),
            trusted_proxies: vec![],
            drain_seconds: 30,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    pub url: Secret<String>,
    pub max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: Secret::default(), max_connections: 10 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    pub public_url: String,
}

impl Default for Proxy {
    fn default() -> Self {
        Self { public_url: "http://127.0.0.1:8081".into() }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nodes {
    pub token: Secret<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Platform {
    pub master_key: Secret<String>,
    pub dashboard_url: String,
    #[serde(deserialize_with = "addresses")]
    pub admins: Vec<String>,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            master_key: Secret::default(),
            dashboard_url: "http://127.0.0.1:8080/dashboard".into(),
            admins: vec![],
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Applications {
    pub default_upstream: String,
    pub provision_attempts: u32,
    pub provision_backoff_ms: u64,
    pub provision_timeout_ms: u64,
    pub resources: Resources,
}

impl Default for Applications {
    fn default() -> Self {
        Self {
            default_upstream: String::new(),
            provision_attempts: 3,
            provision_backoff_ms: 2_000,
            provision_timeout_ms: 10_000,
            resources: Resources::default(),
        }
    }
}

/// What an application has unless its owner says otherwise; told, and not enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    pub cpu_limit: String,
    pub memory_limit: String,
    pub storage_limit: String,
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpu_limit: "1000m".into(), memory_limit: "2Gi".into(), storage_limit: "10Gi".into() }
    }
}

impl Applications {
    /// What the operator says about the default upstream; `None` leaves it as it was.
    pub fn default_upstream(&self) -> anyhow::Result<Option<Option<DefaultUpstream>>> {
        Ok(match self.default_upstream.as_str() {
            "" => None,
            "none" => Some(None),
            "echo" => Some(Some(DefaultUpstream::Echo)),
            url => {
                check_http_url("applications.default_upstream", url)?;
                Some(Some(DefaultUpstream::Url(url.to_owned())))
            }
        })
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Egress {
    /// `None` leaves it as it was.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_networks")]
    pub allow: Option<Vec<IpNet>>,
    pub dns_server: String,
}

impl Egress {
    /// Where names are asked for; `None` is the system's resolver.
    pub fn dns_server(&self) -> anyhow::Result<Option<SocketAddr>> {
        if self.dns_server.is_empty() {
            return Ok(None);
        }
        let address = self.dns_server.parse().with_context(|| {
            format!("egress.dns_server must be ADDRESS:PORT, not {:?}", self.dns_server)
        })?;
        Ok(Some(address))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    pub access_token_seconds: u64,
    pub refresh_token_days: u32,
    pub registrations_per_minute: u32,
    pub logins_per_minute: u32,
    pub anonymous_requests_per_minute: u32,
    pub mail_tokens_per_minute: u32,
    pub max_failed_logins: u32,
    pub failed_login_window_seconds: u32,
    pub invitation_days: u32,
    pub password_reset_minutes: u32,
    pub email_verification_hours: u32,
    pub providers: Vec<Provider>,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            access_token_seconds: 900,
            refresh_token_days: 30,
            registrations_per_minute: 15,
            logins_per_minute: 60,
            anonymous_requests_per_minute: 300,
            mail_tokens_per_minute: 20,
            max_failed_logins: 10,
            failed_login_window_seconds: 900,
            invitation_days: 7,
            password_reset_minutes: 60,
            email_verification_hours: 72,
            providers: vec![],
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    pub from: String,
    pub smtp_url: Secret<String>,
}

impl Default for Mail {
    fn default() -> Self {
        Self { from: "AuthSome Cloud <no-reply@localhost>".into(), smtp_url: Secret::default() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Distribution {
    pub keep_revisions_hours: u32,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { keep_revisions_hours: 72 }
    }
}

/// Applications' logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    pub keep_days: u32,
    pub max_lines: u32,
}

impl Default for Logs {
    fn default() -> Self {
        Self { keep_days: 7, max_lines: 10_000 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metering {
    pub keep_minutes_days: u32,
    pub keep_hours_days: u32,
    pub compact_after_days: u32,
    pub ingest_token: Secret<String>,
}

impl Default for Metering {
    fn default() -> Self {
        Self {
            keep_minutes_days: 35,
            keep_hours_days: 400,
            compact_after_days: 3,
            ingest_token: Secret::default(),
        }
    }
}

impl Metering {
    fn validate(&self) -> anyhow::Result<()> {
        ensure!(
            self.keep_minutes_days >= 31,
            "metering.keep_minutes_days must be at least 31: metrics can be asked for 30 days"
        );
        ensure!(
            self.keep_hours_days >= 62,
            "metering.keep_hours_days must be at least 62: a month is reconciled after its end"
        );
        ensure!(self.compact_after_days > 0, "metering.compact_after_days is 0");
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

impl Config {
    /// Defaults, `file`, environment and `flags` (dotted keys), checked.
    pub fn load(file: Option<&Path>, flags: &[(&str, String)]) -> anyhow::Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(path) = file {
            ensure!(path.is_file(), "there is no config file {}", path.display());
            figment = figment.merge(Toml::file_exact(path));
        }
        figment = figment.merge(Env::prefixed("AUTHSOME_CONTROL__").split("__"));
        for (key, value) in flags {
            figment = figment.merge((*key, value));
        }
        let config: Self = figment.extract().map_err(|error| {
            let problems: Vec<String> = error.into_iter().map(|e| e.to_string()).collect();
            anyhow::anyhow!("the settings are not valid: {}", problems.join("; "))
        })?;
        config.validate().context("the settings are not valid")?;
        Ok(config)
    }

    fn validate(&self) -> anyhow::Result<()> {
        check_http_url("proxy.public_url", &self.proxy.public_url)?;
        check_http_url("platform.dashboard_url", &self.platform.dashboard_url)?;
        for address in &self.platform.admins {
            ensure!(is_email(address), "platform.admins: {address:?} is no e-mail address");
        }
        self.applications.default_upstream()?;
        self.egress.dns_server()?;
        self.webhooks.validate()?;
        self.billing.validate()?;
        self.documents.validate()?;
        ensure!(self.applications.provision_attempts > 0, "applications.provision_attempts is 0");
        ensure!(self.logs.keep_days > 0, "logs.keep_days is 0");
        ensure!(self.logs.max_lines > 0, "logs.max_lines is 0");
        self.metering.validate()?;
        ensure!(self.identity.access_token_seconds > 0, "identity.access_token_seconds is 0");
        ensure!(self.identity.max_failed_logins > 0, "identity.max_failed_logins is 0");
        if !self.server.public_url.is_empty() {
            check_http_url("server.public_url", &self.server.public_url)?;
        }
        provider::validate(&self.identity.providers)?;
        let database = self.database.url.expose();
        if !database.is_empty()
            && !["postgres://", "postgresql://"].iter().any(|scheme| database.starts_with(scheme))
        {
            bail!("database.url must begin with postgres:// (leave it empty for SQLite)");
        }
        self.mail
            .from
            .parse::<lettre::message::Mailbox>()
            .with_context(|| format!("mail.from is not an address: {:?}", self.mail.from))?;
        Ok(())
    }

    /// Where people's browsers reach the API; without a slash at its end.
    pub fn public_url(&self) -> String {
        match self.server.public_url.as_str() {
            "" => format!("http://{}", self.server.listen),
            url => url.trim_end_matches('/').to_owned(),
        }
    }

    pub fn database(&self) -> Location {
        let url = self.database.url.expose();
        Location::new((!url.is_empty()).then_some(url), &self.server.data_dir)
    }
}

/// The secret, unless it is the empty default.
pub fn given(secret: &Secret<String>) -> Option<&Secret<String>> {
    (!secret.expose().is_empty()).then_some(secret)
}

#[cfg(test)]
mod tests;
