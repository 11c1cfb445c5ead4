//! The whole way after the semantic net: its class map -> both masks and the centroids on the scanner's grid, around the
//! instance net and whoever labels the vertebrae.

use super::Rules;
use super::boxed::Boxed;
use super::centroids::centroids;
use super::clean::{Extent, clean};
use super::cutouts::Cutout;
use super::ended::Ended;
use super::instances::instances;
use super::joint::{self, Masks, Settled};
use super::values::DENSE_BODY;
use crate::labels::{Structure, VertebraId};
use kernels::{Grid, Volume};
use std::collections::BTreeMap;

/// The id that SPINEPS gives the first vertebra where nobody labels: its nets for T2 see no C1.
const FIRST: u8 = 2;

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub masks: Masks,
    /// Voxels of the scanner's grid.
    pub centroids: BTreeMap<VertebraId, [f64; 3]>,
    /// Parts of the spine kept beyond a gap without signal ([`super::clean::Cleaned`]).
    pub beyond_gap: usize,
}

/// `classes` is what the semantic net says, on its own (P, I, R) grid; `scanner` is a grid with parallel axes. `predict` runs
/// the instance net ([`instances`]). `ids` names the vertebrae from the top, as [`unlabelled`] does where nobody knows.
pub fn outcome<E: From<Ended>>(
    classes: &Volume<u8>,
    scanner: &Grid,
    rules: Rules,
    predict: impl FnMut(&Cutout, &[u8], &mut [u8]) -> Result<(), E>,
    ids: impl FnOnce(&Settled) -> Vec<u8>,
) -> Result<Outcome, E> {
    let cleaned = clean(classes, Extent::Whole, rules)?;
    let vertebrae = instances(&cleaned.labels, rules, predict)?;
    let (semantic, vertebrae) = (whole_bodies(cleaned.labels).on(scanner), vertebrae.on(scanner));
    // A mask that falls between the scanner's voxels is as good as none.
    let settled = joint::settle(&semantic, &vertebrae, rules).ok_or(Ended::EmptyMask)?;
    let ids = ids(&settled);
    let masks = joint::finish(settled, &ids, rules);
    let centroids = centroids(&masks.vertebrae, &masks.semantic);
    Ok(Outcome { masks, centroids, beyond_gap: cleaned.beyond_gap })
}

/// Ids counted from the top, as if the first vertebra in view were C2.
pub fn unlabelled(settled: &Settled) -> Vec<u8> {
    joint::counted(settled.count, FIRST)
}

/// Bodies without a class for their core.
fn whole_bodies(mut labels: Boxed<u8>) -> Boxed<u8> {
    let cores = labels.part.voxels_mut().iter_mut().filter(|value| **value == DENSE_BODY);
    cores.for_each(|value| *value = Structure::VertebralBody.value());
    labels
}
