//! The whole way around SPINEPS' two nets: what the semantic net says -> the masks on the scanner's grid.

use super::clean::{Extent, clean};
use super::cutouts::Cutout;
use super::ended::Ended;
use super::instances::instances;
use super::joint::{self, Masks, Settled};
use super::prepare::mask_on;
use super::{Rules, centroids};
use crate::labels::VertebraId;
use kernels::{Grid, Volume};
use std::collections::BTreeMap;

/// What a run gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// On the scanner's grid.
    pub masks: Masks,
    /// Of every body, and of the sacrum: voxels of the scanner's grid.
    pub centroids: BTreeMap<VertebraId, [f64; 3]>,
    /// Parts of the spine that were kept although a gap without signal parts them from the rest.
    pub beyond_gap: usize,
}

/// Runs all stages. `semantic` is the semantic net's mask on its grid, `scanner` the grid of the image; `predict` is the
/// instance net ([`instances`]); `ids` names the vertebrae from the top, once they are agreed.
pub fn run<E: From<Ended>>(
    semantic: &Volume<u8>,
    scanner: &Grid,
    rules: Rules,
    predict: impl FnMut(&Cutout, &[u8], &mut [u8]) -> Result<(), E>,
    ids: impl FnOnce(&Settled) -> Vec<u8>,
) -> Result<Finished, E> {
    let cleaned = clean(semantic, Extent::Whole, rules)?;
    let vertebrae = instances(&cleaned.labels, rules, predict)?;
    let (semantic, vertebrae) = (mask_on(&cleaned.labels, scanner), mask_on(&vertebrae, scanner));
    let settled = joint::settle(&semantic, &vertebrae, rules).ok_or(Ended::EmptyMask)?;
    let ids = ids(&settled);
    let masks = joint::finish(settled, &ids, rules);
    let centroids = centroids::centroids(&masks.vertebrae, &masks.semantic);
    Ok(Finished { masks, centroids, beyond_gap: cleaned.beyond_gap })
}
