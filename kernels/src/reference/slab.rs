//! Definition of `crate::slab`: every value of the tensor asked for by itself.

use super::statistics::percentiles;
use crate::Volume;
use crate::slab::{AIR, Layout, Normalisation, SAMPLING, Scaling};

/// See [`crate::slab::Stack::gather`]; with the scaling of the slab.
pub fn gather(
    image: &Volume<f32>,
    layout: &Layout,
    (k, mirrored): (usize, bool),
    rule: &Normalisation,
) -> (Vec<f32>, Scaling) {
    let lowest = image.voxels().iter().copied().fold(AIR, f32::min);
    let [columns, rows, slices] = image.dims().counts();
    let value = |place: Option<usize>, row: usize, column: usize| match place {
        Some(slice) if row < rows && column < columns => {
            averaged(image, layout.stride, [column, row, slice])
        }
        _ => lowest,
    };
    let [wide, high] = layout.padded;
    let slab: Vec<f32> = layout
        .places(k, mirrored, slices)
        .flat_map(|place| (0..wide * high).map(move |n| value(place, n / wide, n % wide)))
        .collect();
    let scaling = scaling(&slab, wide, rule);
    let scaled =
        slab.iter().map(|v| (v.clamp(scaling.low, scaling.high) - scaling.mean) * scaling.scale);
    (scaled.collect(), scaling)
}

/// The mean of `stride` slices about a voxel, an even number centred by halves.
fn averaged(image: &Volume<f32>, stride: usize, [i, j, k]: [usize; 3]) -> f32 {
    let (radius, last) = (stride / 2, image.dims().counts()[2] - 1);
    let weight = |step: usize| {
        let outer = stride.is_multiple_of(2) && (step == 0 || step == 2 * radius);
        1.0 / stride as f32 / if outer { 2.0 } else { 1.0 }
    };
    let slice = |step: usize| (k + step).saturating_sub(radius).min(last);
    (0..=2 * radius).fold(0.0, |sum, step| sum + weight(step) * image.at([i, j, slice(step)]))
}

fn scaling(slab: &[f32], columns: usize, rule: &Normalisation) -> Scaling {
    let looked_at = |n: &usize| {
        (n / columns).is_multiple_of(SAMPLING) && (n % columns).is_multiple_of(SAMPLING)
    };
    let sample: Vec<f32> = (0..slab.len()).filter(looked_at).map(|n| slab[n]).collect();
    let limits = percentiles(&sample, &[rule.low_percentile, rule.high_percentile]);
    let (low, high) = (limits[0], limits[1]);
    let threshold = low + rule.foreground as f32 * (high - low);
    let clipped = sample.iter().map(|v| v.clamp(low, high)).filter(|&v| v > threshold);
    let above: Vec<f64> = clipped.map(f64::from).collect();
    if above.is_empty() {
        return Scaling { low, high, mean: low, scale: 0.0 };
    }
    let count = above.len() as f64;
    let mean = above.iter().sum::<f64>() / count;
    let deviation = (above.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count).sqrt();
    let scale = if deviation > 0.0 { (1.0 / deviation) as f32 } else { 0.0 };
    Scaling { low, high, mean: mean as f32, scale }
}
