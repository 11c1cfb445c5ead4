//! Order statistics and moments of intensities. Sums run in memory order, so that a result is equal to the
//! bit on every machine.

/// Percentiles as numpy's default (`method="linear"`): the value at rank `p / 100 * (n - 1)` of the sorted
/// values, linear between neighbours. `percents` are clamped to 0..100; NaN sorts above every number.
/// Without values each percentile is NaN.
pub fn percentiles(values: &[f32], percents: &[f64]) -> Vec<f32> {
    if values.is_empty() {
        return vec![f32::NAN; percents.len()];
    }
    let last = values.len() - 1;
    let rank = |percent: f64| percent.clamp(0.0, 100.0) / 100.0 * last as f64;
    let mut order: Vec<usize> = (0..percents.len()).collect();
    order.sort_by(|&a, &b| percents[a].total_cmp(&percents[b]));
    let mut scratch = values.to_vec();
    let mut result = vec![f32::NAN; percents.len()];
    // Everything before `start` is already in its place: each selection searches only what is above the one
    // before.
    let mut start = 0;
    for n in order {
        let rank = rank(percents[n]);
        let low = rank as usize;
        let (_, &mut at_low, above) =
            scratch[start..].select_nth_unstable_by(low - start, f32::total_cmp);
        let at_high = above.iter().copied().min_by(f32::total_cmp).unwrap_or(at_low);
        let (a, b) = (f64::from(at_low), f64::from(at_high));
        let part = rank - low as f64;
        result[n] = if part == 0.0 { at_low } else { (a + (b - a) * part) as f32 };
        start = low;
    }
    result
}

/// Mean and population standard deviation of the values above `threshold` (strictly); `None` where there is
/// none.
pub fn mean_deviation_above(values: &[f32], threshold: f32) -> Option<(f64, f64)> {
    let above = || values.iter().filter(|&&v| v > threshold).map(|&v| f64::from(v));
    let (count, sum) = above().fold((0u64, 0.0), |(count, sum), v| (count + 1, sum + v));
    if count == 0 {
        return None;
    }
    let mean = sum / count as f64;
    let squares: f64 = above().map(|v| (v - mean) * (v - mean)).sum();
    Some((mean, (squares / count as f64).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.percentile([4, 1, 3, 2], [50, 0, 99, 100, 33])`.
    #[test]
    fn percentiles_are_numpys() {
        let got = percentiles(&[4.0, 1.0, 3.0, 2.0], &[50.0, 0.0, 99.0, 100.0, 33.0]);
        assert_eq!(got, [2.5, 1.0, 3.97, 4.0, 1.99]);
    }

    #[test]
    fn one_value_and_none() {
        assert_eq!(percentiles(&[7.0], &[0.0, 99.5]), [7.0, 7.0]);
        assert!(percentiles(&[], &[50.0])[0].is_nan());
        assert_eq!(mean_deviation_above(&[7.0], 7.0), None);
        assert_eq!(mean_deviation_above(&[7.0, 1.0, 9.0], 1.0), Some((8.0, 1.0)));
    }
}
