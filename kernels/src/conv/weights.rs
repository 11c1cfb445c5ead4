//! The weights of a convolution in the order in which the kernels read them, and the pixels of a
//! source that they belong to.
//!
//! A source is read in one of three ways. Under 1x1, a pixel as it is. Under 3x3, two rows of
//! outputs share products (see [`pairs`]). In a map read at twice its size the nine taps of a
//! window fall on four pixels only; on which depends on whether row and column of the output are
//! even or odd. What this makes of the weights is made here, once, in `f32`.

use super::{BLOCK, ConvSpec, Input, InputChannels, Window, pairs, stored_channels};

/// Row and column of an output are even or odd.
const PARITIES: usize = 4;

/// A pixel that a sum of products reads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// Rows and columns from the corner of the window.
    pub(super) down: usize,
    pub(super) right: usize,
    /// The taps that make its weight, with their factors.
    taps: Vec<(usize, f32)>,
}

impl Place {
    /// Whether `next` is its neighbour.
    pub(super) fn is_left_of(&self, next: &Place) -> bool {
        (self.down, self.right + 1) == (next.down, next.right)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// 1x1: one sum for all outputs.
    Plain,
    /// At twice its size: a sum for each parity of the output.
    Doubled,
    /// 3x3: [`pairs::PARTS`] sums for two rows of outputs, over combined rows.
    Paired,
}

/// How one source is read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) way: Way,
    /// Channels in memory.
    pub(super) stored: usize,
    used: usize,
    /// Those of the window.
    pub(super) taps: usize,
    /// The pixels of each sum, in row order; equally many for all.
    sums: Vec<Vec<Place>>,
    /// Where its weights begin in those of a block of outputs.
    start: usize,
}

impl Reading {
    fn new(input: Input, window: Window, start: usize) -> Reading {
        let (way, sums) = match (input.upsampled, window) {
            (true, _) => {
                let of_parity = |parity| doubled(window, [parity / 2, parity % 2]);
                (Way::Doubled, (0..PARITIES).map(of_parity).collect())
            }
            (false, Window::One) => {
                (Way::Plain, vec![vec![Place { down: 1, right: 1, taps: vec![(0, 1.0)] }]])
            }
            (false, Window::Three) => (Way::Paired, (0..pairs::PARTS).map(paired).collect()),
        };
        let (InputChannels { used, stored }, taps) = (input.channels, window.taps());
        Reading { way, stored, used, taps, sums, start }
    }

    /// Outputs per pixel of the source, along rows as along columns.
    pub(super) fn factor(&self) -> usize {
        if self.way == Way::Doubled { 2 } else { 1 }
    }

    /// Multiply-adds for two outputs, one below the other.
    pub(super) fn products_of_pair(&self) -> usize {
        let sums = if self.way == Way::Paired { pairs::PARTS } else { 2 };
        sums * self.products()
    }

    /// Multiply-adds of one sum.
    fn products(&self) -> usize {
        self.sums[0].len() * self.stored
    }

    /// Weights of a block of outputs.
    pub(super) fn weights(&self) -> usize {
        self.sums.len() * self.products() * BLOCK
    }

    /// The pixels of a sum, and where their weights begin in those of a block; from there on they
    /// lie `[place][stored channel][BLOCK]`.
    pub(super) fn sum(&self, number: usize) -> (&[Place], usize) {
        (&self.sums[number], self.start + number * self.products() * BLOCK)
    }

    /// Which sum an output needs, unless rows are paired, and the corner of its window in the map
    /// with its border.
    pub(super) fn at(&self, row: usize, col: usize) -> (usize, [usize; 2]) {
        match self.way {
            Way::Doubled => (row % 2 * 2 + col % 2, [row / 2, col / 2]),
            Way::Plain | Way::Paired => (0, [row, col]),
        }
    }
}

/// The places of one part of a pair of rows: a row of the combined ones.
fn paired(part: usize) -> Vec<Place> {
    (0..3).map(|right| Place { down: part, right, taps: pairs::taps(part, right) }).collect()
}

/// Where the taps fall in a map read at twice its size, seen from an output of the given parity.
fn doubled(window: Window, [row, col]: [usize; 2]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for tap in 0..window.taps() {
        let (down, right) = window.offset(tap);
        // The border pixel at the head of a map is not doubled: hence rounded up.
        let (down, right) = ((row + down).div_ceil(2), (col + right).div_ceil(2));
        match places.iter_mut().find(|p| (p.down, p.right) == (down, right)) {
            Some(place) => place.taps.push((tap, 1.0)),
            None => places.push(Place { down, right, taps: vec![(tap, 1.0)] }),
        }
    }
    places
}

/// How the sources are read, and the weights
/// `[output block][source][sum][place][stored channel][BLOCK]`, zero where a stored channel is not
/// used.
pub(super) fn pack(spec: &ConvSpec<'_>) -> (Vec<Reading>, Vec<f32>) {
    let mut readings = Vec::new();
    let mut per_block = 0;
    for &input in spec.inputs {
        let reading = Reading::new(input, spec.window, per_block);
        per_block += reading.weights();
        readings.push(reading);
    }
    let taps = spec.window.taps();
    let used: usize = spec.inputs.iter().map(|i| i.channels.used).sum();
    let mut packed = vec![0.0; stored_channels(spec.outputs) / BLOCK * per_block];
    for output in 0..spec.outputs {
        let mut filters = spec.weights[output * used * taps..].chunks_exact(taps);
        let block = &mut packed[output / BLOCK * per_block..][..per_block];
        for reading in &readings {
            for (channel, filter) in filters.by_ref().take(reading.used).enumerate() {
                for (number, place) in reading.sums.iter().flatten().enumerate() {
                    let row = number * reading.stored + channel;
                    block[reading.start + row * BLOCK + output % BLOCK] =
                        place.taps.iter().map(|&(tap, factor)| factor * filter[tap]).sum();
                }
            }
        }
    }
    (readings, packed)
}

/// The weights of 1x1 over one source, `[stored outputs][stored channels]`, zero where one is not used.
pub(super) fn by_output(spec: &ConvSpec<'_>) -> Vec<f32> {
    let InputChannels { used, stored } = spec.inputs[0].channels;
    let mut weights = vec![0.0; stored_channels(spec.outputs) * stored];
    for (to, from) in weights.chunks_exact_mut(stored).zip(spec.weights.chunks_exact(used)) {
        to[..used].copy_from_slice(from);
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_over_a_doubled_map_touches_four_pixels() {
        for (parity, taps) in [([0, 0], [1, 2, 2, 4]), ([0, 1], [2, 1, 4, 2])] {
            let places = doubled(Window::Three, parity);
            assert_eq!(places.iter().map(|p| p.taps.len()).collect::<Vec<_>>(), taps);
            let at: Vec<_> = places.iter().map(|p| [p.down, p.right - parity[1]]).collect();
            assert_eq!(at, [[0, 0], [0, 1], [1, 0], [1, 1]]);
        }
        assert_eq!(doubled(Window::One, [1, 1]).len(), 1);
    }
}
