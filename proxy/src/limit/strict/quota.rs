//! A hard quota: request units of a calendar month that the fleet never exceeds by one. What is
//! leased ahead shrinks with what is left, and goes back when it is not used; a proxy that is killed
//! takes what it held with it. The local counter counts on, as for any quota: it is what the store
//! is told when that knows nothing, and what holds while the store is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::lease::{Ask, Bounds, Lease};
use super::{Begun, Strict};
use crate::limit::quota::{Counter, Month, Quota};

pub(super) struct Line {
    pub(super) lease: Lease,
    limit: u64,
    month: Month,
    counter: Arc<Counter>,
    /// While the store is away: what this proxy may still take of what was left then.
    share: Option<u64>,
}

const LIFETIME: Duration = Duration::from_secs(1);
/// Most units to lease ahead, and the part of what is left that they may be.
const MOST: u64 = 64;
const PART_OF_REST: u64 = 32;

fn name(quota: &Quota, month: Month) -> String {
    format!("{}:{}", quota.subject, month.period())
}

impl Line {
    pub(super) fn is_done(&self, before: Instant) -> bool {
        self.lease.is_idle() && self.lease.used < before
    }

    fn bounds(&self, proxies: u32) -> Bounds {
        let rest = self.limit.saturating_sub(self.counter.used(self.month));
        let most = (rest / (PART_OF_REST * u64::from(proxies))).min(MOST);
        Bounds { most, lifetime: LIFETIME }
    }

    /// Takes units without the store: this proxy's share of what was left.
    fn take_alone(&mut self, units: u64, proxies: u32) -> bool {
        let rest = || self.limit.saturating_sub(self.counter.used(self.month));
        let share = *self.share.get_or_insert_with(|| rest() / u64::from(proxies));
        // The counter goes on learning what the others use; that is not of this share.
        let taken = units <= share && self.counter.take(self.month, units, self.limit);
        if taken {
            self.share = Some(share - units);
            self.lease.debt += units;
        }
        taken
    }
}

impl Strict {
    /// Takes `units` of a quota in `month`.
    pub async fn quota(self: &Arc<Self>, quota: &Quota, month: Month, units: u64) -> bool {
        let Quota { limit, counter, .. } = quota;
        let proxies = self.share.proxies();
        let name = name(quota, month);
        let line = self.quotas.line(&name, || Line {
            lease: Lease::new(Instant::now()),
            limit: *limit,
            month,
            counter: counter.clone(),
            share: None,
        });
        let Some(store) = self.store() else {
            return match self.store {
                Some(_) => line.lock().take_alone(units, proxies),
                // Nothing to be exact by: as any other quota.
                None => counter.take(month, units, *limit),
            };
        };
        let (begun, ask) = {
            let mut line = line.lock();
            line.limit = *limit;
            let bounds = line.bounds(proxies);
            line.lease.begin(units, bounds, Instant::now())
        };
        if let Some(ask) = ask {
            store.apart.spawn(self.clone().ask_quota(name.into(), line.clone(), ask));
        }
        let verdict = match begun {
            Begun::Decided(verdict) => Some(verdict),
            Begun::Waiting(receiver) => self.verdict(store, receiver).await,
        };
        match verdict {
            Some(verdict) => {
                if verdict.passes {
                    counter.recount(month, units);
                }
                verdict.passes
            }
            None => line.lock().take_alone(units, proxies),
        }
    }

    /// Gives back what [`Strict::quota`] took, but for the local counter's part.
    pub fn give_back(&self, quota: &Quota, month: Month, units: u64) {
        if let Some(line) = self.quotas.get(&name(quota, month)) {
            line.lock().lease.put_back(units);
        }
    }

    /// Makes calls for a line until nobody waits.
    async fn ask_quota(self: Arc<Self>, name: Box<str>, line: Arc<Mutex<Line>>, ask: Ask) {
        let Some(store) = &self.store else { return };
        let mut next = Some(ask);
        while let Some(ask) = next {
            let (limit, used) = {
                let line = line.lock();
                (line.limit, line.counter.used(line.month))
            };
            let answer = store.quota(&name, limit, used, ask).await;
            let mut line = line.lock();
            let bounds = line.bounds(self.share.proxies());
            let reply = match answer {
                Ok(reply) => reply,
                Err(failed) => return line.lease.fail(ask, failed.granted),
            };
            line.share = None;
            next = line.lease.answer(ask, reply, bounds, Instant::now());
        }
    }

    /// Gives unused units back, and tells debts that no request would tell.
    pub(super) async fn surrender(self: &Arc<Self>, now: Instant) {
        if !self.store.as_ref().is_some_and(|store| store.is_up()) {
            return;
        }
        for (name, line) in self.quotas.all() {
            let ask = line.lock().lease.surrender(now);
            if let Some(ask) = ask {
                self.clone().ask_quota(name, line, ask).await;
            }
        }
    }

    /// Gives everything back that is held, at a shutdown.
    pub async fn close(self: &Arc<Self>) {
        self.surrender(Instant::now() + LIFETIME).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_a_proxy_takes_its_share_whatever_the_others_use_meanwhile() {
        let month = Month::parse("2026-11").expect("a month");
        let counter = Arc::new(Counter::default());
        counter.recount(month, 20);
        let lease = Lease::new(Instant::now());
        let mut line = Line { lease, limit: 100, month, counter, share: None };
        for _ in 0..20 {
            assert!(line.take_alone(1, 2));
        }
        // The other proxy's part, as the control plane tells it.
        line.counter.recount(month, 40);
        for _ in 0..20 {
            assert!(line.take_alone(1, 2), "half of the eighty that were left are its own");
        }
        assert!(!line.take_alone(1, 2));
        assert_eq!((line.counter.used(month), line.lease.debt), (100, 40));
    }
}
