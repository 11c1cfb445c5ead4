//! A small fully connected net at every position of a window: 1024 values in, one score out, as a patch classifier is.
//!
//! **Definition** ([`crate::reference::patch_net`]): every layer is a sum from its bias on, then 1 / (1 + e^-x). [`Sweep`] comes
//! within 1e-5 of it, with the same bits on every instruction set, for finite images. Patches are never written out: a layer
//! reads where its values lie. What the scores mean is the caller's business.
//!
//! Nearly all the work is the first layer, and windows that overlap share products. A window is cut into groups of `stride`
//! rows, `g0, g1 ..`, and the windows that begin at groups `d0` and `d1` of the image are, group by group,
//!
//! | sum | rows      | weights   | window at `d0` | window at `d1` |
//! |-----|-----------|-----------|----------------|----------------|
//! | m0  | `d0 - d1` | `g0`      | +              |                |
//! | m1  | `d1`      | `g0 + g1` | +              | +              |
//! | m2  | `d1 - d2` | `-g1`     |                | +              |
//!
//! three products where there were four (Karatsuba's). Each of the three is again a sum over every second group, so the same
//! is done to it with the windows two groups further: nine products for four windows where there were sixteen.

use crate::conv::InstructionSet;
use crate::conv::planes::{PIXELS, Segment, Sums, logistic};
use crate::threads::parallel_chunks;
use thiserror::Error;

/// Why layers do not make a net.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShapeError {
    #[error("a net without layers")]
    NoLayers,
    #[error("layer {layer} has {weights} weights and {bias} biases, for {inputs} values each")]
    Layer { layer: usize, inputs: usize, weights: usize, bias: usize },
}

/// One layer: `weights` are `[outputs, inputs]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
}

/// A net over a square window.
#[derive(Debug, Clone)]
pub struct PatchNet {
    side: usize,
    layers: Vec<Layer>,
}

impl PatchNet {
    /// The first layer takes a window of `side * side` values, rows first, the others what the one before gives.
    pub fn new(side: usize, layers: Vec<Layer>) -> Result<PatchNet, ShapeError> {
        let mut inputs = side * side;
        for (layer, Layer { weights, bias }) in layers.iter().enumerate() {
            if inputs == 0 || bias.is_empty() || weights.len() != inputs * bias.len() {
                let (weights, bias) = (weights.len(), bias.len());
                return Err(ShapeError::Layer { layer, inputs, weights, bias });
            }
            inputs = bias.len();
        }
        if layers.is_empty() {
            return Err(ShapeError::NoLayers);
        }
        Ok(PatchNet { side, layers })
    }

    pub fn side(&self) -> usize {
        self.side
    }

    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Scores of one position.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.bias.len())
    }

    /// Positions along columns and rows of an image: every `stride` pixels where the window lies whole in it.
    pub fn positions(&self, image: [usize; 2], stride: usize) -> [usize; 2] {
        let along = |n: usize| n.checked_sub(self.side).map_or(0, |room| room / stride.max(1) + 1);
        if image.iter().any(|&n| along(n) == 0) { [0, 0] } else { image.map(along) }
    }
}

/// Rows of positions that share products.
const BAND: usize = 4;

/// Columns of positions that are computed together: what they need stays in a second-level cache.
const TILE: usize = 4 * PIXELS;

/// Chunks of bands per thread: a slow core keeps no other waiting.
const CHUNKS_PER_THREAD: usize = 4;

/// What m0, m1 and m2 read and weigh: the group that the first window's rows begin at, and the factors of `g0` and `g1`.
const TERMS: [(usize, [f32; 2]); 3] = [(0, [1.0, 0.0]), (1, [1.0, 1.0]), (1, [0.0, -1.0])];

/// Which of the three reads the image itself, not its differences.
const WHOLE: usize = 1;

/// One of the nine sums of the first layer.
#[derive(Debug, Clone)]
struct Part {
    /// Which image it reads: whether differences from group to group, and to the second next.
    image: usize,
    /// Rows of the image below the band's first position.
    rows: Vec<usize>,
    /// `[outputs][rows][phase][column of the phase]`.
    weights: Vec<f32>,
}

/// A net at every position of a slice, every `stride` pixels.
#[derive(Debug, Clone)]
pub struct Sweep {
    net: PatchNet,
    stride: usize,
    parts: Vec<Part>,
}

/// A slice in the form in which the first layer reads it.
struct Images {
    /// The slice, its differences from group to group, from each group to the second next, and of the differences the same.
    /// Of each row first every `stride`th pixel, then those one further, and so on: phases.
    values: [Vec<f32>; 4],
    /// Values of a phase of a row.
    phase: usize,
    /// Positions of the slice, across and down.
    positions: [usize; 2],
}

impl Sweep {
    /// A `stride` of 0 is taken as 1.
    pub fn new(net: PatchNet, stride: usize) -> Sweep {
        let stride = stride.max(1);
        let pairs = (0..TERMS.len()).flat_map(|a| (0..TERMS.len()).map(move |b| [a, b]));
        let parts = pairs.map(|terms| part(&net, stride, terms)).collect();
        Sweep { net, stride, parts }
    }

    pub fn net(&self) -> &PatchNet {
        &self.net
    }

    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The scores at every position of a slice of `columns`: `[rows of positions, columns of positions, outputs]`.
    pub fn scores(
        &self,
        set: InstructionSet,
        slice: &[f32],
        columns: usize,
        threads: usize,
    ) -> Vec<f32> {
        let size = [columns, slice.len() / columns.max(1)];
        let [across, down] = self.net.positions(size, self.stride);
        let images = self.images(slice, columns, [across, down]);
        let outputs = self.net.outputs();
        let mut scores = vec![0.0; across * down * outputs];
        let bands = down.div_ceil(BAND).div_ceil(threads.max(1) * CHUNKS_PER_THREAD);
        let band = BAND * across * outputs;
        parallel_chunks(threads, &mut scores, bands * band, |number, scores| {
            let mut memory = [Vec::new(), Vec::new()];
            for (n, scores) in scores.chunks_mut(band).enumerate() {
                let row = (number * bands + n) * BAND;
                for column in (0..across).step_by(TILE) {
                    let width = (across - column).min(TILE);
                    let values = self.tile(set, &images, [column, row], &mut memory);
                    let pixels = width.next_multiple_of(PIXELS);
                    for (row, scores) in scores.chunks_exact_mut(across * outputs).enumerate() {
                        let scores = &mut scores[column * outputs..][..width * outputs];
                        for (x, scores) in scores.chunks_exact_mut(outputs).enumerate() {
                            let values = values[row * pixels + x..].iter().step_by(BAND * pixels);
                            scores.iter_mut().zip(values).for_each(|(score, v)| *score = *v);
                        }
                    }
                }
            }
        });
        scores
    }

    /// What the net makes of a band from `[column, row]` on: `[outputs][BAND][pixels]`, the columns rounded up to [`PIXELS`].
    fn tile<'a>(
        &self,
        set: InstructionSet,
        images: &Images,
        [column, row]: [usize; 2],
        [values, next]: &'a mut [Vec<f32>; 2],
    ) -> &'a [f32] {
        let pixels = (images.positions[0] - column).min(TILE).next_multiple_of(PIXELS);
        self.first(set, images, [column, row], pixels, [&mut *values, &mut *next]);
        logistic(set, values);
        for layer in &self.net.layers[1..] {
            let count = layer.weights.len() / layer.bias.len();
            let pixels = BAND * pixels;
            next.resize(layer.bias.len() * pixels, 0.0);
            let sums = Sums {
                weights: &layer.weights,
                pitch: count,
                bias: &layer.bias,
                source: values,
                segments: &[Segment { start: 0, count, step: pixels }],
                pixels,
            };
            sums.run(set, next);
            logistic(set, next);
            std::mem::swap(values, next);
        }
        values
    }

    /// The sums of the first layer: `[outputs][BAND][pixels]` into the first of the buffers.
    fn first(
        &self,
        set: InstructionSet,
        images: &Images,
        [column, row]: [usize; 2],
        pixels: usize,
        [out, sums]: [&mut Vec<f32>; 2],
    ) {
        let bias = &self.net.layers[0].bias;
        let none = vec![0.0; bias.len()];
        let row_stride = self.stride * images.phase;
        let length = bias.len() * pixels;
        sums.resize(self.parts.len() * length, 0.0);
        for (number, (part, sums)) in
            self.parts.iter().zip(sums.chunks_exact_mut(length)).enumerate()
        {
            let segments: Vec<Segment> = part
                .rows
                .iter()
                .flat_map(|row| self.phases().map(move |phase| (row, phase)))
                .map(|(row, (phase, count))| Segment {
                    start: row * row_stride + phase * images.phase,
                    count,
                    step: 1,
                })
                .collect();
            // The sum that all windows of a band have in common begins with the bias.
            let common = number == WHOLE * TERMS.len() + WHOLE;
            let sum = Sums {
                weights: &part.weights,
                pitch: part.weights.len() / bias.len(),
                bias: if common { bias } else { &none },
                source: &images.values[part.image][row * self.stride * row_stride + column..],
                segments: &segments,
                pixels,
            };
            sum.run(set, sums);
        }
        out.resize(BAND * length, 0.0);
        let sum = |a: usize, b: usize| &sums[(a * TERMS.len() + b) * length..][..length];
        for row in 0..BAND {
            let (a, b) = (row % 2, row / 2);
            let upper = sum(a, b).chunks_exact(pixels).zip(sum(a, b + 1).chunks_exact(pixels));
            let lower =
                sum(a + 1, b).chunks_exact(pixels).zip(sum(a + 1, b + 1).chunks_exact(pixels));
            let out =
                out.chunks_exact_mut(BAND * pixels).map(|out| &mut out[row * pixels..][..pixels]);
            for ((out, (m0, m1)), (m2, m3)) in out.zip(upper).zip(lower) {
                for (n, out) in out.iter_mut().enumerate() {
                    *out = (m0[n] + m1[n]) + (m2[n] + m3[n]);
                }
            }
        }
    }

    /// The phases that a window reads, and how many columns of each.
    fn phases(&self) -> impl Iterator<Item = (usize, usize)> {
        phases(self.net.side, self.stride)
    }

    fn images(&self, slice: &[f32], columns: usize, positions: [usize; 2]) -> Images {
        let (side, stride) = (self.net.side, self.stride);
        let phase = positions[0].next_multiple_of(PIXELS) + side.div_ceil(stride);
        let rows = (positions[1].next_multiple_of(BAND) + groups(side, stride)) * stride;
        let row_stride = stride * phase;
        let mut plain = vec![0.0; rows * row_stride];
        for (to, from) in plain.chunks_exact_mut(row_stride).zip(slice.chunks_exact(columns.max(1)))
        {
            for (n, to) in to.chunks_exact_mut(phase).enumerate() {
                let from = from.iter().skip(n).step_by(stride);
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
        let less = |values: &[f32], groups: usize| -> Vec<f32> {
            let further = values[groups * stride * row_stride..].iter().copied();
            let further = further.chain(std::iter::repeat(0.0));
            values.iter().zip(further).map(|(value, further)| value - further).collect()
        };
        let [near, far] = [1, 2].map(|groups| less(&plain, groups));
        let both = less(&near, 2);
        Images { values: [plain, near, far, both], phase, positions }
    }
}

/// Groups of rows of a window: pairs of pairs, the last with rows below the window whose weights are zero.
fn groups(side: usize, stride: usize) -> usize {
    side.div_ceil(stride).next_multiple_of(BAND)
}

fn phases(side: usize, stride: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..stride.min(side)).map(move |phase| (phase, (side - phase).div_ceil(stride)))
}

/// The sum that is number `a` of the table for neighbouring windows and `b` for those two further.
fn part(net: &PatchNet, stride: usize, [a, b]: [usize; 2]) -> Part {
    let (side, Layer { weights, bias }) = (net.side, &net.layers[0]);
    let ((near, of_near), (far, of_far)) = (TERMS[a], TERMS[b]);
    let firsts = (0..groups(side, stride)).step_by(BAND);
    let tops: Vec<usize> =
        firsts.flat_map(|group| (0..stride).map(move |row| group * stride + row)).collect();
    let weight = |window: &[f32], top: usize, column: usize| -> f32 {
        let groups = (0..BAND).map(|group| (group, of_near[group % 2] * of_far[group / 2]));
        let terms = groups.map(|(group, factor)| {
            let row = top + group * stride;
            if row < side { factor * window[row * side + column] } else { 0.0 }
        });
        terms.sum()
    };
    let mut packed = Vec::with_capacity(bias.len() * tops.len() * side);
    for window in weights.chunks_exact(side * side) {
        for &top in &tops {
            for (phase, count) in phases(side, stride) {
                packed.extend((0..count).map(|n| weight(window, top, phase + n * stride)));
            }
        }
    }
    let image = usize::from(a != WHOLE) + 2 * usize::from(b != WHOLE);
    let rows = tops.iter().map(|top| top + (near + 2 * far) * stride).collect();
    Part { image, rows, weights: packed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_do_not_fit_are_refused() {
        let layer = |inputs: usize, outputs| Layer {
            weights: vec![0.0; inputs * outputs],
            bias: vec![0.0; outputs],
        };
        assert!(PatchNet::new(2, vec![layer(4, 3), layer(3, 1)]).is_ok());
        assert_eq!(PatchNet::new(2, vec![]).unwrap_err(), ShapeError::NoLayers);
        let error = PatchNet::new(2, vec![layer(4, 3), layer(4, 1)]).unwrap_err();
        assert_eq!(error, ShapeError::Layer { layer: 1, inputs: 3, weights: 4, bias: 1 });
        assert!(PatchNet::new(0, vec![layer(0, 3)]).is_err());
    }

    #[test]
    fn windows_lie_whole_in_the_image() {
        let layer = Layer { weights: vec![0.0; 9], bias: vec![0.0] };
        let net = PatchNet::new(3, vec![layer]).unwrap();
        assert_eq!(net.positions([7, 3], 2), [3, 1]);
        assert_eq!(net.positions([8, 2], 2), [0, 0]);
        let scalar = InstructionSet::SCALAR;
        assert_eq!(Sweep::new(net.clone(), 2).scores(scalar, &[0.0; 21], 7, 1), [0.5; 3]);
        assert!(Sweep::new(net, 1).scores(scalar, &[], 0, 1).is_empty());
    }
}
