//! Waiting between attempts: doubling, with full jitter in the upper half, so that a fleet that
//! lost its control plane does not return to it in step.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    attempt: u32,
}

impl Backoff {
    pub fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, attempt: 0 }
    }

    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// The next wait: between half of `first · 2^attempt` (at most `limit`) and the whole of it.
    pub fn next(&mut self) -> Duration {
        let whole = self.first.saturating_mul(1 << self.attempt.min(16)).min(self.limit);
        self.attempt = self.attempt.saturating_add(1);
        // A new `RandomState` is randomly seeded: enough for jitter.
        let random = RandomState::new().hash_one(self.attempt) % 1_000;
        whole / 2 + whole.mul_f64(f64::from(u32::try_from(random).unwrap_or(0)) / 2_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_its_limit_and_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        for whole in [50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            let wait = backoff.next();
            assert!(
                wait >= Duration::from_millis(whole / 2) && wait <= Duration::from_millis(whole)
            );
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(50));
    }
}
