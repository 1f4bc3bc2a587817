//! Buckets of a latency histogram that can be merged by adding counts: four to each doubling, from
//! a millisecond's sixteenth to a minute and more, so that a quantile is within 19 % of the truth.

use std::fmt;

/// Upper edge of bucket 0, in microseconds.
const FIRST_EDGE_US: f64 = 62.5;
const PER_DOUBLING: f64 = 4.0;
/// Everything above the last edge (about 68 s) falls into the last bucket.
pub const BUCKETS: usize = 82;

/// The bucket that a latency falls into.
pub fn bucket_of(latency_us: u64) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "a bucket is coarser than the loss")]
    let ratio = latency_us as f64 / FIRST_EDGE_US;
    if ratio <= 1.0 {
        return 0;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a logarithm of more than one, and of a u64, is small"
    )]
    let bucket = (ratio.log2() * PER_DOUBLING).ceil() as usize;
    bucket.min(BUCKETS - 1)
}

/// Upper edge of a bucket, in microseconds.
pub fn edge_us(bucket: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "buckets are few")]
    let exponent = bucket as f64 / PER_DOUBLING;
    FIRST_EDGE_US * exponent.exp2()
}

/// Requests by bucket. As text, for the database: `12:5,13:40`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram([u64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Histogram {
    /// Counts one request.
    pub fn add(&mut self, latency_us: u64) {
        self.0[bucket_of(latency_us)] += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(&other.0) {
            *count += more;
        }
    }

    /// Reads what `Display` wrote; what can't be read is left out.
    pub fn parse(text: &str) -> Self {
        let mut histogram = Self::default();
        for part in text.split(',') {
            if let Some((bucket, count)) = part.split_once(':')
                && let Some(place) =
                    bucket.parse().ok().and_then(|it: usize| histogram.0.get_mut(it))
                && let Ok(count) = count.parse()
            {
                *place = count;
            }
        }
        histogram
    }

    /// The latencies that rising parts of the requests did not exceed, in milliseconds: at most 19 %
    /// too much. `None` when there were no requests.
    pub fn quantiles_ms<const N: usize>(&self, parts: [f64; N]) -> [Option<f64>; N] {
        let mut found = [None; N];
        let total: u64 = self.0.iter().sum();
        if total == 0 {
            return found;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a count is a count"
        )]
        let rank = |part: f64| ((total as f64 * part).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        let mut next = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            seen += count;
            while next < N && seen >= rank(parts[next]) {
                found[next] = Some(edge_us(bucket) / 1_000.0);
                next += 1;
            }
        }
        found
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (bucket, count) in self.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            write!(f, "{comma}{bucket}:{count}")?;
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(62), 0);
        assert_eq!(bucket_of(63), 1);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert!(edge_us(BUCKETS - 1) > 60_000_000.0);
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Histogram::default().quantiles_ms([0.5]), [None]);
        assert_eq!(Histogram::parse("nonsense,1:,:2,3,99:4"), Histogram::default());
    }

    proptest! {
        #[test]
        fn quantiles_of_merged_parts_are_near_the_truth(
            mut all in prop::collection::vec(63_u64..60_000_000, 1..200), cut in 0_usize..200,
        ) {
            let (one, other) = all.split_at(cut.min(all.len()));
            let count = |part: &[u64]| {
                let mut histogram = Histogram::default();
                for latency in part {
                    histogram.add(*latency);
                }
                Histogram::parse(&histogram.to_string())
            };
            let mut merged = count(one);
            merged.merge(&count(other));
            prop_assert_eq!(&merged, &count(&all));
            all.sort_unstable();
            let found = merged.quantiles_ms([0.5, 1.0]);
            for (found, rank) in found.iter().zip([all.len().div_ceil(2), all.len()]) {
                let truth = f64::from(u32::try_from(all[rank - 1]).unwrap()) / 1_000.0;
                let found = found.unwrap();
                prop_assert!(found >= truth * 0.999 && found <= truth * 1.19, "{found} {truth}");
            }
        }

        #[test]
        fn a_latency_lies_under_its_edge_and_over_the_one_before(us in 63_u64..60_000_000) {
            let bucket = bucket_of(us);
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let us = us as f64;
            prop_assert!(us <= edge_us(bucket) * 1.000_001);
            prop_assert!(us > edge_us(bucket - 1) * 0.999_999);
            prop_assert!(edge_us(bucket) / us < 1.19);
        }
    }
}
