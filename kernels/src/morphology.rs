//! Growing masks. Non-zero is inside; results hold 0 and 1.
//!
//! Discs are Euclidean in millimetres, centre to centre: slices are far thicker than pixels, so
//! the slice axis is left alone.

use crate::Volume;
use crate::distance::squared_mm_in_plane;

/// Adds the voxels whose nearest centre of the mask in their slice is at most `radius_mm` away.
pub fn dilate_in_plane(mask: &Volume<u8>, radius_mm: f64) -> Volume<u8> {
    let limit = (radius_mm * radius_mm) as f32;
    squared_mm_in_plane(&mask.map(|v| u8::from(v == 0))).map(|d| u8::from(d <= limit))
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
        assert_eq!(dilate_in_plane(&dot, 0.4), dot);
    }
}
