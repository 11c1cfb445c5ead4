//! Definition of `crate::morphology`: the distance to every voxel of the mask is asked.

use crate::Volume;

/// See [`crate::morphology::dilate_in_plane`].
pub fn dilate_in_plane(mask: &Volume<u8>, radius_mm: f64) -> Volume<u8> {
    let outside = mask.map(|v| u8::from(v == 0));
    let limit = (radius_mm * radius_mm) as f32;
    super::distance::squared_mm_in_plane(&outside).map(|d| u8::from(d <= limit))
}
