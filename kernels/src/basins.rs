//! Splits a region where it has waists: watershed of a height map whose shallow saddles are merged on the way down.
//!
//! Used on the distance map of touching vertebral bodies: each body is one hill, a leak between two is a low pass.

use crate::volume::Volume;

/// Labels `domain != 0` by the hill of `height` each voxel belongs to, `1..=n` in order of each hill's first voxel.
///
/// Voxels enter from high to low (equal heights in memory order, so the result is unique). Where two hills meet at a
/// height of at least `merge_ratio` times the lower of their two peaks they are one; otherwise the pass parts them.
/// Neighbours are the 26 around a voxel.
pub fn split(height: &Volume<f32>, domain: &Volume<u8>, merge_ratio: f32) -> (Volume<u32>, u32) {
    let heights = height.voxels();
    // Height, inverted, and place in one number: plain integers sort fastest.
    let mut order: Vec<u64> = (0..heights.len())
        .filter(|&offset| domain.voxels()[offset] != 0)
        .map(|offset| u64::from(!rank(heights[offset])) << 32 | offset as u64)
        .collect();
    order.sort_unstable();

    let mut labels = Volume::filled(*domain.grid(), 0u32);
    let mut hills = Hills { parent: vec![0], peak: vec![f32::INFINITY] };
    for offset in order.into_iter().map(|key| (key & u64::from(u32::MAX)) as usize) {
        let mut own = 0;
        for_each_neighbour(&labels, offset, |label| {
            let other = hills.root(label);
            own = hills.meet(own, other, heights[offset], merge_ratio);
        });
        if own == 0 {
            own = hills.rise(heights[offset]);
        }
        labels.voxels_mut()[offset] = own;
    }
    renumber(labels, &mut hills)
}

/// A number that orders as the height does (`f32::total_cmp`).
fn rank(height: f32) -> u32 {
    let bits = height.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The hills met so far; merged ones point to the higher.
struct Hills {
    parent: Vec<u32>,
    peak: Vec<f32>,
}

impl Hills {
    fn rise(&mut self, peak: f32) -> u32 {
        let label = self.parent.len() as u32;
        self.parent.push(label);
        self.peak.push(peak);
        label
    }

    fn root(&mut self, mut label: u32) -> u32 {
        while self.parent[label as usize] != label {
            let above = self.parent[self.parent[label as usize] as usize];
            self.parent[label as usize] = above;
            label = above;
        }
        label
    }

    /// The hill a voxel at `height` belongs to that so far belongs to `own` (0: none) and touches `other`.
    fn meet(&mut self, own: u32, other: u32, height: f32, merge_ratio: f32) -> u32 {
        if own == 0 || own == other {
            return other;
        }
        let higher = |a: u32, b: u32| {
            let (pa, pb) = (self.peak[a as usize], self.peak[b as usize]);
            pa > pb || (pa == pb && a < b)
        };
        let (high, low) = if higher(own, other) { (own, other) } else { (other, own) };
        if height >= merge_ratio * self.peak[low as usize] {
            self.parent[low as usize] = high;
        }
        high
    }
}

/// Calls `visit` with each label among the 26 neighbours of `offset` that are labelled already.
fn for_each_neighbour(labels: &Volume<u32>, offset: usize, mut visit: impl FnMut(u32)) {
    let dims = labels.dims();
    let [ni, nj, nk] = dims.counts();
    let [i, j, k] = dims.index(offset);
    for k in k.saturating_sub(1)..(k + 2).min(nk) {
        for j in j.saturating_sub(1)..(j + 2).min(nj) {
            let row = dims.offset([0, j, k]);
            let near = &labels.voxels()[row + i.saturating_sub(1)..row + (i + 2).min(ni)];
            near.iter().filter(|label| **label != 0).for_each(|&label| visit(label));
        }
    }
}

fn renumber(mut labels: Volume<u32>, hills: &mut Hills) -> (Volume<u32>, u32) {
    let mut names = vec![0u32; hills.parent.len()];
    let mut count = 0;
    for label in labels.voxels_mut().iter_mut().filter(|label| **label != 0) {
        let name = &mut names[hills.root(*label) as usize];
        if *name == 0 {
            count += 1;
            *name = count;
        }
        *label = *name;
    }
    (labels, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::{Affine, Dims, Grid};

    /// A row of voxels with the heights given; 0 is outside the domain.
    fn row(heights: &[f32]) -> (Vec<u32>, u32) {
        let grid = Grid {
            dims: Dims::new([heights.len(), 1, 1]).unwrap(),
            affine: Affine::new([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0; 3])
                .unwrap(),
        };
        let height = Volume::new(grid, heights.to_vec()).unwrap();
        let domain = height.map(|v| u8::from(v > 0.0));
        let (labels, count) = split(&height, &domain, 0.75);
        (labels.into_voxels(), count)
    }

    #[test]
    fn a_deep_pass_parts_and_a_shallow_one_does_not() {
        assert_eq!(row(&[4.0, 8.0, 5.0, 8.0, 4.0]).1, 2);
        assert_eq!(row(&[4.0, 8.0, 7.0, 8.0, 4.0]), (vec![1; 5], 1));
    }

    #[test]
    fn every_voxel_of_the_domain_and_none_outside_is_labelled() {
        let (labels, count) = row(&[3.0, 2.0, 0.0, 1.0, 1.0, 0.5, 6.0]);
        assert_eq!((labels[2], count), (0, 3));
        assert!(labels.iter().enumerate().all(|(i, &l)| (l == 0) == (i == 2)));
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(row(&[0.0, 0.0]), (vec![0, 0], 0));
    }
}
