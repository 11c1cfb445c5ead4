//! Definition of `crate::growth`: every empty voxel asks its neighbours.

use crate::Volume;
use crate::morphology::Element;

/// See [`crate::growth::grow`].
pub fn grow(labels: &Volume<u8>, inside: &Volume<u8>, element: Element) -> Volume<u8> {
    let dims = labels.dims();
    let steps = (0..27isize).map(|n| [n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1]);
    let steps: Vec<[isize; 3]> = steps.filter(|&away| element.holds(away)).collect();
    let label = |index: [usize; 3], away: &[isize; 3]| {
        let there: [usize; 3] = std::array::from_fn(|a| index[a].wrapping_add_signed(away[a]));
        (0..3).all(|a| there[a] < dims.counts()[a]).then(|| labels.at(there))
    };
    let voxels = (0..dims.voxels()).map(|offset| {
        let own = labels.voxels()[offset];
        if own != 0 || inside.voxels()[offset] == 0 {
            return own;
        }
        let index = dims.index(offset);
        let around = steps.iter().filter_map(|away| label(index, away));
        around.filter(|&v| v != 0).min().unwrap_or(0)
    });
    Volume::new(*labels.grid(), voxels.collect()).expect("one value per voxel")
}
