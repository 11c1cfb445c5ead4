//! Definitions of `crate::resample`: one world round trip per voxel; the triangle filter as a double sum.

use crate::resample::{TIE, in_plane_grid, triangle};
use crate::{Grid, Volume};

/// See [`crate::resample::nearest`].
pub fn nearest<T: Copy>(source: &Volume<T>, target: &Grid, outside: T) -> Volume<T> {
    let counts = source.dims().counts();
    let values = (0..target.dims.voxels()).map(|offset| {
        let world = target.affine.world(target.dims.index(offset).map(|v| v as f64));
        let voxel = source.grid().affine.index(world).map(|x| (x + 0.5 + TIE).floor());
        let inside = (0..3).all(|s| voxel[s] >= 0.0 && voxel[s] < counts[s] as f64);
        if inside { source.at(voxel.map(|v| v as usize)) } else { outside }
    });
    Volume::new(*target, values.collect()).expect("one value per voxel")
}

/// See [`crate::resample::linear`].
pub fn linear(source: &Volume<f32>, target: &Grid) -> Volume<f32> {
    let counts = source.dims().counts();
    let values = (0..target.dims.voxels()).map(|offset| {
        let world = target.affine.world(target.dims.index(offset).map(|v| v as f64));
        let position = source.grid().affine.index(world);
        let position: [f64; 3] =
            std::array::from_fn(|s| position[s].clamp(0.0, (counts[s] - 1) as f64));
        let mut sum = 0.0f64;
        for corner in 0..8usize {
            let mut weight = 1.0;
            let index = std::array::from_fn(|s| {
                let (low, up) = (position[s].floor(), corner >> s & 1);
                weight *= (1.0 - (position[s] - low) - up as f64).abs();
                (low as usize + up).min(counts[s] - 1)
            });
            sum += weight * f64::from(source.at(index));
        }
        sum as f32
    });
    Volume::new(*target, values.collect()).expect("one value per voxel")
}

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
