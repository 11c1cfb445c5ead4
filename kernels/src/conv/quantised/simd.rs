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

use super::weights::Reading;
use super::{Chunk, GROUP, Gives, MAX_STEP, QuantisedConv, Rows};
use crate::conv::simd::best_width;
use crate::conv::{BLOCK, FeatureMap};
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "aarch64")]
use std::arch::asm;
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

/// The registers of AVX2.
#[cfg(target_arch = "x86_64")]
mod ymm {
    use super::*;

    /// # Safety
    /// 32 weights lie at `weights`.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn load(weights: *const i8) -> __m256i {
        // SAFETY: passed on from the caller.
        unsafe { _mm256_loadu_si256(weights.cast()) }
    }

    /// # Safety
    /// Four steps lie at `steps`.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn spread(steps: *const u8) -> __m256i {
        // SAFETY: passed on from the caller.
        _mm256_set1_epi32(unsafe { steps.cast::<i32>().read_unaligned() })
    }

    /// `vpmaddubsw` adds two products in 16 bits and would cut what leaves them; it never does: a step
    /// is at most 127, a weight at least -128 and at most 127, and 2 * 127 * 127 = 32258 is below
    /// 32768, as 2 * 127 * 128 = 32512 is.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn dot(sums: __m256i, steps: __m256i, weights: __m256i) -> __m256i {
        let pairs = _mm256_maddubs_epi16(steps, weights);
        _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }

    #[inline]
    #[target_feature(enable = "avxvnni")]
    pub(super) fn dot_vnni(sums: __m256i, steps: __m256i, weights: __m256i) -> __m256i {
        _mm256_dpbusd_avx_epi32(sums, steps, weights)
    }

    /// Stores a block of outputs made of its sums.
    ///
    /// # Safety
    /// A block of multipliers, offsets and outputs lies behind each pointer.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn finish(
        sums: [__m256i; 2],
        multipliers: *const f32,
        offsets: *const f32,
        gives: Gives,
        to: To,
    ) {
        let values = [0, 1].map(|half| {
            // SAFETY: passed on from the caller.
            let [multiplier, offset] =
                [multipliers, offsets].map(|of| unsafe { _mm256_loadu_ps(of.add(8 * half)) });
            let value = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[half]), multiplier, offset);
            match gives {
                Gives::Values { relu: false } => value,
                _ => _mm256_max_ps(value, _mm256_setzero_ps()),
            }
        });
        match to {
            To::Values(to) => {
                for (half, value) in values.into_iter().enumerate() {
                    // SAFETY: passed on from the caller.
                    unsafe { _mm256_storeu_ps(to.add(8 * half), value) };
                }
            }
            To::Steps(to) => {
                let [low, high] = values
                    .map(|value| _mm256_cvtps_epi32(_mm256_min_ps(value, _mm256_set1_ps(MOST))));
                // The pack works in halves of a register: words 0-3 and 8-11 come first.
                let packed = _mm256_packs_epi32(low, high);
                let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
                let halves = [_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words)];
                // SAFETY: passed on from the caller.
                unsafe { _mm_storeu_si128(to.cast(), _mm_packus_epi16(halves[0], halves[1])) };
            }
        }
    }
}

/// The registers of AVX-512.
#[cfg(target_arch = "x86_64")]
mod zmm {
    use super::*;

    /// # Safety
    /// 64 weights lie at `weights`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn load(weights: *const i8) -> __m512i {
        // SAFETY: passed on from the caller.
        unsafe { _mm512_loadu_si512(weights.cast()) }
    }

    /// # Safety
    /// Four steps lie at `steps`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn spread(steps: *const u8) -> __m512i {
        // SAFETY: passed on from the caller.
        _mm512_set1_epi32(unsafe { steps.cast::<i32>().read_unaligned() })
    }

    /// Stores a block of outputs made of its sums.
    ///
    /// # Safety
    /// A block of multipliers, offsets and outputs lies behind each pointer.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn finish(
        [sums]: [__m512i; 1],
        multipliers: *const f32,
        offsets: *const f32,
        gives: Gives,
        to: To,
    ) {
        // SAFETY: passed on from the caller.
        let [multiplier, offset] = [multipliers, offsets].map(|of| unsafe { _mm512_loadu_ps(of) });
        let mut value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), multiplier, offset);
        if gives != (Gives::Values { relu: false }) {
            value = _mm512_max_ps(value, _mm512_setzero_ps());
        }
        match to {
            // SAFETY: passed on from the caller.
            To::Values(to) => unsafe { _mm512_storeu_ps(to, value) },
            To::Steps(to) => {
                let steps = _mm512_cvtps_epi32(_mm512_min_ps(value, _mm512_set1_ps(MOST)));
                // SAFETY: passed on from the caller.
                unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(steps)) };
            }
        }
    }
}

/// The registers of NEON.
#[cfg(target_arch = "aarch64")]
mod neon_registers {
    use super::*;

    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn zero() -> int32x4_t {
        vdupq_n_s32(0)
    }

    /// # Safety
    /// 16 weights lie at `weights`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn load(weights: *const i8) -> int32x4_t {
        // SAFETY: passed on from the caller.
        vreinterpretq_s32_s8(unsafe { vld1q_s8(weights) })
    }

    /// # Safety
    /// Four steps lie at `steps`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn spread(steps: *const u8) -> int32x4_t {
        // SAFETY: passed on from the caller.
        vdupq_n_s32(unsafe { steps.cast::<i32>().read_unaligned() })
    }

    /// Two products fit 16 bits, for a step is at most 127: see [`super::super::MAX_STEP`].
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn dot(sums: int32x4_t, steps: int32x4_t, weights: int32x4_t) -> int32x4_t {
        let (steps, weights) = (vreinterpretq_s8_s32(steps), vreinterpretq_s8_s32(weights));
        let first = vmull_s8(vget_low_s8(steps), vget_low_s8(weights));
        vpadalq_s16(sums, vpaddq_s16(first, vmull_high_s8(steps, weights)))
    }

    /// `sdot`, whose intrinsic is not stable yet.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    pub(super) fn dot_product(
        mut sums: int32x4_t,
        steps: int32x4_t,
        weights: int32x4_t,
    ) -> int32x4_t {
        // SAFETY: computes on the named registers alone, with an instruction that the caller has.
        unsafe {
            asm!(
                "sdot {sums:v}.4s, {weights:v}.16b, {steps:v}.16b",
                sums = inout(vreg) sums,
                weights = in(vreg) weights,
                steps = in(vreg) steps,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sums
    }

    /// Stores a block of outputs made of its sums.
    ///
    /// # Safety
    /// A block of multipliers, offsets and outputs lies behind each pointer.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn finish(
        sums: [int32x4_t; 4],
        multipliers: *const f32,
        offsets: *const f32,
        gives: Gives,
        to: To,
    ) {
        let values = [0, 1, 2, 3].map(|quarter| {
            // SAFETY: passed on from the caller.
            let [multiplier, offset] =
                [multipliers, offsets].map(|of| unsafe { vld1q_f32(of.add(4 * quarter)) });
            let value = vfmaq_f32(offset, vcvtq_f32_s32(sums[quarter]), multiplier);
            match gives {
                Gives::Values { relu: false } => value,
                _ => vmaxnmq_f32(value, vdupq_n_f32(0.0)),
            }
        });
        match to {
            To::Values(to) => {
                for (quarter, value) in values.into_iter().enumerate() {
                    // SAFETY: passed on from the caller.
                    unsafe { vst1q_f32(to.add(4 * quarter), value) };
                }
            }
            To::Steps(to) => {
                let [a, b, c, d] = values
                    .map(|value| vqmovn_s32(vcvtnq_s32_f32(vminnmq_f32(value, vdupq_n_f32(MOST)))));
                let [low, high] = [vcombine_s16(a, b), vcombine_s16(c, d)];
                let steps = vcombine_u8(vqmovun_s16(low), vqmovun_s16(high));
                // SAFETY: passed on from the caller.
                unsafe { vst1q_u8(to, steps) };
            }
        }
    }
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
    neon, "neon", int32x4_t, lanes 4,
    zero neon_registers::zero, load neon_registers::load, spread neon_registers::spread,
    dot neon_registers::dot, finish neon_registers::finish,
    groups [1 => [5, 4, 3, 2, 1]]
);

// 32 registers: 24 sums, 4 weights, 1 value.
#[cfg(target_arch = "aarch64")]
kernels!(
    neon_dot, "neon,dotprod", int32x4_t, lanes 4,
    zero neon_registers::zero, load neon_registers::load, spread neon_registers::spread,
    dot neon_registers::dot_product, finish neon_registers::finish,
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
entries!("aarch64", neon run_neon, neon_dot run_neon_dot);
