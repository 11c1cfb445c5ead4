//! Definition of what `crate::bits` counts: every voxel of the mask is asked.

use crate::Dims;
use crate::components::Bounds;

/// A block of classes in a mask.
#[derive(Debug, Clone)]
pub struct Block {
    pub place: Bounds,
    /// First axis fastest.
    pub classes: Vec<u8>,
}

/// The voxels of one class of a block.
pub type Set<'a> = (&'a Block, u8);

fn holds((block, class): Set, index: [usize; 3]) -> bool {
    let Bounds { min, max } = block.place;
    let inside = (0..3).all(|axis| (min[axis]..=max[axis]).contains(&index[axis]));
    let [ni, nj, _] = [0, 1, 2].map(|axis| max[axis] + 1 - min[axis]);
    inside && {
        let [i, j, k] = [0, 1, 2].map(|axis| index[axis] - min[axis]);
        block.classes[i + ni * (j + nj * k)] == class
    }
}

/// Offsets in the mask of the voxels that at least `least` of `sets` hold.
pub fn votes(dims: Dims, sets: &[Set], least: usize) -> Vec<usize> {
    let votes =
        |offset: &usize| sets.iter().filter(|set| holds(**set, dims.index(*offset))).count();
    (0..dims.voxels()).filter(|offset| votes(offset) >= least).collect()
}

/// How many voxels both sets hold.
pub fn shared(dims: Dims, a: Set, b: Set) -> usize {
    votes(dims, &[a, b], 2).len()
}
