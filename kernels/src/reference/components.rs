//! Definition of `crate::components::label`: flood each component from its first voxel.

use crate::components::{Component, Connectivity};
use crate::{Dims, Volume};

/// The neighbours of a voxel inside the grid.
pub fn neighbours(
    dims: Dims,
    index: [usize; 3],
    connectivity: Connectivity,
) -> impl Iterator<Item = [usize; 3]> {
    let counts = dims.counts();
    (0..27usize).filter_map(move |n| {
        let step = [n % 3, n / 3 % 3, n / 9];
        let axes = step.iter().filter(|&&s| s != 1).count();
        let there: [usize; 3] = std::array::from_fn(|a| (index[a] + step[a]).wrapping_sub(1));
        let inside = (0..3).all(|a| there[a] < counts[a]);
        (axes > 0 && connectivity.admits(axes) && inside).then_some(there)
    })
}

/// See [`crate::components::label`]. Gives the number of each voxel's component from 1, 0 for the background, and the
/// components.
pub fn label(map: &Volume<u8>, connectivity: Connectivity) -> (Volume<u32>, Vec<Component>) {
    let dims = map.dims();
    let mut labels = Volume::filled(*map.grid(), 0u32);
    let mut parts = Vec::new();
    for offset in 0..dims.voxels() {
        let value = map.voxels()[offset];
        if value == 0 || labels.voxels()[offset] != 0 {
            continue;
        }
        let start = dims.index(offset);
        let mut part = Component { value, voxels: 0, min: start, max: start, sum: [0; 3] };
        let mut open = vec![start];
        labels.voxels_mut()[offset] = parts.len() as u32 + 1;
        while let Some(index) = open.pop() {
            part.voxels += 1;
            for (axis, at) in index.into_iter().enumerate() {
                part.min[axis] = part.min[axis].min(at);
                part.max[axis] = part.max[axis].max(at);
                part.sum[axis] += at as u64;
            }
            for next in neighbours(dims, index, connectivity) {
                let at = dims.offset(next);
                if map.voxels()[at] == value && labels.voxels()[at] == 0 {
                    labels.voxels_mut()[at] = parts.len() as u32 + 1;
                    open.push(next);
                }
            }
        }
        parts.push(part);
    }
    (labels, parts)
}
