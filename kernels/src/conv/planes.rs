//! Sums of products over planes: neighbouring pixels lie in a register, where the other kernels of the
//! convolution hold outputs of one pixel. This is for images, whose channels are planes: both ends of a
//! net, and [`crate::patch_net`].
//!
//! **Definition** ([`Sums::plain`]): every sum starts from its bias; then come the values of each
//! segment, each added by one fused multiply-add. Every instruction set keeps this order. For one
//! source under 1x1 it is that of the maps' convolution: the same sums to the bit.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::simd;
use super::{InstructionSet, Kind};

/// Pixels are computed in blocks of so many: two registers of AVX-512, four of AVX2, eight of NEON.
pub(crate) const PIXELS: usize = 32;

/// Values that a pixel reads: `count` of them, `step` apart, the first at `start` for the first pixel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) start: usize,
    pub(crate) count: usize,
    pub(crate) step: usize,
}

/// Weighted sums of what lies in `source`, for `pixels` neighbours and each output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sums<'a> {
    /// `[outputs][pitch]`, of which a row begins with a weight for each value of the segments.
    pub(crate) weights: &'a [f32],
    pub(crate) pitch: usize,
    /// One for each output.
    pub(crate) bias: &'a [f32],
    pub(crate) source: &'a [f32],
    pub(crate) segments: &'a [Segment],
    /// A multiple of [`PIXELS`].
    pub(crate) pixels: usize,
}

impl Sums<'_> {
    /// Fills `out`, `[outputs][pixels]`.
    ///
    /// # Panics
    /// Where a weight or a value does not exist.
    pub(crate) fn run(&self, set: InstructionSet, out: &mut [f32]) {
        match set.0 {
            Kind::Scalar => self.plain(out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => simd::planes_avx2(self, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => simd::planes_avx512(self, out),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => simd::planes_neon(self, out),
        }
    }

    /// What makes every access of the kernels valid: a weight for each output and value, and every
    /// value inside the source for each pixel.
    pub(super) fn check(&self, out: &[f32]) {
        let values: usize = self.segments.iter().map(|s| s.count).sum();
        assert!(self.pixels > 0 && self.pixels.is_multiple_of(PIXELS) && values <= self.pitch);
        assert_eq!(out.len(), self.bias.len() * self.pixels, "outputs");
        assert_eq!(self.weights.len(), self.bias.len() * self.pitch, "weights");
        for Segment { start, count, step } in self.segments {
            assert!(*count > 0 && start + (count - 1) * step + self.pixels <= self.source.len());
        }
    }

    fn plain(&self, out: &mut [f32]) {
        self.check(out);
        let rows = out.chunks_exact_mut(self.pixels).zip(self.weights.chunks_exact(self.pitch));
        for ((out, weights), &bias) in rows.zip(self.bias) {
            for (pixel, out) in out.iter_mut().enumerate() {
                let values = self.segments.iter().flat_map(|s| {
                    let first = s.start + pixel;
                    (0..s.count).map(move |n| self.source[first + n * s.step])
                });
                *out = values.zip(weights).fold(bias, |sum, (v, &weight)| weight.mul_add(v, sum));
            }
        }
    }
}

/// 1 / (1 + e^-x) of each value, within three units of the last place.
pub(crate) fn logistic(set: InstructionSet, values: &mut [f32]) {
    match set.0 {
        Kind::Scalar => logistic_of(values),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => simd::logistic_avx2(values),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => simd::logistic_avx512(values),
        #[cfg(target_arch = "aarch64")]
        Kind::Neon => simd::logistic_neon(values),
    }
}

/// Always inlined: compiled for the instruction set of the caller, with the same roundings on each.
#[inline(always)]
pub(super) fn logistic_of(values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = 1.0 / (1.0 + exponential(-*value)));
}

/// e^x as 2^n e^r, |r| <= ln 2 / 2; beyond what an `f32` holds, its ends.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    // Added to a small number it leaves the number's nearest whole in the last bits: 1.5 * 2^23.
    const WHOLE: f32 = 12_582_912.0;
    // ln 2 in two parts, the first of few bits: n times it is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // 1/7!, 1/6! .. 1/0!: the series, whose next term is below 1e-8.
    const SERIES: [f32; 8] =
        [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    const EXPONENT: u32 = 23;
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, WHOLE);
    let n = shifted - WHOLE;
    let r = n.mul_add(-LN_2[1], n.mul_add(-LN_2[0], x));
    let mut sum = SERIES[0];
    for term in &SERIES[1..] {
        sum = sum.mul_add(r, *term);
    }
    let power = (shifted.to_bits() << EXPONENT).wrapping_add(1.0f32.to_bits());
    sum * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn every_instruction_set_gives_the_same_sums() {
        for (outputs, pixels) in [(1, 32), (2, 64), (7, 32), (12, 96), (29, 64)] {
            let segments = [
                Segment { start: 3, count: 5, step: 1 },
                Segment { start: 40, count: 1, step: 0 },
                Segment { start: 0, count: 4, step: 101 },
            ];
            let (pitch, source) = (13, noise(1, 101 * 4 + pixels));
            let (weights, bias) = (noise(2, outputs * pitch), noise(3, outputs));
            let sums = Sums {
                weights: &weights,
                pitch,
                bias: &bias,
                source: &source,
                segments: &segments,
                pixels,
            };
            let mut want = vec![f32::NAN; outputs * pixels];
            sums.run(InstructionSet::SCALAR, &mut want);
            let places = [3, 4, 5, 6, 7, 40, 0, 101, 202, 303].map(|at| at + pixels - 1);
            let last = places.iter().zip(&weights[(outputs - 1) * pitch..]);
            let last = last.map(|(&at, &w)| f64::from(w) * f64::from(source[at])).sum::<f64>();
            let last = last + f64::from(bias[outputs - 1]);
            assert!((f64::from(want[outputs * pixels - 1]) - last).abs() < 1e-6);
            for set in InstructionSet::available() {
                let mut got = vec![f32::NAN; want.len()];
                sums.run(set, &mut got);
                assert_eq!(got, want, "{} {outputs} x {pixels}", set.name());
            }
        }
    }

    #[test]
    fn the_logistic_function_is_that_of_the_library_on_every_instruction_set() {
        let mut values: Vec<f32> = (-2000..=2000).map(|n| n as f32 * 0.05).collect();
        values.extend([f32::INFINITY, f32::NEG_INFINITY, 1e-20, -0.0, f32::MAX, f32::MIN]);
        let mut want = values.clone();
        logistic(InstructionSet::SCALAR, &mut want);
        for (value, got) in values.iter().zip(&want) {
            let exact = 1.0 / (1.0 + (-f64::from(*value)).exp());
            let bound = exact * 3.0 * f64::from(f32::EPSILON) + 1e-37;
            assert!((f64::from(*got) - exact).abs() <= bound, "{value}: {got} {exact}");
        }
        for set in InstructionSet::available() {
            let mut got = values.clone();
            logistic(set, &mut got);
            assert_eq!(got, want, "{}", set.name());
            let mut nothing = [f32::NAN; 3];
            logistic(set, &mut nothing);
            assert!(nothing.iter().all(|v| v.is_nan()), "{}", set.name());
        }
    }
}
