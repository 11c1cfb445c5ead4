//! Definition of `crate::distance`: the minimum over all zero voxels, of the slice or of the volume.

use crate::Volume;

/// See [`crate::distance::squared_mm_in_plane`].
pub fn squared_mm_in_plane(mask: &Volume<u8>) -> Volume<f32> {
    nearest(mask, |here, zero| here[2] == zero[2]).map(|v| v as f32)
}

/// See [`crate::distance::squared_mm`].
pub fn squared_mm(mask: &Volume<u8>) -> Volume<f64> {
    nearest(mask, |_, _| true)
}

/// Squared distance to the nearest zero voxel that is `seen(here, zero)`.
fn nearest(mask: &Volume<u8>, seen: impl Fn([usize; 3], [usize; 3]) -> bool) -> Volume<f64> {
    let dims = mask.dims();
    let spacing = mask.grid().affine.spacing();
    let zeros: Vec<[usize; 3]> =
        (0..dims.voxels()).filter(|&n| mask.voxels()[n] == 0).map(|n| dims.index(n)).collect();
    let distance = |a: [usize; 3], b: [usize; 3]| {
        let step = |axis: usize| (a[axis] as f64 - b[axis] as f64) * spacing[axis];
        step(0) * step(0) + step(1) * step(1) + step(2) * step(2)
    };
    let values = (0..dims.voxels()).map(|offset| {
        let here = dims.index(offset);
        let seen = zeros.iter().filter(|&&zero| seen(here, zero));
        seen.map(|&zero| distance(here, zero)).fold(f64::INFINITY, f64::min)
    });
    Volume::new(*mask.grid(), values.collect()).expect("one value per voxel")
}
