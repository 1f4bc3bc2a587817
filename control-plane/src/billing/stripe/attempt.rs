//! When to ask Stripe again, and under which idempotency key. Stripe keeps a key's first answer for
//! at least a day and not for long after it, and keeps it even when it is an error of its own. So a
//! call that may have been made before is looked for first, and made anew under another key when the
//! old one may be forgotten, or stands for a failure.

use chrono::{DateTime, TimeDelta, Utc};

/// A key is trusted for this long after its first use.
const TRUSTED: TimeDelta = TimeDelta::hours(23);

/// What is known of a call that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attempt {
    /// Part of the key.
    pub number: i64,
    /// When the key was first used; `None` when the call was not made yet.
    pub began_at: Option<DateTime<Utc>>,
}

impl Attempt {
    /// The attempt to be made now, and whether to look first for what an earlier one may have done.
    pub fn next(&self, now: DateTime<Utc>) -> (Self, bool) {
        match self.began_at {
            None => (Self { number: self.number, began_at: Some(now) }, false),
            // Also when the clock was set back: the key is not older than it seems.
            Some(began_at) if now - began_at < TRUSTED => (self.clone(), true),
            Some(_) => (Self { number: self.number + 1, began_at: Some(now) }, true),
        }
    }

    /// After a failure of Stripe's that stays under the key: another key, and a look first.
    pub fn after_failure(&self) -> Self {
        Self { number: self.number + 1, began_at: self.began_at }
    }

    /// After an answer that ends it, for a call of the same kind that is made anew.
    pub fn ended(&self) -> Self {
        Self { number: self.number + 1, began_at: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_used_again_while_stripe_surely_knows_it_and_never_without_a_look() {
        let began: DateTime<Utc> = "2026-03-01T00:00:00Z".parse().unwrap();
        let fresh = Attempt::default();
        let (first, look) = fresh.next(began);
        assert_eq!((first.number, first.began_at, look), (0, Some(began), false));
        for (hours, number) in [(0, 0), (1, 0), (22, 0), (23, 1), (24, 1), (1_000, 1), (-5, 0)] {
            let now = began + TimeDelta::hours(hours);
            let (next, look) = first.next(now);
            assert_eq!((next.number, look), (number, true), "{hours} h");
            let expected = if number == 0 { began } else { now };
            assert_eq!(next.began_at, Some(expected), "{hours} h");
        }
        let (again, look) = first.after_failure().next(began);
        assert_eq!((again.number, look), (1, true), "a failure stays under its key");
        let (anew, look) = first.ended().next(began);
        assert_eq!((anew.number, look), (1, false));
    }
}
