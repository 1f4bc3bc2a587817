//! Two counts over the last while, in ten slots: what has grown older than the window is forgotten
//! slot by slot. Time is an argument, in milliseconds; one that goes back counts in the newest slot.

const SLOTS: usize = 10;

#[derive(Debug, Clone)]
pub struct Window {
    slot_ms: u64,
    /// Number of the newest slot since time began.
    newest: u64,
    slots: [(u32, u32); SLOTS],
}

impl Window {
    pub fn new(window_ms: u64) -> Self {
        let slot_ms = window_ms.div_ceil(SLOTS as u64).max(1);
        Self { slot_ms, newest: 0, slots: [(0, 0); SLOTS] }
    }

    pub fn add(&mut self, first: u32, second: u32, now: u64) {
        self.advance(now);
        let slot = &mut self.slots[place(self.newest)];
        *slot = (slot.0.saturating_add(first), slot.1.saturating_add(second));
    }

    /// Both sums.
    pub fn sums(&mut self, now: u64) -> (u64, u64) {
        self.advance(now);
        self.slots
            .iter()
            .fold((0, 0), |sum, slot| (sum.0 + u64::from(slot.0), sum.1 + u64::from(slot.1)))
    }

    pub fn clear(&mut self) {
        self.slots = [(0, 0); SLOTS];
    }

    fn advance(&mut self, now: u64) {
        let current = now / self.slot_ms;
        if current <= self.newest {
            return;
        }
        let passed = (current - self.newest).min(SLOTS as u64);
        for back in 0..passed {
            self.slots[place(current - back)] = (0, 0);
        }
        self.newest = current;
    }
}

fn place(slot: u64) -> usize {
    usize::try_from(slot % SLOTS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut window = Window::new(1_000);
        window.add(1, 2, 0);
        window.add(10, 20, 950);
        assert_eq!(window.sums(999), (11, 22));
        assert_eq!(window.sums(1_000), (10, 20));
        window.add(1, 0, 500);
        assert_eq!(window.sums(1_899), (11, 20), "a time that goes back is now");
        assert_eq!(window.sums(u64::MAX), (0, 0));
    }

    proptest! {
        #[test]
        fn sums_hold_the_window_and_at_most_a_slot_more(
            steps in proptest::collection::vec(0..400_u64, 1..60),
        ) {
            let mut window = Window::new(1_000);
            let mut times = vec![];
            let mut now = 0;
            for step in steps {
                now += step;
                times.push(now);
                window.add(1, 0, now);
                let (sum, _) = window.sums(now);
                let within = |ms| times.iter().filter(|at| now - **at < ms).count() as u64;
                prop_assert!(within(900) <= sum && sum <= within(1_000), "{sum} at {now}");
            }
        }
    }
}
