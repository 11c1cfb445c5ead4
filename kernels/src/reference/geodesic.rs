//! Definitions of `crate::geodesic`: relax until nothing changes; search the whole shore for each flooded
//! voxel.

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

/// See [`crate::geodesic::watershed`].
pub fn watershed(markers: &Volume<u16>, height: &Volume<f32>, domain: &Volume<u8>) -> Volume<u16> {
    let dims = domain.dims();
    // (marker, steps from it) of the flooded voxels.
    let mut flooded: Vec<Option<(u16, u32)>> = (0..dims.voxels())
        .map(|n| {
            (markers.voxels()[n] != 0 && domain.voxels()[n] != 0).then(|| (markers.voxels()[n], 0))
        })
        .collect();
    loop {
        let dry = (0..dims.voxels()).filter(|&n| domain.voxels()[n] != 0 && flooded[n].is_none());
        let shore = dry.flat_map(|n| {
            let near = neighbours(dims, dims.index(n), Connectivity::Faces6);
            let wet = near.filter_map(|there| flooded[dims.offset(there)]);
            wet.map(move |(marker, steps)| (n, marker, steps + 1)).collect::<Vec<_>>()
        });
        let next = shore.min_by(|a, b| {
            let fall = height.voxels()[b.0].total_cmp(&height.voxels()[a.0]);
            fall.then((a.2, a.1, a.0).cmp(&(b.2, b.1, b.0)))
        });
        let Some((n, marker, steps)) = next else { break };
        flooded[n] = Some((marker, steps));
    }
    let values = flooded.into_iter().map(|known| known.map_or(0, |(marker, _)| marker));
    Volume::new(*domain.grid(), values.collect()).expect("one value per voxel")
}
