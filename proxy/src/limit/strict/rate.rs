//! A strict rate limit. In any window the fleet admits what one bucket would: units expire within
//! the lease's time, and as many as leak in that time are kept out of the bucket, so that one used
//! late finds its place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use authsome_shared::snapshot::RateLimit;
use parking_lot::Mutex;

use super::lease::{Ask, Bounds, Lease};
use super::{Begun, Strict, Verdict};
use crate::limit::rate::{Bucket, State};

pub(super) struct Line {
    pub(super) lease: Lease,
    /// As the newest request found it.
    limit: RateLimit,
    bucket: Arc<Bucket>,
    /// When the fleet's bucket would be full again, by the store's last word.
    full_at: u64,
}

impl Line {
    /// What is held is no longer good; what is owed has leaked when the longest window has passed.
    pub(super) fn is_done(&self, before: Instant) -> bool {
        let owed_since = self.lease.used + LONGEST_WINDOW;
        !self.lease.is_asking()
            && self.lease.used < before
            && (self.lease.debt == 0 || owed_since < before)
    }

    /// Of what was admitted without the store, as much as has not leaked since.
    fn owed(&self, debt: u64, proxies: u32, now: u64) -> u64 {
        debt.min(self.bucket.beyond(self.limit, proxies, self.full_at, now))
    }
}

const LONGEST_WINDOW: Duration = Duration::from_hours(1);

/// What a limit comes to in leases.
#[derive(Debug, Clone, Copy)]
struct Terms {
    bounds: Bounds,
    /// What a full bucket holds in the store.
    burst: u64,
    /// What one request costs, in nanoseconds.
    step: u64,
    /// How long an empty bucket takes to be full.
    refill: Duration,
}

impl Terms {
    fn of(limit: RateLimit, lifetime: Duration) -> Self {
        let window = limit.window_ms.max(1);
        let burst = u64::from(limit.burst.max(1));
        let step = window.saturating_mul(1_000_000) / u64::from(limit.requests.max(1));
        let step = step.max(1);
        let lifetime_ns = u64::try_from(lifetime.as_nanos()).unwrap_or(u64::MAX);
        // Not more than leaks while it may be used, nor so much that a burst feels it.
        let most = (lifetime_ns / step).min(burst / 10);
        let burst = burst - most;
        let refill = Duration::from_nanos(step.saturating_mul(burst));
        Self { bounds: Bounds { most, lifetime }, burst, step, refill }
    }

    /// Where the limit stands at `now` (nanoseconds since the epoch), by the store's last word.
    fn state(&self, limit: RateLimit, verdict: &Verdict, now: u64, instant: Instant) -> State {
        let since = instant.saturating_duration_since(verdict.at);
        let elapsed = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let level = verdict.reply.level.saturating_mul(1_000).saturating_sub(elapsed);
        let free = self.step.saturating_mul(self.burst).saturating_sub(level) / self.step;
        let remaining = (free + verdict.held).min(u64::from(limit.requests));
        let wait = u64::try_from(verdict.reply.wait.saturating_sub(since).as_nanos());
        State {
            limit,
            remaining: if verdict.passes { remaining } else { 0 },
            full_at: now.saturating_add(level),
            wait: if verdict.passes { 0 } else { wait.unwrap_or(u64::MAX).max(1) },
        }
    }
}

impl Strict {
    /// Takes one request from the limit of the line of keys named `name`, whose local bucket is
    /// `bucket`, at `now` (nanoseconds since the epoch). `Err` says how long to wait.
    pub async fn rate(
        self: &Arc<Self>,
        name: &str,
        bucket: &Arc<Bucket>,
        limit: RateLimit,
        now: u64,
    ) -> Result<State, State> {
        let proxies = self.share.proxies();
        let Some(store) = self.store().filter(|_| limit.requests > 0) else {
            let checked = bucket.check(limit, proxies, now);
            if checked.is_ok() && self.store.is_some() {
                self.rate_line(name, bucket, limit).lock().lease.debt += 1;
            }
            return checked;
        };
        let terms = Terms::of(limit, self.rate_lifetime);
        let forgetful = !store.remembers(terms.refill);
        let own = if forgetful { Some(bucket.check(limit, proxies, now)?) } else { None };
        let line = self.rate_line(name, bucket, limit);
        let instant = Instant::now();
        let (begun, ask) = {
            let mut line = line.lock();
            line.limit = limit;
            line.lease.begin(1, terms.bounds, instant)
        };
        if let Some(ask) = ask {
            store.apart.spawn(self.clone().ask_rate(name.into(), line.clone(), ask));
        }
        let verdict = match begun {
            Begun::Decided(verdict) => Some(verdict),
            Begun::Waiting(receiver) => self.verdict(store, receiver).await,
        };
        let Some(verdict) = verdict else {
            // What was taken of the share above is not taken twice.
            let checked = own.map_or_else(|| bucket.check(limit, proxies, now), Ok);
            if checked.is_ok() {
                line.lock().lease.debt += 1;
            }
            return checked;
        };
        let state = terms.state(limit, &verdict, now, Instant::now());
        if verdict.passes { Ok(state) } else { Err(state) }
    }

    fn rate_line(&self, name: &str, bucket: &Arc<Bucket>, limit: RateLimit) -> Arc<Mutex<Line>> {
        self.rates.line(name, || Line {
            lease: Lease::new(Instant::now()),
            limit,
            bucket: bucket.clone(),
            full_at: 0,
        })
    }

    /// Nanoseconds since the epoch.
    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().timestamp_micros()).unwrap_or(0).saturating_mul(1_000)
    }

    /// Makes calls for a line until nobody waits.
    async fn ask_rate(self: Arc<Self>, name: Box<str>, line: Arc<Mutex<Line>>, ask: Ask) {
        let Some(store) = &self.store else { return };
        let mut next = Some(ask);
        while let Some(mut ask) = next {
            let limit = {
                let line = line.lock();
                ask.debt = line.owed(ask.debt, self.share.proxies(), self.now());
                line.limit
            };
            let terms = Terms::of(limit, self.rate_lifetime);
            let answer = store.rate(&name, limit, terms.burst, ask).await;
            let mut line = line.lock();
            let reply = match answer {
                Ok(reply) => reply,
                Err(failed) => return line.lease.fail(ask, failed.granted),
            };
            line.full_at = self.now().saturating_add(reply.level.saturating_mul(1_000));
            if store.remembers(terms.refill) {
                line.bucket.mirror(line.full_at);
            } else {
                line.bucket.lower(line.full_at);
            }
            next = line.lease.answer(ask, reply, terms.bounds, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_limits_of_many_requests_are_leased_ahead() {
        let lifetime = Duration::from_millis(10);
        let of = |requests, window_ms, burst| {
            let terms = Terms::of(RateLimit::fast(requests, window_ms, burst), lifetime);
            (terms.bounds.most, terms.burst)
        };
        assert_eq!(of(10, 1_000, 10), (0, 10));
        assert_eq!(of(1_000, 1_000, 1_000), (10, 990));
        assert_eq!(of(1_000, 1_000, 20), (2, 18), "at most a tenth of a burst");
        assert_eq!(of(1_000, 1_000, 5), (0, 5));
        assert_eq!(of(1_000, 60_000, 1_000), (0, 1_000));
        let most = u64::from(u32::MAX);
        assert_eq!(of(u32::MAX, 1, u32::MAX), (10_000_000, most - 10_000_000));
        assert_eq!(of(1, u64::MAX, 0), (0, 1));
    }
}
