//! What is known of one URL's health, from two sources that can each take it out: the requests sent
//! to it (five attempts in a row of which no response came put it out for ten seconds, and for
//! twice as long each time it happens again, up to five minutes), and its health check, if it has
//! one. Whether it may be taken out at all is for the pool. Time is an argument, in milliseconds.

use authsome_shared::snapshot::HealthCheck;

/// Attempts in a row without a response that put a URL out.
pub const FAILURES: u32 = 5;

/// The first time it is out for this long …
pub const FIRST_MS: u64 = 10_000;

/// … and never for longer than this at once.
pub const LONGEST_MS: u64 = 300_000;

#[derive(Debug, Default)]
pub struct Health {
    failures: u32,
    /// Times it was put out since it last did well for as long as it had been out.
    ejections: u32,
    /// Out until then; 0 for in.
    out_until: u64,
    check: Check,
}

/// The health check's view.
#[derive(Debug, Default)]
struct Check {
    down: bool,
    /// Answers in a row that contradict `down`.
    against: u32,
}

impl Health {
    /// No response came. `true` when that puts it out, which `may` allows or not. Back from being
    /// out, one failure is enough until it has answered.
    pub fn failed(&mut self, may: bool, now: u64) -> bool {
        if self.is_ejected(now) {
            // Begun before it was put out, or sent because nothing else is left.
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES || !may {
            return false;
        }
        self.out_until = now + out_for(self.ejections);
        self.ejections += 1;
        self.failures = FAILURES - 1;
        true
    }

    /// A response came, of whatever status.
    pub fn answered(&mut self, now: u64) {
        self.failures = 0;
        if self.ejections > 0 && now >= self.out_until + out_for(self.ejections - 1) {
            self.ejections = 0;
        } else if self.is_ejected(now) {
            // Asked because nothing else was left, and it answers.
            self.out_until = now;
        }
    }

    /// Its health check was answered well or not. `Some` when that changes whether it is in.
    pub fn checked(&mut self, well: bool, settings: &HealthCheck) -> Option<bool> {
        let check = &mut self.check;
        if well != check.down {
            check.against = 0;
            return None;
        }
        check.against += 1;
        let needed = if well { settings.healthy } else { settings.unhealthy };
        if check.against < needed {
            return None;
        }
        *check = Check { down: !well, against: 0 };
        Some(well)
    }

    pub fn is_ejected(&self, now: u64) -> bool {
        now < self.out_until
    }

    pub fn out_until(&self) -> u64 {
        self.out_until
    }

    /// Taken out by its health check.
    pub fn is_down(&self) -> bool {
        self.check.down
    }

    /// Nothing is held against it, so that an answer changes nothing.
    pub fn is_clean(&self) -> bool {
        self.failures == 0 && self.ejections == 0
    }
}

/// How long the next time out is, after so many.
fn out_for(ejections: u32) -> u64 {
    FIRST_MS.saturating_mul(1 << ejections.min(16)).min(LONGEST_MS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fail(health: &mut Health, times: u32, now: u64) -> bool {
        (0..times).fold(false, |_, _| health.failed(true, now))
    }

    #[test]
    fn five_failures_in_a_row_put_it_out_for_twice_as_long_each_time() {
        let mut health = Health::default();
        assert!(!fail(&mut health, 4, 0));
        health.answered(0);
        assert!(!fail(&mut health, 4, 0));
        assert!(health.failed(true, 0));
        assert!(health.is_ejected(9_999) && !health.is_ejected(10_000));
        let mut now = 10_000;
        for out in [20_000, 40_000, 80_000, 160_000, 300_000, 300_000] {
            assert!(health.failed(true, now), "one is enough when it comes back");
            now += out;
            assert!(health.is_ejected(now - 1) && !health.is_ejected(now), "{out}");
        }
        health.answered(now);
        assert!(!fail(&mut health, 4, now), "it has answered: five again");
        assert!(health.failed(true, now));
        assert!(health.is_ejected(now + 299_999), "but it is remembered");
        now += 300_000;
        health.answered(now + 300_000);
        assert!(health.is_clean(), "until it has done well for as long");
    }

    #[test]
    fn what_may_not_go_stays_and_goes_when_it_may() {
        let mut health = Health::default();
        for _ in 0..20 {
            assert!(!health.failed(false, 0));
        }
        assert!(health.failed(true, 0));
    }

    #[test]
    fn an_answer_while_it_is_out_brings_it_back() {
        let mut health = Health::default();
        assert!(fail(&mut health, 5, 0));
        health.answered(1_000);
        assert!(!health.is_ejected(1_000));
    }

    #[test]
    fn checks_take_out_and_bring_back_after_so_many_in_a_row() {
        let settings = HealthCheck { healthy: 2, unhealthy: 3, ..HealthCheck::default() };
        let mut health = Health::default();
        let told: Vec<_> =
            [false, false, true, false, false, false, false, true, false, true, true]
                .map(|well| health.checked(well, &settings))
                .into();
        let mut wanted = vec![None; 11];
        wanted[5] = Some(false);
        wanted[10] = Some(true);
        assert_eq!(told, wanted);
        assert!(!health.is_down());
    }

    proptest! {
        #[test]
        fn it_is_never_out_for_longer_than_the_longest(
            steps in proptest::collection::vec((0..400_000_u64, 0..10_u32, any::<bool>()), 1..50),
        ) {
            let mut health = Health::default();
            let mut now = 0;
            for (step, failures, answers) in steps {
                now += step;
                fail(&mut health, failures, now);
                if answers {
                    health.answered(now);
                    prop_assert!(!health.is_ejected(now));
                }
                prop_assert!(health.out_until() <= now + LONGEST_MS);
            }
        }
    }
}
