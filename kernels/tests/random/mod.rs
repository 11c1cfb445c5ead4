//! Test data from a seed, the same everywhere.

use kernels::{Affine, Dims, Grid, Volume};

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// 0 to 1, without 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn values<T>(
        &mut self,
        count: usize,
        mut value: impl FnMut(&mut Random) -> T,
    ) -> Vec<T> {
        (0..count).map(|_| value(self)).collect()
    }

    pub(crate) fn volume<T: Copy>(
        &mut self,
        grid: Grid,
        value: impl FnMut(&mut Random) -> T,
    ) -> Volume<T> {
        let values = self.values(grid.dims.voxels(), value);
        Volume::new(grid, values).unwrap()
    }
}

/// A grid for each of `counts`; spacings as sagittal series have them.
pub(crate) fn grids(random: &mut Random, counts: &[[usize; 3]]) -> Vec<Grid> {
    let grid = |counts| {
        let (a, b, c) = (0.4 + random.unit(), 0.4 + random.unit(), 2.0 + 3.0 * random.unit());
        let axes = [[0.0, a, 0.0], [0.0, 0.0, -b], [-c, 0.0, 0.0]];
        let origin = [10.0 * random.unit(), 10.0 * random.unit(), -10.0 * random.unit()];
        Grid { dims: Dims::new(counts).unwrap(), affine: Affine::new(axes, origin).unwrap() }
    };
    counts.iter().copied().map(grid).collect()
}

/// Label maps from empty to full, with `values` structures.
pub(crate) fn label_map(random: &mut Random, grid: Grid, values: u64) -> Volume<u8> {
    let share = [0.0, 0.1, 0.5, 0.8, 1.0][random.below(5) as usize];
    random.volume(grid, |r| if r.unit() < share { 1 + r.below(values) as u8 } else { 0 })
}
