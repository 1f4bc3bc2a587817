//! An application's `config` (design section 9): what may stand in it, its defaults, and what
//! proxies get of it. What the user gave is stored as given; unknown fields are refused by name.

mod resources;
mod upstream;

use authsome_shared::route::RoutePattern;
use authsome_shared::snapshot::{self, ApplicationStatus, KeySource, RateLimit};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Application;
use crate::duration;
use crate::error::{Checks, Error, Result, Violation};
pub use resources::Resources;
pub use upstream::{Breaker, HealthCheck, Upstream, UpstreamTimeouts, UpstreamTls};

const MAX_ROUTES: usize = 500;
const MAX_BODY_BYTES: u64 = 1 << 40;
pub const REGION_RULE: &str = "`region` must have 1 to 32 lower-case letters, digits and hyphens";

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApplicationConfig {
    pub mode: Mode,
    pub session: Session,
    /// Shown in `X-AuthSome-Region` instead of the application's own.
    pub region: Option<String>,
    /// `None`: the platform's default upstream.
    pub upstream: Option<Upstream>,
    /// Replaces the default route table when not empty.
    pub routes: Vec<Route>,
    pub rate_limit: Option<RateLimitConfig>,
    pub quota: Option<Quota>,
    pub max_body_bytes: u64,
    pub keys: Keys,
    pub end_user: EndUser,
    pub resources: Resources,
}

impl Default for ApplicationConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Saas,
            session: Session::default(),
            region: None,
            upstream: None,
            routes: vec![],
            rate_limit: None,
            quota: None,
            max_body_bytes: 1 << 30,
            keys: Keys::default(),
            end_user: EndUser::default(),
            resources: Resources::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Saas,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Session {
    /// A duration: for the application's own use.
    pub timeout: String,
}

impl Default for Session {
    fn default() -> Self {
        Self { timeout: "7d".into() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    #[serde(rename = "match")]
    pub pattern: RoutePattern,
    #[serde(default)]
    pub scope: Option<String>,
    #[serde(default)]
    pub public: bool,
    #[serde(default = "one")]
    pub cost: u32,
}

fn one() -> u32 {
    1
}

/// `requests` in each window; `burst` at once, as many as `requests` unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimitConfig {
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub requests: u32,
    /// One second unless said otherwise; up to an hour.
    #[serde(default = "one_second")]
    #[schema(minimum = 1, maximum = 3_600_000, default = 1000)]
    pub window_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub burst: Option<u32>,
    #[serde(default, skip_serializing_if = "LimitMode::is_fast")]
    pub mode: LimitMode,
}

/// How proxies hold one limit together: `fast`, each an equal share by itself; `strict`, exactly,
/// by the Redis or Valkey that they are given.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LimitMode {
    #[default]
    Fast,
    Strict,
}

impl LimitMode {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
    fn is_fast(&self) -> bool {
        *self == Self::Fast
    }
}

fn one_second() -> u64 {
    1000
}

impl RateLimitConfig {
    pub fn check(&self, checks: &mut Checks, field: &str) {
        let number = |n| (1..=1_000_000).contains(&n);
        checks.check(
            number(self.requests),
            &format!("{field}.requests"),
            "`requests` must be 1 to 1000000",
        );
        checks.check(
            (1..=3_600_000).contains(&self.window_ms),
            &format!("{field}.windowMs"),
            "`windowMs` must be 1 to 3600000",
        );
        checks.check(
            self.burst.is_none_or(number),
            &format!("{field}.burst"),
            "`burst` must be 1 to 1000000",
        );
    }

    pub fn to_wire(self) -> RateLimit {
        RateLimit {
            requests: self.requests,
            window_ms: self.window_ms,
            burst: self.burst.unwrap_or(self.requests),
            mode: match self.mode {
                LimitMode::Fast => snapshot::LimitMode::Fast,
                LimitMode::Strict => snapshot::LimitMode::Strict,
            },
        }
    }
}

impl From<RateLimit> for RateLimitConfig {
    fn from(limit: RateLimit) -> Self {
        let mode = match limit.mode {
            snapshot::LimitMode::Fast => LimitMode::Fast,
            snapshot::LimitMode::Strict => LimitMode::Strict,
        };
        let RateLimit { requests, window_ms, burst, .. } = limit;
        Self { requests, window_ms, burst: Some(burst), mode }
    }
}

/// Request units per calendar month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    pub requests: u64,
    /// Not one more, over all proxies: they count it by the Redis or Valkey that they are given.
    #[serde(default)]
    pub hard: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    pub accept: Vec<KeySource>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { accept: vec![KeySource::Bearer] }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndUser {
    /// Response header in which the upstream names the end user.
    pub header: String,
}

impl Default for EndUser {
    fn default() -> Self {
        Self { header: "X-AuthSome-User-ID".into() }
    }
}

impl ApplicationConfig {
    /// Reads what the user gave; the violation names the field from `config.` on.
    pub fn parse(raw: &Map<String, Value>) -> Result<Self> {
        let value = Value::Object(raw.clone());
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = match error.path().to_string().as_str() {
                "." => "config".to_owned(),
                path => format!("config.{path}"),
            };
            Error::Invalid(vec![Violation::from_serde(&path, &error.inner().to_string())])
        })
    }

    /// The rules that types don't express.
    pub fn validate(&self, egress_allow: &[IpNet]) -> Result<()> {
        let mut checks = Checks::default();
        let timeout = duration::parse(&self.session.timeout);
        checks.check(
            timeout.is_some(),
            "config.session.timeout",
            format!("`timeout` {}", duration::RULE),
        );
        if let Some(region) = &self.region {
            checks.check(is_region(region), "config.region", REGION_RULE);
        }
        if let Some(upstream) = &self.upstream {
            upstream.check(&mut checks, egress_allow);
        }
        self.check_routes(&mut checks);
        if let Some(limit) = &self.rate_limit {
            limit.check(&mut checks, "config.rateLimit");
        }
        checks.check(
            (1..=MAX_BODY_BYTES).contains(&self.max_body_bytes),
            "config.maxBodyBytes",
            format!("`maxBodyBytes` must be 1 to {MAX_BODY_BYTES}"),
        );
        checks.check(
            !self.keys.accept.is_empty(),
            "config.keys.accept",
            "`accept` must name at least one place: bearer, x-api-key, query",
        );
        let header = http::HeaderName::from_bytes(self.end_user.header.as_bytes());
        checks.check(
            header.is_ok(),
            "config.endUser.header",
            "`header` must be the name of an HTTP header",
        );
        self.resources.check(&mut checks);
        checks.finish()
    }

    fn check_routes(&self, checks: &mut Checks) {
        checks.check(
            self.routes.len() <= MAX_ROUTES,
            "config.routes",
            format!("there may be at most {MAX_ROUTES} routes"),
        );
        for (i, route) in self.routes.iter().enumerate() {
            let field = format!("config.routes[{i}]");
            if self.routes[..i].iter().any(|other| other.pattern == route.pattern) {
                let message = format!("`{}` is listed twice, which is ambiguous", route.pattern);
                checks.fail(format!("{field}.match"), message);
            }
            if let Some(scope) = &route.scope {
                checks.check(is_scope(scope), &format!("{field}.scope"), SCOPE_RULE);
            }
            checks.check(
                (1..=10_000).contains(&route.cost),
                &format!("{field}.cost"),
                "`cost` must be 1 to 10000",
            );
        }
    }

    /// What proxies get.
    pub fn to_wire(
        &self,
        application: &Application,
        status: ApplicationStatus,
    ) -> snapshot::Application {
        snapshot::Application {
            id: application.id.clone(),
            workspace: application.workspace_id.clone(),
            environment: application.environment.as_str().to_owned(),
            region: self.region.clone().unwrap_or_else(|| application.region.clone()),
            status,
            generation: application.generation.unsigned_abs(),
            upstream: self.upstream.as_ref().map(Upstream::to_wire),
            routes: self.routes.iter().map(Route::to_wire).collect(),
            rate_limit: self.rate_limit.map(RateLimitConfig::to_wire),
            quota: self.quota.map(|quota| quota.requests),
            quota_hard: self.quota.is_some_and(|quota| quota.hard),
            max_body_bytes: self.max_body_bytes,
            accept: self.keys.accept.clone(),
            end_user_header: self.end_user.header.clone(),
        }
    }
}

impl Route {
    fn to_wire(&self) -> snapshot::Route {
        snapshot::Route {
            pattern: self.pattern.clone(),
            scope: self.scope.clone(),
            public: self.public,
            cost: self.cost,
        }
    }
}

pub const SCOPE_RULE: &str =
    "a scope is `*` or `name:verb` of lower-case letters, digits, `-` and `_`";

/// `*` or `name:verb`.
pub fn is_scope(text: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
    };
    text == "*"
        || (text.len() <= 64
            && text.split_once(':').is_some_and(|(name, verb)| word(name) && word(verb)))
}

pub fn is_region(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<ApplicationConfig> {
        let Value::Object(map) = value else { panic!("not an object") };
        let config = ApplicationConfig::parse(&map)?;
        config.validate(&["127.0.0.0/8".parse().unwrap()])?;
        Ok(config)
    }

    #[test]
    fn an_upstream_url_alone_is_enough() {
        let config = read(json!({ "upstream": { "urls": ["http://api.example.com"] } })).unwrap();
        assert_eq!(config.keys.accept, [KeySource::Bearer]);
        assert_eq!(config.session.timeout, "7d");
        assert_eq!(read(json!({})).unwrap(), ApplicationConfig::default());
    }

    #[test]
    fn refusals_name_the_field() {
        let upstream = |url: &str| json!({ "upstream": { "urls": [url] } });
        for (value, field) in [
            (json!({ "colour": 1 }), "config.colour"),
            (json!({ "mode": "magic" }), "config.mode"),
            (json!({ "session": { "timeout": "soon" } }), "config.session.timeout"),
            (json!({ "upstream": {} }), "config.upstream.urls"),
            (json!({ "upstream": { "urls": [] } }), "config.upstream.urls"),
            (
                json!({ "upstream": { "urls": ["http://a.b"], "colour": 1 } }),
                "config.upstream.colour",
            ),
            (upstream("nowhere"), "config.upstream.urls[0]"),
            (upstream("ftp://a.b"), "config.upstream.urls[0]"),
            (upstream("http://u:p@a.b"), "config.upstream.urls[0]"),
            (upstream("http://a.b/?x=1"), "config.upstream.urls[0]"),
            (upstream("http://169.254.169.254/"), "config.upstream.urls[0]"),
            (upstream("http://[::1]:80"), "config.upstream.urls[0]"),
            (json!({ "routes": [{ "match": "users" }] }), "config.routes[0].match"),
            (
                json!({ "routes": [{ "match": "GET /a", "scope": "A b" }] }),
                "config.routes[0].scope",
            ),
            (
                json!({ "routes": [{ "match": "GET /a" }, { "match": "GET /a" }] }),
                "config.routes[1].match",
            ),
            (json!({ "routes": [{ "match": "GET /a", "cost": 0 }] }), "config.routes[0].cost"),
            (json!({ "rateLimit": { "requests": 0 } }), "config.rateLimit.requests"),
            (json!({ "rateLimit": { "requests": 1, "mode": "loose" } }), "config.rateLimit.mode"),
            (json!({ "quota": { "requests": -1 } }), "config.quota.requests"),
            (json!({ "maxBodyBytes": 0 }), "config.maxBodyBytes"),
            (json!({ "keys": { "accept": [] } }), "config.keys.accept"),
            (json!({ "keys": { "accept": ["cookie"] } }), "config.keys.accept[0]"),
            (json!({ "endUser": { "header": "a b" } }), "config.endUser.header"),
            (json!({ "resources": { "cpuLimit": "lots" } }), "config.resources.cpuLimit"),
            (json!({ "resources": { "memoryLimit": "1.Gi" } }), "config.resources.memoryLimit"),
            (json!({ "resources": { "replicas": -1 } }), "config.resources.replicas"),
        ] {
            let error = read(value.clone()).expect_err(&value.to_string());
            let Error::Invalid(violations) = error else { panic!("{value}: {error:?}") };
            assert_eq!(violations[0].field, field, "{value}: {}", violations[0].message);
        }
        assert!(read(upstream("http://127.0.0.1:3000/base")).is_ok());
    }

    #[test]
    fn scopes() {
        for good in ["*", "users:read", "my-thing_2:do"] {
            assert!(is_scope(good), "{good}");
        }
        for bad in ["", "users", ":read", "users:", "Users:read", "users:*", "a:b:c", "a b:c"] {
            assert!(!is_scope(bad), "{bad}");
        }
    }
}
