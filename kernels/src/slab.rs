//! Slabs of slices as a 2.5-D net wants them: averaged to the trained pitch, padded, gathered with their neighbours,
//! brought to the intensities of the training.

use crate::{Volume, statistics};

/// How intensities become the net's input, slab by slab (the slices the net sees at once): clip to two percentiles of the
/// slab, then subtract the mean and divide by the standard deviation of what is above `low + foreground * (high - low)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    pub low_percentile: f64,
    pub high_percentile: f64,
    pub foreground: f64,
}

/// What the percentiles and moments of one slab make of its values: `(clamp(value, low, high) - mean) * scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    pub low: f32,
    pub high: f32,
    pub mean: f32,
    pub scale: f32,
}

/// What lies beyond the image: nothing that could give a signal, as in training; the minimum of an image with values below it.
/// The least value of a magnitude image would be about the same, but is known only when the last slice has come.
pub const AIR: f32 = 0.0;

/// How slices become slabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Slices averaged to one, and the distance of the channels.
    pub stride: usize,
    /// Channels to each side of the labelled slice.
    pub context: usize,
    /// Columns and rows of a channel, at least those of the image; beyond them lies [`AIR`].
    pub padded: [usize; 2],
}

impl Layout {
    pub fn channels(&self) -> usize {
        2 * self.context + 1
    }

    pub fn plane(&self) -> usize {
        self.padded[0] * self.padded[1]
    }

    /// For each channel of the slab about slice `k`, in the order of the slices or mirrored, its slice; `None` outside of
    /// `slices`.
    pub fn places(
        &self,
        k: usize,
        mirrored: bool,
        slices: usize,
    ) -> impl Iterator<Item = Option<usize>> {
        let Layout { stride, context, .. } = *self;
        (0..self.channels()).map(move |channel| {
            let steps = channel as isize - context as isize;
            let steps = if mirrored { -steps } else { steps };
            let at = k as isize + steps * stride as isize;
            usize::try_from(at).ok().filter(|&at| at < slices)
        })
    }
}

/// The averaged and padded slices of one image.
#[derive(Debug)]
pub struct Stack {
    layout: Layout,
    /// Columns fastest.
    slices: Vec<Vec<f32>>,
    /// A slice outside the series: [`AIR`] everywhere.
    outside: Vec<f32>,
}

impl Stack {
    pub fn new(image: &Volume<f32>, layout: Layout) -> Stack {
        let [columns, rows, count] = image.dims().counts();
        let lowest = image.voxels().iter().copied().fold(AIR, f32::min);
        let weights = weights(layout.stride);
        let slices = (0..count)
            .map(|k| {
                let mut slice = vec![lowest; layout.plane()];
                for row in 0..rows {
                    let target = &mut slice[row * layout.padded[0]..][..columns];
                    average_row(image, k, row, &weights, target);
                }
                slice
            })
            .collect();
        Stack { layout, slices, outside: vec![lowest; layout.plane()] }
    }

    /// Writes the slab about slice `k` to `tensor` (`[channels, padded rows, padded columns]`), normalised.
    pub fn gather(&self, k: usize, mirrored: bool, rule: &Normalisation, tensor: &mut [f32]) {
        let channels = tensor.chunks_exact_mut(self.outside.len());
        let places = self.layout.places(k, mirrored, self.slices.len());
        for (target, place) in channels.zip(places) {
            target.copy_from_slice(place.map_or(&self.outside, |at| &self.slices[at]));
        }
        normalise(tensor, self.layout.padded[0], rule);
    }
}

/// Every how many rows and columns the slab's intensities are looked at: its statistics do not change with more.
pub const SAMPLING: usize = 2;

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
fn weights(stride: usize) -> Vec<f32> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_are_centred_and_sum_to_one() {
        assert_eq!(weights(1), [1.0]);
        assert_eq!(weights(2), [0.25, 0.5, 0.25]);
        assert_eq!(weights(3), [1.0 / 3.0; 3]);
    }
}
