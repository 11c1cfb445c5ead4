//! The weights of a convolution of steps in the order in which the kernels read them, and where the
//! pixels lie that they belong to.
//!
//! Every tap has its own product, also where upsampling puts one pixel under several: their sums do
//! not fit a byte.

use super::{GROUP, QuantisedSpec};
use crate::conv::{BLOCK, Input, Window, stored_channels};

/// How one source is read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) upsampled: bool,
    /// Channels in memory.
    pub(super) stored: usize,
    used: usize,
    window: Window,
    /// Where its weights begin in those of a block of outputs.
    pub(super) start: usize,
}

impl Reading {
    fn new(input: Input, window: Window, start: usize) -> Reading {
        let Input { channels, upsampled } = input;
        Reading { upsampled, stored: channels.stored, used: channels.used, window, start }
    }

    /// Outputs per pixel of the source, along rows as along columns.
    pub(super) fn factor(&self) -> usize {
        if self.upsampled { 2 } else { 1 }
    }

    pub(super) fn taps(&self) -> usize {
        self.window.taps()
    }

    /// Products of one output.
    pub(super) fn products(&self) -> usize {
        self.taps() * self.stored
    }

    /// Weights of a block of outputs.
    pub(super) fn weights(&self) -> usize {
        self.products() * BLOCK
    }

    /// Row and column, in the map with its border, of the pixel under a tap of the output at
    /// `[row, col]`.
    pub(super) fn place(&self, tap: usize, [row, col]: [usize; 2]) -> [usize; 2] {
        let (down, right) = self.window.offset(tap);
        let (row, col) = (row + down, col + right);
        // The border pixel at the head of a map is not doubled: hence rounded up.
        if self.upsampled { [row.div_ceil(2), col.div_ceil(2)] } else { [row, col] }
    }
}

/// How the sources are read, and the weights
/// `[output block][source][tap][group of channels][BLOCK][channel of the group]`, zero where a stored
/// channel is not used.
pub(super) fn pack(spec: &QuantisedSpec<'_>) -> (Vec<Reading>, Vec<i8>) {
    let mut readings = Vec::new();
    let mut per_block = 0;
    for &input in spec.inputs {
        let reading = Reading::new(input, spec.window, per_block);
        per_block += reading.weights();
        readings.push(reading);
    }
    let taps = spec.window.taps();
    let used: usize = spec.inputs.iter().map(|i| i.channels.used).sum();
    let mut packed = vec![0; stored_channels(spec.outputs) / BLOCK * per_block];
    for output in 0..spec.outputs {
        let mut filters = spec.weights[output * used * taps..].chunks_exact(taps);
        let block = &mut packed[output / BLOCK * per_block..][..per_block];
        for reading in &readings {
            for (channel, filter) in filters.by_ref().take(reading.used).enumerate() {
                for (tap, &weight) in filter.iter().enumerate() {
                    let group = (tap * reading.stored + channel) / GROUP;
                    let lane = (group * BLOCK + output % BLOCK) * GROUP + channel % GROUP;
                    block[reading.start + lane] = weight;
                }
            }
        }
    }
    (readings, packed)
}
