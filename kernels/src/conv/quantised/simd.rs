//! The convolution of steps for AVX2, AVX-VNNI, AVX-512 VNNI and NEON: one kernel source,
//! instantiated for each.
//!
//! A **strip** is a few neighbouring pixels of a row times one or two blocks of outputs; its sums stay
//! in registers. Four channels of a pixel are one word, which is laid in every lane of a register and
//! multiplied with the four weights of as many outputs. Strips lie as those of the convolution of
//! floats do (`conv::simd`): where a source is upsampled, every second pixel, and the last overlaps.
//!
//! `unsafe` here is intrinsics on pointers; [`check`] establishes once per call what they rest on.
#![allow(unsafe_code)]

mod registers;

use super::weights::Reading;
use super::{Chunk, GROUP, MAX_STEP, QuantisedConv, Rows};
use crate::conv::simd::best_width;
use crate::conv::{BLOCK, FeatureMap};
#[cfg(target_arch = "aarch64")]
use registers::neon;
#[cfg(target_arch = "x86_64")]
use registers::{ymm, zmm};
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// What makes every access of the kernels valid, tested in release builds too; the cost is a few
/// comparisons per call.
///
/// * `out` is a whole number of rows with border, and rows `first ..` of that many lie inside each
///   source, whose size is that of the output (halved when upsampled); hence a window at any of them
///   stays inside the source's border. A source stores whole groups of channels.
/// * The weights hold those of every reading for each block of outputs, one behind the other;
///   multipliers and offsets hold `outputs`.
fn check(part: &Rows<'_>, out: &Chunk<'_>) {
    let conv = part.conv;
    let stride = (part.cols + 2) * conv.outputs;
    let rows = out.len() / stride;
    assert!(part.cols > 0 && conv.outputs.is_multiple_of(BLOCK) && rows * stride == out.len());
    assert!(part.first + rows <= part.rows && part.maps.len() == conv.readings.len());
    for (map, reading) in part.maps.iter().zip(&conv.readings) {
        let (size, factor) = (map.size(), reading.factor());
        assert!(part.rows == factor * size.rows && part.cols == factor * size.cols);
        assert!(size.channels == reading.stored && reading.stored.is_multiple_of(GROUP));
        assert!(map.values().len() == size.values());
    }
    let per_block: usize = conv.readings.iter().map(Reading::weights).sum();
    assert!(conv.weights.len() == conv.outputs / BLOCK * per_block);
    assert!(conv.multipliers.len() == conv.outputs && conv.offsets.len() == conv.outputs);
}

/// The largest step.
const MOST: f32 = MAX_STEP as f32;

/// A row of outputs.
#[derive(Clone, Copy)]
struct Row<'a> {
    part: &'a Rows<'a>,
    number: usize,
    /// Pixels from one of a strip to the next.
    step: usize,
}

/// Where results belong.
#[derive(Clone, Copy)]
enum To {
    Steps(*mut u8),
    Values(*mut f32),
}

impl To {
    fn of(out: &mut Chunk<'_>) -> To {
        match out {
            Chunk::Steps(steps) => To::Steps(steps.as_mut_ptr()),
            Chunk::Values(values) => To::Values(values.as_mut_ptr()),
        }
    }

    /// # Safety
    /// `results` further on is still within what it points into.
    unsafe fn add(self, results: usize) -> To {
        // SAFETY: passed on from the caller.
        unsafe {
            match self {
                To::Steps(steps) => To::Steps(steps.add(results)),
                To::Values(values) => To::Values(values.add(results)),
            }
        }
    }
}

/// What one source gives to the sums of a strip.
struct Products<'a> {
    reading: &'a Reading,
    map: &'a FeatureMap<'a, u8>,
    /// Row and column of the strip's first output.
    at: [usize; 2],
    /// Values from a pixel of the strip to the next.
    apart: usize,
    /// Those of the first block of outputs, and how far it is to those of the next.
    weights: *const i8,
    per_block: usize,
}

macro_rules! kernels {
    (
        $module:ident, $feature:literal, $vector:ident, lanes $lanes:literal,
        zero $zero:path, load $load:path, spread $spread:path, dot $dot:path, finish $finish:path,
        groups [$($blocks:literal => [$($width:literal),+]),+]
    ) => {
        mod $module {
            use super::*;

            /// Registers that hold the sums of one block of outputs.
            const VECTORS: usize = BLOCK / $lanes;

            /// One register row of sums for each pixel of a strip.
            type Sums<const P: usize, const V: usize> = [[$vector; V]; P];

            /// # Safety
            /// The processor has the instruction set, and [`check`] holds for `part` and `out`.
            #[target_feature(enable = $feature)]
            pub(super) unsafe fn run(part: &Rows<'_>, mut out: Chunk<'_>) {
                let outputs = part.conv.outputs;
                let step = part.conv.readings.iter().map(Reading::factor).max().unwrap_or(1);
                let (first, stride) = (To::of(&mut out), (part.cols + 2) * outputs);
                for i in 0..out.len() / stride {
                    let row = Row { part, number: part.first + i, step };
                    // SAFETY: that many rows are in `out`, by `check`.
                    let pixels = unsafe { first.add(i * stride) };
                    let mut block = 0;
                    $(
                        let width = best_width(&[$($width),+], part.cols / step);
                        while outputs / BLOCK - block >= $blocks {
                            match width {
                                // SAFETY: passed on from the caller; the blocks exist by the
                                // loop's condition and the width fits the row by `best_width`.
                                $($width => unsafe {
                                    strips::<$width, { $blocks * VECTORS }>(row, block, pixels)
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
            /// As [`run`], and `pixels` is where the row with its border begins; `block` and the
            /// blocks of `V` registers exist, and a row has at least `P` pixels per column of a step.
            #[target_feature(enable = $feature)]
            unsafe fn strips<const P: usize, const V: usize>(
                row: Row<'_>,
                block: usize,
                pixels: To,
            ) {
                let Row { part, step, .. } = row;
                let (outputs, columns) = (part.conv.outputs, part.cols / step);
                for phase in 0..step {
                    let mut column = 0;
                    loop {
                        let col = column * step + phase;
                        // SAFETY: `column + P <= columns`, so with the border pixel before them the
                        // strip's pixels lie in the row, and the source windows at this row and
                        // these columns exist by `check`.
                        unsafe {
                            let to = pixels.add((col + 1) * outputs + block * BLOCK);
                            strip::<P, V>(row, block, col, to);
                        }
                        if column + P >= columns {
                            break;
                        }
                        column = (column + P).min(columns - P);
                    }
                }
            }

            /// `P` pixels from column `col` on, one every step; `V` registers of outputs from
            /// `block` on, stored at `to`.
            ///
            /// # Safety
            /// As [`strips`], and `to` is where the first output of the first pixel belongs.
            #[target_feature(enable = $feature)]
            unsafe fn strip<const P: usize, const V: usize>(
                row: Row<'_>,
                block: usize,
                col: usize,
                to: To,
            ) {
                let Row { part, number, step } = row;
                let QuantisedConv { readings, outputs, weights, multipliers, offsets, gives } = part.conv;
                let per_block = weights.len() / outputs * BLOCK;
                let mut sums = [[$zero(); V]; P];
                for (reading, map) in readings.iter().zip(part.maps) {
                    let products = Products {
                        reading,
                        map,
                        at: [number, col],
                        apart: step / reading.factor() * reading.stored,
                        weights: &raw const weights[block * per_block + reading.start],
                        per_block,
                    };
                    // SAFETY: at each pixel of the strip the window keeps inside the map with its
                    // border, by `check`; the weights of a reading are whole.
                    unsafe { add(&mut sums, products) };
                }
                for (p, of_pixel) in sums.iter().enumerate() {
                    for (b, of_block) in of_pixel.as_chunks::<VECTORS>().0.iter().enumerate() {
                        let first = (block + b) * BLOCK;
                        // SAFETY: the block exists, in the outputs of pixel `p` of the strip as in
                        // multipliers and offsets.
                        unsafe {
                            let to = to.add(p * step * outputs + b * BLOCK);
                            let [multipliers, offsets] =
                                [multipliers, offsets].map(|of| of.as_ptr().add(first));
                            $finish(*of_block, multipliers, offsets, *gives, to);
                        }
                    }
                }
            }

            /// Adds the products of one source to the sums of a strip.
            ///
            /// # Safety
            /// The window lies inside the map at each of the `P` pixels, and the weights hold those
            /// of the reading for each block.
            #[target_feature(enable = $feature)]
            unsafe fn add<const P: usize, const V: usize>(
                sums: &mut Sums<P, V>,
                products: Products<'_>,
            ) {
                let Products { reading, map, at, apart, mut weights, per_block } = products;
                let groups = reading.stored / GROUP;
                // A copy, so that they stay in registers.
                let mut own = *sums;
                for tap in 0..reading.taps() {
                    let [row, col] = reading.place(tap, at);
                    let pixel = row * map.size().row_stride() + col * reading.stored;
                    let pixel = &raw const map.values()[pixel];
                    // SAFETY: passed on from the caller; `weights` moves by a block per group.
                    unsafe {
                        for group in 0..groups {
                            let mut loaded = [$zero(); V];
                            for (v, loaded) in loaded.iter_mut().enumerate() {
                                let output = v * $lanes;
                                let lane = output % BLOCK * GROUP;
                                *loaded = $load(weights.add(output / BLOCK * per_block + lane));
                            }
                            for (p, own) in own.iter_mut().enumerate() {
                                let steps = $spread(pixel.add(p * apart + group * GROUP));
                                for (sum, weights) in own.iter_mut().zip(loaded) {
                                    *sum = $dot(*sum, steps, weights);
                                }
                            }
                            weights = weights.add(BLOCK * GROUP);
                        }
                    }
                }
                *sums = own;
            }
        }
    };
}

// 16 registers: 10 sums, a value, a product, ones; weights straight from memory.
#[cfg(target_arch = "x86_64")]
kernels!(
    avx2, "avx2,fma", __m256i, lanes 8,
    zero _mm256_setzero_si256, load ymm::load, spread ymm::spread, dot ymm::dot, finish ymm::finish,
    groups [1 => [5, 4, 3, 2, 1]]
);

// 16 registers: 12 sums, 2 weights, 1 value.
#[cfg(target_arch = "x86_64")]
kernels!(
    avx_vnni, "avx2,fma,avxvnni", __m256i, lanes 8,
    zero _mm256_setzero_si256, load ymm::load, spread ymm::spread, dot ymm::dot_vnni,
    finish ymm::finish,
    groups [1 => [6, 5, 4, 3, 2, 1]]
);

// 32 registers: 24 sums (16 where one block is left), 2 weights, 1 value.
#[cfg(target_arch = "x86_64")]
kernels!(
    avx512_vnni, "avx512f,avx512vnni", __m512i, lanes 16,
    zero _mm512_setzero_si512, load zmm::load, spread zmm::spread, dot _mm512_dpbusd_epi32,
    finish zmm::finish,
    groups [2 => [12, 10, 8, 6, 5, 4, 3, 2, 1], 1 => [16, 12, 10, 8, 6, 5, 4, 3, 2, 1]]
);

// 32 registers: 20 sums, 4 weights, 1 value, products.
#[cfg(target_arch = "aarch64")]
kernels!(
    neon_plain, "neon", int32x4_t, lanes 4,
    zero neon::zero, load neon::load, spread neon::spread,
    dot neon::dot, finish neon::finish,
    groups [1 => [5, 4, 3, 2, 1]]
);

// 32 registers: 24 sums, 4 weights, 1 value.
#[cfg(target_arch = "aarch64")]
kernels!(
    neon_dot, "neon,dotprod", int32x4_t, lanes 4,
    zero neon::zero, load neon::load, spread neon::spread,
    dot neon::dot_product, finish neon::finish,
    groups [1 => [6, 5, 4, 3, 2, 1]]
);

/// The entries of an instruction set; the processor must have it, see [`super::Dot`].
macro_rules! entries {
    ($arch:literal, $($module:ident $run:ident),+) => {$(
        /// The rows of `part` into `out`.
        #[cfg(target_arch = $arch)]
        pub(super) fn $run(part: &Rows<'_>, out: Chunk<'_>) {
            check(part, &out);
            // SAFETY: a `Dot` is taken only after detection, and `check` has passed.
            unsafe { $module::run(part, out) }
        }
    )+};
}

entries!("x86_64", avx2 run_avx2, avx_vnni run_avx_vnni, avx512_vnni run_avx512_vnni);
entries!("aarch64", neon_plain run_neon, neon_dot run_neon_dot);
