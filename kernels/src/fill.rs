//! Holes in the structures of a label map, in slices and in the volume: found here, filled by the caller.

use crate::Volume;
use crate::components::{Bounds, Connectivity, crop, pieces};

/// Memory offsets, ascending, of the background voxels (0) that no path through the 4 in-plane neighbours leads out of:
/// every way to the edge of the slice (fixed `k`) crosses a voxel of `value`. Voxels of other structures count as open
/// space and are not returned, as in SPINEPS (TPTBox `np_fill_holes`).
pub fn holes_in_slices(map: &Volume<u8>, value: u8) -> Vec<usize> {
    // Outside the box of the structure nothing is enclosed by it, and the box's own edge is open.
    let Some(bounds) = Bounds::of(map, |v| v == value) else { return Vec::new() };
    let mut found = Vec::new();
    for k in bounds.min[2]..=bounds.max[2] {
        let mut slice = bounds;
        (slice.min[2], slice.max[2]) = (k, k);
        let part = crop(map, slice);
        let Some(inner) = Bounds::of(&part, |v| v == value) else { continue };
        let inside = enclosed(&crop(&part, inner), value, 2);
        let place = |index: [usize; 3]| {
            map.dims().offset(std::array::from_fn(|a| slice.min[a] + inner.min[a] + index[a]))
        };
        found.extend(inside.into_iter().map(place));
    }
    found
}

/// Memory offsets, ascending, of the background voxels (0) that no path through the 6 neighbours leads out of: every way to
/// the edge of the volume crosses a voxel of `value`. Voxels of other structures count as open space and are not returned.
pub fn holes(map: &Volume<u8>, value: u8) -> Vec<usize> {
    let Some(bounds) = Bounds::of(map, |v| v == value) else { return Vec::new() };
    let place = |index: [usize; 3]| {
        map.dims().offset(std::array::from_fn(|axis| bounds.min[axis] + index[axis]))
    };
    enclosed(&crop(map, bounds), value, 3).into_iter().map(place).collect()
}

/// Indices of the enclosed background voxels of a box around all of `value`; a component of open space is enclosed when it
/// touches no edge along the first `axes` axes.
fn enclosed(map: &Volume<u8>, value: u8, axes: usize) -> Vec<[usize; 3]> {
    let dims = map.dims();
    let open = pieces(&map.map(|v| u8::from(v != value)), Connectivity::Faces6);
    let closed: Vec<bool> = open
        .parts
        .iter()
        .map(|p| (0..axes).all(|a| p.min[a] > 0 && p.max[a] + 1 < dims.counts()[a]))
        .collect();
    let runs = open.runs().filter(|&(number, _)| closed[number as usize - 1]);
    let background = runs.flat_map(|(_, range)| range).filter(|&offset| map.voxels()[offset] == 0);
    background.map(|offset| dims.index(offset)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Affine, Dims, Grid};

    fn cube(counts: [usize; 3], voxels: Vec<u8>) -> Volume<u8> {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        Volume::new(Grid { dims: Dims::new(counts).unwrap(), affine }, voxels).unwrap()
    }

    #[test]
    fn the_inside_of_a_ring_is_a_hole_of_its_slice() {
        let mut voxels = vec![7; 27];
        voxels[13] = 0;
        voxels[4] = 0;
        voxels[21] = 0;
        assert_eq!(holes_in_slices(&cube([3, 3, 3], voxels), 7), [4, 13]);
    }

    #[test]
    fn other_structures_are_not_filled() {
        let mut voxels = vec![7; 27];
        voxels[13] = 3;
        assert_eq!(holes_in_slices(&cube([3, 3, 3], voxels), 7), []);
    }
}
