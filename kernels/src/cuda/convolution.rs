//! See [`crate::conv`]: the same operations on channels-last maps in float16, several slices at once; on maps of steps in
//! [`quantised`].
//!
//! Weights, maps and results are rounded to float16, sums are float32 (`convolution.cu` says in which order). No map has a
//! border, and none is upsampled or joined in memory.

pub mod quantised;

use bytemuck::Pod;
use half::f16;

use super::call::THREADS;
use super::{Array, Call, DeviceError, Launcher, Shape};
use crate::conv::{BLOCK, ConvError, ConvSpec, Input, Window, stored_channels};

/// Rows and columns of a block's outputs, `TILE` in `convolution.cuh`.
const TILE: usize = 16;
/// Bytes of a pixel that one step of a sum takes, `STEP_BYTES` in `convolution.cuh`; in shared memory a pixel has as many.
const STEP_BYTES: usize = 32;
/// Words that a step's weights of [`BLOCK`] outputs take: four for each thread of a warp.
const WORDS_OF_STEP: usize = 4 * WARP;
const WARP: usize = 32;

/// Feature maps of some slices on the device: of float16 by its bits, or of steps (`Map<u8>`).
#[derive(Debug)]
pub struct Map<T = u16> {
    size: Size,
    /// `[slices, rows, columns, stored channels]`.
    values: Array<T>,
}

/// What a [`Map`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub slices: usize,
    pub rows: usize,
    pub columns: usize,
    /// Channels with a meaning; in memory they are [`stored_channels`].
    pub channels: usize,
}

impl Size {
    fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    fn stored(&self) -> usize {
        self.slices * self.pixels() * stored_channels(self.channels)
    }
}

impl<T: Pod> Map<T> {
    fn new(on: &dyn Launcher, size: Size) -> Result<Map<T>, DeviceError> {
        Ok(Map { size, values: Array::new(on, size.stored())? })
    }

    pub fn size(&self) -> Size {
        self.size
    }

    /// The largest of each 2x2 pixels by a kernel that takes as many channels at once.
    fn pooled_by(
        &self,
        on: &dyn Launcher,
        kernel: &'static str,
        at_once: usize,
    ) -> Result<Map<T>, DeviceError> {
        let Size { slices, rows, columns, channels } = self.size;
        let size = Size { rows: rows / 2, columns: columns / 2, ..self.size };
        let mut to = Map::new(on, size)?;
        Call::of(kernel)
            .read(&self.values)
            .write(&mut to.values)
            .counts([slices, rows, columns])
            .count(stored_channels(channels))
            .over(on, size.stored() / at_once)?;
        Ok(to)
    }
}

impl Map {
    /// A map from `[slices, channels, rows, columns]`.
    pub fn of_planar(
        on: &dyn Launcher,
        planar: &Array<f32>,
        size: Size,
    ) -> Result<Map, DeviceError> {
        let mut map = Map::new(on, size)?;
        Call::of("to_halves")
            .read(planar)
            .write(&mut map.values)
            .counts([size.slices, size.pixels(), size.channels])
            .count(stored_channels(size.channels))
            .over(on, size.stored() / 2)?;
        Ok(map)
    }

    /// The channels with a meaning, as `[slices, channels, rows, columns]`.
    pub fn planar(&self, on: &dyn Launcher) -> Result<Array<f32>, DeviceError> {
        let size = self.size;
        let values = size.slices * size.pixels() * size.channels;
        let mut planar = Array::new(on, values)?;
        Call::of("to_planar")
            .read(&self.values)
            .write(&mut planar)
            .counts([size.slices, size.pixels(), size.channels])
            .count(stored_channels(size.channels))
            .over(on, values)?;
        Ok(planar)
    }

    /// The largest of each 2x2 pixels; an odd last row or column is left out.
    pub fn pooled(&self, on: &dyn Launcher) -> Result<Map, DeviceError> {
        self.pooled_by(on, "pool_halves", 2)
    }
}

/// A source as a convolution reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    channels: usize,
    doubled: bool,
}

/// Kernels of one kind of map: those for 1x1, then for 3x3, of [`BLOCK`] outputs a block and of twice as many.
type Kernels = [[&'static str; 2]; 2];

const KERNELS: Kernels =
    [["convolve_1x1_16", "convolve_1x1_32"], ["convolve_3x3_16", "convolve_3x3_32"]];

/// What a convolution is but for its numbers.
#[derive(Debug, Clone)]
struct Frame {
    readings: Vec<Reading>,
    outputs: usize,
    window: Window,
}

impl Frame {
    /// Of `inputs` only the used channels and whether they are upsampled matter: our maps store them in our way.
    fn new(inputs: &[Input], outputs: usize, window: Window) -> Frame {
        let reading =
            |input: &Input| Reading { channels: input.channels.used, doubled: input.upsampled };
        Frame { readings: inputs.iter().map(reading).collect(), outputs, window }
    }

    /// The result from one map per source: `numbers` adds weights and what else is read for each output to the call, `last`
    /// is its last argument.
    fn run<T: Pod, U: Pod>(
        &self,
        on: &dyn Launcher,
        kernels: Kernels,
        maps: &[&Map<T>],
        numbers: impl FnOnce(Call) -> Call,
        last: usize,
    ) -> Result<Map<U>, DeviceError> {
        let sizes: Vec<Size> = maps.iter().map(|map| map.size).collect();
        let size = self.size_from(&sizes)?;
        let mut out = Map::new(on, size)?;
        let stored = stored_channels(self.outputs);
        let even = stored.is_multiple_of(2 * BLOCK);
        let (three, pairs) = (self.window == Window::Three, if even { 2 } else { 1 });
        let tiles = size.rows.div_ceil(TILE) * size.columns.div_ceil(TILE);
        let side = TILE + if three { 2 } else { 0 };
        let shape = Shape {
            blocks: [tiles as u32, (stored / BLOCK / pairs) as u32, size.slices as u32],
            threads: THREADS,
            shared_bytes: (side * side * STEP_BYTES) as u32,
        };
        // A second source without channels is never read.
        let second = maps.last().unwrap_or(&maps[0]);
        let channels = |number: usize| {
            self.readings.get(number).map_or(0, |reading| stored_channels(reading.channels))
        };
        let doubled = |number: usize| self.readings.get(number).is_some_and(|r| r.doubled);
        let call = Call::of(kernels[usize::from(three)][usize::from(even)])
            .read(&maps[0].values)
            .read(&second.values);
        numbers(call)
            .write(&mut out.values)
            .counts([size.rows, size.columns, channels(0)])
            .counts([channels(1), doubled(0).into(), doubled(1).into()])
            .count(stored)
            .count(last)
            .launch(on, shape)?;
        Ok(out)
    }

    /// The size of the result; refuses maps of other channels or sizes, which the kernel would read beyond.
    fn size_from(&self, maps: &[Size]) -> Result<Size, DeviceError> {
        let seen = |(size, reading): (&Size, &Reading)| {
            let factor = if reading.doubled { 2 } else { 1 };
            let Size { slices, rows, columns, channels } = *size;
            (channels == reading.channels).then_some([slices, factor * rows, factor * columns])
        };
        let sizes: Vec<_> = maps.iter().zip(&self.readings).map(seen).collect();
        match sizes[..] {
            [Some([slices, rows, columns]), ..]
                if maps.len() == self.readings.len() && sizes.iter().all(|s| *s == sizes[0]) =>
            {
                Ok(Size { slices, rows, columns, channels: self.outputs })
            }
            _ => {
                let text = format!("{:?} from {maps:?}", self.readings);
                Err(DeviceError::Refused { during: "a convolution".into(), text })
            }
        }
    }

    /// The weights `[block of outputs][step][thread][4]` as tensor cores take them, `at_once` to a word: for each thread
    /// those of the outputs and channels that `sum_products` in `convolution.cuh` says are its own. A step is [`STEP_BYTES`]
    /// of a source under one tap; `bits` tells a weight by its place in the file's order.
    fn pack(&self, at_once: usize, bits: impl Fn(usize) -> u32) -> Vec<u32> {
        let (taps, of_step) = (self.window.taps(), STEP_BYTES / 4 * at_once);
        let used: usize = self.readings.iter().map(|reading| reading.channels).sum();
        // First channel of each step within the weights of an output, and how many of its channels there are.
        let mut steps = Vec::new();
        let mut before = 0;
        for &Reading { channels, .. } in &self.readings {
            for first in (0..channels).step_by(of_step) {
                steps.push((before + first, (channels - first).min(of_step)));
            }
            before += channels;
        }
        let blocks = stored_channels(self.outputs) / BLOCK;
        let mut packed = Vec::with_capacity(blocks * steps.len() * taps * WORDS_OF_STEP);
        for block in (0..self.outputs).step_by(BLOCK) {
            for (&(first, channels), tap) in
                steps.iter().flat_map(|step| (0..taps).map(move |tap| (step, tap)))
            {
                let weight = |word: usize, number: usize| {
                    let (output, channel) = place_of(word, number, at_once);
                    let output = block + output;
                    if output >= self.outputs || channel >= channels {
                        return 0;
                    }
                    bits((output * used + first + channel) * taps + tap)
                };
                let word = |word: usize| {
                    let shifted = |number| weight(word, number) << (32 / at_once * number);
                    (0..at_once).fold(0, |bits, number| bits | shifted(number))
                };
                packed.extend((0..WORDS_OF_STEP).map(word));
            }
        }
        packed
    }
}

/// Numbers of each output, zero for those that are only stored.
fn stored(values: &[f32]) -> Vec<f32> {
    let mut values = values.to_vec();
    values.resize(stored_channels(values.len()), 0.0);
    values
}

/// A convolution with its weights as tensor cores take them, still on the host.
#[derive(Clone)]
pub struct Packed {
    frame: Frame,
    relu: bool,
    /// Two float16 to a word.
    weights: Vec<u32>,
    /// Of the stored outputs.
    bias: Vec<f32>,
}

impl Packed {
    pub fn new(spec: &ConvSpec<'_>) -> Result<Packed, ConvError> {
        spec.check()?;
        let frame = Frame::new(spec.inputs, spec.outputs, spec.window);
        let weights = frame.pack(2, |at| f16::from_f32(spec.weights[at]).to_bits().into());
        Ok(Packed { frame, relu: spec.relu, weights, bias: stored(spec.bias) })
    }

    /// Brings weights and bias to a device.
    pub fn load(&self, on: &dyn Launcher) -> Result<Convolution, DeviceError> {
        let (weights, bias) = (Array::of(on, &self.weights)?, Array::of(on, &self.bias)?);
        Ok(Convolution { frame: self.frame.clone(), relu: self.relu, weights, bias })
    }
}

/// Without the weights: a net printed by mistake would be megabytes.
impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").field("frame", &self.frame).finish_non_exhaustive()
    }
}

/// A convolution on a device.
#[derive(Debug)]
pub struct Convolution {
    frame: Frame,
    relu: bool,
    weights: Array<u32>,
    bias: Array<f32>,
}

impl Convolution {
    /// The result from one map per source.
    pub fn run(&self, on: &dyn Launcher, maps: &[&Map]) -> Result<Map, DeviceError> {
        let numbers = |call: Call| call.read(&self.weights).read(&self.bias);
        self.frame.run(on, KERNELS, maps, numbers, self.relu.into())
    }
}

/// Output of a block and channel of a step to which a number of a word belongs, of which there are `at_once`. The instruction
/// wants of thread `4g + t` column `g` of the matrix and of its rows two words; thread `t` of four has neighbouring channels,
/// two words of them, and four neighbouring outputs.
fn place_of(word: usize, number: usize, at_once: usize) -> (usize, usize) {
    let (thread, fragment, part) = (word / 4, word / 2 % 2, word % 2);
    let (group, quarter) = (thread / 4, thread % 4);
    (group / 2 * 4 + 2 * fragment + group % 2, (quarter * 2 + part) * at_once + number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_of_a_step_has_one_place() {
        for at_once in [2, 4] {
            let numbers = |word| (0..at_once).map(move |number| place_of(word, number, at_once));
            let places: std::collections::BTreeSet<_> =
                (0..WORDS_OF_STEP).flat_map(numbers).collect();
            let channels = STEP_BYTES / 4 * at_once;
            assert_eq!(places.len(), BLOCK * channels);
            assert!(places.iter().all(|&(output, channel)| output < BLOCK && channel < channels));
        }
    }
}
