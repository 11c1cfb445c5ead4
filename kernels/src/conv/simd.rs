//! The convolution for AVX2, AVX-512 and NEON: one kernel source, instantiated for each.
//!
//! A **strip** is a few neighbouring pixels of a pair of rows times one or two blocks of outputs.
//! Its sums are made one after the other, each in registers: every weight vector loaded serves
//! every pixel of the strip. Where a source is upsampled, neighbours are every second pixel, for
//! those share their weights. The last strip of a row overlaps the one before it instead of
//! reaching over the edge, so nothing outside the maps is read or written and the same value is
//! written twice. Sums are taken in the order of `scalar`.
//!
//! Only this module of the convolution holds `unsafe` code: intrinsics on pointers. [`check`]
//! establishes once per call what every pointer rests on.
#![allow(unsafe_code)]

use super::pairs::{PARTS, combine};
use super::peak::CHAINS;
use super::weights::{Place, Reading, Way};
use super::{BLOCK, Conv, RowRange, planes};
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// What makes every access of the kernels valid, tested in release builds too; the cost is a few
/// comparisons per call.
///
/// * `out` is a whole number of rows with border, the first an even one, and rows `first ..` of
///   that many lie inside each source, whose size is that of the output (halved when upsampled);
///   hence a 3x3 window at any of them stays inside the source's border. The combined rows of the
///   sources have their length by construction.
/// * The weights hold those of every reading for each block of outputs, one behind the other; the
///   bias holds `outputs`.
fn check(part: &RowRange<'_>, out: &[f32]) {
    let conv = part.conv;
    let stride = (part.cols + 2) * conv.outputs;
    let rows = out.len() / stride;
    assert!(part.cols > 0 && conv.outputs.is_multiple_of(BLOCK) && rows * stride == out.len());
    assert!(part.first.is_multiple_of(2) && part.first + rows <= part.rows);
    assert!(part.maps.len() == conv.readings.len());
    for (map, reading) in part.maps.iter().zip(&conv.readings) {
        let (size, factor) = (map.size(), reading.factor());
        assert!(part.rows == factor * size.rows && part.cols == factor * size.cols);
        assert!(size.channels == reading.stored && map.values().len() == size.values());
    }
    let per_block: usize = conv.readings.iter().map(Reading::weights).sum();
    assert!(conv.weights.len() == conv.outputs / BLOCK * per_block);
    assert!(conv.bias.len() == conv.outputs);
}

/// Pixels from one of a strip to the next.
fn step(part: &RowRange<'_>) -> usize {
    part.conv.readings.iter().map(Reading::factor).max().unwrap_or(1)
}

/// The pair of rows that is computed now.
#[derive(Clone, Copy)]
struct Pair<'a> {
    part: &'a RowRange<'a>,
    row: usize,
    /// What [`combine`] made for it.
    combined: &'a [f32],
    /// Pixels from one of a strip to the next.
    step: usize,
}

/// What one sum of every pixel of a strip is made of.
struct Products<'a> {
    /// The corner of the first pixel's window.
    corner: *const f32,
    row_stride: usize,
    channels: usize,
    /// Values from a pixel of the strip to the next.
    apart: usize,
    places: &'a [Place],
    /// Those of the first block of outputs, and how far it is to those of the next.
    weights: *const f32,
    per_block: usize,
}

/// What a strip costs beside its pixels, in pixels: its weights are loaded for few of them as for
/// many, and sums that are few wait for each other.
const STRIP_COST: usize = 2;

/// The strip width of `widths` that makes a row of `pixels` cheapest; the first of equals. `widths`
/// end with 1, so one always fits.
pub(super) fn best_width(widths: &[usize], pixels: usize) -> usize {
    let fitting = widths.iter().copied().filter(|&w| w <= pixels);
    fitting.min_by_key(|w| pixels.div_ceil(*w) * (w + STRIP_COST)).unwrap_or(1)
}

macro_rules! kernels {
    (
        $module:ident, $feature:literal, $vector:ident, lanes $lanes:literal,
        zero $zero:ident, set1 $set1:ident, load $load:ident, store $store:ident,
        fma $fma:ident, add $add:ident, sub $sub:ident, max $max:ident,
        groups [$($blocks:literal => [$($width:literal),+]),+],
        planes $registers:literal => [$($height:literal),+]
    ) => {
        mod $module {
            use super::*;

            /// Registers that hold one block of outputs.
            const VECTORS: usize = BLOCK / $lanes;

            /// One register row of sums for each pixel of a strip.
            type Sums<const P: usize, const V: usize> = [[$vector; V]; P];

            /// # Safety
            /// The processor has the instruction set, and [`check`] holds for `part` and `out`.
            #[target_feature(enable = $feature)]
            pub(super) unsafe fn run(part: &RowRange<'_>, out: &mut [f32]) {
                let (outputs, step) = (part.conv.outputs, step(part));
                let mut combined = Vec::new();
                for (i, rows) in out.chunks_mut(2 * (part.cols + 2) * outputs).enumerate() {
                    let row = part.first + 2 * i;
                    combine(part, row, &mut combined);
                    let pair = Pair { part, row, combined: &combined, step };
                    let mut block = 0;
                    $(
                        let width = best_width(&[$($width),+], part.cols / step);
                        while outputs / BLOCK - block >= $blocks {
                            match width {
                                // SAFETY: passed on from the caller; the blocks exist by the
                                // loop's condition and the width fits the row by `best_width`.
                                $($width => unsafe {
                                    strips::<$width, { $blocks * VECTORS }>(pair, block, rows)
                                },)+
                                _ => unreachable!("a width of the list"),
                            }
                            block += $blocks;
                        }
                    )+
                }
            }

            /// A group of blocks of outputs, beginning at `block`.
            ///
            /// # Safety
            /// As [`run`]; `block` and the blocks of `V` registers exist, and a row has at
            /// least `P` pixels per column of a step.
            #[target_feature(enable = $feature)]
            unsafe fn strips<const P: usize, const V: usize>(
                pair: Pair<'_>,
                block: usize,
                rows: &mut [f32],
            ) {
                let Pair { part, step, .. } = pair;
                let (outputs, pixels) = (part.conv.outputs, part.cols / step);
                let mut parts = [[[$zero(); V]; P]; PARTS];
                for phase in 0..step {
                    let mut pixel = 0;
                    loop {
                        let col = pixel * step + phase;
                        // SAFETY: `pixel + P <= pixels`, so with the border pixel before them the
                        // strip's pixels lie in both rows, and the source windows at these rows
                        // and columns exist by `check`.
                        unsafe {
                            let to = rows.as_mut_ptr().add((col + 1) * outputs + block * BLOCK);
                            strip::<P, V>(pair, block, col, &mut parts, to);
                        }
                        if pixel + P >= pixels {
                            break;
                        }
                        pixel = (pixel + P).min(pixels - P);
                    }
                }
            }

            /// `P` pixels from column `col` on, one every step, and those below; `V` registers of
            /// outputs from `block` on, stored at `to`. What `parts` held does not matter.
            ///
            /// # Safety
            /// As [`strips`], and `to` is where the first output of the first pixel belongs.
            #[target_feature(enable = $feature)]
            unsafe fn strip<const P: usize, const V: usize>(
                pair: Pair<'_>,
                block: usize,
                col: usize,
                parts: &mut [Sums<P, V>; PARTS],
                to: *mut f32,
            ) {
                let Pair { part, row, mut combined, step } = pair;
                let (conv, rows) = (part.conv, part.rows_at(row));
                let per_block = conv.weights.len() / conv.outputs * BLOCK;
                let (mut bias, zeros) = ([$zero(); V], [$zero(); V]);
                // SAFETY: `check` gives the lengths of bias and weights; registers `0 .. V` belong
                // to blocks that exist.
                let of_block = unsafe {
                    for (v, bias) in bias.iter_mut().enumerate() {
                        *bias = $load(conv.bias.as_ptr().add(block * BLOCK + v * $lanes));
                    }
                    conv.weights.as_ptr().add(block * per_block)
                };
                // What each part begins with, until it has begun.
                let mut start = [Some(bias), Some(zeros), Some(zeros), Some(bias)];
                for (reading, map) in conv.readings.iter().zip(part.maps) {
                    let (row_stride, channels) = (map.size().row_stride(), reading.stored);
                    let apart = step / reading.factor() * channels;
                    let products = |number: usize, values: &[f32], [top, left]: [usize; 2]| {
                        let (places, start) = reading.sum(number);
                        let corner = &raw const values[top * row_stride + left * channels];
                        // SAFETY: the weights of a reading begin inside those of the block.
                        let weights = unsafe { of_block.add(start) };
                        Products { corner, row_stride, channels, apart, places, weights, per_block }
                    };
                    // SAFETY: the places of a reading keep within the window at each pixel of the
                    // strip, which `check` found inside the map with its border; of the combined
                    // rows there are as many as parts.
                    unsafe {
                        if reading.way == Way::Paired {
                            for number in 0..PARTS {
                                let products = products(number, combined, [0, col]);
                                add(start[number].take(), &mut parts[number], products);
                            }
                            combined = &combined[PARTS * row_stride..];
                            continue;
                        }
                        for below in 0..rows {
                            let number = [0, PARTS - 1][below];
                            let (sum, corner) = reading.at(row + below, col);
                            let products = products(sum, map.values(), corner);
                            add(start[number].take(), &mut parts[number], products);
                        }
                    }
                }
                // SAFETY: pixel `p` and register `v` of the strip lie at `to`, and below it where
                // there is a second row.
                unsafe { finish(parts, pair, to) }
            }

            /// Makes the outputs of a strip from its parts and stores them.
            ///
            /// # Safety
            /// As [`strip`].
            #[target_feature(enable = $feature)]
            unsafe fn finish<const P: usize, const V: usize>(
                parts: &[Sums<P, V>; PARTS],
                pair: Pair<'_>,
                to: *mut f32,
            ) {
                let Pair { part, row, step, .. } = pair;
                let Conv { outputs, relu, .. } = *part.conv;
                let (paired, two) = (!pair.combined.is_empty(), part.rows_at(row) == 2);
                for p in 0..P {
                    for v in 0..V {
                        let (mut first, mut second) = (parts[0][p][v], parts[3][p][v]);
                        if paired {
                            let (m1, m2) = (parts[1][p][v], parts[2][p][v]);
                            first = $add($add(first, m1), m2);
                            second = $add(second, $sub(m1, m2));
                        }
                        if relu {
                            first = $max(first, $zero());
                            second = $max(second, $zero());
                        }
                        // SAFETY: passed on from the caller.
                        unsafe {
                            let to = to.add(p * step * outputs + v * $lanes);
                            $store(to, first);
                            if two {
                                $store(to.add((part.cols + 2) * outputs), second);
                            }
                        }
                    }
                }
            }

            /// `rounds` fused multiply-adds in each of [`CHAINS`] registers, nothing from memory.
            #[target_feature(enable = $feature)]
            pub(super) fn peak(rounds: usize, values: &mut [f32; CHAINS * BLOCK]) {
                let chains = values.chunks_exact(BLOCK).map(<[f32]>::as_ptr);
                let mut sums = [$zero(); CHAINS];
                for (sum, chain) in sums.iter_mut().zip(chains) {
                    // SAFETY: a chain holds a BLOCK, at least one register.
                    *sum = unsafe { $load(chain) };
                }
                let (factor, addend) = (sums[0], sums[1]);
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = $fma(factor, *sum, addend);
                    }
                }
                for (sum, chain) in sums.iter().zip(values.chunks_exact_mut(BLOCK)) {
                    // SAFETY: as above.
                    unsafe { $store(chain.as_mut_ptr(), *sum) };
                }
            }

            /// # Safety
            /// The processor has the instruction set, and `sums` was checked with `out`.
            #[target_feature(enable = $feature)]
            pub(super) unsafe fn planes(sums: &planes::Sums<'_>, out: &mut [f32]) {
                let outputs = sums.bias.len();
                for pixel in (0..sums.pixels).step_by($registers * $lanes) {
                    let height = best_width(&[$($height),+], outputs);
                    let mut output = 0;
                    loop {
                        match height {
                            // SAFETY: passed on from the caller; registers lie within a block of
                            // pixels, and `output + height <= outputs`.
                            $($height => unsafe {
                                plane_strip::<$height, $registers>(sums, output, pixel, out)
                            },)+
                            _ => unreachable!("a height of the list"),
                        }
                        if output + height >= outputs {
                            break;
                        }
                        output = (output + height).min(outputs - height);
                    }
                }
            }

            /// `P` outputs from `output` on, of the pixels of `V` registers from `pixel` on.
            ///
            /// # Safety
            /// As [`planes`], and these outputs and pixels exist.
            #[target_feature(enable = $feature)]
            unsafe fn plane_strip<const P: usize, const V: usize>(
                sums: &planes::Sums<'_>,
                output: usize,
                pixel: usize,
                out: &mut [f32],
            ) {
                let pitch = sums.pitch;
                // SAFETY: by the check of `sums` there is a weight for each value of each output, and
                // each value for each pixel; `out` holds all pixels of all outputs.
                unsafe {
                    let mut own = [[$zero(); V]; P];
                    for p in 0..P {
                        own[p] = [$set1(*sums.bias.as_ptr().add(output + p)); V];
                    }
                    let mut weights = sums.weights.as_ptr().add(output * pitch);
                    for segment in sums.segments {
                        let mut from = sums.source.as_ptr().add(segment.start + pixel);
                        for n in 0..segment.count {
                            let mut loaded = [$zero(); V];
                            for v in 0..V {
                                loaded[v] = $load(from.add(v * $lanes));
                            }
                            for p in 0..P {
                                let weight = $set1(*weights.add(p * pitch + n));
                                for v in 0..V {
                                    own[p][v] = $fma(weight, loaded[v], own[p][v]);
                                }
                            }
                            // Beyond the last value nothing is read.
                            from = from.wrapping_add(segment.step);
                        }
                        weights = weights.add(segment.count);
                    }
                    for p in 0..P {
                        let to = out.as_mut_ptr().add((output + p) * sums.pixels + pixel);
                        for v in 0..V {
                            $store(to.add(v * $lanes), own[p][v]);
                        }
                    }
                }
            }

            #[target_feature(enable = $feature)]
            pub(super) fn logistic(values: &mut [f32]) {
                planes::logistic_of(values);
            }

            /// Adds `products` to the sums of a strip, or to `start` for each of its pixels.
            ///
            /// # Safety
            /// Every place is inside the values around the corner of each of the `P` pixels, and
            /// the weights hold a block of outputs for each of its channels.
            #[target_feature(enable = $feature)]
            unsafe fn add<const P: usize, const V: usize>(
                start: Option<[$vector; V]>,
                sums: &mut Sums<P, V>,
                products: Products<'_>,
            ) {
                let Products { corner, row_stride, channels, apart, places, .. } = products;
                let mut weights = products.weights;
                // A copy, so that they stay in registers.
                let mut own = match start {
                    Some(start) => [start; P],
                    None => *sums,
                };
                // Neighbouring places lie one behind the other, as their weights do: one loop.
                for run in places.chunk_by(Place::is_left_of) {
                    // SAFETY: passed on from the caller; `weights` moves by one BLOCK per channel.
                    unsafe {
                        let from = corner.add(run[0].down * row_stride + run[0].right * channels);
                        for channel in 0..run.len() * channels {
                            let mut loaded = [$zero(); V];
                            for v in 0..V {
                                let output = v * $lanes;
                                let block = output / BLOCK * products.per_block;
                                loaded[v] = $load(weights.add(block + output % BLOCK));
                            }
                            for p in 0..P {
                                let value = $set1(*from.add(p * apart + channel));
                                for v in 0..V {
                                    own[p][v] = $fma(value, loaded[v], own[p][v]);
                                }
                            }
                            weights = weights.add(BLOCK);
                        }
                    }
                }
                *sums = own;
            }
        }
    };
}

// 16 registers: 12 sums, 2 weights, 1 value.
#[cfg(target_arch = "x86_64")]
kernels!(
    avx2, "avx2,fma", __m256, lanes 8,
    zero _mm256_setzero_ps, set1 _mm256_set1_ps, load _mm256_loadu_ps, store _mm256_storeu_ps,
    fma _mm256_fmadd_ps, add _mm256_add_ps, sub _mm256_sub_ps, max _mm256_max_ps,
    groups [1 => [6, 5, 4, 3, 2, 1]],
    planes 2 => [6, 5, 4, 3, 2, 1]
);

// 32 registers: 24 sums (16 where one block is left), 2 weights, values straight from memory.
#[cfg(target_arch = "x86_64")]
kernels!(
    avx512, "avx512f", __m512, lanes 16,
    zero _mm512_setzero_ps, set1 _mm512_set1_ps, load _mm512_loadu_ps, store _mm512_storeu_ps,
    fma _mm512_fmadd_ps, add _mm512_add_ps, sub _mm512_sub_ps, max _mm512_max_ps,
    groups [2 => [12, 10, 8, 6, 5, 4, 3, 2, 1], 1 => [16, 12, 10, 8, 6, 5, 4, 3, 2, 1]],
    planes 2 => [12, 10, 8, 6, 5, 4, 3, 2, 1]
);

/// `value * weight + sum`, in the order of arguments that the other sets have.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn fused(value: float32x4_t, weight: float32x4_t, sum: float32x4_t) -> float32x4_t {
    vfmaq_f32(sum, value, weight)
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn zero() -> float32x4_t {
    vdupq_n_f32(0.0)
}

// 32 registers: 24 sums, 4 weights, 1 value. The maximum is the one that prefers a number to NaN,
// as the definition does.
#[cfg(target_arch = "aarch64")]
kernels!(
    neon, "neon", float32x4_t, lanes 4,
    zero zero, set1 vdupq_n_f32, load vld1q_f32, store vst1q_f32,
    fma fused, add vaddq_f32, sub vsubq_f32, max vmaxnmq_f32,
    groups [1 => [6, 5, 4, 3, 2, 1]],
    planes 4 => [6, 5, 4, 3, 2, 1]
);

/// The entries of an instruction set; the processor must have it, see [`super::InstructionSet`].
macro_rules! entries {
    ($arch:literal, $module:ident, $lanes:literal, $run:ident, $planes:ident, $logistic:ident, $peak:ident) => {
        /// The rows of `part` into `out`.
        #[cfg(target_arch = $arch)]
        pub(super) fn $run(part: &RowRange<'_>, out: &mut [f32]) {
            check(part, out);
            // SAFETY: an `InstructionSet` exists only after detection, and `check` has passed.
            unsafe { $module::run(part, out) }
        }

        /// `sums` into `out`.
        #[cfg(target_arch = $arch)]
        pub(super) fn $planes(sums: &planes::Sums<'_>, out: &mut [f32]) {
            sums.check(out);
            // SAFETY: an `InstructionSet` exists only after detection, and the check has passed.
            unsafe { $module::planes(sums, out) }
        }

        #[cfg(target_arch = $arch)]
        pub(super) fn $logistic(values: &mut [f32]) {
            // SAFETY: an `InstructionSet` exists only after detection.
            unsafe { $module::logistic(values) }
        }

        /// Multiply-adds of one of `rounds`.
        #[cfg(target_arch = $arch)]
        pub(super) fn $peak(rounds: usize, values: &mut [f32; CHAINS * BLOCK]) -> usize {
            // SAFETY: an `InstructionSet` exists only after detection.
            unsafe { $module::peak(rounds, values) };
            CHAINS * $lanes
        }
    };
}

entries!("x86_64", avx2, 8, run_avx2, planes_avx2, logistic_avx2, peak_avx2);
entries!("x86_64", avx512, 16, run_avx512, planes_avx512, logistic_avx512, peak_avx512);
entries!("aarch64", neon, 4, run_neon, planes_neon, logistic_neon, peak_neon);
