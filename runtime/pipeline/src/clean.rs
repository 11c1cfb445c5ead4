//! Removes what cannot be spine from the class map: islands far from it, crumbs, holes.
//!
//! All limits are physical (mm, ml), so that they mean the same on every grid.

use crate::card::ModelCard;
use crate::labels::Structure;
use kernels::components::{self, Connectivity};
use kernels::{Volume, fill, morphology};

/// Parts of the spine nearer than twice this count as one: a signal void or an unlabelled disc does not cut it.
const BRIDGE_MM: f64 = 3.0;
/// A part with less than this share of the largest is no part of the spine. A spine cut in two by an implant keeps
/// both halves; an arm or a bladder called spine is far smaller.
const MIN_PART_SHARE: f64 = 0.15;
/// Canal and sacrum are one piece each: other pieces below this share of the largest are cysts, bladder or fat, or
/// facets taken for sacrum.
const MIN_PIECE_SHARE: f64 = 0.2;
/// Smallest component of one class: 30 voxels of SPINEPS' reference grid (spineps.md 4.1 b).
const MIN_COMPONENT_ML: f64 = 0.028;

/// Cleans `classes` in place.
pub fn clean(classes: &mut Volume<u8>, card: &ModelCard) {
    keep_spine(classes);
    keep_main(classes, card, &[Structure::SpinalCanal, Structure::SpinalCord]);
    keep_main(classes, card, &[Structure::Sacrum]);
    drop_crumbs(classes);
    fill_holes(classes, card);
}

/// Keeps the large parts of all structures together.
fn keep_spine(classes: &mut Volume<u8>) {
    let spine = classes.map(|class| u8::from(class != 0));
    let bridged = morphology::dilate_in_plane(&spine, BRIDGE_MM);
    keep_parts(classes, &bridged, MIN_PART_SHARE);
}

/// Keeps the large parts of `structures` taken together.
fn keep_main(classes: &mut Volume<u8>, card: &ModelCard, structures: &[Structure]) {
    let wanted: Vec<u8> = structures.iter().filter_map(|&s| card.class_of(s)).collect();
    let mask = classes.map(|class| u8::from(wanted.contains(&class)));
    keep_parts(classes, &mask, MIN_PIECE_SHARE);
}

/// Erases from `classes` the components of `mask` that are smaller than `share` of its largest one; voxels outside
/// `mask` stay.
fn keep_parts(classes: &mut Volume<u8>, mask: &Volume<u8>, share: f64) {
    let parts = components::label(mask, Connectivity::Corners26);
    let sizes: Vec<usize> = parts.parts.iter().map(|part| part.voxels).collect();
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let keep: Vec<bool> = sizes.iter().map(|&n| n as f64 >= share * largest as f64).collect();
    for (class, &label) in classes.voxels_mut().iter_mut().zip(parts.labels.voxels()) {
        if label != 0 && !keep[label as usize - 1] {
            *class = 0;
        }
    }
}

/// Erases components of single classes that are too small to be anything.
fn drop_crumbs(classes: &mut Volume<u8>) {
    let voxel_ml = classes.grid().affine.spacing().iter().product::<f64>() / 1000.0;
    let parts = components::label(classes, Connectivity::Corners26);
    for (class, &label) in classes.voxels_mut().iter_mut().zip(parts.labels.voxels()) {
        if label != 0
            && (parts.parts[label as usize - 1].voxels as f64) * voxel_ml < MIN_COMPONENT_ML
        {
            *class = 0;
        }
    }
}

/// Fills background enclosed within a slice by one solid structure: vessels in a body, vacuum in a disc, flow voids in the
/// canal.
fn fill_holes(classes: &mut Volume<u8>, card: &ModelCard) {
    let solid = [
        Structure::VertebralBody,
        Structure::SpinalCanal,
        Structure::Disc,
        Structure::SpinalCord,
        Structure::Sacrum,
    ];
    for class in solid.into_iter().filter_map(|structure| card.class_of(structure)) {
        for offset in fill::holes_in_slices(classes, class) {
            classes.voxels_mut()[offset] = class;
        }
    }
}
