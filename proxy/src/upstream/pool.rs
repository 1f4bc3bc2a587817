//! One application's URLs with what is known of them, and the choice between them. It lives beside
//! the snapshot: a new configuration of the application takes over the health of the URLs it still
//! has, the breaker unless its settings changed, and the retry budget; after a restart, nothing. What is decided is decided
//! by `balance`, `health`, `breaker` and `budget`; time is an argument, in milliseconds.
//!
//! A URL is in when neither its requests nor its health check have put it out. Requests don't put
//! out the last one that is in. When all are out (their checks can do that) all are used: a wrong
//! check must not be an outage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use authsome_shared::snapshot::{Balance, HealthCheck};
use parking_lot::Mutex;

use super::balance::{self, Places};
use super::breaker::{Breaker, Pass};
use super::budget::Budget;
use super::health::Health;
use crate::snapshot::entity::Upstream;

/// One URL of one application.
#[derive(Debug, Default)]
pub struct Server {
    url: Box<str>,
    /// Requests under way.
    under_way: AtomicUsize,
    /// Copies of what `health` says, to be read without its lock.
    out_until: AtomicU64,
    down: AtomicBool,
    clean: AtomicBool,
    health: Mutex<Health>,
}

impl Server {
    fn new(url: &str) -> Self {
        Self { url: url.into(), clean: AtomicBool::new(true), ..Self::default() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Health) -> T) -> T {
        let mut health = self.health.lock();
        let result = change(&mut health);
        self.out_until.store(health.out_until(), Ordering::Relaxed);
        self.down.store(health.is_down(), Ordering::Relaxed);
        self.clean.store(health.is_clean(), Ordering::Relaxed);
        result
    }

    pub fn is_ejected(&self, now: u64) -> bool {
        now < self.out_until.load(Ordering::Relaxed)
    }
}

/// What outlives a configuration as a whole.
#[derive(Debug, Default)]
struct Shared {
    breaker: Mutex<Option<Breaker>>,
    budget: Mutex<Budget>,
}

#[derive(Debug)]
pub struct Pool {
    servers: Box<[Arc<Server>]>,
    /// Hashes of the URLs, for balancing by hash.
    hashes: Box<[u64]>,
    weights: Box<[u32]>,
    balance: Balance,
    /// It has a health check, so that what that said counts.
    checked: bool,
    /// It has a breaker.
    broken: bool,
    credit: Mutex<Box<[i64]>>,
    turn: AtomicUsize,
    shared: Arc<Shared>,
    /// Restarts of the application before it.
    generation: u64,
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub struct Flight(Arc<Server>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// For a configuration, with what an earlier one's pool knows, unless a restart lies between.
    pub fn new(upstream: &Upstream, before: Option<&Self>) -> Self {
        let before = before.filter(|before| before.generation == upstream.generation);
        let known =
            |url: &str| before?.servers.iter().find(|server| *server.url == *url).map(Arc::clone);
        let urls = || upstream.bases.iter().map(|base| &*base.url);
        let shared = before.map_or_else(Arc::default, |before| before.shared.clone());
        let mut breaker = shared.breaker.lock();
        if breaker.as_ref().map(Breaker::settings) != upstream.breaker {
            *breaker = upstream.breaker.map(Breaker::new);
        }
        drop(breaker);
        Self {
            servers: urls()
                .map(|url| known(url).unwrap_or_else(|| Arc::new(Server::new(url))))
                .collect(),
            hashes: urls().map(balance::hash).collect(),
            weights: upstream.weights.clone(),
            balance: upstream.balance,
            checked: upstream.health_check.is_some(),
            broken: upstream.breaker.is_some(),
            credit: Mutex::new(vec![0; upstream.bases.len()].into()),
            turn: AtomicUsize::new(0),
            shared,
            generation: upstream.generation,
        }
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Places of the URLs that are in.
    pub fn places_in(&self, now: u64) -> Places {
        self.servers.iter().enumerate().fold(Places::NONE, |places, (place, server)| {
            let is_in = !server.is_ejected(now) && !self.is_down(place);
            if is_in { places.with(place) } else { places }
        })
    }

    /// Is it out by its health check?
    pub fn is_down(&self, place: usize) -> bool {
        self.checked && self.servers[place].down.load(Ordering::Relaxed)
    }

    pub fn all(&self) -> Places {
        Places::first(self.servers.len())
    }

    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// Does the choice depend on whose request it is?
    pub fn needs_subject(&self) -> bool {
        self.balance == Balance::Hash && self.servers.len() > 1
    }

    /// The place of the next attempt: one that is in and was not tried; else one that was not
    /// tried; else any.
    pub fn choose(&self, tried: Places, subject: u64, now: u64) -> usize {
        if self.servers.len() == 1 {
            return 0;
        }
        let all = self.all();
        let places_in = self.places_in(now);
        let among = [places_in.without(tried), all.without(tried), places_in]
            .into_iter()
            .find(|among| !among.is_empty())
            .unwrap_or(all);
        let chosen = match self.balance {
            Balance::RoundRobin => balance::in_turn(&mut self.credit.lock(), &self.weights, among),
            Balance::LeastRequests => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                let under_way = |place: usize| self.under_way(place);
                balance::least(under_way, &self.weights, among, turn)
            }
            Balance::Hash => balance::by_hash(subject, &self.hashes, &self.weights, among),
        };
        chosen.unwrap_or(0)
    }

    fn under_way(&self, place: usize) -> usize {
        self.servers[place].under_way.load(Ordering::Relaxed)
    }

    pub fn start(&self, place: usize) -> Flight {
        let server = self.servers[place].clone();
        server.under_way.fetch_add(1, Ordering::Relaxed);
        Flight(server)
    }

    /// Nothing is held against it, so that it need not be told of a response.
    pub fn is_clean(&self, place: usize) -> bool {
        self.servers[place].clean.load(Ordering::Relaxed)
    }

    /// A response came.
    pub fn answered(&self, place: usize, now: u64) {
        if !self.is_clean(place) {
            self.servers[place].change(|health| health.answered(now));
        }
    }

    /// None came. `true` when that puts the URL out.
    pub fn failed(&self, place: usize, now: u64) -> bool {
        let others = self.places_in(now).without(Places::NONE.with(place));
        self.servers[place].change(|health| health.failed(!others.is_empty(), now))
    }

    /// Its health check was answered. `Some` when that changes whether it is in.
    pub fn checked(&self, place: usize, well: bool, settings: &HealthCheck) -> Option<bool> {
        self.servers[place].change(|health| health.checked(well, settings))
    }

    /// Milliseconds until the breaker lets a request through; `None`: now.
    pub fn closed_for(&self, now: u64) -> Option<u64> {
        if !self.broken {
            return None;
        }
        self.shared.breaker.lock().as_ref().and_then(|breaker| breaker.closed_for(now))
    }

    /// The breaker's leave to make an attempt.
    pub fn pass(&self, now: u64) -> Option<Pass> {
        if !self.broken {
            return None;
        }
        self.shared.breaker.lock().as_mut()?.pass(now).ok()
    }

    /// How a permitted attempt ended. `true` when that opens the breaker.
    pub fn tell(&self, pass: Pass, well: bool, now: u64) -> bool {
        let mut breaker = self.shared.breaker.lock();
        breaker.as_mut().is_some_and(|breaker| breaker.tell(pass, well, now))
    }

    pub fn is_open(&self) -> bool {
        self.broken && self.shared.breaker.lock().as_ref().is_some_and(Breaker::is_open)
    }

    /// Counts a request for the retry budget.
    pub fn count_request(&self, now: u64) {
        self.shared.budget.lock().request(now);
    }

    /// Takes a retry from the budget, if there is one.
    pub fn take_retry(&self, now: u64) -> bool {
        self.shared.budget.lock().retry(now)
    }
}

#[cfg(test)]
#[path = "pool/tests.rs"]
mod tests;
