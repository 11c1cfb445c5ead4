//! Growing and shrinking masks. Non-zero is inside; results hold 0 and 1.
//!
//! Discs are Euclidean in millimetres, centre to centre: slices are far thicker than pixels, so the
//! in-plane forms leave the slice axis alone.

use crate::Volume;
use crate::distance::squared_mm_in_plane;

/// Keeps the voxels whose nearest background centre in their slice is farther than `radius_mm`. Outside the
/// grid there is no background.
pub fn erode_in_plane(mask: &Volume<u8>, radius_mm: f64) -> Volume<u8> {
    let limit = (radius_mm * radius_mm) as f32;
    squared_mm_in_plane(mask).map(|d| u8::from(d > limit))
}

/// Adds the voxels whose nearest centre of the mask in their slice is at most `radius_mm` away.
pub fn dilate_in_plane(mask: &Volume<u8>, radius_mm: f64) -> Volume<u8> {
    let limit = (radius_mm * radius_mm) as f32;
    squared_mm_in_plane(&mask.map(|v| u8::from(v == 0))).map(|d| u8::from(d <= limit))
}

/// Adds the voxels that share a face with the mask.
pub fn dilate6(mask: &Volume<u8>) -> Volume<u8> {
    let [ni, _, _] = mask.dims().counts();
    let plane = mask.dims().plane();
    let mut grown = mask.map(|v| u8::from(v != 0));
    let (from, to) = (mask.voxels(), grown.voxels_mut());
    let mark = |to: &mut [u8], from: &[u8]| {
        to.iter_mut().zip(from).for_each(|(to, &from)| *to |= u8::from(from != 0));
    };
    for (from, to) in from.chunks_exact(ni).zip(to.chunks_exact_mut(ni)) {
        mark(&mut to[1..], from);
        mark(to, &from[1..]);
    }
    for (from, to) in from.chunks_exact(plane).zip(to.chunks_exact_mut(plane)) {
        mark(&mut to[ni..], from);
        mark(to, &from[ni..]);
    }
    mark(&mut to[plane..], from);
    mark(to, &from[plane..]);
    grown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Affine, Dims, Grid};

    #[test]
    fn radius_is_in_millimetres() {
        let axes = [[0.5, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        let grid = Grid { dims: Dims::new([5, 3, 1]).unwrap(), affine };
        let dot = Volume::new(grid, (0..15).map(|n| u8::from(n == 7)).collect()).unwrap();
        let grown = dilate_in_plane(&dot, 1.0);
        assert_eq!(grown.voxels(), [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(erode_in_plane(&grown, 0.4), grown);
        assert!(erode_in_plane(&grown, 2.0).voxels().iter().all(|&v| v == 0));
        let cross = dilate6(&dot);
        assert_eq!(cross.voxels(), [0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0]);
    }
}
