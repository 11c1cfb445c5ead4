//! Definitions of `crate::resample`: the triangle filter as a double sum, the nearest voxel by comparing all, the cubic
//! spline as a sum of cardinal splines over an endless line.

use crate::resample::{POLE, in_plane_grid, positions, triangle};
use crate::{Grid, Volume};

/// See [`crate::resample::in_plane`].
pub fn in_plane(source: &Volume<f32>, spacing_mm: f64) -> Volume<f32> {
    let grid = in_plane_grid(source.grid(), spacing_mm);
    let [old_i, old_j, _] = source.dims().counts();
    let [new_i, new_j, _] = grid.dims.counts();
    let (along_i, along_j) = (triangle(old_i, new_i), triangle(old_j, new_j));
    let values = (0..grid.dims.voxels()).map(|offset| {
        let [i, j, k] = grid.dims.index(offset);
        let mut sum = 0.0f64;
        for (b, wj) in along_j[j].weights.iter().enumerate() {
            for (a, wi) in along_i[i].weights.iter().enumerate() {
                let value = source.at([along_i[i].first + a, along_j[j].first + b, k]);
                sum += f64::from(*wi) * f64::from(*wj) * f64::from(value);
            }
        }
        sum as f32
    });
    Volume::new(grid, values.collect()).expect("one value per voxel")
}

/// See [`crate::resample::nearest`].
pub fn nearest<T: Copy>(source: &Volume<T>, target: &Grid) -> Volume<T> {
    let places = positions(source.grid(), target);
    let counts = source.dims().counts();
    let closest = |axis: usize, n: usize| {
        let away = |voxel: usize| (voxel as f64 - places[axis][n]).abs();
        // Of equal ones the last.
        (0..counts[axis]).rev().min_by(|&a, &b| away(a).total_cmp(&away(b))).unwrap_or(0)
    };
    let values = (0..target.dims.voxels()).map(|offset| {
        let index = target.dims.index(offset);
        source.at([0, 1, 2].map(|axis| closest(axis, index[axis])))
    });
    Volume::new(*target, values.collect()).expect("one value per voxel")
}

/// Voxels to each side that a cardinal spline is summed over: it has fallen to 1e-13 there.
const FAR: isize = 24;

/// See [`crate::resample::cubic`].
pub fn cubic(source: &Volume<f32>, target: &Grid) -> Volume<f32> {
    let counts = source.dims().counts();
    let places = positions(source.grid(), target);
    let tables = [0, 1, 2].map(|axis| {
        places[axis].iter().map(|&at| shares(at, counts[axis])).collect::<Vec<Vec<f64>>>()
    });
    let values = (0..target.dims.voxels()).map(|offset| {
        let index = target.dims.index(offset);
        let [a, b, c] = [0, 1, 2].map(|axis| &tables[axis][index[axis]]);
        let share = |voxel: usize| {
            let [i, j, k] = source.dims().index(voxel);
            a[i] * b[j] * c[k] * f64::from(source.voxels()[voxel])
        };
        (0..source.dims().voxels()).map(share).sum::<f64>() as f32
    });
    Volume::new(*target, values.collect()).expect("one value per voxel")
}

/// How much each voxel of a line counts at `at`; those at the ends for all beyond them.
fn shares(at: f64, count: usize) -> Vec<f64> {
    let mut shares = vec![0.0; count];
    let middle = at.floor() as isize;
    for voxel in middle - FAR..=middle + FAR {
        shares[voxel.clamp(0, count as isize - 1) as usize] += cardinal(at - voxel as f64);
    }
    shares
}

/// The cubic spline that is 1 at 0 and 0 at every other whole number.
fn cardinal(x: f64) -> f64 {
    let term = |k: isize| POLE.powi(k.unsigned_abs() as i32) * cubic_b_spline(x - k as f64);
    3f64.sqrt() * (-2 * FAR..=2 * FAR).map(term).sum::<f64>()
}

pub(super) fn cubic_b_spline(x: f64) -> f64 {
    match x.abs() {
        x if x < 1.0 => 2.0 / 3.0 - x * x + x * x * x / 2.0,
        x if x < 2.0 => (2.0 - x).powi(3) / 6.0,
        _ => 0.0,
    }
}
