//! Convolution of one slice, in the few forms our nets are made of: 3x3 with a border of zeros and
//! 1x1, bias and ReLU fused; the sources may be two maps one behind the other (concat) and each may
//! be read at twice its size (nearest upsampling), without either being written out. Max-pooling
//! and the change of layout are in [`map`].
//!
//! **Definition** (`scalar`): every output starts from its bias; then come the sources, of each the
//! pixels under the window in row order, of each its channels, each added by one fused
//! multiply-add; then ReLU. Products are saved where sums can be shared: rows of a 3x3 window are
//! taken in pairs (`pairs`), and a pixel that upsampling puts under several taps is multiplied once
//! (`weights`). Every instruction set keeps this order, so their results are equal to the bit.
//!
//! What a network is, which map lies in which buffer and how slices are spread over threads is
//! crate `models`' matter.

pub mod map;
mod pairs;
pub mod peak;
pub mod quantised;
mod scalar;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod simd;
mod weights;

pub use map::{FeatureMap, FeatureMapMut, MapSize, from_planar, max_pool, to_planar};

use crate::threads::parallel_chunks;
use std::fmt;
use thiserror::Error;
use weights::{Reading, Way};

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
    #[cfg(target_arch = "aarch64")]
    Neon,
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
            #[cfg(target_arch = "aarch64")]
            Kind::Neon,
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
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
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
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => std::arch::is_aarch64_feature_detected!("neon"),
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

/// One source of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    pub channels: InputChannels,
    /// Read at twice its size, every pixel four times.
    pub upsampled: bool,
}

/// A convolution as the training framework writes it.
#[derive(Debug, Clone, Copy)]
pub struct ConvSpec<'a> {
    /// One or two sources, in the order of the concat.
    pub inputs: &'a [Input],
    pub outputs: usize,
    pub window: Window,
    /// `[outputs, inputs, window rows, window columns]`, columns fastest; inputs of all sources
    /// one behind the other.
    pub weights: &'a [f32],
    pub bias: &'a [f32],
    pub relu: bool,
}

impl ConvSpec<'_> {
    /// Whether the parts fit each other.
    pub(crate) fn check(&self) -> Result<(), ConvError> {
        check_weights(self.inputs, self.outputs, self.window, self.weights.len())?;
        check_length("biases", self.bias.len(), self.outputs)
    }
}

/// Whether sources, outputs and window are a convolution with so many weights.
fn check_weights(
    inputs: &[Input],
    outputs: usize,
    window: Window,
    weights: usize,
) -> Result<(), ConvError> {
    if !(1..=2).contains(&inputs.len()) {
        return Err(ConvError::Sources(inputs.len()));
    }
    let channels = || inputs.iter().map(|i| i.channels);
    if outputs == 0 || channels().any(|c| c.used == 0 || c.used > c.stored) {
        return Err(ConvError::Channels);
    }
    let used: usize = channels().map(|c| c.used).sum();
    check_length("weights", weights, outputs * used * window.taps())
}

fn check_length(what: &'static str, got: usize, want: usize) -> Result<(), ConvError> {
    if got == want { Ok(()) } else { Err(ConvError::Length { what, got, want }) }
}

/// A specification that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConvError {
    #[error("a convolution reads one or two maps, not {0}")]
    Sources(usize),
    #[error("a convolution with no channels, or with fewer channels stored than used")]
    Channels,
    #[error("a scale that is not a finite number")]
    Scales,
    #[error("{got} {what} for a convolution that needs {want}")]
    Length { what: &'static str, got: usize, want: usize },
}

/// A convolution ready to run.
#[derive(Clone)]
pub struct Conv {
    /// How each source is read.
    readings: Vec<Reading>,
    /// A multiple of [`BLOCK`].
    outputs: usize,
    relu: bool,
    /// Packed by [`weights::pack`].
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Conv {
    pub fn new(spec: ConvSpec<'_>) -> Result<Conv, ConvError> {
        spec.check()?;
        let outputs = stored_channels(spec.outputs);
        let mut bias = spec.bias.to_vec();
        bias.resize(outputs, 0.0);
        let (readings, weights) = weights::pack(&spec);
        Ok(Conv { readings, outputs, relu: spec.relu, weights, bias })
    }

    /// Multiply-adds that run per output pixel, counted over the stored channels.
    pub fn multiply_adds(&self) -> usize {
        let of_pair: usize = self.readings.iter().map(Reading::products_of_pair).sum();
        of_pair * self.outputs / 2
    }

    /// Multiply-adds per output pixel of the same convolution without anything saved.
    pub fn textbook_multiply_adds(&self) -> usize {
        self.readings.iter().map(|r| r.taps * r.stored).sum::<usize>() * self.outputs
    }

    /// Fills `out` and its border from one map per source, its rows spread over `threads`.
    ///
    /// # Panics
    /// When the maps do not have the channels and sizes of this convolution: a fault of the caller,
    /// never of the data.
    pub fn run(
        &self,
        set: InstructionSet,
        maps: &[FeatureMap<'_>],
        out: FeatureMapMut<'_>,
        threads: usize,
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
        // Pairs of rows stay together.
        let rows_of_chunk = map::rows_per_chunk(size.rows, threads).next_multiple_of(2);
        let interior = out.clear_border();
        parallel_chunks(threads, interior, rows_of_chunk * size.row_stride(), |number, chunk| {
            let first = number * rows_of_chunk;
            let part = RowRange { conv: self, maps, first, rows: size.rows, cols: size.cols };
            match set.0 {
                Kind::Scalar => scalar::run(&part, chunk),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => simd::run_avx2(&part, chunk),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 => simd::run_avx512(&part, chunk),
                #[cfg(target_arch = "aarch64")]
                Kind::Neon => simd::run_neon(&part, chunk),
            }
        });
    }
}

/// Without the weights: a net printed by mistake would be megabytes.
impl fmt::Debug for Conv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conv")
            .field("readings", &self.readings)
            .field("outputs", &self.outputs)
            .field("relu", &self.relu)
            .finish_non_exhaustive()
    }
}

/// Some rows of an output: what one call of a kernel computes.
struct RowRange<'a> {
    conv: &'a Conv,
    /// One for each reading of the convolution.
    maps: &'a [FeatureMap<'a>],
    /// Number of the first row; even.
    first: usize,
    /// Rows and columns of the whole output.
    rows: usize,
    cols: usize,
}

impl RowRange<'_> {
    /// The maps of which rows are combined.
    fn paired(&self) -> impl Iterator<Item = &FeatureMap<'_>> {
        let readings = self.conv.readings.iter().zip(self.maps);
        readings.filter(|(reading, _)| reading.way == Way::Paired).map(|(_, map)| map)
    }

    /// Rows of the pair that begins at `row`: the last of an odd number is alone.
    fn rows_at(&self, row: usize) -> usize {
        (self.rows - row).min(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec<'a>(weights: &'a [f32], bias: &'a [f32], inputs: &'a [Input]) -> ConvSpec<'a> {
        ConvSpec { inputs, outputs: 2, window: Window::Three, weights, bias, relu: false }
    }

    fn input(used: usize, stored: usize) -> [Input; 1] {
        [Input { channels: InputChannels { used, stored }, upsampled: false }]
    }

    #[test]
    fn a_contradicting_specification_is_refused_by_name() {
        let error = Conv::new(spec(&[0.0; 89], &[0.0; 2], &input(5, 5))).unwrap_err();
        assert_eq!(error, ConvError::Length { what: "weights", got: 89, want: 90 });
        let error = Conv::new(spec(&[0.0; 90], &[0.0; 3], &input(5, 5))).unwrap_err();
        assert_eq!(error, ConvError::Length { what: "biases", got: 3, want: 2 });
        assert_eq!(Conv::new(spec(&[], &[], &[])).unwrap_err(), ConvError::Sources(0));
        let error = Conv::new(spec(&[0.0; 90], &[0.0; 2], &input(5, 4))).unwrap_err();
        assert_eq!(error, ConvError::Channels);
    }

    #[test]
    fn scalar_is_always_there_and_the_best_is_last() {
        let sets = InstructionSet::available();
        assert_eq!(sets.first(), Some(&InstructionSet::SCALAR));
        assert_eq!(sets.last(), Some(&InstructionSet::best()));
    }
}
