//! What a net says in a window of a map -> what it says of the map's voxels, and of the window as a whole.
//!
//! Where a window lies and what its classes mean is the caller's business.

use crate::one_hot::Shown;
use std::ops::Range;

/// The scores of one window as a net leaves them: planes of rows and columns, first `[classes, slices]`, then `more`, each of
/// which tells one thing of the whole window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Columns, rows and slices.
    pub counts: [usize; 3],
    pub classes: usize,
    pub more: usize,
}

impl Layout {
    pub fn plane(&self) -> usize {
        self.counts[0] * self.counts[1]
    }

    pub fn voxels(&self) -> usize {
        self.counts.iter().product()
    }

    /// Planes of rows and columns.
    pub fn planes(&self) -> usize {
        self.classes * self.counts[2] + self.more
    }
}

/// Columns and rows of a plane over which its mean is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Around {
    pub columns: Range<usize>,
    pub rows: Range<usize>,
}

/// The class with the largest score at each of `voxels` of the map, of equal ones the lowest; 0 beyond the window. `nearest` has
/// for each column, row and slice of the map that of the window.
pub fn said(
    scores: &[f32],
    layout: &Layout,
    nearest: &Shown,
    voxels: impl Iterator<Item = [usize; 3]>,
) -> Vec<u8> {
    let ([columns, rows, _], volume) = (layout.counts, layout.voxels());
    let place = |[i, j, k]: [usize; 3]| {
        let (i, j, k) = (nearest[0][i]?, nearest[1][j]?, nearest[2][k]?);
        Some(i + columns * (j + rows * k))
    };
    let strongest = |place: usize| {
        let score = |class: usize| scores[class * volume + place];
        (1..layout.classes)
            .fold(0, |best, class| if score(class) > score(best) { class } else { best })
    };
    voxels.map(|index| place(index).map_or(0, |place| strongest(place) as u8)).collect()
}

/// The mean of each of the last planes, summed row by row in double precision.
pub fn means(scores: &[f32], layout: &Layout, around: &Around) -> Vec<f64> {
    let samples = (around.rows.len() * around.columns.len()) as f64;
    let planes = scores.chunks_exact(layout.plane());
    let planes = planes.skip(layout.classes * layout.counts[2]).take(layout.more);
    let mean = |plane: &[f32]| {
        let row = |row: usize| &plane[row * layout.counts[0]..][around.columns.clone()];
        let values = around.rows.clone().flat_map(row);
        values.fold(0.0, |sum, &value| sum + f64::from(value)) / samples
    };
    planes.map(mean).collect()
}
