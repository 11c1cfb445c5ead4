//! See [`crate::decision`].

use super::{Array, Call, DeviceError, Launcher, Shape};
use crate::decision::Certainty;

/// How the scores of `items` slices lie; see [`crate::decision::Scores`].
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub items: usize,
    pub passes: usize,
    pub classes: usize,
    /// Columns and rows.
    pub padded: [usize; 2],
    pub kept: [usize; 2],
}

/// The class map of `items` slices, and their certainty: the sum of one launch's blocks in their order.
pub fn decide(
    on: &dyn Launcher,
    scores: &Array<f32>,
    layout: &Layout,
) -> Result<(Array<u8>, Certainty), DeviceError> {
    let Layout { items, passes, classes, padded, kept } = *layout;
    let voxels = items * kept[0] * kept[1];
    let shape = Shape::over(voxels);
    let blocks = shape.blocks[0] as usize;
    let mut map = Array::new(on, voxels)?;
    let (mut sums, mut counts) = (Array::<f64>::new(on, blocks)?, Array::<i32>::new(on, blocks)?);
    Call::of("decide")
        .read(scores)
        .write(&mut map)
        .write(&mut sums)
        .write(&mut counts)
        .counts([items, passes, classes])
        .counts([padded[0], padded[1], kept[0]])
        .count(kept[1])
        .launch(on, shape)?;
    let certainty = Certainty {
        sum: sums.download(on)?.iter().sum(),
        voxels: counts.download(on)?.iter().map(|&n| n as usize).sum(),
    };
    Ok((map, certainty))
}
