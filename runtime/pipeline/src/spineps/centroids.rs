//! Centres of mass per id, and the centroids of the vertebrae that SPINEPS writes.

use crate::labels::VertebraId;
use crate::spineps::rows;
use crate::spineps::values::is_body;
use kernels::Volume;
use std::collections::BTreeMap;

/// The voxels of one id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mass {
    pub voxels: usize,
    sum: [u64; 3],
}

impl Mass {
    /// Centre as a fractional index.
    pub fn centroid(&self) -> [f64; 3] {
        self.sum.map(|sum| sum as f64 / self.voxels as f64)
    }
}

/// The mass of each id but 0, of the voxels for which `counts` holds (place in memory, id).
pub fn masses<T: Copy + Into<u16>>(
    ids: &Volume<T>,
    counts: impl Fn(usize, u16) -> bool,
) -> BTreeMap<u16, Mass> {
    let mut found: Vec<Mass> = Vec::new();
    for (start, block) in rows::blocks(ids) {
        let [first, j, k] = ids.dims().index(start);
        for (n, &id) in block.iter().enumerate() {
            let id: u16 = id.into();
            if id == 0 || !counts(start + n, id) {
                continue;
            }
            if found.len() <= usize::from(id) {
                found.resize(usize::from(id) + 1, Mass::default());
            }
            let mass = &mut found[usize::from(id)];
            mass.voxels += 1;
            let at = [first + n, j, k];
            at.iter().zip(&mut mass.sum).for_each(|(&at, sum)| *sum += at as u64);
        }
    }
    let present = found.into_iter().enumerate().filter(|(_, mass)| mass.voxels > 0);
    present.map(|(id, mass)| (id as u16, mass)).collect()
}

/// Centre of the body of each vertebra, voxels; of the sacrum the centre of all of it.
///
/// Discs and endplates have none. SPINEPS writes those of vertebrae with two decimals.
pub fn centroids(vertebrae: &Volume<u16>, semantic: &Volume<u8>) -> BTreeMap<VertebraId, [f64; 3]> {
    let sacrum = u16::from(VertebraId::SACRUM.value());
    let found = masses(vertebrae, |at, id| {
        id < VertebraId::DISC_OFFSET && (id == sacrum || is_body(semantic.voxels()[at]))
    });
    let named = found.into_iter().filter_map(|(id, mass)| {
        let id = VertebraId::new(u8::try_from(id).ok()?)?;
        Some((id, mass.centroid()))
    });
    named.collect()
}
