//! The semantic pass: every slice with its neighbours through the net, logits -> class map and confidence.

use crate::card::Normalisation;
use crate::net::{Net, NetError, TensorMut, TensorRef};
use crate::prepare::Prepared;
use kernels::{Volume, statistics};

/// Slices in flight: two keep both cores of the smallest box busy, and more would only cost memory.
const BATCH: usize = 2;

/// What the net says, on the working grid.
#[derive(Debug)]
pub struct ClassMap {
    /// Class index of the card, 0 background.
    pub classes: Volume<u8>,
    /// Mean softmax probability of the winning class over the voxels that are not background.
    pub confidence: f32,
}

/// Runs `net` over all slices of `prepared`.
pub fn classify(prepared: &Prepared, net: &mut dyn Net) -> Result<ClassMap, NetError> {
    let card = net.card().clone();
    let grid = *prepared.image.grid();
    let [columns, rows, slices] = grid.dims.counts();
    let padded = [columns, rows].map(|n| n.next_multiple_of(card.multiple_of));
    let stack = Stack::new(&prepared.image, prepared.stride, card.context, padded);
    let orders: &[bool] = if card.mirror_slices { &[false, true] } else { &[false] };

    let plane = padded[0] * padded[1];
    let (channels, classes) = (2 * card.context + 1, card.classes.len());
    let mut input = vec![0.0; BATCH * orders.len() * channels * plane];
    let mut logits = vec![0.0; BATCH * orders.len() * classes * plane];
    let mut map = vec![0u8; grid.dims.voxels()];
    let mut certainty = Certainty::default();
    for first in (0..slices).step_by(BATCH) {
        let batch = BATCH.min(slices - first);
        let n = batch * orders.len();
        for (item, tensor) in input.chunks_exact_mut(channels * plane).take(n).enumerate() {
            stack.gather(first + item / orders.len(), orders[item % orders.len()], tensor);
            normalise(tensor, padded[0], &card.normalisation);
        }
        net.run(
            TensorRef {
                shape: [n, channels, padded[1], padded[0]],
                values: &input[..n * channels * plane],
            },
            TensorMut {
                shape: [n, classes, padded[1], padded[0]],
                values: &mut logits[..n * classes * plane],
            },
        )?;
        for item in 0..batch {
            let scores =
                &logits[item * orders.len() * classes * plane..][..orders.len() * classes * plane];
            let out = &mut map[(first + item) * columns * rows..][..columns * rows];
            decide(scores, orders.len(), classes, padded, [columns, rows], out, &mut certainty);
        }
    }
    let classes = Volume::new(grid, map).expect("one class a voxel of the working grid");
    Ok(ClassMap { classes, confidence: certainty.mean() })
}

/// The slices as the net wants them: averaged to the trained pitch, padded to its multiple.
struct Stack {
    /// Padded slices, columns fastest.
    slices: Vec<Vec<f32>>,
    /// A slice outside the series: its minimum everywhere.
    outside: Vec<f32>,
    stride: usize,
    context: usize,
}

impl Stack {
    fn new(image: &Volume<f32>, stride: usize, context: usize, padded: [usize; 2]) -> Stack {
        let [columns, rows, count] = image.dims().counts();
        let lowest = image.voxels().iter().copied().fold(f32::INFINITY, f32::min);
        let weights = slab_weights(stride);
        let slices = (0..count)
            .map(|k| {
                let mut slice = vec![lowest; padded[0] * padded[1]];
                for row in 0..rows {
                    let target = &mut slice[row * padded[0]..][..columns];
                    average_row(image, k, row, &weights, target);
                }
                slice
            })
            .collect();
        Stack { slices, outside: vec![lowest; padded[0] * padded[1]], stride, context }
    }

    /// The `2 * context + 1` channels of slice `k`, in the order of the slices or mirrored.
    fn gather(&self, k: usize, mirrored: bool, tensor: &mut [f32]) {
        let plane = self.outside.len();
        for (channel, target) in tensor.chunks_exact_mut(plane).enumerate() {
            let steps = channel as isize - self.context as isize;
            let steps = if mirrored { -steps } else { steps };
            let at = k as isize + steps * self.stride as isize;
            let slice = usize::try_from(at).ok().and_then(|at| self.slices.get(at));
            target.copy_from_slice(slice.unwrap_or(&self.outside));
        }
    }
}

/// Every how many rows and columns the slab's intensities are looked at: its statistics do not change with more.
const SAMPLING: usize = 2;

/// Brings the slab of one labelled slice, rows of `columns`, to the intensities the net was trained with. Its own slices
/// alone decide, so that a slice can be labelled before the exam is complete.
fn normalise(slab: &mut [f32], columns: usize, rule: &Normalisation) {
    let rows = slab.chunks_exact(columns).step_by(SAMPLING);
    let mut sample: Vec<f32> = rows.flat_map(|row| row.iter().step_by(SAMPLING)).copied().collect();
    let limits = statistics::percentiles(&sample, &[rule.low_percentile, rule.high_percentile]);
    let (low, high) = (limits[0], limits[1]);
    sample.iter_mut().for_each(|value| *value = value.clamp(low, high));
    let threshold = low + rule.foreground as f32 * (high - low);
    // A slab outside of the patient may be flat: it becomes zero.
    let spread = statistics::mean_deviation_above(&sample, threshold);
    let (mean, deviation) = spread.unwrap_or((f64::from(low), 0.0));
    let (mean, scale) = (mean as f32, if deviation > 0.0 { (1.0 / deviation) as f32 } else { 0.0 });
    slab.iter_mut().for_each(|value| *value = (value.clamp(low, high) - mean) * scale);
}

/// Weights of the slices `-r..=r` that make one slab of `stride` slices about its centre slice; an even slab takes half
/// of its two outer ones, so that it stays centred.
fn slab_weights(stride: usize) -> Vec<f32> {
    let radius = stride / 2;
    let mut weights = vec![1.0 / stride as f32; 2 * radius + 1];
    if stride.is_multiple_of(2) {
        weights[0] /= 2.0;
        weights[2 * radius] /= 2.0;
    }
    weights
}

/// One row of the slab about slice `k`; beyond the series the outermost slice repeats.
fn average_row(image: &Volume<f32>, k: usize, row: usize, weights: &[f32], target: &mut [f32]) {
    let [columns, _, count] = image.dims().counts();
    target.fill(0.0);
    for (step, weight) in weights.iter().enumerate() {
        let at = (k + step).saturating_sub(weights.len() / 2).min(count - 1);
        let source = &image.slice(at)[row * columns..][..columns];
        for (sum, value) in target.iter_mut().zip(source) {
            *sum += weight * value;
        }
    }
}

/// Sums the winning probabilities.
#[derive(Default)]
struct Certainty {
    sum: f64,
    voxels: usize,
}

impl Certainty {
    fn mean(&self) -> f32 {
        if self.voxels == 0 { 0.0 } else { (self.sum / self.voxels as f64) as f32 }
    }
}

/// Class of each pixel of one slice: the largest logit, summed over the passes. `scores` is
/// `[passes, classes, padded rows, padded columns]`; ties go to the lower class.
fn decide(
    scores: &[f32],
    passes: usize,
    classes: usize,
    padded: [usize; 2],
    [columns, rows]: [usize; 2],
    out: &mut [u8],
    certainty: &mut Certainty,
) {
    let plane = padded[0] * padded[1];
    // Row by row and class by class: memory is read in order, and the loops over columns are vectors.
    let mut sums = vec![0.0f32; classes * columns];
    let mut top = vec![0.0f32; columns];
    for (row, out) in out.chunks_exact_mut(columns).take(rows).enumerate() {
        let line = |pass: usize, class: usize| {
            &scores[(pass * classes + class) * plane + row * padded[0]..][..columns]
        };
        for (class, sums) in sums.chunks_exact_mut(columns).enumerate() {
            sums.copy_from_slice(line(0, class));
            for pass in 1..passes {
                sums.iter_mut().zip(line(pass, class)).for_each(|(sum, score)| *sum += score);
            }
        }
        largest(&sums, out, &mut top);
        for (column, _) in out.iter().enumerate().filter(|(_, class)| **class != 0) {
            let scores = sums.iter().skip(column).step_by(columns);
            let others: f32 = scores.map(|s| ((s - top[column]) / passes as f32).exp()).sum();
            certainty.sum += f64::from(1.0 / others);
            certainty.voxels += 1;
        }
    }
}

/// The class with the largest of `sums` (`[classes, columns]`) for every column, and that sum.
fn largest(sums: &[f32], best: &mut [u8], top: &mut [f32]) {
    let columns = top.len();
    best.fill(0);
    top.copy_from_slice(&sums[..columns]);
    for (class, sums) in sums.chunks_exact(columns).enumerate().skip(1) {
        for ((best, top), &sum) in best.iter_mut().zip(top.iter_mut()).zip(sums) {
            let better = sum > *top;
            *best = if better { class as u8 } else { *best };
            *top = if better { sum } else { *top };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_are_centred_and_sum_to_one() {
        assert_eq!(slab_weights(1), [1.0]);
        assert_eq!(slab_weights(2), [0.25, 0.5, 0.25]);
        assert_eq!(slab_weights(3), [1.0 / 3.0; 3]);
    }

    #[test]
    fn ties_go_to_the_lower_class() {
        let (mut best, mut top) = ([9; 2], [0.0; 2]);
        largest(&[1.0, 3.0, 2.0, 3.0, 2.0, 1.0], &mut best, &mut top);
        assert_eq!((best, top), ([1, 0], [2.0, 3.0]));
    }
}
