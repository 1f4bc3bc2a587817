//! Which requests are logged: a pure function of how a request ended and of its name, so that every
//! proxy that a request passes decides alike, and a trace that is sampled has its lines.

use crate::config;
use crate::decision::Sample;
use crate::upstream::balance::hash;

/// How a request ended, as far as sampling goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub status: u16,
    /// It is our answer, not the upstream's.
    pub ours: bool,
    pub latency_us: u64,
}

impl End {
    /// Refused or failed: what somebody will ask about.
    pub fn is_bad(self) -> bool {
        self.ours || self.status >= 499
    }
}

/// Which part of each kind is logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    successes: f64,
    refused: f64,
    failed: f64,
    /// From here on a request is slow, and always logged; 0: none is.
    slow_us: u64,
}

impl Rules {
    pub fn new(log: &config::Log) -> Self {
        Self {
            successes: log.sample_successes,
            refused: log.sample_refused,
            failed: log.sample_failed,
            slow_us: log.slow_ms.saturating_mul(1_000),
        }
    }

    /// The rule by which a request is logged, if it is. `draw` is `draw_of` its name, asked for only
    /// where a part is logged.
    pub fn sample(&self, end: End, draw: impl FnOnce() -> u64) -> Option<Sample<'static>> {
        let (rule, ratio) = if self.slow_us > 0 && end.latency_us >= self.slow_us {
            ("slow", 1.0)
        } else if end.status >= 499 {
            ("failed", self.failed)
        } else if end.ours {
            ("refused", self.refused)
        } else {
            ("success", self.successes)
        };
        (ratio >= 1.0 || is_drawn(draw(), ratio)).then(|| Sample { rule: rule.into(), ratio })
    }
}

/// Is this one of the `ratio` of all? The same comparison as OpenTelemetry's `TraceIdRatioBased`,
/// on the lower half of a trace id.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "between 0 and 2^63"
)]
pub fn is_drawn(draw: u64, ratio: f64) -> bool {
    ratio >= 1.0 || (draw >> 1) < (ratio.max(0.0) * (1_u64 << 63) as f64) as u64
}

/// The lower half of a trace id, or else a number made of the request's id that any proxy would
/// make of it.
pub fn draw_of(trace: Option<u128>, request_id: &[u8]) -> u64 {
    match trace {
        Some(trace) => u64::try_from(trace & u128::from(u64::MAX)).unwrap_or_default(),
        None => hash(request_id),
    }
}

#[cfg(test)]
mod tests {
    use authsome_shared::id::RequestId;

    use super::*;

    const RULES: Rules = Rules { successes: 0.1, refused: 0.0, failed: 1.0, slow_us: 1_000_000 };

    #[test]
    fn each_kind_has_its_ratio_and_the_slow_are_always_logged() {
        let end = |status, ours, latency_us| End { status, ours, latency_us };
        for (end, draw, wanted) in [
            (end(200, false, 10), 0, Some(("success", 0.1))),
            (end(200, false, 10), u64::MAX, None),
            (end(404, false, 10), u64::MAX, None),
            (end(200, false, 1_000_000), u64::MAX, Some(("slow", 1.0))),
            (end(429, true, 10), 0, None),
            (end(500, false, 10), u64::MAX, Some(("failed", 1.0))),
            (end(502, true, 10), u64::MAX, Some(("failed", 1.0))),
            (end(499, false, 10), u64::MAX, Some(("failed", 1.0))),
        ] {
            let found = RULES.sample(end, || draw);
            let found = found.as_ref().map(|sample| (&*sample.rule, sample.ratio));
            assert_eq!(found, wanted, "{end:?}");
        }
    }

    #[test]
    fn a_ratio_is_kept_over_request_ids() {
        let ids: Vec<String> = (0..50_000).map(|_| RequestId::new().to_string()).collect();
        for (ratio, least, most) in [(0.0, 0, 0), (0.1, 4_600, 5_400), (1.0, 50_000, 50_000)] {
            let drawn =
                ids.iter().filter(|id| is_drawn(draw_of(None, id.as_bytes()), ratio)).count();
            assert!((least..=most).contains(&drawn), "{drawn} of 50,000 at {ratio}");
        }
    }

    #[test]
    fn a_trace_is_drawn_alike_everywhere() {
        // OpenTelemetry's own examples of the comparison: the lower half decides, its last bit not.
        let trace = |low: u64| Some((0xabcd_u128 << 64) | u128::from(low));
        assert!(is_drawn(draw_of(trace(0x7fff_ffff_ffff_ffff), b"req_a"), 0.5));
        assert!(!is_drawn(draw_of(trace(0x8000_0000_0000_0000), b"req_b"), 0.5));
        assert_eq!(draw_of(trace(5), b"req_a"), draw_of(trace(5), b"req_b"));
        // What one proxy decided of an id, all others do.
        assert_eq!(draw_of(None, b"req_0123456789ABCDEFGHIJKL"), 10_377_344_725_996_783_658);
    }
}
