//! Wire types of the configuration that a proxy serves from; `encoding` puts a whole snapshot into
//! bytes. Deciding anything by them is for the proxy; where they come from, for the control plane.
//!
//! Versioning: readers ignore unknown fields, and set aside a change they can't read (a new kind,
//! an invalid value) without losing the others; fields are only ever added, with a default.

pub mod encoding;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::api_key::{KeyDigest, KeyType};
use crate::id::{ApplicationId, KeyId, WorkspaceId};
use crate::route::RoutePattern;
use crate::usage::Total;

/// One entity set or removed. Applying is idempotent; a later change of one entity wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    Settings(Settings),
    Workspace(Workspace),
    Application(Box<Application>),
    Key(Box<Key>),
    RemoveWorkspace(WorkspaceId),
    RemoveApplication(ApplicationId),
    RemoveKey(KeyId),
    /// What has been used of a quota that comes after it: whoever did not count it until now begins
    /// there.
    Used(Total),
}

/// What holds for the whole platform.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Serves applications that have no upstream of their own.
    #[serde(default)]
    pub default_upstream: Option<DefaultUpstream>,
    /// Non-public networks that upstream URLs may lead to.
    #[serde(default)]
    pub egress_allow: Vec<IpNet>,
}

/// The platform's own upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DefaultUpstream {
    /// The proxy's built-in echo.
    Echo,
    /// A base URL, set by the operator and so exempt from the egress rule.
    Url(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    pub id: WorkspaceId,
    pub status: WorkspaceStatus,
    /// The plan's limit per key.
    pub rate_limit: RateLimit,
    /// The plan's request units per calendar month, over all applications.
    #[serde(default)]
    pub quota: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceStatus {
    Active,
    Suspended,
    /// Suspended until it pays.
    PastDue,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    pub id: ApplicationId,
    pub workspace: WorkspaceId,
    pub environment: String,
    pub region: String,
    pub status: ApplicationStatus,
    /// Grows with each restart: what a proxy knows of the upstreams under an earlier one is void.
    #[serde(default)]
    pub generation: u64,
    /// `None`: the platform's default upstream.
    #[serde(default)]
    pub upstream: Option<Upstream>,
    /// Replaces the default route table when not empty.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Overrides the plan's limit per key.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
    /// Request units per calendar month for this application.
    #[serde(default)]
    pub quota: Option<u64>,
    /// Not one more than the quota, over all proxies.
    #[serde(default)]
    pub quota_hard: bool,
    /// Largest request body, in bytes.
    pub max_body_bytes: u64,
    /// Where a caller may put its key.
    pub accept: Vec<KeySource>,
    /// Response header in which the upstream names the end user; stripped.
    pub end_user_header: String,
}

/// What the proxy needs of an application's state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationStatus {
    Provisioning,
    Active,
    Failed,
    Suspended,
    Maintenance,
}

/// Build it with `..Upstream::default()`, so that added fields cost nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upstream {
    /// Base URLs, `http` or `https`. A path is put before the request's.
    pub urls: Vec<String>,
    /// Shares of the URLs, in their order; empty: equal.
    #[serde(default)]
    pub weights: Vec<u32>,
    #[serde(default)]
    pub balance: Balance,
    #[serde(default)]
    pub protocol: Protocol,
    /// Send the client's `Host` instead of the upstream's own.
    #[serde(default)]
    pub preserve_host: bool,
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Further attempts after a first that failed before anything was answered.
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// `None`: what requests meet is all that tells a URL's health.
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    #[serde(default)]
    pub breaker: Option<Breaker>,
    #[serde(default)]
    pub tls: UpstreamTls,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            urls: vec![],
            weights: vec![],
            balance: Balance::default(),
            protocol: Protocol::default(),
            preserve_host: false,
            timeouts: Timeouts::default(),
            retries: default_retries(),
            health_check: None,
            breaker: None,
            tls: UpstreamTls::default(),
        }
    }
}

fn default_retries() -> u32 {
    1
}

/// What upstreams are spoken to in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    #[default]
    Http1,
    /// By prior knowledge where the URL is `http`; where it is `https`, if the upstream agrees.
    Http2,
}

/// How a request's URL is chosen among those that are in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way for its weight.
    LeastRequests,
    /// Always the same one for a key and its rotations, while that one is in.
    Hash,
}

/// How a proxy asks a URL for its health: `GET`, and any 2xx is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
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
        Self {
            path: "/health".into(),
            interval_ms: 10_000,
            timeout_ms: 5_000,
            healthy: 2,
            unhealthy: 3,
        }
    }
}

/// When an application's requests are refused for a while instead of sent on. An attempt fails when
/// no response comes of it; a response of any status is a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Breaker {
    /// It opens at this many failures in a window, if they are also …
    pub failures: u32,
    /// … at least this part of the window's attempts.
    pub failure_percent: u32,
    pub window_ms: u64,
    /// How long it stays open before one request is let through to see.
    pub open_ms: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 20, failure_percent: 50, window_ms: 10_000, open_ms: 5_000 }
    }
}

/// For `https` URLs. Verification can't be switched off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpstreamTls {
    /// Certificates to trust instead of the system's.
    pub ca_pem: Option<String>,
    /// Name to ask for and to verify, instead of the URL's host.
    pub sni: Option<String>,
    /// What the proxy shows of itself: its certificate, and those between it and an authority.
    pub client_cert_pem: Option<String>,
    /// Its private key, in an [`Envelope`](crate::envelope::Envelope) for the application's id: the
    /// key's PKCS #8, PKCS #1 or SEC 1 in DER.
    pub client_key: Option<String>,
}

/// How long the proxy waits for an upstream, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect_ms: u64,
    /// From the request's end to the response's head.
    pub first_byte_ms: u64,
    /// Between two pieces of a body.
    pub idle_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 5_000, first_byte_ms: 60_000, idle_ms: 60_000 }
    }
}

/// Who may call what, and what it costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    #[serde(rename = "match")]
    pub pattern: RoutePattern,
    /// Scope that a secret key needs; `None`: any secret key.
    #[serde(default)]
    pub scope: Option<String>,
    /// May a public key call it?
    #[serde(default)]
    pub public: bool,
    /// Request units.
    #[serde(default = "one")]
    pub cost: u32,
}

fn one() -> u32 {
    1
}

/// `requests` in each `window_ms`, with up to `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    pub requests: u32,
    pub window_ms: u64,
    pub burst: u32,
    #[serde(default)]
    pub mode: LimitMode,
}

impl RateLimit {
    /// One that proxies hold in shares.
    pub fn fast(requests: u32, window_ms: u64, burst: u32) -> Self {
        Self { requests, window_ms, burst, mode: LimitMode::Fast }
    }
}

/// How proxies hold one limit together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitMode {
    /// Each by itself, an equal share.
    #[default]
    Fast,
    /// By a shared store, exactly.
    Strict,
}

/// Where a request may carry its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeySource {
    /// `Authorization: Bearer …`
    Bearer,
    /// `X-API-Key: …`
    XApiKey,
    /// `?key=…`
    Query,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    pub id: KeyId,
    pub application: ApplicationId,
    pub digest: KeyDigest,
    #[serde(rename = "type")]
    pub key_type: KeyType,
    #[serde(default)]
    pub scopes: Vec<String>,
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
    /// Client networks it may come from; empty: any.
    #[serde(default)]
    pub allowed_ips: Vec<IpNet>,
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
    /// Request units per calendar month for this key's bucket.
    #[serde(default)]
    pub quota: Option<u64>,
    /// The first key of the line of rotations: bucket, quota and usage are its.
    pub bucket: KeyId,
}
