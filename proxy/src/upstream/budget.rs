//! How many retries an application's requests may cause: over the last ten seconds a fifth of the
//! requests, plus a small floor so that an application with little traffic has retries at all. When
//! every upstream is dead, that is all the more load they get. Time is an argument, in milliseconds.

use super::window::Window;

const WINDOW_MS: u64 = 10_000;

/// Retries in a window that need no requests to stand for them.
pub const FLOOR: u64 = 10;

/// Retries per request beyond the floor, in percent.
pub const PERCENT: u64 = 20;

/// Requests and retries of the last while.
#[derive(Debug)]
pub struct Budget {
    seen: Window,
}

impl Default for Budget {
    fn default() -> Self {
        Self { seen: Window::new(WINDOW_MS) }
    }
}

impl Budget {
    /// A request's first attempt.
    pub fn request(&mut self, now: u64) {
        self.seen.add(1, 0, now);
    }

    /// May one more attempt be made? Counts it if so.
    pub fn retry(&mut self, now: u64) -> bool {
        let (requests, retries) = self.seen.sums(now);
        let allowed = retries < requests * PERCENT / 100 + FLOOR;
        if allowed {
            self.seen.add(0, 1, now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_floor_is_there_at_once_and_again_after_the_window() {
        let mut budget = Budget::default();
        let taken = |budget: &mut Budget, now| (0..100).filter(|_| budget.retry(now)).count();
        assert_eq!(taken(&mut budget, 0), 10);
        assert_eq!(taken(&mut budget, 9_000), 0);
        assert_eq!(taken(&mut budget, 10_000), 10);
    }

    proptest! {
        #[test]
        fn a_retry_is_granted_within_a_fifth_and_the_floor_only(
            steps in proptest::collection::vec((0..300_u64, 0..4_usize), 1..200),
        ) {
            let mut budget = Budget::default();
            let (mut now, mut requests, mut retries) = (0, vec![], vec![]);
            for (step, wanted) in steps {
                now += step;
                budget.request(now);
                requests.push(now);
                let granted = (0..wanted).filter(|_| budget.retry(now)).count();
                // Later the requests that stood for them may age before the retries do.
                if granted == 0 {
                    continue;
                }
                retries.extend(std::iter::repeat_n(now, granted));
                let within = |times: &[u64], ms| {
                    times.iter().filter(|at| now - **at < ms).count() as u64
                };
                let bound = within(&requests, WINDOW_MS) * PERCENT / 100 + FLOOR;
                prop_assert!(within(&retries, WINDOW_MS - 1_000) <= bound);
            }
        }
    }
}
