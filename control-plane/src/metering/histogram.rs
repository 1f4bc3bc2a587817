//! Buckets of a latency histogram that can be merged by adding counts: four to each doubling, from
//! a millisecond's sixteenth to a minute and more, so that a quantile is within 19 % of the truth.

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

    proptest! {
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
