//! Lesions of a mask as findings: how large, where.

use crate::labels::{Structure, VertebraId};
use kernels::Volume;
use kernels::components::{Component, Components};
use serde::Serialize;
use std::collections::BTreeMap;

/// Where most of a lesion lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compartment {
    VertebralBody,
    PosteriorElements,
    Sacrum,
    Disc,
    /// In the sac beside the cord.
    Canal,
    Cord,
    /// Outside of all labelled structures: epidural or beside the spine.
    Outside,
}

/// One lesion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lesion {
    pub volume_mm3: f64,
    /// Of the box around it: to posterior, to inferior, across the slices.
    pub extent_mm: [f64; 3],
    /// Its centre of mass, LPS millimetres.
    pub centre_mm: [f64; 3],
    pub compartment: Compartment,
    /// The vertebra it shares most voxels with, else the nearest one; none where the masks have none.
    pub level: Option<VertebraId>,
}

/// The masks of the same image on the grid of the tumours.
#[derive(Clone, Copy)]
pub(super) struct Masks<'a> {
    pub(super) semantic: &'a Volume<u8>,
    pub(super) instances: &'a Volume<u16>,
}

/// The connected parts of `mask`, largest first, and the volume of their numbers from 1 on.
pub(super) fn lesions(
    mask: &Volume<u8>,
    parts: &Components,
    masks: Masks<'_>,
) -> (Volume<u16>, Vec<Lesion>) {
    let bodies = bodies(masks.semantic, masks.instances);
    let mut order: Vec<usize> = (0..parts.parts.len()).collect();
    order.sort_by_key(|&n| std::cmp::Reverse(parts.parts[n].voxels));
    let mut numbers = mask.map(|_| 0u16);
    for (number, &n) in (1..).zip(&order) {
        parts.runs_of(n).flatten().for_each(|place| numbers.voxels_mut()[place] = number);
    }
    let affine = &mask.grid().affine;
    let lesion = |n: usize| {
        let part = &parts.parts[n];
        let places = || parts.runs_of(n).flatten();
        let centre_mm = affine.world(part.centroid());
        let instances = masks.instances.voxels();
        let shared = most(places().filter_map(|place| vertebra(instances[place])));
        let structures = places().map(|place| Compartment::of(masks.semantic.voxels()[place]));
        Lesion {
            volume_mm3: part.voxels as f64 * affine.spacing().iter().product::<f64>(),
            extent_mm: extent(part, affine.spacing()),
            centre_mm,
            compartment: most(structures).unwrap_or(Compartment::Outside),
            level: shared.or_else(|| nearest(&bodies, centre_mm)),
        }
    };
    (numbers, order.into_iter().map(lesion).collect())
}

fn extent(part: &Component, spacing: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| (part.max[axis] - part.min[axis] + 1) as f64 * spacing[axis])
}

/// The id of a vertebra's own voxel; discs and endplates are none.
fn vertebra(value: u16) -> Option<VertebraId> {
    u8::try_from(value).ok().and_then(VertebraId::new)
}

/// The commonest value; of equals the greatest.
fn most<T: Ord>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut counts = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_insert(0usize) += 1);
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(value, _)| value)
}

/// Where the bodies lie, LPS millimetres.
fn bodies(semantic: &Volume<u8>, instances: &Volume<u16>) -> Vec<(VertebraId, [f64; 3])> {
    let mut sums: BTreeMap<VertebraId, ([f64; 3], f64)> = BTreeMap::new();
    let wanted = [Structure::VertebralBody, Structure::Sacrum].map(Structure::value);
    let voxels = semantic.voxels().iter().zip(instances.voxels()).enumerate();
    for (place, (structure, &instance)) in voxels {
        if let (true, Some(id)) = (wanted.contains(structure), vertebra(instance)) {
            let index = semantic.dims().index(place);
            let (sum, count) = sums.entry(id).or_default();
            (0..3).for_each(|axis| sum[axis] += index[axis] as f64);
            *count += 1.0;
        }
    }
    let world = |sum: [f64; 3], count| semantic.grid().affine.world(sum.map(|s| s / count));
    sums.into_iter().map(|(id, (sum, count))| (id, world(sum, count))).collect()
}

fn nearest(bodies: &[(VertebraId, [f64; 3])], point: [f64; 3]) -> Option<VertebraId> {
    let square = |at: &[f64; 3]| (0..3).map(|n| (at[n] - point[n]).powi(2)).sum::<f64>();
    bodies.iter().min_by(|(_, a), (_, b)| square(a).total_cmp(&square(b))).map(|(id, _)| *id)
}

impl Compartment {
    pub const ALL: [Compartment; 7] = [
        Compartment::VertebralBody,
        Compartment::PosteriorElements,
        Compartment::Sacrum,
        Compartment::Disc,
        Compartment::Canal,
        Compartment::Cord,
        Compartment::Outside,
    ];

    fn of(value: u8) -> Compartment {
        match Structure::from_value(value) {
            None => Compartment::Outside,
            Some(Structure::Disc) => Compartment::Disc,
            Some(Structure::SpinalCanal) => Compartment::Canal,
            Some(Structure::SpinalCord) => Compartment::Cord,
            Some(Structure::Sacrum) => Compartment::Sacrum,
            Some(Structure::VertebralBody | Structure::Endplate) => Compartment::VertebralBody,
            Some(_) => Compartment::PosteriorElements,
        }
    }
}
