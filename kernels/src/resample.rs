//! Values of one grid on another: nearest, trilinear, and the anti-aliased in-plane filter.
//!
//! All go through world coordinates, so that any two affines may meet. Which grid is wanted is the caller's
//! business.

use crate::volume::{add, scale, sub};
use crate::{Affine, Dims, Grid, Volume};

/// Added before rounding to the nearest voxel, in voxels. A target centre exactly between two voxels takes
/// the higher index on every machine, whatever the last bit of the affine; a micro-voxel is far below any
/// real shift.
pub(crate) const TIE: f64 = 1e-6;

/// Two axes are parallel when the tilt moves no voxel of the target by more than this share of a source
/// voxel: NIfTI and DICOM affines of one scan differ by their `f32` rounding.
const PARALLEL_VOXELS: f64 = 1e-3;

/// Marks a table entry outside the source.
const OUTSIDE: usize = usize::MAX;

/// Target index -> source index, both fractional.
struct IndexMap {
    /// `columns[t]`: the step in source voxels of one step along target axis `t`.
    columns: [[f64; 3]; 3],
    constant: [f64; 3],
}

impl IndexMap {
    fn new(source: &Affine, target: &Grid) -> IndexMap {
        let at = |index| source.index(target.affine.world(index));
        let constant = at([0.0; 3]);
        let mut columns =
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].map(|unit| sub(at(unit), constant));
        for (column, count) in columns.iter_mut().zip(target.dims.counts()) {
            for step in column.iter_mut().filter(|s| s.abs() * count as f64 <= PARALLEL_VOXELS) {
                *step = 0.0;
            }
        }
        IndexMap { columns, constant }
    }

    fn at(&self, index: [usize; 3]) -> [f64; 3] {
        (0..3).fold(self.constant, |sum, t| add(sum, scale(self.columns[t], index[t] as f64)))
    }

    /// For each source axis the one target axis that moves along it, where every source axis has exactly one.
    fn parallel(&self) -> Option<[usize; 3]> {
        let mut feeds = [0; 3];
        for (s, feed) in feeds.iter_mut().enumerate() {
            let mut moving = (0..3).filter(|&t| self.columns[t][s] != 0.0);
            *feed = moving.next()?;
            if moving.next().is_some() {
                return None;
            }
        }
        Some(feeds)
    }

    /// Source position along axis `s` for every index of the target axis `t` that feeds it.
    fn positions(&self, s: usize, t: usize, count: usize) -> impl Iterator<Item = f64> {
        let (start, step) = (self.constant[s], self.columns[t][s]);
        (0..count).map(move |n| start + step * n as f64)
    }
}

fn strides(dims: Dims) -> [usize; 3] {
    [1, dims.counts()[0], dims.plane()]
}

/// The voxel of `source` nearest to each voxel centre of `target`, `outside` where that centre is more than
/// half a voxel beyond the last source centre. A centre midway between two voxels takes the higher index.
pub fn nearest<T: Copy>(source: &Volume<T>, target: &Grid, outside: T) -> Volume<T> {
    let map = IndexMap::new(&source.grid().affine, target);
    let counts = source.dims().counts();
    let rounded = |position: f64, s: usize| {
        let voxel = (position + 0.5 + TIE).floor();
        (voxel >= 0.0 && voxel < counts[s] as f64).then_some(voxel as usize)
    };
    let stride = strides(source.dims());
    let mut result = Volume::filled(*target, outside);
    let [ni, nj, _] = target.dims.counts();
    if let Some(feeds) = map.parallel() {
        let table: [Vec<usize>; 3] = std::array::from_fn(|s| {
            map.positions(s, feeds[s], target.dims.counts()[feeds[s]])
                .map(|position| rounded(position, s).map_or(OUTSIDE, |voxel| voxel * stride[s]))
                .collect()
        });
        for (row, values) in result.voxels_mut().chunks_exact_mut(ni).enumerate() {
            for (i, value) in values.iter_mut().enumerate() {
                let index = [i, row % nj, row / nj];
                let [a, b, c] = std::array::from_fn(|s| table[s][index[feeds[s]]]);
                if a != OUTSIDE && b != OUTSIDE && c != OUTSIDE {
                    *value = source.voxels()[a + b + c];
                }
            }
        }
        return result;
    }
    for (row, values) in result.voxels_mut().chunks_exact_mut(ni).enumerate() {
        for (i, value) in values.iter_mut().enumerate() {
            let [x, y, z] = map.at([i, row % nj, row / nj]);
            if let (Some(x), Some(y), Some(z)) = (rounded(x, 0), rounded(y, 1), rounded(z, 2)) {
                *value = source.at([x, y, z]);
            }
        }
    }
    result
}

/// Two neighbours on one axis (memory offsets) and the weight of the second.
#[derive(Clone, Copy)]
struct Between {
    low: usize,
    high: usize,
    weight: f32,
}

fn between(position: f64, count: usize, stride: usize) -> Between {
    let clamped = position.clamp(0.0, (count - 1) as f64);
    let low = clamped as usize;
    Between {
        low: low * stride,
        high: (low + 1).min(count - 1) * stride,
        weight: (clamped - low as f64) as f32,
    }
}

fn interpolate(values: &[f32], [x, y, z]: [Between; 3]) -> f32 {
    let mix = |a: f32, b: f32, weight: f32| a + (b - a) * weight;
    let row = |start: usize| mix(values[start + x.low], values[start + x.high], x.weight);
    let plane = |start: usize| mix(row(start + y.low), row(start + y.high), y.weight);
    mix(plane(z.low), plane(z.high), z.weight)
}

/// Trilinear interpolation at each voxel centre of `target`; beyond the source the edge value continues.
pub fn linear(source: &Volume<f32>, target: &Grid) -> Volume<f32> {
    let map = IndexMap::new(&source.grid().affine, target);
    let counts = source.dims().counts();
    let stride = strides(source.dims());
    let mut result = Volume::filled(*target, 0.0);
    let [ni, nj, _] = target.dims.counts();
    let values = source.voxels();
    if let Some(feeds) = map.parallel() {
        let table: [Vec<Between>; 3] = std::array::from_fn(|s| {
            map.positions(s, feeds[s], target.dims.counts()[feeds[s]])
                .map(|position| between(position, counts[s], stride[s]))
                .collect()
        });
        for (row, out) in result.voxels_mut().chunks_exact_mut(ni).enumerate() {
            for (i, out) in out.iter_mut().enumerate() {
                let index = [i, row % nj, row / nj];
                *out = interpolate(values, std::array::from_fn(|s| table[s][index[feeds[s]]]));
            }
        }
        return result;
    }
    for (row, out) in result.voxels_mut().chunks_exact_mut(ni).enumerate() {
        for (i, out) in out.iter_mut().enumerate() {
            let position = map.at([i, row % nj, row / nj]);
            let corners = std::array::from_fn(|s| between(position[s], counts[s], stride[s]));
            *out = interpolate(values, corners);
        }
    }
    result
}

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
    let [new_i, new_j, nk] = grid.dims.counts();
    let along_i = triangle(old_i, new_i);
    let along_j = triangle(old_j, new_j);
    let mut voxels = Vec::with_capacity(grid.dims.voxels());
    let mut narrow = vec![0.0f32; new_i * old_j];
    let mut row = vec![0.0f32; new_i];
    for k in 0..nk {
        for (from, to) in source.slice(k).chunks_exact(old_i).zip(narrow.chunks_exact_mut(new_i)) {
            for (value, taps) in to.iter_mut().zip(&along_i) {
                let window = &from[taps.first..taps.first + taps.weights.len()];
                *value = window.iter().zip(&taps.weights).map(|(v, w)| v * w).sum();
            }
        }
        for taps in &along_j {
            row.fill(0.0);
            let rows = narrow.chunks_exact(new_i).skip(taps.first);
            for (from, weight) in rows.zip(&taps.weights) {
                row.iter_mut().zip(from).for_each(|(sum, v)| *sum += v * weight);
            }
            voxels.extend_from_slice(&row);
        }
    }
    Volume::new(grid, voxels).expect("one row per tap set and slice")
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
    fn own_grid_gives_the_same_values() {
        let source =
            Volume::new(grid([3, 2, 2], [0.7, 0.9, 4.0]), (0..12).map(|v| v as f32).collect())
                .unwrap();
        assert_eq!(nearest(&source, source.grid(), -1.0), source);
        assert_eq!(linear(&source, source.grid()), source);
        assert_eq!(in_plane(&source, 0.7).dims().counts(), [3, 3, 2]);
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
