//! See [`crate::decision`].

use super::call::part_of;
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

/// The class map of some slices, and the sums that tell how sure it is.
#[derive(Debug)]
pub struct Decided {
    /// `[items, rows, columns]`.
    pub map: Array<u8>,
    /// Sum and number of each block.
    sums: Array<[f64; 2]>,
}

impl Decided {
    /// The sum of the blocks in their order, once everything launched before is done.
    pub fn certainty(&self, on: &dyn Launcher) -> Result<Certainty, DeviceError> {
        let mut certainty = Certainty::default();
        for [sum, voxels] in self.sums.download(on)? {
            certainty.add(Certainty { sum, voxels: voxels as usize });
        }
        Ok(certainty)
    }
}

/// Columns and rows that a block decides: `decision.cu`.
const PART: [usize; 2] = part_of(1, 4);

/// The class map of `items` slices.
pub fn decide(
    on: &dyn Launcher,
    scores: &Array<f32>,
    layout: &Layout,
) -> Result<Decided, DeviceError> {
    let Layout { items, passes, classes, padded, kept } = *layout;
    let counts = [kept[0], kept[1], items];
    let blocks = Shape::tiles(counts, PART).blocks.iter().product::<u32>() as usize;
    let mut map = Array::new(on, counts.iter().product())?;
    let mut sums = Array::<[f64; 2]>::new(on, blocks)?;
    Call::of("decide")
        .read(scores)
        .write(&mut map)
        .write(&mut sums)
        .counts([passes, classes, padded[0]])
        .counts([padded[1], kept[0], kept[1]])
        .tiles(on, counts, PART)?;
    Ok(Decided { map, sums })
}
