//! Entities as requests need them: parsed, sorted, with the header values that are sent for them
//! made once. They are built from the wire types and refuse what could not be served.

use std::sync::{Arc, OnceLock};

use authsome_shared::api_key::{KeyDigest, KeyType};
use authsome_shared::envelope::Envelope;
use authsome_shared::id::{ApplicationId, KeyId, WorkspaceId};
use authsome_shared::snapshot::{
    self as wire, ApplicationStatus, Balance, Breaker, HealthCheck, KeySource, Protocol, RateLimit,
    Timeouts, WorkspaceStatus,
};
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::admit::route::Route;
use crate::limit::quota::{Quota, Quotas};
use crate::limit::rate::Bucket;
use crate::upstream::base::Base;
use crate::upstream::pool::Pool;
use crate::upstream::tls::{Client, Tls};
use crate::upstream::{MAX_RETRIES, balance, probe};

#[derive(Debug)]
pub struct Workspace {
    pub id: Arc<str>,
    pub status: WorkspaceStatus,
    pub rate_limit: RateLimit,
    pub quota: Option<Box<Quota>>,
}

impl Workspace {
    pub fn new(workspace: &wire::Workspace, quotas: &Quotas) -> Self {
        let id: Arc<str> = workspace.id.as_str().into();
        Self {
            quota: Quota::new(workspace.quota, false, &id, quotas),
            status: workspace.status,
            rate_limit: workspace.rate_limit,
            id,
        }
    }
}

/// The header values that name an application.
#[derive(Debug)]
pub struct Names {
    pub application: HeaderValue,
    pub workspace: HeaderValue,
    pub environment: HeaderValue,
    pub region: HeaderValue,
}

#[derive(Debug)]
pub struct Application {
    pub id: Arc<str>,
    pub workspace: Arc<str>,
    /// Both ids as usage records hold them.
    pub ids: (WorkspaceId, ApplicationId),
    pub status: ApplicationStatus,
    pub names: Names,
    pub upstream: Option<Upstream>,
    /// Most specific first; empty: the default table.
    pub routes: Box<[Route]>,
    pub rate_limit: Option<RateLimit>,
    pub quota: Option<Box<Quota>>,
    pub max_body_bytes: u64,
    pub accept: Accept,
    pub end_user_header: Option<HeaderName>,
}

impl Application {
    /// `envelope` opens what is sealed for proxies.
    pub fn new(
        application: wire::Application,
        quotas: &Quotas,
        envelope: Option<&Envelope>,
    ) -> Result<Self, String> {
        let header = |what: &str, text: &str| {
            HeaderValue::from_str(text).map_err(|_| format!("its {what} can't be a header value"))
        };
        let mut routes: Vec<Route> = application.routes.into_iter().map(Route::new).collect();
        routes.sort_by(|a, b| a.pattern.specificity(&b.pattern));
        let end_user_header = match application.end_user_header.as_str() {
            "" => None,
            name => Some(name.parse().map_err(|_| "its end-user header is not a header name")?),
        };
        Ok(Self {
            names: Names {
                application: header("id", application.id.as_str())?,
                workspace: header("workspace", application.workspace.as_str())?,
                environment: header("environment", &application.environment)?,
                region: header("region", &application.region)?,
            },
            upstream: application
                .upstream
                .as_ref()
                .map(|upstream| Upstream::new(upstream, application.id.as_str(), envelope))
                .transpose()?
                .map(|it| it.restarted(application.id.as_str(), application.generation)),
            routes: routes.into(),
            rate_limit: application.rate_limit,
            quota: Quota::new(
                application.quota,
                application.quota_hard,
                application.id.as_str(),
                quotas,
            ),
            max_body_bytes: application.max_body_bytes,
            accept: Accept::new(&application.accept),
            end_user_header,
            status: application.status,
            id: application.id.as_str().into(),
            workspace: application.workspace.as_str().into(),
            ids: (application.workspace, application.id),
        })
    }
}

/// Where an application's callers may put their key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept {
    pub bearer: bool,
    pub api_key_header: bool,
    pub query: bool,
}

impl Accept {
    /// Nothing named means bearer.
    fn new(sources: &[KeySource]) -> Self {
        Self {
            bearer: sources.is_empty() || sources.contains(&KeySource::Bearer),
            api_key_header: sources.contains(&KeySource::XApiKey),
            query: sources.contains(&KeySource::Query),
        }
    }
}

/// An application's own upstream.
#[derive(Debug)]
pub struct Upstream {
    pub bases: Box<[Arc<Base>]>,
    /// One per base, none of them 0.
    pub weights: Box<[u32]>,
    pub balance: Balance,
    pub protocol: Protocol,
    pub preserve_host: bool,
    pub timeouts: Timeouts,
    /// Attempts after the first.
    pub retries: usize,
    pub health_check: Option<HealthCheck>,
    pub breaker: Option<Breaker>,
    pub tls: Option<Tls>,
    /// The application's: what an earlier one's pool knows is not taken over.
    pub generation: u64,
    /// Keeps this generation's connections apart from those of earlier ones; 0: of none.
    pub group: u64,
    /// What is known of the bases; found with the first request.
    pub pool: OnceLock<Arc<Pool>>,
}

impl Upstream {
    pub fn new(
        upstream: &wire::Upstream,
        application: &str,
        envelope: Option<&Envelope>,
    ) -> Result<Self, String> {
        let count = upstream.urls.len();
        if !(1..=balance::MOST).contains(&count) {
            return Err(format!("its upstream must have 1 to {} URLs", balance::MOST));
        }
        let weights = match &*upstream.weights {
            [] => vec![1; count],
            weights if weights.len() == count && !weights.contains(&0) => weights.to_vec(),
            _ => return Err("its upstream's weights do not fit its URLs".into()),
        };
        let bases: Vec<_> = upstream
            .urls
            .iter()
            .map(|url| Base::parse(url).map(Arc::new))
            .collect::<Result<_, _>>()?;
        if let Some(check) = &upstream.health_check {
            probe::check_path(&check.path)?;
        }
        Ok(Self {
            bases: bases.into(),
            weights: weights.into(),
            balance: upstream.balance,
            protocol: upstream.protocol,
            preserve_host: upstream.preserve_host,
            timeouts: upstream.timeouts,
            retries: usize::try_from(upstream.retries)
                .map_or(MAX_RETRIES, |it| it.min(MAX_RETRIES)),
            health_check: upstream.health_check.clone(),
            breaker: upstream.breaker,
            tls: Tls::new(&upstream.tls, application, envelope)?,
            generation: 0,
            group: 0,
            pool: OnceLock::new(),
        })
    }

    /// The same after so many restarts of its application.
    fn restarted(mut self, application: &str, generation: u64) -> Self {
        self.generation = generation;
        self.group = match generation {
            0 => 0,
            number => balance::hash(&format!("{application}/{number}")),
        };
        self
    }
}

impl Upstream {
    /// Why none of its URLs can be used, though all of it can be read.
    pub fn unusable(&self) -> Option<&'static str> {
        let sealed = self.tls.as_ref().is_some_and(|tls| matches!(tls.client, Client::Sealed));
        sealed.then_some(
            "its upstream's client key does not open: it was sealed with another node token. \
             Restart the control plane with the token that this proxy has",
        )
    }
}

/// The platform's upstream for applications without their own.
#[derive(Debug)]
pub enum DefaultUpstream {
    Echo,
    Url(Arc<Base>),
}

impl DefaultUpstream {
    pub fn new(upstream: &wire::DefaultUpstream) -> Result<Self, String> {
        Ok(match upstream {
            wire::DefaultUpstream::Echo => Self::Echo,
            wire::DefaultUpstream::Url(url) => Self::Url(Arc::new(Base::parse(url)?)),
        })
    }
}

/// What a key may do, and how that is told the upstream. Most keys share theirs with others.
#[derive(Debug)]
pub struct Scopes {
    pub list: Box<[Box<str>]>,
    /// Separated by spaces.
    pub header: HeaderValue,
}

impl Scopes {
    /// `text` is `scopes` separated by spaces; one that no header can hold is told as none.
    pub fn new(scopes: &[String], text: &str) -> Self {
        let header = HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { list: scopes.iter().map(|scope| scope.as_str().into()).collect(), header }
    }
}

/// There may be a million of these: what is common is shared, what is rare is apart. With the two
/// counts of its `Arc` it takes two lines of a cache; what finds it lies in the first.
#[derive(Debug)]
#[repr(C)]
pub struct Key {
    pub digest: KeyDigest,
    pub application: Arc<str>,
    pub id: KeyId,
    pub scopes: Arc<Scopes>,
    pub bucket: Arc<Bucket>,
    own: Option<Box<Own>>,
    pub kind: KeyType,
}

/// What most keys do not have.
#[derive(Debug)]
struct Own {
    /// Microseconds since the epoch.
    expires_at: Option<i64>,
    allowed_ips: Box<[IpNet]>,
    rate_limit: Option<RateLimit>,
    quota: Option<Box<Quota>>,
    first: Option<KeyId>,
}

impl Key {
    pub fn new(
        key: wire::Key,
        application: Arc<str>,
        scopes: Arc<Scopes>,
        bucket: Arc<Bucket>,
        quotas: &Quotas,
    ) -> Self {
        let own = Own {
            quota: Quota::new(key.quota, false, key.bucket.as_str(), quotas),
            first: (key.bucket != key.id).then_some(key.bucket),
            expires_at: key.expires_at.map(|at| at.timestamp_micros()),
            allowed_ips: key.allowed_ips.into(),
            rate_limit: key.rate_limit,
        };
        let any = own.expires_at.is_some()
            || !own.allowed_ips.is_empty()
            || own.rate_limit.is_some()
            || own.quota.is_some()
            || own.first.is_some();
        Self {
            digest: key.digest,
            application,
            id: key.id,
            scopes,
            bucket,
            own: any.then(|| Box::new(own)),
            kind: key.key_type,
        }
    }

    /// Microseconds since the epoch; `i64::MAX` for never.
    pub fn expires_at(&self) -> i64 {
        self.own.as_ref().and_then(|own| own.expires_at).unwrap_or(i64::MAX)
    }

    /// Networks it may be used from; empty: any.
    pub fn allowed_ips(&self) -> &[IpNet] {
        self.own.as_ref().map_or(&[], |own| &own.allowed_ips)
    }

    pub fn rate_limit(&self) -> Option<RateLimit> {
        self.own.as_ref()?.rate_limit
    }

    pub fn quota(&self) -> Option<&Quota> {
        self.own.as_ref()?.quota.as_deref()
    }

    /// The first key of its line of rotations, when that is another: bucket, quota and usage are
    /// that one's.
    pub fn first(&self) -> Option<&KeyId> {
        self.own.as_ref()?.first.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_keys_lie_in_two_lines_of_a_cache_each() {
        assert!(2 * size_of::<usize>() + size_of::<Key>() <= 128);
    }

    #[test]
    fn an_upstream_that_cannot_be_served_is_refused() {
        let good = wire::Upstream {
            urls: vec!["http://a".into(), "http://b".into()],
            weights: vec![1, 2],
            ..wire::Upstream::default()
        };
        let refused = |change: fn(&mut wire::Upstream)| {
            let mut upstream = good.clone();
            change(&mut upstream);
            Upstream::new(&upstream, "app_1", None).is_err()
        };
        assert!(!refused(|_| {}));
        assert!(!refused(|it| it.retries = 99), "more than there may be is as many as there may");
        assert!(refused(|it| it.urls.clear()));
        assert!(refused(|it| it.urls = vec!["http://a".into(); 17]));
        assert!(refused(|it| it.weights = vec![1]));
        assert!(refused(|it| it.weights = vec![0, 1]));
        assert!(refused(|it| it.tls.sni = Some(String::new())));
        assert!(refused(|it| it.tls.ca_pem = Some("-----BEGIN".into())));
        assert!(refused(|it| {
            it.health_check = Some(HealthCheck { path: "/ HTTP/1.1".into(), ..Default::default() });
        }));
    }
}
