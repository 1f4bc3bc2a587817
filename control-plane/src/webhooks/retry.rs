//! What becomes of a delivery after an attempt: a pure decision.

use chrono::TimeDelta;

/// What an endpoint did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Answered {
        status: u16,
        /// The beginning of its body.
        excerpt: String,
        /// It asked not to be called before.
        retry_after: Option<TimeDelta>,
    },
    /// No answer, or not connected to; the reason.
    Unanswered(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// To be tried again after a pause.
    Retry(TimeDelta),
    /// That was the last attempt.
    Failed,
    /// The endpoint wants no more of anything: 410.
    Gone,
}

/// Nobody is waited for longer than this on their own word.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(24);

/// `attempts` counts this one too; `jitter` is from 0 to 1.
pub fn verdict(outcome: &Outcome, attempts: i64, pauses: &[u32], jitter: f64) -> Verdict {
    let retry_after = match outcome {
        Outcome::Answered { status: 200..=299, .. } => return Verdict::Delivered,
        Outcome::Answered { status: 410, .. } => return Verdict::Gone,
        Outcome::Answered { retry_after, .. } => *retry_after,
        Outcome::Unanswered(_) => None,
    };
    let pause = usize::try_from(attempts - 1).ok().and_then(|index| pauses.get(index));
    let Some(pause) = pause else { return Verdict::Failed };
    let pause = f64::from(*pause) * (1.0 + jitter / 10.0);
    #[expect(clippy::cast_possible_truncation, reason = "at most a week, in milliseconds")]
    let pause = TimeDelta::milliseconds((pause * 1000.0) as i64);
    let asked = retry_after.unwrap_or_default().min(LONGEST_WAIT);
    Verdict::Retry(pause.max(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: [u32; 3] = [5, 300, 1_800];

    fn answered(status: u16, retry_after: Option<i64>) -> Outcome {
        let retry_after = retry_after.map(TimeDelta::seconds);
        Outcome::Answered { status, excerpt: String::new(), retry_after }
    }

    fn retry(seconds: i64) -> Verdict {
        Verdict::Retry(TimeDelta::seconds(seconds))
    }

    #[test]
    fn each_outcome_has_its_verdict() {
        let unanswered = Outcome::Unanswered("no".into());
        for (outcome, attempts, expected) in [
            (answered(200, None), 1, Verdict::Delivered),
            (answered(204, None), 4, Verdict::Delivered),
            (answered(410, None), 1, Verdict::Gone),
            (answered(301, None), 1, retry(5)),
            (answered(404, None), 2, retry(300)),
            (answered(500, None), 3, retry(1_800)),
            (answered(500, None), 4, Verdict::Failed),
            (unanswered.clone(), 1, retry(5)),
            (unanswered, 4, Verdict::Failed),
            (answered(429, Some(60)), 1, retry(60)),
            (answered(429, Some(60)), 2, retry(300)),
            (answered(503, Some(86_400 * 365)), 1, retry(86_400)),
            (answered(503, Some(60)), 4, Verdict::Failed),
        ] {
            assert_eq!(
                verdict(&outcome, attempts, &PAUSES, 0.0),
                expected,
                "{outcome:?} {attempts}"
            );
        }
    }

    #[test]
    fn jitter_adds_a_tenth_at_most() {
        let pause = |jitter| verdict(&answered(500, None), 2, &PAUSES, jitter);
        assert_eq!(pause(1.0), retry(330));
        assert_eq!(pause(0.5), retry(315));
    }
}
