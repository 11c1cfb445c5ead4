//! Definition of `crate::geodesic`: relax until nothing changes.

use super::components::neighbours;
use crate::Volume;
use crate::components::Connectivity;
use crate::geodesic::step_micrometres;

/// See [`crate::geodesic::assign`].
pub fn assign(seeds: &Volume<u16>, domain: &Volume<u8>) -> Volume<u16> {
    let dims = domain.dims();
    let spacing = domain.grid().affine.spacing();
    // (length, seed): the smaller pair wins.
    let mut best: Vec<Option<(u64, u16)>> = (0..dims.voxels())
        .map(|n| {
            (seeds.voxels()[n] != 0 && domain.voxels()[n] != 0).then(|| (0, seeds.voxels()[n]))
        })
        .collect();
    let mut changed = true;
    while std::mem::take(&mut changed) {
        for offset in (0..dims.voxels()).filter(|&n| domain.voxels()[n] != 0) {
            let here = dims.index(offset);
            for there in neighbours(dims, here, Connectivity::Corners26) {
                let by = std::array::from_fn(|a| there[a] as isize - here[a] as isize);
                let Some((length, seed)) = best[dims.offset(there)] else { continue };
                let through = (length + step_micrometres(spacing, by), seed);
                if best[offset].is_none_or(|known| through < known) {
                    best[offset] = Some(through);
                    changed = true;
                }
            }
        }
    }
    let values = best.into_iter().map(|known| known.map_or(0, |(_, seed)| seed));
    Volume::new(*domain.grid(), values.collect()).expect("one value per voxel")
}
