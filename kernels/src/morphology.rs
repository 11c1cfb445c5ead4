//! Growing and shrinking masks. Non-zero is inside; results hold 0 and 1.
//!
//! Discs are Euclidean in millimetres, centre to centre: slices are far thicker than pixels, so
//! the slice axis is left alone. Elements are steps of one voxel, whatever its size.

use crate::components::Connectivity;
use crate::threads::{available, parallel_chunks};
use crate::{Grid, Volume};

/// Adds the voxels whose nearest centre of the mask in their slice is at most `radius_mm` away.
///
/// Each run of the mask marks the rows around it: work grows with the number of runs, not of voxels.
pub fn dilate_in_plane(mask: &Volume<u8>, radius_mm: f64) -> Volume<u8> {
    let [ni, nj, _] = mask.dims().counts();
    let reach = reach(mask.grid(), radius_mm);
    let mut grown = Volume::filled(*mask.grid(), 0u8);
    parallel_chunks(available(), grown.voxels_mut(), ni * nj, |k, to| {
        for (row, values) in mask.slice(k).chunks_exact(ni).enumerate() {
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
    });
    grown
}

/// For each row 0, 1, ... away: how many columns to each side the disc of `radius_mm` covers there.
pub(crate) fn reach(grid: &Grid, radius_mm: f64) -> Vec<usize> {
    let [ni, nj, _] = grid.dims.counts();
    let [across, down, _] = grid.affine.spacing();
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

/// A structuring element of 3 x 3 x 3 voxels at most: a voxel and its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    pub connectivity: Connectivity,
    /// The axes along which neighbours count.
    pub along: [bool; 3],
}

impl Element {
    /// All neighbours by `connectivity`.
    pub fn new(connectivity: Connectivity) -> Element {
        Element { connectivity, along: [true; 3] }
    }

    /// Whether the neighbour that many voxels away belongs to the element.
    pub fn holds(&self, away: [isize; 3]) -> bool {
        let axes = away.iter().filter(|&&step| step != 0).count();
        let along = away.iter().zip(self.along).all(|(&step, along)| step == 0 || along);
        along && (axes == 0 || self.connectivity.admits(axes))
    }

    /// Its rows: steps along `j` and `k`, and whether the voxels before and behind belong to it there.
    pub(crate) fn rows(self) -> Vec<(isize, isize, bool)> {
        let steps = (-1..=1).flat_map(|dk| (-1..=1).map(move |dj| (dj, dk)));
        let rows = steps.filter(|&(dj, dk)| self.holds([0, dj, dk]));
        rows.map(|(dj, dk)| (dj, dk, self.holds([1, dj, dk]))).collect()
    }
}

/// Removes the voxels whose element is not wholly inside; beyond the volume is outside.
pub fn erode(mask: &Volume<u8>, element: Element) -> Volume<u8> {
    swept(mask, element, 1, |all, one| all & one)
}

/// Adds the voxels of the element around each voxel of the mask.
pub fn dilate(mask: &Volume<u8>, element: Element) -> Volume<u8> {
    swept(mask, element, 0, |any, one| any | one)
}

/// Volumes of fewer voxels are swept on one thread: it takes less than a millisecond.
const SMALL: usize = 1 << 19;

/// Gathers the element of every voxel with `gather`, from `start`; voxels beyond the volume are 0.
///
/// Whole rows are gathered at once, so that the compiler can take many voxels an instruction.
fn swept(
    mask: &Volume<u8>,
    element: Element,
    start: u8,
    gather: impl Fn(u8, u8) -> u8 + Sync,
) -> Volume<u8> {
    let [ni, nj, nk] = mask.dims().counts();
    let threads = if mask.dims().voxels() < SMALL { 1 } else { available() };
    let inside = mask.map(|v| u8::from(v != 0));
    let rows = element.rows();
    let outside = vec![0; ni];
    let mut result = Volume::filled(*mask.grid(), start);
    parallel_chunks(threads, result.voxels_mut(), ni * nj, |k, slice| {
        for (j, to) in slice.chunks_exact_mut(ni).enumerate() {
            for &(dj, dk, beside) in &rows {
                let at = j.checked_add_signed(dj).zip(k.checked_add_signed(dk));
                let from = match at.filter(|&(j, k)| j < nj && k < nk) {
                    Some((j, k)) => &inside.voxels()[(j + nj * k) * ni..][..ni],
                    None => &outside,
                };
                let over = |to: &mut [u8], from: &[u8]| {
                    to.iter_mut().zip(from).for_each(|(to, &from)| *to = gather(*to, from));
                };
                over(to, from);
                if beside {
                    over(&mut to[1..], &from[..ni - 1]);
                    over(&mut to[..ni - 1], &from[1..]);
                    to[0] = gather(to[0], 0);
                    to[ni - 1] = gather(to[ni - 1], 0);
                }
            }
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Affine, Dims};

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
