//! Label maps back on the source grid.
//!
//! The slices of both grids lie at the same places, so only the plane is resampled: a source voxel takes the label with the most
//! bilinear weight among the four working voxels around it. Both masks are voted on together, so that they agree.

use crate::join::Joined;
use crate::prepare::Prepared;
use kernels::{Grid, Volume, threads};

/// Both masks on the source grid, in the source's axes.
///
/// The masks may cover a part of the field of view; a voxel beyond them by more than half a working voxel is background.
pub fn restore(joined: &Joined, prepared: &Prepared) -> (Volume<u8>, Volume<u16>) {
    let oriented = prepared.oriented;
    let working = joined.semantic.grid();
    let [across, down, through] = [0, 1, 2].map(|axis| neighbours(&oriented, working, axis));
    let [columns, rows, _] = oriented.dims.counts();
    let mut semantic = Volume::filled(oriented, 0);
    let mut instances = Volume::filled(oriented, 0);
    let parts = semantic.voxels_mut().chunks_mut(columns * rows);
    let mut slices: Vec<_> = parts.zip(instances.voxels_mut().chunks_mut(columns * rows)).collect();
    threads::parallel_chunks(threads::available(), &mut slices, 1, |k, slices| {
        let Some(from) = through[k].map(|along| along.nearer()) else { return };
        let from = (joined.semantic.slice(from), joined.instances.slice(from));
        for (semantic, instances) in slices {
            let lines = semantic.chunks_mut(columns).zip(instances.chunks_mut(columns));
            for (to, v) in lines.zip(&down).filter_map(|(to, v)| Some((to, v.as_ref()?))) {
                restore_row(to, from, v, &across, working.dims.counts()[0]);
            }
        }
    });
    let back = prepared.to_working.inverse();
    (semantic.reoriented(&back), instances.reoriented(&back))
}

/// One row of both masks, from slices `width` wide.
fn restore_row(
    (to_semantic, to_instances): (&mut [u8], &mut [u16]),
    (semantic, instances): (&[u8], &[u16]),
    v: &Around,
    across: &[Option<Around>],
    width: usize,
) {
    for (i, u) in across.iter().enumerate().filter_map(|(i, u)| Some((i, u.as_ref()?))) {
        let corners = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(a, b): (usize, usize)| {
            let offset = u.at[a] + width * v.at[b];
            ((semantic[offset], instances[offset]), u.weight[a] * v.weight[b])
        });
        (to_semantic[i], to_instances[i]) = elect(corners);
    }
}

/// The two working positions around a source position along one axis, and their weights.
#[derive(Debug, Clone, Copy)]
struct Around {
    at: [usize; 2],
    weight: [f32; 2],
}

impl Around {
    /// The one with more weight: along the slices both grids have the same positions.
    fn nearer(&self) -> usize {
        self.at[usize::from(self.weight[1] > self.weight[0])]
    }
}

/// For every source position along `axis`, the working positions around it, clamped at the edges; `None` beyond them.
fn neighbours(source: &Grid, working: &Grid, axis: usize) -> Vec<Option<Around>> {
    /// Half a voxel, and the rounding of an affine: the first and last voxel reach to their own edge.
    const REACH: f64 = 0.5 + 1e-6;
    let last = (working.dims.counts()[axis] - 1) as f64;
    (0..source.dims.counts()[axis])
        .map(|n| {
            let mut index = [0.0; 3];
            index[axis] = n as f64;
            let at = working.affine.index(source.affine.world(index))[axis];
            if at < -REACH || at > last + REACH {
                return None;
            }
            let at = at.clamp(0.0, last);
            let low = at.floor();
            let share = (at - low) as f32;
            let high = (low + 1.0).min(last) as usize;
            Some(Around { at: [low as usize, high], weight: [1.0 - share, share] })
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
