//! Definitions of `crate::statistics`: a full sort; the moments in one naive pass each.

/// See [`crate::statistics::percentiles`].
pub fn percentiles(values: &[f32], percents: &[f64]) -> Vec<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let at = |percent: &f64| {
        let rank = percent.clamp(0.0, 100.0) / 100.0 * (sorted.len().checked_sub(1)? as f64);
        let (low, high) = (rank.floor() as usize, rank.ceil() as usize);
        let (a, b) = (f64::from(sorted[low]), f64::from(sorted[high]));
        Some((a + (b - a) * (rank - rank.floor())) as f32)
    };
    percents.iter().map(|percent| at(percent).unwrap_or(f32::NAN)).collect()
}
