//! Which seed a voxel of a domain belongs to: the one with the shortest path.
//!
//! The result is unique: path lengths are whole micrometres, so that no order of additions can change a tie.

use crate::{Dims, Volume};

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
}
