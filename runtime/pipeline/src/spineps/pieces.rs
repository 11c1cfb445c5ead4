//! The connected pieces of chosen structures, found in the box around them: most structures fill a small part of a volume.

use crate::spineps::rows;
use kernels::components::{self, Bounds, Component, Components, Connectivity};
use kernels::{Grid, Volume};
use std::ops::Range;

/// Pieces of a label map. Those with different values never connect.
#[derive(Debug)]
pub struct Pieces {
    bounds: Bounds,
    found: Components,
}

impl Pieces {
    /// The pieces of what `value` does not map to 0, as it must 0; `None` where there is nothing.
    pub fn of(
        map: &Volume<u8>,
        value: impl Fn(u8) -> u8,
        connectivity: Connectivity,
    ) -> Option<Pieces> {
        let bounds = rows::bounds(map, |_, v| value(v) != 0)?;
        Some(Pieces::within(map, value, connectivity, bounds))
    }

    /// As [`Pieces::of`], of what lies in `bounds`.
    pub fn within(
        map: &Volume<u8>,
        value: impl Fn(u8) -> u8,
        connectivity: Connectivity,
        bounds: Bounds,
    ) -> Pieces {
        let chosen = components::crop(map, bounds).map(value);
        Pieces { bounds, found: components::label(&chosen, connectivity) }
    }

    pub fn count(&self) -> usize {
        self.found.parts.len()
    }

    pub fn piece(&self, n: usize) -> &Component {
        &self.found.parts[n]
    }

    /// Centre of mass of piece `n`, voxels of the whole map.
    pub fn centroid(&self, n: usize) -> [f64; 3] {
        let centroid = self.found.parts[n].centroid();
        std::array::from_fn(|axis| centroid[axis] + self.bounds.min[axis] as f64)
    }

    /// The box around piece `n`, in the whole map.
    pub fn bounds(&self, n: usize) -> Bounds {
        let part = &self.found.parts[n];
        Bounds { min: add(part.min, self.bounds.min), max: add(part.max, self.bounds.min) }
    }

    /// Indices of piece `n` in the whole map, in memory order.
    pub fn voxels(&self, n: usize) -> impl Iterator<Item = [usize; 3]> + '_ {
        let origin = self.bounds.min;
        self.found.runs_of(n).flat_map(move |range| {
            let [i, j, k] = add(self.found.dims().index(range.start), origin);
            (i..i + range.len()).map(move |i| [i, j, k])
        })
    }

    /// The pieces in the order in which SPINEPS numbers them.
    pub fn scanned(&self) -> Vec<usize> {
        scanned(&self.found)
    }
}

/// The places of components in the order in which SPINEPS numbers them: by their first voxel with `k` fastest and `i`
/// slowest, the memory order of its arrays.
pub fn scanned(found: &Components) -> Vec<usize> {
    let mut firsts = vec![[usize::MAX; 3]; found.parts.len()];
    for (n, range) in found.runs() {
        firsts[n] = firsts[n].min(found.dims().index(range.start));
    }
    let mut order: Vec<usize> = (0..firsts.len()).collect();
    order.sort_by_key(|&n| firsts[n]);
    order
}

/// A mask of the voxels in `runs`.
pub fn painted(grid: Grid, runs: impl IntoIterator<Item = Range<usize>>) -> Volume<u8> {
    let mut mask = Volume::filled(grid, 0);
    runs.into_iter().for_each(|range| mask.voxels_mut()[range].fill(1));
    mask
}

fn add(a: [usize; 3], b: [usize; 3]) -> [usize; 3] {
    std::array::from_fn(|axis| a[axis] + b[axis])
}
