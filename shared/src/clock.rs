//! The only source of the time of day. Everything that decides takes `now` as an argument; what
//! must ask, asks an injected [`Clock`], so that a test can turn a year in a moment.
//! It is not for measuring durations: that is `std::time::Instant`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};

/// The system's clock or a test's. Cheap to clone; clones of a manual clock move together.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Microseconds since the epoch, when the clock is turned by hand.
    manual: Option<Arc<AtomicI64>>,
}

impl Clock {
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self { manual: Some(Arc::new(AtomicI64::new(start.timestamp_micros()))) }
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    /// When the clock is the system's.
    pub fn advance(&self, by: TimeDelta) {
        let manual = self.manual.as_ref().expect("only a manual clock can be turned");
        manual.fetch_add(by.num_microseconds().expect("a test's step fits"), Ordering::SeqCst);
    }

    /// Now, in whole microseconds: what both databases store without loss.
    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.micros()).expect("a clock stays in range")
    }

    /// The same, as microseconds since the epoch.
    pub fn micros(&self) -> i64 {
        match &self.manual {
            Some(micros) => micros.load(Ordering::SeqCst),
            None => {
                #[expect(clippy::disallowed_methods, reason = "this is the one place")]
                let now = SystemTime::now();
                let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
            }
        }
    }

    /// The same so many microseconds after it was `then`, without asking the system again.
    pub fn after(&self, then: i64, micros: u64) -> i64 {
        match &self.manual {
            Some(_) => self.micros(),
            None => then.saturating_add_unsigned(micros),
        }
    }
}

/// The calendar month (UTC) that an instant falls in, as `YYYY-MM`: the billing period.
pub fn period_of(at: DateTime<Utc>) -> String {
    at.format("%Y-%m").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told_and_with_its_clones() {
        let start = DateTime::from_timestamp(1_700_000_000, 0).expect("in range");
        let clock = Clock::manual(start);
        let other = clock.clone();
        assert_eq!(clock.now(), start);
        clock.advance(TimeDelta::days(40));
        assert_eq!(other.now(), start + TimeDelta::days(40));
        assert_eq!(other.after(0, 5), other.micros());
        assert_eq!(Clock::system().after(1_000, 5), 1_005);
        assert_eq!(period_of(start), "2023-11");
        assert_eq!(period_of(other.now()), "2023-12");
    }

    #[test]
    fn the_system_clock_has_no_nanoseconds() {
        assert_eq!(Clock::system().now().timestamp_subsec_nanos() % 1000, 0);
    }
}
