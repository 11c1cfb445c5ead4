//! Definition of `crate::morphology`: the distance to every voxel of the mask is asked; every voxel of an element is asked.

use crate::Volume;
use crate::morphology::Element;

/// See [`crate::morphology::dilate_in_plane`].
pub fn dilate_in_plane(mask: &Volume<u8>, radius_mm: f64) -> Volume<u8> {
    let outside = mask.map(|v| u8::from(v == 0));
    let limit = (radius_mm * radius_mm) as f32;
    super::distance::squared_mm_in_plane(&outside).map(|d| u8::from(d <= limit))
}

/// See [`crate::morphology::erode`].
pub fn erode(mask: &Volume<u8>, element: Element) -> Volume<u8> {
    asked(mask, |inside| u8::from(inside.into_iter().all(|v| v)), element)
}

/// See [`crate::morphology::dilate`].
pub fn dilate(mask: &Volume<u8>, element: Element) -> Volume<u8> {
    asked(mask, |inside| u8::from(inside.into_iter().any(|v| v)), element)
}

/// `answer` to what is inside around every voxel.
fn asked(mask: &Volume<u8>, answer: impl Fn(Vec<bool>) -> u8, element: Element) -> Volume<u8> {
    let dims = mask.dims();
    let steps = (0..27isize).map(|n| [n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1]);
    let steps: Vec<[isize; 3]> = steps.filter(|&away| element.holds(away)).collect();
    let inside = |index: [usize; 3], away: &[isize; 3]| {
        let there: [usize; 3] = std::array::from_fn(|a| index[a].wrapping_add_signed(away[a]));
        (0..3).all(|a| there[a] < dims.counts()[a]) && mask.at(there) != 0
    };
    let voxels = (0..dims.voxels()).map(|offset| {
        let index = dims.index(offset);
        answer(steps.iter().map(|away| inside(index, away)).collect())
    });
    Volume::new(*mask.grid(), voxels.collect()).expect("one value per voxel")
}
