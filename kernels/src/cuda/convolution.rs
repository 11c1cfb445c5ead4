//! See [`crate::conv`]: the same operations on channels-last maps in float16, several slices at once.
//!
//! Weights, maps and results are rounded to float16, sums are float32 (`convolution.cu` says in which order). No map has a
//! border, and none is upsampled or joined in memory.

use half::f16;

use super::call::THREADS;
use super::{Array, Call, DeviceError, Launcher, Shape};
use crate::conv::{BLOCK, ConvError, ConvSpec, Window, stored_channels};

/// Rows and columns of a block's outputs, `TILE` in `convolution.cu`.
const TILE: usize = 16;
/// Channels of one step of a sum, `STEP` in `convolution.cu`; also what a map's channels are rounded up to.
const STEP: usize = 16;
/// Words that a step's weights of [`BLOCK`] outputs take: four for each thread of a warp.
const WORDS_OF_STEP: usize = 4 * WARP;
const WARP: usize = 32;
/// Bytes of one pixel of a tile in shared memory.
const PIXEL_BYTES: usize = 2 * STEP;

/// Feature maps of some slices on the device.
#[derive(Debug)]
pub struct Map {
    size: Size,
    /// float16 by its bits: `[slices, rows, columns, stored channels]`.
    values: Array<u16>,
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

impl Map {
    fn new(on: &dyn Launcher, size: Size) -> Result<Map, DeviceError> {
        Ok(Map { size, values: Array::new(on, size.stored())? })
    }

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
        let Size { slices, rows, columns, channels } = self.size;
        let size = Size { rows: rows / 2, columns: columns / 2, ..self.size };
        let mut to = Map::new(on, size)?;
        Call::of("pool_halves")
            .read(&self.values)
            .write(&mut to.values)
            .counts([slices, rows, columns])
            .count(stored_channels(channels))
            .over(on, size.stored() / 2)?;
        Ok(to)
    }

    pub fn size(&self) -> Size {
        self.size
    }
}

/// A source as a convolution reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    channels: usize,
    doubled: bool,
}

/// A convolution with its weights as tensor cores take them, still on the host.
#[derive(Clone)]
pub struct Packed {
    readings: Vec<Reading>,
    outputs: usize,
    window: Window,
    relu: bool,
    /// `[block of outputs][step][thread][4]`, two float16 each; a step is 16 channels of a source under one tap.
    weights: Vec<u32>,
    /// Of the stored outputs.
    bias: Vec<f32>,
}

impl Packed {
    /// Of `spec`'s inputs only the used channels and whether they are upsampled matter: our maps store them in our way.
    pub fn new(spec: &ConvSpec<'_>) -> Result<Packed, ConvError> {
        spec.check()?;
        let reading = |input: &crate::conv::Input| Reading {
            channels: input.channels.used,
            doubled: input.upsampled,
        };
        let readings = spec.inputs.iter().map(reading).collect();
        let mut bias = spec.bias.to_vec();
        bias.resize(stored_channels(spec.outputs), 0.0);
        let weights = pack(spec);
        Ok(Packed {
            readings,
            outputs: spec.outputs,
            window: spec.window,
            relu: spec.relu,
            weights,
            bias,
        })
    }

    /// Brings weights and bias to a device.
    pub fn load(&self, on: &dyn Launcher) -> Result<Convolution, DeviceError> {
        let (weights, bias) = (Array::of(on, &self.weights)?, Array::of(on, &self.bias)?);
        let (readings, outputs) = (self.readings.clone(), self.outputs);
        Ok(Convolution { readings, outputs, window: self.window, relu: self.relu, weights, bias })
    }
}

/// Without the weights: a net printed by mistake would be megabytes.
impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed")
            .field("readings", &self.readings)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

/// A convolution on a device.
#[derive(Debug)]
pub struct Convolution {
    readings: Vec<Reading>,
    outputs: usize,
    window: Window,
    relu: bool,
    weights: Array<u32>,
    bias: Array<f32>,
}

impl Convolution {
    /// The result from one map per source.
    pub fn run(&self, on: &dyn Launcher, maps: &[&Map]) -> Result<Map, DeviceError> {
        let size = self.size_from(maps)?;
        let mut out = Map::new(on, size)?;
        let stored = stored_channels(self.outputs);
        let (kernel, pairs) = self.kernel();
        let tiles = size.rows.div_ceil(TILE) * size.columns.div_ceil(TILE);
        let side = TILE + if self.window == Window::Three { 2 } else { 0 };
        let shape = Shape {
            blocks: [tiles as u32, (stored / BLOCK / pairs) as u32, size.slices as u32],
            threads: THREADS,
            shared_bytes: (side * side * PIXEL_BYTES) as u32,
        };
        // A second source without channels is never read.
        let second = maps.last().unwrap_or(&maps[0]);
        let channels = |number: usize| {
            self.readings.get(number).map_or(0, |reading| stored_channels(reading.channels))
        };
        let doubled = |number: usize| self.readings.get(number).is_some_and(|r| r.doubled);
        Call::of(kernel)
            .read(&maps[0].values)
            .read(&second.values)
            .read(&self.weights)
            .read(&self.bias)
            .write(&mut out.values)
            .counts([size.rows, size.columns, channels(0)])
            .counts([channels(1), doubled(0).into(), doubled(1).into()])
            .count(stored)
            .count(self.relu.into())
            .launch(on, shape)?;
        Ok(out)
    }

    /// The kernel for this window and number of outputs, and how many times [`BLOCK`] outputs a block of it has.
    fn kernel(&self) -> (&'static str, usize) {
        let even = stored_channels(self.outputs).is_multiple_of(2 * BLOCK);
        match (self.window, even) {
            (Window::One, false) => ("convolve_1x1_16", 1),
            (Window::One, true) => ("convolve_1x1_32", 2),
            (Window::Three, false) => ("convolve_3x3_16", 1),
            (Window::Three, true) => ("convolve_3x3_32", 2),
        }
    }

    /// The size of the result; refuses maps of other channels or sizes, which the kernel would read beyond.
    fn size_from(&self, maps: &[&Map]) -> Result<Size, DeviceError> {
        let seen = |(map, reading): (&&Map, &Reading)| {
            let factor = if reading.doubled { 2 } else { 1 };
            let Size { slices, rows, columns, channels } = map.size;
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
                let sizes: Vec<Size> = maps.iter().map(|map| map.size).collect();
                let text = format!("{:?} from {sizes:?}", self.readings);
                Err(DeviceError::Refused { during: "a convolution".into(), text })
            }
        }
    }
}

/// The weights in the order of [`Packed::weights`]: for each thread those of the outputs and channels that
/// `convolve` in `convolution.cu` says are its own.
fn pack(spec: &ConvSpec<'_>) -> Vec<u32> {
    let taps = spec.window.taps();
    let used: usize = spec.inputs.iter().map(|input| input.channels.used).sum();
    // First channel of each step within the weights of an output, and how many of its channels there are.
    let mut steps = Vec::new();
    let mut before = 0;
    for input in spec.inputs {
        for first in (0..input.channels.used).step_by(STEP) {
            steps.push((before + first, (input.channels.used - first).min(STEP)));
        }
        before += input.channels.used;
    }
    let mut packed = Vec::with_capacity(
        stored_channels(spec.outputs) / BLOCK * steps.len() * taps * WORDS_OF_STEP,
    );
    for block in (0..spec.outputs).step_by(BLOCK) {
        for &(first, channels) in &steps {
            for tap in 0..taps {
                for word in 0..WORDS_OF_STEP {
                    let weight = |even: usize| {
                        let (output, channel) = place_of(word, even);
                        let output = block + output;
                        if output >= spec.outputs || channel >= channels {
                            return 0;
                        }
                        let at = (output * used + first + channel) * taps + tap;
                        u32::from(f16::from_f32(spec.weights[at]).to_bits())
                    };
                    packed.push(weight(0) | weight(1) << 16);
                }
            }
        }
    }
    packed
}

/// Output of a block and channel of a step to which one half of a word belongs. The instruction wants of thread `4g + t`
/// column `g` of the matrix and of its rows two pairs; thread `t` of four has four neighbouring channels and outputs.
fn place_of(word: usize, even: usize) -> (usize, usize) {
    let (thread, fragment, part) = (word / 4, word / 2 % 2, word % 2);
    let (group, quarter) = (thread / 4, thread % 4);
    (group / 2 * 4 + 2 * fragment + group % 2, quarter * 4 + 2 * part + even)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_of_a_step_has_one_place() {
        let places = (0..WORDS_OF_STEP).flat_map(|word| [place_of(word, 0), place_of(word, 1)]);
        let places: std::collections::BTreeSet<_> = places.collect();
        assert_eq!(places.len(), BLOCK * STEP);
        assert!(places.iter().all(|&(output, channel)| output < BLOCK && channel < STEP));
    }
}
