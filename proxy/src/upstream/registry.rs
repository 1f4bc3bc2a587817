//! The pools of all applications, by application: found once per application and configuration,
//! then held by the configuration itself, so that a request does not look for it. Applications that
//! are gone are forgotten when `probe` sees a new snapshot.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::address::Resolver;
use super::pool::Pool;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::snapshot::entity::{Application, Upstream};

pub struct Pools {
    began: Instant,
    latest: Mutex<HashMap<Arc<str>, Arc<Pool>>>,
    resolver: Arc<Resolver>,
    pub metrics: Arc<Metrics>,
}

impl Pools {
    /// What a restart makes void, `resolver` forgets too.
    pub fn new(metrics: Arc<Metrics>, resolver: Arc<Resolver>) -> Self {
        Self { began: Instant::now(), latest: Mutex::default(), resolver, metrics }
    }

    /// Milliseconds on the clock that pools go by.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The pool for this configuration of an application.
    pub fn of<'a>(&self, application: &Application, upstream: &'a Upstream) -> &'a Arc<Pool> {
        upstream.pool.get_or_init(|| {
            let mut latest = self.latest.lock();
            let before = latest.get(&application.id).map(|it| &**it);
            if before.is_some_and(|before| before.generation() != upstream.generation) {
                upstream.bases.iter().for_each(|base| self.resolver.forget(&base.host));
            }
            let pool = Arc::new(Pool::new(upstream, before));
            latest.insert(application.id.clone(), pool.clone());
            pool
        })
    }

    /// Forgets applications that are gone or no longer have an upstream.
    pub fn keep(&self, snapshot: &Snapshot) {
        self.latest
            .lock()
            .retain(|id, _| snapshot.application(id).is_some_and(|it| it.upstream.is_some()));
    }

    /// Brings the gauges up to date.
    pub fn gauge(&self) {
        let now = self.now();
        let (mut within, mut ejected, mut down, mut open) = (0, 0, 0, 0);
        for pool in self.latest.lock().values() {
            for (place, server) in pool.servers().iter().enumerate() {
                if pool.is_down(place) {
                    down += 1;
                } else if server.is_ejected(now) {
                    ejected += 1;
                } else {
                    within += 1;
                }
            }
            open += i64::from(pool.is_open());
        }
        for (state, count) in [("in", within), ("ejected", ejected), ("unhealthy", down)] {
            self.metrics.upstream.urls.with_label_values(&[state]).set(count);
        }
        self.metrics.upstream.breakers_open.set(open);
    }
}
