//! The circuit breaker of an application, as a state machine on the time that it is given
//! (milliseconds). Closed, it counts attempts over a window. Open, nothing is let through until
//! `open_ms` are over; then one attempt goes to see, and its outcome closes the breaker or opens it
//! anew. An attempt that never tells its outcome (the client left) is followed by another after the
//! same wait, so that nothing can hold the breaker half open for ever.

use authsome_shared::snapshot::Breaker as Settings;

use super::window::Window;

#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    /// Attempts, and those that failed.
    seen: Window,
    state: State,
    /// Counts changes of state: an attempt tells its outcome to the state it began in only.
    era: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: u64 },
    HalfOpen { next: u64 },
}

/// An attempt that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass(u64);

impl Breaker {
    pub fn new(settings: Settings) -> Self {
        Self { seen: Window::new(settings.window_ms), settings, state: State::Closed, era: 0 }
    }

    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Milliseconds until an attempt would be let through; `None`: now.
    pub fn closed_for(&self, now: u64) -> Option<u64> {
        match self.state {
            State::Closed => None,
            State::Open { until: at } | State::HalfOpen { next: at } => {
                (now < at).then(|| at - now)
            }
        }
    }

    /// Lets an attempt through, or says how many milliseconds it is to wait.
    pub fn pass(&mut self, now: u64) -> Result<Pass, u64> {
        if let Some(wait) = self.closed_for(now) {
            return Err(wait);
        }
        match self.state {
            State::Closed => {}
            State::Open { .. } => {
                self.enter(State::HalfOpen { next: now + self.settings.open_ms });
            }
            State::HalfOpen { .. } => {
                self.state = State::HalfOpen { next: now + self.settings.open_ms };
            }
        }
        Ok(Pass(self.era))
    }

    /// Learns how an attempt ended. `true` when that has opened it.
    pub fn tell(&mut self, pass: Pass, well: bool, now: u64) -> bool {
        if pass.0 != self.era {
            return false;
        }
        let open = State::Open { until: now + self.settings.open_ms };
        match self.state {
            State::Open { .. } => return false,
            State::HalfOpen { .. } if well => {
                self.seen.clear();
                self.enter(State::Closed);
                return false;
            }
            State::HalfOpen { .. } => {
                self.enter(open);
                return true;
            }
            State::Closed => {}
        }
        self.seen.add(1, u32::from(!well), now);
        if well {
            return false;
        }
        let (attempts, failures) = self.seen.sums(now);
        let opens = failures >= u64::from(self.settings.failures)
            && failures * 100 >= attempts * u64::from(self.settings.failure_percent);
        if opens {
            self.enter(open);
        }
        opens
    }

    pub fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(Settings {
            failures: 3,
            failure_percent: 50,
            window_ms: 1_000,
            open_ms: 5_000,
        })
    }

    fn attempt(breaker: &mut Breaker, well: bool, now: u64) -> Result<(), u64> {
        let pass = breaker.pass(now)?;
        breaker.tell(pass, well, now);
        Ok(())
    }

    #[test]
    fn it_opens_probes_and_closes() {
        let mut breaker = breaker();
        for now in [0, 1, 2] {
            assert_eq!(attempt(&mut breaker, false, now), Ok(()));
        }
        assert_eq!(breaker.pass(2), Err(5_000));
        assert_eq!(breaker.pass(5_001), Err(1));
        let probe = breaker.pass(5_002).expect("one goes to see");
        assert_eq!(breaker.pass(5_003), Err(4_999), "and no other");
        assert!(breaker.tell(probe, false, 5_010), "opened anew");
        assert_eq!(breaker.pass(10_009), Err(1));
        let probe = breaker.pass(10_010).expect("another");
        assert!(!breaker.tell(probe, true, 10_020));
        assert!(!breaker.is_open());
        assert_eq!(attempt(&mut breaker, false, 10_021), Ok(()), "what was before is forgotten");
        assert!(!breaker.is_open());
    }

    #[test]
    fn few_failures_among_many_do_not_open_it() {
        let mut breaker = breaker();
        for now in 0..100 {
            assert_eq!(attempt(&mut breaker, now % 3 != 0, now), Ok(()));
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn failures_far_apart_do_not_open_it() {
        let mut breaker = breaker();
        for i in 0..10 {
            assert_eq!(attempt(&mut breaker, false, i * 501), Ok(()));
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_probe_that_never_tells_is_followed_by_another() {
        let mut breaker = breaker();
        for now in [0, 1, 2] {
            attempt(&mut breaker, false, now).expect("closed");
        }
        let lost = breaker.pass(5_002).expect("one goes to see");
        assert!(breaker.pass(10_001).is_err());
        let probe = breaker.pass(10_002).expect("another");
        breaker.tell(probe, true, 10_003);
        assert!(!breaker.is_open());
        assert!(!breaker.tell(lost, false, 10_004), "it is too late to matter");
        assert!(!breaker.is_open());
    }

    #[test]
    fn an_old_attempt_does_not_speak_for_a_new_state() {
        let mut breaker = breaker();
        let slow = breaker.pass(0).expect("closed");
        for now in [0, 1, 2] {
            attempt(&mut breaker, false, now).expect("closed");
        }
        breaker.tell(slow, true, 10);
        assert!(breaker.is_open());
    }

    proptest! {
        /// Whatever happens, an open breaker lets through at most one attempt per `open_ms`.
        #[test]
        fn open_it_lets_through_one_attempt_per_wait(
            steps in proptest::collection::vec((1..3_000_u64, any::<bool>()), 1..200),
        ) {
            let mut breaker = breaker();
            let (mut now, mut last) = (0, None::<u64>);
            for (step, tells) in steps {
                now += step;
                if !breaker.is_open() {
                    last = None;
                }
                let Ok(pass) = breaker.pass(now) else { continue };
                if breaker.is_open() {
                    prop_assert!(last.is_none_or(|last| now - last >= 5_000));
                    last = Some(now);
                }
                if tells {
                    breaker.tell(pass, false, now);
                }
            }
        }
    }
}
