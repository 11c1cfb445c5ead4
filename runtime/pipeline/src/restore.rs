//! Label maps back on the source grid.
//!
//! The slices of both grids are the same, so only the plane is resampled: a source voxel takes the label with the most
//! bilinear weight among the four working voxels around it. Both masks are voted on together, so that they agree.

use crate::join::Joined;
use crate::prepare::Prepared;
use kernels::{Grid, Volume};

/// Both masks on the source grid, in the source's axes.
pub fn restore(joined: &Joined, prepared: &Prepared) -> (Volume<u8>, Volume<u16>) {
    let oriented = prepared.oriented;
    let [columns, rows, slices] = oriented.dims.counts();
    let working = joined.semantic.grid();
    let across = neighbours(&oriented, working, 0);
    let down = neighbours(&oriented, working, 1);
    let mut semantic = Vec::with_capacity(oriented.dims.voxels());
    let mut instances = Vec::with_capacity(oriented.dims.voxels());
    for k in 0..slices {
        let (from_semantic, from_instances) = (joined.semantic.slice(k), joined.instances.slice(k));
        let width = working.dims.counts()[0];
        for v in &down[..rows] {
            for u in &across[..columns] {
                let corners = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(a, b): (usize, usize)| {
                    let offset = u.at[a] + width * v.at[b];
                    ((from_semantic[offset], from_instances[offset]), u.weight[a] * v.weight[b])
                });
                let (structure, instance) = elect(corners);
                semantic.push(structure);
                instances.push(instance);
            }
        }
    }
    let back = prepared.to_working.inverse();
    let whole = "one label a voxel of the oriented source grid";
    (
        Volume::new(oriented, semantic).expect(whole).reoriented(&back),
        Volume::new(oriented, instances).expect(whole).reoriented(&back),
    )
}

/// The two working positions around a source position along one axis, and their weights.
#[derive(Debug, Clone, Copy)]
struct Around {
    at: [usize; 2],
    weight: [f32; 2],
}

/// For every source position along `axis`, the working positions around it; clamped at the edges.
fn neighbours(source: &Grid, working: &Grid, axis: usize) -> Vec<Around> {
    let last = working.dims.counts()[axis] - 1;
    (0..source.dims.counts()[axis])
        .map(|n| {
            let mut index = [0.0; 3];
            index[axis] = n as f64;
            let at = working.affine.index(source.affine.world(index))[axis].clamp(0.0, last as f64);
            let low = at.floor() as usize;
            let share = (at - low as f64) as f32;
            Around { at: [low, (low + 1).min(last)], weight: [1.0 - share, share] }
        })
        .collect()
}

/// The label with the most weight; ties go to the first corner.
fn elect<L: PartialEq + Copy>(corners: [(L, f32); 4]) -> L {
    let (first, _) = corners[0];
    if corners.iter().all(|(label, _)| *label == first) {
        return first;
    }
    let votes = |label: L| corners.iter().filter(|(l, _)| *l == label).map(|(_, w)| w).sum::<f32>();
    let mut best = (first, votes(first));
    for &(label, _) in &corners[1..] {
        let weight = votes(label);
        if weight > best.1 {
            best = (label, weight);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heavier_label_wins_even_when_split() {
        assert_eq!(elect([(1, 0.4), (2, 0.3), (2, 0.2), (3, 0.1)]), 2);
        assert_eq!(elect([(1, 0.25), (2, 0.25), (3, 0.25), (4, 0.25)]), 1);
    }
}
