//! Definition of `crate::fill`: flood the open space from the edges; what stays dry is a hole.

use super::components::neighbours;
use crate::Volume;
use crate::components::Connectivity;

/// See [`crate::fill::holes_in_slices`].
pub fn holes_in_slices(map: &Volume<u8>, value: u8) -> Vec<usize> {
    dry(map, value, 2)
}

/// See [`crate::fill::holes`].
pub fn holes(map: &Volume<u8>, value: u8) -> Vec<usize> {
    dry(map, value, 3)
}

/// Background that a flood from the edges along the first `axes` axes does not reach along them.
fn dry(map: &Volume<u8>, value: u8, axes: usize) -> Vec<usize> {
    let dims = map.dims();
    let counts = dims.counts();
    let mut wet: Vec<bool> = vec![false; dims.voxels()];
    let mut open: Vec<[usize; 3]> = (0..dims.voxels())
        .map(|offset| dims.index(offset))
        .filter(|index| (0..axes).any(|a| index[a] == 0 || index[a] + 1 == counts[a]))
        .collect();
    while let Some(index) = open.pop() {
        let at = dims.offset(index);
        if map.voxels()[at] == value || std::mem::replace(&mut wet[at], true) {
            continue;
        }
        let next = neighbours(dims, index, Connectivity::Faces6);
        open.extend(next.filter(|n| (axes..3).all(|a| n[a] == index[a])));
    }
    (0..dims.voxels()).filter(|&at| map.voxels()[at] == 0 && !wet[at]).collect()
}
