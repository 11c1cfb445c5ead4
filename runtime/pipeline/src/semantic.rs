//! The semantic pass: every slice with its neighbours through the net, logits -> class map and confidence.

use crate::net::{Net, NetError, TensorMut, TensorRef};
use crate::prepare::Prepared;
use kernels::Volume;
use kernels::decision::{Certainty, Scores, decide};
use kernels::slab::{Layout, Stack};

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
    let layout = Layout { stride: prepared.stride, context: card.context, padded };
    let stack = Stack::new(&prepared.image, layout);
    let orders: &[bool] = if card.mirror_slices { &[false, true] } else { &[false] };

    let (plane, channels, classes) = (layout.plane(), layout.channels(), card.classes.len());
    let mut input = vec![0.0; BATCH * orders.len() * channels * plane];
    let mut logits = vec![0.0; BATCH * orders.len() * classes * plane];
    let mut map = vec![0u8; grid.dims.voxels()];
    let mut certainty = Certainty::default();
    for first in (0..slices).step_by(BATCH) {
        let batch = BATCH.min(slices - first);
        let n = batch * orders.len();
        for (item, tensor) in input.chunks_exact_mut(channels * plane).take(n).enumerate() {
            let (k, mirrored) = (first + item / orders.len(), orders[item % orders.len()]);
            stack.gather(k, mirrored, &card.normalisation, tensor);
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
        let slices = logits.chunks_exact(orders.len() * classes * plane).take(batch);
        let maps = map[first * columns * rows..].chunks_exact_mut(columns * rows);
        for (values, out) in slices.zip(maps) {
            let scores = Scores { values, passes: orders.len(), classes, padded };
            certainty.add(decide(&scores, [columns, rows], out));
        }
    }
    let classes = Volume::new(grid, map).expect("one class a voxel of the working grid");
    Ok(ClassMap { classes, confidence: certainty.mean() })
}
