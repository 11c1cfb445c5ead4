//! The definition of the convolution, in plain loops; also what runs where no faster version
//! exists.
//!
//! The innermost loop goes over the outputs of a block, which are independent, so that a compiler
//! for a processor with fused multiply-add in its base set (aarch64) may use vectors without
//! changing a bit.

use super::{BLOCK, RowRange, Source};

/// Fills the interior of `out`: whole rows with their border pixels, the first being row
/// `part.first`.
pub(super) fn run(part: &RowRange<'_>, out: &mut [f32]) {
    let outputs = part.conv.outputs;
    for (i, row) in out.chunks_exact_mut((part.cols + 2) * outputs).enumerate() {
        // Without the border pixel at each end.
        let pixels = &mut row[outputs..][..part.cols * outputs];
        for (col, pixel) in pixels.chunks_exact_mut(outputs).enumerate() {
            for (number, block) in pixel.chunks_exact_mut(BLOCK).enumerate() {
                block.copy_from_slice(&block_of_pixel(part, number, part.first + i, col));
            }
        }
    }
}

fn block_of_pixel(part: &RowRange<'_>, block: usize, row: usize, col: usize) -> [f32; BLOCK] {
    let conv = part.conv;
    let mut sums = [0.0; BLOCK];
    sums.copy_from_slice(&conv.bias[block * BLOCK..][..BLOCK]);
    let per_block = conv.weights.len() / conv.outputs * BLOCK;
    let mut weights = conv.weights[block * per_block..][..per_block].chunks_exact(BLOCK);
    for tap in 0..conv.window.taps() {
        let (down, right) = conv.window.offset(tap);
        for source in part.sources {
            let channels = pixel(source, row + down, col + right);
            for (&value, weights) in channels.iter().zip(&mut weights) {
                for (sum, &weight) in sums.iter_mut().zip(weights) {
                    *sum = value.mul_add(weight, *sum);
                }
            }
        }
    }
    if conv.relu {
        // As the processors' maximum with zero: NaN and -0 become +0.
        sums = sums.map(|v| if v > 0.0 { v } else { 0.0 });
    }
    sums
}

/// The channels at a position of the map with its border, at the size the convolution sees.
fn pixel<'a>(source: &Source<'a>, row: usize, col: usize) -> &'a [f32] {
    let (row, col) = if source.upsampled { (row.div_ceil(2), col.div_ceil(2)) } else { (row, col) };
    let size = source.map.size();
    &source.map.values()[row * size.row_stride() + col * size.channels..][..size.channels]
}
