//! Holes in the structures of a label map: found here, filled by the caller.

use crate::components::{Bounds, Connectivity, crop, label};
use crate::{Dims, Volume};

/// Memory offsets, ascending, of the background voxels (0) that no path through faces leads out of: every
/// way to the edge of the volume crosses a voxel of `value`. Voxels of other structures count as open space
/// and are not returned, as in SPINEPS (TPTBox `np_fill_holes`).
pub fn holes(map: &Volume<u8>, value: u8) -> Vec<usize> {
    // Outside the box of the structure nothing is enclosed by it, and the box's own edge is open.
    let Some(bounds) = Bounds::of(map, |v| v == value) else { return Vec::new() };
    let part = crop(map, bounds);
    enclosed(&part, value, 3).into_iter().map(|index| place(map.dims(), bounds, index)).collect()
}

/// As [`holes`], each slice (fixed `k`) by itself: paths run through the 4 in-plane neighbours.
pub fn holes_in_slices(map: &Volume<u8>, value: u8) -> Vec<usize> {
    let Some(bounds) = Bounds::of(map, |v| v == value) else { return Vec::new() };
    let mut found = Vec::new();
    for k in bounds.min[2]..=bounds.max[2] {
        let mut slice = bounds;
        (slice.min[2], slice.max[2]) = (k, k);
        let part = crop(map, slice);
        let inside = enclosed(&part, value, 2);
        found.extend(inside.into_iter().map(|index| place(map.dims(), slice, index)));
    }
    found
}

/// Indices of the enclosed background voxels; a component of open space is enclosed when it touches no edge
/// along the first `axes` axes.
fn enclosed(map: &Volume<u8>, value: u8, axes: usize) -> Vec<[usize; 3]> {
    let dims = map.dims();
    let open = label(&map.map(|v| u8::from(v != value)), Connectivity::Faces6);
    let closed: Vec<bool> = open
        .parts
        .iter()
        .map(|p| (0..axes).all(|a| p.min[a] > 0 && p.max[a] + 1 < dims.counts()[a]))
        .collect();
    let voxels = open.labels.voxels().iter().zip(map.voxels()).enumerate();
    voxels
        .filter(|&(_, (&n, &v))| v == 0 && n != 0 && closed[n as usize - 1])
        .map(|(offset, _)| dims.index(offset))
        .collect()
}

fn place(dims: Dims, bounds: Bounds, index: [usize; 3]) -> usize {
    dims.offset(std::array::from_fn(|axis| bounds.min[axis] + index[axis]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Affine, Grid};

    fn cube(counts: [usize; 3], voxels: Vec<u8>) -> Volume<u8> {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        Volume::new(Grid { dims: Dims::new(counts).unwrap(), affine }, voxels).unwrap()
    }

    #[test]
    fn centre_of_a_shell_is_a_hole_and_a_ring_is_one_in_its_slice_only() {
        let mut voxels = vec![7; 27];
        voxels[13] = 0;
        assert_eq!(holes(&cube([3, 3, 3], voxels.clone()), 7), [13]);
        voxels[4] = 0;
        let open = cube([3, 3, 3], voxels);
        assert_eq!(holes(&open, 7), []);
        assert_eq!(holes_in_slices(&open, 7), [4, 13]);
    }

    #[test]
    fn other_structures_are_not_filled() {
        let mut voxels = vec![7; 27];
        voxels[13] = 3;
        assert_eq!(holes(&cube([3, 3, 3], voxels), 7), []);
    }
}
