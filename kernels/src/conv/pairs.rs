//! Rows of a map combined, so that a 3x3 convolution needs two products where it had three.
//!
//! Two neighbouring rows of outputs see four rows `d0 .. d3` of the source through the three rows
//! `g0 .. g2` of the window. Winograd's F(2, 3) makes four sums of products from combined rows and
//! combined weights, and both outputs from the sums:
//!
//! | part | rows      | weights            | first output | second output |
//! |------|-----------|--------------------|--------------|---------------|
//! | m0   | `d0 - d2` | `g0`               | +            |               |
//! | m1   | `d1 + d2` | `(g0 + g1 + g2)/2` | +            | +             |
//! | m2   | `d2 - d1` | `(g0 - g1 + g2)/2` | +            | -             |
//! | m3   | `d3 - d1` | `g2`               |              | +             |
//!
//! What else goes into an output, bias first, goes into m0 for the first and m3 for the second.
//! In exact arithmetic it is the same convolution; in `f32` the error stays within a few times that
//! of the plain sum, for all factors are 1 or 1/2. Only along the columns: combining columns too
//! would save more products but needs 16 parts, which fit no first-level cache beside the weights.

use super::RowRange;

/// Sums of products for a pair of rows.
pub(super) const PARTS: usize = 4;

/// The taps of a 3x3 window, with their factors, that make the weight of a part at one column.
pub(super) fn taps(part: usize, col: usize) -> Vec<(usize, f32)> {
    let [first, second, third] = [col, 3 + col, 6 + col];
    match part {
        0 => vec![(first, 1.0)],
        1 => vec![(first, 0.5), (second, 0.5), (third, 0.5)],
        2 => vec![(first, 0.5), (second, -0.5), (third, 0.5)],
        _ => vec![(third, 1.0)],
    }
}

/// Fills `combined` with the [`PARTS`] combined rows, border pixels included, of each source that
/// is read so, for the outputs of rows `row` and `row + 1`. Without a second row its part stays
/// as it was.
///
/// Always inlined: compiled for the instruction set of the kernel that calls it.
#[inline(always)]
pub(super) fn combine(part: &RowRange<'_>, row: usize, combined: &mut Vec<f32>) {
    combined.resize(part.paired().map(|map| PARTS * map.size().row_stride()).sum(), 0.0);
    let mut rest = combined.as_mut_slice();
    for map in part.paired() {
        let stride = map.size().row_stride();
        let (own, others) = rest.split_at_mut(PARTS * stride);
        rest = others;
        let source = |n: usize| &map.values()[(row + n) * stride..][..stride];
        let mut rows = own.chunks_exact_mut(stride);
        let mut next = || rows.next().unwrap_or_default();
        fill(next(), source(0), source(2), |a, b| a - b);
        fill(next(), source(1), source(2), |a, b| a + b);
        fill(next(), source(2), source(1), |a, b| a - b);
        if row + 1 < map.size().rows {
            fill(next(), source(3), source(1), |a, b| a - b);
        }
    }
}

#[inline(always)]
fn fill(out: &mut [f32], left: &[f32], right: &[f32], of: impl Fn(f32, f32) -> f32) {
    for (out, (&a, &b)) in out.iter_mut().zip(left.iter().zip(right)) {
        *out = of(a, b);
    }
}
