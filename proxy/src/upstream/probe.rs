//! Asks the URLs of applications that have a health check how they are: each URL at its interval,
//! with jitter, over connections of their own that are made as a request's would be (address judged
//! by the egress rule, TLS verified). Checks start and stop as the snapshot changes; a whole new
//! snapshot starts them anew, and what they found before stays with the pool. A check that can't be
//! made for a reason of ours counts like one that failed; the pool has the last word.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use authsome_shared::snapshot::{ApplicationStatus, HealthCheck};
use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::{Uri, Version};
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::{ErrorType, OrErr};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::address::Resolver;
use super::base::Base;
use super::own_peer;
use super::pool::Pool;
use super::registry::Pools;
use crate::snapshot::Snapshot;
use crate::snapshot::entity::{Application, Upstream};

/// How soon a changed snapshot is seen, and gauges are brought up to date.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Checks under way at once, over all applications.
const AT_ONCE: usize = 64;

/// The first check of a URL comes within this time, or its interval if that is shorter.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// No URL is asked more often, whatever the configuration says.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

pub struct Prober {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub pools: Arc<Pools>,
    pub resolver: Arc<Resolver>,
    connector: Connector,
    at_once: Semaphore,
}

type Running = HashMap<Arc<str>, (Arc<Application>, Vec<AbortOnDropHandle<()>>)>;

impl Prober {
    pub fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        pools: Arc<Pools>,
        resolver: Arc<Resolver>,
    ) -> Self {
        let connector = Connector::new(None);
        Self { snapshot, pools, resolver, connector, at_once: Semaphore::new(AT_ONCE) }
    }

    /// Runs until it is aborted, and its checks with it.
    pub async fn run(self: Arc<Self>) {
        let mut running = Running::new();
        let mut seen: Option<Arc<Snapshot>> = None;
        loop {
            let current = self.snapshot.load_full();
            if !seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &current)) {
                self.pools.keep(&current);
                self.follow(&current, &mut running);
                seen = Some(current);
            }
            self.pools.gauge();
            sleep(LOOK_EVERY).await;
        }
    }

    /// Starts and stops checks, so that exactly what the snapshot wants is running.
    fn follow(self: &Arc<Self>, snapshot: &Snapshot, running: &mut Running) {
        running.retain(|id, (application, _)| {
            snapshot.application(id).is_some_and(|now| Arc::ptr_eq(now, application))
        });
        for application in snapshot.all_applications() {
            let Some(upstream) = &application.upstream else { continue };
            let wanted = application.status == ApplicationStatus::Active;
            if upstream.health_check.is_none() || !wanted || running.contains_key(&application.id) {
                continue;
            }
            let checks = (0..upstream.bases.len())
                .map(|place| tokio::spawn(self.clone().check(application.clone(), place)))
                .map(AbortOnDropHandle::new)
                .collect();
            running.insert(application.id.clone(), (application.clone(), checks));
        }
    }

    /// Checks one URL for ever.
    async fn check(self: Arc<Self>, application: Arc<Application>, place: usize) {
        let Some(upstream) = &application.upstream else { return };
        let Some(settings) = &upstream.health_check else { return };
        let pool = self.pools.of(&application, upstream).clone();
        let interval = Duration::from_millis(settings.interval_ms).max(SHORTEST_INTERVAL);
        sleep(interval.min(FIRST_WITHIN).mul_f64(random())).await;
        loop {
            self.once(upstream, settings, &pool, place).await;
            // Nine to eleven tenths: proxies that started together don't stay together.
            sleep(interval.mul_f64(0.9 + 0.2 * random())).await;
        }
    }

    async fn once(&self, upstream: &Upstream, settings: &HealthCheck, pool: &Pool, place: usize) {
        let Ok(_one) = self.at_once.acquire().await else { return };
        let limit = Duration::from_millis(settings.timeout_ms.max(1));
        let answer = timeout(limit, self.ask(upstream, settings, place)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".into()));
        let outcome = if answer.is_ok() { "healthy" } else { "unhealthy" };
        self.pools.metrics.upstream.checks.with_label_values(&[outcome]).inc();
        let changed = pool.checked(place, answer.is_ok(), settings);
        let url = &*upstream.bases[place].url;
        match (changed, answer) {
            (Some(true), _) => tracing::info!(url, "an upstream is healthy again"),
            (Some(false), Err(reason)) => tracing::warn!(url, reason, "an upstream is unhealthy"),
            _ => {}
        }
    }

    /// One request; anything but a 2xx is told as an error.
    async fn ask(
        &self,
        upstream: &Upstream,
        settings: &HealthCheck,
        place: usize,
    ) -> Result<(), String> {
        let base = &upstream.bases[place];
        let snapshot = self.snapshot.load_full();
        let peer = own_peer(upstream, place, 0, &snapshot, &self.resolver).await;
        let mut peer = peer.map_err(|cause| format!("{cause:?}"))?;
        // For this request alone, so that the connection ends with it.
        peer.options.max_h2_streams = 1;
        let target = format!("{}{}", base.path, settings.path);
        let asked = async {
            let mut request = RequestHeader::build("GET", target.as_bytes(), Some(4))?;
            request.insert_header(USER_AGENT, "authsome-proxy")?;
            request.insert_header(ACCEPT, "*/*")?;
            // The connection is not given back, so it ends with this.
            let (mut session, _) = self.connector.get_http_session(&*peer).await?;
            if matches!(session, HttpSession::H2(_)) {
                request.set_version(Version::HTTP_2);
                request.set_uri(absolute(base, &target)?);
            } else {
                request.insert_header(HOST, base.authority.clone())?;
                request.insert_header(CONNECTION, "close")?;
            }
            session.write_request_header(Box::new(request)).await?;
            session.finish_request_body().await?;
            loop {
                session.read_response_header().await?;
                let status = session.response_header().map(|head| head.status);
                if let Some(status) = status.filter(|status| !status.is_informational()) {
                    return Ok::<_, Box<pingora::Error>>(status);
                }
            }
        };
        let status = asked.await.map_err(|error| error.etype().as_str().to_owned())?;
        if status.is_success() { Ok(()) } else { Err(format!("it answered {}", status.as_u16())) }
    }
}

/// HTTP/2 takes a request's scheme and authority from its URI.
fn absolute(base: &Base, target: &str) -> pingora::Result<Uri> {
    let scheme = if base.tls { "https" } else { "http" };
    Uri::builder()
        .scheme(scheme)
        .authority(base.authority.as_bytes())
        .path_and_query(target)
        .build()
        .or_err(ErrorType::InternalError, "a health check's URI")
}

/// A path that can be asked for as it is.
pub fn check_path(path: &str) -> Result<(), String> {
    if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err("its health check's path is not a path".into())
    }
}

/// At least 0, less than 1.
fn random() -> f64 {
    // A new `RandomState` is randomly seeded: enough for jitter.
    let drawn = u32::try_from(RandomState::new().hash_one(0) % 1_000).unwrap_or(0);
    f64::from(drawn) / 1_000.0
}
