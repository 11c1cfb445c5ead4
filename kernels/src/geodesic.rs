//! Which seed or marker a voxel of a domain belongs to: by the shortest path, or by flooding a height map.
//!
//! Both results are unique: path lengths are whole micrometres, so that no order of additions can change a
//! tie.

use crate::{Dims, Volume};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Most buckets of the queue: the ratio of the longest to the shortest step is 20 on real series; beyond
/// this only the speed suffers.
const MAX_BUCKETS: u64 = 1 << 12;

/// Bits of a seed value below the path length in one number, so that one comparison settles both.
const SEED_BITS: u32 = 16;

/// A step to a neighbour.
#[derive(Clone, Copy)]
struct Step {
    by: [isize; 3],
    offset: isize,
    micrometres: u64,
}

/// Length of a step of `by` voxels in whole micrometres, at least 1.
pub(crate) fn step_micrometres(spacing_mm: [f64; 3], by: [isize; 3]) -> u64 {
    /// A step longer than a kilometre is no anatomy; the bound keeps sums far from overflow.
    const MAX_STEP_MM: f64 = 1e6;
    let squares = (0..3).map(|axis| (by[axis] as f64 * spacing_mm[axis]).powi(2));
    (squares.sum::<f64>().sqrt().min(MAX_STEP_MM) * 1000.0).round().max(1.0) as u64
}

fn steps26(dims: Dims, spacing_mm: [f64; 3]) -> Vec<Step> {
    let [ni, nj, _] = dims.counts().map(|n| n as isize);
    let all = (0..27isize).map(|n| [n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1]);
    all.filter(|by| *by != [0; 3])
        .map(|by| Step {
            by,
            offset: by[0] + ni * (by[1] + nj * by[2]),
            micrometres: step_micrometres(spacing_mm, by),
        })
        .collect()
}

fn inside(dims: Dims, index: [usize; 3], by: [isize; 3]) -> bool {
    let counts = dims.counts();
    (0..3).all(|axis| index[axis].checked_add_signed(by[axis]).is_some_and(|v| v < counts[axis]))
}

/// Gives each voxel of `domain` (non-zero) the value of the seed (non-zero) it reaches by the shortest path
/// through the domain: 26 neighbours, steps in millimetres of the grid. Of seeds equally near the lower
/// value wins. Unreached voxels and those outside the domain are 0; seeds outside the domain do not count.
/// The grids must agree in size.
pub fn assign(seeds: &Volume<u16>, domain: &Volume<u8>) -> Volume<u16> {
    let dims = domain.dims();
    assert_eq!(seeds.dims(), dims, "seeds and domain are on one grid");
    let steps = steps26(dims, domain.grid().affine.spacing());
    let longest = steps.iter().map(|s| s.micrometres).max().unwrap_or(1);
    let shortest = steps.iter().map(|s| s.micrometres).min().unwrap_or(1);
    // With buckets no wider than the shortest step, a voxel is final when its bucket's turn comes. Wider
    // buckets stay correct, since an improved voxel is queued again.
    let width = shortest.max(longest.div_ceil(MAX_BUCKETS));
    let mut buckets = vec![Vec::<u32>::new(); (longest / width + 2) as usize];
    let count = buckets.len() as u64;
    let mut best = vec![u64::MAX; dims.voxels()];
    for (offset, (&seed, &inside)) in seeds.voxels().iter().zip(domain.voxels()).enumerate() {
        if seed != 0 && inside != 0 {
            best[offset] = u64::from(seed);
            buckets[0].push(offset as u32);
        }
    }
    let bucket_of = |key: u64| (key >> SEED_BITS) / width;
    let mut turn = 0u64;
    let mut idle = 0;
    while idle < count {
        let Some(offset) = buckets[(turn % count) as usize].pop() else {
            turn += 1;
            idle += 1;
            continue;
        };
        idle = 0;
        let key = best[offset as usize];
        if bucket_of(key) != turn {
            continue; // A shorter path was found meanwhile, and its bucket had its turn.
        }
        let index = dims.index(offset as usize);
        for step in &steps {
            if !inside(dims, index, step.by) {
                continue;
            }
            let next = (offset as usize).wrapping_add_signed(step.offset);
            let through = key + (step.micrometres << SEED_BITS);
            if domain.voxels()[next] != 0 && through < best[next] {
                best[next] = through;
                buckets[(bucket_of(through) % count) as usize].push(next as u32);
            }
        }
    }
    let values = best.iter().map(|&key| if key == u64::MAX { 0 } else { key as u16 }).collect();
    Volume::new(*domain.grid(), values).expect("one value per voxel")
}

/// An open voxel of the flood. The first in order is flooded next: highest, then fewest steps from its
/// marker, then the lower marker, then the lower place in memory.
type Open = Reverse<(Reverse<u32>, u32, u16, u32)>;

/// A number that orders as the height does (`f32::total_cmp`).
fn order(height: f32) -> u32 {
    let bits = height.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// Floods `domain` (non-zero) from the markers (non-zero) downwards: always the highest unflooded voxel
/// that shares a face with a flooded one takes its marker. On a distance map this cuts touching bodies at
/// their necks. Ties: fewer steps from the marker, then the lower marker. Unreached voxels and those
/// outside the domain are 0; markers outside the domain do not count. The grids must agree in size.
pub fn watershed(markers: &Volume<u16>, height: &Volume<f32>, domain: &Volume<u8>) -> Volume<u16> {
    let dims = domain.dims();
    assert!(markers.dims() == dims && height.dims() == dims, "all three are on one grid");
    let mut steps = steps26(dims, domain.grid().affine.spacing());
    steps.retain(|step| step.by.iter().filter(|&&by| by != 0).count() == 1);
    let mut flooded = Volume::filled(*domain.grid(), 0u16);
    let mut open: BinaryHeap<Open> = BinaryHeap::new();
    let spread = |open: &mut BinaryHeap<Open>, flooded: &[u16], at: usize, age, marker| {
        let index = dims.index(at);
        for step in steps.iter().filter(|step| inside(dims, index, step.by)) {
            let next = at.wrapping_add_signed(step.offset);
            if domain.voxels()[next] != 0 && flooded[next] == 0 {
                let level = Reverse(order(height.voxels()[next]));
                open.push(Reverse((level, age, marker, next as u32)));
            }
        }
    };
    let flood = flooded.voxels_mut();
    for (at, (&marker, &inside)) in markers.voxels().iter().zip(domain.voxels()).enumerate() {
        flood[at] = if inside != 0 { marker } else { 0 };
    }
    for at in 0..flood.len() {
        if flood[at] != 0 {
            spread(&mut open, flood, at, 1, flood[at]);
        }
    }
    while let Some(Reverse((_, age, marker, at))) = open.pop() {
        let at = at as usize;
        if flood[at] == 0 {
            flood[at] = marker;
            spread(&mut open, flood, at, age + 1, marker);
        }
    }
    flooded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Affine, Grid};

    fn row<T: Copy>(values: Vec<T>) -> Volume<T> {
        let axes = [[0.5, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        Volume::new(Grid { dims: Dims::new([values.len(), 1, 1]).unwrap(), affine }, values)
            .unwrap()
    }

    #[test]
    fn the_middle_goes_to_the_lower_seed_and_gaps_are_not_crossed() {
        let seeds = row(vec![9, 0, 0, 0, 4, 0, 0, 7]);
        let domain = row(vec![1, 1, 1, 1, 1, 0, 1, 0]);
        assert_eq!(assign(&seeds, &domain).voxels(), [9, 9, 4, 4, 4, 0, 0, 0]);
    }

    #[test]
    fn flood_cuts_at_the_neck() {
        let markers = row(vec![0, 2, 0, 0, 0, 1, 0]);
        let height = row(vec![1.0, 5.0, 4.0, 0.5, 1.0, 6.0, 2.0]);
        let domain = row(vec![1; 7]);
        assert_eq!(watershed(&markers, &height, &domain).voxels(), [2, 2, 2, 1, 1, 1, 1]);
    }
}
