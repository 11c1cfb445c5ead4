//! Definition of `crate::resample`: the triangle filter as a double sum.

use crate::Volume;
use crate::resample::{in_plane_grid, triangle};

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
