//! Definition of `crate::distance`: the minimum over all zero voxels of the slice.

use crate::Volume;

/// See [`crate::distance::squared_mm_in_plane`].
pub fn squared_mm_in_plane(mask: &Volume<u8>) -> Volume<f32> {
    let dims = mask.dims();
    let spacing = mask.grid().affine.spacing();
    let zeros: Vec<[usize; 3]> =
        (0..dims.voxels()).filter(|&n| mask.voxels()[n] == 0).map(|n| dims.index(n)).collect();
    let distance = |a: [usize; 3], b: [usize; 3]| {
        let step = |axis: usize| (a[axis] as f64 - b[axis] as f64) * spacing[axis];
        step(0) * step(0) + step(1) * step(1)
    };
    let values = (0..dims.voxels()).map(|offset| {
        let here = dims.index(offset);
        let seen = zeros.iter().filter(|zero| zero[2] == here[2]);
        seen.map(|&zero| distance(here, zero)).fold(f64::INFINITY, f64::min) as f32
    });
    Volume::new(*mask.grid(), values.collect()).expect("one value per voxel")
}
