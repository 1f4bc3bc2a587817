//! Buckets of a latency histogram that can be merged by adding counts: four to each doubling, from
//! a millisecond's sixteenth to a minute and more, so that a quantile is within 19 % of the truth.

use std::collections::BTreeMap;
use std::fmt;

/// Upper edge of bucket 0, in microseconds.
const FIRST_EDGE_US: f64 = 62.5;
const PER_DOUBLING: f64 = 4.0;
/// Everything above the last edge (about 68 s) falls into the last bucket.
pub const BUCKETS: i64 = 82;

/// The bucket that a latency falls into.
pub fn bucket_of(latency_us: u64) -> i64 {
    #[expect(clippy::cast_precision_loss, reason = "a bucket is coarser than the loss")]
    let ratio = latency_us as f64 / FIRST_EDGE_US;
    if ratio <= 1.0 {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a logarithm of a u64 is small")]
    let bucket = (ratio.log2() * PER_DOUBLING).ceil() as i64;
    bucket.min(BUCKETS - 1)
}

/// Upper edge of a bucket, in microseconds.
pub fn edge_us(bucket: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "buckets are few")]
    let exponent = bucket as f64 / PER_DOUBLING;
    FIRST_EDGE_US * exponent.exp2()
}

/// Requests by bucket. As text, for the database: `12:5,13:40`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram(BTreeMap<i64, u64>);

impl Histogram {
    /// Counts one request.
    pub fn add(&mut self, latency_us: u64) {
        *self.0.entry(bucket_of(latency_us)).or_default() += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    /// Reads what `Display` wrote; what can't be read is left out.
    pub fn parse(text: &str) -> Self {
        let entry = |part: &str| {
            let (bucket, count) = part.split_once(':')?;
            Some((bucket.parse().ok()?, count.parse().ok()?))
        };
        Self(text.split(',').filter_map(entry).collect())
    }

    /// The latency that a part of the requests did not exceed, in milliseconds: at most 19 % too
    /// much. `None` when there were none.
    pub fn quantile_ms(&self, part: f64) -> Option<f64> {
        let total: u64 = self.0.values().sum();
        if total == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a count is a count"
        )]
        let rank = ((total as f64 * part).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        for (bucket, count) in &self.0 {
            seen += count;
            if seen >= rank {
                return Some(edge_us(*bucket) / 1_000.0);
            }
        }
        None
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (bucket, count)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{bucket}:{count}")?;
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
        assert_eq!(Histogram::default().quantile_ms(0.5), None);
        assert_eq!(Histogram::parse("nonsense,1:,:2,3"), Histogram::default());
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
            for (part, rank) in [(0.5, all.len().div_ceil(2)), (1.0, all.len())] {
                let truth = f64::from(u32::try_from(all[rank - 1]).unwrap()) / 1_000.0;
                let found = merged.quantile_ms(part).unwrap();
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
