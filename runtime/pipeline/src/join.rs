//! Class map and bodies -> the two masks: every voxel a structure, every structure its vertebra.
//!
//! SPINEPS' joint stage (spineps.md 8) in its plain form: parts go to the vertebra whose height they have, instance voxels
//! outside the semantic mask are zero, discs and endplates belong to the vertebra above by centre of mass.

use crate::card::{Class, ModelCard};
use crate::instances::Instances;
use crate::labels::{Structure, VertebraId};
use crate::numbering::{self, Neighbour, Numbered};
use crate::result::Numbering;
use crate::vertebrae::Bodies;
use kernels::Volume;
use kernels::components::{self, Component, Connectivity};

/// Both masks on the working grid.
#[derive(Debug)]
pub struct Joined {
    /// [`Structure`] values.
    pub semantic: Volume<u8>,
    /// [`VertebraId`] values, `100 + v` discs, `200 + v` endplates.
    pub instances: Volume<u16>,
    /// The vertebrae, top to bottom.
    pub ids: Vec<VertebraId>,
    pub numbering: Numbering,
    /// Two landmarks, in view or in other series of the study, give different levels.
    pub landmarks_disagree: bool,
    /// Discs found, and those one expects between the bodies.
    pub discs: usize,
}

/// Joins `classes` and the vertebrae found in them; `neighbours` may know their levels.
pub fn join(
    mut classes: Volume<u8>,
    found: &Instances,
    neighbours: &[Neighbour],
    card: &ModelCard,
) -> Joined {
    let bodies = &found.bodies;
    settle_bodies(&mut classes, bodies, card);
    let owners = settle_parts(&mut classes, found, card);
    let mut semantic = structures(&classes, card);
    drop_high_sacrum(&mut semantic, bodies);
    let Numbered { ids, numbering, landmarks_disagree } =
        numbering::number(bodies, &semantic, &found.levels, neighbours);
    let mut instances = owners.map(|owner| match owner {
        0 => 0,
        body => u16::from(ids[usize::from(body) - 1].value()),
    });
    let discs = name_between(&mut semantic, &mut instances, bodies, &ids);
    Joined { semantic, instances, ids, numbering, landmarks_disagree, discs }
}

/// Makes the body class agree with the bodies found: sacral hills become sacrum, what is no body goes.
fn settle_bodies(classes: &mut Volume<u8>, bodies: &Bodies, card: &ModelCard) {
    let body = card.class_of(Structure::VertebralBody).unwrap_or(0);
    for (class, &label) in classes.voxels_mut().iter_mut().zip(bodies.labels.voxels()) {
        if label != 0 {
            *class = body;
        } else if *class == body {
            *class = 0;
        }
    }
    if let Some(sacrum) = card.class_of(Structure::Sacrum) {
        for &offset in &bodies.sacral {
            classes.voxels_mut()[offset] = sacrum;
        }
    }
}

/// Erases parts of vertebrae out of view; gives the owner of every voxel of a vertebra that is left.
fn settle_parts(classes: &mut Volume<u8>, found: &Instances, card: &ModelCard) -> Volume<u16> {
    let mut owners = found.owners.clone();
    for (offset, class) in classes.voxels_mut().iter_mut().enumerate() {
        let owner = &mut owners.voxels_mut()[offset];
        let body = found.bodies.labels.voxels()[offset];
        let vertebral = match card.classes[usize::from(*class)] {
            Class::Background => false,
            Class::Single(part) | Class::Paired(part, _) => part.is_vertebra(),
        };
        match (body, vertebral) {
            (1.., _) => *owner = body,
            (0, true) if *owner == 0 => *class = 0,
            (0, true) => {}
            (0, false) => *owner = 0,
        }
    }
    owners
}

/// Classes -> structures; paired processes take the side of the canal's midline they lie on.
fn structures(classes: &Volume<u8>, card: &ModelCard) -> Volume<u8> {
    let midline = canal_midline(classes, card);
    let dims = classes.dims();
    let mut semantic = Volume::filled(*classes.grid(), 0);
    for (offset, value) in semantic.voxels_mut().iter_mut().enumerate() {
        let class = classes.voxels()[offset];
        *value = match card.classes[usize::from(class)] {
            Class::Background => 0,
            Class::Single(structure) => structure.value(),
            // k runs to the patient's right.
            Class::Paired(left, right) => {
                let [_, j, k] = dims.index(offset);
                if (k as f64) < midline[j] { left.value() } else { right.value() }
            }
        };
    }
    semantic
}

/// Centre slice of canal and cord for every row; rows without canal take the nearest row's, a volume without canal its
/// middle.
fn canal_midline(classes: &Volume<u8>, card: &ModelCard) -> Vec<f64> {
    /// Half the length over which the centre is averaged: a vertebra's height, so that one oblique slice does not bend it.
    const SMOOTH_ROWS: usize = 12;
    let tube = [Structure::SpinalCanal, Structure::SpinalCord].map(|s| card.class_of(s));
    let dims = classes.dims();
    let [_, rows, slices] = dims.counts();
    let mut sums = vec![(0.0, 0.0); rows];
    for (offset, &class) in classes.voxels().iter().enumerate() {
        if class != 0 && tube.contains(&Some(class)) {
            let [_, j, k] = dims.index(offset);
            sums[j].0 += k as f64;
            sums[j].1 += 1.0;
        }
    }
    let smoothed: Vec<Option<f64>> = (0..rows)
        .map(|row| {
            let near = &sums[row.saturating_sub(SMOOTH_ROWS)..(row + SMOOTH_ROWS + 1).min(rows)];
            let (sum, n) = near.iter().fold((0.0, 0.0), |(s, n), v| (s + v.0, n + v.1));
            (n > 0.0).then(|| sum / n)
        })
        .collect();
    (0..rows)
        .map(|row| {
            let nearest = (0..rows)
                .filter(|&other| smoothed[other].is_some())
                .min_by_key(|&other| other.abs_diff(row));
            nearest.and_then(|other| smoothed[other]).unwrap_or((slices as f64 - 1.0) / 2.0)
        })
        .collect()
}

/// Erases pieces called sacrum that do not lie below the lowest body: brain, liver or bowel of a field of view without one.
fn drop_high_sacrum(semantic: &mut Volume<u8>, bodies: &Bodies) {
    let Some(lowest) = bodies.centres.last() else { return };
    let mask = semantic.map(|value| u8::from(value == Structure::Sacrum.value()));
    let pieces = components::label(&mask, Connectivity::Corners26);
    let place = |at| bodies.course.place(at);
    let is_below = |part: &Component| place(part.centroid()) > place(*lowest);
    let below: Vec<bool> = pieces.parts.iter().map(is_below).collect();
    for (value, &piece) in semantic.voxels_mut().iter_mut().zip(pieces.labels.voxels()) {
        if piece != 0 && !below[piece as usize - 1] {
            *value = 0;
        }
    }
}

/// Gives discs, endplates and sacrum their instance values; returns how many vertebrae have a disc below.
fn name_between(
    semantic: &mut Volume<u8>,
    instances: &mut Volume<u16>,
    bodies: &Bodies,
    ids: &[VertebraId],
) -> usize {
    let mut with_disc = vec![false; ids.len()];
    for (structure, base) in [
        (Structure::Disc, VertebraId::DISC_OFFSET),
        (Structure::Endplate, VertebraId::ENDPLATE_OFFSET),
    ] {
        let mask = semantic.map(|value| u8::from(value == structure.value()));
        let found = components::label(&mask, Connectivity::Corners26);
        let above: Vec<Option<usize>> =
            found.parts.iter().map(|part| vertebra_above(part, bodies)).collect();
        if structure == Structure::Disc {
            above.iter().flatten().for_each(|&vertebra| with_disc[vertebra] = true);
        }
        for (offset, &label) in found.labels.voxels().iter().enumerate() {
            if label != 0 {
                let above = above[label as usize - 1].map(|vertebra| ids[vertebra]);
                instances.voxels_mut()[offset] = base + above_or_before_first(above, ids);
            }
        }
    }
    for (instance, &value) in instances.voxels_mut().iter_mut().zip(semantic.voxels()) {
        if value == Structure::Sacrum.value() {
            *instance = u16::from(VertebraId::SACRUM.value());
        }
    }
    with_disc.into_iter().filter(|&with| with).count()
}

/// The lowest vertebra whose body centre lies above the part's centre of mass.
fn vertebra_above(part: &Component, bodies: &Bodies) -> Option<usize> {
    let place = bodies.course.place(part.centroid());
    bodies.centres.iter().rposition(|&centre| bodies.course.place(centre) < place)
}

/// A part above the first vertebra in view belongs to the one before it.
fn above_or_before_first(above: Option<VertebraId>, ids: &[VertebraId]) -> u16 {
    let first = ids.first().map_or(0, |id| u16::from(id.value()));
    above.map_or(first.saturating_sub(1), |id| u16::from(id.value()))
}
