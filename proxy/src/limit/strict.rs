//! Limits that all proxies hold together, exactly: rate limits of mode `strict` and hard quotas.
//! A store (`store`) holds the bucket or the counter; units are leased from it in batches (`lease`).
//!
//! Nothing here ever refuses because the store is away. Then, at once, each proxy holds its own
//! share of a rate limit, in buckets that were kept level with the fleet's, and of what was left of
//! a quota; what it admits so is told the store later, as a debt. The same holds beside the store
//! while that has forgotten what it knew.

mod apart;
mod lease;
mod quota;
mod rate;
mod store;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use authsome_shared::clock::Clock;
use authsome_shared::node::StoreState;
use authsome_shared::snapshot::{LimitMode, RateLimit};
use parking_lot::{Mutex, RwLock};
use prometheus::IntCounter;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config;
use crate::limit::share::Share;
use crate::metrics::Metrics;
use crate::seldom::Seldom;
use lease::{Begun, Verdict};
use store::Store;

/// A lease that nobody has used for this long is forgotten.
const FORGET_AFTER: Duration = Duration::from_mins(1);

/// How often unused units of quotas go back.
const SURRENDER_EVERY: Duration = Duration::from_millis(500);

pub struct Strict {
    store: Option<Arc<Store>>,
    share: Arc<Share>,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// How long a rate limit's leased unit may be used.
    rate_lifetime: Duration,
    rates: Lines<rate::Line>,
    quotas: Lines<quota::Line>,
    off: Seldom,
}

/// The leases of one kind of limit, by the limit's name; in parts, so that forgetting those of a
/// million keys holds nobody up.
struct Lines<L> {
    parts: [RwLock<Part<L>>; PARTS],
    hasher: RandomState,
}

type Part<L> = HashMap<Box<str>, Arc<Mutex<L>>>;

const PARTS: usize = 64;

impl<L> Default for Lines<L> {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| RwLock::default()), hasher: RandomState::new() }
    }
}

impl<L> Lines<L> {
    fn part(&self, name: &str) -> &RwLock<Part<L>> {
        let part = self.hasher.hash_one(name) % PARTS as u64;
        &self.parts[usize::try_from(part).unwrap_or_default()]
    }

    fn get(&self, name: &str) -> Option<Arc<Mutex<L>>> {
        self.part(name).read().get(name).cloned()
    }

    fn line(&self, name: &str, new: impl FnOnce() -> L) -> Arc<Mutex<L>> {
        self.get(name).unwrap_or_else(|| {
            let mut part = self.part(name).write();
            part.entry(name.into()).or_insert_with(|| Arc::new(Mutex::new(new()))).clone()
        })
    }

    /// Forgets those of one part that are done with since long.
    fn forget(&self, part: usize, done: impl Fn(&L, Instant) -> bool) {
        let Some(before) = Instant::now().checked_sub(FORGET_AFTER) else { return };
        self.parts[part].write().retain(|_, line| !done(&line.lock(), before));
    }

    fn all(&self) -> Vec<(Box<str>, Arc<Mutex<L>>)> {
        let mut all = Vec::new();
        for part in &self.parts {
            all.extend(part.read().iter().map(|(name, line)| (name.clone(), line.clone())));
        }
        all
    }
}

impl Strict {
    pub fn new(
        config: &config::Strict,
        share: Arc<Share>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            store: Store::new(config, metrics.clone())?.map(Arc::new),
            share,
            clock,
            metrics,
            rate_lifetime: Duration::from_millis(config.lease_ms),
            rates: Lines::default(),
            quotas: Lines::default(),
            off: Seldom::default(),
        })
    }

    /// Of how many buckets a limit consists now: of one for all, or one a proxy.
    pub fn buckets(&self, limit: RateLimit) -> u32 {
        let strict = limit.mode == LimitMode::Strict && self.state() == StoreState::Up;
        if strict { 1 } else { self.share.proxies() }
    }

    /// How it is with the store, as the control plane is told.
    pub fn state(&self) -> StoreState {
        match &self.store {
            None => StoreState::Off,
            Some(store) if store.is_up() => StoreState::Up,
            Some(_) => StoreState::Down,
        }
    }

    /// Keeps the connection to the store and gives unused units back, for ever.
    pub async fn run(self: Arc<Self>) {
        let Some(store) = self.store.clone() else { return };
        let keeper =
            tokio_util::task::AbortOnDropHandle::new(store.apart.spawn(store.clone().keep()));
        let mut ticks = tokio::time::interval(SURRENDER_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for part in (0..PARTS).cycle() {
            if keeper.is_finished() {
                return;
            }
            ticks.tick().await;
            self.surrender(Instant::now()).await;
            self.rates.forget(part, rate::Line::is_done);
            self.quotas.forget(part, quota::Line::is_done);
        }
    }

    /// The store, if it can be asked now. Where it can't, this is counted as a fallback.
    fn store(&self) -> Option<&Arc<Store>> {
        match &self.store {
            None => {
                if let Some(before) = self.off.due() {
                    tracing::warn!(
                        before,
                        "an application asks for strict limits, but strict.redis_url is not set: \
                         this proxy holds its share of them by itself"
                    );
                }
                Self::fell_back(&self.metrics.strict.fallbacks.off)
            }
            Some(store) if store.is_up() => Some(store),
            Some(_) => Self::fell_back(&self.metrics.strict.fallbacks.down),
        }
    }

    fn fell_back<T>(reason: &IntCounter) -> Option<T> {
        reason.inc();
        None
    }

    /// Waits for a verdict, but not for long; `None` if it does not come in time.
    async fn verdict(
        &self,
        store: &Store,
        receiver: oneshot::Receiver<Verdict>,
    ) -> Option<Verdict> {
        match timeout(store.wait, receiver).await {
            Ok(Ok(verdict)) => {
                store.prompt();
                Some(verdict)
            }
            Ok(Err(_)) => Self::fell_back(&self.metrics.strict.fallbacks.late),
            Err(_) => {
                store.late();
                Self::fell_back(&self.metrics.strict.fallbacks.late)
            }
        }
    }
}
