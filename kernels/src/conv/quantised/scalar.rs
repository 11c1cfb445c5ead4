//! The definition of the convolution of steps, in plain loops; also what runs where no faster version
//! exists.

use super::{Chunk, GROUP, Gives, Rows, rounded};
use crate::conv::BLOCK;

/// Fills the interior of `out`: whole rows, the first being row `part.first`.
pub(super) fn run(part: &Rows<'_>, out: Chunk<'_>) {
    match (out, part.conv.gives) {
        (Chunk::Steps(out), _) => fill(part, out, rounded),
        // As the processors' maximum with zero: NaN and -0 become +0.
        (Chunk::Values(out), Gives::Values { relu: true }) => {
            fill(part, out, |v| if v > 0.0 { v } else { 0.0 });
        }
        (Chunk::Values(out), _) => fill(part, out, |v| v),
    }
}

/// Every output by `result` of its sum, multiplied and offset.
fn fill<T>(part: &Rows<'_>, out: &mut [T], result: impl Fn(f32) -> T) {
    let outputs = part.conv.outputs;
    for (i, row) in out.chunks_exact_mut((part.cols + 2) * outputs).enumerate() {
        let pixels = row[outputs..][..part.cols * outputs].chunks_exact_mut(outputs);
        for (col, pixel) in pixels.enumerate() {
            for (block, results) in pixel.chunks_exact_mut(BLOCK).enumerate() {
                let sums = sums(part, block, [part.first + i, col]);
                for (lane, (out, sum)) in results.iter_mut().zip(sums).enumerate() {
                    let output = block * BLOCK + lane;
                    let [multiplier, offset] =
                        [&part.conv.multipliers, &part.conv.offsets].map(|of| of[output]);
                    *out = result((sum as f32).mul_add(multiplier, offset));
                }
            }
        }
    }
}

/// The sums of a block of outputs.
fn sums(part: &Rows<'_>, block: usize, at: [usize; 2]) -> [i32; BLOCK] {
    let conv = part.conv;
    let per_block = conv.weights.len() / conv.outputs * BLOCK;
    let of_block = &conv.weights[block * per_block..][..per_block];
    let mut sums = [0; BLOCK];
    for (reading, map) in conv.readings.iter().zip(part.maps) {
        let mut weights = of_block[reading.start..].chunks_exact(BLOCK * GROUP);
        for tap in 0..reading.taps() {
            let [row, col] = reading.place(tap, at);
            let pixel = &map.values()[row * map.size().row_stride() + col * reading.stored..];
            let groups = pixel[..reading.stored].chunks_exact(GROUP);
            for (steps, weights) in groups.zip(&mut weights) {
                for (sum, weights) in sums.iter_mut().zip(weights.chunks_exact(GROUP)) {
                    let products = steps.iter().zip(weights);
                    *sum += products.map(|(&s, &w)| i32::from(s) * i32::from(w)).sum::<i32>();
                }
            }
        }
    }
    sums
}
