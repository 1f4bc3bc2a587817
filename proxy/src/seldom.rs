//! Something that may go wrong with every request, said at intervals.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const EVERY: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// When it is to be said now: how many times it was not since the last.
    pub fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let (last, unsaid) = &mut *self.0.lock();
        if last.is_some_and(|last| now.duration_since(last) < EVERY) {
            *unsaid += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_the_next_after_an_interval() {
        let (seldom, begin) = (Seldom::default(), Instant::now());
        let said: Vec<_> =
            [0, 1, 29, 30, 31, 90].map(|s| seldom.due_at(begin + Duration::from_secs(s))).into();
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
