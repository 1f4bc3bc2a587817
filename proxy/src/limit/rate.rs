//! The rate limit: GCRA on one atomic word per bucket, the *theoretical arrival time* (TAT) of the
//! next conforming request. Parameters are given with each check, so that a changed limit holds
//! from the next request on. Time is an argument, in nanoseconds since the epoch; a clock that is
//! set back costs a caller at most one burst's time, because a TAT is never taken to lie further
//! ahead than a full bucket.
//!
//! Where several proxies enforce one limit, each has an equal share: a request costs as many times
//! more as there are proxies, while a full bucket holds as much time as before. So the fleet
//! together admits the limit's rate exactly. A bucket holds one request at least, so that a burst
//! smaller than the fleet comes to one request a proxy.

use std::sync::atomic::{AtomicU64, Ordering};

use authsome_shared::snapshot::RateLimit;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The state of one line of keys (a key and its rotations).
#[derive(Debug, Default)]
pub struct Bucket {
    tat: AtomicU64,
}

/// What a check found, for the answer's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub limit: RateLimit,
    /// Requests that would pass right now, at most `limit.requests`.
    pub remaining: u64,
    /// When the bucket is full again, in nanoseconds since the epoch.
    pub full_at: u64,
    /// How long until the next request passes; 0 when one would now.
    pub wait: u64,
}

/// `RateLimit` in the terms of the algorithm.
struct Pace {
    /// Nanoseconds that one request costs.
    step: u64,
    /// Nanoseconds that a full bucket holds.
    capacity: u64,
}

impl Pace {
    /// Of one of `proxies` equal shares of a limit; `None` for a limit of no requests at all.
    fn of(limit: RateLimit, proxies: u32) -> Option<Self> {
        let window = u128::from(limit.window_ms.max(1)) * 1_000_000;
        let step = (window / u128::from(std::num::NonZeroU32::new(limit.requests)?.get())).max(1);
        // A century is enough, and leaves room to add to a time.
        let bound = 100 * 365 * 86_400 * u128::from(NANOS_PER_SECOND);
        let share = step * u128::from(proxies.max(1));
        let capacity = (step * u128::from(limit.burst.max(1))).max(share).min(bound);
        let step = u64::try_from(share.min(capacity)).unwrap_or(u64::MAX);
        Some(Self { step, capacity: u64::try_from(capacity).unwrap_or(u64::MAX) })
    }

    /// Where the bucket stands at `now`: never in the past, never beyond full.
    fn clamp(&self, tat: u64, now: u64) -> u64 {
        tat.clamp(now, now + self.capacity)
    }

    fn state(&self, limit: RateLimit, tat: u64, now: u64) -> State {
        let free = self.capacity - (tat - now);
        let remaining = (free / self.step).min(u64::from(limit.requests));
        State { limit, remaining, full_at: tat, wait: self.step.saturating_sub(free) }
    }
}

impl Bucket {
    /// Takes one request's worth at `now` from one of `proxies` shares. `Err` says how long to wait;
    /// nothing is taken then.
    pub fn check(&self, limit: RateLimit, proxies: u32, now: u64) -> Result<State, State> {
        let Some(pace) = Pace::of(limit, proxies) else { return Err(closed(limit, now)) };
        let mut current = self.tat.load(Ordering::Relaxed);
        loop {
            let tat = pace.clamp(current, now);
            let next = tat + pace.step;
            if next - now > pace.capacity {
                if tat < current {
                    // From another time or another limit: it counts from here on.
                    let _ = self.tat.compare_exchange(
                        current,
                        tat,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                }
                return Err(pace.state(limit, tat, now));
            }
            match self.tat.compare_exchange_weak(
                current,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(State { wait: 0, ..pace.state(limit, next, now) }),
                Err(seen) => current = seen,
            }
        }
    }

    /// Takes over where the bucket stands for all proxies together: full again at `full_at`. What
    /// is used of a share is taken to be the same part of it.
    pub fn mirror(&self, full_at: u64) {
        self.tat.store(full_at, Ordering::Relaxed);
    }

    /// The same from a source that may have forgotten: it only takes away.
    pub fn lower(&self, full_at: u64) {
        self.tat.fetch_max(full_at, Ordering::Relaxed);
    }

    /// Requests that the share holds beyond a bucket that is full again at `full_at`, rounded up.
    pub fn beyond(&self, limit: RateLimit, proxies: u32, full_at: u64, now: u64) -> u64 {
        let Some(pace) = Pace::of(limit, proxies) else { return 0 };
        let tat = pace.clamp(self.tat.load(Ordering::Relaxed), now);
        tat.saturating_sub(full_at.max(now)).div_ceil(pace.step)
    }

    /// The theoretical arrival time, for the process that takes over.
    pub fn tat(&self) -> u64 {
        self.tat.load(Ordering::Relaxed)
    }

    /// Takes up where another process stood, unless this one has gone further.
    pub fn take_over(&self, tat: u64) {
        self.tat.fetch_max(tat, Ordering::Relaxed);
    }

    /// Where the bucket stands, taking nothing.
    pub fn peek(&self, limit: RateLimit, proxies: u32, now: u64) -> State {
        match Pace::of(limit, proxies) {
            None => closed(limit, now),
            Some(pace) => {
                let tat = pace.clamp(self.tat.load(Ordering::Relaxed), now);
                pace.state(limit, tat, now)
            }
        }
    }
}

/// A limit of zero requests never opens; asking again after a window is as good as any advice.
fn closed(limit: RateLimit, now: u64) -> State {
    let wait =
        limit.window_ms.max(1).saturating_mul(1_000_000).min(365 * 86_400 * NANOS_PER_SECOND);
    State { limit, remaining: 0, full_at: now + wait, wait }
}

impl State {
    /// Whole seconds until the next request passes, at least 1.
    pub fn retry_after(&self) -> u64 {
        self.wait.div_ceil(NANOS_PER_SECOND).max(1)
    }

    /// Epoch second at which the bucket is full again.
    pub fn reset(&self) -> u64 {
        self.full_at.div_ceil(NANOS_PER_SECOND)
    }

    /// Whole seconds from `now` until the bucket is full again.
    pub fn reset_in(&self, now: u64) -> u64 {
        self.full_at.saturating_sub(now).div_ceil(NANOS_PER_SECOND)
    }

    /// The window in whole seconds, at least 1.
    pub fn window_seconds(&self) -> u64 {
        self.limit.window_ms.div_ceil(1_000).max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: u64 = 1_700_000_000 * NANOS_PER_SECOND;

    fn limit(requests: u32, window_ms: u64, burst: u32) -> RateLimit {
        RateLimit::fast(requests, window_ms, burst)
    }

    #[test]
    fn a_burst_passes_then_one_per_step() {
        let bucket = Bucket::default();
        let ten = limit(10, 1_000, 10);
        for i in 0..10_u64 {
            let state = bucket.check(ten, 1, START).expect("within the burst");
            assert_eq!(state.remaining, 9 - i);
        }
        let refused = bucket.check(ten, 1, START).expect_err("over");
        assert_eq!((refused.remaining, refused.wait, refused.retry_after()), (0, 100_000_000, 1));
        assert!(bucket.check(ten, 1, START + 99_999_999).is_err());
        assert!(bucket.check(ten, 1, START + 100_000_000).is_ok());
        assert!(bucket.check(ten, 1, START + 100_000_000).is_err());
    }

    #[test]
    fn a_changed_limit_holds_at_once() {
        let bucket = Bucket::default();
        let hour = limit(2, 3_600_000, 2);
        bucket.check(hour, 1, START).expect("first");
        bucket.check(hour, 1, START).expect("second");
        assert_eq!(bucket.check(hour, 1, START).expect_err("over").retry_after(), 1_800);
        // What was used up under the old limit is a full bucket under the new one, and no more.
        let wide = limit(10, 1_000, 10);
        assert_eq!(bucket.check(wide, 1, START).expect_err("full").wait, 100_000_000);
        assert!(bucket.check(wide, 1, START + 100_000_000).is_ok());
        let none = limit(0, 1_000, 0);
        assert_eq!(
            bucket.check(none, 1, START + NANOS_PER_SECOND).expect_err("closed").remaining,
            0
        );
    }

    #[test]
    fn a_clock_set_back_costs_one_burst_at_most() {
        let bucket = Bucket::default();
        let ten = limit(10, 1_000, 10);
        bucket.check(ten, 1, START + 3_600 * NANOS_PER_SECOND).expect("in the future");
        let refused = bucket.check(ten, 1, START).expect_err("the bucket counts as used up");
        assert_eq!(refused.wait, 100_000_000);
        assert!(bucket.check(ten, 1, START + NANOS_PER_SECOND).is_ok());
    }

    #[test]
    fn headers_count_in_whole_seconds() {
        let bucket = Bucket::default();
        let state = bucket.check(limit(1, 60_000, 1), 1, START).expect("first");
        assert_eq!(state.reset(), 1_700_000_060);
        assert_eq!((state.reset_in(START), state.window_seconds()), (60, 60));
        let state = bucket.peek(limit(1, 500, 1), 1, START + 60 * NANOS_PER_SECOND);
        assert_eq!((state.remaining, state.window_seconds()), (1, 1));
    }

    #[test]
    fn extreme_limits_do_not_overflow() {
        for limit in [
            limit(1, u64::MAX, u32::MAX),
            limit(u32::MAX, 1, u32::MAX),
            limit(u32::MAX, u64::MAX, 1),
            limit(1, 0, 0),
        ] {
            let bucket = Bucket::default();
            assert!(bucket.check(limit, 1, START).is_ok(), "{limit:?}");
            let _ = bucket.check(limit, 1, START);
            let _ = bucket.peek(limit, 1, START);
        }
    }

    /// A leaky bucket in exact arithmetic: level in request·window units.
    struct Reference {
        level: u128,
        at: u64,
    }

    impl Reference {
        fn check(&mut self, limit: RateLimit, now: u64) -> bool {
            let window = u128::from(limit.window_ms) * 1_000_000;
            let step = window / u128::from(limit.requests);
            self.level = self.level.saturating_sub(u128::from(now - self.at));
            self.at = now;
            let fits = self.level + step <= step * u128::from(limit.burst);
            if fits {
                self.level += step;
            }
            fits
        }
    }

    proptest! {
        #[test]
        fn decides_as_a_leaky_bucket_does(
            requests in 1_u32..50,
            window_ms in 1_u64..5_000,
            burst in 1_u32..50,
            gaps in prop::collection::vec(0_u64..2_000_000_000, 1..200),
        ) {
            let limit = limit(requests, window_ms, burst);
            let (bucket, mut reference) = (Bucket::default(), Reference { level: 0, at: START });
            let mut now = START;
            for gap in gaps {
                now += gap / u64::from(requests);
                let expected = reference.check(limit, now);
                let peeked = bucket.peek(limit, 1, now);
                let found = bucket.check(limit, 1, now);
                prop_assert_eq!(found.is_ok(), expected);
                prop_assert_eq!(peeked.remaining > 0, expected);
                if let Err(state) = found {
                    prop_assert!(bucket.peek(limit, 1, now + state.wait).remaining > 0);
                    prop_assert_eq!(bucket.peek(limit, 1, now + state.wait - 1).remaining, 0);
                }
            }
        }

        #[test]
        fn no_window_admits_more_than_its_share_and_a_burst(
            requests in 1_u32..20,
            burst in 1_u32..20,
            offsets in prop::collection::vec(0_u64..1_000_000_000, 1..300),
        ) {
            let limit = limit(requests, 1_000, burst);
            let bucket = Bucket::default();
            let mut sorted = offsets;
            sorted.sort_unstable();
            let passed =
                sorted.iter().filter(|at| bucket.check(limit, 1, START + **at).is_ok()).count();
            prop_assert!(passed <= (requests + burst) as usize);
        }
    }

    #[test]
    fn shares_admit_together_what_one_bucket_would() {
        for (proxies, requests, burst) in [(3, 10, 10), (3, 100, 7), (4, 1_000, 1_000), (7, 5, 5)] {
            let limit = limit(requests, 1_000, burst);
            let buckets: Vec<_> = (0..proxies).map(|_| Bucket::default()).collect();
            // Asked a thousand times a second each, for a minute.
            let passed = (0..60_000_u64)
                .flat_map(|ms| buckets.iter().map(move |bucket| (bucket, START + ms * 1_000_000)))
                .filter(|(bucket, now)| bucket.check(limit, proxies, *now).is_ok())
                .count();
            let most = u64::from(burst.max(proxies)) + 60 * u64::from(requests);
            let least = 60 * u64::from(requests) - u64::from(proxies);
            assert!((least..=most).contains(&(passed as u64)), "{passed} of {least} to {most}");
        }
    }

    #[test]
    fn a_share_that_shrinks_keeps_the_part_that_was_used() {
        let bucket = Bucket::default();
        let ten = limit(10, 1_000, 10);
        for _ in 0..5 {
            bucket.check(ten, 1, START).expect("half of it");
        }
        // Half of a half is left: two whole requests.
        assert_eq!(bucket.peek(ten, 2, START).remaining, 2);
        assert_eq!(bucket.peek(ten, 1, START).remaining, 5);
    }

    #[test]
    fn what_a_share_admitted_by_itself_leaks_as_its_bucket_does() {
        let bucket = Bucket::default();
        let ten = limit(10, 1_000, 10);
        // The fleet's bucket is half used.
        let full_at = START + NANOS_PER_SECOND / 2;
        bucket.mirror(full_at);
        assert_eq!(bucket.beyond(ten, 2, full_at, START), 0);
        bucket.check(ten, 2, START).expect("of a share of five, two are left");
        bucket.check(ten, 2, START).expect("of a share of five, one is left");
        bucket.check(ten, 2, START).expect_err("none");
        assert_eq!(bucket.beyond(ten, 2, full_at, START), 2);
        assert_eq!(bucket.beyond(ten, 2, full_at, START + 700_000_000), 1, "one has leaked");
        assert_eq!(bucket.beyond(ten, 2, full_at, START + NANOS_PER_SECOND), 0);
    }

    #[test]
    fn threads_share_one_bucket_exactly() {
        let bucket = Bucket::default();
        let limit = limit(1_000, 1_000, 1_000);
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        (0..500).filter(|_| bucket.check(limit, 1, START).is_ok()).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(passed, 1_000);
    }
}
