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
//! Where a 1x1 convolution stands at an end of a net, it reads or writes the image itself (`planes`):
//! other registers, the same sums.
//!
//! What a network is, which map lies in which buffer and how slices are spread over threads is
//! crate `models`' matter.

pub mod map;
mod pairs;
pub mod peak;
pub(crate) mod planes;
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

/// Rows of outputs that are computed together.
const PAIR: usize = 2;

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
    /// Those of 1x1 over one source once more, `[outputs][stored channels]`.
    by_output: Vec<f32>,
    bias: Vec<f32>,
}

impl Conv {
    pub fn new(spec: ConvSpec<'_>) -> Result<Conv, ConvError> {
        spec.check()?;
        let outputs = stored_channels(spec.outputs);
        let mut bias = spec.bias.to_vec();
        bias.resize(outputs, 0.0);
        let (readings, weights) = weights::pack(&spec);
        let mut conv =
            Conv { readings, outputs, relu: spec.relu, weights, by_output: Vec::new(), bias };
        if conv.is_pointwise() {
            conv.by_output = weights::by_output(&spec);
        }
        Ok(conv)
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
        self.check(maps, size);
        let MapSize { rows, cols, .. } = size;
        // Pairs of rows stay together.
        let rows_of_chunk = map::rows_per_chunk(rows, threads).next_multiple_of(PAIR);
        let interior = out.clear_border();
        parallel_chunks(threads, interior, rows_of_chunk * size.row_stride(), |number, chunk| {
            let first = number * rows_of_chunk;
            RowRange { conv: self, maps, first, rows, cols }.run(set, chunk);
        });
    }

    /// Whether it is 1x1 over one source: then either end may be an image `[channels][rows][cols]`.
    pub fn is_pointwise(&self) -> bool {
        matches!(self.readings.as_slice(), [Reading { way: Way::Plain, .. }])
    }

    /// As [`Conv::run`] from an image, which is never laid out as a map: to the bit the same.
    ///
    /// # Panics
    /// Where [`Conv::is_pointwise`] says no, and as [`Conv::run`].
    pub fn run_on_image(
        &self,
        set: InstructionSet,
        image: &[f32],
        out: FeatureMapMut<'_>,
        threads: usize,
    ) {
        let (size, stride) = (out.size(), out.size().row_stride());
        let (cols, channels) = (size.cols, self.pointwise().stored);
        assert_eq!(size.channels, self.outputs, "output channels");
        let planes = map::planes(image, MapSize { channels, ..size });
        let rows_of_chunk = map::rows_per_chunk(size.rows, threads).next_multiple_of(PAIR);
        parallel_chunks(threads, out.clear_border(), rows_of_chunk * stride, |number, chunk| {
            let pixels = (PAIR * cols).next_multiple_of(planes::PIXELS);
            let mut read = vec![0.0; channels * pixels];
            let mut sums = vec![0.0; self.outputs * pixels];
            for (n, rows) in chunk.chunks_mut(PAIR * stride).enumerate() {
                let first = (number * rows_of_chunk + n * PAIR) * cols;
                let count = rows.len() / stride * cols;
                for (values, plane) in read.chunks_exact_mut(pixels).zip(planes.clone()) {
                    values[..count].copy_from_slice(&plane[first..][..count]);
                }
                self.over_planes(set, &read, pixels, &mut sums);
                for (n, row) in rows.chunks_exact_mut(stride).enumerate() {
                    let row = map::interior_mut(row, size);
                    map::turn_in(&sums[n * cols..], pixels, row, size.channels);
                }
            }
        });
    }

    /// As [`Conv::run`] from one map into an image of as many channels as it has room for.
    ///
    /// # Panics
    /// Where [`Conv::is_pointwise`] says no, and as [`Conv::run`].
    pub fn run_to_image(
        &self,
        set: InstructionSet,
        map: FeatureMap<'_>,
        image: &mut [f32],
        threads: usize,
    ) {
        let size = map.size();
        let (cols, channels) = (size.cols, size.channels);
        assert_eq!(channels, self.pointwise().stored, "source channels");
        let outputs = image.len() / (size.rows * cols);
        let mut pairs: Vec<Vec<&mut [f32]>> =
            (0..size.rows.div_ceil(PAIR)).map(|_| Vec::new()).collect();
        for plane in map::planes_mut(image, MapSize { channels: self.outputs, ..size }) {
            let pieces = plane.chunks_mut(PAIR * cols);
            pairs.iter_mut().zip(pieces).for_each(|(pair, piece)| pair.push(piece));
        }
        let per_chunk = map::rows_per_chunk(pairs.len(), threads);
        parallel_chunks(threads, &mut pairs, per_chunk, |number, pairs| {
            let pixels = (PAIR * cols).next_multiple_of(planes::PIXELS);
            let mut read = vec![0.0; channels * pixels];
            let mut sums = vec![0.0; outputs * pixels];
            for (n, planes) in pairs.iter_mut().enumerate() {
                let first = (number * per_chunk + n) * PAIR;
                for row in first..size.rows.min(first + PAIR) {
                    let values = read.chunks_exact_mut(pixels);
                    let values = values.map(|plane| &mut plane[(row - first) * cols..][..cols]);
                    map::turn_out(map.row(row), channels, values);
                }
                self.over_planes(set, &read, pixels, &mut sums);
                for (plane, sums) in planes.iter_mut().zip(sums.chunks_exact(pixels)) {
                    plane.copy_from_slice(&sums[..plane.len()]);
                }
            }
        });
    }

    fn pointwise(&self) -> &Reading {
        assert!(self.is_pointwise(), "a window that needs a border, or a second source");
        &self.readings[0]
    }

    /// `[channels][pixels]` to `[outputs][pixels]`, the first outputs.
    fn over_planes(&self, set: InstructionSet, source: &[f32], pixels: usize, out: &mut [f32]) {
        let (count, outputs) = (self.readings[0].stored, out.len() / pixels);
        let sums = planes::Sums {
            weights: &self.by_output[..outputs * count],
            pitch: count,
            bias: &self.bias[..outputs],
            source,
            segments: &[planes::Segment { start: 0, count, step: pixels }],
            pixels,
        };
        sums.run(set, out);
        if self.relu {
            // As the processors' maximum with zero: NaN and -0 become +0.
            out.iter_mut().for_each(|v| *v = if *v > 0.0 { *v } else { 0.0 });
        }
    }

    fn check(&self, maps: &[FeatureMap<'_>], out: MapSize) {
        assert_eq!(out.channels, self.outputs, "output channels");
        assert_eq!(maps.len(), self.readings.len(), "number of sources");
        for (map, reading) in maps.iter().zip(&self.readings) {
            assert_eq!(map.size().channels, reading.stored, "source channels");
            let factor = reading.factor();
            let seen = (factor * map.size().rows, factor * map.size().cols);
            assert_eq!(seen, (out.rows, out.cols), "source size");
        }
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
    /// Fills `out`: whole rows with their border pixels.
    fn run(&self, set: InstructionSet, out: &mut [f32]) {
        match set.0 {
            Kind::Scalar => scalar::run(self, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => simd::run_avx2(self, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => simd::run_avx512(self, out),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => simd::run_neon(self, out),
        }
    }

    /// The maps of which rows are combined.
    fn paired(&self) -> impl Iterator<Item = &FeatureMap<'_>> {
        let readings = self.conv.readings.iter().zip(self.maps);
        readings.filter(|(reading, _)| reading.way == Way::Paired).map(|(_, map)| map)
    }

    /// Rows of the pair that begins at `row`: the last of an odd number is alone.
    fn rows_at(&self, row: usize) -> usize {
        (self.rows - row).min(PAIR)
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
