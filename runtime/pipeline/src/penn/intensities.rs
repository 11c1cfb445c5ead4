//! Intensities as the patch net takes them: equal to `models/train/penn/preprocess.py`.

use kernels::{Volume, statistics};

/// Pixels darker than this share of the percentile are noise.
const THRESHOLD_SHARE: f32 = 0.10;
const THRESHOLD_PERCENTILE: f64 = 99.0;
/// Of the blur, in pixels; its window has `2 * ceil(2 sigma) + 1` of them.
const SIGMA: f64 = 2.0;
const REACH: usize = 4;
/// Black and white.
const LIMITS: [f64; 2] = [0.5, 99.5];

/// What is done, in the words in which weights say what they were trained on (`models/train/penn/export.py`).
pub fn preparation() -> String {
    let [low, high] = LIMITS;
    format!(
        "threshold {THRESHOLD_SHARE} of percentile {THRESHOLD_PERCENTILE}, sigma {SIGMA} pixels, percentiles {low} to {high}"
    )
}

/// Threshold, Gaussian blur, then 0..1, by statistics of the volume; `None` where all is alike.
pub fn prepared(image: &Volume<f32>) -> Option<Volume<f32>> {
    let percentile = statistics::percentiles(image.voxels(), &[THRESHOLD_PERCENTILE])[0];
    let threshold = THRESHOLD_SHARE * percentile;
    let mut smooth = image.map(|value| if value < threshold { 0.0 } else { value });
    let [columns, rows, _] = image.dims().counts();
    let taps = taps();
    for plane in smooth.voxels_mut().chunks_exact_mut(columns * rows) {
        blur(plane, columns, &taps);
    }
    let limits = statistics::percentiles(smooth.voxels(), &LIMITS);
    let (low, high) = (limits[0], limits[1]);
    (high > low).then(|| smooth.map(|value| ((value - low) / (high - low)).clamp(0.0, 1.0)))
}

/// The Gaussian's weights, which add up to one.
fn taps() -> [f32; 2 * REACH + 1] {
    let raw: [f64; 2 * REACH + 1] = std::array::from_fn(|n| {
        let away = (n as f64 - REACH as f64) / SIGMA;
        (-0.5 * away * away).exp()
    });
    let sum: f64 = raw.iter().sum();
    raw.map(|weight| (weight / sum) as f32)
}

/// Along rows, then along columns; beyond the edge lies the edge.
fn blur(plane: &mut [f32], columns: usize, taps: &[f32]) {
    let rows = plane.len() / columns;
    let at = |n: usize, tap: usize, count: usize| (n + tap).saturating_sub(REACH).min(count - 1);
    let source = plane.to_vec();
    for (n, value) in plane.iter_mut().enumerate() {
        let (column, row) = (n % columns, n / columns);
        let near = taps.iter().enumerate();
        *value = near.map(|(tap, w)| w * source[at(row, tap, rows) * columns + column]).sum();
    }
    let source = plane.to_vec();
    for (n, value) in plane.iter_mut().enumerate() {
        let (column, row) = (n % columns, n / columns);
        let near = taps.iter().enumerate();
        *value = near.map(|(tap, w)| w * source[row * columns + at(column, tap, columns)]).sum();
    }
}
