//! The definition of the convolution, in plain loops; also what runs where no faster version
//! exists.
//!
//! The innermost loop goes over the outputs of a block, which are independent, so that a compiler
//! for a processor with fused multiply-add in its base set may use vectors without changing a bit.

use super::pairs::{PARTS, combine};
use super::weights::{Place, Way};
use super::{BLOCK, RowRange};

/// Fills the interior of `out`: whole rows with their border pixels, the first being row
/// `part.first`.
pub(super) fn run(part: &RowRange<'_>, out: &mut [f32]) {
    let outputs = part.conv.outputs;
    let stride = (part.cols + 2) * outputs;
    let mut combined = Vec::new();
    for (i, rows) in out.chunks_mut(2 * stride).enumerate() {
        let row = part.first + 2 * i;
        combine(part, row, &mut combined);
        for col in 0..part.cols {
            for block in 0..outputs / BLOCK {
                let pixels = pair_of_pixels(part, &combined, block, row, col);
                let at = (col + 1) * outputs + block * BLOCK;
                for (row, pixel) in rows.chunks_exact_mut(stride).zip(pixels) {
                    row[at..][..BLOCK].copy_from_slice(&pixel);
                }
            }
        }
    }
}

type Sums = [f32; BLOCK];

/// A block of outputs at `[row, col]` and at the pixel below; where there is none below, the second
/// means nothing.
fn pair_of_pixels(
    part: &RowRange<'_>,
    combined: &[f32],
    block: usize,
    row: usize,
    col: usize,
) -> [Sums; 2] {
    let conv = part.conv;
    let mut bias = [0.0; BLOCK];
    bias.copy_from_slice(&conv.bias[block * BLOCK..][..BLOCK]);
    let mut parts = [bias, [0.0; BLOCK], [0.0; BLOCK], bias];
    let per_block = conv.weights.len() / conv.outputs * BLOCK;
    let of_block = &conv.weights[block * per_block..][..per_block];
    let mut combined = combined;
    for (reading, map) in conv.readings.iter().zip(part.maps) {
        let stride = map.size().row_stride();
        if reading.way == Way::Paired {
            for (number, sum) in parts.iter_mut().enumerate() {
                let (places, start) = reading.sum(number);
                add(sum, combined, stride, [0, col], places, reading.stored, &of_block[start..]);
            }
            combined = &combined[PARTS * stride..];
            continue;
        }
        for below in 0..part.rows_at(row) {
            let sum = &mut parts[[0, PARTS - 1][below]];
            let (number, corner) = reading.at(row + below, col);
            let (places, start) = reading.sum(number);
            add(sum, map.values(), stride, corner, places, reading.stored, &of_block[start..]);
        }
    }
    let [mut first, m1, m2, mut second] = parts;
    if part.paired().next().is_some() {
        for output in 0..BLOCK {
            first[output] = first[output] + m1[output] + m2[output];
            second[output] += m1[output] - m2[output];
        }
    }
    let mut sums = [first, second];
    if conv.relu {
        // As the processors' maximum with zero: NaN and -0 become +0.
        sums = sums.map(|sum| sum.map(|v| if v > 0.0 { v } else { 0.0 }));
    }
    sums
}

/// Adds the products of the pixels at `places` with their weights.
fn add(
    sums: &mut Sums,
    values: &[f32],
    row_stride: usize,
    [top, left]: [usize; 2],
    places: &[Place],
    channels: usize,
    weights: &[f32],
) {
    let mut weights = weights.chunks_exact(BLOCK);
    for place in places {
        let at = (top + place.down) * row_stride + (left + place.right) * channels;
        for (&value, weights) in values[at..][..channels].iter().zip(&mut weights) {
            for (sum, &weight) in sums.iter_mut().zip(weights) {
                *sum = value.mul_add(weight, *sum);
            }
        }
    }
}
