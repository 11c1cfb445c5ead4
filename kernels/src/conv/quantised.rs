//! The convolution in whole numbers: feature maps of bytes, weights of bytes, sums of 32 bits.
//!
//! A map holds **steps**: a value behind a ReLU, divided by the scale of the map and rounded; ONNX's
//! `int8` without its negative half, `0..=127` in one byte. Maps lie as those of [`super::map`] do.
//!
//! **Definition** (`scalar`): the sum of all products of steps and weights, which is exact, then
//! `fma(sum as f32, multiplier, offset)` of the output's channel. A result in steps is cut to `0..=127`,
//! which is the ReLU too, and rounded, halves to the even neighbour. Sums are exact whatever their order,
//! and of the rest every instruction set does the same operations, so their results are equal to the
//! bit.

mod scalar;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod simd;
mod weights;

use super::map::{self, fill_rows};
use super::{
    ConvError, FeatureMap, FeatureMapMut, Input, InstructionSet, Kind, Window, check_length,
    check_weights, stored_channels,
};
use crate::threads::parallel_chunks;
use std::fmt;
use weights::Reading;

/// The largest step: that of ONNX's `int8`.
pub const MAX_STEP: u8 = 127;

/// Channels whose products one instruction adds up; a map stores a multiple of it.
const GROUP: usize = 4;

/// Most products of one output, so that no sum leaves 32 bits: a product is at most 127 * 128.
const MAX_PRODUCTS: usize = i32::MAX as usize / (MAX_STEP as usize * 128);

/// What a convolution of steps makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// Steps of a map of a scale of its own, behind a ReLU.
    Steps,
    /// Floats, for what is not computed in whole numbers.
    Values { relu: bool },
}

/// A convolution of steps as a plan has it.
#[derive(Debug, Clone, Copy)]
pub struct QuantisedSpec<'a> {
    /// One or two sources, in the order of the concat, whose maps have one scale.
    pub inputs: &'a [Input],
    pub outputs: usize,
    pub window: Window,
    /// As those of [`super::ConvSpec`].
    pub weights: &'a [i8],
    /// Of each output, what a sum of 1 stands for: scale of the sources times scale of the weights, in
    /// steps of the result divided by the scale of the result.
    pub multipliers: &'a [f32],
    /// Of each output its bias, in steps of the result where it gives steps.
    pub offsets: &'a [f32],
    pub gives: Gives,
}

impl QuantisedSpec<'_> {
    /// Whether the parts fit each other.
    pub(crate) fn check(&self) -> Result<(), ConvError> {
        check_weights(self.inputs, self.outputs, self.window, self.weights.len())?;
        check_length("multipliers", self.multipliers.len(), self.outputs)?;
        check_length("offsets", self.offsets.len(), self.outputs)?;
        let finite = |values: &[f32]| values.iter().all(|v| v.is_finite());
        if !finite(self.multipliers) || !finite(self.offsets) {
            return Err(ConvError::Scales);
        }
        let products = self.weights.len() / self.outputs;
        if products > MAX_PRODUCTS || self.inputs.iter().any(|i| i.channels.stored % GROUP != 0) {
            return Err(ConvError::Channels);
        }
        Ok(())
    }
}

/// A convolution of steps, ready to run.
#[derive(Clone)]
pub struct QuantisedConv {
    /// How each source is read.
    readings: Vec<Reading>,
    /// A multiple of [`super::BLOCK`].
    outputs: usize,
    /// Packed by [`weights::pack`].
    weights: Vec<i8>,
    /// Zero where a stored output is not used, as are the offsets.
    multipliers: Vec<f32>,
    offsets: Vec<f32>,
    gives: Gives,
}

/// Without the weights: a net printed by mistake would be megabytes.
impl fmt::Debug for QuantisedConv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuantisedConv")
            .field("readings", &self.readings)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl QuantisedConv {
    pub fn new(spec: QuantisedSpec<'_>) -> Result<QuantisedConv, ConvError> {
        spec.check()?;
        let outputs = stored_channels(spec.outputs);
        let (readings, weights) = weights::pack(&spec);
        let padded = |values: &[f32]| {
            let mut values = values.to_vec();
            values.resize(outputs, 0.0);
            values
        };
        let [multipliers, offsets] = [spec.multipliers, spec.offsets].map(padded);
        Ok(QuantisedConv { readings, outputs, weights, multipliers, offsets, gives: spec.gives })
    }

    /// Multiply-adds per output pixel, counted over the stored channels.
    pub fn multiply_adds(&self) -> usize {
        self.readings.iter().map(Reading::products).sum::<usize>() * self.outputs
    }

    /// What it makes.
    pub fn gives(&self) -> Gives {
        self.gives
    }

    /// Fills `out` and its border from one map per source, its rows spread over `threads`.
    ///
    /// # Panics
    /// When the maps do not have the channels and sizes of this convolution, or it gives floats: a
    /// fault of the caller, never of the data.
    pub fn run(
        &self,
        set: InstructionSet,
        maps: &[FeatureMap<'_, u8>],
        out: FeatureMapMut<'_, u8>,
        threads: usize,
    ) {
        let dot = Dot::of(set);
        self.over(maps, out, threads, |part, chunk| dot.run(part, Chunk::Steps(chunk)));
    }

    /// As [`QuantisedConv::run`], of one that gives floats.
    pub fn run_to_values(
        &self,
        set: InstructionSet,
        maps: &[FeatureMap<'_, u8>],
        out: FeatureMapMut<'_>,
        threads: usize,
    ) {
        let dot = Dot::of(set);
        self.over(maps, out, threads, |part, chunk| dot.run(part, Chunk::Values(chunk)));
    }

    fn over<T: Copy + Default + Send>(
        &self,
        maps: &[FeatureMap<'_, u8>],
        out: FeatureMapMut<'_, T>,
        threads: usize,
        run: impl Fn(&Rows<'_>, &mut [T]) + Sync,
    ) {
        let size = out.size();
        assert_eq!(size.channels, self.outputs, "output channels");
        assert_eq!(maps.len(), self.readings.len(), "number of sources");
        for (map, reading) in maps.iter().zip(&self.readings) {
            assert_eq!(map.size().channels, reading.stored, "source channels");
            let factor = reading.factor();
            let seen = (factor * map.size().rows, factor * map.size().cols);
            assert_eq!(seen, (size.rows, size.cols), "source size");
        }
        let rows_of_chunk = map::rows_per_chunk(size.rows, threads);
        let interior = out.clear_border();
        parallel_chunks(threads, interior, rows_of_chunk * size.row_stride(), |number, chunk| {
            let first = number * rows_of_chunk;
            run(&Rows { conv: self, maps, first, rows: size.rows, cols: size.cols }, chunk);
        });
    }
}

/// Rows of outputs to fill, each with its border pixels at both ends.
enum Chunk<'a> {
    Steps(&'a mut [u8]),
    Values(&'a mut [f32]),
}

impl Chunk<'_> {
    /// Whether it is what a convolution makes.
    fn suits(&self, gives: Gives) -> bool {
        matches!(self, Chunk::Steps(_)) == (gives == Gives::Steps)
    }

    fn len(&self) -> usize {
        match self {
            Chunk::Steps(steps) => steps.len(),
            Chunk::Values(values) => values.len(),
        }
    }
}

/// Some rows of an output: what one call of a kernel computes.
struct Rows<'a> {
    conv: &'a QuantisedConv,
    /// One for each reading of the convolution.
    maps: &'a [FeatureMap<'a, u8>],
    /// Number of the first row.
    first: usize,
    /// Rows and columns of the whole output.
    rows: usize,
    cols: usize,
}

/// How products of bytes are added up. Instructions for it came later than the sets they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dot {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// `vpdpbusd` of 256 bits.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// `vpdpbusd` of 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// `sdot`.
    #[cfg(target_arch = "aarch64")]
    NeonDot,
}

impl Dot {
    /// The rows of `part` into `out`.
    fn run(self, part: &Rows<'_>, out: Chunk<'_>) {
        assert!(out.suits(part.conv.gives), "steps or floats");
        match self {
            Dot::Scalar => scalar::run(part, out),
            #[cfg(target_arch = "x86_64")]
            Dot::Avx2 => simd::run_avx2(part, out),
            #[cfg(target_arch = "x86_64")]
            Dot::AvxVnni => simd::run_avx_vnni(part, out),
            #[cfg(target_arch = "x86_64")]
            Dot::Avx512Vnni => simd::run_avx512_vnni(part, out),
            #[cfg(target_arch = "aarch64")]
            Dot::Neon => simd::run_neon(part, out),
            #[cfg(target_arch = "aarch64")]
            Dot::NeonDot => simd::run_neon_dot(part, out),
        }
    }

    /// The fastest within an instruction set.
    fn of(set: InstructionSet) -> Dot {
        Dot::within(set).pop().unwrap_or(Dot::Scalar)
    }

    /// What this processor can run within an instruction set, slowest first; never empty.
    fn within(set: InstructionSet) -> Vec<Dot> {
        match set.0 {
            Kind::Scalar => vec![Dot::Scalar],
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 if is_x86_feature_detected!("avxvnni") => vec![Dot::Avx2, Dot::AvxVnni],
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 if is_x86_feature_detected!("avx512vnni") => vec![Dot::Avx512Vnni],
            // A processor with AVX-512 has AVX2.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 | Kind::Avx512 => vec![Dot::Avx2],
            #[cfg(target_arch = "aarch64")]
            Kind::Neon if std::arch::is_aarch64_feature_detected!("dotprod") => {
                vec![Dot::Neon, Dot::NeonDot]
            }
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => vec![Dot::Neon],
        }
    }
}

/// Added to a small number it leaves the number's nearest whole in the last bits, halves to the even
/// one, as every sum of `f32` is rounded: 1.5 * 2^23.
const WHOLE: f32 = 12_582_912.0;

/// `value`, in steps, as a step.
fn rounded(value: f32) -> u8 {
    // NaN becomes 0, as in the processors' maximum.
    let positive = if value > 0.0 { value } else { 0.0 };
    let cut = if positive < f32::from(MAX_STEP) { positive } else { f32::from(MAX_STEP) };
    (cut + WHOLE).to_bits() as u8
}

/// Values divided by `scale` as steps: ONNX's `QuantizeLinear` of a map without negative values.
pub fn quantise(from: FeatureMap<'_>, scale: f32, out: FeatureMapMut<'_, u8>, threads: usize) {
    assert_eq!(from.size(), out.size(), "size of the quantised map");
    fill_rows(out, threads, |row, pixels| {
        for (step, value) in pixels.iter_mut().zip(from.row(row)) {
            *step = rounded(value / scale);
        }
    });
}

/// Steps times `scale`: ONNX's `DequantizeLinear`.
pub fn dequantise(from: FeatureMap<'_, u8>, scale: f32, out: FeatureMapMut<'_>, threads: usize) {
    assert_eq!(from.size(), out.size(), "size of the map");
    fill_rows(out, threads, |row, pixels| {
        for (value, &step) in pixels.iter_mut().zip(from.row(row)) {
            *value = f32::from(step) * scale;
        }
    });
}

#[cfg(test)]
mod tests;
