//! Growing masks. Non-zero is inside; results hold 0 and 1.
//!
//! Discs are Euclidean in millimetres, centre to centre: slices are far thicker than pixels, so
//! the slice axis is left alone.

use crate::Volume;

/// Adds the voxels whose nearest centre of the mask in their slice is at most `radius_mm` away.
///
/// Each run of the mask marks the rows around it: work grows with the number of runs, not of voxels.
pub fn dilate_in_plane(mask: &Volume<u8>, radius_mm: f64) -> Volume<u8> {
    let [ni, nj, _] = mask.dims().counts();
    let reach = reach(mask, radius_mm);
    let mut grown = Volume::filled(*mask.grid(), 0u8);
    let slices = mask.voxels().chunks_exact(ni * nj);
    for (from, to) in slices.zip(grown.voxels_mut().chunks_exact_mut(ni * nj)) {
        for (row, values) in from.chunks_exact(ni).enumerate() {
            for (first, end) in runs(values) {
                for (away, &wide) in reach.iter().enumerate() {
                    let (left, right) = (first.saturating_sub(wide), (end + wide).min(ni));
                    if row >= away {
                        to[(row - away) * ni + left..(row - away) * ni + right].fill(1);
                    }
                    if row + away < nj {
                        to[(row + away) * ni + left..(row + away) * ni + right].fill(1);
                    }
                }
            }
        }
    }
    grown
}

/// For each row 0, 1, ... away: how many columns to each side the disc of `radius_mm` covers there.
fn reach(mask: &Volume<u8>, radius_mm: f64) -> Vec<usize> {
    let [ni, nj, _] = mask.dims().counts();
    let [across, down, _] = mask.grid().affine.spacing();
    let limit = (radius_mm * radius_mm) as f32;
    let covers = |i: usize, j: usize| {
        let (x, y) = (i as f64 * across, j as f64 * down);
        (x * x + y * y) as f32 <= limit
    };
    let rows = (0..nj).take_while(|&j| covers(0, j));
    rows.map(|j| (1..ni).take_while(|&i| covers(i, j)).count()).collect()
}

/// First and end (behind the last) of each run of non-zero values.
fn runs(values: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let first = at + values[at..].iter().position(|&v| v != 0)?;
        let length = values[first..].iter().position(|&v| v == 0);
        at = length.map_or(values.len(), |length| first + length);
        Some((first, at))
    })
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
