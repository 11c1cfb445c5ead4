//! Exact Euclidean distance to the background, in squared millimetres, on anisotropic grids.
//!
//! Lower envelope of parabolas, rows then columns (Felzenszwalb and Huttenlocher, "Distance
//! Transforms of Sampled Functions", Theory of Computing 8, 2012). Axes are taken as perpendicular, which
//! admitted series are.

use crate::Volume;
use crate::components::{Bounds, crop, paste};

/// Squared distance in mm² from each voxel centre to the nearest centre of a zero voxel of its slice (fixed `k`): slices
/// are far thicker than pixels. Outside the grid there is no background: a structure cut by the edge is not thinner
/// there. In a slice without any zero voxel every distance is infinite.
pub fn squared_mm_in_plane(mask: &Volume<u8>) -> Volume<f32> {
    let mut result = Volume::filled(*mask.grid(), 0.0f32);
    let Some(bounds) = Bounds::of(mask, |v| v != 0) else { return result };
    // The zero voxel nearest to a voxel of the box is in the box or touches it: work stays near the
    // structure.
    let bounds = bounds.grown(1, mask.dims());
    let part = crop(mask, bounds);
    let values = within_slices(&part).into_iter().map(|v| v as f32).collect();
    let part = Volume::new(*part.grid(), values).expect("one value per voxel");
    paste(&mut result, &part, bounds);
    result
}

/// Squared distance in mm² from each voxel centre to the nearest centre of a zero voxel, whatever its slice. Outside the
/// grid there is no background; without any zero voxel every distance is infinite. In double precision, since surface
/// distances are compared with a tolerance that they often equal.
pub fn squared_mm(mask: &Volume<u8>) -> Volume<f64> {
    let mut squares = within_slices(mask);
    let (plane, nk) = (mask.dims().plane(), mask.dims().counts()[2]);
    let pitch = mask.grid().affine.spacing()[2];
    let mut line = Line::new(nk);
    for start in 0..plane {
        line.transform(&mut squares, start, plane, nk, pitch);
    }
    Volume::new(*mask.grid(), squares).expect("one value per voxel")
}

/// Squared distance to the nearest zero voxel of the same slice.
fn within_slices(mask: &Volume<u8>) -> Vec<f64> {
    let [ni, nj, _] = mask.dims().counts();
    let spacing = mask.grid().affine.spacing();
    let mut squares = along_rows(mask, spacing[0]);
    let mut line = Line::new(nj);
    for plane in squares.chunks_exact_mut(ni * nj) {
        for i in 0..ni {
            line.transform(plane, i, ni, nj, spacing[1]);
        }
    }
    squares
}

/// Squared distance to the nearest zero voxel of the same row.
fn along_rows(mask: &Volume<u8>, step: f64) -> Vec<f64> {
    let ni = mask.dims().counts()[0];
    let mut squares = vec![f64::INFINITY; mask.dims().voxels()];
    for (values, row) in mask.voxels().chunks_exact(ni).zip(squares.chunks_exact_mut(ni)) {
        let mut zero: Option<usize> = None;
        for i in 0..ni {
            zero = if values[i] == 0 { Some(i) } else { zero };
            row[i] = zero.map_or(f64::INFINITY, |z| square((i - z) as f64 * step));
        }
        let mut zero: Option<usize> = None;
        for i in (0..ni).rev() {
            zero = if values[i] == 0 { Some(i) } else { zero };
            row[i] = row[i].min(zero.map_or(f64::INFINITY, |z| square((z - i) as f64 * step)));
        }
    }
    squares
}

fn square(v: f64) -> f64 {
    v * v
}

/// Room for the lower envelope of one line.
struct Line {
    values: Vec<f64>,
    /// Positions whose parabolas form the envelope, and from where on each is the lowest (in samples).
    centres: Vec<usize>,
    from: Vec<f64>,
}

impl Line {
    fn new(longest: usize) -> Line {
        let room = Vec::with_capacity;
        Line { values: room(longest), centres: Vec::with_capacity(longest), from: room(longest) }
    }

    /// Replaces the `count` values at `start`, `start + stride`, ... by the least over all `c` of
    /// `values[c] + ((n - c) * step)^2`.
    fn transform(
        &mut self,
        data: &mut [f64],
        start: usize,
        stride: usize,
        count: usize,
        step: f64,
    ) {
        self.values.clear();
        self.values.extend((0..count).map(|n| data[start + n * stride]));
        self.centres.clear();
        self.from.clear();
        for n in 0..count {
            if self.values[n].is_infinite() {
                continue;
            }
            let mut from = f64::NEG_INFINITY;
            while let Some(&c) = self.centres.last() {
                from = self.crossing(c, n, step);
                if from > self.from[self.from.len() - 1] {
                    break;
                }
                self.centres.pop();
                self.from.pop();
                from = f64::NEG_INFINITY;
            }
            self.centres.push(n);
            self.from.push(from);
        }
        let mut lowest = 0;
        for n in 0..if self.centres.is_empty() { 0 } else { count } {
            while lowest + 1 < self.from.len() && self.from[lowest + 1] <= n as f64 {
                lowest += 1;
            }
            let c = self.centres[lowest];
            data[start + n * stride] = self.values[c] + square((n as f64 - c as f64) * step);
        }
    }

    /// Where the parabola of `n` becomes lower than that of `c < n`.
    fn crossing(&self, c: usize, n: usize, step: f64) -> f64 {
        let height = (self.values[n] - self.values[c]) / (step * step);
        let (c, n) = (c as f64, n as f64);
        (height + n * n - c * c) / (2.0 * (n - c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Affine, Dims, Grid};

    #[test]
    fn anisotropic_distances_are_exact_and_the_edge_is_no_background() {
        let axes = [[0.5, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        let grid = Grid { dims: Dims::new([4, 1, 2]).unwrap(), affine };
        let mask = Volume::new(grid, vec![0, 1, 1, 1, 1, 1, 1, 1]).unwrap();
        let flat = squared_mm_in_plane(&mask);
        assert_eq!(flat.slice(0), [0.0, 0.25, 1.0, 2.25]);
        assert!(flat.slice(1).iter().all(|v| v.is_infinite()));
        let solid = squared_mm(&mask);
        assert_eq!(solid.slice(0), [0.0, 0.25, 1.0, 2.25]);
        assert_eq!(solid.slice(1), [9.0, 9.25, 10.0, 11.25]);
    }
}
