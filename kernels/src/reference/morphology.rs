//! Definitions of `crate::morphology`: every pair of voxels is asked.

use super::components::neighbours;
use crate::Volume;
use crate::components::Connectivity;

/// See [`crate::morphology::erode_in_plane`].
pub fn erode_in_plane(mask: &Volume<u8>, radius_mm: f64) -> Volume<u8> {
    let near = super::distance::squared_mm_in_plane(mask);
    near.map(|d| u8::from(d > (radius_mm * radius_mm) as f32))
}

/// See [`crate::morphology::dilate_in_plane`].
pub fn dilate_in_plane(mask: &Volume<u8>, radius_mm: f64) -> Volume<u8> {
    erode_in_plane(&mask.map(|v| u8::from(v == 0)), radius_mm).map(|v| 1 - v)
}

/// See [`crate::morphology::dilate6`].
pub fn dilate6(mask: &Volume<u8>) -> Volume<u8> {
    let dims = mask.dims();
    let values = (0..dims.voxels()).map(|offset| {
        let here = dims.index(offset);
        let near = neighbours(dims, here, Connectivity::Faces6).any(|n| mask.at(n) != 0);
        u8::from(near || mask.at(here) != 0)
    });
    Volume::new(*mask.grid(), values.collect()).expect("one value per voxel")
}
