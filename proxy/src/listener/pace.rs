//! How slowly a client may send its body. Only time in which we wait for the client counts, not
//! that in which the upstream lets it wait. Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// A budget of waiting: every byte earns some, up to `grace`.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: u64,
    grace: Duration,
    left: Duration,
    waiting_since: Option<Instant>,
    /// The piece before came late.
    late: bool,
}

impl Pace {
    pub fn new(bytes_per_second: u64, grace: Duration) -> Self {
        Self { bytes_per_second, grace, left: grace, waiting_since: None, late: false }
    }

    /// A new body begins.
    pub fn restart(&mut self) {
        self.left = self.grace;
        self.waiting_since = None;
    }

    pub fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// There is nothing to read. Gives the time by which there must be.
    pub fn wait(&mut self, now: Instant) -> Instant {
        *self.waiting_since.get_or_insert(now) + self.left
    }

    /// A piece of a body came whose waiting can't be told from the upstream's, as the engine reads
    /// HTTP/2: `true` when it is too slow. Two late pieces in a row are: a client that the upstream
    /// let wait has its next piece ready, and that pays for the wait.
    pub fn is_too_slow(&mut self, bytes: usize, now: Instant) -> bool {
        if self.bytes_per_second == 0 {
            return false;
        }
        // Before the first piece an upstream had to be found.
        let late = self.is_waiting() && self.wait(now) < now;
        self.received(bytes, || now);
        self.wait(now);
        std::mem::replace(&mut self.late, late) && late
    }

    /// Bytes came. `now` is only asked for after a wait.
    pub fn received(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.left = self.left.saturating_sub(now().saturating_duration_since(since));
        }
        if self.left < self.grace {
            let micros = (bytes as u64).saturating_mul(1_000_000) / self.bytes_per_second.max(1);
            self.left = (self.left + Duration::from_micros(micros)).min(self.grace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Sends pieces of `bytes` every `every`, and tells after how many it is too slow.
    fn lasts(bytes: usize, every: Duration) -> Option<u32> {
        let start = Instant::now();
        let mut pace = Pace::new(1024, 10 * SECOND);
        (0..1_000).find(|i| {
            let late = pace.wait(start + every * *i) < start + every * (i + 1);
            pace.received(bytes, || start + every * (i + 1));
            late
        })
    }

    #[test]
    fn a_trickle_ends_after_the_grace_and_a_stream_never() {
        assert_eq!(lasts(1, SECOND), Some(10));
        assert_eq!(lasts(512, SECOND), Some(19));
        assert_eq!(lasts(1024, SECOND), None);
        assert_eq!(lasts(1_000_000, 11 * SECOND), Some(0), "no credit beyond the grace");
        assert_eq!(lasts(10_240, 9 * SECOND), None, "pauses are allowed");
    }

    #[test]
    fn of_pieces_two_late_ones_in_a_row_are_too_slow() {
        let start = Instant::now();
        let at = |seconds: u32| start + seconds * SECOND;
        let mut pace = Pace::new(1024, 10 * SECOND);
        let trickle = (0..100).find(|second| pace.is_too_slow(1, at(*second)));
        assert_eq!(trickle, Some(12));
        // The upstream reads nothing for a minute; what was sent meanwhile is there at once.
        let mut pace = Pace::new(1024, 10 * SECOND);
        for (bytes, second) in [(16_384, 0), (16_384, 60), (16_384, 60), (16_384, 120), (9, 125)] {
            assert!(!pace.is_too_slow(bytes, at(second)), "{second}");
        }
        let mut none = Pace::new(0, 10 * SECOND);
        assert!((0..100).all(|second| !none.is_too_slow(0, at(60 * second))));
    }

    #[test]
    fn time_in_which_nobody_waits_for_the_client_is_free() {
        let start = Instant::now();
        let mut pace = Pace::new(1024, 10 * SECOND);
        assert_eq!(pace.wait(start), start + 10 * SECOND);
        pace.received(1024, || start + SECOND);
        // The upstream is slow for a minute; then the client is waited for again.
        let later = start + 60 * SECOND;
        assert_eq!(pace.wait(later), later + 10 * SECOND);
    }
}
