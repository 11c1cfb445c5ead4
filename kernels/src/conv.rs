//! Convolution of one slice, in the few forms our nets are made of: 3x3 with a border of zeros and
//! 1x1, bias and ReLU fused; the sources may be two maps one behind the other (concat) and each may
//! be read at twice its size (nearest upsampling), without either being written out. Max-pooling
//! and the change of layout are in [`map`].
//!
//! **Definition** (`scalar`): every output starts from its bias; then taps in row order, then the
//! channels of the first source, then of the second, each added by one fused multiply-add; then
//! ReLU. Every instruction set keeps this order, so their results are equal to the bit.
//!
//! What a network is, which map lies in which buffer and how slices are spread over threads is
//! crate `models`' matter.

pub mod map;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod simd;

pub use map::{FeatureMap, FeatureMapMut, MapSize, from_planar, max_pool, to_planar};

use crate::threads::parallel_chunks;
use std::fmt;
use thiserror::Error;

/// Outputs are computed and stored in blocks of this many channels: one AVX-512 register, two of
/// AVX2, four of NEON.
pub const BLOCK: usize = 16;

/// Channels that `channels` outputs occupy in memory: full blocks.
pub fn stored_channels(channels: usize) -> usize {
    channels.next_multiple_of(BLOCK)
}

/// Which version of the kernels runs. Only sets this processor has can be obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstructionSet(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl InstructionSet {
    /// The plain loops: always there, and the definition of the others.
    pub const SCALAR: InstructionSet = InstructionSet(Kind::Scalar);

    /// What this processor can run, slowest first; never empty.
    pub fn available() -> Vec<InstructionSet> {
        let known = [
            Kind::Scalar,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512,
        ];
        known.into_iter().filter(|kind| kind.detected()).map(InstructionSet).collect()
    }

    /// The fastest of [`InstructionSet::available`].
    pub fn best() -> InstructionSet {
        Self::available().pop().unwrap_or(InstructionSet::SCALAR)
    }

    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        }
    }
}

impl Kind {
    fn detected(self) -> bool {
        match self {
            Kind::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => is_x86_feature_detected!("avx512f"),
        }
    }
}

/// Size of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// 1x1.
    One,
    /// 3x3, the map continued by zeros.
    Three,
}

impl Window {
    /// Positions in the window.
    pub fn taps(self) -> usize {
        match self {
            Window::One => 1,
            Window::Three => 9,
        }
    }

    /// Row and column of a tap relative to the pixel, plus one: the position in a map with its
    /// border.
    fn offset(self, tap: usize) -> (usize, usize) {
        match self {
            Window::One => (1, 1),
            Window::Three => (tap / 3, tap % 3),
        }
    }
}

/// Channels of one source: how many the weights speak of and how many lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputChannels {
    pub used: usize,
    pub stored: usize,
}

/// A convolution as the training framework writes it.
#[derive(Debug, Clone, Copy)]
pub struct ConvSpec<'a> {
    /// One or two sources, in the order of the concat.
    pub inputs: &'a [InputChannels],
    pub outputs: usize,
    pub window: Window,
    /// `[outputs, inputs, window rows, window columns]`, columns fastest; inputs of all sources
    /// one behind the other.
    pub weights: &'a [f32],
    pub bias: &'a [f32],
    pub relu: bool,
}

/// A specification that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConvError {
    #[error("a convolution reads one or two maps, not {0}")]
    Sources(usize),
    #[error("a convolution with no channels, or with fewer channels stored than used")]
    Channels,
    #[error("{got} {what} for a convolution that needs {want}")]
    Length { what: &'static str, got: usize, want: usize },
}

/// A convolution ready to run: weights packed `[output block][tap][stored input channel][BLOCK]`,
/// zero where a stored channel is not used.
#[derive(Clone)]
pub struct Conv {
    inputs: Vec<InputChannels>,
    /// A multiple of [`BLOCK`].
    outputs: usize,
    window: Window,
    relu: bool,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Conv {
    pub fn new(spec: ConvSpec<'_>) -> Result<Conv, ConvError> {
        if !(1..=2).contains(&spec.inputs.len()) {
            return Err(ConvError::Sources(spec.inputs.len()));
        }
        if spec.outputs == 0 || spec.inputs.iter().any(|c| c.used == 0 || c.used > c.stored) {
            return Err(ConvError::Channels);
        }
        let used: usize = spec.inputs.iter().map(|c| c.used).sum();
        let want = spec.outputs * used * spec.window.taps();
        if spec.weights.len() != want {
            return Err(ConvError::Length { what: "weights", got: spec.weights.len(), want });
        }
        if spec.bias.len() != spec.outputs {
            let (got, want) = (spec.bias.len(), spec.outputs);
            return Err(ConvError::Length { what: "biases", got, want });
        }
        let outputs = stored_channels(spec.outputs);
        let mut bias = spec.bias.to_vec();
        bias.resize(outputs, 0.0);
        Ok(Conv {
            inputs: spec.inputs.to_vec(),
            outputs,
            window: spec.window,
            relu: spec.relu,
            weights: pack(&spec, outputs),
            bias,
        })
    }

    /// Applies ReLU to the results from now on.
    pub fn add_relu(&mut self) {
        self.relu = true;
    }

    /// Multiply-adds per output pixel, counted over the stored channels.
    pub fn multiply_adds(&self) -> usize {
        self.weights.len()
    }

    /// Fills `out` and its border, its rows spread over `threads`.
    ///
    /// # Panics
    /// When the maps do not have the channels and sizes of this convolution: a fault of the caller,
    /// never of the data.
    pub fn run(
        &self,
        set: InstructionSet,
        sources: &[Source<'_>],
        out: FeatureMapMut<'_>,
        threads: usize,
    ) {
        let size = out.size();
        assert_eq!(size.channels, self.outputs, "output channels");
        assert_eq!(sources.len(), self.inputs.len(), "number of sources");
        for (source, channels) in sources.iter().zip(&self.inputs) {
            assert_eq!(source.map.size().channels, channels.stored, "source channels");
            assert_eq!(source.seen(), (size.rows, size.cols), "source size");
        }
        let rows_of_chunk = map::rows_per_chunk(size.rows, threads);
        let interior = out.clear_border();
        parallel_chunks(threads, interior, rows_of_chunk * size.row_stride(), |number, chunk| {
            let part =
                RowRange { conv: self, sources, first: number * rows_of_chunk, cols: size.cols };
            match set.0 {
                Kind::Scalar => scalar::run(&part, chunk),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => simd::run_avx2(&part, chunk),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 => simd::run_avx512(&part, chunk),
            }
        });
    }
}

/// Without the weights: a net printed by mistake would be megabytes.
impl fmt::Debug for Conv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conv")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("window", &self.window)
            .field("relu", &self.relu)
            .finish_non_exhaustive()
    }
}

/// A map to read.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub map: FeatureMap<'a>,
    /// Read at twice its size, every pixel four times.
    pub upsampled: bool,
}

impl Source<'_> {
    /// Rows and columns as the convolution sees them.
    fn seen(&self) -> (usize, usize) {
        let factor = if self.upsampled { 2 } else { 1 };
        (self.map.size().rows * factor, self.map.size().cols * factor)
    }
}

/// Some rows of an output: what one call of a kernel computes.
struct RowRange<'a> {
    conv: &'a Conv,
    sources: &'a [Source<'a>],
    /// Number of the first row.
    first: usize,
    cols: usize,
}

fn pack(spec: &ConvSpec<'_>, outputs: usize) -> Vec<f32> {
    let taps = spec.window.taps();
    let used: usize = spec.inputs.iter().map(|c| c.used).sum();
    let stored: usize = spec.inputs.iter().map(|c| c.stored).sum();
    // Where each used channel lies among the stored ones.
    let mut places = Vec::with_capacity(used);
    let mut start = 0;
    for channels in spec.inputs {
        places.extend(start..start + channels.used);
        start += channels.stored;
    }
    let mut packed = vec![0.0; outputs * taps * stored];
    for (at, &weight) in spec.weights.iter().enumerate() {
        let (tap, input, output) = (at % taps, at / taps % used, at / taps / used);
        let row = (output / BLOCK * taps + tap) * stored + places[input];
        packed[row * BLOCK + output % BLOCK] = weight;
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec<'a>(weights: &'a [f32], bias: &'a [f32], inputs: &'a [InputChannels]) -> ConvSpec<'a> {
        ConvSpec { inputs, outputs: 2, window: Window::Three, weights, bias, relu: false }
    }

    #[test]
    fn a_contradicting_specification_is_refused_by_name() {
        let five = [InputChannels { used: 5, stored: 5 }];
        let error = Conv::new(spec(&[0.0; 89], &[0.0; 2], &five)).unwrap_err();
        assert_eq!(error, ConvError::Length { what: "weights", got: 89, want: 90 });
        let error = Conv::new(spec(&[0.0; 90], &[0.0; 3], &five)).unwrap_err();
        assert_eq!(error, ConvError::Length { what: "biases", got: 3, want: 2 });
        assert_eq!(Conv::new(spec(&[], &[], &[])).unwrap_err(), ConvError::Sources(0));
        let less = [InputChannels { used: 5, stored: 4 }];
        assert_eq!(Conv::new(spec(&[0.0; 90], &[0.0; 2], &less)).unwrap_err(), ConvError::Channels);
    }

    #[test]
    fn scalar_is_always_there_and_the_best_is_last() {
        let sets = InstructionSet::available();
        assert_eq!(sets.first(), Some(&InstructionSet::SCALAR));
        assert_eq!(sets.last(), Some(&InstructionSet::best()));
    }
}
