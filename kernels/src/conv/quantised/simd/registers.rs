//! What the kernels do with a register: weights and steps into it, products added up, results out of it.

use super::{MOST, To};
use crate::conv::quantised::Gives;
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "aarch64")]
use std::arch::asm;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// The registers of AVX2.
#[cfg(target_arch = "x86_64")]
pub(super) mod ymm {
    use super::*;

    /// # Safety
    /// 32 weights lie at `weights`.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) unsafe fn load(weights: *const i8) -> __m256i {
        // SAFETY: passed on from the caller.
        unsafe { _mm256_loadu_si256(weights.cast()) }
    }

    /// # Safety
    /// Four steps lie at `steps`.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) unsafe fn spread(steps: *const u8) -> __m256i {
        // SAFETY: passed on from the caller.
        _mm256_set1_epi32(unsafe { steps.cast::<i32>().read_unaligned() })
    }

    /// `vpmaddubsw` adds two products in 16 bits and would cut what leaves them; it never does: a step
    /// is at most 127, a weight at least -128 and at most 127, and 2 * 127 * 127 = 32258 is below
    /// 32768, as 2 * 127 * 128 = 32512 is.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) fn dot(sums: __m256i, steps: __m256i, weights: __m256i) -> __m256i {
        let pairs = _mm256_maddubs_epi16(steps, weights);
        _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }

    #[inline]
    #[target_feature(enable = "avxvnni")]
    pub(in super::super) fn dot_vnni(sums: __m256i, steps: __m256i, weights: __m256i) -> __m256i {
        _mm256_dpbusd_avx_epi32(sums, steps, weights)
    }

    /// Stores a block of outputs made of its sums.
    ///
    /// # Safety
    /// A block of multipliers, offsets and outputs lies behind each pointer.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(in super::super) unsafe fn finish(
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
pub(super) mod zmm {
    use super::*;

    /// # Safety
    /// 64 weights lie at `weights`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in super::super) unsafe fn load(weights: *const i8) -> __m512i {
        // SAFETY: passed on from the caller.
        unsafe { _mm512_loadu_si512(weights.cast()) }
    }

    /// # Safety
    /// Four steps lie at `steps`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in super::super) unsafe fn spread(steps: *const u8) -> __m512i {
        // SAFETY: passed on from the caller.
        _mm512_set1_epi32(unsafe { steps.cast::<i32>().read_unaligned() })
    }

    /// Stores a block of outputs made of its sums.
    ///
    /// # Safety
    /// A block of multipliers, offsets and outputs lies behind each pointer.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in super::super) unsafe fn finish(
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
pub(super) mod neon {
    use super::*;

    #[inline]
    #[target_feature(enable = "neon")]
    pub(in super::super) fn zero() -> int32x4_t {
        vdupq_n_s32(0)
    }

    /// # Safety
    /// 16 weights lie at `weights`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(in super::super) unsafe fn load(weights: *const i8) -> int32x4_t {
        // SAFETY: passed on from the caller.
        vreinterpretq_s32_s8(unsafe { vld1q_s8(weights) })
    }

    /// # Safety
    /// Four steps lie at `steps`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(in super::super) unsafe fn spread(steps: *const u8) -> int32x4_t {
        // SAFETY: passed on from the caller.
        vdupq_n_s32(unsafe { steps.cast::<i32>().read_unaligned() })
    }

    /// Two products fit 16 bits, for a step is at most 127: see `ymm::dot`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(in super::super) fn dot(
        sums: int32x4_t,
        steps: int32x4_t,
        weights: int32x4_t,
    ) -> int32x4_t {
        let (steps, weights) = (vreinterpretq_s8_s32(steps), vreinterpretq_s8_s32(weights));
        let first = vmull_s8(vget_low_s8(steps), vget_low_s8(weights));
        vpadalq_s16(sums, vpaddq_s16(first, vmull_high_s8(steps, weights)))
    }

    /// `sdot`, whose intrinsic is not stable yet.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    pub(in super::super) fn dot_product(
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
    pub(in super::super) unsafe fn finish(
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
