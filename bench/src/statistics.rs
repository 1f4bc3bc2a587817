//! Medians, percentiles and paired ratios. Rounds on a shared machine differ by a fifth; what two
//! subjects did within one round is comparable, so that a ratio is the median of the rounds' own.

/// The value at `part` (0 to 1) of the sorted; `None` of nothing.
pub fn percentile(sorted: &[u32], part: f64) -> Option<u32> {
    let last = sorted.len().checked_sub(1)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into what is in memory"
    )]
    let index = (last as f64 * part).round() as usize;
    sorted.get(index).copied()
}

pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// Fewest pairs of clean rounds that a ratio is told of.
pub const FEWEST: usize = 3;

/// The median of `a / b` over the rounds in which both are known.
pub fn paired(a: &[Option<f64>], b: &[Option<f64>]) -> Option<f64> {
    let pairs = a.iter().zip(b).filter_map(|(a, b)| Some((*a)? / (*b)?));
    let ratios: Vec<f64> = pairs.collect();
    if ratios.len() < FEWEST { None } else { median(ratios) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_pairs_only_and_of_enough_of_them() {
        let a = [Some(2.0), None, Some(4.0), Some(9.0), Some(100.0)];
        let b = [Some(1.0), Some(1.0), Some(2.0), Some(3.0), None];
        assert_eq!(paired(&a, &b), Some(2.0));
        assert_eq!(paired(&a[..3], &b[..3]), None);
    }

    #[test]
    fn percentiles_and_medians_of_little() {
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(percentile(&[7], 0.99), Some(7));
        assert_eq!(percentile(&[1, 2, 3, 4, 5], 0.5), Some(3));
        assert_eq!(median([]), None);
        assert_eq!(median([1.0, f64::NAN, 3.0]), Some(2.0));
    }
}
