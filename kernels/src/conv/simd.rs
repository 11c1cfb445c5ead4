//! The convolution for AVX2 and AVX-512: one kernel source, instantiated twice.
//!
//! A **strip** is a few neighbouring pixels of a row times one or two blocks of outputs, all sums
//! in registers: each weight vector loaded serves every pixel of the strip. The last strip of a row
//! overlaps the one before it instead of reaching over the edge, so nothing outside the maps is
//! read or written and the same value is written twice. Sums are taken in the order of `scalar`.
//!
//! Only this module of the convolution holds `unsafe` code: intrinsics on pointers. [`check`]
//! establishes once per call what every pointer rests on.
#![allow(unsafe_code)]

use super::{BLOCK, RowRange};
use std::arch::x86_64::*;

/// What makes every access of the kernels valid, tested in release builds too; the cost is a few
/// comparisons per call.
///
/// * `out` is a whole number of rows with border, and rows `first ..` of that many lie inside each
///   source, whose size is that of the output (halved when upsampled); hence a 3x3 window at any of
///   them stays inside the source's border.
/// * The weights hold `outputs / BLOCK * taps * (all stored channels) * BLOCK` values, the bias
///   `outputs`.
fn check(part: &RowRange<'_>, out: &[f32]) {
    let conv = part.conv;
    let stride = (part.cols + 2) * conv.outputs;
    let rows = out.len() / stride;
    assert!(part.cols > 0 && conv.outputs.is_multiple_of(BLOCK) && rows * stride == out.len());
    let mut channels = 0;
    for source in part.sources {
        let size = source.map.size();
        let factor = if source.upsampled { 2 } else { 1 };
        assert!(part.first + rows <= factor * size.rows && part.cols == factor * size.cols);
        assert!(source.map.values().len() == size.values());
        channels += size.channels;
    }
    assert!(conv.weights.len() == conv.outputs * conv.window.taps() * channels);
    assert!(conv.bias.len() == conv.outputs);
}

/// The strip width of `widths` that wastes the fewest pixels on a row of `cols`; the first of
/// equals. `widths` end with 1, so one always fits.
fn best_width(widths: &[usize], cols: usize) -> usize {
    let fitting = widths.iter().copied().filter(|&w| w <= cols);
    fitting.min_by_key(|w| cols.next_multiple_of(*w)).unwrap_or(1)
}

macro_rules! kernels {
    (
        $module:ident, $feature:literal, $vector:ident, lanes $lanes:literal,
        zero $zero:ident, set1 $set1:ident, load $load:ident, store $store:ident,
        fma $fma:ident, max $max:ident,
        groups [$($blocks:literal => [$($width:literal),+]),+]
    ) => {
        mod $module {
            use super::*;

            /// Registers that hold one block of outputs.
            const VECTORS: usize = BLOCK / $lanes;

            /// # Safety
            /// The processor has the instruction set, and [`check`] holds for `part` and `out`.
            #[target_feature(enable = $feature)]
            pub(super) unsafe fn run(part: &RowRange<'_>, out: &mut [f32]) {
                let blocks = part.conv.outputs / BLOCK;
                let mut block = 0;
                $(
                    let width = best_width(&[$($width),+], part.cols);
                    while blocks - block >= $blocks {
                        match width {
                            // SAFETY: passed on from the caller; the blocks exist by the loop's
                            // condition and the width fits the row by `best_width`.
                            $($width => unsafe {
                                rows::<$width, { $blocks * VECTORS }>(part, block, out)
                            },)+
                            _ => unreachable!("a width of the list"),
                        }
                        block += $blocks;
                    }
                )+
            }

            /// All rows of a group of blocks, beginning at `block`.
            ///
            /// # Safety
            /// As [`run`]; `block` and the blocks of `V` registers exist, and a row has at least
            /// `P` pixels.
            #[target_feature(enable = $feature)]
            unsafe fn rows<const P: usize, const V: usize>(
                part: &RowRange<'_>,
                block: usize,
                out: &mut [f32],
            ) {
                let outputs = part.conv.outputs;
                let stride = (part.cols + 2) * outputs;
                for (i, row) in out.chunks_exact_mut(stride).enumerate() {
                    let mut col = 0;
                    loop {
                        // SAFETY: `col + P <= cols`, so with the border pixel before them the
                        // strip's pixels lie in `row`, and the source windows at these rows and
                        // columns exist by `check`.
                        unsafe {
                            let to = row.as_mut_ptr().add((col + 1) * outputs + block * BLOCK);
                            strip::<P, V>(part, block, [part.first + i, col], to);
                        }
                        if col + P >= part.cols {
                            break;
                        }
                        col = (col + P).min(part.cols - P);
                    }
                }
            }

            /// `P` pixels from `[row, col]` on, `V` registers of outputs from `block` on, stored at
            /// `to`.
            ///
            /// # Safety
            /// As [`rows`], and `to` is where the first output of the first pixel belongs.
            #[target_feature(enable = $feature)]
            unsafe fn strip<const P: usize, const V: usize>(
                part: &RowRange<'_>,
                block: usize,
                [row, col]: [usize; 2],
                to: *mut f32,
            ) {
                let conv = part.conv;
                let per_block = conv.weights.len() / conv.outputs * BLOCK;
                let mut sums = [[$zero(); V]; P];
                // SAFETY: `check` gives the lengths of bias and weights; registers `0 .. V` belong
                // to blocks that exist.
                let mut weights = unsafe {
                    for v in 0..V {
                        let bias = $load(conv.bias.as_ptr().add(block * BLOCK + v * $lanes));
                        for sum in &mut sums {
                            sum[v] = bias;
                        }
                    }
                    conv.weights.as_ptr().add(block * per_block)
                };
                // One source at one tap; `$number` maps a pixel to the number of the one it reads.
                macro_rules! add_channels {
                    ($pixels:expr, $channels:expr, $number:expr) => {
                        for channel in 0..$channels {
                            let mut loaded = [$zero(); V];
                            for v in 0..V {
                                let output = v * $lanes;
                                let offset = output / BLOCK * per_block + output % BLOCK;
                                loaded[v] = $load(weights.add(offset));
                            }
                            for p in 0..P {
                                let value = $set1(*$pixels.add($number(p) * $channels + channel));
                                for v in 0..V {
                                    sums[p][v] = $fma(value, loaded[v], sums[p][v]);
                                }
                            }
                            weights = weights.add(BLOCK);
                        }
                    };
                }
                for tap in 0..conv.window.taps() {
                    let (down, right) = conv.window.offset(tap);
                    for source in part.sources {
                        let (size, count) = (source.map.size(), source.map.size().channels);
                        // Twice its size: a position reads the one at half of it, rounded up.
                        let seen = |n: usize| if source.upsampled { n.div_ceil(2) } else { n };
                        let (row, col) = (row + down, col + right);
                        // SAFETY: in a map with border, rows `0 ..= rows + 1` and as many columns
                        // exist; `row` and `col + P - 1` are at most that (halved when upsampled).
                        // `weights` moves by one BLOCK per tap and stored channel, as many as
                        // `check` counted.
                        unsafe {
                            let first = seen(row) * size.row_stride() + seen(col) * count;
                            let at = source.map.values().as_ptr().add(first);
                            match (source.upsampled, col.is_multiple_of(2)) {
                                (false, _) => add_channels!(at, count, |p: usize| p),
                                (true, true) => add_channels!(at, count, |p: usize| p.div_ceil(2)),
                                (true, false) => add_channels!(at, count, |p: usize| p / 2),
                            }
                        }
                    }
                }
                for (p, sum) in sums.iter().enumerate() {
                    for (v, &value) in sum.iter().enumerate() {
                        let value = if conv.relu { $max(value, $zero()) } else { value };
                        // SAFETY: pixel `p` and register `v` of the strip, see above.
                        unsafe { $store(to.add(p * conv.outputs + v * $lanes), value) };
                    }
                }
            }
        }
    };
}

// 16 registers: 12 sums, 2 weights, 1 value.
kernels!(
    avx2, "avx2,fma", __m256, lanes 8,
    zero _mm256_setzero_ps, set1 _mm256_set1_ps, load _mm256_loadu_ps, store _mm256_storeu_ps,
    fma _mm256_fmadd_ps, max _mm256_max_ps,
    groups [1 => [6, 5, 4, 2, 1]]
);

// 32 registers: 24 sums, 2 weights, values straight from memory.
kernels!(
    avx512, "avx512f", __m512, lanes 16,
    zero _mm512_setzero_ps, set1 _mm512_set1_ps, load _mm512_loadu_ps, store _mm512_storeu_ps,
    fma _mm512_fmadd_ps, max _mm512_max_ps,
    groups [2 => [12, 10, 8, 4, 2, 1], 1 => [24, 20, 16, 12, 8, 4, 2, 1]]
);

/// The rows of `part` into `out` with AVX2; the processor must have it, see
/// [`super::InstructionSet`].
pub(super) fn run_avx2(part: &RowRange<'_>, out: &mut [f32]) {
    check(part, out);
    // SAFETY: an `InstructionSet` exists only after detection, and `check` has passed.
    unsafe { avx2::run(part, out) }
}

/// The rows of `part` into `out` with AVX-512; the processor must have it, see
/// [`super::InstructionSet`].
pub(super) fn run_avx512(part: &RowRange<'_>, out: &mut [f32]) {
    check(part, out);
    // SAFETY: an `InstructionSet` exists only after detection, and `check` has passed.
    unsafe { avx512::run(part, out) }
}
