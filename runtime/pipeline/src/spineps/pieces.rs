//! The connected pieces of chosen structures, found in the box around them: most structures fill a small part of a volume.

use crate::spineps::rows;
use kernels::Volume;
use kernels::components::{self, Bounds, Component, Components, Connectivity};

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
        let place = |at: [usize; 3]| std::array::from_fn(|axis| at[axis] + self.bounds.min[axis]);
        Bounds { min: place(part.min), max: place(part.max) }
    }

    /// Indices of piece `n` in the whole map, in memory order.
    pub fn voxels(&self, n: usize) -> impl Iterator<Item = [usize; 3]> + '_ {
        let Component { min, max, .. } = self.found.parts[n];
        let number = n as u32 + 1;
        let rows = (min[2]..=max[2]).flat_map(move |k| (min[1]..=max[1]).map(move |j| (j, k)));
        rows.flat_map(move |(j, k)| {
            let start = self.found.labels.dims().offset([min[0], j, k]);
            let row = &self.found.labels.voxels()[start..=start + max[0] - min[0]];
            let hits = row.iter().enumerate().filter(move |&(_, &label)| label == number);
            hits.map(move |(i, _)| {
                let at = [min[0] + i, j, k];
                std::array::from_fn(|axis| at[axis] + self.bounds.min[axis])
            })
        })
    }

    /// The pieces in the order in which SPINEPS numbers them: by their first voxel with `k` fastest and `i` slowest, the
    /// memory order of its arrays.
    pub fn scanned(&self) -> Vec<usize> {
        let first = |n: usize| self.voxels(n).min();
        let mut order: Vec<usize> = (0..self.count()).collect();
        order.sort_by_cached_key(|&n| first(n));
        order
    }
}
