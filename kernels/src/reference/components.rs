//! Definitions of `crate::components`: flood each component from its first voxel; collect each value by itself.

use crate::components::{Component, Components, Connectivity};
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

/// See [`crate::components::label`].
pub fn label(map: &Volume<u8>, connectivity: Connectivity) -> Components {
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
    Components { labels, parts }
}

/// See [`crate::components::occupied`].
pub fn occupied(map: &Volume<u8>) -> Vec<Component> {
    let of_value = |value: u8| {
        let offsets = (0..map.dims().voxels()).filter(|&offset| map.voxels()[offset] == value);
        let indices: Vec<[usize; 3]> = offsets.map(|offset| map.dims().index(offset)).collect();
        let along = |axis: usize| indices.iter().map(move |index| index[axis]);
        let first = *indices.first()?;
        Some(Component {
            value,
            voxels: indices.len(),
            min: [0, 1, 2].map(|axis| along(axis).min().unwrap_or(first[axis])),
            max: [0, 1, 2].map(|axis| along(axis).max().unwrap_or(first[axis])),
            sum: [0, 1, 2].map(|axis| along(axis).map(|at| at as u64).sum()),
        })
    };
    (1..=255).filter_map(of_value).collect()
}
