//! Values of one grid on another: the anti-aliased in-plane filter here, samples of any grid in `onto`. Which spacing is
//! wanted is the caller's business.

mod onto;

pub(crate) use onto::{BEYOND, GAIN, POLE, positions, spline_taps};
pub use onto::{cubic, nearest, nearest_places};

use crate::threads::{available, parallel_chunks};
use crate::volume::{add, scale};
use crate::{Affine, Dims, Grid, Volume};

/// The grid of [`in_plane`]: `round(n * old / new)` voxels (at least one) along `i` and `j` over the same
/// field of view, so that the spacing is the wanted one up to that rounding and the first centre moves by
/// half the difference. A spacing so fine that no grid can hold it leaves the source grid.
pub fn in_plane_grid(source: &Grid, spacing_mm: f64) -> Grid {
    let mut counts = source.dims.counts();
    let mut axes = source.affine.axes();
    let mut origin = source.affine.origin();
    let spacing = source.affine.spacing();
    for axis in 0..2 {
        let old = counts[axis] as f64;
        let wanted = (old * spacing[axis] / spacing_mm).round();
        counts[axis] = (wanted as usize).max(1);
        let ratio = old / counts[axis] as f64;
        origin = add(origin, scale(axes[axis], 0.5 * (ratio - 1.0)));
        axes[axis] = scale(axes[axis], ratio);
    }
    let Ok(dims) = Dims::new(counts) else { return *source };
    Grid { dims, affine: Affine::new(axes, origin).expect("scaled axes keep their angles") }
}

/// Resamples every slice to `spacing_mm` along `i` and `j` with a triangle filter that widens when the
/// slice shrinks (anti-aliasing; the filter of Pillow's `Image.BILINEAR`). Slices are untouched. Grid:
/// [`in_plane_grid`].
pub fn in_plane(source: &Volume<f32>, spacing_mm: f64) -> Volume<f32> {
    let grid = in_plane_grid(source.grid(), spacing_mm);
    let [old_i, old_j, _] = source.dims().counts();
    let [new_i, new_j, _] = grid.dims.counts();
    let taps = [triangle(old_i, new_i), triangle(old_j, new_j)];
    let mut voxels = vec![0.0; grid.dims.voxels()];
    parallel_chunks(available(), &mut voxels, new_i * new_j, |k, to| {
        slice_in_plane(source.slice(k), old_i, &taps, to);
    });
    Volume::new(grid, voxels).expect("the length of the grid")
}

/// One slice, `columns` wide, with the taps along `i` and `j`.
fn slice_in_plane(
    from: &[f32],
    columns: usize,
    [along_i, along_j]: &[Vec<Taps>; 2],
    to: &mut [f32],
) {
    let width = along_i.len();
    let mut narrow = vec![0.0f32; from.len() / columns * width];
    for (from, to) in from.chunks_exact(columns).zip(narrow.chunks_exact_mut(width)) {
        for (value, taps) in to.iter_mut().zip(along_i) {
            let window = &from[taps.first..taps.first + taps.weights.len()];
            *value = window.iter().zip(&taps.weights).map(|(v, w)| v * w).sum();
        }
    }
    for (taps, row) in along_j.iter().zip(to.chunks_exact_mut(width)) {
        let rows = narrow.chunks_exact(width).skip(taps.first);
        for (from, weight) in rows.zip(&taps.weights) {
            row.iter_mut().zip(from).for_each(|(sum, v)| *sum += v * weight);
        }
    }
}

/// The source samples that make one target sample.
pub(crate) struct Taps {
    pub(crate) first: usize,
    /// Sum 1.
    pub(crate) weights: Vec<f32>,
}

/// The triangle filter from `old` to `new` samples over the same length.
pub(crate) fn triangle(old: usize, new: usize) -> Vec<Taps> {
    let ratio = old as f64 / new as f64;
    let width = ratio.max(1.0);
    (0..new)
        .map(|n| {
            let centre = (n as f64 + 0.5) * ratio;
            let first = (centre - width + 0.5).max(0.0) as usize;
            let end = ((centre + width + 0.5) as usize).min(old);
            let raw: Vec<f64> = (first..end)
                .map(|x| (1.0 - ((x as f64 + 0.5 - centre) / width).abs()).max(0.0))
                .collect();
            let sum: f64 = raw.iter().sum();
            Taps { first, weights: raw.iter().map(|w| (w / sum) as f32).collect() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(counts: [usize; 3], spacing: [f64; 3]) -> Grid {
        let axes = [[0.0, spacing[0], 0.0], [0.0, 0.0, -spacing[1]], [-spacing[2], 0.0, 0.0]];
        Grid {
            dims: Dims::new(counts).unwrap(),
            affine: Affine::new(axes, [1.0, 2.0, 3.0]).unwrap(),
        }
    }

    #[test]
    fn own_spacing_gives_the_same_values() {
        let values = (0..12).map(|v| v as f32).collect();
        let source = Volume::new(grid([3, 2, 2], [0.7, 0.7, 4.0]), values).unwrap();
        assert_eq!(in_plane(&source, 0.7).voxels(), source.voxels());
        assert_eq!(in_plane(&source, 0.35).dims().counts(), [6, 4, 2]);
    }

    #[test]
    fn field_of_view_is_kept() {
        let old = grid([100, 60, 3], [0.5, 0.5, 4.0]);
        let new = in_plane_grid(&old, 1.0);
        assert_eq!(new.dims.counts(), [50, 30, 3]);
        for corner in [[-0.5, -0.5, 0.0], [99.5, 59.5, 2.0]] {
            let there = new.affine.index(old.affine.world(corner));
            let want = [(corner[0] + 0.5) / 2.0 - 0.5, (corner[1] + 0.5) / 2.0 - 0.5, corner[2]];
            assert!(there.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9), "{there:?}");
        }
    }

    /// Pillow: `Image.fromarray(float32 [[0, 0, 10, 0, 0, 0, 4]]).resize((3, 1), Image.BILINEAR)`.
    const PILLOW: [f32; 3] = [2.142857, 2.352_941_3, 1.428_571_5];

    #[test]
    fn triangle_filter_is_pillows() {
        let taps = triangle(7, 3);
        let row = [0.0f32, 0.0, 10.0, 0.0, 0.0, 0.0, 4.0];
        let got: Vec<f32> = taps
            .iter()
            .map(|t| t.weights.iter().zip(&row[t.first..]).map(|(w, v)| w * v).sum())
            .collect();
        for (got, want) in got.iter().zip(PILLOW) {
            assert!((got - want).abs() < 1e-5, "{got} against {want}");
        }
    }
    #[test]
    fn senseless_spacing_stays_bounded() {
        let old = grid([4, 4, 1], [1.0, 1.0, 1.0]);
        assert_eq!(in_plane_grid(&old, 0.0), old);
        assert_eq!(in_plane_grid(&old, f64::NAN).dims.counts(), [1, 1, 1]);
        assert_eq!(in_plane_grid(&old, 1e9).dims.counts(), [1, 1, 1]);
    }
}
