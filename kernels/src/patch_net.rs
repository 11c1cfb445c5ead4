//! A small fully connected net at every position of a window: 1024 values in, one score out, as a patch classifier is.
//!
//! **Definition**: every layer is a sum from its bias on, then 1 / (1 + e^-x). Patches are never written out: a layer reads
//! where its values lie. What the scores mean, and what the image has to be like, is the caller's business.

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
    /// The weights of each layer in the order in which they are used: for each block of outputs those of each input.
    packed: Vec<Vec<[f32; BLOCK]>>,
}

/// Outputs and positions whose sums are built at once: their 64 values stay in registers.
const BLOCK: usize = 16;
const GROUP: usize = 4;

/// Where the values of one position lie: at `base`, which is its own, plus `offset`, which all have.
struct Reading<'a> {
    source: &'a [f32],
    bases: &'a [usize],
    offsets: &'a [usize],
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
        let packed = layers.iter().map(packed).collect();
        Ok(PatchNet { side, layers, packed })
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

    /// The scores at every position of a slice of `columns`: `[rows of positions, columns of positions, outputs]`.
    pub fn scores(&self, slice: &[f32], columns: usize, stride: usize, threads: usize) -> Vec<f32> {
        let [across, down] = self.positions([columns, slice.len() / columns.max(1)], stride);
        let window = self.side * self.side;
        let offsets: Vec<usize> =
            (0..window).map(|n| n / self.side * columns + n % self.side).collect();
        let mut scores = vec![0.0; across * down * self.outputs()];
        parallel_chunks(threads, &mut scores, across * self.outputs(), |row, scores| {
            let bases: Vec<usize> =
                (0..across).map(|column| (row * columns + column) * stride).collect();
            let first = Reading { source: slice, bases: &bases, offsets: &offsets };
            let mut values = self.layer(0, &first);
            for (n, layer) in self.layers.iter().enumerate().skip(1) {
                let inputs = layer.weights.len() / layer.bias.len();
                let bases: Vec<usize> = (0..across).map(|position| position * inputs).collect();
                let offsets: Vec<usize> = (0..inputs).collect();
                let reading = Reading { source: &values, bases: &bases, offsets: &offsets };
                values = self.layer(n, &reading);
            }
            scores.copy_from_slice(&values);
        });
        scores
    }

    /// What layer `n` makes of every position: `[positions, outputs]`.
    fn layer(&self, n: usize, reading: &Reading) -> Vec<f32> {
        let bias = &self.layers[n].bias;
        let mut out = vec![0.0; reading.bases.len() * bias.len()];
        let groups = reading.bases.chunks(GROUP).zip(out.chunks_mut(GROUP * bias.len()));
        for (bases, out) in groups {
            // A short group counts its last position several times.
            let bases = std::array::from_fn(|n| bases[n.min(bases.len() - 1)]);
            for (block, weights) in self.packed[n].chunks_exact(reading.offsets.len()).enumerate() {
                let sums = sums(reading, bases, weights);
                let outputs = block * BLOCK..bias.len().min((block + 1) * BLOCK);
                for (out, sums) in out.chunks_exact_mut(bias.len()).zip(sums) {
                    let values = out[outputs.clone()].iter_mut().zip(&bias[outputs.clone()]);
                    values.zip(sums).for_each(|((out, bias), sum)| *out = sigmoid(bias + sum));
                }
            }
        }
        out
    }
}

/// Weighted sums of the values at four positions, for one block of outputs.
fn sums(
    reading: &Reading,
    bases: [usize; GROUP],
    weights: &[[f32; BLOCK]],
) -> [[f32; BLOCK]; GROUP] {
    let mut sums = [[0.0; BLOCK]; GROUP];
    for (weights, offset) in weights.iter().zip(reading.offsets) {
        for (sums, base) in sums.iter_mut().zip(bases) {
            let value = reading.source[base + offset];
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
        }
    }
    sums
}

fn packed(layer: &Layer) -> Vec<[f32; BLOCK]> {
    let inputs = layer.weights.len() / layer.bias.len();
    let rows: Vec<&[f32]> = layer.weights.chunks_exact(inputs).collect();
    let block = |rows: &[&[f32]]| -> Vec<[f32; BLOCK]> {
        let of = |input: usize| std::array::from_fn(|n| rows.get(n).map_or(0.0, |row| row[input]));
        (0..inputs).map(of).collect()
    };
    rows.chunks(BLOCK).flat_map(block).collect()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
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
        assert_eq!(net.scores(&[0.0; 21], 7, 2, 1), [0.5; 3]);
        assert!(net.scores(&[], 0, 1, 1).is_empty());
    }
}
